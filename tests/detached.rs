//! A start goes on at once: what its child then does, and what becomes of both when
//! things go wrong meanwhile.

use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU32;

use rawspawn::{
    CStrArray, CStrPtr, Cause, CurrentDir, Errno, Exec, FdAction, Feature, Groups, Hook, Kernel,
    Mode, Modes, OwnedPlan, Pending, Reason, Request, Rlimit, Scheduler, SigSet, Step,
};

use crate::common::gate::Gate;
use crate::common::{
    Remains, Reporter, Room, Running, Setup, can_detach, core_kills_all, each_setup, file_at,
    has_children, isolated, open_and_close, open_fds, quick, skip, test_children, with_credentials,
};

/// Kernels that lack something, and modes: where a start may have to hold its caller.
fn each_kernel() -> impl Iterator<Item = Kernel> {
    each_setup().into_iter().filter(|setup| setup.mode == Mode::Vfork).map(|setup| setup.kernel)
}

/// Whether a child of this kernel can share memory with a parent that goes on; says
/// that a test is skipped where not.
fn detaches() -> bool {
    let detaches = can_detach(Kernel::current().expect("a child can be made"));
    if !detaches {
        skip("a detached start, of a kernel that holds the caller");
    }
    detaches
}

fn succeeds(pending: Pending) {
    let mut process = pending.finish().expect("a program");
    assert!(process.wait().expect("our child").success());
}

#[test]
fn a_program_runs_on_every_kernel() {
    isolated(|| {
        let before = Remains::look();
        let (exe, argv) = quick(7);
        for kernel in each_kernel() {
            let mut request = Request::new(Exec::Path(exe), argv);
            request.kernel(kernel).pidfd(kernel.has(Feature::Pidfd));
            let pending = request.start().expect("a start");
            let pid = pending.pid();
            let (mode, reason) = if can_detach(kernel) {
                (Mode::Detached, Reason::Default)
            } else {
                (Mode::Vfork, Reason::Kernel)
            };
            assert_eq!((pending.mode(), pending.reason()), (mode, reason), "{kernel:?}");
            let mut process =
                pending.finish().unwrap_or_else(|error| panic!("{kernel:?}: {error}"));
            assert_eq!(process.pid(), pid);
            assert_eq!(process.pidfd().is_some(), kernel.has(Feature::Pidfd));
            assert_eq!(process.wait().expect("our child").code(), Some(7), "{kernel:?}");
            assert_eq!(process.mode(), mode, "{kernel:?}");
        }
        before.assert_unchanged();
    });
}

