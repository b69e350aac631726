//! The peers that run in the native worker. What a peer lets its caller prepare is
//! prepared; what is left is the spawn that is timed.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};
use std::io;
use std::os::unix::process::CommandExt;

use libc::pid_t;
use rawspawn::{Buffer, Exec, OtherFds, Request};

use crate::setup::Setup;

/// Spawns the program of a `Setup`, once at each call, and returns its pid.
pub(crate) type Spawn = Box<dyn FnMut() -> io::Result<pid_t>>;

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
    let mut request = Request::new(Exec::Path(setup.program), setup.argv);
    request.env(setup.envp);
    let (request, buffer) =
        (Box::leak(Box::new(request)), Box::leak(Box::new(Buffer::<16>::new())));
    let plan = request.plan(buffer);
    Box::new(move || match &plan {
        Ok(plan) => Ok(plan.spawn()?.pid()),
        Err(error) => Err((*error).into()),
    })
}

pub(crate) fn rawspawn_command(setup: &'static Setup) -> Spawn {
    let mut command = rawspawn::Command::new(setup.path());
    Box::new(move || Ok(command.spawn()?.id() as pid_t))
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
    let mut request = Request::new(Exec::Path(setup.program), setup.argv);
    request.env(setup.envp).other_fds(others);
    let mut buffer = Buffer::<16>::new();
    Box::new(move || Ok(request.spawn(&mut buffer)?.pid()))
}

/// What a C peer returned.
fn pid(result: pid_t) -> io::Result<pid_t> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
}
