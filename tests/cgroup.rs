//! The cgroup that a child is in from its start.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use rawspawn::{Errno, FdAction, Feature, Kernel, Step};

use crate::common::child::{End, ending};
use crate::common::{Room, Setup, each_setup, failure, isolated, report};

/// A cgroup of version 2 with one child, both the test's own.
struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes it in that of this process; `None`, and says so, where that cannot be.
    fn new() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc");
        let mount = mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let path = words.next()?;
            (words.next()? == "cgroup2").then(|| path.to_owned())
        });
        let path = mount.map(|mount| format!("{mount}{}/rawspawn-{}", own(), std::process::id()));
        let made =
            path.and_then(|path| fs::create_dir_all(format!("{path}/inner")).ok().map(|()| path));
        if made.is_none() {
            println!("skipped: cgroups, of which none can be made here");
        }
        Some(Self { path: made?.into() })
    }

    fn open(&self) -> File {
        File::open(&self.path).expect("a directory")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.path.join("inner"));
        let _ = fs::remove_dir(&self.path);
    }
}

/// The path of this process's own cgroup of version 2, without a slash at its end.
fn own() -> String {
    let text = fs::read_to_string("/proc/self/cgroup").expect("/proc");
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    path.unwrap_or_default().trim_end_matches('/').to_owned()
}

/// Whether a child made as `setup` says is made in its cgroup.
fn is_born_there(setup: Setup) -> bool {
    setup.kernel.has(Feature::Clone3) && setup.kernel.has(Feature::CloseRange)
}

#[test]
fn a_child_is_in_its_cgroup_and_its_parent_is_not() {
    isolated(|| {
        let Some(cgroup) = Cgroup::new() else { return };
        let (directory, before) = (cgroup.open(), own());
        for setup in each_setup() {
            let seen = report(setup, |request| {
                request.cgroup(directory.as_raw_fd());
            });
            let expected = format!("{before}/rawspawn-{}", std::process::id());
            assert_eq!(seen.get("cgroup"), expected, "{setup:?}");
            assert_eq!(own(), before, "{setup:?}");
            assert_eq!(seen.fds(), [0, 1, 2], "{setup:?}");
        }
    });
}

#[test]
fn the_number_of_its_directory_may_be_one_that_the_child_gets() {
    isolated(|| {
        let Some(cgroup) = Cgroup::new() else { return };
        let directory = cgroup.open();
        let fd = directory.as_raw_fd();
        for setup in each_setup() {
            let fds = [FdAction::Map { parent_fd: 0, child_fd: fd }];
            let seen = report(setup, |request| {
                request.cgroup(fd).fds(&fds);
            });
            assert!(seen.get("cgroup").contains("/rawspawn-"), "{setup:?}");
            assert_eq!(seen.fd(fd), seen.fd(0), "{setup:?}");
        }
    });
}

#[test]
fn what_is_no_cgroup_or_not_to_be_entered_is_an_error() {
    isolated(|| {
        let tmp = File::open("/tmp").expect("a directory");
        for setup in each_setup() {
            let mut request = ending(End::Exit(0));
            let error = failure(setup, request.cgroup(tmp.as_raw_fd()));
            // It is the file in it that is missed.
            let expected = if is_born_there(setup) { Errno::EBADF } else { Errno::ENOENT };
            assert_eq!((error.step(), error.errno()), (Step::Cgroup, Some(expected)), "{setup:?}");
        }
        let Some(cgroup) = Cgroup::new() else { return };
        let directory = cgroup.open();
        drop(cgroup);
        for setup in each_setup() {
            let mut request = ending(End::Exit(0));
            let error = failure(setup, request.cgroup(directory.as_raw_fd()));
            assert_eq!(error.step(), Step::Cgroup, "{setup:?}: {error}");
            // By kernel.
            let removed = [Some(Errno::ENOENT), Some(Errno::ENODEV)];
            assert!(removed.contains(&error.errno()), "{setup:?}: {error}");
        }
    });
}

#[test]
fn a_plan_says_how() {
    let newest = Kernel::NEWEST;
    let mut request = ending(End::Exit(0));
    let mut shown = |kernel| {
        let mut room = Room::new();
        request.cgroup(5).kernel(kernel).plan(&mut room).expect("a valid request").to_string()
    };
    assert!(shown(newest).contains("|CLONE_INTO_CGROUP|"));
    let old = shown(newest.without(Feature::CloseRange));
    assert!(old.contains(r#"openat(5, "cgroup.procs", 02000001, 0) -> fd"#), "{old}");
    assert!(old.contains(r#"write(fd, "0", 1) = 1"#) && !old.contains("INTO_CGROUP"), "{old}");
}
