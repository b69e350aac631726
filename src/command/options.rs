//! The options of the core, and those of std's `CommandExt`.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::vec::Vec;

use super::{Command, FdAction, Groups, RawFd, Request, c_string};
use crate::capability::Capabilities;
use crate::kernel::Kernel;
use crate::mode::Modes;
use crate::namespaces::Namespaces;
use crate::request::{Filter, ListenFds, OtherFds, ParentHook, Rlimit, Scheduler};
use crate::signal::SigSet;

/// What a request borrows, owned.
#[derive(Debug, Default)]
pub(super) struct Owned {
    maps: Vec<(OwnedFd, RawFd)>,
    opens: Vec<(RawFd, CString, i32, u32)>,
    root: Option<CString>,
    groups: Option<Vec<u32>>,
    rlimits: Vec<Rlimit>,
    affinity: Option<Vec<usize>>,
    cgroup: Option<OwnedFd>,
    capabilities: Option<Capabilities>,
    seccomp: Option<Vec<Filter>>,
    landlock: Option<OwnedFd>,
}

impl Owned {
    pub(super) fn add_actions<'a>(&'a self, actions: &mut Vec<FdAction<'a>>) {
        actions.extend(self.maps.iter().map(|(fd, child_fd)| FdAction::Map {
            parent_fd: fd.as_raw_fd(),
            child_fd: *child_fd,
        }));
        actions.extend(self.opens.iter().map(|(child_fd, path, flags, mode)| FdAction::Open {
            child_fd: *child_fd,
            path,
            flags: *flags,
            mode: *mode,
        }));
    }

    pub(super) fn add_to<'a>(&'a self, request: &mut Request<'a>) {
        if let Some(root) = &self.root {
            request.root(root);
        }
        if let Some(groups) = &self.groups {
            request.groups(Groups::Set(groups));
        }
        if let Some(affinity) = &self.affinity {
            request.affinity(affinity);
        }
        if let Some(cgroup) = &self.cgroup {
            request.cgroup(cgroup.as_raw_fd());
        }
        if let Some(capabilities) = &self.capabilities {
            request.capabilities(capabilities);
        }
        if let Some(filter) = &self.seccomp {
            request.seccomp(filter);
        }
        if let Some(ruleset) = &self.landlock {
            request.landlock(ruleset.as_raw_fd());
        }
        request.rlimits(&self.rlimits);
    }

    pub(super) fn has_groups(&self) -> bool {
        self.groups.is_some()
    }
}

/// What std has too.
impl Command {
    /// Sets the user id: see [`Request::uid`].
    pub fn uid(&mut self, uid: u32) -> &mut Self {
        self.base.uid(uid);
        self
    }

    /// Sets the group id: see [`Request::gid`].
    pub fn gid(&mut self, gid: u32) -> &mut Self {
        self.base.gid(gid);
        self
    }

    /// Sets the supplementary groups: see [`Request::groups`].
    pub fn groups(&mut self, groups: &[u32]) -> &mut Self {
        self.owned.groups = Some(groups.into());
        self
    }

    /// Sets the process group; 0 makes one: see [`Request::process_group`].
    pub fn process_group(&mut self, pgrp: i32) -> &mut Self {
        self.base.process_group(pgrp);
        self
    }

    /// Starts a session: see [`Request::session`].
    pub fn setsid(&mut self, on: bool) -> &mut Self {
        self.base.session(on);
        self
    }

    /// Sets the root directory, and the working directory unless that is set: see
    /// [`Request::root`].
    pub fn chroot(&mut self, dir: impl AsRef<Path>) -> &mut Self {
        let dir: &OsStr = dir.as_ref().as_os_str();
        self.owned.root = Some(c_string(dir, &mut self.nul));
        self.beyond_std = true;
        self
    }
}

/// Options that are the core's and are passed on.
macro_rules! pass_on {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*);)+) => {
        /// What std does not have.
        impl Command {
            $(
                $(#[$doc])*
                pub fn $name(&mut self, $($arg: $ty),*) -> &mut Self {
                    self.base.$name($($arg),*);
                    self.beyond_std = true;
                    self
                }
            )+
        }
    };
}

