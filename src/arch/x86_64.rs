//! x86-64. `syscall` clobbers `rcx` and `r11` and keeps the rest.
//! LLVM reserves `rbx`, so the loop's op pointer is `r15`.

use core::arch::asm;

use linux_raw_sys::general::clone_args;

use super::{CloneArgs, Start};

/// `EM_X86_64`: what an executable is for.
pub(crate) const MACHINE: u16 = 62;

/// Runs `clone3(2)`; the child enters the loop and never returns.
///
/// Returns what the kernel told the parent: a pid, or a negated errno.
///
/// # Safety
///
/// `args` and `start`, and everything the plan points to, must stay valid until
/// the child has left this address space, and nobody else may write the frame.
/// `size` is that of a version of `args`, which must not ask for a stack, for
/// shared signal handlers or a thread.
pub(crate) unsafe fn clone3(args: &clone_args, size: usize, start: Start<'_>) -> usize {
    let ret: usize;
    // SAFETY: The caller keeps everything alive. The parent's path touches only
    // the registers listed. The child's path leaves through `child`, which
    // neither returns nor touches a stack, so `nostack` holds for both.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "jmp {child}",
            "2:",
            child = sym super::rawspawn_child,
            inlateout("rax") sc::nr::CLONE3 => ret,
            in("rdi") args,
            in("rsi") size,
            in("r13") 0usize, // no exec has failed yet
            in("r12") start.released(),
            in("r14") start.frame,
            in("r15") start.ops,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    ret
}

/// Runs `clone(2)`; the child enters the loop and never returns.
///
/// # Safety
///
/// As for [`clone3`].
pub(crate) unsafe fn clone(args: CloneArgs, start: Start<'_>) -> usize {
    let ret: usize;
    // SAFETY: As in `clone3`. A stack of 0 leaves the child the parent's.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "jmp {child}",
            "2:",
            child = sym super::rawspawn_child,
            inlateout("rax") sc::nr::CLONE => ret,
            in("rdi") args.flags,
            in("rsi") 0usize,
            in("rdx") args.pidfd,
            in("r10") args.child_tid,
            in("r8") 0usize,
            in("r13") 0usize,
            in("r12") start.released(),
            in("r14") start.frame,
            in("r15") start.ops,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    ret
}

/// Enters the loop in this process, which is a child of a fork: there is no way back.
///
/// # Safety
///
/// What `start` points to, and everything the plan points to, must be valid in this process,
/// which nothing else may run in, and nobody else may write the frame.
pub(crate) unsafe fn enter(start: Start<'_>) -> ! {
    // SAFETY: The loop leaves this stack as it is but for what is below it, where an op that is
    // a call runs, and never returns.
    unsafe {
        asm!(
            "jmp {child}",
            child = sym super::rawspawn_child,
            in("r13") 0usize, // no exec has failed yet
            in("r12") start.released(),
            in("r14") start.frame,
            in("r15") start.ops,
            options(noreturn),
        )
    }
}

/// Has valgrind answer `request`; 0 where there is none.
pub(crate) fn ask_valgrind(request: &[usize; 6]) -> usize {
    let answer;
    // SAFETY: Rotations of a register by 128 bits in all, and an exchange with itself. Valgrind,
    // which takes them for a question, reads `request` and writes the answer.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") request,
            inlateout("rdx") 0usize => answer,
            options(nostack, readonly),
        );
    }
    answer
}
