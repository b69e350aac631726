//! What must come of a case: which steps may fail, which must, and what the program must find.

use std::collections::BTreeSet;

use rawspawn::{Feature, Modes, Step};

use crate::case::{
    Action, Caps, Case, Dir, Does, Door, File, Item, ParentHook, Program, Seccomp, named,
};
use crate::facts::{Facts, KINDS};
use crate::sys;
use crate::table::{Table, descriptors, open_list};
use crate::world::fd;

const DAC_OVERRIDE: u32 = 1;
const SETGID: u32 = 6;
const SETUID: u32 = 7;
const SETPCAP: u32 = 8;
const SYS_CHROOT: u32 = 18;
const SYS_ADMIN: u32 = 21;

/// What must come of a case.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Steps that may fail.
    may: BTreeSet<Step>,
    /// If there are any, one of these or of the others must.
    must: BTreeSet<Step>,
    /// What the program is told that it must find.
    pub(crate) expects: Vec<String>,
    /// How a child may have ended besides: exit statuses, and signals below 0.
    pub(crate) ends: Vec<i32>,
}

impl Model {
    pub(crate) fn may(&mut self, steps: &[Step]) {
        self.may.extend(steps);
    }

    pub(crate) fn must(&mut self, step: Step) {
        self.must.insert(step);
    }

    pub(crate) fn must_if(&mut self, is_so: bool, step: Step) {
        if is_so {
            self.must(step);
        }
    }

    pub(crate) fn may_if(&mut self, is_so: bool, steps: &[Step]) {
        if is_so {
            self.may(steps);
        }
    }

    fn expect(&mut self, key: &str, value: impl std::fmt::Display) {
        self.expects.push(format!("{key}={value}"));
    }

    /// What is wrong with an outcome; `None` if nothing is.
    pub(crate) fn objection(&self, result: Result<(), Step>) -> Option<String> {
        match result {
            Ok(()) if !self.must.is_empty() => {
                Some(format!("it succeeded, and one of {:?} must fail", self.must))
            }
            Err(step) if !self.may.contains(&step) && !self.must.contains(&step) => Some(format!(
                "step {step:?} failed; of what is asked for only {:?} may, and {:?} must",
                self.may, self.must
            )),
            _ => None,
        }
    }
}

/// What the items of a case have to do with each other.
pub(crate) struct Look<'c> {
    pub(crate) case: &'c Case,
    new: i32,
}

impl Look<'_> {
    pub(crate) fn has(&self, is_it: impl Fn(&Item) -> bool) -> bool {
        self.case.items.iter().any(is_it)
    }

    fn makes(&self, kind: i32) -> bool {
        self.new & kind != 0
    }

    /// Whether an action of the request makes the number another file.
    fn is_target(&self, number: i32) -> bool {
        self.has(|item| match *item {
            // Passed on, it is the same one.
            Item::Map { parent_fd, child_fd } if parent_fd == child_fd => false,
            _ => named(item) == Some(number),
        })
    }
}

