//! What a child's standard streams are, and the parent's ends of pipes to them.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::process;
use std::vec::Vec;

use crate::fd::{Fd, pipe};
use crate::request::{FdAction, RawFd};

/// What one of the child's standard streams is. As `std::process::Stdio`.
pub struct Stdio(Kind);

impl fmt::Debug for Stdio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stdio").finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Kind {
    Inherit,
    Null,
    Piped,
    Fd(OwnedFd),
    /// The parent's standard output.
    Stdout,
    /// The parent's standard error.
    Stderr,
}

/// An action, and the ends of a pipe: the child's and the parent's.
type Prepared = (Option<FdAction<'static>>, Option<(Fd, OwnedFd)>);

impl Stdio {
    /// The parent's.
    pub fn inherit() -> Self {
        Self(Kind::Inherit)
    }

    /// `/dev/null`.
    pub fn null() -> Self {
        Self(Kind::Null)
    }

    /// A pipe, whose other end [`Child`](super::Child) has.
    pub fn piped() -> Self {
        Self(Kind::Piped)
    }

    /// Whether it asks for a pipe.
    pub fn makes_pipe(&self) -> bool {
        matches!(self.0, Kind::Piped)
    }

    /// The action that makes it the child's `child_fd`, and the ends of a pipe:
    /// the child's, which is to be closed after the spawn, and the parent's.
    pub(super) fn prepare(&self, child_fd: RawFd) -> io::Result<Prepared> {
        let reads = child_fd == 0;
        let map = |parent_fd| Some(FdAction::Map { parent_fd, child_fd });
        Ok(match &self.0 {
            Kind::Inherit => (None, None),
            Kind::Fd(fd) => (map(fd.as_raw_fd()), None),
            Kind::Stdout => (map(1), None),
            Kind::Stderr => (map(2), None),
            Kind::Null => {
                // O_RDONLY and O_WRONLY, everywhere.
                let (path, flags) = (c"/dev/null", i32::from(!reads));
                (Some(FdAction::Open { child_fd, path, flags, mode: 0 }), None)
            }
            Kind::Piped => {
                let (reader, writer) = pipe()?;
                let (theirs, ours) = if reads { (reader, writer) } else { (writer, reader) };
                (map(theirs.raw()), Some((theirs, ours.into())))
            }
        })
    }

    /// The same for `std::process`.
    pub(super) fn to_std(&self) -> io::Result<process::Stdio> {
        Ok(match &self.0 {
            Kind::Inherit => process::Stdio::inherit(),
            Kind::Null => process::Stdio::null(),
            Kind::Piped => process::Stdio::piped(),
            Kind::Fd(fd) => fd.try_clone()?.into(),
            Kind::Stdout => io::stdout().into(),
            Kind::Stderr => io::stderr().into(),
        })
    }
}

impl From<OwnedFd> for Stdio {
    fn from(fd: OwnedFd) -> Self {
        Self(Kind::Fd(fd))
    }
}

impl From<Fd> for Stdio {
    fn from(fd: Fd) -> Self {
        OwnedFd::from(fd).into()
    }
}

/// From what std has that owns a descriptor.
macro_rules! from_std {
    ($($owner:ty),+) => {
        $(impl From<$owner> for Stdio {
            fn from(owner: $owner) -> Self {
                OwnedFd::from(owner).into()
            }
        })+
    };
}
from_std!(File, process::ChildStdin, process::ChildStdout, process::ChildStderr);
#[cfg(has_io_pipe)]
mod of_pipes {
    // Rust 1.87, which build.rs looks for.
    #![allow(clippy::incompatible_msrv)]
    use super::{OwnedFd, Stdio, io};
    from_std!(io::PipeReader, io::PipeWriter);
}

impl From<io::Stdout> for Stdio {
    /// The parent's standard output.
    fn from(_: io::Stdout) -> Self {
        Self(Kind::Stdout)
    }
}

impl From<io::Stderr> for Stdio {
    /// The parent's standard error.
    fn from(_: io::Stderr) -> Self {
        Self(Kind::Stderr)
    }
}

impl FromRawFd for Stdio {
    #[allow(unsafe_code)]
    unsafe fn from_raw_fd(fd: RawFd) -> Self {
        // SAFETY: The caller's promise is the same.
        unsafe { OwnedFd::from_raw_fd(fd) }.into()
    }
}

/// A type for the parent's end of a pipe.
macro_rules! end {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(File);

        impl From<OwnedFd> for $name {
            fn from(fd: OwnedFd) -> Self {
                Self(fd.into())
            }
        }

        impl From<$name> for OwnedFd {
            fn from(end: $name) -> Self {
                end.0.into()
            }
        }

        impl From<$name> for Stdio {
            fn from(end: $name) -> Self {
                OwnedFd::from(end).into()
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.0.as_raw_fd()
            }
        }

        impl IntoRawFd for $name {
            fn into_raw_fd(self) -> RawFd {
                self.0.into_raw_fd()
            }
        }
    };
}

end! {
    /// The writing end of a pipe to a child's standard input.
    ChildStdin
}
end! {
    /// The reading end of a pipe from a child's standard output.
    ChildStdout
}
end! {
    /// The reading end of a pipe from a child's standard error.
    ChildStderr
}

impl Write for ChildStdin {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for &ChildStdin {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

macro_rules! readable {
    ($name:ident) => {
        impl Read for $name {
            fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
                self.0.read(bytes)
            }

            fn read_vectored(&mut self, bytes: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.0.read_vectored(bytes)
            }

            fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
                self.0.read_to_end(bytes)
            }
        }
    };
}

readable!(ChildStdout);
readable!(ChildStderr);
