//! The only Rust that a child runs: hooks, which are the caller's, and closing
//! the other descriptors where the kernel has no `close_range`.
//!
//! How many descriptors there are is known in the child only, and a plan has no
//! loop. In a child that shares memory this code has a stack of its own, and
//! calls nothing but `sys`: no thread-local storage, no C library, no panic.

use core::ffi::c_void;
use core::mem::MaybeUninit;

use linux_raw_sys::general::{
    F_SETFD, FD_CLOEXEC, O_CLOEXEC, O_DIRECTORY, O_RDONLY, linux_dirent64,
};

use crate::errno::Errno;
use crate::fd::Fd;
use crate::request::{FdAction, Hook, RawFd};
use crate::sys;

/// Words of stack for [`mark_others`] in a child that shares memory.
pub(crate) const STACK_WORDS: usize = 768;

/// Without `/proc`, how many descriptors are closed one by one at most.
const MOST_BY_NUMBER: u64 = 65_536;

/// What [`mark_others`] leaves alone: the descriptors that these actions make.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Others<'a>(pub(crate) &'a [FdAction<'a>]);

impl Others<'_> {
    /// Marks `fd` close-on-exec, unless it is to stay.
    fn mark(self, fd: RawFd) {
        let kept = |action: &FdAction<'_>| action.is_kept() && action.child_fd() == fd;
        if fd > 2 && !self.0.iter().any(kept) {
            // SAFETY: The command touches no memory.
            unsafe {
                sc::syscall3(sc::nr::FCNTL, fd as usize, F_SETFD as usize, FD_CLOEXEC as usize)
            };
        }
    }
}

/// Marks every other descriptor close-on-exec; an op's result.
///
/// Marking instead of closing leaves the directory as it is while it is read,
/// and what must last until exec needs no exception.
pub(crate) extern "C" fn mark_others(others: *const Others<'_>) -> isize {
    // SAFETY: The plan that calls this points to one, in its storage.
    let others = unsafe { *others };
    let marked = match open_listing() {
        Ok(directory) => mark_listed(others, &directory),
        Err(_) => mark_numbers(others),
    };
    as_result(marked)
}

/// Closes `first` and all above it; an op's result.
pub(crate) extern "C" fn close_from(first: usize) -> isize {
    let closed = open_listing().and_then(|directory| {
        each_listed(&directory, |fd| {
            if fd >= first as RawFd && fd != directory.raw() {
                sys::close(fd);
            }
        })
    });
    as_result(closed)
}

/// As a system call returns it.
fn as_result(result: Result<(), Errno>) -> isize {
    result.map_or_else(|errno| -(errno.raw() as isize), |()| 0)
}

/// Opens the directory that lists what is open.
fn open_listing() -> Result<Fd, Errno> {
    sys::open(c"/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC).map(Fd::new)
}

fn mark_listed(others: Others<'_>, directory: &Fd) -> Result<(), Errno> {
    each_listed(directory, |fd| others.mark(fd))
}

/// Tells of each descriptor that `directory` lists. It may be closed meanwhile.
fn each_listed(directory: &Fd, tell: impl Fn(RawFd)) -> Result<(), Errno> {
    // Not written to before: filling it would be a call of memset.
    let mut buffer = [const { MaybeUninit::uninit() }; 64];
    loop {
        let entries = sys::getdents64(directory.raw(), &mut buffer)?;
        if entries.is_empty() {
            return Ok(());
        }
        let mut at = 0;
        while at < size_of_val(entries) {
            let (number, size) = entry_at(entries, at);
            if let Some(fd) = number {
                tell(fd);
            }
            at = at.saturating_add(size.max(1));
        }
    }
}

/// The name of the directory entry at `offset`, if it is a number, and the
/// entry's size.
fn entry_at(entries: &[u64], offset: usize) -> (Option<RawFd>, usize) {
    const SIZE: usize = core::mem::offset_of!(linux_dirent64, d_reclen);
    const NAME: usize = core::mem::offset_of!(linux_dirent64, d_name);
    let byte = |at: usize| {
        let word = entries.get(at / 8).copied().unwrap_or(0).to_ne_bytes();
        word.get(at % 8).copied().unwrap_or(0)
    };
    let size = u16::from_ne_bytes([byte(offset + SIZE), byte(offset + SIZE + 1)]);
    let mut fd: RawFd = 0;
    let mut at = offset + NAME;
    loop {
        match byte(at) {
            0 if at > offset + NAME => return (Some(fd), size.into()),
            digit @ b'0'..=b'9' => {
                fd = fd.wrapping_mul(10).wrapping_add(RawFd::from(digit - b'0'));
            }
            _ => return (None, size.into()),
        }
        at += 1;
    }
}

/// Without `/proc`: every number that can be open, if they are not too many.
fn mark_numbers(others: Others<'_>) -> Result<(), Errno> {
    let limit = sys::descriptor_limit()?;
    if limit > MOST_BY_NUMBER {
        return Err(Errno::EOPNOTSUPP);
    }
    for fd in 3..limit as RawFd {
        others.mark(fd);
    }
    Ok(())
}

/// Runs a hook; an op's result.
pub(crate) extern "C" fn call_hook(hook: *const Hook<'_>) -> isize {
    // SAFETY: The plan that calls this points to the request's.
    let hook = unsafe { &*hook };
    let data: *mut c_void = hook.data;
    // SAFETY: Who made the hook vouched for it.
    let result = unsafe { (hook.function)(data) };
    match Errno::from_raw(result) {
        Some(errno) => -(errno.raw() as isize),
        None if result == 0 => 0,
        None => -(Errno::EINVAL.raw() as isize),
    }
}

#[cfg(test)]
mod tests {
    use super::{Others, entry_at, mark_listed};
    use crate::fd::Fd;
    use crate::sys;
    use linux_raw_sys::general::{O_DIRECTORY, linux_dirent64};

    #[test]
    fn only_names_that_are_numbers_are_descriptors() {
        const NAME: usize = core::mem::offset_of!(linux_dirent64, d_name);
        let entry = |name: &[u8]| {
            let mut bytes = [0u8; 64];
            bytes[16..18].copy_from_slice(&32u16.to_ne_bytes());
            bytes[NAME..NAME + name.len()].copy_from_slice(name);
            let words: [u64; 8] = core::array::from_fn(|word| {
                u64::from_ne_bytes(bytes[word * 8..][..8].try_into().unwrap())
            });
            entry_at(&words, 0)
        };
        assert_eq!(entry(b"0\0"), (Some(0), 32));
        assert_eq!(entry(b"19999\0"), (Some(19_999), 32));
        assert_eq!(entry(b".\0").0, None);
        assert_eq!(entry(b"..\0").0, None);
        assert_eq!(entry(b"\0").0, None);
        assert_eq!(entry(b"12a\0").0, None);
    }

    #[test]
    fn a_directory_of_any_length_is_read_to_its_end() {
        let directory = Fd::new(sys::open(c"/dev", O_DIRECTORY).unwrap());
        mark_listed(Others(&[]), &directory).unwrap();
    }
}
