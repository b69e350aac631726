//! The exec ops: candidates, retries, the shell.

use linux_raw_sys::general::{AT_EMPTY_PATH, timespec};

use super::Input;
use crate::array::CStrArray;
use crate::errno::Errno;
use crate::error::Error;
use crate::plan::op::{Arg, Tag, sys};
use crate::plan::{Step, Text, Writer};
use crate::request::Exec;

/// Where a name is looked up if nothing says where.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

const SH: &core::ffi::CStr = c"/bin/sh";

/// How long to sleep before each retry of a busy file.
static BACK_OFF: [timespec; 10] = {
    let mut times = [timespec { tv_sec: 0, tv_nsec: 1_000_000 }; 10];
    let mut retry = 1;
    while retry < times.len() {
        times[retry].tv_nsec = times[retry - 1].tv_nsec * 2;
        retry += 1;
    }
    times
};

/// Executes the program.
pub(super) fn exec<'a>(plan: &mut Writer<'a>, input: Input<'a>) -> Result<(), Error> {
    let request = input.request;
    if request.argv.is_empty() {
        return Err(Error::new(Step::Arguments, 0, Errno::EINVAL));
    }
    let Some(envp) = request.envp.or(input.caller.envp) else {
        return Err(Error::new(Step::Environment, 0, Errno::EINVAL));
    };
    if usize::from(request.busy_retries) > BACK_OFF.len() {
        return Err(Error::new(Step::Exec, 0, Errno::EINVAL));
    }
    let target = Target { input, envp };
    match request.exec {
        Exec::Path(path) => target.path(plan, 0, Text::new(path)),
        Exec::Fd(fd) => {
            if fd < 0 {
                return Err(Error::new(Step::Exec, 0, Errno::EBADF));
            }
            if super::fds::is_overwritten(request, fd) {
                return Err(Error::new(Step::Exec, 0, Errno::EINVAL));
            }
            target.fd(plan, fd);
        }
        Exec::Candidates([]) => return Err(Error::new(Step::Exec, 0, Errno::ENOENT)),
        Exec::Candidates(paths) => {
            for (index, path) in paths.iter().enumerate() {
                target.path(plan, index, Text::new(path));
            }
        }
        Exec::Search { name, .. } if name.is_empty() || name.to_bytes().contains(&b'/') => {
            target.path(plan, 0, Text::new(name));
        }
        Exec::Search { name, path } => {
            let path = path.or_else(|| envp.variable(b"PATH")).unwrap_or(DEFAULT_PATH);
            for (index, dir) in path.split(|&byte| byte == b':').enumerate() {
                let candidate = if dir.is_empty() {
                    Text::new(name)
                } else {
                    plan.text(&[dir, b"/", name.to_bytes()])
                };
                target.path(plan, index, candidate);
            }
        }
    }
    Ok(())
}

/// What all exec ops of a plan have in common.
#[derive(Clone, Copy)]
struct Target<'a> {
    input: Input<'a>,
    envp: CStrArray<'a>,
}

impl<'a> Target<'a> {
    /// The errnos that a later failure replaces: Python's rule, and what a
    /// retry may yet change.
    fn weak(self) -> u32 {
        let busy = if self.input.request.busy_retries > 0 { bit(Errno::ETXTBSY) } else { 0 };
        bit(Errno::ENOENT) | bit(Errno::ENOTDIR) | busy
    }

    fn path(self, plan: &mut Writer<'a>, index: usize, path: Text<'a>) {
        let tag = Tag::item(Step::Exec, index);
        let request = self.input.request;
        let argv = Arg::raw(request.argv.as_ptr().cast());
        let envp = Arg::raw(self.envp.as_ptr().cast());
        let op = sys!(EXECVE, path, argv, envp).exec(self.weak());
        plan.push(tag, op);
        self.retry_busy(plan, tag, op);
        if request.sh_fallback {
            let script = [SH.as_ptr(), path.as_ptr()].into_iter();
            let rest = request.argv.iter().skip(1).map(core::ffi::CStr::as_ptr);
            let argv = Arg::raw(plan.pointers(script.chain(rest)).cast());
            // ENOEXEC stays the error if there is no shell either.
            let op = sys!(EXECVE, SH, argv, envp).exec(self.weak()).only_after(Errno::ENOEXEC);
            plan.push(tag, op);
        }
    }

    fn fd(self, plan: &mut Writer<'a>, fd: i32) {
        let tag = Tag::new(Step::Exec);
        let argv = Arg::raw(self.input.request.argv.as_ptr().cast());
        let envp = Arg::raw(self.envp.as_ptr().cast());
        let op = sys!(EXECVEAT, fd, c"", argv, envp, AT_EMPTY_PATH).exec(self.weak());
        plan.push(tag, op);
        self.retry_busy(plan, tag, op);
    }

    /// A plan has no loop: each retry is an op, run after ETXTBSY only.
    fn retry_busy(self, plan: &mut Writer<'a>, tag: Tag, op: crate::plan::op::Op<'a>) {
        let retries = usize::from(self.input.request.busy_retries);
        for time in BACK_OFF.iter().take(retries) {
            let sleep = sys!(NANOSLEEP, Arg::ptr(time), 0).ok_any();
            plan.push(tag, sleep.only_after(Errno::ETXTBSY));
            plan.push(tag, op.only_after(Errno::ETXTBSY));
        }
    }
}

/// The bit of `errno` in an exec op's `want`.
const fn bit(errno: Errno) -> u32 {
    1 << errno.number()
}
