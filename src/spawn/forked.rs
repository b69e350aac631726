//! A child that the C library's own fork makes, for a hook that calls that library.
//!
//! Its fork tells the library that there is another process: locks are freed, handlers of
//! `pthread_atfork(3)` run, the pid is known. Then the child enters the loop as any other does.
//! Who makes it so gives no flags and no exit signal, and is not suspended. So a pipe that exec
//! closes says when to look, and the frame, in a page that both share, what happened.

use core::ffi::{c_int, c_void};
use core::sync::atomic::Ordering;

use linux_raw_sys::general as uapi;

use super::around::{make_by, path_of};
use super::fork::SharedFrame;
use super::made::{Born, PAUSE, cause, failure, reap};
use super::{Wishes, unnamed_pipe};
use crate::arch::{self, Start};
use crate::errno::Errno;
use crate::error::Error;
use crate::fd::Fd;
use crate::plan::op::{Frame, Op};
use crate::plan::{Plan, Step};
use crate::process::Process;
use crate::request::{CLibrary, RawFd};
use crate::status::WaitStatus;
use crate::sys::{self, Target};

/// What makes the child of a hook, where that is not the kernel's clone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fork {
    pub(crate) run: fn(&Plan<'_>, CLibrary) -> Result<Process, Error>,
    pub(crate) library: CLibrary,
}

/// Where such a child goes: into the loop.
///
/// Without lifetimes, as who makes the child may want that.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    ops: *const c_void,
    frame: *const Frame,
    /// Held by the child until its exec or its end.
    pipe: Option<RawFd>,
}

// SAFETY: Addresses, which `enter` alone makes use of.
unsafe impl Send for Entry {}
// SAFETY: As above.
unsafe impl Sync for Entry {}

impl Entry {
    pub(crate) fn new(plan: &Plan<'_>, frame: &Frame, pipe: Option<RawFd>) -> Self {
        Self { ops: plan.ops.as_ptr().cast(), frame, pipe }
    }

    /// Executes the plan, in a child that was forked where this value was made.
    ///
    /// # Safety
    ///
    /// This process has a copy of the memory of the plan and of all it points to, and its
    /// frame, which no other child has.
    pub(crate) unsafe fn enter(self) -> ! {
        if let Some(pipe) = self.pipe {
            // No process that this one forks has the lock, nor one that the parent forks.
            sys::lock(pipe);
        }
        // SAFETY: The caller's promise.
        let frame = unsafe { &*self.frame };
        frame.tid.store(sys::getpid().unsigned_abs(), Ordering::Release);
        let start = Start { ops: self.ops.cast::<Op<'_>>(), frame };
        // SAFETY: The caller's promise; it is the only thread of a child that was just made.
        unsafe { arch::enter(start) }
    }
}

/// Spawns `plan` in a child that `library` forks.
pub(crate) fn run(plan: &Plan<'_>, library: CLibrary) -> Result<Process, Error> {
    let failed = |errno| Error::new(Step::Report, 0, errno);
    let page = SharedFrame::new().map_err(failed)?;
    let frame = page.frame();
    let (reader, writer) = unnamed_pipe(plan).map_err(failed)?;
    let entry = Entry::new(plan, frame, Some(writer.raw()));
    // SAFETY: The child has a copy of all that the plan points to, and the frame is new.
    let fork = |_: Wishes<'_>| unsafe { fork(library, entry) };
    // SAFETY: As above; the frame stays until `page` goes.
    let made = unsafe { make_by(plan, frame, uapi::SIGCHLD, fork) }?;
    drop(writer);
    let dies = wait_for_exec(frame, made.pid(), reader.raw());
    if dies && failure(plan, frame).is_none() && !plan.leave_dead {
        let status = reap(made.pid());
        let gone = Error::new(Step::Child, 0, Errno::ECHILD);
        return Err(status.ok().flatten().map_or(gone, |status| Error::died(cause(status))));
    }
    made.conclude(plan)
}

/// Has `library` make a child, which goes to `entry`.
///
/// # Safety
///
/// As for [`Entry::enter`], of the child.
unsafe fn fork(library: CLibrary, entry: Entry) -> Result<Born, Errno> {
    // SAFETY: Who made the library's value vouched for its functions.
    match unsafe { (library.fork)() } {
        // SAFETY: The caller's promise.
        0 => unsafe { entry.enter() },
        pid if pid > 0 => Ok(Born::without_pidfd(pid)),
        _ => {
            // SAFETY: As above.
            let errno = unsafe { (library.errno)() };
            // SAFETY: The calling thread's `errno`.
            Err(Errno::from_raw(unsafe { *errno }).unwrap_or(Errno::EAGAIN))
        }
    }
}

/// Waits until the child has executed a program, has failed, or has ended: whether it has ended
/// and executed nothing.
///
/// A process that another thread has forked may hold the pipe too, and one that a hook has
/// forked; the lock on it is the child's alone.
fn wait_for_exec(frame: &Frame, pid: c_int, reader: RawFd) -> bool {
    loop {
        let closed = matches!(sys::poll_hangup(reader, PATIENCE), Ok(true) | Err(_));
        if frame.errno.load(Ordering::Acquire) != 0 {
            return false;
        }
        // Before it arrives it has no lock yet.
        let has_arrived = frame.tid.load(Ordering::Acquire) != Frame::NO_TID;
        let has_left = closed || has_arrived && !sys::is_locked(reader);
        let options = uapi::WEXITED | uapi::WNOHANG | uapi::WNOWAIT;
        // It is gone, too, if somebody else has reaped it.
        let has_ended = match sys::waitid(Target::Pid(pid), options, None) {
            Ok(status) => status.is_some_and(WaitStatus::is_end),
            Err(errno) => errno == Errno::ECHILD,
        };
        if !has_left && !has_ended {
            continue;
        }
        match has_executed(pid) {
            Some(false) if has_ended => return true,
            // A hook has closed descriptors that it did not know of.
            Some(false) => sys::sleep(PAUSE),
            Some(true) | None => return false,
        }
    }
}

/// How long to wait for the pipe before more is asked, in nanoseconds.
const PATIENCE: u64 = 10_000_000;

/// Whether a child has executed a program since it was forked: the kernel keeps that, and tells it
/// of one that has ended too. `None` without a `/proc` of its own.
fn has_executed(pid: c_int) -> Option<bool> {
    /// `linux/sched.h`: forked, and has not executed anything since.
    const FORKNOEXEC: u64 = 0x40;
    /// Of the fields behind the name: see `proc_pid_stat(5)`.
    const FLAGS: usize = 6;

    if sys::proc_is_anothers() {
        return None;
    }
    let mut path = [0; 64];
    let path = path_of(pid, b"/stat", &mut path);
    let file = sys::open(path, uapi::O_RDONLY | uapi::O_CLOEXEC).map(Fd::new).ok()?;
    let mut text = [0; 256];
    let length = sys::read(file.raw(), &mut text).ok()?;
    // The name may hold anything; nothing behind it is a parenthesis.
    let fields = text.get(..length)?.rsplit(|byte| *byte == b')').next()?;
    let flags = fields.split(|byte| *byte == b' ').skip(1).nth(FLAGS)?;
    let flags = flags.iter().fold(0u64, |number, digit| {
        number.wrapping_mul(10).wrapping_add(u64::from(digit.wrapping_sub(b'0')))
    });
    Some(flags & FORKNOEXEC == 0)
}
