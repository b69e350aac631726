//! Faults that are known and not mended yet: empty, when there are none.

use crate::case::Case;
use crate::model::Facts;

/// Whether `finding` about `case` is of one of them.
pub(crate) fn is_known(case: Option<&Case>, facts: &Facts, finding: &str) -> bool {
    KNOWN.iter().any(|is_one| is_one(case, facts, finding))
}

type Known = fn(Option<&Case>, &Facts, &str) -> bool;

const KNOWN: [Known; 3] = [
    // A second try in the room of the first.
    |_, _, finding| finding.starts_with("Error(Plan[0], Errno(ENOBUFS))"),
    // The record locks of a file that is lent a low number.
    |_, _, finding| finding.contains("record lock: was"),
    // Who may not call wait4.
    |_, facts, _| facts.refuses(libc::SYS_wait4),
];
