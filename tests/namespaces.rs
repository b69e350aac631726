//! The namespaces of a child, and what is in them, seen from inside.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

use rawspawn::{
    CapSet, Capabilities, Errno, Exec, FdAction, Feature, FsAction, Groups, IdRange, Join, Kernel,
    Mode, Modes, Namespaces, NsSet, ParentHook, Process, Reason, Request, Step,
};

use crate::common::child::{End, ending};
use crate::common::rights::{
    MOUNT, PIDFD_OPEN, PIVOT_ROOT, SETHOSTNAME, has_ids, may_change_credentials, may_choose_pids,
    may_join_pids, may_make, may_make_devices, may_make_for, needs,
};
use crate::common::{
    KINDS, Report, Reporter, Room, Setup, TempDir, each_setup, failure, fd_state, forked, isolated,
    report, skip, with_own_memory,
};

pub(crate) const NOBODY: u32 = 65534;

/// The namespaces of process `pid`.
fn of_process(pid: &str) -> Vec<String> {
    let link = |kind| fs::read_link(format!("/proc/{pid}/ns/{kind}"));
    KINDS.map(|(_, kind)| link(kind).unwrap_or_default().display().to_string()).into()
}

fn of_report(seen: &Report) -> Vec<String> {
    KINDS.map(|(_, kind)| seen.get(&format!("ns/{kind}")).to_owned()).into()
}

/// The kinds of namespaces in which two processes differ.
fn different(one: &[String], other: &[String]) -> Vec<&'static str> {
    let pairs = KINDS.map(|(_, kind)| kind).into_iter().zip(one.iter().zip(other));
    pairs.filter(|(_, (one, other))| one != other).map(|(kind, _)| kind).collect()
}

/// Those whose child is a fork, as memory is not shared where others could reach it.
fn by_fork() -> Vec<Setup> {
    each_setup().into_iter().filter(|setup| setup.mode == Mode::Fork).collect()
}

/// Those in which no memory is shared, where there is a time namespace.
fn fits(setup: Setup, kinds: NsSet) -> bool {
    !kinds.contains(NsSet::TIME) || setup.mode != Mode::Vfork
}

#[test]
fn a_child_has_the_new_namespaces_that_are_asked_for_and_no_others() {
    isolated(|| {
        let own = of_process("self");
        let all = KINDS.iter().fold(NsSet::EMPTY, |all, (kind, _)| all.with(*kind));
        let without_user = all.without(NsSet::USER);
        let single = KINDS.iter().map(|(kind, _)| *kind);
        for kinds in single.chain([without_user]).filter(|kinds| *kinds != NsSet::USER) {
            // A new mount namespace is made a slave of the old.
            let calls = if kinds.contains(NsSet::MOUNT) { &[MOUNT][..] } else { &[] };
            if !may_make_for(kinds, calls) {
                continue;
            }
            let namespaces = Namespaces::new(kinds);
            let names = KINDS.iter().filter(|(kind, _)| kinds.contains(*kind));
            let names: Vec<_> = names.map(|(_, name)| *name).collect();
            for setup in each_setup().into_iter().filter(|setup| fits(*setup, kinds)) {
                let seen = report(setup, |r| _ = r.namespaces(&namespaces));
                assert_eq!(different(&own, &of_report(&seen)), names, "{setup:?}, {kinds:?}");
                let (pid, ppid) = (seen.number("pid"), seen.number("ppid"));
                assert_eq!((pid, ppid) == (1, 0), kinds.contains(NsSet::PID), "{setup:?}");
                assert_eq!(of_process("self"), own, "{setup:?}: the parent");
            }
        }
    });
}

#[test]
fn a_childs_parent_death_signal_is_set_in_another_pid_namespace_too() {
    isolated(|| {
        let namespaces = Namespaces::new(NsSet::PID);
        for setup in each_setup().into_iter().filter(|_| may_make(NsSet::PID)) {
            let seen = report(setup, |r| _ = r.namespaces(&namespaces).parent_death_signal(15));
            assert_eq!(seen.number("pdeathsig"), 15, "{setup:?}");
        }
    });
}

