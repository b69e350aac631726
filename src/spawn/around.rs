//! What the parent does around the clone: it enters a PID namespace, chooses a pid, and
//! has the child wait while it maps ids or runs a hook.
//!
//! The child waits for a word of its frame, which both have in any mode. That takes no
//! descriptor, which would have to be kept from others, and nothing of the plan, which several
//! spawns may share; and nobody but the parent can write it, as they could send a signal.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_int};
use core::mem::MaybeUninit;
use core::slice;
use core::sync::atomic::Ordering;

use linux_raw_sys::general as uapi;

use super::forked::Fork;
use super::made::{Born, failure};
use super::traced::{is_traced, is_traced_now};
use super::{Made, Wishes, unnamed};
use crate::compile::service;
use crate::errno::Errno;
use crate::error::Error;
use crate::fd::Fd;
use crate::namespaces::{IdRange, Namespaces, NsSet};
use crate::plan::op::{Frame, Tag};
use crate::plan::{Plan, Step};
#[cfg(feature = "std")]
use crate::request::FdAction;
use crate::request::{RawFd, Request};
use crate::sys;
use crate::text::Digits;

/// What a request brings along.
#[derive(Debug)]
pub(crate) struct AroundFns {
    pub(crate) look: fn(&Request<'_>) -> Wanted,
    pub(super) make: unsafe fn(&Plan<'_>, &Frame, u32) -> Result<Made, Error>,
    /// Whether the closure says so of each descriptor that is joined.
    pub(crate) all_joins: fn(&Request<'_>, &mut dyn FnMut(Tag, RawFd) -> bool) -> bool,
}

/// For one that asks for nothing of this.
pub(crate) static PLAIN: AroundFns =
    AroundFns { look: |_| Wanted::NOTHING, make: make_plain, all_joins: |_, _| true };

/// For one that does.
pub(crate) static AROUND: AroundFns = AroundFns { look, make, all_joins };

/// What is to be done for one request, by this parent: of the constants below, and the
/// `CLONE_NEW*` of the clone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted(u32);

impl Wanted {
    pub(crate) const NOTHING: Self = Self(0);

    /// Whether one of `bits` is.
    pub(crate) const fn has(self, bits: u32) -> bool {
        self.0 & bits != 0
    }
}

/// The same, for a plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around<'a> {
    pub(crate) fns: &'static AroundFns,
    /// `None` in a plan that outlives its request, and needs no more than the flags.
    request: Option<&'a Request<'a>>,
    pub(crate) wanted: Wanted,
}

/// The child waits.
pub(crate) const WAITS: u32 = 1;
/// It writes the maps of its ids.
pub(crate) const CHILD_MAPS: u32 = 2;
/// In its namespaces others could reach a child's memory.
pub(crate) const EXPOSES: u32 = 4;
/// Some step works on the child's memory.
pub(crate) const OWN_MEMORY: u32 = 8;
/// It has other credentials, by a user namespace that it joins or as `posix_spawn(3)` resets
/// them.
pub(crate) const CREDENTIALS: u32 = 16;
/// It does not see its parent.
pub(crate) const OTHER_PIDS: u32 = 32;
/// Its own user is in no range that is mapped, and could make no file: it becomes root of
/// its user namespace for that.
pub(crate) const BECOMES_ROOT: u32 = 64;
/// The kernel would set its OOM score for a parent that shares memory and goes on.
pub(crate) const SHARES_SCORE: u32 = 128;
/// It blocks signals, and must open its mask.
pub(crate) const SHIELDS: u32 = 256;
/// Somebody traces its parent, and would lose it, or the child: that is asked of one that waits,
/// runs a hook or could be a stub.
pub(crate) const TRACED: u32 = 512;

/// What of the bits is for clone(2), which has those above for its exit signal.
const FLAGS: u32 = NsSet::BY_CLONE.bits();

/// Looks at what `request` wants, and at what this process is.
fn look(request: &Request<'_>) -> Wanted {
    let mut bits = 0;
    let mut put = |bit, is_so| bits |= if is_so { bit } else { 0 };
    put(WAITS, request.parent_hook.is_some());
    put(OWN_MEMORY, request.coredump_filter.is_some() || service::writes_pid(request));
    if let Some(namespaces) = request.namespaces {
        let is_new = namespaces.new.contains(NsSet::USER);
        // With a hook, the parent: the child waits before it makes any other step.
        let maps_itself = is_new && request.parent_hook.is_none() && maps_itself(namespaces);
        put(namespaces.new.bits() & FLAGS, true);
        put(CHILD_MAPS, maps_itself);
        let has_maps = namespaces.id_maps.is_some();
        put(WAITS, has_maps && !maps_itself);
        let furnishes = !namespaces.filesystem.is_empty() || namespaces.pivot_root.is_some();
        let is_nobody = || namespaces.mapped_uid(sys::geteuid()).is_none();
        put(BECOMES_ROOT, has_maps && furnishes && is_nobody());
        // Whoever is of the parent's user owns a new user namespace, and may do all in it;
        // to the parent perhaps not.
        put(EXPOSES, namespaces.pid_join().is_some() || is_new);
        put(OWN_MEMORY, namespaces.separates(NsSet::TIME));
        put(CREDENTIALS, namespaces.joined().contains(NsSet::USER));
        put(OTHER_PIDS, namespaces.separates(NsSet::PID));
    }
    if let Some(posix) = request.posix {
        let is_other = || sys::getuid() != sys::geteuid() || sys::getgid() != sys::getegid();
        put(CREDENTIALS, posix.resets_ids && is_other());
        put(SHIELDS, posix.takes_foreground());
    }
    if bits & WAITS != 0 && request.oom_score_adj.is_some() {
        bits |= SHARES_SCORE;
    }
    let runs = request.hook.is_some() || bits & WAITS != 0;
    if runs && is_traced_now() || !runs && request.stub.is_some() && is_traced() {
        bits |= TRACED;
    }
    Wanted(bits)
}

/// Whether the maps have no id but the caller's own, which a child may write itself.
fn maps_itself(namespaces: &Namespaces<'_>) -> bool {
    let is_own = |ranges: &[IdRange], id: u32| match ranges {
        [] => true,
        [range] => range.count == 1 && range.outside == id,
        _ => false,
    };
    namespaces
        .id_maps
        .is_none_or(|maps| is_own(maps.uids, sys::geteuid()) && is_own(maps.gids, sys::getegid()))
}

impl<'a> Around<'a> {
    pub(crate) fn new(request: &'a Request<'a>, wanted: Wanted) -> Self {
        Self { fns: request.around, request: Some(request), wanted }
    }

    /// The `CLONE_NEW*` of the clone.
    pub(crate) fn flags(self) -> u32 {
        self.wanted.0 & FLAGS
    }

    /// The request of the plan, unless that outlives it.
    pub(super) fn request(self) -> Option<&'a Request<'a>> {
        self.request
    }

    /// The pids that are asked for.
    fn pids(self) -> &'a [c_int] {
        self.namespaces().map_or(&[], |namespaces| namespaces.pids)
    }

    fn namespaces(self) -> Option<&'a Namespaces<'a>> {
        self.request.and_then(|request| request.namespaces)
    }

    /// What makes the child, if that is not the kernel's clone.
    pub(crate) fn fork(self) -> Option<&'a Fork> {
        self.request.and_then(|request| request.hook.as_ref()?.fork.as_ref())
    }

