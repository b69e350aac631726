//! Scheduling and resource limits.

use linux_raw_sys::general::{O_CLOEXEC, O_WRONLY, PRIO_PROCESS};

use crate::errno::Errno;
use crate::error::Error;
use crate::plan::op::{Arg, Saved, Tag, sys};
use crate::plan::{Step, Writer};
use crate::request::Request;
use crate::text::Digits;
use crate::uapi::IOPRIO_WHO_PROCESS;

/// Sets policy and priority. `sched_setattr` would reset the nice value.
#[inline]
pub(super) fn scheduler<'a>(plan: &mut Writer<'a>, request: &'a Request<'a>) {
    if let Some(scheduler) = &request.scheduler {
        let param = Arg::ptr(&scheduler.priority);
        let op = sys!(SCHED_SETSCHEDULER, 0, scheduler.policy, param);
        plan.push(Tag::new(Step::Scheduler), op);
    }
}

/// Sets the nice value.
#[inline]
pub(super) fn nice(plan: &mut Writer<'_>, request: &Request<'_>) -> Result<(), Error> {
    if let Some(nice) = request.nice {
        if !(-20..=19).contains(&nice) {
            return Err(Error::new(Step::Nice, 0, Errno::EINVAL));
        }
        plan.push(Tag::new(Step::Nice), sys!(SETPRIORITY, PRIO_PROCESS, 0, nice));
    }
    Ok(())
}

/// Sets the CPU affinity.
#[inline]
pub(super) fn affinity<'a>(plan: &mut Writer<'a>, request: &'a Request<'a>) {
    if let Some(cpus) = request.affinity {
        let op = sys!(SCHED_SETAFFINITY, 0, size_of_val(cpus), Arg::ptr(cpus));
        plan.push(Tag::new(Step::Affinity), op);
    }
}

/// Sets the I/O priority.
#[inline]
pub(super) fn ioprio(plan: &mut Writer<'_>, request: &Request<'_>) {
    if let Some(ioprio) = request.ioprio {
        let op = sys!(IOPRIO_SET, IOPRIO_WHO_PROCESS, 0, u32::from(ioprio));
        plan.push(Tag::new(Step::IoPriority), op);
    }
}

/// Writes `/proc/self/oom_score_adj`.
///
/// In a child that shares memory the kernel would change the parent too, were
/// it not for `CLONE_VFORK` (Linux, `fs/proc/base.c`, `__set_oom_adj`).
#[inline]
pub(super) fn oom_score_adj(plan: &mut Writer<'_>, request: &Request<'_>) -> Result<(), Error> {
    let Some(adj) = request.oom_score_adj else { return Ok(()) };
    if !(-1000..=1000).contains(&adj) {
        return Err(Error::new(Step::OomScoreAdj, 0, Errno::EINVAL));
    }
    let digits = Digits::decimal(adj.into());
    let text = plan.text(&[digits.as_bytes()]);
    let length = digits.as_bytes().len();
    let tag = Tag::new(Step::OomScoreAdj);
    let path = c"/proc/self/oom_score_adj";
    plan.push(tag, sys!(OPENAT, -1, path, O_WRONLY | O_CLOEXEC)).save();
    plan.push(tag, sys!(WRITE, Saved, text, length)).expect(length as u32);
    plan.push(tag, sys!(CLOSE, Saved)).ok_any();
    Ok(())
}

/// Sets resource limits.
#[inline]
pub(super) fn rlimits<'a>(plan: &mut Writer<'a>, request: &'a Request<'a>) {
    for (index, rlimit) in request.rlimits.iter().enumerate() {
        let tag = Tag::item(Step::Rlimit, index);
        plan.push(tag, sys!(PRLIMIT64, 0, rlimit.resource, Arg::ptr(&rlimit.limit), 0));
    }
}
