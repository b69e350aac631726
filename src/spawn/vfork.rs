//! The child borrows the parent's memory, and the calling thread waits.

use super::{Attempt, Frame, caller, conclude, make, wait_until_gone};
use crate::compile::{self, Input};
use crate::error::Error;
use crate::mode::{Mode, Reason};
use crate::plan::Storage;
use crate::process::Process;
use crate::request::Request;

pub(super) fn spawn(
    request: &Request<'_>,
    attempt: Attempt,
    reason: Reason,
    storage: Storage<'_>,
) -> Result<Process, Error> {
    let kernel = attempt.kernel;
    let frame = Frame::new();
    let caller = caller(request, attempt, frame.tid.as_ptr().cast_const().cast(), None);
    let input = Input { request, kernel, mode: Mode::Vfork, caller };
    let plan = compile::compile(input, reason, storage)?;
    // SAFETY: Frame, plan and request stay on this thread's stack and in borrows
    // that outlive it until `wait_until_gone` has returned. `mode` chooses vfork
    // only on a kernel that shares memory.
    let made = unsafe { make(&plan, kernel, &frame) }?;
    wait_until_gone(&frame);
    conclude(&plan, kernel, &frame, made)
}