    /// The descriptors that the request sets up.
    #[cfg(feature = "std")]
    pub(crate) fn actions(self) -> &'a [FdAction<'a>] {
        self.request.map_or(&[], |request| request.fds)
    }

    /// Whether `fd` is that of a PID namespace to join.
    pub(crate) fn joins(self, fd: RawFd) -> bool {
        let join = self.namespaces().and_then(Namespaces::pid_join);
        join.is_some_and(|(_, joined)| joined == fd)
    }

    /// Whether there is more to be done than to clone with flags.
    pub(crate) fn needs_request(self) -> bool {
        let asks = |n: &Namespaces<'_>| !n.pids.is_empty() || n.pid_join().is_some();
        self.wanted.has(WAITS) || self.namespaces().is_some_and(asks)
    }

    /// What is left of it without its request: the flags.
    #[cfg(feature = "alloc")]
    pub(crate) fn flags_only<'b>(self) -> Around<'b> {
        Around { request: None, ..self }
    }
}

fn all_joins(request: &Request<'_>, is_fine: &mut dyn FnMut(Tag, RawFd) -> bool) -> bool {
    let joins = request.namespaces.map_or(&[][..], |namespaces| namespaces.join);
    let mut joins = joins.iter().enumerate();
    joins.all(|(index, join)| is_fine(Tag::item(Step::Join, index), join.fd))
}

/// [`super::make`], for a plan with nothing around the clone.
///
/// # Safety
///
/// As for that.
unsafe fn make_plain(plan: &Plan<'_>, frame: &Frame, flags: u32) -> Result<Made, Error> {
    let wishes = Wishes { flags, cgroup: plan.cgroup, pids: &[] };
    // SAFETY: The caller's promises.
    match unsafe { super::clone_for(plan, frame, wishes) } {
        // SAFETY: The caller's promises, until the child has left: this waits for that.
        Ok(born) => Ok(unsafe { Made::new(plan, frame, flags, born) }),
        Err(errno) => Err(Error::new(step_of_clone(plan, errno), 0, errno)),
    }
}

