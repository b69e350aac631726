//! What the running kernel offers: found out once, by the parent.
//!
//! A plain value: `compile` takes it as an argument, and tests forge it.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::arch;
use crate::error::Error;
use crate::spawn;
use crate::sys::{self, Clone3};
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
    /// fork for a child with other credentials. That a memfd can be made is taken for granted
    /// until a spawn finds that it is refused.
    ExecMemfd = 1024,
    /// A signal that dumps core ends the process that it is sent to, and no other that shares
    /// its memory: Linux 5.16. Without it: fork, or a stub, for a child with a seccomp filter,
    /// which may kill by such a signal.
    OwnCoreDump = 2048,
}

/// What the running kernel offers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kernel(u32);

impl Feature {
    /// Every feature.
    pub const ALL: [Self; 12] = [
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
        Self::OwnCoreDump,
    ];
}

/// What has to be known of the kernel: features, and how to find out about some of them.
///
/// Only what somebody needs is asked for, as a filter may kill for a call that it does not know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    features: u32,
    /// Asks about those that few options need, which bring it along.
    ask: Option<fn(Kernel, Needs) -> Kernel>,
}

impl Needs {
    /// How a child is made.
    pub(crate) const CLONE: Self = Self {
        features: Feature::Clone3 as u32
            | Feature::ClearSighand as u32
            | Feature::SharedMemory as u32
            | Feature::Suspends as u32
            | Feature::NoExitSignal as u32,
        ask: None,
    };
    /// How descriptors are closed.
    pub(crate) const CLOSE: Self = Self {
        features: Feature::CloseRange as u32
            | Feature::CloseRangeCloexec as u32
            | Feature::ShareFds as u32,
        ask: None,
    };
    /// Whether there are pidfds.
    pub(crate) const PIDFD: Self =
        Self { features: Feature::Pidfd as u32 | Feature::ClonePidfd as u32, ask: Some(ask_more) };
    /// Whether a program is executed by a descriptor.
    pub(crate) const EXECVEAT: Self =
        Self { features: Feature::ExecMemfd as u32, ask: Some(ask_more) };
    /// Whom a core dump ends.
    pub(crate) const CORE_DUMP: Self =
        Self { features: Feature::OwnCoreDump as u32, ask: Some(ask_more) };
    /// All of that.
    const ALL: Self = Self { features: Kernel::NEWEST.0, ask: Some(ask_more) };

    /// These, and `more` if `is_so`.
    pub(crate) const fn and(self, more: Self, is_so: bool) -> Self {
        if !is_so {
            return self;
        }
        let ask = if more.ask.is_some() { more.ask } else { self.ask };
        Self { features: self.features | more.features, ask }
    }

    /// Whether one of the features of `group` is among them.
    pub(crate) const fn has(self, group: Self) -> bool {
        self.features & group.features != 0
    }
}

/// What [`Kernel`] is known to offer; in the upper half, of which features it is known.
static KNOWN: AtomicU32 = AtomicU32::new(0);

/// Where the upper half begins.
const HALF: u32 = 16;

impl Kernel {
    /// A kernel that offers everything.
    pub const NEWEST: Self = Self(4095);

    /// What valgrind passes on. It ends a program that makes a child in another way than by a
    /// fork like others', and, below 3.20, prints a warning about each pidfd.
    const VALGRIND: Self = Self::NEWEST
        .without(Feature::Clone3)
        .without(Feature::Suspends)
        .without(Feature::NoExitSignal)
        .without(Feature::Pidfd);

    /// What the running kernel offers, found out by the first call in this
    /// process: some calls that change nothing and, where `clone3` is missing, children that exit at
    /// once. (No child where it would be in another PID namespace than the caller; then nothing is
    /// remembered.) A spawn finds out no more than it needs; this finds out all, and a seccomp filter
    /// that kills for one of these calls ends the process: `close_range`, `clone3`, `pidfd_open`,
    /// `execveat`, `uname`.
    ///
    /// # Errors
    ///
    /// - [`Step::Clone`](crate::Step::Clone): no child could be made.
    pub fn current() -> Result<Self, Error> {
        Self::find(Needs::ALL)
    }

    /// Finds out anew, for instance after a seccomp filter was installed, and with a child in
    /// any case.
    ///
    /// # Errors
    ///
    /// As [`current`](Self::current).
    pub fn probe() -> Result<Self, Error> {
        Self::ask(Needs::ALL, 0, true)
    }

    /// What a kernel offers at best.
    fn best() -> Self {
        if arch::runs_on_valgrind() { Self::VALGRIND } else { Self::NEWEST }
    }

