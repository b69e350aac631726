//! From a request to a running program: the only way in.
//!
//! Compiles the request, clones, reads the child's report, and reaps a child
//! that failed. What differs between the modes is in `vfork` and `fork`.
#![allow(unsafe_code)]

pub(crate) mod around;
mod batch;
#[cfg(feature = "alloc")]
mod detached;
pub(crate) mod fallback;
pub(crate) mod fork;
mod stub;
pub(crate) mod traced;
mod vfork;

pub(crate) use stub::{MOST_BEFORE, STUB, STUB_NAME, STUB_TEXT, Stub, copy};

pub use batch::{Job, spawn_all};
#[cfg(feature = "alloc")]
pub use detached::Pending;

use core::ffi::c_int;
use core::mem::{MaybeUninit, offset_of};
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use linux_raw_sys::general as uapi;

use self::around::{OTHER_PIDS, SHIELDS, WAITS, Wanted};
use crate::arch::{self, CloneArgs, Start};
use crate::compile::{self, Caller, Input};
use crate::environ;
use crate::errno::Errno;
use crate::error::{Cause, Error};
use crate::fd::Fd;
use crate::kernel::{Feature, Kernel};
use crate::low::{Lent, LowFds};
use crate::mode::{self, Mode, Modes};
use crate::plan::op::{EPILOGUE, Frame, PROBE};
use crate::plan::{Needed, Plan, Step, Storage};
use crate::process::Process;
use crate::request::{FdAction, RawFd, Request};
use crate::signal::SigSet;
use crate::status::WaitStatus;
use crate::sys::{self, Target};

