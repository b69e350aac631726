//! The namespaces of a child: which ones, and how they are furnished.

use core::ffi::{CStr, c_int};
use core::fmt;

use linux_raw_sys::general as uapi;

use crate::request::RawFd;

/// A set of kinds of namespaces: see namespaces(7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct NsSet(u32);

impl NsSet {
    /// None.
    pub const EMPTY: Self = Self(0);
    /// Mount points.
    pub const MOUNT: Self = Self(uapi::CLONE_NEWNS);
    /// Host name and domain name.
    pub const UTS: Self = Self(uapi::CLONE_NEWUTS);
    /// System V IPC, POSIX message queues.
    pub const IPC: Self = Self(uapi::CLONE_NEWIPC);
    /// Network devices, addresses, ports.
    pub const NET: Self = Self(uapi::CLONE_NEWNET);
    /// Process ids: the child is the first process of a new one, its init.
    pub const PID: Self = Self(uapi::CLONE_NEWPID);
    /// User and group ids, and capabilities. Linux 3.8.
    pub const USER: Self = Self(uapi::CLONE_NEWUSER);
    /// The root of what `/proc/self/cgroup` shows. Linux 4.6.
    pub const CGROUP: Self = Self(uapi::CLONE_NEWCGROUP);
    /// The monotonic and the boot-time clock. Linux 5.6.
    pub const TIME: Self = Self(uapi::CLONE_NEWTIME);

    /// Those that only a new process can be in: clone(2) makes them with it.
    pub(crate) const BY_CLONE: Self = Self::USER.with(Self::PID);

    /// Both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The one without the other.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `other` are in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there are none in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The `CLONE_NEW*` of clone(2).
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for NsSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::MOUNT, "mount"),
            (Self::UTS, "uts"),
            (Self::IPC, "ipc"),
            (Self::NET, "net"),
            (Self::PID, "pid"),
            (Self::USER, "user"),
            (Self::CGROUP, "cgroup"),
            (Self::TIME, "time"),
        ];
        let names = names.iter().filter(|(kind, _)| self.contains(*kind)).map(|(_, name)| name);
        f.debug_set().entries(names).finish()
    }
}

/// Existing namespaces that a child enters.
#[derive(Clone, Copy, Debug)]
pub struct Join {
    pub(crate) fd: RawFd,
    pub(crate) kinds: NsSet,
}

impl Join {
    /// The namespace of the one kind behind the caller's descriptor `fd`, such as
    /// `/proc/PID/ns/net`; or those of all `kinds` that the process behind a pidfd is in,
    /// which takes Linux 5.8.
    pub const fn new(fd: RawFd, kinds: NsSet) -> Self {
        Self { fd, kinds }
    }
}

/// A range of ids of a user namespace, and what they are outside: a line of
/// `/proc/PID/uid_map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    pub(crate) inside: u32,
    pub(crate) outside: u32,
    pub(crate) count: u32,
}

impl IdRange {
    /// The `count` ids from `inside` on in the namespace are those from `outside` on in the
    /// caller's.
    pub const fn new(inside: u32, outside: u32, count: u32) -> Self {
        Self { inside, outside, count }
    }
}

/// What the ids of a new user namespace are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdMaps<'a> {
    pub(crate) uids: &'a [IdRange],
    pub(crate) gids: &'a [IdRange],
}

