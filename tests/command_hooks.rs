//! Hooks of `Command`, compared with the standard library's.
#![allow(clippy::multiple_unsafe_ops_per_block)]

use std::alloc::{Layout, alloc, dealloc};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use rawspawn::{
    Command, Errno, Mode, Namespaces, NsSet, OtherFds, ParentHook, Reason, SigSet, SpawnError,
    Stdio, Step,
};

use crate::common::rights::{PIDFD_OPEN, may_make, needs};
use crate::common::watch::Watch;
use crate::common::{Remains, file_at, has_children, isolated, open_fds, test_children};

/// What a hook does.
type HookFn = fn() -> io::Result<()>;

/// Nothing that fails is passed over.
fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The descriptor that the hooks below pass on.
const GIVEN: i32 = 50;

// Each makes system calls of a child's own.
const HOOKS: [(&str, HookFn); 16] = [
    ("nothing", || Ok(())),
    // SAFETY: Touches no memory.
    ("F_SETFD", || check(unsafe { libc::fcntl(GIVEN, libc::F_SETFD, 0) })),
    // SAFETY: Touches no memory.
    ("dup2", || check(unsafe { libc::dup2(GIVEN, 9) })),
    // SAFETY: Touches no memory.
    ("stdin", || check(unsafe { libc::dup2(GIVEN, 0) })),
    ("SIGPIPE is ignored", || {
        // SAFETY: No handler.
        let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
        if before == libc::SIG_DFL {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::EBUSY))
        }
    }),
    ("mask", || {
        let set = SigSet::EMPTY.with(libc::SIGUSR2);
        // SAFETY: The kernel reads a set.
        let result = unsafe {
            libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const set, 0, 8)
        };
        check(result as i32)
    }),
    ("umask", || {
        // SAFETY: Touches no memory.
        unsafe { libc::umask(0o31) };
        Ok(())
    }),
    ("limit", || {
        let limit = libc::rlimit { rlim_cur: 7, rlim_max: 7 };
        // SAFETY: The kernel reads a limit.
        check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })
    }),
    ("session", || {
        // SAFETY: Touches no memory.
        check(unsafe { libc::setsid() })
    }),
    ("an error", || Err(io::Error::from_raw_os_error(libc::EBUSY))),
    ("an error without a number", || Err(io::Error::other("no number"))),
    ("a panic", || panic!("in the child")),
    // SAFETY: Ends the child.
    ("an exit", || unsafe { libc::_exit(3) }),
    ("a signal", || {
        // SAFETY: Ends the child.
        check(unsafe { libc::raise(libc::SIGTERM) })
    }),
    ("a daemon", || {
        // SAFETY: The child of a fork has one thread.
        match unsafe { libc::fork() } {
            0 => Ok(()),
            // SAFETY: Ends the child.
            _ => unsafe { libc::_exit(4) },
        }
    }),
    ("a variable", || {
        if std::env::var_os("PATH").is_some() {
            Ok(())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }),
];

/// A program that tells of all that the hooks do.
const TELL: &str = "for fd in 0 9 50 60; do test -e /proc/self/fd/$fd && readlink /proc/self/fd/$fd; \
    done | grep -v '^pipe\\|^/dev\\|^socket'; umask; ulimit -n; \
    set -- $(cat /proc/self/stat); test $6 = $$ && echo session; echo end";

/// What comes of `hook`, in words: the same text for both crates.
macro_rules! observe {
    ($process:path, $hook:expr) => {{
        use $process as process;
        let file = crate::common::TempDir::new();
        let path = file.path().join("out");
        let mut command = process::Command::new("sh");
        command.args(["-c", TELL]).env_remove("ENV").stderr(process::Stdio::null());
        // A file, as a daemon is not waited for.
        command.stdout(std::fs::File::create(&path).expect("our directory"));
        // SAFETY: The hooks above.
        unsafe { command.pre_exec($hook) };
        let said = match command.status() {
            Ok(status) => {
                let is_told = || std::fs::read_to_string(&path).is_ok_and(|s| s.ends_with("end\n"));
                let wants_daemon = status.code() == Some(4);
                while wants_daemon && !is_told() {
                    std::thread::yield_now();
                }
                status.to_string()
            }
            Err(error) => format!("{:?} {:?}", error.kind(), error.raw_os_error()),
        };
        // Not by the shell, which may open its mask.
        let mut command = process::Command::new("grep");
        command.args(["^Sig[BI]", "/proc/self/status"]).stdin(process::Stdio::null());
        // SAFETY: The hooks above.
        unsafe { command.pre_exec($hook) };
        let signals =
            command.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let signals = signals.map_err(|error| error.raw_os_error());
        (said, signals, std::fs::read_to_string(&path).expect("our file"))
    }};
}

