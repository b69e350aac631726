//! What the tests share: a child that reports its own state, every way to spawn
//! it, and checks that a spawn leaves nothing behind.
//!
//! The reporting child is the test executable itself. A constructor looks at the
//! arguments before the test harness does, so no other program need be built,
//! and the tests run wherever their executable does.
#![allow(clippy::multiple_unsafe_ops_per_block)]

pub(crate) mod cgroup;
pub(crate) mod child;
pub(crate) mod fork;
pub(crate) mod gate;
pub(crate) mod own;
pub(crate) mod ptrace;
pub(crate) mod rights;
pub(crate) mod seccomp;
pub(crate) mod watch;

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rawspawn::{
    Buffer, CStrArray, CStrPtr, Error, Exec, Feature, Kernel, Mode, Modes, NsSet, Process, Request,
};

use own::assert_isolated;
pub(crate) use own::{alone, forked, isolated, skip};
use rights::{Call, EXECVEAT, MEMFD_CREATE, SETGID, SETUID, has_capability};
use seccomp::{Refuse, refusing};

/// Room for the plan of an old kernel too.
pub(crate) type Room = Buffer<160, 2048>;

/// One way to spawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) mode: Mode,
    pub(crate) kernel: Kernel,
}

/// Every mode that works here, on this kernel and on those that lack something; with
/// `RAWSPAWN_TEST_NATIVE` set on this one alone, where there are others to be booted.
pub(crate) fn each_setup() -> Vec<Setup> {
    let kernel = Kernel::current().expect("a child can be made");
    let native = std::env::var_os("RAWSPAWN_TEST_NATIVE").is_some();
    let mut setups = Vec::new();
    for mode in [Mode::Vfork, Mode::Fork, Mode::Stub] {
        if mode != Mode::Fork && !kernel.has(Feature::SharedMemory) {
            skip(&format!("{mode:?}, which shares no memory here"));
            continue;
        }
        if mode == Mode::Stub && !has_stubs(kernel) {
            continue; // a fork does it there
        }
        let lacks = [
            Feature::ShareFds,
            Feature::CloseRangeCloexec,
            Feature::CloseRange,
            Feature::ClearSighand,
            Feature::Clone3,
        ];
        setups.push(Setup { mode, kernel });
        if native {
            continue;
        }
        for feature in lacks {
            // Others must be marked in a stub, and not be closed or listed.
            let marks = kernel.without(feature).has(Feature::CloseRangeCloexec);
            let fits = mode != Mode::Stub || marks;
            if kernel.has(feature) && fits {
                setups.push(Setup { mode, kernel: kernel.without(feature) });
            }
        }
        let oldest = kernel.without(Feature::CloseRange).without(Feature::Clone3);
        if mode != Mode::Stub {
            setups.push(Setup { mode, kernel: oldest });
        }
    }
    if native {
        return setups;
    }
    // The parent is not suspended, and asks.
    let kernel = kernel.without(Feature::Suspends);
    setups.push(Setup { mode: Mode::Fork, kernel });
    // An emulator: it cannot ask, and a pipe tells it.
    let kernel = kernel.without(Feature::NoExitSignal);
    setups.push(Setup { mode: Mode::Fork, kernel });
    // And one that lacks what passes over its pipe.
    setups.push(Setup { mode: Mode::Fork, kernel: kernel.without(Feature::CloseRangeCloexec) });
    setups
}

/// Whether a signal that dumps core ends all who share the memory of the one it kills:
/// below Linux 5.16.
pub(crate) fn core_kills_all() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc");
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let old = (numbers.next(), numbers.next()) < (Some(5), Some(16));
    if old {
        skip("a core dump in shared memory, which ends the parent too on this kernel");
    }
    old
}

/// The same without a stub, which runs no hook.
pub(crate) fn without_stub() -> Vec<Setup> {
    each_setup().into_iter().filter(|setup| setup.mode != Mode::Stub).collect()
}

