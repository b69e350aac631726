//! A child that executes its program: waiting for it and signalling it.

use core::ffi::c_int;
use core::time::Duration;

use linux_raw_sys::general as uapi;

use crate::errno::Errno;
use crate::fd::Fd;
#[cfg(feature = "std")]
use crate::fd::above_stderr;
use crate::mode::{Mode, Reason};
use crate::request::RawFd;
use crate::status::WaitStatus;
use crate::sys::{self, Rusage, Target};

/// How long to wait at most before a child without a pidfd is asked for again, in nanoseconds.
const MOST_PAUSE: u64 = 8_000_000;

/// A process that was spawned: the child of a [`Request`](crate::Request).
///
/// Dropping it neither kills nor waits: a child that nobody waits for stays a
/// zombie until its parent ends.
#[derive(Debug)]
pub struct Process {
    pid: c_int,
    pidfd: Option<Fd>,
    status: Option<WaitStatus>,
    mode: Mode,
    reason: Reason,
    /// A stop that the next wait is to tell: of a program that has itself traced by its parent,
    /// when the spawn asked for it.
    stop: Option<WaitStatus>,
}

impl Process {
    pub(crate) fn new(
        pid: c_int,
        pidfd: Option<Fd>,
        mode: Mode,
        reason: Reason,
        stop: Option<WaitStatus>,
    ) -> Self {
        Self { pid, pidfd, status: None, mode, reason, stop }
    }

    /// The process, of a parent that went on.
    pub(crate) fn into_detached(self) -> Self {
        Self { mode: Mode::Detached, reason: Reason::Default, ..self }
    }

    /// The pid, as the parent sees it.
    pub fn pid(&self) -> c_int {
        self.pid
    }

    /// The pidfd, if one was asked for. It is close-on-exec, and readable in
    /// poll(2) once the child has ended.
    pub fn pidfd(&self) -> Option<RawFd> {
        self.pidfd.as_ref().map(Fd::raw)
    }

    /// The pidfd, to borrow.
    #[cfg(feature = "std")]
    pub(crate) fn pidfd_ref(&self) -> Option<&Fd> {
        self.pidfd.as_ref()
    }

    /// A pidfd of the child, if it is not gone.
    #[cfg(feature = "std")]
    pub(crate) fn open_pidfd(&self) -> Option<Fd> {
        if self.status.is_some() {
            return None;
        }
        let pidfd = above_stderr(sys::pidfd_open(self.pid).ok()?).ok()?;
        // Somebody else may have reaped it, and its pid be another's. (EINVAL below Linux 5.4.)
        let options = uapi::WEXITED | uapi::WNOHANG | uapi::WNOWAIT;
        let found = sys::waitid(Target::Pidfd(pidfd.raw()), options, None);
        (found.err() != Some(Errno::ECHILD)).then_some(pidfd)
    }

    /// Takes the pidfd out: it is the caller's to close.
    pub fn take_pidfd(&mut self) -> Option<RawFd> {
        self.pidfd.take().map(Fd::into_raw)
    }

    /// The mode that the child was made in.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Why it was that mode.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The status that an earlier wait found.
    pub fn status(&self) -> Option<WaitStatus> {
        self.status
    }

    /// Waits until the child has ended, and reaps it.
    ///
    /// Of a child that the caller traces, by ptrace(2), it also tells each stop, as waitpid(2)
    /// does: by [`WaitStatus::stopped_signal`]. Such a child has not ended, and can be waited for
    /// again. So it is with the other waits.
    ///
    /// # Errors
    ///
    /// `ECHILD`: somebody else has reaped it, or the process ignores `SIGCHLD`.
    pub fn wait(&mut self) -> Result<WaitStatus, Errno> {
        match self.status {
            Some(status) => Ok(status),
            // Without WNOHANG the kernel answers when there is a status.
            None => self.waitid(0, None).map(Option::unwrap_or_default),
        }
    }

