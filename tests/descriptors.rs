//! Which descriptors a child has, seen from the child.

use std::os::unix::fs::MetadataExt;

use rawspawn::{
    CurrentDir, Errno, Exec, FdAction, Feature, Join, Mode, Namespaces, NsSet, OtherFds, Request,
    Step, argv, pipe,
};

use crate::common::{
    Room, TempDir, each_setup, failure, fd_state, file_at, forked, isolated, quick, raw, report,
    run, skip,
};

#[test]
fn two_descriptors_that_trade_places_both_arrive() {
    isolated(|| {
        let (_five, _six) = (file_at(5), file_at(6));
        let swap = [
            FdAction::Map { parent_fd: 5, child_fd: 6 },
            FdAction::Map { parent_fd: 6, child_fd: 5 },
        ];
        for setup in each_setup() {
            let seen = report(setup, |request| {
                request.fds(&swap);
            });
            assert_eq!(Some(seen.fd(5)), fd_state(6), "{setup:?}");
            assert_eq!(Some(seen.fd(6)), fd_state(5), "{setup:?}");
            assert_eq!(seen.fds(), [0, 1, 2, 5, 6], "{setup:?}: something leaked");
        }
    });
}

#[test]
fn a_child_has_the_standard_streams_and_nothing_else() {
    isolated(|| {
        let files: Vec<_> = (20..40).map(file_at).collect();
        for fd in &files {
            // SAFETY: F_SETFD touches no memory.
            unsafe { libc::fcntl(raw(fd), libc::F_SETFD, 0) };
        }
        for setup in each_setup() {
            let seen = report(setup, |_| {});
            assert_eq!(seen.fds(), [0, 1, 2], "{setup:?}");
            let seen = report(setup, |request| {
                request.other_fds(OtherFds::Inherit);
            });
            assert!((20..40).all(|fd| seen.fds().contains(&fd)), "{setup:?}: {:?}", seen.fds());
        }
    });
}

/// `FdAction::Map` in short.
fn map(parent_fd: i32, child_fd: i32) -> FdAction<'static> {
    FdAction::Map { parent_fd, child_fd }
}

#[test]
fn all_mappings_over_four_descriptors_arrive() {
    isolated(|| {
        let _files: Vec<_> = (3..7).map(file_at).collect();
        let states = [3, 4, 5, 6].map(|fd| fd_state(fd).expect("open"));
        for mode in [Mode::Vfork, Mode::Fork] {
            let Some(setup) = each_setup().into_iter().find(|setup| setup.mode == mode) else {
                continue; // said by each_setup
            };
            for number in 0..5usize.pow(4) {
                let sources: [usize; 4] =
                    std::array::from_fn(|place| number / 5usize.pow(place as u32) % 5);
                let wanted = || sources.iter().enumerate().filter(|(_, from)| **from < 4);
                let actions: Vec<_> =
                    wanted().map(|(to, from)| map(*from as i32 + 3, to as i32 + 3)).collect();
                let seen = report(setup, |request| {
                    request.fds(Vec::leak(actions));
                });
                let expected: Vec<i32> =
                    (0..3).chain(wanted().map(|(to, _)| to as i32 + 3)).collect();
                assert_eq!(seen.fds(), expected, "{sources:?}");
                for (to, from) in wanted() {
                    assert_eq!(seen.fd(to as i32 + 3), states[*from], "{sources:?}");
                }
            }
        }
    });
}

#[test]
fn targets_above_all_open_ones_and_equal_numbers_arrive() {
    isolated(|| {
        let _files = [file_at(5), file_at(6)];
        let (five, six) = (fd_state(5).expect("open"), fd_state(6).expect("open"));
        let actions = [map(5, 200), map(5, 5), map(6, 201), map(5, 0)];
        for setup in each_setup() {
            let seen = report(setup, |request| {
                request.fds(&actions);
            });
            assert_eq!(seen.fds(), [0, 1, 2, 5, 200, 201], "{setup:?}");
            assert_eq!([seen.fd(0), seen.fd(5), seen.fd(200)], [five; 3], "{setup:?}");
            assert_eq!(seen.fd(201), six, "{setup:?}");
        }
    });
}

#[test]
fn a_descriptor_that_is_not_close_on_exec_stays_with_inherit_alone() {
    isolated(|| {
        let (kept, _marked) = (file_at(7), file_at(8));
        // SAFETY: F_SETFD touches no memory.
        unsafe { libc::fcntl(raw(&kept), libc::F_SETFD, 0) };
        for setup in each_setup() {
            let seen = report(setup, |request| {
                request.other_fds(OtherFds::Inherit);
            });
            assert!(seen.fds().contains(&7) && !seen.fds().contains(&8), "{setup:?}");
            let seen = report(setup, |request| {
                request.other_fds(OtherFds::Inherit).fds(&[FdAction::Close { child_fd: 7 }]);
            });
            assert!(!seen.fds().contains(&7), "{setup:?}");
        }
    });
}

