//! The parent's own system calls: one function each, no policy.
//!
//! This is the only module that calls through `sc`. What it offers is also what
//! `spawn/fallback.rs` uses in a child, so nothing here may touch a C library.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::AtomicU32;

use linux_raw_sys::general as uapi;

use crate::errno::Errno;
use crate::fd::Fd;
use crate::request::RawFd;
use crate::signal::SigSet;
use crate::status::WaitStatus;
use crate::text::Digits;

/// `rusage` of getrusage(2).
pub use linux_raw_sys::general::rusage as Rusage;

/// `sizeof(sigset_t)` of the kernel.
const SIGSET_SIZE: usize = 8;

/// A `rusage` of zeros.
pub(crate) const fn no_usage() -> Rusage {
    // SAFETY: All of it is integers.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// Turns the kernel's answer into a result.
fn ret(raw: usize) -> Result<usize, Errno> {
    Errno::from_result(raw).map_or(Ok(raw), Err)
}

/// `close(fd)`. Linux frees the number whatever it answers.
pub(crate) fn close(fd: RawFd) {
    // SAFETY: close(2) touches no memory; callers pass what is theirs to close.
    unsafe { sc::syscall1(sc::nr::CLOSE, fd as usize) };
}

/// `close_range(first, last, flags)`.
pub(crate) fn close_range(first: u32, last: u32, flags: u32) -> Result<(), Errno> {
    // SAFETY: close_range(2) touches no memory.
    let raw =
        unsafe { sc::syscall3(sc::nr::CLOSE_RANGE, first as usize, last as usize, flags as usize) };
    ret(raw).map(drop)
}

/// `openat(AT_FDCWD, path, flags)`.
pub(crate) fn open(path: &CStr, flags: u32) -> Result<RawFd, Errno> {
    openat(uapi::AT_FDCWD, path, flags)
}

/// `openat(dir, path, flags)`.
pub(crate) fn openat(dir: RawFd, path: &CStr, flags: u32) -> Result<RawFd, Errno> {
    let (dir, path) = (dir as usize, path.as_ptr() as usize);
    // SAFETY: `path` is a C string.
    let raw = unsafe { sc::syscall4(sc::nr::OPENAT, dir, path, flags as usize, 0) };
    ret(raw).map(|fd| fd as RawFd)
}

/// `getdents64(fd, buffer)`: the part of `buffer` that holds entries.
pub(crate) fn getdents64(fd: RawFd, buffer: &mut [MaybeUninit<u64>; 64]) -> Result<&[u64], Errno> {
    let start = buffer.as_mut_ptr();
    let size = size_of_val(buffer);
    // SAFETY: The kernel writes at most `size` bytes.
    let raw = unsafe { sc::syscall3(sc::nr::GETDENTS64, fd as usize, start as usize, size) };
    let words = ret(raw)? / size_of::<u64>();
    // SAFETY: The kernel wrote `raw` bytes, whole entries of a multiple of 8.
    Ok(unsafe { core::slice::from_raw_parts(start.cast(), words) })
}

/// `RLIMIT_NOFILE`: the soft limit.
pub(crate) fn soft_descriptor_limit() -> Result<u64, Errno> {
    limit(uapi::RLIMIT_NOFILE).map(|limit| limit.rlim_cur)
}

/// `RLIMIT_NOFILE`: the greater of the soft and the hard limit.
pub(crate) fn descriptor_limit() -> Result<u64, Errno> {
    limit(uapi::RLIMIT_NOFILE).map(|limit| limit.rlim_cur.max(limit.rlim_max))
}

/// `prlimit(0, resource)`.
fn limit(resource: u32) -> Result<uapi::rlimit64, Errno> {
    let mut limit = uapi::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let resource = resource as usize;
    // SAFETY: The kernel writes one `rlimit64`.
    let raw = unsafe { sc::syscall4(sc::nr::PRLIMIT64, 0, resource, 0, &raw mut limit as usize) };
    ret(raw).map(|_| limit)
}

/// `getpid()`.
pub(crate) fn getpid() -> c_int {
    // SAFETY: getpid(2) touches no memory.
    (unsafe { sc::syscall0(sc::nr::GETPID) }) as c_int
}

/// `getpgid(0)`.
pub(crate) fn getpgrp() -> c_int {
    // SAFETY: getpgid(2) touches no memory.
    (unsafe { sc::syscall1(sc::nr::GETPGID, 0) }) as c_int
}

/// Sets the calling thread's signal mask and returns the old one; 32 and 33
/// included.
pub(crate) fn set_signal_mask(mask: SigSet) -> Result<SigSet, Errno> {
    let mut old = SigSet::EMPTY;
    // SAFETY: Both point to sets of `SIGSET_SIZE` bytes.
    let raw = unsafe {
        sc::syscall4(
            sc::nr::RT_SIGPROCMASK,
            uapi::SIG_SETMASK as usize,
            &raw const mask as usize,
            &raw mut old as usize,
            SIGSET_SIZE,
        )
    };
    ret(raw).map(|_| old)
}

/// The calling thread's signal mask.
pub(crate) fn signal_mask() -> Result<SigSet, Errno> {
    let mut old = SigSet::EMPTY;
    // SAFETY: Without a new set, the kernel only writes the old one.
    let raw =
        unsafe { sc::syscall4(sc::nr::RT_SIGPROCMASK, 0, 0, &raw mut old as usize, SIGSET_SIZE) };
    ret(raw).map(|_| old)
}

/// Whether this process ignores `signal`.
pub(crate) fn ignores(signal: c_int) -> bool {
    // At least as long as `struct kernel_sigaction` anywhere; the handler is first.
    let mut action = [0usize; 8];
    // SAFETY: Without a new action, the kernel only writes the old one.
    let raw = unsafe {
        sc::syscall4(
            sc::nr::RT_SIGACTION,
            signal as usize,
            0,
            &raw mut action as usize,
            SIGSET_SIZE,
        )
    };
    ret(raw).is_ok() && action[0] == SIG_IGN
}

/// `SIG_IGN` as the kernel has it.
pub(crate) const SIG_IGN: usize = 1;

/// What waitid(2) and poll(2) on a child name it by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Pid(c_int),
    /// Linux 5.4.
    Pidfd(RawFd),
}

