//! A plan, printed like strace: one line an op.

use core::ffi::CStr;
use core::fmt::{self, Write};

use linux_raw_sys::general as uapi;
use linux_raw_sys::ioctl::{TIOCSCTTY, TIOCSPGRP};
use linux_raw_sys::prctl::{
    PR_CAP_AMBIENT, PR_CAPBSET_DROP, PR_GET_NAME, PR_SET_CHILD_SUBREAPER, PR_SET_KEEPCAPS,
    PR_SET_NAME, PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, PR_SET_SECUREBITS, PR_SET_TIMERSLACK,
};

use super::calls::Kind::{
    self, At, CInt, CapData, CapHeader, CloseRange, Cpus, Environ, Fcntl, Fd, Filter, Gids, Ioctl,
    Mask, Namespaces, Octal, OfIoctl, Prctl, Rlimit, Sigaction, Sigset, Strings, Text, Timespec,
};
use super::op::{ANY_ERRNO, Arg, EACH, EPILOGUE, Op, UNLESS_SAME, flags};
use super::tables::linked;
use super::{Plan, Step, calls};
use crate::array::{CStrArray, c_str};
use crate::errno::Errno;
use crate::kernel::Feature;
use crate::mode::Mode;
use crate::signal::SigSet;
use crate::spawn::around::WAITS;
use crate::sys::SIG_IGN;
use crate::text::{Digits, ascii};
use crate::uapi::{CLOSE_RANGE_CLOEXEC, CLOSE_RANGE_UNSHARE};

/// The names of `kind`'s constants.
fn names(kind: Kind) -> &'static [(u32, &'static str)] {
    match kind {
        Fcntl => &[
            (uapi::F_GETFD, "F_GETFD"),
            (uapi::F_SETFD, "F_SETFD"),
            (uapi::F_DUPFD_CLOEXEC, "F_DUPFD_CLOEXEC"),
        ],
        Mask => &[(uapi::SIG_SETMASK, "SIG_SETMASK")],
        At => &[(uapi::AT_EMPTY_PATH, "AT_EMPTY_PATH")],
        CloseRange => &[
            (CLOSE_RANGE_UNSHARE, "CLOSE_RANGE_UNSHARE"),
            (CLOSE_RANGE_CLOEXEC, "CLOSE_RANGE_CLOEXEC"),
        ],
        _ => &[],
    }
}

