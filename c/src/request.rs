//! From C's request to the library's: checked, and what is laid out otherwise is laid out anew.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::{MaybeUninit, offset_of};
use core::slice;

use rawspawn::{
    CStrArray, CapSet, Capabilities, CurrentDir, Errno, Exec, FdAction, Feature, FileAction,
    Filter, FsAction, Groups, Hook, IdRange, Join, Kernel, ListenFds, Modes, Namespaces, NsSet,
    OtherFds, ParentHook, PosixSpawn, Request, Rlimit, Scheduler, SigSet,
};

use crate::abi::{self, Error, Refused, Step};
use crate::room::Room;

type Result<T> = core::result::Result<T, Error>;

/// The request that C describes by `place`, in `room`.
///
/// # Safety
///
/// What rawspawn.h says of a request, for as long as the result is used.
pub(crate) unsafe fn build<'r>(
    place: *const abi::Request,
    room: &mut Room<'r>,
) -> Result<(&'r Request<'r>, &'r abi::Request)> {
    // SAFETY: The caller's promise.
    let from = unsafe { sized(place, room) }?;
    // SAFETY: As above.
    let builder = unsafe { Builder::new(from) };
    let exec = builder.exec(room)?;
    let argv =
        builder.array(from.argv).ok_or(Error::refused(Step::Arguments, 0, Refused::Missing))?;
    let envp =
        builder.array(from.envp).ok_or(Error::refused(Step::Environment, 0, Refused::Missing))?;
    let request = room.take_one()?.write(Request::new(exec, argv));
    request.env(envp);
    builder.program(request)?;
    builder.descriptors(request, room)?;
    builder.session(request)?;
    builder.signals(request);
    builder.limits(request, room)?;
    builder.privileges(request, room)?;
    builder.namespaces(request, room)?;
    builder.posix(request, room)?;
    builder.hooks(request, room)?;
    Ok((request, from))
}

/// A structure that tells its size.
trait Versioned {
    /// What it had when it was first published: no caller has less.
    const FIRST: usize;
}

impl Versioned for abi::Request {
    // What comes last is not for programs but for tests of them.
    const FIRST: usize = offset_of!(Self, kernel);
}

impl Versioned for abi::Namespaces {
    const FIRST: usize = size_of::<Self>();
}

impl Versioned for abi::Capabilities {
    const FIRST: usize = size_of::<Self>();
}

impl Versioned for abi::Posix {
    const FIRST: usize = size_of::<Self>();
}

/// The structure at `place`: of an older caller, what follows is zero; of a newer one it must be.
///
/// # Safety
///
/// NULL, or as many readable bytes as its first word says.
unsafe fn sized<'r, T: Versioned>(place: *const T, room: &mut Room<'r>) -> Result<&'r T> {
    /// No structure gets as large: that is no size.
    const MOST: usize = 4096;
    // SAFETY: The caller's promise.
    let Some(size) = (unsafe { place.cast::<usize>().as_ref() }) else {
        return Err(Error::refused(Step::Plan, 0, Refused::Missing));
    };
    let (size, whole, start) = (*size, size_of::<T>(), place.cast::<u8>());
    if size < T::FIRST {
        return Err(Error::refused(Step::Plan, 0, Refused::Size));
    }
    let byte = |n| {
        // SAFETY: One of the bytes that the size counts.
        let place = unsafe { start.add(n) };
        // SAFETY: As above.
        unsafe { place.read_volatile() }
    };
    if size > MOST || (whole..size).any(|n| byte(n) != 0) {
        let refused = Error::refused(Step::Plan, 0, Refused::Newer);
        return Err(Error { number: Errno::E2BIG.raw(), ..refused });
    }
    if size >= whole {
        // SAFETY: The caller's promise.
        return Ok(unsafe { &*place });
    }
    let copy = room.take_one::<T>()?;
    for n in 0..whole {
        // SAFETY: Within the structure.
        let place = unsafe { copy.as_mut_ptr().cast::<u8>().add(n) };
        // SAFETY: As above.
        unsafe { place.write(if n < size { byte(n) } else { 0 }) };
    }
    // SAFETY: Numbers and pointers, for which zero will do.
    Ok(unsafe { copy.assume_init_ref() })
}

