//! Signals: no handler runs in a child, and masks and actions are what was asked for.

use std::sync::atomic::{AtomicU32, Ordering};

use rawspawn::{Exec, Mode, Request, SigSet, Step};

use crate::common::{
    Remains, Room, Running, Setup, each_setup, failure, isolated, quick, report, test_children,
};

/// Every signal that can have a handler, but those that C libraries keep.
fn catchable() -> impl Iterator<Item = i32> {
    (1..=64).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP, 32, 33, 34].contains(signal))
}

/// What the handlers write, in memory that forks share too.
#[derive(Default)]
struct Seen {
    parent: AtomicU32,
    in_parent: AtomicU32,
    in_child: AtomicU32,
}

static SEEN: std::sync::OnceLock<&'static Seen> = std::sync::OnceLock::new();

/// Where handlers write.
fn seen() -> &'static Seen {
    SEEN.get_or_init(|| {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: A new mapping.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED);
        // SAFETY: The page is zeros, aligned, and never unmapped.
        let seen: &Seen = unsafe { &*page.cast() };
        seen.parent.store(std::process::id(), Ordering::Relaxed);
        seen
    })
}

extern "C" fn handler(_: i32) {
    let Some(seen) = SEEN.get() else { return };
    // SAFETY: Touches no memory; the raw call, as no library may cache it.
    let pid = unsafe { libc::syscall(libc::SYS_getpid) };
    if pid == i64::from(seen.parent.load(Ordering::Relaxed)) {
        seen.in_parent.fetch_add(1, Ordering::Relaxed);
    } else {
        seen.in_child.fetch_add(1, Ordering::Relaxed);
    }
}

fn set_action(signal: i32, action: usize) {
    // SAFETY: All of `sigaction` is integers.
    let mut new: libc::sigaction = unsafe { std::mem::zeroed() };
    new.sa_sigaction = action;
    new.sa_flags = libc::SA_RESTART;
    // SAFETY: One `sigaction`; the handler is async-signal-safe.
    assert_eq!(unsafe { libc::sigaction(signal, &raw const new, std::ptr::null_mut()) }, 0);
}

fn action(signal: i32) -> usize {
    // SAFETY: All of `sigaction` is integers.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: The kernel writes one `sigaction`.
    assert_eq!(unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut old) }, 0);
    old.sa_sigaction
}

fn handle_everything() {
    seen();
    catchable().for_each(|signal| set_action(signal, handler as *const () as usize));
}

/// Has a timer send `SIGALRM` all the time.
fn start_timer() {
    let time = libc::timeval { tv_sec: 0, tv_usec: 100 };
    let interval = libc::itimerval { it_interval: time, it_value: time };
    // SAFETY: The kernel reads one `itimerval`.
    let result = unsafe {
        libc::syscall(libc::SYS_setitimer, libc::ITIMER_REAL, &raw const interval, 0usize)
    };
    assert_eq!(result, 0);
}

#[test]
fn no_handler_runs_in_a_child_during_a_storm_of_signals() {
    isolated(|| {
        // A group of our own, as all of it is sent signals.
        // SAFETY: Touches no memory.
        unsafe { libc::setpgid(0, 0) };
        handle_everything();
        let setups = each_setup();
        let each = test_children(2000) / u32::try_from(setups.len()).expect("few") + 1;
        let (exe, argv) = quick(7);
        let before = Remains::look();
        let running = AtomicU32::new(1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let pid = i32::try_from(std::process::id()).expect("a pid");
                let ignored_by_default = [libc::SIGURG, libc::SIGWINCH, libc::SIGCONT];
                while running.load(Ordering::Relaxed) > 0 {
                    for signal in catchable().filter(|&signal| signal != libc::SIGCHLD) {
                        // SAFETY: Touches no memory.
                        unsafe { libc::kill(pid, signal) };
                    }
                    // To the children as well, before and after their exec.
                    for signal in ignored_by_default {
                        // SAFETY: Touches no memory.
                        unsafe { libc::kill(0, signal) };
                    }
                }
            });
            let _running = Running(&running);
            start_timer();
            for setup in &setups {
                for _ in 0..each {
                    let mut request = Request::new(Exec::Path(exe), argv);
                    setup.apply(&mut request);
                    let spawned = request.spawn(&mut Room::new());
                    let mut process = spawned.unwrap_or_else(|error| panic!("{setup:?}: {error}"));
                    let status = process.wait().expect("our child");
                    assert_eq!(status.code(), Some(7), "{setup:?}: {status}");
                }
            }
        });
        set_action(libc::SIGALRM, handler as *const () as usize);
        before.assert_unchanged();
        for signal in catchable() {
            assert_eq!(action(signal), handler as *const () as usize, "signal {signal}");
        }
        assert!(seen().in_parent.load(Ordering::Relaxed) > 1000, "there was no storm");
        assert_eq!(seen().in_child.load(Ordering::Relaxed), 0, "a handler ran in a child");
    });
}

