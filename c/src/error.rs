//! Errors, as C is told them.

use core::fmt;

use rawspawn::{Cause, Errno};

use crate::abi::{Error, Refused, Step};
use crate::steps;

impl Error {
    pub(crate) const fn new(step: Step, index: usize, errno: Errno) -> Self {
        let index = if index > u16::MAX as usize { u16::MAX as u32 } else { index as u32 };
        Self { number: errno.raw(), step: step as u32, index, status: 0 }
    }

    /// That `step` of the request is not as it should be, and `why`.
    pub(crate) const fn refused(step: Step, index: usize, why: Refused) -> Self {
        Self { status: why as i32, ..Self::new(step, index, Errno::EINVAL) }
    }

    /// Whether there is too little memory for the plan.
    pub(crate) const fn is_too_small(&self) -> bool {
        self.step == Step::Plan as u32 && self.number == Errno::ENOBUFS.raw()
    }
}

impl From<rawspawn::Error> for Error {
    fn from(error: rawspawn::Error) -> Self {
        let step = steps::number(error.step());
        let (errno, status) = match error.cause() {
            Cause::Errno(errno) => (errno, 0),
            Cause::Killed(signal) => (Errno::ECHILD, i32::from(signal)),
            Cause::Exited(code) => (Errno::ECHILD, i32::from(code) << 8),
            _ => (Errno::ECHILD, 0),
        };
        Self { status, ..Self::new(step, error.index(), errno) }
    }
}

/// What each [`Refused`] says.
const REFUSED: [&str; Refused::NoEffect as usize + 1] = [
    "",
    "none is given: ",
    "more than one is given: ",
    "the structure's size is none that it has had: ",
    "a member that this library does not know is set: ",
    "a flag or kind that this library does not know: ",
    "a number without RAWSPAWN_SET: ",
    "a number out of its range: ",
    "a member is set that has no effect here: ",
];

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = steps::step(self.step);
        f.write_str(step.map_or("spawn", rawspawn::Step::doing))?;
        if step.is_some_and(rawspawn::Step::has_items) {
            write!(f, " (item {})", self.index)?;
        }
        f.write_str(": ")?;
        if self.step != Step::Child as u32 {
            f.write_str(REFUSED.get(self.status as usize).copied().unwrap_or_default())?;
        } else if self.status != 0 {
            return write!(f, "{} before exec", rawspawn::WaitStatus::from_raw(self.status));
        }
        match Errno::from_raw(self.number) {
            Some(errno) => fmt::Display::fmt(&errno, f),
            None => f.write_str("no error"),
        }
    }
}
