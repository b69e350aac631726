//! What a service manager sets, seen from the service.

use std::fs;

use rawspawn::{
    Errno, Exec, FdAction, Feature, Kernel, ListenFds, Mode, Modes, Namespaces, NsSet, Reason,
    Request, Step, argv,
};

use crate::common::child::{End, ending};
use crate::common::rights::may_change_credentials;
use crate::common::rights::may_make;
use crate::common::{Report, Room, each_setup, forked, isolated, report, with_own_memory};

const THREE: [FdAction<'_>; 3] = [
    FdAction::Map { parent_fd: 0, child_fd: 3 },
    FdAction::Map { parent_fd: 1, child_fd: 4 },
    FdAction::Map { parent_fd: 2, child_fd: 5 },
];

fn listen_variables(seen: &Report) -> Vec<String> {
    let all = seen.get("environ").split('|');
    let mut variables: Vec<_> =
        all.filter(|v| v.starts_with("LISTEN")).map(str::to_owned).collect();
    variables.sort();
    variables
}

/// Why a child has memory of its own, if it works on that.
fn own_memory() -> Reason {
    let kernel = Kernel::current().expect("a child can be made");
    if kernel.has(Feature::SharedMemory) { Reason::Memory } else { Reason::Kernel }
}

#[test]
fn a_service_is_told_the_descriptors_to_listen_on_and_its_own_pid() {
    isolated(|| {
        let listen = ListenFds::new(3).names(c"http:https:admin");
        let plain = ListenFds::new(0);
        for setup in with_own_memory() {
            let seen = report(setup, |r| {
                let env = argv![
                    c"A=B",
                    c"LISTEN_PID=1",
                    c"LISTEN_FDS=9",
                    c"LISTENER=me",
                    c"LISTEN_FDNAMES=x"
                ];
                r.env(env).fds(&THREE).listen_fds(&listen);
            });
            let pid = format!("LISTEN_PID={}", seen.number("pid"));
            let names = "LISTEN_FDNAMES=http:https:admin";
            let expected = ["LISTENER=me", names, "LISTEN_FDS=3", &pid];
            assert_eq!(listen_variables(&seen), expected, "{setup:?}");
            assert!(seen.get("environ").contains("A=B"), "{setup:?}");
            assert_eq!(seen.fds(), [0, 1, 2, 3, 4, 5], "{setup:?}");
            // The environment that is inherited, and no names.
            let seen = report(setup, |r| _ = r.listen_fds(&plain));
            let pid = format!("LISTEN_PID={}", seen.number("pid"));
            assert_eq!(listen_variables(&seen), ["LISTEN_FDS=0", &pid], "{setup:?}");
        }
    });
}

#[test]
fn a_pid_that_only_the_child_knows_is_written_to_its_own_memory() {
    isolated(|| {
        let listen = ListenFds::new(1);
        let mut request = ending(End::Exit(0));
        request.env(argv![]).fds(&THREE).listen_fds(&listen);
        let process = request.spawn(&mut Room::new()).expect("a child");
        assert_eq!(process.reason(), own_memory());
        let error = request.modes(Modes::Vfork).spawn(&mut Room::new()).expect_err("its memory");
        assert_eq!((error.step(), error.errno()), (Step::Mode, Some(Errno::EOPNOTSUPP)));
        // Each of several at once has its own.
        request.modes(Modes::Any);
        let mut room = Room::new();
        let plan = request.plan(&mut room).expect("room");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let status = plan.spawn().expect("a child").wait();
                    assert!(status.expect("our child").success());
                });
            }
        });
    });
}

#[test]
fn the_pid_of_an_init_is_known_before_it_is_there() {
    isolated(|| {
        if !may_make(NsSet::PID) {
            return;
        }
        let listen = ListenFds::new(1);
        let namespaces = Namespaces::new(NsSet::PID);
        for setup in each_setup() {
            let seen = report(setup, |r| {
                r.env(argv![]).fds(&THREE).namespaces(&namespaces).listen_fds(&listen);
            });
            assert_eq!(listen_variables(&seen), ["LISTEN_FDS=1", "LISTEN_PID=1"], "{setup:?}");
        }
    });
}

#[test]
fn what_is_passed_on_is_refused_if_it_is_not_there() {
    isolated(|| {
        let listen = ListenFds::new(4);
        let mut request = ending(End::Exit(0));
        request.fds(&THREE).listen_fds(&listen);
        let error = request.spawn(&mut Room::new()).expect_err("there is no fourth");
        let seen = (error.step(), error.index(), error.errno());
        assert_eq!(seen, (Step::ListenFds, 3, Some(Errno::EBADF)));
    });
}

#[test]
fn a_pid_of_another_proc_is_told_to_nobody() {
    isolated(|| {
        if !may_make(NsSet::PID) {
            return;
        }
        let listen = ListenFds::new(1);
        forked(|| {
            // SAFETY: Touches no memory.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
            // Its pid is 1, and another one in /proc.
            forked(|| {
                let mut request = ending(End::Exit(0));
                request.env(argv![]).fds(&THREE).listen_fds(&listen);
                let error = request.spawn(&mut Room::new()).expect_err("whose pid?");
                let seen = (error.step(), error.errno());
                assert_eq!(seen, (Step::ListenFds, Some(Errno::EINVAL)));
            });
        });
    });
}

#[test]
fn a_service_of_another_user_has_it_all_in_a_stub() {
    isolated(|| {
        if !may_change_credentials() {
            return;
        }
        let listen = ListenFds::new(1);
        for setup in with_own_memory() {
            let seen = report(setup, |r| {
                r.env(argv![]).fds(&THREE).listen_fds(&listen).uid(65534).coredump_filter(0x11);
            });
            let pid = format!("LISTEN_PID={}", seen.number("pid"));
            assert_eq!(listen_variables(&seen), ["LISTEN_FDS=1", &pid], "{setup:?}");
            assert_eq!(seen.get("coredump_filter"), "00000011", "{setup:?}");
        }
    });
}

#[test]
fn timers_orphans_and_core_dumps_are_the_childs_own() {
    isolated(|| {
        let own = |name| fs::read_to_string(format!("/proc/self/{name}")).expect("/proc");
        let before = own("coredump_filter");
        let slack = || {
            // SAFETY: Touches no memory.
            unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) }
        };
        let slack_before = slack();
        for setup in each_setup() {
            let seen = report(setup, |r| _ = r.timer_slack(123_456).subreaper(true));
            // Not everybody may read it.
            if fs::read("/proc/self/timerslack_ns").is_ok() {
                assert_eq!(seen.get("timerslack_ns"), "123456", "{setup:?}");
            }
            assert_eq!(seen.number("subreaper"), 1, "{setup:?}");
            let seen = report(setup, |r| _ = r.subreaper(false));
            assert_eq!(seen.number("subreaper"), 0, "{setup:?}");
            assert_eq!(slack(), slack_before, "{setup:?}: the parent");
        }
        for setup in with_own_memory() {
            let seen = report(setup, |r| _ = r.coredump_filter(0x7f));
            assert_eq!(seen.get("coredump_filter"), "0000007f", "{setup:?}");
            assert_eq!(own("coredump_filter"), before, "{setup:?}: the parent");
        }
        let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
        let process = request.env(argv![]).coredump_filter(1).spawn(&mut Room::new());
        let process = process.expect("a child");
        assert_eq!(process.reason(), own_memory());
        assert_ne!(process.mode(), Mode::Vfork);
    });
}