/// The part of `siginfo_t` that waitid(2) fills; the same on all 64-bit Linux.
#[repr(C)]
#[derive(Clone, Copy)]
struct ChildInfo {
    signo: c_int,
    errno: c_int,
    code: c_int,
    pad: c_int,
    /// 0 where `WNOHANG` found nothing.
    pid: c_int,
    uid: u32,
    status: c_int,
    rest: [c_int; 25],
}
const _: () = assert!(size_of::<ChildInfo>() == 128);

/// `waitid(target, options)`, again after a signal; `None` where `WNOHANG` found nothing. Where a
/// filter refuses it, `wait4`, if that can do the same.
pub(crate) fn waitid(
    target: Target,
    options: u32,
    usage: Option<&mut Rusage>,
) -> Result<Option<WaitStatus>, Errno> {
    wait(target, options, usage, false)
}

/// `wait4(pid, options)`, again after a signal; `None` where `WNOHANG` found nothing. Where a filter
/// refuses it, `waitid`, which takes a tenth longer, as the kernel fills a `siginfo_t`.
#[inline]
pub(crate) fn wait4(pid: c_int, options: u32) -> Result<Option<WaitStatus>, Errno> {
    match raw_wait4(pid, options, ptr::null_mut()) {
        Err(Errno::EINTR | Errno::ENOSYS | Errno::EPERM) => {
            wait(Target::Pid(pid), options | uapi::WEXITED, None, true)
        }
        result => result,
    }
}

#[inline(never)]
fn wait(
    target: Target,
    options: u32,
    usage: Option<&mut Rusage>,
    mut by_wait4: bool,
) -> Result<Option<WaitStatus>, Errno> {
    let usage = usage.map_or(ptr::null_mut(), ptr::from_mut);
    let (kind, id) = match target {
        Target::Pid(pid) => (uapi::P_PID, pid),
        Target::Pidfd(fd) => (uapi::P_PIDFD, fd),
    };
    let can_be_either = kind == uapi::P_PID && options & uapi::WNOWAIT == 0;
    let mut refused = !can_be_either;
    loop {
        let status = if by_wait4 {
            raw_wait4(id, options, usage)
        } else {
            raw_waitid(kind, id, options, usage)
        };
        match status {
            Err(Errno::EINTR) => {}
            Err(Errno::ENOSYS | Errno::EPERM) if !refused => {
                (refused, by_wait4) = (true, !by_wait4);
            }
            status => return status,
        }
    }
}

