//! From a request to a plan: a pure function of the request, what the kernel
//! offers and what the parent has read of itself.
//!
//! The order of the steps is the order of the calls in [`compile`].

pub(crate) mod dirs;
pub(crate) mod exec;
pub(crate) mod fds;
pub(crate) mod ids;
pub(crate) mod limits;
pub(crate) mod namespaces;
pub(crate) mod posix;
pub(crate) mod privileges;
pub(crate) mod process;
pub(crate) mod sandbox;
pub(crate) mod service;
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
use crate::plan::{Plan, Step, Storage, Writer};
use crate::request::{OtherFds, RawFd, Request};
use crate::signal::SigSet;
use crate::spawn::around::{Around, Wanted};

pub(crate) use fds::{HIGH, all_sources, names, needs_maps_only, uses_after_moves};

/// What the parent has read of itself, as far as the request depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    /// The environment to inherit.
    pub(crate) envp: Option<CStrArray<'a>>,
    /// Its signal mask, if the child needs to be given it.
    pub(crate) mask: Option<SigSet>,
    pub(crate) ignored: SigSet,
    pub(crate) pid: c_int,
    pub(crate) pgrp: c_int,
    /// Whether all descriptors that the request takes from the parent are open.
    pub(crate) sources_open: bool,
    /// What it does around the clone.
    pub(crate) around: Wanted,
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
type Stage = for<'p> fn(&mut Writer<'p>, &Input<'p>) -> Result<(), Error>;

/// The stages that a request asks for, in their order.
///
/// An option puts its stage in. So a program contains none that it does not ask for,
/// and a request that asks for little passes over the rest at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stages {
    stages: [Option<Stage>; 19],
    /// A bit for each that is there, as most are not.
    asked: u32,
}

impl Stages {
    pub(crate) const NONE: Self = Self { stages: [None; 19], asked: 0 };

    // Their places.
    pub(crate) const ARRIVE: usize = 0;
    pub(crate) const CGROUP: usize = 1;
    pub(crate) const SESSION: usize = 2;
    pub(crate) const LIMITS: usize = 3;
    pub(crate) const UMASK: usize = 4;
    pub(crate) const POSIX: usize = 5;
    pub(crate) const FDS: usize = 6;
    pub(crate) const STUB: usize = 7;
    pub(crate) const SERVICE: usize = 8;
    pub(crate) const ENTER: usize = 9;
    pub(crate) const DIRS: usize = 10;
    pub(crate) const RLIMITS: usize = 11;
    pub(crate) const PRIVILEGES: usize = 12;
    pub(crate) const FILTER_EARLY: usize = 13;
    pub(crate) const IDS: usize = 14;
    pub(crate) const CAPABILITIES: usize = 15;
    pub(crate) const PROCESS: usize = 16;
    pub(crate) const HOOK: usize = 17;
    pub(crate) const FILTER_LATE: usize = 18;

    /// Puts `stage` in its place.
    pub(crate) const fn put(&mut self, place: usize, stage: Stage) {
        self.stages[place] = Some(stage);
        self.asked |= 1 << place;
    }

    /// Whether there is one of an option that the mode depends on: all but those which set up
    /// what any child can set up, in memory that it shares.
    #[inline]
    pub(crate) const fn concern_the_mode(&self) -> bool {
        const NEVER: u32 = 1 << Stages::SESSION
            | 1 << Stages::LIMITS
            | 1 << Stages::UMASK
            | 1 << Stages::FDS
            | 1 << Stages::DIRS
            | 1 << Stages::RLIMITS
            | 1 << Stages::PROCESS;
        self.asked & !NEVER != 0
    }

    /// Appends the steps that have waited for the stub.
    fn late<'a>(&self, plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
        if input.request.cgroup.is_some() {
            self.ask(Self::CGROUP, Self::CGROUP, plan, input)?;
            self.ask(Self::LIMITS, Self::LIMITS, plan, input)?;
        }
        Ok(())
    }

    /// Appends the steps of the stages from `first` to `last`.
    #[inline]
    fn ask<'a>(
        &self,
        first: usize,
        last: usize,
        plan: &mut Writer<'a>,
        input: &Input<'a>,
    ) -> Result<(), Error> {
        let mut left = self.asked & ((2 << last) - (1 << first));
        while left != 0 {
            let place = left.trailing_zeros() as usize;
            left &= left - 1;
            if let Some(Some(stage)) = self.stages.get(place) {
                stage(plan, input)?;
            }
        }
        Ok(())
    }
}

