//! What the caller wants: borrowed, checked when it is compiled.

use core::ffi::{CStr, c_int, c_void};
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

use linux_raw_sys::general as uapi;

use crate::array::CStrArray;
use crate::capability::Capabilities;
use crate::compile::{
    Stages, dirs, exec, fds, ids, limits, namespaces, posix, privileges, process, sandbox, service,
    session,
};
use crate::errno::Errno;
use crate::kernel::{Kernel, Needs};
use crate::mode::Modes;
use crate::namespaces::Namespaces;
use crate::posix::PosixSpawn;
use crate::signal::SigSet;
use crate::spawn::around::{AROUND, AroundFns, PLAIN};
use crate::spawn::forked::{self, Fork};
use crate::spawn::{STUB, Stub, copy};

/// A descriptor by its number.
pub type RawFd = c_int;

/// The program to execute.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Exec<'a> {
    /// The file at this path; a relative one counts from the child's working
    /// directory. execve(2).
    Path(&'a CStr),
    /// The file behind the caller's descriptor, which may be an `O_PATH` one.
    /// execveat(2) with `AT_EMPTY_PATH`, Linux 3.19.
    ///
    /// A script needs a descriptor that stays open: list it in
    /// [`Request::fds`], or its interpreter has nothing to read and the kernel
    /// answers `ENOENT`.
    Fd(RawFd),
    /// The first of these paths that can be executed, as Python's
    /// `executable_list`. The error is that of the first candidate that failed
    /// with neither `ENOENT` nor `ENOTDIR`, else that of the last.
    Candidates(&'a [&'a CStr]),
    /// A name to look up in a search path, as execvp(3) does.
    Search {
        /// The name. One with a slash in it is a path and is not looked up.
        name: &'a CStr,
        /// Directories, separated by colons; an empty one is the child's working
        /// directory. `None` takes `PATH` of the child's environment, and
        /// `/bin:/usr/bin` where that has none.
        path: Option<&'a [u8]>,
    },
}

/// What happens to one descriptor of the child.
///
/// All [`Map`](Self::Map)s of a request happen at once: each `parent_fd` means
/// the caller's descriptor, whatever numbers the other items write. Then files
/// are opened, then descriptors closed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum FdAction<'a> {
    /// The child's `child_fd` is the caller's `parent_fd`. Equal numbers pass
    /// the descriptor on, without its close-on-exec flag.
    Map {
        /// A descriptor of the caller.
        parent_fd: RawFd,
        /// Its number in the child.
        child_fd: RawFd,
    },
    /// The child opens a file, with the caller's root and working directory.
    Open {
        /// The number of the file in the child.
        child_fd: RawFd,
        /// The path, relative to the caller's working directory.
        path: &'a CStr,
        /// The flags of open(2). `O_CLOEXEC` is ignored.
        flags: c_int,
        /// The mode of a file that is created; the child's umask applies.
        mode: u32,
    },
    /// The child does not have this descriptor. It need not be open.
    Close {
        /// The number in the child.
        child_fd: RawFd,
    },
}

impl FdAction<'_> {
    /// The number in the child that the action is about.
    pub(crate) const fn child_fd(&self) -> RawFd {
        match *self {
            Self::Map { child_fd, .. } | Self::Open { child_fd, .. } | Self::Close { child_fd } => {
                child_fd
            }
        }
    }

    /// Whether the child has the descriptor afterwards.
    pub(crate) const fn is_kept(&self) -> bool {
        !matches!(self, Self::Close { .. })
    }
}

/// What becomes of the descriptors that a request does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OtherFds {
    /// The child has 0, 1, 2 and what the request names.
    #[default]
    Close,
    /// The child also has all that are not close-on-exec.
    Inherit,
}

/// The working directory of the child.
#[derive(Clone, Copy, Debug)]
pub enum CurrentDir<'a> {
    /// By path.
    Path(&'a CStr),
    /// By a descriptor of the caller.
    Fd(RawFd),
}

/// The supplementary groups of the child.
#[derive(Clone, Copy, Debug, Default)]
pub enum Groups<'a> {
    /// The caller's, but none where the uid changes and the caller may drop
    /// them.
    #[default]
    Auto,
    /// The caller's, whatever else changes.
    Keep,
    /// These.
    Set(&'a [u32]),
}

/// A resource limit, as prlimit(2) takes it.
#[derive(Clone, Copy, Debug)]
pub struct Rlimit {
    pub(crate) resource: u32,
    pub(crate) limit: uapi::rlimit64,
}

impl Rlimit {
    /// No limit.
    pub const INFINITY: u64 = u64::MAX;

    /// Limits `resource`, an `RLIMIT_*` of prlimit(2).
    pub const fn new(resource: u32, soft: u64, hard: u64) -> Self {
        Self { resource, limit: uapi::rlimit64 { rlim_cur: soft, rlim_max: hard } }
    }
}

/// A scheduling policy and priority, as `sched_setscheduler(2)` takes them.
///
/// `SCHED_DEADLINE` has parameters of its own and is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduler {
    pub(crate) policy: c_int,
    pub(crate) priority: c_int,
}

impl Scheduler {
    /// `policy` is a `SCHED_*`, with `SCHED_RESET_ON_FORK` if wanted;
    /// `priority` is `1..=99` for `SCHED_FIFO` and `SCHED_RR`, else 0.
    pub const fn new(policy: c_int, priority: c_int) -> Self {
        Self { policy, priority }
    }
}

/// An instruction of a seccomp filter: `struct sock_filter` of `linux/filter.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Filter {
    /// What it does.
    pub code: u16,
    /// How many instructions are passed over if it is true.
    pub jt: u8,
    /// How many if it is false.
    pub jf: u8,
    /// What it works with.
    pub k: u32,
}

/// What a hook returns: 0, or a positive error number that ends the spawn.
pub type HookFn = unsafe extern "C" fn(data: *mut c_void) -> c_int;

/// What a C library has for [`Hook::forked`].
#[derive(Clone, Copy, Debug)]
pub struct CLibrary {
    pub(crate) fork: unsafe extern "C" fn() -> c_int,
    pub(crate) errno: unsafe extern "C" fn() -> *mut c_int,
}

impl CLibrary {
    /// The one that has these two: its fork(3), and what gives the place of `errno`, which
    /// glibc and musl call `__errno_location`.
    ///
    /// # Safety
    ///
    /// They are that, of the C library that this program runs on.
    #[allow(unsafe_code)]
    pub const unsafe fn new(
        fork: unsafe extern "C" fn() -> c_int,
        errno: unsafe extern "C" fn() -> *mut c_int,
    ) -> Self {
        Self { fork, errno }
    }

    /// The one that std runs on.
    #[cfg(feature = "std")]
    #[allow(unsafe_code)]
    pub const fn linked() -> Self {
        unsafe extern "C" {
            fn fork() -> c_int;
            fn __errno_location() -> *mut c_int;
        }
        Self { fork, errno: __errno_location }
    }
}

