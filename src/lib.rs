//! A process spawner for Linux that executes raw system calls only.
//!
//! A [`Request`] says what is wanted. It is compiled in the parent to a [`Plan`],
//! a flat list of system calls, which the child executes in a loop of some 90
//! instructions: without a stack, without a C library, in the parent's memory
//! where that is safe, and else in a copy or in a small program of its own. What the child is going to do can be
//! printed before it does it:
//!
//! ```
//! use rawspawn::{Buffer, CurrentDir, Exec, Request, argv};
//!
//! let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
//! request.env(argv![c"LANG=C"]).cwd(CurrentDir::Path(c"/")).umask(0o077);
//!
//! println!("{}", request.plan(&mut Buffer::<16>::new())?);
//!
//! let mut child = request.spawn(&mut Buffer::<16>::new())?;
//! assert!(child.wait()?.success());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An error names the [`Step`] that failed, and whatever fails, the parent is as
//! it was: no child, no zombie, no descriptor is left of it.
//!
//! ```
//! use rawspawn::{Buffer, CurrentDir, Errno, Exec, Request, Step, argv};
//!
//! let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
//! request.env(argv![c"LANG=C"]).cwd(CurrentDir::Path(c"/nonexistent"));
//! let error = request.spawn(&mut Buffer::<16>::new()).unwrap_err();
//! assert_eq!(error.step(), Step::CurrentDir);
//! assert_eq!(error.errno(), Some(Errno::ENOENT));
//! ```
//!
//! # Features
//!
//! - `std`, by default: `Command` and its kin, shaped like `std::process`.
//! - `alloc`: `HeapBuffer`, storage in the size that a request needs; `OwnedPlan` and
//!   `Pending`, for a child that is set up while its parent goes on.
//! - none: `no_std`, nothing is allocated.
//!
//! # Threads and async
//!
//! A spawn holds no lock and keeps no global state but what the kernel offers and, for a
//! second, whether somebody traces.
//! It suspends the calling thread until the child has executed its program, and
//! no other; a start (`Request::start`) does not suspend it either. A `Request` can be
//! shared by threads, each with storage of its own.
//!
//! # Systems
//!
//! Linux 4.7 and newer on x86-64, aarch64 and riscv64. What newer kernels add is
//! in [`Feature`].
#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

// The examples in README are tests.
#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
mod readme {}

mod arch;
mod array;
mod capability;
#[cfg(feature = "std")]
mod command;
mod compile;
mod environ;
mod errno;
mod error;
mod fd;
mod kernel;
mod low;
mod mode;
mod namespaces;
mod plan;
mod posix;
mod process;
mod request;
mod signal;
mod spawn;
mod status;
mod sys;
mod text;
mod uapi;

pub use array::{CStrArray, CStrPtr, Iter};
pub use capability::{CapSet, Capabilities};
#[cfg(feature = "std")]
pub use command::{
    Child, ChildStderr, ChildStdin, ChildStdout, Command, SpawnError, Stdio, TimedOut,
};
#[cfg(not(feature = "std"))]
pub use environ::set_inherited_environ;
pub use errno::Errno;
pub use error::{Cause, Error};
pub use fd::{Fd, pipe};
pub use kernel::{Feature, Kernel};
pub use low::LowFds;
pub use mode::{Mode, Modes, Reason};
pub use namespaces::{FsAction, IdRange, Join, Namespaces, NsSet};
pub use plan::{Buffer, Needed, Plan, Step, Storage};
#[cfg(feature = "alloc")]
pub use plan::{HeapBuffer, OwnedPlan};
pub use posix::{FileAction, PosixSpawn};
pub use process::Process;
pub use request::{
    CLibrary, CurrentDir, Exec, FdAction, Filter, Groups, Hook, HookFn, ListenFds, OtherFds,
    ParentHook, RawFd, Request, Rlimit, Scheduler,
};
pub use signal::SigSet;
#[cfg(feature = "alloc")]
pub use spawn::Pending;
pub use spawn::{Job, spawn_all};
pub use status::WaitStatus;
#[cfg(feature = "std")]
pub use std::process::{ExitStatus, Output};
pub use sys::Rusage;
