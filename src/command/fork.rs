//! What makes the child of a command with hooks: `std::process`.
#![allow(unsafe_code)]

use core::ffi::{c_int, c_void};
use std::boxed::Box;
use std::io;
use std::os::unix::process::CommandExt;
use std::vec::Vec;

use linux_raw_sys::general::SIGCHLD;

use crate::errno::Errno;
use crate::error::Error;
use crate::fd::{Fd, pipe};
use crate::namespaces::Namespaces;
use crate::plan::{Plan, Step};
use crate::process::Process;
use crate::request::{CLibrary, FdAction, Hook, Request};
use crate::spawn::around::make_by;
use crate::spawn::fork::SharedFrame;
use crate::spawn::forked::{Entry, Fork};
use crate::spawn::{Born, Wishes};
use crate::sys;

/// The closures of a command.
pub(super) type Hooks = Vec<Box<dyn FnMut() -> io::Result<()> + Send + Sync>>;

/// Has `request` run `hooks`, in a child that can be made for it.
///
/// # Safety
///
/// The closures are sound in a child of a fork, and nobody else touches them while the request is
/// spawned, which happens once.
pub(super) unsafe fn add_hooks<'a>(hooks: &'a mut Hooks, request: &mut Request<'a>) {
    let (data, library) = (core::ptr::from_mut(hooks).cast(), CLibrary::linked());
    let hook = if request.namespaces.is_some_and(Namespaces::takes_clone) {
        // SAFETY: The caller's promise. `pre_exec` says what such a child is.
        unsafe { Hook::new(run_hooks, data) }
    } else if request.parent_hook.is_some() {
        // std would wait for the exec of a child that waits for us.
        // SAFETY: The caller's promise.
        unsafe { Hook::forked(library, run_hooks, data) }
    } else {
        keep_sigpipe(request);
        Hook::made_by(Fork { run, library }, run_hooks, data)
    };
    request.hook(hook);
}

/// Has the child ignore `SIGPIPE` if this process does and `request` does not say otherwise: std
/// resets it.
fn keep_sigpipe(request: &mut Request<'_>) {
    if !request.to_default.contains(sys::SIGPIPE) && sys::ignores(sys::SIGPIPE) {
        request.ignore_signals(request.to_ignore.with(sys::SIGPIPE));
    }
}

/// A hook of the core that runs closures.
///
/// A panic that leaves one aborts here; in a child of std's it has done so before.
unsafe extern "C" fn run_hooks(hooks: *mut c_void) -> c_int {
    // SAFETY: `hook` points to a command's own, which nobody else has in this child.
    let hooks: &mut Hooks = unsafe { &mut *hooks.cast() };
    for hook in hooks {
        if let Err(error) = hook() {
            return error.raw_os_error().filter(|&errno| errno > 0).unwrap_or(EINVAL);
        }
    }
    0
}

const EINVAL: c_int = Errno::EINVAL.raw();

/// Spawns `plan` in a child that std makes, as one of its own commands with a hook: that never
/// returns, but executes the plan.
///
/// So the child has what std gives it: the C library's fork, made while nobody changes the
/// environment; and a panic that aborts at once, without a lock or memory, which nobody else can
/// ask for. std waits for the exec or the end of the child, or until a hook closes what tells of
/// that. As with std, whatever becomes of a child whose steps have not failed is what its status
/// says.
fn run(plan: &Plan<'_>, _: CLibrary) -> Result<Process, Error> {
    let failed = |errno| Error::new(Step::Report, 0, errno);
    let page = SharedFrame::new().map_err(failed)?;
    let _held = hold_targets(plan).map_err(failed)?;
    let entry = Entry::new(plan, page.frame(), None);
    let by_std = |_: Wishes<'_>| {
        // Nothing of it is used: neither program nor streams.
        let mut command = std::process::Command::new("/");
        // SAFETY: The child has a copy of all that the plan points to, and the frame is new.
        let enter = move || unsafe { entry.enter() };
        // SAFETY: What the plan does is sound in a child of a fork.
        unsafe { command.pre_exec(enter) };
        match command.spawn() {
            // Dropped, it neither waits nor kills.
            Ok(child) => Ok(Born::without_pidfd(child.id() as c_int)),
            Err(error) => {
                let errno = error.raw_os_error().and_then(Errno::from_raw);
                Err(errno.unwrap_or(Errno::EAGAIN))
            }
        }
    };
    // SAFETY: The child's memory is its own, but for the frame, which `page` keeps.
    let made = unsafe { make_by(plan, page.frame(), SIGCHLD, by_std) }?;
    made.conclude(plan)
}

/// Holds the numbers that the child is going to set up, and those of the standard streams, where
/// they are free: or one could be std's, for what tells of the exec, and the child would overwrite
/// it, or write the message of a panic to it.
fn hold_targets(plan: &Plan<'_>) -> Result<Vec<Fd>, Errno> {
    let mut held: Vec<Fd> = Vec::new();
    for fd in (0..=2).chain(plan.around.actions().iter().map(FdAction::child_fd)) {
        if sys::is_open(fd) {
            continue;
        }
        if held.is_empty() {
            // Of whatever; it may get that number itself.
            let (reader, writer) = pipe()?;
            held.extend([reader, writer]);
        }
        let Some(spare) = held.first().map(Fd::raw) else { break };
        // If it is another by now, that one is somebody's; and one beyond the limit is nobody's.
        held.extend(sys::duplicate(spare, fd));
    }
    Ok(held)
}
