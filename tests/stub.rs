//! A child that changes its credentials in a program of its own.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rawspawn::{
    CapSet, Cause, CurrentDir, Errno, Exec, ListenFds, Mode, Modes, OtherFds, Reason, Request,
    Step, argv,
};

use crate::common::fork::Sleeper;
use crate::common::rights::{SECCOMP, may_change_credentials, may_give, may_trace_others, needs};
use crate::common::seccomp::{Question, Refuse, killing, refusing, supervised};
use crate::common::{
    Remains, Reporter, Room, Running, Setup, TempDir, each_setup, file_at, forked, isolated, quick,
    report, share_memory,
};

/// A user that no other test makes children of.
const USER: u32 = 54_321;

/// Another one.
const OTHER: u32 = 54_325;

/// Those who stop and trace all of their own, each in one test.
const ATTACKER: u32 = 54_322;
const HOLDER: u32 = 54_326;

/// The setups of this topic, if this process may have other credentials.
fn setups(mode: Mode) -> Vec<Setup> {
    let setups = if may_change_credentials() { each_setup() } else { Vec::new() };
    setups.into_iter().filter(|setup| setup.mode == mode).collect()
}

/// A request for another user's child, as `setup` says.
fn request(setup: Setup, status: u8) -> Request<'static> {
    let (exe, argv) = quick(status);
    let mut request = Request::new(Exec::Path(exe), argv);
    setup.apply(request.uid(USER).gid(USER));
    request
}

fn pid() -> i32 {
    std::process::id() as i32
}

#[test]
fn who_has_other_credentials_shares_no_memory() {
    isolated(|| {
        if !needs(&[SECCOMP]) || !may_trace_others() {
            return;
        }
        for setup in setups(Mode::Stub).into_iter().chain(setups(Mode::Fork)) {
            for call in [libc::SYS_setgroups, libc::SYS_setresgid, libc::SYS_setresuid] {
                let look = |listener| {
                    let question = Question::next(listener);
                    assert!(!share_memory(pid(), question.pid()), "{setup:?}, {call}");
                    question.go_on();
                };
                let spawn = || request(setup, 0).spawn(&mut Room::new()).expect("a child");
                let mut process = supervised(call, look, spawn);
                assert!(process.wait().expect("our child").success());
            }
        }
        // The check finds what it is for.
        for setup in each_setup().into_iter().filter(|setup| setup.mode == Mode::Vfork) {
            let look = |listener| {
                let question = Question::next(listener);
                assert!(share_memory(pid(), question.pid()), "{setup:?}");
                question.go_on();
            };
            let (exe, argv) = quick(0);
            let mut request = Request::new(Exec::Path(exe), argv);
            setup.apply(&mut request);
            let spawn = || request.spawn(&mut Room::new()).expect("a child");
            supervised(libc::SYS_execve, look, spawn).wait().expect("our child");
        }
    });
}

#[test]
fn nobody_can_change_a_stub() {
    isolated(|| {
        if !needs(&[SECCOMP]) || !may_trace_others() {
            return;
        }
        for setup in setups(Mode::Stub) {
            let look = |listener| {
                let question = Question::next(listener);
                let exe = format!("/proc/{}/exe", question.pid());
                let name = fs::read_link(&exe).expect("a link");
                assert!(name.to_string_lossy().starts_with("/memfd:rawspawn"), "{name:?}");
                let file = File::open(&exe).expect("we are root");
                // SAFETY: The command touches no memory.
                let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
                let all = libc::F_SEAL_SEAL
                    | libc::F_SEAL_SHRINK
                    | libc::F_SEAL_GROW
                    | libc::F_SEAL_WRITE;
                assert_eq!(seals, all);
                question.go_on();
            };
            let spawn = || request(setup, 0).spawn(&mut Room::new()).expect("a child");
            supervised(libc::SYS_setresuid, look, spawn).wait().expect("our child");
        }
    });
}

