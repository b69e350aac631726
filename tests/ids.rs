//! Credentials, and what is tied to them, seen from the child.

use std::os::fd::AsRawFd;

use crate::common::child::{End, ending};
use crate::common::fork::Sleeper;
use crate::common::rights::{EXECVEAT, may_change_credentials, needs};
use crate::common::{
    Remains, Reporter, Room, each_setup, failure, finish, is_root, isolated, report, skip,
    with_credentials, with_own_memory,
};
use rawspawn::{Errno, Exec, Groups, Mode, Modes, Reason, Request, Step};

type Change = fn(&mut Request<'static>);

const NOBODY: u32 = 65534;

/// What this process's `/proc/self/status` says of its credentials.
fn own_credentials() -> Vec<String> {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let names = ["Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:"];
    let ours = |line: &&str| names.iter().any(|name| line.starts_with(name));
    let mut lines: Vec<_> = status.lines().filter(ours).map(str::to_owned).collect();
    // SAFETY: Touches no memory.
    lines.push(format!("dumpable {}", unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }));
    lines
}

fn set_groups(groups: &[u32]) {
    // SAFETY: As many groups as the length says.
    let result = unsafe { libc::setgroups(groups.len() as _, groups.as_ptr()) };
    assert_eq!(result, 0, "setgroups");
}

#[test]
fn the_three_ids_change_and_the_capabilities_go() {
    isolated(|| {
        if !may_change_credentials() {
            return;
        }
        let before = own_credentials();
        for setup in with_own_memory() {
            let seen = report(setup, |request| {
                request.uid(NOBODY).gid(65533);
            });
            assert_eq!(seen.get("Uid"), "65534 65534 65534 65534", "{setup:?}");
            assert_eq!(seen.get("Gid"), "65533 65533 65533 65533", "{setup:?}");
            for set in ["CapPrm", "CapEff", "CapAmb"] {
                assert_eq!(seen.signals(set), 0, "{setup:?}: {set}");
            }
            assert_eq!(own_credentials(), before, "{setup:?}: the parent");
        }
    });
}

#[test]
fn groups_are_dropped_kept_or_set_as_asked() {
    static NONE: [u32; 0] = [];
    static TWO: [u32; 2] = [5, 9];
    isolated(|| {
        if !may_change_credentials() {
            return;
        }
        set_groups(&[7, 8]);
        let table: &[(Change, &str)] = &[
            (|_| {}, "7 8"),
            (|r| _ = r.uid(NOBODY), ""),
            (|r| _ = r.gid(3), "7 8"),
            (|r| _ = r.groups(Groups::Keep), "7 8"),
            (|r| _ = r.groups(Groups::Keep).uid(NOBODY), "7 8"),
            (|r| _ = r.groups(Groups::Set(&NONE)), ""),
            (|r| _ = r.groups(Groups::Set(&NONE)).uid(NOBODY), ""),
            (|r| _ = r.groups(Groups::Set(&TWO)), "5 9"),
            (|r| _ = r.groups(Groups::Set(&TWO)).uid(NOBODY).gid(3), "5 9"),
        ];
        let before = own_credentials();
        for setup in with_own_memory() {
            for (number, (change, groups)) in table.iter().enumerate() {
                let seen = report(setup, *change);
                assert_eq!(seen.get("Groups"), *groups, "{setup:?}, row {number}");
            }
            assert_eq!(own_credentials(), before, "{setup:?}: the parent");
        }
    });
}

#[test]
fn other_credentials_never_share_memory() {
    isolated(|| {
        static ONE: [u32; 1] = [5];
        let changes: [(Change, Mode); 4] = [
            (|r| _ = r.uid(NOBODY), with_credentials(true, false)),
            (|r| _ = r.gid(NOBODY), with_credentials(false, true)),
            (|r| _ = r.groups(Groups::Set(&ONE)), with_credentials(false, false)),
            (|r| _ = r.groups(Groups::Set(&[])), with_credentials(false, false)),
        ];
        for (number, (change, mode)) in changes.iter().enumerate() {
            let mut request = ending(End::Exit(0));
            change(&mut request);
            let mut room = Room::new();
            let plan = request.plan(&mut room).expect("a plan");
            let expected = (*mode, Reason::Credentials);
            assert_eq!((plan.mode(), plan.reason()), expected, "{number}");
            request.modes(Modes::Vfork);
            let error = request.spawn(&mut Room::new()).expect_err("not in the parent's memory");
            let seen = (error.step(), error.errno());
            assert_eq!(seen, (Step::Mode, Some(Errno::EOPNOTSUPP)), "{number}");
        }
    });
}

#[test]
fn the_id_that_means_unchanged_is_refused() {
    isolated(|| {
        let refused: [(Change, Step, Mode); 2] = [
            (|r| _ = r.uid(u32::MAX), Step::Uid, with_credentials(true, false)),
            (|r| _ = r.gid(u32::MAX), Step::Gid, with_credentials(false, true)),
        ];
        for setup in with_own_memory() {
            for (change, step, mode) in refused {
                if setup.mode == Mode::Stub && mode != Mode::Stub {
                    continue;
                }
                let mut request = ending(End::Exit(0));
                change(&mut request);
                let error = failure(setup, &mut request);
                assert_eq!((error.step(), error.errno()), (step, Some(Errno::EINVAL)), "{setup:?}");
            }
        }
    });
}