/// A function of the caller's that runs in the child.
#[derive(Clone, Copy, Debug)]
pub struct Hook<'a> {
    pub(crate) function: HookFn,
    pub(crate) data: *mut c_void,
    /// The end of the stack to run on, in shared memory; null in a fork.
    pub(crate) stack: *const c_void,
    /// What makes the fork, if not the kernel's clone.
    pub(crate) fork: Option<Fork>,
    data_lives: PhantomData<&'a mut ()>,
}

// SAFETY: The constructors' callers promised that the function and its data may
// be used from wherever the request is spawned.
#[allow(unsafe_code)]
unsafe impl Send for Hook<'_> {}
// SAFETY: As above.
#[allow(unsafe_code)]
unsafe impl Sync for Hook<'_> {}

impl<'a> Hook<'a> {
    /// A hook for a child with memory of its own, made by the kernel's clone: for programs
    /// without a C library. [`forked`](Self::forked) is for those with one.
    ///
    /// # Safety
    ///
    /// `function`, called with `data`, must be sound in a child of a raw clone: the
    /// caller's other threads do not exist there, and a lock that one of them
    /// held stays locked. The C library has not been told of the fork, so that this is not what
    /// fork(3) promises. `malloc` may wait for ever, for a lock of its own, and so may
    /// `setuid` and its kin, which wait for threads that do not exist; the handlers of
    /// `pthread_atfork(3)` have not run; it may take the caller's pid or thread id for the
    /// child's, as musl's `raise` and `abort` do, which then hit the caller. What is left are raw
    /// system calls, and functions that are no more than that. It must be safe to call from
    /// several threads if the request is spawned from several.
    #[allow(unsafe_code)]
    pub const unsafe fn new(function: HookFn, data: *mut c_void) -> Self {
        Self { function, data, stack: core::ptr::null(), fork: None, data_lives: PhantomData }
    }

    /// A hook for a child with memory of its own, made by the fork of a C library.
    ///
    /// What works in a child of that fork works in the hook: whatever is async-signal-safe,
    /// and what the library promises beyond that, as glibc and musl do for `malloc`; `setuid`,
    /// `setgid` and their kin; `getpid`, `raise` and `abort`, of the child itself. Handlers of
    /// `pthread_atfork(3)` have run. Handlers of signals stay as they are until exec, as after
    /// any fork, where the request says nothing else.
    ///
    /// The child sends `SIGCHLD` from the start, and so does one whose spawn fails. It is
    /// made in the caller's cgroup, and moves before it does anything.
    ///
    /// ```
    /// use core::ffi::{c_int, c_void};
    /// use core::ptr;
    /// use rawspawn::{Buffer, CLibrary, Exec, Hook, Request, argv};
    ///
    /// unsafe extern "C" fn hook(_: *mut c_void) -> c_int {
    ///     unsafe { libc::umask(0o77) };
    ///     0
    /// }
    ///
    /// // SAFETY: The two are those of the C library of this program.
    /// let library = unsafe { CLibrary::new(libc::fork, libc::__errno_location) };
    /// let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
    /// request.env(argv![]);
    /// // SAFETY: The hook makes a system call.
    /// request.hook(unsafe { Hook::forked(library, hook, ptr::null_mut()) });
    /// assert!(request.spawn(&mut Buffer::<16>::new())?.wait()?.success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Safety
    ///
    /// `function`, called with `data`, must be sound in a child of that fork: the caller's other
    /// threads do not exist there, and a lock of the program's own that one of them held stays
    /// locked. It must be safe to call from several threads if the request is spawned from
    /// several.
    #[allow(unsafe_code)]
    pub const unsafe fn forked(library: CLibrary, function: HookFn, data: *mut c_void) -> Self {
        Self::made_by(Fork { run: forked::run, library }, function, data)
    }

    /// A hook for a child that `fork` makes.
    pub(crate) const fn made_by(fork: Fork, function: HookFn, data: *mut c_void) -> Self {
        let stack = core::ptr::null();
        Self { function, data, stack, fork: Some(fork), data_lives: PhantomData }
    }

    /// A hook for a child that shares the caller's memory.
    ///
    /// # Safety
    ///
    /// As for [`new`](Self::new), and `function` must be async-signal-safe in
    /// the strictest sense: it runs on the caller's thread pointer, so it must
    /// not call the C library, allocate, panic or touch thread-local storage.
    /// What it writes, the caller sees. It must fit `stack`, which must not be
    /// in use by another spawn at the same time.
    #[allow(unsafe_code)]
    pub const unsafe fn sharing_memory(
        function: HookFn,
        data: *mut c_void,
        stack: &'a mut [MaybeUninit<u8>],
    ) -> Self {
        let stack = stack.as_mut_ptr_range().end.cast();
        Self { function, data, stack, fork: None, data_lives: PhantomData }
    }
}

/// A function of the caller's that runs in the caller, while the child waits: see
/// [`Request::parent_hook`].
#[derive(Clone, Copy)]
pub struct ParentHook<'a>(&'a (dyn Fn(c_int) -> Result<(), Errno> + Sync));

impl<'a> ParentHook<'a> {
    /// A hook that is given the pid of the child, as the caller sees it.
    pub const fn new(function: &'a (dyn Fn(c_int) -> Result<(), Errno> + Sync)) -> Self {
        Self(function)
    }

    pub(crate) fn run(self, pid: c_int) -> Result<(), Errno> {
        (self.0)(pid)
    }
}

impl fmt::Debug for ParentHook<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ParentHook")
    }
}

/// Descriptors that a service listens on: see [`Request::listen_fds`].
#[derive(Clone, Copy, Debug)]
pub struct ListenFds<'a> {
    pub(crate) count: u16,
    pub(crate) names: Option<&'a CStr>,
}

impl<'a> ListenFds<'a> {
    /// The `count` descriptors from 3 on.
    pub const fn new(count: u16) -> Self {
        Self { count, names: None }
    }

    /// Gives them names, joined by colons.
    pub const fn names(mut self, names: &'a CStr) -> Self {
        self.names = Some(names);
        self
    }
}

