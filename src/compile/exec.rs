//! The exec ops: candidates, retries, the shell.

use core::ffi::CStr;

use linux_raw_sys::general::{AT_EMPTY_PATH, F_SETFD, FD_CLOEXEC, timespec};

use super::Input;
use crate::array::CStrArray;
use crate::errno::Errno;
use crate::error::Error;
use crate::mode::Mode;
use crate::plan::op::{Arg, Call, Tag, sys};
use crate::plan::{Step, Text, Writer, tables};
use crate::request::{Exec, Request};
use crate::spawn::MOST_BEFORE;

/// After which errnos execvp(3) goes on to the next directory besides. The loop looks at their last
/// five bits, in which `ESTALE` is `ENOTDIR`. (`ETIMEDOUT`, of a file system that is far away,
/// would be `EFAULT`, and ends it.)
const SEARCH: u32 = bit(Errno::EACCES) | bit(Errno::ENODEV);

/// No path is as long; execvp(3) passes over such a directory.
const PATH_MAX: usize = 4096;

/// Where a name is looked up if nothing says where.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

const SH: &CStr = c"/bin/sh";

/// How often a busy file is tried again at most: the sleeps add up to a second.
const MOST_RETRIES: u8 = 10;

/// How long the child sleeps before the first retry, in nanoseconds.
const FIRST_SLEEP: i64 = 1_000_000;

/// What follows is the stub's; the descriptors that it needs pass through its exec.
pub(crate) fn stub_stage<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    tables::link();
    if input.mode != Mode::Stub {
        return Ok(());
    }
    let request = input.request;
    let mark = |plan: &mut Writer<'a>, flag: u32| {
        super::fds::used_after_moves(request, &mut |tag, fd| {
            let is_kept = fd <= 2 || request.fds.iter().any(|action| action.child_fd() == fd);
            if !is_kept {
                plan.push(tag, sys!(FCNTL, fd, F_SETFD, flag));
            }
        });
    };
    mark(plan, 0);
    plan.begin_stub();
    mark(plan, FD_CLOEXEC);
    request.stages.late(plan, input)?;
    if plan.stub_at() > MOST_BEFORE {
        return Err(Error::new(Step::Stub, 0, Errno::ENOBUFS));
    }
    Ok(())
}

/// Executes the program.
#[inline]
pub(super) fn exec<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    let request = input.request;
    if request.argv.is_empty() && request.posix.is_none() {
        return Err(Error::new(Step::Arguments, 0, Errno::EINVAL));
    }
    let Some(envp) = plan.environ().or(request.envp).or(input.caller.envp) else {
        return Err(Error::new(Step::Environment, 0, Errno::EINVAL));
    };
    if request.busy_retries > MOST_RETRIES {
        return Err(Error::new(Step::Exec, 0, Errno::EINVAL));
    }
    let target = Target { request, envp };
    match request.exec {
        Exec::Path(path) => target.path(plan, 0, Text::new(path)),
        Exec::Fd(fd) => {
            super::fds::refuse_overwritten(request, fd, Step::Exec)?;
            target.fd(plan, fd);
        }
        Exec::Candidates([]) => return Err(Error::new(Step::Exec, 0, Errno::ENOENT)),
        Exec::Candidates(paths) => {
            for (index, path) in paths.iter().enumerate() {
                target.path(plan, index, Text::new(path));
            }
        }
        Exec::Search { name, .. } if name.is_empty() || has_slash(name) => {
            target.path(plan, 0, Text::new(name));
        }
        Exec::Search { name, path } => {
            let path = path.or_else(|| envp.variable(b"PATH")).unwrap_or(DEFAULT_PATH);
            let fits = |dir: &&[u8]| request.posix.is_none() || dir.len() < PATH_MAX;
            for (index, dir) in path.split(|&byte| byte == b':').filter(fits).enumerate() {
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

#[allow(clippy::manual_contains)] // which brings a search for long texts along
fn has_slash(name: &CStr) -> bool {
    name.to_bytes().iter().any(|&byte| byte == b'/')
}

/// What all exec ops of a plan have in common.
#[derive(Clone, Copy)]
struct Target<'a> {
    request: &'a Request<'a>,
    envp: CStrArray<'a>,
}

impl<'a> Target<'a> {
    /// The errnos that a later failure replaces: Python's rule, and what a
    /// retry may yet change.
    fn weak(self) -> u32 {
        let busy = if self.request.busy_retries > 0 { bit(Errno::ETXTBSY) } else { 0 };
        let search = if self.request.posix.is_some() { SEARCH } else { 0 };
        bit(Errno::ENOENT) | bit(Errno::ENOTDIR) | busy | search
    }

    #[inline]
    fn path(self, plan: &mut Writer<'a>, index: usize, path: Text<'a>) {
        let tag = Tag::item(Step::Exec, index);
        let argv = Arg::raw(self.request.argv.as_ptr().cast());
        let envp = Arg::raw(self.envp.as_ptr().cast());
        self.execute(plan, tag, sys!(EXECVE, path, argv, envp));
        if self.request.sh_fallback {
            let script = [SH.as_ptr(), path.as_ptr()];
            let rest = self.request.argv.after_first();
            let argv = plan.pointers(&script, rest, &|_| true).unwrap_or(CStrArray::EMPTY);
            let argv = Arg::raw(argv.as_ptr().cast());
            // ENOEXEC stays the error if there is no shell either.
            let op = plan.push(tag, sys!(EXECVE, SH, argv, envp));
            op.exec(self.weak()).only_after(Errno::ENOEXEC);
        }
    }

    fn fd(self, plan: &mut Writer<'a>, fd: i32) {
        let argv = Arg::raw(self.request.argv.as_ptr().cast());
        let envp = Arg::raw(self.envp.as_ptr().cast());
        let call = sys!(EXECVEAT, fd, c"", argv, envp, AT_EMPTY_PATH);
        self.execute(plan, Tag::new(Step::Exec), call);
    }

    /// Appends `call` and its retries. A plan has no loop: each retry is an op,
    /// run after ETXTBSY only.
    fn execute(self, plan: &mut Writer<'a>, tag: Tag, call: Call<'_, 'a>) {
        let op = plan.push(tag, call).exec(self.weak());
        if self.request.posix.is_some() {
            op.stop();
        }
        for retry in 0..self.request.busy_retries {
            let time = timespec { tv_sec: 0, tv_nsec: FIRST_SLEEP << retry };
            let time = plan.value(time);
            plan.push(tag, sys!(NANOSLEEP, time, 0)).ok_any().only_after(Errno::ETXTBSY);
            plan.push(tag, call).exec(self.weak()).only_after(Errno::ETXTBSY);
        }
    }
}

/// The bit of `errno` in an exec op's `want`.
const fn bit(errno: Errno) -> u32 {
    1 << errno.number()
}