/// What must come of `case` in a worker of which `facts` are true.
#[allow(clippy::too_many_lines)] // an item each
pub(crate) fn model(case: &Case, facts: &Facts) -> Model {
    let mut model = Model::default();
    let new = case.items.iter().find_map(|item| match item {
        Item::New(kinds) => Some(*kinds as i32),
        _ => None,
    });
    let look = Look { case, new: new.unwrap_or(0) };
    let is_command = case.door == Door::Command;
    let exposed = look.makes(libc::CLONE_NEWUSER);
    let has_posix = look.has(|item| matches!(item, Item::Posix(_)));
    let inherits = look.has(|item| matches!(item, Item::Inherit));

    surroundings(&mut model, &look, facts);
    // Made with no rights at all, and to be opened again.
    let is_created = |item: &Item| {
        matches!(
            item,
            Item::Open { file: File::Created, .. } | Item::Posix(Action::Open(_, File::Created))
        )
    };
    let is_masked = look.has(|item| matches!(item, Item::Umask(_)));
    model.may_if(
        !facts.can(DAC_OVERRIDE) && is_masked && look.has(is_created),
        &[Step::Open, Step::FileAction],
    );
    let (table, mut cwd) = descriptors(&mut model, &look, facts, inherits);
    let mut umask = facts.umask;
    let mut mask = facts.mask;
    let (mut to_default, mut to_ignore) = (0u64, 0u64);
    if is_command {
        to_default = 1 << (libc::SIGPIPE - 1);
    }
    let (mut uid, mut gid) = (facts.uid, facts.gid);
    let mut groups = None;
    let mut keeps_groups = false;
    let mut environment = Some(1);
    let is_session = look.has(|item| matches!(item, Item::Session));
    let posix_session = look.has(|item| matches!(item, Item::PosixSession));
    let posix_group = look.has(|item| matches!(item, Item::PosixGroup));
    let own_session = is_session || posix_session;
    let mut own_group = own_session || posix_group;
    let no_new_privs = look.has(|item| matches!(item, Item::NoNewPrivs)) || facts.no_new_privs;
    let loses_privileges = look.has(|item| matches!(item, Item::Uid(_) | Item::Capabilities(_)));
    let joined = case.items.iter().fold(0, |all, item| match item {
        Item::Join(_, kinds) => all | *kinds as i32,
        _ => all,
    });
    if is_session && posix_session {
        model.may(&[Step::Session]);
    }
    if own_session && posix_group {
        model.may(&[Step::ProcessGroup, Step::Session]);
    }
    // What the parent does around the clone is the request's.
    let around = |item: &Item| {
        matches!(item, Item::Tid(_) | Item::Join(..) | Item::MoreIds | Item::OwnIds | Item::New(_))
    };
    let is_owned = matches!(case.door, Door::Owned | Door::OwnedStart);
    model.may_if(is_owned && look.has(around), &[Step::Wait]);
    model.may_if(is_owned && look.has(|item| matches!(item, Item::Listen(_))), &[Step::ListenFds]);
    let mut bounding = None;
    let cgroup = facts.table.get(&fd::CGROUP).and_then(|(identity, _)| *identity);
    let is_cgroup = |identity| cgroup == Some(identity);
    let open_at = |number: i32| table.get(&number).copied();

    for item in &case.items {
        match *item {
            Item::PosixScheduler | Item::Scheduler => model.expect("scheduler", libc::SCHED_BATCH),
            Item::Cwd(Dir::Missing) => model.must(Step::CurrentDir),
            Item::Cwd(Dir::Relative) if look.has(|item| matches!(item, Item::Root(_))) => {
                model.must(Step::CurrentDir);
            }
            // Where a posix action leads first, a relative path counts from.
            Item::Cwd(Dir::Relative) if cwd != facts.scratch => model.must(Step::CurrentDir),
            Item::Cwd(Dir::Relative | Dir::Below) => cwd = facts.below,
            Item::Cwd(Dir::Scratch) => cwd = facts.scratch,
            Item::CwdFd(number) => {
                model.must_if(look.is_target(number), Step::CurrentDir);
                match open_at(number) {
                    Some((Some(identity), _)) if identity == facts.below => cwd = identity,
                    // The cgroup is a directory too.
                    Some((Some(identity), _)) if is_cgroup(identity) => cwd = identity,
                    _ => model.must(Step::CurrentDir),
                }
            }
            Item::Root(exists) => {
                model.must_if(!exists || !exposed && !facts.can(SYS_CHROOT), Step::Root);
                if !look.has(|item| matches!(item, Item::Cwd(_) | Item::CwdFd(_))) {
                    cwd = facts.root;
                }
            }
            Item::Umask(value) => {
                model.must_if(value > 0o777, Step::Umask);
                umask = value;
            }
            Item::Session => {
                model.must_if(look.has(|item| matches!(item, Item::Group(_))), Step::ProcessGroup);
            }
            Item::Group(group) => {
                model.must_if(group != 0, Step::ProcessGroup);
                model.may_if(posix_session, &[Step::ProcessGroup, Step::Session]);
                own_group = true;
            }
            Item::Terminal(number) => {
                let is_terminal = [0, 1, 2, fd::TTY, fd::PTY].contains(&number)
                    && facts.table.contains_key(&number);
                let is_ours = number == fd::TTY && own_session && !facts.threads && !posix_session;
                model.must_if(!is_terminal || !own_session, Step::ControllingTerminal);
                model.may_if(!is_ours, &[Step::ControllingTerminal]);
            }
            Item::Foreground(number) => {
                model.must_if(
                    ![0, 1, 2, fd::TTY, fd::PTY].contains(&number)
                        || !facts.table.contains_key(&number),
                    Step::Foreground,
                );
                model.may(&[Step::Foreground]);
            }
            Item::DeathSignal(signal) => {
                model.must_if(signal > 64, Step::ParentDeathSignal);
                model.expect("death", signal);
            }
            Item::Mask(signals) => mask = signals & !(1 << 8 | 1 << 18),
            Item::Default(signals) => to_default = signals,
            Item::Ignore(signals) => {
                to_ignore = signals;
                model.must_if(signals & (1 << 8 | 1 << 18) != 0, Step::SignalAction);
            }
            Item::Uid(id) => {
                model.must_if(id == u32::MAX, Step::Uid);
                model.must_if(!exposed && !facts.can(SETUID) && id != uid, Step::Uid);
                uid = id;
            }
            Item::Gid(id) => {
                model.must_if(!exposed && !facts.can(SETGID) && id != gid, Step::Gid);
                gid = id;
            }
            Item::Groups(ref list) => {
                model.must_if(!exposed && !facts.can(SETGID), Step::Groups);
                let mut list = list.clone();
                list.sort_unstable();
                groups = Some(list.iter().map(u32::to_string).collect::<Vec<_>>().join(","));
            }
            Item::KeepGroups => keeps_groups = true,
            Item::Capabilities(which) => {
                let unprivileged = !facts.can(SETPCAP) || exposed;
                model.may_if(
                    unprivileged,
                    &[Step::Bounding, Step::Capabilities, Step::Ambient, Step::Securebits],
                );
                match which {
                    Caps::Unknown => {
                        model.may(&[Step::Capabilities]);
                        model.must(Step::Ambient);
                    }
                    Caps::Only(set) | Caps::Bounding(set) => {
                        bounding = Some(set & facts.capabilities);
                    }
                }
            }
            Item::Seccomp(which) => {
                model.must_if(which == Seccomp::Invalid, Step::Seccomp);
                let is_forked = is_command && look.has(|item| matches!(item, Item::Hook(_)));
                if which == Seccomp::Kill && is_forked {
                    model.may(&[Step::Child]);
                    model.ends.push(-libc::SIGSYS);
                }
                model.must_if(which == Seccomp::Kill && !is_forked, Step::Child);
                model.must_if(!no_new_privs && !facts.can(SYS_ADMIN) && !exposed, Step::Seccomp);
                model.may_if(!no_new_privs && exposed, &[Step::Seccomp]);
            }
            Item::Landlock(number) => {
                model.must_if(
                    look.is_target(number) && !is_command
                        || number != fd::RULESET
                        || !facts.has_open(number)
                        || !is_command && open_at(number).is_none(),
                    Step::Landlock,
                );
                let is_replaced = |item: &Item| {
                    let Item::Posix(action) = item else { return false };
                    matches!(action, Action::Open(n, _) | Action::Dup2(_, n) if *n == number)
                };
                model.may_if(look.has(is_replaced), &[Step::Landlock]);
                model.must_if(!no_new_privs && !facts.can(SYS_ADMIN) && !exposed, Step::Landlock);
                model.may_if(!no_new_privs && (loses_privileges || exposed), &[Step::Landlock]);
            }
            Item::Cgroup(number) => {
                let is_there = number == fd::CGROUP && facts.table.contains_key(&number);
                model.must_if(!is_there, Step::Cgroup);
                model.may_if(!facts.can(SYS_ADMIN) || exposed || facts.uid != 0, &[Step::Cgroup]);
            }
            Item::Rlimit(resource, value) => {
                model.must_if(resource > 15, Step::Rlimit);
                let (_, hard) = if resource > 15 { (0, 0) } else { sys::limit(resource) };
                model.may_if(value > hard, &[Step::Rlimit]);
                let several = look.has(
                    |item| matches!(item, Item::Rlimit(r, v) if *r == resource && *v != value),
                );
                model.may_if(several, &[Step::Rlimit]);
                if !several {
                    model
                        .expect(&format!("rlimit/{resource}"), format_args!("{value:x}:{value:x}"));
                }
            }
            Item::Nice(nice) => {
                model.must_if(nice > 19, Step::Nice);
                model.expect("nice", nice);
            }
            Item::Affinity(cpus) => {
                model.must_if(cpus == 0, Step::Affinity);
                let allowed = sys::affinity();
                model.may_if(cpus as u64 & allowed == 0, &[Step::Affinity]);
                if cpus as u64 & !allowed == 0 {
                    model.expect("affinity", format_args!("{cpus:x}"));
                }
            }
            Item::IoPriority(priority) => {
                model.must_if(priority >> 13 > 3, Step::IoPriority);
                model.expect("ioprio", priority);
            }
            Item::OomScore(score) => {
                model.must_if(score > 1000, Step::OomScoreAdj);
                model.may_if(i32::from(score) < facts.oom_score || exposed, &[Step::OomScoreAdj]);
                model.expect("oom", score);
            }
            Item::Slack(nanos) => {
                model.must_if(nanos == 0, Step::TimerSlack);
                model.expect("slack", nanos);
            }
            Item::Subreaper => model.expect("subreaper", 1),
            Item::CoreDump(kinds) => model.expect("coredump", format_args!("{kinds:08x}")),
            Item::Listen(count) => {
                let kept = |number: i32| {
                    look.has(|item| {
                        !matches!(item, Item::Close { .. }) && named(item) == Some(number)
                    })
                };
                model.must_if(
                    (3..3 + i32::from(count)).any(|number| !kept(number)),
                    Step::ListenFds,
                );
                model.may_if((look.new | joined) & libc::CLONE_NEWPID != 0, &[Step::ListenFds]);
                model.expect("listen", count);
                environment = environment.map(|variables| variables + 2);
            }
            Item::New(kinds) => {
                let kinds = kinds as i32;
                if !exposed && !facts.can(SYS_ADMIN) {
                    model.must(Step::NewNamespaces);
                    model.may(&[Step::Clone]);
                }
                // Its root may be no mount point.
                model.may_if(kinds & libc::CLONE_NEWNS != 0, &[Step::NewNamespaces]);
            }
            Item::Join(number, kinds) => {
                let is_one = [fd::NS_UTS, fd::NS_PID, fd::NS_NET].contains(&number)
                    && facts.table.contains_key(&number);
                model.must_if(!is_one || look.is_target(number), Step::Join);
                model.must_if(!facts.can(SYS_ADMIN), Step::Join);
                let is_hard = look.new & kinds as i32 != 0
                    || kinds as i32 == libc::CLONE_NEWPID
                    || exposed
                    || has_posix;
                model.may_if(is_hard, &[Step::Join]);
            }
            Item::OwnIds | Item::MoreIds => {
                model.must_if(!exposed, Step::UidMap);
                model.may(&[Step::GidMap]);
            }
            Item::Hostname => {
                let is_there = look.makes(libc::CLONE_NEWUTS);
                if joined & libc::CLONE_NEWUTS == 0 {
                    model.must_if(!is_there, Step::Hostname);
                    model.expect("hostname", "fuzz");
                }
            }
            Item::Loopback => {
                let is_there = look.makes(libc::CLONE_NEWNET);
                model.must_if(!is_there && joined & libc::CLONE_NEWNET == 0, Step::Loopback);
            }
            Item::Tmpfs => {
                model.must_if(!look.makes(libc::CLONE_NEWNS), Step::FileSystem);
                model.may(&[Step::FileSystem]);
            }
            Item::Tid(_) => {
                model.may(&[Step::SetTid, Step::Clone]);
                model.must_if(!facts.can(SYS_ADMIN), Step::SetTid);
            }
            Item::ParentHook(does) => {
                let fails = matches!(does, ParentHook::Fails | ParentHook::Panics);
                model.must_if(fails, Step::ParentHook);
                let owned = matches!(case.door, Door::Owned | Door::OwnedStart);
                model.must_if(owned, Step::Wait);
            }
            Item::Hook(hook) => {
                match hook.does {
                    Does::Fails => model.must(Step::Hook),
                    // To a hook of `Command` its child is as good as executed: it ends as it likes.
                    Does::Exits | Does::Dies | Does::Panics if is_command => {
                        model.may(&[Step::Child]);
                        model.ends.extend([3, -libc::SIGKILL, -libc::SIGABRT]);
                    }
                    // The init of a PID namespace is beyond its own signals.
                    Does::Dies if look.makes(libc::CLONE_NEWPID) => model.may(&[Step::Child]),
                    Does::Exits | Does::Dies => model.must(Step::Child),
                    _ => {}
                }
                let owned = matches!(case.door, Door::Owned | Door::OwnedStart);
                model.must_if(owned, Step::Hook);
            }
            Item::Pidfd => {
                model.may_if(facts.refuses(libc::SYS_pidfd_open), &[Step::Pidfd]);
            }
            Item::Busy(times) => model.must_if(times > 10, Step::Exec),
            Item::Modes(modes) => {
                model.may_if(modes != Modes::Fork, &[Step::Mode]);
                model.may_if(modes == Modes::Stub, &[Step::Stub]);
            }
            Item::Kernel(kernel) => pinned(&mut model, kernel, facts),
            // In the tables, or looked at above.
            Item::Map { .. }
            | Item::Open { .. }
            | Item::Close { .. }
            | Item::Posix(_)
            | Item::Inherit
            | Item::PosixSession
            | Item::PosixGroup
            | Item::PosixResetIds
            | Item::NoNewPrivs
            | Item::ExecFd
            | Item::ShFallback => {}
            Item::Environment(variables) => {
                let kept = matches!(case.door, Door::Plan | Door::All { .. });
                model.must_if(variables.is_none() && kept, Step::Environment);
                environment = match (variables, environment) {
                    (Some(variables), Some(now)) => Some(variables + now - 1),
                    _ => None,
                };
            }
        }
    }

    program(&mut model, &look, facts, cwd, &table);
    let kernel = case.items.iter().find_map(|item| match item {
        Item::Kernel(kernel) => Some(*kernel),
        _ => None,
    });
    let lacks = |feature| kernel.is_some_and(|kernel| !kernel.has(feature));
    // One that was killed before it executed its program looks like one that was killed after.
    if lacks(Feature::NoExitSignal) && model.must.remove(&Step::Child) {
        model.may(&[Step::Child]);
        model.ends.extend([3, -libc::SIGKILL, -libc::SIGSYS]);
    }
    // What tells of the exec is not closed, so all is marked instead, and there until then.
    let marks = look.has(|item| matches!(item, Item::ExecFd)) || lacks(Feature::NoExitSignal);
    let closes_from = look.has(|item| matches!(item, Item::Posix(Action::CloseFrom(_))));
    let is_marked = marks && closes_from;
    if is_marked {
        for step in [Step::FileAction, Step::CurrentDir, Step::Landlock] {
            if model.must.remove(&step) {
                model.may(&[step]);
            }
        }
    }

    model.must_if(to_default & to_ignore & !(1 << 8 | 1 << 18) != 0, Step::SignalAction);
    model.may_if(to_default & to_ignore != 0, &[Step::SignalAction]);
    if !is_marked {
        model.expect("fds", open_list(&table));
        model.expect("cwd", file(cwd));
    }
    model.expect("root", file(facts.root));
    model.expect("umask", format_args!("{umask:o}"));
    model.expect("mask", format_args!("{mask:x}"));
    model.expect("ignored", format_args!("{:x}", facts.ignored & !to_default | to_ignore));
    model.expect("no_new_privs", u8::from(no_new_privs));
    let is_filtered =
        !facts.refused.is_empty() || look.has(|item| matches!(item, Item::Seccomp(_)));
    model.expect("seccomp", if is_filtered { 2 } else { 0 });
    if let Some(variables) = environment {
        if !is_command {
            model.expect("env", variables);
        }
    }
    let makes_pids = look.makes(libc::CLONE_NEWPID);
    if !makes_pids {
        model.expect("ppid", facts.pid);
    }
    if own_session {
        model.expect("session", "own");
    } else if !makes_pids {
        model.expect("session", facts.session);
    }
    if own_group {
        model.expect("group", "own");
    } else if !makes_pids {
        model.expect("group", facts.group);
    }
    for (name, identity) in &facts.namespaces {
        let is_new = KINDS.iter().any(|(kind, bit)| kind == name && look.makes(*bit));
        let mark = if is_new { "!" } else { "" };
        model.expect(&format!("ns/{name}"), format_args!("{mark}{}", file(*identity)));
    }
    if exposed {
        privileged_steps(&mut model);
    } else {
        model.expect("uid", uid);
        model.expect("gid", gid);
        let changes = uid != facts.uid || look.has(|item| matches!(item, Item::Uid(_)));
        let dropped = changes && facts.can(SETGID) && !keeps_groups;
        let left = if dropped { String::new() } else { facts.groups.clone() };
        model.expect("groups", groups.unwrap_or(left));
        if let Some(set) = bounding {
            model.expect("bounding", format_args!("{set:x}"));
        }
    }
    model
}