/// In a test of its own: no core dumps, and an end.
fn prepare(seconds: u64, what: &'static str) -> Watch {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: The kernel reads a limit.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    Watch::new(seconds, move || what.to_owned())
}

#[test]
fn a_hook_comes_to_what_it_comes_to_with_std() {
    isolated(|| {
        let _watch = prepare(100, "hooks");
        let _given = file_at(GIVEN);
        for (name, hook) in HOOKS {
            let (ours, theirs) = (observe!(rawspawn, hook), observe!(std::process, hook));
            assert_eq!(ours, theirs, "{name}");
            println!("{name}: {theirs:?}");
        }
        let died = observe!(rawspawn, || panic!("in the child"));
        assert_eq!(died.0, "signal: 6 (SIGABRT)");
        assert_eq!(
            observe!(rawspawn, || Err(io::ErrorKind::Other.into())).0,
            "InvalidInput Some(22)"
        );
        assert!(!has_children());
    });
}

#[test]
fn descriptors_that_a_hook_does_not_touch_are_closed() {
    isolated(|| {
        let _watch = prepare(100, "a program that lists its descriptors");
        let (given, other) = (file_at(GIVEN), file_at(60));
        // SAFETY: Touches no memory.
        unsafe { libc::fcntl(other.as_raw_fd(), libc::F_SETFD, 0) };
        let fds = |others, hook: Option<HookFn>| {
            let mut command = Command::new("ls");
            command.arg("/proc/self/fd").other_fds(others);
            if let Some(hook) = hook {
                // SAFETY: A system call.
                unsafe { command.pre_exec(hook) };
            }
            let output = command.output().expect("ls");
            let text = String::from_utf8(output.stdout).expect("numbers");
            text.lines()
                .filter(|fd| ["50", "60"].contains(fd))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        // SAFETY: Touches no memory.
        let give: HookFn = || check(unsafe { libc::fcntl(GIVEN, libc::F_SETFD, 0) });
        assert!(fds(OtherFds::Close, None).is_empty());
        assert_eq!(fds(OtherFds::Close, Some(give)), ["50"]);
        assert_eq!(fds(OtherFds::Inherit, Some(give)), ["50", "60"]);
        drop(given);
    });
}

#[test]
fn a_hook_that_panics_beside_threads_that_do_is_no_end_to_the_parent() {
    isolated(|| {
        let _watch = prepare(100, "hooks that panic beside threads that make backtraces");
        let running = AtomicBool::new(true);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while running.load(Ordering::Relaxed) {
                        let trace = std::backtrace::Backtrace::force_capture();
                        std::hint::black_box(trace.to_string());
                    }
                });
            }
            let mut command = Command::new("true");
            // SAFETY: It ends the child.
            unsafe { command.pre_exec(|| panic!("in the child")) };
            for _ in 0..test_children(100).min(1000) {
                let status = command.status().expect("std says so too");
                assert_eq!(status.signal(), Some(libc::SIGABRT));
            }
            running.store(false, Ordering::Relaxed);
        });
    });
}

#[test]
fn a_step_beside_a_hook_that_fails_is_named_and_leaves_nothing() {
    isolated(|| {
        let _watch = prepare(100, "spawns that fail");
        let before = Remains::look();
        for (program, dir, hook, expected) in [
            ("true", "/nonexistent", HOOKS[0].1, (Step::CurrentDir, Errno::ENOENT)),
            ("true", "/", HOOKS[9].1, (Step::Hook, Errno::EBUSY)),
            ("/nonexistent", "/", HOOKS[0].1, (Step::Exec, Errno::ENOENT)),
        ] {
            let mut command = Command::new(program);
            command.current_dir(dir).stdout(Stdio::piped()).stdin(Stdio::null());
            // SAFETY: The hooks above.
            unsafe { command.pre_exec(hook) };
            let error = command.try_spawn().expect_err("it fails");
            let SpawnError::Spawn(error) = error else { panic!("{error}") };
            assert_eq!((error.step(), error.errno()), (expected.0, Some(expected.1)));
        }
        before.assert_unchanged();
    });
}

