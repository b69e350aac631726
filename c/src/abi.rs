//! What `rawspawn.h` declares besides functions: the header is made from this file, comments
//! included, and speaks to readers of C.
//!
//! Structures with a `size` may grow at their end; the others stay as they are.
// Comments for C.
#![allow(clippy::doc_markdown)]

use core::ffi::{c_char, c_int, c_ulong, c_void};

/// The version of this header: a byte each of its three numbers.
pub const RAWSPAWN_VERSION: u32 = 0x00_01_00;

/// A number that may be left unset: 0 is unset, RAWSPAWN_SET(n) is n. Any other value is EINVAL,
/// so that a plain number is never mistaken for none.
pub type Optional = u64;

/// request.flags: a new session, of which the child is the leader. setsid(2)
pub const RAWSPAWN_SESSION: u32 = 0x1;
/// request.flags: exec grants no privileges. PR_SET_NO_NEW_PRIVS
pub const RAWSPAWN_NO_NEW_PRIVS: u32 = 0x2;
/// request.flags: orphans among the descendants become children of the child.
pub const RAWSPAWN_SUBREAPER: u32 = 0x4;
/// request.flags: a pidfd in the child structure. Linux 5.3
pub const RAWSPAWN_PIDFD: u32 = 0x8;
/// request.flags: what the kernel does not recognise is run by /bin/sh, as execvp(3) does.
pub const RAWSPAWN_SH_FALLBACK: u32 = 0x10;
/// request.flags: the child has all descriptors that are not close-on-exec. Without, it has 0, 1,
/// 2 and those of request.fds.
pub const RAWSPAWN_INHERIT_FDS: u32 = 0x20;
/// request.flags: SIGPIPE and SIGXFSZ, which language runtimes ignore, get their default action.
pub const RAWSPAWN_RESTORE_SIGNALS: u32 = 0x40;
/// request.flags: the supplementary groups stay, whatever the uid. Without it, and without
/// request.groups, a change of the uid drops them where that is permitted.
pub const RAWSPAWN_KEEP_GROUPS: u32 = 0x80;
/// request.flags: rawspawn() may map memory, until it returns, for a request that does not fit
/// into its stack frame. Without it that is ENOBUFS.
pub const RAWSPAWN_MAP_MEMORY: u32 = 0x100;

/// namespaces.flags: setgroups(2) is forbidden in the new user namespace for good.
pub const RAWSPAWN_DENY_SETGROUPS: u32 = 0x1;
/// namespaces.flags: the loopback device of the child's network namespace is switched on.
pub const RAWSPAWN_LOOPBACK: u32 = 0x2;

/// capabilities.sets: the bounding set is limited to .bounding.
pub const RAWSPAWN_CAP_BOUNDING: u32 = 0x1;
/// capabilities.sets: .permitted, .effective and .inheritable.
pub const RAWSPAWN_CAP_SETS: u32 = 0x2;
/// capabilities.sets: .ambient.
pub const RAWSPAWN_CAP_AMBIENT: u32 = 0x4;
/// capabilities.sets: .securebits.
pub const RAWSPAWN_CAP_SECUREBITS: u32 = 0x8;

/// posix.flags: POSIX_SPAWN_SETSID.
pub const RAWSPAWN_POSIX_SETSID: u32 = 0x1;
/// posix.flags: POSIX_SPAWN_RESETIDS.
pub const RAWSPAWN_POSIX_RESETIDS: u32 = 0x2;

/// Who shares memory with whom until exec: request.mode, and child.mode.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum Mode {
    /// request.mode: the fastest that is safe.
    Any = 0,
    /// The child borrows the caller's memory; the calling thread waits.
    Vfork = 1,
    /// The child has a copy of the caller's memory; the calling thread waits.
    Fork = 2,
    /// The child executes a stub and changes its credentials in there. The calling thread waits.
    Stub = 3,
    /// child.mode alone: the child borrowed memory, and the caller went on.
    Detached = 4,
    /// child.mode alone: one that has no number.
    Other = 255,
}