    /// What it offers of what `needs` asks about; of the rest nothing can be relied on.
    #[inline]
    pub(crate) fn find(needs: Needs) -> Result<Self, Error> {
        let known = KNOWN.load(Ordering::Relaxed);
        let missing = needs.features & !(known >> HALF);
        if missing == 0 {
            Ok(Self(known & Self::NEWEST.0))
        } else {
            Self::ask(Needs { features: missing, ..needs }, known, false)
        }
    }

    /// Finds out anew, by children, what `needs` asks about.
    #[cold]
    pub(crate) fn find_anew(needs: Needs) -> Result<Self, Error> {
        Self::ask(needs, KNOWN.load(Ordering::Relaxed), true)
    }

    /// The same kernel, or what is left of it, if it refuses by now what a child could only report
    /// to a parent that has gone on.
    #[cfg(feature = "alloc")]
    pub(crate) fn still(self, needs: Needs) -> Self {
        let none = u32::MAX;
        let marks = self.has(Feature::CloseRangeCloexec);
        let flags = if marks { CLOSE_RANGE_CLOEXEC } else { 0 };
        let asks = needs.has(Needs::CLOSE) && self.has(Feature::CloseRange);
        if !asks || sys::close_range(none, none, flags).is_ok() {
            return self;
        }
        Self::find_anew(needs).map_or(self, |now| self.and(now))
    }

    /// What both offer.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Finds out what `needs` asks about, and remembers it beside what is `known`. `by_child`: even
    /// if `clone3` says what there is.
    #[cold]
    fn ask(needs: Needs, known: u32, by_child: bool) -> Result<Self, Error> {
        let of_known = known >> HALF & !needs.features;
        // The best, but for what is known and not asked about.
        let mut kernel = Self(Self::best().0 & (known | !of_known));
        if !kernel.has(Feature::Suspends) {
            // What hangs on it may not have been asked about before.
            kernel = kernel.without(Feature::Suspends);
        }
        if needs.has(Needs::CLOSE) {
            // No descriptor has the number u32::MAX, so nothing is closed.
            let refuses = |flags| sys::close_range(u32::MAX, u32::MAX, flags).is_err();
            if refuses(CLOSE_RANGE_CLOEXEC) {
                kernel = kernel.without(Feature::CloseRangeCloexec);
            }
            if refuses(0) {
                kernel = kernel.without(Feature::CloseRange);
            }
        }
        if kernel.has(Feature::Clone3) {
            match sys::clone3_version() {
                Clone3::Missing => kernel = kernel.without(Feature::Clone3),
                Clone3::First => kernel = kernel.without(Feature::ClearSighand),
                Clone3::Newer => {}
            }
        }
        if let Some(more) = needs.ask {
            kernel = more(kernel, needs);
        }
        // Where there is clone3 it is Linux that answers, and no emulator.
        let is_linux = kernel.has(Feature::Clone3);
        let by_clone = Needs::CLONE.and(Needs::CLOSE, true).and(Needs::PIDFD, true);
        if (by_child || !is_linux) && needs.has(by_clone) {
            if sys::children_are_outside() {
                // The first child would be the init of a namespace, which dies with it. An
                // emulator is taken for one that shares nothing.
                return Ok(if is_linux { kernel } else { kernel.without(Feature::NoExitSignal) });
            }
            kernel = spawn::probe(kernel, needs)?;
        }
        let of_known = of_known | needs.features;
        KNOWN.store(kernel.0 | of_known << HALF, Ordering::Relaxed);
        Ok(kernel)
    }

    /// Has no spawn try `feature` from now on.
    pub(crate) fn forget(feature: Feature) {
        KNOWN.fetch_and(!(Self::NEWEST.0 & !Self::NEWEST.without(feature).0), Ordering::Relaxed);
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

/// Takes away what is missing of `kernel`, of the groups that few options need.
fn ask_more(mut kernel: Kernel, needs: Needs) -> Kernel {
    let no_pidfd = || sys::pidfd_open(sys::getpid()).is_err_and(|errno| !errno.is_table_full());
    if needs.has(Needs::PIDFD) && kernel.has(Feature::Pidfd) && no_pidfd() {
        // All that have clone3 have pidfds: a filter refuses one way to them.
        let by_clone = kernel.0 & Feature::ClonePidfd as u32;
        let by_clone = if kernel.has(Feature::Clone3) { by_clone } else { 0 };
        kernel = Kernel(kernel.without(Feature::Pidfd).0 | by_clone);
    }
    if needs.has(Needs::EXECVEAT) && !sys::execveat_exists() {
        kernel = kernel.without(Feature::ExecMemfd);
    }
    if needs.has(Needs::CORE_DUMP) && !sys::release_is_at_least(5, 16) {
        kernel = kernel.without(Feature::OwnCoreDump);
    }
    kernel
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
