//! Sessions, process groups and terminals, seen from the child.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;

use crate::common::child::{End, assert_refused, ending};
use crate::common::fork::Sleeper;
use crate::common::{each_setup, failure, isolated, report, skip};
use rawspawn::{Errno, FdAction, Step};

/// A new terminal: its master and its slave.
pub(crate) fn terminal() -> Option<(OwnedFd, OwnedFd)> {
    let (mut master, mut slave) = (-1, -1);
    // SAFETY: Writes two numbers; the rest is not wanted. Some C libraries take
    // the last two as pointers to const.
    let result = unsafe {
        libc::openpty(&raw mut master, &raw mut slave, null_mut(), null_mut(), null_mut())
    };
    if result != 0 {
        skip("no pseudo-terminals here");
        return None;
    }
    // SAFETY: Just made, and ours.
    let own = |fd| unsafe { OwnedFd::from_raw_fd(fd) };
    Some((own(master), own(slave)))
}

/// Makes this process a session leader with that terminal.
fn take_terminal(slave: &OwnedFd) {
    // What its leader is sent when the terminal's other end closes.
    // SAFETY: No handler is installed.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    // SAFETY: Touches no memory.
    assert!(unsafe { libc::setsid() } > 0, "setsid");
    // SAFETY: Touches no memory.
    assert_eq!(unsafe { libc::ioctl(slave.as_raw_fd(), libc::TIOCSCTTY, 0) }, 0, "TIOCSCTTY");
}

fn own_group() -> i32 {
    // SAFETY: Touches no memory.
    unsafe { libc::getpgrp() }
}

#[test]
fn a_session_is_new_and_the_child_leads_it() {
    isolated(|| {
        for setup in each_setup() {
            let seen = report(setup, |request| {
                request.session(true);
            });
            let pid = seen.number("pid");
            assert_eq!((seen.number("sid"), seen.number("pgrp")), (pid, pid), "{setup:?}");
        }
    });
}

#[test]
fn the_process_group_is_the_callers_an_own_or_a_given_one() {
    isolated(|| {
        let leader = Sleeper::new(|| {});
        // SAFETY: Touches no memory.
        assert_eq!(unsafe { libc::setpgid(leader.0, leader.0) }, 0, "setpgid");
        // SAFETY: Touches no memory.
        let session = unsafe { libc::getsid(0) };
        for setup in each_setup() {
            let seen = report(setup, |_| {});
            assert_eq!(seen.number("pgrp"), own_group().into(), "{setup:?}");
            let seen = report(setup, |request| {
                request.process_group(0);
            });
            assert_eq!(seen.number("pgrp"), seen.number("pid"), "{setup:?}");
            assert_eq!(seen.number("sid"), session.into(), "{setup:?}");
            let seen = report(setup, |request| {
                request.process_group(leader.0);
            });
            assert_eq!(seen.number("pgrp"), leader.0.into(), "{setup:?}");
        }
    });
}

#[test]
fn what_cannot_be_is_refused_at_its_step() {
    isolated(|| {
        static IN: [FdAction<'static>; 1] =
            [FdAction::Open { child_fd: 0, path: c"/dev/null", flags: 0, mode: 0 }];
        let null = std::fs::File::open("/dev/null").expect("/dev/null");
        // SAFETY: Descriptors only.
        assert_eq!(unsafe { libc::dup2(null.as_raw_fd(), 50) }, 50);
        assert_refused(&[
            (|r| _ = r.session(true).process_group(0), Step::ProcessGroup, Errno::EPERM),
            (|r| _ = r.process_group(-1), Step::ProcessGroup, Errno::EINVAL),
            (|r| _ = r.process_group(i32::MAX), Step::ProcessGroup, Errno::EPERM),
            (
                |r| _ = r.session(true).controlling_terminal(50).fds(&IN),
                Step::ControllingTerminal,
                Errno::ENOTTY,
            ),
            (|r| _ = r.foreground(50), Step::Foreground, Errno::ENOTTY),
            (|r| _ = r.foreground(51), Step::Foreground, Errno::EBADF),
        ]);
    });
}

#[test]
fn a_session_leader_takes_its_terminal() {
    isolated(|| {
        for setup in each_setup() {
            let Some((_master, slave)) = terminal() else { return };
            let slave = slave.as_raw_fd();
            let stdin = [FdAction::Map { parent_fd: slave, child_fd: 0 }];
            let seen = report(setup, |request| {
                request.session(true).controlling_terminal(slave).fds(&stdin);
            });
            let pid = seen.number("pid");
            assert_eq!(seen.number("sid"), pid, "{setup:?}");
            assert_eq!(seen.number("foreground"), pid, "{setup:?}: not its terminal");
            let mut request = ending(End::Exit(0));
            let error = failure(setup, request.controlling_terminal(slave));
            let seen = (error.step(), error.errno());
            let expected = (Step::ControllingTerminal, Some(Errno::EPERM));
            assert_eq!(seen, expected, "{setup:?}: without a session");
        }
    });
}

#[test]
fn a_terminal_of_another_session_is_not_stolen() {
    isolated(|| {
        let Some((_master, slave)) = terminal() else { return };
        take_terminal(&slave);
        for setup in each_setup() {
            let mut request = ending(End::Exit(0));
            request.session(true).controlling_terminal(slave.as_raw_fd());
            let error = failure(setup, &mut request);
            let seen = (error.step(), error.errno());
            let expected = (Step::ControllingTerminal, Some(Errno::EPERM));
            assert_eq!(seen, expected, "{setup:?}");
        }
    });
}

#[test]
fn a_background_child_takes_the_foreground_and_is_not_stopped() {
    isolated(|| {
        let Some((_master, slave)) = terminal() else { return };
        take_terminal(&slave);
        let slave = slave.as_raw_fd();
        // SAFETY: No handler is installed.
        unsafe { libc::signal(libc::SIGTTOU, libc::SIG_DFL) };
        // SAFETY: No handler is installed.
        unsafe { libc::signal(libc::SIGUSR2, libc::SIG_IGN) };
        let usr1 = 1u64 << (libc::SIGUSR1 - 1);
        let (how, set) = (libc::SIG_BLOCK, &raw const usr1);
        // SAFETY: The kernel reads eight bytes.
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, set, 0, size_of_val(&usr1)) };
        let leader = Sleeper::new(|| {});
        // SAFETY: Touches no memory.
        assert_eq!(unsafe { libc::setpgid(leader.0, leader.0) }, 0, "setpgid");
        let stdin = [FdAction::Map { parent_fd: slave, child_fd: 0 }];
        for setup in each_setup() {
            let plain = report(setup, |_| {});
            for group in [Some(0), None, Some(leader.0), Some(0)] {
                let seen = report(setup, |request| {
                    request.foreground(slave).fds(&stdin);
                    if let Some(group) = group {
                        request.process_group(group);
                    }
                });
                let expected = match group {
                    None => own_group().into(),
                    Some(0) => seen.number("pid"),
                    Some(group) => group.into(),
                };
                assert_eq!(seen.number("pgrp"), expected, "{setup:?}, {group:?}");
                assert_eq!(seen.number("foreground"), expected, "{setup:?}, {group:?}");
                // The foreground group stays, even once it is empty.
                // SAFETY: Touches no memory of ours.
                let foreground = unsafe { libc::tcgetpgrp(slave) };
                assert_eq!(i64::from(foreground), expected, "{setup:?}, {group:?}");
                for set in ["SigBlk", "SigIgn"] {
                    assert_eq!(seen.signals(set), plain.signals(set), "{setup:?}, {group:?}");
                }
            }
        }
    });
}
