//! AArch64. `svc` keeps every register but `x0`.
//! LLVM reserves `x19`, so the loop's op pointer is `x20`.

use core::arch::asm;

use linux_raw_sys::general::clone_args;

use super::{CloneArgs, Start};

/// `EM_AARCH64`: what an executable is for.
pub(crate) const MACHINE: u16 = 183;

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
            "svc #0",
            "cbnz x0, 2f",
            "b {child}",
            "2:",
            child = sym super::rawspawn_child,
            in("x8") sc::nr::CLONE3,
            inlateout("x0") args => ret,
            in("x1") size,
            in("x20") start.ops,
            in("x23") start.released(),
            in("x21") start.frame,
            in("x22") 0usize, // no exec has failed yet
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
            "svc #0",
            "cbnz x0, 2f",
            "b {child}",
            "2:",
            child = sym super::rawspawn_child,
            in("x8") sc::nr::CLONE,
            inlateout("x0") args.flags => ret,
            in("x1") 0usize,
            in("x2") args.pidfd,
            in("x3") 0usize,
            in("x4") args.child_tid,
            in("x20") start.ops,
            in("x23") start.released(),
            in("x21") start.frame,
            in("x22") 0usize,
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
            "b {child}",
            child = sym super::rawspawn_child,
            in("x20") start.ops,
            in("x23") start.released(),
            in("x21") start.frame,
            in("x22") 0usize, // no exec has failed yet
            options(noreturn),
        )
    }
}

/// Has valgrind answer `request`; 0 where there is none.
pub(crate) fn ask_valgrind(request: &[usize; 6]) -> usize {
    let answer;
    // SAFETY: Rotations of a register by 128 bits in all, and a register or-ed with itself.
    // Valgrind, which takes them for a question, reads `request` and writes the answer.
    unsafe {
        asm!(
            "ror x12, x12, #3",
            "ror x12, x12, #13",
            "ror x12, x12, #51",
            "ror x12, x12, #61",
            "orr x10, x10, x10",
            in("x4") request,
            inlateout("x3") 0usize => answer,
            options(nostack, readonly, preserves_flags),
        );
    }
    answer
}