/// The same, with what there is.
///
/// # Safety
///
/// As for that.
unsafe fn make(plan: &Plan<'_>, frame: &Frame, flags: u32) -> Result<Made, Error> {
    // SAFETY: The caller's promises.
    let clone = |wishes: Wishes<'_>| unsafe { super::clone_for(plan, frame, wishes) };
    // SAFETY: As above.
    unsafe { make_by(plan, frame, flags, clone) }
}

/// The same, with a child that `clone` makes. One that waits must not make its parent wait.
///
/// # Safety
///
/// As for that, of such a child.
pub(crate) unsafe fn make_by(
    plan: &Plan<'_>,
    frame: &Frame,
    flags: u32,
    clone: impl FnOnce(Wishes<'_>) -> Result<Born, Errno>,
) -> Result<Made, Error> {
    let around = plan.around;
    let failed = |errno| Error::new(step_of_clone_with(plan, errno), 0, errno);
    let waits = around.wanted.has(WAITS);
    // A parent for whom its child waits must not be suspended.
    let flags = match flags & (uapi::CLONE_VM | uapi::CLONE_VFORK) {
        0 | uapi::CLONE_VM => flags,
        _ if !waits => flags,
        uapi::CLONE_VFORK => flags & !uapi::CLONE_VFORK,
        _ => flags & !uapi::CLONE_VFORK | uapi::CLONE_CHILD_CLEARTID,
    };
    let wishes = Wishes { flags: flags | around.flags(), cgroup: plan.cgroup, pids: around.pids() };
    let home = enter(plan)?;
    let born = clone(wishes).map_err(failed);
    drop(home);
    // SAFETY: The caller's promises, until the child has left: this waits for that.
    let mut made = unsafe { Made::new(plan, frame, flags, born?) };
    if let (true, Some(request)) = (waits, around.request) {
        made.set_waits(true);
        if let Err(error) = release(request, around.wanted, frame, made.pid()) {
            drop(made);
            // A child that has failed meanwhile is why the parent could do nothing for it.
            return Err(failure(plan, frame).unwrap_or(error));
        }
        made.set_waits(false);
    }
    Ok(made)
}

/// What failed, if clone gives `errno`.
fn step_of_clone(plan: &Plan<'_>, errno: Errno) -> Step {
    let of_cgroup = plan.cgroup.is_some() && concerns_cgroup(errno);
    if of_cgroup { Step::Cgroup } else { Step::Clone }
}

/// Whether clone gives `errno` for want of the cgroup alone.
const fn concerns_cgroup(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EBADF
            | Errno::ENOENT
            | Errno::EACCES
            | Errno::EBUSY
            | Errno::ENODEV
            | Errno::EOPNOTSUPP
    )
}

/// The same, if there may be more that fails.
fn step_of_clone_with(plan: &Plan<'_>, errno: Errno) -> Step {
    let has_pids = !plan.around.pids().is_empty();
    match errno {
        Errno::EPERM | Errno::EINVAL | Errno::EEXIST | Errno::E2BIG if has_pids => Step::SetTid,
        Errno::EPERM | Errno::EINVAL | Errno::ENOSPC | Errno::EUSERS
            if plan.around.flags() != 0 =>
        {
            Step::NewNamespaces
        }
        _ => step_of_clone(plan, errno),
    }
}

/// The way back from a PID namespace.
struct Home(Fd);

impl Drop for Home {
    fn drop(&mut self) {
        // It cannot fail: it has just been done.
        let _ = sys::setns(self.0.raw(), NsSet::PID.bits());
    }
}

/// Has the calling thread's children be in the PID namespace that the child is to join,
/// until [`Home`] is dropped.
fn enter(plan: &Plan<'_>) -> Result<Option<Home>, Error> {
    let Some((index, fd)) = plan.around.namespaces().and_then(Namespaces::pid_join) else {
        return Ok(None);
    };
    let failed = |errno| Error::new(Step::Join, 0, errno).with_index(index);
    // Or what is opened here, the way back, could get its number.
    if !sys::is_open(fd) {
        return Err(failed(Errno::EBADF));
    }
    let path = c"/proc/thread-self/ns/pid_for_children";
    let home = sys::open(path, uapi::O_RDONLY | uapi::O_CLOEXEC).map_err(failed)?;
    let home = unnamed(plan, Fd::new(home)).map_err(failed)?;
    // Where we are: who may not come back must not leave.
    sys::setns(home.raw(), NsSet::PID.bits()).map_err(failed)?;
    sys::setns(fd, NsSet::PID.bits()).map_err(failed)?;
    Ok(Some(Home(home)))
}

