//! Spawns programs without a C library, and shows what their children execute.
//!
//! Run with: `./demo`, or `./demo COMMAND [ARGUMENT]…`
#![no_std]
#![no_main]

use core::ffi::CStr;

use rawspawn::{Buffer, CStrArray, Exec, FdAction, Process, Request, argv, pipe};
use rawspawn_rt::{STDERR, STDOUT};

rawspawn_rt::main!(main);

fn main(arguments: CStrArray<'static>, environment: CStrArray<'static>) -> i32 {
    let command = arguments.after_first();
    match command.iter().next() {
        Some(name) => {
            let mut request = Request::new(Exec::Search { name, path: None }, command);
            finish(name, spawn(name, request.env(environment)))
        }
        None => echo_to_cat(environment),
    }
}

/// `echo … | cat`.
fn echo_to_cat(environment: CStrArray<'static>) -> i32 {
    let Ok((reader, writer)) = pipe() else { return 1 };
    let to_pipe = [FdAction::Map { parent_fd: writer.raw(), child_fd: 1 }];
    let from_pipe = [FdAction::Map { parent_fd: reader.raw(), child_fd: 0 }];

    let words = argv![c"echo", c"hello from a child without libc"];
    let mut request = Request::new(Exec::Path(c"/bin/echo"), words);
    let echo = spawn(c"echo", request.env(environment).fds(&to_pipe));

    let mut request = Request::new(Exec::Path(c"/bin/cat"), argv![c"cat"]);
    let cat = spawn(c"cat", request.env(environment).fds(&from_pipe));

    // The last writing end, or cat would wait for more.
    drop(writer);
    finish(c"echo", echo).max(finish(c"cat", cat))
}

/// Prints what the child is going to execute, and has it do so.
fn spawn(name: &CStr, request: &Request<'_>) -> Option<Process> {
    let mut buffer = Buffer::<64, 1024>::new();
    let spawned = request.plan(&mut buffer).and_then(|plan| {
        STDOUT.print(name, ":\n", &plan);
        plan.spawn()
    });
    spawned.map_err(|error| STDERR.line(name, &error)).ok()
}

/// Waits, prints how the child ended, and returns what a shell would.
fn finish(name: &CStr, child: Option<Process>) -> i32 {
    let Some(mut child) = child else { return 127 };
    let Ok(status) = child.wait() else { return 127 };
    STDOUT.line(name, &status);
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}
