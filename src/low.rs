//! Low descriptors, reserved for spawns.

use core::sync::atomic::{AtomicU32, Ordering};

use linux_raw_sys::general::{O_CLOEXEC, O_PATH};

use crate::compile::{self, HIGH};
use crate::errno::Errno;
use crate::fd::Fd;
use crate::request::{FdAction, RawFd, Request};
use crate::sys;

/// Low numbers of descriptors, kept free for spawns.
///
/// A child copies its parent's table up to the highest descriptor that it is given.
/// In a process with thousands open, a new pipe has a high number, and the copy is
/// long. Low numbers, claimed while there are some, avoid that: see
/// [`Request::spawn_with`](crate::Request::spawn_with).
///
/// Threads share it without a lock. The numbers are its own as long as it lives: they
/// are open, on the root directory, and close-on-exec.
#[derive(Debug)]
pub struct LowFds {
    /// Of which `count` are ours.
    fds: [RawFd; Self::MOST],
    count: usize,
    /// A bit for each of them that no spawn has.
    free: AtomicU32,
    /// What those refer to that no spawn has.
    idle: Fd,
}

impl LowFds {
    /// How many can be claimed at most.
    pub const MOST: usize = 16;

    /// Claims the `count` lowest free numbers above 2, and one more. A spawn takes one
    /// for each [`FdAction::Map`] of a high source.
    ///
    /// # Errors
    ///
    /// `EINVAL`: more than [`MOST`](Self::MOST); `EMFILE`, `ENFILE`.
    ///
    /// # See
    ///
    /// open(2), `O_PATH`; fcntl(2), `F_DUPFD_CLOEXEC`.
    pub fn claim(count: usize) -> Result<Self, Errno> {
        if count > Self::MOST {
            return Err(Errno::EINVAL);
        }
        let root = Fd::new(sys::open(c"/", O_PATH | O_CLOEXEC)?);
        let idle = if root.raw() > 2 { root } else { sys::duplicate(root.raw(), 3)? };
        // Any number will do; one that is all 0 or all 1 would be a call of memset.
        let fds = [idle.raw(); Self::MOST];
        let mut low = Self { fds, count: 0, free: AtomicU32::new(0), idle };
        for fd in low.fds.iter_mut().take(count) {
            *fd = sys::duplicate(low.idle.raw(), 3)?.into_raw();
            *low.free.get_mut() |= 1 << low.count;
            low.count += 1;
        }
        Ok(low)
    }

    fn fds(&self) -> impl Iterator<Item = RawFd> {
        self.fds.iter().take(self.count).copied()
    }

    /// Takes a number that `is_fit`, if one is free: its bit, and itself.
    fn take(&self, is_fit: &dyn Fn(RawFd) -> bool) -> Option<(u32, RawFd)> {
        for (place, fd) in self.fds().enumerate() {
            let bit = 1 << place;
            let taken = is_fit(fd)
                // Acquire: what the one before did to the number is done.
                && self.free.fetch_and(!bit, Ordering::Acquire) & bit != 0;
            if taken {
                return Some((bit, fd));
            }
        }
        None
    }
}

impl Drop for LowFds {
    fn drop(&mut self) {
        self.fds().for_each(sys::close);
    }
}

/// What one spawn has taken.
pub(crate) struct Lent<'l> {
    low: &'l LowFds,
    /// The bits of the numbers.
    taken: u32,
}

impl<'l> Lent<'l> {
    /// Writes the actions of `request` to `actions`, with numbers of `low` for their
    /// high sources. `None`: the child would not copy less, there are too few
    /// numbers, a source may have locks, or is not open, which is for the child to find.
    pub(crate) fn new<'a>(
        low: &'l LowFds,
        request: &Request<'a>,
        actions: &mut [FdAction<'a>; LowFds::MOST],
    ) -> Option<Self> {
        let high = |fd: RawFd| fd >= HIGH;
        if !compile::needs_maps_only(request, &high) {
            return None;
        }
        let is_fit = |fd| !compile::names(request, fd);
        let mut lent = Self { low, taken: 0 };
        let actions = actions.get_mut(..request.fds.len())?;
        for (action, asked) in actions.iter_mut().zip(request.fds) {
            *action = *asked;
            if let FdAction::Map { parent_fd, .. } = action {
                if high(*parent_fd) {
                    // To close the low number drops the locks that this process has on the file.
                    if !sys::has_no_locks(*parent_fd) {
                        return None;
                    }
                    let (bit, low_fd) = low.take(&is_fit)?;
                    lent.taken |= bit;
                    sys::replace(*parent_fd, low_fd).ok()?;
                    *parent_fd = low_fd;
                }
            }
        }
        (lent.taken != 0).then_some(lent)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        for (place, fd) in self.low.fds().enumerate() {
            if self.taken >> place & 1 == 1 {
                // Or the end of a pipe would stay open. It cannot fail: both are open.
                let _ = sys::replace(self.low.idle.raw(), fd);
            }
        }
        // Release: who takes them next finds them idle.
        self.low.free.fetch_or(self.taken, Ordering::Release);
    }
}
