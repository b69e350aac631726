//! Sets of signals, as the kernel lays them out.

use core::fmt;

use linux_raw_sys::general as uapi;

/// A set of signals `1..=64`: a bit each, real-time signals included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct SigSet(pub(crate) u64);

impl SigSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);

    /// Every signal, 32 and 33 included, which C libraries keep to themselves.
    pub const ALL: Self = Self(u64::MAX);

    /// The set with `signal` in it. A number outside `1..=64` changes nothing.
    pub const fn with(self, signal: i32) -> Self {
        if signal >= 1 && signal <= 64 { Self(self.0 | 1 << (signal - 1)) } else { self }
    }

    /// The set without `signal`.
    pub const fn without(self, signal: i32) -> Self {
        if signal >= 1 && signal <= 64 { Self(self.0 & !(1 << (signal - 1))) } else { self }
    }

    /// Whether `signal` is in the set.
    pub const fn contains(self, signal: i32) -> bool {
        signal >= 1 && signal <= 64 && self.0 >> (signal - 1) & 1 == 1
    }

    /// The set whose bit *n* - 1 is signal *n*: a kernel `sigset_t`.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits of the set.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The signals in the set, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = i32> {
        let mut left = self.0;
        core::iter::from_fn(move || {
            let signal = left.trailing_zeros() as i32 + 1;
            left &= left.wrapping_sub(1);
            (signal <= 64).then_some(signal)
        })
    }

    /// `SIGKILL` and `SIGSTOP`, whose action nobody can change.
    pub(crate) const UNCHANGEABLE: Self =
        Self::EMPTY.with(uapi::SIGKILL as i32).with(uapi::SIGSTOP as i32);
}

impl fmt::Debug for SigSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::SigSet;

    #[test]
    fn numbers_outside_the_range_change_nothing() {
        for signal in [i32::MIN, -1, 0, 65, i32::MAX] {
            assert_eq!(SigSet::EMPTY.with(signal), SigSet::EMPTY);
            assert_eq!(SigSet::ALL.without(signal), SigSet::ALL);
            assert!(!SigSet::ALL.contains(signal));
        }
        assert_eq!(SigSet::EMPTY.with(1).with(64).bits(), 1 << 63 | 1);
    }

    #[test]
    fn a_set_lists_its_signals_in_order() {
        assert!(SigSet::EMPTY.iter().eq([]));
        assert!(SigSet::EMPTY.with(64).with(1).with(33).iter().eq([1, 33, 64]));
        assert!(SigSet::ALL.iter().eq(1..=64));
    }
}
