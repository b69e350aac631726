//! The peers that run in the native worker. What a peer lets its caller prepare is
//! prepared; what is left is the spawn that is timed.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use libc::pid_t;
use rawspawn::{
    Buffer, Error, Exec, Fd, FdAction, Job, LowFds, Modes, OtherFds, Pending, Plan, Request, pipe,
    spawn_all,
};

use crate::setup::Setup;

/// Spawns the program of a `Setup`.
pub(crate) trait Spawner {
    /// Starts `count` children, and adds their pids.
    fn spawn(&mut self, count: usize, pids: &mut Vec<pid_t>) -> io::Result<()>;

    /// Waits until all have executed the program, if `spawn` does not.
    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) type Spawn = Box<dyn Spawner>;

/// What spawns one child is called for each.
impl<F: FnMut() -> io::Result<pid_t>> Spawner for F {
    fn spawn(&mut self, count: usize, pids: &mut Vec<pid_t>) -> io::Result<()> {
        for _ in 0..count {
            pids.push(self()?);
        }
        Ok(())
    }
}

/// Starts children by `start`, and goes on meanwhile.
struct Detached<F> {
    start: F,
    pending: Vec<Pending>,
}

impl<F: FnMut() -> Result<Pending, Error>> Spawner for Detached<F> {
    fn spawn(&mut self, count: usize, pids: &mut Vec<pid_t>) -> io::Result<()> {
        for _ in 0..count {
            let pending = (self.start)()?;
            pids.push(pending.pid());
            self.pending.push(pending);
        }
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        for pending in self.pending.drain(..) {
            pending.finish()?;
        }
        Ok(())
    }
}

/// Starts children together.
struct Together {
    jobs: Vec<Job<'static>>,
    plan: &'static Plan<'static>,
}

impl Spawner for Together {
    fn spawn(&mut self, count: usize, pids: &mut Vec<pid_t>) -> io::Result<()> {
        self.jobs.resize_with(count, || Job::new(self.plan));
        spawn_all(&mut self.jobs);
        for process in self.jobs.iter_mut().filter_map(Job::take) {
            pids.push(process?.pid());
        }
        Ok(())
    }
}

type Strings = *const *const c_char;
type CSpawn = unsafe extern "C" fn(*const c_char, Strings, Strings, c_int) -> pid_t;

unsafe extern "C" {
    fn bench_vfork(path: *const c_char, argv: Strings, envp: Strings, others: c_int) -> pid_t;
    fn bench_vfork_exit() -> pid_t;
    fn bench_fork(path: *const c_char, argv: Strings, envp: Strings, others: c_int) -> pid_t;
    fn bench_posix_spawn(path: *const c_char, argv: Strings, envp: Strings, others: c_int)
    -> pid_t;
}

/// `enum others` of c/bench.h.
const INHERIT: c_int = 0;
const CLOSE: c_int = 1;
const CLOEXEC: c_int = 2;

pub(crate) fn floor(setup: &'static Setup) -> Spawn {
    by_c(setup, bench_vfork, CLOEXEC)
}

pub(crate) fn floor_close(setup: &'static Setup) -> Spawn {
    by_c(setup, bench_vfork, CLOSE)
}

pub(crate) fn floor_inherit(setup: &'static Setup) -> Spawn {
    by_c(setup, bench_vfork, INHERIT)
}

pub(crate) fn vfork_exit(_: &'static Setup) -> Spawn {
    // SAFETY: The child ends in the function itself.
    Box::new(|| pid(unsafe { bench_vfork_exit() }))
}

pub(crate) fn fork(setup: &'static Setup) -> Spawn {
    by_c(setup, bench_fork, CLOEXEC)
}

pub(crate) fn glibc(setup: &'static Setup) -> Spawn {
    by_c(setup, bench_posix_spawn, INHERIT)
}

pub(crate) fn glibc_closefrom(setup: &'static Setup) -> Spawn {
    by_c(setup, bench_posix_spawn, CLOSE)
}

pub(crate) fn std(setup: &'static Setup) -> Spawn {
    by_std(std::process::Command::new(setup.path()))
}

pub(crate) fn std_pre_exec(setup: &'static Setup) -> Spawn {
    let mut command = std::process::Command::new(setup.path());
    // SAFETY: The hook does nothing.
    unsafe { command.pre_exec(|| Ok(())) };
    by_std(command)
}

pub(crate) fn rawspawn(setup: &'static Setup) -> Spawn {
    by_request(setup, OtherFds::Close)
}

pub(crate) fn rawspawn_inherit(setup: &'static Setup) -> Spawn {
    by_request(setup, OtherFds::Inherit)
}

