//! Runs a command in a container: in namespaces of its own, with a directory for its root,
//! few capabilities and a filter for system calls.
//!
//! Run with: `cargo run --example container -- [--userns] ROOT COMMAND [ARGUMENT]...`
//!
//! ROOT is a directory with what the command needs, such as one that debootstrap makes.
//! Without privileges the container's root is who runs it; as root, with `--userns`, it is
//! somebody of the range from 100,000 on, and else root with few capabilities.
#![allow(unsafe_code)] // signals and identity, by libc

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rawspawn::{
    CStrArray, CStrPtr, CapSet, Capabilities, Exec, Filter, FsAction, Groups, HeapBuffer, IdRange,
    Namespaces, NsSet, Process, Request, Rlimit, SigSet, argv,
};

/// Of root's capabilities those that a program in a container may need: to change owners
/// and users, to kill, to bind to low ports, to change its root.
const CAPABILITIES: [u32; 10] = [0, 1, 3, 4, 5, 6, 7, 8, 10, 18];

/// What no program in a container has to do, root or not.
const FORBIDDEN: [i64; 12] = [
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_ptrace,
    libc::SYS_bpf,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_add_key,
    libc::SYS_keyctl,
];

/// `sys/resource.h`; each C library has another type for them.
const RLIMIT_CORE: u32 = 4;
const RLIMIT_NOFILE: u32 = 7;

/// The host's devices that are shown.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// What is passed on to the command; `SIGCHLD` tells of its end.
const FORWARDED: [i32; 7] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
];

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let userns = arguments.first().is_some_and(|first| first == "--userns");
    if userns {
        arguments.remove(0);
    }
    if arguments.len() < 2 {
        eprintln!("usage: container [--userns] ROOT COMMAND [ARGUMENT]...");
        return ExitCode::from(2);
    }
    let root = PathBuf::from(arguments.remove(0));
    match run(&root, arguments, userns) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("container: {error}");
            ExitCode::from(125)
        }
    }
}

/// Runs the command to its end.
fn run(root: &Path, command: Vec<OsString>, userns: bool) -> Result<ExitCode, Box<dyn Error>> {
    let root = fs::canonicalize(root)?;
    // SAFETY: Touches no memory.
    let uid = unsafe { libc::geteuid() };
    // SAFETY: Touches no memory.
    let gid = unsafe { libc::getegid() };
    let rootless = uid != 0;

    let words: Vec<CString> =
        command.into_iter().map(|word| CString::new(word.into_vec())).collect::<Result<_, _>>()?;
    let pointers: Vec<_> =
        words.iter().map(|word| CStrPtr::new(word)).chain([CStrPtr::NULL]).collect();
    let arguments = CStrArray::new(&pointers).ok_or("no command")?;

    let paths = Paths::new(&root)?;
    let mounts = paths.mounts(rootless);
    let kinds = [NsSet::PID, NsSet::MOUNT, NsSet::NET, NsSet::UTS, NsSet::IPC, NsSet::CGROUP];
    let kinds = kinds.into_iter().fold(NsSet::EMPTY, NsSet::with);
    let own = ([IdRange::new(0, uid, 1)], [IdRange::new(0, gid, 1)]);
    let range = [IdRange::new(0, 100_000, 65_536)];
    let mut namespaces = Namespaces::new(kinds);
    if rootless || userns {
        namespaces = Namespaces::new(kinds.with(NsSet::USER));
        namespaces = if rootless {
            namespaces.id_maps(&own.0, &own.1)
        } else {
            namespaces.id_maps(&range, &range)
        };
    }
    namespaces = namespaces
        .hostname(c"container")
        .loopback(true)
        .filesystem(&mounts)
        .pivot_root(&paths.root);

    let cgroup = Cgroup::new();
    let directory = cgroup.as_ref().map(Cgroup::open).transpose()?;
    let limits = [Rlimit::new(RLIMIT_NOFILE, 1024, 4096), Rlimit::new(RLIMIT_CORE, 0, 0)];
    let allowed = CAPABILITIES.into_iter().fold(CapSet::EMPTY, CapSet::with);
    let capabilities = Capabilities::only(allowed);
    let filter = filter()?;

    // Blocked, so that they wait for us; the command gets an empty mask.
    let signals = block_signals();
    let program = Exec::Search { name: &words[0], path: Some(b"/usr/sbin:/usr/bin:/sbin:/bin") };
    let mut request = Request::new(program, arguments);
    request
        .env(argv![c"PATH=/usr/sbin:/usr/bin:/sbin:/bin", c"HOME=/root", c"TERM=xterm"])
        .namespaces(&namespaces)
        .rlimits(&limits)
        .capabilities(&capabilities)
        .no_new_privs(true)
        .seccomp(&filter)
        .signal_mask(SigSet::EMPTY)
        .pidfd(true);
    if !rootless {
        request.uid(0).gid(0).groups(Groups::Set(&[]));
    }
    if let Some(directory) = &directory {
        request.cgroup(directory.as_raw_fd());
    }
    let mut buffer = HeapBuffer::new(request.needed()?);
    let process = request.spawn(&mut buffer)?;
    wait(process, &signals)
}