fn file((device, inode): (u64, u64)) -> String {
    format!("{device:x}:{inode:x}")
}

/// What a child in a new user namespace may find that it may not do.
fn privileged_steps(model: &mut Model) {
    model.may(&[
        Step::Groups,
        Step::Gid,
        Step::Uid,
        Step::Root,
        Step::Nice,
        Step::IoPriority,
        Step::OomScoreAdj,
        Step::Open,
        Step::Exec,
        Step::Cgroup,
        Step::Hostname,
        Step::Loopback,
        Step::FileSystem,
        Step::NewNamespaces,
        Step::Clone,
        Step::UidMap,
        Step::GidMap,
        Step::Rlimit,
        Step::FileAction,
        Step::CurrentDir,
        Step::SetTid,
        Step::Scheduler,
        Step::Affinity,
        Step::Mode,
        Step::ListenFds,
        Step::CoredumpFilter,
        Step::ControllingTerminal,
    ]);
}

/// Whether what is compiled once is spawned without a second try.
fn keeps_plan(door: Door) -> bool {
    matches!(door, Door::Plan | Door::Owned | Door::OwnedStart | Door::All { .. })
}

/// What filters and signals may do to any request.
fn surroundings(model: &mut Model, look: &Look<'_>, facts: &Facts) {
    let keeps_plan = keeps_plan(look.case.door);
    // What a hook has done it does not do again.
    let has_hook = look.has(|item| matches!(item, Item::Hook(_) | Item::ParentHook(_)));
    model.may_if(
        facts.refused_late && has_hook,
        &[Step::CloseOthers, Step::NewNamespaces, Step::Exec, Step::Stub],
    );
    // A plan promises no second try.
    model.may_if(
        facts.refused_late && keeps_plan,
        &[Step::Clone, Step::CloseOthers, Step::Stub, Step::Pidfd, Step::Child],
    );
    let refuses_stub = facts.refuses(libc::SYS_memfd_create) || facts.refuses(libc::SYS_execveat);
    model.may_if(keeps_plan && refuses_stub, &[Step::Stub]);
    let closes_from = look.has(|item| matches!(item, Item::Posix(Action::CloseFrom(_))));
    model.may_if(facts.refused_late && keeps_plan && closes_from, &[Step::FileAction]);
    if facts.group_storm {
        model.may(&[Step::Child]);
        model.ends.extend([-libc::SIGUSR1, -libc::SIGUSR2, -libc::SIGRTMIN() - 3]);
    }
}

