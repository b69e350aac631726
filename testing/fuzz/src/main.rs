//! A fuzzer of spawns: what is random, through every door and in every mode, with kernels that
//! lack features and filters that refuse calls, in storms of signals and in threads; and after each
//! spawn the parent is compared with what it was.
//!
//! A case depends on the seed and its number alone. Cases run in workers, processes of which
//! each has surroundings of its own: who it is, what is refused, which descriptors are there.

mod case;
mod doors;
mod facts;
mod filter;
mod masked;
mod model;
mod runner;
mod state;
mod sys;
mod table;
mod worker;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// Spawns at random, and compares the parent before and after.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many cases are spawned.
    #[arg(long, default_value_t = 2000)]
    spawns: u64,
    /// How many cases are compiled alone.
    #[arg(long, default_value_t = 30_000)]
    compiles: u64,
    /// What the cases depend on; a fresh one if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Goes on until so much time has passed, such as 90s, 20m or 1h.
    #[arg(long = "for", value_parser = duration)]
    time: Option<Duration>,
    /// Runs this case alone.
    #[arg(long)]
    case: Option<u64>,
    /// Of which kind the one case is.
    #[arg(long, default_value = "spawn")]
    kind: worker::Kind,
    /// Runs those before it in its worker as well.
    #[arg(long)]
    with_those_before: bool,
    /// Items to leave out of the one case, by their position.
    #[arg(long, value_delimiter = ',')]
    without: Vec<usize>,
    /// The thread of the one case that they are left out of.
    #[arg(long, default_value_t = 0)]
    part: u64,
    /// How many workers run at once; as many as there are processors.
    #[arg(long)]
    jobs: Option<usize>,
    /// Ends after so many findings.
    #[arg(long, default_value_t = 1)]
    findings: usize,
    /// For how long a case may make no progress, in seconds.
    #[arg(long, default_value_t = 30)]
    deadline: u64,
    #[command(subcommand)]
    command: Option<Role>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// What the fuzzer runs as its workers.
    #[command(hide = true)]
    Worker(worker::Task),
}

fn duration(text: &str) -> Result<Duration, String> {
    let unit = text.chars().last().unwrap_or('?');
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err("a number with s, m or h behind it".into()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|error| format!("{error}"))?;
    Ok(Duration::from_secs(number * seconds))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Role::Worker(task)) = arguments.command {
        return ExitCode::from(u8::from(worker::run(task) > 0));
    }
    runner::run(&arguments)
}