/// A request to spawn a program.
///
/// It borrows all it names, allocates nothing, and does nothing until
/// [`spawn`](Self::spawn). Steps happen in the order of [`Step`](crate::Step),
/// whatever the order of the calls here.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools)] // an option each
pub struct Request<'a> {
    pub(crate) exec: Exec<'a>,
    pub(crate) argv: CStrArray<'a>,
    pub(crate) envp: Option<CStrArray<'a>>,
    pub(crate) sh_fallback: bool,
    pub(crate) busy_retries: u8,
    pub(crate) fds: &'a [FdAction<'a>],
    pub(crate) other_fds: OtherFds,
    pub(crate) cwd: Option<CurrentDir<'a>>,
    pub(crate) root: Option<&'a CStr>,
    pub(crate) umask: Option<u32>,
    pub(crate) cgroup: Option<RawFd>,
    pub(crate) session: bool,
    pub(crate) pgrp: Option<c_int>,
    pub(crate) ctty: Option<RawFd>,
    pub(crate) foreground: Option<RawFd>,
    pub(crate) pdeathsig: Option<c_int>,
    pub(crate) no_new_privs: bool,
    pub(crate) mask: Option<SigSet>,
    pub(crate) to_default: SigSet,
    pub(crate) to_ignore: SigSet,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) groups: Groups<'a>,
    pub(crate) capabilities: Option<&'a Capabilities>,
    pub(crate) seccomp: Option<&'a [Filter]>,
    pub(crate) landlock: Option<RawFd>,
    pub(crate) rlimits: &'a [Rlimit],
    pub(crate) nice: Option<c_int>,
    pub(crate) scheduler: Option<Scheduler>,
    pub(crate) affinity: Option<&'a [usize]>,
    pub(crate) ioprio: Option<u16>,
    pub(crate) oom_score_adj: Option<i16>,
    pub(crate) timer_slack: Option<u64>,
    pub(crate) subreaper: bool,
    pub(crate) coredump_filter: Option<u32>,
    pub(crate) listen_fds: Option<&'a ListenFds<'a>>,
    pub(crate) namespaces: Option<&'a Namespaces<'a>>,
    pub(crate) parent_hook: Option<ParentHook<'a>>,
    pub(crate) posix: Option<&'a PosixSpawn<'a>>,
    pub(crate) hook: Option<Hook<'a>>,
    pub(crate) pidfd: bool,
    /// What has to be known of the kernel, besides how descriptors are closed.
    pub(crate) needs: Needs,
    pub(crate) leave_dead: bool,
    #[cfg(feature = "alloc")]
    pub(crate) exec_fd: bool,
    pub(crate) modes: Modes,
    pub(crate) kernel: Option<Kernel>,
    pub(crate) stages: Stages,
    pub(crate) stub: Option<&'static Stub>,
    pub(crate) around: &'static AroundFns,
}

impl<'a> Request<'a> {
    /// A request to execute `exec` with the arguments `argv`, the first of
    /// which is the name that the program sees as its own.
    // Out of line: it is 40 stores.
    #[inline(never)]
    pub const fn new(exec: Exec<'a>, argv: CStrArray<'a>) -> Self {
        Self {
            exec,
            argv,
            envp: None,
            sh_fallback: false,
            busy_retries: 0,
            fds: &[],
            other_fds: OtherFds::Close,
            cwd: None,
            root: None,
            umask: None,
            cgroup: None,
            session: false,
            pgrp: None,
            ctty: None,
            foreground: None,
            pdeathsig: None,
            no_new_privs: false,
            mask: None,
            to_default: SigSet::EMPTY,
            to_ignore: SigSet::EMPTY,
            uid: None,
            gid: None,
            groups: Groups::Auto,
            capabilities: None,
            seccomp: None,
            landlock: None,
            rlimits: &[],
            nice: None,
            scheduler: None,
            affinity: None,
            ioprio: None,
            oom_score_adj: None,
            timer_slack: None,
            subreaper: false,
            coredump_filter: None,
            listen_fds: None,
            namespaces: None,
            parent_hook: None,
            posix: None,
            hook: None,
            pidfd: false,
            needs: Needs::CLONE,
            leave_dead: false,
            #[cfg(feature = "alloc")]
            exec_fd: false,
            modes: Modes::Any,
            kernel: None,
            stages: Stages::NONE,
            stub: None,
            around: &PLAIN,
        }
    }

    /// Gives the child this environment, exactly.
    ///
    /// Left unset, the child inherits the caller's: with feature `std` what C's
    /// `environ` holds at the spawn, without it what was given to
    /// `set_inherited_environ`. Another thread that changes the environment
    /// meanwhile may garble what the child gets.
    ///
    /// # Errors
    ///
    /// - [`Step::Environment`](crate::Step::Environment) with `EINVAL`, before
    ///   any process exists: unset, and there is none to inherit.
    ///
    /// # See
    ///
    /// execve(2), environ(7).
    pub const fn env(&mut self, envp: CStrArray<'a>) -> &mut Self {
        self.envp = Some(envp);
        self
    }

    /// Runs a file that the kernel does not recognise with `/bin/sh`, as
    /// execvp(3) does. Off by default: a damaged program would be read as a
    /// script.
    ///
    /// After `ENOEXEC` the child executes `/bin/sh` with the path of the file
    /// and the arguments but the first. Has no effect on [`Exec::Fd`].
    ///
    /// # See
    ///
    /// execvp(3); glibc's `posix_spawnp`.
    pub const fn sh_fallback(&mut self, on: bool) -> &mut Self {
        self.sh_fallback = on;
        self
    }

    /// Tries an exec again up to `times` times while the file is busy.
    ///
    /// `ETXTBSY` is what a program that was just written gives while a child of
    /// another thread still holds the descriptor that wrote it. The child
    /// sleeps 1 ms before the first retry, and twice as long before each other.
    /// At most 10; by default 0. If it is this process that still writes the
    /// file, in another thread, the child must not have its descriptor: that
    /// takes [`OtherFds::Close`] and `close_range(2)`, Linux 5.9, no emulator, and no hook.
    ///
    /// # Errors
    ///
    /// - [`Step::Exec`](crate::Step::Exec) with `EINVAL`, before any process
    ///   exists: more than 10.
    ///
    /// # See
    ///
    /// execve(2); <https://github.com/golang/go/issues/22315>.
    pub const fn retry_busy(&mut self, times: u8) -> &mut Self {
        self.busy_retries = times;
        self
    }

