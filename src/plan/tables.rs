//! Tables that only some programs need: names of steps and calls that few options make.
//!
//! They come with those options. Whoever prints a plan or an error asks for what is
//! [linked](link), so that a program without such an option does not contain them.
#![allow(unsafe_code)]

use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use super::calls::{self, Kind, Signature};
use super::show;
use super::step;

/// What an option brings along.
pub(crate) struct Tables {
    /// Like `step::TEXTS`, with an empty line for each step that has its texts there.
    pub(super) steps: &'static str,
    pub(super) calls: &'static [Signature],
    /// A line for each of the calls.
    pub(super) names: &'static str,
    /// Prints the argument, if it is of a kind that few calls have.
    pub(super) argument: fn(&mut fmt::Formatter<'_>, Kind, isize) -> Result<bool, fmt::Error>,
}

static TABLES: Tables = Tables {
    steps: step::MORE_TEXTS,
    calls: calls::MORE,
    names: calls::MORE_NAMES,
    argument: show::more,
};

static LINKED: AtomicPtr<Tables> = AtomicPtr::new(ptr::null_mut());

/// Has [`linked`] give the tables from now on. An option does so before it makes a call
/// or an error that is named there.
pub(crate) fn link() {
    LINKED.store(ptr::from_ref(&TABLES).cast_mut(), Ordering::Relaxed);
}

/// The tables, if there is anything in this program that needs them.
pub(super) fn linked() -> Option<&'static Tables> {
    // SAFETY: Null, or a static that nobody writes to.
    unsafe { LINKED.load(Ordering::Relaxed).as_ref() }
}
