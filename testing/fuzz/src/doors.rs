//! From a case to a request, and through the door that it names.
#![allow(unsafe_code)]

use std::ffi::{CString, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rawspawn::{
    CStrArray, CStrPtr, CapSet, Capabilities, Command, CurrentDir, Errno, Error, Exec, FdAction,
    Feature, FileAction, FsAction, Groups, HeapBuffer, Hook, IdRange, Job, Join, Kernel, ListenFds,
    Namespaces, NsSet, OtherFds, ParentHook, Pending, Plan, PosixSpawn, Process, Request, Rlimit,
    Scheduler, SigSet, SpawnError, Stdio, spawn_all,
};

use crate::case::{self, Action, Caps, Case, Dir, Does, Door, File, Item, Program, Seccomp};
use crate::facts::Facts;
use crate::world::{NOT_OPEN, World, c_path, fd};
use crate::{filter, sys};

/// What came of one spawn.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A child, whose handle the case has kept.
    Process(Process),
    Child(Box<rawspawn::Child>),
    /// A child without a handle; it may have failed.
    Pid(i32),
    Failed(Error),
    /// An error without a step.
    Io(io::Error),
    /// The hook of the parent's panicked.
    Panicked,
}

impl From<Result<Process, Error>> for Outcome {
    fn from(result: Result<Process, Error>) -> Self {
        match result {
            Ok(process) => Self::Process(process),
            Err(error) => Self::Failed(error),
        }
    }
}

/// The names of files.
struct Paths {
    child: CString,
    script: CString,
    text: CString,
    busy: CString,
    missing: CString,
    created: CString,
    scratch: CString,
    below: CString,
    mount: CString,
}

impl Paths {
    fn new(world: &World) -> Self {
        let path = |name: &str| c_path(&world.dir.join(name));
        Self {
            child: path("child"),
            script: path("script"),
            text: path("text"),
            busy: path("busy"),
            missing: path("missing"),
            created: path(&created()),
            scratch: c_path(&world.dir),
            below: path("below"),
            mount: path("mount"),
        }
    }

    /// The path, and the flags to open it with.
    fn file(&self, file: File) -> (&CString, c_int) {
        match file {
            File::There => (&self.text, libc::O_RDONLY),
            File::Missing => (&self.missing, libc::O_RDONLY),
            File::Created => (&self.created, libc::O_RDWR | libc::O_CREAT),
            File::Null => (&NULL.0, libc::O_RDWR | libc::O_CLOEXEC),
        }
    }

    fn dir(&self, dir: Dir) -> &std::ffi::CStr {
        match dir {
            Dir::Scratch => &self.scratch,
            Dir::Below => &self.below,
            Dir::Relative => c"below",
            Dir::Missing => &self.missing,
        }
    }
}

/// The file that this thread's children make.
fn created() -> String {
    format!("created/new-{}", sys::plain(libc::SYS_gettid, [0; 4]).unwrap_or(0))
}

struct Null(CString);
static NULL: std::sync::LazyLock<Null> =
    std::sync::LazyLock::new(|| Null(CString::new("/dev/null").unwrap_or_default()));

/// What a hook in the child knows.
struct HookData {
    does: Does,
    word: AtomicU64,
}

/// The hook of a child. It calls nothing that it may not where memory is shared.
unsafe extern "C" fn in_child(data: *mut c_void) -> c_int {
    // SAFETY: The door has it on its stack until the spawn is over.
    let data = unsafe { &*data.cast::<HookData>() };
    match data.does {
        Does::Nothing | Does::Panics => 0,
        Does::Writes => {
            data.word.store(42, Ordering::Relaxed);
            0
        }
        Does::Fails => libc::EACCES,
        Does::Exits => {
            // SAFETY: Ends the child, and touches no memory.
            unsafe { libc::_exit(3) }
        }
        Does::Dies => {
            // SAFETY: A child without threads, whose number this is.
            let pid = unsafe { libc::syscall(libc::SYS_getpid) };
            // SAFETY: No memory is touched.
            unsafe { libc::syscall(libc::SYS_kill, pid, libc::SIGKILL) };
            0
        }
    }
}

