//! The numbers that steps have in C, which stay when the library gets new ones.

use crate::abi::Step;

/// The number of each, in the order of `rawspawn::Step`.
pub(crate) const NUMBERS: [Step; rawspawn::Step::ALL.len()] = [
    Step::Plan,
    Step::Arguments,
    Step::Environment,
    Step::Mode,
    Step::Report,
    Step::Clone,
    Step::SetTid,
    Step::UidMap,
    Step::GidMap,
    Step::ParentHook,
    Step::Wait,
    Step::Shield,
    Step::Cgroup,
    Step::Session,
    Step::ProcessGroup,
    Step::ControllingTerminal,
    Step::Foreground,
    Step::Scheduler,
    Step::Nice,
    Step::Affinity,
    Step::IoPriority,
    Step::OomScoreAdj,
    Step::Umask,
    Step::FileAction,
    Step::Move,
    Step::Open,
    Step::Close,
    Step::Stub,
    Step::ListenFds,
    Step::CoredumpFilter,
    Step::TimerSlack,
    Step::Subreaper,
    Step::Join,
    Step::NewNamespaces,
    Step::ClockOffsets,
    Step::Hostname,
    Step::Domainname,
    Step::Loopback,
    Step::FileSystem,
    Step::PivotRoot,
    Step::Root,
    Step::CurrentDir,
    Step::Rlimit,
    Step::Securebits,
    Step::Bounding,
    Step::Seccomp,
    Step::Groups,
    Step::Gid,
    Step::Uid,
    Step::Capabilities,
    Step::Ambient,
    Step::ParentDeathSignal,
    Step::NoNewPrivs,
    Step::Landlock,
    Step::SignalAction,
    Step::CloseOthers,
    Step::SignalMask,
    Step::Hook,
    Step::Exec,
    Step::Exit,
    Step::Child,
    Step::Pidfd,
];

/// The number of `step`.
pub(crate) fn number(step: rawspawn::Step) -> Step {
    NUMBERS.get(step as usize).copied().unwrap_or(Step::Other)
}

/// The step with `number`.
pub(crate) fn step(number: u32) -> Option<rawspawn::Step> {
    let mut all = rawspawn::Step::ALL.into_iter().zip(NUMBERS);
    all.find(|(_, known)| *known as u32 == number).map(|(step, _)| step)
}
