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
pub(crate) mod forked;
mod made;
mod stub;
pub(crate) mod traced;
mod vfork;

pub(crate) use stub::{MOST_BEFORE, STUB, STUB_NAME, STUB_TEXT, Stub, copy};

use made::Made;

#[cfg_attr(not(feature = "std"), allow(unused_imports))]
pub(crate) use made::Born;

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
use crate::kernel::{Feature, Kernel, Needs};
use crate::low::{Lent, LowFds};
use crate::mode::{self, Mode, Reason};
#[cfg(feature = "std")]
use crate::plan::HeapBuffer;
use crate::plan::op::{EPILOGUE, Frame, PROBE};
use crate::plan::{Buffer, Needed, Plan, Step, Storage};
use crate::posix::PosixSpawn;
use crate::process::Process;
use crate::request::{FdAction, OtherFds, RawFd, Request};
use crate::signal::SigSet;
use crate::status::WaitStatus;
use crate::sys;

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
    /// - [`Step::Child`]: the child died before it executed the program, and is not to be left
    ///   ([`leave_dead`](Self::leave_dead)).
    ///
    /// The child of a spawn that failed is gone, has sent no `SIGCHLD`, and was
    /// no child to a `waitpid(-1)` of another thread. Others did, and were, from the start: one that
    /// would have been left, one that a C library forks for a [hook](crate::Hook::forked), and a plain
    /// fork for an emulator or a tracer; and one that fails in a stub ([`Mode::Stub`]), from the
    /// exec of that on.
    ///
    /// # Kernel
    ///
    /// Linux 4.7. See [`Feature`] for what newer ones add. If a filter has come that refuses what
    /// the kernel offered before, the spawn finds out, and does without in the same call, unless
    /// its child has run a hook or opened a file with `O_EXCL` by then.
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
    /// Only pipes and sockets are duplicated: to give back the number of another file would drop
    /// the record locks of fcntl(2) that the caller has on it.
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
        let kernel = self.known_kernel()?;
        if kernel.has(Feature::ShareFds) && self.other_fds == OtherFds::Close {
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
        self.plan_on(self.known_kernel()?, storage.into())
    }

    /// How much room [`spawn`](Self::spawn) and [`spawn_with`](Self::spawn_with) need, at most:
    /// for whatever they may try, on this kernel and if it refuses calls from now on; in a stub or
    /// a fork, with low numbers for high ones, and whether all descriptors that are named are open
    /// or not. A plan may be shorter. Where [`kernel`](Self::kernel) says what there is, it is for
    /// that one.
    ///
    /// A spawn in less room, whose first plan fits and whose next does not, gives the error that the
    /// next was to mend.
    ///
    /// # Errors
    ///
    /// Those that `spawn` gives before any process exists.
    pub fn needed(&self) -> Result<Needed, Error> {
        let kernel = self.known_kernel()?;
        let around = (self.around.look)(self);
        let mut needed = self.needed_on(kernel, around)?;
        let mut also = |kernel: Kernel| {
            let more = self.needed_on(kernel, around);
            needed = needed.max(more.unwrap_or_default());
            more.is_ok()
        };
        also(kernel.without(Feature::ExecMemfd));
        if self.kernel.is_none() {
            let old = kernel.without(Feature::Clone3);
            for without in LESS {
                let without = |kernel: Kernel| without.iter().fold(kernel, |k, f| k.without(*f));
                // A few options need clone3.
                let _ = also(without(old)) || also(without(kernel));
            }
        }
        Ok(needed)
    }

    /// How much room a plan takes on `kernel`, whatever this process is.
    fn needed_on(&self, kernel: Kernel, around: Wanted) -> Result<Needed, Error> {
        let (mode, reason) = mode::choose(self, kernel, around)?;
        let caller = Caller {
            envp: if self.envp.is_none() { environ::inherited() } else { None },
            mask: opens_mask(self, kernel, around).then_some(SigSet::EMPTY),
            // Some that are, and some that are not.
            ignored: SigSet::from_bits(u64::MAX / 3),
            // What it is checked against makes no difference, but whether it is.
            pid: 1,
            pgrp: 0,
            sources_open: true,
            around,
        };
        let mut needed = compile::needed(&self.input(kernel, mode, caller))?;
        // Which of the two it is depends on how much memory there is by then.
        if reason == Reason::Cgroup {
            let other = if mode == Mode::Stub { Mode::Fork } else { Mode::Stub };
            let other = compile::needed(&self.input(kernel, other, caller));
            needed = needed.max(other.unwrap_or_default());
        }
        Ok(needed)
    }

    /// What the kernel offers, of what this request depends on.
    #[inline]
    fn known_kernel(&self) -> Result<Kernel, Error> {
        self.kernel.map_or_else(|| Kernel::find(self.needs()), Ok)
    }

    /// What has to be known of the kernel.
    #[inline]
    fn needs(&self) -> Needs {
        let closes = self.other_fds == OtherFds::Close || self.cgroup.is_some();
        let closes = closes || self.posix.is_some_and(PosixSpawn::closes_from);
        self.needs.and(Needs::CLOSE, closes)
    }

    fn spawn_in(&self, mut storage: Storage<'_>) -> Result<Process, Error> {
        let kernel = self.known_kernel()?;
        match self.spawn_on(kernel, storage.reborrow()) {
            Err(error) => self.spawn_again(kernel, error, storage),
            result => result,
        }
    }

    /// Spawns as often as the `error` of the last try, on `kernel`, leads to another way.
    #[cold]
    fn spawn_again(
        &self,
        mut kernel: Kernel,
        mut error: Error,
        mut storage: Storage<'_>,
    ) -> Result<Process, Error> {
        while let Some(lesser) = self.lesser(kernel, error) {
            kernel = lesser;
            match self.spawn_on(kernel, storage.reborrow()) {
                // What went wrong was something else.
                Err(next) if next.is_too_small() => break,
                Err(next) => error = next,
                result => return result,
            }
        }
        Err(error)
    }

    /// Spawns in as much room as each try takes: on the stack, where most plans fit, or the heap.
    #[cfg(feature = "std")]
    pub(crate) fn spawn_in_any_room(&self) -> Result<Process, Error> {
        let mut kernel = self.known_kernel()?;
        loop {
            let mut result = self.spawn_on(kernel, (&mut Buffer::<48, 256>::new()).into());
            if result.as_ref().is_err_and(|error| error.is_too_small()) {
                let needed = self.needed_on(kernel, (self.around.look)(self))?;
                result = self.spawn_on(kernel, (&mut HeapBuffer::new(needed)).into());
            }
            match result {
                Err(error) => kernel = self.lesser(kernel, error).ok_or(error)?,
                result => return result,
            }
        }
    }

    /// Another way after `error`, a kernel that offers less than `kernel`; `None` if there is none.
    ///
    /// There is one if the kernel refuses a call that it offered before, as a filter was
    /// installed or a namespace entered, and the child has done nothing that a second one could
    /// not do again; and if a stub cannot be made.
    fn lesser(&self, kernel: Kernel, error: Error) -> Option<Kernel> {
        let (step, errno) = (error.step(), error.errno());
        if let (Step::Stub, Some(stub)) = (step, self.stub) {
            return if self.opens_again() { (stub.without)(self, kernel, errno) } else { None };
        }
        let refused = matches!(errno, Some(Errno::ENOSYS | Errno::EPERM | Errno::EINVAL));
        let may_repeat = match step {
            Step::Clone => refused,
            Step::CloseOthers | Step::NewNamespaces | Step::FileAction => refused && self.is_pure(),
            // By a filter that has somebody answer for the kernel, which works in the parent.
            Step::Child => {
                let sigsys = Cause::Killed(uapi::SIGSYS as u8);
                error.cause() == sigsys && self.seccomp.is_none() && self.is_pure()
            }
            _ => false,
        };
        if !may_repeat || self.kernel.is_some() {
            return None;
        }
        let now = kernel.and(Kernel::find_anew(self.needs()).ok()?);
        (now != kernel).then_some(now)
    }

    /// Whether a second child can do all that a first one has done.
    fn is_pure(&self) -> bool {
        self.hook.is_none() && self.parent_hook.is_none() && self.opens_again()
    }

    /// Whether a second child can open what a first one has opened.
    fn opens_again(&self) -> bool {
        let exclusive = uapi::O_EXCL as i32;
        let is_exclusive = |action: &FdAction<'_>| matches!(action, FdAction::Open { flags, .. } if flags & exclusive != 0);
        !self.fds.iter().any(is_exclusive)
            && !self.posix.is_some_and(|posix| posix.opens_with(exclusive))
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
        if let (Mode::Stub, Some(stub)) = (mode, self.stub) {
            input.mode = (stub.settle)(&input);
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
    /// the process that compiled it. It is not tried in another way if the kernel refuses what it
    /// offered before: a process that has installed a seccomp filter compiles it anew.
    ///
    /// # Errors
    ///
    /// - [`Step::Environment`] with `EINVAL`, before any process exists: the request
    ///   has no environment of its own. The inherited one may have moved.
    /// - those of [`Request::spawn`], but for its other tries where the kernel
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
            (Mode::Stub | Mode::Fork, _) => match self.around.fork() {
                Some(fork) => (fork.run)(self, fork.library),
                None => fork::run(self),
            },
        }
    }

    /// Does by another plan of its request what failed with `error`, if there may be one.
    #[cold]
    #[inline(never)]
    fn run_again(&self, error: Error) -> Result<Process, Error> {
        let Some(request) = self.around.request() else { return Err(error) };
        request.spawn_again(self.kernel, error, (&mut Buffer::<48, 256>::new()).into())
    }
}

