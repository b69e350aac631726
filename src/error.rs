//! What a spawn that failed tells its caller.

use core::fmt;

use crate::errno::Errno;
use crate::plan::Step;
use crate::plan::op::Tag;
use crate::text::Digits;

/// Why there is no child: the step, which item of it, and the cause.
///
/// Whatever the error, the parent is as it was: no zombie, no open descriptor,
/// the same signal mask.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Error {
    step: Step,
    cause: Cause,
    index: u16,
}

/// What ended the spawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// A system call failed, or the request was refused before one was made.
    Errno(Errno),
    /// A signal killed the child before it executed the program.
    Killed(u8),
    /// The child exited before it executed the program: a hook did it.
    Exited(u8),
}

impl Error {
    pub(crate) const fn new(step: Step, index: u16, errno: Errno) -> Self {
        Self { step, cause: Cause::Errno(errno), index }
    }

    pub(crate) const fn with_index(self, index: usize) -> Self {
        Self { index: Tag::item(self.step, index).index, ..self }
    }

    pub(crate) const fn died(cause: Cause) -> Self {
        Self { step: Step::Child, cause, index: 0 }
    }

    /// Whether the storage was too small.
    pub(crate) fn is_too_small(self) -> bool {
        (self.step, self.cause) == (Step::Plan, Cause::Errno(Errno::ENOBUFS))
    }

    /// The step that failed.
    pub const fn step(&self) -> Step {
        self.step
    }

    /// Which item of the step: the position in the caller's list of
    /// descriptors, limits or exec candidates. 0 where there is but one.
    pub const fn index(&self) -> usize {
        self.index as usize
    }

    /// What ended the spawn.
    pub const fn cause(&self) -> Cause {
        self.cause
    }

    /// The error number, where a system call failed.
    pub const fn errno(&self) -> Option<Errno> {
        match self.cause {
            Cause::Errno(errno) => Some(errno),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.step.texts().nth(1).unwrap_or_default())?;
        if self.step.has_items() {
            f.write_str(" (item ")?;
            Digits::decimal(self.index.into()).write_to(f)?;
            f.write_str(")")?;
        }
        f.write_str(": ")?;
        let (how, number) = match self.cause {
            Cause::Errno(errno) => return fmt::Display::fmt(&errno, f),
            Cause::Killed(signal) => ("killed by signal ", signal),
            Cause::Exited(code) => ("exited with status ", code),
        };
        f.write_str(how)?;
        Digits::decimal(number.into()).write_to(f)?;
        f.write_str(" before exec")
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}[{}], {:?})", self.step, self.index, self.cause)
    }
}

impl core::error::Error for Error {}

#[cfg(feature = "std")]
impl From<Error> for std::io::Error {
    /// Keeps the error number, so that `kind()` and `raw_os_error()` are what
    /// `std::process` gives; the step remains in an error without a number.
    fn from(error: Error) -> Self {
        match error.cause {
            Cause::Errno(errno) => Self::from_raw_os_error(errno.raw()),
            _ => Self::other(error),
        }
    }
}

const _: () = assert!(size_of::<Error>() <= 8);