#[inline]
fn raw_waitid(
    kind: u32,
    id: c_int,
    options: u32,
    usage: *mut Rusage,
) -> Result<Option<WaitStatus>, Errno> {
    let mut info = MaybeUninit::<ChildInfo>::zeroed();
    // SAFETY: The kernel writes a `siginfo_t`, and a `rusage` where asked.
    let raw = unsafe {
        sc::syscall5(
            sc::nr::WAITID,
            kind as usize,
            id as usize,
            info.as_mut_ptr() as usize,
            options as usize,
            usage as usize,
        )
    };
    ret(raw)?;
    // SAFETY: All of it is integers, and was zeroed before.
    let info = unsafe { info.assume_init_ref() };
    Ok((info.pid != 0).then(|| WaitStatus::from_siginfo(info.code, info.status)))
}

#[inline]
fn raw_wait4(pid: c_int, options: u32, usage: *mut Rusage) -> Result<Option<WaitStatus>, Errno> {
    let mut status: c_int = 0;
    let (status_at, options) = (&raw mut status as usize, options & !uapi::WEXITED);
    // SAFETY: The kernel writes one integer, and a `rusage` where asked.
    let raw = unsafe {
        sc::syscall4(sc::nr::WAIT4, pid as usize, status_at, options as usize, usage as usize)
    };
    let found = ret(raw)?;
    Ok((found != 0).then_some(WaitStatus::from_raw(status)))
}

/// `kill(pid, signal)`.
pub(crate) fn kill(pid: c_int, signal: c_int) -> Result<(), Errno> {
    // SAFETY: kill(2) touches no memory.
    ret(unsafe { sc::syscall2(sc::nr::KILL, pid as usize, signal as usize) }).map(drop)
}

/// `pidfd_send_signal(pidfd, signal)`. Linux 5.1.
pub(crate) fn pidfd_send_signal(pidfd: RawFd, signal: c_int) -> Result<(), Errno> {
    // SAFETY: Without a `siginfo_t`, the call touches no memory.
    let raw =
        unsafe { sc::syscall4(sc::nr::PIDFD_SEND_SIGNAL, pidfd as usize, signal as usize, 0, 0) };
    ret(raw).map(drop)
}

/// `pidfd_open(pid)`. Linux 5.3.
pub(crate) fn pidfd_open(pid: c_int) -> Result<Fd, Errno> {
    // SAFETY: pidfd_open(2) touches no memory.
    let raw = unsafe { sc::syscall2(sc::nr::PIDFD_OPEN, pid as usize, 0) };
    ret(raw).map(|fd| Fd::new(fd as RawFd))
}

