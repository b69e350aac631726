//! What a program without a C library starts with: an entry point, its
//! arguments, an output that `write!` can use, and an end.
#![no_std]
#![allow(unsafe_code)]

use core::arch::global_asm;
use core::ffi::{CStr, c_char};
use core::fmt;
use core::mem::MaybeUninit;
use core::panic::PanicInfo;

use linux_raw_sys::general as uapi;
use rawspawn::{CStrArray, Errno, SigSet, WaitStatus};

// The kernel leaves argc, argv and envp on the stack, and no return address.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl _start",
    "_start:",
    ".cfi_startproc",
    ".cfi_undefined rip",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {start}",
    ".cfi_endproc",
    start = sym start
);
#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl _start",
    "_start:",
    ".cfi_startproc",
    ".cfi_undefined x30",
    "mov x0, sp",
    "bl {start}",
    ".cfi_endproc",
    start = sym start
);
#[cfg(target_arch = "riscv64")]
global_asm!(
    ".globl _start",
    "_start:",
    ".cfi_startproc",
    ".cfi_undefined ra",
    ".option push",
    ".option norelax",
    "la gp, __global_pointer$",
    ".option pop",
    "mv a0, sp",
    "call {start}",
    ".cfi_endproc",
    start = sym start
);

unsafe extern "Rust" {
    /// The program, defined by [`main!`].
    safe fn rawspawn_rt_main(arguments: CStrArray<'static>, environment: CStrArray<'static>)
    -> i32;
}

unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: argc is the first word; argv follows, with a NULL behind it.
    let argc = unsafe { stack.read() };
    // SAFETY: As above.
    let argv = unsafe { stack.add(1) }.cast::<*const c_char>();
    // SAFETY: envp follows argv's NULL.
    let envp = unsafe { argv.add(argc.wrapping_add(1)) };
    // SAFETY: The kernel's arrays last as long as the program.
    unsafe { rawspawn::set_inherited_environ(envp) };
    // SAFETY: As above.
    let arguments = unsafe { CStrArray::from_ptr(argv) };
    // SAFETY: As above.
    let environment = unsafe { CStrArray::from_ptr(envp) };
    exit(rawspawn_rt_main(arguments, environment))
}

/// Names the function that is the program.
#[macro_export]
macro_rules! main {
    ($main:path) => {
        #[unsafe(no_mangle)]
        fn rawspawn_rt_main(
            arguments: rawspawn::CStrArray<'static>,
            environment: rawspawn::CStrArray<'static>,
        ) -> i32 {
            $main(arguments, environment)
        }
    };
}

/// `SIGINT`.
pub const SIGINT: i32 = uapi::SIGINT as i32;
/// `SIGKILL`.
pub const SIGKILL: i32 = uapi::SIGKILL as i32;
/// `SIGTERM`.
pub const SIGTERM: i32 = uapi::SIGTERM as i32;
/// `SIGCHLD`.
pub const SIGCHLD: i32 = uapi::SIGCHLD as i32;
/// `SIGUSR1`.
pub const SIGUSR1: i32 = uapi::SIGUSR1 as i32;

/// Blocks exactly `signals`, so that they wait for [`wait_for_signal`].
pub fn block_signals(signals: SigSet) {
    let (how, size) = (uapi::SIG_SETMASK as usize, size_of::<SigSet>());
    // SAFETY: The kernel reads one set.
    unsafe { sc::syscall4(sc::nr::RT_SIGPROCMASK, how, &raw const signals as usize, 0, size) };
}

/// Takes one of `signals`, which are blocked, or waits for one, but no longer
/// than `timeout` milliseconds.
pub fn wait_for_signal(signals: SigSet, timeout: u64) -> Option<i32> {
    let timeout = uapi::timespec {
        tv_sec: i64::try_from(timeout / 1000).unwrap_or(i64::MAX),
        tv_nsec: (timeout % 1000 * 1_000_000) as i64,
    };
    let (set, time) = (&raw const signals as usize, &raw const timeout as usize);
    // SAFETY: The kernel reads a set and a time.
    let raw = unsafe { sc::syscall4(sc::nr::RT_SIGTIMEDWAIT, set, 0, time, size_of::<SigSet>()) };
    i32::try_from(raw as isize).ok().filter(|&signal| signal > 0)
}

/// Reaps a child that has ended, if there is one: its pid and status.
pub fn reap_any() -> Option<(i32, WaitStatus)> {
    let mut status = 0i32;
    let any = usize::MAX; // -1
    // SAFETY: The kernel writes one status.
    let raw = unsafe {
        sc::syscall4(sc::nr::WAIT4, any, &raw mut status as usize, uapi::WNOHANG as usize, 0)
    };
    let pid = i32::try_from(raw as isize).ok().filter(|&pid| pid > 0)?;
    Some((pid, WaitStatus::from_raw(status)))
}