/// Becomes a user without privileges, as one who was never anybody else.
pub(crate) fn become_nobody() {
    // SAFETY: No group.
    assert_eq!(unsafe { libc::setgroups(0, std::ptr::null()) }, 0);
    // SAFETY: Touches no memory.
    assert_eq!(unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) }, 0);
    // SAFETY: Touches no memory.
    assert_eq!(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) }, 0);
    // Of who has changed its ids the files in /proc are root's.
    // SAFETY: Touches no memory.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) }, 0);
}

/// Whether somebody without privileges may make a user namespace; says so if not.
pub(crate) fn users_may_make() -> bool {
    let limit = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    let clone = fs::read_to_string("/proc/sys/kernel/unprivileged_userns_clone");
    let may = limit.trim() != "0" && clone.map_or(true, |value| value.trim() != "0");
    if !may {
        skip("a user namespace without privileges, which is forbidden here");
    }
    may && may_change_credentials() && may_make(NsSet::USER)
}

/// The map of one's own id to that of root.
const UIDS: [IdRange; 1] = [IdRange::new(0, NOBODY, 1)];

#[test]
fn somebody_without_privileges_is_root_in_a_namespace_of_their_own() {
    static CAPABILITIES: Capabilities = Capabilities::only(CapSet::EMPTY.with(10));
    isolated(|| {
        let kinds = NsSet::USER.with(NsSet::PID).with(NsSet::UTS).with(NsSet::NET);
        if !users_may_make() || !may_make_for(kinds, &[SETHOSTNAME]) {
            return;
        }
        let namespaces =
            Namespaces::new(kinds).id_maps(&UIDS, &UIDS).hostname(c"box").loopback(true);
        forked(|| {
            become_nobody();
            let own = of_process("self");
            for setup in by_fork() {
                let seen = report(setup, |r| _ = r.namespaces(&namespaces));
                let expected = ["uts", "net", "pid", "user"];
                assert_eq!(different(&own, &of_report(&seen)), expected, "{setup:?}");
                for (key, value) in [
                    ("uid_map", "0 65534 1"),
                    ("gid_map", "0 65534 1"),
                    ("setgroups", "deny"),
                    ("Uid", "0 0 0 0"),
                    ("Gid", "0 0 0 0"),
                    ("hostname", "box"),
                    ("loopback", "true"),
                    ("pid", "1"),
                ] {
                    assert_eq!(seen.get(key), value, "{setup:?}: {key}");
                }
                assert_eq!(seen.signals("CapEff"), seen.signals("CapBnd"), "{setup:?}");
                assert_ne!(seen.signals("CapEff"), 0, "{setup:?}");
            }
            // As root there, credentials can be changed.
            for setup in by_fork() {
                let seen = report(setup, |r| {
                    r.namespaces(&namespaces).capabilities(&CAPABILITIES).no_new_privs(true);
                });
                assert_eq!(seen.signals("CapEff"), 1 << 10, "{setup:?}");
                assert_eq!(seen.signals("CapBnd"), 1 << 10, "{setup:?}");
            }
        });
    });
}

