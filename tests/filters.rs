//! Filters that come after a process's first spawn, and filters that kill: every door finds out in
//! the call that meets one, and nobody makes a call that the request does not need.

use std::ffi::CStr;

use rawspawn::{
    Buffer, CStrArray, Cause, Error, Exec, FdAction, Feature, Job, Kernel, LowFds, Mode, OtherFds,
    Process, Request, Step, argv, spawn_all,
};

use crate::common::rights::{SECCOMP, may_change_credentials, needs};
use crate::common::seccomp::{Answer, answering, only};
use crate::common::{Remains, Room, isolated, quick, skip, with_credentials};

/// One way to have a request spawned.
type Door = (&'static str, fn(&Request<'_>) -> Result<Process, Error>);

fn together(request: &Request<'_>) -> Result<Process, Error> {
    let mut room = Room::new();
    let plan = request.plan(&mut room)?;
    let mut jobs = [Job::new(&plan), Job::new(&plan)];
    spawn_all(&mut jobs);
    let [first, second] = &mut jobs;
    let first = first.take().expect("it was started")?.wait();
    assert_eq!(first.expect("our child").code(), Some(6), "the first of two");
    second.take().expect("it was started")
}

#[cfg(feature = "alloc")]
fn started(request: &Request<'_>) -> Result<Process, Error> {
    request.start()?.finish()
}

fn doors() -> Vec<Door> {
    vec![
        ("spawn", |request| request.spawn(&mut Buffer::<16>::new())),
        ("spawn_with", |request| {
            let low = LowFds::claim(2).expect("low numbers");
            request.spawn_with(&low, &mut Room::new())
        }),
        ("spawn_all", together),
        #[cfg(feature = "alloc")]
        ("start", started),
    ]
}

/// The calls that a filter may take away, and what it answers.
fn filters() -> Vec<(libc::c_long, Answer)> {
    let calls = [
        libc::SYS_clone3,
        libc::SYS_close_range,
        libc::SYS_execveat,
        libc::SYS_pidfd_open,
        libc::SYS_memfd_create,
        libc::SYS_wait4,
        libc::SYS_waitid,
    ];
    let answers = [Answer::Errno(libc::ENOSYS), Answer::Errno(libc::EPERM), Answer::Trap];
    calls.into_iter().flat_map(|call| answers.map(|answer| (call, answer))).collect()
}

/// Spawns by each door where `call` gets `answer` from now on.
fn spawn_by_each_door(call: libc::c_long, answer: Answer, early: bool) {
    let (exe, argv) = quick(6);
    for (door, spawn) in doors() {
        let mut request = Request::new(Exec::Path(exe), argv);
        request.env(CStrArray::EMPTY);
        if !early {
            Kernel::probe().expect("a child can be made");
        }
        let before = Remains::look();
        let status = answering(&[(call, answer)], || {
            if early {
                Kernel::probe().expect("a child can be made");
            }
            let mut process = spawn(&request).unwrap_or_else(|error| {
                panic!("{door}, {call} answered by {answer:?}: {error}");
            });
            process.wait().expect("our child")
        });
        assert_eq!(status.code(), Some(6), "{door}, {call} answered by {answer:?}");
        before.assert_unchanged();
    }
}

#[test]
fn each_door_recovers_in_the_call_that_meets_a_filter() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        for (call, answer) in filters() {
            spawn_by_each_door(call, answer, false);
        }
    });
}

#[test]
fn each_door_works_in_a_filter_that_was_there_before() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        for (call, answer) in filters() {
            spawn_by_each_door(call, answer, true);
        }
    });
}

#[test]
fn other_credentials_are_had_without_a_stub_where_a_filter_came() {
    isolated(|| {
        if !needs(&[SECCOMP]) || !may_change_credentials() {
            return;
        }
        let (exe, argv) = quick(6);
        for (call, answer) in filters() {
            Kernel::probe().expect("a child can be made");
            let mut request = Request::new(Exec::Path(exe), argv);
            request.env(CStrArray::EMPTY).uid(0).gid(0);
            let before = Remains::look();
            let (mode, status) = answering(&[(call, answer)], || {
                let mut process = request.spawn(&mut Room::new()).unwrap_or_else(|error| {
                    panic!("{call} answered by {answer:?}: {error}");
                });
                (process.mode(), process.wait().expect("our child"))
            });
            assert_eq!(status.code(), Some(6), "{call} answered by {answer:?}");
            let is_stubs = [libc::SYS_execveat, libc::SYS_memfd_create].contains(&call);
            let usual = if is_stubs { Mode::Fork } else { with_credentials(true, true) };
            let may_be_fork = call == libc::SYS_close_range;
            assert!(mode == usual || may_be_fork && mode == Mode::Fork, "{call}: {mode:?}");
            before.assert_unchanged();
        }
    });
}

#[cfg(feature = "std")]
#[test]
fn commands_recover_as_requests_do() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        for (call, answer) in filters() {
            Kernel::probe().expect("a child can be made");
            let before = Remains::look();
            let output = answering(&[(call, answer)], || {
                let mut command = rawspawn::Command::new("sh");
                command.args(["-c", "echo out; exit 6"]).output().unwrap_or_else(|error| {
                    panic!("{call} answered by {answer:?}: {error}");
                })
            });
            assert_eq!((output.status.code(), &*output.stdout), (Some(6), &b"out\n"[..]));
            before.assert_unchanged();
        }
    });
}

