//! The system calls that the fuzzer makes itself, each with its error as a number.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::RawFd;

use libc::{c_int, c_long, c_ulong};

/// What a call gave, or its error number.
pub(crate) type Answer<T = i64> = Result<T, i32>;

fn answer(result: i64) -> Answer {
    if result < 0 { Err(errno()) } else { Ok(result) }
}

/// The error number of the last call.
pub(crate) fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// A call with numbers alone, none of which the kernel takes for an address.
pub(crate) fn plain(number: c_long, args: [u64; 4]) -> Answer {
    // SAFETY: The callers in this file and `state.rs` give no address, says the contract above.
    answer(unsafe { libc::syscall(number, args[0], args[1], args[2], args[3], 0, 0) })
}

/// Has the descriptor `to` be a copy of `from`.
pub(crate) fn dup_to(from: RawFd, to: RawFd, cloexec: bool) -> Answer {
    let flags = if cloexec { libc::O_CLOEXEC } else { 0 };
    // SAFETY: No memory is touched.
    answer(i64::from(unsafe { libc::dup3(from, to, flags) }))
}

/// A copy of `fd` at a number of at least `least`.
pub(crate) fn dup_above(fd: RawFd, least: RawFd) -> Answer<RawFd> {
    // SAFETY: No memory is touched.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, least) };
    answer(copy.into()).map(|_| copy)
}

/// Closes `fd`, which no type owns: whether it was open.
pub(crate) fn close(fd: RawFd) -> bool {
    // SAFETY: The caller's number, owned by no type.
    unsafe { libc::close(fd) == 0 }
}

/// The flags of the descriptor, and those of what it refers to.
pub(crate) fn flags(fd: RawFd) -> Option<(c_int, c_int)> {
    // SAFETY: No memory is touched.
    let descriptor = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    // SAFETY: As above.
    let file = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    (descriptor >= 0).then_some((descriptor, file))
}

/// Where the next read of `fd` is.
pub(crate) fn offset(fd: RawFd) -> i64 {
    // SAFETY: No memory is touched.
    unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) }
}

/// Device and inode of an open file.
pub(crate) fn identity(fd: RawFd) -> Option<(u64, u64)> {
    // SAFETY: A structure of integers.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: The kernel writes one `stat`.
    let result = unsafe { libc::fstat(fd, &raw mut status) };
    (result == 0).then_some((status.st_dev, status.st_ino))
}

/// Opens `path`, at a number that the kernel chooses.
pub(crate) fn open(path: &CStr, flags: c_int) -> Answer<RawFd> {
    // SAFETY: A string with its end.
    let fd = unsafe { libc::open(path.as_ptr(), flags, 0o644) };
    answer(fd.into()).map(|_| fd)
}

/// Two descriptors of a pipe.
pub(crate) fn pipe() -> [RawFd; 2] {
    let mut ends = [-1; 2];
    // SAFETY: The kernel writes two numbers.
    unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) };
    ends
}

/// A record lock of fcntl(2) on the whole of `fd`.
fn whole(kind: c_int) -> libc::flock {
    // SAFETY: A structure of integers.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as i16;
    lock.l_whence = libc::SEEK_SET as i16;
    lock
}

/// Locks the file for this process, fcntl(2).
pub(crate) fn lock_record(fd: RawFd) -> Answer {
    let lock = whole(libc::F_WRLCK);
    // SAFETY: The kernel reads the lock.
    answer(i64::from(unsafe { libc::fcntl(fd, libc::F_SETLK, &raw const lock) }))
}

/// Whose record lock keeps the open file behind `probe` from a lock of its own.
pub(crate) fn record_owner(probe: RawFd) -> Option<i32> {
    let mut lock = whole(libc::F_WRLCK);
    // SAFETY: The kernel reads and writes the lock.
    let result = unsafe { libc::fcntl(probe, libc::F_OFD_GETLK, &raw mut lock) };
    (result == 0 && lock.l_type != libc::F_UNLCK as i16).then_some(lock.l_pid)
}