/// The steps, in the one order that they have.
///
/// - The high descriptors go before anything else may touch one: until then the
///   child's table is the parent's.
/// - The maps of a user namespace come next, as nobody is anyone before.
/// - The cgroup comes then, so that it counts all that follows.
/// - Then the session, as opening a terminal may look at it.
/// - What is written to `/proc` needs the caller's root and credentials.
/// - Files are opened and descriptors moved before limits are lowered.
/// - What `posix_spawn(3)` does comes with its own order, before what the request says besides.
/// - In a stub is what it is for, and what comes after that; and limits, or they would
///   be those of its own exec. A cgroup is entered there, and then comes scheduling.
/// - What `/proc` is asked for comes before there may be another one, or none.
/// - Namespaces are joined before others are made: those belong to the user namespace that
///   the child is in.
/// - The root and the working directory may need privileges: before the ids.
/// - Securebits and the bounding set need `CAP_SETPCAP`: before the ids.
/// - A filter without `no_new_privs` needs `CAP_SYS_ADMIN`: before them too; with it, it
///   is the last thing before exec, and need not allow what comes before.
/// - Groups, then gid, then uid: each takes away the right to the one before.
/// - The other capabilities come after them, as a change of the uid would clear them.
/// - Changing ids clears the parent death signal: after them.
/// - Landlock wants `no_new_privs`, and ends access to files: the hook meets that.
/// - Signals are set, the others closed and the mask opened when nothing is
///   left but the hook and exec.
/// - The hook has the last word: what it does to signals, mask and descriptors, the others of
///   which are marked and not closed, reaches the program.
fn steps<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    let Input { request, kernel, .. } = input;
    if request.pidfd && !kernel.has(Feature::Pidfd) && !kernel.has(Feature::ClonePidfd) {
        return Err(Error::new(Step::Pidfd, 0, Errno::ENOSYS));
    }
    let stages = &request.stages;
    fds::drop_high(plan, input);
    stages.ask(Stages::ARRIVE, Stages::PROCESS, plan, input)?;
    signals::actions(plan, input)?;
    fds::close_others(plan, input);
    signals::mask(plan, input);
    stages.ask(Stages::HOOK, Stages::FILTER_LATE, plan, input)?;
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
    let shares_fds = input.last_copied.is_some();
    let needs_stack = writer.needs_stack();
    let stub_at = writer.stub_at();
    Ok(Plan {
        ops: writer.finish()?,
        kernel,
        mode,
        reason,
        pidfd: request.pidfd,
        leave_dead: request.leave_dead,
        cgroup: match mode {
            Mode::Stub => request.cgroup,
            _ => limits::born_in(request, kernel),
        },
        #[cfg(feature = "alloc")]
        exec_fd: request.exec_fd,
        inherits_environ: request.envp.is_none(),
        shares_fds,
        needs_stack,
        around: Around::new(request, input.caller.around),
        stub: request.stub,
        stub_at,
    })
}

/// Writes a copy of `parts`, joined, to the file at `path`, relative to `dir`.
fn write_file<'a>(plan: &mut Writer<'a>, tag: Tag, dir: RawFd, path: &'a CStr, parts: &[&[u8]]) {
    let text = plan.text(parts);
    let length = parts.iter().fold(0, |sum, part| sum + part.len());
    plan.push(tag, sys!(OPENAT, dir, path, O_WRONLY | O_CLOEXEC)).save();
    plan.push(tag, sys!(WRITE, Saved, text, length)).expect(length as u32);
    plan.push(tag, sys!(CLOSE, Saved)).ok_any();
}

/// How much room [`compile`] takes, at most: whether the child has its parent's table of
/// descriptors at first, or a copy of all of it.
pub(crate) fn needed(input: &Input<'_>) -> Result<crate::plan::Needed, Error> {
    let mut writer = Writer::new(Storage::none());
    let input = Input { last_copied: None, ..*input };
    steps(&mut writer, &input)?;
    let needed = writer.needed();
    // The copy of the low part is an op.
    let copies = usize::from(input.request.other_fds == OtherFds::Close);
    Ok(crate::plan::Needed { ops: needed.ops + copies, ..needed })
}
