//! A case: what is asked for, and by which door. The same for the same seed and number.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rawspawn::{Feature, Kernel};

use crate::world::{self, fd};

/// One option, so that a case can be tried without it.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Map { parent_fd: i32, child_fd: i32 },
    Open { child_fd: i32, file: File },
    Close { child_fd: i32 },
    Inherit,
    Posix(Action),
    PosixSession,
    PosixGroup,
    PosixResetIds,
    PosixScheduler,
    Cwd(Dir),
    CwdFd(i32),
    Root(bool),
    Umask(u32),
    Session,
    Group(i32),
    Terminal(i32),
    Foreground(i32),
    DeathSignal(i32),
    NoNewPrivs,
    Mask(u64),
    Default(u64),
    Ignore(u64),
    Uid(u32),
    Gid(u32),
    Groups(Vec<u32>),
    KeepGroups,
    Capabilities(Caps),
    Seccomp(Seccomp),
    Landlock(i32),
    Cgroup(i32),
    Rlimit(u32, u64),
    Nice(i32),
    Scheduler,
    Affinity(usize),
    IoPriority(u16),
    OomScore(i16),
    Slack(u64),
    Subreaper,
    CoreDump(u32),
    Listen(u16),
    New(u32),
    Join(i32, u32),
    OwnIds,
    MoreIds,
    Hostname,
    Loopback,
    Tmpfs,
    Tid(i32),
    ParentHook(ParentHook),
    Hook(Hook),
    Pidfd,
    ExecFd,
    ShFallback,
    Busy(u8),
    Modes(rawspawn::Modes),
    Kernel(Kernel),
    Environment(Option<u8>),
}

/// A file to open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum File {
    There,
    Missing,
    Created,
    Null,
}

/// A directory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Dir {
    Scratch,
    Below,
    Relative,
    Missing,
}

/// A file action of `posix_spawn(3)`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Close(i32),
    Open(i32, File),
    Dup2(i32, i32),
    Chdir(Dir),
    Fchdir(i32),
    CloseFrom(i32),
    Foreground(i32),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Caps {
    /// No more than these.
    Only(u64),
    Bounding(u64),
    /// One that nobody has.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Seccomp {
    Allow,
    /// Kills who executes anything.
    Kill,
    /// No filter.
    Invalid,
}

/// What the caller does while the child waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ParentHook {
    Nothing,
    Fails,
    Panics,
    Spawns,
    Sleeps,
    Forks,
}

/// What the child does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Hook {
    pub(crate) shares: bool,
    pub(crate) does: Does,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Does {
    Nothing,
    Writes,
    Fails,
    Exits,
    Dies,
    /// Of `Command` alone.
    Panics,
}

/// What is executed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Program {
    Absolute,
    Relative,
    Fd,
    Candidates(u8),
    Search(u8),
    Script,
    Missing,
    Text,
    Busy,
    Directory,
    NotOpen(i32),
}

/// The way in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Door {
    Spawn,
    SpawnWith,
    Plan,
    Owned,
    OwnedStart,
    Start,
    StartDropped,
    StartForgotten,
    All {
        jobs: u8,
        /// One more, whose hook panics, is the one after so many.
        panics: Option<u8>,
    },
    Command,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) door: Door,
    pub(crate) program: Program,
    pub(crate) items: Vec<Item>,
}

/// The random numbers of one case.
pub(crate) fn numbers(seed: u64, kind: u64, number: u64, part: u64) -> ChaCha8Rng {
    // Streams of one seed are independent of each other.
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ kind << 60);
    rng.set_stream(number << 4 | part);
    rng
}

impl Case {
    /// Changes the numbers of the parent's descriptors.
    pub(crate) fn change_numbers(&mut self, change: &dyn Fn(i32) -> i32) {
        if let Program::NotOpen(number) = &mut self.program {
            *number = change(*number);
        }
        for item in &mut self.items {
            match item {
                Item::Map { parent_fd: number, .. }
                | Item::CwdFd(number)
                | Item::Terminal(number)
                | Item::Foreground(number)
                | Item::Landlock(number)
                | Item::Cgroup(number)
                | Item::Join(number, _)
                | Item::Posix(
                    Action::Dup2(number, _) | Action::Fchdir(number) | Action::Foreground(number),
                ) => *number = change(*number),
                _ => {}
            }
        }
    }

    /// Whether a `Command` gets a pipe for its output.
    pub(crate) fn is_piped(&self) -> bool {
        self.door == Door::Command && self.items.len() % 4 == 3
    }

