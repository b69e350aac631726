//! What a plan prints, and how much room it takes.

use rawspawn::{
    Buffer, CStrArray, CStrPtr, CurrentDir, Errno, Error, Exec, FdAction, Feature, Groups, Kernel,
    Plan, Process, Request, Rlimit, Scheduler, SigSet, Step, argv,
};

use crate::common::rights::may_change_credentials;
use crate::common::{Room, each_setup, isolated, quick, without_stub};

#[test]
fn a_plan_reads_like_what_strace_would_see() {
    isolated(|| {
        const FDS: &[FdAction<'_>] = &[
            FdAction::Map { parent_fd: 3, child_fd: 4 },
            FdAction::Map { parent_fd: 4, child_fd: 3 },
            FdAction::Map { parent_fd: 9, child_fd: 9 },
            FdAction::Open { child_fd: 5, path: c"/a \"b\"\n\x01", flags: 0o2101, mode: 0o640 },
            FdAction::Close { child_fd: 2 },
        ];
        const LIMITS: &[Rlimit] = &[Rlimit::new(7, 64, 64)];
        let search = Exec::Search { name: c"tool", path: Some(b"/bin:") };
        let mut request = Request::new(search, argv![c"tool", c"-x"]);
        request.env(argv![c"SECRET=1"]).kernel(Kernel::NEWEST).sh_fallback(true).retry_busy(1);
        request.fds(FDS).rlimits(LIMITS).root(c"/r").cwd(CurrentDir::Fd(7)).umask(0o22);
        request.session(true).controlling_terminal(0).foreground(0).no_new_privs(true);
        request.parent_death_signal(15).restore_signals().signal_mask(SigSet::EMPTY);
        request.scheduler(Scheduler::new(3, 0)).nice(-5).affinity(&[1]).ioprio(4).oom_score_adj(-7);
        request.uid(1).gid(2).groups(Groups::Set(&[3, 4]));
        let mut room = Room::new();
        let plan = request.plan(&mut room).expect("a valid request").to_string();
        let pid = std::process::id();
        let expected = PLAN.replace("PID", &pid.to_string());
        assert!(plan == expected, "{plan}");
    });
}

/// `uid` and the like make it a fork.
const PLAN: &str = include_str!("plans.txt");

#[test]
fn a_plan_says_where_its_stub_begins() {
    isolated(|| {
        if !may_change_credentials() {
            return;
        }
        let mut request = Request::new(Exec::Fd(7), argv![c"program"]);
        request.env(argv![]).kernel(Kernel::NEWEST).uid(1).groups(Groups::Keep);
        let mut room = Room::new();
        let plan = request.plan(&mut room).expect("a valid request").to_string();
        let expected = "\
         \x200  close others   close_range(64, 4294967295, CLOSE_RANGE_UNSHARE)\n\
         \x201  exec           fcntl(7, F_SETFD, 0)\n\
         \x20-  stub           execveat(stub, \"\", …)\n\
         \x202  exec           fcntl(7, F_SETFD, 1)\n\
         \x203  uid            setresuid(1, 1, 1)\n\
         \x204  close others   close_range(3, 4294967295, CLOSE_RANGE_CLOEXEC)\n\
         \x205  exec           execveat(7, \"\", [\"program\"], envp, AT_EMPTY_PATH)  last\n\
         \x20-  fail           exit_group(127)  or any error\n\
         mode stub: CLONE_VM|CLONE_VFORK|CLONE_FILES|CLONE_CLEAR_SIGHAND";
        assert!(plan == expected, "{plan}");
    });
}

#[test]
fn what_is_needed_is_enough_and_less_is_refused() {
    isolated(|| {
        let (exe, argv) = quick(5);
        let many: Vec<_> =
            (0..300).map(|n| FdAction::Map { parent_fd: n % 3, child_fd: 10 + n }).collect();
        for setup in without_stub() {
            for fds in [&many[..0], &many[..1], &many] {
                let mut request = Request::new(Exec::Path(exe), argv);
                setup.apply(request.fds(fds).sh_fallback(true));
                let needed = request.needed().expect("a valid request");
                spawn_with_exactly(&request, needed);
                let error = request.spawn(&mut Buffer::<1, 0>::new()).expect_err("too small");
                assert_eq!((error.step(), error.errno()), (Step::Plan, Some(Errno::ENOBUFS)));
            }
        }
    });
}

