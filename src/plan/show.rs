//! A plan, printed like strace: one line an op.

use core::ffi::c_char;
use core::fmt::{self, Write};

use linux_raw_sys::general as uapi;

use super::Plan;
use super::op::{ANY_ERRNO, Arg, EPILOGUE, Op, flags};
use crate::errno::Errno;
use crate::mode::Mode;

/// How an argument reads.
#[derive(Clone, Copy)]
enum Kind {
    /// A number.
    Int,
    /// A descriptor, or `AT_FDCWD`.
    Fd,
    /// A C string.
    Text,
    /// Permission bits.
    Octal,
    /// A pointer, or NULL.
    Pointer,
    /// `argv`.
    Strings,
    /// An environment: named, as it is long and may hold secrets.
    Environ,
    /// One of these, or a number.
    Name(&'static [(isize, &'static str)]),
}

use Kind::{Environ, Fd, Int, Name, Octal, Pointer, Strings, Text};

const FCNTL: Kind = Name(&[
    (uapi::F_SETFD as isize, "F_SETFD"),
    (uapi::F_DUPFD_CLOEXEC as isize, "F_DUPFD_CLOEXEC"),
]);
const IOCTL: Kind = Name(&[
    (linux_raw_sys::ioctl::TIOCSCTTY as isize, "TIOCSCTTY"),
    (linux_raw_sys::ioctl::TIOCSPGRP as isize, "TIOCSPGRP"),
]);
const PRCTL: Kind = Name(&[
    (linux_raw_sys::prctl::PR_SET_PDEATHSIG as isize, "PR_SET_PDEATHSIG"),
    (linux_raw_sys::prctl::PR_SET_NO_NEW_PRIVS as isize, "PR_SET_NO_NEW_PRIVS"),
]);
const CLOSE_RANGE: Kind =
    Name(&[(0, "0"), (crate::uapi::CLOSE_RANGE_CLOEXEC as isize, "CLOSE_RANGE_CLOEXEC")]);
const SIGMASK: Kind = Name(&[(uapi::SIG_SETMASK as isize, "SIG_SETMASK")]);
const AT: Kind = Name(&[(uapi::AT_EMPTY_PATH as isize, "AT_EMPTY_PATH")]);

/// The name of an op's call, and its arguments.
fn signature(nr: u32) -> (&'static str, &'static [Kind]) {
    use sc::nr;
    match nr as usize {
        nr::CHDIR => ("chdir", &[Text]),
        nr::CHROOT => ("chroot", &[Text]),
        nr::CLOSE => ("close", &[Fd]),
        nr::CLOSE_RANGE => ("close_range", &[Int, Int, CLOSE_RANGE]),
        nr::DUP3 => ("dup3", &[Fd, Fd, Int]),
        nr::EXECVE => ("execve", &[Text, Strings, Environ]),
        nr::EXECVEAT => ("execveat", &[Fd, Text, Strings, Environ, AT]),
        nr::EXIT => ("exit", &[Int]),
        nr::EXIT_GROUP => ("exit_group", &[Int]),
        nr::FCHDIR => ("fchdir", &[Fd]),
        nr::FCNTL => ("fcntl", &[Fd, FCNTL, Int]),
        nr::GETPPID => ("getppid", &[]),
        nr::IOCTL => ("ioctl", &[Fd, IOCTL, Pointer]),
        nr::IOPRIO_SET => ("ioprio_set", &[Int, Int, Int]),
        nr::NANOSLEEP => ("nanosleep", &[Pointer, Pointer]),
        nr::OPENAT => ("openat", &[Fd, Text, Octal, Octal]),
        nr::PRCTL => ("prctl", &[PRCTL, Int]),
        nr::PRLIMIT64 => ("prlimit64", &[Int, Int, Pointer, Pointer]),
        nr::RT_SIGACTION => ("rt_sigaction", &[Int, Pointer, Pointer, Int]),
        nr::RT_SIGPROCMASK => ("rt_sigprocmask", &[SIGMASK, Pointer, Pointer, Int]),
        nr::SCHED_SETAFFINITY => ("sched_setaffinity", &[Int, Int, Pointer]),
        nr::SCHED_SETSCHEDULER => ("sched_setscheduler", &[Int, Int, Pointer]),
        nr::SETGROUPS => ("setgroups", &[Int, Pointer]),
        nr::SETPGID => ("setpgid", &[Int, Int]),
        nr::SETPRIORITY => ("setpriority", &[Int, Int, Int]),
        nr::SETRESGID => ("setresgid", &[Int, Int, Int]),
        nr::SETRESUID => ("setresuid", &[Int, Int, Int]),
        nr::SETSID => ("setsid", &[]),
        nr::UMASK => ("umask", &[Octal]),
        nr::WRITE => ("write", &[Fd, Text, Int]),
        _ => ("syscall", &[Int, Int, Int, Int, Int, Int]),
    }
}