    /// A case without those of its items whose positions are in `without`.
    pub(crate) fn without(mut self, without: &[usize]) -> Self {
        let mut place = 0;
        self.items.retain(|_| {
            place += 1;
            !without.contains(&(place - 1))
        });
        self
    }

    pub(crate) fn random(rng: &mut ChaCha8Rng) -> Self {
        let door = door(rng);
        let program = program(rng);
        let mut items: Vec<Item> = Vec::new();
        // Most are small, so that most succeed.
        let count = [0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 8, 12].choose(rng).copied().unwrap_or(0);
        while items.len() < count {
            add(rng, &mut items);
        }
        finish(rng, &mut items);
        Self { door, program, items }
    }
}

/// Adds what belongs together, and takes away what excludes the rest.
fn finish(rng: &mut ChaCha8Rng, items: &mut Vec<Item>) {
    let is_posix = |item: &Item| matches!(item, Item::Posix(_));
    if items.iter().any(is_posix) {
        let is_fd = |item: &Item| {
            matches!(
                item,
                Item::Map { .. } | Item::Open { .. } | Item::Close { .. } | Item::Listen(_)
            )
        };
        items.retain(|item| !is_fd(item));
        if rng.random_bool(0.95) && !items.iter().any(|item| matches!(item, Item::Inherit)) {
            items.push(Item::Inherit);
        }
    }
    // Of two that say the same the later counts.
    for are_rivals in [
        |item: &Item| matches!(item, Item::Cwd(_) | Item::CwdFd(_)),
        |item: &Item| matches!(item, Item::OwnIds | Item::MoreIds),
    ] {
        let count = items.iter().filter(|item| are_rivals(item)).count();
        let mut place = 0;
        items.retain(|item| {
            place += usize::from(are_rivals(item));
            !are_rivals(item) || place == count
        });
    }
    let listen = items.iter().find_map(|item| match item {
        Item::Listen(count) => Some(*count),
        _ => None,
    });
    if let Some(count) = listen {
        let rest = rng.random_bool(0.9);
        for child_fd in (3..3 + i32::from(count)).skip(usize::from(!rest)) {
            items.retain(|item| named(item) != Some(child_fd));
            items.push(Item::Map { parent_fd: fd::SOCKET, child_fd });
        }
    }
}

/// The number in the child that an action of the request is about.
pub(crate) fn named(item: &Item) -> Option<i32> {
    match *item {
        Item::Map { child_fd, .. } | Item::Open { child_fd, .. } | Item::Close { child_fd } => {
            Some(child_fd)
        }
        _ => None,
    }
}

fn door(rng: &mut ChaCha8Rng) -> Door {
    match rng.random_range(0..24) {
        0..6 => Door::Spawn,
        6..9 => Door::SpawnWith,
        9..11 => Door::Plan,
        11 => Door::Owned,
        12 => Door::OwnedStart,
        13..15 => Door::Start,
        15 => Door::StartDropped,
        16 => Door::StartForgotten,
        17..20 => {
            let jobs = rng.random_range(1..5);
            let panics = rng.random_bool(0.2).then(|| rng.random_range(0..=jobs));
            Door::All { jobs, panics }
        }
        _ => Door::Command,
    }
}

fn program(rng: &mut ChaCha8Rng) -> Program {
    match rng.random_range(0..40) {
        20..23 => Program::Relative,
        23..26 => Program::Fd,
        26..28 => Program::Candidates(rng.random_range(0..4)),
        28..32 => Program::Search(rng.random_range(0..6)),
        32 | 33 => Program::Script,
        34 => Program::Missing,
        35 => Program::Text,
        36 => Program::Busy,
        37 => Program::Directory,
        38 => Program::NotOpen(not_open(rng)),
        _ => Program::Absolute,
    }
}

fn not_open(rng: &mut ChaCha8Rng) -> i32 {
    world::NOT_OPEN.choose(rng).copied().unwrap_or(77)
}

fn open(rng: &mut ChaCha8Rng) -> i32 {
    world::OPEN.choose(rng).copied().unwrap_or(fd::FILE)
}

/// A descriptor of the parent, which may be none.
fn source(rng: &mut ChaCha8Rng) -> i32 {
    if rng.random_bool(0.06) { not_open(rng) } else { open(rng) }
}