/// `CLOCK_MONOTONIC` in nanoseconds.
pub(crate) fn monotonic_ns() -> u64 {
    let mut now = uapi::timespec { tv_sec: 0, tv_nsec: 0 };
    let clock = uapi::CLOCK_MONOTONIC as usize;
    // SAFETY: The kernel writes one `timespec`.
    unsafe { sc::syscall2(sc::nr::CLOCK_GETTIME, clock, &raw mut now as usize) };
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

/// Waits until `fd` is readable or `timeout_ns` have passed; `Ok(false)` is
/// both the latter and a signal.
pub(crate) fn poll_readable(fd: RawFd, timeout_ns: u64) -> Result<bool, Errno> {
    poll(fd, uapi::POLLIN, timeout_ns)
}

/// Waits until nobody can write any more to the pipe `fd`, as [`poll_readable`] does.
pub(crate) fn poll_hangup(fd: RawFd, timeout_ns: u64) -> Result<bool, Errno> {
    poll(fd, 0, timeout_ns)
}

fn poll(fd: RawFd, events: u32, timeout_ns: u64) -> Result<bool, Errno> {
    let mut poll = uapi::pollfd { fd, events: events as i16, revents: 0 };
    let mut timeout = uapi::timespec {
        tv_sec: (timeout_ns / 1_000_000_000) as i64,
        tv_nsec: (timeout_ns % 1_000_000_000) as i64,
    };
    // SAFETY: One `pollfd` and one `timespec`, which the kernel reads and writes.
    let raw = unsafe {
        sc::syscall5(
            sc::nr::PPOLL,
            &raw mut poll as usize,
            1,
            &raw mut timeout as usize,
            0,
            SIGSET_SIZE,
        )
    };
    match ret(raw) {
        Err(Errno::EINTR) | Ok(0) => Ok(false),
        Ok(_) => Ok(true),
        Err(errno) => Err(errno),
    }
}

/// Waits until one of `fds` is readable or at its end, a signal comes, or `timeout`
/// has passed: which of them are.
#[cfg(feature = "std")]
pub(crate) fn poll_two(
    fds: [Option<RawFd>; 2],
    timeout: Option<core::time::Duration>,
) -> Result<[bool; 2], Errno> {
    // The kernel passes over negative numbers.
    let mut polls = fds.map(|fd| uapi::pollfd {
        fd: fd.unwrap_or(-1),
        events: uapi::POLLIN as i16,
        revents: 0,
    });
    let mut time = timeout.map(|timeout| uapi::timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let time = time.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    let start = polls.as_mut_ptr();
    // SAFETY: Two `pollfd`s, and one `timespec` or NULL.
    let raw = unsafe {
        sc::syscall5(sc::nr::PPOLL, start as usize, polls.len(), time as usize, 0, SIGSET_SIZE)
    };
    match ret(raw) {
        Ok(_) => Ok(polls.map(|poll| poll.revents != 0)),
        Err(Errno::EINTR) => Ok([false; 2]),
        Err(errno) => Err(errno),
    }
}

/// How many bytes can be read from `fd` at once: `FIONREAD`. 0 where that is not known.
#[cfg(feature = "std")]
pub(crate) fn count_readable(fd: RawFd) -> Result<usize, Errno> {
    let mut count: c_int = 0;
    let (request, place) = (linux_raw_sys::ioctl::FIONREAD as usize, &raw mut count as usize);
    // SAFETY: The kernel writes one int.
    match ret(unsafe { sc::syscall3(sc::nr::IOCTL, fd as usize, request, place) }) {
        Ok(_) => Ok(usize::try_from(count).unwrap_or(0)),
        Err(Errno::ENOTTY) => Ok(0),
        Err(errno) => Err(errno),
    }
}

/// Copies what is at `address` to `buffer`, by the kernel: `process_vm_readv(2)` of this process, or
/// where a filter refuses that, `/proc/self/mem`. An error if there is no memory.
#[cfg(feature = "std")]
pub(crate) fn read_memory(address: usize, buffer: &mut [u8]) -> Result<usize, Errno> {
    let (start, size) = (buffer.as_mut_ptr() as usize, buffer.len());
    let local = [start, size];
    let remote = [address, size];
    // SAFETY: Two `iovec`s, and room for as much as they say. What is at `address` is not looked
    // at by this program.
    let raw = unsafe {
        sc::syscall6(
            sc::nr::PROCESS_VM_READV,
            getpid() as usize,
            local.as_ptr() as usize,
            1,
            remote.as_ptr() as usize,
            1,
            0,
        )
    };
    match ret(raw) {
        Err(Errno::ENOSYS | Errno::EPERM) => {}
        result => return result,
    }
    let memory = Fd::new(open(c"/proc/self/mem", uapi::O_RDONLY | uapi::O_CLOEXEC)?);
    // SAFETY: As above.
    let raw = unsafe { sc::syscall4(sc::nr::PREAD64, memory.raw() as usize, start, size, address) };
    ret(raw)
}

/// `SIGKILL`.
#[cfg(feature = "std")]
pub(crate) const SIGKILL: c_int = uapi::SIGKILL as c_int;

/// `SIGPIPE`.
#[cfg(feature = "std")]
pub(crate) const SIGPIPE: c_int = uapi::SIGPIPE as c_int;

/// `nanosleep`, of less than a second; a signal ends it early.
pub(crate) fn sleep(nanos: u32) {
    let time = uapi::timespec { tv_sec: 0, tv_nsec: nanos.into() };
    // SAFETY: One `timespec`, which the kernel reads.
    unsafe { sc::syscall2(sc::nr::NANOSLEEP, &raw const time as usize, 0) };
}

/// Waits while `word` holds `value`, for `nanos`, less than a second, at most; whether
/// that has passed. A *shared* futex wait: the kernel's `CLONE_CHILD_CLEARTID` wakes
/// those only.
pub(crate) fn futex_wait(word: &AtomicU32, value: u32, nanos: u32) -> bool {
    let wait = uapi::FUTEX_WAIT as usize;
    let time = uapi::timespec { tv_sec: 0, tv_nsec: nanos.into() };
    // SAFETY: `word` and `time` are live for the call.
    let raw = unsafe {
        sc::syscall4(
            sc::nr::FUTEX,
            word.as_ptr() as usize,
            wait,
            value as usize,
            &raw const time as usize,
        )
    };
    ret(raw) == Err(Errno::ETIMEDOUT)
}

/// Wakes who waits for `word` by a shared futex wait.
pub(crate) fn futex_wake(word: &AtomicU32) {
    let (word, wake) = (word.as_ptr() as usize, uapi::FUTEX_WAKE as usize);
    // SAFETY: The address alone counts.
    unsafe { sc::syscall3(sc::nr::FUTEX, word, wake, 1) };
}

/// A zeroed page that this process shares with its forks.
pub(crate) fn map_shared_page() -> Result<*mut c_void, Errno> {
    let protection = uapi::PROT_READ | uapi::PROT_WRITE;
    let flags = uapi::MAP_SHARED | uapi::MAP_ANONYMOUS;
    // SAFETY: Without an address, the kernel picks one that nothing uses.
    let raw = unsafe {
        sc::syscall6(sc::nr::MMAP, 0, PAGE, protection as usize, flags as usize, usize::MAX, 0)
    };
    ret(raw).map(ptr::with_exposed_provenance_mut)
}

/// Unmaps what [`map_shared_page`] gave.
///
/// # Safety
///
/// Nothing may refer to the page any more.
pub(crate) unsafe fn unmap_page(page: *mut c_void) {
    // SAFETY: The caller's promise.
    unsafe { sc::syscall2(sc::nr::MUNMAP, page as usize, PAGE) };
}

/// Enough for a frame; the kernel rounds up to its page size.
const PAGE: usize = 4096;

/// `pipe2(O_CLOEXEC)`: the reading end and the writing end.
pub(crate) fn pipe() -> Result<(Fd, Fd), Errno> {
    pipe_with(0)
}

/// The same, for reads and writes that do not wait.
pub(crate) fn nonblocking_pipe() -> Result<(Fd, Fd), Errno> {
    pipe_with(uapi::O_NONBLOCK)
}

fn pipe_with(flags: u32) -> Result<(Fd, Fd), Errno> {
    let flags = (flags | uapi::O_CLOEXEC) as usize;
    let mut fds = [-1 as RawFd; 2];
    // SAFETY: The kernel writes two descriptors.
    let raw = unsafe { sc::syscall2(sc::nr::PIPE2, &raw mut fds as usize, flags) };
    ret(raw).map(|_| (Fd::new(fds[0]), Fd::new(fds[1])))
}

/// `fcntl(fd, F_DUPFD_CLOEXEC, least)`.
pub(crate) fn duplicate(fd: RawFd, least: RawFd) -> Result<Fd, Errno> {
    let command = uapi::F_DUPFD_CLOEXEC as usize;
    // SAFETY: The command touches no memory.
    let raw = unsafe { sc::syscall3(sc::nr::FCNTL, fd as usize, command, least as usize) };
    ret(raw).map(|fd| Fd::new(fd as RawFd))
}

/// `dup3(fd, place, O_CLOEXEC)`: `place` is another descriptor from now on.
pub(crate) fn replace(fd: RawFd, place: RawFd) -> Result<(), Errno> {
    let flags = uapi::O_CLOEXEC as usize;
    loop {
        // SAFETY: dup3(2) touches no memory; callers pass a place of their own.
        let raw = unsafe { sc::syscall3(sc::nr::DUP3, fd as usize, place as usize, flags) };
        match ret(raw) {
            // The number is being given to somebody: it is ours, so not for long.
            Err(Errno::EBUSY | Errno::EINTR) => {}
            result => return result.map(drop),
        }
    }
}

/// Whether `fd` is open.
pub(crate) fn is_open(fd: RawFd) -> bool {
    // SAFETY: The command touches no memory.
    ret(unsafe { sc::syscall3(sc::nr::FCNTL, fd as usize, uapi::F_GETFD as usize, 0) }).is_ok()
}

/// Waits for the end of file of `fd`, discarding what comes before.
pub(crate) fn wait_for_end_of_file(fd: RawFd) {
    while matches!(read(fd, &mut [0]), Ok(1) | Err(Errno::EINTR)) {}
}

/// Which `clone3` there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clone3 {
    /// None: below Linux 5.3, refused by a filter, or under an emulator.
    Missing,
    /// That of Linux 5.3, without `set_tid` and `CLONE_CLEAR_SIGHAND`.
    First,
    /// That of Linux 5.5, or newer.
    Newer,
}

/// Asks which `clone3` there is, by arguments that no version takes.
pub(crate) fn clone3_version() -> Clone3 {
    // SAFETY: All of it is integers.
    let mut args: uapi::clone_args = unsafe { MaybeUninit::zeroed().assume_init() };
    // Pids, but nowhere. For the first version the structure is too long, unless it is all 0.
    args.set_tid_size = 1;
    let size = core::mem::offset_of!(uapi::clone_args, cgroup);
    // SAFETY: It reads the structure, and makes no child.
    let raw = unsafe { sc::syscall2(sc::nr::CLONE3, &raw const args as usize, size) };
    match ret(raw) {
        Err(Errno::E2BIG) => Clone3::First,
        Err(Errno::EINVAL) => Clone3::Newer,
        _ => Clone3::Missing,
    }
}

/// Whether `execveat` answers at all: it refuses a descriptor that none is.
pub(crate) fn execveat_exists() -> bool {
    let (path, flags) = (c"".as_ptr() as usize, uapi::AT_EMPTY_PATH as usize);
    // SAFETY: A C string, and no arguments: nothing is executed.
    let raw = unsafe { sc::syscall5(sc::nr::EXECVEAT, usize::MAX, path, 0, 0, flags) };
    !matches!(ret(raw), Err(Errno::ENOSYS | Errno::EPERM))
}

/// Whether the kernel says that it is version `major.minor` or newer; `false` if it does not say.
pub(crate) fn release_is_at_least(major: u32, minor: u32) -> bool {
    // The third of six fields of 65 bytes.
    const FIELD: usize = 65;
    let mut name = MaybeUninit::<[u8; 6 * FIELD]>::uninit();
    // SAFETY: The kernel writes all six fields.
    let raw = unsafe { sc::syscall1(sc::nr::UNAME, name.as_mut_ptr() as usize) };
    if ret(raw).is_err() {
        return false;
    }
    // In its place: a copy would be a call of memcpy.
    // SAFETY: Just written.
    let name = unsafe { name.assume_init_ref() };
    let mut release = name.iter().skip(2 * FIELD);
    let mut number = || {
        let digits = release.by_ref().map_while(|byte| char::from(*byte).to_digit(10));
        digits.fold(0u32, |number, digit| number.saturating_mul(10).saturating_add(digit))
    };
    (number(), number()) >= (major, minor)
}

/// `read(fd, buffer)`: how many bytes came.
pub(crate) fn read(fd: RawFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    let (start, size) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: The kernel writes at most `size` bytes.
    ret(unsafe { sc::syscall3(sc::nr::READ, fd as usize, start as usize, size) })
}

/// Whether another process holds a lock of fcntl(2) on the file of `fd`.
pub(crate) fn is_locked(fd: RawFd) -> bool {
    let mut lock = LOCK.0;
    // SAFETY: The kernel reads and writes one `flock`.
    let raw = unsafe {
        sc::syscall3(sc::nr::FCNTL, fd as usize, uapi::F_GETLK as usize, &raw mut lock as usize)
    };
    ret(raw).is_ok() && lock.l_type != uapi::F_UNLCK as i16
}

/// Whether `fd` is a pipe or a socket, and nobody has a lock of fcntl(2) on it, this process
/// included. Of other files that could change at any time, as they are what is locked.
pub(crate) fn has_no_locks(fd: RawFd) -> bool {
    let mut stat = MaybeUninit::<uapi::stat>::uninit();
    // SAFETY: The kernel writes one `stat`.
    let raw = unsafe { sc::syscall2(sc::nr::FSTAT, fd as usize, stat.as_mut_ptr() as usize) };
    if ret(raw).is_err() {
        return false;
    }
    // SAFETY: Just written.
    let kind = unsafe { stat.assume_init() }.st_mode & uapi::S_IFMT;
    let mut lock = LOCK.0;
    let command = uapi::F_OFD_GETLK as usize;
    // The kernel compares with the locks of every process, as this one is of none.
    let mut is_free = || {
        // SAFETY: The kernel reads and writes one `flock`.
        let raw =
            unsafe { sc::syscall3(sc::nr::FCNTL, fd as usize, command, &raw mut lock as usize) };
        ret(raw).is_ok() && lock.l_type == uapi::F_UNLCK as i16
    };
    matches!(kind, uapi::S_IFIFO | uapi::S_IFSOCK) && is_free()
}

/// Takes a lock of fcntl(2) on all of the file of `fd`, if nobody else has one.
pub(crate) fn lock(fd: RawFd) {
    let (command, lock) = (uapi::F_SETLK as usize, &raw const LOCK.0 as usize);
    // SAFETY: The kernel reads one `flock`.
    unsafe { sc::syscall3(sc::nr::FCNTL, fd as usize, command, lock) };
}

/// A lock of fcntl(2) of all of a file.
pub(crate) struct Lock(uapi::flock);

/// For writing, as an op points to it.
pub(crate) static LOCK: Lock =
    Lock(uapi::flock { l_type: uapi::F_WRLCK as i16, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 });

/// A memfd that can be sealed and executed.
pub(crate) fn memfd(name: &CStr) -> Result<Fd, Errno> {
    let create = |flags: u32| {
        // SAFETY: `name` is a C string.
        ret(unsafe { sc::syscall2(sc::nr::MEMFD_CREATE, name.as_ptr() as usize, flags as usize) })
    };
    let flags = uapi::MFD_CLOEXEC | uapi::MFD_ALLOW_SEALING;
    let fd = match create(flags | uapi::MFD_EXEC) {
        // Below Linux 6.3 all of them can be executed.
        Err(Errno::EINVAL) => create(flags)?,
        result => result?,
    };
    Ok(Fd::new(fd as RawFd))
}

/// `write(fd, bytes)`: how many were written.
pub(crate) fn write(fd: RawFd, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: The kernel reads `bytes`.
    ret(unsafe { sc::syscall3(sc::nr::WRITE, fd as usize, bytes.as_ptr() as usize, bytes.len()) })
}

/// Writes `bytes` to `fd`, all of them.
pub(crate) fn write_all(fd: RawFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(fd, bytes) {
            Err(Errno::EINTR) => {}
            result => bytes = bytes.get(result?..).unwrap_or_default(),
        }
    }
    Ok(())
}