/// Those whose child has memory of its own, and so may have other credentials.
pub(crate) fn with_own_memory() -> Vec<Setup> {
    each_setup().into_iter().filter(|setup| setup.mode != Mode::Vfork).collect()
}

/// Whether two processes share memory.
pub(crate) fn share_memory(a: i32, b: i32) -> bool {
    const KCMP_VM: i32 = 1;
    // SAFETY: Touches no memory.
    let result = unsafe { libc::syscall(libc::SYS_kcmp, a, b, KCMP_VM, 0, 0) };
    assert!(result >= 0, "kcmp: {}", io::Error::last_os_error());
    result == 0
}

/// The mode of a child whose user changes, or whose group; its other groups may.
pub(crate) fn with_credentials(user: bool, group: bool) -> Mode {
    let kernel = Kernel::current().expect("a child can be made");
    let stub = has_stubs(kernel) && may_change(user, group);
    if stub { Mode::Stub } else { Mode::Fork }
}

/// Whether this process may have a child of another user, or of another group: then that needs
/// no copy of its memory.
pub(crate) fn may_change(user: bool, group: bool) -> bool {
    (!user || has_capability(SETUID)) && (!group || has_capability(SETGID))
}

/// Whether a child of this kernel can change its credentials in a program of its own.
fn has_stubs(kernel: Kernel) -> bool {
    let marks = kernel.has(Feature::SharedMemory) && kernel.has(Feature::CloseRangeCloexec);
    marks && ![MEMFD_CREATE, EXECVEAT].into_iter().any(Call::is_refused)
}

/// Whether this process is the user 0 of its user namespace.
pub(crate) fn is_root() -> bool {
    // SAFETY: Touches no memory.
    unsafe { libc::geteuid() == 0 }
}

/// Whether a child can share memory with a parent that goes on.
pub(crate) fn can_detach(kernel: Kernel) -> bool {
    kernel.has(Feature::SharedMemory) && kernel.has(Feature::CloseRange)
}

impl Setup {
    /// Whether a child sends no signal until it executes something, so that its death before
    /// that is not taken for anything else; says so if this system cannot do that.
    pub(crate) fn has_no_exit_signal(self) -> bool {
        if !Kernel::current().expect("known").has(Feature::NoExitSignal) {
            skip("death before exec, of which this system always sends SIGCHLD");
        }
        self.kernel.has(Feature::NoExitSignal)
    }

    /// Has `request` spawn this way.
    pub(crate) fn apply(self, request: &mut Request<'_>) {
        request.kernel(self.kernel);
        request.modes(match self.mode {
            Mode::Vfork => Modes::Vfork,
            Mode::Stub => Modes::Stub,
            _ => Modes::Fork,
        });
    }
}

/// What the reporting child said of itself.
#[derive(Debug)]
pub(crate) struct Report {
    lines: BTreeMap<String, String>,
}

/// A descriptor of a process: what it refers to, and its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FdState {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// The flags of open(2) that `fcntl(F_GETFL)` gives.
    pub(crate) flags: i32,
}

impl Report {
    /// The value of `key`.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.lines.get(key).unwrap_or_else(|| panic!("the child reports no {key}"))
    }

    /// The value of `key` as a number.
    pub(crate) fn number(&self, key: &str) -> i64 {
        self.get(key).parse().unwrap_or_else(|_| panic!("{key}: {}", self.get(key)))
    }

    /// A signal set, such as `SigBlk`, of `/proc/self/status`.
    pub(crate) fn signals(&self, key: &str) -> u64 {
        u64::from_str_radix(self.get(key), 16).expect("hexadecimal")
    }

    /// The numbers of the open descriptors.
    pub(crate) fn fds(&self) -> Vec<i32> {
        self.get("fds").split_whitespace().map(|fd| fd.parse().expect("a number")).collect()
    }

    /// The state of descriptor `fd`.
    pub(crate) fn fd(&self, fd: i32) -> FdState {
        let line = self.get(&format!("fd{fd}"));
        let mut words = line.split_whitespace().map(|word| word.parse::<u64>().expect("a number"));
        let mut next = || words.next().expect("three numbers");
        FdState { device: next(), inode: next(), flags: i32::try_from(next()).expect("flags") }
    }
}

