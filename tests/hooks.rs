//! Hooks of the core: what they find, what they leave, and what becomes of their child.
#![allow(clippy::multiple_unsafe_ops_per_block)]

use std::ffi::{c_int, c_void};
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use rawspawn::{
    CLibrary, Cause, CurrentDir, Errno, Exec, Feature, Hook, HookFn, Mode, Namespaces, NsSet,
    ParentHook, Request, SigSet, Step,
};

use crate::common::fork::Sleeper;
use crate::common::rights::{PIDFD_OPEN, SECCOMP, needs};
use crate::common::seccomp::Refuse;
use crate::common::watch::Watch;
use crate::common::{
    Room, Setup, failure, file_at, has_children, isolated, quick, refused, report, run,
    without_stub,
};

/// A hook for the fork of the C library.
fn forked(function: HookFn, data: *mut c_void) -> Hook<'static> {
    // SAFETY: The two are those of the library that the tests run on.
    let library = unsafe { CLibrary::new(libc::fork, libc::__errno_location) };
    // SAFETY: The hooks here touch what is theirs, or atomics.
    unsafe { Hook::forked(library, function, data) }
}

fn raw(function: HookFn, data: *mut c_void) -> Hook<'static> {
    // SAFETY: As above, and those given to this make system calls alone.
    unsafe { Hook::new(function, data) }
}

fn sharing(function: HookFn, data: *mut c_void) -> Hook<'static> {
    let stack = Vec::leak(vec![MaybeUninit::uninit(); 16 * 1024]);
    // SAFETY: As above, with little stack, that is never given back.
    unsafe { Hook::sharing_memory(function, data, stack) }
}

type MakeHook = fn(HookFn, *mut c_void) -> Hook<'static>;

/// Every kind of hook, by every way to spawn it.
fn each_kind() -> Vec<(Setup, MakeHook)> {
    let mut kinds: Vec<(Setup, MakeHook)> = Vec::new();
    for setup in without_stub() {
        if setup.mode == Mode::Vfork {
            kinds.push((setup, sharing));
        } else {
            kinds.push((setup, raw));
            kinds.push((setup, forked));
        }
    }
    kinds
}

/// Every way to spawn by a fork.
fn forks() -> Vec<Setup> {
    without_stub().into_iter().filter(|setup| setup.mode == Mode::Fork).collect()
}

/// How many children the C library has told of themselves.
static TOLD: AtomicU32 = AtomicU32::new(0);

extern "C" fn tell() {
    TOLD.fetch_add(1, Ordering::Relaxed);
}

/// 0 if the C library works as after its own fork; else the line.
unsafe extern "C" fn use_the_library(_: *mut c_void) -> c_int {
    if TOLD.load(Ordering::Relaxed) != 1 {
        return 1;
    }
    // SAFETY: Touches no memory.
    let (cached, asked) = unsafe { (libc::getpid(), libc::syscall(libc::SYS_getpid)) };
    if i64::from(cached) != asked {
        return 2;
    }
    // SAFETY: Touches no memory; its own ids.
    if unsafe { libc::setgid(libc::getgid()) } != 0 {
        return 3;
    }
    let text = format!("{:?}", "allocated".repeat(10_000));
    if text.len() != 90_002 {
        return 4;
    }
    // SAFETY: Sets and a signal of this process.
    let is_pending = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGUSR1);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut());
        libc::raise(libc::SIGUSR1);
        libc::sigpending(&raw mut set);
        let is_pending = libc::sigismember(&raw const set, libc::SIGUSR1);
        let default = libc::signal(libc::SIGUSR1, libc::SIG_IGN);
        libc::signal(libc::SIGUSR1, default);
        is_pending == 1
    };
    if is_pending { 0 } else { 5 }
}

