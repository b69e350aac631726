//! The descriptors of the child: moved, opened, closed.

use linux_raw_sys::general::{AT_FDCWD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, FD_CLOEXEC, O_CLOEXEC};

use super::{Caller, Input};
use crate::errno::Errno;
use crate::error::Error;
use crate::kernel::{Feature, Kernel};
use crate::mode::Mode;
use crate::plan::op::{Arg, InFrame, Saved, Tag, sys};
use crate::plan::{Step, Writer};
use crate::request::{CurrentDir, Exec, FdAction, OtherFds, RawFd, Request};
use crate::spawn::around::{EXPOSES, WAITS};
use crate::spawn::fallback::{Others, mark_others};
use crate::spawn::fork::tells_by_pipe;
use crate::uapi::{CLOSE_RANGE_CLOEXEC, CLOSE_RANGE_UNSHARE};

/// The highest of the standard streams, which a child has unless told otherwise.
const STDERR: RawFd = 2;

/// Descriptors moved, then opened, then closed.
pub(crate) fn stage<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    look_at_singles(plan, input.request);
    moves(plan, input.request)?;
    opens(plan, input.request);
    closes(plan, input.request);
    Ok(())
}

/// Looks at each descriptor that a later step uses, before any has been opened here: one that
/// is not open must be an error, and not the file that got its number.
fn look_at_singles(plan: &mut Writer<'_>, request: &Request<'_>) {
    let opens = |action: &FdAction<'_>| !matches!(action, FdAction::Close { .. });
    if request.fds.iter().any(opens) {
        used_after_moves(request, &mut |tag, fd| {
            plan.push(tag, sys!(FCNTL, fd, F_GETFD));
        });
    }
}

/// A move of the parallel assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move {
    index: usize,
    parent_fd: RawFd,
    child_fd: RawFd,
}

/// The moves of `actions`, without those of a descriptor onto itself.
fn real_moves<'a>(actions: &'a [FdAction<'a>]) -> impl Iterator<Item = Move> + Clone + 'a {
    actions.iter().enumerate().filter_map(|(index, action)| match *action {
        FdAction::Map { parent_fd, child_fd } if parent_fd != child_fd => {
            Some(Move { index, parent_fd, child_fd })
        }
        _ => None,
    })
}

/// Moves descriptors, as a parallel assignment.
///
/// A move may run once nothing is still to be read from its target. When none
/// may, what is left are rings: then one target is copied to a number of the
/// kernel's choice, which is free by definition, and its ring unwinds.
fn moves<'a>(plan: &mut Writer<'a>, request: &'a Request<'a>) -> Result<(), Error> {
    let actions = request.fds;
    if actions.is_empty() {
        return Ok(());
    }
    check(actions)?;
    for (index, action) in actions.iter().enumerate() {
        if let FdAction::Map { parent_fd, child_fd } = *action {
            if parent_fd == child_fd {
                plan.push(Tag::item(Step::Move, index), sys!(FCNTL, child_fd, F_SETFD, 0));
            }
        }
    }
    let Some(mut pending) = Pending::new(plan, actions.len()) else {
        // No room: count what the moves take at most, with a ring for every two. A high number
        // that stays may become a move from a low one: `LowFds`.
        let may_move = |action: &&FdAction<'_>| match **action {
            FdAction::Map { parent_fd, child_fd } => parent_fd != child_fd || parent_fd >= HIGH,
            _ => false,
        };
        for _ in 0..actions.iter().filter(may_move).count().saturating_mul(5).div_ceil(2) {
            plan.push(Tag::new(Step::Move), sys!(DUP3));
        }
        return Ok(());
    };
    let todo = || real_moves(actions);
    let mut checked = false;
    loop {
        let mut progress = false;
        for m in todo() {
            if pending.has(m) && !todo().any(|n| pending.has(n) && n.parent_fd == m.child_fd) {
                plan.push(m.tag(), sys!(DUP3, m.parent_fd, m.child_fd, 0));
                pending.remove(m);
                progress = true;
            }
        }
        if progress {
            continue;
        }
        let Some(first) = todo().find(|m| pending.has(*m)) else { return Ok(()) };
        if !checked {
            // A number that a ring reads and that is not open must not be the one
            // that the kernel chooses.
            for m in todo().filter(|m| pending.has(*m)) {
                plan.push(m.tag(), sys!(FCNTL, m.parent_fd, F_GETFD));
            }
            checked = true;
        }
        let least = 0;
        plan.push(first.tag(), sys!(FCNTL, first.child_fd, F_DUPFD_CLOEXEC, least)).save();
        let mut m = first;
        while m.parent_fd != first.child_fd {
            plan.push(m.tag(), sys!(DUP3, m.parent_fd, m.child_fd, 0));
            pending.remove(m);
            let Some(next) = todo().find(|n| pending.has(*n) && n.child_fd == m.parent_fd) else {
                return Ok(()); // not reached: what is left are rings
            };
            m = next;
        }
        plan.push(m.tag(), sys!(DUP3, Saved, m.child_fd, 0));
        pending.remove(m);
    }
}