/// What a panic that the case wants says.
pub(crate) const PLANNED: &str = "planned";

/// Panics without a message, if this executable can unwind.
fn planned_panic() -> Result<(), Errno> {
    if cfg!(panic = "abort") { Err(Errno::EIO) } else { panic::resume_unwind(Box::new(PLANNED)) }
}

/// The hook of the parent.
fn in_parent(does: case::ParentHook, child: &CString) -> Result<(), Errno> {
    match does {
        case::ParentHook::Nothing => Ok(()),
        case::ParentHook::Fails => Err(Errno::EIO),
        case::ParentHook::Panics => planned_panic(),
        case::ParentHook::Sleeps => {
            std::thread::sleep(Duration::from_millis(1));
            Ok(())
        }
        case::ParentHook::Spawns => {
            let strings = [CStrPtr::new(child), CStrPtr::NULL];
            let mut request = Request::new(Exec::Path(child), CStrArray::terminated(&strings));
            request.env(CStrArray::EMPTY);
            if let Ok(process) = request.spawn(&mut rawspawn::Buffer::<96, 256>::new()) {
                sys::reap(process.pid(), 0);
            }
            Ok(())
        }
        case::ParentHook::Forks => {
            sys::fork_and_reap();
            Ok(())
        }
    }
}

fn pointers(strings: &[CString]) -> Vec<CStrPtr<'_>> {
    strings.iter().map(|string| CStrPtr::new(string)).chain([CStrPtr::NULL]).collect()
}

fn ns(bits: u32) -> NsSet {
    let kinds = [
        NsSet::MOUNT,
        NsSet::UTS,
        NsSet::IPC,
        NsSet::NET,
        NsSet::PID,
        NsSet::USER,
        NsSet::CGROUP,
        NsSet::TIME,
    ];
    let is_in = |kind: &NsSet| kind.bits() & bits != 0;
    kinds.into_iter().filter(is_in).fold(NsSet::EMPTY, NsSet::with)
}