/// The state of a descriptor of this process.
pub(crate) fn fd_state(fd: i32) -> Option<FdState> {
    // SAFETY: `stat` is integers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: The kernel writes one `stat`.
    if unsafe { libc::fstat(fd, &raw mut stat) } != 0 {
        return None;
    }
    // SAFETY: F_GETFL touches no memory.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    Some(FdState { device: stat.st_dev, inode: stat.st_ino, flags })
}

/// The reporting child's executable and arguments, and where it reports to.
pub(crate) struct Reporter {
    file: PathBuf,
    pub(crate) exe: &'static CStr,
    pub(crate) argv: CStrArray<'static>,
}

/// The argument that makes a test executable the reporting child.
const REPORT: &str = "--report-to";

impl Reporter {
    /// A reporting child, whose further arguments are `arguments`.
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let (file, _) = make_new("rawspawn-report", |path| File::create_new(path));
        // The child may run as another user.
        let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(&file, open_to_all).expect("our own file");
        let path = file.to_str().expect("a plain path");
        let strings = [&["reporter", REPORT, path], arguments].concat();
        // Leaked, so that requests of any lifetime can borrow them.
        let leak = |s: &str| &*Box::leak(CString::new(s).expect("no NUL").into_boxed_c_str());
        let argv = strings.into_iter().map(|s| CStrPtr::new(leak(s))).chain([CStrPtr::NULL]);
        let argv = Box::leak(argv.collect::<Vec<_>>().into_boxed_slice());
        let exe = std::env::current_exe().expect("/proc");
        let exe = leak(exe.to_str().expect("a plain path"));
        Self { file, exe, argv: CStrArray::new(argv).expect("a NULL") }
    }

    /// Reads what the child has reported.
    pub(crate) fn read(&self) -> Report {
        let text = std::fs::read_to_string(&self.file).expect("the report");
        let lines = text.lines().filter_map(|line| line.split_once('\t'));
        let lines = lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Report { lines }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// The argument that makes a test executable the quick child.
const QUICK: &str = "--exit-with";

/// This executable as a child that does nothing but look at its descriptors: it
/// exits with `status` if it has 0, 1 and 2 alone, else with 255.
pub(crate) fn quick(status: u8) -> (&'static CStr, CStrArray<'static>) {
    // Leaked, as in `Reporter`; a test asks for a few only.
    let leak = |s: &str| &*Box::leak(CString::new(s).expect("no NUL").into_boxed_c_str());
    let exe = std::env::current_exe().expect("/proc");
    let exe = leak(exe.to_str().expect("a plain path"));
    let strings = [leak("quick"), leak(QUICK), leak(&status.to_string())];
    let argv = strings.map(CStrPtr::new).into_iter().chain([CStrPtr::NULL]).collect::<Vec<_>>();
    (exe, CStrArray::new(Vec::leak(argv)).expect("a NULL"))
}

/// Spawns the reporting child as `setup` says and `change` asks, and returns what
/// it reports.
pub(crate) fn report<'a>(setup: Setup, change: impl FnOnce(&mut Request<'a>)) -> Report {
    let reporter = Reporter::new(&[]);
    let mut request = Request::new(Exec::Path(reporter.exe), reporter.argv);
    setup.apply(&mut request);
    change(&mut request);
    finish(&reporter, setup, &request)
}