/// Why a child was made in its mode: child.reason.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum Reason {
    /// Nothing stood against sharing memory.
    Default = 0,
    /// request.mode
    Asked = 1,
    /// It gets other credentials, whose owner could reach memory that is shared.
    Credentials = 2,
    /// A hook needs memory of its own.
    Hook = 3,
    /// The kernel, a filter or an emulator does not let a child share memory.
    Kernel = 4,
    /// The OOM score would be the caller's too.
    OomScoreAdj = 5,
    /// Others could reach memory that is shared, from a namespace.
    Namespaces = 6,
    /// A step works on the child's memory.
    Memory = 7,
    /// The caller does something while the child waits.
    Parent = 8,
    /// It enters a cgroup, whose want of memory would kill the caller too.
    Cgroup = 9,
    /// A tracer follows the caller, and would take the child for a thread of it.
    Traced = 10,
    /// One that has no number. (A newer library may give numbers that are not here, too.)
    Other = 255,
}

/// The steps of a spawn, in the order in which they happen in this version: error.step.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// The request itself, or the memory for it is too small.
    Plan = 0,
    /// argv: none, or empty
    Arguments = 1,
    /// envp: none
    Environment = 2,
    /// The only safe mode is not the one asked for.
    Mode = 3,
    /// Memory or a pipe for the child's report.
    Report = 4,
    /// clone3(2), clone(2)
    Clone = 5,
    /// namespaces.set_tid
    SetTid = 6,
    /// namespaces.uid_map
    UidMap = 7,
    /// namespaces.gid_map, RAWSPAWN_DENY_SETGROUPS
    GidMap = 8,
    /// request.parent_hook
    ParentHook = 9,
    /// The child waits for its parent. futex(2)
    Wait = 10,
    /// Signals are kept away. sigprocmask(2)
    Shield = 11,
    /// request.cgroup
    Cgroup = 12,
    /// RAWSPAWN_SESSION
    Session = 13,
    /// request.process_group
    ProcessGroup = 14,
    /// request.controlling_terminal
    ControllingTerminal = 15,
    /// request.foreground
    Foreground = 16,
    /// request.scheduler_policy
    Scheduler = 17,
    /// request.nice
    Nice = 18,
    /// request.affinity
    Affinity = 19,
    /// request.ioprio
    IoPriority = 20,
    /// request.oom_score_adj
    OomScoreAdj = 21,
    /// request.umask
    Umask = 22,
    /// posix.actions
    FileAction = 23,
    /// RAWSPAWN_FD_MAP
    Move = 24,
    /// RAWSPAWN_FD_OPEN
    Open = 25,
    /// RAWSPAWN_FD_CLOSE
    Close = 26,
    /// The stub of RAWSPAWN_MODE_STUB is made and executed.
    Stub = 27,
    /// request.listen_fds
    ListenFds = 28,
    /// request.coredump_filter
    CoredumpFilter = 29,
    /// request.timer_slack
    TimerSlack = 30,
    /// RAWSPAWN_SUBREAPER
    Subreaper = 31,
    /// namespaces.join
    Join = 32,
    /// namespaces.create
    NewNamespaces = 33,
    /// namespaces.clock_offsets
    ClockOffsets = 34,
    /// namespaces.hostname
    Hostname = 35,
    /// namespaces.domainname
    Domainname = 36,
    /// RAWSPAWN_LOOPBACK
    Loopback = 37,
    /// namespaces.filesystem
    FileSystem = 38,
    /// namespaces.pivot_root
    PivotRoot = 39,
    /// request.root
    Root = 40,
    /// request.cwd, request.cwd_fd
    CurrentDir = 41,
    /// request.rlimits
    Rlimit = 42,
    /// capabilities.securebits, PR_SET_KEEPCAPS
    Securebits = 43,
    /// capabilities.bounding
    Bounding = 44,
    /// request.seccomp
    Seccomp = 45,
    /// request.groups
    Groups = 46,
    /// request.gid
    Gid = 47,
    /// request.uid
    Uid = 48,
    /// capabilities.permitted, .effective, .inheritable
    Capabilities = 49,
    /// capabilities.ambient
    Ambient = 50,
    /// request.parent_death_signal
    ParentDeathSignal = 51,
    /// RAWSPAWN_NO_NEW_PRIVS
    NoNewPrivs = 52,
    /// request.landlock
    Landlock = 53,
    /// request.hook
    Hook = 54,
    /// request.default_signals, .ignore_signals
    SignalAction = 55,
    /// All other descriptors are closed. close_range(2)
    CloseOthers = 56,
    /// request.signal_mask
    SignalMask = 57,
    /// execve(2), execveat(2)
    Exec = 58,
    /// The end of a child that failed.
    Exit = 59,
    /// The child died before it executed the program: error.status says how.
    Child = 60,
    /// The pidfd of the child.
    Pidfd = 61,
    /// One that has no number. (A newer library may give numbers that are not here, too.)
    Other = 255,
}