#[test]
fn without_privileges_the_own_ids_can_be_set_and_no_others() {
    static ONE: [u32; 1] = [5];
    isolated(|| {
        if !needs(&[EXECVEAT]) {
            return;
        }
        // Without privileges its path may be out of reach.
        let exe = std::fs::File::open("/proc/self/exe").expect("/proc");
        if is_root() {
            if !may_change_credentials() {
                return;
            }
            set_groups(&[7, 8]);
            // SAFETY: Touches no memory.
            assert_eq!(unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) }, 0);
            // SAFETY: Touches no memory.
            assert_eq!(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) }, 0);
        }
        // SAFETY: Touches no memory.
        let (uid, gid) = (unsafe { libc::getuid() }, unsafe { libc::getgid() });
        let refused: &[(Change, Step)] = &[
            (|r| _ = r.uid(0), Step::Uid),
            (|r| _ = r.gid(0), Step::Gid),
            (|r| _ = r.groups(Groups::Set(&ONE)), Step::Groups),
            (|r| _ = r.root(c"/"), Step::Root),
        ];
        let before = own_credentials();
        // A stub would have other saved ids than its parent.
        for setup in with_own_memory().into_iter().filter(|setup| setup.mode == Mode::Fork) {
            let reporter = Reporter::new(&[]);
            let mut request = Request::new(Exec::Fd(exe.as_raw_fd()), reporter.argv);
            setup.apply(&mut request);
            let plain = finish(&reporter, setup, &request);
            request.uid(uid).gid(gid);
            let seen = finish(&reporter, setup, &request);
            assert_eq!(seen.get("Uid"), format!("{uid} {uid} {uid} {uid}"), "{setup:?}");
            assert_eq!(seen.get("Gid"), format!("{gid} {gid} {gid} {gid}"), "{setup:?}");
            // It may not drop them, and gains nothing by keeping them.
            assert_eq!(seen.get("Groups"), plain.get("Groups"), "{setup:?}");
            for (change, step) in refused {
                let mut request = ending(End::Exit(0));
                change(&mut request);
                let error = failure(setup, &mut request);
                assert_eq!((error.step(), error.errno()), (*step, Some(Errno::EPERM)), "{setup:?}");
            }
            assert_eq!(own_credentials(), before, "{setup:?}: the parent");
        }
    });
}

#[test]
fn no_new_privs_is_the_childs_alone() {
    isolated(|| {
        let before = own_credentials();
        for setup in each_setup() {
            let plain = report(setup, |_| {});
            let seen = report(setup, |request| {
                request.no_new_privs(true);
            });
            assert_eq!(seen.number("NoNewPrivs"), 1, "{setup:?}");
            assert_eq!(own_credentials(), before, "{setup:?}: the parent");
            let again = report(setup, |_| {});
            assert_eq!(again.get("NoNewPrivs"), plain.get("NoNewPrivs"), "{setup:?}");
        }
    });
}

#[test]
fn the_parent_death_signal_outlives_a_change_of_credentials() {
    isolated(|| {
        let changes = if may_change_credentials() { 2 } else { 1 };
        for setup in each_setup() {
            for change_uid in [false, true].into_iter().take(changes) {
                if change_uid && setup.mode == Mode::Vfork {
                    continue;
                }
                let seen = report(setup, |request| {
                    request.parent_death_signal(libc::SIGUSR1);
                    if change_uid {
                        request.uid(NOBODY);
                    }
                });
                assert_eq!(seen.number("pdeathsig"), libc::SIGUSR1.into(), "{setup:?}");
            }
            let mut request = ending(End::Exit(0));
            let error = failure(setup, request.parent_death_signal(65));
            let seen = (error.step(), error.errno());
            assert_eq!(seen, (Step::ParentDeathSignal, Some(Errno::EINVAL)), "{setup:?}");
        }
    });
}

#[test]
fn the_parent_death_signal_works_across_pid_namespaces() {
    isolated(|| {
        let setups = each_setup();
        let spawn_in_all = |place: &str| {
            for &setup in &setups {
                let mut request = ending(End::Exit(0));
                request.parent_death_signal(libc::SIGKILL);
                setup.apply(&mut request);
                let before = Remains::look();
                match request.spawn(&mut Room::new()) {
                    Ok(mut process) => _ = process.wait().expect("our child"),
                    Err(error) => panic!("{setup:?}, {place}: {error}"),
                }
                before.assert_unchanged();
            }
        };
        // SAFETY: Only later children are affected.
        if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
            skip("no PID namespaces for us here");
            return;
        }
        // The first child is process 1 in there, and spawns as such. A pipe says
        // when it has, or ends with it.
        let (mut reader, writer) = pipe();
        let init = Sleeper::new(|| {
            // SAFETY: Touches no memory.
            assert_eq!(unsafe { libc::getpid() }, 1);
            spawn_in_all("process 1 of a namespace");
            std::io::Write::write_all(&mut &writer, b"!").expect("a pipe");
        });
        drop(writer);
        let read = std::io::Read::read(&mut reader, &mut [0]).expect("a pipe");
        assert_eq!(read, 1, "process 1 of a namespace could not spawn");
        // To whom its parent, outside of the namespace, is process 0.
        spawn_in_all("a parent outside of the namespace");
        drop(init);
    });
}

fn pipe() -> (std::fs::File, std::fs::File) {
    let mut ends = [0; 2];
    // SAFETY: Room for two numbers.
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }, 0, "pipe2");
    // SAFETY: Just made, and ours.
    let file = |fd| unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) };
    (file(ends[0]), file(ends[1]))
}
