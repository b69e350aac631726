//! Namespaces: the maps of their ids, those that are joined or new, and what is in them.

use linux_raw_sys::general::{
    AT_FDCWD, FUTEX_WAIT, MNT_DETACH, MS_BIND, MS_REC, MS_SLAVE, O_CLOEXEC, O_RDONLY, S_IFREG,
    SIGKILL, timespec,
};
use linux_raw_sys::prctl::PR_SET_PDEATHSIG;

use super::{Input, ids, write_file};
use crate::errno::Errno;
use crate::error::Error;
use crate::kernel::Feature;
use crate::namespaces::{FsAction, Namespaces, NsSet};
use crate::plan::op::{Arg, Saved, Tag, sys};
use crate::plan::{Step, Writer, tables};
use crate::request::Groups;
use crate::spawn::around::{BECOMES_ROOT, CHILD_MAPS, WAITS, with_line};
use crate::text::Digits;
use crate::uapi::{AF_INET, IFF_RUNNING, IFF_UP, SIOCSIFFLAGS, SOCK_DGRAM};

/// The kernel takes no more ranges.
const MOST_RANGES: usize = 340;

/// How long a child waits, in case nobody will ever release it: the init of a PID namespace
/// cannot tell whether its parent was killed before it asked for its own death then.
static PATIENCE: timespec = timespec { tv_sec: 3600, tv_nsec: 0 };