impl Move {
    fn tag(self) -> Tag {
        Tag::item(Step::Move, self.index)
    }
}

/// Which moves are still to be planned: a bit each, in the plan's arena.
struct Pending<'a>(&'a mut [usize]);

impl<'a> Pending<'a> {
    fn new(plan: &mut Writer<'a>, count: usize) -> Option<Self> {
        plan.zeroed(count.div_ceil(usize::BITS as usize)).map(Self)
    }

    fn place(m: Move) -> (usize, usize) {
        (m.index / usize::BITS as usize, 1 << (m.index % usize::BITS as usize))
    }

    fn has(&self, m: Move) -> bool {
        let (word, bit) = Self::place(m);
        self.0.get(word).is_some_and(|word| word & bit == 0)
    }

    fn remove(&mut self, m: Move) {
        let (word, bit) = Self::place(m);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }
}

/// Refuses negative numbers, and two actions about the same one.
fn check(actions: &[FdAction<'_>]) -> Result<(), Error> {
    for (index, action) in actions.iter().enumerate() {
        let step = match action {
            FdAction::Map { .. } => Step::Move,
            FdAction::Open { .. } => Step::Open,
            FdAction::Close { .. } => Step::Close,
        };
        let refuse = |errno| Err(Error::new(step, 0, errno).with_index(index));
        let parent_fd = if let FdAction::Map { parent_fd, .. } = action { *parent_fd } else { 0 };
        if action.child_fd() < 0 || parent_fd < 0 {
            return refuse(Errno::EBADF);
        }
        let mut earlier = actions.iter().take(index);
        if earlier.any(|earlier| earlier.child_fd() == action.child_fd()) {
            return refuse(Errno::EINVAL);
        }
    }
    Ok(())
}

/// Opens files.
///
/// The kernel picks the lowest free number, which may be `child_fd` itself; a
/// child that cannot branch must not care. So: open close-on-exec, `dup3` (equal
/// numbers give EINVAL, which is fine), clear close-on-exec. The first copy
/// closes itself at exec. The target is closed first for devices that can be
/// opened but once, and for a child at its limit.
fn opens<'a>(plan: &mut Writer<'a>, request: &'a Request<'a>) {
    for (index, action) in request.fds.iter().enumerate() {
        if let FdAction::Open { child_fd, path, flags, mode } = *action {
            let tag = Tag::item(Step::Open, index);
            let flags = flags | O_CLOEXEC as i32;
            plan.push(tag, sys!(CLOSE, child_fd)).ok_any();
            plan.push(tag, sys!(OPENAT, AT_FDCWD, path, flags, mode)).save();
            plan.push(tag, sys!(DUP3, Saved, child_fd, 0)).ok(Errno::EINVAL);
            plan.push(tag, sys!(FCNTL, child_fd, F_SETFD, 0));
        }
    }
}

/// Closes what the request names. Linux frees the number whatever it answers.
fn closes<'a>(plan: &mut Writer<'a>, request: &'a Request<'a>) {
    for (index, action) in request.fds.iter().enumerate() {
        if let FdAction::Close { child_fd } = *action {
            plan.push(Tag::item(Step::Close, index), sys!(CLOSE, child_fd)).ok_any();
        }
    }
}

/// A source from here on makes it a copy by clone: measured, that is as fast for a
/// thousand descriptors, and twice as fast for many thousand.
const TOO_HIGH: RawFd = 1024;

/// A source from here on is worth a low number, if there is one to be had: the two calls that it
/// takes cost as much as the copy of that many descriptors.
pub(crate) const HIGH: RawFd = 256;