/// A request for `reporter` that borrows all that can be borrowed, and is gone with that
/// when this returns.
fn with_all<T>(reporter: &Reporter, gate: &Gate, run: impl FnOnce(&Request<'_>) -> T) -> T {
    let strings: Vec<CString> = reporter.argv.iter().map(CString::from).collect();
    let mut argv: Vec<_> = strings.iter().map(|string| CStrPtr::new(string)).collect();
    argv.push(CStrPtr::NULL);
    let variables = [c"RAWSPAWN=1", c"PATH=/nonexistent"].map(CString::from);
    let mut envp: Vec<_> = variables.iter().map(|string| CStrPtr::new(string)).collect();
    envp.push(CStrPtr::NULL);
    let (exe, dir, zero) = (reporter.exe.to_owned(), c"/proc".to_owned(), c"/dev/zero".to_owned());
    let flags = libc::O_RDONLY;
    let fds = vec![gate.at(9), FdAction::Open { child_fd: 5, path: &zero, flags, mode: 0 }];
    let cpus = vec![usize::MAX; 16];
    let limits = vec![Rlimit::new(libc::RLIMIT_CORE as _, 0, 0)];
    let mut request = Request::new(Exec::Path(&exe), CStrArray::new(&argv).expect("a NULL"));
    request.env(CStrArray::new(&envp).expect("a NULL")).fds(&fds).rlimits(&limits);
    request.cwd(CurrentDir::Path(&dir)).affinity(&cpus).umask(0o27).nice(3).ioprio(2 << 13 | 5);
    request.signal_mask(SigSet::EMPTY.with(10)).restore_signals();
    request.ignore_signals(SigSet::EMPTY.with(12)).scheduler(Scheduler::new(3, 0));
    request.retry_busy(2).sh_fallback(true).session(true);
    run(&request)
}

#[test]
fn all_that_a_request_borrows_is_copied() {
    isolated(|| {
        if !detaches() {
            return;
        }
        let gate = Gate::new();
        let reporter = Reporter::new(&["an argument"]);
        let spawned = with_all(&reporter, &gate, |request| {
            std::thread::scope(|scope| {
                scope.spawn(|| gate.open());
                request.spawn(&mut Room::new())
            })
        });
        assert!(spawned.expect("a child").wait().expect("our child").success());
        let spawned = reporter.read();

        let pending = with_all(&reporter, &gate, |request: &Request<'_>| Request::start(request))
            .expect("a start");
        assert_eq!(pending.mode(), Mode::Detached);
        assert!(!pending.is_done(), "it waits at the gate");
        // In the place of what was borrowed.
        let _others: Vec<_> = (0..10_000).map(|size| vec![0xa5u8; size % 600]).collect();
        gate.open();
        succeeds(pending);
        let started = reporter.read();
        assert_eq!(started.get("cwd"), "/proc");
        let keys = "fds fd5 fd9 argv environ exe SigBlk SigIgn Cpus_allowed umask scheduler nice \
                    ioprio rlimit4";
        for key in keys.split_whitespace() {
            assert_eq!(started.get(key), spawned.get(key), "{key}");
        }
    });
}

#[test]
fn a_plan_that_owns_all_reads_as_the_one_it_was_made_from() {
    isolated(|| {
        const FDS: &[FdAction<'_>] = &[
            FdAction::Map { parent_fd: 3, child_fd: 4 },
            FdAction::Map { parent_fd: 4, child_fd: 3 },
            FdAction::Open { child_fd: 5, path: c"/a", flags: 0o2101, mode: 0o640 },
            FdAction::Close { child_fd: 2 },
        ];
        let search = Exec::Search { name: c"tool", path: Some(b"/bin:") };
        let mut request = Request::new(search, rawspawn::argv![c"tool", c"-x"]);
        request.env(rawspawn::argv![c"A=1"]).sh_fallback(true).retry_busy(1).fds(FDS);
        request
            .root(c"/r")
            .cwd(CurrentDir::Fd(7))
            .foreground(0)
            .session(true)
            .signal_mask(SigSet::ALL);
        request.oom_score_adj(-7).uid(1).groups(Groups::Set(&[3, 4])).affinity(&[1, 2]);
        request.rlimits(const { &[Rlimit::new(7, 64, 64)] });
        for setup in each_setup() {
            request.kernel(setup.kernel);
            let mut room = Room::new();
            let plan = request.plan(&mut room).expect("a valid request");
            let owned = request.owned_plan().expect("a valid request");
            assert_eq!(format!("{owned:?}"), plan.to_string());
            let found = (owned.plan().mode(), owned.plan().reason());
            assert_eq!(found, (plan.mode(), plan.reason()));
        }
    });
}

#[test]
fn a_plan_that_owns_all_is_spawned_as_any_other() {
    isolated(|| {
        let _files = [10, 11, 70].map(file_at);
        let actions = [
            FdAction::Map { parent_fd: 10, child_fd: 4 },
            FdAction::Map { parent_fd: 11, child_fd: 11 },
            FdAction::Map { parent_fd: 70, child_fd: 80 },
        ];
        for setup in each_setup() {
            let reporter = Reporter::new(&[]);
            let mut request = Request::new(Exec::Path(reporter.exe), reporter.argv);
            setup.apply(request.fds(&actions));
            let plan = request.owned_plan().expect("a valid request");
            for _ in 0..2 {
                let mut process = plan.spawn().unwrap_or_else(|error| panic!("{setup:?}: {error}"));
                assert_eq!(process.mode(), setup.mode);
                assert!(process.wait().expect("our child").success());
                assert_eq!(reporter.read().fds(), [0, 1, 2, 4, 11, 80], "{setup:?}");
            }
            succeeds(plan.clone().start().expect("a start"));
        }
    });
}

#[test]
fn a_failure_is_told_with_its_step_and_errno() {
    isolated(|| {
        let (exe, argv) = quick(0);
        let before = Remains::look();
        for kernel in each_kernel() {
            let mut no_program = Request::new(Exec::Path(c"/nonexistent/program"), argv);
            let mut no_dir = Request::new(Exec::Path(exe), argv);
            no_dir.cwd(CurrentDir::Path(c"/nonexistent"));
            let mut no_fd = Request::new(Exec::Path(exe), argv);
            let map = [
                FdAction::Map { parent_fd: 0, child_fd: 5 },
                FdAction::Map { parent_fd: 900, child_fd: 6 },
            ];
            no_fd.fds(&map);
            let rows = [
                (&mut no_program, Step::Exec, 0, Errno::ENOENT),
                (&mut no_dir, Step::CurrentDir, 0, Errno::ENOENT),
                (&mut no_fd, Step::Move, 1, Errno::EBADF),
            ];
            for (request, step, index, errno) in rows {
                for exec_fd in [false, true] {
                    let started = request.kernel(kernel).exec_fd(exec_fd).start();
                    let error = started.and_then(Pending::finish).expect_err("it must fail");
                    let found = (error.step(), error.index(), error.errno());
                    assert_eq!(found, (step, index, Some(errno)), "{kernel:?}");
                }
            }
        }
        before.assert_unchanged();
    });
}

/// A child that waits at `gate`.
fn held_at(gate: &Gate) -> Pending {
    let (exe, argv) = quick(0);
    let actions = [gate.at(0)];
    let mut request = Request::new(Exec::Path(exe), argv);
    let pending = request.fds(&actions).start().expect("a start");
    assert!(!pending.is_done());
    pending
}

#[test]
fn the_caller_goes_on_and_sees_when_the_child_is_done() {
    isolated(|| {
        if !detaches() {
            return;
        }
        let gate = Gate::new();
        let pending = held_at(&gate);
        gate.open();
        // As an event loop with futexes would.
        while !pending.is_done() {
            let word = pending.word();
            // SAFETY: It is there as long as `pending`.
            let tid = unsafe { word.read_volatile() };
            if tid != 0 {
                let none = std::ptr::null::<libc::timespec>();
                // SAFETY: As above.
                unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, tid, none) };
            }
        }
        assert!(pending.is_done());
        succeeds(pending);
    });
}