/// What a kernel may turn out to lack besides `clone3`, for [`Request::needed`]: one of the ways
/// to close descriptors, with memory that can be shared or not.
const LESS: [&[Feature]; 8] = [
    &[],
    &[Feature::ShareFds],
    &[Feature::CloseRangeCloexec],
    &[Feature::CloseRange],
    &[Feature::SharedMemory],
    &[Feature::SharedMemory, Feature::ShareFds],
    &[Feature::SharedMemory, Feature::CloseRangeCloexec],
    &[Feature::SharedMemory, Feature::CloseRange],
];

impl Frame {
    /// `tid` until the kernel has written it. Not 0: the kernel's 0 is the news.
    pub(crate) const NO_TID: u32 = u32::MAX;

    pub(crate) const fn new() -> Self {
        Self {
            failed: AtomicPtr::new(ptr::null_mut()),
            errno: AtomicU32::new(0),
            tid: AtomicU32::new(Self::NO_TID),
            epilogue: EPILOGUE.as_ptr().cast(),
            released: AtomicU32::new(0),
        }
    }
}

/// Whether the child has signals blocked, and has to be given its parent's mask.
#[inline]
fn opens_mask(request: &Request<'_>, kernel: Kernel, around: Wanted) -> bool {
    request.mask.is_none()
        && (!kernel.has(Feature::ClearSighand)
            || request.foreground.is_some()
            || around.has(SHIELDS))
}

