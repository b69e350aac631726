//! A program that spawns by every door, for debuggers and other tools to look at.
//!
//! `rawspawn-doors [DOOR]...` goes through these, or through all: it spawns a program that ends
//! with 7, which is this one too, and then one that there is not. It prints what came of both,
//! and ends with 0 if each is what it should be, with all descriptors and without a zombie.
//! With `--attach` it first starts a child, says so, and waits for a line. In between it
//! calls functions that a debugger can stop at.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_int, c_void};
use std::hint::black_box;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;

use rawspawn::{
    Buffer, CStrArray, CStrPtr, Command, Errno, Error, Exec, Hook, Job, Mode, Modes, ParentHook,
    Process, Reason, Request, SpawnError, Step, argv, spawn_all,
};

/// A place to stop at, in the parent: before its first spawn.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn before_the_spawn() {
    black_box(());
}

/// In the parent, when there has been a child.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn after_the_spawn() {
    black_box(());
}

/// In the program that was spawned.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn in_the_program() {
    black_box(());
}

/// In the child, before its exec.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn in_the_hook(_: *mut c_void) -> c_int {
    black_box(0)
}

/// In the parent, while its child waits.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn in_the_parents_hook(pid: c_int) {
    black_box(pid);
}

/// What a door says of a spawn.
type Outcome = Result<Process, Error>;

/// A way to spawn.
type Door = fn(&mut Request<'_>) -> Outcome;

type Room = Buffer<160, 2048>;

const DOORS: &[(&str, Door)] = &[
    ("spawn", |request| request.spawn(&mut Room::new())),
    ("fork", |request| request.modes(Modes::Fork).spawn(&mut Room::new())),
    ("plan", |request| request.env(CStrArray::EMPTY).plan(&mut Room::new())?.spawn()),
    // Its own group: credentials are set, and it does not matter who runs this.
    ("stub", |request| request.gid(own_gid()).spawn(&mut Room::new())),
    ("start", |request| request.start()?.finish()),
    ("all", all),
    ("hook", |request| request.hook(hook()).spawn(&mut Room::new())),
    ("hook-vfork", |request| {
        let mut stack = [const { std::mem::MaybeUninit::uninit() }; 16 << 10];
        // SAFETY: It does nothing, and nobody else has the stack.
        let hook = unsafe { Hook::sharing_memory(in_the_hook, std::ptr::null_mut(), &mut stack) };
        let mut request = *request;
        request.hook(hook).spawn(&mut Room::new())
    }),
    ("hook-start", |request| request.hook(hook()).start()?.finish()),
    ("waits", |request| waits(*request)),
    ("waits-fork", |request| waits(*request.modes(Modes::Fork))),
    ("waits-stub", |request| waits(*request.gid(own_gid()))),
];

fn own_gid() -> u32 {
    std::fs::metadata("/proc/self").expect("/proc").gid()
}

fn hook() -> Hook<'static> {
    // SAFETY: It does nothing.
    unsafe { Hook::new(in_the_hook, std::ptr::null_mut()) }
}

/// Three at once.
fn all(request: &mut Request<'_>) -> Outcome {
    let mut room = Room::new();
    let plan = request.env(CStrArray::EMPTY).plan(&mut room)?;
    let mut jobs = [Job::new(&plan), Job::new(&plan), Job::new(&plan)];
    spawn_all(&mut jobs);
    let [first, others @ ..] = jobs.each_mut().map(|job| job.take().expect("it was started"));
    for other in others {
        assert_eq!(other.map(is_right).ok(), first.is_ok().then_some(true));
    }
    first
}

fn waits(mut request: Request<'_>) -> Outcome {
    let hook = ParentHook::new(&|pid| {
        in_the_parents_hook(pid);
        Ok(())
    });
    request.parent_hook(hook).spawn(&mut Room::new())
}

/// Whether it ends as the program does.
fn is_right(mut process: Process) -> bool {
    process.wait().is_ok_and(|status| status.code() == Some(7))
}

/// Whether it is the error of a program that there is not.
fn is_missing(error: Error) -> bool {
    (error.step(), error.errno()) == (Step::Exec, Some(Errno::ENOENT))
}

/// Goes through a door twice: in which mode, and why; `None` if it leads elsewhere.
fn pass(door: Door, program: &CStr) -> Option<(Mode, Reason)> {
    let pointers = [CStrPtr::new(program), CStrPtr::new(c"--child"), CStrPtr::NULL];
    let arguments = CStrArray::new(&pointers).expect("a NULL");
    let right = door(&mut Request::new(Exec::Path(program), arguments));
    after_the_spawn();
    let (process, mode) = match right {
        Ok(process) => {
            let mode = (process.mode(), process.reason());
            (process, mode)
        }
        Err(error) => {
            println!("{error}");
            return None;
        }
    };
    let right = is_right(process);
    let missing = door(&mut Request::new(Exec::Path(c"/nonexistent"), argv![c"nobody"]));
    let missing = missing.is_err_and(is_missing);
    (right && missing).then_some(mode)
}

/// The same, for what is not made of a request.
fn command(program: &CStr, change: impl Fn(&mut Command)) -> bool {
    let command = |program: &str| {
        let mut command = Command::new(program);
        change(command.arg("--child"));
        command.try_spawn()
    };
    let right = command(program.to_str().expect("a name"));
    after_the_spawn();
    let status = right.ok().and_then(|mut child| child.wait().ok());
    let missing = command("/nonexistent");
    status.is_some_and(|status| status.into_raw() == 7 << 8)
        && matches!(missing, Err(SpawnError::Spawn(error)) if is_missing(error))
}

/// How many descriptors are open, and whether there is a child.
fn left() -> (usize, bool) {
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    (std::fs::read_dir("/proc/self/fd").expect("/proc").count(), !children.is_empty())
}

fn main() -> ExitCode {
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    if names.first().is_some_and(|first| first == "--child") {
        in_the_program();
        return ExitCode::from(7);
    }
    let program = std::env::current_exe().expect("/proc").into_os_string().into_encoded_bytes();
    let program = CString::new(program).expect("a name");
    if names.first().is_some_and(|first| first == "--attach") {
        names.remove(0);
        let started = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]).start();
        println!("{}", std::process::id());
        assert!(started.and_then(rawspawn::Pending::finish).is_ok());
        std::io::stdin().read_line(&mut String::new()).expect("a line");
    }
    let is_asked = |name: &str| names.is_empty() || names.iter().any(|asked| asked == name);
    let mut failed = 0;
    let mut say = |name: &str, is_right: bool, how: &str| {
        println!("{name}: {}{how}", if is_right { "right" } else { "WRONG" });
        failed += u8::from(!is_right);
    };
    before_the_spawn();
    let before = left();
    for (name, door) in DOORS.iter().filter(|(name, _)| is_asked(name)) {
        let mode = pass(*door, &program);
        let how = mode.map(|(mode, reason)| format!(", {mode:?}, {reason:?}"));
        say(name, mode.is_some() && left() == before, &how.unwrap_or_default());
    }
    if is_asked("command") {
        say("command", command(&program, |_| ()) && left() == before, "");
    }
    if is_asked("pre_exec") {
        let change = |command: &mut Command| {
            let hook = || {
                in_the_hook(std::ptr::null_mut());
                Ok(())
            };
            // SAFETY: It does nothing.
            unsafe { command.pre_exec(hook) };
        };
        say("pre_exec", command(&program, change) && left() == before, "");
    }
    ExitCode::from(failed)
}
