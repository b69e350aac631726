//! A child that runs: waiting for it, signalling it, its pidfd.

use std::time::Duration;

#[cfg(feature = "std")]
use rawspawn::CLibrary;
use rawspawn::{
    CStrArray, Errno, Exec, FdAction, Feature, Hook, Kernel, Process, Request, Step, WaitStatus,
    argv,
};

use crate::common::child::{End, ending};
use crate::common::rights::{SECCOMP, needs};
use crate::common::seccomp::{Refuse, refusing};
use crate::common::{Room, Setup, each_setup, has_children, isolated, open_fds, skip};

fn spawn(setup: Setup, end: End, pidfd: bool) -> Process {
    let mut request = ending(end);
    setup.apply(&mut request);
    request.pidfd(pidfd);
    request.spawn(&mut Room::new()).unwrap_or_else(|error| panic!("{setup:?}: {error}"))
}

/// Each setup, without a pidfd and, where the kernel has them, with one.
fn with_and_without_pidfd() -> Vec<(Setup, bool)> {
    let both = |setup: Setup| {
        let with = setup.kernel.has(Feature::Pidfd).then_some((setup, true));
        if with.is_none() {
            skip("the kernel has no pidfds");
        }
        [Some((setup, false)), with].into_iter().flatten()
    };
    each_setup().into_iter().flat_map(both).collect()
}

/// Whether `fd` is readable now, or once `timeout` milliseconds have passed.
fn readable(fd: i32, timeout: i32) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: One `pollfd`.
    let ready = unsafe { libc::poll(&raw mut poll, 1, timeout) };
    ready == 1 && poll.revents & libc::POLLIN != 0
}

#[test]
fn every_exit_status_arrives() {
    isolated(|| {
        let setups = each_setup();
        for code in 0..=255 {
            let setup = setups[code as usize % setups.len()];
            let mut process = spawn(setup, End::Exit(code), false);
            let status = process.wait().expect("our child");
            assert_eq!(status.code(), Some(code), "{setup:?}");
            assert_eq!(status.success(), code == 0);
            assert_eq!(status.signal(), None);
        }
    });
}

#[test]
fn the_signal_that_killed_the_child_arrives() {
    isolated(|| {
        let signals =
            [libc::SIGHUP, libc::SIGABRT, libc::SIGKILL, libc::SIGSEGV, libc::SIGTERM, 40];
        for setup in each_setup() {
            for signal in signals {
                let mut process = spawn(setup, End::Signal(signal), false);
                let status = process.wait().expect("our child");
                assert_eq!(status.signal(), Some(signal), "{setup:?}");
                assert_eq!(status.code(), None);
                assert!(!status.success());
            }
        }
    });
}

#[test]
fn every_way_to_wait_sees_the_same_end() {
    isolated(|| {
        type Wait = fn(&mut Process) -> WaitStatus;
        let ways: [Wait; 4] = [
            |process| process.wait().expect("our child"),
            |process| process.wait_with_usage().expect("our child").0,
            |process| loop {
                if let Some(status) = process.try_wait().expect("our child") {
                    break status;
                }
                std::thread::yield_now();
            },
            |process| match process.wait_timeout(Duration::from_secs(600)) {
                Ok(status) => status.expect("in ten minutes"),
                Err(Errno::ENOSYS) => process.wait().expect("our child"),
                Err(errno) => panic!("{errno}"),
            },
        ];
        for (setup, pidfd) in with_and_without_pidfd() {
            for (number, wait) in ways.iter().enumerate() {
                let mut process = spawn(setup, End::Exit(7), pidfd);
                let status = wait(&mut process);
                let what = format!("{setup:?}, way {number}, pidfd {pidfd}");
                assert_eq!(status.code(), Some(7), "{what}");
                assert_eq!(process.status(), Some(status), "{what}");
                // Again: what was found, without asking a kernel that may have given
                // the pid to another process.
                assert_eq!(process.wait(), Ok(status), "{what}");
                assert_eq!(process.try_wait(), Ok(Some(status)), "{what}");
                assert_eq!(process.wait_timeout(Duration::ZERO), Ok(Some(status)), "{what}");
                assert_eq!(process.wait_with_usage().err(), Some(Errno::ECHILD), "{what}");
                assert_eq!(process.kill(), Err(Errno::ESRCH), "{what}");
                assert_eq!(process.signal(0), Err(Errno::ESRCH), "{what}");
            }
        }
    });
}

