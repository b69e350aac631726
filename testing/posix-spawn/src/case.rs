//! Random arguments of `posix_spawn`.

use proptest::collection::vec;
use proptest::prelude::*;

/// One file action.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Close(i32),
    Open(i32, &'static str, i32),
    Dup2(i32, i32),
    Chdir(&'static str),
    Fchdir(i32),
    CloseFrom(i32),
    SetForeground(i32),
}

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) actions: Vec<Action>,
    pub(crate) attributes: Option<Attributes>,
    /// Whether the program is looked up.
    pub(crate) searches: bool,
    pub(crate) program: String,
    pub(crate) path: String,
    pub(crate) lowers_euid: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Attributes {
    pub(crate) flags: i16,
    pub(crate) pgrp: i32,
    pub(crate) sigdefault: u64,
    pub(crate) sigmask: u64,
    pub(crate) policy: i32,
    pub(crate) priority: i32,
}

/// Numbers that are open, and that are not, and that cannot be.
fn fd() -> impl Strategy<Value = i32> {
    prop_oneof![20 => 0..14i32, 2 => 14..40i32, 1 => Just(-1), 1 => Just(1_000_000)]
}

/// What is created is in one place, where the next run does not find it.
fn created(path: &'static str, flags: i32) -> &'static str {
    if flags & libc::O_CREAT == 0 { path } else { "/tmp/rawspawn-posix/new" }
}

fn action() -> impl Strategy<Value = Action> {
    let files = ["/dev/null", "/dev/full", "file", "new", "missing", ".", "/usr", "file/below"];
    let flags = [
        libc::O_RDONLY,
        libc::O_WRONLY,
        libc::O_RDWR | libc::O_CREAT,
        libc::O_RDONLY | libc::O_CLOEXEC,
        libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL,
        libc::O_RDONLY | libc::O_DIRECTORY,
        libc::O_PATH,
    ];
    let folders = ["/", "/usr", "bin", "..", "missing", "file"];
    prop_oneof![
        4 => fd().prop_map(Action::Close),
        6 => (fd(), prop::sample::select(files.to_vec()), prop::sample::select(flags.to_vec()))
            .prop_map(|(fd, path, flags)| Action::Open(fd, created(path, flags), flags)),
        8 => (fd(), fd()).prop_map(|(fd, new)| Action::Dup2(fd, new)),
        2 => prop::sample::select(folders.to_vec()).prop_map(Action::Chdir),
        1 => fd().prop_map(Action::Fchdir),
        1 => fd().prop_map(Action::CloseFrom),
        1 => fd().prop_map(Action::SetForeground),
    ]
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let pgrp = prop_oneof![6 => Just(0), 1 => Just(-1), 1 => Just(1), 1 => Just(999_999)];
    let priority = prop_oneof![6 => Just(0), 1 => Just(1), 1 => Just(50), 1 => Just(-1)];
    // Each flag by itself is rare, so that what follows is reached.
    let flag =
        |bit: i16, weight| prop::bool::weighted(weight).prop_map(move |on| i16::from(on) * bit);
    let flags = [
        (1, 0.3),
        (2, 0.3),
        (4, 0.5),
        (8, 0.5),
        (16, 0.15),
        (32, 0.15),
        (64, 0.2),
        (128, 0.2),
        (512, 0.01),
    ];
    let flags = flags.map(|(bit, weight)| flag(bit, weight)).to_vec();
    let flags = flags.prop_map(|flags| flags.iter().sum::<i16>());
    (flags, pgrp, any::<u64>(), any::<u64>(), 0..7i32, priority).prop_map(
        |(flags, pgrp, sigdefault, sigmask, policy, priority)| Attributes {
            flags,
            pgrp,
            sigdefault,
            sigmask,
            policy,
            priority,
        },
    )
}

pub(crate) fn cases() -> impl Strategy<Value = Case> {
    let paths = [
        "/tmp/rawspawn-posix/bin",
        "/tmp/rawspawn-posix/empty:/tmp/rawspawn-posix/noexec:/tmp/rawspawn-posix/bin",
        "/tmp/rawspawn-posix/noexec:/tmp/rawspawn-posix/empty",
        "/tmp/rawspawn-posix/noexec:/tmp/rawspawn-posix/loop:/tmp/rawspawn-posix/bin",
        "/tmp/rawspawn-posix/file:/missing:/tmp/rawspawn-posix/format:/tmp/rawspawn-posix/bin",
        ":/tmp/rawspawn-posix/bin",
        "/tmp/rawspawn-posix/bin:",
        "::",
        "",
        "bin",
    ];
    let path = prop_oneof![
        20 => prop::sample::select(paths.to_vec()).prop_map(str::to_owned),
        // A place that no path can have; after which glibc looks in the working directory,
        // whether that is asked for or not.
        1 => Just("/x".repeat(2048) + "::/tmp/rawspawn-posix/bin"),
    ];
    // More than are compiled on the stack, now and then.
    let actions = prop_oneof![40 => vec(action(), 0..8), 1 => vec(action(), 16..200)];
    let names =
        ["child", "second", "denied", "format", "missing", "looping", "", "bin/child", "./report"];
    let program = prop_oneof![
        8 => Just("/tmp/rawspawn-posix/bin/child".to_owned()),
        12 => prop::sample::select(names.to_vec()).prop_map(str::to_owned),
        1 => Just("x".repeat(255)),
        // One that is too long and looked up is not ended by a NUL in glibc.
        1 => Just("./".to_owned() + &"x".repeat(256)),
    ];
    (
        actions,
        proptest::option::weighted(0.6, attributes()),
        any::<bool>(),
        program,
        path,
        prop::bool::weighted(0.1),
    )
        .prop_map(|(actions, attributes, searches, program, path, lowers_euid)| Case {
            actions,
            attributes,
            searches,
            program,
            path,
            lowers_euid,
        })
}
