//! The system calls that a plan may hold: their names, and what their arguments are.

use crate::uapi::nr;

use super::op::Op;
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
    /// There is no such argument.
    None,
}

use Kind::{
    At, CInt, CapData, CapHeader, CloseRange, Cpus, Environ, Fcntl, Fd, Filter, Gids, Int, Ioctl,
    Mask, Octal, Prctl, Rlimit, Sigaction, Sigset, Strings, Text, Timespec,
};

/// A call by its number, and its arguments.
type Signature = (u16, [Kind; 5]);

/// `SIGNATURES` and, in one text, their names.
macro_rules! signatures {
    ($($nr:ident $name:literal $kinds:expr;)+) => {
        static SIGNATURES: &[Signature] = &[$((nr::$nr as u16, first_five($kinds))),+];
        static NAMES: &str = concat!($($name, "\n"),+);
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

signatures! {
    CAPSET "capset" &[CapHeader, CapData];
    CHDIR "chdir" &[Text];
    CHROOT "chroot" &[Text];
    CLOSE "close" &[Fd];
    CLOSE_RANGE "close_range" &[Int, Int, CloseRange];
    DUP3 "dup3" &[Fd, Fd, Int];
    EXECVE "execve" &[Text, Strings, Environ];
    EXECVEAT "execveat" &[Fd, Text, Strings, Environ, At];
    EXIT "exit" &[Int];
    EXIT_GROUP "exit_group" &[Int];
    FCHDIR "fchdir" &[Fd];
    FCNTL "fcntl" &[Fd, Fcntl, Int];
    GETPPID "getppid" &[];
    IOCTL "ioctl" &[Fd, Ioctl, CInt];
    IOPRIO_SET "ioprio_set" &[Int, Int, Int];
    LANDLOCK_RESTRICT_SELF "landlock_restrict_self" &[Fd, Int];
    NANOSLEEP "nanosleep" &[Timespec, Timespec];
    OPENAT "openat" &[Fd, Text, Octal, Octal];
    PRCTL "prctl" &[Prctl, Int, Int];
    PRLIMIT64 "prlimit64" &[Int, Int, Rlimit, Rlimit];
    RT_SIGACTION "rt_sigaction" &[Int, Sigaction, Sigaction, Int];
    RT_SIGPROCMASK "rt_sigprocmask" &[Mask, Sigset, Sigset, Int];
    SCHED_SETAFFINITY "sched_setaffinity" &[Int, Int, Cpus];
    SCHED_SETSCHEDULER "sched_setscheduler" &[Int, Int, CInt];
    SECCOMP "seccomp" &[Int, Int, Filter];
    SETGROUPS "setgroups" &[Int, Gids];
    SETPGID "setpgid" &[Int, Int];
    SETPRIORITY "setpriority" &[Int, Int, Int];
    SETRESGID "setresgid" &[Int, Int, Int];
    SETRESUID "setresuid" &[Int, Int, Int];
    SETSID "setsid" &[];
    UMASK "umask" &[Octal];
    WRITE "write" &[Fd, Text, Int];
}

/// What the arguments of `op`'s call are, and its place in the table.
pub(super) fn kinds(op: &Op<'_>) -> Option<(usize, &'static [Kind; 5])> {
    let mut known = SIGNATURES.iter().enumerate();
    let (place, (_, kinds)) = known.find(|(_, known)| u32::from(known.0) == op.nr)?;
    Some((place, kinds))
}

/// The name of the call at `place` of the table.
pub(super) fn name(place: usize) -> &'static [u8] {
    text::line(NAMES, place)
}