/// Forbids all changes to the memfd `fd`.
pub(crate) fn seal(fd: RawFd) -> Result<(), Errno> {
    let seals = uapi::F_SEAL_SEAL | uapi::F_SEAL_SHRINK | uapi::F_SEAL_GROW | uapi::F_SEAL_WRITE;
    let command = uapi::F_ADD_SEALS as usize;
    // SAFETY: The command touches no memory.
    ret(unsafe { sc::syscall3(sc::nr::FCNTL, fd as usize, command, seals as usize) }).map(drop)
}

/// How long a file may become, by `RLIMIT_FSIZE`.
pub(crate) fn file_size_limit() -> Result<u64, Errno> {
    limit(uapi::RLIMIT_FSIZE).map(|limit| limit.rlim_cur)
}

/// `setns(fd, kinds)`.
pub(crate) fn setns(fd: RawFd, kinds: u32) -> Result<(), Errno> {
    // SAFETY: setns(2) touches no memory.
    ret(unsafe { sc::syscall2(sc::nr::SETNS, fd as usize, kinds as usize) }).map(drop)
}

/// `getgid()`.
pub(crate) fn getgid() -> u32 {
    // SAFETY: getgid(2) touches no memory.
    (unsafe { sc::syscall0(sc::nr::GETGID) }) as u32
}