/// Does to all processes of `user` what that user may, until it is killed.
fn attack(user: u32) -> ! {
    // SAFETY: Touches no memory.
    assert_eq!(unsafe { libc::setresgid(user, user, user) }, 0);
    // SAFETY: Touches no memory.
    assert_eq!(unsafe { libc::setresuid(user, user, user) }, 0);
    loop {
        // SAFETY: Touches no memory. Not this process itself.
        unsafe { libc::kill(-1, libc::SIGSTOP) };
        let Ok(processes) = fs::read_dir("/proc") else { continue };
        for process in processes.flatten() {
            let name = process.file_name();
            let number = name.to_str().and_then(|name| name.parse::<i32>().ok());
            let Some(pid) = number else { continue };
            let none = std::ptr::null_mut::<libc::c_void>();
            // SAFETY: Touches no memory of ours.
            if unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, none, none) } == 0 {
                let mut status = 0;
                // SAFETY: Touches no memory of ours.
                unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, pid, none, none) };
                // SAFETY: Writes one status. It stops, or it ends and its parent waits.
                unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
                // SAFETY: Touches no memory of ours.
                if unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, none, none) } != 0 {
                    // Killed meanwhile: a zombie that its parent gets when its tracer has.
                    // SAFETY: Writes one status.
                    unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
                }
            }
            let path = format!("/proc/{pid}/mem");
            if let Ok(file) = OpenOptions::new().write(true).open(path) {
                // The canary's place, in case the memory is the parent's.
                let place = CANARY.as_ptr().addr() as u64;
                let _ = file.write_at(&[0xff; 4], place);
            }
        }
    }
}

/// The processes of a user who attacks them, which all end with this, whatever the test comes to.
struct Attacked {
    by: i32,
    user: u32,
}

impl Attacked {
    fn new(user: u32) -> Self {
        // SAFETY: A single thread that matters; the child execs nothing and is killed.
        let by = unsafe { libc::fork() };
        if by == 0 {
            attack(user);
        }
        Self { by, user }
    }
}

impl Drop for Attacked {
    fn drop(&mut self) {
        // First, as else it would stop who kills the others.
        // SAFETY: Our child.
        assert_eq!(unsafe { libc::kill(self.by, libc::SIGKILL) }, 0);
        // SAFETY: A status is not asked for.
        assert_eq!(unsafe { libc::waitpid(self.by, std::ptr::null_mut(), 0) }, self.by);
        forked(|| {
            // SAFETY: Touches no memory.
            assert_eq!(unsafe { libc::setresuid(self.user, self.user, self.user) }, 0);
            // SAFETY: All processes of this user, but for this one.
            unsafe { libc::kill(-1, libc::SIGKILL) };
        });
    }
}

static CANARY: AtomicU32 = AtomicU32::new(1234);

#[test]
fn a_user_who_attacks_his_own_child_in_the_making_does_not_reach_its_parent() {
    isolated(|| {
        let Some(setup) = setups(Mode::Stub).first().copied() else { return };
        let before = Remains::look();
        let attacked = Attacked::new(ATTACKER);
        let (mut spawned, mut failed) = (0, 0);
        for _ in 0..300 {
            let mut request = request(setup, 0);
            match request.uid(ATTACKER).gid(ATTACKER).spawn(&mut Room::new()) {
                Ok(mut process) => {
                    // It may be stopped by now.
                    process.kill().expect("our child");
                    process.wait().expect("our child");
                    spawned += 1;
                }
                // That a user kills his own processes is his right.
                Err(error) => {
                    assert_eq!(error.step(), Step::Child, "{error}");
                    failed += 1;
                }
            }
            assert_eq!(CANARY.load(Ordering::Relaxed), 1234);
        }
        println!("under attack: {spawned} children, {failed} failures");
        drop(attacked);
        before.assert_unchanged();
        // SAFETY: Touches no memory.
        assert_eq!(unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }, 1);
        assert!(spawned > 0);
    });
}

