//! Runs random spawns through the C library's `posix_spawn` and through rawspawn's, and
//! compares what is returned and what the children see of themselves.
//!
//! Run by `posix-spawn/test`, with the shared library, the child and the number of cases.
#![allow(unsafe_code)]

mod api;
mod case;

use std::ffi::{CStr, CString};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::ptr;

use proptest::test_runner::{Config, TestError, TestRunner};

use crate::api::Api;
use crate::case::{Case, cases};

/// The folder of all that a case is about.
const PLACE: &str = "/tmp/rawspawn-posix";

/// Where a child reports.
const REPORT: &CStr = c"/tmp/rawspawn-posix/report";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("library, child, number of cases");
    let (library, child, count) = (next(), next(), next().parse().expect("a number"));
    prepare(Path::new(&child));
    let apis = [Api::of_libc(), Api::of_library(&library)];
    let config = Config { cases: count, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let result = runner.run(&cases(), |case| {
        let [glibc, ours] = apis.each_ref().map(|api| observe(api, &case));
        proptest::prop_assert_eq!(glibc, ours);
        Ok(())
    });
    match result {
        Ok(()) => println!("posix_spawn: {count} random spawns, all as by the C library"),
        Err(TestError::Fail(why, case)) => {
            println!("{case:#?}\n{why}");
            std::process::exit(1);
        }
        Err(error) => panic!("{error}"),
    }
}

/// Makes the files, descriptors and signals that the cases are about.
fn prepare(child: &Path) {
    let place = Path::new(PLACE);
    let _ = fs::remove_dir_all(place);
    for folder in ["", "bin", "noexec", "format", "empty", "loop"] {
        fs::create_dir(place.join(folder)).expect("a folder");
        fs::set_permissions(place.join(folder), PermissionsExt::from_mode(0o777)).expect("ours");
    }
    let file = |path: &str, text: &[u8], mode| {
        fs::write(place.join(path), text).expect("a file");
        fs::set_permissions(place.join(path), PermissionsExt::from_mode(mode)).expect("ours");
    };
    let program = fs::read(child).expect("the child");
    file("bin/child", &program, 0o755);
    file("bin/second", &program, 0o755);
    file("noexec/child", &program, 0o644);
    file("noexec/denied", b"", 0o644);
    file("format/format", b"neither\n", 0o755);
    file("file", b"", 0o644);
    file("report", b"", 0o666);
    for name in ["loop/child", "loop/looping"] {
        symlink("looping", place.join(name)).expect("a link");
    }
    std::env::set_current_dir(place).expect("ours");
    // SAFETY: A single thread.
    unsafe { libc::umask(0o027) };
    // SAFETY: As above.
    unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) };
    // SAFETY: As above. It is never called.
    unsafe { libc::signal(libc::SIGUSR2, nothing as extern "C" fn(i32) as usize) };
    // SAFETY: All of it is integers.
    let mut mask: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: A set of ours.
    unsafe { libc::sigaddset(&raw mut mask, libc::SIGWINCH) };
    // SAFETY: As above.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const mask, ptr::null_mut()) };
    for (fd, path, flags) in [
        (5, c"/dev/null", libc::O_RDWR),
        (6, c"/dev/zero", libc::O_RDONLY | libc::O_CLOEXEC),
        (7, c"/tmp/rawspawn-posix/file", libc::O_RDWR | libc::O_APPEND),
        (9, c"/tmp", libc::O_RDONLY | libc::O_DIRECTORY),
        (12, c"/usr", libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC),
    ] {
        // SAFETY: A C string.
        let opened = unsafe { libc::open(path.as_ptr(), flags) };
        assert!(opened >= 0, "{path:?}");
        if opened != fd {
            // SAFETY: Descriptors alone.
            unsafe { libc::dup3(opened, fd, flags & libc::O_CLOEXEC) };
            // SAFETY: As above.
            unsafe { libc::close(opened) };
        }
    }
}

extern "C" fn nothing(_: i32) {}

/// What can be seen of `case`.
fn observe(api: &Api, case: &Case) -> String {
    let _ = fs::remove_file("/tmp/rawspawn-posix/new");
    fs::write("/tmp/rawspawn-posix/report", "").expect("ours");
    let path = CString::new(case.path.clone()).expect("no NUL");
    // SAFETY: A single thread.
    unsafe { libc::setenv(c"PATH".as_ptr(), path.as_ptr(), 1) };
    if case.lowers_euid {
        // SAFETY: Touches no memory.
        assert_eq!(unsafe { libc::seteuid(65534) }, 0);
    }
    let (results, pid) = api.spawn(case, REPORT);
    if case.lowers_euid {
        // SAFETY: As above.
        assert_eq!(unsafe { libc::seteuid(0) }, 0);
    }
    let own = own();
    if results.last() != Some(&0) {
        let mut status = 0;
        // SAFETY: Room for a status. Nothing may be left.
        let left = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
        return format!("{results:?}, left {left}\n{own}");
    }
    let mut status = 0;
    // SAFETY: Room for a status.
    let reaped = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(reaped, pid);
    let report = fs::read_to_string("/tmp/rawspawn-posix/report").expect("ours");
    let new = fs::metadata("/tmp/rawspawn-posix/new").map(|new| new.permissions().mode());
    format!("{results:?}, status {status:#x}\nnew {:?}\n{report}{own}", new.ok())
}

/// What a spawn must leave alone: this process's descriptors and signals.
fn own() -> String {
    let mut fds: Vec<_> = fs::read_dir("/proc/self/fd")
        .expect("ours")
        .map(|entry| entry.expect("ours").file_name())
        .collect();
    fds.sort();
    let status = fs::read_to_string("/proc/self/status").expect("ours");
    // But for what is queued for all processes of the user.
    let is_own = |line: &&str| line.starts_with("Sig") && !line.starts_with("SigQ");
    let signals: Vec<_> = status.lines().filter(is_own).collect();
    format!("own {fds:?} {signals:?}")
}