/// A number in the child.
fn target(rng: &mut ChaCha8Rng) -> i32 {
    match rng.random_range(0..20) {
        0..4 => rng.random_range(0..3),
        4..8 => rng.random_range(3..10),
        8..16 => open(rng),
        16 => not_open(rng),
        17 => 63 + rng.random_range(0..3),
        18 => 90,
        _ => [300, 1023, 1024, 1500, 4000, -1].choose(rng).copied().unwrap_or(0),
    }
}

fn file(rng: &mut ChaCha8Rng) -> File {
    [File::There, File::There, File::Null, File::Created, File::Missing]
        .choose(rng)
        .copied()
        .unwrap_or(File::Null)
}

fn dir(rng: &mut ChaCha8Rng) -> Dir {
    match rng.random_range(0..8) {
        0..3 => Dir::Below,
        3..5 => Dir::Relative,
        5..7 => Dir::Scratch,
        _ => Dir::Missing,
    }
}

fn signals(rng: &mut ChaCha8Rng) -> u64 {
    match rng.random_range(0..8) {
        0 => 0,
        1 => u64::MAX,
        2 => rng.random(),
        // Not the two that nobody can ignore, which is an error.
        3 => rng.random::<u64>() & !(1 << 8 | 1 << 18),
        _ => (0..rng.random_range(1..5)).fold(0, |set, _| {
            set | 1 << [1, 2, 9, 11, 12, 14, 16, 32, 33, 40, 63][rng.random_range(0..11)]
        }),
    }
}

/// A kernel that lacks something.
pub(crate) fn kernel(rng: &mut ChaCha8Rng) -> Kernel {
    let mut kernel = Kernel::NEWEST;
    for _ in 0..rng.random_range(0..4) {
        if let Some(feature) = Feature::ALL.choose(rng) {
            kernel = kernel.without(*feature);
        }
    }
    kernel
}

const KINDS: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWCGROUP,
];

fn action(rng: &mut ChaCha8Rng) -> Action {
    match rng.random_range(0..16) {
        0..3 => Action::Close(target(rng)),
        3..6 => Action::Open(target(rng), file(rng)),
        6..10 => Action::Dup2(source(rng), target(rng)),
        10 | 11 => Action::Chdir(dir(rng)),
        12 => Action::Fchdir(if rng.random() { fd::DIR } else { source(rng) }),
        13 | 14 => Action::CloseFrom([3, 4, 10, 64, 100, 1024].choose(rng).copied().unwrap_or(3)),
        _ => Action::Foreground(source(rng)),
    }
}

/// Adds an item, unless there is one of its kind, and there can be but one.
fn add(rng: &mut ChaCha8Rng, items: &mut Vec<Item>) {
    let item = one(rng);
    let several = matches!(
        item,
        Item::Map { .. }
            | Item::Open { .. }
            | Item::Close { .. }
            | Item::Posix(_)
            | Item::Rlimit(..)
            | Item::Join(..)
    );
    let kind = std::mem::discriminant(&item);
    let is_new = !items.iter().any(|other| std::mem::discriminant(other) == kind);
    // A number twice is an error; most are right.
    let is_free = named(&item).is_none_or(|fd| items.iter().all(|other| named(other) != Some(fd)));
    if (several || is_new) && (is_free || rng.random_bool(0.02)) {
        items.push(item);
    }
}

