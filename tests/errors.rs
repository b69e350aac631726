//! Every step can fail: the error says which, and nothing is left behind.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_void};
use std::sync::atomic::{AtomicU32, Ordering};

use rawspawn::{
    Buffer, CStrArray, CStrPtr, CapSet, Capabilities, Cause, CurrentDir, Errno, Error, Exec,
    FdAction, Feature, FileAction, Filter, FsAction, Groups, Hook, IdRange, Join, Kernel,
    ListenFds, Mode, Modes, Namespaces, NsSet, OtherFds, ParentHook, PosixSpawn, Request, Rlimit,
    Scheduler, SigSet, Step, argv,
};

use crate::common::cgroup::Controlled;
use crate::common::rights::{
    CHROOT, IOPRIO_SET, MOUNT, PIDFD_OPEN, PIVOT_ROOT, SECCOMP, SETDOMAINNAME, SETHOSTNAME, SETNS,
    has_ids, may_change_credentials, may_choose_pids, may_make, may_make_for, may_make_users,
    needs,
};
use crate::common::seccomp::{First, Refuse, killing};
use crate::common::{
    Remains, Room, Running, Setup, TempDir, core_kills_all, each_setup, failure, forked,
    has_children, isolated, may_change, quick, refused, without_stub,
};

/// A request that fails.
struct Case {
    step: Step,
    index: usize,
    errno: Errno,
    /// Calls that the kernel is to refuse for it; then only where all is new, as
    /// the fallbacks need the same ones.
    refuse: Vec<Refuse>,
    /// Whether this process may do what comes before the failure; says so if not.
    may: fn() -> bool,
    ask: fn(&mut Request<'static>),
}

impl Case {
    fn new(step: Step, errno: Errno, ask: fn(&mut Request<'static>)) -> Self {
        Self { step, index: 0, errno, refuse: Vec::new(), may: || true, ask }
    }

    fn at(mut self, index: usize) -> Self {
        self.index = index;
        self
    }

    /// The same for somebody who `may`.
    fn if_we(mut self, may: fn() -> bool) -> Self {
        self.may = may;
        self
    }

    /// The same, if prctl(2) is asked for `option` alone.
    fn refusing_prctl(step: Step, option: i32, ask: fn(&mut Request<'static>)) -> Self {
        let first = First::Is(option.unsigned_abs());
        let refuse = vec![Refuse { first, ..Refuse::new(libc::SYS_prctl, libc::EIO) }];
        Self { refuse, ..Self::new(step, Errno::EIO, ask) }
    }

    fn refusing(step: Step, call: i64, errno: Errno, ask: fn(&mut Request<'static>)) -> Self {
        let refuse = vec![Refuse::new(call, errno.raw())];
        Self { refuse, ..Self::new(step, errno, ask) }
    }
}

const MISSING: FdAction<'_> =
    FdAction::Open { child_fd: 9, path: c"/nonexistent/file", flags: libc::O_RDONLY, mode: 0 };

unsafe extern "C" fn fail(_: *mut c_void) -> i32 {
    libc::EXDEV
}

/// What can fail in the child, or on the way to it.
fn cases() -> Vec<Case> {
    let all = [what_the_kernel_refuses(), what_a_namespace_refuses(), what_a_filter_refuses()];
    all.into_iter().flatten().collect()
}

fn what_the_kernel_refuses() -> Vec<Case> {
    vec![
        Case::new(Step::Cgroup, Errno::EBADF, |r| {
            r.cgroup(i32::MAX);
        }),
        Case::new(Step::ProcessGroup, Errno::EPERM, |r| {
            r.process_group(i32::MAX);
        }),
        Case::new(Step::ControllingTerminal, Errno::EBADF, |r| {
            r.controlling_terminal(i32::MAX);
        }),
        Case::new(Step::Foreground, Errno::EBADF, |r| {
            r.foreground(i32::MAX);
        }),
        Case::new(Step::Scheduler, Errno::EINVAL, |r| {
            r.scheduler(Scheduler::new(99, 0));
        }),
        Case::new(Step::Affinity, Errno::EINVAL, |r| {
            r.affinity(&[0]);
        }),
        Case::new(Step::IoPriority, Errno::EINVAL, |r| {
            r.ioprio(7 << 13);
        })
        .if_we(|| needs(&[IOPRIO_SET])),
        Case::new(Step::Move, Errno::EBADF, |r| {
            const FDS: &[FdAction<'_>] = &[
                FdAction::Map { parent_fd: 0, child_fd: 8 },
                FdAction::Map { parent_fd: 1 << 30, child_fd: 9 },
            ];
            r.fds(FDS);
        })
        .at(1),
        // A number above the limit.
        Case::new(Step::Move, Errno::EBADF, |r| {
            r.fds(&[FdAction::Map { parent_fd: 0, child_fd: i32::MAX }]);
        }),
        Case::new(Step::Open, Errno::ENOENT, |r| {
            r.fds(&[FdAction::Map { parent_fd: 0, child_fd: 8 }, MISSING]);
        })
        .at(1),
        Case::new(Step::Rlimit, Errno::EINVAL, |r| {
            const LIMITS: &[Rlimit] = &[Rlimit::new(4, 0, 0), Rlimit::new(99, 1, 1)];
            r.rlimits(LIMITS);
        })
        .at(1),
        Case::new(Step::Root, Errno::ENOENT, |r| {
            r.root(c"/nonexistent");
        })
        .if_we(|| needs(&[CHROOT])),
        Case::new(Step::CurrentDir, Errno::ENOENT, |r| {
            r.cwd(CurrentDir::Path(c"/nonexistent"));
        }),
        Case::new(Step::CurrentDir, Errno::EBADF, |r| {
            r.cwd(CurrentDir::Fd(1 << 30));
        }),
        Case::new(Step::Securebits, Errno::EPERM, |r| {
            const NONSENSE: Capabilities = Capabilities::KEPT.securebits(1 << 20);
            r.capabilities(&NONSENSE);
        }),
        Case::new(Step::Capabilities, Errno::EPERM, |r| {
            const MORE: Capabilities =
                Capabilities::KEPT.sets(CapSet::EMPTY, CapSet::EMPTY.with(0), CapSet::EMPTY);
            r.capabilities(&MORE);
        }),
        Case::new(Step::Ambient, Errno::EPERM, |r| {
            const NOT_PERMITTED: Capabilities = Capabilities::KEPT
                .sets(CapSet::EMPTY, CapSet::EMPTY, CapSet::EMPTY)
                .ambient(CapSet::EMPTY.with(10));
            r.capabilities(&NOT_PERMITTED);
        })
        .at(10),
        Case::new(Step::Seccomp, Errno::EINVAL, |r| {
            r.seccomp(&[]).no_new_privs(true);
        })
        .if_we(|| needs(&[SECCOMP])),
        Case::new(Step::Seccomp, Errno::EINVAL, |r| {
            // Nothing ends it.
            const ENDLESS: &[Filter] = &[Filter { code: 0x20, jt: 0, jf: 0, k: 0 }];
            r.seccomp(ENDLESS).no_new_privs(true);
        })
        .if_we(|| needs(&[SECCOMP])),
        Case::new(Step::ParentDeathSignal, Errno::EINVAL, |r| {
            r.parent_death_signal(99);
        }),
        Case::new(Step::Hook, Errno::from_raw(libc::EXDEV).expect("an errno"), |r| {
            // SAFETY: It only returns a number.
            r.hook(unsafe { Hook::new(fail, std::ptr::null_mut()) });
        }),
        Case::new(Step::Exec, Errno::ENOENT, |r| {
            *r = Request::new(Exec::Path(c"/nonexistent/program"), argv![c"program"]);
        }),
    ]
}

/// What can fail of namespaces.
fn what_a_namespace_refuses() -> Vec<Case> {
    const OVERLAP: &[IdRange] = &[IdRange::new(0, 0, 2), IdRange::new(1, 9, 2)];
    const OWN: &[IdRange] = &[IdRange::new(0, 0, 3), IdRange::new(3, 3, 1)];
    const LONG: &CStr = c"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0";
    let io = Errno::EIO;
    vec![
        Case::new(Step::UidMap, Errno::EINVAL, |r| {
            const NS: Namespaces<'_> = Namespaces::new(NsSet::USER).id_maps(OVERLAP, OWN);
            r.namespaces(&NS);
        })
        .if_we(|| may_make_users() && may_change_credentials() && has_ids(0, 4)),
        Case::new(Step::GidMap, Errno::EINVAL, |r| {
            const NS: Namespaces<'_> = Namespaces::new(NsSet::USER).id_maps(OWN, OVERLAP);
            r.namespaces(&NS);
        })
        .if_we(|| may_make_users() && may_change_credentials() && has_ids(0, 4)),
        Case::refusing(Step::UidMap, libc::SYS_openat, io, |r| {
            const ONE: &[IdRange] = &[IdRange::new(0, 0, 1)];
            const NS: Namespaces<'_> = Namespaces::new(NsSet::USER).id_maps(ONE, ONE);
            r.namespaces(&NS);
        })
        .if_we(|| may_make_users() && may_change_credentials() && has_ids(0, 4)),
        Case::refusing(Step::SetTid, libc::SYS_acct, Errno::EEXIST, |r| {
            const NS: Namespaces<'_> = Namespaces::new(NsSet::EMPTY).set_tid(&[1]);
            r.namespaces(&NS);
        })
        .if_we(may_choose_pids),
        Case::new(Step::ParentHook, Errno::ENOTTY, |r| {
            r.parent_hook(ParentHook::new(&|_| Err(Errno::ENOTTY)));
        }),
        Case::refusing_prctl(Step::Wait, libc::PR_SET_PDEATHSIG, |r| {
            r.parent_hook(ParentHook::new(&|_| Ok(())));
        }),
        Case::new(Step::Join, Errno::EBADF, |r| {
            const JOIN: &[Join] = &[Join::new(1 << 30, NsSet::NET)];
            const NS: Namespaces<'_> = Namespaces::new(NsSet::EMPTY).join(JOIN);
            r.namespaces(&NS);
        })
        .if_we(|| needs(&[SETNS])),
        Case::new(Step::Join, Errno::EINVAL, |r| {
            // No namespace.
            const JOIN: &[Join] = &[Join::new(0, NsSet::NET)];
            const NS: Namespaces<'_> = Namespaces::new(NsSet::EMPTY).join(JOIN);
            r.namespaces(&NS);
        })
        .if_we(|| needs(&[SETNS])),
        Case::refusing(Step::NewNamespaces, libc::SYS_unshare, io, |r| {
            const NS: Namespaces<'_> = Namespaces::new(NsSet::UTS);
            r.namespaces(&NS);
        }),
        Case::refusing(Step::ClockOffsets, libc::SYS_openat, io, |r| {
            const NS: Namespaces<'_> = Namespaces::new(NsSet::TIME).clock_offsets((1, 0), (1, 0));
            r.namespaces(&NS);
        })
        .if_we(|| may_make(NsSet::TIME)),
        Case::new(Step::Hostname, Errno::EINVAL, |r| {
            const NS: Namespaces<'_> = Namespaces::new(NsSet::UTS).hostname(LONG);
            r.namespaces(&NS);
        })
        .if_we(|| may_make_for(NsSet::UTS, &[SETHOSTNAME])),
        Case::new(Step::Domainname, Errno::EINVAL, |r| {
            const NS: Namespaces<'_> = Namespaces::new(NsSet::UTS).domainname(LONG);
            r.namespaces(&NS);
        })
        .if_we(|| may_make_for(NsSet::UTS, &[SETDOMAINNAME])),
        Case::refusing(Step::Loopback, libc::SYS_socket, io, |r| {
            const NS: Namespaces<'_> = Namespaces::new(NsSet::NET).loopback(true);
            r.namespaces(&NS);
        })
        .if_we(|| may_make(NsSet::NET)),
        Case::new(Step::FileSystem, Errno::ENOENT, |r| {
            const ACTIONS: &[FsAction<'_>] =
                &[FsAction::Mkdir { path: c"/", mode: 0 }, FsAction::bind(c"/nonexistent", c"/")];
            const NS: Namespaces<'_> = Namespaces::new(NsSet::MOUNT).filesystem(ACTIONS);
            r.namespaces(&NS);
        })
        .at(1)
        .if_we(|| may_make_for(NsSet::MOUNT, &[MOUNT])),
        Case::new(Step::PivotRoot, Errno::ENOENT, |r| {
            const NS: Namespaces<'_> = Namespaces::new(NsSet::MOUNT).pivot_root(c"/nonexistent");
            r.namespaces(&NS);
        })
        .if_we(|| may_make_for(NsSet::MOUNT, &[MOUNT, PIVOT_ROOT])),
        Case::refusing_prctl(Step::TimerSlack, libc::PR_SET_TIMERSLACK, |r| {
            r.timer_slack(1);
        }),
        Case::refusing_prctl(Step::Subreaper, libc::PR_SET_CHILD_SUBREAPER, |r| {
            r.subreaper(true);
        }),
        Case::refusing(Step::CoredumpFilter, libc::SYS_openat, io, |r| {
            r.coredump_filter(1);
        }),
        Case::refusing(Step::ListenFds, libc::SYS_readlinkat, io, |r| {
            const LISTEN: ListenFds<'_> = ListenFds::new(0);
            r.listen_fds(&LISTEN);
        }),
    ]
}

/// What else somebody less privileged would meet.
fn what_a_filter_refuses() -> Vec<Case> {
    let nothing = |_: &mut Request<'static>| {};
    let io = Errno::EIO;
    vec![
        Case {
            refuse: [libc::SYS_clone3, libc::SYS_clone]
                .map(|call| Refuse::new(call, libc::EAGAIN))
                .into(),
            ..Case::new(Step::Clone, Errno::EAGAIN, nothing)
        },
        Case::refusing(Step::Session, libc::SYS_setsid, io, |r| {
            r.session(true);
        }),
        Case::refusing(Step::Shield, libc::SYS_rt_sigprocmask, io, |r| {
            r.foreground(0);
        }),
        Case::refusing(Step::Nice, libc::SYS_setpriority, io, |r| {
            r.nice(1);
        }),
        Case::refusing(Step::OomScoreAdj, libc::SYS_openat, io, |r| {
            r.oom_score_adj(1);
        }),
        Case::refusing(Step::Umask, libc::SYS_umask, io, |r| {
            r.umask(0);
        }),
        Case::refusing(Step::Move, libc::SYS_fcntl, io, |r| {
            r.fds(&[FdAction::Map { parent_fd: 1, child_fd: 1 }]);
        }),
        Case::refusing(Step::FileAction, libc::SYS_fchdir, io, |r| {
            const POSIX: PosixSpawn<'_> = PosixSpawn::new()
                .actions(&[FileAction::Chdir { path: c"/" }, FileAction::Fchdir { fd: 0 }]);
            r.other_fds(OtherFds::Inherit).posix(&POSIX);
        })
        .at(1),
        Case::refusing(Step::Open, libc::SYS_openat, Errno::ENFILE, |r| {
            r.fds(&[MISSING]);
        }),
        Case::refusing_prctl(Step::Bounding, libc::PR_CAPBSET_DROP, |r| {
            const NONE: Capabilities = Capabilities::KEPT.bounding(CapSet::ALL.without(3));
            r.capabilities(&NONE);
        })
        .at(3),
        Case::refusing(Step::Landlock, 446, io, |r| {
            r.landlock(0);
        }),
        Case::refusing(Step::Groups, libc::SYS_setgroups, io, |r| {
            r.groups(Groups::Set(&[]));
        }),
        Case::refusing(Step::Gid, libc::SYS_setresgid, io, |r| {
            r.gid(0);
        }),
        Case::refusing(Step::Uid, libc::SYS_setresuid, io, |r| {
            r.uid(0).groups(Groups::Keep);
        }),
        Case::refusing_prctl(Step::NoNewPrivs, libc::PR_SET_NO_NEW_PRIVS, |r| {
            r.no_new_privs(true);
        }),
        Case::refusing(Step::SignalAction, libc::SYS_rt_sigaction, io, |r| {
            r.restore_signals();
        })
        .at(libc::SIGPIPE as usize),
        Case::refusing(Step::CloseOthers, libc::SYS_close_range, io, nothing),
        Case::refusing(Step::SignalMask, libc::SYS_rt_sigprocmask, io, |r| {
            r.signal_mask(SigSet::EMPTY);
        }),
        Case::refusing(Step::Stub, libc::SYS_execveat, Errno::EACCES, nothing),
        Case::refusing(Step::Stub, libc::SYS_memfd_create, Errno::EACCES, nothing),
        Case::refusing(Step::Stub, libc::SYS_pipe2, Errno::EMFILE, nothing),
        Case::refusing(Step::Exec, libc::SYS_execve, io, nothing),
    ]
}

/// What is refused before any process exists.
fn refusals() -> Vec<Case> {
    [refused_of_processes(), refused_of_namespaces()].into_iter().flatten().collect()
}

fn refused_of_namespaces() -> Vec<Case> {
    vec![
        Case::new(Step::UidMap, Errno::EINVAL, |r| {
            const NS: Namespaces<'_> = Namespaces::new(NsSet::PID).id_maps(&[], &[]);
            r.namespaces(&NS);
        }),
        Case::new(Step::GidMap, Errno::EINVAL, |r| {
            const NONE: &[IdRange] = &[IdRange::new(0, 0, 1), IdRange::new(1, 1, 0)];
            const NS: Namespaces<'_> = Namespaces::new(NsSet::USER).id_maps(&[], NONE);
            r.namespaces(&NS);
        })
        .at(1),
        Case::new(Step::Join, Errno::EINVAL, |r| {
            const JOIN: &[Join] = &[Join::new(0, NsSet::NET), Join::new(0, NsSet::EMPTY)];
            const NS: Namespaces<'_> = Namespaces::new(NsSet::EMPTY).join(JOIN);
            r.namespaces(&NS);
        })
        .at(1),
        Case::new(Step::Join, Errno::EINVAL, |r| {
            const JOIN: &[Join] = &[Join::new(5, NsSet::NET)];
            const NS: Namespaces<'_> = Namespaces::new(NsSet::EMPTY).join(JOIN);
            r.namespaces(&NS).fds(&[FdAction::Map { parent_fd: 0, child_fd: 5 }]);
        }),
        Case::new(Step::Join, Errno::EBADF, |r| {
            const JOIN: &[Join] = &[Join::new(-1, NsSet::NET)];
            const NS: Namespaces<'_> = Namespaces::new(NsSet::EMPTY).join(JOIN);
            r.namespaces(&NS);
        }),
        Case::new(Step::ClockOffsets, Errno::EINVAL, |r| {
            const NS: Namespaces<'_> = Namespaces::new(NsSet::EMPTY).clock_offsets((1, 0), (1, 0));
            r.namespaces(&NS);
        }),
        Case::new(Step::Hostname, Errno::EINVAL, |r| {
            const NS: Namespaces<'_> = Namespaces::new(NsSet::NET).hostname(c"caller");
            r.namespaces(&NS);
        }),
        Case::new(Step::Domainname, Errno::EINVAL, |r| {
            const NS: Namespaces<'_> = Namespaces::new(NsSet::NET).domainname(c"caller");
            r.namespaces(&NS);
        }),
        Case::new(Step::Loopback, Errno::EINVAL, |r| {
            const NS: Namespaces<'_> = Namespaces::new(NsSet::UTS).loopback(true);
            r.namespaces(&NS);
        }),
        Case::new(Step::FileSystem, Errno::EINVAL, |r| {
            const ACTIONS: &[FsAction<'_>] = &[FsAction::proc(c"/proc")];
            const NS: Namespaces<'_> = Namespaces::new(NsSet::PID).filesystem(ACTIONS);
            r.namespaces(&NS);
        }),
        Case::new(Step::GidMap, Errno::EINVAL, |r| {
            const NS: Namespaces<'_> = Namespaces::new(NsSet::PID).deny_setgroups(true);
            r.namespaces(&NS);
        }),
        Case::new(Step::PivotRoot, Errno::EINVAL, |r| {
            const NS: Namespaces<'_> = Namespaces::new(NsSet::PID).pivot_root(c"/");
            r.namespaces(&NS);
        }),
        Case::new(Step::TimerSlack, Errno::EINVAL, |r| {
            r.timer_slack(0);
        }),
    ]
}

fn refused_of_processes() -> Vec<Case> {
    vec![
        Case::new(Step::FileAction, Errno::EINVAL, |r| {
            const POSIX: PosixSpawn<'_> =
                PosixSpawn::new().actions(&[FileAction::Chdir { path: c"/" }]);
            r.posix(&POSIX);
        }),
        Case::new(Step::Arguments, Errno::EINVAL, |r| {
            *r = Request::new(Exec::Path(c"/bin/true"), CStrArray::EMPTY);
        }),
        Case::new(Step::Mode, Errno::EOPNOTSUPP, |r| {
            r.uid(0).modes(Modes::Vfork);
        }),
        Case::new(Step::Cgroup, Errno::EBADF, |r| {
            r.cgroup(-1);
        }),
        Case::new(Step::ProcessGroup, Errno::EINVAL, |r| {
            r.process_group(-1);
        }),
        Case::new(Step::ProcessGroup, Errno::EPERM, |r| {
            r.session(true).process_group(0);
        }),
        Case::new(Step::Nice, Errno::EINVAL, |r| {
            r.nice(20);
        }),
        Case::new(Step::Nice, Errno::EINVAL, |r| {
            r.nice(-21);
        }),
        Case::new(Step::OomScoreAdj, Errno::EINVAL, |r| {
            r.oom_score_adj(1001);
        }),
        Case::new(Step::Umask, Errno::EINVAL, |r| {
            r.umask(0o1000);
        }),
        Case::new(Step::Move, Errno::EBADF, |r| {
            r.fds(&[FdAction::Map { parent_fd: -1, child_fd: 5 }]);
        }),
        Case::new(Step::Move, Errno::EBADF, |r| {
            r.fds(&[FdAction::Map { parent_fd: 5, child_fd: -1 }]);
        }),
        Case::new(Step::Open, Errno::EBADF, |r| {
            r.fds(&[FdAction::Open { child_fd: -1, path: c"/", flags: 0, mode: 0 }]);
        }),
        Case::new(Step::Close, Errno::EBADF, |r| {
            r.fds(&[FdAction::Close { child_fd: -1 }]);
        }),
        Case::new(Step::Close, Errno::EINVAL, |r| {
            r.fds(&[FdAction::Map { parent_fd: 0, child_fd: 5 }, FdAction::Close { child_fd: 5 }]);
        })
        .at(1),
        Case::new(Step::CurrentDir, Errno::EINVAL, |r| {
            r.cwd(CurrentDir::Fd(5)).fds(&[FdAction::Map { parent_fd: 0, child_fd: 5 }]);
        }),
        Case::new(Step::Landlock, Errno::EBADF, |r| {
            r.landlock(-1);
        }),
        Case::new(Step::Landlock, Errno::EINVAL, |r| {
            r.landlock(5).fds(&[FdAction::Map { parent_fd: 0, child_fd: 5 }]);
        }),
        Case::new(Step::Gid, Errno::EINVAL, |r| {
            r.gid(u32::MAX);
        }),
        Case::new(Step::Uid, Errno::EINVAL, |r| {
            r.uid(u32::MAX);
        }),
        Case::new(Step::SignalAction, Errno::EINVAL, |r| {
            r.ignore_signals(SigSet::EMPTY.with(libc::SIGKILL));
        })
        .at(libc::SIGKILL as usize),
        Case::new(Step::Exec, Errno::ENOENT, |r| {
            *r = Request::new(Exec::Candidates(&[]), argv![c"program"]);
        }),
        Case::new(Step::Exec, Errno::EBADF, |r| {
            *r = Request::new(Exec::Fd(-1), argv![c"program"]);
        }),
        Case::new(Step::Exec, Errno::EINVAL, |r| {
            r.retry_busy(11);
        }),
    ]
}

fn assert_fails(case: &Case, setup: Setup, argv: CStrArray<'static>) {
    let mut request = Request::new(Exec::Path(c"/proc/self/exe"), argv);
    let forces_vfork = case.step == Step::Mode;
    (case.ask)(&mut request);
    let error = if forces_vfork {
        let before = Remains::look();
        let error = request.kernel(setup.kernel).spawn(&mut Room::new()).expect_err("refused");
        before.assert_unchanged();
        error
    } else {
        refused(setup, &case.refuse, &mut request)
    };
    let found = (error.step(), error.index(), error.errno());
    assert_eq!(found, (case.step, case.index, Some(case.errno)), "{setup:?}: {error}");
}

/// Whether `case` can be asked of a child made as `setup` says.
fn fits(case: &Case, setup: Setup) -> bool {
    let exposes = matches!(case.step, Step::UidMap | Step::GidMap);
    let own_memory = is_privilege(case.step)
        || exposes
        || matches!(
            case.step,
            Step::Hook | Step::ClockOffsets | Step::CoredumpFilter | Step::ListenFds | Step::Cgroup
        );
    let newest = setup.kernel == each_setup()[0].kernel;
    // The parent makes this call itself, for the stub.
    let is_parents = case.refuse.iter().any(|refuse| refuse.call == libc::SYS_fcntl);
    let fits = match setup.mode {
        Mode::Fork => case.step != Step::Stub,
        Mode::Stub => {
            let changes = (case.step == Step::Uid, case.step == Step::Gid);
            !matches!(case.step, Step::Hook | Step::FileAction)
                && !exposes
                && !is_parents
                && may_change(changes.0, changes.1)
        }
        _ => !own_memory && case.step != Step::Stub,
    };
    let is_fallbacks = case.refuse.iter().any(|refuse| fallbacks_make(refuse.call, setup.kernel));
    fits && (newest || case.refuse.is_empty()) && !is_fallbacks
}

/// Whether what `kernel` lacks is made up for by `call`, among others.
fn fallbacks_make(call: i64, kernel: Kernel) -> bool {
    match call {
        libc::SYS_rt_sigprocmask | libc::SYS_rt_sigaction => !kernel.has(Feature::ClearSighand),
        libc::SYS_openat | libc::SYS_fcntl => !kernel.has(Feature::CloseRange),
        libc::SYS_close_range => !kernel.has(Feature::CloseRangeCloexec),
        _ => false,
    }
}

/// Whether a step changes what the child may do.
fn is_privilege(step: Step) -> bool {
    matches!(
        step,
        Step::Securebits
            | Step::Bounding
            | Step::Groups
            | Step::Gid
            | Step::Uid
            | Step::Capabilities
            | Step::Ambient
    )
}

#[test]
fn a_step_that_fails_is_named_and_leaves_nothing() {
    isolated(|| {
        let (_, argv) = quick(0);
        let mut cases = cases();
        // It says so once, and not in every setup.
        cases.retain(|case| (case.refuse.is_empty() || needs(&[SECCOMP])) && (case.may)());
        for setup in each_setup() {
            for case in cases.iter().filter(|case| fits(case, setup)) {
                assert_fails(case, setup, argv);
            }
        }
    });
}

#[test]
fn bad_input_is_refused_before_any_process_exists() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        let (_, argv) = quick(0);
        for setup in without_stub() {
            for mut case in refusals() {
                // Nothing can be made, so nothing was.
                case.refuse = [libc::SYS_clone3, libc::SYS_clone]
                    .map(|call| Refuse::new(call, libc::EAGAIN))
                    .into();
                if case.step != Step::Mode && (setup.mode == Mode::Fork || !needs_fork(&case)) {
                    assert_fails(&case, setup, argv);
                }
            }
        }
        let case = refusals().into_iter().find(|case| case.step == Step::Mode).expect("one");
        assert_fails(&case, each_setup()[0], argv);
    });
}

/// What shares no memory, whatever is wrong with it.
fn needs_fork(case: &Case) -> bool {
    matches!(case.step, Step::Gid | Step::Uid | Step::UidMap | Step::GidMap | Step::Cgroup)
}

#[test]
fn every_step_has_a_case_that_fails() {
    isolated(|| {
        let cases: BTreeSet<Step> =
            cases().iter().chain(&refusals()).map(|case| case.step).collect();
        // Elsewhere: storage, a parent without an environment, memory, pidfds, death.
        let elsewhere = [Step::Plan, Step::Environment, Step::Report, Step::Pidfd, Step::Child];
        // It is what a child does that has failed.
        let cannot = [Step::Exit];
        for step in Step::ALL {
            let listed = elsewhere.contains(&step) || cannot.contains(&step);
            assert_ne!(cases.contains(&step), listed, "{step:?}");
        }
    });
}

#[test]
fn an_option_brings_the_names_of_what_it_does() {
    isolated(|| {
        let (_, argv) = quick(0);
        for case in cases().into_iter().chain(refusals()) {
            // In a process that has asked for nothing else.
            forked(|| {
                let mut request = Request::new(Exec::Path(c"/proc/self/exe"), argv);
                (case.ask)(&mut request);
                let is_named = |text: &str| text.starts_with(|c: char| c.is_ascii_lowercase());
                match request.plan(&mut Room::new()) {
                    Err(error) => assert!(is_named(&error.to_string()), "{error}"),
                    Ok(plan) => {
                        for line in plan.to_string().lines().filter(|l| !l.starts_with("mode")) {
                            // Number, step, call.
                            assert!(is_named(&line[4..]) && is_named(&line[19..]), "{line}");
                        }
                    }
                }
            });
        }
    });
}

#[test]
fn a_plan_that_does_not_fit_is_refused() {
    isolated(|| {
        let (exe, argv) = quick(0);
        let request = Request::new(Exec::Path(exe), argv);
        let error = request.spawn(&mut Buffer::<0, 0>::new()).expect_err("no room");
        assert_eq!((error.step(), error.errno()), (Step::Plan, Some(Errno::ENOBUFS)));
    });
}

#[test]
fn a_report_that_cannot_be_prepared_is_an_error() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        let (exe, argv) = quick(0);
        for setup in each_setup().into_iter().filter(|setup| setup.mode == Mode::Fork) {
            let refuse = [Refuse::new(libc::SYS_mmap, libc::ENOMEM)];
            let error = refused(setup, &refuse, &mut Request::new(Exec::Path(exe), argv));
            assert_eq!((error.step(), error.errno()), (Step::Report, Some(Errno::ENOMEM)));
        }
    });
}