#[test]
fn ranges_of_ids_are_mapped_by_the_parent_while_the_child_waits() {
    static UIDS: [IdRange; 2] = [IdRange::new(0, 100_000, 1000), IdRange::new(5000, 0, 1)];
    static GIDS: [IdRange; 3] =
        [IdRange::new(0, 200_000, 10), IdRange::new(10, 300_000, 65536), IdRange::new(70000, 0, 1)];
    isolated(|| {
        if !may_make_for(NsSet::USER.with(NsSet::MOUNT), &[MOUNT]) || !has_ids(100_000, 300_000) {
            return;
        }
        let namespaces = Namespaces::new(NsSet::USER.with(NsSet::PID)).id_maps(&UIDS, &GIDS);
        for setup in by_fork() {
            // As who they were: root, of whom the map has another id.
            let seen = report(setup, |r| _ = r.namespaces(&namespaces));
            assert_eq!(seen.get("uid_map"), "0 100000 1000|5000 0 1", "{setup:?}");
            assert_eq!(seen.get("gid_map"), "0 200000 10|10 300000 65536|70000 0 1", "{setup:?}");
            assert_eq!(seen.get("setgroups"), "allow", "{setup:?}");
            assert_eq!(seen.get("Uid"), "5000 5000 5000 5000", "{setup:?}");
            assert_eq!(seen.get("Gid"), "70000 70000 70000 70000", "{setup:?}");
            // As root there.
            let seen = report(setup, |r| {
                r.namespaces(&namespaces).uid(0).gid(0).groups(Groups::Set(&[7]));
            });
            assert_eq!(seen.get("Uid"), "0 0 0 0", "{setup:?}");
            assert_eq!(seen.get("Groups"), "7", "{setup:?}");
            assert_eq!(seen.signals("CapEff"), seen.signals("CapBnd"), "{setup:?}");
        }
        // Who is not mapped is root there, or could make no file.
        let ranges = [IdRange::new(0, 100_000, 1000)];
        let dir = TempDir::new();
        let (root, bin) = (dir.join(""), dir.join("bin"));
        let actions = [FsAction::tmpfs(&root, c""), FsAction::Mkdir { path: &bin, mode: 0o700 }];
        let furnished = Namespaces::new(NsSet::USER.with(NsSet::MOUNT))
            .id_maps(&ranges, &ranges)
            .filesystem(&actions);
        let setup = by_fork()[0];
        let seen = report(setup, |r| _ = r.namespaces(&furnished));
        assert_eq!(seen.get("Uid"), "0 0 0 0");
        let denied = namespaces.deny_setgroups(true);
        assert_eq!(report(setup, |r| _ = r.namespaces(&denied)).get("setgroups"), "deny");
        // Whoever writes the maps.
        let hook = |pid: i32| {
            let write = |name| fs::write(format!("/proc/{pid}/{name}"), "0 100000 1000");
            write("uid_map").and_then(|()| write("gid_map")).map_err(|_| Errno::EIO)
        };
        let denied = Namespaces::new(NsSet::USER).deny_setgroups(true);
        let seen = report(setup, |r| {
            r.namespaces(&denied).parent_hook(ParentHook::new(&hook));
        });
        assert_eq!(seen.get("setgroups"), "deny");
    });
}

/// A child in namespaces of its own, for others to join.
struct Holder(Process);

impl Holder {
    fn new(namespaces: &Namespaces<'_>) -> Self {
        let mut request = ending(End::Never);
        let pidfds = Kernel::current().expect("known").has(Feature::Pidfd);
        let process = request.namespaces(namespaces).pidfd(pidfds).spawn(&mut Room::new());
        Self(process.expect("namespaces"))
    }

