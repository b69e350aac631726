//! Constants of the kernel that `linux-raw-sys` lacks.

/// `close_range(2)`: copy what is not in the range, if the table is shared.
/// `linux/close_range.h`, Linux 5.9.
pub(crate) const CLOSE_RANGE_UNSHARE: u32 = 2;

/// `close_range(2)`: mark instead of close. `linux/close_range.h`, Linux 5.11.
pub(crate) const CLOSE_RANGE_CLOEXEC: u32 = 4;

/// `ioprio_set(2)`: one process or thread. `linux/ioprio.h`, Linux 2.6.13.
pub(crate) const IOPRIO_WHO_PROCESS: u32 = 1;
