//! What a worker has before it spawns: files, descriptors, locks.

use std::ffi::CString;
use std::fs;
use std::os::fd::IntoRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rawspawn::LowFds;

use crate::sys;

/// The numbers of the worker's descriptors.
pub(crate) mod fd {
    pub(crate) const FILE: i32 = 20;
    pub(crate) const DIR: i32 = 21;
    pub(crate) const READER: i32 = 22;
    pub(crate) const WRITER: i32 = 23;
    pub(crate) const SOCKET: i32 = 24;
    pub(crate) const NULL: i32 = 25;
    /// The program, by `O_PATH`.
    pub(crate) const PROGRAM: i32 = 26;
    pub(crate) const TEXT: i32 = 27;
    /// With a record lock of this process, which `PROBE` sees.
    pub(crate) const LOCKED: i32 = 28;
    pub(crate) const PROBE: i32 = 29;
    /// With a lock of the open file, which `FLOCK_PROBE` does not get.
    pub(crate) const FLOCKED: i32 = 30;
    pub(crate) const FLOCK_PROBE: i32 = 31;
    pub(crate) const RULESET: i32 = 32;
    pub(crate) const CGROUP: i32 = 33;
    pub(crate) const TTY: i32 = 34;
    pub(crate) const PTY: i32 = 35;
    pub(crate) const NS_UTS: i32 = 36;
    pub(crate) const NS_PID: i32 = 37;
    pub(crate) const NS_NET: i32 = 38;
    /// Where findings are said: the worker's own.
    pub(crate) const MESSAGES: i32 = 901;
}

/// What may be open: the standard streams as well, but for some workers.
pub(crate) const OPEN: [i32; 27] = [
    0, 1, 2, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 300, 700,
    1023, 1024, 1500,
];

/// What never is. The kernel gives the lowest of these to whatever is opened next.
pub(crate) const NOT_OPEN: [i32; 7] = [12, 13, 14, 50, 63, 77, 1400];

/// As many descriptors as a worker may have.
pub(crate) const LIMIT: u64 = 2048;

/// The files of all workers.
pub(crate) struct Scratch {
    pub(crate) dir: PathBuf,
}

const CHILD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/child"));

