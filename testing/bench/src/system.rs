//! What this machine has, and what a report says of it.
#![allow(unsafe_code)]

use std::io;
use std::thread::available_parallelism;

use crate::peers::Kind;
use crate::remote::{Programs, first_line};

/// Descriptors enough for the largest point.
const WANTED_FDS: u64 = 20_000;

/// Memory that can be had, in MiB.
pub(crate) fn available_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

/// Whether this process may change its user.
pub(crate) fn is_root() -> bool {
    // SAFETY: It touches no memory.
    unsafe { libc::geteuid() == 0 }
}

/// How many descriptors a process may have: the soft limit.
pub(crate) fn most_fds() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: It writes the struct.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur
}

/// Raises the soft limit of descriptors as far as is wanted, for the workers to
/// inherit.
pub(crate) fn raise_most_fds() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: It writes the struct.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur = limit.rlim_cur.max(WANTED_FDS.min(limit.rlim_max));
    // SAFETY: It reads the struct.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
}

/// Keeps what we were given beside 0, 1 and 2 from the workers: their descriptors are
/// part of what is measured.
pub(crate) fn keep_fds() -> io::Result<()> {
    // SAFETY: It only marks them.
    let result = unsafe { libc::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as i32) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// One line on what the numbers are of.
pub(crate) fn description(programs: &Programs) -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel: Vec<_> = release.trim().split('.').take(2).collect();
    let mut parts = vec![
        format!("Linux {}", kernel.join(".")),
        std::env::consts::ARCH.to_owned(),
        format!("{} CPUs", available_parallelism().map_or(1, usize::from)),
    ];
    let versions = [
        (Kind::Native, first_line("getconf", &["GNU_LIBC_VERSION"])),
        (Kind::Native, without_commit(&first_line("rustc", &["--version"]))),
        (Kind::Musl, musl_version(programs)),
        (Kind::Python, first_line(&programs.python, &["--version"])),
        (Kind::Go, go_version()),
    ];
    let known = versions.into_iter().filter(|(kind, text)| programs.has(*kind) && !text.is_empty());
    parts.extend(known.map(|(_, text)| text));
    parts.join(", ")
}

/// `rustc 1.85.0 (4d91de4e4 2025-02-17)` without what is in brackets.
fn without_commit(version: &str) -> String {
    version.split(" (").next().unwrap_or_default().to_owned()
}

/// `go version go1.19.8 linux/amd64` in two words.
fn go_version() -> String {
    let line = first_line("go", &["version"]);
    line.split(' ').nth(2).map_or(String::new(), |word| word.replacen("go", "Go ", 1))
}

/// As `./benchmark` wrote it down: musl's programs do not say.
fn musl_version(programs: &Programs) -> String {
    let file = programs.folder.join("musl-version");
    std::fs::read_to_string(file).map_or(String::new(), |text| format!("musl {}", text.trim()))
}