#[test]
fn a_handler_that_runs_in_a_child_would_be_seen() {
    isolated(|| {
        handle_everything();
        // SAFETY: The child only raises a signal and exits.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: As above.
            unsafe { libc::raise(libc::SIGUSR1) };
            // SAFETY: Ends the process.
            unsafe { libc::_exit(0) };
        }
        // SAFETY: Our child.
        assert_eq!(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) }, pid);
        assert_eq!(seen().in_child.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn handlers_are_reset_and_ignored_signals_stay_ignored() {
    isolated(|| {
        handle_everything();
        set_action(libc::SIGHUP, libc::SIG_IGN);
        set_action(libc::SIGPIPE, libc::SIG_IGN);
        set_action(libc::SIGXFSZ, libc::SIG_IGN);
        let mine = SigSet::from_bits(Remains::look().ignored);
        assert!([libc::SIGHUP, libc::SIGPIPE, libc::SIGXFSZ].iter().all(|s| mine.contains(*s)));
        for setup in each_setup() {
            let seen = report(setup, |_| {});
            assert_eq!(seen.signals("SigCgt"), 0, "{setup:?}: a handler");
            assert_eq!(seen.signals("SigIgn"), mine.bits(), "{setup:?}");

            let seen = report(setup, |request| {
                request.restore_signals().ignore_signals(SigSet::EMPTY.with(libc::SIGUSR2));
            });
            let expected = mine.without(libc::SIGPIPE).without(libc::SIGXFSZ).with(libc::SIGUSR2);
            assert_eq!(seen.signals("SigIgn"), expected.bits(), "{setup:?}");

            let seen = report(setup, |request| {
                request.default_signals(SigSet::ALL);
            });
            assert_eq!(seen.signals("SigIgn"), 0, "{setup:?}");
        }
    });
}

#[test]
fn the_mask_is_the_callers_or_the_one_asked_for() {
    isolated(|| {
        // 32 and 33 too, which no C library lets through.
        let mine = SigSet::EMPTY.with(libc::SIGUSR1).with(32).with(33).with(64);
        let bits = mine.bits();
        // SAFETY: The kernel reads one set.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                libc::SIG_SETMASK,
                &raw const bits,
                0usize,
                size_of::<u64>(),
            )
        };
        assert_eq!(result, 0);
        for setup in each_setup() {
            assert_eq!(report(setup, |_| {}).signals("SigBlk"), mine.bits(), "{setup:?}");
            for mask in [SigSet::EMPTY, SigSet::EMPTY.with(34), SigSet::ALL] {
                let seen = report(setup, |request| {
                    request.signal_mask(mask);
                });
                let kill_and_stop = SigSet::EMPTY.with(libc::SIGKILL).with(libc::SIGSTOP);
                let expected = mask.bits() & !kill_and_stop.bits();
                assert_eq!(seen.signals("SigBlk"), expected, "{setup:?}");
            }
        }
    });
}

#[test]
fn a_signal_cannot_be_both_ignored_and_default() {
    isolated(|| {
        let (exe, argv) = quick(0);
        let both = SigSet::EMPTY.with(libc::SIGUSR1);
        for (ignore, default, refused) in [
            (both, both, libc::SIGUSR1),
            (SigSet::EMPTY.with(libc::SIGKILL), SigSet::EMPTY, libc::SIGKILL),
            (SigSet::EMPTY.with(libc::SIGSTOP), SigSet::EMPTY, libc::SIGSTOP),
        ] {
            let mut request = Request::new(Exec::Path(exe), argv);
            request.ignore_signals(ignore).default_signals(default);
            let error = failure(each_setup()[0], &mut request);
            assert_eq!(error.step(), Step::SignalAction);
            assert_eq!(error.errno(), Some(rawspawn::Errno::EINVAL));
            assert_eq!(i32::try_from(error.index()), Ok(refused));
        }
    });
}

#[test]
fn a_child_that_is_stopped_before_exec_goes_on_when_continued() {
    isolated(|| {
        for setup in each_setup().into_iter().filter(|setup| setup.mode == Mode::Vfork) {
            stop_and_continue(setup);
        }
    });
}

/// Spawns while another thread stops and continues every child it finds.
fn stop_and_continue(setup: Setup) {
    let (exe, argv) = quick(3);
    let mut request = Request::new(Exec::Path(exe), argv);
    setup.apply(&mut request);
    let running = AtomicU32::new(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while running.load(Ordering::Relaxed) > 0 {
                for child in children() {
                    // SAFETY: Touches no memory.
                    unsafe { libc::kill(child, libc::SIGSTOP) };
                    // SAFETY: As above.
                    unsafe { libc::kill(child, libc::SIGCONT) };
                }
            }
        });
        let _running = Running(&running);
        for _ in 0..20 {
            let mut process = request.spawn(&mut Room::new()).expect("it is continued");
            assert_eq!(process.wait().expect("our child").code(), Some(3), "{setup:?}");
        }
    });
}

/// The pids of this process's children.
fn children() -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc");
    let lists =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| list.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}
