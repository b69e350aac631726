//! Faults that are known and not mended yet: empty, when there are none.

use crate::case::Case;
use crate::facts::Facts;

/// Whether `finding` about a case, or about the parent after it, is of one of them.
pub(crate) fn is_known(case: Option<&Case>, facts: &Facts, finding: &str) -> bool {
    KNOWN.iter().any(|is_one| is_one(case, facts, finding))
}

type Known = fn(Option<&Case>, &Facts, &str) -> bool;

const KNOWN: [Known; 0] = [];

/// The calls that must not be trapped: a spawn makes them with `SIGSYS` blocked, and dies.
pub(crate) const UNTRAPPED: [i64; 3] = [libc::SYS_clone3, libc::SYS_wait4, libc::SYS_waitid];
