//! The native worker: brings itself into a state, then spawns as it is told.
//!
//! All workers take `PROGRAM FDS RSS_MIB HANDLERS THREADS` and print `ready`. Then
//! each line `run PEER COUNT SIZE LIMIT` is answered by one line of `COUNT` samples,
//! or of as many as were begun within `LIMIT` ns, but one at least. A sample starts
//! `SIZE` children and is `HELD:TOTAL`: the ns until the last spawn had returned,
//! and until all children were reaped.
#![allow(unsafe_code)]

use std::error::Error;
use std::ffi::{OsStr, c_int, c_long};
use std::fmt::Write as _;
use std::io::{self, BufRead as _, Write as _};
use std::time::{Duration, Instant};

use libc::pid_t;

use crate::inproc::Spawn;
use crate::peers::{Home, PEERS};
use crate::setup::Setup;

unsafe extern "C" {
    fn bench_state(fds: c_long, rss_mib: c_long, handlers: c_long, threads: c_long) -> c_int;
}

/// Works until standard input ends.
pub(crate) fn work(program: &OsStr, state: &[String]) -> Result<(), Box<dyn Error>> {
    let setup: &'static Setup = Box::leak(Box::new(Setup::new(program)));
    let mut spawns: Vec<(&str, Spawn)> = Vec::new();
    for peer in PEERS {
        if let Home::Native(prepare) = peer.home {
            spawns.push((peer.name, prepare(setup)));
        }
    }
    let numbers = state.iter().map(|n| n.parse()).collect::<Result<Vec<c_long>, _>>()?;
    let &[fds, rss_mib, handlers, threads] = numbers.as_slice() else {
        return Err("a state is four numbers".into());
    };
    // SAFETY: It opens, maps and starts what nobody else has; handlers do nothing.
    let result = unsafe { bench_state(fds, rss_mib, handlers, threads) };
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result).into());
    }
    println!("ready");
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<_> = line.split(' ').collect();
        let &["run", name, count, size, limit] = words.as_slice() else {
            return Err(format!("not a request: {line}").into());
        };
        let Some((_, spawn)) = spawns.iter_mut().find(|(peer, _)| *peer == name) else {
            return Err(format!("not a peer: {name}").into());
        };
        let limit = Duration::from_nanos(limit.parse()?);
        let samples = run(spawn, count.parse()?, size.parse()?, limit)
            .map_err(|error| format!("{name}: {error}"))?;
        println!("{samples}");
        io::stdout().flush()?;
    }
    Ok(())
}

fn run(spawn: &mut Spawn, count: usize, size: usize, limit: Duration) -> io::Result<String> {
    let mut pids = Vec::with_capacity(size);
    let mut samples = String::with_capacity(count * 24);
    let start = Instant::now();
    for done in 0..count {
        if done > 0 && start.elapsed() >= limit {
            break;
        }
        pids.clear();
        let before = Instant::now();
        spawn.spawn(size, &mut pids)?;
        let held = before.elapsed();
        spawn.settle()?;
        for &pid in &pids {
            wait(pid)?;
        }
        let total = before.elapsed();
        let _ = write!(samples, "{}:{} ", held.as_nanos(), total.as_nanos());
    }
    Ok(samples)
}

/// Reaps a child, which must have succeeded.
pub(crate) fn wait(pid: pid_t) -> io::Result<()> {
    let mut status = 0;
    // __WALL: a child that has not come to its exec may have no exit signal yet.
    // SAFETY: `status` is an integer that lives.
    if unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) } < 0 {
        return Err(io::Error::last_os_error());
    }
    if status == 0 {
        Ok(())
    } else {
        Err(io::Error::other(format!("a child's status is {status}")))
    }
}
