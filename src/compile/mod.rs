//! From a request to a plan: a pure function of the request, what the kernel
//! offers and what the parent has read of itself.
//!
//! The order of the steps is the order of the calls in [`compile`].

pub(crate) mod dirs;
mod exec;
pub(crate) mod fds;
pub(crate) mod ids;
pub(crate) mod limits;
pub(crate) mod process;
pub(crate) mod session;
mod signals;

use core::ffi::{CStr, c_int};

use linux_raw_sys::general::{O_CLOEXEC, O_WRONLY};

use crate::array::CStrArray;
use crate::errno::Errno;
use crate::error::Error;
use crate::kernel::{Feature, Kernel};
use crate::mode::{Mode, Reason};
use crate::plan::op::{Saved, Tag, sys};
use crate::plan::{Plan, Step, Storage, Text, Writer};
use crate::request::{RawFd, Request};
use crate::signal::SigSet;

pub(crate) use exec::stub_stage;
pub(crate) use fds::{all_sources, names, needs_maps_only};

/// What the parent has read of itself, as far as the request depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    /// The environment to inherit.
    pub(crate) envp: Option<CStrArray<'a>>,
    pub(crate) mask: SigSet,
    pub(crate) ignored: SigSet,
    pub(crate) pid: c_int,
    pub(crate) pgrp: c_int,
    /// Whether all descriptors that the request takes from the parent are open.
    pub(crate) sources_open: bool,
}

/// All that a step looks at.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) kernel: Kernel,
    pub(crate) mode: Mode,
    pub(crate) caller: Caller<'a>,
    /// The highest descriptor that is copied, if the child starts with its parent's
    /// table.
    last_copied: Option<u32>,
}

impl<'a> Input<'a> {
    pub(crate) fn new(
        request: &'a Request<'a>,
        kernel: Kernel,
        mode: Mode,
        caller: Caller<'a>,
    ) -> Self {
        let last_copied = fds::last_copied(request, kernel, &caller);
        Self { request, kernel, mode, caller, last_copied }
    }
}

/// Appends a run of steps.
pub(crate) type Stage = for<'p> fn(&mut Writer<'p>, &Input<'p>) -> Result<(), Error>;

/// The stages that a request asks for, in their order.
///
/// An option puts its stage in. So a program contains none that it does not ask for,
/// and a request that asks for little passes over the rest at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stages {
    pub(crate) cgroup: Option<Stage>,
    pub(crate) session: Option<Stage>,
    pub(crate) limits: Option<Stage>,
    pub(crate) fds: Option<Stage>,
    pub(crate) dirs: Option<Stage>,
    pub(crate) ids: Option<Stage>,
    pub(crate) process: Option<Stage>,
}

impl Stages {
    pub(crate) const NONE: Self = Self {
        cgroup: None,
        session: None,
        limits: None,
        fds: None,
        dirs: None,
        ids: None,
        process: None,
    };
}

/// The steps, in the one order that they have.
///
/// - The high descriptors go before anything else may touch one: until then the
///   child's table is the parent's.
/// - The cgroup comes next, so that it counts all that follows.
/// - Then the session, as opening a terminal may look at it.
/// - What is written to `/proc` needs the caller's root and credentials.
/// - Files are opened and descriptors moved before limits are lowered.
/// - The root and the working directory may need privileges: before the ids.
/// - In a stub is what it is for, the ids, and what comes after them; and limits, or
///   they would be those of its own exec.
/// - Groups, then gid, then uid: each takes away the right to the one before.
/// - Changing ids clears the parent death signal: after them.
/// - The hook sees all of that, and every descriptor.
/// - Signals are set, the others closed and the mask opened when nothing is
///   left but exec.
///
fn steps<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    let request = input.request;
    let Stages { cgroup, session, limits, fds, dirs, ids, process } = request.stages;
    let ask = |plan: &mut Writer<'a>, stage: Option<Stage>| match stage {
        Some(stage) => stage(plan, input),
        None => Ok(()),
    };
    fds::drop_high(plan, input);
    ask(plan, cgroup)?;
    ask(plan, session)?;
    ask(plan, limits)?;
    process::umask(plan, request)?;
    ask(plan, fds)?;
    ask(plan, dirs)?;
    if let (Mode::Stub, Some(stub)) = (input.mode, request.stub) {
        (stub.stage)(plan, input)?;
    }
    limits::rlimits(plan, request);
    ask(plan, ids)?;
    ask(plan, process)?;
    signals::actions(plan, input)?;
    fds::close_others(plan, input);
    signals::mask(plan, input);
    exec::exec(plan, input)
}

/// Compiles the request of `input` into `storage`.
#[inline]
pub(crate) fn compile<'a>(
    input: &Input<'a>,
    reason: Reason,
    storage: Storage<'a>,
) -> Result<Plan<'a>, Error> {
    let Input { request, kernel, mode, .. } = *input;
    let mut writer = Writer::new(storage);
    steps(&mut writer, input)?;
    if request.pidfd && !kernel.has(Feature::Pidfd) {
        return Err(Error::new(Step::Pidfd, 0, Errno::ENOSYS));
    }
    let shares_fds = input.last_copied.is_some();
    let needs_stack = writer.needs_stack();
    let stub_at = writer.stub_at();
    Ok(Plan {
        ops: writer.finish()?,
        kernel,
        mode,
        reason,
        pidfd: request.pidfd,
        cgroup: limits::born_in(request, kernel),
        #[cfg(feature = "alloc")]
        exec_fd: request.exec_fd,
        inherits_environ: request.envp.is_none(),
        shares_fds,
        needs_stack,
        stub: request.stub,
        stub_at,
    })
}

/// Writes `text`, of `length` bytes, to the file at `path`, relative to `dir`.
fn write_file<'a>(
    plan: &mut Writer<'a>,
    tag: Tag,
    dir: RawFd,
    path: &'a CStr,
    text: Text<'a>,
    length: usize,
) {
    plan.push(tag, sys!(OPENAT, dir, path, O_WRONLY | O_CLOEXEC)).save();
    plan.push(tag, sys!(WRITE, Saved, text, length)).expect(length as u32);
    plan.push(tag, sys!(CLOSE, Saved)).ok_any();
}

/// How much room [`compile`] takes, at most.
pub(crate) fn needed(input: &Input<'_>) -> Result<crate::plan::Needed, Error> {
    let mut writer = Writer::new(Storage::none());
    steps(&mut writer, input)?;
    Ok(writer.needed())
}