/// `getuid()`.
pub(crate) fn getuid() -> u32 {
    // SAFETY: getuid(2) touches no memory.
    (unsafe { sc::syscall0(sc::nr::GETUID) }) as u32
}

/// `getegid()`.
pub(crate) fn getegid() -> u32 {
    // SAFETY: getegid(2) touches no memory.
    (unsafe { sc::syscall0(sc::nr::GETEGID) }) as u32
}

/// `geteuid()`.
pub(crate) fn geteuid() -> u32 {
    // SAFETY: geteuid(2) touches no memory.
    (unsafe { sc::syscall0(sc::nr::GETEUID) }) as u32
}

/// `prctl(option, a, b, 0, 0)`, for options that touch no memory.
pub(crate) fn prctl(option: u32, a: u32, b: u32) -> Result<u32, Errno> {
    // SAFETY: Such options are what it is for.
    let raw = unsafe { sc::syscall5(sc::nr::PRCTL, option as usize, a as usize, b as usize, 0, 0) };
    ret(raw).map(|value| value as u32)
}

/// The effective capabilities of the calling thread, a bit each.
pub(crate) fn effective_capabilities() -> Result<u64, Errno> {
    let mut header =
        uapi::__user_cap_header_struct { version: uapi::_LINUX_CAPABILITY_VERSION_3, pid: 0 };
    let none = uapi::__user_cap_data_struct { effective: 0, permitted: 0, inheritable: 0 };
    let mut data = [none; 2];
    // SAFETY: Version 3 has two of them, which the kernel writes.
    let raw =
        unsafe { sc::syscall2(sc::nr::CAPGET, &raw mut header as usize, &raw mut data as usize) };
    let [low, high] = data;
    ret(raw).map(|_| u64::from(low.effective) | u64::from(high.effective) << 32)
}