impl Request<'_> {
    /// Spawns the program and returns when the child has executed it.
    ///
    /// # Errors
    ///
    /// - [`Step::Plan`] with `ENOBUFS`, before any process exists: `storage` is
    ///   too small.
    /// - [`Step::Clone`] with the errors of clone(2), among them `EAGAIN`: too
    ///   many processes.
    /// - the errors of the options that were set.
    /// - [`Step::Exec`] with the errors of execve(2).
    /// - [`Step::Child`]: the child died before it executed the program.
    ///
    /// The child of a spawn that failed is gone, has sent no `SIGCHLD`, and was
    /// no child to a `waitpid(-1)` of another thread.
    ///
    /// # Kernel
    ///
    /// Linux 4.7. See [`Feature`] for what newer ones add.
    pub fn spawn<'s>(&self, storage: impl Into<Storage<'s>>) -> Result<Process, Error> {
        self.spawn_in(storage.into())
    }

    /// Spawns as [`spawn`](Self::spawn) does, with low numbers for sources of
    /// [`FdAction::Map`] that are high: then the child need not copy all of a large
    /// table to have them.
    ///
    /// Just before the clone the parent duplicates those sources to numbers of `low`,
    /// and gives the numbers back when the child has executed its program. It does so
    /// where a source is 256 or more, where that helps, and where enough numbers are
    /// free; else this is `spawn`. What the child has is the same.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    ///
    /// # See
    ///
    /// dup(2); `close_range(2)`, `CLOSE_RANGE_UNSHARE`.
    pub fn spawn_with<'s>(
        &self,
        low: &LowFds,
        storage: impl Into<Storage<'s>>,
    ) -> Result<Process, Error> {
        let kernel = self.kernel.map_or_else(Kernel::current, Ok)?;
        if kernel.has(Feature::ShareFds) {
            let mut actions = [FdAction::Close { child_fd: 0 }; LowFds::MOST];
            if let Some(_lent) = Lent::new(low, self, &mut actions) {
                let fds = actions.get(..self.fds.len()).unwrap_or_default();
                let mut room = MaybeUninit::uninit();
                let request = self.copy_to(&mut room);
                request.fds = fds;
                return request.spawn_in(storage.into());
            }
        }
        self.spawn_in(storage.into())
    }

    /// What [`spawn`](Self::spawn) would have a child execute: to be printed, or
    /// kept and spawned by [`Plan::spawn`].
    ///
    /// # Errors
    ///
    /// Those that `spawn` gives before any process exists.
    pub fn plan<'s>(&'s self, storage: impl Into<Storage<'s>>) -> Result<Plan<'s>, Error> {
        let kernel = self.kernel.map_or_else(Kernel::current, Ok)?;
        self.plan_on(kernel, storage.into())
    }

    /// How much room [`spawn`](Self::spawn) needs, at most.
    ///
    /// # Errors
    ///
    /// Those that `spawn` gives before any process exists.
    pub fn needed(&self) -> Result<Needed, Error> {
        let kernel = self.kernel.map_or_else(Kernel::current, Ok)?;
        // A table that is shared takes more ops than one that is not.
        let around = (self.around.look)(self);
        let (mode, _) = mode::choose(self, kernel, around)?;
        let caller = Caller { sources_open: true, ..caller(self, kernel, around) };
        compile::needed(&self.input(kernel, mode, caller))
    }

    fn spawn_in(&self, mut storage: Storage<'_>) -> Result<Process, Error> {
        let kernel = self.kernel.map_or_else(Kernel::current, Ok)?;
        let result = self.spawn_on(kernel, storage.reborrow());
        match result {
            // A filter was installed or a namespace entered since the kernel was
            // probed: see what is left.
            Err(error) if self.kernel.is_none() && self.may_be_repeated(error) => {
                let now = Kernel::probe()?;
                if now == kernel { result } else { self.spawn_on(now, storage) }
            }
            // A security module refuses to execute it, or there is no descriptor for it.
            Err(error) if self.is_for_fork(error) && self.opens_again() => {
                let without = kernel.without(Feature::ExecMemfd);
                let refused =
                    matches!(error.errno(), Some(Errno::EACCES | Errno::EPERM | Errno::ENOSYS));
                if refused && self.kernel.is_none() {
                    without.remember();
                }
                self.spawn_on(without, storage)
            }
            _ => result,
        }
    }

    /// Whether `error` says that the kernel refuses a call that it offered, and
    /// the child has done nothing that a second one could not do again.
    fn may_be_repeated(&self, error: Error) -> bool {
        let Some(Errno::ENOSYS | Errno::EPERM | Errno::EINVAL) = error.errno() else {
            return false;
        };
        match error.step() {
            Step::Clone => true,
            Step::CloseOthers | Step::NewNamespaces => {
                self.hook.is_none() && self.parent_hook.is_none() && self.opens_again()
            }
            _ => false,
        }
    }

    /// Whether a stub, which `error` is about, is but one way to do it.
    fn is_for_fork(&self, error: Error) -> bool {
        error.step() == Step::Stub && self.modes == Modes::Any
    }

    /// Whether a second child can open what a first one has opened.
    fn opens_again(&self) -> bool {
        let exclusive = uapi::O_EXCL as i32;
        !self
            .fds
            .iter()
            .any(|action| matches!(action, FdAction::Open { flags, .. } if flags & exclusive != 0))
    }

    fn spawn_on(&self, kernel: Kernel, storage: Storage<'_>) -> Result<Process, Error> {
        // Not moved from where it is made.
        match &self.plan_on(kernel, storage) {
            Ok(plan) => plan.run(),
            Err(error) => Err(*error),
        }
    }

    fn plan_on<'s>(&'s self, kernel: Kernel, storage: Storage<'s>) -> Result<Plan<'s>, Error> {
        let around = (self.around.look)(self);
        let (mode, reason) = mode::choose(self, kernel, around)?;
        let input = self.input(kernel, mode, caller(self, kernel, around));
        compile::compile(&input, reason, storage)
    }

    /// What is compiled, in `mode` if that will do.
    #[allow(clippy::inline_always)] // or it would be copied
    #[inline(always)]
    fn input<'s>(&'s self, kernel: Kernel, mode: Mode, caller: Caller<'s>) -> Input<'s> {
        let kernel = mode::kernel_in(mode, self, kernel, caller.around);
        let mut input = Input::new(self, kernel, mode, caller);
        // Too many steps may come before a stub, which shows when they are counted.
        if mode == Mode::Stub && compile::needed(&input).is_err_and(|error| self.is_for_fork(error))
        {
            input.mode = Mode::Fork;
        }
        input
    }
}

