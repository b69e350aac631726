//! What `posix_spawn(3)` sets up, in its order: for those who offer its interface.

use core::ffi::{CStr, c_int};

use crate::request::{RawFd, Scheduler};

/// A file action of `posix_spawn(3)`. They happen one after the other, each after what the
/// ones before have done: unlike [`FdAction`](crate::FdAction)s, which say what there is to be
/// in the end.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum FileAction<'a> {
    /// Closes a descriptor. It need not be open, if the number is below `RLIMIT_NOFILE`.
    Close {
        /// The descriptor.
        fd: RawFd,
    },
    /// Opens a file at a number, which is closed first.
    Open {
        /// The number.
        fd: RawFd,
        /// The path.
        path: &'a CStr,
        /// The flags of open(2).
        flags: c_int,
        /// The mode of a file that is created.
        mode: u32,
    },
    /// Duplicates a descriptor. Equal numbers clear its close-on-exec flag.
    Dup2 {
        /// What is duplicated.
        fd: RawFd,
        /// The number of the copy.
        new_fd: RawFd,
    },
    /// Changes the working directory.
    Chdir {
        /// The directory.
        path: &'a CStr,
    },
    /// Changes the working directory to that behind a descriptor.
    Fchdir {
        /// The directory.
        fd: RawFd,
    },
    /// Closes a descriptor and all above it.
    CloseFrom {
        /// The lowest.
        fd: RawFd,
    },
    /// Makes the child's process group the foreground group of a terminal. The child is not
    /// stopped for it.
    SetForeground {
        /// The terminal.
        fd: RawFd,
    },
}

impl FileAction<'_> {
    /// Whether it is about the descriptor `number`.
    pub(crate) fn names(&self, number: RawFd) -> bool {
        match *self {
            Self::Close { fd }
            | Self::Open { fd, .. }
            | Self::Fchdir { fd }
            | Self::SetForeground { fd } => fd == number,
            Self::Dup2 { fd, new_fd } => fd == number || new_fd == number,
            Self::CloseFrom { fd } => fd <= number,
            Self::Chdir { .. } => false,
        }
    }
}

/// What `posix_spawn(3)` does in the child besides signals: see
/// [`Request::posix`](crate::Request::posix).
#[derive(Clone, Copy, Debug, Default)]
pub struct PosixSpawn<'a> {
    pub(crate) scheduler: Option<Scheduler>,
    pub(crate) priority: Option<c_int>,
    pub(crate) session: bool,
    pub(crate) pgrp: Option<c_int>,
    pub(crate) resets_ids: bool,
    pub(crate) cgroup: Option<RawFd>,
    pub(crate) actions: &'a [FileAction<'a>],
}

impl<'a> PosixSpawn<'a> {
    /// Nothing.
    pub const fn new() -> Self {
        Self {
            scheduler: None,
            priority: None,
            session: false,
            pgrp: None,
            resets_ids: false,
            cgroup: None,
            actions: &[],
        }
    }

    /// Sets policy and priority, `POSIX_SPAWN_SETSCHEDULER`.
    pub const fn scheduler(mut self, scheduler: Scheduler) -> Self {
        self.scheduler = Some(scheduler);
        self
    }

    /// Sets the priority alone, `POSIX_SPAWN_SETSCHEDPARAM`, by `sched_setparam(2)`. Has no effect
    /// beside a policy.
    pub const fn priority(mut self, priority: c_int) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Makes the child the leader of a session, `POSIX_SPAWN_SETSID`.
    pub const fn session(mut self, on: bool) -> Self {
        self.session = on;
        self
    }

    /// Puts the child into a process group, `POSIX_SPAWN_SETPGROUP`; 0 is one of its own.
    pub const fn process_group(mut self, pgrp: c_int) -> Self {
        self.pgrp = Some(pgrp);
        self
    }

    /// Makes the effective ids the real ones, `POSIX_SPAWN_RESETIDS`. Where they differ the
    /// child is a fork.
    pub const fn reset_ids(mut self, on: bool) -> Self {
        self.resets_ids = on;
        self
    }

    /// Makes the child in the cgroup with this directory, `POSIX_SPAWN_SETCGROUP`: see
    /// [`Request::cgroup`](crate::Request::cgroup).
    pub const fn cgroup(mut self, fd: RawFd) -> Self {
        self.cgroup = Some(fd);
        self
    }

    /// Sets the file actions.
    pub const fn actions(mut self, actions: &'a [FileAction<'a>]) -> Self {
        self.actions = actions;
        self
    }

    /// Whether all descriptors from one on are closed.
    pub(crate) fn closes_from(&self) -> bool {
        self.actions.iter().any(|action| matches!(action, FileAction::CloseFrom { .. }))
    }

    /// Whether a file is opened with one of `bits` among the flags.
    pub(crate) fn opens_with(&self, bits: c_int) -> bool {
        let has = |action: &FileAction<'_>| matches!(action, FileAction::Open { flags, .. } if flags & bits != 0);
        self.actions.iter().any(has)
    }

    /// Whether a terminal's foreground is taken.
    pub(crate) fn takes_foreground(&self) -> bool {
        self.actions.iter().any(|action| matches!(action, FileAction::SetForeground { .. }))
    }
}