#[test]
fn a_stub_that_is_killed_is_an_error_and_no_zombie() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        let listen = ListenFds::new(0);
        // The last is the exec of the program, when all steps have been told of.
        let calls = [libc::SYS_setresuid, libc::SYS_execve];
        for (setup, call) in
            setups(Mode::Stub).into_iter().flat_map(|setup| calls.map(|call| (setup, call)))
        {
            for listens in [false, true] {
                let before = Remains::look();
                let error = killing(call, || {
                    let mut request = request(setup, 0);
                    if listens {
                        request.listen_fds(&listen);
                    }
                    request.spawn(&mut Room::new()).expect_err("it was killed")
                });
                let expected = (Step::Child, Cause::Killed(libc::SIGSYS as u8));
                assert_eq!((error.step(), error.cause()), expected, "{setup:?}, {call}");
                before.assert_unchanged();
            }
        }
    });
}

#[test]
fn a_copy_of_the_pipe_in_somebodys_fork_does_not_hold_the_parent() {
    isolated(|| {
        let Some(setup) = setups(Mode::Stub).first().copied() else { return };
        let running = AtomicU32::new(1);
        std::thread::scope(|scope| {
            let strangers = scope.spawn(|| {
                let mut sleepers = Vec::new();
                while running.load(Ordering::Relaxed) > 0 && sleepers.len() < 200 {
                    sleepers.push(Sleeper::new(|| {}));
                    std::thread::sleep(Duration::from_millis(1));
                }
                sleepers
            });
            let running = Running(&running);
            for _ in 0..100 {
                let mut process = request(setup, 7).spawn(&mut Room::new()).expect("a child");
                assert_eq!(process.wait().expect("our child").code(), Some(7));
            }
            drop(running);
            // They are there until now.
            strangers.join().expect("no panic");
        });
    });
}

/// How a child of another user is made by default.
fn by_default() -> (Mode, Reason) {
    let (exe, argv) = quick(5);
    let mut request = Request::new(Exec::Path(exe), argv);
    let spawned = request.uid(USER).gid(USER).spawn(&mut Room::new());
    let mut process = spawned.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(process.wait().expect("our child").code(), Some(5));
    (process.mode(), process.reason())
}

#[test]
fn where_a_memfd_cannot_be_executed_it_is_a_fork() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        if setups(Mode::Stub).is_empty() {
            return;
        }
        assert_eq!(by_default(), (Mode::Stub, Reason::Credentials));
        for call in [libc::SYS_memfd_create, libc::SYS_execveat] {
            for errno in [libc::EACCES, libc::ENOSYS, libc::EINVAL] {
                rawspawn::Kernel::probe().expect("a child can be made");
                let before = Remains::look();
                let refuse = [Refuse::new(call, errno)];
                let (first, second) = refusing(&refuse, || (by_default(), by_default()));
                before.assert_unchanged();
                assert_eq!(first, (Mode::Fork, Reason::Credentials), "{call}, {errno}");
                assert_eq!(second, first);
            }
        }
    });
}

#[test]
fn who_inherits_all_has_what_a_stub_would_need_too() {
    isolated(|| {
        if !may_change_credentials() {
            return;
        }
        let dir = File::open("/").expect("a directory");
        // SAFETY: Touches no memory. Not close-on-exec.
        let dir = unsafe { libc::dup(dir.as_raw_fd()) };
        let reporter = Reporter::new(&[]);
        for (others, has_it) in [(OtherFds::Inherit, true), (OtherFds::Close, false)] {
            let mut request = Request::new(Exec::Path(reporter.exe), reporter.argv);
            request.other_fds(others).cwd(CurrentDir::Fd(dir)).uid(USER).gid(USER);
            let mut process = request.spawn(&mut Room::new()).expect("a child");
            let expected = if has_it { Mode::Fork } else { by_default().0 };
            assert_eq!(process.mode(), expected, "{others:?}");
            assert!(process.wait().expect("our child").success());
            assert_eq!(reporter.read().fds().contains(&dir), has_it, "{others:?}");
        }
    });
}