/// Builds the request of `case` and gives it to `then`, with what the program is told.
#[allow(clippy::too_many_lines)] // an option each
pub(crate) fn with_request<T>(
    case: &Case,
    world: &World,
    facts: &Facts,
    expects: &[String],
    then: impl FnOnce(&Request<'_>) -> T,
) -> (T, Option<u64>) {
    let paths = Paths::new(world);
    let strings = |texts: &mut dyn Iterator<Item = String>| -> Vec<CString> {
        texts.map(|text| CString::new(text).unwrap_or_default()).collect()
    };
    let arguments = ["child".into(), world.detail.display().to_string()];
    let arguments = strings(&mut arguments.into_iter().chain(expects.iter().cloned()));
    let argv = pointers(&arguments);
    let mut variables = Some(1);
    for item in &case.items {
        if let Item::Environment(count) = item {
            variables = count.map(usize::from);
        }
    }
    let search_path = format!("/nonexistent:{}", world.dir.display());
    let environment =
        strings(&mut (0..variables.unwrap_or(0)).map(|number| format!("V{number}=1")));
    let envp = pointers(&environment);

    let candidates: Vec<&std::ffi::CStr> = match case.program {
        Program::Candidates(missing) => {
            let missing = (0..missing).map(|_| paths.missing.as_c_str());
            missing.chain([paths.child.as_c_str()]).collect()
        }
        _ => Vec::new(),
    };
    let exec = match case.program {
        Program::Absolute => Exec::Path(&paths.child),
        Program::Relative => Exec::Path(c"./child"),
        Program::Fd => Exec::Fd(fd::PROGRAM),
        Program::Candidates(_) => Exec::Candidates(&candidates),
        Program::Search(1) => Exec::Search { name: c"child", path: Some(search_path.as_bytes()) },
        Program::Search(3) => Exec::Search { name: &paths.child, path: None },
        Program::Search(4) => Exec::Search { name: c"no-such-program", path: None },
        Program::Search(_) => {
            Exec::Search { name: c"child", path: Some(world.dir.as_os_str().as_encoded_bytes()) }
        }
        Program::Script => Exec::Path(&paths.script),
        Program::Missing => Exec::Path(&paths.missing),
        Program::Text => Exec::Path(&paths.text),
        Program::Busy => Exec::Path(&paths.busy),
        Program::Directory => Exec::Path(&paths.below),
        Program::NotOpen(number) => Exec::Fd(number),
    };

    let mut fds = Vec::new();
    let mut actions = Vec::new();
    let mut limits = Vec::new();
    let mut joins = Vec::new();
    for item in &case.items {
        match *item {
            Item::Map { parent_fd, child_fd } => fds.push(FdAction::Map { parent_fd, child_fd }),
            Item::Open { child_fd, file } => {
                let (path, flags) = paths.file(file);
                fds.push(FdAction::Open { child_fd, path, flags, mode: 0o666 });
            }
            Item::Close { child_fd } => fds.push(FdAction::Close { child_fd }),
            Item::Posix(action) => actions.push(match action {
                Action::Close(fd) => FileAction::Close { fd },
                Action::Open(fd, file) => {
                    let (path, flags) = paths.file(file);
                    // The flag would be heeded here.
                    let flags = flags & !libc::O_CLOEXEC;
                    FileAction::Open { fd, path, flags, mode: 0o666 }
                }
                Action::Dup2(fd, new_fd) => FileAction::Dup2 { fd, new_fd },
                Action::Chdir(dir) => FileAction::Chdir { path: paths.dir(dir) },
                Action::Fchdir(fd) => FileAction::Fchdir { fd },
                Action::CloseFrom(fd) => FileAction::CloseFrom { fd },
                Action::Foreground(fd) => FileAction::SetForeground { fd },
            }),
            Item::Rlimit(resource, value) => limits.push(Rlimit::new(resource, value, value)),
            Item::Join(number, kinds) => joins.push(Join::new(number, ns(kinds))),
            _ => {}
        }
    }

    let mut posix = PosixSpawn::new().actions(&actions);
    let batch = Scheduler::new(libc::SCHED_BATCH, 0);
    let mut is_posix = !actions.is_empty();
    let mut kinds = NsSet::EMPTY;
    let mut is_namespaced = !joins.is_empty();
    for item in &case.items {
        match *item {
            Item::PosixSession => posix = posix.session(true),
            Item::PosixGroup => posix = posix.process_group(0),
            Item::PosixResetIds => posix = posix.reset_ids(true),
            Item::PosixScheduler => posix = posix.scheduler(batch),
            Item::New(bits) => kinds = ns(bits),
            Item::OwnIds
            | Item::MoreIds
            | Item::Hostname
            | Item::Loopback
            | Item::Tmpfs
            | Item::Tid(_) => {}
            _ => continue,
        }
        let is_ns = !matches!(
            item,
            Item::PosixSession | Item::PosixGroup | Item::PosixResetIds | Item::PosixScheduler
        );
        is_namespaced |= is_ns;
        is_posix |= !is_ns;
    }
    let own_uid = [IdRange::new(0, facts.uid, 1)];
    let own_gid = [IdRange::new(0, facts.gid, 1)];
    let more = [IdRange::new(0, 100_000, 1000), IdRange::new(2000, 200_000, 60_000)];
    let mount = [FsAction::tmpfs(&paths.mount, c"size=64k")];
    let mut pids = [0];
    let joined = joins_kinds(case);
    let mut namespaces = Namespaces::new(kinds).join(&joins);
    for item in &case.items {
        namespaces = match *item {
            Item::OwnIds => namespaces.id_maps(&own_uid, &own_gid),
            Item::MoreIds => namespaces.id_maps(&more, &more),
            // Not that of this machine.
            Item::Hostname if joined & libc::CLONE_NEWUTS as u32 == 0 => {
                namespaces.hostname(c"fuzz")
            }
            Item::Loopback if joined & libc::CLONE_NEWNET as u32 == 0 => namespaces.loopback(true),
            Item::Tmpfs => namespaces.filesystem(&mount),
            Item::Tid(pid) => {
                pids = [pid];
                namespaces
            }
            _ => namespaces,
        };
    }
    if pids != [0] {
        namespaces = namespaces.set_tid(&pids);
    }

    let capabilities = case.items.iter().find_map(|item| match item {
        Item::Capabilities(Caps::Only(set)) => {
            Some(Capabilities::only(CapSet::from_bits(set & facts.capabilities)))
        }
        Item::Capabilities(Caps::Bounding(set)) => {
            Some(Capabilities::KEPT.bounding(CapSet::from_bits(*set)))
        }
        Item::Capabilities(Caps::Unknown) => {
            Some(Capabilities::KEPT.ambient(CapSet::EMPTY.with(63)))
        }
        _ => None,
    });
    let group_list = case.items.iter().find_map(|item| match item {
        Item::Groups(list) => Some(list),
        _ => None,
    });
    let listen = case.items.iter().find_map(|item| match item {
        Item::Listen(count) => Some(ListenFds::new(*count)),
        _ => None,
    });
    let cpus = case.items.iter().find_map(|item| match item {
        Item::Affinity(cpus) => Some([*cpus]),
        _ => None,
    });
    let parent_hook = case.items.iter().find_map(|item| match item {
        Item::ParentHook(does) => {
            let (does, child) = (*does, paths.child.clone());
            Some(move |_: c_int| in_parent(does, &child))
        }
        _ => None,
    });
    let hook = case.items.iter().find_map(|item| match item {
        Item::Hook(hook) => Some(*hook),
        _ => None,
    });
    let data = HookData { does: hook.map_or(Does::Nothing, |hook| hook.does), word: 0.into() };
    let data_place = (&raw const data).cast_mut().cast::<c_void>();
    let mut stack = vec![MaybeUninit::<u8>::uninit(); if hook.is_some() { 64 * 1024 } else { 0 }];

    let mut request = Request::new(exec, CStrArray::terminated(&argv));
    if variables.is_some() {
        request.env(CStrArray::terminated(&envp));
    }
    if !fds.is_empty() {
        request.fds(&fds);
    }
    if is_posix {
        request.posix(&posix);
    }
    if is_namespaced {
        request.namespaces(&namespaces);
    }
    if !limits.is_empty() {
        request.rlimits(&limits);
    }
    if let Some(capabilities) = &capabilities {
        request.capabilities(capabilities);
    }
    if let Some(list) = group_list {
        request.groups(Groups::Set(list));
    }
    if let Some(listen) = &listen {
        request.listen_fds(listen);
    }
    if let Some(cpus) = &cpus {
        request.affinity(cpus);
    }
    if let Some(function) = &parent_hook {
        request.parent_hook(ParentHook::new(function));
    }
    match hook {
        Some(case::Hook { shares: true, .. }) => {
            // SAFETY: The function calls nothing, and its stack is this spawn's; doors that
            // spawn several at once leave the hook out.
            request.hook(unsafe { Hook::sharing_memory(in_child, data_place, &mut stack) });
        }
        Some(_) => {
            // SAFETY: The function makes system calls alone.
            request.hook(unsafe { Hook::new(in_child, data_place) });
        }
        None => {}
    }
    for item in &case.items {
        match *item {
            Item::Inherit => request.other_fds(OtherFds::Inherit),
            Item::Cwd(dir) => request.cwd(CurrentDir::Path(paths.dir(dir))),
            Item::CwdFd(number) => request.cwd(CurrentDir::Fd(number)),
            Item::Root(exists) => request.root(if exists { c"/" } else { &paths.missing }),
            Item::Umask(mask) => request.umask(mask),
            Item::Session => request.session(true),
            Item::Group(group) => request.process_group(group),
            Item::Terminal(number) => request.controlling_terminal(number),
            Item::Foreground(number) => request.foreground(number),
            Item::DeathSignal(signal) => request.parent_death_signal(signal),
            Item::NoNewPrivs => request.no_new_privs(true),
            Item::Mask(signals) => request.signal_mask(SigSet::from_bits(signals)),
            Item::Default(signals) => request.default_signals(SigSet::from_bits(signals)),
            Item::Ignore(signals) => request.ignore_signals(SigSet::from_bits(signals)),
            Item::Uid(id) => request.uid(id),
            Item::Gid(id) => request.gid(id),
            Item::KeepGroups if group_list.is_none() => request.groups(Groups::Keep),
            Item::Seccomp(which) => request.seccomp(filter_of(which)),
            Item::Landlock(number) => request.landlock(number),
            Item::Cgroup(number) => request.cgroup(number),
            Item::Nice(nice) => request.nice(nice),
            Item::Scheduler => request.scheduler(batch),
            Item::IoPriority(priority) => request.ioprio(priority),
            Item::OomScore(score) => request.oom_score_adj(score),
            Item::Slack(nanos) => request.timer_slack(nanos),
            Item::Subreaper => request.subreaper(true),
            Item::CoreDump(kinds) => request.coredump_filter(kinds),
            Item::Pidfd => request.pidfd(true),
            Item::ExecFd => request.exec_fd(true),
            Item::ShFallback => request.sh_fallback(true),
            Item::Busy(times) => request.retry_busy(times),
            Item::Modes(modes) => request.modes(modes),
            Item::Kernel(kernel) => request.kernel(kernel),
            _ => &mut request,
        };
    }
    let result = then(&request);
    let writes = hook.is_some_and(|hook| hook.does == Does::Writes);
    (result, writes.then(|| data.word.load(Ordering::Relaxed)))
}

fn joins_kinds(case: &Case) -> u32 {
    case.items.iter().fold(0, |all, item| match item {
        Item::Join(_, kinds) => all | kinds,
        _ => all,
    })
}

fn filter_of(which: Seccomp) -> &'static [rawspawn::Filter] {
    match which {
        Seccomp::Allow => &filter::ALLOW,
        Seccomp::Kill => &filter::KILL,
        Seccomp::Invalid => &filter::INVALID,
    }
}

