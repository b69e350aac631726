//! A child that has been made, up to its exec or its end: the guard of the memory that it may
//! still be in.

use core::ffi::c_int;
use core::mem::ManuallyDrop;
use core::sync::atomic::Ordering;

use linux_raw_sys::general as uapi;

use super::unnamed;
use crate::errno::Errno;
use crate::error::{Cause, Error};
use crate::fd::Fd;
use crate::kernel::{Feature, Kernel};
use crate::mode::Mode;
use crate::plan::op::Frame;
use crate::plan::{Plan, Step};
use crate::process::Process;
use crate::request::RawFd;
use crate::status::WaitStatus;
use crate::sys::{self, Target};

/// A child that has been made.
///
/// It may still read its plan and write its frame. So whoever has this does not go before the
/// child has left: [`conclude`](Self::conclude) waits for that, and where it is not called, for an
/// early return or a panic, so does the drop, which also reaps a child that failed.
#[derive(Debug)]
pub(crate) struct Made {
    pid: c_int,
    pidfd: Option<Fd>,
    frame: *const Frame,
    /// The kernel clears the frame's `tid` when the child leaves.
    has_word: bool,
    /// A child that has executed nothing yet has no exit signal.
    has_no_signal: bool,
    state: State,
}

/// What the kernel says of a child that it has made: the pid, and the pidfd or -1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Born {
    pub(crate) pid: c_int,
    pub(crate) pidfd: RawFd,
}

impl Born {
    /// A child that somebody else has made.
    pub(crate) const fn without_pidfd(pid: c_int) -> Self {
        Self { pid, pidfd: -1 }
    }
}

/// What a drop has to do.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// To wait for it.
    Runs,
    /// To end it: nobody would release it any more.
    Waits,
    /// Nothing: it has been waited for.
    Left,
}

// SAFETY: What a frame has that is written to is atomic.
unsafe impl Send for Made {}
// SAFETY: As above.
unsafe impl Sync for Made {}

impl Made {
    /// The child of `plan` that was `born`, made with `flags`.
    ///
    /// # Safety
    ///
    /// `frame` is the child's, and stays, with the plan and all that it points to, until this is
    /// concluded or dropped. The pidfd is nobody else's.
    #[inline]
    pub(crate) unsafe fn new(plan: &Plan<'_>, frame: *const Frame, flags: u32, born: Born) -> Self {
        let has_word = flags & uapi::CLONE_CHILD_CLEARTID != 0;
        // One that is left when it is dead has one.
        let has_no_signal = plan.kernel.has(Feature::NoExitSignal) && flags & uapi::CSIGNAL == 0;
        let pidfd = (born.pidfd >= 0).then(|| Fd::new(born.pidfd));
        Self { pid: born.pid, pidfd, frame, has_word, has_no_signal, state: State::Runs }
    }

    pub(crate) fn pid(&self) -> c_int {
        self.pid
    }

    /// Says that the child waits, and would do so for ever if this were dropped: then it is ended.
    pub(super) fn set_waits(&mut self, waits: bool) {
        self.state = if waits { State::Waits } else { State::Runs };
    }

    fn frame(&self) -> &Frame {
        // SAFETY: It stays, says who called `new`; what others write of it is atomic.
        unsafe { &*self.frame }
    }

    /// Waits until the child has executed its program, or has ended and is reaped.
    #[inline]
    fn wait(&mut self, is_traced: bool) -> Stay {
        self.state = State::Left;
        if self.has_word {
            wait_until_gone(self.frame(), self.pid);
        }
        if self.has_no_signal {
            end_of_stay(self.frame(), self.pid, is_traced)
        } else {
            Stay::Executed(None)
        }
    }

    /// Waits until the child has executed its program or has failed, and says which.
    pub(crate) fn conclude(self, plan: &Plan<'_>) -> Result<Process, Error> {
        // It is waited for here, so that a drop has nothing to do.
        let mut made = ManuallyDrop::new(self);
        let pidfd = made.pidfd.take();
        made.judge(plan, pidfd)
    }

    #[inline]
    fn judge(&mut self, plan: &Plan<'_>, pidfd: Option<Fd>) -> Result<Process, Error> {
        // Only a hook can ask to be traced.
        let may_trace = plan.around.request().is_some_and(|request| request.hook.is_some());
        let end = self.wait(may_trace);
        if let Some(error) = failure(plan, self.frame()) {
            if let Stay::Executed(_) = end {
                // ECHILD: someone waits for every child of every kind, or the emulator
                // knows no exit signal but SIGCHLD, which is ignored.
                let _ = reap(self.pid);
            }
            return Err(error);
        }
        let stop = match end {
            Stay::Ended(cause) => return Err(Error::died(cause)),
            Stay::Executed(stop) => stop,
        };
        let shares = plan.mode != Mode::Fork && !self.has_word;
        if shares && self.frame().tid.load(Ordering::Relaxed) == Frame::NO_TID {
            // The kernel wrote it elsewhere: it is none, but an emulator that passed for one, and
            // what the child had to report is lost.
            Kernel::forget(Feature::SharedMemory);
            return Err(self.end(Step::Clone, Errno::EOPNOTSUPP));
        }
        let pidfd = match pidfd {
            None if plan.pidfd => Some(sys::pidfd_open(self.pid)),
            pidfd => pidfd.map(Ok),
        };
        // Not in place of a standard stream that is closed, nor of one that the request names.
        match pidfd.map(|pidfd| pidfd.and_then(|pidfd| unnamed(plan, pidfd))).transpose() {
            Ok(pidfd) => Ok(Process::new(self.pid, pidfd, plan.mode, plan.reason, stop)),
            Err(errno) => Err(self.end(Step::Pidfd, errno)),
        }
    }

