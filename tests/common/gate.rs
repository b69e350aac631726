//! A place where a child waits, between its making and its exec, until it is let on.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;

use rawspawn::FdAction;

use super::TempDir;
use super::own::until;

/// A FIFO that a child opens: it blocks until somebody opens the other end.
pub(crate) struct Gate {
    path: CString,
    _dir: TempDir,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new();
        let path = dir.join("gate");
        // SAFETY: A C string.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0, "mkfifo");
        Self { path, _dir: dir }
    }

    /// What holds a child up, which has `child_fd` then.
    pub(crate) fn at(&self, child_fd: i32) -> FdAction<'_> {
        FdAction::Open { child_fd, path: &self.path, flags: libc::O_RDONLY, mode: 0 }
    }

    /// Lets one child on, and waits for it if it has not come.
    #[track_caller]
    pub(crate) fn open(&self) {
        let path = OsStr::from_bytes(self.path.as_bytes());
        let mut options = File::options();
        options.write(true).custom_flags(libc::O_NONBLOCK);
        // Nobody is there as long as it is ENXIO.
        until("a child comes to the gate", || options.open(path).is_ok());
    }
}
