//! A child that is set up while its parent goes on.

use alloc::boxed::Box;
use core::ffi::c_int;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

use super::traced::is_traced;
use super::{Frame, Made, clone_flags, make, unnamed_pipe};
use crate::errno::Errno;
use crate::error::Error;
use crate::fd::Fd;
use crate::kernel::Kernel;
use crate::mode::{Mode, Reason};
use crate::plan::{Buffer, HeapBuffer, OwnedPlan, Plan, Step, Storage};
use crate::process::Process;
use crate::request::{RawFd, Request};

impl Request<'_> {
    /// Starts the program and returns at once: the child is set up while the caller goes
    /// on, from a copy of all that the request borrows.
    ///
    /// A spawn that has to hold the caller, for one of the reasons in [`Reason`], does so
    /// here; then the [`Pending`] is done.
    ///
    /// # Errors
    ///
    /// Those that [`spawn`](Self::spawn) gives before any process exists, and of a spawn
    /// that held the caller all others. Else [`Pending::finish`] gives them.
    ///
    /// # Kernel
    ///
    /// As [`spawn`](Self::spawn). Below Linux 5.9, and with [`exec_fd`](Self::exec_fd) below
    /// 5.11, the caller is held: to close descriptors takes a stack.
    ///
    /// If a filter has come meanwhile, the start does without what it refuses: without
    /// `close_range`, for which it asks each time, and without a way to make a child. What only
    /// the child meets is an error of [`Pending::finish`], as nobody can start it anew by then.
    ///
    /// # See
    ///
    /// clone(2), `CLONE_CHILD_CLEARTID`.
    pub fn start(&self) -> Result<Pending, Error> {
        let kernel = self.known_kernel()?;
        // What the child alone would find to be refused, nobody could mend later.
        let kernel = if self.kernel.is_none() { kernel.still(self.needs()) } else { kernel };
        match self.start_on(kernel) {
            Err(error) => match self.lesser(kernel, error) {
                Some(kernel) => self.start_on(kernel),
                None => Err(error),
            },
            result => result,
        }
    }

    fn start_on(&self, kernel: Kernel) -> Result<Pending, Error> {
        // Most plans fit, and what is not looked up twice is not allocated either.
        match self.start_in(kernel, &mut Buffer::<48, 256>::new()) {
            Err(error) if error.is_too_small() => {
                self.start_in(kernel, &mut HeapBuffer::new(self.needed()?))
            }
            result => result,
        }
    }

    fn start_in<'s>(
        &'s self,
        kernel: Kernel,
        storage: impl Into<Storage<'s>>,
    ) -> Result<Pending, Error> {
        let mut storage = storage.into();
        let plan = self.plan_on(kernel, storage.reborrow())?;
        if let Some(reason) = why_wait(&plan) {
            let fd = end_of_nothing(&plan)?;
            return Pending::by_spawn(fd, reason, || self.spawn(storage));
        }
        OwnedPlan::new(&plan)?.start()
    }

    /// Compiles the request to a plan with a copy of all that the request borrows, the
    /// environment included.
    ///
    /// # Errors
    ///
    /// Those that [`spawn`](Self::spawn) gives before any process exists;
    /// with `EOPNOTSUPP`: [`Step::Hook`], as a hook's data cannot be copied;
    /// [`Step::ListenFds`], as in a fork the child writes to it; [`Step::Wait`], if the parent
    /// has more to do than to clone.
    pub fn owned_plan(&self) -> Result<OwnedPlan, Error> {
        let mut buffer = HeapBuffer::new(self.needed()?);
        let plan = self.plan(&mut buffer)?;
        OwnedPlan::new(&plan)
    }
}

/// Why the caller has to wait for the exec, if it has to.
fn why_wait(plan: &Plan<'_>) -> Option<Reason> {
    plan.why_wait().or_else(|| is_traced().then_some(Reason::Traced))
}

/// The descriptor that a start which holds its caller gives, if `plan` asks for one: of a pipe whose
/// other end is closed before there is a child to have it.
fn end_of_nothing(plan: &Plan<'_>) -> Result<Option<Fd>, Error> {
    let pipe = if plan.exec_fd { Some(unnamed_pipe(plan).map_err(no_pipe)?) } else { None };
    Ok(pipe.map(|(reader, _)| reader))
}

fn no_pipe(errno: Errno) -> Error {
    Error::new(Step::Report, 0, errno)
}

impl OwnedPlan {
    /// Spawns the program, as [`Plan::spawn`](crate::Plan::spawn) does.
    ///
    /// # Errors
    ///
    /// As for that.
    pub fn spawn(&self) -> Result<Process, Error> {
        self.plan().run()
    }