#[test]
fn a_pidfd_that_the_kernel_lacks_is_an_error() {
    isolated(|| {
        let (exe, argv) = quick(0);
        let mut setup = each_setup()[0];
        setup.kernel = setup.kernel.without(Feature::Pidfd);
        let error = failure(setup, Request::new(Exec::Path(exe), argv).pidfd(true));
        assert_eq!((error.step(), error.errno()), (Step::Pidfd, Some(Errno::ENOSYS)));
    });
}

#[test]
fn a_descriptor_table_that_is_full_is_an_error_of_the_step_that_meets_it() {
    isolated(|| {
        let limit = libc::rlimit { rlim_cur: 3, rlim_max: 100 };
        // SAFETY: The kernel reads one `rlimit`.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
        let (exe, argv) = quick(0);
        // A ring needs one more.
        let ring = [
            FdAction::Map { parent_fd: 0, child_fd: 1 },
            FdAction::Map { parent_fd: 1, child_fd: 0 },
        ];
        let mut request = Request::new(Exec::Path(exe), argv);
        let setup = each_setup()[0];
        setup.apply(request.fds(&ring));
        let error = request.spawn(&mut Room::new()).expect_err("no descriptor left");
        assert_eq!((error.step(), error.errno()), (Step::Move, Some(Errno::EMFILE)));
        if !needs(&[PIDFD_OPEN]) {
            return;
        }
        let mut request = Request::new(Exec::Path(exe), argv);
        let error = request.pidfd(true).spawn(&mut Room::new()).expect_err("no descriptor left");
        // Of clone(2) itself, if that makes it.
        let kernel = Kernel::current().expect("known");
        let step = if kernel.has(Feature::ClonePidfd) { Step::Clone } else { Step::Pidfd };
        assert_eq!((error.step(), error.errno()), (step, Some(Errno::EMFILE)));
        assert!(!has_children());
    });
}

