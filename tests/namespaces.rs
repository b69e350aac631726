//! The namespaces of a child, and what is in them, seen from inside.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicI32, Ordering};

use rawspawn::{
    CapSet, Capabilities, Errno, Exec, FsAction, IdRange, Join, Kernel, Mode, Modes, Namespaces,
    NsSet, ParentHook, Process, Reason, Request, Step,
};

use crate::common::child::{End, ending};
use crate::common::{
    KINDS, Remains, Report, Reporter, Room, Setup, TempDir, each_setup, failure, forked, is_root,
    isolated, report, with_own_memory,
};

const NOBODY: u32 = 65534;

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

/// Whether this process may make namespaces, of those kinds too; says so if not.
fn may_make(kinds: NsSet) -> bool {
    let known = |kind: &str| fs::metadata(format!("/proc/self/ns/{kind}")).is_ok();
    let missing = KINDS.iter().find(|(set, kind)| kinds.contains(*set) && !known(kind));
    if let Some((_, kind)) = missing {
        println!("skipped: a {kind} namespace, which this kernel does not have");
    } else if !is_root() {
        println!("skipped: namespaces, which take root");
    }
    missing.is_none() && is_root()
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
            if !may_make(kinds) {
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
fn become_nobody() {
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
fn users_may_make() -> bool {
    let limit = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    let clone = fs::read_to_string("/proc/sys/kernel/unprivileged_userns_clone");
    let may = limit.trim() != "0" && clone.map_or(true, |value| value.trim() != "0");
    if !may {
        println!("skipped: a user namespace without privileges, which is forbidden here");
    }
    may && may_make(NsSet::USER)
}

/// The map of one's own id to that of root.
const UIDS: [IdRange; 1] = [IdRange::new(0, NOBODY, 1)];

#[test]
fn somebody_without_privileges_is_root_in_a_namespace_of_their_own() {
    static CAPABILITIES: Capabilities = Capabilities::only(CapSet::EMPTY.with(10));
    isolated(|| {
        if !users_may_make() {
            return;
        }
        let kinds = NsSet::USER.with(NsSet::PID).with(NsSet::UTS).with(NsSet::NET);
        let namespaces =
            Namespaces::new(kinds).id_maps(&UIDS, &UIDS).hostname(c"box").loopback(true);
        forked(|| {
            become_nobody();
            let own = of_process("self");
            for setup in each_setup() {
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
            // As root there, all that changes credentials is done in a stub.
            for setup in with_own_memory() {
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
        if !may_make(NsSet::USER) {
            return;
        }
        let namespaces = Namespaces::new(NsSet::USER.with(NsSet::PID)).id_maps(&UIDS, &GIDS);
        for setup in each_setup().into_iter().filter(|setup| setup.mode == Mode::Fork) {
            // As who they were: root, of whom the map has another id.
            let seen = report(setup, |r| _ = r.namespaces(&namespaces));
            assert_eq!(seen.get("uid_map"), "0 100000 1000|5000 0 1", "{setup:?}");
            assert_eq!(seen.get("gid_map"), "0 200000 10|10 300000 65536|70000 0 1", "{setup:?}");
            assert_eq!(seen.get("setgroups"), "allow", "{setup:?}");
            assert_eq!(seen.get("Uid"), "5000 5000 5000 5000", "{setup:?}");
            assert_eq!(seen.get("Gid"), "70000 70000 70000 70000", "{setup:?}");
            // As root there.
            let seen = report(setup, |r| {
                r.namespaces(&namespaces).uid(0).gid(0).groups(rawspawn::Groups::Set(&[7]));
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
        let fork = with_own_memory().into_iter().find(|setup| setup.mode == Mode::Fork);
        let setup = fork.expect("always");
        let seen = report(setup, |r| _ = r.namespaces(&furnished));
        assert_eq!(seen.get("Uid"), "0 0 0 0");
        let denied = namespaces.deny_setgroups(true);
        assert_eq!(report(setup, |r| _ = r.namespaces(&denied)).get("setgroups"), "deny");
    });
}

/// A child in namespaces of its own, for others to join.
struct Holder(Process);

impl Holder {
    fn new(namespaces: &Namespaces<'_>) -> Self {
        let mut request = ending(End::Never);
        let process = request.namespaces(namespaces).pidfd(true).spawn(&mut Room::new());
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
        if !may_make(kinds) {
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
        if !may_make(kinds) {
            return;
        }
        let holder = Holder::new(&Namespaces::new(kinds).hostname(c"held"));
        let join = [Join::new(holder.0.pidfd().expect("asked for"), kinds)];
        let namespaces = Namespaces::new(NsSet::EMPTY).join(&join);
        let held = of_process(&holder.0.pid().to_string());
        for setup in each_setup().into_iter().filter(|setup| setup.mode == Mode::Fork) {
            let mut request = ending(End::Exit(0));
            setup.apply(request.namespaces(&namespaces));
            match request.spawn(&mut Room::new()) {
                Ok(mut process) => assert!(process.wait().expect("our child").success()),
                Err(error) => {
                    assert_eq!((error.step(), error.errno()), (Step::Join, Some(Errno::EINVAL)));
                    println!("skipped: joining by pidfd, which takes Linux 5.8");
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
        if !users_may_make() {
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
        for namespaces in [
            // Of root, whose capabilities another root may lack.
            Namespaces::new(NsSet::USER),
            Namespaces::new(NsSet::EMPTY).join(&join),
        ] {
            let mut request = ending(End::Exit(0));
            request.namespaces(&namespaces);
            let mut process = request.spawn(&mut Room::new()).expect("a fork");
            assert_eq!((process.mode(), process.reason()), (Mode::Fork, Reason::Namespaces));
            // Or the holder, their init, would wait for it.
            assert!(process.wait().expect("our child").success());
            for modes in [Modes::Vfork, Modes::Stub] {
                let error = request.modes(modes).spawn(&mut Room::new()).expect_err("not that");
                assert_eq!((error.step(), error.errno()), (Step::Mode, Some(Errno::EOPNOTSUPP)));
            }
        }
        if !users_may_make() {
            return;
        }
        forked(|| {
            become_nobody();
            let namespaces = Namespaces::new(all).id_maps(&UIDS, &UIDS);
            let mut request = ending(End::Exit(0));
            let process = request.namespaces(&namespaces).spawn(&mut Room::new());
            let process = process.expect("a child");
            let kernel = Kernel::current().expect("known");
            if kernel.has(rawspawn::Feature::SharedMemory) {
                assert_eq!((process.mode(), process.reason()), (Mode::Vfork, Reason::Default));
            }
            // Whoever maps others, by a hook, is another user there.
            let actions = [FsAction::proc(c"/proc")];
            let furnished = Namespaces::new(all.with(NsSet::MOUNT)).id_maps(&[], &[]);
            let furnished = furnished.filesystem(&actions);
            let mut request = ending(End::Exit(0));
            let mut room = Room::new();
            let plan = request.namespaces(&furnished).plan(&mut room).expect("room");
            assert_eq!((plan.mode(), plan.reason()), (Mode::Fork, Reason::Credentials));
        });
    });
}

#[test]
fn a_parents_hook_runs_while_the_child_waits() {
    isolated(|| {
        for setup in each_setup() {
            let seen = AtomicI32::new(0);
            let hook = |pid: i32| {
                let status = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
                assert!(status.contains(") S ") || status.contains(") R "), "{status}");
                // Nothing has happened yet, and nothing will.
                std::thread::sleep(std::time::Duration::from_millis(20));
                let comm = fs::read_to_string(format!("/proc/{pid}/comm")).expect("a process");
                let own = fs::read_to_string("/proc/thread-self/comm").expect("/proc");
                assert_eq!(comm, own);
                seen.store(pid, Ordering::Relaxed);
                Ok(())
            };
            let mask = fs::read_to_string("/proc/thread-self/status").expect("/proc");
            let reporter = Reporter::new(&[]);
            let mut request = Request::new(Exec::Path(reporter.exe), reporter.argv);
            setup.apply(request.parent_hook(ParentHook::new(&hook)));
            let mut process = request.spawn(&mut Room::new()).expect("a child");
            let expected = if setup.mode == Mode::Vfork { Mode::Detached } else { setup.mode };
            assert_eq!(process.mode(), expected);
            assert_eq!(process.pid(), seen.load(Ordering::Relaxed), "{setup:?}");
            assert!(process.wait().expect("our child").success(), "{setup:?}");
            let child = reporter.read();
            let blocked = mask.lines().find_map(|line| line.strip_prefix("SigBlk:\t"));
            assert_eq!(child.get("SigBlk"), blocked.expect("a mask"), "{setup:?}");
            assert_eq!(child.number("pdeathsig"), 0, "{setup:?}");
        }
    });
}

#[test]
fn a_hook_that_fails_or_panics_leaves_no_child() {
    isolated(|| {
        let hidden = std::panic::take_hook();
        for setup in each_setup() {
            let fail = |_| Err(Errno::ENOTTY);
            let mut request = ending(End::Exit(0));
            let error = failure(setup, request.parent_hook(ParentHook::new(&fail)));
            assert_eq!((error.step(), error.errno()), (Step::ParentHook, Some(Errno::ENOTTY)));
            std::panic::set_hook(Box::new(|_| ()));
            let panics = |_| panic!("as asked");
            let mut request = ending(End::Exit(0));
            setup.apply(request.parent_hook(ParentHook::new(&panics)));
            let before = Remains::look();
            let spawn = || request.spawn(&mut Room::new());
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(spawn));
            assert!(result.is_err(), "{setup:?}");
            before.assert_unchanged();
            let _ = std::panic::take_hook();
        }
        std::panic::set_hook(hidden);
    });
}

#[test]
fn a_child_whose_waiting_parent_dies_does_not_wait_for_ever() {
    isolated(|| {
        let init = Namespaces::new(NsSet::PID);
        let inits = if is_root() { &[false, true][..] } else { &[false] };
        for (setup, is_init) in
            each_setup().into_iter().flat_map(|setup| inits.iter().map(move |init| (setup, init)))
        {
            let (reader, writer) = rawspawn::pipe().expect("a pipe");
            // SAFETY: The child makes system calls and spawns.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                let hook = |pid| {
                    // An init cannot see that its parent was dead before.
                    let path = format!("/proc/{pid}/stat");
                    let waits =
                        || fs::read_to_string(&path).is_ok_and(|stat| stat.contains(") S "));
                    while *is_init && !waits() {
                        std::thread::yield_now();
                    }
                    // SAFETY: Ends this process, the waiting child's parent.
                    unsafe { libc::_exit(7) }
                };
                let mut request = ending(End::Exit(0));
                setup.apply(request.parent_hook(ParentHook::new(&hook)));
                if *is_init {
                    request.namespaces(&init);
                }
                let _ = request.spawn(&mut Room::new());
                // SAFETY: Ends the process.
                unsafe { libc::_exit(8) };
            }
            drop(writer);
            let mut status = 0;
            // SAFETY: The kernel writes one status.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            assert_eq!(libc::WEXITSTATUS(status), 7, "{setup:?}");
            // Its end of the pipe goes with it.
            let mut byte = 0u8;
            // SAFETY: Room for one byte.
            let read = unsafe { libc::read(reader.raw(), (&raw mut byte).cast(), 1) };
            assert_eq!(read, 0, "{setup:?}");
        }
    });
}

#[test]
fn a_mount_namespace_is_furnished_and_the_parents_is_not() {
    isolated(|| {
        if !may_make(NsSet::MOUNT) {
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
            FsAction::Device { path: &device, mode: 0o020_666, device: 0x103 },
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
        if !may_make(NsSet::MOUNT.with(NsSet::PID)) {
            return;
        }
        let is_first = |line: &str| line.starts_with("rootfs / ") || line.starts_with("none / ");
        let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc");
        if mounts.lines().any(is_first) {
            println!("skipped: a new root, for which an initramfs cannot be left");
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
        if !may_make(NsSet::PID) {
            return;
        }
        let free = (20_000..30_000).find(|pid| fs::metadata(format!("/proc/{pid}")).is_err());
        let pids = [free.expect("a pid that nobody has")];
        let taken = [std::process::id() as i32];
        for setup in each_setup() {
            let clone3 = setup.kernel.has(rawspawn::Feature::Clone3);
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

#[test]
fn a_request_that_is_started_waits_only_where_the_parent_has_something_to_do() {
    #[cfg(feature = "alloc")]
    isolated(|| {
        if !may_make(NsSet::PID)
            || !Kernel::current().expect("known").has(rawspawn::Feature::CloseRange)
        {
            return;
        }
        let namespaces = Namespaces::new(NsSet::PID.with(NsSet::UTS)).hostname(c"started");
        let mut request = ending(End::Exit(3));
        let pending = request.namespaces(&namespaces).start().expect("a child");
        assert_eq!((pending.mode(), pending.reason()), (Mode::Detached, Reason::Default));
        let mut process = pending.finish().expect("a child");
        assert_eq!(process.wait().expect("our child").code(), Some(3));
        let nothing = |_| Ok(());
        let mut request = ending(End::Exit(3));
        request.parent_hook(ParentHook::new(&nothing));
        let pending = request.start().expect("a child");
        assert_eq!(pending.reason(), Reason::Parent);
        let mut process = pending.finish().expect("a child");
        assert_eq!(process.wait().expect("our child").code(), Some(3));
        let error = request.owned_plan().expect_err("the hook is the caller's");
        assert_eq!((error.step(), error.errno()), (Step::Wait, Some(Errno::EOPNOTSUPP)));
    });
}