/// A step that furnishes the child's mount namespace.
///
/// Paths are looked up by the child, with the caller's root and working directory, and
/// symbolic links followed: in a tree that somebody else may write to, one may lead a
/// mount to another place of the child's namespace.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum FsAction<'a> {
    /// mount(2). Each of its uses has a function here.
    Mount {
        /// The device, directory, or whatever the file system takes.
        source: &'a CStr,
        /// Where it is to be seen.
        target: &'a CStr,
        /// The kind of file system.
        fstype: &'a CStr,
        /// `MS_*`.
        flags: u32,
        /// The file system's own options.
        data: &'a CStr,
    },
    /// umount2(2).
    Unmount {
        /// What is mounted here.
        target: &'a CStr,
        /// `MNT_*`, `UMOUNT_NOFOLLOW`.
        flags: u32,
    },
    /// mkdir(2); a file or directory that is there already is left alone.
    Mkdir {
        /// The directory.
        path: &'a CStr,
        /// Its mode; the child's umask applies.
        mode: u32,
    },
    /// Creates an empty file to mount another on; one that is there already is left alone.
    File {
        /// The file.
        path: &'a CStr,
        /// Its mode; the child's umask applies.
        mode: u32,
    },
    /// symlink(2); a file that is there already is left alone.
    Symlink {
        /// What it is to contain.
        target: &'a CStr,
        /// Where it is to be.
        path: &'a CStr,
    },
    /// mknod(2), of a device. Not in a user namespace other than the first.
    Device {
        /// Where it is to be.
        path: &'a CStr,
        /// `S_IFCHR` or `S_IFBLK`, and permissions; the child's umask applies.
        mode: u32,
        /// The device's major and minor number: see makedev(3).
        device: u32,
    },
}

impl<'a> FsAction<'a> {
    const fn mount(source: &'a CStr, target: &'a CStr, fstype: &'a CStr, flags: u32) -> Self {
        Self::Mount { source, target, fstype, flags, data: c"" }
    }

    /// Shows the file or directory `source` at `target` too, without what is mounted below
    /// it.
    pub const fn bind(source: &'a CStr, target: &'a CStr) -> Self {
        Self::mount(source, target, c"", uapi::MS_BIND)
    }

    /// Shows `source` and all that is mounted below it at `target` too.
    pub const fn bind_tree(source: &'a CStr, target: &'a CStr) -> Self {
        Self::mount(source, target, c"", uapi::MS_BIND | uapi::MS_REC)
    }

    /// Mounts the `/proc` of the child's PID namespace: no set-user-ID, devices or programs.
    ///
    /// In a user namespace this takes a `/proc` that is all to be seen in the mount namespace
    /// already; it need not stay.
    pub const fn proc(target: &'a CStr) -> Self {
        Self::mount(c"proc", target, c"proc", SAFE)
    }

    /// Mounts the `/sys` of the child's network namespace, as [`proc`](Self::proc).
    pub const fn sysfs(target: &'a CStr) -> Self {
        Self::mount(c"sysfs", target, c"sysfs", SAFE)
    }

    /// Mounts a file system in memory, with options such as `mode=755,size=64k`: no
    /// set-user-ID and no devices.
    pub const fn tmpfs(target: &'a CStr, options: &'a CStr) -> Self {
        let flags = uapi::MS_NOSUID | uapi::MS_NODEV;
        Self::Mount { source: c"tmpfs", target, fstype: c"tmpfs", flags, data: options }
    }

    /// Makes what is mounted at `target` read-only, for those who see it there: a bind mount,
    /// or the new root.
    ///
    /// `flags` are those of `MS_NOSUID`, `MS_NODEV` and `MS_NOEXEC` that are to hold as well; in a
    /// user namespace those that it has must be among them, or it is `EPERM`.
    pub const fn read_only(target: &'a CStr, flags: u32) -> Self {
        let flags = flags | uapi::MS_REMOUNT | uapi::MS_BIND | uapi::MS_RDONLY;
        Self::mount(c"", target, c"", flags)
    }

    /// Sets how mounts at and below `target` spread: `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED` or
    /// `MS_UNBINDABLE`. See `mount_namespaces(7)`.
    pub const fn propagation(target: &'a CStr, kind: u32) -> Self {
        Self::mount(c"", target, c"", kind | uapi::MS_REC)
    }
}

/// No set-user-ID, no devices, no programs.
const SAFE: u32 = uapi::MS_NOSUID | uapi::MS_NODEV | uapi::MS_NOEXEC;

