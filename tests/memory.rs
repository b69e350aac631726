//! The parent's memory after a spawn: what it was before.
//!
//! A tracer looks at all that the parent can write when the child starts, and
//! again when the child has executed its program or is gone. Between the two the
//! parent is stopped, so what differs is the child's doing.

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::fs::File;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU8, Ordering};

use rawspawn::{
    CurrentDir, Exec, FdAction, Feature, Hook, Kernel, Mode, Request, Rlimit, Scheduler, Step,
};

use crate::common::ptrace::{CANNOT, ptrace, trace_me};
use crate::common::{Room, Setup, each_setup, isolated, quick, skip};

/// What is spawned, and the step that fails, if one does.
struct Case {
    name: &'static str,
    fails: Option<Step>,
    ask: fn(&mut Request<'static>),
}

const CASES: &[Case] = &[
    Case { name: "success", fails: None, ask: |_| {} },
    Case {
        name: "success with options",
        fails: None,
        ask: |request| {
            const FDS: &[FdAction<'_>] = &[
                FdAction::Map { parent_fd: 1, child_fd: 2 },
                FdAction::Map { parent_fd: 2, child_fd: 1 },
                FdAction::Open { child_fd: 0, path: c"/dev/null", flags: libc::O_RDWR, mode: 0 },
            ];
            request.session(true).umask(0o77).nice(1).cwd(CurrentDir::Path(c"/")).fds(FDS);
            request.restore_signals().no_new_privs(true);
        },
    },
    Case {
        name: "no such process group",
        fails: Some(Step::ProcessGroup),
        ask: |request| {
            request.process_group(i32::MAX);
        },
    },
    Case {
        name: "not a terminal",
        fails: Some(Step::ControllingTerminal),
        ask: |request| {
            request.controlling_terminal(i32::MAX);
        },
    },
    Case {
        name: "no terminal",
        fails: Some(Step::Foreground),
        ask: |request| {
            request.foreground(i32::MAX);
        },
    },
    Case {
        name: "no such policy",
        fails: Some(Step::Scheduler),
        ask: |request| {
            request.scheduler(Scheduler::new(99, 0));
        },
    },
    Case {
        name: "no processor",
        fails: Some(Step::Affinity),
        ask: |request| {
            request.affinity(&[0]);
        },
    },
    Case {
        name: "no such class",
        fails: Some(Step::IoPriority),
        ask: |request| {
            request.ioprio(7 << 13);
        },
    },
    Case {
        name: "no such descriptor",
        fails: Some(Step::Move),
        ask: |request| {
            request.fds(&[FdAction::Map { parent_fd: 1 << 30, child_fd: 5 }]);
        },
    },
    Case {
        name: "no such file",
        fails: Some(Step::Open),
        ask: |request| {
            request.fds(&[FdAction::Open {
                child_fd: 5,
                path: c"/nonexistent/file",
                flags: libc::O_RDONLY,
                mode: 0,
            }]);
        },
    },
    Case {
        name: "no such limit",
        fails: Some(Step::Rlimit),
        ask: |request| {
            const LIMITS: &[Rlimit] = &[Rlimit::new(99, 1, 1)];
            request.rlimits(LIMITS);
        },
    },
    Case {
        name: "no such root",
        fails: Some(Step::Root),
        ask: |request| {
            request.root(c"/nonexistent");
        },
    },
    Case {
        name: "no such directory",
        fails: Some(Step::CurrentDir),
        ask: |request| {
            request.cwd(CurrentDir::Path(c"/nonexistent"));
        },
    },
    Case {
        name: "no such signal",
        fails: Some(Step::ParentDeathSignal),
        ask: |request| {
            request.parent_death_signal(99);
        },
    },
    Case {
        name: "no such program",
        fails: Some(Step::Exec),
        ask: |request| {
            *request = Request::new(Exec::Path(c"/nonexistent/program"), quick(0).1);
        },
    },
];

/// Spawns `case` as `setup` says; whether what came of it was expected.
fn spawn(case: &Case, setup: Setup, room: &mut Room) -> bool {
    let (exe, argv) = quick(0);
    let mut request = Request::new(Exec::Path(exe), argv);
    (case.ask)(&mut request);
    setup.apply(&mut request);
    match (request.spawn(room), case.fails) {
        (Ok(mut process), None) => process.wait().is_ok_and(rawspawn::WaitStatus::success),
        (Err(error), Some(step)) => error.step() == step,
        _ => false,
    }
}

/// The memory that a process can write, by address.
struct Memory(Vec<(u64, Vec<u8>)>);

impl Memory {
    fn of(pid: libc::pid_t) -> Self {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("/proc");
        let memory = File::open(format!("/proc/{pid}/mem")).expect("our tracee");
        let writable = maps.lines().filter(|line| {
            line.split(' ').nth(1).is_some_and(|mode| mode.contains('w')) && !line.contains("[v")
        });
        let regions = writable.map(|line| {
            let (start, rest) = line.split_once('-').expect("a range");
            let end = rest.split(' ').next().expect("an end");
            let start = u64::from_str_radix(start, 16).expect("an address");
            let end = u64::from_str_radix(end, 16).expect("an address");
            let mut bytes = vec![0; usize::try_from(end - start).expect("64 bits")];
            memory.read_exact_at(&mut bytes, start).expect("mapped memory");
            (start, bytes)
        });
        Self(regions.collect())
    }