#[test]
fn a_standard_stream_that_is_used_is_still_there() {
    isolated(|| {
        let dir = File::open("/").expect("a directory");
        // SAFETY: Descriptors alone.
        assert_eq!(unsafe { libc::dup2(dir.as_raw_fd(), 0) }, 0);
        for setup in setups(Mode::Stub) {
            let seen = report(setup, |r| _ = r.cwd(CurrentDir::Fd(0)));
            assert_eq!((seen.get("cwd"), &seen.fds()[..]), ("/", &[0, 1, 2][..]), "{setup:?}");
        }
    });
}

#[test]
fn a_parent_that_may_not_signal_its_child_is_not_held_by_its_owner() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        if setups(Mode::Stub).is_empty() {
            return;
        }
        let attacked = Attacked::new(HOLDER);
        forked(|| {
            become_user_with(IDS, IDS);
            let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
            // Of another session, so that SIGCONT is refused as well.
            request.uid(HOLDER).gid(HOLDER).session(true);
            // Its last call waits for an answer that never comes, until it is stopped.
            let error = supervised(
                libc::SYS_execve,
                |_| (),
                || request.spawn(&mut Room::new()).expect_err("it is stopped"),
            );
            assert_eq!((error.step(), error.errno()), (Step::Child, Some(Errno::EPERM)));
        });
        drop(attacked);
    });
}

#[test]
fn a_limit_on_the_size_of_files_leads_to_a_fork() {
    isolated(|| {
        if setups(Mode::Stub).is_empty() {
            return;
        }
        forked(|| {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: libc::RLIM_INFINITY };
            // SAFETY: One `rlimit`.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const none) }, 0);
            // And not to SIGXFSZ, which would kill us.
            assert_eq!(by_default(), (Mode::Fork, Reason::Credentials));
        });
    });
}

#[test]
fn a_parent_with_many_descriptors_gives_none_of_them_away() {
    isolated(|| {
        let _files: Vec<_> = (100..700).map(file_at).collect();
        let inheritable: Vec<_> = (700..800).map(file_at).collect();
        for fd in &inheritable {
            // SAFETY: F_SETFD touches no memory.
            unsafe { libc::fcntl(crate::common::raw(fd), libc::F_SETFD, 0) };
        }
        for setup in setups(Mode::Stub) {
            let seen = report(setup, |_| {});
            assert_eq!(seen.fds(), [0, 1, 2], "{setup:?}");
        }
    });
}

#[test]
fn a_stub_is_chosen_where_the_capabilities_survive_and_else_a_fork() {
    const CAP_SETUID: libc::c_ulong = 7;
    const NOROOT: libc::c_ulong = 1;
    isolated(|| {
        if setups(Mode::Stub).is_empty() {
            return;
        }
        forked(|| {
            // SAFETY: Touches no memory.
            assert_eq!(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_SETUID, 0, 0, 0) }, 0);
            assert_eq!(by_default(), (Mode::Fork, Reason::Credentials));
        });
        forked(|| {
            // SAFETY: Touches no memory.
            assert_eq!(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, NOROOT, 0, 0, 0) }, 0);
            assert_eq!(by_default(), (Mode::Fork, Reason::Credentials));
        });
        // Somebody else, who may change ids.
        for ambient in [CapSet::EMPTY, IDS] {
            forked(|| {
                become_user_with(IDS, ambient);
                let mode = if ambient == IDS { Mode::Stub } else { Mode::Fork };
                let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
                request.uid(OTHER).gid(OTHER);
                let mut process = request.spawn(&mut Room::new()).expect("a child");
                assert_eq!(process.mode(), mode);
                assert!(process.wait().expect("our child").success());
                let error = request.modes(Modes::Stub).spawn(&mut Room::new()).map(drop);
                let expected = if ambient == IDS { Ok(()) } else { Err(Some(Errno::EOPNOTSUPP)) };
                assert_eq!(error.map_err(|error| error.errno()), expected);
            });
        }
    });
}

