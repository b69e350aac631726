//! The cgroup that a child is in from its start.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rawspawn::{
    CStrArray, CStrPtr, Cause, Errno, Error, Exec, FdAction, Feature, Job, Kernel, Mode, Modes,
    Namespaces, NsSet, ParentHook, PosixSpawn, Process, Reason, Request, Step, spawn_all,
};

use crate::common::cgroup::Controlled;
use crate::common::child::{End, ending};
use crate::common::rights::{SECCOMP, may_change_credentials, may_make, may_trace_others, needs};
use crate::common::seccomp::{Question, supervised};
use crate::common::{
    Room, Setup, failure, isolated, quick, report, share_memory, skip, with_own_memory,
};

/// A cgroup of version 2 with one child, both the test's own.
struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes it in that of this process; `None`, and says so, where that cannot be.
    fn new() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc");
        let mount = mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let path = words.next()?;
            (words.next()? == "cgroup2").then(|| path.to_owned())
        });
        let path = mount.map(|mount| format!("{mount}{}/rawspawn-{}", own(), std::process::id()));
        let made =
            path.and_then(|path| fs::create_dir_all(format!("{path}/inner")).ok().map(|()| path));
        if made.is_none() {
            skip("cgroups, of which none can be made here");
        }
        Some(Self { path: made?.into() })
    }

    fn open(&self) -> File {
        File::open(&self.path).expect("a directory")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.path.join("inner"));
        let _ = fs::remove_dir(&self.path);
    }
}

/// The path of this process's own cgroup of version 2, without a slash at its end.
fn own() -> String {
    let text = fs::read_to_string("/proc/self/cgroup").expect("/proc");
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    path.unwrap_or_default().trim_end_matches('/').to_owned()
}

/// Whether a child made as `setup` says is made in its cgroup.
fn is_born_there(setup: Setup) -> bool {
    setup.mode == Mode::Fork
        && setup.kernel.has(Feature::Clone3)
        && setup.kernel.has(Feature::CloseRange)
}

#[test]
fn the_cgroup_of_posix_spawn_is_entered_as_any_other() {
    isolated(|| {
        let Some(cgroup) = Cgroup::new() else { return };
        let (directory, before) = (cgroup.open(), own());
        let posix = PosixSpawn::new().cgroup(directory.as_raw_fd());
        for setup in with_own_memory().into_iter().filter(|setup| setup.mode == Mode::Fork) {
            let seen = report(setup, |request| _ = request.posix(&posix));
            let expected = format!("{before}/rawspawn-{}", std::process::id());
            assert_eq!(seen.get("cgroup"), expected, "{setup:?}");
            let mut request = ending(End::Exit(0));
            let error = failure(setup, request.posix(&PosixSpawn::new().cgroup(-1)));
            assert_eq!((error.step(), error.errno()), (Step::Cgroup, Some(Errno::EBADF)));
        }
    });
}

#[test]
fn a_child_is_in_its_cgroup_and_its_parent_is_not() {
    isolated(|| {
        let Some(cgroup) = Cgroup::new() else { return };
        let (directory, before) = (cgroup.open(), own());
        for setup in with_own_memory() {
            let seen = report(setup, |request| {
                request.cgroup(directory.as_raw_fd());
            });
            let expected = format!("{before}/rawspawn-{}", std::process::id());
            assert_eq!(seen.get("cgroup"), expected, "{setup:?}");
            assert_eq!(own(), before, "{setup:?}");
            assert_eq!(seen.fds(), [0, 1, 2], "{setup:?}");
        }
    });
}

#[test]
fn the_number_of_its_directory_may_be_one_that_the_child_gets() {
    isolated(|| {
        let Some(cgroup) = Cgroup::new() else { return };
        let directory = cgroup.open();
        let fd = directory.as_raw_fd();
        for setup in with_own_memory() {
            let fds = [FdAction::Map { parent_fd: 0, child_fd: fd }];
            let seen = report(setup, |request| {
                request.cgroup(fd).fds(&fds);
            });
            assert!(seen.get("cgroup").contains("/rawspawn-"), "{setup:?}");
            assert_eq!(seen.fd(fd), seen.fd(0), "{setup:?}");
        }
    });
}