    /// Ends a child whose parent has failed.
    fn end(&self, step: Step, errno: Errno) -> Error {
        let _ = sys::kill(self.pid, uapi::SIGKILL as c_int);
        let _ = reap(self.pid);
        Error::new(step, 0, errno)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let waited = self.state == State::Waits;
        if self.state == State::Left {
            return;
        }
        if waited {
            let _ = sys::kill(self.pid, uapi::SIGKILL as c_int);
        }
        let end = self.wait(false);
        // The question is not asked of one that has a signal: what it reports tells.
        let failed = self.frame().errno.load(Ordering::Acquire) != 0;
        if let (Stay::Executed(_), true) = (end, waited || failed) {
            let _ = reap(self.pid);
        }
    }
}

/// What the child reports to have failed.
#[inline]
pub(super) fn failure(plan: &Plan<'_>, frame: &Frame) -> Option<Error> {
    let errno = Errno::from_raw(frame.errno.load(Ordering::Acquire) as i32)?;
    let tag = plan.tag_at(frame.failed.load(Ordering::Relaxed));
    Some(Error::new(tag.step, tag.index, errno))
}

/// Waits for the end of a child that is to end, whoever traces it.
pub(super) fn reap(pid: c_int) -> Result<Option<WaitStatus>, Errno> {
    loop {
        match sys::wait4(pid, uapi::__WALL) {
            // The caller traces it, and has it stopped.
            Ok(Some(status)) if !status.is_end() => sys::kill(pid, uapi::SIGKILL as c_int)?,
            result => return result,
        }
    }
}

/// How a child's stay in its parent's memory has ended.
enum Stay {
    /// It has executed something: its program, a stub. A program that has itself traced by this
    /// process may have stopped already, and the stop has been waited for.
    Executed(Option<WaitStatus>),
    /// It is reaped.
    Ended(Cause),
}

/// Waits until the child has executed something, or has ended, and reaps it then.
///
/// It is the question whether there is a child without an exit signal. exec makes
/// that signal `SIGCHLD`, after it has copied what it takes from the parent's memory
/// and before it lets the parent go; past that point it executes the program or
/// kills the child. So that there is none is also the proof that the plan is no longer read.
///
/// A child that this process traces answers to any question, and by its stops too. It has
/// executed something then: a parent that waits for the exec sees no earlier one. `is_traced`: it
/// may well be so, and its stop is left to whoever waits for it.
#[inline]
fn end_of_stay(frame: &Frame, pid: c_int, mut is_traced: bool) -> Stay {
    let mut options = uapi::__WCLONE | uapi::WNOHANG;
    loop {
        let status = if is_traced {
            sys::waitid(Target::Pid(pid), options | uapi::WEXITED | uapi::WNOWAIT, None)
        } else {
            sys::wait4(pid, options)
        };
        match status {
            Ok(Some(status)) if status.is_end() => {
                if is_traced {
                    let _ = reap(pid);
                }
                return Stay::Ended(cause(status));
            }
            Ok(Some(stop)) => return Stay::Executed((!is_traced).then_some(stop)),
            // By a filter, that refuses the one way to ask.
            Err(Errno::ENOSYS | Errno::EPERM) if is_traced => is_traced = false,
            Err(_) => return Stay::Executed(None),
            // It failed, and all that it still does is to exit.
            Ok(None) if frame.errno.load(Ordering::Acquire) != 0 => options &= !uapi::WNOHANG,
            // It is being killed; or a tracer has let the parent go early, and exec
            // wakes nobody who waits here.
            Ok(None) => sys::sleep(PAUSE),
        }
    }
}

/// What ended a child.
pub(super) fn cause(status: WaitStatus) -> Cause {
    match status.signal() {
        Some(signal) => Cause::Killed(signal as u8),
        None => Cause::Exited((status.raw() >> 8) as u8),
    }
}

/// How long to wait before a question is asked again, in nanoseconds.
pub(super) const PAUSE: u32 = 100_000;

/// Waits until the child of a parent that went on has left the memory of `frame`.
///
/// The kernel clears `tid` and wakes one who waits. It does not, below Linux 5.16, where
/// a signal that dumps core kills the child; and a copy of `frame` that another thread's
/// fork has made is never cleared. So now and then it is asked whether there still is a
/// child that runs.
#[inline(never)]
fn wait_until_gone(frame: &Frame, pid: c_int) {
    let has_ended = || {
        let options = uapi::WEXITED | uapi::WNOHANG | uapi::WNOWAIT | uapi::__WALL;
        match sys::waitid(Target::Pid(pid), options, None) {
            Ok(status) => status.is_some_and(WaitStatus::is_end),
            // A filter that refuses the question has said nothing of the child.
            Err(errno) => errno == Errno::ECHILD,
        }
    };
    loop {
        let tid = frame.tid.load(Ordering::Acquire);
        if tid == 0 || sys::futex_wait(&frame.tid, tid, PATIENCE) && has_ended() {
            return;
        }
    }
}

/// How long to wait for the kernel's word before it is asked, in nanoseconds.
const PATIENCE: u32 = 10_000_000;