    /// Starts the program and returns at once, as [`Request::start`] does: nothing is
    /// compiled or copied any more. Nor is it tried in another way, if a filter has come that refuses
    /// what the plan was compiled for.
    ///
    /// # Errors
    ///
    /// [`Step::Clone`] with the errors of clone(2); of a spawn that held the caller all
    /// others. Else [`Pending::finish`] gives them.
    pub fn start(&self) -> Result<Pending, Error> {
        let plan = self.plan();
        if let Some(reason) = why_wait(plan) {
            let fd = end_of_nothing(plan)?;
            return Pending::by_spawn(fd, reason, || self.spawn());
        }
        let pipe = if plan.exec_fd { Some(unnamed_pipe(plan).map_err(no_pipe)?) } else { None };
        let frame = NonNull::from(Box::leak(Box::new(Frame::new())));
        // SAFETY: Just made.
        let shared = unsafe { frame.as_ref() };
        // Not the parent's table: it may change before the child has copied it.
        let flags = clone_flags(plan, Mode::Detached, false);
        // SAFETY: The frame is new. It and the plan stay as long as the `Pending`, which
        // goes, if it does, when the child has left; a plan without a reason to wait
        // was compiled for a kernel that shares memory.
        let made = unsafe { make(plan, shared, flags) };
        match made {
            Ok(made) => {
                let pid = made.pid();
                let fd = pipe.map(|(reader, _)| reader);
                let started = Started { plan: self.clone(), frame, made: Some(made) };
                Ok(Pending { pid, fd, reason: Reason::Default, state: State::Started(started) })
            }
            Err(error) => {
                // SAFETY: It came from a `Box`, and no child has it.
                drop(unsafe { Box::from_raw(frame.as_ptr()) });
                Err(error)
            }
        }
    }
}

/// A child that is being set up: of [`Request::start`].
///
/// Its memory is its own: if it is forgotten, that is leaked. If it is dropped, its
/// drop waits until the child has executed its program or failed, and reaps one that failed; a
/// child that executed its program goes on, as when a [`Process`] is dropped. Until it has
/// executed its program, waitpid(2) finds the child by `__WALL` alone, unless it is one that is left
/// when it is dead ([`Request::leave_dead`]).
///
/// In a process that was forked while the child was being set up, the copy of it is of no use:
/// the child is no child of that process.
pub struct Pending {
    pid: c_int,
    fd: Option<Fd>,
    reason: Reason,
    state: State,
}

enum State {
    Started(Started),
    /// A spawn that held the caller.
    Done(Process),
}

struct Started {
    plan: OwnedPlan,
    /// Of a `Box`; the child and the kernel write to it until the child has left.
    frame: NonNull<Frame>,
    /// `None` once it is concluded.
    made: Option<Made>,
}

// SAFETY: What the frame has that is written to is atomic.
unsafe impl Send for Started {}
// SAFETY: As above.
unsafe impl Sync for Started {}

impl Pending {
    /// What is done when `spawn` returns, for `reason`.
    fn by_spawn(
        fd: Option<Fd>,
        reason: Reason,
        spawn: impl FnOnce() -> Result<Process, Error>,
    ) -> Result<Self, Error> {
        let process = spawn()?;
        Ok(Self { pid: process.pid(), fd, reason, state: State::Done(process) })
    }

    /// The pid of the child, as the parent sees it.
    pub fn pid(&self) -> c_int {
        self.pid
    }

    /// The mode that the child was made in.
    pub fn mode(&self) -> Mode {
        match &self.state {
            State::Started(_) => Mode::Detached,
            State::Done(process) => process.mode(),
        }
    }

    /// Why it was that mode.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether the child has executed its program or failed, so that
    /// [`finish`](Self::finish) does not wait.
    ///
    /// Costs no system call. Below Linux 5.16 it is not true of a child that a signal
    /// has killed which dumps core: only `finish` notices.
    pub fn is_done(&self) -> bool {
        self.atomic().load(Ordering::Acquire) == 0
    }

    /// A word to wait for, which is 0 once the child has executed its program or failed,
    /// as [`is_done`](Self::is_done) has it. It is there as long as this, and to be read by
    /// the kernel: who writes to it makes this free what the child still uses.
    ///
    /// The kernel then wakes one thread that waits for the word to change: by futex(2),
    /// `FUTEX_WAIT`, without `FUTEX_PRIVATE_FLAG`.
    ///
    /// # See
    ///
    /// futex(2); `set_tid_address(2)`, `clear_child_tid`.
    pub fn word(&self) -> *const u32 {
        self.atomic().as_ptr()
    }

    fn atomic(&self) -> &AtomicU32 {
        static DONE: AtomicU32 = AtomicU32::new(0);
        match &self.state {
            State::Started(started) => &started.frame().tid,
            State::Done(_) => &DONE,
        }
    }

    /// The descriptor that [`Request::exec_fd`] asks for.
    pub fn fd(&self) -> Option<RawFd> {
        self.fd.as_ref().map(Fd::raw)
    }

    /// Waits until the child has executed its program or failed.
    ///
    /// # Errors
    ///
    /// Those of [`Request::spawn`] that a child reports, with step and errno, or
    /// [`Step::Child`]: it died before it executed the program. The child is reaped then.
    pub fn finish(self) -> Result<Process, Error> {
        match self.state {
            State::Started(mut started) => started.conclude(),
            State::Done(process) => Ok(process),
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("pid", &self.pid)
            .field("mode", &self.mode())
            .field("done", &self.is_done())
            .finish_non_exhaustive()
    }
}

impl Started {
    fn frame(&self) -> &Frame {
        // SAFETY: It lives as long as `self`, and what others write of it is atomic.
        unsafe { self.frame.as_ref() }
    }

    fn conclude(&mut self) -> Result<Process, Error> {
        let gone = Err(Error::new(Step::Child, 0, Errno::ECHILD));
        let Some(made) = self.made.take() else { return gone };
        made.conclude(self.plan.plan()).map(Process::into_detached)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // A child that failed is reaped, one that did not goes on.
        let _ = self.conclude();
        // SAFETY: It came from a `Box`, and the child has left.
        drop(unsafe { Box::from_raw(self.frame.as_ptr()) });
    }
}
