//! Sizes and offsets, as Rust has them, for a C compiler to check.

use std::fmt::Write as _;
use std::mem::offset_of;

// Public and used there, not here.
#[expect(dead_code, unreachable_pub)]
#[path = "../../c/src/abi.rs"]
mod definitions;

#[cfg(test)]
#[expect(dead_code)] // as above
#[path = "../../c/src/steps.rs"]
mod steps;

#[cfg(test)]
pub(crate) use definitions::Step;
use definitions::{
    Capabilities, Child, ClockOffsets, Error, FdAction, FileAction, FsAction, IdRange, Job, Join,
    LowFds, Namespaces, Posix, Request, Rlimit,
};

/// A structure's size and all its offsets.
macro_rules! structures {
    ($($name:literal $ty:ident { $($field:ident),+ $(,)? })+) => {
        /// The assertions.
        pub(crate) fn assertions() -> String {
            let mut text = String::from(
                "#include <assert.h>\n#include <stddef.h>\n#include \"rawspawn.h\"\n",
            );
            numbers(&mut text);
            $(
                // All of them, or it does not compile.
                let _ = |$ty { $($field: _),+ }: $ty| {};
                let name = concat!("struct rawspawn_", $name);
                let mut line = |what: &str, number: usize| {
                    let _ = writeln!(text, "static_assert({what} == {number}, \"{what}\");");
                };
                line(&format!("sizeof({name})"), size_of::<$ty>());
                $(
                    let field = stringify!($field);
                    line(&format!("offsetof({name}, {field})"), offset_of!($ty, $field));
                )+
            )+
            text
        }
    };
}

/// The numbers that the header has by name.
fn numbers(text: &mut String) {
    let header = include_str!("../../c/rawspawn.h");
    for line in header.lines() {
        let line = line.trim().trim_end_matches(',');
        let named =
            line.split_once(" = ").or_else(|| line.strip_prefix("#define ")?.split_once(' '));
        let Some((name, number)) = named else { continue };
        if name.starts_with("RAWSPAWN_") && number.parse::<u64>().is_ok() {
            let _ = writeln!(text, "static_assert({name} == {number}, \"{name}\");");
        }
    }
}

structures! {
    "fd_action" FdAction { kind, child_fd, parent_fd, flags, path, mode }
    "rlimit" Rlimit { resource, soft, hard }
    "capabilities" Capabilities {
        size, sets, securebits, bounding, permitted, effective, inheritable, ambient,
    }
    "join" Join { fd, kinds }
    "id_range" IdRange { inside, outside, count }
    "clock_offsets" ClockOffsets {
        monotonic_seconds, boottime_seconds, monotonic_nanoseconds, boottime_nanoseconds,
    }
    "fs_action" FsAction { kind, flags, source, target, fstype, data, mode, device }
    "namespaces" Namespaces {
        size, create, flags, join, join_count, uid_map, uid_map_count, gid_map, gid_map_count,
        set_tid, set_tid_count, clock_offsets, hostname, domainname, filesystem, filesystem_count,
        pivot_root,
    }
    "file_action" FileAction { kind, fd, new_fd, flags, path, mode }
    "posix" Posix {
        size, flags, scheduler_priority, scheduler_policy, priority, process_group, actions,
        action_count,
    }
    "low_fds" LowFds { opaque }
    "request" Request {
        size, flags, mode, path, search, search_path, candidates, program_fd, argv, envp,
        busy_retries, umask, fds, fd_count, low_fds, cwd, cwd_fd, root, process_group,
        controlling_terminal, foreground, parent_death_signal, signal_mask, default_signals,
        ignore_signals, cgroup, rlimits, rlimit_count, scheduler_policy, scheduler_priority, nice,
        affinity, affinity_count, ioprio, oom_score_adj, timer_slack, coredump_filter, listen_fds,
        listen_fd_names, uid, gid, groups, group_count, capabilities, seccomp, seccomp_count,
        landlock, namespaces, posix, parent_hook, parent_hook_data, hook, hook_data, hook_stack,
        hook_stack_size, kernel,
    }
    "child" Child { pid, pidfd, mode, reason, opaque }
    "error" Error { number, step, index, status }
    "job" Job { plan, result, error, child }
}

#[cfg(test)]
mod tests {
    use super::steps;

    #[test]
    fn steps_have_the_same_names_in_c() {
        for (step, number) in rawspawn::Step::ALL.into_iter().zip(steps::NUMBERS) {
            assert_eq!(format!("{step:?}"), format!("{number:?}"));
        }
    }

    #[test]
    fn features_have_the_same_numbers_in_c() {
        use super::definitions::Feature;
        let here = [
            (rawspawn::Feature::Clone3, Feature::Clone3),
            (rawspawn::Feature::ClearSighand, Feature::ClearSighand),
            (rawspawn::Feature::CloseRange, Feature::CloseRange),
            (rawspawn::Feature::CloseRangeCloexec, Feature::CloseRangeCloexec),
            (rawspawn::Feature::SharedMemory, Feature::SharedMemory),
            (rawspawn::Feature::Suspends, Feature::Suspends),
            (rawspawn::Feature::NoExitSignal, Feature::NoExitSignal),
            (rawspawn::Feature::Pidfd, Feature::Pidfd),
            (rawspawn::Feature::ClonePidfd, Feature::ClonePidfd),
            (rawspawn::Feature::ShareFds, Feature::ShareFds),
            (rawspawn::Feature::ExecMemfd, Feature::ExecMemfd),
            (rawspawn::Feature::OwnCoreDump, Feature::OwnCoreDump),
        ];
        assert_eq!(here.len(), rawspawn::Feature::ALL.len());
        for (feature, number) in here {
            assert_eq!(feature as u32, number as u32);
        }
    }
}
