//! Constants of the kernel that `linux-raw-sys` lacks.

/// The numbers of system calls.
pub(crate) mod nr {
    pub(crate) use sc::nr::*;

    /// Linux 5.13; the same on every architecture.
    pub(crate) const LANDLOCK_RESTRICT_SELF: usize = 446;
}

/// `seccomp(2)`: install a filter. `linux/seccomp.h`, Linux 3.17.
pub(crate) const SECCOMP_SET_MODE_FILTER: u32 = 1;

/// `close_range(2)`: copy what is not in the range, if the table is shared.
/// `linux/close_range.h`, Linux 5.9.
pub(crate) const CLOSE_RANGE_UNSHARE: u32 = 2;

/// `close_range(2)`: mark instead of close. `linux/close_range.h`, Linux 5.11.
pub(crate) const CLOSE_RANGE_CLOEXEC: u32 = 4;

/// `ioprio_set(2)`: one process or thread. `linux/ioprio.h`, Linux 2.6.13.
pub(crate) const IOPRIO_WHO_PROCESS: u32 = 1;

/// `socket(2)`: the protocols of IPv4, packets.
pub(crate) const AF_INET: u32 = 2;
pub(crate) const SOCK_DGRAM: u32 = 2;

/// `ioctl(2)` of a socket: sets the flags of a network device. netdevice(7).
pub(crate) const SIOCSIFFLAGS: u32 = 0x8914;
pub(crate) const IFF_UP: u16 = 0x1;
pub(crate) const IFF_RUNNING: u16 = 0x40;
