//! From a request to a plan: a pure function of the request, what the kernel
//! offers and what the parent has read of itself.
//!
//! The order of the steps is the order of the calls in [`compile`].

mod dirs;
mod exec;
mod fds;
mod ids;
mod limits;
mod process;
mod session;
mod signals;

use core::ffi::c_int;

use crate::array::CStrArray;
use crate::errno::Errno;
use crate::error::Error;
use crate::kernel::{Feature, Kernel};
use crate::mode::{Mode, Reason};
use crate::plan::{Plan, Step, Storage, Writer};
use crate::request::Request;
use crate::signal::SigSet;

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

/// The steps, in the one order that they have.
///
/// - The high descriptors go before anything else may touch one: until then the
///   child's table is the parent's.
/// - The session comes next, as opening a terminal may look at it.
/// - What is written to `/proc` needs the caller's root and credentials.
/// - Files are opened and descriptors moved before limits are lowered.
/// - The root and the working directory may need privileges: before the ids.
/// - Groups, then gid, then uid: each takes away the right to the one before.
/// - Changing ids clears the parent death signal: after them.
/// - The hook sees all of that, and every descriptor.
/// - Signals are set, the others closed and the mask opened when nothing is
///   left but exec.
///
/// Most requests ask for few of them. So the steps are `inline`: what has to be
/// fetched is then a row of tests, not a function for each.
fn steps<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    let request = input.request;
    fds::drop_high(plan, input);
    session::session(plan, request)?;
    session::process_group(plan, request)?;
    session::controlling_terminal(plan, request);
    session::foreground(plan, input);
    limits::scheduler(plan, request);
    limits::nice(plan, request)?;
    limits::affinity(plan, request);
    limits::ioprio(plan, request);
    limits::oom_score_adj(plan, request)?;
    process::umask(plan, request)?;
    fds::moves(plan, request)?;
    fds::opens(plan, request);
    fds::closes(plan, request);
    limits::rlimits(plan, request);
    dirs::root(plan, request);
    dirs::cwd(plan, request)?;
    ids::groups(plan, request);
    ids::gid(plan, request)?;
    ids::uid(plan, request)?;
    process::parent_death_signal(plan, input);
    process::no_new_privs(plan, request);
    process::hook(plan, request);
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
    Ok(Plan {
        ops: writer.finish()?,
        kernel,
        mode,
        reason,
        pidfd: request.pidfd,
        #[cfg(feature = "alloc")]
        exec_fd: request.exec_fd,
        inherits_environ: request.envp.is_none(),
        shares_fds,
        needs_stack,
    })
}

/// How much room [`compile`] takes, at most.
pub(crate) fn needed(input: &Input<'_>) -> Result<crate::plan::Needed, Error> {
    let mut writer = Writer::new(Storage::none());
    steps(&mut writer, input)?;
    Ok(writer.needed())
}