    fn open(&self, kind: &str) -> File {
        File::open(format!("/proc/{}/ns/{kind}", self.0.pid())).expect("a namespace")
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn existing_namespaces_are_joined_by_descriptor() {
    isolated(|| {
        let all = NsSet::MOUNT.with(NsSet::UTS).with(NsSet::IPC).with(NsSet::NET);
        let kinds = all.with(NsSet::PID).with(NsSet::CGROUP);
        if !may_make_for(kinds, &[SETHOSTNAME]) || !may_join_pids() {
            return;
        }
        let own = of_process("self");
        let holder = Holder::new(&Namespaces::new(kinds).hostname(c"held"));
        let held = of_process(&holder.0.pid().to_string());
        for (kind, name) in KINDS.iter().filter(|(kind, _)| kinds.contains(*kind)) {
            let file = holder.open(name);
            let join = [Join::new(file.as_raw_fd(), *kind)];
            let namespaces = Namespaces::new(NsSet::EMPTY).join(&join);
            for setup in each_setup() {
                // Others there could reach what is shared.
                if *kind == NsSet::PID && setup.mode != Mode::Fork {
                    continue;
                }
                let seen = report(setup, |r| _ = r.namespaces(&namespaces));
                assert_eq!(different(&own, &of_report(&seen)), [*name], "{setup:?}");
                assert_eq!(different(&held, &of_report(&seen)).len(), 5, "{setup:?}");
                assert_eq!(of_process("self"), own, "{setup:?}: the parent");
                let children = fs::read_link("/proc/thread-self/ns/pid_for_children");
                let children = children.expect("/proc").display().to_string();
                assert_eq!(children, own[4], "{setup:?}: the parent's children");
            }
        }
    });
}

#[test]
fn all_namespaces_of_a_process_are_joined_by_its_pidfd() {
    isolated(|| {
        let kinds = NsSet::UTS.with(NsSet::PID).with(NsSet::NET);
        if !may_make_for(kinds, &[SETHOSTNAME]) || !may_join_pids() || !needs(&[PIDFD_OPEN]) {
            return;
        }
        let holder = Holder::new(&Namespaces::new(kinds).hostname(c"held"));
        let join = [Join::new(holder.0.pidfd().expect("asked for"), kinds)];
        let namespaces = Namespaces::new(NsSet::EMPTY).join(&join);
        let held = of_process(&holder.0.pid().to_string());
        for setup in by_fork() {
            let mut request = ending(End::Exit(0));
            setup.apply(request.namespaces(&namespaces));
            match request.spawn(&mut Room::new()) {
                Ok(mut process) => assert!(process.wait().expect("our child").success()),
                Err(error) => {
                    assert_eq!((error.step(), error.errno()), (Step::Join, Some(Errno::EINVAL)));
                    skip("joining by pidfd, which takes Linux 5.8");
                    return;
                }
            }
            let seen = report(setup, |r| _ = r.namespaces(&namespaces));
            assert_eq!(different(&held, &of_report(&seen)).len(), 0, "{setup:?}");
            assert_eq!(seen.get("hostname"), "held", "{setup:?}");
            assert!(seen.number("pid") > 1, "{setup:?}: the first is another");
        }
    });
}

#[test]
fn a_user_namespace_is_joined_and_new_ones_belong_to_it() {
    isolated(|| {
        if !users_may_make() || !may_make_for(NsSet::UTS, &[SETHOSTNAME]) {
            return;
        }
        forked(|| {
            become_nobody();
            let namespaces = Namespaces::new(NsSet::USER).id_maps(&UIDS, &UIDS);
            let holder = Holder::new(&namespaces);
            let file = holder.open("user");
            let join = [Join::new(file.as_raw_fd(), NsSet::USER)];
            let namespaces =
                Namespaces::new(NsSet::UTS).join(&join).hostname(c"joined").domainname(c"d");
            let held = of_process(&holder.0.pid().to_string());
            for setup in with_own_memory() {
                let seen = report(setup, |r| _ = r.namespaces(&namespaces));
                assert_eq!(different(&held, &of_report(&seen)), ["uts"], "{setup:?}");
                assert_eq!(seen.get("hostname"), "joined", "{setup:?}");
                assert_eq!(seen.get("domainname"), "d", "{setup:?}");
                assert_eq!(seen.get("Uid"), "0 0 0 0", "{setup:?}");
            }
            let mut request = ending(End::Exit(0));
            let plan =
                |r: &Request<'_>| r.plan(&mut Room::new()).map(|plan| (plan.mode(), plan.reason()));
            let seen = plan(request.namespaces(&namespaces)).expect("a plan");
            assert_eq!(seen.1, Reason::Credentials);
            let error = plan(request.modes(Modes::Vfork)).expect_err("other credentials");
            assert_eq!((error.step(), error.errno()), (Step::Mode, Some(Errno::EOPNOTSUPP)));
        });
    });
}

#[test]
fn memory_that_others_in_a_namespace_could_reach_is_not_shared() {
    isolated(|| {
        let all = NsSet::USER.with(NsSet::PID);
        if !may_make(all) {
            return;
        }
        let holder = Holder::new(&Namespaces::new(NsSet::PID));
        let file = holder.open("pid");
        let join = [Join::new(file.as_raw_fd(), NsSet::PID)];
        let is_a_fork = |namespaces: &Namespaces<'_>| {
            let mut request = ending(End::Exit(0));
            request.namespaces(namespaces);
            let mut process = request.spawn(&mut Room::new()).expect("a fork");
            assert_eq!((process.mode(), process.reason()), (Mode::Fork, Reason::Namespaces));
            let mut room = Room::new();
            let plan = request.plan(&mut room).expect("room").to_string();
            assert!(!plan.contains("CLONE_FILES"), "its parent's descriptors: {plan}");
            // Or the holder, their init, would wait for it.
            assert!(process.wait().expect("our child").success());
            for modes in [Modes::Vfork, Modes::Stub] {
                let error = request.modes(modes).spawn(&mut Room::new()).expect_err("not that");
                assert_eq!((error.step(), error.errno()), (Step::Mode, Some(Errno::EOPNOTSUPP)));
            }
        };
        is_a_fork(&Namespaces::new(NsSet::USER));
        if may_join_pids() {
            is_a_fork(&Namespaces::new(NsSet::EMPTY).join(&join));
        }
        if !users_may_make() {
            return;
        }
        // Nor with somebody's who has no privileges: others of the same user, who may not
        // trace the parent, own the namespace too.
        forked(|| {
            become_nobody();
            is_a_fork(&Namespaces::new(all).id_maps(&UIDS, &UIDS));
        });
    });
}

#[test]
fn who_could_not_come_back_from_a_pid_namespace_does_not_enter_it() {
    isolated(|| {
        if !users_may_make() || !may_make(NsSet::PID) {
            return;
        }
        forked(|| {
            become_nobody();
            // Here we may do all, but not in the PID namespace, which belongs to another.
            // SAFETY: Touches no memory.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWUSER) }, 0);
            let holder = Holder::new(&Namespaces::new(NsSet::PID));
            let file = holder.open("pid");
            let join = [Join::new(file.as_raw_fd(), NsSet::PID)];
            let namespaces = Namespaces::new(NsSet::EMPTY).join(&join);
            for setup in by_fork() {
                let error = failure(setup, ending(End::Exit(0)).namespaces(&namespaces));
                assert_eq!((error.step(), error.errno()), (Step::Join, Some(Errno::EPERM)));
                let seen = report(setup, |_| {});
                assert!(seen.number("ppid") > 0, "{setup:?}: the next child is in it");
            }
        });
    });
}

#[test]
fn the_way_back_from_a_pid_namespace_is_no_descriptor_of_the_childs() {
    isolated(|| {
        if !may_make(NsSet::PID) || !may_join_pids() {
            return;
        }
        let holder = Holder::new(&Namespaces::new(NsSet::PID));
        let file = holder.open("pid");
        let join = [Join::new(file.as_raw_fd(), NsSet::PID)];
        let namespaces = Namespaces::new(NsSet::EMPTY).join(&join);
        // The numbers that the parent's next descriptors will have.
        let free: Vec<_> = (3..).filter(|fd| fd_state(*fd).is_none()).take(4).collect();
        for setup in by_fork() {
            for fd in &free {
                let map = [FdAction::Map { parent_fd: *fd, child_fd: 9 }];
                let error = failure(setup, ending(End::Exit(0)).namespaces(&namespaces).fds(&map));
                assert_eq!((error.step(), error.errno()), (Step::Move, Some(Errno::EBADF)));
            }
            // Nor is it the namespace that is joined.
            let join = [Join::new(free[0], NsSet::PID)];
            let namespaces = Namespaces::new(NsSet::EMPTY).join(&join);
            let error = failure(setup, ending(End::Exit(0)).namespaces(&namespaces));
            assert_eq!((error.step(), error.errno()), (Step::Join, Some(Errno::EBADF)));
        }
    });
}

#[test]
fn the_first_process_of_a_namespace_that_was_unshared_is_the_program() {
    isolated(|| {
        if !may_make(NsSet::PID) {
            return;
        }
        let nothing = |_| Ok(());
        let hook = ParentHook::new(&nothing);
        for change in [
            (|_| ()) as for<'a> fn(&mut Request<'a>),
            |request| _ = request.parent_death_signal(libc::SIGKILL),
            |request| _ = request.parent_death_signal(libc::SIGKILL).session(true),
        ] {
            for has_hook in [false, true] {
                // In a process that has not spawned anything yet.
                forked(|| {
                    // SAFETY: Touches no memory.
                    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
                    let reporter = Reporter::new(&[]);
                    let mut request = Request::new(Exec::Path(reporter.exe), reporter.argv);
                    change(&mut request);
                    if has_hook {
                        request.parent_hook(hook);
                    }
                    let mut process = request.spawn(&mut Room::new()).expect("a child");
                    assert!(process.wait().expect("our child").success());
                    let seen = reporter.read();
                    assert_eq!((seen.number("pid"), seen.number("ppid")), (1, 0));
                });
            }
        }
    });
}