#[test]
fn a_program_that_takes_a_capability_to_reach_is_reached() {
    const DAC_READ_SEARCH: u32 = 2;
    isolated(|| {
        if setups(Mode::Stub).is_empty() || !may_give(DAC_READ_SEARCH) {
            return;
        }
        let dir = TempDir::new();
        let program = dir.join("program");
        fs::copy("/bin/true", program.to_str().expect("a plain path")).expect("ours");
        let closed = PermissionsExt::from_mode(0o700);
        fs::set_permissions(dir.path(), closed).expect("ours");
        forked(|| {
            become_user_with(IDS.with(DAC_READ_SEARCH), IDS);
            let mut request = Request::new(Exec::Path(&program), argv![c"true"]);
            request.uid(OTHER).gid(OTHER);
            let mut process = request.spawn(&mut Room::new()).expect("a child");
            assert_eq!(process.mode(), Mode::Fork);
            assert!(process.wait().expect("our child").success());
        });
    });
}

/// To change ids.
pub(crate) const IDS: CapSet = CapSet::EMPTY.with(6).with(7);

/// Becomes a user with the capabilities `kept` alone, and the right to give on those of them
/// that are `ambient`.
pub(crate) fn become_user_with(kept: CapSet, ambient: CapSet) {
    // SAFETY: Touches no memory.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) }, 0);
    // SAFETY: Touches no memory.
    assert_eq!(unsafe { libc::syscall(libc::SYS_setresgid, USER, USER, USER) }, 0);
    // SAFETY: Touches no memory.
    assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, USER, USER, USER) }, 0);
    // Version 3, this thread; effective, permitted, inheritable, twice.
    let header = [0x2008_0522u32, 0];
    let bits = kept.bits() as u32;
    let data = [bits, bits, bits, 0, 0, 0];
    // SAFETY: The kernel reads both.
    let set = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    for capability in (0..32).filter(|capability| ambient.bits() >> capability & 1 == 1) {
        let raise = libc::PR_CAP_AMBIENT_RAISE;
        // SAFETY: Touches no memory.
        let raised = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, capability, 0, 0) };
        assert_eq!(raised, 0, "{}", std::io::Error::last_os_error());
    }
}

#[test]
fn a_stub_whose_parent_dies_executes_its_program() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        // SAFETY: Touches no memory.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }, 0);
        for setup in setups(Mode::Stub) {
            let parent = AtomicU32::new(0);
            let status = supervised(
                libc::SYS_setresuid,
                |listener| {
                    // The stub, about to have other credentials.
                    let question = Question::next(listener);
                    let parent = parent.load(Ordering::Acquire) as i32;
                    // SAFETY: Our child, whose child is ours then.
                    unsafe { libc::kill(parent, libc::SIGKILL) };
                    // The other thread reaps it.
                    crate::common::own::until("the parent is gone", || {
                        // SAFETY: Sends no signal.
                        unsafe { libc::kill(parent, 0) != 0 }
                    });
                    question.go_on();
                },
                || {
                    // SAFETY: This thread is all that it needs.
                    let pid = unsafe { libc::fork() };
                    if pid == 0 {
                        let _ = request(setup, 5).spawn(&mut Room::new());
                        // SAFETY: Ends the process, which does not get here.
                        unsafe { libc::_exit(99) };
                    }
                    parent.store(pid as u32, Ordering::Release);
                    let mut status = 0;
                    crate::common::own::until("the orphan has ended", || {
                        // SAFETY: The kernel writes one status.
                        let ended = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
                        ended > 0 && ended != pid
                    });
                    status
                },
            );
            assert_eq!(status, 5 << 8, "{setup:?}");
        }
    });
}
