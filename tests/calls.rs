//! Which system calls a spawn makes, in the parent and in the child: these, and no
//! other.

use std::os::fd::AsRawFd;

use rawspawn::{
    Exec, FdAction, Feature, Job, Kernel, LowFds, Plan, Process, Request, argv, spawn_all,
};

use crate::common::ptrace::{clear_flag, entered, ptrace, trace_me};
use crate::common::{Room, file_at, isolated, skip};

/// A call of no kernel, before and after what is traced.
const MARK: libc::c_long = 0x5eed;

/// A system call, and who makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    ByParent(libc::c_long),
    ByChild(libc::c_long),
}

/// The system calls that `parent` and its children, up to their exec, make.
/// `None` where nothing can be traced.
fn calls_of(parent: impl FnOnce()) -> Option<Vec<Made>> {
    // SAFETY: The child goes on alone with what this thread was doing, and exits.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        trace_me();
        // SAFETY: The kernel knows no such call.
        unsafe { libc::syscall(MARK) };
        parent();
        // SAFETY: As above.
        unsafe { libc::syscall(MARK) };
        // SAFETY: Ends the process.
        unsafe { libc::_exit(0) };
    }
    let mut made = Vec::new();
    let mut marks = 0;
    let mut attached = false;
    // The parent may end before its child's exec has been told of.
    let mut ended = None;
    let mut children = 0;
    while ended.is_none() || children > 0 {
        let mut status = 0;
        // SAFETY: The kernel writes one status.
        let stopped = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
        assert!(stopped > 0, "waitpid: {}", std::io::Error::last_os_error());
        if stopped == pid && libc::WIFEXITED(status) {
            ended = Some(libc::WEXITSTATUS(status));
            continue;
        }
        assert!(libc::WIFSTOPPED(status), "killed: {status:#x}");
        if !attached {
            attached = true;
            let options = libc::PTRACE_O_TRACESYSGOOD
                | libc::PTRACE_O_TRACEVFORK
                | libc::PTRACE_O_TRACECLONE
                | libc::PTRACE_O_TRACEEXEC
                | libc::PTRACE_O_EXITKILL;
            assert_eq!(ptrace(libc::PTRACE_SETOPTIONS.into(), pid, options), 0);
        } else if libc::WSTOPSIG(status) == libc::SIGTRAP | 0x80 {
            let call = entered(stopped);
            if let Some(call) = call.as_ref().filter(|call| call.number == libc::SYS_clone3) {
                // Or this one would not see a child that its parent does not wait for.
                clear_flag(stopped, call.first, libc::CLONE_UNTRACED);
            }
            match call.map(|call| call.number) {
                Some(MARK) => marks += 1,
                Some(number) if stopped != pid => made.push(Made::ByChild(number)),
                Some(number) if marks == 1 => made.push(Made::ByParent(number)),
                _ => {}
            }
        } else if [libc::PTRACE_EVENT_VFORK, libc::PTRACE_EVENT_CLONE].contains(&(status >> 16)) {
            children += 1;
        } else if status >> 16 == libc::PTRACE_EVENT_EXEC {
            children -= 1;
            ptrace(libc::PTRACE_DETACH.into(), stopped, 0);
            continue;
        }
        ptrace(libc::PTRACE_SYSCALL.into(), stopped, 0);
    }
    (ended == Some(0)).then_some(made)
}

/// Has `spawn` make a child, and compares the calls; what the child is killed and
/// reaped by is not among them.
fn assert_calls(spawn: impl Fn() -> Process, expected: &[Made]) {
    let kernel = Kernel::current().expect("a child can be made");
    let newest = Feature::ALL.iter().all(|feature| kernel.has(*feature));
    let spawn_and_leave = || std::mem::forget(spawn());
    match calls_of(spawn_and_leave) {
        Some(calls) if newest => assert_eq!(calls, expected),
        Some(_) => skip("calls, of a kernel that lacks some"),
        None => skip("calls, as nothing can be traced here"),
    }
}

/// The parent's calls, and between them the child's.
fn around(child: &[libc::c_long]) -> Vec<Made> {
    let child = child.iter().map(|number| Made::ByChild(*number));
    // The second asks whether there still is a child that has not executed
    // anything. Nothing else tells one that was killed from one that executed.
    let after = Made::ByParent(libc::SYS_wait4);
    [Made::ByParent(libc::SYS_clone3)].into_iter().chain(child).chain([after]).collect()
}

fn spawned(request: &Request<'_>) -> Process {
    request.spawn(&mut Room::new()).expect("a child")
}

#[test]
fn a_plain_spawn_makes_three_calls_in_the_child() {
    isolated(|| {
        let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
        request.env(argv![]);
        // The table is cut off, and what is left of it marked.
        let close = libc::SYS_close_range;
        let expected = around(&[close, close, libc::SYS_execve]);
        assert_calls(|| spawned(&request), &expected);
        // Compiled before, it is the same.
        let mut room = Room::new();
        let plan: Plan<'_> = request.plan(&mut room).expect("room");
        assert_calls(|| plan.spawn().expect("a child"), &expected);
    });
}