#[test]
fn a_parent_death_signal_goes_with_a_namespace_that_is_joined() {
    isolated(|| {
        if !may_make(NsSet::PID) || !may_join_pids() {
            return;
        }
        let holder = Holder::new(&Namespaces::new(NsSet::PID));
        let own = File::open("/proc/self/ns/pid").expect("/proc");
        for file in [own, holder.open("pid")] {
            let join = [Join::new(file.as_raw_fd(), NsSet::PID)];
            let namespaces = Namespaces::new(NsSet::EMPTY).join(&join);
            for setup in by_fork() {
                let seen = report(setup, |r| _ = r.namespaces(&namespaces).parent_death_signal(15));
                assert_eq!(seen.number("pdeathsig"), 15, "{setup:?}");
            }
        }
    });
}

#[test]
fn who_becomes_root_of_a_user_namespace_has_no_groups_left() {
    isolated(|| {
        let kinds = NsSet::USER.with(NsSet::MOUNT);
        if !may_make_for(kinds, &[MOUNT]) || !may_change_credentials() || !has_ids(100_000, 1000) {
            return;
        }
        let ranges = [IdRange::new(0, 100_000, 1000)];
        let dir = TempDir::new();
        let root = dir.join("");
        let actions = [FsAction::tmpfs(&root, c"")];
        let namespaces = Namespaces::new(NsSet::USER.with(NsSet::MOUNT))
            .id_maps(&ranges, &ranges)
            .filesystem(&actions);
        forked(|| {
            // SAFETY: Two groups.
            assert_eq!(unsafe { libc::setgroups(2, [4, 5].as_ptr()) }, 0);
            for setup in by_fork() {
                let seen = report(setup, |r| _ = r.namespaces(&namespaces));
                assert_eq!((seen.get("Uid"), seen.get("Groups")), ("0 0 0 0", ""), "{setup:?}");
                let kept = report(setup, |r| _ = r.namespaces(&namespaces).groups(Groups::Keep));
                assert_eq!(kept.get("Groups"), "65534 65534", "{setup:?}");
            }
        });
    });
}

