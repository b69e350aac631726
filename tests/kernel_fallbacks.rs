//! Kernels and filters that lack a call.

use std::io::Write;
use std::os::fd::AsRawFd;

use rawspawn::{Errno, Exec, Feature, Kernel, Mode, Modes, Reason, Request, Step, argv};

use crate::common::rights::{SECCOMP, needs};
use crate::common::seccomp::{First, Refuse, refusing};
use crate::common::{Remains, Room, alone, isolated, quick, skip};

/// What a filter refuses, and what the kernel then lacks.
fn filters() -> Vec<(&'static str, Vec<Refuse>, Vec<Feature>)> {
    let mut filters = Vec::new();
    for errno in [libc::ENOSYS, libc::EPERM] {
        let refuse = |call| Refuse::new(call, errno);
        filters.extend([
            (
                "clone3",
                vec![refuse(libc::SYS_clone3)],
                vec![Feature::Clone3, Feature::ClearSighand],
            ),
            (
                "close_range",
                vec![refuse(libc::SYS_close_range)],
                vec![Feature::CloseRange, Feature::CloseRangeCloexec],
            ),
            ("pidfd_open", vec![refuse(libc::SYS_pidfd_open)], vec![Feature::Pidfd]),
            (
                "all of them",
                vec![
                    refuse(libc::SYS_clone3),
                    refuse(libc::SYS_close_range),
                    refuse(libc::SYS_pidfd_open),
                    refuse(libc::SYS_execveat),
                ],
                vec![Feature::Clone3, Feature::CloseRange, Feature::Pidfd],
            ),
        ]);
    }
    filters
}

/// Spawns two children by fork and two in the mode that is chosen, of which it
/// tells; one of each fails.
fn spawn_both() -> (Mode, Reason) {
    let (exe, argv) = quick(6);
    let spawn = |modes| {
        let spawned = Request::new(Exec::Path(exe), argv).modes(modes).spawn(&mut Room::new());
        let mut process = spawned.unwrap_or_else(|error| panic!("{error}"));
        let status = process.wait().expect("our child");
        assert_eq!(status.code(), Some(6), "{status}, {:?}", process.mode());
        let mut missing = Request::new(Exec::Path(c"/nonexistent"), argv![c"program"]);
        let error = missing.modes(modes).spawn(&mut Room::new()).expect_err("nonexistent");
        assert_eq!((error.step(), error.errno()), (Step::Exec, Some(Errno::ENOENT)));
        (process.mode(), process.reason())
    };
    assert_eq!(spawn(Modes::Fork), (Mode::Fork, Reason::Asked));
    spawn(Modes::Any)
}

#[test]
fn a_call_that_was_never_there_is_done_without() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        let kernel = Kernel::probe().expect("a child can be made");
        for (name, calls, lacks) in filters() {
            let before = Remains::look();
            let (seen, (mode, _)) =
                refusing(&calls, || (Kernel::probe().expect("a child can be made"), spawn_both()));
            before.assert_unchanged();
            assert!(lacks.iter().all(|feature| !seen.has(*feature)), "{name}: {seen:?}");
            assert_eq!(mode == Mode::Vfork, kernel.has(Feature::SharedMemory), "{name}");
        }
    });
}

#[test]
fn a_call_that_is_refused_from_now_on_is_done_without() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        for (name, calls, _) in filters() {
            let kernel = Kernel::probe().expect("a child can be made");
            let before = Remains::look();
            let (mode, _) = refusing(&calls, spawn_both);
            before.assert_unchanged();
            assert_eq!(mode == Mode::Vfork, kernel.has(Feature::SharedMemory), "{name}");
        }
    });
}

#[test]
fn a_filter_against_shared_memory_leads_to_fork() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        let shared = u32::try_from(libc::CLONE_VM).expect("a flag");
        for errno in [libc::EPERM, libc::EINVAL] {
            Kernel::probe().expect("a child can be made");
            // The flags of clone3 are out of a filter's sight.
            let calls = [
                Refuse::new(libc::SYS_clone3, libc::ENOSYS),
                Refuse { first: First::Has(shared), ..Refuse::new(libc::SYS_clone, errno) },
            ];
            let before = Remains::look();
            // A thread needs shared memory too, but this one is there already.
            assert_eq!(refusing(&calls, spawn_both), (Mode::Fork, Reason::Kernel));
            let error = refusing(&calls, || {
                let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
                request.modes(Modes::Vfork).spawn(&mut Room::new()).expect_err("forbidden")
            });
            assert_eq!((error.step(), error.errno()), (Step::Mode, Some(Errno::EOPNOTSUPP)));
            before.assert_unchanged();
        }
    });
}

#[test]
fn without_any_clone_the_error_is_the_kernels() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        for errno in [Errno::EPERM, Errno::ENOSYS] {
            Kernel::probe().expect("a child can be made");
            let calls =
                [libc::SYS_clone3, libc::SYS_clone].map(|call| Refuse::new(call, errno.raw()));
            let before = Remains::look();
            let error = refusing(&calls, || {
                let request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
                request.spawn(&mut Room::new()).expect_err("no clone")
            });
            assert_eq!((error.step(), error.errno()), (Step::Clone, Some(errno)));
            before.assert_unchanged();
        }
    });
}

