//! ptrace(2), as far as the tests trace spawns with it.

use std::fs::File;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;

/// A request without an address.
pub(crate) fn ptrace(request: i64, pid: libc::pid_t, data: i32) -> i64 {
    // SAFETY: Such requests touch no memory of ours.
    unsafe { libc::syscall(libc::SYS_ptrace, request, pid, 0, data) }
}

/// Has the parent trace this process, and stops until it says to go on. Where nothing
/// can be traced the process exits with [`CANNOT`].
pub(crate) fn trace_me() {
    if ptrace(libc::PTRACE_TRACEME.into(), 0, 0) != 0 {
        // SAFETY: Ends the process.
        unsafe { libc::_exit(CANNOT) };
    }
    // SAFETY: Stops this process until the tracer lets it go on.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// The exit status of a process that cannot be traced.
pub(crate) const CANNOT: i32 = 2;

/// A system call that is about to be made.
pub(crate) struct Call {
    pub(crate) number: libc::c_long,
    pub(crate) first: u64,
}

/// `struct ptrace_syscall_info` of `linux/ptrace.h`, at the entry of a call.
#[repr(C)]
struct Entry {
    op: u8,
    arch: u32,
    instruction_pointer: u64,
    stack_pointer: u64,
    number: u64,
    args: [u64; 7],
}
const _: () = assert!(size_of::<Entry>() == 88);

const PTRACE_GET_SYSCALL_INFO: i64 = 0x420e;
const PTRACE_SYSCALL_INFO_ENTRY: u8 = 1;

/// The system call that `pid`, which has stopped, is about to make.
pub(crate) fn entered(pid: libc::pid_t) -> Option<Call> {
    let mut info = MaybeUninit::<Entry>::zeroed();
    let size = size_of_val(&info);
    let request = PTRACE_GET_SYSCALL_INFO;
    // SAFETY: The kernel writes at most `size` bytes.
    unsafe { libc::syscall(libc::SYS_ptrace, request, pid, size, info.as_mut_ptr()) };
    // SAFETY: All of it is integers, and was zeroed.
    let info = unsafe { info.assume_init() };
    let call = Call { number: info.number as libc::c_long, first: info.args[0] };
    (info.op == PTRACE_SYSCALL_INFO_ENTRY).then_some(call)
}

/// Takes `flag` from the flags of a clone3 that `pid` is about to make: the first of its
/// arguments at `address`.
pub(crate) fn clear_flag(pid: libc::pid_t, address: u64, flag: libc::c_int) {
    let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem"));
    let memory = memory.expect("our tracee");
    let mut flags = [0; 8];
    memory.read_exact_at(&mut flags, address).expect("mapped memory");
    let flags = u64::from_ne_bytes(flags) & !(flag as u64);
    memory.write_all_at(&flags.to_ne_bytes(), address).expect("mapped memory");
}
