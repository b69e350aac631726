//! Instructions of a spawn in user mode: counted one by one, under ptrace. No other
//! process changes the figure, and no performance counter is needed.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;

use libc::{c_int, c_long, pid_t};

use crate::inproc::Spawn;
use crate::peers::{Home, PEERS};
use crate::setup::Setup;
use crate::table::{row, table};
use crate::worker::wait;

/// Of one spawn.
#[derive(Clone, Copy, Default)]
struct Count {
    parent: u64,
    child: u64,
    /// Bytes of the parent's stack, below the caller's frame.
    stack: u64,
    /// Lines of 64 bytes that the parent's code is in: what a cold cache has to fetch.
    lines: u64,
}

/// By how much a count may grow: compilers differ.
const MORE_PERCENT: u64 = 15;

/// What the core may take of the caller's stack, in bytes.
const MOST_STACK: u64 = 2048;

/// Which peers are the core's own.
const CORE: &[&str] = &["rawspawn", "rawspawn-plan", "rawspawn-inherit", "rawspawn-all"];

const FILE: &str = "instructions.csv";

/// Counts what each native peer executes. What the file in `folder` says is compared
/// with it, or written.
pub(crate) fn measure(folder: &Path, write: bool) -> Result<(), Box<dyn Error>> {
    let setup: &'static Setup = Box::leak(Box::new(Setup::new("/bin/true".as_ref())));
    let nothing = count(&mut (Box::new(|| Ok(0)) as Spawn))?;
    let mut rows = vec![row(["peer", "parent", "child", "parent's stack, bytes", "code, lines"])];
    let mut csv = String::from("peer,parent,child,stack,lines\n");
    let mut counts = Vec::new();
    for peer in PEERS {
        let Home::Native(prepare) = peer.home else { continue };
        let all = count(&mut prepare(setup))?;
        let count = Count {
            parent: all.parent - nothing.parent,
            stack: all.stack.saturating_sub(nothing.stack),
            lines: all.lines.saturating_sub(nothing.lines),
            ..all
        };
        let Count { parent, child, stack, lines } = count;
        let numbers = [parent, child, stack, lines].map(|number| number.to_string());
        writeln!(csv, "{},{}", peer.name, numbers.join(","))?;
        rows.push([vec![peer.name.to_owned()], numbers.to_vec()].concat());
        counts.push((peer.name, count));
    }
    println!("{}", table(&rows));
    let file = folder.join(FILE);
    if write {
        fs::create_dir_all(folder)?;
        fs::write(file, csv)?;
        return Ok(());
    }
    let known = fs::read_to_string(file)?;
    let grown: Vec<_> = CORE.iter().filter_map(|name| judge(name, &counts, &known)).collect();
    if grown.is_empty() { Ok(()) } else { Err(grown.join("\n").into()) }
}

/// What is wrong with the count of `name`, if something is.
fn judge(name: &str, counts: &[(&str, Count)], known: &str) -> Option<String> {
    let Some((_, count)) = counts.iter().find(|(peer, _)| *peer == name) else {
        return Some(format!("{name}: not counted"));
    };
    if count.stack > MOST_STACK {
        return Some(format!("{name}: {} bytes of stack, more than {MOST_STACK}", count.stack));
    }
    let line = known.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(','));
    let mut numbers = line.unwrap_or_default().split(',').map(str::parse::<u64>);
    let (Some(Ok(parent)), Some(Ok(child))) = (numbers.next(), numbers.next()) else {
        return Some(format!("{name}: not in {FILE}"));
    };
    let most = |known: u64| known + known * MORE_PERCENT / 100;
    if count.parent > most(parent) || count.child > most(child) {
        return Some(format!(
            "{name}: {} and {} instructions in parent and child, of {parent} and {child} before",
            count.parent, count.child
        ));
    }
    None
}

fn ptrace(request: c_long, pid: pid_t, address: usize, data: usize) -> c_long {
    // SAFETY: Callers pass requests that touch no memory, or memory of theirs.
    unsafe { libc::syscall(libc::SYS_ptrace, request, pid, address, data) }
}

/// `struct ptrace_syscall_info`, the part that each stop has.
#[repr(C)]
struct Place {
    op: u8,
    arch: u32,
    instruction_pointer: u64,
    stack_pointer: u64,
}

