//! Runs a program as a container or a service manager would: with the filter of a profile,
//! and no capability that the profile does not name.
//!
//! Usage: `rawspawn-confine PROFILE COMMAND [ARGUMENT]...`
#![allow(unsafe_code)]

mod capabilities;
mod filter;
mod profile;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [profile, command, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: rawspawn-confine PROFILE COMMAND [ARGUMENT]...");
        return ExitCode::from(2);
    };
    let text = std::fs::read_to_string(profile);
    let parsed = text.map_err(|error| error.to_string()).and_then(|text| profile::parse(&text));
    let error = match parsed.and_then(|profile| enter(&profile)) {
        Ok(()) => Command::new(command).args(rest).exec().to_string(),
        Err(error) => error,
    };
    eprintln!("{}: {error}", Path::new(profile).display());
    ExitCode::from(125)
}

/// Puts this process under `profile`. As runtimes do, the filter comes before the
/// capabilities go, so that it needs no `no_new_privs`, which would be seen inside.
fn enter(profile: &profile::Profile) -> Result<(), String> {
    let program = filter::compile(profile);
    let privileged = capabilities::permitted()? & capabilities::SYS_ADMIN != 0;
    filter::install(&program, !privileged).map_err(|error| format!("the filter: {error}"))?;
    match profile.capabilities {
        Some(kept) => capabilities::limit(kept).map_err(|error| format!("capabilities: {error}")),
        None => Ok(()),
    }
}