#[cfg(feature = "alloc")]
fn spawn_with_exactly(request: &Request<'_>, needed: rawspawn::Needed) {
    let mut buffer = rawspawn::HeapBuffer::new(needed);
    let printed = request.plan(&mut buffer).expect("room").to_string();
    assert!(printed.contains("execve("));
    // The same room again, for the real thing.
    let mut process = request.spawn(&mut buffer).expect("room");
    // More descriptors than 0, 1 and 2, or just those.
    assert!(matches!(process.wait().expect("our child").code(), Some(5 | 255)));
    let fewer = rawspawn::Needed { words: needed.words - 1, ..needed };
    let error = request.spawn(&mut rawspawn::HeapBuffer::new(fewer)).expect_err("too small");
    assert_eq!((error.step(), error.errno()), (Step::Plan, Some(Errno::ENOBUFS)));
}

#[cfg(not(feature = "alloc"))]
fn spawn_with_exactly(_: &Request<'_>, needed: rawspawn::Needed) {
    assert!(needed.ops >= 2);
}

#[test]
fn arguments_print_escaped_and_the_environment_not_at_all() {
    isolated(|| {
        let elements = [CStrPtr::new(c"\\ \"\t9\xff"), CStrPtr::NULL];
        let argv = CStrArray::new(&elements).expect("a NULL");
        let mut request = Request::new(Exec::Path(c"/x"), argv);
        request.env(argv![c"TOKEN=secret"]).kernel(Kernel::NEWEST.without(Feature::Clone3));
        let mut room = Room::new();
        let plan = format!("{:?}", request.plan(&mut room).expect("a valid request"));
        assert!(plan.contains(r#"execve("/x", ["\\ \"\0119\377"], envp)  last"#), "{plan}");
        assert!(!plan.contains("secret"));
        assert!(
            plan.ends_with("mode vfork: CLONE_VM|CLONE_VFORK|CLONE_FILES, all signals blocked"),
            "{plan}"
        );
    });
}

#[test]
fn a_plan_is_spawned_by_many_threads_at_once() {
    isolated(|| {
        let (exe, argv) = quick(6);
        for setup in each_setup() {
            let mut request = Request::new(Exec::Path(exe), argv);
            setup.apply(request.env(argv![c"A=B"]));
            let mut room = Room::new();
            let plan = request.plan(&mut room).expect("room");
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..5 {
                            let mut process = plan.spawn().expect("a child");
                            assert_eq!(process.mode(), setup.mode);
                            assert_eq!(process.wait().expect("our child").code(), Some(6));
                        }
                    });
                }
            });
            // What fails is the same every time, too.
            let mut request = Request::new(Exec::Path(c"/nonexistent"), argv);
            setup.apply(request.env(argv![]));
            let plan = request.plan(&mut room).expect("room");
            for _ in 0..2 {
                let error = plan.spawn().expect_err("no such program");
                assert_eq!((error.step(), error.errno()), (Step::Exec, Some(Errno::ENOENT)));
            }
        }
    });
}

#[test]
fn a_request_in_a_static_is_spawned() {
    isolated(|| {
        static REQUEST: Request<'static> = {
            let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
            request.env(argv![]).umask(0o77);
            request
        };
        let plan = REQUEST.plan(Box::leak(Box::new(Room::new()))).expect("room");
        let spawn = move || plan.spawn().expect("a child").wait();
        let status = std::thread::spawn(spawn).join().expect("no panic").expect("our child");
        assert!(status.success());
    });
}

#[test]
fn a_plan_that_inherits_the_environment_is_to_be_read_only() {
    isolated(|| {
        let request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
        let mut room = Room::new();
        let error = request.plan(&mut room).expect("room").spawn().expect_err("no environment");
        assert_eq!((error.step(), error.errno()), (Step::Environment, Some(Errno::EINVAL)));
    });
}

#[test]
fn what_threads_share_can_be_shared() {
    isolated(|| {
        fn is_send_and_sync<T: Send + Sync>() {}
        fn is_copy<T: Copy>() {}

        is_send_and_sync::<Request<'static>>();
        is_send_and_sync::<Plan<'static>>();
        is_send_and_sync::<Process>();
        is_send_and_sync::<Error>();
        is_send_and_sync::<Kernel>();
        is_copy::<Request<'static>>();
        is_copy::<Error>();
        assert_eq!(size_of::<Error>(), 8);
    });
}
