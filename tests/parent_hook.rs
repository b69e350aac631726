//! What the parent does while the child waits.

use std::ffi::CStr;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rawspawn::{
    Cause, Errno, Exec, Feature, Kernel, Mode, Modes, Namespaces, NsSet, ParentHook, Reason,
    Request, Step, argv,
};

use crate::common::child::{End, ending};
use crate::common::fork::Sleeper;
use crate::common::rights::{
    MOUNT, SECCOMP, has_ids, may_change_credentials, may_make, may_make_for, needs,
};
use crate::common::seccomp::Refuse;
use crate::common::{
    Remains, Reporter, Room, TempDir, each_setup, failure, forked, isolated, refused, report, skip,
};
use crate::namespaces::{NOBODY, become_nobody, users_may_make};

#[test]
fn a_parents_hook_runs_while_the_child_waits() {
    isolated(|| {
        for setup in each_setup() {
            let seen = AtomicI32::new(0);
            let hook = |pid: i32| {
                let status = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
                assert!(status.contains(") S ") || status.contains(") R "), "{status}");
                // Nothing has happened yet, and nothing will.
                std::thread::sleep(Duration::from_millis(20));
                let comm = fs::read_to_string(format!("/proc/{pid}/comm")).expect("a process");
                let own = fs::read_to_string("/proc/thread-self/comm").expect("/proc");
                assert_eq!(comm, own);
                seen.store(pid, Ordering::Relaxed);
                Ok(())
            };
            let mask = fs::read_to_string("/proc/thread-self/status").expect("/proc");
            let reporter = Reporter::new(&[]);
            let mut request = Request::new(Exec::Path(reporter.exe), reporter.argv);
            setup.apply(request.parent_hook(ParentHook::new(&hook)));
            let mut process = request.spawn(&mut Room::new()).expect("a child");
            let expected = if setup.mode == Mode::Vfork { Mode::Detached } else { setup.mode };
            assert_eq!(process.mode(), expected);
            assert_eq!(process.pid(), seen.load(Ordering::Relaxed), "{setup:?}");
            assert!(process.wait().expect("our child").success(), "{setup:?}");
            let child = reporter.read();
            let blocked = mask.lines().find_map(|line| line.strip_prefix("SigBlk:\t"));
            assert_eq!(child.get("SigBlk"), blocked.expect("a mask"), "{setup:?}");
            assert_eq!(child.number("pdeathsig"), 0, "{setup:?}");
        }
    });
}

#[test]
fn newuidmap_gives_ids_to_somebody_without_privileges() {
    isolated(|| {
        let may = users_may_make() && may_make_for(NsSet::MOUNT, &[MOUNT]);
        if !may || !has_ids(100_000, 999) {
            return;
        }
        let needed = ["/usr/bin/newuidmap", "/etc/subuid", "/etc/subgid"];
        if !needed.iter().all(|path| Path::new(path).exists()) {
            skip("newuidmap, which is not installed");
            return;
        }
        let dir = TempDir::new();
        forked(|| {
            allow_ids(&dir.join("ids"));
            become_nobody();
            let hook = |pid: i32| {
                for helper in ["/usr/bin/newuidmap", "/usr/bin/newgidmap"] {
                    let mut command = std::process::Command::new(helper);
                    let own = NOBODY.to_string();
                    let map = ["0", &own, "1", "1", "100000", "999"];
                    let status = command.arg(pid.to_string()).args(map).status();
                    assert!(status.expect("a helper").success(), "{helper}");
                }
                Ok(())
            };
            let namespaces = Namespaces::new(NsSet::USER);
            for setup in each_setup().into_iter().filter(|setup| setup.mode == Mode::Fork) {
                let seen = report(setup, |r| {
                    r.namespaces(&namespaces).parent_hook(ParentHook::new(&hook)).uid(7).gid(8);
                });
                assert_eq!(seen.get("uid_map"), "0 65534 1|1 100000 999", "{setup:?}");
                assert_eq!(seen.get("gid_map"), "0 65534 1|1 100000 999", "{setup:?}");
                assert_eq!((seen.get("Uid"), seen.get("Gid")), ("7 7 7 7", "8 8 8 8"));
            }
        });
    });
}

/// Lets `NOBODY` have ids from 100,000 on, by `file`, in a mount namespace of this process's
/// own.
fn allow_ids(file: &CStr) {
    let path = file.to_str().expect("a plain path");
    fs::write(path, format!("{NOBODY}:100000:999\n")).expect("ours");
    let none = std::ptr::null();
    // SAFETY: Touches no memory.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: A C string, and nothing else is read.
    assert_eq!(unsafe { libc::mount(none, c"/".as_ptr(), none, private, none.cast()) }, 0);
    for target in [c"/etc/subuid", c"/etc/subgid"] {
        let (from, to) = (file.as_ptr(), target.as_ptr());
        // SAFETY: C strings, and nothing else is read.
        let bound = unsafe { libc::mount(from, to, none, libc::MS_BIND, none.cast()) };
        assert_eq!(bound, 0, "{target:?}: {}", std::io::Error::last_os_error());
    }
}

