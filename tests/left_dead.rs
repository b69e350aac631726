//! Children that die before their exec and are left to be waited for, as by `posix_spawn(3)`.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rawspawn::{
    Buffer, Errno, Error, Exec, Feature, Hook, Job, Kernel, Mode, ParentHook, Process, Request,
    SigSet, Step, argv, spawn_all,
};

use crate::common::rights::{SECCOMP, needs};
use crate::common::seccomp::killing;
use crate::common::{
    Remains, Room, Setup, core_kills_all, each_setup, failure, has_children, isolated, quick, skip,
    without_stub,
};

/// The setups in which a core dump before the exec ends the child alone.
fn setups() -> Vec<Setup> {
    let shares = |setup: &Setup| setup.mode != Mode::Fork;
    let mut setups = each_setup();
    if setups.iter().any(shares) && core_kills_all() {
        setups.retain(|setup| !shares(setup));
    }
    setups
}

/// The status of `pid` by a plain waitpid(2), which sees a child of `SIGCHLD` alone.
fn plain_wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: The kernel writes one status.
    let reaped = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(reaped, pid, "{}", std::io::Error::last_os_error());
    status
}

/// Checks that `spawned` is a success whose child `signal` has killed.
#[track_caller]
fn assert_killed(spawned: Result<Process, Error>, signal: i32, how: &str) {
    let process = spawned.unwrap_or_else(|error| panic!("{how}: {error}"));
    let status = plain_wait(process.pid());
    assert!(libc::WIFSIGNALED(status), "{how}: {status:#x}");
    assert_eq!(libc::WTERMSIG(status), signal, "{how}");
}

#[test]
fn a_child_that_is_killed_at_its_exec_is_a_success_in_every_mode() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        let (exe, argv) = quick(0);
        for setup in setups() {
            let before = Remains::look();
            // The stub's exec, the program's.
            for call in [libc::SYS_execveat, libc::SYS_execve] {
                if call == libc::SYS_execveat && setup.mode != Mode::Stub {
                    continue;
                }
                let mut request = Request::new(Exec::Path(exe), argv);
                setup.apply(request.leave_dead(true));
                let spawned = killing(call, || request.spawn(&mut Room::new()));
                let how = format!("{setup:?}, call {call}");
                assert_eq!(spawned.as_ref().ok().map(Process::mode), Some(setup.mode), "{how}");
                assert_killed(spawned, libc::SIGSYS, &how);
            }
            before.assert_unchanged();
        }
    });
}

#[cfg(feature = "alloc")]
#[test]
fn a_child_that_is_killed_is_a_success_by_every_door() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        if setups().iter().all(|setup| setup.mode == Mode::Fork) {
            return;
        }
        let (exe, argv) = quick(0);
        let before = Remains::look();
        let mut request = Request::new(Exec::Path(exe), argv);
        request.env(argv![]).leave_dead(true);
        let mut room = Room::new();
        let plan = request.plan(&mut room).expect("a plan");
        let owned = request.owned_plan().expect("a plan");
        let call = libc::SYS_execve;
        let plan_spawn = killing(call, || plan.spawn());
        assert_killed(plan_spawn, libc::SIGSYS, "Plan::spawn");
        assert_killed(killing(call, || owned.spawn()), libc::SIGSYS, "OwnedPlan::spawn");
        for (how, exec_fd) in [("start", false), ("start with a descriptor", true)] {
            let mut request = request;
            request.exec_fd(exec_fd);
            let finished = killing(call, || request.start().and_then(rawspawn::Pending::finish));
            assert_killed(finished, libc::SIGSYS, how);
        }
        let dropped = killing(call, || owned.start().expect("a start").pid());
        assert_eq!(libc::WTERMSIG(plain_wait(dropped)), libc::SIGSYS, "a start that is dropped");
        killing(call, || {
            let mut jobs = [Job::new(&plan), Job::new(&plan), Job::new(&plan)];
            spawn_all(&mut jobs);
            for job in &mut jobs {
                assert_killed(job.take().expect("started"), libc::SIGSYS, "spawn_all");
            }
        });
        before.assert_unchanged();
    });
}

#[test]
fn a_child_that_is_killed_while_its_parent_does_something_is_a_success() {
    isolated(|| {
        let (exe, argv) = quick(0);
        let before = Remains::look();
        for setup in without_stub() {
            let hook = |pid| {
                // SAFETY: Touches no memory.
                unsafe { libc::kill(pid, libc::SIGKILL) };
                Ok(())
            };
            let mut request = Request::new(Exec::Path(exe), argv);
            request.parent_hook(ParentHook::new(&hook)).leave_dead(true);
            if setup.mode == Mode::Fork {
                setup.apply(&mut request);
            } else {
                request.kernel(setup.kernel);
            }
            let spawned = request.spawn(&mut Room::new());
            assert_killed(spawned, libc::SIGKILL, &format!("{setup:?}"));
        }
        before.assert_unchanged();
    });
}

unsafe extern "C" fn exit_with_9(_: *mut c_void) -> i32 {
    // SAFETY: Ends the process.
    unsafe { libc::_exit(9) }
}