impl Plan<'_> {
    /// Spawns the program once more: a plan is compiled once, and spawned as often
    /// as wanted, from several threads at once.
    ///
    /// Nothing is compiled, copied or looked up again. What the plan knows of its
    /// parent is from when it was compiled: the kernel; its ids, and the pid that a parent death
    /// signal or a wait is checked against; where a terminal's foreground is taken, and on kernels
    /// below 5.5, the signal mask; on those also the signals that are ignored. So it belongs to
    /// the process that compiled it, and a process that has installed a seccomp filter compiles it
    /// anew.
    ///
    /// # Errors
    ///
    /// - [`Step::Environment`] with `EINVAL`, before any process exists: the request
    ///   has no environment of its own. The inherited one may have moved.
    /// - those of [`Request::spawn`], but for its second try where the kernel
    ///   refuses what it offered before.
    pub fn spawn(&self) -> Result<Process, Error> {
        self.may_be_kept()?;
        self.run()
    }

    /// Refuses a plan whose environment may be another's by now.
    fn may_be_kept(&self) -> Result<(), Error> {
        if self.inherits_environ {
            return Err(Error::new(Step::Environment, 0, Errno::EINVAL));
        }
        Ok(())
    }

    fn run(&self) -> Result<Process, Error> {
        match (self.mode, self.stub) {
            (Mode::Vfork | Mode::Detached, _) => vfork::run(self),
            (Mode::Stub, Some(stub)) => (stub.run)(self),
            (Mode::Stub | Mode::Fork, _) => fork::run(self),
        }
    }
}

impl Frame {
    pub(crate) const fn new() -> Self {
        Self {
            failed: AtomicPtr::new(ptr::null_mut()),
            errno: AtomicU32::new(0),
            // Not 0: the kernel's 0 is the news.
            tid: AtomicU32::new(u32::MAX),
            epilogue: EPILOGUE.as_ptr().cast(),
            released: AtomicU32::new(0),
        }
    }
}

/// Reads what the plan needs to know of its parent, and no more.
#[allow(clippy::inline_always)] // the usual request needs next to nothing of it
#[inline(always)]
fn caller<'a>(request: &'a Request<'a>, kernel: Kernel, around: Wanted) -> Caller<'a> {
    let (waits, shields) = (around.has(WAITS), around.has(SHIELDS));
    let opens_mask = !kernel.has(Feature::ClearSighand) || request.foreground.is_some() || shields;
    let mut ignored = SigSet::EMPTY;
    if !kernel.has(Feature::ClearSighand) {
        for signal in 1..=64 {
            if sys::ignores(signal) {
                ignored = ignored.with(signal);
            }
        }
    }
    Caller {
        envp: if request.envp.is_none() { environ::inherited() } else { None },
        mask: (opens_mask && request.mask.is_none())
            .then(|| sys::signal_mask().unwrap_or_default()),
        ignored,
        pid: match request.pdeathsig {
            None if !waits => 0,
            // A parent in another PID namespace has no pid there.
            _ if around.has(OTHER_PIDS) || sys::children_are_outside() => 0,
            _ => sys::getpid(),
        },
        pgrp: if request.foreground.is_some() || shields { sys::getpgrp() } else { 0 },
        sources_open: !request.pidfd || compile::all_sources(request, &mut sys::is_open),
        around,
    }
}

/// A child that has been made.
#[derive(Debug)]
struct Made {
    pid: c_int,
    pidfd: Option<Fd>,
}

/// Clones a child that executes `plan` and reports to `frame`, with `flags` for memory
/// and descriptors.
///
/// # Safety
///
/// `frame` must be written by this child only, and stay, with the plan and all
/// it points to, until the child has left this address space. If memory is shared, the
/// plan must have been compiled for a kernel that shares it and suspends, and if the
/// parent goes on, must not make it wait.
unsafe fn make(plan: &Plan<'_>, frame: &Frame, flags: u32) -> Result<Made, Error> {
    // SAFETY: The caller's promises.
    unsafe { (plan.around.fns.make)(plan, frame, flags) }
}