#[test]
fn a_running_child_is_not_waited_for_and_can_be_killed() {
    isolated(|| {
        for (setup, pidfd) in with_and_without_pidfd() {
            let mut process = spawn(setup, End::Never, pidfd);
            assert_eq!(process.try_wait(), Ok(None), "{setup:?}");
            match process.wait_timeout(Duration::from_millis(1)) {
                Ok(None) => {}
                Err(Errno::ENOSYS) => skip("no pidfd to wait with a time limit"),
                other => panic!("{setup:?}: {other:?}"),
            }
            assert_eq!(process.status(), None, "{setup:?}");
            assert_eq!(process.signal(0), Ok(()), "{setup:?}");
            assert_eq!(process.signal(65), Err(Errno::EINVAL), "{setup:?}");
            assert_eq!(process.signal(libc::SIGTERM), Ok(()), "{setup:?}");
            let status = process.wait().expect("our child");
            assert_eq!(status.signal(), Some(libc::SIGTERM), "{setup:?}");

            let mut process = spawn(setup, End::Never, pidfd);
            process.kill().expect("our child");
            let status = process.wait().expect("our child");
            assert_eq!(status.signal(), Some(libc::SIGKILL), "{setup:?}");
        }
    });
}

#[test]
fn a_pidfd_is_readable_once_the_child_has_ended() {
    isolated(|| {
        for (setup, _) in with_and_without_pidfd().into_iter().filter(|(_, pidfd)| *pidfd) {
            let mut process = spawn(setup, End::Never, true);
            let fd = process.pidfd().expect("asked for");
            // SAFETY: F_GETFD touches no memory.
            let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
            assert_eq!(flags, libc::FD_CLOEXEC, "{setup:?}");
            assert!(!readable(fd, 0), "{setup:?}: it runs");
            process.kill().expect("our child");
            assert!(readable(fd, -1), "{setup:?}");
            assert_eq!(process.take_pidfd(), Some(fd));
            assert_eq!((process.pidfd(), process.take_pidfd()), (None, None));
            // Waiting goes on by pid.
            assert_eq!(
                process.wait().expect("our child").signal(),
                Some(libc::SIGKILL),
                "{setup:?}"
            );
            // SAFETY: Taken out, so ours to close; nothing else has.
            assert_eq!(unsafe { libc::close(fd) }, 0, "{setup:?}");
        }
    });
}

#[test]
fn a_process_closes_its_pidfd() {
    isolated(|| {
        for (setup, _) in with_and_without_pidfd().into_iter().filter(|(_, pidfd)| *pidfd) {
            let mut process = spawn(setup, End::Exit(0), true);
            let fd = process.pidfd().expect("asked for");
            process.wait().expect("our child");
            drop(process);
            // SAFETY: F_GETFD touches no memory.
            assert_eq!(unsafe { libc::fcntl(fd, libc::F_GETFD) }, -1, "{setup:?}");
        }
    });
}

#[test]
fn a_child_that_somebody_else_reaped_is_echild() {
    isolated(|| {
        for (setup, pidfd) in with_and_without_pidfd() {
            let mut process = spawn(setup, End::Exit(0), pidfd);
            // SAFETY: Without a place for the status, waitpid writes nothing.
            let reaped = unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
            assert_eq!(reaped, process.pid(), "{setup:?}");
            assert_eq!(process.wait(), Err(Errno::ECHILD), "{setup:?}");
            assert_eq!(process.try_wait(), Err(Errno::ECHILD), "{setup:?}");
            assert_eq!(process.status(), None, "{setup:?}");
        }
    });
}

#[test]
fn where_sigchld_is_ignored_the_kernel_reaps() {
    isolated(|| {
        let setups = with_and_without_pidfd();
        // SAFETY: No handler is installed.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        for (setup, pidfd) in setups {
            let mut process = spawn(setup, End::Exit(3), pidfd);
            assert_eq!(process.wait(), Err(Errno::ECHILD), "{setup:?}");
            assert!(!has_children(), "{setup:?}");
        }
    });
}

#[test]
fn usage_is_that_of_the_child() {
    isolated(|| {
        for setup in each_setup() {
            let mut process = spawn(setup, End::Exit(0), false);
            let (status, usage) = process.wait_with_usage().expect("our child");
            assert!(status.success(), "{setup:?}");
            assert!(usage.ru_maxrss > 0, "{setup:?}: no memory at all?");
        }
    });
}

unsafe extern "C" fn trace_me(_: *mut std::ffi::c_void) -> i32 {
    // SAFETY: Touches no memory.
    unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_TRACEME, 0, 0, 0) as i32 }
}