#[test]
fn a_hook_in_the_c_librarys_fork_finds_that_library_working() {
    isolated(|| {
        // SAFETY: The handler adds to an atomic.
        let added = unsafe { libc::pthread_atfork(None, None, Some(tell)) };
        assert_eq!(added, 0);
        for setup in forks() {
            let before = TOLD.load(Ordering::Relaxed);
            assert_eq!(before, 0, "the parent is not told");
            let report = report(setup, |request| {
                request.hook(forked(use_the_library, ptr::null_mut()));
            });
            let blocked = SigSet::from_bits(report.signals("SigBlk"));
            assert!(blocked.contains(libc::SIGUSR1), "{setup:?}: it has run in another process");
        }
    });
}

/// The same in raw calls, for who shares memory: leaves a trace of each kind.
unsafe extern "C" fn leave_traces(fd: *mut c_void) -> c_int {
    // SAFETY: The tests give it the address of one.
    let fd = unsafe { &*fd.cast::<AtomicI32>() }.load(Ordering::Relaxed);
    let ignore = [libc::SIG_IGN, 0, 0, 0];
    let blocked = SigSet::EMPTY.with(libc::SIGUSR2);
    let no_core = [7u64, 7];
    // SAFETY: System calls, with arrays of ours.
    let results = unsafe {
        [
            libc::syscall(libc::SYS_fcntl, fd, libc::F_SETFD, 0),
            libc::syscall(libc::SYS_dup3, fd, fd + 2, 0) - i64::from(fd + 2),
            libc::syscall(libc::SYS_rt_sigaction, libc::SIGPIPE, ignore.as_ptr(), 0, 8),
            libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const blocked, 0, 8),
            libc::syscall(libc::SYS_umask, 0o31).min(0),
            libc::syscall(libc::SYS_prlimit64, 0, libc::RLIMIT_CORE, no_core.as_ptr(), 0),
        ]
    };
    results.iter().position(|result| *result != 0).map_or(0, |place| 100 + place as c_int)
}

#[test]
fn what_a_hook_does_reaches_the_program_and_other_descriptors_do_not() {
    isolated(|| {
        let _kept = file_at(100);
        let other = file_at(101);
        // SAFETY: Touches no memory.
        unsafe { libc::fcntl(other.as_raw_fd(), libc::F_SETFD, 0) };
        let fd = AtomicI32::new(100);
        for (setup, hook) in each_kind() {
            let data = ptr::from_ref(&fd).cast_mut().cast();
            let report = report(setup, |request| {
                request.umask(0o77).signal_mask(SigSet::EMPTY.with(libc::SIGUSR1));
                request.default_signals(SigSet::EMPTY.with(libc::SIGPIPE));
                request.hook(hook(leave_traces, data));
            });
            assert_eq!(report.fds(), [0, 1, 2, 100, 102], "{setup:?}");
            assert_eq!(report.number("umask"), 0o31, "{setup:?}");
            assert_eq!(report.get("rlimit4"), "7 7", "{setup:?}");
            let blocked = SigSet::EMPTY.with(libc::SIGUSR1).with(libc::SIGUSR2);
            assert_eq!(report.signals("SigBlk"), blocked.bits(), "{setup:?}");
            let ignored = SigSet::from_bits(report.signals("SigIgn"));
            assert!(ignored.contains(libc::SIGPIPE), "{setup:?}");
        }
    });
}

unsafe extern "C" fn nothing(_: *mut c_void) -> c_int {
    0
}

unsafe extern "C" fn fail(_: *mut c_void) -> c_int {
    libc::EBUSY
}

unsafe extern "C" fn close_all(_: *mut c_void) -> c_int {
    for fd in 3..1024 {
        // SAFETY: Of this child, which has none that it needs.
        unsafe { libc::close(fd) };
    }
    0
}