/// A case as its door can have it.
pub(crate) fn fit(mut case: Case, facts: &Facts) -> Case {
    let threads = facts.threads;
    let door = case.door;
    let keeps = |item: &Item| match door {
        // Whoever forgets a handle forgets its descriptors too.
        Door::StartForgotten => !matches!(item, Item::Pidfd | Item::ExecFd),
        // One hook, one stack.
        Door::All { .. } => !matches!(item, Item::Hook(hook) if hook.shares),
        Door::Command => for_command(item, facts),
        _ => true,
    };
    case.items.retain(keeps);
    if let Door::All { panics, .. } = &mut case.door {
        // Who is left behind is found by waiting for any child, also for those of others.
        if threads || cfg!(panic = "abort") {
            *panics = None;
        }
    }
    if case.door == Door::Command && !matches!(case.program, Program::Missing | Program::Text) {
        case.program = Program::Absolute;
    }
    // Between 5.3 and 5.5 all signals are blocked around clone3, as no handler may run in the
    // child: a trap is deadly there.
    if facts.traps(libc::SYS_clone3) {
        let has = |kernel: &Kernel, feature| kernel.has(feature);
        case.items.retain(|item| {
            !matches!(item, Item::Kernel(kernel)
                if has(kernel, Feature::Clone3) && !has(kernel, Feature::ClearSighand))
        });
    }
    if threads {
        // Low numbers are whatever another thread has just opened.
        let low = |number: &i32| *number < 70 && NOT_OPEN.contains(number);
        case.change_numbers(&|number| if low(&number) { 1400 } else { number });
    }
    // One pid, one child.
    if matches!(case.door, Door::All { .. }) || threads {
        case.items
            .retain(|item| !matches!(item, Item::Tid(_) | Item::Terminal(_) | Item::Foreground(_)));
    }
    case
}

