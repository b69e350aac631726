//! What `posix_spawn(3)` does, in its order, which is glibc's.

use linux_raw_sys::general::{AT_FDCWD, F_SETFD};

use super::{Input, fds, limits, session};
use crate::errno::Errno;
use crate::error::Error;
use crate::kernel::Feature;
use crate::plan::op::{Arg, Saved, Tag, sys};
use crate::plan::{Step, Writer, tables};
use crate::posix::{FileAction, PosixSpawn};
use crate::request::{OtherFds, RawFd};
use crate::spawn::around::CREDENTIALS;
use crate::spawn::fallback::close_from;
use crate::sys;
use crate::uapi::CLOSE_RANGE_CLOEXEC;

/// An id that setresuid(2) leaves as it is.
const UNCHANGED: u32 = u32::MAX;

/// Scheduling, session, process group, ids, file actions.
pub(crate) fn stage<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    tables::link();
    let Some(posix) = input.request.posix else { return Ok(()) };
    if let Some(scheduler) = &posix.scheduler {
        limits::set_scheduler(plan, scheduler);
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
    let closes = posix.actions.iter().any(|action| matches!(action, FileAction::Close { .. }));
    let limit = if closes { sys::soft_descriptor_limit() } else { Ok(0) };
    let limit = limit.unwrap_or(u64::MAX);
    for (index, action) in posix.actions.iter().enumerate() {
        let tag = Tag::item(Step::FileAction, index);
        act(plan, input, tag, posix, action, limit)?;
    }
    Ok(())
}

/// Appends one action; no descriptor that is open reaches `limit`.
fn act<'a>(
    plan: &mut Writer<'a>,
    input: &Input<'a>,
    tag: Tag,
    posix: &PosixSpawn<'a>,
    action: &FileAction<'a>,
    limit: u64,
) -> Result<(), Error> {
    match *action {
        FileAction::Close { fd } => {
            let op = plan.push(tag, sys!(CLOSE, fd));
            // It is no error that it is not open, but that it could never be.
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
        FileAction::SetForeground { fd } => {
            let request = input.request;
            let session = posix.session || request.session;
            session::take_foreground(plan, input, tag, fd, session, posix.pgrp.or(request.pgrp));
        }
    }
    Ok(())
}

fn close_all(plan: &mut Writer<'_>, input: &Input<'_>, tag: Tag, fd: RawFd) -> Result<(), Error> {
    let refused = |errno| Err(Error::new(tag.step, 0, errno).with_index(tag.index.into()));
    let kernel = input.kernel;
    if fd < 0 {
        return refused(Errno::EBADF);
    }
    let tells = fds::tells_of_exec(input);
    if tells && !kernel.has(Feature::CloseRangeCloexec) {
        return refused(Errno::EOPNOTSUPP);
    }
    let flags = if tells { CLOSE_RANGE_CLOEXEC } else { 0 };
    // A filter may refuse it by now. It is asked before there is a child: what comes before this
    // may be such that no second child can do it again, and who traps the call answers in the
    // parent alone. No descriptor has that number.
    let is_offered = || sys::close_range(u32::MAX, u32::MAX, flags).is_ok();
    if kernel.has(Feature::CloseRange) && is_offered() {
        plan.push(tag, sys!(CLOSE_RANGE, fd, u32::MAX, flags));
        return Ok(());
    }
    fds::call_fallback(plan, input, tag, close_from as *const (), Arg::int(fd as isize));
    Ok(())
}