/// Passes signals on until the command has ended. The first process of a PID namespace
/// ignores what it has no handler for; so a second request to end is `SIGKILL`.
fn wait(mut process: Process, signals: &libc::sigset_t) -> Result<ExitCode, Box<dyn Error>> {
    let mut ends = 0;
    loop {
        if let Some(status) = process.try_wait()? {
            let signal = status.signal().map(|signal| 128 + signal);
            let code = status.code().or(signal).unwrap_or(1);
            return Ok(ExitCode::from(u8::try_from(code)?));
        }
        let mut signal = 0;
        // SAFETY: The kernel reads a set and writes a number.
        unsafe { libc::sigwait(signals, &raw mut signal) };
        if signal == libc::SIGTERM || signal == libc::SIGINT {
            ends += 1;
        }
        match signal {
            libc::SIGCHLD => {}
            _ if ends > 1 => process.kill()?,
            _ => process.signal(signal)?,
        }
    }
}

fn block_signals() -> libc::sigset_t {
    // SAFETY: Integers, all 0.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    for signal in FORWARDED.into_iter().chain([libc::SIGCHLD]) {
        // SAFETY: A set of ours.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    // SAFETY: As above; the old one is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
    set
}

/// A filter that refuses what is forbidden with `EPERM`.
fn filter() -> Result<Vec<Filter>, Box<dyn Error>> {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    let rules: BTreeMap<i64, Vec<_>> = FORBIDDEN.map(|call| (call, Vec::new())).into();
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let arch = std::env::consts::ARCH.try_into()?;
    let program: BpfProgram =
        SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?.try_into()?;
    let filter = |f: seccompiler::sock_filter| Filter { code: f.code, jt: f.jt, jf: f.jf, k: f.k };
    Ok(program.into_iter().map(filter).collect())
}

/// Paths in the root, before it is one.
struct Paths {
    root: CString,
    proc: CString,
    sys: CString,
    tmp: CString,
    dev: CString,
    shm: CString,
    pts: CString,
    fd: CString,
    /// Each on the host and in the root.
    devices: Vec<(CString, CString)>,
}

impl Paths {
    fn new(root: &Path) -> Result<Self, Box<dyn Error>> {
        let of = |path: PathBuf| CString::new(path.into_os_string().into_vec());
        let inside = |name: &str| of(root.join(name));
        let device =
            |name: &&str| Ok((of(Path::new("/dev").join(name))?, inside(&format!("dev/{name}"))?));
        Ok(Self {
            root: of(root.to_owned())?,
            proc: inside("proc")?,
            sys: inside("sys")?,
            tmp: inside("tmp")?,
            dev: inside("dev")?,
            shm: inside("dev/shm")?,
            pts: inside("dev/pts")?,
            fd: inside("dev/fd")?,
            devices: DEVICES.iter().map(device).collect::<Result<_, Box<dyn Error>>>()?,
        })
    }

    /// What is mounted in the root.
    fn mounts(&self, rootless: bool) -> Vec<FsAction<'_>> {
        let directory = |path| FsAction::Mkdir { path, mode: 0o755 };
        let mut mounts = vec![
            directory(&self.proc),
            directory(&self.sys),
            directory(&self.tmp),
            directory(&self.dev),
            FsAction::proc(&self.proc),
            FsAction::tmpfs(&self.tmp, c"mode=1777,size=64m"),
            FsAction::tmpfs(&self.dev, c"mode=755,size=64k"),
            directory(&self.shm),
            FsAction::tmpfs(&self.shm, c"mode=1777,size=16m"),
            directory(&self.pts),
            FsAction::Mount {
                source: c"devpts",
                target: &self.pts,
                fstype: c"devpts",
                flags: (libc::MS_NOSUID | libc::MS_NOEXEC) as u32,
                data: c"newinstance,ptmxmode=0666,mode=0620",
            },
            FsAction::Symlink { target: c"/proc/self/fd", path: &self.fd },
        ];
        for (host, inside) in &self.devices {
            mounts.push(FsAction::File { path: inside, mode: 0o666 });
            mounts.push(FsAction::bind(host, inside));
        }
        if !rootless {
            mounts.push(FsAction::sysfs(&self.sys));
        }
        mounts
    }
}

/// A cgroup for the container, where this process may make one.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let mount = mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let place = words.next()?;
            (words.next()? == "cgroup2").then_some(place)
        })?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let name = format!("container-{}", std::process::id());
        let path = Path::new(mount).join(own).join(name);
        fs::create_dir(&path).ok()?;
        // Where the controller is on.
        let _ = fs::write(path.join("pids.max"), "256");
        Some(Self(path))
    }

    fn open(&self) -> std::io::Result<File> {
        File::open(&self.0)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