/// The namespaces of a child: existing ones that it joins, new ones, and how those are
/// furnished.
///
/// The order is the spawn's, whatever the order of the calls here: a new user and PID
/// namespace with the child itself, then the maps of ids; after descriptors are in place the
/// namespaces to join; then the other new ones, which so belong to the user namespace that the child
/// is in by then, and to the cgroup; then what is in them, and at last the root.
///
/// ```
/// use rawspawn::{Buffer, Exec, FsAction, IdRange, Namespaces, NsSet, Request, argv};
///
/// let kinds = NsSet::USER.with(NsSet::MOUNT).with(NsSet::PID).with(NsSet::UTS);
/// let (uids, gids) = ([IdRange::new(0, 1000, 1)], [IdRange::new(0, 1000, 1)]);
/// let mounts = [FsAction::proc(c"/srv/box/proc")];
/// let namespaces = Namespaces::new(kinds)
///     .id_maps(&uids, &gids)
///     .hostname(c"box")
///     .filesystem(&mounts)
///     .pivot_root(c"/srv/box");
/// let mut request = Request::new(Exec::Path(c"/bin/sh"), argv![c"sh"]);
/// request.namespaces(&namespaces);
/// # request.env(argv![]);
/// println!("{}", request.plan(&mut Buffer::<48>::new())?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Namespaces<'a> {
    pub(crate) new: NsSet,
    pub(crate) join: &'a [Join],
    pub(crate) id_maps: Option<IdMaps<'a>>,
    pub(crate) denies_setgroups: bool,
    pub(crate) pids: &'a [c_int],
    pub(crate) clocks: Option<[(i64, u32); 2]>,
    pub(crate) hostname: Option<&'a CStr>,
    pub(crate) domainname: Option<&'a CStr>,
    pub(crate) loopback: bool,
    pub(crate) filesystem: &'a [FsAction<'a>],
    pub(crate) pivot_root: Option<&'a CStr>,
}

impl<'a> Namespaces<'a> {
    /// New namespaces of the kinds `new`. A new user namespace comes first of all: what takes a
    /// capability in the caller's own, such as to raise a limit or the priority, to lower the OOM
    /// score, or to open somebody else's file, is refused to its child.
    ///
    /// What is mounted in a new mount namespace does not
    /// show outside; what is mounted outside later shows inside.
    ///
    /// # Errors
    ///
    /// - [`Step::NewNamespaces`](crate::Step::NewNamespaces) with `EPERM`: no `CAP_SYS_ADMIN`,
    ///   in the new user namespace if there is one; with `ENOSPC`: too many, or nested too
    ///   deep; with `EINVAL`: a kind that the kernel does not know, or a new mount namespace
    ///   while the root is no mount point.
    ///
    /// # See
    ///
    /// clone(2), unshare(2), namespaces(7); `mount_namespaces(7)`, `MS_SLAVE`.
    pub const fn new(new: NsSet) -> Self {
        Self {
            new,
            join: &[],
            id_maps: None,
            denies_setgroups: false,
            pids: &[],
            clocks: None,
            hostname: None,
            domainname: None,
            loopback: false,
            filesystem: &[],
            pivot_root: None,
        }
    }

    /// Has the child enter existing namespaces, in the order of `join`: a user namespace comes
    /// first, unless the others take privileges that it takes away.
    ///
    /// A PID namespace is one of the child's children; so it is the calling thread that enters
    /// it, makes the child, and returns. That takes `CAP_SYS_ADMIN` in the caller's own user
    /// namespace, and in the one that owns the caller's PID namespace, or it could not return:
    /// `EPERM`, and the thread stays where it is.
    ///
    /// # Errors
    ///
    /// - [`Step::Join`](crate::Step::Join) with the position in `join`, and with the errors of
    ///   setns(2); with `EINVAL`, before any process exists: no kind, the number is the
    ///   `child_fd` of an action, more than one PID namespace, or one to join where a new one
    ///   is asked for; the same of user namespaces.
    ///
    /// # Kernel
    ///
    /// Linux 4.12 for a PID namespace.
    ///
    /// # See
    ///
    /// setns(2).
    pub const fn join(mut self, join: &'a [Join]) -> Self {
        self.join = join;
        self
    }

