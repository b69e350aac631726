//! RISC-V 64. `ecall` keeps the general registers but `a0`; the kernel may
//! destroy the vector registers (Linux, `Documentation/arch/riscv/vector.rst`).
//! LLVM reserves `s1`, so the loop's op pointer is `s2`.

use core::arch::asm;

use linux_raw_sys::general::clone_args;

use super::{CloneArgs, Start};

/// `EM_RISCV`: what an executable is for.
pub(crate) const MACHINE: u16 = 243;

/// The `asm!` of a system call that clones: the child jumps into the loop.
macro_rules! ecall {
    ($start:expr, $nr:expr, $a0:expr => $ret:ident, $($reg:tt = $value:expr),+ $(,)?) => {
        asm!(
            "ecall",
            "bnez a0, 2f",
            "tail {child}",
            "2:",
            child = sym super::rawspawn_child,
            in("a7") $nr,
            inlateout("a0") $a0 => $ret,
            $(in($reg) $value,)+
            in("s2") $start.ops,
            in("s3") $start.frame,
            in("s5") $start.released(),
            in("s4") 0usize, // no exec has failed yet
            lateout("t1") _, // `tail`
            lateout("v0") _, lateout("v1") _, lateout("v2") _, lateout("v3") _,
            lateout("v4") _, lateout("v5") _, lateout("v6") _, lateout("v7") _,
            lateout("v8") _, lateout("v9") _, lateout("v10") _, lateout("v11") _,
            lateout("v12") _, lateout("v13") _, lateout("v14") _, lateout("v15") _,
            lateout("v16") _, lateout("v17") _, lateout("v18") _, lateout("v19") _,
            lateout("v20") _, lateout("v21") _, lateout("v22") _, lateout("v23") _,
            lateout("v24") _, lateout("v25") _, lateout("v26") _, lateout("v27") _,
            lateout("v28") _, lateout("v29") _, lateout("v30") _, lateout("v31") _,
            options(nostack),
        )
    };
}

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
        ecall!(start, sc::nr::CLONE3, args => ret, "a1" = size);
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
        ecall!(
            start, sc::nr::CLONE, args.flags => ret,
            "a1" = 0usize,
            "a2" = args.pidfd,
            "a3" = 0usize,
            "a4" = args.child_tid,
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
            "tail {child}",
            child = sym super::rawspawn_child,
            in("s2") start.ops,
            in("s3") start.frame,
            in("s5") start.released(),
            in("s4") 0usize, // no exec has failed yet
            options(noreturn),
        )
    }
}

/// Has valgrind answer `request`; 0 where there is none.
pub(crate) fn ask_valgrind(request: &[usize; 6]) -> usize {
    let answer;
    // SAFETY: Shifts of the register that is always zero, and a register or-ed with itself.
    // Valgrind, which takes them for a question, reads `request` and writes the answer.
    unsafe {
        asm!(
            ".option push",
            ".option norvc",
            "srli zero, zero, 3",
            "srli zero, zero, 13",
            "srli zero, zero, 51",
            "srli zero, zero, 61",
            "or a0, a0, a0",
            ".option pop",
            in("a4") request,
            inlateout("a3") 0usize => answer,
            options(nostack, readonly, preserves_flags),
        );
    }
    answer
}
