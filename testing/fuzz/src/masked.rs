//! Faults that are known and not mended yet: empty, when there are none.

use crate::case::Case;
use crate::facts::Facts;

/// Whether `finding` about a case, or about the parent after it, is of one of them.
pub(crate) fn is_known(case: Option<&Case>, facts: &Facts, finding: &str) -> bool {
    KNOWN.iter().any(|is_one| is_one(case, facts, finding))
}

type Known = fn(Option<&Case>, &Facts, &str) -> bool;

const KNOWN: [Known; 2] = [
    // Room for what is tried second cannot be told, so there is none for the first.
    |_, _, finding| finding.contains("Error(FileAction[") && finding.contains("EOPNOTSUPP"),
    // `Command` where pidfd_open is refused late.
    |_, facts, finding| {
        facts.refuses(libc::SYS_pidfd_open) && finding.contains("Error(Pidfd[0], Errno(ENOSYS))")
    },
];

/// The calls that must not be trapped: a spawn makes them with `SIGSYS` blocked, and dies.
pub(crate) const UNTRAPPED: [i64; 3] = [libc::SYS_clone3, libc::SYS_wait4, libc::SYS_waitid];
