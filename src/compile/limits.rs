//! The cgroup, scheduling and resource limits.
//!
//! A child enters its cgroup in memory of its own: a fork is made there, or moves before all else,
//! and a stub moves as its first act, before what a move could undo.

use linux_raw_sys::general::PRIO_PROCESS;

use super::{Input, write_file};
use crate::errno::Errno;
use crate::error::Error;
use crate::kernel::{Feature, Kernel};
use crate::mode::Mode;
use crate::plan::op::{Arg, Saved, Tag, sys};
use crate::plan::{Step, Writer, tables};
use crate::request::{RawFd, Request, Scheduler};
use crate::text::Digits;
use crate::uapi::IOPRIO_WHO_PROCESS;

/// The cgroup that the child is made in, if the kernel can do that.
pub(super) fn born_in(request: &Request<'_>, kernel: Kernel) -> Option<RawFd> {
    // There is no telling CLONE_INTO_CGROUP by a harmless call, but what came after it.
    let can =
        kernel.has(Feature::Clone3) && kernel.has(Feature::CloseRange) && !request.is_forked();
    request.cgroup.filter(|_| can)
}

/// Whether a step has to wait for the stub: the cgroup, which a child enters in memory of its
/// own alone, and what that could undo.
fn is_early(plan: &Writer<'_>, input: &Input<'_>) -> bool {
    input.mode == Mode::Stub && input.request.cgroup.is_some() && !plan.is_in_stub()
}

/// Enters the cgroup, if the child was not made there.
pub(crate) fn cgroup<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    tables::link();
    let Some(fd) = input.request.cgroup else { return Ok(()) };
    if fd < 0 {
        return Err(Error::new(Step::Cgroup, 0, Errno::EBADF));
    }
    if is_early(plan, input) {
        return Ok(());
    }
    // 0 is who writes.
    if input.mode == Mode::Stub {
        // To what the parent opens when it makes the stub, and fills in there.
        let tag = Tag::new(Step::Cgroup);
        plan.push(tag, sys!(WRITE, Saved, c"0", 1)).expect(1);
        plan.push(tag, sys!(CLOSE, Saved)).ok_any();
    } else if born_in(input.request, input.kernel).is_none() {
        write_file(plan, Tag::new(Step::Cgroup), fd, c"cgroup.procs", &[b"0"]);
    }
    Ok(())
}

/// Scheduling, and what else the kernel shares out.
pub(crate) fn stage<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    tables::link();
    // A cgroup may reset the affinity.
    if is_early(plan, input) {
        return Ok(());
    }
    let request = input.request;
    scheduler(plan, request);
    nice(plan, request)?;
    affinity(plan, request);
    ioprio(plan, request);
    oom_score_adj(plan, request)
}

/// Sets policy and priority. `sched_setattr` would reset the nice value.
fn scheduler<'a>(plan: &mut Writer<'a>, request: &'a Request<'a>) {
    if let Some(scheduler) = &request.scheduler {
        set_scheduler(plan, scheduler);
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the op points to a part of it
pub(super) fn set_scheduler<'a>(plan: &mut Writer<'a>, scheduler: &'a Scheduler) {
    let param = Arg::ptr(&scheduler.priority);
    let op = sys!(SCHED_SETSCHEDULER, 0, scheduler.policy, param);
    plan.push(Tag::new(Step::Scheduler), op);
}

/// Sets the nice value.
fn nice(plan: &mut Writer<'_>, request: &Request<'_>) -> Result<(), Error> {
    if let Some(nice) = request.nice {
        if !(-20..=19).contains(&nice) {
            return Err(Error::new(Step::Nice, 0, Errno::EINVAL));
        }
        plan.push(Tag::new(Step::Nice), sys!(SETPRIORITY, PRIO_PROCESS, 0, nice));
    }
    Ok(())
}

/// Sets the CPU affinity.
fn affinity<'a>(plan: &mut Writer<'a>, request: &'a Request<'a>) {
    if let Some(cpus) = request.affinity {
        let op = sys!(SCHED_SETAFFINITY, 0, size_of_val(cpus), Arg::ptr(cpus));
        plan.push(Tag::new(Step::Affinity), op);
    }
}

/// Sets the I/O priority.
fn ioprio(plan: &mut Writer<'_>, request: &Request<'_>) {
    if let Some(ioprio) = request.ioprio {
        let op = sys!(IOPRIO_SET, IOPRIO_WHO_PROCESS, 0, u32::from(ioprio));
        plan.push(Tag::new(Step::IoPriority), op);
    }
}

/// Writes `/proc/self/oom_score_adj`.
///
/// In a child that shares memory the kernel would change the parent too, were
/// it not for `CLONE_VFORK` (Linux, `fs/proc/base.c`, `__set_oom_adj`).
fn oom_score_adj(plan: &mut Writer<'_>, request: &Request<'_>) -> Result<(), Error> {
    let Some(adj) = request.oom_score_adj else { return Ok(()) };
    if !(-1000..=1000).contains(&adj) {
        return Err(Error::new(Step::OomScoreAdj, 0, Errno::EINVAL));
    }
    let digits = Digits::decimal(adj.into());
    let path = c"/proc/self/oom_score_adj";
    write_file(plan, Tag::new(Step::OomScoreAdj), -1, path, &[digits.as_bytes()]);
    Ok(())
}

/// Sets resource limits.
#[allow(clippy::unnecessary_wraps)] // a stage like others
pub(crate) fn rlimits<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    tables::link();
    for (index, rlimit) in input.request.rlimits.iter().enumerate() {
        let tag = Tag::item(Step::Rlimit, index);
        plan.push(tag, sys!(PRLIMIT64, 0, rlimit.resource, Arg::ptr(&rlimit.limit), 0));
    }
    Ok(())
}
