//! What `posix_spawn(3)` sets up, asked of a request.

use std::ffi::CString;
use std::fs;
use std::os::fd::AsRawFd;

use rawspawn::{
    Errno, Exec, Feature, FileAction, Kernel, Mode, OtherFds, PosixSpawn, Reason, Request,
    Scheduler, Step, argv,
};

use crate::common::child::{End, ending};
use crate::common::rights::{SECCOMP, may_change_credentials, needs};
use crate::common::seccomp::{Refuse, refusing};
use crate::common::{
    Report, Reporter, Room, Setup, TempDir, each_setup, failure, file_at, forked, isolated, report,
    run, without_stub,
};
use crate::session::terminal;

/// What a child reports that takes `actions`, and inherits what there is.
fn with_actions(setup: Setup, actions: &'static [FileAction<'static>]) -> Report {
    let posix = PosixSpawn::new().actions(actions);
    let posix: &'static PosixSpawn<'static> = Box::leak(Box::new(posix));
    report(setup, |r| _ = r.other_fds(OtherFds::Inherit).posix(posix))
}

/// The setups in which all descriptors from one on can be closed: the pipe of an emulator must be
/// marked.
fn that_close_all() -> Vec<Setup> {
    let can = |setup: &Setup| {
        let asks = setup.kernel.has(Feature::NoExitSignal);
        asks || setup.kernel.has(Feature::CloseRangeCloexec)
    };
    without_stub().into_iter().filter(can).collect()
}

#[test]
fn file_actions_happen_one_after_the_other() {
    const ACTIONS: &[FileAction<'_>] = &[
        FileAction::Open { fd: 20, path: c"/dev/null", flags: libc::O_RDWR, mode: 0 },
        FileAction::Dup2 { fd: 20, new_fd: 21 },
        FileAction::Close { fd: 20 },
        // The lowest number that is free is the very one that is asked for, or is not.
        FileAction::Open { fd: 20, path: c"/", flags: libc::O_DIRECTORY, mode: 0 },
        FileAction::Fchdir { fd: 20 },
        FileAction::Chdir { path: c"dev" },
        FileAction::Open { fd: 22, path: c"zero", flags: libc::O_CLOEXEC, mode: 0 },
        FileAction::Dup2 { fd: 22, new_fd: 22 },
        FileAction::Open { fd: 30, path: c"/dev/null", flags: 0, mode: 0 },
        FileAction::CloseFrom { fd: 23 },
        FileAction::Close { fd: 23 },
    ];
    isolated(|| {
        let place = |path| {
            let path = fs::metadata(path).expect("it is there");
            (std::os::unix::fs::MetadataExt::dev(&path), std::os::unix::fs::MetadataExt::ino(&path))
        };
        for setup in that_close_all() {
            let seen = with_actions(setup, ACTIONS);
            assert_eq!(seen.get("cwd"), "/dev", "{setup:?}");
            for (fd, path) in [(20, "/"), (21, "/dev/null"), (22, "/dev/zero")] {
                let state = seen.fd(fd);
                assert_eq!((state.device, state.inode), place(path), "{setup:?}, {fd}");
            }
            assert_eq!(seen.fds().last(), Some(&22), "{setup:?}");
        }
    });
}

#[test]
fn a_number_that_the_kernel_chooses_is_left_alone() {
    const ACTIONS: &[FileAction<'_>] = &[
        FileAction::CloseFrom { fd: 3 },
        FileAction::Open { fd: 3, path: c"/dev/null", flags: 0, mode: 0 },
        FileAction::Open { fd: 5, path: c"/dev/null", flags: 0, mode: 0 },
        // Not taken by a copy that was left.
        FileAction::Open { fd: 4, path: c"/dev/zero", flags: 0, mode: 0 },
    ];
    isolated(|| {
        for setup in that_close_all() {
            // The report's own file is opened by the child later.
            let seen = with_actions(setup, ACTIONS);
            assert_eq!(seen.fds(), [0, 1, 2, 3, 4, 5], "{setup:?}");
        }
    });
}