/// Whether `fd` is readable or at its end within `timeout` ms.
fn is_readable(fd: i32, timeout: i32) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: One `pollfd`.
    unsafe { libc::poll(&raw mut poll, 1, timeout) == 1 }
}

#[test]
fn a_descriptor_tells_of_the_exec() {
    isolated(|| {
        if !Kernel::current().expect("a child can be made").has(Feature::CloseRangeCloexec) {
            skip("a descriptor, which holds the caller of a start below Linux 5.11");
            return;
        }
        let before = Remains::look();
        let gate = Gate::new();
        let (_, argv) = quick(0);
        // Whatever number the pipe gets, the request names it.
        let named: Vec<_> = (3..40)
            .filter(|fd| !open_fds().contains(fd))
            .map(|child_fd| FdAction::Map { parent_fd: 0, child_fd })
            .chain([gate.at(1)])
            .collect();
        for (path, executes) in [(c"/bin/true", true), (c"/nonexistent", false)] {
            for others in [rawspawn::OtherFds::Close, rawspawn::OtherFds::Inherit] {
                if !detaches() {
                    return;
                }
                let mut request = Request::new(Exec::Path(path), argv);
                request.fds(&named).other_fds(others).exec_fd(true).retry_busy(1);
                let pending = request.start().expect("a start");
                assert_eq!(pending.mode(), Mode::Detached);
                let fd = pending.fd().expect("asked for");
                assert!(!is_readable(fd, 50), "it waits at the gate");
                gate.open();
                assert!(is_readable(fd, 10_000));
                let finished = pending.finish();
                assert_eq!(finished.is_ok(), executes);
                if let Ok(mut process) = finished {
                    process.wait().expect("our child");
                }
            }
        }
        before.assert_unchanged();
    });
}