/// Whether `Command` has the option.
fn for_command(item: &Item, facts: &Facts) -> bool {
    // A copy of the file with the record lock would lose that when it is closed, which is here.
    let is_free = |number: i32| ![fd::LOCKED, fd::PROBE, 700].contains(&number);
    match *item {
        Item::Map { parent_fd, child_fd } => {
            is_free(parent_fd) && child_fd > 2 && facts.has_open(parent_fd)
        }
        Item::Open { child_fd, .. } => child_fd > 2,
        Item::Landlock(number) => number == fd::RULESET && facts.has_open(number),
        Item::Cgroup(number) => number == fd::CGROUP && facts.has_open(number),
        Item::Posix(_)
        | Item::PosixSession
        | Item::PosixGroup
        | Item::PosixResetIds
        | Item::PosixScheduler
        | Item::Close { .. }
        | Item::CwdFd(_)
        | Item::Root(_)
        | Item::KeepGroups
        | Item::Listen(_)
        | Item::New(_)
        | Item::Join(..)
        | Item::OwnIds
        | Item::MoreIds
        | Item::Hostname
        | Item::Loopback
        | Item::Tmpfs
        | Item::Tid(_)
        | Item::Pidfd
        | Item::ExecFd => false,
        // Where standard error is closed, the message of a panic goes into std's own report.
        Item::Hook(hook) => !hook.shares && (hook.does != Does::Panics || facts.has_open(2)),
        Item::Capabilities(which) => matches!(which, Caps::Bounding(_)),
        _ => true,
    }
}

