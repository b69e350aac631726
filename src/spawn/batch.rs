//! Several programs, started together by one thread.

use super::traced::is_traced;
use super::{Frame, Made, clone_flags, make};
use crate::error::Error;
use crate::mode::Mode;
use crate::plan::Plan;
use crate::process::Process;

/// A program to be started with others by [`spawn_all`].
#[derive(Debug)]
pub struct Job<'p> {
    plan: &'p Plan<'p>,
    frame: Frame,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not started, or taken.
    Idle,
    /// Its child may still be in this memory.
    Made(Made),
    Done(Result<Process, Error>),
}

impl<'p> Job<'p> {
    /// A job that starts the program of `plan`.
    pub const fn new(plan: &'p Plan<'p>) -> Self {
        Self { plan, frame: Frame::new(), state: State::Idle }
    }

    /// Takes what came of it; `None` before [`spawn_all`], and after it was taken.
    ///
    /// # Errors
    ///
    /// Those of [`Plan::spawn`].
    pub fn take(&mut self) -> Option<Result<Process, Error>> {
        match core::mem::replace(&mut self.state, State::Idle) {
            State::Done(result) => Some(result),
            _ => None,
        }
    }

    /// Makes the child, or, if that has to hold the caller, spawns. `shares_fds`: it may
    /// start with the table of descriptors of this thread, which does not touch it. `traced`:
    /// somebody follows, who would take the child for a thread.
    fn start(&mut self, shares_fds: bool, traced: bool) {
        let plan = self.plan;
        let made = plan.may_be_kept().and_then(|()| {
            if traced || plan.why_wait().is_some() {
                return plan.run().map(|process| State::Done(Ok(process)));
            }
            self.frame = Frame::new();
            let flags = clone_flags(plan, Mode::Detached, shares_fds && plan.shares_fds);
            // SAFETY: The frame is new; it and what the plan borrows stay until a
            // `Batch` is done, which `spawn_all` has, and keeps.
            unsafe { make(plan, &self.frame, flags) }.map(State::Made)
        });
        self.state = made.unwrap_or_else(|error| State::Done(Err(error)));
    }
}

/// Starts the programs of all `jobs`, and returns when all have been executed or have
/// failed: [`Job::take`] gives what came of each.
///
/// The children are set up and execute their programs in parallel, on all processors that
/// there are; one after the other, each would wait for the one before. A job whose spawn
/// has to hold the caller, for one of the reasons in [`Reason`](crate::Reason), is spawned in its place
/// among the others.
///
/// Nothing is allocated. A job can be started again, once its result was taken or is no
/// longer of interest: a process that is not taken is dropped, which neither kills nor waits.
///
/// ```
/// use rawspawn::{Buffer, Exec, Job, Request, argv, spawn_all};
///
/// let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
/// request.env(argv![]);
/// let mut buffer = Buffer::<8>::new();
/// let plan = request.plan(&mut buffer)?;
/// let mut jobs: [Job<'_>; 16] = core::array::from_fn(|_| Job::new(&plan));
/// spawn_all(&mut jobs);
/// for job in &mut jobs {
///     assert!(job.take().expect("started")?.wait()?.success());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn spawn_all(jobs: &mut [Job<'_>]) {
    // What is opened for one job, a pidfd, a pipe, must not become what another, still at its
    // copy of the table, takes for a descriptor that it was given.
    let opens = |job: &Job<'_>| job.plan.pidfd || job.plan.why_wait().is_some();
    let shares_fds = !jobs.iter().any(opens);
    let traced = is_traced();
    let batch = Batch(jobs);
    for job in &mut *batch.0 {
        job.start(shares_fds, traced);
    }
    batch.finish();
    for job in jobs {
        // A filter may have been installed since its plan was compiled.
        if let State::Done(Err(error)) = job.state {
            job.state = State::Done(job.plan.run_again(error));
        }
    }
}

/// Jobs whose children may be in this memory, until it is finished or dropped, as by the panic of
/// a hook of the caller's.
struct Batch<'j, 'p>(&'j mut [Job<'p>]);

impl Batch<'_, '_> {
    /// Waits until all children have executed their programs or failed.
    fn finish(self) {
        drop(self);
    }
}

impl Drop for Batch<'_, '_> {
    fn drop(&mut self) {
        for job in &mut *self.0 {
            job.state = match core::mem::replace(&mut job.state, State::Idle) {
                State::Made(made) => {
                    State::Done(made.conclude(job.plan).map(Process::into_detached))
                }
                done => done,
            };
        }
    }
}
