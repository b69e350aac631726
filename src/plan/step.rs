//! The steps of a spawn: the one table of their names and their order.

use super::tables;
use crate::text::{ascii, line};

/// A step of a spawn, in the order in which they happen.
///
/// Errors, the printed plan and the documentation use these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum Step {
    /// The plan itself: storage too small, or a text too long for it.
    Plan,
    /// The argument array: empty, which exec(2) leaves to chance.
    Arguments,
    /// The environment: it is to be inherited and nobody said from where.
    Environment,
    /// The mode: the request forbids the only one that is safe.
    Mode,
    /// What the parent prepares for a fork: memory for the report, a pipe.
    Report,
    /// `clone3(2)` or `clone(2)`.
    Clone,
    /// A pid of the caller's choice, `clone3(2)`'s `set_tid`.
    SetTid,
    /// The user ids of a new user namespace, `uid_map`.
    UidMap,
    /// Its group ids, `gid_map` and `setgroups`.
    GidMap,
    /// The caller's own function, while the child waits.
    ParentHook,
    /// The child waits for its parent, futex(2).
    Wait,
    /// Signals are kept away while handlers or a stop could reach the child.
    Shield,
    /// The cgroup, `CLONE_INTO_CGROUP` or `cgroup.procs`.
    Cgroup,
    /// A new session, `setsid(2)`.
    Session,
    /// A process group, `setpgid(2)`.
    ProcessGroup,
    /// The controlling terminal, `TIOCSCTTY`.
    ControllingTerminal,
    /// The terminal's foreground process group, `TIOCSPGRP`.
    Foreground,
    /// Scheduling policy and priority, `sched_setscheduler(2)`.
    Scheduler,
    /// The nice value, `setpriority(2)`.
    Nice,
    /// CPU affinity, `sched_setaffinity(2)`.
    Affinity,
    /// I/O priority, `ioprio_set(2)`.
    IoPriority,
    /// `/proc/self/oom_score_adj`.
    OomScoreAdj,
    /// The file mode creation mask, `umask(2)`.
    Umask,
    /// A file action of `posix_spawn(3)`.
    FileAction,
    /// A descriptor moved to its number, `dup3(2)`.
    Move,
    /// A file opened at a number, `openat(2)`.
    Open,
    /// A descriptor closed, `close(2)`.
    Close,
    /// The stub, in [`Mode::Stub`](crate::Mode::Stub): made by the parent, and executed.
    Stub,
    /// The variables about descriptors to listen on, `sd_listen_fds(3)`.
    ListenFds,
    /// `/proc/self/coredump_filter`.
    CoredumpFilter,
    /// The timer slack, `PR_SET_TIMERSLACK`.
    TimerSlack,
    /// Orphans become its children, `PR_SET_CHILD_SUBREAPER`.
    Subreaper,
    /// Existing namespaces, `setns(2)`.
    Join,
    /// New namespaces: `unshare(2)` here, `clone3(2)` for user and PID namespaces.
    NewNamespaces,
    /// The clocks of a new time namespace, `timens_offsets`.
    ClockOffsets,
    /// The host name, `sethostname(2)`.
    Hostname,
    /// The domain name, `setdomainname(2)`.
    Domainname,
    /// The loopback device, `SIOCSIFFLAGS`.
    Loopback,
    /// What is mounted or made in the mount namespace, `mount(2)`.
    FileSystem,
    /// The root of the mount namespace, `pivot_root(2)`.
    PivotRoot,
    /// The root directory, `chroot(2)`.
    Root,
    /// The working directory, `chdir(2)` or `fchdir(2)`.
    CurrentDir,
    /// A resource limit, `prlimit(2)`.
    Rlimit,
    /// The securebits, `PR_SET_SECUREBITS`, or what keeps capabilities, `PR_SET_KEEPCAPS`.
    Securebits,
    /// A capability dropped from the bounding set, `PR_CAPBSET_DROP`.
    Bounding,
    /// The seccomp filter, `seccomp(2)`: here without `no_new_privs`, with it before exec.
    Seccomp,
    /// The supplementary groups, `setgroups(2)`.
    Groups,
    /// The group ids, `setresgid(2)`.
    Gid,
    /// The user ids, `setresuid(2)`.
    Uid,
    /// The permitted, effective and inheritable sets, `capset(2)`.
    Capabilities,
    /// The ambient set, `PR_CAP_AMBIENT`.
    Ambient,
    /// The signal at the parent's death, `PR_SET_PDEATHSIG`.
    ParentDeathSignal,
    /// `PR_SET_NO_NEW_PRIVS`.
    NoNewPrivs,
    /// The Landlock ruleset, `landlock_restrict_self(2)`.
    Landlock,
    /// What signals do, `sigaction(2)`.
    SignalAction,
    /// Every other descriptor closed, `close_range(2)`.
    CloseOthers,
    /// The signal mask, `sigprocmask(2)`.
    SignalMask,
    /// The caller's own function, with all else in place.
    Hook,
    /// The program, `execve(2)` or `execveat(2)`.
    Exec,
    /// The end of a child that failed, `exit_group(2)`.
    Exit,
    /// The child as a whole: it died before it executed the program.
    ///
    /// A child whose step failed never counts as a success. One that was killed may, if another
    /// thread waits for every child of every kind (waitpid(2), `__WALL`) and reaps it first: the
    /// kernel then answers as for one that has executed. So it may where a filter refuses both
    /// `wait4` and `waitid`.
    Child,
    /// The pidfd of the child.
    Pidfd,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 62] = [
        Self::Plan,
        Self::Arguments,
        Self::Environment,
        Self::Mode,
        Self::Report,
        Self::Clone,
        Self::SetTid,
        Self::UidMap,
        Self::GidMap,
        Self::ParentHook,
        Self::Wait,
        Self::Shield,
        Self::Cgroup,
        Self::Session,
        Self::ProcessGroup,
        Self::ControllingTerminal,
        Self::Foreground,
        Self::Scheduler,
        Self::Nice,
        Self::Affinity,
        Self::IoPriority,
        Self::OomScoreAdj,
        Self::Umask,
        Self::FileAction,
        Self::Move,
        Self::Open,
        Self::Close,
        Self::Stub,
        Self::ListenFds,
        Self::CoredumpFilter,
        Self::TimerSlack,
        Self::Subreaper,
        Self::Join,
        Self::NewNamespaces,
        Self::ClockOffsets,
        Self::Hostname,
        Self::Domainname,
        Self::Loopback,
        Self::FileSystem,
        Self::PivotRoot,
        Self::Root,
        Self::CurrentDir,
        Self::Rlimit,
        Self::Securebits,
        Self::Bounding,
        Self::Seccomp,
        Self::Groups,
        Self::Gid,
        Self::Uid,
        Self::Capabilities,
        Self::Ambient,
        Self::ParentDeathSignal,
        Self::NoNewPrivs,
        Self::Landlock,
        Self::SignalAction,
        Self::CloseOthers,
        Self::SignalMask,
        Self::Hook,
        Self::Exec,
        Self::Exit,
        Self::Child,
        Self::Pidfd,
    ];

    /// The short name of the printed plan.
    pub fn name(self) -> &'static str {
        self.all_texts().next().unwrap_or_default()
    }

    /// What was being done, for a message: "chdir to the working directory".
    pub fn doing(self) -> &'static str {
        self.all_texts().nth(1).unwrap_or_default()
    }

    /// Whether the step may occur several times in one request, so that the index of an error
    /// says which of them failed.
    pub const fn has_items(self) -> bool {
        matches!(
            self,
            Self::FileAction
                | Self::Move
                | Self::Open
                | Self::Close
                | Self::UidMap
                | Self::GidMap
                | Self::Join
                | Self::FileSystem
                | Self::Rlimit
                | Self::Bounding
                | Self::Ambient
                | Self::SignalAction
        )
    }

    /// Short name and description, of a step that an option in this program has.
    pub(crate) fn texts(self) -> impl Iterator<Item = &'static str> {
        let more = tables::linked().map_or("", |tables| tables.steps);
        self.texts_of(more)
    }

    fn all_texts(self) -> impl Iterator<Item = &'static str> {
        self.texts_of(MORE_TEXTS)
    }

    /// One string and a walk, as for errnos.
    fn texts_of(self, more: &'static str) -> impl Iterator<Item = &'static str> {
        let base = line(TEXTS, self as usize);
        let texts = if base.is_empty() { line(more, self as usize) } else { base };
        texts.split(|&byte| byte == b'|').map(ascii)
    }
}