/// Clones a child that executes `plan`.
///
/// # Safety
///
/// As for [`make`].
#[inline]
unsafe fn clone_for(plan: &Plan<'_>, frame: &Frame, wishes: Wishes<'_>) -> Result<Made, Errno> {
    let mask = if plan.kernel.has(Feature::ClearSighand) {
        None
    } else {
        Some(sys::set_signal_mask(SigSet::ALL)?)
    };
    let mut pidfd = -1;
    let at_once = plan.pidfd && plan.kernel.has(Feature::ClonePidfd);
    let place = if at_once { Some(&mut pidfd) } else { None };
    let start = Start { ops: plan.ops.as_ptr(), frame };
    // SAFETY: The caller's promises are those that `clone` asks for.
    let result = unsafe { clone(plan.kernel, wishes, place, start) };
    if let Some(mask) = mask {
        // It cannot fail: the arguments are those of the call above.
        let _ = sys::set_signal_mask(mask);
    }
    Ok(Made { pid: result?, pidfd: (pidfd >= 0).then(|| Fd::new(pidfd)) })
}

/// The flags that make a child in `mode`.
const fn clone_flags(mode: Mode, shares_fds: bool) -> u32 {
    let memory = match mode {
        Mode::Vfork | Mode::Stub => uapi::CLONE_VM | uapi::CLONE_VFORK,
        Mode::Fork => uapi::CLONE_VFORK,
        Mode::Detached => uapi::CLONE_VM | uapi::CLONE_CHILD_CLEARTID,
    };
    let files = if shares_fds { uapi::CLONE_FILES } else { 0 };
    uapi::CLONE_CHILD_SETTID | memory | files
}

/// What a child is to be made with.
struct Wishes<'w> {
    flags: u32,
    cgroup: Option<RawFd>,
    pids: &'w [c_int],
}

/// `clone3` or `clone`, as `kernel` has them, with `wishes` and what both need.
///
/// # Safety
///
/// As for [`make`].
unsafe fn clone(
    kernel: Kernel,
    Wishes { mut flags, cgroup, pids }: Wishes<'_>,
    pidfd: Option<&mut c_int>,
    start: Start<'_>,
) -> Result<c_int, Errno> {
    if pidfd.is_some() {
        flags |= uapi::CLONE_PIDFD;
    }
    let pidfd = pidfd.map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: `frame` is live, says the caller.
    let child_tid = unsafe { &raw const (*start.frame).tid }.cast::<u32>();
    let exit_signal = if kernel.has(Feature::NoExitSignal) { 0 } else { uapi::SIGCHLD };
    // Or some emulators and debuggers do not know it for a fork.
    if !kernel.has(Feature::Suspends) {
        flags &= !uapi::CLONE_VFORK;
    }
    // A debugger that attaches by and by would take it for a thread.
    if exit_signal == 0 && flags & uapi::CLONE_VFORK == 0 {
        flags |= uapi::CLONE_UNTRACED;
    }
    let raw = if kernel.has(Feature::Clone3) {
        let clear = if kernel.has(Feature::ClearSighand) { uapi::CLONE_CLEAR_SIGHAND } else { 0 };
        let into = if cgroup.is_some() { uapi::CLONE_INTO_CGROUP } else { 0 };
        let args = uapi::clone_args {
            flags: u64::from(flags) | clear | into,
            pidfd: pidfd.expose_provenance() as u64,
            child_tid: child_tid.expose_provenance() as u64,
            parent_tid: 0,
            exit_signal: u64::from(exit_signal),
            stack: 0,
            stack_size: 0,
            tls: 0,
            set_tid: if pids.is_empty() { 0 } else { pids.as_ptr().expose_provenance() as u64 },
            set_tid_size: pids.len() as u64,
            cgroup: cgroup.unwrap_or(0) as u64,
        };
        // No more than is needed, for kernels, filters and emulators that know no more.
        let size = match (cgroup, pids) {
            (Some(_), _) => size_of_val(&args),
            (None, [_, ..]) => offset_of!(uapi::clone_args, cgroup),
            (None, []) => arch::CLONE_ARGS_SIZE,
        };
        // SAFETY: The caller's promises; neither a stack nor shared handlers
        // nor a thread are asked for.
        unsafe { arch::clone3(&args, size, start) }
    } else {
        let flags = (flags | exit_signal) as usize;
        // SAFETY: As above.
        unsafe { arch::clone(CloneArgs { flags, pidfd, child_tid }, start) }
    };
    match Errno::from_result(raw) {
        None => Ok(raw as c_int),
        Some(errno) => Err(errno),
    }
}