    /// The addresses of the bytes that differ.
    fn differences(&self, other: &Self) -> BTreeSet<u64> {
        let mut found = BTreeSet::new();
        assert_eq!(self.0.len(), other.0.len(), "a mapping came or went");
        for ((start, before), (other_start, after)) in self.0.iter().zip(&other.0) {
            assert_eq!((start, before.len()), (other_start, after.len()), "a mapping moved");
            let pages = before.chunks(4096).zip(after.chunks(4096)).zip((*start..).step_by(4096));
            for ((before, after), start) in pages.filter(|((before, after), _)| before != after) {
                let pairs = before.iter().zip(after).zip(start..);
                found.extend(pairs.filter(|((a, b), _)| a != b).map(|(_, address)| address));
            }
        }
        found
    }
}

/// What the tracer saw of one child.
struct Seen {
    differences: BTreeSet<u64>,
    executed: bool,
}

/// Runs `parent` in a traced process, and looks at each child that it makes.
/// `None` where tracing is not to be had.
fn trace(parent: impl FnOnce() -> bool) -> Option<Vec<Seen>> {
    // SAFETY: The child goes on alone with what this thread was doing, and exits.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        trace_me();
        let good = parent();
        // SAFETY: Ends the process.
        unsafe { libc::_exit(i32::from(!good)) };
    }
    let mut children: Vec<(libc::pid_t, Option<Memory>)> = Vec::new();
    let mut seen = Vec::new();
    let mut forked = false;
    loop {
        let mut status = 0;
        // SAFETY: The kernel writes one status.
        let stopped = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
        assert!(stopped > 0, "waitpid: {}", std::io::Error::last_os_error());
        let event = status >> 16;
        if stopped == pid {
            if libc::WIFEXITED(status) {
                match libc::WEXITSTATUS(status) {
                    0 => return Some(seen),
                    CANNOT => return None,
                    _ => panic!("the parent says that a spawn went otherwise"),
                }
            }
            assert!(libc::WIFSTOPPED(status), "the parent was killed: {status:#x}");
            let signal = libc::WSTOPSIG(status);
            if !forked {
                forked = true;
                let options = libc::PTRACE_O_TRACEVFORK
                    | libc::PTRACE_O_TRACEEXEC
                    | libc::PTRACE_O_TRACEEXIT
                    | libc::PTRACE_O_EXITKILL;
                assert_eq!(ptrace(libc::PTRACE_SETOPTIONS.into(), pid, options), 0);
                ptrace(libc::PTRACE_CONT.into(), pid, 0);
            } else if event == libc::PTRACE_EVENT_VFORK {
                // It stays here until its child is done.
            } else {
                ptrace(libc::PTRACE_CONT.into(), pid, if event == 0 { signal } else { 0 });
            }
            continue;
        }
        let known = children.iter().position(|(child, _)| *child == stopped);
        let done = |before: &Option<Memory>, executed| Seen {
            differences: before.as_ref().expect("a start").differences(&Memory::of(pid)),
            executed,
        };
        match known {
            None => {
                // Before its first instruction.
                children.push((stopped, Some(Memory::of(pid))));
                ptrace(libc::PTRACE_CONT.into(), stopped, 0);
            }
            Some(place) if event == libc::PTRACE_EVENT_EXEC => {
                seen.push(done(&children[place].1, true));
                children[place].1 = None;
                ptrace(libc::PTRACE_CONT.into(), stopped, 0);
                ptrace(libc::PTRACE_CONT.into(), pid, 0);
            }
            Some(place) if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) => {
                if children[place].1.is_some() {
                    seen.push(done(&children[place].1, false));
                    ptrace(libc::PTRACE_CONT.into(), pid, 0);
                }
                children.remove(place);
            }
            Some(_) => {
                let signal = if event == 0 { libc::WSTOPSIG(status) } else { 0 };
                ptrace(libc::PTRACE_CONT.into(), stopped, signal);
            }
        }
    }
}