#[test]
fn a_step_that_fails_before_in_or_after_a_hook_is_named_and_leaves_nothing() {
    isolated(|| {
        let _watch = Watch::new(100, || "spawns that fail".into());
        let (exe, argv) = quick(0);
        let missing = Exec::Path(c"/nonexistent/program");
        for setup in forks() {
            // Of an emulated raw fork the parent knows by a pipe alone, which a hook could close.
            let suspends = setup.kernel.has(Feature::Suspends);
            for (make, asks) in [(raw as MakeHook, suspends), (forked, true)] {
                let closes = if asks { close_all } else { nothing as HookFn };
                for (exec, cwd, hook, expected) in [
                    (missing, c"/", nothing as HookFn, (Step::Exec, Errno::ENOENT)),
                    (missing, c"/", closes, (Step::Exec, Errno::ENOENT)),
                    (Exec::Path(exe), c"/nonexistent", fail, (Step::CurrentDir, Errno::ENOENT)),
                    (Exec::Path(exe), c"/", fail, (Step::Hook, Errno::EBUSY)),
                ] {
                    let mut request = Request::new(exec, argv);
                    request.cwd(CurrentDir::Path(cwd)).hook(make(hook, ptr::null_mut()));
                    let error = failure(setup, &mut request);
                    let found = (error.step(), error.errno().expect("a number"));
                    assert_eq!(found, expected, "{setup:?}");
                }
            }
        }
    });
}

unsafe extern "C" fn exit_with_9(_: *mut c_void) -> c_int {
    // SAFETY: Ends the process.
    unsafe { libc::_exit(9) }
}

unsafe extern "C" fn kill_itself(_: *mut c_void) -> c_int {
    // SAFETY: Ends the process.
    unsafe { libc::raise(libc::SIGKILL) }
}

/// Ends the child, and leaves one of its own that has all its descriptors for a while.
unsafe extern "C" fn fork_and_exit(_: *mut c_void) -> c_int {
    // SAFETY: A child of the C library's own fork has one thread.
    unsafe {
        if libc::fork() == 0 {
            // Or the harness would wait for it.
            for fd in 0..3 {
                libc::close(fd);
            }
            libc::alarm(20);
            libc::pause();
        }
        libc::_exit(0)
    }
}

#[test]
fn a_hook_that_ends_its_child_is_an_error_whoever_holds_what_tells() {
    isolated(|| {
        let _watch = Watch::new(15, || "a child of a child that has ended".into());
        let (exe, argv) = quick(0);
        for (function, cause) in [
            (exit_with_9 as HookFn, Cause::Exited(9)),
            (kill_itself, Cause::Killed(9)),
            (fork_and_exit, Cause::Exited(0)),
        ] {
            let setup = forks()[0];
            let mut request = Request::new(Exec::Path(exe), argv);
            request.hook(forked(function, ptr::null_mut()));
            let error = failure(setup, &mut request);
            assert_eq!((error.step(), error.cause()), (Step::Child, cause));
        }
    });
}

/// The descriptors of the two pipes that [`meet`] uses.
static MEETING: [AtomicI32; 2] = [AtomicI32::new(0), AtomicI32::new(0)];

/// Says that it is here, and waits to be let on.
unsafe extern "C" fn meet(_: *mut c_void) -> c_int {
    let [here, go] = [&MEETING[0], &MEETING[1]].map(|fd| fd.load(Ordering::Relaxed));
    let mut byte = [0u8; 1];
    // SAFETY: A byte, to write and to read.
    let done = unsafe {
        libc::write(here, byte.as_ptr().cast(), 1) + libc::read(go, byte.as_mut_ptr().cast(), 1)
    };
    if done == 2 { 0 } else { libc::EPIPE }
}