/// Locks the open file, flock(2).
pub(crate) fn flock(fd: RawFd) -> Answer {
    // SAFETY: No memory is touched.
    answer(i64::from(unsafe { libc::flock(fd, libc::LOCK_EX | libc::LOCK_NB) }))
}

/// The kernel's own `struct sigaction`: handler, flags, restorer, mask.
pub(crate) fn action(signal: c_int) -> [u64; 4] {
    let mut action = [0u64; 4];
    let place = action.as_mut_ptr();
    // SAFETY: The kernel writes at most four words, on every architecture.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, 0, place, 8) };
    action
}

/// The mask of this thread.
pub(crate) fn mask() -> u64 {
    let mut mask = 0u64;
    // SAFETY: The kernel writes a word.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, 0, &raw mut mask, 8) };
    mask
}

/// Blocks the signals of `mask`, and no others, in this thread.
pub(crate) fn set_mask(mask: u64) {
    // SAFETY: The kernel reads a word.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, 0, 8) };
}

/// Has `handler` run for `signal`; or 0 and 1, the default and nothing.
pub(crate) fn handle(signal: c_int, handler: usize, flags: c_int) {
    // SAFETY: A structure of integers and pointers that may be null.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: The callers' handlers are safe in the context of a signal.
    unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
}

/// A limit: soft, then hard.
pub(crate) fn limit(resource: u32) -> (u64, u64) {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let place = &raw mut limit;
    // SAFETY: The kernel writes one limit.
    unsafe { libc::prlimit64(0, resource as _, std::ptr::null(), place) };
    (limit.rlim_cur, limit.rlim_max)
}

/// Sets a limit of this process.
pub(crate) fn set_limit(resource: u32, soft: u64, hard: u64) -> Answer {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    let none = std::ptr::null_mut();
    // SAFETY: The kernel reads one limit.
    answer(i64::from(unsafe { libc::prlimit64(0, resource as _, &raw const limit, none) }))
}

/// prctl(2) with a number.
pub(crate) fn prctl(option: c_int, argument: c_ulong) -> i64 {
    // SAFETY: No option that is used here takes an address as its argument.
    i64::from(unsafe { libc::prctl(option, argument, 0, 0, 0) })
}

/// prctl(2) that writes a number.
pub(crate) fn prctl_out(option: c_int) -> c_int {
    let mut out = 0;
    // SAFETY: The options that are used here write an `int`.
    unsafe { libc::prctl(option, &raw mut out, 0, 0, 0) };
    out
}

/// The CPUs that this thread may run on, the first 64.
pub(crate) fn affinity() -> u64 {
    let mut cpus = [0u64; 16];
    // SAFETY: The kernel writes at most 128 bytes.
    unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, 128, cpus.as_mut_ptr()) };
    cpus[0]
}

/// Whether there is a child of any kind, alive or not: its pid, or 0 for one that lives.
pub(crate) fn any_child() -> Option<i32> {
    // SAFETY: A structure of integers.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    // SAFETY: The kernel writes one structure.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) };
    if result == 0 {
        // SAFETY: It is that of a child.
        return Some(unsafe { info.si_pid() });
    }
    match errno() {
        libc::ECHILD => None,
        // A filter refuses waitid; wait4 is there then.
        _ => reap(-1, libc::WNOHANG).map(|(pid, _)| pid),
    }
}

/// Reaps the child `pid`, of whatever kind, or any: its pid and status.
pub(crate) fn reap(pid: i32, options: c_int) -> Option<(i32, c_int)> {
    let mut status = 0;
    loop {
        // SAFETY: The kernel writes the status.
        let result = unsafe { libc::waitpid(pid, &raw mut status, options | libc::__WALL) };
        match result {
            0.. => return Some((result, status)),
            _ if errno() == libc::EINTR => {}
            _ if errno() == libc::ECHILD => return None,
            // A filter refuses wait4; waitid is there then.
            _ => return reap_by_waitid(pid, options),
        }
    }
}

