//! What a child may do: capabilities, securebits, filters, Landlock.

use std::os::fd::FromRawFd;

use rawspawn::{CapSet, Capabilities, Errno, Exec, Filter, Groups, Mode, Request, Step, argv};

use crate::common::rights::{SECCOMP, SYS_ADMIN, may_change_credentials, may_give, needs};
use crate::common::{
    Report, Room, Setup, TempDir, each_setup, failure, forked, is_root, isolated, report, run,
    skip, with_own_memory,
};
use crate::stub::{IDS, become_user_with};

type Change = fn(&mut Request<'static>);

const NOBODY: u32 = 65534;
const SETPCAP: u32 = 8;
const NET_BIND_SERVICE: u32 = 10;
const NONE: u64 = 0;
const ONE: u64 = 1 << NET_BIND_SERVICE;

/// The setups that may change credentials.
fn setups() -> Vec<Setup> {
    if may_change_credentials() { with_own_memory() } else { Vec::new() }
}

/// The sets of a process: inheritable, permitted, effective, bounding, ambient.
fn sets(seen: &Report) -> [u64; 5] {
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| seen.signals(set))
}

fn own_sets() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("/proc");
    let of_interest = |line: &&str| line.starts_with("Cap") || line.starts_with("Seccomp");
    status.lines().filter(of_interest).collect()
}