unsafe extern "C" fn exit_with_9(_: *mut c_void) -> i32 {
    // SAFETY: Ends the process.
    unsafe { libc::_exit(9) }
}

#[test]
fn a_child_that_dies_before_exec_is_an_error_of_its_own() {
    isolated(|| {
        let (exe, argv) = quick(0);
        for setup in each_setup().into_iter().filter(|setup| setup.mode == Mode::Fork) {
            if !setup.has_no_exit_signal() {
                continue;
            }
            for (function, cause, text) in [
                (
                    kill_raw as rawspawn::HookFn,
                    Cause::Killed(9),
                    "start the program: killed by signal 9 before exec",
                ),
                (
                    exit_with_9,
                    Cause::Exited(9),
                    "start the program: exited with status 9 before exec",
                ),
            ] {
                let mut request = Request::new(Exec::Path(exe), argv);
                // SAFETY: Both end the child.
                request.hook(unsafe { Hook::new(function, std::ptr::null_mut()) });
                let error = failure(setup, &mut request);
                assert_eq!((error.step(), error.cause()), (Step::Child, cause), "{setup:?}");
                assert_eq!(error.to_string(), text);
            }
        }
    });
}

#[test]
fn a_child_that_is_killed_in_shared_memory_is_an_error_of_its_own() {
    isolated(|| {
        let (exe, argv) = quick(0);
        for setup in each_setup().into_iter().filter(|setup| setup.mode == Mode::Vfork) {
            let mut stack = vec![std::mem::MaybeUninit::uninit(); 16 * 1024];
            let mut request = Request::new(Exec::Path(exe), argv);
            // SAFETY: The raw calls need little stack, and no C library's state.
            request
                .hook(unsafe { Hook::sharing_memory(kill_raw, std::ptr::null_mut(), &mut stack) });
            let error = failure(setup, &mut request);
            assert_eq!((error.step(), error.cause()), (Step::Child, Cause::Killed(9)));
        }
    });
}

