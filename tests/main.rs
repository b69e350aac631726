//! What can be seen of the crate from outside, with real children: a topic a file.
//!
//! One executable, so that it can be put into a machine that has nothing else.
#![allow(unsafe_code)]

mod batch;
mod calls;
mod cgroup;
mod common;

#[cfg(feature = "std")]
mod command;
#[cfg(feature = "std")]
mod command_hooks;
mod costs;
mod descriptors;
#[cfg(feature = "alloc")]
mod detached;
mod dirs;
mod early_resume;
mod errors;
mod exec;
mod filters;
mod hooks;
mod ids;
mod kernel_fallbacks;
mod left_dead;
mod limits;
mod low_fds;
mod memory;
mod modes;
mod namespaces;
mod parent_hook;
mod plans;
mod posix;
mod privileges;
mod processes;
mod services;
mod session;
mod signals;
mod stub;
mod threads;
mod tidy;
mod traced;