#[test]
fn what_is_no_cgroup_or_not_to_be_entered_is_an_error() {
    isolated(|| {
        let tmp = File::open("/tmp").expect("a directory");
        for setup in with_own_memory() {
            let mut request = ending(End::Exit(0));
            let error = failure(setup, request.cgroup(tmp.as_raw_fd()));
            // It is the file in it that is missed.
            let expected = if is_born_there(setup) { Errno::EBADF } else { Errno::ENOENT };
            assert_eq!((error.step(), error.errno()), (Step::Cgroup, Some(expected)), "{setup:?}");
        }
        let Some(cgroup) = Cgroup::new() else { return };
        let directory = cgroup.open();
        drop(cgroup);
        for setup in with_own_memory() {
            let mut request = ending(End::Exit(0));
            let error = failure(setup, request.cgroup(directory.as_raw_fd()));
            assert_eq!(error.step(), Step::Cgroup, "{setup:?}: {error}");
            // By kernel.
            let removed = [Some(Errno::ENOENT), Some(Errno::ENODEV)];
            assert!(removed.contains(&error.errno()), "{setup:?}: {error}");
        }
    });
}

#[test]
fn one_that_is_neither_of_processes_nor_of_threads_is_an_error() {
    isolated(|| {
        let Some(cgroup) = Cgroup::new() else { return };
        let threaded = fs::write(cgroup.path.join("inner/cgroup.type"), "threaded");
        threaded.expect("a cgroup of the test's own");
        let invalid = Cgroup { path: cgroup.path.join("invalid") };
        fs::create_dir(&invalid.path).expect("a cgroup of the test's own");
        let directory = invalid.open();
        for setup in with_own_memory() {
            let mut request = ending(End::Exit(0));
            let error = failure(setup, request.cgroup(directory.as_raw_fd()));
            let found = (error.step(), error.errno());
            assert_eq!(found, (Step::Cgroup, Some(Errno::EOPNOTSUPP)), "{setup:?}");
        }
        drop(invalid);
    });
}