#[test]
fn a_number_that_a_child_is_given_does_not_hide_its_error() {
    isolated(|| {
        let _watch = prepare(100, "spawns with descriptors at low numbers");
        let before = open_fds();
        // One of them would be where std keeps what tells of the exec.
        for child_fd in 3..16 {
            for (program, works) in [("true", true), ("/nonexistent", false)] {
                let mut command = Command::new(program);
                let null = std::fs::File::open("/dev/null").expect("/dev/null");
                command.fd(null, child_fd).open(16, "/dev/null", 0, 0);
                // SAFETY: It only waits, so that who does not is seen.
                unsafe {
                    command.pre_exec(|| {
                        std::thread::sleep(std::time::Duration::from_millis(5));
                        Ok(())
                    })
                };
                match command.spawn() {
                    Ok(mut child) => {
                        assert!(works, "{child_fd}: the error is lost");
                        assert!(child.wait().expect("our child").success());
                    }
                    Err(error) => assert!(!works, "{child_fd}: {error}"),
                }
            }
        }
        assert_eq!(open_fds(), before);
    });
}

#[test]
fn a_child_with_a_hook_has_a_pidfd_when_one_is_asked_for() {
    isolated(|| {
        if !needs(&[PIDFD_OPEN]) {
            return;
        }
        let mut command = Command::new("true");
        // SAFETY: It does nothing.
        unsafe { command.pre_exec(|| Ok(())) };
        let mut child = command.spawn().expect("a child");
        assert_eq!((child.mode(), child.reason()), (Mode::Fork, Reason::Hook));
        let number = child.pidfd().expect("Linux 5.3").raw();
        assert!(number > 2);
        assert_eq!(child.pidfd().map(rawspawn::Fd::raw), Some(number), "the same again");
        assert!(child.wait().expect("our child").success());
        let mut child = command.spawn().expect("a child");
        child.wait().expect("our child");
        assert!(child.pidfd().is_none(), "it is gone");
        let mut child = command.spawn().expect("a child");
        let pid = i32::try_from(child.id()).expect("a pid");
        // SAFETY: Our child; no status is asked for.
        assert_eq!(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) }, pid);
        assert!(child.pidfd().is_none(), "another may have its pid by now");
        assert_eq!(child.wait().expect_err("reaped").raw_os_error(), Some(libc::ECHILD));
    });
}

/// Fills the table of descriptors but for `free`.
fn fill(free: usize) -> Vec<std::fs::File> {
    let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
    // SAFETY: The kernel reads a limit.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    let mut held = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        held.push(file);
    }
    held.truncate(held.len() - free);
    held
}

#[test]
fn a_command_takes_no_descriptor_that_std_does_not_take() {
    isolated(|| {
        let has_pidfds = needs(&[PIDFD_OPEN]);
        // What the kernel offers is found out before.
        Command::new("true").status().expect("a child");
        for (free, has_hook) in [(0, false), (2, true), (1, true), (0, true)] {
            let held = fill(free);
            let hook = || Ok(());
            let (mut ours, mut theirs) = (Command::new("true"), std::process::Command::new("true"));
            if has_hook {
                // SAFETY: It does nothing.
                unsafe { ours.pre_exec(hook) };
                // SAFETY: As above.
                unsafe { theirs.pre_exec(hook) };
            }
            let child = ours.spawn();
            let had_pidfd = child.as_ref().map(|child| child.pidfd().is_some());
            let number = |error: io::Error| error.raw_os_error();
            let found = (had_pidfd.ok(), child.and_then(|mut child| child.wait()).map_err(number));
            let expected = theirs.status().map_err(number);
            drop(held);
            // With some C libraries std takes a pipe for what it needs none for here.
            let does_more = !has_hook && expected.is_err() && found.1.is_ok();
            let had_pidfd = expected.is_ok().then_some(has_pidfds && free > 0);
            assert!(
                does_more || found == (had_pidfd, expected),
                "{free} free: {found:?}, {expected:?}"
            );
        }
    });
}

