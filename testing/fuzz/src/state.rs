//! What a process is: all that a spawn must leave as it was.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use crate::sys;
use crate::world::{self, World};

/// What was found, by name.
#[derive(Debug, PartialEq)]
pub(crate) struct State(BTreeMap<String, String>);

/// The lines of `/proc/thread-self/status` that a spawn could change.
const STATUS: [&str; 20] = [
    "Name",
    "Umask",
    "TracerPid",
    "Uid",
    "Gid",
    "Groups",
    "NSpid",
    "NSsid",
    "NSpgid",
    "Threads",
    "SigIgn",
    "SigCgt",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Cpus_allowed",
];

const NAMESPACES: [&str; 10] = [
    "cgroup",
    "ipc",
    "mnt",
    "net",
    "pid",
    "pid_for_children",
    "time",
    "time_for_children",
    "user",
    "uts",
];

impl State {
    /// What the calling thread is, apart from what it shares with the others.
    pub(crate) fn of_thread() -> Self {
        let mut all = BTreeMap::new();
        let mut put = |name: &str, value: String| all.insert(name.to_owned(), value);
        put("signal mask", format!("{:x}", sys::mask()));
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        for line in status.lines() {
            if let Some((key, value)) = line.split_once(':') {
                if STATUS.contains(&key) {
                    put(key, value.trim().to_owned());
                }
            }
        }
        for name in NAMESPACES {
            let link = fs::read_link(format!("/proc/thread-self/ns/{name}"));
            put(
                name,
                link.map_or_else(|error| error.to_string(), |link| link.display().to_string()),
            );
        }
        for (name, option) in [
            ("dumpable", libc::PR_GET_DUMPABLE),
            ("timer slack", libc::PR_GET_TIMERSLACK),
            ("keeps capabilities", libc::PR_GET_KEEPCAPS),
            ("securebits", libc::PR_GET_SECUREBITS),
            ("huge pages off", libc::PR_GET_THP_DISABLE),
            ("no_new_privs", libc::PR_GET_NO_NEW_PRIVS),
        ] {
            put(name, sys::prctl(option, 0).to_string());
        }
        put("parent death signal", sys::prctl_out(libc::PR_GET_PDEATHSIG).to_string());
        put("nice", format!("{:?}", sys::plain(libc::SYS_getpriority, [0; 4])));
        put("policy", format!("{:?}", sys::plain(libc::SYS_sched_getscheduler, [0; 4])));
        put("ioprio", format!("{:?}", sys::plain(libc::SYS_ioprio_get, [1, 0, 0, 0])));
        put("affinity", format!("{:x}", sys::affinity()));
        Self(all)
    }

    /// What the process is, and the calling thread.
    pub(crate) fn of_process(world: &World) -> Self {
        let Self(mut all) = Self::of_thread();
        let mut put = |name: &str, value: String| all.insert(name.to_owned(), value);
        put("children", format!("{:?}", sys::any_child()));
        let mut open = Vec::new();
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            let names = entries.flatten().map(|entry| entry.file_name());
            open.extend(names.filter_map(|name| name.to_str()?.parse::<i32>().ok()));
        }
        for fd in open {
            // That of the directory that was listed is closed by now.
            if let Some((descriptor, file)) = sys::flags(fd) {
                let identity = sys::identity(fd);
                // A hook that panics says so.
                let is_log = [2, world::fd::MESSAGES].contains(&fd);
                let place = if is_log { 0 } else { sys::offset(fd) };
                put(
                    &format!("descriptor {fd}"),
                    format!("{descriptor} {file:o} {identity:x?} {place}"),
                );
            }
        }
        for (name, held) in World::locks() {
            put(name, held);
        }
        for signal in 1..=64 {
            let action = sys::action(signal);
            if action != [0; 4] {
                put(&format!("action of {signal}"), format!("{action:x?}"));
            }
        }
        for resource in 0..16 {
            put(&format!("limit {resource}"), format!("{:?}", sys::limit(resource)));
        }
        for name in ["oom_score_adj", "coredump_filter", "cgroup"] {
            let text = fs::read_to_string(format!("/proc/self/{name}"));
            put(name, text.map_or_else(|error| error.to_string(), |text| text.trim().to_owned()));
        }
        for name in ["cwd", "root"] {
            let link = fs::read_link(format!("/proc/self/{name}"));
            put(
                name,
                link.map_or_else(|error| error.to_string(), |link| link.display().to_string()),
            );
        }
        put("subreaper", sys::prctl_out(libc::PR_GET_CHILD_SUBREAPER).to_string());
        put("session and group", format!("{:?}", sys::groups()));
        put("mappings", mappings());
        put("canary", format!("{}", world.canary_is_whole()));
        Self(all)
    }

    /// What is another in `now`, a line each.
    pub(crate) fn changes(&self, now: &Self) -> Vec<String> {
        let none = String::from("nothing");
        let mut names: Vec<_> = self.0.keys().chain(now.0.keys()).collect();
        names.sort();
        names.dedup();
        let mut changes = Vec::new();
        for name in names {
            let before = self.0.get(name).unwrap_or(&none);
            let after = now.0.get(name).unwrap_or(&none);
            if before != after {
                changes.push(format!("{name}: was {}", difference(before, after)));
            }
        }
        changes
    }
}

/// Of long texts the lines that differ.
fn difference(before: &str, after: &str) -> String {
    if !before.contains('\n') && !after.contains('\n') {
        return format!("{before}, is {after}");
    }
    let mut text = String::new();
    let new = after.lines().filter(|line| !before.lines().any(|other| other == *line));
    let old = before.lines().filter(|line| !after.lines().any(|other| other == *line));
    for (mark, line) in old.map(|line| ('-', line)).chain(new.map(|line| ('+', line))) {
        let _ = write!(text, "\n    {mark} {line}");
    }
    text
}

/// What is mapped. The heap and the stack grow as they are used, so only that they are there.
fn mappings() -> String {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut text = String::with_capacity(maps.len());
    for line in maps.lines() {
        let grows = ["[heap]", "[stack]"].into_iter().find(|name| line.ends_with(name));
        text.push_str(grows.unwrap_or(line));
        text.push('\n');
    }
    text
}