/// The highest descriptor that is copied, if the child starts with its parent's
/// table and copies the part that it needs: clone would copy all.
///
/// The kernel copies in words of a bitmap, 64 at a time. To cut off in between would
/// have it close the rest of a word at once, while the parent waits; what is marked
/// instead is closed at exec, when the parent has gone on.
///
/// A hook may look at any descriptor. And the table that is shared has the pidfd
/// too, which must not become a source that is not open; nor must what a parent opens
/// for whom the child waits. And who can reach the child must not reach its parent's.
pub(super) fn last_copied(
    request: &Request<'_>,
    kernel: Kernel,
    caller: &Caller<'_>,
) -> Option<u32> {
    let mut last = STDERR;
    let shares = kernel.has(Feature::ShareFds)
        && request.other_fds == OtherFds::Close
        && request.hook.is_none()
        && !request.tells_of_exec()
        && (!request.pidfd || caller.sources_open)
        && !caller.around.has(WAITS | EXPOSES)
        && all_sources(request, &mut |fd| {
            last = last.max(fd);
            fd < TOO_HIGH
        });
    // What is negative is refused elsewhere.
    shares.then_some(last as u32 | 63)
}

/// Copies the low descriptors, which the child needs, and no other.
#[inline]
pub(super) fn drop_high(plan: &mut Writer<'_>, input: &Input<'_>) {
    if let Some(last) = input.last_copied {
        let tag = Tag::new(Step::CloseOthers);
        plan.push(tag, sys!(CLOSE_RANGE, last + 1, u32::MAX, CLOSE_RANGE_UNSHARE));
    }
}

/// How descriptors are closed at the end of a plan.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// The kernel marks a range, and exec closes what is marked.
    Mark,
    /// The kernel closes a range.
    Close,
    /// The child lists what is open, and marks it.
    List,
}

/// Whether a descriptor tells of the exec, an emulated parent, that of a stub or of a fork
/// that the C library makes, or whoever asked:
/// it lasts until then.
pub(super) fn tells_of_exec(Input { request, kernel, mode, caller, .. }: &Input<'_>) -> bool {
    request.tells_of_exec()
        || match mode {
            Mode::Stub => true,
            Mode::Fork => {
                request.is_forked() || tells_by_pipe(*kernel, caller.around, request.leave_dead)
            }
            Mode::Vfork | Mode::Detached => false,
        }
}

fn closing(input: &Input<'_>) -> Closing {
    let Input { request, kernel, .. } = input;
    // What a hook makes inheritable is to reach the program: until then it must be there.
    let lasts = tells_of_exec(input) || request.hook.is_some();
    // A busy file may be so by a descriptor of the caller's, which the child has
    // a copy of: closed, not marked, or no retry would help.
    let wants_closing = request.busy_retries > 0 && !lasts;
    if !kernel.has(Feature::CloseRange) {
        Closing::List
    } else if kernel.has(Feature::CloseRangeCloexec) && !wants_closing {
        Closing::Mark
    } else if lasts {
        Closing::List
    } else {
        Closing::Close
    }
}

/// Calls `function` of `fallback`: in memory that is shared on a stack of its own.
#[allow(clippy::inline_always)] // most programs have one of its two calls
#[inline(always)]
pub(super) fn call_fallback<'a>(
    plan: &mut Writer<'a>,
    input: &Input<'_>,
    tag: Tag,
    function: *const (),
    data: Arg<'a>,
) {
    match input.mode {
        Mode::Fork => plan.call(tag, function, data, Arg::ZERO),
        _ => plan.call(tag, function, data, InFrame(0)),
    }
}

/// Closes what the request does not name, by what the kernel offers.
pub(super) fn close_others<'a>(plan: &mut Writer<'a>, input: &Input<'a>) {
    let request = input.request;
    if request.other_fds == OtherFds::Inherit {
        return;
    }
    let tag = Tag::new(Step::CloseOthers);
    let (flags, exec) = match (closing(input), request.exec) {
        (Closing::List, _) => {
            let others = plan.value(Others(request.fds));
            call_fallback(plan, input, tag, mark_others as *const (), others);
            return;
        }
        (Closing::Mark, _) => (CLOSE_RANGE_CLOEXEC, None),
        // What exec reads is passed over, and marked.
        (Closing::Close, Exec::Fd(fd)) if !request.fds.iter().any(|a| a.child_fd() == fd) => {
            plan.push(tag, sys!(FCNTL, fd, F_SETFD, FD_CLOEXEC)).ok(Errno::EBADF);
            (0, Some(fd))
        }
        (Closing::Close, _) => (0, None),
    };
    // Above what was copied there is nothing but what the child has made; before a stub,
    // more may be copied.
    let last = match (input.mode, input.last_copied) {
        (Mode::Stub, _) | (_, None) => u32::MAX,
        (_, Some(last)) => last,
    };
    let mut first = STDERR as u32 + 1;
    while first <= last {
        let kept = next_kept(request.fds, exec, first).filter(|kept| *kept <= last);
        if kept != Some(first) {
            let last = kept.map_or(last, |kept| kept - 1);
            plan.push(tag, sys!(CLOSE_RANGE, first, last, flags));
        }
        match kept {
            Some(kept) => first = kept + 1,
            None => return,
        }
    }
}