#[test]
fn sigpipe_stays_ignored_in_a_child_with_hooks_if_that_is_asked_for() {
    isolated(|| {
        for (defaults, expected) in [(None, false), (Some(SigSet::EMPTY), true)] {
            let mut command = Command::new("grep");
            command.args(["SigIgn", "/proc/self/status"]);
            if let Some(defaults) = defaults {
                command.default_signals(defaults);
            }
            // SAFETY: It does nothing.
            unsafe { command.pre_exec(|| Ok(())) };
            let text = String::from_utf8(command.output().expect("grep").stdout).expect("ASCII");
            let bits = text.trim().rsplit('\t').next().expect("a number");
            let ignored = SigSet::from_bits(u64::from_str_radix(bits, 16).expect("hexadecimal"));
            assert_eq!(ignored.contains(libc::SIGPIPE), expected, "{text}");
        }
    });
}

#[test]
fn a_hook_goes_with_what_std_does_not_have() {
    static NAMESPACES: Namespaces<'_> = Namespaces::new(NsSet::PID);
    static SEEN: AtomicU32 = AtomicU32::new(0);
    static SEE: ParentHook<'_> = ParentHook::new(&|pid| {
        SEEN.store(pid.unsigned_abs(), Ordering::Relaxed);
        Ok(())
    });
    isolated(|| {
        let _watch = prepare(100, "a parent's hook beside a child's");
        let mut command = Command::new("sh");
        command.args(["-c", "test $(umask) = 0031"]).parent_hook(SEE);
        // SAFETY: Touches no memory.
        let set = || {
            // SAFETY: As above.
            unsafe { libc::umask(0o31) };
            Ok(())
        };
        // SAFETY: A system call.
        unsafe { command.pre_exec(set) };
        let mut child = command.spawn().expect("a child");
        assert_eq!(SEEN.load(Ordering::Relaxed), child.id());
        assert!(child.wait().expect("our child").success());
        if !may_make(NsSet::PID) {
            return;
        }
        let mut command = Command::new("sh");
        command.args(["-c", "test $(umask) = 0031 && test $$ = 1"]).namespaces(&NAMESPACES);
        // SAFETY: A system call.
        unsafe { command.pre_exec(set) };
        assert!(command.status().expect("a child").success());
    });
}

#[test]
fn hooks_that_call_the_c_library_beside_threads_all_come_to_an_end() {
    static DONE: AtomicU64 = AtomicU64::new(0);
    isolated(|| {
        let count = test_children(2000);
        let _watch = Watch::new(600, move || {
            let done = DONE.load(Ordering::Relaxed);
            format!("child {done} of {count}, whose hook calls setgid, allocates and formats")
        });
        // One arena for all, so that its lock is always somebody's.
        #[cfg(target_env = "gnu")]
        // SAFETY: A setting of the allocator.
        assert_eq!(unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) }, 1);
        let running = AtomicBool::new(true);
        std::thread::scope(|scope| {
            for thread in 0..6 {
                scope.spawn({
                    let running = &running;
                    move || {
                        while running.load(Ordering::Relaxed) {
                            if thread % 2 == 0 {
                                std::thread::spawn(|| drop(vec![1u8; 4000]))
                                    .join()
                                    .expect("no panic");
                            }
                            let layout = Layout::from_size_align(64, 8).expect("a layout");
                            for _ in 0..100 {
                                // SAFETY: Its size is not 0.
                                let place = std::hint::black_box(unsafe { alloc(layout) });
                                // SAFETY: Just allocated, by this layout.
                                unsafe { dealloc(place, layout) };
                            }
                        }
                    }
                });
            }
            let mut command = Command::new("true");
            // SAFETY: What works after the C library's fork.
            unsafe {
                command.pre_exec(|| {
                    check(libc::setgid(libc::getgid()))?;
                    let text = format!("{:?} {}", std::thread::current().id(), "x".repeat(5000));
                    if text.len() > 5000 { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
                })
            };
            for _ in 0..count {
                let status = command.status();
                if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
                    running.store(false, Ordering::Relaxed);
                    panic!("{status:?}");
                }
                DONE.fetch_add(1, Ordering::Relaxed);
            }
            running.store(false, Ordering::Relaxed);
        });
        println!("counted: {} spawns with hooks, no hang", DONE.load(Ordering::Relaxed));
        assert!(!has_children());
    });
}