impl fmt::Display for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, op) in self.ops.iter().enumerate() {
            line(f, Some(number), op)?;
        }
        line(f, None, &EPILOGUE[0])?;
        f.write_str("mode ")?;
        f.write_str(match self.mode {
            Mode::Vfork => "vfork: CLONE_VM|CLONE_VFORK",
            Mode::Fork => "fork: CLONE_VFORK",
        })?;
        f.write_str(if self.parent.block_signals {
            ", all signals blocked\n"
        } else {
            "|CLONE_CLEAR_SIGHAND\n"
        })
    }
}

impl fmt::Debug for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Prints number, step, call and what may become of it.
fn line(f: &mut fmt::Formatter<'_>, number: Option<usize>, op: &Op<'_>) -> fmt::Result {
    match number {
        Some(number) if number < 10 => write!(f, " {number}  ")?,
        Some(number) => write!(f, "{number}  ")?,
        None => f.write_str(" -  ")?,
    }
    let name = if number.is_some() { op.tag.step.name() } else { "fail" };
    f.write_str(name)?;
    for _ in name.len()..15 {
        f.write_char(' ')?;
    }
    call(f, op)?;
    if op.flags & flags::SAVE != 0 {
        f.write_str(" -> fd")?;
    }
    if op.flags & flags::EXPECT != 0 {
        write!(f, " = {}", op.want)?;
    }
    match Errno::from_raw(op.ok_errno.into()) {
        _ if op.ok_errno == ANY_ERRNO => f.write_str("  whatever it returns")?,
        Some(errno) => write!(f, "  or {errno:?}")?,
        None => {}
    }
    if let Some(errno) = Errno::from_raw(op.guard.into()) {
        write!(f, "  after {errno:?}")?;
    }
    if op.flags & flags::EXEC != 0 {
        f.write_str(if op.flags & flags::LAST != 0 { "  last" } else { "  else next" })?;
    }
    f.write_char('\n')
}

fn call(f: &mut fmt::Formatter<'_>, op: &Op<'_>) -> fmt::Result {
    if op.flags & flags::CALL != 0 {
        return f.write_str(match op.tag.step {
            crate::plan::Step::CloseOthers => "mark the others close-on-exec, by /proc/self/fd",
            _ => "call the hook",
        });
    }
    let (name, kinds) = signature(op.nr);
    f.write_str(name)?;
    f.write_char('(')?;
    for (place, (kind, arg)) in kinds.iter().zip(op.args).enumerate() {
        if place > 0 {
            f.write_str(", ")?;
        }
        if place == 0 && op.flags & flags::USE != 0 {
            f.write_str("fd")?;
        } else {
            argument(f, *kind, arg)?;
        }
    }
    f.write_char(')')
}

fn argument(f: &mut fmt::Formatter<'_>, kind: Kind, arg: Arg<'_>) -> fmt::Result {
    let value = arg.value();
    match kind {
        Fd if value == uapi::AT_FDCWD as isize => f.write_str("AT_FDCWD"),
        Int | Fd => write!(f, "{value}"),
        Octal => write!(f, "{value:#o}"),
        Pointer if value == 0 => f.write_str("NULL"),
        Pointer => f.write_str("&…"),
        Environ => f.write_str("envp"),
        Name(names) => match names.iter().find(|(number, _)| *number == value) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{value}"),
        },
        Text => text(f, arg.as_ptr()),
        Strings => {
            f.write_char('[')?;
            // SAFETY: The signature says that this argument is an `argv`, and
            // `compile` made the op with one that lives as long as the plan.
            let strings = unsafe { crate::CStrArray::from_ptr(arg.as_ptr()) };
            for (place, string) in strings.iter().enumerate() {
                if place > 0 {
                    f.write_str(", ")?;
                }
                text(f, string.as_ptr())?;
            }
            f.write_char(']')
        }
    }
}

/// Prints a C string in quotes, and what is not printable by its number.
fn text(f: &mut fmt::Formatter<'_>, start: *const c_char) -> fmt::Result {
    f.write_char('"')?;
    let mut next = start.cast::<u8>();
    loop {
        // SAFETY: `compile` made the op with a C string that lives as long as
        // the plan, and `next` is not behind its NUL.
        let byte = unsafe { *next };
        match byte {
            0 => return f.write_char('"'),
            b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
            b'\n' => f.write_str("\\n")?,
            b' '..=b'~' => f.write_char(char::from(byte))?,
            _ => write!(f, "\\{byte:03o}")?,
        }
        // SAFETY: `byte` was not the NUL.
        next = unsafe { next.add(1) };
    }
}