/// Why the library refused a request, before there was a process: error.status of an EINVAL or
/// E2BIG, of all steps but RAWSPAWN_STEP_CHILD.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum Refused {
    /// It was not the library, but the kernel, or two options that exclude each other.
    Not = 0,
    /// A pointer or a program is missing.
    Missing = 1,
    /// Two are given of which there may be one: programs, working directories, groups and
    /// RAWSPAWN_KEEP_GROUPS.
    Several = 2,
    /// .size is smaller than the structure ever was.
    Size = 3,
    /// E2BIG: .size says that the structure is a newer one, and what this library does not know
    /// of it is not zero.
    Newer = 4,
    /// A flag, kind or mode that this library does not know.
    Unknown = 5,
    /// A number without RAWSPAWN_SET.
    Unset = 6,
    /// A number, a size or a count out of its range.
    Range = 7,
    /// A member is set that has no effect beside the others: another kind's, or one of a member
    /// that is not set.
    NoEffect = 8,
}

/// fd_action.kind
#[repr(C)]
#[derive(Clone, Copy)]
pub enum Fd {
    /// The child's child_fd is the caller's parent_fd.
    Map = 1,
    /// The child opens path at child_fd, with flags and mode.
    Open = 2,
    /// The child does not have child_fd.
    Close = 3,
}

/// What happens to one descriptor of the child. All maps happen at once, whatever numbers they
/// write; then files are opened, then descriptors closed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FdAction {
    /// RAWSPAWN_FD_*. Members that are another kind's must be zero.
    pub kind: u32,
    /// The number in the child.
    pub child_fd: c_int,
    /// RAWSPAWN_FD_MAP: a descriptor of the caller.
    pub parent_fd: c_int,
    /// RAWSPAWN_FD_OPEN: the flags of open(2). O_CLOEXEC is ignored.
    pub flags: c_int,
    /// RAWSPAWN_FD_OPEN: from the caller's working directory.
    pub path: *const c_char,
    /// RAWSPAWN_FD_OPEN: the mode of a file that is created; the child's umask applies.
    pub mode: u32,
}

/// A resource limit. prlimit(2)
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Rlimit {
    /// RLIMIT_*
    pub resource: u32,
    /// UINT64_MAX is none.
    pub soft: u64,
    /// UINT64_MAX is none.
    pub hard: u64,
}

/// What the child may do, whoever it is: bit n is capability n. capabilities(7)
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Capabilities {
    /// sizeof(struct rawspawn_capabilities)
    pub size: usize,
    /// RAWSPAWN_CAP_*: which of the following are set.
    pub sets: u32,
    /// SECBIT_*
    pub securebits: u32,
    /// What no exec can exceed.
    pub bounding: u64,
    /// What the child may have.
    pub permitted: u64,
    /// What it has.
    pub effective: u64,
    /// What files may pass on.
    pub inheritable: u64,
    /// What a program has that is not root's.
    pub ambient: u64,
}

/// Existing namespaces that the child enters. setns(2)
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Join {
    /// The caller's descriptor of a namespace, or a pidfd (Linux 5.8).
    pub fd: c_int,
    /// CLONE_NEW*: the kind of the one, or those of the process behind the pidfd.
    pub kinds: u32,
}

/// A range of ids of the new user namespace: a line of /proc/PID/uid_map.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct IdRange {
    /// The first, in the namespace.
    pub inside: u32,
    /// The same one in the caller's.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// What is added to the clocks of the new time namespace. Nanoseconds are 0 to 999999999.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ClockOffsets {
    /// CLOCK_MONOTONIC
    pub monotonic_seconds: i64,
    /// CLOCK_BOOTTIME
    pub boottime_seconds: i64,
    /// CLOCK_MONOTONIC
    pub monotonic_nanoseconds: u32,
    /// CLOCK_BOOTTIME
    pub boottime_nanoseconds: u32,
}

/// fs_action.kind
#[repr(C)]
#[derive(Clone, Copy)]
pub enum Fs {
    /// mount(2): source, target, fstype, flags, data. A NULL is "".
    Mount = 1,
    /// umount2(2): target, flags.
    Unmount = 2,
    /// mkdir(2): target, mode. One that is there already is left alone.
    Mkdir = 3,
    /// An empty file, to mount another on: target, mode. As RAWSPAWN_FS_MKDIR.
    File = 4,
    /// symlink(2): source is what it contains, target where it is. As RAWSPAWN_FS_MKDIR.
    Symlink = 5,
    /// mknod(2): target, mode with S_IFCHR or S_IFBLK, device.
    Device = 6,
}