/// A copy of a descriptor, to be given away.
fn copy(number: i32) -> Option<OwnedFd> {
    let copy = sys::dup_above(number, 40).ok()?;
    // SAFETY: Just made, and nobody else's.
    Some(unsafe { OwnedFd::from_raw_fd(copy) })
}

fn command(case: &Case, world: &World, expects: &[String]) -> Outcome {
    let path = |name: &str| world.dir.join(name);
    let program = match case.program {
        Program::Missing => path("missing"),
        Program::Text => path("text"),
        _ => path("child"),
    };
    let mut command = Command::new(program);
    command.arg(&world.detail).args(expects);
    let dir = |dir: Dir| match dir {
        Dir::Scratch => world.dir.clone(),
        Dir::Below => path("below"),
        Dir::Relative => Path::new("below").to_owned(),
        Dir::Missing => path("missing"),
    };
    for item in &case.items {
        match *item {
            Item::Map { parent_fd, child_fd } => {
                if let Some(fd) = copy(parent_fd) {
                    command.fd(fd, child_fd);
                }
            }
            Item::Open { child_fd, file } => {
                let (name, flags) = match file {
                    File::There => (path("text"), libc::O_RDONLY),
                    File::Missing => (path("missing"), libc::O_RDONLY),
                    File::Created => (path(&created()), libc::O_RDWR | libc::O_CREAT),
                    File::Null => (Path::new("/dev/null").to_owned(), libc::O_RDWR),
                };
                command.open(child_fd, name, flags, 0o666);
            }
            Item::Inherit => _ = command.other_fds(OtherFds::Inherit),
            Item::Cwd(which) => _ = command.current_dir(dir(which)),
            Item::Umask(mask) => _ = command.umask(mask),
            Item::Session => _ = command.setsid(true),
            Item::Group(group) => _ = command.process_group(group),
            Item::Terminal(number) => _ = command.controlling_terminal(number),
            Item::Foreground(number) => _ = command.foreground(number),
            Item::DeathSignal(signal) => _ = command.parent_death_signal(signal),
            Item::NoNewPrivs => _ = command.no_new_privs(true),
            Item::Mask(signals) => _ = command.signal_mask(SigSet::from_bits(signals)),
            Item::Default(signals) => _ = command.default_signals(SigSet::from_bits(signals)),
            Item::Ignore(signals) => _ = command.ignore_signals(SigSet::from_bits(signals)),
            Item::Uid(id) => _ = command.uid(id),
            Item::Gid(id) => _ = command.gid(id),
            Item::Groups(ref list) => _ = command.groups(list),
            Item::Capabilities(Caps::Bounding(set)) => {
                let capabilities = Capabilities::KEPT.bounding(CapSet::from_bits(set));
                command.capabilities(capabilities);
            }
            Item::Seccomp(which) => _ = command.seccomp(filter_of(which)),
            Item::Landlock(number) => {
                if let Some(fd) = copy(number) {
                    command.landlock(fd);
                }
            }
            Item::Cgroup(number) => {
                if let Some(fd) = copy(number) {
                    command.cgroup(fd);
                }
            }
            Item::Rlimit(resource, value) => {
                command.rlimit(Rlimit::new(resource, value, value));
            }
            Item::Nice(nice) => _ = command.nice(nice),
            Item::Scheduler => _ = command.scheduler(Scheduler::new(libc::SCHED_BATCH, 0)),
            Item::Affinity(cpus) => _ = command.affinity(&[cpus]),
            Item::IoPriority(priority) => _ = command.ioprio(priority),
            Item::OomScore(score) => _ = command.oom_score_adj(score),
            Item::Slack(nanos) => _ = command.timer_slack(nanos),
            Item::Subreaper => _ = command.subreaper(true),
            Item::CoreDump(kinds) => _ = command.coredump_filter(kinds),
            Item::ShFallback => _ = command.sh_fallback(true),
            Item::Busy(times) => _ = command.retry_busy(times),
            Item::Modes(modes) => _ = command.modes(modes),
            Item::Kernel(kernel) => _ = command.kernel(kernel),
            Item::Environment(Some(count)) => {
                command.env_clear().envs((0..count).map(|number| (format!("V{number}"), "1")));
            }
            Item::ParentHook(does) => _ = command.parent_hook(static_hook(does)),
            Item::Hook(hook) => {
                // SAFETY: What the closure does in a copy of a process with threads is to end, to
                // fail, or to panic, which is what is tried here.
                unsafe { command.pre_exec(move || in_fork(hook.does)) };
            }
            _ => {}
        }
    }
    if case.is_piped() {
        command.stdout(Stdio::piped());
    }
    match command.try_spawn() {
        Ok(child) => Outcome::Child(Box::new(child)),
        Err(SpawnError::Spawn(error)) => Outcome::Failed(error),
        Err(SpawnError::Io(error)) => Outcome::Io(error),
        Err(error) => Outcome::Io(io::Error::other(error)),
    }
}