#[test]
fn a_hook_that_fails_or_panics_leaves_no_child() {
    isolated(|| {
        let hidden = std::panic::take_hook();
        for setup in each_setup() {
            let fail = |_| Err(Errno::ENOTTY);
            let mut request = ending(End::Exit(0));
            let error = failure(setup, request.parent_hook(ParentHook::new(&fail)));
            assert_eq!((error.step(), error.errno()), (Step::ParentHook, Some(Errno::ENOTTY)));
            std::panic::set_hook(Box::new(|_| ()));
            let panics = |_| panic!("as asked");
            let mut request = ending(End::Exit(0));
            setup.apply(request.parent_hook(ParentHook::new(&panics)));
            let before = Remains::look();
            let spawn = || request.spawn(&mut Room::new());
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(spawn));
            assert!(result.is_err(), "{setup:?}");
            before.assert_unchanged();
            let _ = std::panic::take_hook();
        }
        std::panic::set_hook(hidden);
    });
}

#[test]
fn a_child_whose_waiting_parent_dies_does_not_wait_for_ever() {
    isolated(|| {
        let init = Namespaces::new(NsSet::PID);
        let inits = if may_make(NsSet::PID) { &[false, true][..] } else { &[false] };
        for (setup, is_init) in
            each_setup().into_iter().flat_map(|setup| inits.iter().map(move |init| (setup, init)))
        {
            let (reader, writer) = rawspawn::pipe().expect("a pipe");
            // SAFETY: The child makes system calls and spawns.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                let hook = |pid| {
                    // An init cannot see that its parent was dead before.
                    let path = format!("/proc/{pid}/stat");
                    let waits =
                        || fs::read_to_string(&path).is_ok_and(|stat| stat.contains(") S "));
                    while *is_init && !waits() {
                        std::thread::yield_now();
                    }
                    // SAFETY: Ends this process, the waiting child's parent.
                    unsafe { libc::_exit(7) }
                };
                let mut request = ending(End::Exit(0));
                setup.apply(request.parent_hook(ParentHook::new(&hook)));
                if *is_init {
                    request.namespaces(&init);
                }
                let _ = request.spawn(&mut Room::new());
                // SAFETY: Ends the process.
                unsafe { libc::_exit(8) };
            }
            drop(writer);
            let mut status = 0;
            // SAFETY: The kernel writes one status.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            assert_eq!(libc::WEXITSTATUS(status), 7, "{setup:?}");
            // Its end of the pipe goes with it.
            let mut byte = 0u8;
            // SAFETY: Room for one byte.
            let read = unsafe { libc::read(reader.raw(), (&raw mut byte).cast(), 1) };
            assert_eq!(read, 0, "{setup:?}");
        }
    });
}

#[test]
fn a_childs_oom_score_is_not_that_of_a_parent_who_goes_on() {
    isolated(|| {
        let score = || fs::read_to_string("/proc/self/oom_score_adj").expect("/proc");
        let before = score();
        let nothing = |_| Ok(());
        let mut request = ending(End::Exit(0));
        request.parent_hook(ParentHook::new(&nothing)).oom_score_adj(500);
        let shares = Kernel::current().expect("known").has(Feature::SharedMemory);
        let against = if shares { Reason::OomScoreAdj } else { Reason::Kernel };
        let other_user = may_change_credentials().then_some((Some(NOBODY), Reason::Credentials));
        for (uid, reason) in [(None, against)].into_iter().chain(other_user) {
            if let Some(uid) = uid {
                request.uid(uid);
            }
            request.modes(Modes::Any);
            let mut process = request.spawn(&mut Room::new()).expect("a child");
            assert_eq!((process.mode(), process.reason()), (Mode::Fork, reason));
            process.wait().expect("our child");
            assert_eq!(score(), before);
            for modes in [Modes::Vfork, Modes::Stub] {
                let error = request.modes(modes).spawn(&mut Room::new()).expect_err("not that");
                assert_eq!((error.step(), error.errno()), (Step::Mode, Some(Errno::EOPNOTSUPP)));
            }
        }
    });
}

