//! What the library itself asks of the kernel. That in `posix-spawn/` takes this file, too.

use core::mem::MaybeUninit;
use core::slice;

use rawspawn::{Errno, RawFd};

/// Pages of this process, as long as it lives.
pub(crate) struct Pages {
    start: *mut MaybeUninit<u8>,
    size: usize,
}

impl Pages {
    /// Maps `size` bytes. Those that are not touched cost nothing.
    pub(crate) fn map(size: usize) -> Result<Self, Errno> {
        const READ_WRITE: usize = 3;
        const PRIVATE_ANONYMOUS: usize = 0x22;
        let none = usize::MAX;
        // SAFETY: Pages that nobody has yet.
        let start =
            unsafe { sc::syscall6(sc::nr::MMAP, 0, size, READ_WRITE, PRIVATE_ANONYMOUS, none, 0) };
        match Errno::from_result(start) {
            Some(errno) => Err(errno),
            None => Ok(Self { start: start as *mut MaybeUninit<u8>, size }),
        }
    }

    pub(crate) fn bytes(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: As many are mapped, and nobody else has them.
        unsafe { slice::from_raw_parts_mut(self.start, self.size) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: Mapped, and borrowed by nobody any more.
        unsafe { sc::syscall2(sc::nr::MUNMAP, self.start as usize, self.size) };
    }
}

/// Closes `fd`, which is the caller's.
pub(crate) fn close(fd: RawFd) {
    // SAFETY: close(2) touches no memory.
    unsafe { sc::syscall1(sc::nr::CLOSE, fd as usize) };
}

/// Ends the process, as what cannot be has happened.
pub(crate) fn abort() -> ! {
    const SIGABRT: usize = 6;
    loop {
        // SAFETY: Touches no memory.
        let pid = unsafe { sc::syscall0(sc::nr::GETPID) };
        // SAFETY: As above, and ends the process.
        unsafe { sc::syscall2(sc::nr::KILL, pid, SIGABRT) };
        // SAFETY: As above, if that was blocked.
        unsafe { sc::syscall1(sc::nr::EXIT_GROUP, 128 + SIGABRT) };
    }
}
