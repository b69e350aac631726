//! What the running kernel offers: found out once, by the parent.
//!
//! A plain value: `compile` takes it as an argument, and tests forge it.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::arch;
use crate::error::Error;
use crate::spawn;
use crate::sys;
use crate::uapi::CLOSE_RANGE_CLOEXEC;

/// One thing that a kernel may lack, or a seccomp filter or emulator refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum Feature {
    /// `clone3(2)`, Linux 5.3. Below that: `clone(2)`.
    Clone3 = 1,
    /// `CLONE_CLEAR_SIGHAND`, Linux 5.5. Below that: all signals are blocked,
    /// and the child sets the action of each.
    ClearSighand = 2,
    /// `close_range(2)`, Linux 5.9. Below that: `/proc/self/fd`.
    CloseRange = 4,
    /// `CLOSE_RANGE_CLOEXEC`, Linux 5.11. Below that: the child closes.
    CloseRangeCloexec = 8,
    /// `CLONE_VM|CLONE_VFORK` shares memory. Missing in a new time namespace
    /// below Linux 6.3, and under emulators such as qemu-user. Without it: fork.
    SharedMemory = 16,
    /// `CLONE_VFORK` suspends the parent. Missing under emulators. Without it: the parent
    /// asks whether the child has executed something; or, where `NoExitSignal` is missing too,
    /// a pipe that exec closes.
    Suspends = 32,
    /// A child may send no signal at its end until it executes a program.
    /// Missing under emulators. Without it: fork, and `SIGCHLD` from a spawn that
    /// failed.
    NoExitSignal = 64,
    /// `pidfd_open(2)`, Linux 5.3.
    Pidfd = 128,
    /// `CLONE_PIDFD`, Linux 5.2. Missing under emulators. Without it: a pidfd is
    /// opened after the child was made.
    ClonePidfd = 256,
    /// A child can start with its parent's table of descriptors (`CLONE_FILES`)
    /// and then copy the low part alone (`CLOSE_RANGE_UNSHARE`, Linux 5.9).
    /// Without it: clone copies all of the table.
    ShareFds = 512,
    /// A memfd can be executed: `memfd_create(2)`, Linux 3.17, and `execveat(2)`, 3.19.
    /// Refused where `vm.memfd_noexec` is 2, and by some security modules. Without it:
    /// fork for a child with other credentials. Taken for granted until a spawn finds
    /// that it is refused.
    ExecMemfd = 1024,
}

/// What the running kernel offers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kernel(u32);

impl Feature {
    /// Every feature.
    pub const ALL: [Self; 11] = [
        Self::Clone3,
        Self::ClearSighand,
        Self::CloseRange,
        Self::CloseRangeCloexec,
        Self::SharedMemory,
        Self::Suspends,
        Self::NoExitSignal,
        Self::Pidfd,
        Self::ClonePidfd,
        Self::ShareFds,
        Self::ExecMemfd,
    ];
}

/// What [`Kernel::current`] found out; 0 before.
static CURRENT: AtomicU32 = AtomicU32::new(0);

/// Tells a found-out kernel without features from no finding.
const PROBED: u32 = 1 << 31;

impl Kernel {
    /// A kernel that offers everything.
    pub const NEWEST: Self = Self(2047);

    /// What valgrind passes on. It ends a program that makes a child in another way than by a
    /// fork like others', and, below 3.20, prints a warning about each pidfd.
    const VALGRIND: Self = Self::NEWEST
        .without(Feature::Clone3)
        .without(Feature::Suspends)
        .without(Feature::NoExitSignal)
        .without(Feature::Pidfd);

    /// What the running kernel offers, found out by the first call in this
    /// process: some harmless calls and a child that exits at once. (No child where it would
    /// be in another PID namespace than the caller; then nothing is remembered.)
    ///
    /// # Errors
    ///
    /// - [`Step::Clone`](crate::Step::Clone): no child could be made.
    pub fn current() -> Result<Self, Error> {
        let known = CURRENT.load(Ordering::Relaxed);
        if known != 0 { Ok(Self(known & !PROBED)) } else { Self::probe() }
    }

    /// Finds out anew, for instance after a seccomp filter was installed.
    ///
    /// # Errors
    ///
    /// As [`current`](Self::current).
    pub fn probe() -> Result<Self, Error> {
        let mut kernel = if arch::runs_on_valgrind() { Self::VALGRIND } else { Self::NEWEST };
        // No descriptor has the number u32::MAX, so nothing is closed.
        let none = u32::MAX;
        if sys::close_range(none, none, CLOSE_RANGE_CLOEXEC).is_err() {
            kernel = kernel.without(Feature::CloseRangeCloexec);
        }
        if sys::close_range(none, none, 0).is_err() {
            kernel = kernel.without(Feature::CloseRange);
        }
        if kernel.has(Feature::Pidfd)
            && sys::pidfd_open(sys::getpid()).is_err_and(|errno| !errno.is_table_full())
        {
            kernel = kernel.without(Feature::Pidfd);
        }
        if kernel.has(Feature::Clone3) && !sys::clone3_exists() {
            kernel = kernel.without(Feature::Clone3);
        }
        if sys::children_are_outside() {
            // The first child would be the init of a namespace, which dies with it.
            return Ok(kernel);
        }
        let kernel = spawn::probe(kernel)?;
        kernel.remember();
        Ok(kernel)
    }

    /// Has [`current`](Self::current) answer this from now on.
    pub(crate) fn remember(self) {
        CURRENT.store(self.0 | PROBED, Ordering::Relaxed);
    }

    /// Whether it offers `feature`.
    pub const fn has(self, feature: Feature) -> bool {
        self.0 & feature as u32 != 0
    }

    /// The same kernel without `feature`, and without what hangs on it.
    pub const fn without(self, feature: Feature) -> Self {
        let hangs_on_it = match feature {
            // CLEAR_SIGHAND is beyond the 32 bits of clone(2).
            Feature::Clone3 => Feature::ClearSighand as u32,
            Feature::CloseRange => Feature::CloseRangeCloexec as u32 | Feature::ShareFds as u32,
            // Who does not suspend the parent must not share with it.
            Feature::Suspends => Feature::SharedMemory as u32 | Feature::ShareFds as u32,
            Feature::Pidfd => Feature::ClonePidfd as u32,
            _ => 0,
        };
        Self(self.0 & !(feature as u32 | hangs_on_it))
    }

    /// Whether a child may share this process's memory: it can, and its exit signal
    /// tells whether it still does.
    pub(crate) const fn shares_memory(self) -> bool {
        self.has(Feature::SharedMemory) && self.has(Feature::NoExitSignal)
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Feature::ALL.iter().filter(|&&feature| self.has(feature))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Feature, Kernel};

    #[test]
    fn features_go_together_with_what_they_hang_on() {
        for feature in Feature::ALL {
            assert!(Kernel::NEWEST.has(feature));
            assert!(!Kernel::NEWEST.without(feature).has(feature));
        }
        assert!(!Kernel::NEWEST.without(Feature::Clone3).has(Feature::ClearSighand));
        assert!(!Kernel::NEWEST.without(Feature::CloseRange).has(Feature::CloseRangeCloexec));
        assert!(!Kernel::NEWEST.without(Feature::NoExitSignal).shares_memory());
        for feature in [Feature::SharedMemory, Feature::ShareFds] {
            assert!(!Kernel::NEWEST.without(Feature::Suspends).has(feature));
        }
    }
}
