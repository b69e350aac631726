//! A tracer that lets a vfork parent go on before its child has left: the spawn waits.
//!
//! Some have done so, by taking `CLONE_VFORK` from the call. This one holds the child
//! back as well, and then lets it go on, or kills it.

use rawspawn::{CStrArray, Cause, Error, Exec, Feature, Kernel, Modes, Process, Request, Step};

use crate::common::ptrace::{CANNOT, clear_flag, entered, ptrace, trace_me};
use crate::common::{Room, isolated, quick, skip};

/// What the tracer does with a child that it has held back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    GoesOn,
    IsKilled,
}

/// How often the parent must have looked for its child before the child goes on.
const LOOKS: u32 = 5;

/// Has `path` spawned in a traced process, and `good` judge what came of it. `None`
/// where nothing can be traced. `leave_dead`: as that option says.
fn spawn(
    path: &'static std::ffi::CStr,
    argv: CStrArray<'static>,
    leave_dead: bool,
    then: Then,
    good: fn(Result<Process, Error>) -> bool,
) -> Option<()> {
    // SAFETY: The child goes on alone with what this thread was doing, and exits.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let mut request = Request::new(Exec::Path(path), argv);
        request.modes(Modes::Vfork).leave_dead(leave_dead);
        trace_me();
        let good = good(request.spawn(&mut Room::new()));
        // SAFETY: Ends the process.
        unsafe { libc::_exit(i32::from(!good)) };
    }
    let mut attached = false;
    let (mut held, mut released) = (None, false);
    let mut looks = 0;
    loop {
        let mut status = 0;
        // SAFETY: The kernel writes one status.
        let stopped = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
        assert!(stopped > 0, "waitpid: {}", std::io::Error::last_os_error());
        if stopped == pid && libc::WIFEXITED(status) {
            match libc::WEXITSTATUS(status) {
                0 => break,
                CANNOT => return None,
                _ => panic!("the spawn went otherwise"),
            }
        }
        if !libc::WIFSTOPPED(status) {
            assert_ne!(stopped, pid, "the parent was killed: {status:#x}");
            continue;
        }
        let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
        let mut deliver = 0;
        if stopped != pid {
            if held.is_none() {
                held = Some(stopped);
                continue;
            }
            ptrace(libc::PTRACE_CONT.into(), stopped, if event == 0 { signal } else { 0 });
            continue;
        } else if !attached {
            attached = true;
            let options = libc::PTRACE_O_TRACESYSGOOD
                | libc::PTRACE_O_TRACECLONE
                | libc::PTRACE_O_TRACEFORK
                | libc::PTRACE_O_TRACEEXEC
                | libc::PTRACE_O_EXITKILL;
            assert_eq!(ptrace(libc::PTRACE_SETOPTIONS.into(), pid, options), 0);
        } else if signal == libc::SIGTRAP | 0x80 {
            match entered(pid) {
                Some(call) if call.number == libc::SYS_clone3 => {
                    clear_flag(pid, call.first, libc::CLONE_VFORK);
                }
                Some(call) if [libc::SYS_wait4, libc::SYS_waitid].contains(&call.number) => {
                    looks += 1;
                    // Its first stop may come late.
                    if let (Some(child), LOOKS.., false) = (held, looks, released) {
                        released = true;
                        let request = match then {
                            Then::GoesOn => libc::PTRACE_CONT,
                            Then::IsKilled => libc::PTRACE_KILL,
                        };
                        ptrace(request.into(), child, 0);
                    }
                }
                _ => {}
            }
        } else if event == 0 {
            deliver = signal;
        }
        ptrace(libc::PTRACE_SYSCALL.into(), pid, deliver);
    }
    assert!(looks >= LOOKS, "the spawn was over after {looks} looks, its child in its memory");
    Some(())
}

#[test]
fn a_parent_that_resumes_early_waits_for_its_child() {
    isolated(|| {
        let kernel = Kernel::current().expect("a child can be made");
        if !kernel.has(Feature::SharedMemory) || !kernel.has(Feature::Clone3) {
            skip("early resume, of a kernel without vfork or clone3");
            return;
        }
        let (exe, argv) = quick(7);
        let executed = |spawned: Result<Process, Error>| {
            let status = spawned.map(|mut process| process.wait());
            status.is_ok_and(|status| status.is_ok_and(|status| status.code() == Some(7)))
        };
        let failed = |spawned: Result<Process, Error>| {
            spawned.is_err_and(|error| error.step() == Step::Exec)
        };
        let killed = |spawned: Result<Process, Error>| {
            spawned.is_err_and(|error| error.cause() == Cause::Killed(9))
        };
        let left = |spawned: Result<Process, Error>| {
            let status = spawned.map(|mut process| process.wait());
            status.is_ok_and(|status| status.is_ok_and(|status| status.signal() == Some(9)))
        };
        let missing = c"/nonexistent/program";
        let traced = spawn(exe, argv, false, Then::GoesOn, executed)
            .and_then(|()| spawn(missing, argv, false, Then::GoesOn, failed))
            .and_then(|()| spawn(exe, argv, false, Then::IsKilled, killed))
            .and_then(|()| spawn(exe, argv, true, Then::GoesOn, executed))
            .and_then(|()| spawn(missing, argv, true, Then::GoesOn, failed))
            .and_then(|()| spawn(exe, argv, true, Then::IsKilled, left));
        if traced.is_none() {
            skip("early resume, as nothing can be traced here");
        }
    });
}