/// Spawns `request`, which executes `reporter`, and returns what it reports.
pub(crate) fn finish(reporter: &Reporter, setup: Setup, request: &Request<'_>) -> Report {
    let mut process = request.spawn(&mut Room::new()).unwrap_or_else(|error| {
        panic!("{setup:?}: {error}\n{:?}", request.plan(&mut Room::new()));
    });
    assert_eq!(process.mode(), setup.mode, "another mechanism ran than was asked for");
    let status = process.wait().expect("our child");
    assert!(status.success(), "{setup:?}: the reporting child: {status}");
    reporter.read()
}

/// Spawns and expects a failure, after which nothing may be left.
#[track_caller]
pub(crate) fn failure(setup: Setup, request: &mut Request<'_>) -> Error {
    refused(setup, &[], request)
}

/// Spawns while the kernel refuses `calls`, and expects a failure, after which
/// nothing may be left.
#[track_caller]
pub(crate) fn refused(setup: Setup, calls: &[Refuse], request: &mut Request<'_>) -> Error {
    setup.apply(request);
    let before = Remains::look();
    let spawned = if calls.is_empty() {
        request.spawn(&mut Room::new())
    } else {
        refusing(calls, || request.spawn(&mut Room::new()))
    };
    let error = match spawned {
        Err(error) => error,
        Ok(mut process) => panic!("{setup:?}: spawned, {:?}", process.wait()),
    };
    before.assert_unchanged();
    error
}

/// Spawns `request`, waits, and returns the exit status.
pub(crate) fn run(setup: Setup, request: &mut Request<'_>) -> i32 {
    setup.apply(request);
    let mut process: Process = match request.spawn(&mut Room::new()) {
        Ok(process) => process,
        Err(error) => panic!("{setup:?}: {error}"),
    };
    process.wait().expect("our child").code().expect("no signal")
}

/// How many children a test with very many makes: `default`, or what
/// `RAWSPAWN_TEST_CHILDREN` says, as an emulator takes its time.
pub(crate) fn test_children(default: u32) -> u32 {
    let asked = std::env::var("RAWSPAWN_TEST_CHILDREN").ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(default)
}

/// Counts down when it is dropped, by a panic too: what others go on for.
pub(crate) struct Running<'a>(pub(crate) &'a AtomicU32);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Opens and closes descriptors that are not close-on-exec, at numbers low and high,
/// as long as something is `running`: what no child must have.
pub(crate) fn open_and_close(running: &AtomicU32) {
    while running.load(Ordering::Relaxed) > 0 {
        // SAFETY: Touches no memory.
        let fds = [0; 80].map(|fd| unsafe { libc::dup(fd) });
        for fd in fds {
            // SAFETY: Ours, just made.
            unsafe { libc::close(fd) };
        }
    }
}

/// What a spawn must leave as it was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Remains {
    fds: Vec<(i32, Option<FdState>, i32)>,
    mask: u64,
    pub(crate) ignored: u64,
    children: bool,
}

impl Remains {
    /// Looks at this process, in an [`isolated`] test: other threads must be quiet.
    #[track_caller]
    pub(crate) fn look() -> Self {
        assert_isolated();
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("/proc");
        let signals = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            u64::from_str_radix(line.expect("a line").trim(), 16).expect("hexadecimal")
        };
        let (mask, ignored) = (signals("SigBlk:"), signals("SigIgn:"));
        let fds = open_fds().into_iter().map(|fd| {
            // SAFETY: F_GETFD touches no memory.
            let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
            (fd, fd_state(fd), flags)
        });
        Self { fds: fds.collect(), mask, ignored, children: has_children() }
    }

    /// Fails if anything differs now.
    #[track_caller]
    pub(crate) fn assert_unchanged(&self) {
        assert_eq!(*self, Self::look(), "a spawn left something behind");
    }
}

/// Whether there is any child of any kind, zombies included, in an [`isolated`] test.
#[track_caller]
pub(crate) fn has_children() -> bool {
    assert_isolated();
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    // SAFETY: `siginfo_t` is integers.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: The kernel writes one `siginfo_t`.
    unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, flags) == 0 }
}