impl Scratch {
    /// Makes them, in a new directory.
    pub(crate) fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("rawspawn-fuzz-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let below = dir.join("below");
        fs::create_dir_all(&below).expect("a directory for the files");
        for program in [dir.join("child"), below.join("child"), dir.join("busy")] {
            fs::write(&program, CHILD).expect("room for a program");
            mode(&program, 0o755);
        }
        fs::write(dir.join("text"), "no program\n").expect("room");
        fs::write(dir.join("script"), "exit 0\n").expect("room");
        mode(&dir.join("script"), 0o755);
        for free in [dir.join("created"), dir.join("mount")] {
            fs::create_dir(&free).expect("a directory");
            mode(&free, 0o777);
        }
        mode(&dir, 0o755);
        mode(&below, 0o755);
        Self { dir }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a file of ours");
}

/// The world of one worker.
pub(crate) struct World {
    pub(crate) dir: PathBuf,
    /// Where the program says what it found.
    pub(crate) detail: PathBuf,
    pub(crate) low: LowFds,
    /// A pattern that no child may write to.
    canary: Vec<AtomicU64>,
}

impl World {
    /// Opens all, close-on-exec where a bit of `cloexec` says so; 0, 1 and 2 stay closed where
    /// one of `closed` does.
    pub(crate) fn new(dir: &Path, cgroup: Option<&Path>, cloexec: u64, closed: u8) -> Self {
        std::env::set_current_dir(dir).expect("the directory of the files");
        let (_, hard) = sys::limit(libc::RLIMIT_NOFILE);
        assert!(hard >= LIMIT, "{hard} descriptors are too few: ulimit -n {LIMIT}");
        let _ = sys::set_limit(libc::RLIMIT_NOFILE, LIMIT, hard);
        let _ = sys::set_limit(libc::RLIMIT_CORE, 0, 0);
        let pid = std::process::id();
        let own = |name: &str| {
            let path = dir.join("created").join(format!("{name}-{pid}"));
            let mut options = fs::OpenOptions::new();
            options.create(true).truncate(false).read(true).write(true).mode(0o666);
            options.open(&path).expect("a file of its own");
            mode(&path, 0o666);
            path
        };
        let place = |fd: i32, from: i32| {
            if from >= 0 {
                let _ = sys::dup_to(from, fd, cloexec >> (fd % 64) & 1 == 1);
                sys::close(from);
            }
        };
        // Above all that has its number here.
        let high = |fd: i32| {
            let copy = sys::dup_above(fd, 1900).unwrap_or(-1);
            sys::close(fd);
            copy
        };
        let open = |path: &Path, flags| sys::open(&c_path(path), flags).map_or(-1, high);
        place(fd::FILE, open(&dir.join("text"), libc::O_RDONLY));
        place(fd::TEXT, open(&dir.join("text"), libc::O_RDONLY));
        place(fd::DIR, open(&dir.join("below"), libc::O_RDONLY | libc::O_DIRECTORY));
        let [reader, writer] = sys::pipe().map(high);
        place(fd::READER, reader);
        place(300, sys::dup_above(writer, 1900).unwrap_or(-1));
        place(1024, sys::dup_above(writer, 1900).unwrap_or(-1));
        place(fd::WRITER, writer);
        let (socket, _) = std::os::unix::net::UnixDatagram::pair().expect("a socket");
        place(fd::SOCKET, high(socket.into_raw_fd()));
        place(fd::NULL, open(Path::new("/dev/null"), libc::O_RDWR));
        for fd in [1023, 1500] {
            place(fd, open(&dir.join("text"), libc::O_RDONLY));
        }
        place(fd::PROGRAM, open(&dir.join("child"), libc::O_PATH));
        let (locked, flocked) = (own("locked"), own("flocked"));
        for fd in [fd::LOCKED, fd::PROBE, 700] {
            place(fd, open(&locked, libc::O_RDWR));
        }
        for fd in [fd::FLOCKED, fd::FLOCK_PROBE] {
            place(fd, open(&flocked, libc::O_RDWR));
        }
        place(fd::RULESET, sys::ruleset().map_or(-1, high));
        if let Some(cgroup) = cgroup {
            place(fd::CGROUP, open(cgroup, libc::O_RDONLY | libc::O_DIRECTORY));
        }
        let pty = open(Path::new("/dev/ptmx"), libc::O_RDWR | libc::O_NOCTTY);
        if pty >= 0 {
            if let Some(name) = sys::unlocked_pty(pty) {
                let flags = libc::O_RDWR | libc::O_NOCTTY;
                place(fd::TTY, open(Path::new(&name), flags));
            }
            place(fd::PTY, pty);
        }
        for (fd, name) in [(fd::NS_UTS, "uts"), (fd::NS_PID, "pid"), (fd::NS_NET, "net")] {
            place(fd, open(&Path::new("/proc/self/ns").join(name), libc::O_RDONLY));
        }
        for stream in (0..3).filter(|stream| closed >> stream & 1 == 1) {
            sys::close(stream);
        }
        let _ = sys::lock_record(fd::LOCKED);
        let _ = sys::flock(fd::FLOCKED);
        Self {
            dir: dir.to_owned(),
            detail: own("detail"),
            low: LowFds::claim(6).expect("low numbers"),
            canary: (0..8192).map(|n| AtomicU64::new(n * 0x9e37_79b9)).collect(),
        }
    }

    /// The locks that this process holds, and what the probes see of them.
    pub(crate) fn locks() -> [(&'static str, String); 2] {
        let flock = sys::flock(fd::FLOCK_PROBE);
        [
            ("record lock", format!("{:?}", sys::record_owner(fd::PROBE))),
            ("lock of an open file", format!("{flock:?}")),
        ]
    }

    pub(crate) fn canary_is_whole(&self) -> bool {
        (0..).zip(&self.canary).all(|(n, word)| word.load(Ordering::Relaxed) == n * 0x9e37_79b9)
    }

    /// Takes what the program said.
    pub(crate) fn take_detail(&self) -> String {
        let text = fs::read_to_string(&self.detail).unwrap_or_default();
        if !text.is_empty() {
            let _ = fs::OpenOptions::new().write(true).truncate(true).open(&self.detail);
        }
        text
    }
}

/// A path as C has it.
pub(crate) fn c_path(path: &Path) -> CString {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}
