//! Faults that are known and not mended yet: empty, when there are none.

use crate::case::{Case, Item};
use crate::facts::Facts;

/// Whether `finding` about `case` is of one of them.
pub(crate) fn is_known(case: Option<&Case>, facts: &Facts, finding: &str) -> bool {
    KNOWN.iter().any(|is_one| is_one(case, facts, finding))
}

type Known = fn(Option<&Case>, &Facts, &str) -> bool;

const KNOWN: [Known; 5] = [
    // A second try in the room of the first.
    |_, _, finding| finding.starts_with("Error(Plan[0], Errno(ENOBUFS))"),
    // The record locks of a file that is lent a low number.
    |_, _, finding| finding.contains("record lock: was"),
    // `Command` where pidfd_open is refused late.
    |_, facts, finding| {
        facts.refuses(libc::SYS_pidfd_open) && finding.contains("Error(Pidfd[0], Errno(ENOSYS))")
    },
    // What a waiting child needs is not counted.
    |case, _, finding| {
        waits(case) && (finding.ends_with("is too little") || finding.starts_with("Error(Clone["))
    },
    // Who may not call wait4, or waitid.
    |_, facts, _| facts.refuses(libc::SYS_wait4) || facts.refuses(libc::SYS_waitid),
];

fn waits(case: Option<&Case>) -> bool {
    case.is_some_and(|case| {
        case.items.iter().any(|item| matches!(item, Item::ParentHook(_) | Item::MoreIds))
    })
}