#[test]
fn a_program_has_the_capabilities_that_it_is_given_and_no_others() {
    static ONLY: Capabilities = Capabilities::only(CapSet::from_bits(ONE));
    static NOTHING: Capabilities = Capabilities::only(CapSet::EMPTY);
    static BOUNDED: Capabilities = Capabilities::KEPT.bounding(CapSet::from_bits(ONE));
    static NO_ROOT: Capabilities = Capabilities::KEPT.securebits(1);
    isolated(|| {
        let before = own_sets();
        for setup in setups() {
            let all = sets(&report(setup, |_| {}))[3];
            let seen = |change: fn(&mut Request<'_>)| sets(&report(setup, change));
            // Another user, and root.
            let only = seen(|r| _ = r.uid(NOBODY).gid(NOBODY).capabilities(&ONLY));
            assert_eq!(only, [ONE, ONE, ONE, ONE, ONE], "{setup:?}");
            assert_eq!(seen(|r| _ = r.capabilities(&ONLY)), only, "{setup:?}");
            let nothing = seen(|r| _ = r.uid(NOBODY).capabilities(&NOTHING));
            assert_eq!(nothing, [NONE; 5], "{setup:?}");
            assert_eq!(seen(|r| _ = r.capabilities(&NOTHING)), nothing, "{setup:?}");
            // Root is what its bounding set makes it.
            let bounded = seen(|r| _ = r.capabilities(&BOUNDED));
            assert_eq!(bounded, [NONE, ONE, ONE, ONE, NONE], "{setup:?}");
            let no_root = seen(|r| _ = r.capabilities(&NO_ROOT));
            assert_eq!(no_root, [NONE, NONE, NONE, all, NONE], "{setup:?}");
            assert_eq!(own_sets(), before, "{setup:?}: the parent");
        }
    });
}

#[test]
fn ambient_capabilities_reach_what_the_program_executes() {
    static ONLY: Capabilities = Capabilities::only(CapSet::from_bits(ONE));
    isolated(|| {
        for setup in setups() {
            let sh = Exec::Search { name: c"sh", path: None };
            let argv =
                argv![c"sh", c"-c", c"grep -q 'CapEff:.*0000000000000400' /proc/self/status"];
            let mut request = Request::new(sh, argv);
            request.uid(NOBODY).capabilities(&ONLY).no_new_privs(true);
            assert_eq!(run(setup, &mut request), 0, "{setup:?}");
        }
    });
}

#[test]
fn who_may_change_its_user_and_little_else_can_give_little() {
    static SETPCAP_TOO: Capabilities = Capabilities::only(CapSet::EMPTY.with(SETPCAP));
    static NOT_INHERITABLE: Capabilities =
        Capabilities::KEPT.sets(CapSet::EMPTY.with(7), CapSet::EMPTY.with(7), CapSet::EMPTY);
    isolated(|| {
        for setup in setups() {
            forked(|| {
                // Ambient, so that they survive an exec.
                become_user_with(IDS, IDS);
                let seen = report(setup, |request| {
                    request.uid(NOBODY).gid(NOBODY).groups(Groups::Set(&[]));
                });
                assert_eq!(seen.get("Uid"), "65534 65534 65534 65534");
                // Ambient ones are lost to who changes from root, and otherwise kept.
                assert_eq!(sets(&seen)[2], 1 << 6 | 1 << 7);
                let seen = report(setup, |request| {
                    request.uid(NOBODY).capabilities(&NOT_INHERITABLE);
                });
                assert_eq!(sets(&seen)[2], NONE);
                // Without CAP_SETPCAP the bounding set cannot be limited.
                let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
                let error = failure(setup, request.uid(NOBODY).capabilities(&SETPCAP_TOO));
                assert_eq!((error.step(), error.errno()), (Step::Bounding, Some(Errno::EPERM)));
            });
        }
    });
}

#[test]
fn who_may_change_its_user_alone_does_that() {
    const SETUID: CapSet = CapSet::EMPTY.with(7);
    static NOTHING: Capabilities = Capabilities::only(CapSet::EMPTY);
    isolated(|| {
        for setup in setups() {
            forked(|| {
                become_user_with(SETUID, SETUID);
                let before = report(setup, |_| {});
                let seen = report(setup, |r| _ = r.uid(NOBODY));
                assert_eq!(seen.get("Uid"), "65534 65534 65534 65534", "{setup:?}");
                assert_eq!(seen.get("Gid"), before.get("Gid"), "{setup:?}");
                // Groups that cannot be dropped are no more than the caller's.
                assert_eq!(seen.get("Groups"), before.get("Groups"), "{setup:?}");
                assert_eq!(sets(&seen)[2..], [1 << 7, sets(&before)[3], 1 << 7], "{setup:?}");
                let seen = report(setup, |r| _ = r.uid(NOBODY).no_new_privs(true));
                assert_eq!(seen.get("NoNewPrivs"), "1", "{setup:?}");
                if setup.mode == Mode::Stub {
                    return; // where all that is asked for can be done
                }
                for (step, errno, change) in [
                    (Step::Gid, Errno::EPERM, (|r| _ = r.gid(NOBODY)) as Change),
                    (Step::Groups, Errno::EPERM, |r| _ = r.groups(Groups::Set(&[4]))),
                    (Step::Bounding, Errno::EPERM, |r| _ = r.capabilities(&NOTHING)),
                ] {
                    let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
                    change(request.uid(NOBODY));
                    let error = failure(setup, &mut request);
                    assert_eq!((error.step(), error.errno()), (step, Some(errno)), "{setup:?}");
                }
            });
        }
    });
}

/// "If it is this call, fail with `EPERM`."
fn refusing(calls: &[i64]) -> Vec<Filter> {
    let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
    let (allow, refuse) = (
        seccompiler::SeccompAction::Allow,
        seccompiler::SeccompAction::Errno(libc::EPERM.unsigned_abs()),
    );
    let arch = std::env::consts::ARCH.try_into().expect("a known architecture");
    let filter = seccompiler::SeccompFilter::new(rules, allow, refuse, arch).expect("a filter");
    let program: seccompiler::BpfProgram = filter.try_into().expect("a program");
    program.iter().map(|i| Filter { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect()
}

#[test]
fn a_filter_holds_for_the_program_and_not_for_what_comes_before() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        let before = own_sets();
        let filter = refusing(&[libc::SYS_setresuid, libc::SYS_setgroups, libc::SYS_dup3]);
        let becomes = may_change_credentials();
        for setup in each_setup() {
            let seen = report(setup, |request| {
                request.seccomp(&filter).no_new_privs(true);
                if setup.mode != Mode::Vfork && becomes {
                    request.uid(NOBODY);
                }
            });
            assert_eq!((seen.get("Seccomp"), seen.get("NoNewPrivs")), ("2", "1"), "{setup:?}");
            assert_eq!(own_sets(), before, "{setup:?}: the parent");
        }
        for setup in setups().into_iter().filter(|_| may_give(SYS_ADMIN)) {
            let seen = report(setup, |request| {
                request.seccomp(&filter);
            });
            assert_eq!((seen.get("Seccomp"), seen.get("NoNewPrivs")), ("2", "0"), "{setup:?}");
            // Without no_new_privs it comes while there is the right to, and so before this.
            let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
            request.groups(Groups::Set(&[])).seccomp(&filter);
            let error = failure(setup, &mut request);
            assert_eq!((error.step(), error.errno()), (Step::Groups, Some(Errno::EPERM)));
        }
    });
}