/// A step that furnishes the child's mount namespace.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FsAction {
    /// RAWSPAWN_FS_*. Members that are another kind's must be zero.
    pub kind: u32,
    /// MS_*, MNT_*
    pub flags: u32,
    /// The device or directory.
    pub source: *const c_char,
    /// Where it is to be.
    pub target: *const c_char,
    /// The kind of file system.
    pub fstype: *const c_char,
    /// The file system's own options.
    pub data: *const c_char,
    /// Permissions; the child's umask applies.
    pub mode: u32,
    /// makedev(3)
    pub device: u32,
}

/// The namespaces of the child: what it joins, what is new, and how that is furnished.
/// namespaces(7)
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Namespaces {
    /// sizeof(struct rawspawn_namespaces)
    pub size: usize,
    /// CLONE_NEW*: the new ones.
    pub create: u32,
    /// RAWSPAWN_DENY_SETGROUPS, RAWSPAWN_LOOPBACK
    pub flags: u32,
    /// Existing ones, in this order.
    pub join: *const Join,
    /// How many.
    pub join_count: usize,
    /// The user ids of the new user namespace.
    pub uid_map: *const IdRange,
    /// How many ranges.
    pub uid_map_count: usize,
    /// Its group ids.
    pub gid_map: *const IdRange,
    /// How many ranges.
    pub gid_map_count: usize,
    /// The child's pid, in its own PID namespace first, then in each one around it. Linux 5.5
    pub set_tid: *const c_int,
    /// How many.
    pub set_tid_count: usize,
    /// Of the new time namespace.
    pub clock_offsets: *const ClockOffsets,
    /// sethostname(2)
    pub hostname: *const c_char,
    /// setdomainname(2)
    pub domainname: *const c_char,
    /// In this order.
    pub filesystem: *const FsAction,
    /// How many.
    pub filesystem_count: usize,
    /// The root of the mount namespace, after filesystem. pivot_root(2)
    pub pivot_root: *const c_char,
}

/// file_action.kind
#[repr(C)]
#[derive(Clone, Copy)]
pub enum File {
    /// fd
    Close = 1,
    /// fd, path, flags, mode
    Open = 2,
    /// fd, new_fd
    Dup2 = 3,
    /// path
    Chdir = 4,
    /// fd
    Fchdir = 5,
    /// fd and all above
    Closefrom = 6,
    /// fd: the terminal
    Tcsetpgrp = 7,
}

/// A file action of posix_spawn(3): they happen one after the other.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FileAction {
    /// RAWSPAWN_FILE_*. Members that are another kind's must be zero.
    pub kind: u32,
    /// The descriptor.
    pub fd: c_int,
    /// RAWSPAWN_FILE_DUP2: the number of the copy.
    pub new_fd: c_int,
    /// RAWSPAWN_FILE_OPEN: the flags of open(2).
    pub flags: c_int,
    /// RAWSPAWN_FILE_OPEN, RAWSPAWN_FILE_CHDIR.
    pub path: *const c_char,
    /// RAWSPAWN_FILE_OPEN: the mode of a file that is created.
    pub mode: u32,
}

/// What posix_spawn(3) does in the child, in its order, before all other changes of descriptors.
/// Needs RAWSPAWN_INHERIT_FDS if there are actions.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Posix {
    /// sizeof(struct rawspawn_posix)
    pub size: usize,
    /// RAWSPAWN_POSIX_*
    pub flags: u32,
    /// With scheduler_policy.
    pub scheduler_priority: c_int,
    /// POSIX_SPAWN_SETSCHEDULER
    pub scheduler_policy: Optional,
    /// POSIX_SPAWN_SETSCHEDPARAM
    pub priority: Optional,
    /// POSIX_SPAWN_SETPGROUP
    pub process_group: Optional,
    /// In this order.
    pub actions: *const FileAction,
    /// How many.
    pub action_count: usize,
}

/// An instruction of a seccomp filter, of linux/filter.h.
pub struct SockFilter(());

/// Of sys/resource.h.
pub struct Rusage(());

/// Low numbers of descriptors, kept free for spawns, by several threads if wanted: see
/// rawspawn_low_fds_claim(). It must stay where it is, and not be copied.
#[repr(C)]
pub struct LowFds {
    /// The library's.
    pub opaque: [u64; 12],
}

