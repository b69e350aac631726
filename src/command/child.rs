//! A running child with its pipes: waiting, reading, killing.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{ExitStatus, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::vec::Vec;
use std::{error, fmt};

use super::stdio::{ChildStderr, ChildStdin, ChildStdout};
use crate::fd::Fd;
use crate::mode::{Mode, Reason};
use crate::process::Process;
use crate::sys;

/// A child of a [`Command`](super::Command). As `std::process::Child`: dropping it
/// neither kills nor waits.
#[derive(Debug)]
pub struct Child {
    /// The pipe to standard input, if one was asked for.
    pub stdin: Option<ChildStdin>,
    /// The pipe from standard output, if one was asked for.
    pub stdout: Option<ChildStdout>,
    /// The pipe from standard error, if one was asked for.
    pub stderr: Option<ChildStderr>,
    process: Process,
    /// The pidfd, where it did not come with the child.
    late_pidfd: OnceLock<Fd>,
}

/// The error inside the `io::Error` of a deadline that has passed: what there is of
/// the output. `io::Error::downcast` gets it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedOut {
    /// What came until then; the status is that of the killed child.
    pub output: Output,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the child did not end in time")
    }
}

impl error::Error for TimedOut {}

impl Child {
    pub(super) fn new(process: Process, [stdin, stdout, stderr]: [Option<OwnedFd>; 3]) -> Self {
        Self {
            stdin: stdin.map(Into::into),
            stdout: stdout.map(Into::into),
            stderr: stderr.map(Into::into),
            process,
            late_pidfd: OnceLock::new(),
        }
    }

    /// The pid.
    pub fn id(&self) -> u32 {
        self.process.pid().unsigned_abs()
    }

    /// The mode that the child was made in.
    pub fn mode(&self) -> Mode {
        self.process.mode()
    }

    /// Why it was that mode.
    pub fn reason(&self) -> Reason {
        self.process.reason()
    }

    /// The pidfd, where the kernel has them (Linux 5.3). It is readable once the
    /// child has ended, which any event loop can wait for.
    ///
    /// A child with hooks, or one that was made when no descriptor was free, gets it here: `None`
    /// if there still is none to be had, or if the child is gone.
    pub fn pidfd(&self) -> Option<&Fd> {
        if let Some(pidfd) = self.process.pidfd_ref().or_else(|| self.late_pidfd.get()) {
            return Some(pidfd);
        }
        let pidfd = self.process.open_pidfd()?;
        Some(self.late_pidfd.get_or_init(|| pidfd))
    }

    /// Kills the child. Nothing happens to one that has been reaped.
    ///
    /// # Errors
    ///
    /// Those of kill(2).
    pub fn kill(&mut self) -> io::Result<()> {
        self.signal(sys::SIGKILL)
    }

    /// Sends `signal` to the child. Nothing happens to one that has been reaped.
    ///
    /// # Errors
    ///
    /// Those of kill(2).
    pub fn signal(&mut self, signal: i32) -> io::Result<()> {
        if self.process.status().is_some() {
            return Ok(());
        }
        Ok(self.process.signal(signal)?)
    }

    /// Closes the pipe to the child's standard input, waits until the child has
    /// ended, and reaps it.
    ///
    /// # Errors
    ///
    /// `ECHILD`: somebody else has reaped it.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        Ok(self.process.wait()?.into())
    }

    /// Reaps the child if it has ended.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        Ok(self.process.try_wait()?.map(Into::into))
    }

    /// Waits as [`wait`](Self::wait) does, but no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait); `ENOSYS` below Linux 5.3.
    pub fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        drop(self.stdin.take());
        Ok(self.process.wait_timeout(timeout)?.map(Into::into))
    }

    /// Waits until the child has ended, and collects what it writes to its pipes
    /// meanwhile, from both at once.
    ///
    /// # Errors
    ///
    /// Those of reading, and of [`wait`](Self::wait).
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        self.read_both(&mut stdout, &mut stderr, None)?;
        Ok(Output { status: self.wait()?, stdout, stderr })
    }

    /// Waits as [`wait_with_output`](Self::wait_with_output) does, but no longer
    /// than `timeout`; then the child is killed and reaped.
    ///
    /// # Errors
    ///
    /// `ErrorKind::TimedOut` with a [`TimedOut`] inside, which has the output so
    /// far: with a `timeout` of 0 too all that is in the pipes by now; those of `wait_with_output`.
    pub fn wait_with_output_timeout(mut self, timeout: Duration) -> io::Result<Output> {
        drop(self.stdin.take());
        let deadline = Instant::now().checked_add(timeout);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let in_time = self.read_both(&mut stdout, &mut stderr, deadline)?;
        let ended = match deadline {
            _ if !in_time => None,
            None => Some(self.wait()?),
            Some(deadline) => self.wait_timeout(until(deadline))?,
        };
        if let Some(status) = ended {
            return Ok(Output { status, stdout, stderr });
        }
        self.kill()?;
        let output = Output { status: self.wait()?, stdout, stderr };
        Err(io::Error::new(io::ErrorKind::TimedOut, TimedOut { output }))
    }

    /// Reads both pipes to their ends; `false` if `deadline` came first. Then all that was in the
    /// pipes by that time has been read.
    fn read_both(
        &mut self,
        stdout: &mut Vec<u8>,
        stderr: &mut Vec<u8>,
        deadline: Option<Instant>,
    ) -> io::Result<bool> {
        let (mut out, mut err) = (self.stdout.take(), self.stderr.take());
        loop {
            let fds = [out.as_ref().map(AsRawFd::as_raw_fd), err.as_ref().map(AsRawFd::as_raw_fd)];
            if fds == [None, None] {
                return Ok(true);
            }
            let left = deadline.map(until);
            if left == Some(Duration::ZERO) {
                let ended = [drain(&mut out, stdout)?, drain(&mut err, stderr)?];
                return Ok(ended == [true, true]);
            }
            let [out_ready, err_ready] = sys::poll_two(fds, left)?;
            if out_ready && read_some(&mut out, stdout)? {
                out = None;
            }
            if err_ready && read_some(&mut err, stderr)? {
                err = None;
            }
        }
    }
}

fn until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Reads what is in `pipe` by now, without waiting; `true` at the end.
///
/// Who writes on is not waited for, or it could take for ever.
fn drain(pipe: &mut Option<impl Read + AsRawFd>, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let Some(fd) = pipe.as_ref().map(AsRawFd::as_raw_fd) else { return Ok(true) };
    let mut left = sys::count_readable(fd)?;
    loop {
        let [is_ready, _] = sys::poll_two([Some(fd), None], Some(Duration::ZERO))?;
        if !is_ready || left == 0 && sys::count_readable(fd)? > 0 {
            return Ok(false);
        }
        let before = bytes.len();
        if read_some(pipe, bytes)? {
            return Ok(true);
        }
        left = left.saturating_sub(bytes.len() - before);
    }
}

/// Reads what is there; `true` at the end.
fn read_some(pipe: &mut Option<impl Read>, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let Some(pipe) = pipe else { return Ok(true) };
    let mut buffer = [0; 16 * 1024];
    match pipe.read(&mut buffer) {
        Ok(0) => Ok(true),
        Ok(length) => {
            bytes.extend_from_slice(buffer.get(..length).unwrap_or_default());
            Ok(false)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(error),
    }
}
