//! Spawns programs without a C library, and shows what their children execute.
//!
//! Run with: `./demo`, or `./demo COMMAND [ARGUMENT]…`
#![no_std]
#![no_main]

use core::ffi::CStr;

use rawspawn::{Buffer, CStrArray, Exec, FdAction, Process, Request, argv, pipe};
use rawspawn_rt::{STDERR, STDOUT};

rawspawn_rt::main!(main);

fn main(arguments: CStrArray<'static>, _: CStrArray<'static>) -> i32 {
    let command = arguments.after_first();
    match command.iter().next() {
        Some(name) => {
            let program = Exec::Search { name, path: None };
            finish(name, spawn(name, &Request::new(program, command)))
        }
        None => echo_to_cat(),
    }
}

/// `echo … | cat`.
fn echo_to_cat() -> i32 {
    let Ok((reader, writer)) = pipe() else { return 1 };
    let to_pipe = [FdAction::Map { parent_fd: writer.raw(), child_fd: 1 }];
    let from_pipe = [FdAction::Map { parent_fd: reader.raw(), child_fd: 0 }];

    let words = argv![c"echo", c"hello from a child without libc"];
    let mut request = Request::new(Exec::Path(c"/bin/echo"), words);
    request.fds(&to_pipe);
    let echo = spawn(c"echo", &request);

    let mut request = Request::new(Exec::Path(c"/bin/cat"), argv![c"cat"]);
    request.fds(&from_pipe);
    let cat = spawn(c"cat", &request);

    // The last writing end, or cat would wait for more.
    drop(writer);
    finish(c"echo", echo).max(finish(c"cat", cat))
}

/// Prints what the child is going to execute, and has it do so.
fn spawn(name: &CStr, request: &Request<'_>) -> Option<Process> {
    let mut buffer = Buffer::<64, 1024>::new();
    if let Ok(plan) = request.plan(&mut buffer) {
        STDOUT.print(name, ":\n", &plan);
    }
    request.spawn(&mut buffer).map_err(|error| STDERR.line(name, &error)).ok()
}

/// Waits, prints how the child ended, and returns what a shell would.
fn finish(name: &CStr, child: Option<Process>) -> i32 {
    let Some(mut child) = child else { return 127 };
    let Ok(status) = child.wait() else { return 127 };
    STDOUT.line(name, &status);
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}