const PTRACE_GET_SYSCALL_INFO: c_long = 0x420e;

/// Where `pid`, which is stopped, has come to.
fn place(pid: pid_t) -> io::Result<Place> {
    let mut place = MaybeUninit::<Place>::zeroed();
    let size = size_of_val(&place);
    if ptrace(PTRACE_GET_SYSCALL_INFO, pid, size, place.as_mut_ptr().addr()) < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: All of it is integers, and was zeroed.
    Ok(unsafe { place.assume_init() })
}

/// The events of a process that makes another.
const NEW_CHILD: [c_int; 3] =
    [libc::PTRACE_EVENT_FORK, libc::PTRACE_EVENT_VFORK, libc::PTRACE_EVENT_CLONE];

fn wait_stopped(pid: pid_t) -> io::Result<(pid_t, c_int)> {
    let mut status = 0;
    // SAFETY: `status` is an integer that lives.
    let stopped = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
    if stopped < 0 { Err(io::Error::last_os_error()) } else { Ok((stopped, status)) }
}

/// Counts `spawn` in a process of its own, after some that do not count.
fn count(spawn: &mut Spawn) -> io::Result<Count> {
    // SAFETY: This process has one thread.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    if pid == 0 {
        let done = traced(spawn);
        // SAFETY: Ends the process.
        unsafe { libc::_exit(c_int::from(done.is_err())) };
    }
    let mut count = Count::default();
    let (_, status) = wait_stopped(pid)?;
    if !libc::WIFSTOPPED(status) {
        return Err(io::Error::other(format!("cannot be traced: {status:#x}")));
    }
    let options = libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_EXITKILL;
    ptrace(libc::PTRACE_SETOPTIONS.into(), pid, 0, options as usize);
    let start = place(pid)?.stack_pointer;
    let mut lines = BTreeSet::new();
    let (mut done, mut children) = (false, 0);
    ptrace(libc::PTRACE_SINGLESTEP.into(), pid, 0, 0);
    while !done || children > 0 {
        let (stopped, status) = wait_stopped(-1)?;
        if !libc::WIFSTOPPED(status) {
            if stopped == pid {
                return Err(io::Error::other(format!("a spawn failed: {status:#x}")));
            }
            // One that has not executed anything.
            children -= 1;
            continue;
        }
        let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
        children += u32::from(stopped == pid && NEW_CHILD.contains(&event));
        if stopped != pid && event == libc::PTRACE_EVENT_EXEC {
            children -= 1;
            ptrace(libc::PTRACE_DETACH.into(), stopped, 0, 0);
            continue;
        }
        if stopped == pid && signal == libc::SIGSTOP && event == 0 {
            done = true;
            continue;
        }
        if signal == libc::SIGTRAP && event == 0 {
            if stopped == pid {
                count.parent += 1;
                let place = place(pid)?;
                count.stack = count.stack.max(start.saturating_sub(place.stack_pointer));
                lines.insert(place.instruction_pointer / 64);
            } else {
                count.child += 1;
            }
        }
        ptrace(libc::PTRACE_SINGLESTEP.into(), stopped, 0, 0);
    }
    ptrace(libc::PTRACE_CONT.into(), pid, 0, 0);
    loop {
        let (stopped, status) = wait_stopped(-1)?;
        if stopped == pid && libc::WIFEXITED(status) {
            count.lines = lines.len() as u64;
            return Ok(count);
        }
        ptrace(libc::PTRACE_CONT.into(), stopped, 0, 0);
    }
}

/// Spawns between two stops of this process.
fn traced(spawn: &mut Spawn) -> io::Result<()> {
    let mut pids = Vec::new();
    for _ in 0..3 {
        spawn.spawn(1, &mut pids)?;
        spawn.settle()?;
    }
    for pid in pids.drain(..).filter(|pid| *pid > 0) {
        wait(pid)?;
    }
    ptrace(libc::PTRACE_TRACEME.into(), 0, 0, 0);
    // SAFETY: Stops this process until its tracer lets it go on.
    unsafe { libc::raise(libc::SIGSTOP) };
    let spawned = spawn.spawn(1, &mut pids);
    // SAFETY: As above.
    unsafe { libc::raise(libc::SIGSTOP) };
    spawned.and_then(|()| spawn.settle())
}