type Ask<'a> = &'a dyn Fn(&mut Request<'_>);

#[test]
fn a_start_that_has_to_wait_says_why() {
    unsafe extern "C" fn nothing(_: *mut std::ffi::c_void) -> i32 {
        0
    }
    isolated(|| {
        let kernel = Kernel::current().expect("a child can be made");
        if !kernel.has(Feature::SharedMemory) {
            skip("reasons, of a kernel that shares no memory");
            return;
        }
        let (exe, argv) = quick(0);
        // SAFETY: The hook does nothing.
        let hook = unsafe { Hook::new(nothing, std::ptr::null_mut()) };
        let rows: [(Ask<'_>, Mode, Reason); 5] = [
            (&|request| _ = request.gid(0), with_credentials(false, true), Reason::Credentials),
            (&|request| _ = request.oom_score_adj(0), Mode::Vfork, Reason::OomScoreAdj),
            (&|request| _ = request.modes(Modes::Fork), Mode::Fork, Reason::Asked),
            (&|request| _ = request.modes(Modes::Vfork), Mode::Vfork, Reason::Asked),
            (
                &|request| _ = request.kernel(kernel.without(Feature::SharedMemory)),
                Mode::Fork,
                Reason::Kernel,
            ),
        ];
        let start = |ask: Ask<'_>, mode, reason| {
            let mut request = Request::new(Exec::Path(exe), argv);
            ask(request.exec_fd(true));
            let pending = match request.start() {
                // A container may be refused this.
                Err(error) if error.errno() == Some(Errno::EPERM) => return,
                started => started.expect("a start"),
            };
            assert_eq!(pending.mode(), mode, "{reason:?}");
            assert_eq!(pending.reason(), reason);
            assert!(pending.is_done());
            assert!(is_readable(pending.fd().expect("asked for"), 0), "{reason:?}");
            succeeds(pending);
        };
        for (ask, mode, reason) in rows {
            start(ask, mode, reason);
        }
        let mut request = Request::new(Exec::Path(exe), argv);
        request.hook(hook);
        let pending = request.start().expect("a start");
        assert_eq!((pending.mode(), pending.reason()), (Mode::Fork, Reason::Hook));
        succeeds(pending);
        let error = request.owned_plan().expect_err("its data cannot be copied");
        assert_eq!((error.step(), error.errno()), (Step::Hook, Some(Errno::EOPNOTSUPP)));
    });
}

/// Reaps any child of ours, be it before its exec or after; its wait status.
fn reap_any() -> i32 {
    let mut status = 0;
    // SAFETY: The kernel writes one status.
    assert!(unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) } > 0, "no child");
    status
}

#[test]
fn one_that_is_dropped_has_executed_or_is_reaped() {
    isolated(|| {
        let before = Remains::look();
        let (exe, argv) = quick(0);
        // Which fails at once where it has to wait.
        drop(Request::new(Exec::Path(c"/nonexistent"), argv).start());
        before.assert_unchanged();
        drop(Request::new(Exec::Path(exe), argv).start().expect("a start"));
        assert_eq!(reap_any(), 0);
        before.assert_unchanged();
    });
}

#[test]
fn one_that_is_forgotten_leaves_its_memory_to_the_child() {
    isolated(|| {
        if !detaches() {
            return;
        }
        let gate = Gate::new();
        let pending = held_at(&gate);
        std::mem::forget(pending);
        // Were it freed, this would be in its place.
        let _others: Vec<_> = (0..10_000).map(|size| vec![0xa5u8; size % 600]).collect();
        gate.open();
        assert_eq!(reap_any(), 0, "the program that was asked for");
    });
}