#[test]
fn pipes_take_a_call_each() {
    isolated(|| {
        let files = [50, 51, 52].map(file_at);
        let fds = [0, 1, 2].map(|fd| FdAction::Map { parent_fd: 50 + fd, child_fd: fd });
        let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
        request.env(argv![]).fds(&fds);
        let child = [
            libc::SYS_close_range,
            libc::SYS_dup3,
            libc::SYS_dup3,
            libc::SYS_dup3,
            libc::SYS_close_range,
            libc::SYS_execve,
        ];
        assert_calls(|| spawned(&request), &around(&child));
        drop(files);
    });
}

#[test]
fn a_low_number_takes_four_calls_of_the_parent() {
    isolated(|| {
        let low = LowFds::claim(2).expect("low numbers");
        let (pipe, _writer) = std::io::pipe().expect("a pipe");
        // SAFETY: Descriptors only.
        let high = unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 900) };
        let fds = [FdAction::Map { parent_fd: high, child_fd: 0 }];
        let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
        request.env(argv![]).fds(&fds);
        let close = libc::SYS_close_range;
        let spawn = around(&[close, libc::SYS_dup3, close, libc::SYS_execve]);
        // What it is, and whether there are locks on it that would be lost.
        let before = [libc::SYS_fstat, libc::SYS_fcntl, libc::SYS_dup3].map(Made::ByParent);
        let expected = [&before[..], &spawn, &[Made::ByParent(libc::SYS_dup3)]].concat();
        assert_calls(|| request.spawn_with(&low, &mut Room::new()).expect("a child"), &expected);
    });
}

/// Starts a program, for which this process looks whether it is traced.
fn start_one() {
    let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
    let mut room = Room::new();
    let plan = request.env(argv![]).plan(&mut room).expect("room");
    let mut jobs = [Job::new(&plan)];
    spawn_all(&mut jobs);
    let started = jobs[0].take().expect("it was started");
    assert!(started.expect("a program").wait().expect("our child").success());
}

/// Has `run` make children that nobody waits for, and compares the calls of each side:
/// they do not come in one order. The parent may also wait for a word, and ask for the
/// child if that takes long.
///
/// Who is traced waits for its children. So it must have found out that it is not within the
/// second before, which is tried again where it took longer.
fn assert_detached(run: impl Fn(), parent: &[libc::c_long], child: &[libc::c_long]) {
    let kernel = Kernel::current().expect("a child can be made");
    let newest = Feature::ALL.iter().all(|feature| kernel.has(*feature));
    let has_asked = |calls: &Option<Vec<Made>>| {
        calls.as_ref().is_some_and(|calls| calls.contains(&Made::ByParent(libc::SYS_openat)))
    };
    let mut tries = (0..20).map(|_| {
        start_one();
        calls_of(&run)
    });
    let calls = tries.find(|calls| !has_asked(calls)).expect("a fork within a second");
    let Some(calls) = calls else {
        skip("calls, as nothing can be traced here");
        return;
    };
    if !newest {
        skip("calls, of a kernel that lacks some");
        return;
    }
    let (mut by_parent, mut by_child) = (Vec::new(), Vec::new());
    for call in calls {
        match call {
            Made::ByParent(libc::SYS_futex | libc::SYS_waitid) => {}
            Made::ByParent(number) => by_parent.push(number),
            Made::ByChild(number) => by_child.push(number),
        }
    }
    assert_eq!(by_parent, parent);
    assert_eq!(by_child, child);
}

#[cfg(feature = "alloc")]
#[test]
fn a_start_looks_at_the_clock_and_makes_one_call_and_its_end_another() {
    isolated(|| {
        let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
        let plan = request.env(argv![]).owned_plan().expect("a valid request");
        let run = || std::mem::forget(plan.start().expect("a start").finish().expect("a program"));
        let child = [libc::SYS_close_range, libc::SYS_close_range, libc::SYS_execve];
        let parent = [libc::SYS_clock_gettime, libc::SYS_clone3, libc::SYS_wait4];
        assert_detached(run, &parent, &child);
    });
}

#[test]
fn programs_that_start_together_look_at_the_clock_and_take_no_more_calls_than_one_by_one() {
    isolated(|| {
        let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
        request.env(argv![]);
        let mut room = Room::new();
        let plan = request.plan(&mut room).expect("room");
        let run = || {
            let mut jobs = [Job::new(&plan)];
            spawn_all(&mut jobs);
            std::mem::forget(jobs);
        };
        let child = [libc::SYS_close_range, libc::SYS_close_range, libc::SYS_execve];
        let parent = [libc::SYS_clock_gettime, libc::SYS_clone3, libc::SYS_wait4];
        assert_detached(run, &parent, &child);
    });
}
