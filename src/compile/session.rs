//! Session, process group and terminal.

use core::ffi::c_int;
use core::mem::offset_of;

use linux_raw_sys::ioctl::{TIOCSCTTY, TIOCSPGRP};

use super::Input;
use crate::errno::Errno;
use crate::error::Error;
use crate::plan::op::{Frame, InFrame, Tag, sys};
use crate::plan::{Step, Writer, tables};
use crate::request::{RawFd, Request};

/// Session, process group, terminal.
pub(crate) fn stage<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    tables::link();
    let request = input.request;
    session(plan, request)?;
    process_group(plan, request)?;
    controlling_terminal(plan, request);
    foreground(plan, input);
    Ok(())
}

/// Starts a session.
fn session(plan: &mut Writer<'_>, request: &Request<'_>) -> Result<(), Error> {
    if request.session {
        // setsid(2) refuses a group leader, and makes one: no group besides.
        if request.pgrp.is_some() {
            return Err(Error::new(Step::ProcessGroup, 0, Errno::EPERM));
        }
        plan.push(Tag::new(Step::Session), sys!(SETSID));
    }
    Ok(())
}

/// Joins or makes a process group.
fn process_group(plan: &mut Writer<'_>, request: &Request<'_>) -> Result<(), Error> {
    if let Some(pgrp) = request.pgrp {
        if pgrp < 0 {
            return Err(Error::new(Step::ProcessGroup, 0, Errno::EINVAL));
        }
        plan.push(Tag::new(Step::ProcessGroup), sys!(SETPGID, 0, pgrp));
    }
    Ok(())
}

/// Takes a controlling terminal; the last argument asks not to steal it.
fn controlling_terminal(plan: &mut Writer<'_>, request: &Request<'_>) {
    if let Some(fd) = request.ctty {
        plan.push(Tag::new(Step::ControllingTerminal), sys!(IOCTL, fd, TIOCSCTTY, 0));
    }
}

/// Takes the terminal's foreground.
fn foreground(plan: &mut Writer<'_>, input: &Input<'_>) {
    let request = input.request;
    if let Some(fd) = request.foreground {
        let tag = Tag::new(Step::Foreground);
        take_foreground(plan, input, tag, fd, request.session, request.pgrp);
    }
}

/// Makes the group of the child, which is in a new `session` and in `pgrp` if so, the foreground
/// group of the terminal `fd`.
///
/// A background process that asks is sent `SIGTTOU`, whose stop would hang a
/// parent that waits for the exec. So block it; the mask is set before exec.
pub(super) fn take_foreground(
    plan: &mut Writer<'_>,
    input: &Input<'_>,
    tag: Tag,
    fd: RawFd,
    session: bool,
    pgrp: Option<c_int>,
) {
    super::signals::block_all(plan, Tag::new(Step::Shield));
    let pgrp = match pgrp {
        Some(pgrp) if pgrp > 0 => pgrp,
        None if !session => input.caller.pgrp,
        _ => {
            // The child's own, which the kernel has put where the child finds it.
            let pid = InFrame(offset_of!(Frame, tid));
            plan.push(tag, sys!(IOCTL, fd, TIOCSPGRP, pid));
            return;
        }
    };
    let pgrp = plan.value(pgrp);
    plan.push(tag, sys!(IOCTL, fd, TIOCSPGRP, pgrp));
}
