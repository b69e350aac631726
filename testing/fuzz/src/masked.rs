//! Faults that are known and not mended yet: empty, when there are none.

use crate::case::Case;
use crate::facts::Facts;

/// Whether `finding` about a case, or about the parent after it, is of one of them.
pub(crate) fn is_known(case: Option<&Case>, facts: &Facts, finding: &str) -> bool {
    KNOWN.iter().any(|is_one| is_one(case, facts, finding))
}

type Known = fn(Option<&Case>, &Facts, &str) -> bool;

const KNOWN: [Known; 1] = [
    // `Command` where pidfd_open is refused late, and clone3 or clone are too.
    |_, facts, finding| {
        facts.refuses(libc::SYS_pidfd_open) && finding.contains("Error(Pidfd[0], Errno(ENOSYS))")
    },
];
