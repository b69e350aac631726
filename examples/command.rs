//! A command as with `std::process`, and what this crate adds.
//!
//! Run with: `cargo run --example command`

use std::time::Duration;

use rawspawn::{Command, SpawnError};

fn main() -> std::io::Result<()> {
    let output = Command::new("tr").arg("a-z").arg("A-Z").current_dir("/").output()?;
    println!("tr: {}", output.status);

    let slow = Command::new("sleep").arg("1000").output_timeout(Duration::from_millis(100));
    println!("sleep: {}", slow.unwrap_err());

    match Command::new("true").current_dir("/nonexistent").umask(0o077).try_spawn() {
        Err(SpawnError::Spawn(error)) => println!("true: {error}"),
        other => println!("true: {other:?}"),
    }
    Ok(())
}