#[test]
fn a_mount_namespace_is_furnished_and_the_parents_is_not() {
    isolated(|| {
        if !may_make_for(NsSet::MOUNT, &[MOUNT]) {
            return;
        }
        let mounts = || fs::read_to_string("/proc/self/mounts").expect("/proc");
        let before = mounts();
        let dir = TempDir::new();
        fs::create_dir(dir.path().join("from")).expect("ours");
        fs::create_dir(dir.path().join("box")).expect("ours");
        let path = |name| dir.join(name);
        let [from, root, bin, file, link, device] =
            ["from", "box", "box/bin", "box/file", "box/link", "box/null"].map(path);
        let host = dir.join("from");
        let actions = [
            FsAction::tmpfs(&root, c"mode=751,size=64k"),
            FsAction::Mkdir { path: &bin, mode: 0o700 },
            FsAction::Mkdir { path: &bin, mode: 0o700 },
            FsAction::bind(&from, &bin),
            FsAction::read_only(&bin, libc::MS_NOSUID as u32),
            FsAction::File { path: &file, mode: 0o600 },
            FsAction::bind(c"/proc/self/status", &file),
            FsAction::Symlink { target: c"file", path: &link },
            if may_make_devices() {
                FsAction::Device { path: &device, mode: 0o020_666, device: 0x103 }
            } else {
                FsAction::File { path: &device, mode: 0o666 }
            },
            FsAction::tmpfs(&host, c""),
            FsAction::Unmount { target: &host, flags: 0 },
        ];
        let namespaces = Namespaces::new(NsSet::MOUNT).filesystem(&actions);
        for setup in each_setup() {
            let seen = report(setup, |r| _ = r.namespaces(&namespaces));
            let place = dir.path().display().to_string();
            let lines: Vec<_> =
                seen.get("mounts").split('|').filter(|line| line.contains(&place)).collect();
            assert_eq!(lines.len(), 3, "{setup:?}: {lines:?}");
            assert!(lines[0].contains("tmpfs rw,nosuid,nodev") && lines[0].contains("mode=751"));
            assert!(lines[1].contains("/box/bin") && lines[1].contains(" ro,nosuid"), "{lines:?}");
            assert!(lines[2].contains("/box/file"), "{lines:?}");
            assert_eq!(mounts(), before, "{setup:?}: the parent");
            assert_eq!(fs::read_dir(dir.path().join("box")).expect("ours").count(), 0);
        }
    });
}

