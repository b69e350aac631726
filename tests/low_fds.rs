//! Low numbers that stand for high ones: the child has the same, and so has the parent
//! afterwards.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rawspawn::{Errno, Exec, Fd, FdAction, LowFds, Request, Step, argv};

use crate::common::{Remains, Reporter, Room, each_setup, fd_state, isolated, open_fds, quick};

/// A pipe whose reading end is at `fd`, and its writing end.
fn pipe_at(fd: i32) -> (OwnedFd, Fd) {
    let (reader, writer) = rawspawn::pipe().expect("a pipe");
    // SAFETY: Descriptors only.
    let there = unsafe { libc::dup3(reader.raw(), fd, libc::O_CLOEXEC) };
    assert_eq!(there, fd, "dup3");
    // SAFETY: Just made, and ours.
    (unsafe { OwnedFd::from_raw_fd(there) }, writer)
}

/// Where the sources are: far above 256, and apart from each other.
const HIGH: [i32; 3] = [700, 801, 902];

fn high_pipes() -> Vec<(OwnedFd, Fd)> {
    HIGH.into_iter().map(pipe_at).collect()
}

#[test]
fn the_child_has_what_it_has_without() {
    isolated(|| {
        let before = Remains::look();
        let files = high_pipes();
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
        let _files = high_pipes();
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
                    let (pipe, _writer) = pipe_at(300 + thread);
                    let asked = fd_state(pipe.as_raw_fd()).expect("open");
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

/// Whether some process, this one included, has a lock of fcntl(2) on the file of `fd`.
fn is_locked(fd: i32) -> bool {
    // SAFETY: All of it is integers.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as i16;
    // Asked for a lock of the file's own, which is none of this process's.
    // SAFETY: The kernel reads and writes one `flock`.
    assert_eq!(unsafe { libc::fcntl(fd, libc::F_OFD_GETLK, &raw mut lock) }, 0);
    lock.l_type != libc::F_UNLCK as i16
}

#[test]
fn record_locks_of_the_parent_survive() {
    isolated(|| {
        let low = LowFds::claim(4).expect("low numbers");
        let name = std::env::temp_dir().join(format!("rawspawn-lock-{}", std::process::id()));
        let file = File::create(&name).expect("a file");
        std::fs::remove_file(&name).expect("our own file");
        let (reader, writer) = rawspawn::pipe().expect("a pipe");
        // A lock on a pipe is a rare thing, and not to be lost either.
        for locked in [file.as_raw_fd(), writer.raw()] {
            // SAFETY: All of it is integers.
            let mut lock: libc::flock = unsafe { std::mem::zeroed() };
            lock.l_type = libc::F_WRLCK as i16;
            // SAFETY: The kernel reads one `flock`.
            assert_eq!(unsafe { libc::fcntl(locked, libc::F_SETLK, &raw const lock) }, 0);
            // SAFETY: Descriptors only.
            let high = unsafe { libc::fcntl(locked, libc::F_DUPFD_CLOEXEC, 600) };
            assert!(high >= 600 && is_locked(high));
            let fds = [FdAction::Map { parent_fd: high, child_fd: 1 }];
            let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
            request.env(argv![]).fds(&fds);
            for spawn in 0..2 {
                let spawned = match spawn {
                    0 => request.spawn(&mut Room::new()),
                    _ => request.spawn_with(&low, &mut Room::new()),
                };
                assert!(spawned.expect("a child").wait().expect("our child").success());
                assert!(is_locked(high), "lost by spawn {spawn} of {locked}");
            }
        }
        drop(reader);
    });
}