fn release(request: &Request<'_>, wanted: Wanted, frame: &Frame, pid: c_int) -> Result<(), Error> {
    if let Some(namespaces) = request.namespaces.filter(|_| !wanted.has(CHILD_MAPS)) {
        write_maps(namespaces, pid)?;
    }
    if let Some(hook) = request.parent_hook {
        hook.run(pid).map_err(|errno| Error::new(Step::ParentHook, 0, errno))?;
    }
    frame.released.store(1, Ordering::Release);
    sys::futex_wake(&frame.released);
    Ok(())
}

/// Writes what the ids of the child's user namespace are.
fn write_maps(namespaces: &Namespaces<'_>, pid: c_int) -> Result<(), Error> {
    let (uids, gids) = namespaces.id_maps.map_or((&[][..], &[][..]), |maps| (maps.uids, maps.gids));
    // Without privileges the kernel takes the map of groups only then.
    if namespaces.denies_setgroups || !gids.is_empty() && maps_itself(namespaces) {
        write(pid, b"/setgroups", Step::GidMap, |text| text.put(b"deny"))?;
    }
    for (name, step, ranges) in
        [(&b"/uid_map"[..], Step::UidMap, uids), (b"/gid_map", Step::GidMap, gids)]
    {
        if ranges.is_empty() {
            continue;
        }
        write(pid, name, step, |text| {
            for range in ranges {
                with_line(*range, |parts| parts.iter().for_each(|part| text.put(part)));
            }
        })?;
    }
    Ok(())
}

/// Writes a file of `/proc/PID`, by one call: the kernel takes a map no other way.
///
/// Not inline: who has no map to write needs no stack for one.
#[inline(never)]
fn write(pid: c_int, name: &[u8], step: Step, fill: impl Fn(&mut Text)) -> Result<(), Error> {
    let failed = |errno| Error::new(step, 0, errno);
    let mut text = Text { bytes: [MaybeUninit::uninit(); MOST_TEXT], length: 0 };
    fill(&mut text);
    let bytes = text.as_bytes().ok_or(failed(Errno::EINVAL))?;
    let mut path = [0u8; 64];
    let path = path_of(pid, name, &mut path);
    let file = sys::open(path, uapi::O_WRONLY | uapi::O_CLOEXEC).map(Fd::new).map_err(failed)?;
    let written = sys::write(file.raw(), bytes).map_err(failed)?;
    if written == bytes.len() { Ok(()) } else { Err(failed(Errno::EIO)) }
}

/// The kernel takes less than a page.
const MOST_TEXT: usize = 4095;

/// A text that is to be written at once.
struct Text {
    bytes: [MaybeUninit<u8>; MOST_TEXT],
    /// Of all that was put, whether there was room or not.
    length: usize,
}

impl Text {
    fn put(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(place) = self.bytes.get_mut(self.length) {
                // Volatile, or LLVM makes this a call of memcpy, which a program without a
                // C library does not have.
                // SAFETY: A byte of ours.
                unsafe { place.as_mut_ptr().write_volatile(*byte) };
            }
            self.length = self.length.saturating_add(1);
        }
    }

    /// `None` if there was no room.
    fn as_bytes(&self) -> Option<&[u8]> {
        let bytes = self.bytes.get(..self.length)?;
        // SAFETY: `put` has written the first `length` of them.
        Some(unsafe { slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) })
    }
}

/// The line of a map for `range`, in parts.
pub(crate) fn with_line<R>(range: IdRange, tell: impl FnOnce(&[&[u8]]) -> R) -> R {
    let IdRange { inside, outside, count } = range;
    let [inside, outside, count] =
        [inside, outside, count].map(|number| Digits::decimal(number.into()));
    tell(&[inside.as_bytes(), b" ", outside.as_bytes(), b" ", count.as_bytes(), b"\n"])
}

/// The path of a file of `/proc` about the process `pid`, in `buffer`.
pub(crate) fn path_of<'b>(pid: c_int, name: &[u8], buffer: &'b mut [u8; 64]) -> &'b CStr {
    let digits = Digits::decimal(pid.into());
    let bytes = b"/proc/".iter().chain(digits.as_bytes()).chain(name).chain(&[0]);
    for (place, byte) in buffer.iter_mut().zip(bytes) {
        *place = *byte;
    }
    CStr::from_bytes_until_nul(buffer).unwrap_or_default()
}
