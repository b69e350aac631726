//! Sets of capabilities, and what a child is to have of them.

use core::fmt;

/// A set of capabilities by their numbers, `0..=63`: `CAP_*` of capabilities(7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct CapSet(u64);

impl CapSet {
    /// No capability.
    pub const EMPTY: Self = Self(0);

    /// Every capability, those of later kernels included.
    pub const ALL: Self = Self(u64::MAX);

    /// The set with `capability` in it. A number above 63 changes nothing.
    pub const fn with(self, capability: u32) -> Self {
        if capability < 64 { Self(self.0 | 1 << capability) } else { self }
    }

    /// The set without `capability`.
    pub const fn without(self, capability: u32) -> Self {
        if capability < 64 { Self(self.0 & !(1 << capability)) } else { self }
    }

    /// Whether `capability` is in the set.
    pub const fn contains(self, capability: u32) -> bool {
        capability < 64 && self.0 >> capability & 1 == 1
    }

    /// The set whose bit *n* is capability *n*, as `/proc/self/status` has it.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits of the set.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The capabilities in the set, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        (0..64).filter(move |capability| self.contains(*capability))
    }
}

impl fmt::Debug for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// What a child may do, whoever it is: its five sets of capabilities, and securebits.
///
/// There is but one order in which they can be set, which is the spawn's, whatever the
/// order of the calls here: securebits and the bounding set while the child has
/// `CAP_SETPCAP`; the ids; then the other sets, which a change of the uid would clear.
///
/// ```
/// use rawspawn::{Buffer, CapSet, Capabilities, Exec, Request, argv};
///
/// const NET_BIND_SERVICE: u32 = 10;
/// let may_bind = Capabilities::only(CapSet::EMPTY.with(NET_BIND_SERVICE));
/// let mut request = Request::new(Exec::Path(c"/usr/sbin/httpd"), argv![c"httpd"]);
/// request.uid(33).gid(33).capabilities(&may_bind).no_new_privs(true);
/// # request.env(argv![]);
/// println!("{}", request.plan(&mut Buffer::<96>::new())?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Capabilities {
    pub(crate) bounding: Option<CapSet>,
    pub(crate) sets: Option<Sets>,
    pub(crate) ambient: Option<CapSet>,
    pub(crate) securebits: Option<u32>,
}

/// What `capset(2)` sets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sets {
    pub(crate) permitted: CapSet,
    pub(crate) effective: CapSet,
    pub(crate) inheritable: CapSet,
}

impl Capabilities {
    /// Those of the caller, as far as a change of the ids leaves them.
    pub const KEPT: Self = Self { bounding: None, sets: None, ambient: None, securebits: None };

    /// The program has the capabilities of `set`, no others, and can get no others:
    /// whoever it runs as, and whatever it executes.
    pub const fn only(set: CapSet) -> Self {
        Self::KEPT.bounding(set).sets(set, set, set).ambient(set)
    }

    /// Limits the bounding set to `set`: what no exec can exceed.
    pub const fn bounding(mut self, set: CapSet) -> Self {
        self.bounding = Some(set);
        self
    }

    /// Sets what the child has until its exec, and what that may pass on.
    ///
    /// The permitted set of a program that is not root's comes from the ambient one, and
    /// from what its file has that is `inheritable`.
    pub const fn sets(mut self, permitted: CapSet, effective: CapSet, inheritable: CapSet) -> Self {
        self.sets = Some(Sets { permitted, effective, inheritable });
        self
    }

    /// Sets the ambient set: what a program has that is not root's and whose file has no
    /// capabilities. Each must be in the permitted and the inheritable set.
    ///
    /// Linux 4.3.
    pub const fn ambient(mut self, set: CapSet) -> Self {
        self.ambient = Some(set);
        self
    }

    /// Sets the securebits, `SECBIT_*` of capabilities(7).
    pub const fn securebits(mut self, bits: u32) -> Self {
        self.securebits = Some(bits);
        self
    }

    /// All that the child must still have when it sets them.
    pub(crate) const fn needed(&self) -> CapSet {
        let mut needed = 0;
        if let Some(Sets { permitted, effective, inheritable }) = self.sets {
            needed |= permitted.0 | effective.0 | inheritable.0;
        }
        if let Some(ambient) = self.ambient {
            needed |= ambient.0;
        }
        if self.bounding.is_some() || self.securebits.is_some() {
            needed |= 1 << linux_raw_sys::general::CAP_SETPCAP;
        }
        CapSet(needed)
    }
}

#[cfg(test)]
mod tests {
    use super::{CapSet, Capabilities};

    #[test]
    fn numbers_outside_the_range_change_nothing() {
        for number in [64, 65, u32::MAX] {
            assert_eq!(CapSet::EMPTY.with(number), CapSet::EMPTY);
            assert_eq!(CapSet::ALL.without(number), CapSet::ALL);
            assert!(!CapSet::ALL.contains(number));
        }
        assert!(CapSet::EMPTY.with(63).with(0).iter().eq([0, 63]));
    }

    #[test]
    fn what_is_needed_is_all_that_is_set_and_the_right_to_set_it() {
        assert_eq!(Capabilities::KEPT.needed(), CapSet::EMPTY);
        let needed = Capabilities::only(CapSet::EMPTY.with(10)).needed();
        assert!(needed.iter().eq([8, 10]));
    }
}