/// What is to be spawned. All zero but size, one of the programs, argv and envp is the plain
/// case. The library reads it, and what it points to, until the call returns; only a plan reads
/// it longer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Request {
    /// sizeof(struct rawspawn_request)
    pub size: usize,
    /// RAWSPAWN_SESSION and the like.
    pub flags: u32,
    /// RAWSPAWN_MODE_ANY, or the only one that will do.
    pub mode: u32,

    /// The program: this file, ...
    pub path: *const c_char,
    /// ... or this name, looked up as execvp(3) does, ...
    pub search: *const c_char,
    /// (in these directories instead of PATH of envp,)
    pub search_path: *const c_char,
    /// ... or the first of these files that can be executed, with a NULL behind them, ...
    pub candidates: *const *const c_char,
    /// ... or the file behind this descriptor of the caller. Exactly one of the four.
    pub program_fd: Optional,
    /// As execve(2) takes it. Not empty.
    pub argv: *const *mut c_char,
    /// As execve(2) takes it. NULL is an error, not an empty environment.
    pub envp: *const *mut c_char,
    /// How often exec is tried again while the file is busy, 0 to 10.
    pub busy_retries: u32,

    /// The file mode creation mask, 0 to 0777.
    pub umask: Optional,
    /// Single descriptors.
    pub fds: *const FdAction,
    /// How many.
    pub fd_count: usize,
    /// Where descriptors with high numbers are lent low ones, by rawspawn() alone.
    pub low_fds: *const LowFds,
    /// The working directory: this path, ...
    pub cwd: *const c_char,
    /// ... or the directory behind this descriptor.
    pub cwd_fd: Optional,
    /// The root directory. chroot(2)
    pub root: *const c_char,

    /// The group to be in; RAWSPAWN_SET(0) is one of its own. setpgid(2)
    pub process_group: Optional,
    /// A descriptor of the terminal. With RAWSPAWN_SESSION.
    pub controlling_terminal: Optional,
    /// A descriptor of the terminal whose foreground the child's process group becomes.
    pub foreground: Optional,
    /// What the child gets when the thread that spawned it ends.
    pub parent_death_signal: Optional,

    /// Bit n - 1 is signal n. NULL leaves the caller's.
    pub signal_mask: *const u64,
    /// Those that get their default action, besides all that have a handler.
    pub default_signals: u64,
    /// Those that the child ignores.
    pub ignore_signals: u64,

    /// The directory of a cgroup of version 2, by descriptor. The child is a fork that is made
    /// there, or a stub that moves there: it shares no memory, as what is out of memory there is
    /// killed with all who share its own.
    pub cgroup: Optional,
    /// Resource limits.
    pub rlimits: *const Rlimit,
    /// How many.
    pub rlimit_count: usize,
    /// SCHED_*
    pub scheduler_policy: Optional,
    /// With scheduler_policy: 1 to 99 for SCHED_FIFO and SCHED_RR, else 0.
    pub scheduler_priority: c_int,
    /// -20 to 19
    pub nice: Optional,
    /// CPUs, a bit each, counted on from word to word.
    pub affinity: *const c_ulong,
    /// How many words.
    pub affinity_count: usize,
    /// ioprio_set(2): class in the bits from 13 up, level below.
    pub ioprio: Optional,
    /// -1000 to 1000
    pub oom_score_adj: Optional,
    /// Nanoseconds; 0 leaves the caller's. PR_SET_TIMERSLACK
    pub timer_slack: u64,
    /// core(5)
    pub coredump_filter: Optional,
    /// How many descriptors from 3 on the program is to listen on. sd_listen_fds(3)
    pub listen_fds: Optional,
    /// Their names, joined by colons; or NULL.
    pub listen_fd_names: *const c_char,

    /// Real, effective and saved user id. The child does not share the caller's memory then.
    pub uid: Optional,
    /// Real, effective and saved group id. As uid.
    pub gid: Optional,
    /// Supplementary groups. NULL leaves the choice to RAWSPAWN_KEEP_GROUPS.
    pub groups: *const u32,
    /// How many; 0 is none of them.
    pub group_count: usize,
    /// Capabilities.
    pub capabilities: *const Capabilities,
    /// A seccomp filter.
    pub seccomp: *const SockFilter,
    /// How many instructions.
    pub seccomp_count: usize,
    /// A Landlock ruleset, by descriptor. Linux 5.13
    pub landlock: Optional,
    /// Namespaces.
    pub namespaces: *const Namespaces,

    /// What posix_spawn(3) does.
    pub posix: *const Posix,

    /// Runs in the caller while the child waits, with the child's pid. 0, or an error number that
    /// ends the spawn. It must return, and may be called again for another child.
    pub parent_hook: Option<unsafe extern "C" fn(data: *mut c_void, pid: c_int) -> c_int>,
    /// What it is given.
    pub parent_hook_data: *mut c_void,
    /// Runs in the child as the last thing before exec. As above.
    pub hook: Option<unsafe extern "C" fn(data: *mut c_void) -> c_int>,
    /// What it is given.
    pub hook_data: *mut c_void,
    /// NULL makes the child a fork, whose hook may do what may be done there; the C library may take
    /// the caller's pid for the child's, as for raise(3). Else it shares the caller's memory, runs on
    /// this stack and must not call the C library, not even for errno.
    pub hook_stack: *mut c_void,
    /// How many bytes: 2048 at least.
    pub hook_stack_size: usize,

    /// What the kernel is to be taken to offer, RAWSPAWN_FEATURE_*, to test what happens on another.
    pub kernel: Optional,
}