fn in_fork(does: Does) -> io::Result<()> {
    match does {
        Does::Nothing | Does::Writes => Ok(()),
        Does::Fails => Err(io::Error::from_raw_os_error(libc::EACCES)),
        // SAFETY: Ends the child.
        Does::Exits => unsafe { libc::_exit(3) },
        Does::Dies => {
            sys::kill(std::process::id() as i32, libc::SIGKILL);
            Ok(())
        }
        Does::Panics => panic!("{PLANNED}"),
    }
}

fn static_hook(does: case::ParentHook) -> ParentHook<'static> {
    use case::ParentHook::{Fails, Forks, Nothing, Panics, Sleeps, Spawns};
    ParentHook::new(match does {
        Fails => &|_| Err(Errno::EIO),
        Panics => &|_| planned_panic(),
        Forks => &|_| {
            sys::fork_and_reap();
            Ok(())
        },
        Sleeps => &|_| {
            std::thread::sleep(Duration::from_millis(1));
            Ok(())
        },
        Nothing | Spawns => &|_| Ok(()),
    })
}

/// Goes through the door: what came of each spawn, and what the hook in the child wrote.
pub(crate) fn through(
    case: &Case,
    world: &World,
    facts: &Facts,
    expects: &[String],
) -> (Vec<Outcome>, Option<u64>) {
    // Or what an earlier child has made, with what rights ever, would be there.
    let _ = std::fs::remove_file(world.dir.join(created()));
    if case.door == Door::Command {
        let run = AssertUnwindSafe(|| command(case, world, expects));
        let outcome = panic::catch_unwind(run).unwrap_or(Outcome::Panicked);
        return (vec![outcome], None);
    }
    with_request(case, world, facts, expects, |request| {
        let run = AssertUnwindSafe(|| one_door(case.door, request, world));
        panic::catch_unwind(run).unwrap_or_else(|_| vec![Outcome::Panicked])
    })
}