/// The maps of ids, or a wait until the parent has written them.
pub(crate) fn arrive<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    tables::link();
    let around = input.caller.around;
    if let Some(namespaces) = input.request.namespaces {
        check(namespaces, input)?;
        if around.has(CHILD_MAPS) {
            maps(plan, namespaces);
        }
    }
    if around.has(WAITS) {
        // Who waits for a parent that dies, or is dead, must not wait for ever.
        let tag = Tag::new(Step::Wait);
        plan.push(tag, sys!(PRCTL, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
        if input.caller.pid != 0 {
            plan.push(tag, sys!(GETPPID)).expect(input.caller.pid as u32);
        }
        // EAGAIN: it need not wait any more. Nothing was kept yet but where to wait.
        let wait = sys!(FUTEX, Saved, FUTEX_WAIT, 0, Arg::ptr(&PATIENCE));
        plan.push(tag, wait).again().ok(Errno::EAGAIN);
        plan.push(tag, sys!(PRCTL, PR_SET_PDEATHSIG, 0, 0, 0, 0));
    }
    Ok(())
}

/// Refuses what cannot be.
fn check(namespaces: &Namespaces<'_>, input: &Input<'_>) -> Result<(), Error> {
    let invalid = |step, index| Err(Error::new(step, 0, Errno::EINVAL).with_index(index));
    if let Some(maps) = namespaces.id_maps {
        if !namespaces.new.contains(NsSet::USER) {
            return invalid(Step::UidMap, 0);
        }
        for (step, ranges) in [(Step::UidMap, maps.uids), (Step::GidMap, maps.gids)] {
            let empty = ranges.iter().position(|range| range.count == 0);
            let refused = empty.or((ranges.len() > MOST_RANGES).then_some(MOST_RANGES));
            if let Some(index) = refused {
                return invalid(step, index);
            }
        }
    }
    if !namespaces.pids.is_empty() && !input.kernel.has(Feature::Clone3) {
        return Err(Error::new(Step::SetTid, 0, Errno::ENOSYS));
    }
    let single = NsSet::PID.with(NsSet::USER);
    let mut seen = namespaces.new;
    for (index, join) in namespaces.join.iter().enumerate() {
        let twice = seen.bits() & join.kinds.bits() & single.bits() != 0;
        if twice || join.kinds.is_empty() {
            return invalid(Step::Join, index);
        }
        let fine = super::fds::refuse_overwritten(input.request, join.fd, Step::Join);
        fine.map_err(|error| error.with_index(index))?;
        seen = seen.with(join.kinds);
    }
    let is_own = |kind| !namespaces.separates(kind);
    let furnishes = !namespaces.filesystem.is_empty();
    let is_users = namespaces.new.contains(NsSet::USER);
    for (step, is_asked, is_refused) in [
        (Step::GidMap, namespaces.denies_setgroups, !is_users),
        (Step::ClockOffsets, namespaces.clocks.is_some(), !namespaces.new.contains(NsSet::TIME)),
        (Step::Hostname, namespaces.hostname.is_some(), is_own(NsSet::UTS)),
        (Step::Domainname, namespaces.domainname.is_some(), is_own(NsSet::UTS)),
        (Step::Loopback, namespaces.loopback, is_own(NsSet::NET)),
        (Step::FileSystem, furnishes, is_own(NsSet::MOUNT)),
        (Step::PivotRoot, namespaces.pivot_root.is_some(), is_own(NsSet::MOUNT)),
    ] {
        if is_asked && is_refused {
            return invalid(step, 0);
        }
    }
    Ok(())
}

/// Writes the maps of a child that may do so itself: each of the one id that it has.
fn maps(plan: &mut Writer<'_>, namespaces: &Namespaces<'_>) {
    let (uids, gids) = namespaces.id_maps.map_or((&[][..], &[][..]), |maps| (maps.uids, maps.gids));
    let mut write = |step, path, text: &[&[u8]]| write_file(plan, Tag::new(step), -1, path, text);
    for range in uids {
        with_line(*range, |text| write(Step::UidMap, c"/proc/self/uid_map", text));
    }
    // Or a group that denies something could be dropped.
    if !gids.is_empty() || namespaces.denies_setgroups {
        write(Step::GidMap, c"/proc/self/setgroups", &[b"deny"]);
    }
    for range in gids {
        with_line(*range, |text| write(Step::GidMap, c"/proc/self/gid_map", text));
    }
}

/// Joins namespaces and makes new ones, and gives them what the kernel leaves open.
#[allow(clippy::unnecessary_wraps)] // a stage like others
pub(crate) fn enter<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    let Some(namespaces) = input.request.namespaces else { return Ok(()) };
    for (index, join) in namespaces.join.iter().enumerate() {
        // A PID namespace was entered by the parent.
        let kinds = join.kinds.without(NsSet::PID);
        if !kinds.is_empty() {
            plan.push(Tag::item(Step::Join, index), sys!(SETNS, join.fd, kinds.bits()));
        }
    }
    let tag = Tag::new(Step::NewNamespaces);
    let new = namespaces.new.without(NsSet::BY_CLONE);
    if !new.is_empty() {
        plan.push(tag, sys!(UNSHARE, new.bits()));
    }
    if new.contains(NsSet::TIME) {
        clocks(plan, namespaces);
        // unshare(2) left it to the next child, whose clocks cannot be set any more.
        let path = c"/proc/self/ns/time_for_children";
        plan.push(tag, sys!(OPENAT, -1, path, O_RDONLY | O_CLOEXEC)).save();
        plan.push(tag, sys!(SETNS, Saved, NsSet::TIME.bits()));
        plan.push(tag, sys!(CLOSE, Saved)).ok_any();
    }
    if new.contains(NsSet::MOUNT) {
        // Nothing that is mounted in it is to show outside.
        plan.push(tag, sys!(MOUNT, c"", c"/", c"", MS_REC | MS_SLAVE, c""));
    }
    if let Some(name) = namespaces.hostname {
        plan.push(Tag::new(Step::Hostname), sys!(SETHOSTNAME, name, name.count_bytes()));
    }
    if let Some(name) = namespaces.domainname {
        plan.push(Tag::new(Step::Domainname), sys!(SETDOMAINNAME, name, name.count_bytes()));
    }
    if namespaces.loopback {
        let tag = Tag::new(Step::Loopback);
        let request = plan.value(Ifreq::LOOPBACK_UP);
        plan.push(tag, sys!(SOCKET, AF_INET, SOCK_DGRAM | O_CLOEXEC, 0)).save();
        plan.push(tag, sys!(IOCTL, Saved, SIOCSIFFLAGS, request));
        plan.push(tag, sys!(CLOSE, Saved)).ok_any();
    }
    filesystem(plan, input, namespaces);
    Ok(())
}