    /// Waits as [`wait`](Self::wait) does, and says what the child has used.
    ///
    /// # Errors
    ///
    /// `ECHILD`, as for [`wait`](Self::wait), and after another wait.
    pub fn wait_with_usage(&mut self) -> Result<(WaitStatus, Rusage), Errno> {
        if self.status.is_some() {
            return Err(Errno::ECHILD);
        }
        let mut usage = sys::no_usage();
        let status = self.waitid(0, Some(&mut usage))?;
        Ok((status.unwrap_or_default(), usage))
    }

    /// Reaps the child if it has ended; `None` if it has not.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn try_wait(&mut self) -> Result<Option<WaitStatus>, Errno> {
        match self.status {
            Some(status) => Ok(Some(status)),
            None => self.waitid(uapi::WNOHANG, None),
        }
    }

    /// Waits until the child has ended or `timeout` has passed; `None` is the
    /// latter.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Kernel
    ///
    /// Linux 5.3: a pidfd tells of the end. Where there is none to be had, below that, by a
    /// filter, or as no descriptor is free, the child is asked for every few milliseconds.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<WaitStatus>, Errno> {
        if let Some(status) = self.try_wait()? {
            return Ok(Some(status));
        }
        // The pid is ours until it is reaped, which only we do.
        let opened = if self.pidfd.is_none() { sys::pidfd_open(self.pid).ok() } else { None };
        let pidfd = self.pidfd.as_ref().or(opened.as_ref()).map(Fd::raw);
        let nanos = timeout.as_secs().saturating_mul(1_000_000_000);
        let timeout = nanos.saturating_add(timeout.subsec_nanos().into());
        let deadline = sys::monotonic_ns().saturating_add(timeout);
        // Ever longer, so that a quick child is not waited for in vain, nor a slow one asked for often.
        let mut pause = MOST_PAUSE / 64;
        loop {
            let left = deadline.saturating_sub(sys::monotonic_ns());
            if let Some(pidfd) = pidfd {
                if sys::poll_readable(pidfd, left)? || left == 0 {
                    return self.try_wait();
                }
            } else {
                sys::sleep(left.min(pause) as u32);
                pause = MOST_PAUSE.min(pause * 2);
                let status = self.try_wait()?;
                if status.is_some() || left == 0 {
                    return Ok(status);
                }
            }
        }
    }

    /// Sends `signal`, through the pidfd if there is one.
    ///
    /// # Errors
    ///
    /// `ESRCH`: the child has been reaped; `EINVAL`: not a signal; `EPERM`.
    pub fn signal(&self, signal: c_int) -> Result<(), Errno> {
        if self.status.is_some() {
            return Err(Errno::ESRCH);
        }
        match &self.pidfd {
            // A filter may know kill alone.
            Some(pidfd) => match sys::pidfd_send_signal(pidfd.raw(), signal) {
                Err(Errno::ENOSYS) => sys::kill(self.pid, signal),
                result => result,
            },
            None => sys::kill(self.pid, signal),
        }
    }

    /// Sends `SIGKILL`.
    ///
    /// # Errors
    ///
    /// As [`signal`](Self::signal).
    pub fn kill(&self) -> Result<(), Errno> {
        self.signal(uapi::SIGKILL as c_int)
    }

    fn waitid(
        &mut self,
        options: u32,
        mut usage: Option<&mut Rusage>,
    ) -> Result<Option<WaitStatus>, Errno> {
        if let Some(stop) = self.stop.take() {
            return Ok(Some(stop));
        }
        let options = options | uapi::WEXITED;
        let by_pid = Target::Pid(self.pid);
        let status = match &self.pidfd {
            Some(fd) => match sys::waitid(Target::Pidfd(fd.raw()), options, usage.as_deref_mut()) {
                // Linux 5.4; EINVAL below that. Or a filter.
                Err(Errno::EINVAL | Errno::ENOSYS | Errno::EPERM) => {
                    sys::waitid(by_pid, options, usage)?
                }
                result => result?,
            },
            None => sys::waitid(by_pid, options, usage)?,
        };
        // A process that the caller traces is still there after a stop.
        if status.is_some_and(WaitStatus::is_end) {
            self.status = status;
        }
        Ok(status)
    }
}
