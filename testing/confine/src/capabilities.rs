//! Capabilities: what a container is left with of root's.

use std::io::{Error, Result};

/// By number, from 0 on.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// The bit of `CAP_SYS_ADMIN`.
pub(crate) const SYS_ADMIN: u64 = 1 << 21;

/// The bit of the capability `name`.
pub(crate) fn bit(name: &str) -> Option<u64> {
    NAMES.iter().position(|known| *known == name).map(|number| 1 << number)
}

/// `struct __user_cap_header_struct` of linux/capability.h: its version 3, this thread.
const HEADER: [u32; 2] = [0x2008_0522, 0];

/// `struct __user_cap_data_struct`, the low halves and then the high ones.
type Data = [[u32; 3]; 2];

const EFFECTIVE: usize = 0;
const PERMITTED: usize = 1;
const INHERITABLE: usize = 2;

fn get() -> Result<Data> {
    let mut data = Data::default();
    // SAFETY: The kernel reads the header and writes what version 3 has.
    let result = unsafe { libc::syscall(libc::SYS_capget, HEADER.as_ptr(), data.as_mut_ptr()) };
    if result == 0 { Ok(data) } else { Err(Error::last_os_error()) }
}

/// What this process may have.
pub(crate) fn permitted() -> std::result::Result<u64, String> {
    let data = get().map_err(|error| format!("capget: {error}"))?;
    Ok(u64::from(data[1][PERMITTED]) << 32 | u64::from(data[0][PERMITTED]))
}

/// Gives up all but `kept`, for good.
pub(crate) fn limit(kept: u64) -> Result<()> {
    for number in 0..NAMES.len() {
        // SAFETY: Touches no memory.
        let has = unsafe { libc::prctl(libc::PR_CAPBSET_READ, number, 0, 0, 0) };
        if kept >> number & 1 == 0 && has == 1 {
            // SAFETY: As above.
            let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
            if result != 0 {
                return Err(Error::last_os_error());
            }
        }
    }
    let mut data = get()?;
    for (half, sets) in data.iter_mut().enumerate() {
        let kept = (kept >> (32 * half)) as u32;
        sets[PERMITTED] &= kept;
        sets[EFFECTIVE] &= kept;
        sets[INHERITABLE] = 0;
    }
    // SAFETY: The kernel reads both.
    let result = unsafe { libc::syscall(libc::SYS_capset, HEADER.as_ptr(), data.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}