#[test]
fn a_new_root_takes_the_place_of_the_old_one() {
    isolated(|| {
        if !may_make_for(NsSet::MOUNT.with(NsSet::PID), &[MOUNT, PIVOT_ROOT]) {
            return;
        }
        let is_first = |line: &str| line.starts_with("rootfs / ") || line.starts_with("none / ");
        let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc");
        if mounts.lines().any(is_first) {
            skip("a new root, for which an initramfs cannot be left");
            return;
        }
        let dir = TempDir::new();
        let root = dir.join("");
        let proc = dir.join("proc");
        // All that there is, elsewhere, so that the reporting child is found.
        let actions = [FsAction::bind_tree(c"/", &root), FsAction::proc(&proc)];
        let kinds = NsSet::MOUNT.with(NsSet::PID);
        let namespaces = Namespaces::new(kinds).filesystem(&actions).pivot_root(&root);
        let own_root = fs::metadata("/").expect("a root").ino();
        for setup in each_setup() {
            let seen = report(setup, |r| _ = r.namespaces(&namespaces));
            assert_eq!((seen.get("root"), seen.get("cwd")), ("/", "/"), "{setup:?}");
            // Its own /proc knows it by its own pid.
            assert_eq!(seen.get("Pid"), "1", "{setup:?}");
            // Of two at the same place the lower one would be the old root.
            let roots = seen.get("mounts").split('|').filter(|line| line.contains(" / ")).count();
            assert_eq!(roots, 1, "{setup:?}: {}", seen.get("mounts"));
            assert_eq!(fs::metadata("/").expect("a root").ino(), own_root, "{setup:?}");
        }
    });
}

#[test]
fn the_clocks_of_a_time_namespace_are_set() {
    isolated(|| {
        if !may_make(NsSet::TIME) {
            return;
        }
        let day = 86_400;
        let namespaces =
            Namespaces::new(NsSet::TIME).clock_offsets((10 * day, 5), (100 * day, 999_999_999));
        let own = of_process("self");
        let boottime = report(each_setup()[0], |_| {}).number("boottime");
        for setup in with_own_memory() {
            let seen = report(setup, |r| _ = r.namespaces(&namespaces));
            assert_eq!(different(&own, &of_report(&seen)), ["time"], "{setup:?}");
            let passed = seen.number("boottime") - boottime - 100 * day;
            assert!((0..1000).contains(&passed), "{setup:?}: {passed}");
        }
        let mut request = ending(End::Exit(0));
        let process = request.namespaces(&namespaces).spawn(&mut Room::new()).expect("a child");
        assert_eq!(process.reason(), Reason::Memory);
        let error = request.modes(Modes::Vfork).spawn(&mut Room::new()).expect_err("its memory");
        assert_eq!((error.step(), error.errno()), (Step::Mode, Some(Errno::EOPNOTSUPP)));
        assert_eq!(of_process("self"), own, "the parent");
    });
}

#[test]
fn a_pid_is_chosen() {
    isolated(|| {
        if !may_make(NsSet::PID) || !may_choose_pids() {
            return;
        }
        let free = (20_000..30_000).find(|pid| fs::metadata(format!("/proc/{pid}")).is_err());
        let pids = [free.expect("a pid that nobody has")];
        let taken = [std::process::id() as i32];
        for setup in each_setup() {
            let clone3 = setup.kernel.has(Feature::Clone3);
            let namespaces = Namespaces::new(NsSet::EMPTY).set_tid(&pids);
            if clone3 {
                let seen = report(setup, |r| _ = r.namespaces(&namespaces));
                assert_eq!(seen.number("pid"), i64::from(pids[0]), "{setup:?}");
            }
            let namespaces = Namespaces::new(NsSet::EMPTY).set_tid(&taken);
            let error = failure(setup, ending(End::Exit(0)).namespaces(&namespaces));
            let errno = if clone3 { Errno::EEXIST } else { Errno::ENOSYS };
            assert_eq!((error.step(), error.errno()), (Step::SetTid, Some(errno)), "{setup:?}");
        }
    });
}