/// Reads what became of a child that has left the parent's memory, or soon will.
fn conclude(plan: &Plan<'_>, frame: &Frame, made: Made) -> Result<Process, Error> {
    let Made { pid, pidfd } = made;
    let asks = plan.kernel.has(Feature::NoExitSignal);
    let end = if asks { end_before_exec(frame, pid) } else { None };
    if let Some(error) = failure(plan, frame) {
        if end.is_none() {
            // ECHILD: someone waits for every child of every kind, or the emulator
            // knows no exit signal but SIGCHLD, which is ignored.
            let _ = sys::wait4(pid, uapi::__WALL);
        }
        return Err(error);
    }
    if let Some(cause) = end {
        return Err(Error::died(cause));
    }
    let pidfd = match pidfd {
        None if plan.pidfd => match sys::pidfd_open(pid) {
            Ok(pidfd) => Some(pidfd),
            Err(errno) => {
                let _ = sys::kill(pid, uapi::SIGKILL as c_int);
                let _ = sys::wait4(pid, 0);
                return Err(Error::new(Step::Pidfd, 0, errno));
            }
        },
        pidfd => pidfd,
    };
    Ok(Process::new(pid, pidfd, plan.mode, plan.reason))
}

/// What the child reports to have failed.
fn failure(plan: &Plan<'_>, frame: &Frame) -> Option<Error> {
    let errno = Errno::from_raw(frame.errno.load(Ordering::Acquire) as i32)?;
    let tag = plan.tag_at(frame.failed.load(Ordering::Relaxed));
    Some(Error::new(tag.step, tag.index, errno))
}

/// Reaps a child that ends without having executed its program; `None` once one has.
///
/// It is the question whether there is a child without an exit signal. exec makes
/// that signal `SIGCHLD`, after it has copied what it takes from the parent's memory
/// and before it lets the parent go; past that point it executes the program or
/// kills the child. So `None` is also the proof that the plan is no longer read.
fn end_before_exec(frame: &Frame, pid: c_int) -> Option<Cause> {
    let mut options = uapi::__WCLONE | uapi::WNOHANG;
    loop {
        match sys::wait4(pid, options) {
            Err(_) => return None,
            Ok(Some(status)) => return Some(cause(status)),
            // It failed, and all that it still does is to exit.
            Ok(_) if frame.errno.load(Ordering::Acquire) != 0 => options &= !uapi::WNOHANG,
            // It is being killed; or a tracer has let the parent go early, and exec
            // wakes nobody who waits here.
            Ok(_) => sys::sleep(PAUSE),
        }
    }
}

/// What ended a child.
fn cause(status: WaitStatus) -> Cause {
    match status.signal() {
        Some(signal) => Cause::Killed(signal as u8),
        None => Cause::Exited((status.raw() >> 8) as u8),
    }
}

/// How long to wait before a question is asked again, in nanoseconds.
const PAUSE: u32 = 100_000;

/// Finds out what clone(2) offers here, with children that exit at once.
pub(crate) fn probe(known: Kernel) -> Result<Kernel, Error> {
    let failed = |errno| Error::new(Step::Clone, 0, errno);
    // Handlers that the kernel does not clear must not run.
    let mask = sys::set_signal_mask(SigSet::ALL).map_err(failed)?;
    let result = probe_clone(known);
    let _ = sys::set_signal_mask(mask);
    result.map_err(failed)
}

/// What is tried without, one after the other and then together, until a child
/// can be made.
const WISHES: [Feature; 6] = [
    Feature::ClonePidfd,
    Feature::ShareFds,
    Feature::NoExitSignal,
    Feature::ClearSighand,
    Feature::Clone3,
    Feature::SharedMemory,
];

/// Tries what a spawn would like best, then less.
fn probe_clone(known: Kernel) -> Result<Kernel, Errno> {
    let mut last = Errno::ENOSYS;
    for combination in 0..1u32 << WISHES.len() {
        let mut kernel = known;
        for (bit, feature) in WISHES.into_iter().enumerate() {
            if combination >> bit & 1 == 1 {
                kernel = kernel.without(feature);
            }
        }
        match probe_child(kernel) {
            Err(errno @ (Errno::EINVAL | Errno::EPERM | Errno::ENOSYS)) => last = errno,
            result => return result,
        }
    }
    Err(last)
}