#[test]
fn what_the_hook_forks_does_not_hold_the_parent() {
    isolated(|| {
        for setup in each_setup().into_iter().filter(|setup| setup.kernel.has(Feature::Suspends)) {
            let sleepers = Mutex::new(Vec::new());
            // Longer than a spawn takes; it has a copy of every descriptor.
            let fork = |_| {
                let sleeper = Sleeper::new(|| {
                    std::thread::sleep(Duration::from_secs(5));
                    std::process::abort();
                });
                sleepers.lock().expect("no panic").push(sleeper);
                Ok(())
            };
            let mut request = ending(End::Exit(0));
            setup.apply(request.parent_hook(ParentHook::new(&fork)));
            let mut process = request.spawn(&mut Room::new()).expect("a child");
            assert!(process.wait().expect("our child").success(), "{setup:?}");
            for sleeper in sleepers.into_inner().expect("no panic") {
                assert!(sleeper.sleeps(), "{setup:?}: the spawn has waited for it");
            }
        }
    });
}

#[test]
fn a_fork_that_waits_is_not_taken_for_a_success_before_it_is_one() {
    isolated(|| {
        // What an emulator lacks, and what tells of the exec then must be closed by it alone.
        let kernel = Kernel::current().expect("known").without(Feature::NoExitSignal);
        let nothing = |_| Ok(());
        for kernel in [kernel, kernel.without(Feature::CloseRangeCloexec)] {
            for retries in [0, 1] {
                for _ in 0..20 {
                    let mut request = Request::new(Exec::Path(c"/missing"), argv![c"missing"]);
                    request.parent_hook(ParentHook::new(&nothing)).retry_busy(retries);
                    request.kernel(kernel).modes(Modes::Fork);
                    let error = request.spawn(&mut Room::new()).expect_err("no such program");
                    assert_eq!((error.step(), error.errno()), (Step::Exec, Some(Errno::ENOENT)));
                }
            }
        }
    });
}

#[test]
fn a_child_that_waits_is_released_by_nobody_else() {
    isolated(|| {
        for setup in each_setup().into_iter().filter(|setup| setup.has_no_exit_signal()) {
            // As any process of the same user may.
            let hook = |pid: i32| {
                // SAFETY: Touches no memory.
                assert_eq!(unsafe { libc::kill(pid, 64) }, 0);
                std::thread::sleep(Duration::from_millis(20));
                let own = fs::read_link("/proc/self/exe").ok();
                let exe = fs::read_link(format!("/proc/{pid}/exe")).ok();
                assert!(exe.is_none() || exe == own, "{exe:?}: it has executed something");
                Ok(())
            };
            let error = failure(setup, ending(End::Exit(0)).parent_hook(ParentHook::new(&hook)));
            assert_eq!((error.step(), error.cause()), (Step::Child, Cause::Killed(64)));
        }
    });
}

#[test]
fn a_hook_that_fails_as_the_child_did_does_not_hide_why() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        // The child asks for its parent before it waits.
        let refuse = [Refuse::new(libc::SYS_getppid, libc::EIO)];
        let hook = |pid: i32| {
            let path = format!("/proc/{pid}/stat");
            while fs::read_to_string(&path).is_ok_and(|stat| !stat.contains(") Z ")) {
                std::thread::yield_now();
            }
            Err(Errno::ESRCH)
        };
        for setup in each_setup() {
            let mut request = ending(End::Exit(0));
            let error = refused(setup, &refuse, request.parent_hook(ParentHook::new(&hook)));
            assert_eq!((error.step(), error.errno()), (Step::Wait, Some(Errno::EIO)), "{setup:?}");
        }
    });
}

#[test]
fn a_request_that_is_started_waits_only_where_the_parent_has_something_to_do() {
    #[cfg(feature = "alloc")]
    isolated(|| {
        if !may_make_for(NsSet::PID.with(NsSet::UTS), &[crate::common::rights::SETHOSTNAME])
            || !Kernel::current().expect("known").has(Feature::CloseRange)
        {
            return;
        }
        let namespaces = Namespaces::new(NsSet::PID.with(NsSet::UTS)).hostname(c"started");
        let mut request = ending(End::Exit(3));
        let pending = request.namespaces(&namespaces).start().expect("a child");
        assert_eq!((pending.mode(), pending.reason()), (Mode::Detached, Reason::Default));
        let mut process = pending.finish().expect("a child");
        assert_eq!(process.wait().expect("our child").code(), Some(3));
        let nothing = |_| Ok(());
        let mut request = ending(End::Exit(3));
        request.parent_hook(ParentHook::new(&nothing));
        let pending = request.start().expect("a child");
        assert_eq!(pending.reason(), Reason::Parent);
        let mut process = pending.finish().expect("a child");
        assert_eq!(process.wait().expect("our child").code(), Some(3));
        let error = request.owned_plan().expect_err("the hook is the caller's");
        assert_eq!((error.step(), error.errno()), (Step::Wait, Some(Errno::EOPNOTSUPP)));
    });
}