#[allow(clippy::too_many_lines)] // a line each
fn one(rng: &mut ChaCha8Rng) -> Item {
    match rng.random_range(0..100) {
        0..12 => Item::Map { parent_fd: source(rng), child_fd: target(rng) },
        12..17 => Item::Open { child_fd: target(rng), file: file(rng) },
        17..20 => Item::Close { child_fd: target(rng) },
        20..23 => Item::Inherit,
        23..30 => Item::Posix(action(rng)),
        30 => [Item::PosixSession, Item::PosixGroup, Item::PosixResetIds, Item::PosixScheduler]
            [rng.random_range(0..4)]
        .clone(),
        31..34 => Item::Cwd(dir(rng)),
        34..36 => Item::CwdFd(if rng.random_bool(0.6) { fd::DIR } else { source(rng) }),
        36 => Item::Root(rng.random_bool(0.8)),
        37 | 38 => {
            Item::Umask(if rng.random_bool(0.95) { rng.random_range(0..0o1000) } else { 0o1000 })
        }
        39 | 40 => Item::Session,
        41 | 42 => Item::Group([0, 0, 0, 4_000_000, -1][rng.random_range(0..5)]),
        43 => Item::Terminal(if rng.random() { fd::TTY } else { source(rng) }),
        44 => Item::Foreground(if rng.random() { fd::TTY } else { source(rng) }),
        45 => Item::DeathSignal([1, 9, 15, 40, 64, 65][rng.random_range(0..6)]),
        46..49 => Item::NoNewPrivs,
        49 | 50 => Item::Mask(signals(rng)),
        51 | 52 => Item::Default(signals(rng)),
        53 => Item::Ignore(signals(rng)),
        54..57 => {
            Item::Uid(if rng.random_bool(0.95) { rng.random_range(1000..70000) } else { u32::MAX })
        }
        57 | 58 => Item::Gid(rng.random_range(1000..70000)),
        59 => Item::Groups(
            (0..rng.random_range(0..6)).map(|_| rng.random_range(1000..5000)).collect(),
        ),
        60 => Item::KeepGroups,
        61 => Item::Capabilities(match rng.random_range(0..4) {
            0 => Caps::Unknown,
            1 => Caps::Bounding(rng.random()),
            _ => Caps::Only(rng.random::<u64>() & rng.random::<u64>()),
        }),
        62 | 63 => Item::Seccomp(
            [Seccomp::Allow, Seccomp::Allow, Seccomp::Kill, Seccomp::Invalid]
                [rng.random_range(0..4)],
        ),
        64 => Item::Landlock(if rng.random_bool(0.7) { fd::RULESET } else { source(rng) }),
        65 => Item::Cgroup(if rng.random_bool(0.7) { fd::CGROUP } else { source(rng) }),
        66..69 => {
            let (resource, value) =
                [(4, 0), (7, 64), (7, 1200), (8, 4096), (11, 5), (99, 1)][rng.random_range(0..6)];
            Item::Rlimit(resource, value)
        }
        69 => Item::Nice([0, 3, 19, 20][rng.random_range(0..4)]),
        70 => Item::Scheduler,
        71 => Item::Affinity([1, 1, usize::MAX, 0][rng.random_range(0..4)]),
        72 => Item::IoPriority([2 << 13 | 4, 3 << 13, 7 << 13][rng.random_range(0..3)]),
        73 | 74 => Item::OomScore([300, 500, 1000, 1001][rng.random_range(0..4)]),
        75 => Item::Slack(if rng.random_bool(0.9) { 70_000 } else { 0 }),
        76 => Item::Subreaper,
        77 => Item::CoreDump(rng.random_range(0..0x200)),
        78 => Item::Listen(rng.random_range(0..4)),
        79..82 => Item::New(
            (0..rng.random_range(1..4))
                .fold(0, |set, _| set | KINDS[rng.random_range(0..7)] as u32),
        ),
        82 => [
            Item::Join(fd::NS_UTS, libc::CLONE_NEWUTS as u32),
            Item::Join(fd::NS_PID, libc::CLONE_NEWPID as u32),
            Item::Join(fd::NS_NET, libc::CLONE_NEWNET as u32),
            Item::Join(fd::FILE, libc::CLONE_NEWNET as u32),
            Item::Join(not_open(rng), libc::CLONE_NEWUTS as u32),
        ][rng.random_range(0..5)]
        .clone(),
        83 => [Item::OwnIds, Item::MoreIds, Item::Hostname, Item::Loopback, Item::Tmpfs]
            [rng.random_range(0..5)]
        .clone(),
        84 => Item::Tid(rng.random_range(300..30_000)),
        85 | 86 => Item::ParentHook(
            [
                ParentHook::Nothing,
                ParentHook::Fails,
                ParentHook::Panics,
                ParentHook::Spawns,
                ParentHook::Sleeps,
                ParentHook::Forks,
            ][rng.random_range(0..6)],
        ),
        87 | 88 => Item::Hook(Hook {
            shares: rng.random(),
            does: [Does::Nothing, Does::Writes, Does::Fails, Does::Exits, Does::Dies, Does::Panics]
                [rng.random_range(0..6)],
        }),
        89..91 => Item::Pidfd,
        91 => Item::ExecFd,
        92 => Item::ShFallback,
        93 => Item::Busy([0, 1, 2, 5, 11][rng.random_range(0..5)]),
        94 | 95 => Item::Modes(
            [rawspawn::Modes::Vfork, rawspawn::Modes::Fork, rawspawn::Modes::Stub]
                [rng.random_range(0..3)],
        ),
        96..99 => Item::Kernel(kernel(rng)),
        _ => Item::Environment(if rng.random_bool(0.7) {
            Some(rng.random_range(0..4))
        } else {
            None
        }),
    }
}
