//! Tasks of this repository that are more than one command.

mod abi;
mod header;
mod install;

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;

/// Why a task could not be done.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Tasks of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Build and install the libraries for C, their header, man page and pkg-config file.
    Install(install::Options),
    /// Make c/rawspawn.h from c/src.
    Header {
        /// Fail if it is not what it would be made to.
        #[arg(long)]
        check: bool,
    },
    /// Print what a C compiler is to make of the structures of rawspawn.h, as assertions.
    Abi,
}

/// The root of the repository.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn main() -> Result<()> {
    match Task::parse() {
        Task::Install(options) => install::run(&options),
        Task::Header { check } => header::run(check),
        Task::Abi => {
            print!("{}", abi::assertions());
            Ok(())
        }
    }
}