/// Line *n* belongs to the step with the number *n*.
const TEXTS: &str = "\
plan|compile the plan\n\
arguments|check the arguments\n\
environment|inherit the environment\n\
mode|choose a mode\n\
report|prepare the report\n\
clone|clone the child\n\
\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\
move|move a descriptor\n\
open|open a file\n\
close|close a descriptor\n\
\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\
signal|set a signal's action\n\
close others|close the others\n\
signal mask|set the signal mask\n\
\n\
exec|execute the program\n\
exit|exit\n\
child|start the program\n\
pidfd|open the pidfd";

/// Those of the steps that come by a [stage](crate::compile::Stages), with an empty line for
/// each of the others.
pub(super) static MORE_TEXTS: &str = "\
\n\n\n\n\n\n\
set_tid|choose the pid\n\
uid map|map the user ids\n\
gid map|map the group ids\n\
parent hook|run the parent's hook\n\
wait|wait for the parent\n\
shield|block the signals\n\
cgroup|enter the cgroup\n\
session|start a session\n\
process group|set the process group\n\
ctty|set the controlling terminal\n\
foreground|take the foreground\n\
scheduler|set the scheduler\n\
nice|set the nice value\n\
affinity|set the CPU affinity\n\
ioprio|set the I/O priority\n\
oom|set oom_score_adj\n\
umask|set the umask\n\
file action|take a file action\n\
\n\n\n\
stub|execute the stub\n\
listen fds|pass the descriptors to listen on\n\
coredump filter|set coredump_filter\n\
timer slack|set the timer slack\n\
subreaper|become a subreaper\n\
join|join a namespace\n\
namespaces|make new namespaces\n\
clock offsets|set the clocks\n\
hostname|set the host name\n\
domainname|set the domain name\n\
loopback|switch the loopback device on\n\
file system|furnish the mount namespace\n\
pivot root|pivot the root\n\
root|change the root\n\
cwd|chdir to the working directory\n\
rlimit|set a resource limit\n\
securebits|set the securebits\n\
bounding|limit the bounding set\n\
seccomp|install the seccomp filter\n\
groups|set the groups\n\
gid|set the group ids\n\
uid|set the user ids\n\
capabilities|set the capabilities\n\
ambient|set the ambient capabilities\n\
pdeathsig|set the parent death signal\n\
no_new_privs|set no_new_privs\n\
landlock|restrict by Landlock\n\
\n\n\n\
hook|run the hook";

#[cfg(test)]
mod tests {
    use super::Step;

    #[test]
    fn all_lists_every_step_in_order() {
        for (number, step) in Step::ALL.iter().enumerate() {
            assert_eq!(*step as usize, number);
        }
        assert_eq!(Step::Pidfd as usize + 1, Step::ALL.len(), "the last step");
        for step in Step::ALL {
            assert!(!step.name().is_empty() && !step.doing().is_empty(), "{step:?}");
        }
        assert_eq!(Step::Pidfd.name(), "pidfd");
        assert_eq!(Step::CurrentDir.doing(), "chdir to the working directory");
    }
}