    /// Sets what the ids of the new user namespace are, before the child does anything.
    ///
    /// Maps of the caller's own effective ids alone the child writes itself, or with a
    /// [`parent_hook`](crate::Request::parent_hook) its parent. They need no privilege, if the
    /// caller is dumpable (`PR_SET_DUMPABLE(2const)`) or root, but for `CAP_SETFCAP` to map root;
    /// setgroups(2) is denied then. All else is written by the caller while
    /// the child waits, and takes `CAP_SETUID` and `CAP_SETGID`.
    ///
    /// # Errors
    ///
    /// - [`Step::UidMap`](crate::Step::UidMap), [`Step::GidMap`](crate::Step::GidMap) with the
    ///   position of the range and `EINVAL`, before any process exists: no id in it, more than
    ///   340 ranges, or no new user namespace; with the errors of writing to
    ///   `/proc/PID/uid_map` or `gid_map`, among them `EPERM`.
    ///
    /// # See
    ///
    /// `user_namespaces(7)`.
    pub const fn id_maps(mut self, uids: &'a [IdRange], gids: &'a [IdRange]) -> Self {
        self.id_maps = Some(IdMaps { uids, gids });
        self
    }

    /// Forbids setgroups(2) in the new user namespace for good: groups that deny something to
    /// their members cannot be dropped in it.
    ///
    /// # Errors
    ///
    /// - [`Step::GidMap`](crate::Step::GidMap) with `EINVAL`, before any process exists: no new
    ///   user namespace.
    ///
    /// # See
    ///
    /// `user_namespaces(7)`, `/proc/PID/setgroups`.
    pub const fn deny_setgroups(mut self, on: bool) -> Self {
        self.denies_setgroups = on;
        self
    }

    /// Chooses the child's pid: in its own PID namespace first, then in each one around it.
    ///
    /// # Errors
    ///
    /// - [`Step::SetTid`](crate::Step::SetTid) with `EEXIST`: in use; with `EPERM`: no
    ///   `CAP_CHECKPOINT_RESTORE` (or `CAP_SYS_ADMIN`) in the PID namespace's user namespace;
    ///   with `EINVAL`: more numbers than PID namespaces, or no such pid, or in a new namespace not
    ///   1; with `ENOSYS`, before any process exists: no `clone3(2)`.
    ///
    /// # Kernel
    ///
    /// Linux 5.5; on 5.3 and 5.4 `E2BIG`.
    ///
    /// # See
    ///
    /// clone(2), `set_tid`.
    pub const fn set_tid(mut self, pids: &'a [c_int]) -> Self {
        self.pids = pids;
        self
    }

    /// Sets what is added to the clocks in the new time namespace: seconds, and nanoseconds from
    /// 0 to 999,999,999. A mount namespace that is [joined](Self::join) must have a `/proc` that
    /// shows the child.
    ///
    /// # Errors
    ///
    /// - [`Step::ClockOffsets`](crate::Step::ClockOffsets) with `EINVAL`, before any process
    ///   exists: no new time namespace; with the errors of writing to
    ///   `/proc/PID/timens_offsets`, among them `ERANGE`: a clock below 0.
    ///
    /// # See
    ///
    /// `time_namespaces(7)`.
    pub const fn clock_offsets(mut self, monotonic: (i64, u32), boottime: (i64, u32)) -> Self {
        self.clocks = Some([monotonic, boottime]);
        self
    }

    /// Sets the host name of the child's UTS namespace.
    ///
    /// # Errors
    ///
    /// - [`Step::Hostname`](crate::Step::Hostname) with `EINVAL`: longer than 64 bytes, or before
    ///   any process exists: the namespace is the caller's, neither new nor joined.
    ///
    /// # See
    ///
    /// sethostname(2).
    pub const fn hostname(mut self, name: &'a CStr) -> Self {
        self.hostname = Some(name);
        self
    }