unsafe extern "C" fn kill_raw(_: *mut c_void) -> i32 {
    // SAFETY: Touches no memory.
    let pid = unsafe { libc::syscall(libc::SYS_getpid) };
    // SAFETY: Ends this process.
    unsafe { libc::syscall(libc::SYS_kill, pid, libc::SIGKILL) };
    0
}

#[test]
fn a_child_that_a_filter_kills_at_exec_is_an_error_of_its_own() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        let (exe, argv) = quick(0);
        for setup in each_setup() {
            if !setup.has_no_exit_signal() {
                continue;
            }
            if setup.mode == Mode::Vfork && core_kills_all() {
                continue;
            }
            let mut request = Request::new(Exec::Path(exe), argv);
            setup.apply(&mut request);
            let before = Remains::look();
            let spawned = killing(libc::SYS_execve, || request.spawn(&mut Room::new()));
            before.assert_unchanged();
            let error = spawned.expect_err("it was killed");
            let expected = (Step::Child, Cause::Killed(libc::SIGSYS as u8));
            assert_eq!((error.step(), error.cause()), expected, "{setup:?}");
        }
    });
}

static CHILD_SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: i32) {
    CHILD_SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Has 50 spawns of each of `setups` fail while another thread waits for every child,
/// and returns how many that has got.
fn fail_beside_a_reaper(setups: Vec<Setup>) -> u32 {
    let (running, stolen) = (AtomicU32::new(1), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while running.load(Ordering::Relaxed) > 0 {
                // SAFETY: A status is not asked for.
                let pid = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
                stolen.fetch_add(u32::from(pid > 0), Ordering::Relaxed);
            }
        });
        let _running = Running(&running);
        for setup in setups {
            if !setup.has_no_exit_signal() {
                continue;
            }
            for _ in 0..50 {
                let mut request = Request::new(Exec::Path(c"/nonexistent"), argv![c"program"]);
                setup.apply(&mut request);
                let error = request.spawn(&mut Room::new()).expect_err("nonexistent");
                let found = (error.step(), error.errno());
                assert_eq!(found, (Step::Exec, Some(Errno::ENOENT)), "{setup:?}: {error}");
            }
        }
    });
    assert!(!has_children());
    stolen.load(Ordering::Relaxed)
}