pub(crate) fn rawspawn_plan(setup: &'static Setup) -> Spawn {
    let plan = plan(setup);
    Box::new(move || Ok(plan.spawn()?.pid()))
}

pub(crate) fn rawspawn_start(setup: &'static Setup) -> Spawn {
    let request = request(setup);
    Box::new(Detached { start: move || request.start(), pending: Vec::new() })
}

pub(crate) fn rawspawn_plan_start(setup: &'static Setup) -> Spawn {
    let plan = request(setup).owned_plan().expect("a plan of three calls");
    Box::new(Detached { start: move || plan.start(), pending: Vec::new() })
}

pub(crate) fn rawspawn_all(setup: &'static Setup) -> Spawn {
    Box::new(Together { jobs: Vec::new(), plan: plan(setup) })
}

pub(crate) fn rawspawn_command(setup: &'static Setup) -> Spawn {
    let mut command = rawspawn::Command::new(setup.path());
    Box::new(move || Ok(command.spawn()?.id() as pid_t))
}

/// Who has no rights, on most systems.
const NOBODY: u32 = 65_534;

pub(crate) fn rawspawn_uid(setup: &'static Setup) -> Spawn {
    by_uid(setup, Modes::Any)
}

pub(crate) fn rawspawn_uid_fork(setup: &'static Setup) -> Spawn {
    by_uid(setup, Modes::Fork)
}

pub(crate) fn std_uid(setup: &'static Setup) -> Spawn {
    let mut command = std::process::Command::new(setup.path());
    command.uid(NOBODY).gid(NOBODY);
    by_std(command)
}

fn by_uid(setup: &'static Setup, modes: Modes) -> Spawn {
    let mut request = request(setup);
    request.uid(NOBODY).gid(NOBODY).modes(modes);
    let mut buffer = Buffer::<16>::new();
    Box::new(move || Ok(request.spawn(&mut buffer)?.pid()))
}

pub(crate) fn std_pipes(setup: &'static Setup) -> Spawn {
    let mut command = std::process::Command::new(setup.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    by_std(command)
}

pub(crate) fn rawspawn_pipes(setup: &'static Setup) -> Spawn {
    by_pipes(setup, None)
}

pub(crate) fn rawspawn_low(setup: &'static Setup) -> Spawn {
    // Before the worker has opened what makes other numbers high.
    let low = LowFds::claim(3).expect("a process without many descriptors");
    by_pipes(setup, Some(low))
}

/// Makes three pipes, spawns with an end of each, and closes them.
fn by_pipes(setup: &'static Setup, low: Option<LowFds>) -> Spawn {
    let base = request(setup);
    let mut buffer = Buffer::<16>::new();
    Box::new(move || {
        let pipe = || pipe().map_err(|errno| io::Error::from_raw_os_error(errno.raw()));
        let pipes = [pipe()?, pipe()?, pipe()?];
        let [(stdin, _), (_, stdout), (_, stderr)] = &pipes;
        let map = |fd: &Fd, child_fd| FdAction::Map { parent_fd: fd.raw(), child_fd };
        let actions = [map(stdin, 0), map(stdout, 1), map(stderr, 2)];
        let mut request: Request<'_> = base;
        request.fds(&actions);
        let process = match &low {
            Some(low) => request.spawn_with(low, &mut buffer)?,
            None => request.spawn(&mut buffer)?,
        };
        Ok(process.pid())
    })
}

fn by_c(setup: &'static Setup, spawn: CSpawn, others: c_int) -> Spawn {
    let Setup { program, argv, envp } = setup;
    // SAFETY: C strings and arrays of them, which live for ever.
    Box::new(move || pid(unsafe { spawn(program.as_ptr(), argv.as_ptr(), envp.as_ptr(), others) }))
}

fn by_std(mut command: std::process::Command) -> Spawn {
    Box::new(move || Ok(command.spawn()?.id() as pid_t))
}

fn by_request(setup: &'static Setup, others: OtherFds) -> Spawn {
    let mut request = request(setup);
    request.other_fds(others);
    let mut buffer = Buffer::<16>::new();
    Box::new(move || Ok(request.spawn(&mut buffer)?.pid()))
}

fn request(setup: &'static Setup) -> Request<'static> {
    let mut request = Request::new(Exec::Path(setup.program), setup.argv);
    request.env(setup.envp);
    request
}

/// A plan that is kept.
fn plan(setup: &'static Setup) -> &'static Plan<'static> {
    let request = Box::leak(Box::new(request(setup)));
    let buffer = Box::leak(Box::new(Buffer::<16>::new()));
    Box::leak(Box::new(request.plan(buffer).expect("a plan of three calls")))
}

/// What a C peer returned.
fn pid(result: pid_t) -> io::Result<pid_t> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
}