#[test]
fn a_child_that_its_parent_traces_is_not_dead_when_it_stops() {
    isolated(|| {
        let kernel = Kernel::current().expect("a child can be made");
        // SAFETY: The hook makes one system call.
        let raw = unsafe { Hook::new(trace_me, std::ptr::null_mut()) };
        #[cfg(feature = "std")]
        // SAFETY: As above.
        let forked = unsafe { Hook::forked(CLibrary::linked(), trace_me, std::ptr::null_mut()) };
        #[cfg(not(feature = "std"))]
        let forked = raw;
        for hook in [raw, forked] {
            for fails in [false, true] {
                let mut request = ending(End::Exit(7));
                request.kernel(kernel).hook(hook);
                if fails {
                    request = Request::new(Exec::Path(c"/nonexistent"), argv![c"program"]);
                    request.env(CStrArray::EMPTY).kernel(kernel).hook(hook);
                    let error = request.spawn(&mut Room::new()).expect_err("nonexistent");
                    if error.step() == Step::Hook {
                        skip("children that are traced, which is refused here");
                        return;
                    }
                    assert_eq!((error.step(), error.errno()), (Step::Exec, Some(Errno::ENOENT)));
                    assert!(!has_children());
                    continue;
                }
                let mut process = match request.spawn(&mut Room::new()) {
                    Err(error) if error.step() == Step::Hook => continue,
                    spawned => spawned.expect("it stops at its exec"),
                };
                // The stop at the exec is the tracer's to see.
                let stop = process.wait().expect("our child");
                assert_eq!(stop.stopped_signal(), Some(libc::SIGTRAP));
                assert_eq!((process.status(), process.signal(0)), (None, Ok(())));
                // SAFETY: Our tracee, which is stopped.
                let result = unsafe {
                    libc::syscall(libc::SYS_ptrace, libc::PTRACE_CONT, process.pid(), 0, 0)
                };
                assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
                assert_eq!(process.wait().expect("our child").code(), Some(7));
                assert!(!has_children());
            }
        }
    });
}

#[test]
fn without_pidfds_a_wait_with_a_deadline_asks() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        for errno in [libc::ENOSYS, libc::EPERM] {
            refusing(&[Refuse::new(libc::SYS_pidfd_open, errno)], || {
                let setup = each_setup().remove(0);
                let mut process = spawn(setup, End::Never, false);
                assert_eq!(process.wait_timeout(Duration::from_millis(20)), Ok(None));
                process.kill().expect("our child");
                let status = process.wait_timeout(Duration::from_secs(600)).expect("our child");
                assert_eq!(status.expect("it is killed").signal(), Some(libc::SIGKILL));
            });
        }
    });
}

#[test]
fn a_pidfd_takes_no_standard_stream_and_no_number_that_the_request_names() {
    isolated(|| {
        if !Kernel::current().expect("a child can be made").has(Feature::Pidfd) {
            skip("pidfds, which this kernel lacks");
            return;
        }
        let free = open_fds().into_iter().max().expect("some") + 1;
        for closed in [0, 1, 2] {
            // SAFETY: Descriptors only.
            let kept = unsafe { libc::fcntl(closed, libc::F_DUPFD_CLOEXEC, 100) };
            // SAFETY: As above.
            unsafe { libc::close(closed) };
            let found: Vec<i32> = each_setup()
                .into_iter()
                .filter(|setup| setup.kernel.has(Feature::Pidfd))
                .map(|setup| {
                    let mut process = spawn(setup, End::Exit(0), true);
                    process.wait().expect("our child");
                    process.pidfd().expect("it was asked for")
                })
                .collect();
            // SAFETY: As above.
            assert_eq!(unsafe { libc::dup2(kept, closed) }, closed);
            // SAFETY: Ours.
            unsafe { libc::close(kept) };
            assert!(found.iter().all(|fd| *fd > 2), "{closed}: {found:?}");
        }
        for setup in each_setup() {
            if !setup.kernel.has(Feature::Pidfd) {
                continue;
            }
            let fds = [FdAction::Open { child_fd: free, path: c"/dev/null", flags: 0, mode: 0 }];
            let mut request = ending(End::Exit(0));
            setup.apply(request.fds(&fds).pidfd(true));
            let mut process = request.spawn(&mut Room::new()).expect("a child");
            process.wait().expect("our child");
            assert_ne!(process.pidfd(), Some(free), "{setup:?}");
        }
    });
}