#[test]
fn without_execveat_a_program_by_descriptor_is_an_error() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        let file = std::fs::File::open("/proc/self/exe").expect("/proc");
        for errno in [Errno::ENOSYS, Errno::EPERM] {
            let before = Remains::look();
            let error = refusing(&[Refuse::new(libc::SYS_execveat, errno.raw())], || {
                let request = Request::new(Exec::Fd(file.as_raw_fd()), argv![c"program"]);
                request.spawn(&mut Room::new()).expect_err("refused")
            });
            assert_eq!((error.step(), error.errno()), (Step::Exec, Some(errno)));
            before.assert_unchanged();
        }
    });
}

#[test]
fn without_waitid_by_pidfd_and_signals_by_pidfd_the_pid_will_do() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        let calls = [
            Refuse::new(libc::SYS_pidfd_send_signal, libc::ENOSYS),
            // P_PIDFD, below Linux 5.4.
            Refuse { first: First::Is(3), ..Refuse::new(libc::SYS_waitid, libc::EINVAL) },
        ];
        if !Kernel::current().expect("a child can be made").has(Feature::Pidfd) {
            skip("pidfds, which this kernel lacks");
            return;
        }
        let status = refusing(&calls, || {
            let sleep = argv![c"sleep", c"1000"];
            let mut request = Request::new(Exec::Search { name: c"sleep", path: None }, sleep);
            let mut process = request.pidfd(true).spawn(&mut Room::new()).expect("a sleep");
            process.kill().expect("our child");
            process.wait().expect("our child")
        });
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    });
}

#[test]
fn vfork_spawns_where_fork_has_no_memory_for_a_copy() {
    const POLICY: &str = "/proc/sys/vm/overcommit_memory";
    const KIBIBYTES: &str = "/proc/sys/vm/overcommit_kbytes";
    const RATIO: &str = "/proc/sys/vm/overcommit_ratio";

    /// Puts the settings back, by a panic too.
    struct Restore([(&'static str, String); 3]);

    impl Drop for Restore {
        fn drop(&mut self) {
            let [policy, ratio, kibibytes] = &self.0;
            // Each of the last two sets the other to 0.
            let limit = if kibibytes.1.trim() == "0" { ratio } else { kibibytes };
            for (file, value) in [policy, limit] {
                let _ = std::fs::write(file, value);
            }
        }
    }

    // A fork that is refused has taken the memory for a moment, from everyone.
    alone(|| {
        let setting = |file| std::fs::read_to_string(file).expect("/proc");
        let restore = Restore([POLICY, RATIO, KIBIBYTES].map(|file| (file, setting(file))));
        let writable = std::fs::OpenOptions::new().write(true).open(POLICY);
        let Ok(mut policy) = writable else {
            skip("overcommit, for want of root");
            std::mem::forget(restore);
            return;
        };
        if !Kernel::current().expect("a child can be made").has(Feature::SharedMemory) {
            skip("overcommit, as no memory can be shared here");
            return;
        }
        // What is committed already, 8 GiB for us, and 4 GiB for everyone else. Ours
        // is never touched: it is only promised.
        let info = std::fs::read_to_string("/proc/meminfo").expect("/proc");
        let kibibytes = |key| -> u64 {
            let line = info.lines().find_map(|line| line.strip_prefix(key)).expect("a line");
            line.trim().trim_end_matches(" kB").parse().expect("a number")
        };
        let (ours, spare) = (8u64 << 20, 4u64 << 20);
        let limit = kibibytes("Committed_AS:") + ours + spare;
        // The kernel adds what can be swapped.
        let limit = limit.saturating_sub(kibibytes("SwapTotal:"));
        std::fs::write(KIBIBYTES, limit.to_string()).expect("root");
        policy.write_all(b"2").expect("root");
        let size = usize::try_from(ours << 10).expect("64 bits");
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: A new mapping, which nobody uses.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0) };
        assert_ne!(memory, libc::MAP_FAILED, "our half of the limit");
        let (exe, argv) = quick(4);
        let spawn = |modes| {
            let mut request = Request::new(Exec::Path(exe), argv);
            request.modes(modes).spawn(&mut Room::new())
        };
        let fork = spawn(Modes::Fork);
        let vfork = spawn(Modes::Any);
        drop(restore);
        // SAFETY: Ours, and not used.
        unsafe { libc::munmap(memory, size) };
        let error = fork.expect_err("a copy would be above the limit");
        assert_eq!((error.step(), error.errno()), (Step::Clone, Some(Errno::ENOMEM)));
        let mut process = vfork.expect("nothing is copied");
        assert_eq!(process.mode(), Mode::Vfork);
        assert_eq!(process.wait().expect("our child").code(), Some(4));
    });
}