#[test]
fn a_plan_says_how() {
    isolated(|| {
        let newest = Kernel::NEWEST;
        let mut request = ending(End::Exit(0));
        let mut shown = |kernel, modes| {
            let mut room = Room::new();
            request.cgroup(5).nice(3).kernel(kernel).modes(modes);
            request.plan(&mut room).expect("a valid request").to_string()
        };
        assert!(shown(newest, Modes::Any).contains("|CLONE_INTO_CGROUP|"));
        let old = shown(newest.without(Feature::CloseRange), Modes::Any);
        assert!(old.contains(r#"openat(5, "cgroup.procs", 02000001, 0) -> fd"#), "{old}");
        assert!(old.contains(r#"write(fd, "0", 1) = 1"#) && !old.contains("INTO_CGROUP"), "{old}");
        let stub = shown(newest, Modes::Stub);
        let places = ["execveat(stub", r#"write(fd, "0", 1) = 1"#, "setpriority("];
        let places = places.map(|call| stub.find(call).unwrap_or_else(|| panic!("{call}: {stub}")));
        assert!(places.is_sorted() && !stub.contains("INTO_CGROUP"), "{stub}");
    });
}

/// A user that no other test makes children of.
const USER: u32 = 54_331;

/// A way to spawn: its name, and what it makes of a request.
type Door = (&'static str, fn(&mut Request<'_>) -> Result<Process, Error>);

const DOORS: &[Door] = &[
    ("spawn", |request| request.spawn(&mut Room::new())),
    ("plan", |request| request.env(CStrArray::EMPTY).plan(&mut Room::new())?.spawn()),
    ("spawn_all", |request| {
        let mut room = Room::new();
        let plan = request.env(CStrArray::EMPTY).plan(&mut room)?;
        let mut jobs = [Job::new(&plan)];
        spawn_all(&mut jobs);
        jobs[0].take().expect("started")
    }),
    #[cfg(feature = "alloc")]
    ("start", |request| request.start()?.finish()),
    #[cfg(feature = "alloc")]
    ("owned plan", |request| request.owned_plan()?.start()?.finish()),
    ("parent_hook", |request| {
        static NOTHING: fn(i32) -> Result<(), Errno> = |_| Ok(());
        request.parent_hook(ParentHook::new(&NOTHING)).spawn(&mut Room::new())
    }),
    ("posix", |request| {
        const POSIX: PosixSpawn<'_> = PosixSpawn::new();
        request.posix(&POSIX).spawn(&mut Room::new())
    }),
    ("stub", |request| request.modes(Modes::Stub).spawn(&mut Room::new())),
    ("another user", |request| {
        let request = if may_change_credentials() { request.uid(USER) } else { request };
        request.spawn(&mut Room::new())
    }),
];

/// Each door, with this kernel and with one where a child has to move itself.
fn each_door() -> impl Iterator<Item = (Door, Kernel)> {
    let kernel = Kernel::current().expect("a child can be made");
    let old = kernel.without(Feature::Clone3);
    let pairs = DOORS.iter().flat_map(move |door| [(*door, kernel), (*door, old)]);
    pairs.filter(|((name, _), kernel)| {
        *name != "stub"
            || kernel.has(Feature::SharedMemory) && kernel.has(Feature::CloseRangeCloexec)
    })
}

/// Has a child be made by `door` in the cgroup at `path`, and `meanwhile` happen when it is
/// about to execute its program.
fn held(
    (name, door): Door,
    kernel: Kernel,
    path: &Path,
    meanwhile: impl FnOnce(i32) -> bool + Send,
) -> Result<Process, Error> {
    let directory = File::open(path).expect("a directory");
    let (exe, argv) = quick(0);
    let look = |listener| {
        let question = Question::next(listener);
        let pid = question.pid();
        // SAFETY: Touches no memory.
        let own = unsafe { libc::getpid() };
        assert!(!share_memory(own, pid), "{name}: the child shares memory in its cgroup");
        if meanwhile(pid) {
            question.go_on();
        }
    };
    supervised(libc::SYS_execve, look, || {
        let mut request = Request::new(Exec::Path(exe), argv);
        door(request.cgroup(directory.as_raw_fd()).kernel(kernel))
    })
}

#[test]
fn who_is_in_a_cgroup_of_its_own_shares_no_memory() {
    isolated(|| {
        let Some(cgroup) = Cgroup::new() else { return };
        if !needs(&[SECCOMP]) || !may_trace_others() {
            return;
        }
        for (door, kernel) in each_door() {
            let name = door.0;
            let result = held(door, kernel, &cgroup.path, |pid| {
                let pids = fs::read_to_string(cgroup.path.join("cgroup.procs")).expect("ours");
                assert_eq!(pids.trim(), pid.to_string(), "{name}");
                true
            });
            let mut process = result.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(process.wait().expect("our child").success(), "{name}");
        }
    });
}

/// A cgroup in which memory is short.
fn memory(limit: &str) -> Option<Controlled> {
    let files = ["memory.max", "memory.limit_in_bytes"];
    let group = Controlled::new("memory", &files)?;
    group.set(files[usize::from(!group.is_version_2)], limit);
    // Where there is swap space, nothing may go there.
    let swap = ["memory.swap.max", "memory.memsw.limit_in_bytes"];
    let file = group.path().join(swap[usize::from(!group.is_version_2)]);
    let _ = fs::write(file, if group.is_version_2 { "0" } else { limit });
    Some(group)
}

/// Whether a child made by `kernel` can enter `group`: a cgroup of version 1 is none to be made
/// in.
fn can_enter(group: &Controlled, kernel: Kernel) -> bool {
    group.is_version_2 || !kernel.has(Feature::Clone3)
}

/// Has a process of `group` use more memory than that has; whether it was killed.
fn run_out_of_memory(group: &Controlled) -> bool {
    const SIZE: usize = 256 << 20;
    let procs = group.path().join("cgroup.procs");
    let procs = CString::new(procs.as_os_str().as_bytes()).expect("no NUL");
    // SAFETY: The child makes system calls and touches memory of its own.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let (write, anonymous) = (libc::O_WRONLY, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: A C string; the call takes no other memory.
        let file = unsafe { libc::open(procs.as_ptr(), write) };
        // SAFETY: One byte.
        let entered = unsafe { libc::write(file, c"0".as_ptr().cast(), 1) };
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: Where there is nothing yet.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), SIZE, access, anonymous, -1, 0) };
        for offset in (0..SIZE).step_by(4096) {
            // SAFETY: Within what was mapped.
            unsafe { start.cast::<u8>().wrapping_add(offset).write_volatile(1) };
        }
        // SAFETY: Ends the process.
        unsafe { libc::_exit(i32::from(entered != 1)) };
    }
    let mut status = 0;
    // SAFETY: The kernel writes one status.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL
}

/// What has CI fail where the kernel lacks what it was booted for.
const MUST_GROUP: &str = "RAWSPAWN_TEST_OOM_GROUP";