/// The bytes of a value.
fn range_of<T>(value: &T) -> Range<u64> {
    let start = std::ptr::from_ref(value).addr() as u64;
    start..start + size_of::<T>() as u64
}

#[test]
fn a_child_writes_nothing_but_its_frame() {
    isolated(|| {
        // On the heap, so that tracer and parent agree on where it is.
        let mut room = Box::new(Room::new());
        let arena = range_of(&*room);
        for setup in each_setup().into_iter().filter(|setup| setup.mode == Mode::Vfork) {
            for case in CASES {
                let name = format!("{setup:?}, {}", case.name);
                let Some(seen) = trace(|| spawn(case, setup, &mut room)) else {
                    skip("memory, as nothing can be traced here");
                    return;
                };
                let [Seen { ref differences, executed }] = *seen else {
                    panic!("{name}: {} children", seen.len());
                };
                assert_eq!(executed, case.fails.is_none(), "{name}");
                // `failed` and `errno`, side by side; the kernel writes `tid` before the
                // child's first instruction. Where the kernel lacks close_range, there
                // is a stack below them.
                let frame = if executed { 0 } else { 12 };
                let stack = if setup.kernel.has(Feature::CloseRange) { 0 } else { 6144 };
                let written = differences.first().zip(differences.last());
                let extent = written.map_or(0, |(first, last)| last - first + 1);
                assert!(extent <= frame + stack, "{name}: the child wrote at {differences:x?}");
                let own = differences.iter().any(|address| arena.contains(address));
                assert!(!own, "{name}: the child wrote to its plan");
            }
        }
    });
}

static WRITTEN: AtomicU8 = AtomicU8::new(0);

unsafe extern "C" fn write(_: *mut c_void) -> i32 {
    WRITTEN.store(1, Ordering::Relaxed);
    0
}

#[test]
fn a_byte_that_a_hook_writes_is_found() {
    isolated(|| {
        let kernel = Kernel::current().expect("a child can be made");
        if !kernel.has(Feature::SharedMemory) {
            skip("shared memory, which this system does not have");
            return;
        }
        let seen = trace(|| {
            let mut stack = [MaybeUninit::uninit(); 4096];
            let (exe, argv) = quick(0);
            let mut request = Request::new(Exec::Path(exe), argv);
            // SAFETY: `write` writes one byte, and needs no stack to speak of.
            request.hook(unsafe { Hook::sharing_memory(write, std::ptr::null_mut(), &mut stack) });
            let spawned = request.spawn(&mut Room::new());
            spawned.is_ok_and(|mut process| process.wait().is_ok())
        });
        let Some(seen) = seen else {
            skip("memory, as nothing can be traced here");
            return;
        };
        let written = WRITTEN.as_ptr().addr() as u64;
        assert!(seen.iter().any(|seen| seen.differences.contains(&written)));
    });
}