#[test]
fn a_panic_drops_it_like_any_other() {
    isolated(|| {
        if !detaches() {
            return;
        }
        let gate = Gate::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                gate.open();
            });
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let pending = held_at(&gate);
                assert!(pending.is_done(), "a panic, while the child is being set up");
            }));
            assert!(caught.is_err());
        });
        assert_eq!(reap_any(), 0);
        assert!(!has_children());
    });
}

#[test]
fn a_child_outlives_a_parent_that_exits() {
    isolated(|| {
        if !detaches() {
            return;
        }
        let gate = Gate::new();
        // So that what the parent leaves behind is ours.
        // SAFETY: Touches no memory.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }, 0);
        // SAFETY: No other thread matters here.
        let parent = unsafe { libc::fork() };
        if parent == 0 {
            std::mem::forget(held_at(&gate));
            // SAFETY: Ends the process, with the child at the gate.
            unsafe { libc::_exit(9) };
        }
        assert_eq!(libc::WEXITSTATUS(reap_any()), 9);
        gate.open();
        assert_eq!(reap_any(), 0, "the program that was asked for");
    });
}

#[test]
fn a_child_that_is_killed_before_its_exec_is_an_error() {
    isolated(|| {
        if !detaches() {
            return;
        }
        let kernel = Kernel::current().expect("known");
        let gate = Gate::new();
        let before = Remains::look();
        // The second dumps core.
        for signal in [libc::SIGKILL, libc::SIGQUIT] {
            if signal == libc::SIGQUIT && core_kills_all() {
                continue;
            }
            let pending = held_at(&gate);
            // SAFETY: Our child, which nobody has reaped.
            assert_eq!(unsafe { libc::kill(pending.pid(), signal) }, 0);
            // Without that the child blocks it, and dies when its mask is set.
            if signal != libc::SIGKILL && !kernel.has(Feature::ClearSighand) {
                gate.open();
            }
            let error = pending.finish().expect_err("it executed nothing");
            assert_eq!(error.step(), Step::Child);
            assert_eq!(error.cause(), Cause::Killed(u8::try_from(signal).expect("a signal")));
        }
        before.assert_unchanged();
    });
}

#[test]
fn a_fork_of_the_parent_does_not_wait_for_a_child_that_it_has_not() {
    isolated(|| {
        if !detaches() {
            return;
        }
        let gate = Gate::new();
        let mut pending = Some(held_at(&gate));
        crate::common::forked(|| drop(pending.take()));
        gate.open();
        succeeds(pending.expect("ours, as the other was a copy"));
    });
}

#[test]
fn threads_start_one_plan_while_others_open_descriptors() {
    isolated(|| {
        let (exe, argv) = quick(3);
        let setup = Setup { mode: Mode::Vfork, kernel: Kernel::current().expect("a child") };
        let mut request = Request::new(Exec::Path(exe), argv);
        let plan = request.kernel(setup.kernel).owned_plan().expect("a valid request");
        let count = test_children(4000) / 4;
        let running = AtomicU32::new(4);
        std::thread::scope(|scope| {
            scope.spawn(|| open_and_close(&running));
            for _ in 0..4 {
                let (plan, running) = (&plan, Running(&running));
                scope.spawn(move || {
                    let _running = running;
                    for _ in 0..count / 5 {
                        let pending = [(); 5].map(|()| plan.start().expect("a start"));
                        for pending in pending {
                            let mut process = pending.finish().expect("a program");
                            assert_eq!(process.wait().expect("our child").code(), Some(3));
                        }
                    }
                });
            }
        });
        assert!(!has_children());
    });
}

const _: () = {
    const fn can_be_sent<T: Send + Sync + 'static>() {}
    can_be_sent::<Pending>();
    can_be_sent::<OwnedPlan>();
};