/// Reads a file of less than `room`, and puts a line's end behind it.
///
/// # Errors
///
/// `EFBIG` if it is longer; those of open(2) and read(2).
pub fn read_file<'r>(path: &CStr, room: &'r mut [MaybeUninit<u8>]) -> Result<&'r mut [u8], Errno> {
    let cwd = uapi::AT_FDCWD as usize;
    let flags = (uapi::O_RDONLY | uapi::O_CLOEXEC) as usize;
    // SAFETY: `path` is a C string.
    let fd = unsafe { sc::syscall4(sc::nr::OPENAT, cwd, path.as_ptr() as usize, flags, 0) };
    let fd = checked(fd)?;
    let mut length = 0;
    let result = loop {
        let rest = room.get_mut(length..).unwrap_or_default();
        if rest.is_empty() {
            break Err(Errno::EFBIG);
        }
        // SAFETY: The kernel writes no more than there is room for.
        let raw = unsafe { sc::syscall3(sc::nr::READ, fd, rest.as_mut_ptr() as usize, rest.len()) };
        match checked(raw) {
            Ok(0) => break Ok(()),
            Ok(count) => length += count,
            Err(errno) => break Err(errno),
        }
    };
    // SAFETY: Ours.
    unsafe { sc::syscall1(sc::nr::CLOSE, fd) };
    result?;
    room.get_mut(length).ok_or(Errno::EFBIG)?.write(b'\n');
    // SAFETY: As many were written.
    Ok(unsafe { core::slice::from_raw_parts_mut(room.as_mut_ptr().cast(), length + 1) })
}

/// What a call returned, or its error number.
fn checked(raw: usize) -> Result<usize, Errno> {
    let number = i32::try_from((raw as isize).wrapping_neg()).ok();
    number.and_then(Errno::from_raw).map_or(Ok(raw), Err)
}

/// The pid of this process, as itself sees it.
pub fn own_pid() -> i32 {
    // SAFETY: getpid(2) touches no memory.
    unsafe { sc::syscall0(sc::nr::GETPID) as i32 }
}

/// Mounts a file system of the kernel's own, unless that is done.
pub fn mount(kind: &CStr, place: &CStr) {
    let (cwd, place) = (uapi::AT_FDCWD as usize, place.as_ptr() as usize);
    // SAFETY: `place` is a C string.
    unsafe { sc::syscall3(sc::nr::MKDIRAT, cwd, place, 0o755) };
    let kind = kind.as_ptr() as usize;
    // SAFETY: C strings, and no data.
    unsafe { sc::syscall5(sc::nr::MOUNT, kind, place, kind, 0, 0) };
}

/// Ends all processes but this one, politely at first.
pub fn end_all() {
    for signal in [SIGTERM, SIGKILL] {
        let all = usize::MAX; // -1
        // SAFETY: kill(2) touches no memory.
        unsafe { sc::syscall2(sc::nr::KILL, all, signal as usize) };
        let deadline = milliseconds().saturating_add(1000);
        // SAFETY: As above: whether there are any.
        while unsafe { sc::syscall2(sc::nr::KILL, all, 0) } == 0 && milliseconds() < deadline {
            wait_for_signal(SigSet::EMPTY.with(SIGCHLD), 50);
            while reap_any().is_some() {}
        }
    }
}

/// Writes what is to be written, and turns the machine off.
pub fn power_off() {
    // SAFETY: sync(2) touches no memory.
    unsafe { sc::syscall0(sc::nr::SYNC) };
    let [one, two, off] = [0xfee1_dead, 672_274_793, 0x4321_fedc];
    // SAFETY: reboot(2), LINUX_REBOOT_CMD_POWER_OFF, reads no memory.
    unsafe { sc::syscall4(sc::nr::REBOOT, one, two, off, 0) };
}

/// The time since some moment in the past, in milliseconds.
pub fn milliseconds() -> u64 {
    let mut now = uapi::timespec { tv_sec: 0, tv_nsec: 0 };
    let clock = uapi::CLOCK_MONOTONIC as usize;
    // SAFETY: The kernel writes one time.
    unsafe { sc::syscall2(sc::nr::CLOCK_GETTIME, clock, &raw mut now as usize) };
    (now.tv_sec as u64).wrapping_mul(1000).wrapping_add(now.tv_nsec as u64 / 1_000_000)
}

/// Ends the program.
pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: exit_group(2) does not return; a filter that makes it has its way.
        unsafe { sc::syscall1(sc::nr::EXIT_GROUP, status as usize) };
    }
}

/// A descriptor to print to.
#[derive(Clone, Copy, Debug)]
pub struct Output(i32);

/// Standard output.
pub const STDOUT: Output = Output(1);

/// Standard error.
pub const STDERR: Output = Output(2);

impl Output {
    /// Prints `name: what` and the end of the line.
    pub fn line(self, name: &CStr, what: &dyn fmt::Display) {
        self.print(name, ": ", what);
    }

    /// Prints `name`, `separator`, `what` and the end of the line, as far as
    /// anyone reads them.
    pub fn print(mut self, name: &CStr, separator: &str, what: &dyn fmt::Display) {
        self.bytes(name.to_bytes());
        self.bytes(separator.as_bytes());
        let _ = fmt::Write::write_fmt(&mut self, format_args!("{what}\n"));
    }

    fn bytes(self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            // SAFETY: The kernel reads at most `rest.len()` bytes of `rest`.
            let raw = unsafe {
                sc::syscall3(sc::nr::WRITE, self.0 as usize, rest.as_ptr() as usize, rest.len())
            };
            let Some(unwritten) = rest.get(raw..) else { return false };
            rest = unwritten;
        }
        true
    }
}

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.bytes(text.as_bytes()) { Ok(()) } else { Err(fmt::Error) }
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        self.write_str(c.encode_utf8(&mut [0; 4]))
    }
}

/// Never called: nothing in these programs panics. The check is that this symbol
/// is not in the binary.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    exit(101)
}
