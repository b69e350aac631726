//! A process spawner for Linux that executes raw system calls only.
#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod arch;
mod array;
mod compile;
mod environ;
mod errno;
mod error;
mod fd;
mod kernel;
mod mode;
mod plan;
mod process;
mod request;
mod signal;
mod spawn;
mod status;
mod sys;
mod text;
mod uapi;

pub use array::{CStrArray, CStrPtr, Iter};
#[cfg(not(feature = "std"))]
pub use environ::set_inherited_environ;
pub use errno::Errno;
pub use error::{Cause, Error};
pub use fd::{Fd, pipe};
pub use kernel::{Feature, Kernel};
pub use mode::{Mode, Modes, Reason};
#[cfg(feature = "alloc")]
pub use plan::HeapBuffer;
pub use plan::{Buffer, Needed, Plan, Step, Storage};
pub use process::Process;
pub use request::{
    CurrentDir, Exec, FdAction, Groups, Hook, HookFn, OtherFds, RawFd, Request, Rlimit, Scheduler,
};
pub use signal::SigSet;
pub use status::WaitStatus;
pub use sys::Rusage;
