//! Many threads spawn while others open and close descriptors.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use rawspawn::{Exec, Request};

use crate::common::{
    Remains, Room, Running, Setup, each_setup, fd_state, has_children, isolated, quick,
    test_children,
};

const SPAWNERS: u32 = 8;

/// Makes `count` children from eight threads, each of which looks for descriptors
/// that are not its own, and exits with a status of its own.
fn spawn_from_all(setup: Setup, count: u32) {
    let running = AtomicU32::new(SPAWNERS);
    let null = File::open("/dev/null").expect("/dev/null");
    let null = fd_state(null.as_raw_fd()).expect("open");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while running.load(Ordering::Relaxed) > 0 {
                    let files: Vec<_> =
                        (0..20).filter_map(|_| File::open("/dev/null").ok()).collect();
                    for file in &files {
                        // SAFETY: Touches no memory. What is left open at exec is
                        // what the children must not have.
                        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) };
                    }
                    // A child that starts with our table must not close ours.
                    for file in &files {
                        let fd = fd_state(file.as_raw_fd()).expect("nobody else closes it");
                        assert_eq!((fd.device, fd.inode), (null.device, null.inode));
                    }
                }
            });
        }
        for thread in 0..SPAWNERS {
            let running = Running(&running);
            scope.spawn(move || {
                let _running = running;
                let status = u8::try_from(10 + thread).expect("few threads");
                let (exe, argv) = quick(status);
                let mut room = Box::new(Room::new());
                for _ in 0..count / SPAWNERS {
                    let mut request = Request::new(Exec::Path(exe), argv);
                    setup.apply(&mut request);
                    let spawned = request.spawn(&mut *room);
                    let mut process = spawned.unwrap_or_else(|error| panic!("{setup:?}: {error}"));
                    let found = process.wait().expect("our child");
                    assert_eq!(found.code(), Some(status.into()), "{setup:?}: {found}");
                }
            });
        }
    });
}

#[test]
fn no_descriptor_of_another_thread_reaches_a_child() {
    isolated(|| {
        let before = Remains::look();
        let all = test_children(20_000);
        let setups = each_setup();
        // The most in the mode that matters most; some in all others.
        let others = all / 10 / u32::try_from(setups.len()).expect("few");
        for (place, setup) in setups.iter().enumerate() {
            spawn_from_all(*setup, if place == 0 { all - all / 10 } else { others });
        }
        assert!(!has_children(), "a zombie");
        before.assert_unchanged();
    });
}

#[test]
fn a_leaked_descriptor_would_be_seen() {
    isolated(|| {
        let file = File::open("/dev/null").expect("/dev/null");
        // SAFETY: Touches no memory.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) };
        let (exe, argv) = quick(3);
        let mut request = Request::new(Exec::Path(exe), argv);
        request.other_fds(rawspawn::OtherFds::Inherit);
        let mut process = request.spawn(&mut Room::new()).expect("our executable");
        assert_eq!(process.wait().expect("our child").code(), Some(255));
    });
}

#[test]
fn threads_can_share_a_request() {
    isolated(|| {
        let (exe, argv) = quick(5);
        let request = Request::new(Exec::Path(exe), argv);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let mut process = request.spawn(&mut Room::new()).expect("a child");
                        assert_eq!(process.wait().expect("our child").code(), Some(5));
                    }
                });
            }
        });
    });
}