/// The target of the link at `path`, as far as it fits.
fn target(path: &CStr) -> Result<[u8; 32], Errno> {
    let mut target = [0u8; 32];
    let (cwd, path) = (uapi::AT_FDCWD as usize, path.as_ptr() as usize);
    let (start, size) = (target.as_mut_ptr() as usize, target.len());
    // SAFETY: A C string, and room for as much as the kernel is told.
    ret(unsafe { sc::syscall4(sc::nr::READLINKAT, cwd, path, start, size) })?;
    Ok(target)
}

/// Whether the calling thread's children are in another PID namespace than it is, by unshare(2)
/// or setns(2). Without `/proc` there is no telling.
pub(crate) fn children_are_outside() -> bool {
    let Ok(own) = target(c"/proc/self/ns/pid") else { return false };
    match target(c"/proc/thread-self/ns/pid_for_children") {
        Ok(theirs) => own.iter().zip(theirs).any(|(a, b)| *a != b),
        // One that nobody is in yet.
        Err(errno) => errno == Errno::ENOENT,
    }
}

/// Whether `/proc` has this process by another pid than its own, as that of an outer PID namespace
/// has.
pub(crate) fn proc_is_anothers() -> bool {
    let digits = Digits::decimal(getpid().into());
    let own = digits.as_bytes().iter().chain(&[0]);
    target(c"/proc/self").is_ok_and(|target| own.zip(target).any(|(a, b)| *a != b))
}

/// How many KiB of memory this process has of its own, which a fork would have to copy; `None`
/// without `/proc`.
pub(crate) fn private_kib() -> Option<usize> {
    let file = Fd::new(open(c"/proc/self/statm", uapi::O_RDONLY | uapi::O_CLOEXEC).ok()?);
    let mut text = [0u8; 128];
    let count = read(file.raw(), &mut text).ok()?;
    let mut numbers = text.get(..count)?.split(|byte| *byte == b' ').map(|word| {
        word.iter().fold(0usize, |number, digit| {
            number.wrapping_mul(10).wrapping_add(usize::from(digit.wrapping_sub(b'0')))
        })
    });
    // In pages: size, resident, and how many of those are of files or shared.
    let (_, resident, shared) = (numbers.next()?, numbers.next()?, numbers.next()?);
    Some(resident.saturating_sub(shared).saturating_mul(PAGE / 1024))
}

/// Whether there is a link at `path` that may be read.
pub(crate) fn read_link(path: &CStr) -> Result<(), Errno> {
    target(path).map(drop)
}