    /// Sets the domain name of the child's UTS namespace, as [`hostname`](Self::hostname).
    ///
    /// # Errors
    ///
    /// - [`Step::Domainname`](crate::Step::Domainname), as for that.
    ///
    /// # See
    ///
    /// setdomainname(2).
    pub const fn domainname(mut self, name: &'a CStr) -> Self {
        self.domainname = Some(name);
        self
    }

    /// Switches the loopback device of the child's network namespace on, which gives it its
    /// addresses.
    ///
    /// # Errors
    ///
    /// - [`Step::Loopback`](crate::Step::Loopback) with `EINVAL`, before any process exists:
    ///   the namespace is the caller's; with the errors of socket(2) and of `SIOCSIFFLAGS`.
    ///
    /// # See
    ///
    /// netdevice(7).
    pub const fn loopback(mut self, on: bool) -> Self {
        self.loopback = on;
        self
    }

    /// Furnishes the child's mount namespace, one action after the other.
    ///
    /// A child whose own user id is in no range of [`id_maps`](Self::id_maps) does so as root of
    /// its user namespace, user and group, which must be mapped then, and stays that unless
    /// [`Request::uid`](crate::Request::uid) says otherwise.
    ///
    /// # Errors
    ///
    /// - [`Step::FileSystem`](crate::Step::FileSystem) with the position in `actions`, and with
    ///   the errors of mount(2), umount(2), mkdir(2), open(2), symlink(2) or mknod(2); with
    ///   `EINVAL`, before any process exists: the namespace is the caller's.
    pub const fn filesystem(mut self, actions: &'a [FsAction<'a>]) -> Self {
        self.filesystem = actions;
        self
    }

    /// Makes `path` the root of the child's mount namespace, after
    /// [`filesystem`](Self::filesystem), and unmounts the old one. The working directory is the
    /// new root.
    ///
    /// `path` is made a mount point before the actions, by mounting it on itself.
    ///
    /// # Errors
    ///
    /// - [`Step::PivotRoot`](crate::Step::PivotRoot) with the errors of mount(2) and
    ///   `pivot_root(2)`, among them `EINVAL`: the old root is the kernel's first one, an initramfs;
    ///   there [`Request::root`](crate::Request::root) is the way; or before any process exists:
    ///   the namespace is the caller's.
    ///
    /// # See
    ///
    /// `pivot_root(2)`.
    pub const fn pivot_root(mut self, path: &'a CStr) -> Self {
        self.pivot_root = Some(path);
        self
    }

    /// Whether clone(2) alone can make a child for them.
    pub(crate) fn takes_clone(&self) -> bool {
        !self.pids.is_empty() || self.new.bits() & NsSet::BY_CLONE.bits() != 0
    }

    /// The namespaces to join, of whatever kind.
    pub(crate) fn joined(&self) -> NsSet {
        self.join.iter().fold(NsSet::EMPTY, |all, join| all.with(join.kinds))
    }

    /// Whether the child's namespace of `kind` is another than its parent's.
    pub(crate) fn separates(&self, kind: NsSet) -> bool {
        self.new.with(self.joined()).contains(kind)
    }

    /// Where the child joins a PID namespace.
    pub(crate) fn pid_join(&self) -> Option<(usize, RawFd)> {
        let mut joins = self.join.iter().enumerate();
        joins.find(|(_, join)| join.kinds.contains(NsSet::PID)).map(|(n, join)| (n, join.fd))
    }

    /// The id in the new user namespace that `id` of its parent is.
    pub(crate) fn mapped_uid(&self, id: u32) -> Option<u32> {
        self.id_maps?.uids.iter().find_map(|range| {
            let offset = id.checked_sub(range.outside).filter(|offset| *offset < range.count)?;
            range.inside.checked_add(offset)
        })
    }
}