/// What a kernel that the request names, and that is not the running one, leads to.
fn pinned(model: &mut Model, kernel: rawspawn::Kernel, facts: &Facts) {
    model.may_if(!kernel.has(Feature::Pidfd), &[Step::Pidfd]);
    model.may_if(!kernel.has(Feature::Clone3), &[Step::SetTid]);
    model.may_if(
        !kernel.has(Feature::NoExitSignal) || !kernel.has(Feature::CloseRangeCloexec),
        &[Step::FileAction],
    );
    model.may_if(
        !facts.refused.is_empty(),
        &[
            Step::Clone,
            Step::CloseOthers,
            Step::Pidfd,
            Step::Stub,
            Step::Child,
            Step::Exec,
            Step::FileAction,
            Step::NewNamespaces,
            Step::SetTid,
        ],
    );
}

/// What is executed, and whether that can be.
fn program(model: &mut Model, look: &Look<'_>, facts: &Facts, cwd: (u64, u64), table: &Table) {
    let has_child = cwd == facts.scratch || cwd == facts.below;
    let has_posix = look.has(|item| {
        matches!(
            item,
            Item::Posix(_)
                | Item::PosixSession
                | Item::PosixGroup
                | Item::PosixResetIds
                | Item::PosixScheduler
        )
    });
    match look.case.program {
        Program::Absolute | Program::Candidates(_) | Program::Search(0..=3 | 5..) => {}
        Program::Relative => model.must_if(!has_child, Step::Exec),
        Program::Fd => {
            // Its path may lead to another file by then.
            model.must_if(facts.refuses(libc::SYS_execveat), Step::Exec);
            // Another file may have its number by then.
            let is_other = look.is_target(fd::PROGRAM);
            let is_itself = table.get(&fd::PROGRAM).map(|(identity, _)| *identity)
                == facts.table.get(&fd::PROGRAM).map(|(identity, _)| *identity);
            model.may_if(is_other || !is_itself, &[Step::Exec]);
        }
        Program::Script => {
            let by_shell = look.has(|item| matches!(item, Item::ShFallback));
            model.must_if(!by_shell, Step::Exec);
            model.may_if(has_posix, &[Step::Exec]);
        }
        Program::Search(4)
        | Program::Missing
        | Program::Text
        | Program::Busy
        | Program::Directory
        | Program::NotOpen(_) => model.must(Step::Exec),
    }
}
