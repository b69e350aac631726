//! What `posix_spawn(3)` does, in its order, which is glibc's.

use core::mem::offset_of;

use linux_raw_sys::general::{AT_FDCWD, F_SETFD};
use linux_raw_sys::ioctl::TIOCSPGRP;

use super::{Input, signals};
use crate::errno::Errno;
use crate::error::Error;
use crate::kernel::Feature;
use crate::mode::Mode;
use crate::plan::op::{Arg, Frame, InFrame, Saved, Tag, sys};
use crate::plan::{Step, Writer, tables};
use crate::posix::{FileAction, PosixSpawn};
use crate::request::{OtherFds, RawFd};
use crate::spawn::around::CREDENTIALS;
use crate::spawn::fallback::close_from;
use crate::spawn::fork::tells_by_pipe;
use crate::sys;
use crate::uapi::CLOSE_RANGE_CLOEXEC;

/// An id that setresuid(2) leaves as it is.
const UNCHANGED: u32 = u32::MAX;

/// Scheduling, session, process group, ids, file actions.
pub(crate) fn stage<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    tables::link();
    let Some(posix) = input.request.posix else { return Ok(()) };
    if let Some(scheduler) = &posix.scheduler {
        let param = Arg::ptr(&scheduler.priority);
        let call = sys!(SCHED_SETSCHEDULER, 0, scheduler.policy, param);
        plan.push(Tag::new(Step::Scheduler), call);
    } else if let Some(priority) = &posix.priority {
        plan.push(Tag::new(Step::Scheduler), sys!(SCHED_SETPARAM, 0, Arg::ptr(priority)));
    }
    if posix.session {
        plan.push(Tag::new(Step::Session), sys!(SETSID));
    }
    if let Some(pgrp) = posix.pgrp {
        plan.push(Tag::new(Step::ProcessGroup), sys!(SETPGID, 0, pgrp));
    }
    // Where they do not differ there is nothing to reset, and memory may be shared.
    if posix.resets_ids && input.caller.around.has(CREDENTIALS) {
        let (uid, gid) = (sys::getuid(), sys::getgid());
        plan.push(Tag::new(Step::Uid), sys!(SETRESUID, UNCHANGED, uid, UNCHANGED));
        plan.push(Tag::new(Step::Gid), sys!(SETRESGID, UNCHANGED, gid, UNCHANGED));
    }
    if !posix.actions.is_empty() && input.request.other_fds == OtherFds::Close {
        // Some of what they make would be closed again.
        return Err(Error::new(Step::FileAction, 0, Errno::EINVAL));
    }
    for (index, action) in posix.actions.iter().enumerate() {
        act(plan, input, posix, Tag::item(Step::FileAction, index), action)?;
    }
    Ok(())
}

fn act<'a>(
    plan: &mut Writer<'a>,
    input: &Input<'a>,
    posix: &PosixSpawn<'a>,
    tag: Tag,
    action: &FileAction<'a>,
) -> Result<(), Error> {
    match *action {
        FileAction::Close { fd } => {
            let op = plan.push(tag, sys!(CLOSE, fd));
            // It is no error that it is not open, but that it could never be.
            let limit = sys::soft_descriptor_limit().unwrap_or(u64::MAX);
            if u64::try_from(fd).is_ok_and(|fd| fd < limit) {
                op.ok_any();
            }
        }
        FileAction::Open { fd, path, flags, mode } => {
            plan.push(tag, sys!(CLOSE, fd)).ok_any();
            plan.push(tag, sys!(OPENAT, AT_FDCWD, path, flags, mode)).save();
            // The kernel may have chosen the very number.
            plan.push(tag, sys!(DUP3, Saved, fd, 0)).unless_same(fd);
            plan.push(tag, sys!(CLOSE, Saved)).unless_same(fd);
        }
        FileAction::Dup2 { fd, new_fd } if fd == new_fd => {
            plan.push(tag, sys!(FCNTL, fd, F_SETFD, 0));
        }
        FileAction::Dup2 { fd, new_fd } => {
            plan.push(tag, sys!(DUP3, fd, new_fd, 0));
        }
        FileAction::Chdir { path } => {
            plan.push(tag, sys!(CHDIR, path));
        }
        FileAction::Fchdir { fd } => {
            plan.push(tag, sys!(FCHDIR, fd));
        }
        FileAction::CloseFrom { fd } => return close_all(plan, input, tag, fd),
        FileAction::SetForeground { fd } => foreground(plan, input, posix, tag, fd),
    }
    Ok(())
}

fn close_all(plan: &mut Writer<'_>, input: &Input<'_>, tag: Tag, fd: RawFd) -> Result<(), Error> {
    let refused = |errno| Err(Error::new(tag.step, 0, errno).with_index(tag.index.into()));
    let Input { request, kernel, mode, caller, .. } = *input;
    if fd < 0 {
        return refused(Errno::EBADF);
    }
    // What tells of the exec, under an emulator or as it was asked for, lasts until then.
    let tells =
        request.tells_of_exec() || mode == Mode::Fork && tells_by_pipe(kernel, caller.around);
    if tells && !kernel.has(Feature::CloseRangeCloexec) {
        return refused(Errno::EOPNOTSUPP);
    }
    if kernel.has(Feature::CloseRange) {
        let flags = if tells { CLOSE_RANGE_CLOEXEC } else { 0 };
        plan.push(tag, sys!(CLOSE_RANGE, fd, u32::MAX, flags));
        return Ok(());
    }
    let (function, first) = (close_from as *const (), Arg::int(fd as isize));
    match mode {
        Mode::Fork => plan.call(tag, function, first, Arg::ZERO),
        _ => plan.call(tag, function, first, InFrame(0)),
    }
    Ok(())
}

/// Takes the terminal's foreground; see `session::foreground` for the signal that it blocks.
fn foreground(
    plan: &mut Writer<'_>,
    input: &Input<'_>,
    posix: &PosixSpawn<'_>,
    tag: Tag,
    fd: RawFd,
) {
    signals::block_all(plan, Tag::new(Step::Shield));
    let session = posix.session || input.request.session;
    match posix.pgrp.or(input.request.pgrp) {
        Some(pgrp) if pgrp > 0 => {
            let pgrp = plan.value(pgrp);
            plan.push(tag, sys!(IOCTL, fd, TIOCSPGRP, pgrp));
        }
        None if !session => {
            let pgrp = plan.value(input.caller.pgrp);
            plan.push(tag, sys!(IOCTL, fd, TIOCSPGRP, pgrp));
        }
        _ => {
            // The child's own.
            let pid = InFrame(offset_of!(Frame, tid));
            plan.push(tag, sys!(IOCTL, fd, TIOCSPGRP, pid));
        }
    }
}