/// What `kernel` turns out to be, by a child that exits at once.
///
/// Not inline: a process comes here once.
#[inline(never)]
fn probe_child(mut kernel: Kernel) -> Result<Kernel, Errno> {
    let frame = Frame::new();
    // Whatever its exit signal: shared memory is what shows whether the parent is
    // suspended.
    let mode = if kernel.has(Feature::SharedMemory) { Mode::Vfork } else { Mode::Fork };
    let shares_fds = kernel.has(Feature::ShareFds);
    let ops = if shares_fds { PROBE } else { EPILOGUE };
    // It is nobody's child: a debugger that is to follow the first one means the program. Who
    // has no exit signals, an emulator, may not know that flag either.
    let untraced = if kernel.has(Feature::NoExitSignal) { uapi::CLONE_UNTRACED } else { 0 };
    let flags = clone_flags(mode, shares_fds) | uapi::CLONE_CHILD_CLEARTID | untraced;
    let mut pidfd = -1;
    let mut wants_pidfd = kernel.has(Feature::ClonePidfd);
    let pid = loop {
        let start = Start { ops: ops.as_ptr(), frame: &raw const frame };
        let wishes = Wishes { flags, cgroup: None, pids: &[] };
        // SAFETY: Frame and ops outlive the child, which is waited for below; the
        // ops point to nothing.
        match unsafe { clone(kernel, wishes, wants_pidfd.then_some(&mut pidfd), start) } {
            // Whether a descriptor is to be had just now is not the question.
            Err(errno) if wants_pidfd && errno.is_table_full() => wants_pidfd = false,
            result => break result?,
        }
    };
    let end = sys::wait4(pid, uapi::__WALL);
    drop((pidfd >= 0).then(|| Fd::new(pidfd)));
    if shares_fds && end != Ok(Some(WaitStatus::from_raw(0))) {
        kernel = kernel.without(Feature::ShareFds);
    }
    // CLEARTID wrote a 0 where we see it, or it wrote elsewhere.
    if mode == Mode::Vfork && frame.tid.load(Ordering::Acquire) != 0 {
        kernel = kernel.without(Feature::Suspends);
    }
    Ok(kernel)
}

/// A pipe whose numbers the plan does not name: the child must neither overwrite it
/// nor take it for a descriptor of the caller's.
fn unnamed_pipe(plan: &Plan<'_>) -> Result<(Fd, Fd), Errno> {
    let (reader, writer) = sys::pipe()?;
    Ok((unnamed(plan, reader)?, unnamed(plan, writer)?))
}

fn unnamed(plan: &Plan<'_>, mut fd: Fd) -> Result<Fd, Errno> {
    // Numbers only grow here, so this ends; 0 to 2 are the child's.
    while fd.raw() <= 2 || plan.names(fd.raw()) {
        fd = sys::duplicate(fd.raw(), fd.raw().wrapping_add(1))?;
    }
    Ok(fd)
}

/// Waits until the child of a parent that went on has left the memory of `frame`.
///
/// The kernel clears `tid` and wakes one who waits. It does not, below Linux 5.16, where
/// a signal that dumps core kills the child; and a copy of `frame` that another thread's
/// fork has made is never cleared. So now and then it is asked whether there still is a
/// child that runs.
fn wait_until_gone(frame: &Frame, pid: c_int) {
    let still_runs = || {
        let options = uapi::WEXITED | uapi::WNOHANG | uapi::WNOWAIT | uapi::__WALL;
        sys::waitid(Target::Pid(pid), options, None).is_ok_and(|info| info.pid == 0)
    };
    loop {
        let tid = frame.tid.load(Ordering::Acquire);
        if tid == 0 || sys::futex_wait(&frame.tid, tid, PATIENCE) && !still_runs() {
            return;
        }
    }
}

/// How long to wait for the kernel's word before it is asked, in nanoseconds.
const PATIENCE: u32 = 10_000_000;
