//! Errors of the kernel, with their names and messages.

use core::fmt;

use linux_raw_sys::errno as uapi;

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
    ECHILD, EAGAIN, ENOMEM, EACCES, EFAULT, EBUSY, EEXIST, ENODEV,
    ENOTDIR, EISDIR, EINVAL, ENFILE, EMFILE, ENOTTY, ETXTBSY, ENAMETOOLONG,
    ENOSYS, ELOOP, EPROTO, EOPNOTSUPP, ENOBUFS, ETIMEDOUT, EPIPE, ECANCELED,
}

impl Errno {
    /// The error with the number `raw`; `None` outside `1..=4095`.
    pub const fn from_raw(raw: i32) -> Option<Self> {
        if raw >= 1 && raw <= 4095 { Some(Self(raw as u16)) } else { None }
    }

    /// The error that a system call's raw result holds; `None` for a success.
    pub(crate) const fn from_result(raw: usize) -> Option<Self> {
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

    /// The name, such as `"ENOENT"`; `None` for a number without one.
    pub fn name(self) -> Option<&'static str> {
        self.line()?.split(is_space).next()
    }

    /// The message, such as `"No such file or directory"`.
    pub fn message(self) -> Option<&'static str> {
        self.line()?.split_once(is_space).map(|(_, message)| message)
    }

    /// Whether the call failed for want of a descriptor, and so exists.
    pub(crate) const fn is_table_full(self) -> bool {
        matches!(self, Self::EMFILE | Self::ENFILE)
    }

    /// Name and message. One string and a walk: a table of slices would take
    /// twice the room in a small static program.
    fn line(self) -> Option<&'static str> {
        let line = TABLE.split(is_newline).nth(usize::from(self.0).checked_sub(1)?)?;
        if line.is_empty() { None } else { Some(line) }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.message(), self.name()) {
            (Some(message), Some(name)) => {
                f.write_str(message)?;
                f.write_str(" (")?;
                f.write_str(name)?;
                f.write_str(")")
            }
            _ => write!(f, "error {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Errno({})", self.0),
        }
    }
}

/// A pattern that is a function: for a `char`, `core` calls `memcmp`, which a
/// program without a C library does not have.
fn is_space(c: char) -> bool {
    c == ' '
}

/// See [`is_space`].
fn is_newline(c: char) -> bool {
    c == '\n'
}

/// Line *n* belongs to error *n*: asm-generic's numbers, which every
/// architecture of this crate uses.
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
EDOM Numerical argument out of domain\n\
ERANGE Numerical result out of range\n\
EDEADLK Resource deadlock avoided\n\
ENAMETOOLONG File name too long\n\
ENOLCK No locks available\n\
ENOSYS Function not implemented\n\
ENOTEMPTY Directory not empty\n\
ELOOP Too many levels of symbolic links\n\
\n\
ENOMSG No message of desired type\n\
EIDRM Identifier removed\n\
ECHRNG Channel number out of range\n\
EL2NSYNC Level 2 not synchronized\n\
EL3HLT Level 3 halted\n\
EL3RST Level 3 reset\n\
ELNRNG Link number out of range\n\
EUNATCH Protocol driver not attached\n\
ENOCSI No CSI structure available\n\
EL2HLT Level 2 halted\n\
EBADE Invalid exchange\n\
EBADR Invalid request descriptor\n\
EXFULL Exchange full\n\
ENOANO No anode\n\
EBADRQC Invalid request code\n\
EBADSLT Invalid slot\n\
\n\
EBFONT Bad font file format\n\
ENOSTR Device not a stream\n\
ENODATA No data available\n\
ETIME Timer expired\n\
ENOSR Out of streams resources\n\
ENONET Machine is not on the network\n\
ENOPKG Package not installed\n\
EREMOTE Object is remote\n\
ENOLINK Link has been severed\n\
EADV Advertise error\n\
ESRMNT Srmount error\n\
ECOMM Communication error on send\n\
EPROTO Protocol error\n\
EMULTIHOP Multihop attempted\n\
EDOTDOT RFS specific error\n\
EBADMSG Bad message\n\
EOVERFLOW Value too large for defined data type\n\
ENOTUNIQ Name not unique on network\n\
EBADFD File descriptor in bad state\n\
EREMCHG Remote address changed\n\
ELIBACC Can not access a needed shared library\n\
ELIBBAD Accessing a corrupted shared library\n\
ELIBSCN .lib section in a.out corrupted\n\
ELIBMAX Attempting to link in too many shared libraries\n\
ELIBEXEC Cannot exec a shared library directly\n\
EILSEQ Invalid or incomplete multibyte or wide character\n\
ERESTART Interrupted system call should be restarted\n\
ESTRPIPE Streams pipe error\n\
EUSERS Too many users\n\
ENOTSOCK Socket operation on non-socket\n\
EDESTADDRREQ Destination address required\n\
EMSGSIZE Message too long\n\
EPROTOTYPE Protocol wrong type for socket\n\
ENOPROTOOPT Protocol not available\n\
EPROTONOSUPPORT Protocol not supported\n\
ESOCKTNOSUPPORT Socket type not supported\n\
EOPNOTSUPP Operation not supported\n\
EPFNOSUPPORT Protocol family not supported\n\
EAFNOSUPPORT Address family not supported by protocol\n\
EADDRINUSE Address already in use\n\
EADDRNOTAVAIL Cannot assign requested address\n\
ENETDOWN Network is down\n\
ENETUNREACH Network is unreachable\n\
ENETRESET Network dropped connection on reset\n\
ECONNABORTED Software caused connection abort\n\
ECONNRESET Connection reset by peer\n\
ENOBUFS No buffer space available\n\
EISCONN Transport endpoint is already connected\n\
ENOTCONN Transport endpoint is not connected\n\
ESHUTDOWN Cannot send after transport endpoint shutdown\n\
ETOOMANYREFS Too many references: cannot splice\n\
ETIMEDOUT Connection timed out\n\
ECONNREFUSED Connection refused\n\
EHOSTDOWN Host is down\n\
EHOSTUNREACH No route to host\n\
EALREADY Operation already in progress\n\
EINPROGRESS Operation now in progress\n\
ESTALE Stale file handle\n\
EUCLEAN Structure needs cleaning\n\
ENOTNAM Not a XENIX named type file\n\
ENAVAIL No XENIX semaphores available\n\
EISNAM Is a named type file\n\
EREMOTEIO Remote I/O error\n\
EDQUOT Disk quota exceeded\n\
ENOMEDIUM No medium found\n\
EMEDIUMTYPE Wrong medium type\n\
ECANCELED Operation canceled\n\
ENOKEY Required key not available\n\
EKEYEXPIRED Key has expired\n\
EKEYREVOKED Key has been revoked\n\
EKEYREJECTED Key was rejected by service\n\
EOWNERDEAD Owner died\n\
ENOTRECOVERABLE State not recoverable\n\
ERFKILL Operation not possible due to RF-kill\n\
EHWPOISON Memory page has hardware error\n";

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
        assert_eq!(Errno(133).name(), Some("EHWPOISON"));
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
