//! Descriptors of this process, and pipes.

use core::mem;

use crate::errno::Errno;
use crate::request::RawFd;
use crate::sys;

/// An open descriptor of this process, closed when dropped.
///
/// With feature `std` it converts to and from `std::os::fd::OwnedFd`.
#[derive(Debug)]
pub struct Fd(RawFd);

impl Fd {
    /// Takes over `fd`, which is open and nobody else's.
    pub(crate) const fn new(fd: RawFd) -> Self {
        Self(fd)
    }

    /// The number.
    pub const fn raw(&self) -> RawFd {
        self.0
    }

    /// Gives the descriptor away: it is the caller's to close.
    pub const fn into_raw(self) -> RawFd {
        let fd = self.0;
        mem::forget(self);
        fd
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        sys::close(self.0);
    }
}

/// Makes a pipe: the reading end and the writing end, both close-on-exec.
///
/// Their numbers are above 2, even in a process without standard streams: a
/// request that gives the child its own would overwrite them.
///
/// # Errors
///
/// `EMFILE` and `ENFILE`, as pipe(2).
///
/// # See
///
/// pipe2(2), `O_CLOEXEC`.
pub fn pipe() -> Result<(Fd, Fd), Errno> {
    let (reader, writer) = sys::pipe()?;
    Ok((above_stderr(reader)?, above_stderr(writer)?))
}

/// The same, by a number above those of the standard streams.
pub(crate) fn above_stderr(fd: Fd) -> Result<Fd, Errno> {
    if fd.raw() > 2 { Ok(fd) } else { sys::duplicate(fd.raw(), 3) }
}

#[cfg(feature = "std")]
mod std_impls {
    #![allow(unsafe_code)]

    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

    use super::Fd;

    impl From<Fd> for OwnedFd {
        fn from(fd: Fd) -> Self {
            // SAFETY: An `Fd` is open and owned, and gives itself up here.
            unsafe { Self::from_raw_fd(fd.into_raw()) }
        }
    }

    impl From<OwnedFd> for Fd {
        fn from(fd: OwnedFd) -> Self {
            Self(fd.into_raw_fd())
        }
    }

    impl AsFd for Fd {
        fn as_fd(&self) -> BorrowedFd<'_> {
            // SAFETY: An `Fd` stays open while it is borrowed.
            unsafe { BorrowedFd::borrow_raw(self.0) }
        }
    }

    impl AsRawFd for Fd {
        fn as_raw_fd(&self) -> i32 {
            self.0
        }
    }
}