pass_on! {
    /// Sets what becomes of descriptors that are not named: see
    /// [`Request::other_fds`].
    other_fds(others: OtherFds);
    /// Sets the file mode creation mask: see [`Request::umask`].
    umask(mask: u32);
    /// Takes a controlling terminal: see [`Request::controlling_terminal`].
    controlling_terminal(fd: RawFd);
    /// Takes a terminal's foreground: see [`Request::foreground`].
    foreground(fd: RawFd);
    /// Sets the signal at the death of this thread: see
    /// [`Request::parent_death_signal`].
    parent_death_signal(signal: i32);
    /// Sets `no_new_privs`: see [`Request::no_new_privs`].
    no_new_privs(on: bool);
    /// Sets the signal mask: see [`Request::signal_mask`].
    signal_mask(mask: SigSet);
    /// Sets the signals with their default action, instead of `SIGPIPE`: see
    /// [`Request::default_signals`].
    default_signals(signals: SigSet);
    /// Sets the signals to ignore: see [`Request::ignore_signals`].
    ignore_signals(signals: SigSet);
    /// Sets the nice value: see [`Request::nice`].
    nice(nice: i32);
    /// Sets the scheduling policy: see [`Request::scheduler`].
    scheduler(scheduler: Scheduler);
    /// Sets the I/O priority: see [`Request::ioprio`].
    ioprio(ioprio: u16);
    /// Sets the OOM score adjustment: see [`Request::oom_score_adj`].
    oom_score_adj(adj: i16);
    /// Sets by how much timers may be late: see [`Request::timer_slack`].
    timer_slack(nanos: u64);
    /// Has orphans become its children: see [`Request::subreaper`].
    subreaper(on: bool);
    /// Sets which memory a core dump has: see [`Request::coredump_filter`].
    coredump_filter(kinds: u32);
    /// Tells it what to listen on: see [`Request::listen_fds`]. What is not a constant can be
    /// leaked, or asked of a [`Request`].
    listen_fds(listen: &'static ListenFds<'static>);
    /// Sets its namespaces: see [`Request::namespaces`]. What is not a constant can be leaked,
    /// or asked of a [`Request`].
    namespaces(namespaces: &'static Namespaces<'static>);
    /// Runs a function here while the child waits: see [`Request::parent_hook`].
    parent_hook(hook: ParentHook<'static>);
    /// Has the shell run what is no program: see [`Request::sh_fallback`].
    sh_fallback(on: bool);
    /// Tries a busy file again: see [`Request::retry_busy`].
    retry_busy(times: u8);
    /// Sets which modes may be used: see [`Request::modes`].
    modes(modes: Modes);
    /// Takes this kernel for the running one: see [`Request::kernel`].
    kernel(kernel: Kernel);
}

impl Command {
    /// Gives the child `fd` as its descriptor `child_fd`, besides the standard
    /// streams. It stays open here until the command is dropped.
    pub fn fd(&mut self, fd: impl Into<OwnedFd>, child_fd: RawFd) -> &mut Self {
        self.owned.maps.push((fd.into(), child_fd));
        self.beyond_std = true;
        self
    }

    /// Sets what the child may do: see [`Request::capabilities`].
    pub fn capabilities(&mut self, capabilities: Capabilities) -> &mut Self {
        self.owned.capabilities = Some(capabilities);
        self.beyond_std = true;
        self
    }

    /// Installs a seccomp filter: see [`Request::seccomp`].
    pub fn seccomp(&mut self, filter: &[Filter]) -> &mut Self {
        self.owned.seccomp = Some(filter.into());
        self.beyond_std = true;
        self
    }

    /// Restricts the child by this Landlock ruleset: see [`Request::landlock`].
    pub fn landlock(&mut self, ruleset: impl Into<OwnedFd>) -> &mut Self {
        self.owned.landlock = Some(ruleset.into());
        self.beyond_std = true;
        self
    }

    /// Puts the child into the cgroup with this directory: see [`Request::cgroup`]. It is a fork
    /// or a stub.
    pub fn cgroup(&mut self, directory: impl Into<OwnedFd>) -> &mut Self {
        self.owned.cgroup = Some(directory.into());
        self.beyond_std = true;
        self
    }

    /// Has the child open a file as its descriptor `child_fd`: see
    /// [`FdAction::Open`].
    pub fn open(
        &mut self,
        child_fd: RawFd,
        path: impl AsRef<Path>,
        flags: i32,
        mode: u32,
    ) -> &mut Self {
        let path = c_string(path.as_ref().as_os_str(), &mut self.nul);
        self.owned.opens.push((child_fd, path, flags, mode));
        self.beyond_std = true;
        self
    }

    /// Adds a resource limit: see [`Request::rlimits`].
    pub fn rlimit(&mut self, limit: Rlimit) -> &mut Self {
        self.owned.rlimits.push(limit);
        self.beyond_std = true;
        self
    }

    /// Sets the CPUs that the child may run on: see [`Request::affinity`].
    pub fn affinity(&mut self, cpus: &[usize]) -> &mut Self {
        self.owned.affinity = Some(cpus.into());
        self.beyond_std = true;
        self
    }
}