/// A number that may be unset.
fn optional(value: abi::Optional, step: Step) -> Result<Option<u32>> {
    match (value, value >> 32) {
        (0, _) => Ok(None),
        (_, 1) => Ok(Some(value as u32)),
        _ => Err(Error::refused(step, 0, Refused::Unset)),
    }
}

/// One that is signed.
fn optional_int(value: abi::Optional, step: Step) -> Result<Option<c_int>> {
    Ok(optional(value, step)?.map(|value| value as c_int))
}

/// One of a type with fewer bits.
fn optional_small<T: TryFrom<c_int>>(value: abi::Optional, step: Step) -> Result<Option<T>> {
    let Some(value) = optional_int(value, step)? else { return Ok(None) };
    value.try_into().map(Some).map_err(|_| Error::refused(step, 0, Refused::Range))
}

/// Refuses flags other than `known`.
fn check_flags(flags: u32, known: u32) -> Result<()> {
    check(flags & !known == 0, Step::Plan, Refused::Unknown)
}

/// Whether an item has what its kind does not.
fn exceeds<const N: usize>(has: [bool; N], may_have: [bool; N]) -> bool {
    has.into_iter().zip(may_have).any(|(is_set, may_be)| is_set && !may_be)
}

fn check(is_valid: bool, step: Step, why: Refused) -> Result<()> {
    if is_valid { Ok(()) } else { Err(Error::refused(step, 0, why)) }
}

fn scheduler(policy: abi::Optional, priority: c_int) -> Result<Option<Scheduler>> {
    let policy = optional_int(policy, Step::Scheduler)?;
    check(policy.is_some() || priority == 0, Step::Scheduler, Refused::NoEffect)?;
    Ok(policy.map(|policy| Scheduler::new(policy, priority)))
}

/// The kinds of namespaces that are `bits` of clone(2).
fn kinds(bits: u32, step: Step, index: usize) -> Result<NsSet> {
    const ALL: [NsSet; 8] = [
        NsSet::MOUNT,
        NsSet::UTS,
        NsSet::IPC,
        NsSet::NET,
        NsSet::PID,
        NsSet::USER,
        NsSet::CGROUP,
        NsSet::TIME,
    ];
    let among = ALL.into_iter().filter(|kind| bits & kind.bits() != 0);
    let set = among.fold(NsSet::EMPTY, NsSet::with);
    if set.bits() == bits { Ok(set) } else { Err(Error::refused(step, index, Refused::Unknown)) }
}

/// Reads what the request points to.
struct Builder<'r> {
    from: &'r abi::Request,
}

// `self` is that `new` was promised something.
#[allow(clippy::unused_self)]
impl<'r> Builder<'r> {
    /// # Safety
    ///
    /// What the request points to is what rawspawn.h says, and stays for as long.
    unsafe fn new(from: &'r abi::Request) -> Self {
        Self { from }
    }

    /// Whether `flag` of the request is set.
    fn has(&self, flag: u32) -> bool {
        self.from.flags & flag != 0
    }