#[test]
fn what_tells_of_the_exec_outlives_that_all_are_closed() {
    static ALL: [FileAction<'_>; 1] = [FileAction::CloseFrom { fd: 3 }];
    isolated(|| {
        let posix = PosixSpawn::new().actions(&ALL);
        for setup in without_stub() {
            let mut request = Request::new(Exec::Path(c"/missing"), argv![c"missing"]);
            request.other_fds(OtherFds::Inherit).posix(&posix);
            let expected = if that_close_all().iter().any(|s| s.kernel == setup.kernel) {
                (Step::Exec, Some(Errno::ENOENT))
            } else {
                (Step::FileAction, Some(Errno::EOPNOTSUPP))
            };
            for _ in 0..20 {
                let error = failure(setup, &mut request);
                assert_eq!((error.step(), error.errno()), expected, "{setup:?}");
            }
        }
    });
}

#[test]
fn all_are_closed_though_a_filter_has_come_and_nothing_is_done_twice() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        let place = TempDir::new();
        let path = place.join("new");
        let exclusive = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR;
        // A second child would find the file that the first has made.
        let actions = [
            FileAction::Open { fd: 20, path: &path, flags: exclusive, mode: 0o600 },
            FileAction::CloseFrom { fd: 21 },
        ];
        let posix = PosixSpawn::new().actions(&actions);
        let _open = file_at(40);
        for errno in [libc::ENOSYS, libc::EPERM, libc::EINVAL] {
            for starts in [false, cfg!(feature = "alloc")] {
                Kernel::probe().expect("a child can be made");
                let reporter = Reporter::new(&[]);
                let mut request = Request::new(Exec::Path(reporter.exe), reporter.argv);
                request.other_fds(OtherFds::Inherit).posix(&posix);
                let spawned = refusing(&[Refuse::new(libc::SYS_close_range, errno)], || {
                    #[cfg(feature = "alloc")]
                    if starts {
                        return request.start()?.finish();
                    }
                    request.spawn(&mut Room::new())
                });
                let mut process =
                    spawned.unwrap_or_else(|error| panic!("{errno}, {starts}: {error}"));
                assert!(process.wait().expect("our child").success());
                assert_eq!(reporter.read().fds().last(), Some(&20), "{errno}");
                fs::remove_file(place.path().join("new")).expect("it was made");
            }
        }
    });
}

#[test]
fn an_action_that_fails_is_the_error_with_its_position() {
    static LATE: [FileAction<'_>; 3] = [
        FileAction::Close { fd: 50 },
        FileAction::Chdir { path: c"/" },
        FileAction::Dup2 { fd: 51, new_fd: 3 },
    ];
    static IMPOSSIBLE: [FileAction<'_>; 1] = [FileAction::Close { fd: 1 << 30 }];
    static MISSING: [FileAction<'_>; 2] = [
        FileAction::Chdir { path: c"/" },
        FileAction::Open { fd: 9, path: c"missing", flags: 0, mode: 0 },
    ];
    static NO_TERMINAL: [FileAction<'_>; 2] = [
        FileAction::Open { fd: 9, path: c"/dev/null", flags: 0, mode: 0 },
        FileAction::SetForeground { fd: 9 },
    ];
    isolated(|| {
        for setup in without_stub() {
            for (actions, index, errno) in [
                (&LATE[..], 2, Errno::EBADF),
                (&IMPOSSIBLE, 0, Errno::EBADF),
                (&MISSING, 1, Errno::ENOENT),
                (&NO_TERMINAL, 1, Errno::ENOTTY),
            ] {
                let posix = PosixSpawn::new().actions(actions);
                let mut request = ending(End::Exit(0));
                request.other_fds(OtherFds::Inherit).posix(&posix);
                let error = failure(setup, &mut request);
                let seen = (error.step(), error.index(), error.errno());
                assert_eq!(seen, (Step::FileAction, index, Some(errno)), "{setup:?}");
            }
        }
    });
}

#[test]
fn the_rest_comes_in_the_order_of_the_c_library() {
    isolated(|| {
        let all = PosixSpawn::new()
            .scheduler(Scheduler::new(libc::SCHED_BATCH, 0))
            .session(true)
            .reset_ids(true);
        let priority = PosixSpawn::new().priority(1);
        for setup in without_stub() {
            let seen = report(setup, |r| _ = r.posix(&all));
            assert_eq!(seen.number("scheduler"), libc::SCHED_BATCH.into(), "{setup:?}");
            assert_eq!(seen.number("sid"), seen.number("pid"), "{setup:?}");
            // Of a policy that has no such priority.
            let error = failure(setup, ending(End::Exit(0)).posix(&priority));
            assert_eq!((error.step(), error.errno()), (Step::Scheduler, Some(Errno::EINVAL)));
            // A leader of a session has its group.
            let both = PosixSpawn::new().session(true).process_group(0);
            let error = failure(setup, ending(End::Exit(0)).posix(&both));
            assert_eq!((error.step(), error.errno()), (Step::ProcessGroup, Some(Errno::EPERM)));
        }
    });
}

#[test]
fn the_foreground_of_a_terminal_is_taken_by_whichever_group() {
    isolated(|| {
        let Some((_master, slave)) = terminal() else { return };
        let path = CString::new(format!("/proc/self/fd/{}", slave.as_raw_fd())).expect("no NUL");
        // Who leads a session and opens a terminal has it.
        let actions = [
            FileAction::Open { fd: 0, path: &path, flags: libc::O_RDWR, mode: 0 },
            FileAction::SetForeground { fd: 0 },
        ];
        let posix = PosixSpawn::new().session(true).actions(&actions);
        for setup in without_stub() {
            let before = fs::read_to_string("/proc/thread-self/status").expect("/proc");
            let blocked = before.lines().find_map(|line| line.strip_prefix("SigBlk:\t"));
            let seen = report(setup, |r| _ = r.other_fds(OtherFds::Inherit).posix(&posix));
            assert_eq!(seen.number("foreground"), seen.number("pid"), "{setup:?}");
            // What was blocked for it is not any more.
            assert_eq!(seen.get("SigBlk"), blocked.expect("a mask"), "{setup:?}");
        }
    });
}

#[test]
fn ids_that_are_reset_are_no_business_of_shared_memory() {
    const OTHER: libc::uid_t = 54_323;
    isolated(|| {
        let reset = PosixSpawn::new().reset_ids(true);
        let mut request = ending(End::Exit(0));
        request.posix(&reset);
        let mode = |request: &Request<'_>| {
            let mut process = request.spawn(&mut Room::new()).expect("a child");
            assert!(process.wait().expect("our child").success());
            (process.mode(), process.reason())
        };
        if Kernel::current().expect("known").has(Feature::SharedMemory) {
            assert_eq!(mode(&request), (Mode::Vfork, Reason::Default));
        }
        if !may_change_credentials() {
            return;
        }
        forked(|| {
            // SAFETY: Touches no memory. Root only in name.
            assert_eq!(unsafe { libc::setresuid(OTHER, 0, 0) }, 0);
            assert_eq!(mode(&request), (Mode::Fork, Reason::Credentials));
            let fork = each_setup().into_iter().find(|setup| setup.mode == Mode::Fork);
            let seen = report(fork.expect("always"), |r| _ = r.posix(&reset));
            // exec makes the saved one the effective one.
            assert_eq!(seen.get("Uid"), "54323 54323 54323 54323");
        });
    });
}