/// The numbers of the open descriptors of this process.
pub(crate) fn open_fds() -> Vec<i32> {
    let mut fds: Vec<i32> = std::fs::read_dir("/proc/self/fd")
        .expect("/proc")
        .map(|entry| entry.expect("an entry").file_name().to_str().unwrap().parse().unwrap())
        .collect();
    // The directory's own is closed by now.
    fds.retain(|&fd| fd_state(fd).is_some());
    fds.sort_unstable();
    fds
}

/// A file without a name, which nobody else has.
pub(crate) fn new_file() -> File {
    let dir = TempDir::new();
    let mut options = File::options();
    let file = options.read(true).append(true).create_new(true).open(dir.path().join("file"));
    file.expect("our directory")
}

/// An open, close-on-exec descriptor with the number `fd`, of a file of its own.
pub(crate) fn file_at(fd: i32) -> OwnedFd {
    let file = new_file().into_raw_fd();
    if file == fd {
        // SAFETY: Just made, and ours.
        return unsafe { OwnedFd::from_raw_fd(file) };
    }
    // SAFETY: Descriptors only.
    let there = unsafe { libc::dup3(file, fd, libc::O_CLOEXEC) };
    // SAFETY: As above.
    unsafe { libc::close(file) };
    assert_eq!(there, fd, "dup3");
    // SAFETY: Just made, and ours.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Has `make` make a temporary file or directory that has not been there: one that a killed process
/// of the same pid has left has another number.
fn make_new<T>(name: &str, make: impl Fn(&Path) -> io::Result<T>) -> (PathBuf, T) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("{name}-{}-{number}", std::process::id()));
        match make(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return (path, made.expect("a writable temporary directory")),
        }
    }
}