    /// Sets what becomes of single descriptors: see [`FdAction`].
    ///
    /// The index in errors is the position in `actions`.
    ///
    /// # Errors
    ///
    /// - [`Step::Move`](crate::Step::Move), [`Step::Open`](crate::Step::Open) or
    ///   [`Step::Close`](crate::Step::Close) with `EBADF`, before any process
    ///   exists: a negative number.
    /// - the same with `EINVAL`, before any process exists: a `child_fd` that an
    ///   earlier action named.
    /// - [`Step::Move`](crate::Step::Move) with `EBADF`: `parent_fd` is not
    ///   open, or `child_fd` is not below `RLIMIT_NOFILE`; with `EMFILE`: a cycle
    ///   needs one more descriptor than the limit allows.
    /// - [`Step::Open`](crate::Step::Open) with the errors of openat(2).
    ///
    /// # See
    ///
    /// dup(2), openat(2); `posix_spawn(3)`, `posix_spawn_file_actions_*`.
    pub const fn fds(&mut self, actions: &'a [FdAction<'a>]) -> &mut Self {
        self.fds = actions;
        self.stages.put(Stages::FDS, fds::stage);
        self
    }

    /// Sets what becomes of the descriptors that the request does not name.
    ///
    /// By default the program has none of them. A hook may still see them. A path
    /// such as `/dev/fd/5` or `/proc/self/fd/5`, to a file, a directory or the
    /// program, finds a descriptor for certain only if the request names it.
    ///
    /// # Errors
    ///
    /// - [`Step::CloseOthers`](crate::Step::CloseOthers) with `EOPNOTSUPP`:
    ///   `close_range` is missing, `/proc` too, and the limit is above 65,536.
    ///
    /// # Kernel
    ///
    /// Linux 5.9 (`CLOSE_RANGE_UNSHARE`): the child never has those above the
    /// highest that it needs, so that the cost of a spawn does not grow with the
    /// number of the caller's descriptors. A hook, which may use any, takes that
    /// away, and so does a source of 1024 or more: see [`LowFds`](crate::LowFds). For the rest: Linux 5.11 (`CLOSE_RANGE_CLOEXEC`): the child marks them, and exec closes
    /// them when the caller runs again. Linux 5.9: the child closes them. Below
    /// that, or where a filter refuses the call, it lists `/proc/self/fd`;
    /// without `/proc` it closes up to `RLIMIT_NOFILE`.
    ///
    /// # See
    ///
    /// `close_range(2)`; Python's `close_fds`.
    pub const fn other_fds(&mut self, others: OtherFds) -> &mut Self {
        self.other_fds = others;
        self
    }

    /// Sets the working directory.
    ///
    /// The last change of the file system before credentials change: relative
    /// paths of [`FdAction::Open`] do not see it, the program's path does.
    ///
    /// # Errors
    ///
    /// - [`Step::CurrentDir`](crate::Step::CurrentDir) with the errors of
    ///   chdir(2) or fchdir(2); with `EINVAL`, before any process exists: the
    ///   descriptor's number is the `child_fd` of an action.
    ///
    /// # See
    ///
    /// chdir(2); Python's `cwd`.
    pub const fn cwd(&mut self, dir: CurrentDir<'a>) -> &mut Self {
        self.cwd = Some(dir);
        self.stages.put(Stages::DIRS, dirs::stage);
        self
    }

    /// Sets the root directory, and the working directory to it unless
    /// [`cwd`](Self::cwd) sets another (a relative one counts from the root).
    ///
    /// Files are opened before, credentials change after.
    ///
    /// # Errors
    ///
    /// - [`Step::Root`](crate::Step::Root) with the errors of chroot(2); `EPERM`
    ///   without `CAP_SYS_CHROOT`.
    ///
    /// # See
    ///
    /// chroot(2).
    pub const fn root(&mut self, path: &'a CStr) -> &mut Self {
        self.root = Some(path);
        self.stages.put(Stages::DIRS, dirs::stage);
        self
    }

    /// Sets the child's file mode creation mask, before it opens files.
    ///
    /// Left unset, the child keeps the caller's. `mask` holds permission bits,
    /// `0o000..=0o777`.
    ///
    /// # Errors
    ///
    /// - [`Step::Umask`](crate::Step::Umask) with `EINVAL`, before any process
    ///   exists: a bit above `0o777`.
    ///
    /// # See
    ///
    /// umask(2); Python's `umask`.
    pub const fn umask(&mut self, mask: u32) -> &mut Self {
        self.umask = Some(mask);
        self.stages.put(Stages::UMASK, process::umask);
        self
    }

    /// Makes the child the leader of a new session and process group.
    ///
    /// # Errors
    ///
    /// - [`Step::ProcessGroup`](crate::Step::ProcessGroup) with `EPERM`, before
    ///   any process exists: together with [`process_group`](Self::process_group),
    ///   which setsid(2) would refuse or undo.
    ///
    /// # See
    ///
    /// setsid(2); Python's `start_new_session`.
    pub const fn session(&mut self, on: bool) -> &mut Self {
        self.session = on;
        self.stages.put(Stages::SESSION, session::stage);
        self
    }

    /// Puts the child into the process group `pgrp`; 0 makes it the leader of
    /// its own.
    ///
    /// # Errors
    ///
    /// - [`Step::ProcessGroup`](crate::Step::ProcessGroup) with `EINVAL`, before
    ///   any process exists: `pgrp` is negative; with `EPERM`: no such group in
    ///   this session.
    ///
    /// # See
    ///
    /// setpgid(2); Python's `process_group`.
    pub const fn process_group(&mut self, pgrp: c_int) -> &mut Self {
        self.pgrp = Some(pgrp);
        self.stages.put(Stages::SESSION, session::stage);
        self
    }

    /// Makes the terminal behind the caller's descriptor `fd` the controlling
    /// terminal. Needs [`session`](Self::session); never steals a terminal.
    ///
    /// # Errors
    ///
    /// - [`Step::ControllingTerminal`](crate::Step::ControllingTerminal) with
    ///   `EPERM`: not a session leader, or the terminal belongs to another
    ///   session; with `ENOTTY`: not a terminal.
    ///
    /// # See
    ///
    /// `ioctl_tty(2)`, `TIOCSCTTY`.
    pub const fn controlling_terminal(&mut self, fd: RawFd) -> &mut Self {
        self.ctty = Some(fd);
        self.stages.put(Stages::SESSION, session::stage);
        self
    }

    /// Makes the child's process group the foreground group of the terminal
    /// behind the caller's descriptor `fd`. The child is not stopped for it.
    ///
    /// # Errors
    ///
    /// - [`Step::Foreground`](crate::Step::Foreground) with `ENOTTY`: not the
    ///   child's controlling terminal; with `EPERM`: no such group in its session.
    ///
    /// # See
    ///
    /// tcsetpgrp(3); `POSIX_SPAWN_TCSETPGROUP`.
    pub const fn foreground(&mut self, fd: RawFd) -> &mut Self {
        self.foreground = Some(fd);
        self.stages.put(Stages::SESSION, session::stage);
        self
    }

    /// Sends `signal` to the child when the *thread* that spawned it ends.
    ///
    /// Set after credentials change, as that clears it. A parent that is gone by
    /// then ends the child, unless the child is in a PID namespace that the
    /// parent is not in: there it cannot tell.
    ///
    /// # Errors
    ///
    /// - [`Step::ParentDeathSignal`](crate::Step::ParentDeathSignal) with
    ///   `EINVAL`: not a signal; with `EPROTO`: the parent is gone, or it is outside of the
    ///   child's PID namespace by an unshare(2) of its own, and without `/proc` did not know.
    ///
    /// # See
    ///
    /// `PR_SET_PDEATHSIG(2const)`.
    pub const fn parent_death_signal(&mut self, signal: c_int) -> &mut Self {
        self.pdeathsig = Some(signal);
        self.stages.put(Stages::PROCESS, process::stage);
        self
    }

    /// Makes exec grant no privileges: set-user-ID and file capabilities have no
    /// effect on the child and its descendants.
    ///
    /// # Kernel
    ///
    /// Linux 3.5.
    ///
    /// # See
    ///
    /// `PR_SET_NO_NEW_PRIVS(2const)`.
    pub const fn no_new_privs(&mut self, on: bool) -> &mut Self {
        self.no_new_privs = on;
        self.stages.put(Stages::PROCESS, process::stage);
        self
    }

    /// Sets the signal mask, as the last thing before exec.
    ///
    /// Left unset, the child has the mask of the calling thread.
    ///
    /// # See
    ///
    /// sigprocmask(2).
    pub const fn signal_mask(&mut self, mask: SigSet) -> &mut Self {
        self.mask = Some(mask);
        self
    }

    /// Gives these signals their default action, besides all that have a
    /// handler. `SIGKILL` and `SIGSTOP` are passed over.
    ///
    /// # Errors
    ///
    /// - [`Step::SignalAction`](crate::Step::SignalAction) with `EINVAL`, before
    ///   any process exists: a signal that is to be ignored too.
    ///
    /// # See
    ///
    /// sigaction(2).
    pub const fn default_signals(&mut self, signals: SigSet) -> &mut Self {
        self.to_default = signals;
        self
    }

    /// Has the child ignore these signals. Those that the caller ignores stay
    /// ignored in any case, unless set to default.
    ///
    /// # Errors
    ///
    /// - [`Step::SignalAction`](crate::Step::SignalAction) with `EINVAL`, before
    ///   any process exists: a signal that is to have its default action too, or
    ///   `SIGKILL` or `SIGSTOP`.
    ///
    /// # See
    ///
    /// sigaction(2).
    pub const fn ignore_signals(&mut self, signals: SigSet) -> &mut Self {
        self.to_ignore = signals;
        self
    }

    /// Gives `SIGPIPE` and `SIGXFSZ` their default action, which language
    /// runtimes ignore. (`SIGXFZ`, that Python's documentation names too, exists
    /// on no Linux.)
    ///
    /// # See
    ///
    /// Python's `restore_signals`.
    pub const fn restore_signals(&mut self) -> &mut Self {
        self.to_default = self.to_default.with(uapi::SIGPIPE as i32).with(uapi::SIGXFSZ as i32);
        self
    }

    /// Sets the real, effective and saved user id.
    ///
    /// A number, as are all ids here: who has a name looks it up before the spawn, by
    /// `getpwnam_r(3)` for the ids and `getgrouplist(3)` for the groups. In a child neither may be called.
    ///
    /// No process with other credentials ever shares the caller's memory: the child does
    /// this in a stub ([`Mode::Stub`](crate::Mode::Stub)) where that has the capabilities
    /// which it needs, else in a fork. See [`groups`](Self::groups) for what happens to them.
    ///
    /// # Errors
    ///
    /// - [`Step::Uid`](crate::Step::Uid) with `EINVAL`, before any process
    ///   exists: `u32::MAX`, which setresuid(2) reads as "unchanged"; with
    ///   `EPERM`: not allowed.
    ///
    /// # See
    ///
    /// setresuid(2); Python's `user`.
    pub const fn uid(&mut self, uid: u32) -> &mut Self {
        self.uid = Some(uid);
        self.stages.put(Stages::IDS, ids::stage);
        self.with_stub();
        self
    }

    /// Sets the real, effective and saved group id. As [`uid`](Self::uid), and
    /// before it.
    ///
    /// # Errors
    ///
    /// - [`Step::Gid`](crate::Step::Gid), as [`uid`](Self::uid).
    ///
    /// # See
    ///
    /// setresgid(2); Python's `group`.
    pub const fn gid(&mut self, gid: u32) -> &mut Self {
        self.gid = Some(gid);
        self.stages.put(Stages::IDS, ids::stage);
        self.with_stub();
        self
    }

    /// Sets the supplementary groups, as [`uid`](Self::uid) and before the group id.
    ///
    /// Left unset, a change of the uid drops them all where that is permitted.
    ///
    /// # Errors
    ///
    /// - [`Step::Groups`](crate::Step::Groups) with the errors of setgroups(2).
    ///
    /// # See
    ///
    /// setgroups(2); Python's `extra_groups`.
    pub const fn groups(&mut self, groups: Groups<'a>) -> &mut Self {
        self.groups = groups;
        self.stages.put(Stages::IDS, ids::stage);
        self.with_stub();
        self
    }

    /// Sets what the child may do: see [`Capabilities`].
    ///
    /// The child does it in a stub or a fork, as with [`uid`](Self::uid): somebody with
    /// as few capabilities could reach memory that it shares.
    ///
    /// # Errors
    ///
    /// - [`Step::Securebits`](crate::Step::Securebits) or
    ///   [`Step::Bounding`](crate::Step::Bounding) with `EPERM`: no `CAP_SETPCAP`; the index
    ///   of the latter is the capability.
    /// - [`Step::Capabilities`](crate::Step::Capabilities) with `EPERM`: more than the
    ///   child may have.
    /// - [`Step::Ambient`](crate::Step::Ambient) with the capability and `EPERM`: it is not
    ///   permitted and inheritable; with `EINVAL`: the kernel does not know it.
    ///
    /// # Kernel
    ///
    /// Linux 4.3 for ambient capabilities.
    ///
    /// # See
    ///
    /// capabilities(7).
    pub const fn capabilities(&mut self, capabilities: &'a Capabilities) -> &mut Self {
        self.capabilities = Some(capabilities);
        self.stages.put(Stages::PRIVILEGES, privileges::before_ids);
        self.stages.put(Stages::CAPABILITIES, privileges::after_ids);
        self.with_stub();
        self
    }

    /// Installs a seccomp filter, a BPF program such as a compiler for policies makes.
    ///
    /// With [`no_new_privs`](Self::no_new_privs) it is the last thing before exec, and
    /// must allow `execve` alone. If it refuses `exit_group` and `exit` too, a child whose exec
    /// failed ends by an illegal instruction, and the error is the same; if it refuses `write`, an
    /// error in a stub is but a dead child. Without, it takes `CAP_SYS_ADMIN`, and must also allow
    /// all that comes after the limits, in the order of [`Step`](crate::Step).
    ///
    /// # Errors
    ///
    /// - [`Step::Seccomp`](crate::Step::Seccomp) with `EINVAL`: not a valid program, or
    ///   longer than 4,096 instructions; with `EACCES`: neither of the two rights.
    ///
    /// # Kernel
    ///
    /// Linux 3.17. Below 5.16 the child shares no memory: a signal that dumps core, such as a filter
    /// kills by, would end the caller too.
    ///
    /// # See
    ///
    /// seccomp(2).
    pub const fn seccomp(&mut self, filter: &'a [Filter]) -> &mut Self {
        self.seccomp = Some(filter);
        self.needs = self.needs.and(Needs::CORE_DUMP, true);
        self.stages.put(Stages::FILTER_EARLY, sandbox::seccomp_early);
        self.stages.put(Stages::FILTER_LATE, sandbox::seccomp_late);
        self
    }

    /// Restricts the child by the Landlock ruleset behind the caller's descriptor `fd`.
    ///
    /// It takes [`no_new_privs`](Self::no_new_privs) or `CAP_SYS_ADMIN`, and must allow to
    /// execute the program, its interpreter and loader, and to read its libraries.
    ///
    /// # Errors
    ///
    /// - [`Step::Landlock`](crate::Step::Landlock) with `EBADF`: not open, or before any
    ///   process exists, negative; with `EBADFD`: no ruleset; with `EPERM`: neither of the two
    ///   rights; with `ENOSYS` or `EOPNOTSUPP`: the kernel has no Landlock; with `EINVAL`,
    ///   before any process exists: the number is the `child_fd` of an action.
    ///
    /// # Kernel
    ///
    /// Linux 5.13.
    ///
    /// # See
    ///
    /// `landlock_restrict_self(2)`.
    pub const fn landlock(&mut self, fd: RawFd) -> &mut Self {
        self.landlock = Some(fd);
        self.stages.put(Stages::PROCESS, process::stage);
        self
    }

    /// Sets resource limits, after descriptors are in place and before
    /// credentials change.
    ///
    /// # Errors
    ///
    /// - [`Step::Rlimit`](crate::Step::Rlimit) with the position in `limits` and
    ///   the errors of prlimit(2).
    ///
    /// # See
    ///
    /// prlimit(2).
    pub const fn rlimits(&mut self, limits: &'a [Rlimit]) -> &mut Self {
        self.rlimits = limits;
        self.stages.put(Stages::RLIMITS, limits::rlimits);
        self
    }

    /// Puts the child into the cgroup of version 2 whose directory is behind the caller's
    /// descriptor `fd`, before it uses more memory than a page or two.
    ///
    /// It shares no memory with the caller there: if a cgroup is out of memory, the kernel kills
    /// all who share the memory of whom it kills, wherever they are. So the child is a fork that
    /// is made in the cgroup. Where the caller has 512 MiB of its own or more, of which a copy
    /// takes long, or where the child's credentials change, it is a stub that moves to the
    /// cgroup ([`Mode::Stub`](crate::Mode::Stub)): for that the kernel takes some 10 ms, and no
    /// process of the machine forks meanwhile.
    ///
    /// # Errors
    ///
    /// - [`Step::Cgroup`](crate::Step::Cgroup) with `EBADF`, before any process exists: a
    ///   negative number; with `EBADF` (or `ENOENT` or `ENOTDIR`, where the child writes): not a
    ///   directory of that kind; with `EACCES`: not allowed; with `EBUSY`: its children have
    ///   controllers; with `EOPNOTSUPP`: it is for neither processes nor threads, as one beside
    ///   one of threads; with `ENOENT` or `ENODEV`: it was removed.
    /// - [`Step::Clone`](crate::Step::Clone) with `EAGAIN`: its `pids.max`, of a child that is
    ///   made there.
    /// - [`Step::Child`](crate::Step::Child): the child was killed, as the cgroup has no memory
    ///   for its arguments or was out of memory.
    ///
    /// A spawn into a cgroup that is frozen waits until it is not.
    ///
    /// # Kernel
    ///
    /// Where there is `close_range(2)`, which is two releases younger than
    /// `CLONE_INTO_CGROUP` of Linux 5.7, a fork is made there. Else, or where a filter
    /// refuses `clone3(2)`, it starts in the caller's cgroup and writes itself to `cgroup.procs`,
    /// before all else.
    ///
    /// # See
    ///
    /// clone(2), `CLONE_INTO_CGROUP`; cgroups(7).
    pub const fn cgroup(&mut self, fd: RawFd) -> &mut Self {
        self.cgroup = Some(fd);
        self.stages.put(Stages::CGROUP, limits::cgroup);
        self.with_stub();
        self
    }

    /// Sets the nice value, `-20..=19`, after the scheduling policy.
    ///
    /// # Errors
    ///
    /// - [`Step::Nice`](crate::Step::Nice) with `EINVAL`, before any process
    ///   exists: out of range; with `EACCES`: not allowed.
    ///
    /// # See
    ///
    /// setpriority(2).
    pub const fn nice(&mut self, nice: c_int) -> &mut Self {
        self.nice = Some(nice);
        self.stages.put(Stages::LIMITS, limits::stage);
        self
    }

    /// Sets the scheduling policy and priority.
    ///
    /// # Errors
    ///
    /// - [`Step::Scheduler`](crate::Step::Scheduler) with the errors of
    ///   `sched_setscheduler(2)`.
    ///
    /// # See
    ///
    /// `sched_setscheduler(2)`.
    pub const fn scheduler(&mut self, scheduler: Scheduler) -> &mut Self {
        self.scheduler = Some(scheduler);
        self.stages.put(Stages::LIMITS, limits::stage);
        self
    }

    /// Lets the child run on these CPUs: bit *n* of the words, counted on from
    /// word to word, is CPU *n*.
    ///
    /// # Errors
    ///
    /// - [`Step::Affinity`](crate::Step::Affinity) with `EINVAL`: no CPU among
    ///   them that exists.
    ///
    /// # See
    ///
    /// `sched_setaffinity(2)`.
    pub const fn affinity(&mut self, cpus: &'a [usize]) -> &mut Self {
        self.affinity = Some(cpus);
        self.stages.put(Stages::LIMITS, limits::stage);
        self
    }

    /// Sets the I/O priority: class in the bits from 13 up, level below.
    ///
    /// # Errors
    ///
    /// - [`Step::IoPriority`](crate::Step::IoPriority) with the errors of
    ///   `ioprio_set(2)`.
    ///
    /// # See
    ///
    /// `ioprio_set(2)`.
    pub const fn ioprio(&mut self, ioprio: u16) -> &mut Self {
        self.ioprio = Some(ioprio);
        self.stages.put(Stages::LIMITS, limits::stage);
        self
    }

    /// Sets how likely the child is to be killed for want of memory,
    /// `-1000..=1000`. Needs `/proc`.
    ///
    /// # Errors
    ///
    /// - [`Step::OomScoreAdj`](crate::Step::OomScoreAdj) with `EINVAL`, before
    ///   any process exists: out of range; with `EACCES`: lowered without
    ///   `CAP_SYS_RESOURCE`; with `ENOENT`: no `/proc`.
    ///
    /// # See
    ///
    /// `proc_pid_oom_score_adj(5)`.
    pub const fn oom_score_adj(&mut self, adj: i16) -> &mut Self {
        self.oom_score_adj = Some(adj);
        self.stages.put(Stages::LIMITS, limits::stage);
        self
    }

    /// Sets by how much the kernel may be late with the child's timers, in nanoseconds, to
    /// wake it less often.
    ///
    /// # Errors
    ///
    /// - [`Step::TimerSlack`](crate::Step::TimerSlack) with `EINVAL`, before any process
    ///   exists: 0, which would be the caller's.
    ///
    /// # See
    ///
    /// `PR_SET_TIMERSLACK(2const)`.
    pub const fn timer_slack(&mut self, nanos: u64) -> &mut Self {
        self.timer_slack = Some(nanos);
        self.stages.put(Stages::SERVICE, service::stage);
        self
    }

    /// Has the child be the parent of those of its descendants whose parent has ended, as an
    /// init is.
    ///
    /// # Errors
    ///
    /// - [`Step::Subreaper`](crate::Step::Subreaper), if a filter refuses it.
    ///
    /// # See
    ///
    /// `PR_SET_CHILD_SUBREAPER(2const)`.
    pub const fn subreaper(&mut self, on: bool) -> &mut Self {
        self.subreaper = on;
        self.stages.put(Stages::SERVICE, service::stage);
        self
    }

    /// Sets which memory of the child a core dump has, a bit for each kind. Needs `/proc`.
    /// (Whether there is one is [`rlimits`](Self::rlimits)' to say, by `RLIMIT_CORE`.)
    ///
    /// A child that shares memory would set it for its caller: it does so in a stub or a fork.
    ///
    /// # Errors
    ///
    /// - [`Step::CoredumpFilter`](crate::Step::CoredumpFilter) with `ENOENT`: no `/proc`, or a
    ///   kernel without core dumps.
    ///
    /// # See
    ///
    /// core(5), `/proc/PID/coredump_filter`.
    pub const fn coredump_filter(&mut self, kinds: u32) -> &mut Self {
        self.coredump_filter = Some(kinds);
        self.stages.put(Stages::SERVICE, service::stage);
        self.with_around();
        self.with_stub();
        self
    }

    /// Tells the program which descriptors it is to listen on, in systemd's way: by the
    /// variables `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES` of its environment. Needs
    /// `/proc`, but for the init of a new PID namespace.
    ///
    /// That they are there, 3 and those that follow, is [`fds`](Self::fds)' to say. The pid,
    /// by which others than the program itself know that they are not meant, only the
    /// child knows; so it writes the variable itself, in a stub or a fork.
    ///
    /// # Errors
    ///
    /// - [`Step::ListenFds`](crate::Step::ListenFds) with the position of the descriptor and
    ///   `EBADF`, before any process exists: `fds` does not give it to the child; with `EINVAL`,
    ///   before any process exists: the child joins a PID namespace, or `/proc` is that of another
    ///   one than the caller's; with `ENOENT`: no `/proc`.
    ///
    /// # See
    ///
    /// `sd_listen_fds(3)`.
    pub const fn listen_fds(&mut self, listen: &'a ListenFds<'a>) -> &mut Self {
        self.listen_fds = Some(listen);
        self.stages.put(Stages::SERVICE, service::stage);
        self.with_around();
        self.with_stub();
        self
    }

    /// Sets which namespaces the child is in: see [`Namespaces`].
    ///
    /// A child that joins a PID namespace or makes a user namespace does not share the caller's
    /// memory, and is a fork: others may reach it there who may not reach the caller. One that
    /// joins a user namespace changes its credentials, as with [`uid`](Self::uid).
    ///
    /// # Errors
    ///
    /// Those of the options of [`Namespaces`].
    ///
    /// # See
    ///
    /// namespaces(7).
    pub const fn namespaces(&mut self, namespaces: &'a Namespaces<'a>) -> &mut Self {
        self.namespaces = Some(namespaces);
        self.stages.put(Stages::ARRIVE, namespaces::arrive);
        self.stages.put(Stages::ENTER, namespaces::enter);
        self.with_around();
        self.with_stub();
        self
    }

    /// Does what `posix_spawn(3)` does, in its order, before all that changes descriptors by
    /// other options: see [`PosixSpawn`].
    ///
    /// A program is looked up ([`Exec::Search`]) by execvp(3)'s rule then: what is no
    /// directory entry leads on to the next directory, `EACCES` does too, and is the error in the
    /// end; any other error is the end, so that [`sh_fallback`](Self::sh_fallback) has no effect. And
    /// the arguments may be none at all.
    ///
    /// # Errors
    ///
    /// - [`Step::FileAction`](crate::Step::FileAction) with the position of the action and the
    ///   errors of its call; with `EOPNOTSUPP`, before any process exists: all descriptors from one
    ///   on are to be closed, and what tells of the exec would be too, below Linux 5.11 under an
    ///   emulator or with `exec_fd`; with `EINVAL`, before any process exists: there are some, and other
    ///   descriptors are not inherited ([`OtherFds::Inherit`]).
    /// - [`Step::Scheduler`](crate::Step::Scheduler), [`Step::Session`](crate::Step::Session),
    ///   [`Step::ProcessGroup`](crate::Step::ProcessGroup), [`Step::Uid`](crate::Step::Uid),
    ///   [`Step::Gid`](crate::Step::Gid) with the errors of those calls.
    ///
    /// # See
    ///
    /// `posix_spawn(3)`.
    pub const fn posix(&mut self, posix: &'a PosixSpawn<'a>) -> &mut Self {
        self.posix = Some(posix);
        self.stages.put(Stages::POSIX, posix::stage);
        // Without a stub, of which there is none here.
        if posix.cgroup.is_some() {
            self.cgroup = posix.cgroup;
            self.stages.put(Stages::CGROUP, limits::cgroup);
        }
        self.with_around();
        self
    }

    /// Runs a function of the caller's in the caller, when there is a child and it has done
    /// nothing yet: it waits. For what takes both, the child's pid and the caller's rights:
    /// maps of ids by newuidmap(1), a network device moved into its namespace.
    ///
    /// Until it returns the child shares the caller's memory, unless it has a
    /// [`cgroup`](Self::cgroup) or is a fork for another reason. Who moves it to a cgroup that may
    /// be out of memory, of version 1 say, asks for [`Modes::Fork`]: or the kernel kills the
    /// caller with it.
    ///
    /// If it fails or panics the child is ended and reaped. With
    /// [`oom_score_adj`](Self::oom_score_adj) the child is a fork: the kernel would set that for
    /// a caller who shares memory and goes on. It is called again, for another
    /// child, if the first could not execute its stub ([`Mode::Stub`](crate::Mode::Stub)).
    ///
    /// # Errors
    ///
    /// - [`Step::ParentHook`](crate::Step::ParentHook) with the error that it returned.
    /// - [`Step::Wait`](crate::Step::Wait), if a filter refuses the child what it waits with; with
    ///   `ETIMEDOUT` after an hour: a child waits no longer.
    ///
    /// # See
    ///
    /// `user_namespaces(7)`, newuidmap(1); futex(2), which is how the child waits.
    pub const fn parent_hook(&mut self, hook: ParentHook<'a>) -> &mut Self {
        self.parent_hook = Some(hook);
        self.stages.put(Stages::ARRIVE, namespaces::arrive);
        self.with_around();
        self
    }

    /// Runs a function of the caller's in the child, as the last thing before the program is
    /// executed, or before the filter of [`seccomp`](Self::seccomp) with
    /// [`no_new_privs`](Self::no_new_privs).
    ///
    /// All else is in place, so what the hook does reaches the program: a signal that it
    /// ignores, the mask, the umask, a limit, and descriptors. Others are not closed yet but
    /// close-on-exec, those that are wanted ([`fds`](Self::fds)) are not; so what the hook makes by
    /// dup2(2), or makes inheritable by `F_SETFD`, the program has.
    ///
    /// # Errors
    ///
    /// - [`Step::Hook`](crate::Step::Hook) with the error that it returned.
    /// - [`Step::Child`](crate::Step::Child) if it killed or ended the child. (With
    ///   `Command::pre_exec` that is a success, as in std.) A process that it has forked, and that
    ///   executes the program instead, is not the child.
    /// - [`Step::Mode`](crate::Step::Mode) with `EOPNOTSUPP`, before any process exists: the hook
    ///   is one for the fork of a C library ([`Hook::forked`]), and the child's user or PID
    ///   namespace is new, or its pid chosen, which takes a clone.
    /// - [`Step::Report`](crate::Step::Report) with `ENOMEM`, `EMFILE` or `ENFILE`: no memory, or no
    ///   pipe, for the report of a child that is a fork.
    ///
    /// # See
    ///
    /// `std::os::unix::process::CommandExt::pre_exec`; Python's `preexec_fn`.
    pub const fn hook(&mut self, hook: Hook<'a>) -> &mut Self {
        self.hook = Some(hook);
        self.stages.put(Stages::HOOK, process::hook);
        self.with_around();
        self
    }

    /// Asks for a pidfd of the child, in the same system call that makes it; where that gives none,
    /// once the child has executed its program. It is neither 0, 1 nor 2, nor a number that the
    /// request names.
    ///
    /// # Errors
    ///
    /// - [`Step::Clone`](crate::Step::Clone) with `EMFILE`: no descriptor left.
    /// - [`Step::Pidfd`](crate::Step::Pidfd) with `ENOSYS`, before any process
    ///   exists: the kernel has none; with `EMFILE`: no descriptor left. The child is ended then.
    ///
    /// # Kernel
    ///
    /// Linux 5.3. (5.2 has pidfds that cannot be polled.)
    ///
    /// # See
    ///
    /// clone(2), `CLONE_PIDFD`; `pidfd_open(2)`.
    pub const fn pidfd(&mut self, on: bool) -> &mut Self {
        self.pidfd = on;
        self.needs = self.needs.and(Needs::PIDFD, on);
        self
    }

    /// Leaves a child that dies before it has executed its program to be waited for, as
    /// `posix_spawn(3)` does: the spawn is a success, and [`Process::wait`](crate::Process::wait), or a
    /// plain waitpid(2), says what killed it. So a program that hands a signal of its
    /// process group's on by how it waits for its children has one answer, whenever the signal
    /// came. By default that is an error, [`Step::Child`](crate::Step::Child), and the child is
    /// reaped.
    ///
    /// Such a child is an ordinary one from the start: a `waitpid(-1)` of another thread may see
    /// it before the spawn returns, and one that fails sends `SIGCHLD`, as it exits, before the spawn
    /// has reaped it. What failed is the error as ever.
    ///
    /// Two answers depend on this wish, of a child with a copy of memory ([`Mode::Fork`](crate::Mode::Fork)).
    /// If the caller does something while it waits ([`parent_hook`](Self::parent_hook), maps of ids),
    /// a pipe tells of its exec: what the hook forks holds the caller, until that executes something
    /// or ends. And if a tracer takes `CLONE_VFORK` from its clone, an error that comes
    /// after is an exit with 127.
    ///
    /// # See
    ///
    /// `posix_spawn(3)`; clone(2), exit signal and `__WALL`.
    pub const fn leave_dead(&mut self, on: bool) -> &mut Self {
        self.leave_dead = on;
        self
    }

    /// Asks for a descriptor in the [`Pending`](crate::Pending) of a start that is readable,
    /// at its end, once the child has executed its program or failed: the end of a pipe.
    ///
    /// It is late if another thread forks while the child is being made, as that process
    /// then has the other end too, until it executes something. The spawn takes a copy of
    /// all of the parent's table.
    ///
    /// # Errors
    ///
    /// - [`Step::Report`](crate::Step::Report) with `EMFILE` or `ENFILE`: no pipe to be had.
    ///
    /// # See
    ///
    /// pipe2(2), poll(2); fcntl(2), `FD_CLOEXEC`.
    #[cfg(feature = "alloc")]
    pub const fn exec_fd(&mut self, on: bool) -> &mut Self {
        self.exec_fd = on;
        self
    }

    /// Sets which modes the spawn may use. By default the fastest safe one.
    ///
    /// # Errors
    ///
    /// - [`Step::Mode`](crate::Step::Mode) with `EOPNOTSUPP`, before any process
    ///   exists: the modes allowed are not safe for this request, or not to be
    ///   had on this kernel.
    pub const fn modes(&mut self, modes: Modes) -> &mut Self {
        self.modes = modes;
        if matches!(modes, Modes::Stub) {
            self.with_stub();
        }
        self
    }

    /// Takes `kernel` for what the running kernel offers, instead of what was
    /// found out: to test what happens on an older one, or to pin a choice. Nothing is asked then,
    /// so that a seccomp filter which kills meets no question; and nothing else is tried if the kernel
    /// refuses something, but for a fork in place of a stub.
    pub const fn kernel(&mut self, kernel: Kernel) -> &mut Self {
        self.kernel = Some(kernel);
        self
    }

    /// A copy of it in `room`. Not by an assignment, which would be a call of memcpy.
    #[allow(unsafe_code)]
    pub(crate) fn copy_to<'r, 'b>(
        &'b self,
        room: &'r mut MaybeUninit<Request<'b>>,
    ) -> &'r mut Request<'b> {
        let from = core::ptr::from_ref(self).cast();
        // SAFETY: A request, which can be copied, and room for one.
        unsafe { copy(from, room.as_mut_ptr().cast(), size_of::<Self>()) };
        // SAFETY: Just written.
        unsafe { room.assume_init_mut() }
    }

    /// Brings along what it takes to be spawned by a stub.
    const fn with_stub(&mut self) {
        self.stub = Some(&STUB);
        self.needs = self.needs.and(Needs::EXECVEAT, true);
        self.stages.put(Stages::STUB, exec::stub_stage);
        self.with_around();
    }

    /// Brings along what the parent does around the clone.
    const fn with_around(&mut self) {
        self.around = &AROUND;
    }

    /// Whether a C library makes the child.
    pub(crate) fn is_forked(&self) -> bool {
        matches!(&self.hook, Some(Hook { fork: Some(_), .. }))
    }

    /// Whether a descriptor tells of the exec.
    #[cfg_attr(not(feature = "alloc"), allow(clippy::unused_self))]
    pub(crate) const fn tells_of_exec(&self) -> bool {
        #[cfg(feature = "alloc")]
        return self.exec_fd;
        #[cfg(not(feature = "alloc"))]
        false
    }

    /// Whether the child gets other credentials than its parent.
    pub(crate) const fn changes_credentials(&self) -> bool {
        self.uid.is_some()
            || self.gid.is_some()
            || self.capabilities.is_some()
            || matches!(self.groups, Groups::Set(_))
    }
}