#[test]
fn a_spawn_that_failed_raises_no_sigchld_and_cannot_be_stolen() {
    isolated(|| {
        // SAFETY: All of `sigaction` is integers.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = count as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: The handler only counts.
        unsafe { libc::sigaction(libc::SIGCHLD, &raw const action, std::ptr::null_mut()) };
        assert_eq!(fail_beside_a_reaper(without_stub()), 0);
        assert_eq!(CHILD_SIGNALS.load(Ordering::Relaxed), 0);
        // The signal comes once there is a child to speak of.
        let (exe, argv) = quick(0);
        let mut process =
            Request::new(Exec::Path(exe), argv).spawn(&mut Room::new()).expect("a child");
        process.wait().expect("our child");
        assert_eq!(CHILD_SIGNALS.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_failure_in_a_stub_is_the_error_even_if_another_reaps_the_child() {
    isolated(|| {
        let is_stub = |setup: &Setup| setup.mode == Mode::Stub;
        fail_beside_a_reaper(each_setup().into_iter().filter(is_stub).collect());
    });
}

#[test]
fn sigchld_ignored_makes_no_difference_to_errors() {
    isolated(|| {
        // SAFETY: Touches no memory.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        for setup in each_setup() {
            let mut request = Request::new(Exec::Path(c"/nonexistent"), argv![c"program"]);
            assert_eq!(failure(setup, &mut request).errno(), Some(Errno::ENOENT));
        }
    });
}

#[test]
fn a_limit_on_processes_is_eagain_at_clone() {
    isolated(|| {
        if !may_change_credentials() {
            return;
        }
        let kernel = Kernel::current().expect("there is no limit yet");
        forked(|| {
            let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: The kernel reads one `rlimit`.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &raw const limit) }, 0);
            // Root is above the limit; another user of this process alone is not.
            // SAFETY: Touches no memory.
            assert_eq!(unsafe { libc::setresuid(54_321, 54_321, 54_321) }, 0);
            assert_clone_is_refused(kernel);
        });
    });
}