#[test]
fn a_hook_that_exits_leaves_its_status() {
    isolated(|| {
        let (exe, argv) = quick(0);
        let before = Remains::look();
        for setup in without_stub().into_iter().filter(|setup| setup.mode == Mode::Fork) {
            let mut request = Request::new(Exec::Path(exe), argv);
            // SAFETY: It ends the child.
            request.hook(unsafe { Hook::new(exit_with_9, std::ptr::null_mut()) }).leave_dead(true);
            setup.apply(&mut request);
            let process = request.spawn(&mut Room::new()).expect("a child");
            assert_eq!(plain_wait(process.pid()), 9 << 8, "{setup:?}");
        }
        before.assert_unchanged();
    });
}

#[test]
fn what_fails_is_an_error_with_its_step_and_is_reaped() {
    isolated(|| {
        let before = Remains::look();
        let failed = |error: Error| {
            assert_eq!((error.step(), error.errno()), (Step::Exec, Some(Errno::ENOENT)));
        };
        for setup in each_setup() {
            let mut request = Request::new(Exec::Path(c"/nonexistent"), argv![c"program"]);
            failed(failure(setup, request.leave_dead(true)));
        }
        let mut request = Request::new(Exec::Path(c"/nonexistent"), argv![c"program"]);
        request.env(argv![]).leave_dead(true);
        #[cfg(feature = "alloc")]
        failed(request.start().and_then(rawspawn::Pending::finish).expect_err("nonexistent"));
        let mut room = Room::new();
        let plan = request.plan(&mut room).expect("a plan");
        let mut jobs = [Job::new(&plan), Job::new(&plan)];
        spawn_all(&mut jobs);
        for job in &mut jobs {
            failed(job.take().expect("started").expect_err("nonexistent"));
        }
        let hook = |_| Ok(());
        failed(
            request
                .parent_hook(ParentHook::new(&hook))
                .spawn(&mut Room::new())
                .expect_err("nonexistent"),
        );
        before.assert_unchanged();
    });
}

#[test]
fn a_plan_says_that_its_child_has_a_signal() {
    isolated(|| {
        for setup in each_setup() {
            let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
            setup.apply(request.env(argv![]).leave_dead(true));
            let mut room = Room::new();
            let text = request.plan(&mut room).expect("a plan").to_string();
            let clears = text.contains("|CLONE_CHILD_CLEARTID|SIGCHLD");
            assert!(text.contains("|SIGCHLD"), "{text}");
            assert_eq!(clears, setup.mode != Mode::Fork, "{text}");
        }
    });
}

#[test]
fn somebody_who_waits_for_every_child_hides_no_error() {
    isolated(|| {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // SAFETY: A status is not asked for.
                    unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
                }
            });
            let _done = Done(&done);
            for setup in each_setup() {
                for _ in 0..30 {
                    let mut request = Request::new(Exec::Path(c"/nonexistent"), argv![c"program"]);
                    setup.apply(request.leave_dead(true));
                    let error = request.spawn(&mut Room::new()).expect_err("nonexistent");
                    let seen = (error.step(), error.errno());
                    assert_eq!(seen, (Step::Exec, Some(Errno::ENOENT)), "{setup:?}");
                }
            }
        });
        assert!(!has_children());
    });
}

#[test]
fn a_flood_of_signals_to_the_group_is_no_error_of_any_spawn() {
    const SPAWNS: u32 = 300;
    isolated(|| {
        // The flood's own process and this one pass over it; the children do not.
        // SAFETY: Touches no memory of ours.
        unsafe { libc::setpgid(0, 0) };
        let nothing = nothing as extern "C" fn(i32) as usize;
        // SAFETY: A handler that does nothing.
        unsafe { libc::signal(libc::SIGUSR1, nothing) };
        let done = AtomicBool::new(false);
        let (mut killed, mut ran) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // SAFETY: Touches no memory.
                    unsafe { libc::kill(0, libc::SIGUSR1) };
                    std::thread::sleep(Duration::from_micros(30));
                }
            });
            let _done = Done(&done);
            let end = Instant::now() + Duration::from_secs(120);
            let (exe, argv) = quick(3);
            for _ in 0..SPAWNS {
                let mut request = Request::new(Exec::Path(exe), argv);
                request.leave_dead(true).signal_mask(SigSet::EMPTY);
                let spawned = request.spawn(&mut Buffer::<160, 256>::new());
                let process = spawned.unwrap_or_else(|error| panic!("{error}"));
                let status = plain_wait(process.pid());
                if libc::WIFSIGNALED(status) {
                    assert_eq!(libc::WTERMSIG(status), libc::SIGUSR1);
                    killed += 1;
                } else {
                    assert_eq!(libc::WEXITSTATUS(status), 3, "{status:#x}");
                    ran += 1;
                }
                assert!(Instant::now() < end, "after two minutes {killed} killed, {ran} not");
            }
        });
        println!("flood: {SPAWNS} of {SPAWNS} spawns are successes, {killed} children killed");
        assert!(killed > 0, "no signal has met a child");
    });
}

/// Ends the flood, whatever comes of the spawns.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

extern "C" fn nothing(_: i32) {}

#[test]
fn it_takes_no_call_beyond_the_clone() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        let (exe, argv) = quick(0);
        let Ok(kernel) = Kernel::current() else { return };
        if !kernel.has(Feature::SharedMemory) {
            skip("the word that the kernel clears, without shared memory");
            return;
        }
        // Who asked for the child by wait4 would be killed.
        let (wait, mut request) = (libc::SYS_wait4, Request::new(Exec::Path(exe), argv));
        request.leave_dead(true);
        let mut process = killing(wait, || request.spawn(&mut Room::new())).expect("a child");
        assert!(process.wait().expect("our child").success());
    });
}
