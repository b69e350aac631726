//! What each architecture supplies.
//!
//! | item | what it is |
//! |---|---|
//! | `clone3` | `clone3(2)` whose child enters the loop of `asm/` |
//! | `enter` | the loop, entered by a child that the C library's fork has made |
//! | `MACHINE` | `e_machine` of the stub |
//! | `ask_valgrind` | the instructions that valgrind answers |
//! | `clone` | the same by `clone(2)`, for kernels below 5.3 and filters that refuse `clone3` |
//!
//! To port: write `asm/<arch>.S` and `src/arch/<arch>.rs`, run the tests of `tests.rs`.
#![allow(unsafe_code)]

use core::ffi::c_int;

use linux_raw_sys::general::clone_args;

use crate::plan::op::{Frame, Op};

#[cfg(target_arch = "aarch64")]
#[path = "aarch64.rs"]
mod imp;
#[cfg(target_arch = "riscv64")]
#[path = "riscv64.rs"]
mod imp;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod imp;

#[cfg(not(any(target_arch = "aarch64", target_arch = "riscv64", target_arch = "x86_64")))]
compile_error!("no child loop for this architecture yet: see src/arch/mod.rs");

use imp::ask_valgrind;
pub(crate) use imp::{MACHINE, clone, clone3, enter};

/// What a child starts with.
#[derive(Clone, Copy)]
pub(crate) struct Start<'a> {
    pub(crate) ops: *const Op<'a>,
    pub(crate) frame: *const Frame,
}

impl Start<'_> {
    /// What the child has for its first kept result.
    fn released(self) -> *const u8 {
        self.frame.cast::<u8>().wrapping_add(core::mem::offset_of!(Frame, released))
    }
}

/// The arguments of `clone(2)`, whose order differs by architecture.
#[derive(Clone, Copy)]
pub(crate) struct CloneArgs {
    /// Flags and, in the low byte, the exit signal.
    pub(crate) flags: usize,
    /// Where `CLONE_PIDFD` puts the descriptor.
    pub(crate) pidfd: *mut c_int,
    pub(crate) child_tid: *const u32,
}

/// `sizeof(struct clone_args)` of Linux 5.3, the first: up to `tls`.
pub(crate) const CLONE_ARGS_SIZE: usize = 64;
const _: () = assert!(core::mem::offset_of!(clone_args, set_tid) == CLONE_ARGS_SIZE);

unsafe extern "C" {
    /// The loop of `asm/`. Not a function: it is entered with its own registers
    /// and never returns.
    fn rawspawn_child();
    /// What a stub starts with, behind the loop.
    fn rawspawn_stub();
    /// The end of all that is in `asm/`.
    fn rawspawn_child_end();
}

/// The code of the child: what there is, and the place in it where a stub starts.
pub(crate) fn code() -> (&'static [u8], usize) {
    let [start, stub, end] = [rawspawn_child, rawspawn_stub, rawspawn_child_end]
        .map(|symbol| (symbol as *const ()).cast::<u8>());
    let length = end.addr() - start.addr();
    // SAFETY: One section of the assembler file, from its first symbol to its last, which
    // nobody writes to.
    (unsafe { core::slice::from_raw_parts(start, length) }, stub.addr() - start.addr())
}

/// Whether this process runs on valgrind, which is asked by instructions that do nothing
/// elsewhere: its "client request" 0x1001.
pub(crate) fn runs_on_valgrind() -> bool {
    ask_valgrind(&[0x1001, 0, 0, 0, 0, 0]) != 0
}

#[cfg(test)]
mod tests;