#[test]
fn files_are_opened_at_their_numbers() {
    isolated(|| {
        let dir = TempDir::new();
        let path = dir.join("new");
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND;
        // The lowest free number, one in use, a standard stream.
        let _file = file_at(9);
        let actions = [
            FdAction::Open { child_fd: 3, path: c"/dev/null", flags: libc::O_RDONLY, mode: 0 },
            FdAction::Open { child_fd: 9, path: &path, flags, mode: 0o666 },
            FdAction::Open { child_fd: 1, path: c"/dev/zero", flags: libc::O_WRONLY, mode: 0 },
        ];
        let null = std::fs::metadata("/dev/null").expect("/dev");
        let zero = std::fs::metadata("/dev/zero").expect("/dev");
        for setup in each_setup() {
            let seen = report(setup, |request| {
                request.fds(&actions).umask(0o027);
            });
            assert_eq!(seen.fds(), [0, 1, 2, 3, 9], "{setup:?}");
            assert_eq!(seen.fd(3).inode, null.ino(), "{setup:?}");
            assert_eq!(seen.fd(1).inode, zero.ino(), "{setup:?}");
            let created = std::fs::metadata(dir.path().join("new")).expect("created");
            assert_eq!(seen.fd(9).inode, created.ino(), "{setup:?}");
            assert_eq!(created.mode() & 0o777, 0o640, "{setup:?}");
            let mode = libc::O_ACCMODE | libc::O_APPEND;
            assert_eq!(seen.fd(9).flags & mode, libc::O_WRONLY | libc::O_APPEND, "{setup:?}");
            std::fs::remove_file(dir.path().join("new")).expect("created");
        }
    });
}

#[test]
fn a_parent_without_standard_streams_gives_its_child_what_it_asks_for() {
    isolated(|| {
        forked(|| {
            let setups = each_setup();
            for fd in 0..3 {
                // SAFETY: The fork of the test prints nothing from here on.
                unsafe { libc::close(fd) };
            }
            for setup in setups {
                assert_eq!(report(setup, |_| {}).fds(), [], "{setup:?}");
                let (reader, writer) = pipe().expect("a pipe");
                assert!(reader.raw() > 2 && writer.raw() > 2);
                let actions = [map(reader.raw(), 0), map(writer.raw(), 1)];
                let seen = report(setup, |request| {
                    request.fds(&actions);
                });
                assert_eq!(seen.fds(), [0, 1], "{setup:?}");
                assert_eq!(Some(seen.fd(0)), fd_state(reader.raw()), "{setup:?}");
            }
        });
    });
}

#[test]
fn descriptors_above_a_lowered_limit_are_closed_too() {
    isolated(|| {
        let files: Vec<_> = [40, 300].map(file_at).into();
        for fd in &files {
            // SAFETY: F_SETFD touches no memory.
            unsafe { libc::fcntl(raw(fd), libc::F_SETFD, 0) };
        }
        let limit = libc::rlimit { rlim_cur: 30, rlim_max: 1000 };
        // SAFETY: The kernel reads one `rlimit`.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
        for setup in each_setup() {
            assert_eq!(report(setup, |_| {}).fds(), [0, 1, 2], "{setup:?}");
            let seen = report(setup, |request| {
                request.fds(&[FdAction::Map { parent_fd: 300, child_fd: 300 }]);
            });
            assert_eq!(seen.fds(), [0, 1, 2, 300], "{setup:?}");
        }
    });
}

#[test]
fn very_many_descriptors_are_closed() {
    isolated(|| {
        let most = libc::rlimit { rlim_cur: 12_000, rlim_max: 12_000 };
        // SAFETY: The kernel reads one `rlimit`.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const most) } != 0 {
            skip("very many descriptors, above the hard limit");
            return;
        }
        let file = file_at(3);
        // SAFETY: Descriptors only.
        let copies = (4..11_000).filter(|fd| unsafe { libc::dup2(raw(&file), *fd) } == *fd);
        assert_eq!(copies.count(), 10_996);
        let (exe, argv) = quick(6);
        for setup in each_setup() {
            assert_eq!(run(setup, &mut Request::new(Exec::Path(exe), argv)), 6, "{setup:?}");
        }
    });
}