impl fmt::Display for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, op) in self.ops.iter().enumerate() {
            if number == self.stub_at {
                f.write_str(" -  stub           execveat(stub, \"\", …)\n")?;
            }
            line(f, Some(number), op)?;
        }
        line(f, None, &EPILOGUE[0])?;
        f.write_str("mode ")?;
        f.write_str(match self.mode {
            Mode::Vfork => "vfork: CLONE_VM|CLONE_VFORK",
            Mode::Stub => "stub: CLONE_VM|CLONE_VFORK",
            Mode::Detached => "detached: CLONE_VM|CLONE_CHILD_CLEARTID",
            Mode::Fork if self.around.wanted.has(WAITS) => "fork",
            Mode::Fork => "fork: CLONE_VFORK",
        })?;
        if self.leave_dead {
            let suspends = matches!(self.mode, Mode::Vfork | Mode::Stub);
            f.write_str(if suspends { "|CLONE_CHILD_CLEARTID|SIGCHLD" } else { "|SIGCHLD" })?;
        }
        if self.around.flags() != 0 {
            f.write_char('|')?;
            argument(f, Namespaces, Arg::int(self.around.flags() as isize))?;
        }
        f.write_str(if self.shares_fds { "|CLONE_FILES" } else { "" })?;
        let is_born_there = self.cgroup.is_some() && self.mode != Mode::Stub;
        f.write_str(if is_born_there { "|CLONE_INTO_CGROUP" } else { "" })?;
        f.write_str(if self.kernel.has(Feature::ClearSighand) {
            "|CLONE_CLEAR_SIGHAND"
        } else {
            ", all signals blocked"
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
    let name = if let Some(number) = number {
        f.write_str(if number < 10 { " " } else { "" })?;
        int(f, number as isize)?;
        op.tag.step.texts().next().unwrap_or_default()
    } else {
        f.write_str(" -")?;
        "fail"
    };
    f.write_str("  ")?;
    f.write_str(name)?;
    for _ in name.len()..15 {
        f.write_char(' ')?;
    }
    call(f, op)?;
    if op.flags & flags::SAVE != 0 {
        f.write_str(" -> fd")?;
    }
    if op.flags & flags::EXPECT != 0 && op.guard != EACH {
        f.write_str(" = ")?;
        int(f, op.want as isize)?;
    }
    if op.ok_errno == ANY_ERRNO {
        f.write_str("  or any error")?;
    } else {
        errno(f, "  or ", op.ok_errno)?;
    }
    match op.guard {
        EACH => {}
        UNLESS_SAME => {
            f.write_str("  unless fd is ")?;
            int(f, op.args[1].value())?;
        }
        guard => errno(f, "  after ", guard.into())?,
    }
    if op.flags & flags::EXEC != 0 {
        f.write_str(if op.flags & flags::LAST != 0 { "  last" } else { "  else next" })?;
    }
    f.write_char('\n')
}

/// Prints the signals of `set`: those between the first and the last of some that follow one another
/// as a dash.
fn signals(f: &mut fmt::Formatter<'_>, set: SigSet) -> fmt::Result {
    f.write_str("each of")?;
    for signal in set.iter() {
        let follows = set.contains(signal - 1);
        if follows && set.contains(signal + 1) {
            continue;
        }
        f.write_str(if follows { "-" } else { " " })?;
        int(f, signal as isize)?;
    }
    Ok(())
}

/// Prints `before` and the name of an error, unless that is 0.
fn errno(f: &mut fmt::Formatter<'_>, before: &str, number: u16) -> fmt::Result {
    let Some(errno) = Errno::from_raw(number.into()) else { return Ok(()) };
    f.write_str(before)?;
    fmt::Debug::fmt(&errno, f)
}

fn int(f: &mut fmt::Formatter<'_>, value: isize) -> fmt::Result {
    Digits::decimal(value as i64).write_to(f)
}

fn call(f: &mut fmt::Formatter<'_>, op: &Op<'_>) -> fmt::Result {
    if op.flags & flags::CALL != 0 {
        return f.write_str(match op.tag.step {
            Step::CloseOthers => "mark_others()",
            Step::FileAction => "close_from()",
            _ => "hook()",
        });
    }
    let Some((place, kinds)) = calls::kinds(op) else { return int(f, op.nr as isize) };
    f.write_str(ascii(calls::name(place)))?;
    f.write_char('(')?;
    let mut before = "";
    let mut from_saved = op.flags & flags::USE != 0;
    for (kind, arg) in kinds.iter().zip(&op.args) {
        if matches!(kind, Kind::None) {
            break;
        }
        f.write_str(before)?;
        if op.guard == EACH && from_saved {
            signals(f, SigSet::from_bits(op.args[4].value() as u64))?;
        } else if from_saved {
            f.write_str(if op.tag.step == Step::Wait { "released" } else { "fd" })?;
        } else {
            argument(f, *kind, *arg)?;
        }
        from_saved = false;
        before = ", ";
    }
    f.write_char(')')
}

fn argument(f: &mut fmt::Formatter<'_>, kind: Kind, arg: Arg<'_>) -> fmt::Result {
    let value = arg.value();
    if let Some(tables) = linked() {
        if (tables.argument)(f, kind, value)? {
            return Ok(());
        }
    }
    match kind {
        Fd if value == uapi::AT_FDCWD as isize => f.write_str("AT_FDCWD"),
        Octal => {
            f.write_char('0')?;
            if value == 0 { Ok(()) } else { Digits::octal(value as u64).write_to(f) }
        }
        Sigaction if value != 0 => {
            // SAFETY: `signals` has tables of words for this argument.
            let handler = unsafe { arg.as_ptr::<usize>().read() };
            f.write_str(if handler == SIG_IGN { "SIG_IGN" } else { "SIG_DFL" })
        }
        CInt | CapData | CapHeader | Cpus | Filter | Gids | OfIoctl | Rlimit | Sigaction
        | Sigset | Timespec => f.write_str(if value == 0 { "NULL" } else { "&…" }),
        Environ => f.write_str("envp"),
        // SAFETY: The signature says that this argument is a C string, and
        // `compile` made the op with one that lives as long as the plan.
        Text => text(f, unsafe { c_str(arg.as_ptr()) }),
        Strings => {
            // SAFETY: As above, of an `argv`.
            let strings = unsafe { CStrArray::from_ptr(arg.as_ptr()) };
            let mut before = "";
            f.write_char('[')?;
            for string in strings {
                f.write_str(before)?;
                text(f, string)?;
                before = ", ";
            }
            f.write_char(']')
        }
        _ => match name(names(kind), value) {
            Some(name) => f.write_str(name),
            None => int(f, value),
        },
    }
}

/// The name that `names` has for `value`.
fn name(names: &[(u32, &'static str)], value: isize) -> Option<&'static str> {
    names.iter().find(|(number, _)| *number as isize == value).map(|(_, name)| *name)
}

/// Prints an argument of a kind that only calls of stages have, if it has a name.
pub(super) fn more(
    f: &mut fmt::Formatter<'_>,
    kind: Kind,
    value: isize,
) -> Result<bool, fmt::Error> {
    let names: &[(u32, &'static str)] = match kind {
        Ioctl => &[(TIOCSCTTY, "TIOCSCTTY"), (TIOCSPGRP, "TIOCSPGRP")],
        Prctl => &PRCTLS,
        Namespaces => return namespaces(f, value as u32).map(|()| true),
        _ => return Ok(false),
    };
    let name = name(names, value);
    f.write_str(name.unwrap_or_default()).map(|()| name.is_some())
}

static PRCTLS: [(u32, &str); 10] = [
    (PR_SET_PDEATHSIG, "PR_SET_PDEATHSIG"),
    (PR_SET_NO_NEW_PRIVS, "PR_SET_NO_NEW_PRIVS"),
    (PR_SET_KEEPCAPS, "PR_SET_KEEPCAPS"),
    (PR_CAPBSET_DROP, "PR_CAPBSET_DROP"),
    (PR_SET_SECUREBITS, "PR_SET_SECUREBITS"),
    (PR_CAP_AMBIENT, "PR_CAP_AMBIENT"),
    (PR_SET_NAME, "PR_SET_NAME"),
    (PR_GET_NAME, "PR_GET_NAME"),
    (PR_SET_TIMERSLACK, "PR_SET_TIMERSLACK"),
    (PR_SET_CHILD_SUBREAPER, "PR_SET_CHILD_SUBREAPER"),
];

/// Prints kinds of namespaces.
fn namespaces(f: &mut fmt::Formatter<'_>, flags: u32) -> fmt::Result {
    let mut before = "CLONE_NEW";
    for (_, name) in KINDS.iter().filter(|(flag, _)| flags & flag != 0) {
        f.write_str(before)?;
        f.write_str(name)?;
        before = "|CLONE_NEW";
    }
    Ok(())
}

/// What follows `CLONE_NEW`.
static KINDS: [(u32, &str); 8] = [
    (uapi::CLONE_NEWUSER, "USER"),
    (uapi::CLONE_NEWPID, "PID"),
    (uapi::CLONE_NEWNS, "NS"),
    (uapi::CLONE_NEWUTS, "UTS"),
    (uapi::CLONE_NEWIPC, "IPC"),
    (uapi::CLONE_NEWNET, "NET"),
    (uapi::CLONE_NEWCGROUP, "CGROUP"),
    (uapi::CLONE_NEWTIME, "TIME"),
];

/// Prints a C string in quotes, and what is not printable by its number.
fn text(f: &mut fmt::Formatter<'_>, text: &CStr) -> fmt::Result {
    let escaped = |byte: &u8| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\');
    f.write_char('"')?;
    for part in text.to_bytes().split_inclusive(escaped) {
        let (plain, last) = match part.split_last() {
            Some((last, plain)) if escaped(last) => (plain, Some(*last)),
            _ => (part, None),
        };
        f.write_str(ascii(plain))?;
        let Some(byte) = last else { continue };
        f.write_char('\\')?;
        match byte {
            b'"' | b'\\' => f.write_char(char::from(byte))?,
            b'\n' => f.write_char('n')?,
            // Three digits, or a digit that follows would belong to it.
            _ => Digits::octal(u64::from(byte) | 0o1000).write_last(f, 3)?,
        }
    }
    f.write_char('"')
}