fn one_door(door: Door, request: &Request<'_>, world: &World) -> Vec<Outcome> {
    let needed = match request.needed() {
        Ok(needed) => needed,
        Err(error) => return vec![Outcome::Failed(error)],
    };
    let mut buffer = HeapBuffer::new(needed);
    let finished =
        |pending: Result<Pending, Error>| Outcome::from(pending.and_then(Pending::finish));
    let outcome = match door {
        Door::Spawn | Door::Command => request.spawn(&mut buffer).into(),
        Door::SpawnWith => request.spawn_with(&world.low, &mut buffer).into(),
        Door::Plan => request.plan(&mut buffer).and_then(|plan| plan.spawn()).into(),
        Door::Owned => request.owned_plan().and_then(|plan| plan.spawn()).into(),
        Door::OwnedStart => finished(request.owned_plan().and_then(|plan| plan.start())),
        Door::Start => finished(request.start()),
        Door::StartDropped => match request.start() {
            Ok(pending) => Outcome::Pid(pending.pid()),
            Err(error) => Outcome::Failed(error),
        },
        Door::StartForgotten => match request.start() {
            Ok(pending) => {
                let pid = pending.pid();
                // For what it still reads there is no end in sight; the worker's is near.
                std::mem::forget(pending);
                Outcome::Pid(pid)
            }
            Err(error) => Outcome::Failed(error),
        },
        Door::All { jobs, panics } => {
            return match request.plan(&mut buffer) {
                Ok(plan) => all(&plan, jobs, panics),
                Err(error) => vec![Outcome::Failed(error)],
            };
        }
    };
    vec![outcome]
}

fn all(plan: &Plan<'_>, count: u8, panics: Option<u8>) -> Vec<Outcome> {
    let function = |_: c_int| planned_panic();
    let mut request = Request::new(Exec::Path(c"/nonexistent"), rawspawn::argv![c"none"]);
    request.env(CStrArray::EMPTY).parent_hook(ParentHook::new(&function));
    let mut buffer = rawspawn::Buffer::<96, 256>::new();
    let panicking = request.plan(&mut buffer).ok();
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for number in 0..=count {
        if let (Some(plan), true) = (&panicking, panics == Some(number)) {
            jobs.push(Job::new(plan));
        }
        if number < count {
            jobs.push(Job::new(plan));
        }
    }
    let result = panic::catch_unwind(AssertUnwindSafe(|| spawn_all(&mut jobs)));
    let taken = jobs.iter_mut().filter_map(Job::take).map(Outcome::from);
    let mut outcomes: Vec<Outcome> = taken.collect();
    if result.is_err() {
        drop(jobs);
        outcomes.push(Outcome::Panicked);
    }
    outcomes
}