/// What a kernel offers: request.kernel, rawspawn_kernel().
#[repr(C)]
#[derive(Clone, Copy)]
pub enum Feature {
    /// clone3(2), Linux 5.3
    Clone3 = 0x1,
    /// CLONE_CLEAR_SIGHAND, Linux 5.5
    ClearSighand = 0x2,
    /// close_range(2), Linux 5.9
    CloseRange = 0x4,
    /// CLOSE_RANGE_CLOEXEC, Linux 5.11
    CloseRangeCloexec = 0x8,
    /// CLONE_VM|CLONE_VFORK shares memory.
    SharedMemory = 0x10,
    /// CLONE_VFORK suspends the parent.
    Suspends = 0x20,
    /// A child may send no signal at its end.
    NoExitSignal = 0x40,
    /// pidfd_open(2), Linux 5.3
    Pidfd = 0x80,
    /// CLONE_PIDFD, Linux 5.2
    ClonePidfd = 0x100,
    /// CLONE_FILES, and CLOSE_RANGE_UNSHARE, Linux 5.9
    ShareFds = 0x200,
    /// A memfd can be executed, Linux 3.19.
    ExecMemfd = 0x400,
    /// A core dump ends one process alone, Linux 5.16
    OwnCoreDump = 0x800,
}

// What follows the last member would be garbage of an old caller's when it becomes one.
const _: () = {
    assert!(size_of::<Request>() == core::mem::offset_of!(Request, kernel) + 8);
    assert!(size_of::<Namespaces>() == core::mem::offset_of!(Namespaces, pivot_root) + 8);
    assert!(size_of::<Capabilities>() == core::mem::offset_of!(Capabilities, ambient) + 8);
    assert!(size_of::<Posix>() == core::mem::offset_of!(Posix, action_count) + 8);
};

/// A child that has executed its program. It is for one thread at a time, and a copy of it must not be
/// used beside it.
#[repr(C)]
pub struct Child {
    /// The pid, as the caller sees it.
    pub pid: c_int,
    /// The pidfd, close-on-exec; -1 without RAWSPAWN_PIDFD. rawspawn_close() closes it, not close(2).
    pub pidfd: c_int,
    /// RAWSPAWN_MODE_*: how it was made.
    pub mode: u32,
    /// RAWSPAWN_REASON_*: why in that mode.
    pub reason: u32,
    /// The library's.
    pub opaque: [u64; 8],
}

/// Why there is no child. The caller's process is as it was.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Error {
    /// The error number, which is returned too. ECHILD if the child died.
    pub number: c_int,
    /// RAWSPAWN_STEP_*
    pub step: u32,
    /// Which item of the caller's list, or which capability or signal: 65535 at most.
    /// RAWSPAWN_STEP_EXEC: which of the candidates, or of the directories of the search.
    pub index: u32,
    /// RAWSPAWN_STEP_CHILD: how it ended, as waitpid(2) says it. Else RAWSPAWN_REFUSED_*, 0 if it
    /// was not the library that refused it.
    pub status: c_int,
}

/// A compiled request: what a child executes. It lives in the caller's memory, and ends with that.
pub struct Plan(());

/// A program to be started with others by rawspawn_all().
#[repr(C)]
pub struct Job {
    /// Its plan. Several jobs may share one.
    pub plan: *const Plan,
    /// 0, or an error number: what rawspawn() would have returned.
    pub result: c_int,
    /// Why, if not 0.
    pub error: Error,
    /// The child, if 0.
    pub child: Child,
}