#[test]
fn a_filter_without_either_right_is_refused() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        if is_root() && !may_change_credentials() {
            return;
        }
        let filter = refusing(&[libc::SYS_setresuid]);
        for setup in each_setup() {
            forked(|| {
                // SAFETY: Touches no memory. Who is not root has no right anyway.
                unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) };
                let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
                let error = failure(setup, request.seccomp(&filter));
                assert_eq!((error.step(), error.errno()), (Step::Seccomp, Some(Errno::EACCES)));
            });
        }
    });
}

/// A ruleset that allows to write nowhere; none where the kernel has no Landlock.
fn no_writing() -> Option<i32> {
    const CREATE_RULESET: i64 = 444;
    const WRITE_FILE: u64 = 1 << 1;
    let handled = [WRITE_FILE];
    let (place, size) = (handled.as_ptr(), size_of_val(&handled));
    // SAFETY: The kernel reads eight bytes.
    let fd = unsafe { libc::syscall(CREATE_RULESET, place, size, 0) };
    if fd < 0 {
        skip("Landlock, which this kernel lacks");
    }
    // At a number that no program uses by chance.
    // SAFETY: Descriptors only.
    let high = unsafe { libc::fcntl(i32::try_from(fd).ok()?, libc::F_DUPFD_CLOEXEC, 50) };
    (high >= 0).then_some(high)
}

#[test]
fn landlock_restricts_the_child_and_not_the_parent() {
    isolated(|| {
        let Some(ruleset) = no_writing() else { return };
        let dir = TempDir::new();
        let file = dir.join("file");
        std::fs::write(file.to_str().expect("a plain path"), "old").expect("our directory");
        for setup in each_setup() {
            let words = [c"sh", c"-c", c"! echo new > \"$1\"", c"sh", &file];
            let words = words.map(rawspawn::CStrPtr::new);
            let words = [&words[..], &[rawspawn::CStrPtr::NULL]].concat();
            let argv = rawspawn::CStrArray::new(&words).expect("a NULL");
            let mut request = Request::new(Exec::Search { name: c"sh", path: None }, argv);
            request.landlock(ruleset).no_new_privs(true);
            assert_eq!(run(setup, &mut request), 0, "{setup:?}");
            let text = std::fs::read_to_string(file.to_str().expect("a plain path"));
            assert_eq!(text.expect("our file"), "old", "{setup:?}");
            // What the child was given is not what the program has.
            let seen = report_without_writing(setup, ruleset);
            assert!(!seen.contains(&ruleset.to_string()), "{setup:?}: {seen}");
            std::fs::write(file.to_str().expect("a plain path"), "old").expect("no restriction");
        }
    });
}

/// The descriptors that a restricted child has, which cannot write them to a file.
fn report_without_writing(setup: Setup, ruleset: i32) -> String {
    let (reader, writer) = rawspawn::pipe().expect("a pipe");
    let map = [rawspawn::FdAction::Map { parent_fd: writer.raw(), child_fd: 1 }];
    let ls = Exec::Search { name: c"ls", path: None };
    let mut request = Request::new(ls, argv![c"ls", c"/proc/self/fd"]);
    setup.apply(request.landlock(ruleset).no_new_privs(true).fds(&map));
    let mut process = request.spawn(&mut Room::new()).expect("ls");
    drop(writer);
    let mut text = String::new();
    // SAFETY: Ours, and nobody else's from here on.
    let mut reader = unsafe { std::fs::File::from_raw_fd(reader.into_raw()) };
    std::io::Read::read_to_string(&mut reader, &mut text).expect("a pipe");
    assert!(process.wait().expect("our child").success());
    text
}