fn reap_by_waitid(pid: i32, options: c_int) -> Option<(i32, c_int)> {
    let (kind, id) = if pid < 0 { (libc::P_ALL, 0) } else { (libc::P_PID, pid.unsigned_abs()) };
    loop {
        // SAFETY: A structure of integers.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = options | libc::WEXITED | libc::__WALL;
        // SAFETY: The kernel writes one structure.
        let result = unsafe { libc::waitid(kind, id, &raw mut info, options) };
        if result == 0 {
            // SAFETY: It is that of a child.
            let status = unsafe { info.si_status() };
            // SAFETY: As above.
            let pid = unsafe { info.si_pid() };
            return Some((
                pid,
                if info.si_code == libc::CLD_EXITED { status << 8 } else { status },
            ));
        }
        if errno() != libc::EINTR {
            return None;
        }
    }
}

/// Sends `signal`.
pub(crate) fn kill(pid: i32, signal: c_int) {
    // SAFETY: No memory is touched.
    unsafe { libc::kill(pid, signal) };
}

/// The three ids of the user, and those of the group.
pub(crate) fn set_ids(uid: u32, gid: u32) -> Answer {
    // SAFETY: An empty list of groups is read from nowhere.
    unsafe { libc::setgroups(0, std::ptr::null()) };
    // SAFETY: No memory is touched. There is one thread yet.
    unsafe { libc::setresgid(gid, gid, gid) };
    // SAFETY: As above.
    answer(i64::from(unsafe { libc::setresuid(uid, uid, uid) }))
}

/// Sets the file mode creation mask.
pub(crate) fn set_umask(mask: u32) {
    // SAFETY: No memory is touched.
    unsafe { libc::umask(mask) };
}

/// The effective user.
pub(crate) fn euid() -> u32 {
    // SAFETY: No memory is touched.
    unsafe { libc::geteuid() }
}

/// The session and the process group of this process.
pub(crate) fn groups() -> (i32, i32) {
    // SAFETY: No memory is touched.
    let session = unsafe { libc::getsid(0) };
    // SAFETY: As above.
    (session, unsafe { libc::getpgrp() })
}

/// A descriptor of a Landlock ruleset that forbids only to make sockets in directories.
pub(crate) fn ruleset() -> Option<RawFd> {
    const MAKE_SOCK: u64 = 1 << 9;
    let handled = MAKE_SOCK;
    // SAFETY: The kernel reads a word.
    let fd = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, 8, 0) };
    RawFd::try_from(fd).ok().filter(|&fd| fd >= 0)
}

/// Installs a seccomp filter, for all threads.
pub(crate) fn install(program: &mut [libc::sock_filter]) -> Answer {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let flags = libc::SECCOMP_FILTER_FLAG_TSYNC;
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: The kernel reads the program, which is live.
    answer(unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) })
}

/// An allocator that takes its memory from the heap alone, so that what is mapped changes by no
/// allocation.
pub(crate) fn keep_to_the_heap() {
    #[cfg(target_env = "gnu")]
    for (option, value) in [
        (libc::M_ARENA_MAX, 1),
        (libc::M_MMAP_THRESHOLD, 1 << 30),
        (libc::M_TRIM_THRESHOLD, 1 << 30),
    ] {
        // SAFETY: Numbers.
        unsafe { libc::mallopt(option, value) };
    }
}

/// A page that this process shares with those that it forks.
pub(crate) fn shared_page(fd: RawFd) -> &'static Progress {
    let (read_write, size) = (libc::PROT_READ | libc::PROT_WRITE, size_of::<Progress>());
    let none = std::ptr::null_mut();
    // SAFETY: A mapping at a place that the kernel chooses.
    let place = unsafe { libc::mmap(none, size, read_write, libc::MAP_SHARED, fd, 0) };
    assert_ne!(place, libc::MAP_FAILED, "{}", io::Error::last_os_error());
    // SAFETY: Mapped for good, and of atomics, for which any bytes will do.
    unsafe { &*place.cast::<Progress>() }
}