/// Reads what the plan needs to know of its parent, and no more.
#[allow(clippy::inline_always)] // the usual request needs next to nothing of it
#[inline(always)]
fn caller<'a>(request: &'a Request<'a>, kernel: Kernel, around: Wanted) -> Caller<'a> {
    let (waits, shields) = (around.has(WAITS), around.has(SHIELDS));
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
        mask: opens_mask(request, kernel, around).then(|| sys::signal_mask().unwrap_or_default()),
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
unsafe fn clone_for(plan: &Plan<'_>, frame: &Frame, wishes: Wishes<'_>) -> Result<Born, Errno> {
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
    // Of a child that was not made the kernel may have told a number, which is somebody else's
    // by now.
    Ok(Born { pid: result?, pidfd })
}

/// The flags that make a child of `plan` in `mode`, and its exit signal where clone(2) has it.
const fn clone_flags(plan: &Plan<'_>, mode: Mode, shares_fds: bool) -> u32 {
    let signal = if plan.leave_dead { uapi::SIGCHLD } else { 0 };
    flags_of(mode, shares_fds, plan.leave_dead) | signal
}

/// The same without the signal. `clears_tid`: the kernel says when a child has left memory that
/// it shares.
const fn flags_of(mode: Mode, shares_fds: bool, clears_tid: bool) -> u32 {
    let clear = if clears_tid { uapi::CLONE_CHILD_CLEARTID } else { 0 };
    let memory = match mode {
        Mode::Vfork | Mode::Stub => uapi::CLONE_VM | uapi::CLONE_VFORK | clear,
        Mode::Fork => uapi::CLONE_VFORK,
        Mode::Detached => uapi::CLONE_VM | uapi::CLONE_CHILD_CLEARTID,
    };
    let files = if shares_fds { uapi::CLONE_FILES } else { 0 };
    uapi::CLONE_CHILD_SETTID | memory | files
}

/// What a child is to be made with.
pub(crate) struct Wishes<'w> {
    /// With an exit signal, or 0 for none until exec, in the lowest byte.
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
    let asked = flags & uapi::CSIGNAL;
    let exit_signal = if kernel.has(Feature::NoExitSignal) { asked } else { uapi::SIGCHLD };
    flags &= !uapi::CSIGNAL;
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

/// Finds out what clone(2) offers here, of what `needs` asks about, with children that exit at
/// once.
pub(crate) fn probe(known: Kernel, needs: Needs) -> Result<Kernel, Error> {
    let failed = |errno| Error::new(Step::Clone, 0, errno);
    // Handlers that the kernel does not clear must not run, but for one that answers a filter's trap.
    let signals = SigSet::ALL.without(uapi::SIGSYS as c_int);
    let mask = sys::set_signal_mask(signals).map_err(failed)?;
    let result = probe_clone(known, needs);
    let _ = sys::set_signal_mask(mask);
    result.map_err(failed)
}

/// What is tried without, one after the other and then together, until a child
/// can be made. `probe_clone` knows the places of the first two.
const WISHES: [Feature; 6] = [
    Feature::ClonePidfd,
    Feature::ShareFds,
    Feature::NoExitSignal,
    Feature::ClearSighand,
    Feature::Clone3,
    Feature::SharedMemory,
];

/// Tries what a spawn would like best, then less.
fn probe_clone(known: Kernel, needs: Needs) -> Result<Kernel, Errno> {
    // A bit for each of the wishes that `needs` knows of.
    let mut asked = (1u32 << WISHES.len()) - 1;
    asked &= if needs.has(Needs::PIDFD) { u32::MAX } else { !1 };
    asked &= if needs.has(Needs::CLOSE) { u32::MAX } else { !2 };
    let mut last = Errno::ENOSYS;
    for combination in 0..=asked {
        if combination & !asked != 0 {
            continue;
        }
        let mut kernel = known;
        for (bit, feature) in WISHES.into_iter().enumerate() {
            if combination >> bit & 1 == 1 {
                kernel = kernel.without(feature);
            }
        }
        match probe_child(kernel, needs) {
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
fn probe_child(mut kernel: Kernel, needs: Needs) -> Result<Kernel, Errno> {
    let frame = Frame::new();
    // Whatever its exit signal: shared memory is what shows whether the parent is
    // suspended.
    let mode = if kernel.has(Feature::SharedMemory) { Mode::Vfork } else { Mode::Fork };
    let shares_fds = kernel.has(Feature::ShareFds) && needs.has(Needs::CLOSE);
    let ops = if shares_fds { PROBE } else { EPILOGUE };
    // It is nobody's child: a debugger that is to follow the first one means the program. Who
    // has no exit signals, an emulator, may not know that flag either.
    let untraced = if kernel.has(Feature::NoExitSignal) { uapi::CLONE_UNTRACED } else { 0 };
    let flags = flags_of(mode, shares_fds, true) | untraced;
    let mut pidfd = -1;
    let mut wants_pidfd = kernel.has(Feature::ClonePidfd) && needs.has(Needs::PIDFD);
    let pid = loop {
        let start = Start { ops: ops.as_ptr(), frame: &raw const frame };
        let wishes = Wishes { flags, cgroup: None, pids: &[] };
        // SAFETY: Frame and ops outlive the child, which is waited for below; the
        // ops point to nothing.
        match unsafe { clone(kernel, wishes, wants_pidfd.then_some(&mut pidfd), start) } {
            // Whether a descriptor is to be had just now is not the question.
            Err(errno) if wants_pidfd && errno.is_table_full() => {
                (wants_pidfd, pidfd) = (false, -1);
            }
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
