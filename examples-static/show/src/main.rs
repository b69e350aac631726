//! Spawns programs without a C library, and shows what their children execute.
//!
//! Run with: `./demo`, or `./demo COMMAND [ARGUMENT]…`
#![no_std]
#![no_main]

use core::ffi::CStr;
use core::fmt::{self, Write};

use rawspawn::{Buffer, CStrArray, Error, Exec, FdAction, Process, Request, argv, pipe};
use rawspawn_rt::{Output, STDOUT, print};

rawspawn_rt::main!(main);

fn main(arguments: CStrArray<'static>, _: CStrArray<'static>) -> i32 {
    let mut command = arguments.iter();
    command.next();
    let status = match command.next() {
        Some(name) => run(name, arguments.after_first()),
        None => echo_to_cat(),
    };
    status.unwrap_or(1)
}

/// Runs the command line, and returns what a shell would.
fn run(name: &CStr, argv: CStrArray<'_>) -> Result<i32, fmt::Error> {
    let request = Request::new(Exec::Search { name, path: None }, argv);
    match spawn(name, &request)? {
        Ok(mut process) => finish(name, &mut process),
        Err(error) => {
            print(&mut Output(2), name)?;
            writeln!(Output(2), ": {error}")?;
            Ok(127)
        }
    }
}

/// `echo … | cat`.
fn echo_to_cat() -> Result<i32, fmt::Error> {
    let Ok((reader, writer)) = pipe() else { return Ok(1) };
    let to_pipe = [FdAction::Map { parent_fd: writer.raw(), child_fd: 1 }];
    let from_pipe = [FdAction::Map { parent_fd: reader.raw(), child_fd: 0 }];

    let words = argv![c"echo", c"hello", c"from", c"a", c"child", c"without", c"libc"];
    let mut echo = Request::new(Exec::Path(c"/bin/echo"), words);
    echo.fds(&to_pipe);
    let mut cat = Request::new(Exec::Path(c"/bin/cat"), argv![c"cat"]);
    cat.fds(&from_pipe);

    let echo = spawn(c"echo", &echo)?;
    let cat = spawn(c"cat", &cat)?;
    // The last writing end, or cat would wait for more.
    drop(writer);
    let mut worst = 0;
    for (name, child) in [(c"echo", echo), (c"cat", cat)] {
        match child {
            Ok(mut process) => worst = finish(name, &mut process)?.max(worst),
            Err(error) => {
                print(&mut Output(2), name)?;
                writeln!(Output(2), ": {error}")?;
                worst = 127;
            }
        }
    }
    Ok(worst)
}

/// Prints what the child is going to execute, and has it do so.
fn spawn(name: &CStr, request: &Request<'_>) -> Result<Result<Process, Error>, fmt::Error> {
    let mut out = STDOUT;
    let mut buffer = Buffer::<64, 1024>::new();
    print(&mut out, name)?;
    match request.plan(&mut buffer) {
        Ok(plan) => writeln!(out, ":\n{plan}")?,
        Err(error) => return Ok(Err(error)),
    }
    Ok(request.spawn(&mut buffer))
}

/// Waits, and prints how the child ended.
fn finish(name: &CStr, process: &mut Process) -> Result<i32, fmt::Error> {
    let mut out = STDOUT;
    let status = process.wait();
    print(&mut out, name)?;
    match status {
        Ok(status) => {
            writeln!(out, " (pid {}): {status}", process.pid())?;
            Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
        }
        Err(errno) => {
            writeln!(out, " (pid {}): {errno}", process.pid())?;
            Ok(1)
        }
    }
}