/// The lowest number from `first` on that `actions` or `also` keep.
fn next_kept(actions: &[FdAction<'_>], also: Option<RawFd>, first: u32) -> Option<u32> {
    let kept = actions.iter().filter(|action| action.is_kept()).map(FdAction::child_fd);
    // What is negative is refused elsewhere.
    let kept = kept.chain(also).filter_map(|fd| u32::try_from(fd).ok());
    kept.filter(|fd| *fd >= first).min()
}

/// The descriptors of the caller's that the child uses but does not map, besides those
/// that it joins. The first it uses after the moves, for these steps.
fn singles(request: &Request<'_>) -> [Option<RawFd>; 6] {
    let dir = if let Some(CurrentDir::Fd(fd)) = request.cwd { Some(fd) } else { None };
    let exec = if let Exec::Fd(fd) = request.exec { Some(fd) } else { None };
    [dir, exec, request.landlock, request.ctty, request.foreground, request.cgroup]
}

const AFTER_MOVES: [Step; 3] = [Step::CurrentDir, Step::Exec, Step::Landlock];

/// Tells of the descriptors of the caller's that the child uses after the moves.
pub(super) fn used_after_moves(request: &Request<'_>, tell: &mut dyn FnMut(Tag, RawFd)) {
    for (step, fd) in AFTER_MOVES.into_iter().zip(singles(request)) {
        if let Some(fd) = fd {
            tell(Tag::new(step), fd);
        }
    }
    (request.around.all_joins)(request, &mut |tag, fd| {
        tell(tag, fd);
        true
    });
}

/// Whether there are any.
pub(crate) fn uses_after_moves(request: &Request<'_>) -> bool {
    let mut any = false;
    used_after_moves(request, &mut |_, _| any = true);
    any
}

/// Whether a table that is shared would be copied up to a high number for the sake of
/// maps alone.
pub(crate) fn needs_maps_only(request: &Request<'_>, high: &dyn Fn(RawFd) -> bool) -> bool {
    request.other_fds == OtherFds::Close
        && request.hook.is_none()
        && all_but_maps(request, &mut |fd| !high(fd))
}

/// Whether `is_fine` holds for each descriptor of the caller's that the child
/// uses, besides 0, 1 and 2.
#[inline(never)]
pub(crate) fn all_sources(request: &Request<'_>, is_fine: &mut dyn FnMut(RawFd) -> bool) -> bool {
    all_but_maps(request, is_fine)
        && request.fds.iter().all(|action| match *action {
            FdAction::Map { parent_fd, .. } => is_fine(parent_fd),
            _ => true,
        })
}

#[inline]
fn all_but_maps(request: &Request<'_>, is_fine: &mut dyn FnMut(RawFd) -> bool) -> bool {
    singles(request).iter().flatten().all(|fd| is_fine(*fd))
        && (request.namespaces.is_none()
            || (request.around.all_joins)(request, &mut |_, fd| is_fine(fd)))
}

/// Whether a step after the moves would find another file at `fd`.
pub(super) fn is_overwritten(request: &Request<'_>, fd: RawFd) -> bool {
    request.fds.iter().any(|action| {
        let same = matches!(action, FdAction::Map { parent_fd, .. } if *parent_fd == fd);
        action.child_fd() == fd && !same
    })
}

/// Refuses `fd`, which `step` is to use after the moves, if it is not the caller's by then.
pub(super) fn refuse_overwritten(
    request: &Request<'_>,
    fd: RawFd,
    step: Step,
) -> Result<(), Error> {
    if fd < 0 {
        return Err(Error::new(step, 0, Errno::EBADF));
    }
    if is_overwritten(request, fd) {
        return Err(Error::new(step, 0, Errno::EINVAL));
    }
    Ok(())
}

/// Whether the request names the descriptor `fd`, in the caller or the child.
pub(crate) fn names(request: &Request<'_>, fd: RawFd) -> bool {
    request.fds.iter().any(|action| action.child_fd() == fd)
        || request.posix.is_some_and(|posix| posix.actions.iter().any(|action| action.names(fd)))
        || !all_sources(request, &mut |source| source != fd)
}

#[cfg(test)]
mod tests;