/// A directory of the test's own, removed at the end.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        Self(make_new("rawspawn", |path| std::fs::create_dir(path)).0)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The path of `name` in it, as a C string.
    pub(crate) fn join(&self, name: &str) -> CString {
        CString::new(self.0.join(name).as_os_str().as_bytes()).expect("no NUL")
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs before `main`: becomes the reporting or the quick child if the arguments say so,
/// else prepares for tests.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = report_or_prepare;

extern "C" fn report_or_prepare() {
    #[cfg(not(feature = "std"))]
    {
        unsafe extern "C" {
            static environ: *const *const std::ffi::c_char;
        }
        // SAFETY: C's environment, which no test changes.
        unsafe { rawspawn::set_inherited_environ((&raw const environ).read()) };
    }
    // musl hands constructors no arguments, so ask the kernel.
    let Ok(arguments) = std::fs::read("/proc/self/cmdline") else { return };
    let mut arguments = arguments.split(|&byte| byte == 0).skip(1);
    let mode = arguments.next();
    if mode == Some(QUICK.as_bytes()) {
        let status =
            arguments.next().and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        let alone = open_fds() == [0, 1, 2];
        // SAFETY: Ends the process; nothing is buffered.
        unsafe { libc::_exit(if alone { status.unwrap_or(254) } else { 255 }) };
    }
    if mode == Some(REPORT.as_bytes()) {
        let file = arguments.next().unwrap_or_default();
        // What comes first, as looking opens descriptors.
        let fds = open_fds();
        let text = describe(&fds);
        let file = Path::new(std::ffi::OsStr::from_bytes(file));
        std::process::exit(i32::from(std::fs::write(file, text).is_err()));
    }
    // Else this runs tests, whose children are to die of signals. They must not inherit what
    // nohup(1), or a shell for what runs in the background, has made ignored.
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: Before main; no handler is installed.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// The kinds of namespaces, and their names in `/proc/PID/ns`.
pub(crate) const KINDS: [(NsSet, &str); 8] = [
    (NsSet::MOUNT, "mnt"),
    (NsSet::UTS, "uts"),
    (NsSet::IPC, "ipc"),
    (NsSet::NET, "net"),
    (NsSet::PID, "pid"),
    (NsSet::USER, "user"),
    (NsSet::CGROUP, "cgroup"),
    (NsSet::TIME, "time"),
];

/// The state of this process, a line each.
fn describe(fds: &[i32]) -> String {
    let mut text = String::new();
    let mut put = |key: &str, value: &dyn std::fmt::Display| {
        writeln!(text, "{key}\t{value}").expect("a String");
    };
    let mut numbers = String::new();
    for &fd in fds {
        let Some(FdState { device, inode, flags }) = fd_state(fd) else { continue };
        write!(numbers, "{fd} ").expect("a String");
        put(&format!("fd{fd}"), &format!("{device} {inode} {flags}"));
    }
    put("fds", &numbers);
    let arguments = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    put("argv", &String::from_utf8_lossy(&arguments).replace('\0', "|"));
    let environ = std::fs::read("/proc/self/environ").unwrap_or_default();
    put("environ", &String::from_utf8_lossy(&environ).replace('\0', "|"));
    for link in ["cwd", "root", "exe"] {
        let target = std::fs::read_link(format!("/proc/self/{link}"));
        put(link, &target.unwrap_or_default().display());
    }
    // Pid, state and the like, signal sets, ids, groups, capabilities.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (key, value) in status.lines().filter_map(|line| line.split_once(":\t")) {
        put(key, &value.trim().replace('\t', " "));
    }
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let cgroup = cgroups.lines().find_map(|line| line.strip_prefix("0::"));
    put("cgroup", &cgroup.unwrap_or_default());
    let files = ["oom_score_adj", "sessionid", "coredump_filter", "timerslack_ns", "setgroups"];
    for name in files.into_iter().chain(["uid_map", "gid_map", "mounts"]) {
        let value = std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let lines = value.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        put(name, &lines.collect::<Vec<_>>().join("|"));
    }
    for (_, kind) in KINDS {
        let target = std::fs::read_link(format!("/proc/self/ns/{kind}"));
        put(&format!("ns/{kind}"), &target.unwrap_or_default().display());
    }
    for name in ["hostname", "domainname"] {
        let value = std::fs::read_to_string(format!("/proc/sys/kernel/{name}"));
        put(name, &value.unwrap_or_default().trim());
    }
    let of_network = std::fs::read_to_string("/proc/self/net/fib_trie").unwrap_or_default();
    put("loopback", &of_network.contains("127.0.0.1"));
    let mut signal = 0i32;
    // SAFETY: These calls read this process's state; two write an integer.
    unsafe {
        let umask = libc::umask(0);
        libc::umask(umask);
        put("umask", &umask);
        put("pid", &libc::getpid());
        put("ppid", &libc::getppid());
        put("pgrp", &libc::getpgrp());
        put("sid", &libc::getsid(0));
        put("foreground", &libc::tcgetpgrp(0));
        put("scheduler", &libc::syscall(libc::SYS_sched_getscheduler, 0)); // musl has none
        put("nice", &libc::getpriority(libc::PRIO_PROCESS, 0));
        put("ioprio", &libc::syscall(libc::SYS_ioprio_get, 1, 0));
        libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal);
        put("pdeathsig", &signal);
        libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut signal);
        put("subreaper", &signal);
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time);
        put("boottime", &time.tv_sec);
        for resource in 0..16u32 {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::syscall(libc::SYS_prlimit64, 0, resource, 0, &raw mut limit);
            put(&format!("rlimit{resource}"), &format!("{} {}", limit.rlim_cur, limit.rlim_max));
        }
    }
    text
}

/// Keeps a descriptor's number in words.
pub(crate) fn raw(fd: &impl AsRawFd) -> i32 {
    fd.as_raw_fd()
}