#[test]
fn a_program_is_looked_up_as_execvp_does() {
    isolated(|| {
        let dir = TempDir::new();
        let path = |name: &str| dir.path().join(name);
        for name in ["denied", "loop", "good"] {
            fs::create_dir(path(name)).expect("ours");
        }
        fs::write(path("denied/program"), "").expect("ours");
        std::os::unix::fs::symlink("program", path("loop/program")).expect("ours");
        std::os::unix::fs::symlink("/bin/true", path("good/program")).expect("ours");
        let posix = PosixSpawn::new();
        let search = |names: &[&str]| {
            names.iter().map(|name| path(name).display().to_string()).collect::<Vec<_>>().join(":")
        };
        for setup in without_stub() {
            for (names, expected) in [
                (&["missing", "denied", "good"][..], None),
                (&["missing", "denied", "missing"], Some(Errno::EACCES)),
                // There is a program, and something is wrong with it.
                (&["denied", "loop", "good"], Some(Errno::ELOOP)),
                (&["missing", "denied/program"], Some(Errno::ENOTDIR)),
            ] {
                let places = search(names);
                let exec = Exec::Search { name: c"program", path: Some(places.as_bytes()) };
                let mut request = Request::new(exec, argv![c"true"]);
                request.posix(&posix);
                match expected {
                    None => assert_eq!(run(setup, &mut request), 0, "{setup:?}, {names:?}"),
                    Some(errno) => {
                        let error = failure(setup, &mut request);
                        let seen = (error.step(), error.errno());
                        assert_eq!(seen, (Step::Exec, Some(errno)), "{setup:?}, {names:?}");
                    }
                }
            }
        }
    });
}

#[test]
fn a_search_passes_over_what_no_path_can_be() {
    isolated(|| {
        let long = "x".repeat(4096);
        let posix = PosixSpawn::new();
        for setup in without_stub() {
            let found = format!("{long}:/bin");
            let exec = Exec::Search { name: c"true", path: Some(found.as_bytes()) };
            let status = run(setup, Request::new(exec, argv![c"true"]).posix(&posix));
            assert_eq!(status, 0, "{setup:?}");
            // Nothing is left to be executed.
            let none = format!("{long}:{long}");
            let exec = Exec::Search { name: c"true", path: Some(none.as_bytes()) };
            let error = failure(setup, Request::new(exec, argv![c"true"]).posix(&posix));
            let seen = (error.step(), error.errno());
            assert_eq!(seen, (Step::Exec, Some(Errno::ENOENT)), "{setup:?}");
        }
    });
}