#[test]
fn who_needs_no_call_does_not_meet_a_filter_that_kills_for_it() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        // What any program makes that spawns and waits; the two after exec are the child's.
        let base = [
            libc::SYS_clone3,
            libc::SYS_execve,
            libc::SYS_wait4,
            libc::SYS_waitid,
            libc::SYS_exit,
            libc::SYS_exit_group,
            libc::SYS_rt_sigprocmask,
            libc::SYS_rt_sigreturn,
            libc::SYS_sigaltstack,
            libc::SYS_futex,
            libc::SYS_mmap,
            libc::SYS_munmap,
            libc::SYS_mprotect,
            libc::SYS_madvise,
            libc::SYS_write,
        ];
        // Asked without the crate, which must know nothing of the kernel below.
        // SAFETY: Arguments of no size are refused.
        unsafe { libc::syscall(libc::SYS_clone3, 0, 0) };
        if std::io::Error::last_os_error().raw_os_error() != Some(libc::EINVAL) {
            skip("a filter for clone3, which is not there");
            return;
        }
        let program: &CStr = c"/nonexistent";
        for closes in [false, true] {
            let mut allowed = base.to_vec();
            allowed.extend(closes.then_some(libc::SYS_close_range));
            // In a process of its own, which dies if it asks too much.
            // SAFETY: The only thread of this process that matters.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                only(&allowed);
                let mut request = Request::new(Exec::Path(program), argv![c"program"]);
                request.env(CStrArray::EMPTY);
                request.other_fds(if closes { OtherFds::Close } else { OtherFds::Inherit });
                let error = request.spawn(&mut Room::new()).expect_err("nonexistent");
                let is_right = error.step() == Step::Exec;
                // SAFETY: Ends the process.
                unsafe { libc::_exit(if is_right { 7 } else { 8 }) };
            }
            let mut status = 0;
            // SAFETY: The kernel writes one status.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            assert_eq!(status, 7 << 8, "closes: {closes}");
        }
    });
}

#[test]
fn a_filter_that_refuses_both_exits_ends_the_child_all_the_same() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        let step = |code, jt, jf, k| rawspawn::Filter { code, jt, jf, k };
        let execve = u32::try_from(libc::SYS_execve).expect("a call");
        let filter = [
            step(0x20, 0, 0, 0),
            step(0x15, 0, 1, execve),
            step(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
            step(0x06, 0, 0, libc::SECCOMP_RET_ERRNO | 1),
        ];
        let before = Remains::look();
        let mut request = Request::new(Exec::Path(c"/nonexistent"), argv![c"program"]);
        request.env(CStrArray::EMPTY).no_new_privs(true).seccomp(&filter);
        let error = request.spawn(&mut Room::new()).expect_err("nonexistent");
        assert_eq!((error.step(), error.errno()), (Step::Exec, Some(rawspawn::Errno::ENOENT)));
        before.assert_unchanged();
    });
}

#[test]
fn a_filter_shares_no_memory_where_a_core_dump_ends_all_who_do() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        let kernel = Kernel::current().expect("a child can be made");
        // Kills for the exec.
        let step = |code, jt, jf, k| rawspawn::Filter { code, jt, jf, k };
        let execve = u32::try_from(libc::SYS_execve).expect("a call");
        let filter = [
            step(0x20, 0, 0, 0),
            step(0x15, 0, 1, execve),
            step(0x06, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
            step(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
        request.env(CStrArray::EMPTY).no_new_privs(true).seccomp(&filter);
        for kernel in [kernel, kernel.without(Feature::OwnCoreDump)] {
            request.kernel(kernel);
            let mut room = Room::new();
            let mode = request.plan(&mut room).expect("a valid request").mode();
            let shares = kernel.has(Feature::SharedMemory) && kernel.has(Feature::OwnCoreDump);
            assert_eq!(mode == Mode::Vfork, shares, "{kernel:?}");
            let error = request.spawn(&mut Room::new()).expect_err("killed");
            let expected = (Step::Child, Cause::Killed(libc::SIGSYS as u8));
            assert_eq!((error.step(), error.cause()), expected, "{kernel:?}");
        }
    });
}

#[test]
fn a_request_without_options_fits_into_sixteen_ops_on_every_kernel() {
    isolated(|| {
        let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
        request.env(CStrArray::EMPTY);
        for lacks in 0..1u32 << Feature::ALL.len() {
            let bits = Feature::ALL.iter().enumerate().filter(|(bit, _)| lacks >> bit & 1 == 1);
            let kernel = bits.fold(Kernel::NEWEST, |kernel, (_, feature)| kernel.without(*feature));
            request.kernel(kernel);
            let mut room = Buffer::<16>::new();
            assert!(request.plan(&mut room).is_ok(), "{kernel:?}");
            assert!(request.needed().expect("a valid request").ops <= 16, "{kernel:?}");
        }
        println!("counted: {} kernels, at most 16 ops on each", 1u32 << Feature::ALL.len());
    });
}

#[test]
fn a_second_try_that_does_not_fit_gives_the_error_of_the_first() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        let kernel = Kernel::probe().expect("a child can be made");
        if !kernel.has(Feature::Clone3) || !kernel.has(Feature::CloseRange) {
            skip("a first try that differs from a second, on a kernel that lacks what it takes");
            return;
        }
        let fds = [FdAction::Map { parent_fd: 0, child_fd: 1 }];
        let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
        request.env(CStrArray::EMPTY).fds(&fds);
        let error = answering(&[(libc::SYS_clone3, Answer::Errno(libc::ENOSYS))], || {
            // Just what the plan takes on a kernel that is not refused anything: five.
            let spawned = request.spawn(&mut Buffer::<4, 4>::new());
            spawned.map(|process| process.mode()).expect_err("no room for another plan")
        });
        assert_eq!((error.step(), error.errno()), (Step::Clone, Some(rawspawn::Errno::ENOSYS)));
    });
}