#[test]
fn without_proc_and_close_range_descriptors_are_closed_by_number() {
    isolated(|| {
        let file = file_at(77);
        // SAFETY: F_SETFD touches no memory.
        unsafe { libc::fcntl(raw(&file), libc::F_SETFD, 0) };
        let script = argv![c"sh", c"-c", c"if (: <&77) 2>/dev/null; then exit 1; else exit 5; fi"];
        let search = Exec::Search { name: c"sh", path: None };
        let setups = each_setup();
        let old = setups.iter().filter(|setup| !setup.kernel.has(Feature::CloseRange));
        forked(|| {
            // SAFETY: Touches no memory.
            if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 || !hides_proc() {
                skip("a system without /proc, for want of root");
                return;
            }
            for setup in old.clone() {
                assert_eq!(run(*setup, &mut Request::new(search, script)), 5, "{setup:?}");
            }
            let limit = libc::rlimit { rlim_cur: 1 << 17, rlim_max: 1 << 17 };
            // SAFETY: The kernel reads one `rlimit`.
            if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == 0 {
                for setup in old.clone() {
                    let mut request = Request::new(search, script);
                    setup.apply(&mut request);
                    let error = request.spawn(&mut Room::new()).expect_err("too many");
                    let found = (error.step(), error.errno());
                    assert_eq!(found, (Step::CloseOthers, Some(Errno::EOPNOTSUPP)));
                }
            }
        });
    });
}

/// Covers `/proc` in this mount namespace.
fn hides_proc() -> bool {
    let none = std::ptr::null::<libc::c_char>();
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: C strings, or NULL where the call allows it.
    let is_private =
        unsafe { libc::mount(none, c"/".as_ptr(), none, private, std::ptr::null()) } == 0;
    let tmpfs = c"tmpfs".as_ptr();
    // SAFETY: As above.
    is_private && unsafe { libc::mount(tmpfs, c"/proc".as_ptr(), tmpfs, 0, std::ptr::null()) } == 0
}

#[test]
fn a_pidfd_is_not_taken_for_a_descriptor_that_is_not_open() {
    isolated(|| {
        let (exe, argv) = quick(0);
        for setup in each_setup().into_iter().filter(|s| s.kernel.has(Feature::Pidfd)) {
            // The lowest free number, which the pidfd is going to have.
            // SAFETY: Touches no memory.
            let free = unsafe { libc::dup(0) };
            // SAFETY: Just made, and ours.
            unsafe { libc::close(free) };
            let fds = [FdAction::Map { parent_fd: free, child_fd: 1 }];
            let error = failure(setup, Request::new(Exec::Path(exe), argv).fds(&fds).pidfd(true));
            assert_eq!(
                (error.step(), error.errno()),
                (Step::Move, Some(Errno::EBADF)),
                "{setup:?}"
            );
        }
    });
}

#[test]
fn a_number_that_is_not_open_is_no_file_that_another_option_opens() {
    isolated(|| {
        // The lowest number that is free: the first that the child opens has it.
        let free = (3..99).find(|fd| fd_state(*fd).is_none()).expect("some number is free");
        let directory =
            FdAction::Open { child_fd: 100, path: c"/", flags: libc::O_DIRECTORY, mode: 0 };
        let program = FdAction::Open { child_fd: 100, path: c"/bin/true", flags: 0, mode: 0 };
        let ring = [
            FdAction::Map { parent_fd: 0, child_fd: 1 },
            FdAction::Map { parent_fd: 1, child_fd: 0 },
        ];
        let join = [Join::new(free, NsSet::MOUNT)];
        let namespaces = Namespaces::new(NsSet::EMPTY).join(&join);
        let (exe, argv) = quick(0);
        for setup in each_setup() {
            for fds in [&[directory][..], &[program], &ring] {
                for other in [OtherFds::Close, OtherFds::Inherit] {
                    let request = || {
                        let mut request = Request::new(Exec::Path(exe), argv);
                        request.fds(fds).other_fds(other);
                        request
                    };
                    let is_ebadf = |mut request: Request<'_>, step| {
                        setup.apply(&mut request);
                        if request.plan(&mut Room::new()).is_err_and(|e| e.step() == Step::Mode) {
                            return; // not in a stub
                        }
                        let error = failure(setup, &mut request);
                        let what = format!("{setup:?} {fds:?} {other:?}");
                        assert_eq!(
                            (error.step(), error.errno()),
                            (step, Some(Errno::EBADF)),
                            "{what}"
                        );
                    };
                    is_ebadf(*request().cwd(CurrentDir::Fd(free)), Step::CurrentDir);
                    let mut by_fd = Request::new(Exec::Fd(free), argv);
                    by_fd.fds(fds).other_fds(other);
                    is_ebadf(by_fd, Step::Exec);
                    is_ebadf(*request().landlock(free), Step::Landlock);
                    is_ebadf(*request().namespaces(&namespaces), Step::Join);
                    is_ebadf(*request().controlling_terminal(free), Step::ControllingTerminal);
                }
            }
        }
    });
}
