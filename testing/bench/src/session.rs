//! A session: all peers of a scenario at all of its points, interleaved.

use std::error::Error;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;

use crate::peers::{FLOOR, GLIBC, Kind, PEERS, Peer};
use crate::remote::{Programs, Worker};
use crate::results::{Cell, Results, Row};
use crate::scenario::{Point, Scenario};
use crate::system;

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Amount {
    pub(crate) rounds: usize,
    /// Samples of a peer in a round.
    pub(crate) samples: usize,
    /// Points with more memory are left out.
    pub(crate) most_mib: u64,
}

/// A peer's turn: so many samples, but none begun after so long.
const BLOCK: usize = 25;
const BLOCK_TIME: Duration = Duration::from_millis(40);

/// What a turn begins with, and what does not count: who comes after another process
/// would pay for its caches.
const WARM_UP: usize = 3;

/// A peer in a worker.
struct Lane {
    cell: Cell,
    /// Its index.
    worker: usize,
}

/// Measures `scenario`, in as many sessions as memory makes necessary.
pub(crate) fn measure(
    programs: &Programs,
    amount: Amount,
    scenario: Scenario,
    results: &mut Results,
) -> Result<(), Box<dyn Error>> {
    if scenario == Scenario::Ids && !system::is_root() {
        println!("left out: {}: other users, which takes root", scenario.name());
        return Ok(());
    }
    let amount = Amount { samples: amount.samples * scenario.weight(), ..amount };
    let (points, sessions) = plan(programs, amount, scenario);
    for (index, foreign) in sessions.iter().enumerate() {
        let mut kinds = vec![Kind::Native];
        kinds.extend(foreign);
        let mut workers = Vec::new();
        let mut lanes = Vec::new();
        for point in &points {
            for &kind in &kinds {
                for peer in peers(scenario, kind, index) {
                    let cell = Cell { scenario, x: point.x, peer: peer.name };
                    lanes.push(Lane { cell, worker: workers.len() });
                }
                workers.push(programs.start(kind, scenario, point.state)?);
            }
        }
        run(amount, index, &lanes, &mut workers, results)?;
    }
    Ok(())
}

/// Those that a worker of `kind` runs in a session. All natives are in the first;
/// in others, what ratios are taken against.
fn peers(scenario: Scenario, kind: Kind, session: usize) -> impl Iterator<Item = &'static Peer> {
    PEERS.iter().filter(move |peer| {
        let is_wanted = session == 0 || kind != Kind::Native || [FLOOR, GLIBC].contains(&peer.name);
        peer.kind() == kind && peer.is_in(scenario) && is_wanted
    })
}

/// The points that this machine can have, and the foreign workers of each session:
/// those that fit in memory beside the native one.
fn plan(programs: &Programs, amount: Amount, scenario: Scenario) -> (Vec<Point>, Vec<Vec<Kind>>) {
    let (memory, fds) = (system::available_mib() * 9 / 10, system::most_fds());
    let mut needed = 0;
    let mut points = scenario.points();
    points.retain(|point| {
        let state = point.state;
        // A worker has some descriptors of its own.
        let fits = needed + state.rss_mib <= memory && state.fds + 64 <= fds;
        if state.rss_mib <= amount.most_mib && !fits {
            let label = scenario.label(point.x);
            println!("left out: {} {label}: more than there is here", scenario.name());
        }
        let is_kept = fits && state.rss_mib <= amount.most_mib;
        needed += if is_kept { state.rss_mib } else { 0 };
        is_kept
    });
    let foreign: Vec<_> = [Kind::Musl, Kind::Python, Kind::Go]
        .into_iter()
        .filter(|&kind| programs.has(kind) && peers(scenario, kind, 0).next().is_some())
        .collect();
    let beside = memory.checked_div(needed).map_or(foreign.len(), |workers| workers as usize - 1);
    if beside == 0 && !foreign.is_empty() {
        println!("left out: {}: {foreign:?}: too little memory", scenario.name());
        return (points, vec![Vec::new()]);
    }
    let mut sessions: Vec<_> = foreign.chunks(beside.max(1)).map(<[_]>::to_vec).collect();
    if sessions.is_empty() {
        sessions.push(Vec::new());
    }
    (points, sessions)
}

fn run(
    amount: Amount,
    session: usize,
    lanes: &[Lane],
    workers: &mut [Worker],
    results: &mut Results,
) -> Result<(), Box<dyn Error>> {
    let mut take = |lane: &Lane, count| {
        let Cell { scenario, peer, .. } = lane.cell;
        workers[lane.worker].run(peer, count, scenario.children(), BLOCK_TIME)
    };
    for lane in lanes {
        take(lane, WARM_UP)?;
    }
    // Always the same, and in each block another order.
    let mut random = SmallRng::seed_from_u64(0);
    let mut order: Vec<_> = (0..lanes.len()).collect();
    for round in 0..amount.rounds {
        let mut samples = vec![Vec::new(); lanes.len()];
        let mut left = amount.samples;
        while left > 0 {
            let block = left.min(BLOCK);
            left -= block;
            order.shuffle(&mut random);
            for &index in &order {
                let taken = take(&lanes[index], WARM_UP + block)?;
                samples[index].extend_from_slice(&taken[WARM_UP.min(taken.len() - 1)..]);
            }
        }
        for (lane, samples) in lanes.iter().zip(&samples) {
            results.rows.push(Row::new(lane.cell, session, round, samples));
        }
    }
    Ok(())
}
