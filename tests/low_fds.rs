//! Low numbers that stand for high ones: the child has the same, and so has the parent
//! afterwards.

use std::os::fd::{AsRawFd, OwnedFd};

use rawspawn::{Errno, Exec, FdAction, LowFds, Request, Step};

use crate::common::{
    Remains, Reporter, Room, each_setup, fd_state, file_at, isolated, open_fds, quick,
};

/// Where the sources are: far above 256, and apart from each other.
const HIGH: [i32; 3] = [700, 801, 902];

fn high_files() -> Vec<OwnedFd> {
    HIGH.into_iter().map(file_at).collect()
}

#[test]
fn the_child_has_what_it_has_without() {
    isolated(|| {
        let before = Remains::look();
        let files = high_files();
        // Swapped with a low one, twice the same, onto itself, and a low source.
        let actions = [
            FdAction::Map { parent_fd: 700, child_fd: 5 },
            FdAction::Map { parent_fd: 801, child_fd: 700 },
            FdAction::Map { parent_fd: 801, child_fd: 3 },
            FdAction::Map { parent_fd: 902, child_fd: 902 },
            FdAction::Map { parent_fd: 0, child_fd: 1 },
            FdAction::Close { child_fd: 2 },
        ];
        for count in [0, 1, 4, 16] {
            let low = LowFds::claim(count).expect("low numbers");
            let held = Remains::look();
            for setup in each_setup() {
                let reporter = Reporter::new(&[]);
                let mut request = Request::new(Exec::Path(reporter.exe), reporter.argv);
                setup.apply(request.fds(&actions));
                let mut child = request.spawn_with(&low, &mut Room::new()).expect("a child");
                assert!(child.wait().expect("our child").success());
                let report = reporter.read();
                assert_eq!(report.fds(), [0, 1, 3, 5, 700, 902], "{count}: {setup:?}");
                for (fd, source) in [(1, 0), (3, 801), (5, 700), (700, 801), (902, 902)] {
                    let (found, asked) = (report.fd(fd), fd_state(source).expect("open"));
                    assert_eq!((found.device, found.inode), (asked.device, asked.inode), "{fd}");
                }
                held.assert_unchanged();
            }
        }
        drop(files);
        before.assert_unchanged();
    });
}

#[test]
fn a_source_that_is_not_open_is_still_the_error() {
    isolated(|| {
        let _files = high_files();
        let low = LowFds::claim(4).expect("low numbers");
        let (exe, argv) = quick(0);
        for setup in each_setup() {
            let actions = [
                FdAction::Map { parent_fd: 700, child_fd: 0 },
                FdAction::Map { parent_fd: 701, child_fd: 1 },
            ];
            let before = Remains::look();
            let mut request = Request::new(Exec::Path(exe), argv);
            setup.apply(request.fds(&actions));
            let error = request.spawn_with(&low, &mut Room::new()).expect_err("701 is closed");
            let found = (error.step(), error.index(), error.errno());
            assert_eq!(found, (Step::Move, 1, Some(Errno::EBADF)), "{setup:?}");
            before.assert_unchanged();
        }
    });
}

#[test]
fn threads_share_low_numbers_and_go_on_without() {
    isolated(|| {
        let low = LowFds::claim(3).expect("low numbers");
        let before = Remains::look();
        std::thread::scope(|scope| {
            for thread in 0..6 {
                let low = &low;
                scope.spawn(move || {
                    let file = file_at(300 + thread);
                    let asked = fd_state(file.as_raw_fd()).expect("open");
                    let actions = [FdAction::Map { parent_fd: 300 + thread, child_fd: 0 }];
                    for _ in 0..20 {
                        let reporter = Reporter::new(&[]);
                        let mut request = Request::new(Exec::Path(reporter.exe), reporter.argv);
                        request.fds(&actions);
                        let mut child = request.spawn_with(low, &mut Room::new()).expect("a child");
                        assert!(child.wait().expect("our child").success());
                        let found = reporter.read().fd(0);
                        assert_eq!((found.device, found.inode), (asked.device, asked.inode));
                    }
                });
            }
        });
        before.assert_unchanged();
    });
}

#[test]
fn low_numbers_are_claimed_and_given_back() {
    isolated(|| {
        let before = open_fds();
        let free: Vec<i32> = (3..100).filter(|fd| !before.contains(fd)).take(5).collect();
        let low = LowFds::claim(4).expect("low numbers");
        let claimed: Vec<i32> = open_fds().into_iter().filter(|fd| !before.contains(fd)).collect();
        assert_eq!(claimed, free);
        for fd in claimed {
            // SAFETY: Touches no memory.
            assert_eq!(unsafe { libc::fcntl(fd, libc::F_GETFD) }, libc::FD_CLOEXEC);
        }
        drop(low);
        assert_eq!(open_fds(), before);
        assert_eq!(LowFds::claim(LowFds::MOST + 1).expect_err("too many"), Errno::EINVAL);
    });
}
