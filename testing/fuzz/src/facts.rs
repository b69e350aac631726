//! What a worker is, as far as its spawns depend on it.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::filter::{How, Refused};
use crate::sys;
use crate::world::{self, World, fd};

/// A file by device and inode; `None` for one that the child makes.
pub(crate) type Identity = Option<(u64, u64)>;

/// What a worker is, which its spawns depend on.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // a fact each
pub(crate) struct Facts {
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: String,
    pub(crate) capabilities: u64,
    pub(crate) mask: u64,
    pub(crate) ignored: u64,
    pub(crate) session: i32,
    pub(crate) group: i32,
    pub(crate) umask: u32,
    pub(crate) oom_score: i32,
    /// The descriptors, and whether each is close-on-exec.
    pub(crate) table: BTreeMap<i32, (Identity, bool)>,
    /// Device and inode of the directories.
    pub(crate) scratch: (u64, u64),
    pub(crate) below: (u64, u64),
    pub(crate) root: (u64, u64),
    pub(crate) namespaces: Vec<(&'static str, (u64, u64))>,
    pub(crate) no_new_privs: bool,
    /// The calls that a filter refuses by now.
    pub(crate) refused: Vec<Refused>,
    /// Whether it came after the kernel was probed.
    pub(crate) refused_late: bool,
    /// Whether signals hit the children too.
    pub(crate) group_storm: bool,
    /// Whether several threads spawn.
    pub(crate) threads: bool,
}

/// The kinds of namespaces, by name.
pub(crate) const KINDS: [(&str, i32); 8] = [
    ("cgroup", libc::CLONE_NEWCGROUP),
    ("ipc", libc::CLONE_NEWIPC),
    ("mnt", libc::CLONE_NEWNS),
    ("net", libc::CLONE_NEWNET),
    ("pid", libc::CLONE_NEWPID),
    ("time", 0x80),
    ("user", libc::CLONE_NEWUSER),
    ("uts", libc::CLONE_NEWUTS),
];

fn identity(path: &Path) -> (u64, u64) {
    std::fs::metadata(path).map_or((0, 0), |status| (status.dev(), status.ino()))
}

impl Facts {
    /// Looks at this process.
    pub(crate) fn new(world: &World) -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let of = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let hex = |key| u64::from_str_radix(&of(key).concat(), 16).unwrap_or(0);
        let id = |key| of(key).get(1).and_then(|id| id.parse().ok()).unwrap_or(0);
        let oom = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
        let (session, group) = sys::groups();
        let looked_at = (0..100).chain(world::OPEN).chain(world::NOT_OPEN).chain([fd::MESSAGES]);
        let table = looked_at.filter_map(|fd| {
            let (descriptor, _) = sys::flags(fd)?;
            Some((fd, (sys::identity(fd), descriptor & libc::FD_CLOEXEC != 0)))
        });
        Self {
            pid: std::process::id(),
            uid: id("Uid:"),
            gid: id("Gid:"),
            groups: of("Groups:").join(","),
            capabilities: hex("CapEff:"),
            mask: sys::mask(),
            ignored: hex("SigIgn:"),
            session,
            group,
            umask: u32::from_str_radix(&of("Umask:").concat(), 8).unwrap_or(0),
            oom_score: oom.trim().parse().unwrap_or(0),
            table: table.collect(),
            scratch: identity(&world.dir),
            below: identity(&world.dir.join("below")),
            root: identity(Path::new("/")),
            namespaces: KINDS
                .iter()
                .map(|(name, _)| (*name, identity(&Path::new("/proc/self/ns").join(name))))
                .filter(|(_, identity)| *identity != (0, 0))
                .collect(),
            no_new_privs: of("NoNewPrivs:").concat() == "1",
            refused: Vec::new(),
            refused_late: false,
            group_storm: false,
            threads: false,
        }
    }

    /// Whether it has the capability.
    pub(crate) fn can(&self, capability: u32) -> bool {
        self.capabilities >> capability & 1 == 1
    }

    /// Whether the worker has the descriptor.
    pub(crate) fn has_open(&self, number: i32) -> bool {
        self.table.contains_key(&number)
    }

    /// Whether a filter has a signal answer the call.
    pub(crate) fn traps(&self, call: i64) -> bool {
        self.refused.contains(&Refused { call, how: How::Trap })
    }

    /// Whether a filter refuses the call.
    pub(crate) fn refuses(&self, call: i64) -> bool {
        self.refused.iter().any(|refused| refused.call == call)
    }
}
