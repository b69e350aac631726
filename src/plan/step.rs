//! The steps of a spawn: the one table of their names and their order.

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
    /// Signals are kept away while handlers or a stop could reach the child.
    Shield,
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
    /// A descriptor moved to its number, `dup3(2)`.
    Move,
    /// A file opened at a number, `openat(2)`.
    Open,
    /// A descriptor closed, `close(2)`.
    Close,
    /// A resource limit, `prlimit(2)`.
    Rlimit,
    /// The root directory, `chroot(2)`.
    Root,
    /// The working directory, `chdir(2)` or `fchdir(2)`.
    CurrentDir,
    /// The supplementary groups, `setgroups(2)`.
    Groups,
    /// The group ids, `setresgid(2)`.
    Gid,
    /// The user ids, `setresuid(2)`.
    Uid,
    /// The signal at the parent's death, `PR_SET_PDEATHSIG`.
    ParentDeathSignal,
    /// `PR_SET_NO_NEW_PRIVS`.
    NoNewPrivs,
    /// The caller's own function.
    Hook,
    /// What signals do, `sigaction(2)`.
    SignalAction,
    /// Every other descriptor closed, `close_range(2)`.
    CloseOthers,
    /// The signal mask, `sigprocmask(2)`.
    SignalMask,
    /// The program, `execve(2)` or `execveat(2)`.
    Exec,
    /// The end of a child that failed, `exit_group(2)`.
    Exit,
    /// The child as a whole: it died before it executed the program.
    Child,
    /// The pidfd of the child.
    Pidfd,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 36] = [
        Self::Plan,
        Self::Arguments,
        Self::Environment,
        Self::Mode,
        Self::Report,
        Self::Clone,
        Self::Shield,
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
        Self::Move,
        Self::Open,
        Self::Close,
        Self::Rlimit,
        Self::Root,
        Self::CurrentDir,
        Self::Groups,
        Self::Gid,
        Self::Uid,
        Self::ParentDeathSignal,
        Self::NoNewPrivs,
        Self::Hook,
        Self::SignalAction,
        Self::CloseOthers,
        Self::SignalMask,
        Self::Exec,
        Self::Exit,
        Self::Child,
        Self::Pidfd,
    ];

    /// The short name of the printed plan.
    pub const fn name(self) -> &'static str {
        self.texts().0
    }

    /// What was being done, for a message: "chdir to the working directory".
    pub const fn doing(self) -> &'static str {
        self.texts().1
    }

    /// Whether the step may occur several times in one request.
    pub(crate) const fn has_items(self) -> bool {
        matches!(self, Self::Move | Self::Open | Self::Close | Self::Rlimit | Self::SignalAction)
    }

    const fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Plan => ("plan", "compile the plan"),
            Self::Arguments => ("arguments", "check the arguments"),
            Self::Environment => ("environment", "inherit the environment"),
            Self::Mode => ("mode", "choose a mode"),
            Self::Report => ("report", "prepare the child's report"),
            Self::Clone => ("clone", "clone the child"),
            Self::Shield => ("shield", "keep signals from the child"),
            Self::Session => ("session", "start a session"),
            Self::ProcessGroup => ("process group", "set the process group"),
            Self::ControllingTerminal => ("ctty", "set the controlling terminal"),
            Self::Foreground => ("foreground", "set the foreground process group"),
            Self::Scheduler => ("scheduler", "set the scheduling policy"),
            Self::Nice => ("nice", "set the nice value"),
            Self::Affinity => ("affinity", "set the CPU affinity"),
            Self::IoPriority => ("ioprio", "set the I/O priority"),
            Self::OomScoreAdj => ("oom", "set the OOM score adjustment"),
            Self::Umask => ("umask", "set the umask"),
            Self::Move => ("move", "move a descriptor"),
            Self::Open => ("open", "open a file"),
            Self::Close => ("close", "close a descriptor"),
            Self::Rlimit => ("rlimit", "set a resource limit"),
            Self::Root => ("root", "change the root directory"),
            Self::CurrentDir => ("cwd", "chdir to the working directory"),
            Self::Groups => ("groups", "set the supplementary groups"),
            Self::Gid => ("gid", "set the group ids"),
            Self::Uid => ("uid", "set the user ids"),
            Self::ParentDeathSignal => ("pdeathsig", "set the parent death signal"),
            Self::NoNewPrivs => ("no_new_privs", "set no_new_privs"),
            Self::Hook => ("hook", "run the hook"),
            Self::SignalAction => ("signal", "set a signal's action"),
            Self::CloseOthers => ("close others", "close the other descriptors"),
            Self::SignalMask => ("signal mask", "set the signal mask"),
            Self::Exec => ("exec", "execute the program"),
            Self::Exit => ("exit", "exit"),
            Self::Child => ("child", "start the program"),
            Self::Pidfd => ("pidfd", "open the child's pidfd"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Step;

    #[test]
    fn all_lists_every_step_in_order() {
        for (number, step) in Step::ALL.iter().enumerate() {
            assert_eq!(*step as usize, number);
        }
        assert_eq!(Step::Pidfd as usize + 1, Step::ALL.len(), "the last step");
    }
}