    /// The text at `start`, of this request; none at NULL.
    fn text(&self, start: *const c_char) -> Option<&'r CStr> {
        let strings = [start, core::ptr::null()];
        // By the array, as `CStr::from_ptr` is a call of C's strlen.
        // SAFETY: `new` was promised that it is a string, and there is a NULL behind it.
        unsafe { CStrArray::from_ptr(strings.as_ptr()) }.iter().next()
    }

    /// The text at `start`, which an item of a list must have.
    fn item_text(&self, start: *const c_char, step: Step, index: usize) -> Result<&'r CStr> {
        self.text(start).ok_or(Error::refused(step, index, Refused::Missing))
    }

    /// The strings of a list with a NULL behind it.
    fn array(&self, start: *const *mut c_char) -> Option<CStrArray<'r>> {
        // SAFETY: `new` was promised that it is one.
        (!start.is_null()).then(|| unsafe { CStrArray::from_ptr(start.cast()) })
    }

    /// A list of this request.
    fn list<T>(&self, start: *const T, count: usize, step: Step) -> Result<&'r [T]> {
        let most = isize::MAX as usize / size_of::<T>();
        match count {
            0 => Ok(&[]),
            _ if start.is_null() => Err(Error::refused(step, 0, Refused::Missing)),
            _ if count > most => Err(Error::refused(step, 0, Refused::Range)),
            // SAFETY: `new` was promised that there are as many.
            _ => Ok(unsafe { slice::from_raw_parts(start, count) }),
        }
    }

    /// What one of its pointers leads to.
    fn target<T>(&self, place: *const T) -> Option<&'r T> {
        // SAFETY: `new` was promised that it is NULL or leads there.
        unsafe { place.as_ref() }
    }

    /// A structure of it that tells its size.
    fn sized<T: Versioned>(&self, place: *const T, room: &mut Room<'r>) -> Result<Option<&'r T>> {
        if place.is_null() {
            return Ok(None);
        }
        // SAFETY: `new` was promised that.
        unsafe { sized(place, room) }.map(Some)
    }

    fn exec(&self, room: &mut Room<'r>) -> Result<Exec<'r>> {
        let from = self.from;
        let fd = optional_int(from.program_fd, Step::Exec)?;
        let is_searched = from.search_path.is_null() || !from.search.is_null();
        check(is_searched, Step::Exec, Refused::NoEffect)?;
        match (self.text(from.path), self.text(from.search), self.array(from.candidates.cast()), fd)
        {
            (Some(path), None, None, None) => Ok(Exec::Path(path)),
            (None, Some(name), None, None) => {
                let path = self.text(from.search_path).map(CStr::to_bytes);
                Ok(Exec::Search { name, path })
            }
            (None, None, Some(paths), None) => {
                let count = paths.iter().count();
                let list = self.list(from.candidates, count, Step::Exec)?;
                let item = |index, path: &*const c_char| self.item_text(*path, Step::Exec, index);
                Ok(Exec::Candidates(room.map(list, item)?))
            }
            (None, None, None, Some(fd)) => Ok(Exec::Fd(fd)),
            (None, None, None, None) => Err(Error::refused(Step::Exec, 0, Refused::Missing)),
            _ => Err(Error::refused(Step::Exec, 0, Refused::Several)),
        }
    }

    fn program(&self, request: &mut Request<'r>) -> Result<()> {
        const VFORK: u32 = abi::Mode::Vfork as u32;
        const FORK: u32 = abi::Mode::Fork as u32;
        const STUB: u32 = abi::Mode::Stub as u32;
        /// As rawspawn.h says.
        const MOST_RETRIES: u32 = 10;
        let from = self.from;
        check_flags(from.flags, 2 * abi::RAWSPAWN_MAP_MEMORY - 1)?;
        request.sh_fallback(self.has(abi::RAWSPAWN_SH_FALLBACK));
        check(from.busy_retries <= MOST_RETRIES, Step::Exec, Refused::Range)?;
        let retries = u8::try_from(from.busy_retries);
        request.retry_busy(retries.map_err(|_| Error::refused(Step::Exec, 0, Refused::Range))?);
        request.pidfd(self.has(abi::RAWSPAWN_PIDFD));
        request.modes(match from.mode {
            0 => Modes::Any,
            VFORK => Modes::Vfork,
            FORK => Modes::Fork,
            STUB => Modes::Stub,
            _ => return Err(Error::refused(Step::Mode, 0, Refused::Unknown)),
        });
        if let Some(features) = optional(from.kernel, Step::Plan)? {
            let all = Feature::ALL.into_iter().fold(0, |all, feature| all | feature as u32);
            check_flags(features, all)?;
            let missing =
                Feature::ALL.into_iter().filter(|feature| features & *feature as u32 == 0);
            request.kernel(missing.fold(Kernel::NEWEST, Kernel::without));
        }
        Ok(())
    }

    fn descriptors(&self, request: &mut Request<'r>, room: &mut Room<'r>) -> Result<()> {
        const MAP: u32 = abi::Fd::Map as u32;
        const OPEN: u32 = abi::Fd::Open as u32;
        const CLOSE: u32 = abi::Fd::Close as u32;
        let from = self.from;
        let fds = self.list(from.fds, from.fd_count, Step::Move)?;
        if !fds.is_empty() {
            request.fds(room.map(fds, |index, action| {
                let abi::FdAction { kind, child_fd, parent_fd, flags, path, mode } = *action;
                let opens_nothing = flags == 0 && path.is_null() && mode == 0;
                Ok(match kind {
                    MAP if opens_nothing => FdAction::Map { parent_fd, child_fd },
                    OPEN if parent_fd == 0 => {
                        let path = self.item_text(path, Step::Open, index)?;
                        FdAction::Open { child_fd, path, flags, mode }
                    }
                    CLOSE if opens_nothing && parent_fd == 0 => FdAction::Close { child_fd },
                    MAP | OPEN | CLOSE => {
                        return Err(Error::refused(Step::Move, index, Refused::NoEffect));
                    }
                    _ => return Err(Error::refused(Step::Move, index, Refused::Unknown)),
                })
            })?);
        }
        if self.has(abi::RAWSPAWN_INHERIT_FDS) {
            request.other_fds(OtherFds::Inherit);
        }
        match (self.text(from.cwd), optional_int(from.cwd_fd, Step::CurrentDir)?) {
            (None, None) => {}
            (Some(path), None) => {
                request.cwd(CurrentDir::Path(path));
            }
            (None, Some(fd)) => {
                request.cwd(CurrentDir::Fd(fd));
            }
            (Some(_), Some(_)) => {
                return Err(Error::refused(Step::CurrentDir, 0, Refused::Several));
            }
        }
        if let Some(path) = self.text(from.root) {
            request.root(path);
        }
        if let Some(mask) = optional(from.umask, Step::Umask)? {
            request.umask(mask);
        }
        Ok(())
    }

    fn session(&self, request: &mut Request<'r>) -> Result<()> {
        let from = self.from;
        if self.has(abi::RAWSPAWN_SESSION) {
            request.session(true);
        }
        if let Some(pgrp) = optional_int(from.process_group, Step::ProcessGroup)? {
            request.process_group(pgrp);
        }
        if let Some(fd) = optional_int(from.controlling_terminal, Step::ControllingTerminal)? {
            request.controlling_terminal(fd);
        }
        if let Some(fd) = optional_int(from.foreground, Step::Foreground)? {
            request.foreground(fd);
        }
        if let Some(signal) = optional_int(from.parent_death_signal, Step::ParentDeathSignal)? {
            request.parent_death_signal(signal);
        }
        Ok(())
    }

    fn signals(&self, request: &mut Request<'r>) {
        let from = self.from;
        if let Some(mask) = self.target(from.signal_mask) {
            request.signal_mask(SigSet::from_bits(*mask));
        }
        request.default_signals(SigSet::from_bits(from.default_signals));
        request.ignore_signals(SigSet::from_bits(from.ignore_signals));
        if self.has(abi::RAWSPAWN_RESTORE_SIGNALS) {
            request.restore_signals();
        }
    }

    fn limits(&self, request: &mut Request<'r>, room: &mut Room<'r>) -> Result<()> {
        let from = self.from;
        if let Some(fd) = optional_int(from.cgroup, Step::Cgroup)? {
            request.cgroup(fd);
        }
        let rlimits = self.list(from.rlimits, from.rlimit_count, Step::Rlimit)?;
        if !rlimits.is_empty() {
            request.rlimits(room.map(rlimits, |_, limit| {
                Ok(Rlimit::new(limit.resource, limit.soft, limit.hard))
            })?);
        }
        if let Some(scheduler) = scheduler(from.scheduler_policy, from.scheduler_priority)? {
            request.scheduler(scheduler);
        }
        if let Some(nice) = optional_int(from.nice, Step::Nice)? {
            request.nice(nice);
        }
        let cpus = self.list(from.affinity.cast(), from.affinity_count, Step::Affinity)?;
        if !from.affinity.is_null() {
            request.affinity(cpus);
        }
        if let Some(priority) = optional_small(from.ioprio, Step::IoPriority)? {
            request.ioprio(priority);
        }
        if let Some(adj) = optional_small(from.oom_score_adj, Step::OomScoreAdj)? {
            request.oom_score_adj(adj);
        }
        if from.timer_slack != 0 {
            request.timer_slack(from.timer_slack);
        }
        if self.has(abi::RAWSPAWN_SUBREAPER) {
            request.subreaper(true);
        }
        if let Some(kinds) = optional(from.coredump_filter, Step::CoredumpFilter)? {
            request.coredump_filter(kinds);
        }
        let names = self.text(from.listen_fd_names);
        match optional_small(from.listen_fds, Step::ListenFds)? {
            None => check(names.is_none(), Step::ListenFds, Refused::NoEffect)?,
            Some(count) => {
                let listen = ListenFds::new(count);
                request.listen_fds(room.put(names.map_or(listen, |names| listen.names(names)))?);
            }
        }
        Ok(())
    }

    fn privileges(&self, request: &mut Request<'r>, room: &mut Room<'r>) -> Result<()> {
        let from = self.from;
        if let Some(uid) = optional(from.uid, Step::Uid)? {
            request.uid(uid);
        }
        if let Some(gid) = optional(from.gid, Step::Gid)? {
            request.gid(gid);
        }
        let groups = self.list(from.groups, from.group_count, Step::Groups)?;
        match (from.groups.is_null(), self.has(abi::RAWSPAWN_KEEP_GROUPS)) {
            (true, false) => {}
            (true, true) => {
                request.groups(Groups::Keep);
            }
            (false, false) => {
                request.groups(Groups::Set(groups));
            }
            (false, true) => return Err(Error::refused(Step::Groups, 0, Refused::Several)),
        }
        if let Some(capabilities) = self.sized(from.capabilities, room)? {
            request.capabilities(room.put(self.capabilities(capabilities)?)?);
        }
        let filter = self.list(from.seccomp.cast::<Filter>(), from.seccomp_count, Step::Seccomp)?;
        if !from.seccomp.is_null() {
            request.seccomp(filter);
        }
        if let Some(fd) = optional_int(from.landlock, Step::Landlock)? {
            request.landlock(fd);
        }
        if self.has(abi::RAWSPAWN_NO_NEW_PRIVS) {
            request.no_new_privs(true);
        }
        Ok(())
    }

    fn capabilities(&self, from: &abi::Capabilities) -> Result<Capabilities> {
        // Whether it is set; what is not, must be zero.
        let is_set = |flag, bits: u64, step| -> Result<bool> {
            check(from.sets & flag != 0 || bits == 0, step, Refused::NoEffect)?;
            Ok(from.sets & flag != 0)
        };
        let all = abi::RAWSPAWN_CAP_BOUNDING
            | abi::RAWSPAWN_CAP_SETS
            | abi::RAWSPAWN_CAP_AMBIENT
            | abi::RAWSPAWN_CAP_SECUREBITS;
        check(from.sets & !all == 0, Step::Capabilities, Refused::Unknown)?;
        let mut result = Capabilities::KEPT;
        if is_set(abi::RAWSPAWN_CAP_BOUNDING, from.bounding, Step::Bounding)? {
            result = result.bounding(CapSet::from_bits(from.bounding));
        }
        let abi::Capabilities { permitted, effective, inheritable, .. } = *from;
        let any = permitted | effective | inheritable;
        if is_set(abi::RAWSPAWN_CAP_SETS, any, Step::Capabilities)? {
            let [permitted, effective, inheritable] =
                [permitted, effective, inheritable].map(CapSet::from_bits);
            result = result.sets(permitted, effective, inheritable);
        }
        if is_set(abi::RAWSPAWN_CAP_AMBIENT, from.ambient, Step::Ambient)? {
            result = result.ambient(CapSet::from_bits(from.ambient));
        }
        if is_set(abi::RAWSPAWN_CAP_SECUREBITS, from.securebits.into(), Step::Securebits)? {
            result = result.securebits(from.securebits);
        }
        Ok(result)
    }

    fn namespaces(&self, request: &mut Request<'r>, room: &mut Room<'r>) -> Result<()> {
        let Some(from) = self.sized(self.from.namespaces, room)? else { return Ok(()) };
        check_flags(from.flags, abi::RAWSPAWN_DENY_SETGROUPS | abi::RAWSPAWN_LOOPBACK)?;
        let mut result = Namespaces::new(kinds(from.create, Step::NewNamespaces, 0)?)
            .deny_setgroups(from.flags & abi::RAWSPAWN_DENY_SETGROUPS != 0)
            .loopback(from.flags & abi::RAWSPAWN_LOOPBACK != 0);
        let join = self.list(from.join, from.join_count, Step::Join)?;
        result = result.join(room.map(join, |index, join| {
            Ok(Join::new(join.fd, kinds(join.kinds, Step::Join, index)?))
        })?);
        let uids = self.list(from.uid_map, from.uid_map_count, Step::UidMap)?;
        let gids = self.list(from.gid_map, from.gid_map_count, Step::GidMap)?;
        if !(uids.is_empty() && gids.is_empty()) {
            let range = |_, range: &abi::IdRange| {
                Ok(IdRange::new(range.inside, range.outside, range.count))
            };
            result = result.id_maps(room.map(uids, range)?, room.map(gids, range)?);
        }
        result = result.set_tid(self.list(from.set_tid, from.set_tid_count, Step::SetTid)?);
        if let Some(clocks) = self.target(from.clock_offsets) {
            result = result.clock_offsets(
                (clocks.monotonic_seconds, clocks.monotonic_nanoseconds),
                (clocks.boottime_seconds, clocks.boottime_nanoseconds),
            );
        }
        if let Some(name) = self.text(from.hostname) {
            result = result.hostname(name);
        }
        if let Some(name) = self.text(from.domainname) {
            result = result.domainname(name);
        }
        let actions = self.list(from.filesystem, from.filesystem_count, Step::FileSystem)?;
        result =
            result.filesystem(room.map(actions, |index, action| self.fs_action(action, index))?);
        if let Some(path) = self.text(from.pivot_root) {
            result = result.pivot_root(path);
        }
        request.namespaces(room.put(result)?);
        Ok(())
    }

    fn fs_action(&self, from: &abi::FsAction, index: usize) -> Result<FsAction<'r>> {
        const MOUNT: u32 = abi::Fs::Mount as u32;
        const UNMOUNT: u32 = abi::Fs::Unmount as u32;
        const MKDIR: u32 = abi::Fs::Mkdir as u32;
        const FILE: u32 = abi::Fs::File as u32;
        const SYMLINK: u32 = abi::Fs::Symlink as u32;
        const DEVICE: u32 = abi::Fs::Device as u32;
        let abi::FsAction { flags, mode, device, .. } = *from;
        let refused = |why| Error::refused(Step::FileSystem, index, why);
        // What it has: flags, source, file system and data, mode, device.
        let has = [
            flags != 0,
            !from.source.is_null(),
            !(from.fstype.is_null() && from.data.is_null()),
            mode != 0,
            device != 0,
        ];
        let may_have = match from.kind {
            MOUNT => [true, true, true, false, false],
            UNMOUNT => [true, false, false, false, false],
            MKDIR | FILE => [false, false, false, true, false],
            SYMLINK => [false, true, false, false, false],
            DEVICE => [false, false, false, true, true],
            _ => return Err(refused(Refused::Unknown)),
        };
        if exceeds(has, may_have) {
            return Err(refused(Refused::NoEffect));
        }
        let target = self.item_text(from.target, Step::FileSystem, index)?;
        let path = target;
        let or_empty = |text| self.text(text).unwrap_or(c"");
        Ok(match from.kind {
            MOUNT => FsAction::Mount {
                source: or_empty(from.source),
                target,
                fstype: or_empty(from.fstype),
                flags,
                data: or_empty(from.data),
            },
            UNMOUNT => FsAction::Unmount { target, flags },
            MKDIR => FsAction::Mkdir { path, mode },
            FILE => FsAction::File { path, mode },
            SYMLINK => {
                let contents = self.item_text(from.source, Step::FileSystem, index)?;
                FsAction::Symlink { target: contents, path }
            }
            _ => FsAction::Device { path, mode, device },
        })
    }

    fn posix(&self, request: &mut Request<'r>, room: &mut Room<'r>) -> Result<()> {
        let Some(from) = self.sized(self.from.posix, room)? else { return Ok(()) };
        check_flags(from.flags, abi::RAWSPAWN_POSIX_SETSID | abi::RAWSPAWN_POSIX_RESETIDS)?;
        let mut result = PosixSpawn::new()
            .session(from.flags & abi::RAWSPAWN_POSIX_SETSID != 0)
            .reset_ids(from.flags & abi::RAWSPAWN_POSIX_RESETIDS != 0);
        if let Some(scheduler) = scheduler(from.scheduler_policy, from.scheduler_priority)? {
            result = result.scheduler(scheduler);
        }
        if let Some(priority) = optional_int(from.priority, Step::Scheduler)? {
            result = result.priority(priority);
        }
        if let Some(pgrp) = optional_int(from.process_group, Step::ProcessGroup)? {
            result = result.process_group(pgrp);
        }
        let actions = self.list(from.actions, from.action_count, Step::FileAction)?;
        result =
            result.actions(room.map(actions, |index, action| self.file_action(action, index))?);
        request.posix(room.put(result)?);
        Ok(())
    }

    fn file_action(&self, from: &abi::FileAction, index: usize) -> Result<FileAction<'r>> {
        const CLOSE: u32 = abi::File::Close as u32;
        const OPEN: u32 = abi::File::Open as u32;
        const DUP2: u32 = abi::File::Dup2 as u32;
        const CHDIR: u32 = abi::File::Chdir as u32;
        const FCHDIR: u32 = abi::File::Fchdir as u32;
        const CLOSEFROM: u32 = abi::File::Closefrom as u32;
        const TCSETPGRP: u32 = abi::File::Tcsetpgrp as u32;
        let abi::FileAction { kind, fd, new_fd, flags, path, mode } = *from;
        let has = [fd != 0, new_fd != 0, !path.is_null(), flags != 0 || mode != 0];
        let may_have = match kind {
            OPEN => [true, false, true, true],
            DUP2 => [true, true, false, false],
            CHDIR => [false, false, true, false],
            CLOSE | FCHDIR | CLOSEFROM | TCSETPGRP => [true, false, false, false],
            _ => return Err(Error::refused(Step::FileAction, index, Refused::Unknown)),
        };
        if exceeds(has, may_have) {
            return Err(Error::refused(Step::FileAction, index, Refused::NoEffect));
        }
        let path = || self.item_text(path, Step::FileAction, index);
        Ok(match kind {
            CLOSE => FileAction::Close { fd },
            OPEN => FileAction::Open { fd, path: path()?, flags, mode },
            DUP2 => FileAction::Dup2 { fd, new_fd },
            CHDIR => FileAction::Chdir { path: path()? },
            FCHDIR => FileAction::Fchdir { fd },
            CLOSEFROM => FileAction::CloseFrom { fd },
            _ => FileAction::SetForeground { fd },
        })
    }

    fn hooks(&self, request: &mut Request<'r>, room: &mut Room<'r>) -> Result<()> {
        /// The least that a function of C's runs on.
        const LEAST_STACK: usize = 2048;
        let from = self.from;
        let is_unused = from.parent_hook.is_none() && !from.parent_hook_data.is_null();
        check(!is_unused, Step::ParentHook, Refused::NoEffect)?;
        let has_stack = !from.hook_stack.is_null();
        let size = from.hook_stack_size;
        check(has_stack || size == 0, Step::Hook, Refused::NoEffect)?;
        check(!has_stack || size >= LEAST_STACK, Step::Hook, Refused::Range)?;
        let is_unused = from.hook.is_none() && (has_stack || !from.hook_data.is_null());
        check(!is_unused, Step::Hook, Refused::NoEffect)?;
        if let Some(function) = from.parent_hook {
            let hook: &'r Callback =
                room.put(Callback { function, data: from.parent_hook_data })?;
            request.parent_hook(ParentHook::new(room.put(move |pid| hook.call(pid))?));
        }
        let Some(function) = from.hook else { return Ok(()) };
        request.hook(if has_stack {
            let start = from.hook_stack.cast::<MaybeUninit<u8>>();
            check(isize::try_from(size).is_ok(), Step::Hook, Refused::Range)?;
            // SAFETY: `new` was promised as many bytes, and that no other spawn has them.
            let stack = unsafe { slice::from_raw_parts_mut(start, size) };
            // SAFETY: rawspawn.h says what such a hook may do.
            unsafe { Hook::sharing_memory(function, from.hook_data, stack) }
        } else {
            // SAFETY: rawspawn.h says what such a hook may do.
            unsafe { Hook::new(function, from.hook_data) }
        });
        Ok(())
    }
}

/// A function of C's.
struct Callback {
    function: unsafe extern "C" fn(data: *mut c_void, pid: c_int) -> c_int,
    data: *mut c_void,
}

// SAFETY: rawspawn.h says that it runs in each thread that spawns.
unsafe impl Sync for Callback {}

impl Callback {
    fn call(&self, pid: c_int) -> core::result::Result<(), Errno> {
        // SAFETY: The function and what it is to be given.
        match unsafe { (self.function)(self.data, pid) } {
            0 => Ok(()),
            number => Err(Errno::from_raw(number).unwrap_or(Errno::EINVAL)),
        }
    }
}