#[test]
fn a_process_that_another_thread_forks_does_not_hold_the_parent() {
    isolated(|| {
        let _watch = Watch::new(60, || "a stranger that has what tells of the exec".into());
        let (exe, argv) = quick(0);
        let (here, tells) = rawspawn::pipe().expect("a pipe");
        let (waits, go) = rawspawn::pipe().expect("a pipe");
        MEETING[0].store(tells.raw(), Ordering::Relaxed);
        MEETING[1].store(waits.raw(), Ordering::Relaxed);
        let file = |fd: &rawspawn::Fd| {
            std::fs::File::options()
                .read(true)
                .write(true)
                .open(format!("/proc/self/fd/{}", fd.raw()))
        };
        let (mut here, mut go) = (file(&here).expect("/proc"), file(&go).expect("/proc"));
        std::thread::scope(|scope| {
            let spawner = scope.spawn(|| {
                let mut request = Request::new(Exec::Path(exe), argv);
                request.hook(forked(meet, ptr::null_mut()));
                let spawned = request.spawn(&mut Room::new());
                spawned.map(|mut process| process.wait().expect("our child").success())
            });
            here.read_exact(&mut [0]).expect("the hook");
            let stranger = Sleeper::new(|| ());
            go.write_all(&[0]).expect("the hook");
            assert_eq!(spawner.join().expect("no panic"), Ok(true));
            assert!(stranger.sleeps(), "it has held nobody, as it was gone");
        });
        assert!(!has_children());
    });
}

#[test]
fn a_fork_of_the_c_library_has_all_that_needs_no_clone() {
    isolated(|| {
        let (exe, argv) = quick(0);
        for new in [NsSet::USER, NsSet::PID] {
            let namespaces = Namespaces::new(new);
            let mut request = Request::new(Exec::Path(exe), argv);
            request.namespaces(&namespaces).hook(forked(nothing, ptr::null_mut()));
            let error = request.spawn(&mut Room::new()).expect_err("a clone's");
            assert_eq!((error.step(), error.errno()), (Step::Mode, Some(Errno::EOPNOTSUPP)));
        }
        let seen = AtomicI32::new(0);
        let see = |pid: i32| {
            seen.store(pid, Ordering::Relaxed);
            Ok(())
        };
        let mut request = Request::new(Exec::Path(exe), argv);
        let has_pidfds = needs(&[PIDFD_OPEN]);
        request.parent_hook(ParentHook::new(&see)).pidfd(has_pidfds);
        request.hook(forked(nothing, ptr::null_mut()));
        let mut process = request.spawn(&mut Room::new()).expect("a child");
        assert_eq!(seen.load(Ordering::Relaxed), process.pid(), "the parent's hook");
        assert_eq!(process.pidfd().is_some(), has_pidfds);
        assert!(process.wait().expect("our child").success());
        let refuse = |_: i32| Err(Errno::EBUSY);
        let mut request = Request::new(Exec::Path(exe), argv);
        request.parent_hook(ParentHook::new(&refuse)).hook(forked(nothing, ptr::null_mut()));
        let error = failure(forks()[0], &mut request);
        assert_eq!((error.step(), error.errno()), (Step::ParentHook, Some(Errno::EBUSY)));
    });
}

#[test]
fn threads_share_a_plan_with_a_hook() {
    isolated(|| {
        let _watch = Watch::new(100, || "threads with one plan".into());
        let (exe, argv) = quick(5);
        let mut request = Request::new(Exec::Path(exe), argv);
        request.env(rawspawn::argv![]).hook(forked(nothing, ptr::null_mut()));
        let mut room = Room::new();
        let plan = request.plan(&mut room).expect("a plan");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let mut process = plan.spawn().expect("a child");
                        assert_eq!(process.wait().expect("our child").code(), Some(5));
                    }
                });
            }
        });
        assert!(!has_children());
    });
}

#[test]
fn the_error_of_the_c_librarys_fork_is_that_of_the_clone() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        let (exe, argv) = quick(0);
        let mut calls = vec![Refuse::new(libc::SYS_clone, libc::ENOMEM)];
        calls.push(Refuse::new(libc::SYS_clone3, libc::ENOMEM));
        #[cfg(target_arch = "x86_64")]
        calls.push(Refuse::new(libc::SYS_fork, libc::ENOMEM));
        let mut request = Request::new(Exec::Path(exe), argv);
        request.hook(forked(nothing, ptr::null_mut()));
        let setup = forks()[0];
        assert_eq!(run(setup, &mut request), 0);
        let error = refused(setup, &calls, &mut request);
        assert_eq!((error.step(), error.errno()), (Step::Clone, Some(Errno::ENOMEM)));
    });
}
