//! Errors of the kernel, with their names and messages.

use core::fmt;

use linux_raw_sys::errno as uapi;

use crate::text::{Digits, ascii, line};

/// An error number of Linux, `1..=4095`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(u16);

/// Names the constants that this crate and its callers compare with.
macro_rules! errnos {
    ($($name:ident),+ $(,)?) => {
        impl Errno {
            $(
                #[doc = concat!("`", stringify!($name), "`, see errno(3).")]
                pub const $name: Self = Self(uapi::$name as u16);
            )+
        }
    };
}

errnos! {
    EPERM, ENOENT, ESRCH, EINTR, EIO, E2BIG, ENOEXEC, EBADF,
    ECHILD, EAGAIN, ENOMEM, EACCES, EFAULT, EBUSY, EEXIST, ENODEV, EFBIG,
    ENOTDIR, EISDIR, EINVAL, ENFILE, EMFILE, ENOTTY, ETXTBSY, ENOSPC, ENAMETOOLONG,
    EUSERS, ENOSYS, ELOOP, EPROTO, EOPNOTSUPP, ENOBUFS, ETIMEDOUT, EPIPE, ECANCELED,
}

impl Errno {
    /// The error with the number `raw`; `None` outside `1..=4095`.
    pub const fn from_raw(raw: i32) -> Option<Self> {
        if raw >= 1 && raw <= 4095 { Some(Self(raw as u16)) } else { None }
    }

    /// The error that a system call's raw result holds; `None` for a success.
    pub const fn from_result(raw: usize) -> Option<Self> {
        if raw > -4096isize as usize { Some(Self(raw.wrapping_neg() as u16)) } else { None }
    }

    /// The number.
    pub const fn raw(self) -> i32 {
        self.0 as i32
    }

    /// The number in the type that ops and errors hold it in.
    pub(crate) const fn number(self) -> u16 {
        self.0
    }

    /// The name, such as `"ENOENT"`; `None` for an error that is foreign to
    /// processes and files, such as a socket's.
    pub fn name(self) -> Option<&'static str> {
        self.texts().next()
    }

    /// The message, such as `"No such file or directory"`; `None` where there is
    /// no name.
    pub fn message(self) -> Option<&'static str> {
        self.texts().nth(1)
    }

    /// Whether the call failed for want of a descriptor, and so exists.
    pub(crate) const fn is_table_full(self) -> bool {
        matches!(self, Self::EMFILE | Self::ENFILE)
    }

    /// Name and message. One string and a walk: a table of slices would take
    /// twice the room in a small static program.
    fn texts(self) -> impl Iterator<Item = &'static str> {
        let line = line(TABLE, usize::from(self.0).wrapping_sub(1));
        line.splitn(2, |&byte| byte == b' ').filter(|text| !text.is_empty()).map(ascii)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(message) = self.message() else { return fmt::Debug::fmt(self, f) };
        f.write_str(message)?;
        f.write_str(" (")?;
        fmt::Debug::fmt(self, f)?;
        f.write_str(")")
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.name() {
            return f.write_str(name);
        }
        f.write_str("error ")?;
        Digits::decimal(self.0.into()).write_to(f)
    }
}

impl core::error::Error for Errno {}

#[cfg(feature = "std")]
impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.raw())
    }
}

/// Line *n* belongs to error *n*: asm-generic's numbers, which every
/// architecture of this crate uses. Empty for what processes and files do not meet.
const TABLE: &str = "\
EPERM Operation not permitted\n\
ENOENT No such file or directory\n\
ESRCH No such process\n\
EINTR Interrupted system call\n\
EIO Input/output error\n\
ENXIO No such device or address\n\
E2BIG Argument list too long\n\
ENOEXEC Exec format error\n\
EBADF Bad file descriptor\n\
ECHILD No child processes\n\
EAGAIN Resource temporarily unavailable\n\
ENOMEM Cannot allocate memory\n\
EACCES Permission denied\n\
EFAULT Bad address\n\
ENOTBLK Block device required\n\
EBUSY Device or resource busy\n\
EEXIST File exists\n\
EXDEV Invalid cross-device link\n\
ENODEV No such device\n\
ENOTDIR Not a directory\n\
EISDIR Is a directory\n\
EINVAL Invalid argument\n\
ENFILE Too many open files in system\n\
EMFILE Too many open files\n\
ENOTTY Inappropriate ioctl for device\n\
ETXTBSY Text file busy\n\
EFBIG File too large\n\
ENOSPC No space left on device\n\
ESPIPE Illegal seek\n\
EROFS Read-only file system\n\
EMLINK Too many links\n\
EPIPE Broken pipe\n\
\n\
ERANGE Numerical result out of range\n\
EDEADLK Resource deadlock avoided\n\
ENAMETOOLONG File name too long\n\
ENOLCK No locks available\n\
ENOSYS Function not implemented\n\
ENOTEMPTY Directory not empty\n\
ELOOP Too many levels of symbolic links\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
EPROTO Protocol error\n\
\n\
\n\
EBADMSG Bad message\n\
\n\
\n\
\n\
\n\
ELIBACC Can not access a needed shared library\n\
ELIBBAD Accessing a corrupted shared library\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
EOPNOTSUPP Operation not supported\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
\n\
ENOBUFS No buffer space available\n\
\n\
\n\
\n\
\n\
ETIMEDOUT Connection timed out\n\
\n\
\n\
\n\
\n\
\n\
ESTALE Stale file handle\n\
EUCLEAN Structure needs cleaning\n\
\n\
\n\
\n\
\n\
EDQUOT Disk quota exceeded\n\
\n\
\n\
ECANCELED Operation canceled\n\
ENOKEY Required key not available\n\
\n\
\n\
EKEYREJECTED Key was rejected by service";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_on_the_line_of_their_number() {
        for (errno, name) in [
            (Errno::EPERM, "EPERM"),
            (Errno::ENOENT, "ENOENT"),
            (Errno::EPROTO, "EPROTO"),
            (Errno::EOPNOTSUPP, "EOPNOTSUPP"),
            (Errno::ECANCELED, "ECANCELED"),
        ] {
            assert_eq!(errno.name(), Some(name));
        }
        assert_eq!(Errno(129).name(), Some("EKEYREJECTED"));
        assert_eq!(Errno(88).name(), None, "ENOTSOCK is foreign");
        assert_eq!(Errno::ENOENT.message(), Some("No such file or directory"));
        assert_eq!(Errno(134).name(), None);
        assert_eq!(Errno(41).name(), None, "41 was never given out");
    }

    #[test]
    fn results_below_minus_4095_are_values() {
        assert_eq!(Errno::from_result(-4096isize as usize), None);
        assert_eq!(Errno::from_result(-4095isize as usize), Some(Errno(4095)));
        assert_eq!(Errno::from_result(-2isize as usize), Some(Errno::ENOENT));
        assert_eq!(Errno::from_result(0), None);
    }
}
