//! The system calls that a plan may hold: their names, and what their arguments are.

use crate::uapi::nr;

use super::op::Op;
use super::tables::linked;
use crate::text;

/// What an argument is.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// A number.
    Int,
    /// A descriptor, or `AT_FDCWD`.
    Fd,
    /// A C string.
    Text,
    /// Permission bits, flags.
    Octal,
    /// A pointer to one of these, or NULL.
    CInt,
    Rlimit,
    Sigaction,
    Sigset,
    Timespec,
    /// A pointer to as many bytes as the argument before says.
    Cpus,
    /// What `capset` reads: a header, and two times three sets.
    CapHeader,
    CapData,
    /// A pointer to a `sock_fprog`.
    Filter,
    /// A pointer to as many group ids as the argument before says, or NULL.
    Gids,
    /// A pointer to what an `ioctl` or `prctl` takes by the command before it, or a number.
    OfIoctl,
    OfPrctl,
    /// `argv`.
    Strings,
    /// An environment: named, as it is long and may hold secrets.
    Environ,
    /// A constant with a name, or a number.
    Fcntl,
    Ioctl,
    Prctl,
    Mask,
    At,
    CloseRange,
    /// `CLONE_NEW*`.
    Namespaces,
    /// There is no such argument.
    None,
}

use Kind::{
    At, CInt, CapData, CapHeader, CloseRange, Cpus, Environ, Fcntl, Fd, Filter, Gids, Int, Ioctl,
    Mask, Namespaces, Octal, OfIoctl, OfPrctl, Prctl, Rlimit, Sigaction, Sigset, Strings, Text,
    Timespec,
};

/// A call by its number, and its arguments.
pub(super) type Signature = (u16, [Kind; 5]);

/// A table of calls and, in one text, their names.
macro_rules! signatures {
    ($table:ident, $names:ident: $($nr:ident $name:literal $kinds:expr;)+) => {
        pub(super) static $table: &[Signature] = &[$((nr::$nr as u16, first_five($kinds))),+];
        pub(super) static $names: &str = concat!($($name, "\n"),+);
    };
}

const fn first_five(known: &[Kind]) -> [Kind; 5] {
    let mut kinds = [Kind::None; 5];
    let mut place = 0;
    while place < known.len() {
        kinds[place] = known[place];
        place += 1;
    }
    kinds
}

signatures! { BASE, BASE_NAMES:
    CLOSE "close" &[Fd];
    CLOSE_RANGE "close_range" &[Int, Int, CloseRange];
    DUP3 "dup3" &[Fd, Fd, Int];
    EXECVE "execve" &[Text, Strings, Environ];
    EXECVEAT "execveat" &[Fd, Text, Strings, Environ, At];
    EXIT "exit" &[Int];
    EXIT_GROUP "exit_group" &[Int];
    FCNTL "fcntl" &[Fd, Fcntl, Int];
    NANOSLEEP "nanosleep" &[Timespec, Timespec];
    OPENAT "openat" &[Fd, Text, Octal, Octal];
    RT_SIGACTION "rt_sigaction" &[Int, Sigaction, Sigaction, Int];
    RT_SIGPROCMASK "rt_sigprocmask" &[Mask, Sigset, Sigset, Int];
}

// Of steps that come by a stage.
signatures! { MORE, MORE_NAMES:
    CAPSET "capset" &[CapHeader, CapData];
    CHDIR "chdir" &[Text];
    CHROOT "chroot" &[Text];
    FCHDIR "fchdir" &[Fd];
    FUTEX "futex" &[Int, Int, Int, Timespec];
    GETPPID "getppid" &[];
    IOCTL "ioctl" &[Fd, Ioctl, OfIoctl];
    IOPRIO_SET "ioprio_set" &[Int, Int, Int];
    LANDLOCK_RESTRICT_SELF "landlock_restrict_self" &[Fd, Int];
    MKDIRAT "mkdirat" &[Fd, Text, Octal];
    MKNODAT "mknodat" &[Fd, Text, Octal, Int];
    MOUNT "mount" &[Text, Text, Text, Int, Text];
    PIVOT_ROOT "pivot_root" &[Text, Text];
    PRCTL "prctl" &[Prctl, OfPrctl, Int];
    PRLIMIT64 "prlimit64" &[Int, Int, Rlimit, Rlimit];
    READLINKAT "readlinkat" &[Fd, Text, Int, Int];
    SCHED_SETAFFINITY "sched_setaffinity" &[Int, Int, Cpus];
    SCHED_SETPARAM "sched_setparam" &[Int, CInt];
    SCHED_SETSCHEDULER "sched_setscheduler" &[Int, Int, CInt];
    SECCOMP "seccomp" &[Int, Int, Filter];
    SETDOMAINNAME "setdomainname" &[Text, Int];
    SETGROUPS "setgroups" &[Int, Gids];
    SETHOSTNAME "sethostname" &[Text, Int];
    SETNS "setns" &[Fd, Namespaces];
    SETPGID "setpgid" &[Int, Int];
    SETPRIORITY "setpriority" &[Int, Int, Int];
    SETRESGID "setresgid" &[Int, Int, Int];
    SETRESUID "setresuid" &[Int, Int, Int];
    SETSID "setsid" &[];
    SOCKET "socket" &[Int, Int, Int];
    SYMLINKAT "symlinkat" &[Text, Fd, Text];
    UMASK "umask" &[Octal];
    UMOUNT2 "umount2" &[Text, Int];
    UNSHARE "unshare" &[Namespaces];
    WRITE "write" &[Fd, Text, Int];
}

/// Where a call is listed.
#[derive(Clone, Copy)]
pub(super) struct Place {
    names: &'static str,
    number: usize,
}

/// What the arguments of `op`'s call are, and where it is listed.
pub(super) fn kinds(op: &Op<'_>) -> Option<(Place, &'static [Kind; 5])> {
    let find = |calls: &'static [Signature], names| {
        let mut known = calls.iter().enumerate();
        let (number, (_, kinds)) = known.find(|(_, known)| u32::from(known.0) == op.nr)?;
        Some((Place { names, number }, kinds))
    };
    find(BASE, BASE_NAMES).or_else(|| {
        let tables = linked()?;
        find(tables.calls, tables.names)
    })
}

/// The name of the call that is listed at `place`.
pub(super) fn name(place: Place) -> &'static [u8] {
    text::line(place.names, place.number)
}