/// Sets the clocks of a time namespace that nobody is in yet.
fn clocks(plan: &mut Writer<'_>, namespaces: &Namespaces<'_>) {
    let Some(clocks) = namespaces.clocks else { return };
    let [monotonic, boottime] =
        clocks.map(|(seconds, nanos)| [seconds, nanos.into()].map(Digits::decimal));
    let text = [
        b"monotonic ",
        monotonic[0].as_bytes(),
        b" ",
        monotonic[1].as_bytes(),
        b"\nboottime ",
        boottime[0].as_bytes(),
        b" ",
        boottime[1].as_bytes(),
    ];
    write_file(plan, Tag::new(Step::ClockOffsets), -1, c"/proc/self/timens_offsets", &text);
}

/// What is mounted, and then the root.
fn filesystem<'a>(plan: &mut Writer<'a>, input: &Input<'a>, namespaces: &'a Namespaces<'a>) {
    if input.caller.around.has(BECOMES_ROOT) {
        if matches!(input.request.groups, Groups::Auto) {
            ids::drop_groups(plan);
        }
        plan.push(Tag::new(Step::Gid), sys!(SETRESGID, 0, 0, 0));
        plan.push(Tag::new(Step::Uid), sys!(SETRESUID, 0, 0, 0));
    }
    let tag = Tag::new(Step::PivotRoot);
    if let Some(root) = namespaces.pivot_root {
        // Of a tree that is not mounted as such, or that others see too.
        plan.push(tag, sys!(MOUNT, root, root, c"", MS_BIND | MS_REC, c""));
    }
    for (index, action) in namespaces.filesystem.iter().enumerate() {
        furnish(plan, Tag::item(Step::FileSystem, index), action);
    }
    if let Some(root) = namespaces.pivot_root {
        plan.push(tag, sys!(CHDIR, root));
        // The new root on top of the old one, at the same place: no directory is needed for
        // the old, and what is unmounted there is the old. pivot_root(2).
        plan.push(tag, sys!(PIVOT_ROOT, c".", c"."));
        plan.push(tag, sys!(UMOUNT2, c".", MNT_DETACH));
        plan.push(tag, sys!(CHDIR, c"/"));
    }
}

fn furnish<'a>(plan: &mut Writer<'a>, tag: Tag, action: &FsAction<'a>) {
    match *action {
        FsAction::Mount { source, target, fstype, flags, data } => {
            plan.push(tag, sys!(MOUNT, source, target, fstype, flags, data));
        }
        FsAction::Unmount { target, flags } => {
            plan.push(tag, sys!(UMOUNT2, target, flags));
        }
        FsAction::Mkdir { path, mode } => {
            plan.push(tag, sys!(MKDIRAT, AT_FDCWD, path, mode)).ok(Errno::EEXIST);
        }
        FsAction::File { path, mode } => {
            let (flags, mode) = (S_IFREG | mode, 0);
            plan.push(tag, sys!(MKNODAT, AT_FDCWD, path, flags, mode)).ok(Errno::EEXIST);
        }
        FsAction::Symlink { target, path } => {
            plan.push(tag, sys!(SYMLINKAT, target, AT_FDCWD, path)).ok(Errno::EEXIST);
        }
        FsAction::Device { path, mode, device } => {
            plan.push(tag, sys!(MKNODAT, AT_FDCWD, path, mode, device));
        }
    }
}

/// `struct ifreq` of `linux/if.h`, as far as flags go.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Ifreq {
    name: [u8; 16],
    flags: u16,
    pad: [u8; 22],
}
const _: () = assert!(size_of::<Ifreq>() == 40);

impl Ifreq {
    const LOOPBACK_UP: Self = Self {
        name: *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        flags: IFF_UP | IFF_RUNNING,
        pad: [0; 22],
    };
}