/// An anonymous file of the size of a [`Progress`].
pub(crate) fn anonymous_file() -> RawFd {
    // SAFETY: A string with its end.
    let fd = unsafe { libc::memfd_create(c"progress".as_ptr(), 0) };
    // SAFETY: No memory is touched.
    let result = unsafe { libc::ftruncate(fd, size_of::<Progress>() as i64) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    fd
}

/// What a worker is at: written by it, read by who waits for it.
#[repr(C)]
pub(crate) struct Progress {
    /// The case.
    pub(crate) case: std::sync::atomic::AtomicU64,
    /// How many cases it has done.
    pub(crate) done: std::sync::atomic::AtomicU64,
    /// What it does in the case: see `worker::Phase`.
    pub(crate) phase: std::sync::atomic::AtomicU64,
    /// How many spawns succeeded.
    pub(crate) succeeded: std::sync::atomic::AtomicU64,
    /// How many failed as they were to.
    pub(crate) failed: std::sync::atomic::AtomicU64,
    /// How many signals were handled.
    pub(crate) signals: std::sync::atomic::AtomicU64,
    /// Whether a handler has run in a process that is not the worker.
    pub(crate) strayed: std::sync::atomic::AtomicU64,
    /// Whether a thread has closed what was not its own.
    pub(crate) robbed: std::sync::atomic::AtomicU64,
    /// The runner's descriptor of it.
    pub(crate) page: std::sync::atomic::AtomicU64,
}

/// The name of the other end of a terminal, which may be opened from now on.
pub(crate) fn unlocked_pty(pty: RawFd) -> Option<String> {
    let mut number = 0;
    let unlock = 0;
    // SAFETY: The kernel reads a number.
    let result = unsafe { libc::ioctl(pty, libc::TIOCSPTLCK, &raw const unlock) };
    // SAFETY: The kernel writes a number.
    let numbered = unsafe { libc::ioctl(pty, libc::TIOCGPTN, &raw mut number) };
    (result == 0 && numbered == 0).then(|| format!("/dev/pts/{number}"))
}

/// Forks a child that ends at once, and waits for that.
pub(crate) fn fork_and_reap() {
    // No handler of ours is to run there.
    let before = mask();
    set_mask(u64::MAX);
    // SAFETY: The child calls nothing but `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: Ends the child.
        unsafe { libc::_exit(0) };
    }
    set_mask(before);
    if pid > 0 {
        reap(pid, 0);
    }
}

/// Writes all of `bytes`, as far as that can be done.
pub(crate) fn write_all(fd: RawFd, bytes: &[u8]) -> Answer {
    let mut rest = bytes;
    while !rest.is_empty() {
        // SAFETY: The kernel reads what is there.
        let written = unsafe { libc::write(fd, rest.as_ptr().cast(), rest.len()) };
        rest = rest.get(answer(written as i64)? as usize..).unwrap_or_default();
    }
    Ok(0)
}

/// Has a call that a filter traps give `ENOSYS`.
pub(crate) fn answer_traps() {
    handle(libc::SIGSYS, on_trap as *const () as usize, libc::SA_SIGINFO);
}

extern "C" fn on_trap(_: c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: What a handler with `SA_SIGINFO` is given.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    #[cfg(target_arch = "x86_64")]
    let result = &mut context.uc_mcontext.gregs[libc::REG_RAX as usize];
    #[cfg(target_arch = "aarch64")]
    let result = &mut context.uc_mcontext.regs[0];
    #[cfg(target_arch = "riscv64")]
    let result = &mut context.uc_mcontext.__gregs[libc::REG_A0];
    *result = i64::from(-libc::ENOSYS) as _;
}