fn assert_clone_is_refused(kernel: Kernel) {
    let request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
    for modes in [Modes::Vfork, Modes::Fork] {
        if modes == Modes::Vfork && !kernel.has(Feature::SharedMemory) {
            continue;
        }
        let mut request = request;
        let error = request.kernel(kernel).modes(modes).spawn(&mut Room::new());
        let error = error.expect_err("no process can be made");
        assert_eq!((error.step(), error.errno()), (Step::Clone, Some(Errno::EAGAIN)));
    }
}

#[test]
fn a_cgroup_without_room_is_eagain_at_clone() {
    isolated(|| {
        let Some(group) = Controlled::new("pids", &["pids.max"]) else { return };
        let kernel = Kernel::current().expect("there is no limit yet");
        forked(|| {
            group.enter();
            group.set("pids.max", "1");
            assert_clone_is_refused(kernel);
        });
    });
}

#[test]
fn what_is_wrong_with_a_program_is_what_the_kernel_says() {
    isolated(|| {
        use std::os::unix::fs::{PermissionsExt, symlink};

        let dir = TempDir::new();
        let file = |name: &str, mode, content: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).expect("our directory");
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, mode).expect("our file");
            dir.join(name)
        };
        symlink("loop", dir.path().join("loop")).expect("our directory");
        let busy = file("busy", 0o755, &std::fs::read("/proc/self/exe").expect("/proc"));
        let writer = std::fs::OpenOptions::new().write(true).open(dir.path().join("busy"));
        let plain = file("plain", 0o644, b"#!/bin/sh\n");
        let mut below = plain.clone().into_bytes();
        below.extend(b"/below");
        let long = "x".repeat(256);
        let huge = CString::new("x".repeat(1 << 18)).expect("no NUL");
        let table = [
            (dir.join("missing"), Errno::ENOENT),
            (plain, Errno::EACCES),
            (dir.join("."), Errno::EACCES),
            (file("text", 0o755, b"neither a script nor a program\n"), Errno::ENOEXEC),
            (file("empty", 0o755, b""), Errno::ENOEXEC),
            (file("script", 0o755, b"#!/nonexistent/interpreter\n"), Errno::ENOENT),
            (CString::new(below).expect("no NUL"), Errno::ENOTDIR),
            (dir.join("loop"), Errno::ELOOP),
            (dir.join(&long), Errno::ENAMETOOLONG),
            (CString::new("/x".repeat(3000)).expect("no NUL"), Errno::ENAMETOOLONG),
            (busy, Errno::ETXTBSY),
            (CString::default(), Errno::ENOENT),
        ];
        for setup in each_setup() {
            for (path, errno) in &table {
                let mut request = Request::new(Exec::Path(path), argv![c"program"]);
                let error = failure(setup, &mut request);
                let found = (error.step(), error.errno());
                assert_eq!(found, (Step::Exec, Some(*errno)), "{setup:?}: {path:?}: {error}");
            }
            let arguments = [CStrPtr::new(c"program"), CStrPtr::new(&huge), CStrPtr::NULL];
            let arguments = CStrArray::new(&arguments).expect("a NULL");
            let mut request = Request::new(Exec::Path(c"/proc/self/exe"), arguments);
            let error = failure(setup, &mut request);
            assert_eq!((error.step(), error.errno()), (Step::Exec, Some(Errno::E2BIG)));
        }
        drop(writer);
    });
}

#[test]
fn messages_read_well() {
    isolated(|| {
        let setup = each_setup()[0];
        let spawn = |ask: fn(&mut Request<'static>)| -> Error {
            let mut request = Request::new(Exec::Path(c"/nonexistent"), argv![c"program"]);
            ask(&mut request);
            failure(setup, &mut request)
        };
        let none = |r: &mut Request<'static>| {
            r.other_fds(OtherFds::Inherit);
        };
        for (error, text) in [
            (spawn(none), "execute the program: No such file or directory (ENOENT)"),
            (
                spawn(|r| {
                    r.cwd(CurrentDir::Path(c"/nonexistent"));
                }),
                "chdir to the working directory: No such file or directory (ENOENT)",
            ),
            (
                spawn(|r| {
                    r.fds(&[FdAction::Map { parent_fd: 1 << 30, child_fd: 5 }]);
                }),
                "move a descriptor (item 0): Bad file descriptor (EBADF)",
            ),
            (
                spawn(|r| {
                    r.nice(99);
                }),
                "set the nice value: Invalid argument (EINVAL)",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    });
}
