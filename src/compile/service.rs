//! What a service manager sets: sockets that it listens on, core dumps, timers, orphans.

use core::ffi::{CStr, c_char};

use linux_raw_sys::general::AT_FDCWD;
use linux_raw_sys::prctl::{PR_GET_NAME, PR_SET_CHILD_SUBREAPER, PR_SET_NAME, PR_SET_TIMERSLACK};

use super::{Input, write_file};
use crate::array::value;
use crate::errno::Errno;
use crate::error::Error;
use crate::mode::Mode;
use crate::namespaces::NsSet;
use crate::plan::op::{Arg, Tag, sys};
use crate::plan::{Step, Text, Writer, tables};
use crate::request::{RawFd, Request};
use crate::spawn::{STUB_NAME, STUB_TEXT};
use crate::sys;
use crate::text::Digits;

/// The first descriptor that is passed on.
const FIRST: RawFd = 3;

/// The variables that say what is passed on, and to whom. The last is of systemd 258.
const NAMES: [&[u8]; 4] = [b"LISTEN_PID", b"LISTEN_FDS", b"LISTEN_FDNAMES", b"LISTEN_PIDFDID"];

/// The one whose value only the child knows. In a stub its place is taken by `STUB_TEXT`.
pub(crate) static LISTEN_PID: &CStr = c"LISTEN_PID=";

/// Room for a pid, and for the NUL behind it.
const PID_ROOM: usize = 12;

/// The child's pid, where the parent knows it before there is a child.
fn known_pid(request: &Request<'_>) -> Option<i32> {
    let namespaces = request.namespaces?;
    let is_first = namespaces.new.contains(NsSet::PID).then_some(1);
    namespaces.pids.first().copied().or(is_first)
}

/// Whether the child writes its pid into its environment, which must be its own.
pub(crate) fn writes_pid(request: &Request<'_>) -> bool {
    request.listen_fds.is_some() && known_pid(request).is_none()
}

/// What a service is given, while `/proc` is still the caller's.
pub(crate) fn stage<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    tables::link();
    listen(plan, input)?;
    memory(plan, input.request);
    attributes(plan, input.request)
}

/// Replaces the variables that say which descriptors a service is to listen on.
fn listen<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    let request = input.request;
    let (Some(listen), Some(envp)) = (request.listen_fds, request.envp.or(input.caller.envp))
    else {
        return Ok(());
    };
    let tag = Tag::new(Step::ListenFds);
    let kept = |fd| request.fds.iter().any(|action| action.is_kept() && action.child_fd() == fd);
    if let Some(fd) = (FIRST..FIRST.saturating_add(listen.count.into())).find(|fd| !kept(*fd)) {
        return Err(Error::new(tag.step, 0, Errno::EBADF).with_index((fd - FIRST) as usize));
    }
    let joins = request.namespaces.is_some_and(|namespaces| namespaces.pid_join().is_some());
    // Whose `/proc` has its pid is not known, or it is another's.
    if joins || known_pid(request).is_none() && sys::proc_is_anothers() {
        return Err(Error::new(tag.step, 0, Errno::EINVAL));
    }
    let pid: *const c_char = if let Some(pid) = known_pid(request) {
        plan.text(&[LISTEN_PID.to_bytes(), Digits::decimal(pid.into()).as_bytes()]).as_ptr()
    } else {
        own_pid(plan, tag, input.mode)
    };
    let count = Digits::decimal(listen.count.into());
    let fds = plan.text(&[b"LISTEN_FDS=", count.as_bytes()]).as_ptr();
    let names = listen.names.map(|names| plan.text(&[b"LISTEN_FDNAMES=", names.to_bytes()]));
    let new = [pid, fds, names.map_or(core::ptr::null(), Text::as_ptr)];
    let is_kept = |entry: &CStr| !NAMES.iter().any(|name| value(entry, name).is_some());
    let new = new.get(..if names.is_some() { 3 } else { 2 }).unwrap_or_default();
    plan.set_environ(new, envp, &is_kept);
    Ok(())
}

/// The variable with the pid of the child, as `/proc/self` has it: there is no other call
/// that makes a text of a number.
fn own_pid(plan: &mut Writer<'_>, tag: Tag, mode: Mode) -> *const c_char {
    let name = LISTEN_PID.to_bytes();
    let (variable, digits) = if mode == Mode::Stub {
        // Of its memory, only what is behind the frame can be written to.
        plan.push(tag, sys!(PRCTL, PR_SET_NAME, LISTEN_PID, 0, 0, 0));
        plan.push(tag, sys!(PRCTL, PR_GET_NAME, STUB_TEXT, 0, 0, 0));
        plan.push(tag, sys!(PRCTL, PR_SET_NAME, STUB_NAME, 0, 0, 0));
        (LISTEN_PID.as_ptr(), Arg::int((STUB_TEXT + name.len()) as isize))
    } else {
        let text = plan.text(&[name, &[0; PID_ROOM]]).as_ptr();
        (text, Arg::raw(text.wrapping_add(name.len()).cast()))
    };
    plan.push(tag, sys!(READLINKAT, AT_FDCWD, c"/proc/self", digits, PID_ROOM - 1));
    variable
}

/// Sets which memory a core dump has.
fn memory(plan: &mut Writer<'_>, request: &Request<'_>) {
    if let Some(filter) = request.coredump_filter {
        let digits = Digits::decimal(filter.into());
        let path = c"/proc/self/coredump_filter";
        write_file(plan, Tag::new(Step::CoredumpFilter), -1, path, &[digits.as_bytes()]);
    }
}

/// Sets what timers and orphans do.
fn attributes(plan: &mut Writer<'_>, request: &Request<'_>) -> Result<(), Error> {
    if let Some(nanos) = request.timer_slack {
        // 0 would be the caller's.
        let nanos = usize::try_from(nanos).ok().filter(|nanos| *nanos != 0);
        let nanos = nanos.ok_or(Error::new(Step::TimerSlack, 0, Errno::EINVAL))?;
        plan.push(Tag::new(Step::TimerSlack), sys!(PRCTL, PR_SET_TIMERSLACK, nanos, 0, 0, 0));
    }
    if request.subreaper {
        plan.push(Tag::new(Step::Subreaper), sys!(PRCTL, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    }
    Ok(())
}
