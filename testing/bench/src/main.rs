//! Measures rawspawn and other spawners side by side: `./benchmark` builds and runs
//! it.

mod chart;
mod claims;
mod inproc;
mod instructions;
mod peers;
mod remote;
mod report;
mod results;
mod scenario;
mod session;
mod setup;
mod system;
mod table;
mod worker;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;

use crate::peers::Kind;
use crate::remote::Programs;
use crate::results::Results;
use crate::scenario::Scenario;
use crate::session::Amount;

/// Where the results of a whole run go.
const PUBLISHED: &str = "docs/bench";

/// Has the short table of such a run.
const README: &str = "README.md";

/// The first argument of the native worker.
const WORKER: &str = "native-worker";

/// Measures what a spawn costs, by rawspawn and by others, and prints claims, medians,
/// p99 and ratios.
#[derive(Parser)]
#[command(name = "benchmark")]
struct Options {
    /// How many rounds; the spread of a ratio is that of its rounds
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u8).range(5..))]
    rounds: u8,
    /// Spawns of each peer in a round, at each point: four times as many of a small parent,
    /// fewer where one takes long
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    spawns: u16,
    /// Measure this alone; may be repeated
    #[arg(long, value_name = "SCENARIO")]
    only: Vec<Scenario>,
    /// 5 rounds of 25 spawns, and at most 1 GiB of memory
    #[arg(long)]
    quick: bool,
    /// Count instructions instead: compare them with docs/bench, and fail if there are more
    #[arg(long)]
    instructions: bool,
    /// Where CSV, tables and pictures go [default: docs/bench, of a part target/benchmark/results]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Where the other peers' programs are
    #[arg(long, hide = true, default_value = "target/benchmark")]
    programs: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().collect();
    if let [_, worker, program, state @ ..] = arguments.as_slice() {
        if worker == WORKER {
            return worker::work(program.as_ref(), state);
        }
    }
    let options = Options::parse();
    if options.instructions {
        return instructions::measure(PUBLISHED.as_ref(), false);
    }
    measure(&options)
}

fn measure(options: &Options) -> Result<(), Box<dyn Error>> {
    let amount = if options.quick {
        Amount { rounds: 5, samples: 25, most_mib: 1024 }
    } else {
        let (rounds, samples) = (options.rounds.into(), options.spawns.into());
        Amount { rounds, samples, most_mib: u64::MAX }
    };
    system::keep_fds()?;
    system::raise_most_fds();
    let programs = Programs::find(&options.programs)?;
    for kind in [Kind::Musl, Kind::Python, Kind::Go] {
        if !programs.has(kind) {
            println!("left out: {kind:?}: not there");
        }
    }
    let mut results = Results::default();
    let start = Instant::now();
    for &scenario in &Scenario::ALL {
        if options.only.is_empty() || options.only.contains(&scenario) {
            session::measure(&programs, amount, scenario, &mut results)?;
            eprintln!("{}: measured, {} s", scenario.name(), start.elapsed().as_secs());
        }
    }
    let Amount { rounds, samples, .. } = amount;
    let description = format!(
        "{}. {rounds} rounds of {samples} spawns, in a small parent four times as many, fewer where one takes long. An environment of a login session.",
        system::description(&programs)
    );
    let report = report::report(&results, &description);
    println!("{report}\n# Claims\n\n{}", report::claims(&results));

    // What is published is of a whole run.
    let is_part = options.quick || !options.only.is_empty();
    let default = if is_part { "target/benchmark/results" } else { PUBLISHED };
    let out = options.out.clone().unwrap_or_else(|| default.into());
    fs::create_dir_all(&out)?;
    fs::write(out.join("results.csv"), results.csv())?;
    fs::write(out.join("results.md"), report)?;
    chart::draw(&results, &out)?;
    instructions::measure(&out, true)?;
    if out.as_os_str() == PUBLISHED {
        let readme = fs::read_to_string(README)?;
        let summary = report::summary(&results, &description);
        let readme = report::with_summary(&readme, &summary).ok_or("README has no place for it")?;
        fs::write(README, readme)?;
    }
    println!("written to {}", out.display());
    Ok(())
}
