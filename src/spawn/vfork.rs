//! The child borrows the parent's memory, and the calling thread waits.

use core::mem::{MaybeUninit, offset_of};

use super::fallback::STACK_WORDS;
use super::{Frame, clone_flags, make};
use crate::error::Error;
use crate::mode::Mode;
use crate::plan::Plan;
use crate::process::Process;

pub(super) fn run(plan: &Plan<'_>) -> Result<Process, Error> {
    if plan.needs_stack { run_with_stack(plan) } else { run_in(plan, &Frame::new()) }
}

/// A frame with the stack below it that an op may ask for.
#[repr(C, align(64))]
struct FrameOnStack {
    stack: [MaybeUninit<usize>; STACK_WORDS],
    frame: Frame,
}

// Out of line, so that who needs no such stack does not pay for it.
#[inline(never)]
fn run_with_stack(plan: &Plan<'_>) -> Result<Process, Error> {
    const { assert!(offset_of!(FrameOnStack, frame) == STACK_WORDS * size_of::<usize>()) };
    // Not initialised as a whole: that would be a call of memset.
    let mut room = MaybeUninit::<FrameOnStack>::uninit();
    // SAFETY: A field of room for it.
    let frame = unsafe { &raw mut (*room.as_mut_ptr()).frame };
    // SAFETY: As above; aligned, and ours.
    unsafe { frame.write(Frame::new()) };
    // SAFETY: Just written.
    run_in(plan, unsafe { &*frame })
}

fn run_in(plan: &Plan<'_>, frame: &Frame) -> Result<Process, Error> {
    // SAFETY: `frame` is new, and its stack is there if the plan wants one. It
    // and what the plan borrows outlive the child's stay, which `conclude` sees the
    // end of. `mode` chooses vfork only on a kernel that shares memory and knows the
    // question that it asks.
    let made = unsafe { make(plan, frame, clone_flags(plan, Mode::Vfork, plan.shares_fds)) }?;
    made.conclude(plan)
}
