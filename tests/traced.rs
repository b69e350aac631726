//! What a debugger or a tracer sees of a spawn: a vfork or a fork, never a thread of the parent.

use std::ffi::{c_int, c_void};

use rawspawn::{
    CStrArray, Exec, Hook, Job, Kernel, Mode, Modes, ParentHook, Process, Request, spawn_all,
};

use crate::common::ptrace::{ptrace, trace_me};
use crate::common::{Room, can_detach, isolated, quick, skip};

const FORK: c_int = libc::PTRACE_EVENT_FORK;
const VFORK: c_int = libc::PTRACE_EVENT_VFORK;

/// The events that a tracer is told of while `parent` runs, traced. `None` where nothing can
/// be traced.
fn events_of(parent: impl FnOnce() -> bool) -> Option<Vec<c_int>> {
    // SAFETY: The child goes on alone with what this thread was doing, and exits.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        trace_me();
        let status = i32::from(!parent());
        // SAFETY: Ends the process.
        unsafe { libc::_exit(status) };
    }
    let mut events = Vec::new();
    let mut attached = false;
    loop {
        let mut status = 0;
        // SAFETY: The kernel writes one status.
        let stopped = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
        assert!(stopped > 0, "waitpid: {}", std::io::Error::last_os_error());
        if stopped == pid && !libc::WIFSTOPPED(status) {
            match libc::WEXITSTATUS(status) {
                0 if libc::WIFEXITED(status) => return Some(events),
                crate::common::ptrace::CANNOT => return None,
                _ => panic!("the spawn went otherwise: {status:#x}, after {events:?}"),
            }
        }
        if stopped != pid {
            ptrace(libc::PTRACE_DETACH.into(), stopped, 0);
            continue;
        }
        let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
        let mut deliver = 0;
        if !attached {
            attached = true;
            let options = libc::PTRACE_O_TRACEFORK
                | libc::PTRACE_O_TRACEVFORK
                | libc::PTRACE_O_TRACECLONE
                | libc::PTRACE_O_EXITKILL;
            assert_eq!(ptrace(libc::PTRACE_SETOPTIONS.into(), pid, options), 0);
        } else if event != 0 {
            events.push(event);
        } else {
            deliver = signal;
        }
        ptrace(libc::PTRACE_CONT.into(), pid, deliver);
    }
}

/// Whether `process` is what [`quick`] gives, in `mode`.
fn is_right(mut process: Process, mode: Mode) -> bool {
    process.mode() == mode && process.wait().is_ok_and(|status| status.code() == Some(7))
}

fn request<'a>() -> Request<'a> {
    let (exe, argv) = quick(7);
    let mut request = Request::new(Exec::Path(exe), argv);
    request.env(CStrArray::EMPTY);
    request
}

fn spawns(request: &Request<'_>, mode: Mode) -> bool {
    request.spawn(&mut Room::new()).is_ok_and(|process| is_right(process, mode))
}

/// Two together, in `mode`.
fn batch(mode: Mode) -> bool {
    let request = request();
    let mut room = Room::new();
    let plan = request.plan(&mut room).expect("room");
    let mut jobs = [Job::new(&plan), Job::new(&plan)];
    spawn_all(&mut jobs);
    jobs.iter_mut().all(|job| job.take().is_some_and(|done| is_right(done.expect("a child"), mode)))
}

extern "C" fn nothing(_: *mut c_void) -> c_int {
    0
}

/// Whether there is something to see here; says so if not.
fn detaches() -> bool {
    let detaches = can_detach(Kernel::current().expect("a child can be made"));
    if !detaches {
        skip("what a tracer sees of a kernel that holds the caller");
    }
    detaches
}

fn assert_events(door: fn() -> bool, expected: &[c_int]) {
    match events_of(door) {
        Some(events) => assert_eq!(events, expected),
        None => skip("events, as nothing can be traced here"),
    }
}

#[test]
fn a_child_is_told_of_as_a_vfork_or_a_fork_and_not_as_a_thread() {
    isolated(|| {
        if !detaches() {
            return;
        }
        assert_events(|| spawns(&request(), Mode::Vfork), &[VFORK]);
        assert_events(|| spawns(request().modes(Modes::Fork), Mode::Fork), &[VFORK]);
        assert_events(|| batch(Mode::Vfork), &[VFORK; 2]);
        let waits = || spawns(request().parent_hook(ParentHook::new(&|_| Ok(()))), Mode::Fork);
        assert_events(waits, &[FORK]);
        let waits_in_a_fork = || {
            let mut request = request();
            request.parent_hook(ParentHook::new(&|_| Ok(()))).modes(Modes::Fork);
            spawns(&request, Mode::Fork)
        };
        assert_events(waits_in_a_fork, &[FORK]);
    });
}

#[test]
fn a_child_with_a_hook_is_told_of_as_a_fork_in_which_breakpoints_are_its_own() {
    isolated(|| {
        if !detaches() {
            return;
        }
        let hook = || {
            // SAFETY: It does nothing.
            let hook = unsafe { Hook::new(nothing, std::ptr::null_mut()) };
            spawns(request().hook(hook), Mode::Fork)
        };
        assert_events(hook, &[FORK]);
    });
}

#[test]
fn a_child_with_other_credentials_is_told_of_as_one_that_executes_the_program_itself() {
    isolated(|| {
        if !detaches() {
            return;
        }
        // SAFETY: getgid(2) cannot fail.
        assert_events(|| spawns(request().gid(unsafe { libc::getgid() }), Mode::Fork), &[VFORK]);
    });
}

#[cfg(feature = "alloc")]
#[test]
fn a_start_that_is_traced_holds_its_caller_and_says_why() {
    isolated(|| {
        if !detaches() {
            return;
        }
        let start = || {
            let pending = request().start().expect("a start");
            pending.reason() == rawspawn::Reason::Traced
                && pending.is_done()
                && is_right(pending.finish().expect("a program"), Mode::Vfork)
        };
        assert_events(start, &[VFORK]);
    });
}

#[test]
fn who_attaches_after_the_last_look_is_told_of_no_child_that_its_parent_does_not_wait_for() {
    isolated(|| {
        if !detaches() {
            return;
        }
        // Within a second of a look, or there is another one.
        let untraced = (0..20).any(|_| {
            assert!(batch(Mode::Detached));
            events_of(|| batch(Mode::Detached) || batch(Mode::Vfork))
                .is_none_or(|events| events.is_empty())
        });
        assert!(untraced, "a fork took more than a second, 20 times");
    });
}