#[test]
fn a_cgroup_that_is_killed_as_a_whole_takes_no_parent_along() {
    isolated(|| {
        let Some(group) = memory("32M") else {
            assert!(std::env::var_os(MUST_GROUP).is_none(), "no memory controller");
            return;
        };
        if !needs(&[SECCOMP]) || !may_trace_others() {
            return;
        }
        if group.is_version_2 {
            group.set("memory.oom.group", "1");
        } else {
            assert!(std::env::var_os(MUST_GROUP).is_none(), "not of version 2");
            println!("without memory.oom.group, which is of version 2: .ci/kernels has it");
        }
        for (door, kernel) in each_door().filter(|(_, kernel)| can_enter(&group, *kernel)) {
            let name = door.0;
            let result = held(door, kernel, group.path(), |pid| {
                assert!(group.has(pid), "{name}");
                assert!(run_out_of_memory(&group), "{name}: nobody was killed");
                // Where it was killed too there is no question left.
                !group.is_version_2
            });
            // Who says so is alive.
            match result {
                Ok(mut process) if !group.is_version_2 => {
                    assert!(process.wait().expect("our child").success(), "{name}");
                }
                result => {
                    let error = result.expect_err("it was killed");
                    let killed = (Step::Child, Cause::Killed(9));
                    assert_eq!((error.step(), error.cause()), killed, "{name}");
                }
            }
        }
    });
}

#[test]
fn arguments_that_its_cgroup_has_no_room_for_end_the_child_alone() {
    isolated(|| {
        let Some(group) = memory("200K") else { return };
        let directory = File::open(group.path()).expect("a directory");
        let (exe, few) = quick(0);
        let long = CString::new("x".repeat(100_000)).expect("no NUL");
        let strings = few.iter().chain([&*long; 5]).map(CStrPtr::new).chain([CStrPtr::NULL]);
        let strings: Vec<_> = strings.collect();
        let argv = CStrArray::new(&strings).expect("a NULL");
        for ((name, door), kernel) in each_door().filter(|(_, k)| can_enter(&group, *k)) {
            let mut request = Request::new(Exec::Path(exe), argv);
            let result = door(request.cgroup(directory.as_raw_fd()).kernel(kernel));
            let error = result.expect_err("there is no room");
            let killed = (Step::Child, Cause::Killed(9));
            assert_eq!((error.step(), error.cause()), killed, "{name}, {kernel:?}");
        }
    });
}

#[test]
fn a_copy_is_made_of_little_memory_and_a_move_of_much() {
    isolated(|| {
        let (exe, argv) = quick(0);
        let how = |ask: fn(&mut Request<'static>)| {
            let mut request = Request::new(Exec::Path(exe), argv);
            ask(request.cgroup(5).kernel(Kernel::NEWEST));
            let mut room = Room::new();
            let plan = request.plan(&mut room).map(|plan| (plan.mode(), plan.reason()));
            plan.map_err(|error| (error.step(), error.errno()))
        };
        let any = |_: &mut Request<'static>| ();
        assert_eq!(how(any), Ok((Mode::Fork, Reason::Cgroup)));
        let needed = |request: &Request<'_>| request.needed().expect("a valid request");
        let mut request = Request::new(Exec::Path(exe), argv);
        request.cgroup(5).kernel(Kernel::NEWEST);
        let before = needed(&request);
        let much = vec![1u8; 600 << 20];
        assert_eq!(how(any), Ok((Mode::Stub, Reason::Cgroup)));
        assert_eq!(needed(&request), before, "what is needed now may not do later");
        // Never in memory that is shared.
        let refused = Err((Step::Mode, Some(Errno::EOPNOTSUPP)));
        assert_eq!(how(|r| _ = r.modes(Modes::Vfork)), refused);
        assert_eq!(how(|r| _ = r.modes(Modes::Fork)), Ok((Mode::Fork, Reason::Asked)));
        drop(much);
        assert_eq!(how(|r| _ = r.modes(Modes::Stub)), Ok((Mode::Stub, Reason::Asked)));
        assert_eq!(how(any), Ok((Mode::Fork, Reason::Cgroup)));
    });
}

#[test]
fn a_new_cgroup_namespace_has_it_for_its_root() {
    isolated(|| {
        let Some(cgroup) = Cgroup::new() else { return };
        if !may_make(NsSet::CGROUP) {
            return;
        }
        let directory = cgroup.open();
        let namespaces = Namespaces::new(NsSet::CGROUP);
        for setup in with_own_memory() {
            let seen = report(setup, |request| {
                request.cgroup(directory.as_raw_fd()).namespaces(&namespaces);
            });
            assert_eq!(seen.get("cgroup"), "/", "{setup:?}");
        }
    });
}
