//! How a child ended.

use core::fmt;

use crate::text::Digits;

/// A wait status, as waitpid(2) gives it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct WaitStatus(i32);

impl WaitStatus {
    /// The status with the bits `raw`.
    pub const fn from_raw(raw: i32) -> Self {
        Self(raw)
    }

    /// From the `si_code` and `si_status` of waitid(2).
    pub(crate) const fn from_siginfo(code: i32, status: i32) -> Self {
        const CLD_EXITED: i32 = 1;
        const CLD_DUMPED: i32 = 3;
        const CLD_TRAPPED: i32 = 4;
        const CLD_STOPPED: i32 = 5;
        const CLD_CONTINUED: i32 = 6;
        match code {
            CLD_EXITED => Self((status & 0xff) << 8),
            CLD_DUMPED => Self(status & 0x7f | 0x80),
            CLD_TRAPPED | CLD_STOPPED => Self(status << 8 | 0x7f),
            CLD_CONTINUED => Self(0xffff),
            _ => Self(status & 0x7f),
        }
    }

    /// Whether it is that of a process which has ended, and not of one that was stopped or
    /// continued.
    pub(crate) const fn is_end(self) -> bool {
        self.0 & 0xff != 0x7f && !self.continued()
    }

    /// The bits.
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// Whether the program exited with status 0.
    pub const fn success(self) -> bool {
        self.0 == 0
    }

    /// The exit status, `0..=255`; `None` if a signal killed the program.
    /// `WIFEXITED` and `WEXITSTATUS`.
    pub const fn code(self) -> Option<i32> {
        match self.0 & 0x7f {
            0 => Some(self.0 >> 8 & 0xff),
            _ => None,
        }
    }

    /// The signal that killed the program. `WIFSIGNALED` and `WTERMSIG`.
    pub const fn signal(self) -> Option<i32> {
        let signal = self.0 & 0x7f;
        if signal != 0 && signal != 0x7f { Some(signal) } else { None }
    }

    /// Whether the kernel tried to write a core file. `WCOREDUMP`.
    pub const fn core_dumped(self) -> bool {
        self.signal().is_some() && self.0 & 0x80 != 0
    }

    /// The signal that stopped the program. `WIFSTOPPED` and `WSTOPSIG`.
    pub const fn stopped_signal(self) -> Option<i32> {
        if self.0 & 0xff == 0x7f { Some(self.0 >> 8 & 0xff) } else { None }
    }

    /// Whether the program was continued. `WIFCONTINUED`.
    pub const fn continued(self) -> bool {
        self.0 == 0xffff
    }
}

impl fmt::Display for WaitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, number) = if let Some(code) = self.code() {
            ("exit status: ", code)
        } else if let Some(signal) = self.signal() {
            ("signal: ", signal)
        } else if self.continued() {
            return f.write_str("continued");
        } else if let Some(signal) = self.stopped_signal() {
            ("stopped by signal: ", signal)
        } else {
            ("wait status: ", self.0)
        };
        f.write_str(what)?;
        Digits::decimal(number.into()).write_to(f)?;
        f.write_str(if self.core_dumped() { " (core dumped)" } else { "" })
    }
}

impl fmt::Debug for WaitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WaitStatus(")?;
        fmt::Display::fmt(self, f)?;
        f.write_str(")")
    }
}

#[cfg(feature = "std")]
impl From<WaitStatus> for std::process::ExitStatus {
    fn from(status: WaitStatus) -> Self {
        std::os::unix::process::ExitStatusExt::from_raw(status.0)
    }
}

#[cfg(test)]
mod tests {
    use super::WaitStatus;

    #[test]
    #[cfg(feature = "std")]
    fn every_status_is_decoded_as_std_does() {
        use std::os::unix::process::ExitStatusExt;
        for raw in 0..=0x1_ffff {
            let ours = WaitStatus::from_raw(raw);
            let std = std::process::ExitStatus::from_raw(raw);
            assert_eq!(ours.code(), std.code(), "{raw:#x}");
            assert_eq!(ours.signal(), std.signal(), "{raw:#x}");
            assert_eq!(ours.core_dumped(), std.core_dumped(), "{raw:#x}");
            assert_eq!(ours.stopped_signal(), std.stopped_signal(), "{raw:#x}");
            assert_eq!(ours.continued(), std.continued(), "{raw:#x}");
            assert_eq!(ours.success(), std.success(), "{raw:#x}");
        }
    }

    #[test]
    fn a_siginfo_becomes_the_status_of_waitpid() {
        assert_eq!(WaitStatus::from_siginfo(1, 7).code(), Some(7));
        assert_eq!(WaitStatus::from_siginfo(2, 9).signal(), Some(9));
        let dumped = WaitStatus::from_siginfo(3, 11);
        assert_eq!((dumped.signal(), dumped.core_dumped()), (Some(11), true));
        // An event of ptrace(2), which is above the signal.
        for (code, status, raw) in
            [(4, 5, 0x57f), (4, 0x405, 0x4_057f), (5, 19, 0x137f), (6, 18, 0xffff)]
        {
            let stopped = WaitStatus::from_siginfo(code, status);
            assert_eq!((stopped.raw(), stopped.is_end()), (raw, false));
        }
        assert!(dumped.is_end() && WaitStatus::default().is_end());
    }
}
