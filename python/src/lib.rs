//! CPython's `_posixsubprocess.fork_exec` on rawspawn.
//!
//! `arguments` reads what subprocess.py passes and refuses what the original refuses;
//! this file makes a request of it, spawns, and reports as the original's child would.

mod arguments;

use std::fs::File;
use std::io::Write as _;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{FromRawFd as _, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use rawspawn::{
    Buffer, CStrArray, Cause, CurrentDir, Errno, Error, Exec, FdAction, Groups, HeapBuffer, Mode,
    Modes, OtherFds, Process, Request, Rlimit, Step,
};

use arguments::{Arguments, Strings};

/// How many children were made, and how.
static VFORK: AtomicU64 = AtomicU64::new(0);
static FORK: AtomicU64 = AtomicU64::new(0);
static STUB: AtomicU64 = AtomicU64::new(0);
static DELEGATED: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);

/// The exit status of the original's child that could not execute the program.
const FAILED_STATUS: i32 = 255;

/// Spawns as `_posixsubprocess.fork_exec` does, with its arguments.
///
/// `original` is that function: it is called where there is a `preexec_fn`, which needs
/// CPython's own fork and the hooks around it.
#[pyfunction]
#[pyo3(signature = (original, *args))]
fn fork_exec<'py>(
    original: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = args.py();
    let Some(arguments) = Arguments::read(args)? else {
        return delegate(original, args);
    };
    Ok(make(py, &arguments, &Extras::default())?.into_pyobject(py)?.into_any())
}

/// Spawns as `fork_exec` does, with what CPython has no argument for: the descriptor of
/// a cgroup's directory; pairs of a descriptor here and its number in the child; limits,
/// as resource, soft and hard one. Returns the pid. There is no pidfd: it would take a
/// descriptor for each child, and a process may have none left.
#[pyfunction]
#[pyo3(signature = (original, cgroup, fd_map, rlimits, *args))]
fn spawn<'py>(
    original: &Bound<'py, PyAny>,
    cgroup: Option<RawFd>,
    fd_map: Vec<(RawFd, RawFd)>,
    rlimits: Vec<(u32, u64, u64)>,
    args: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = args.py();
    let limit = |(resource, soft, hard)| Rlimit::new(resource, soft, hard);
    let rlimits = rlimits.into_iter().map(limit).collect();
    let extras = Extras { cgroup, fd_map, rlimits };
    let Some(arguments) = Arguments::read(args)? else {
        if extras.has_any() {
            let text = "preexec_fn with cgroup, fd_map or rlimits, which CPython's fork lacks";
            return Err(PyValueError::new_err(text));
        }
        return delegate(original, args);
    };
    Ok(make(py, &arguments, &extras)?.into_pyobject(py)?.into_any())
}

/// Has CPython's own function make the child.
fn delegate<'py>(
    original: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    DELEGATED.fetch_add(1, Ordering::Relaxed);
    original.call1(args.clone())
}

/// What CPython has no argument for.
#[derive(Default)]
struct Extras {
    cgroup: Option<RawFd>,
    fd_map: Vec<(RawFd, RawFd)>,
    rlimits: Vec<Rlimit>,
}

impl Extras {
    fn has_any(&self) -> bool {
        self.cgroup.is_some() || !self.fd_map.is_empty() || !self.rlimits.is_empty()
    }

    /// Whether what failed is of these. The pipe that reports has no words for them.
    fn are_to_blame(&self, error: Error) -> bool {
        match error.step() {
            Step::Cgroup | Step::Rlimit => true,
            Step::Move => error.index() < self.fd_map.len(),
            _ => false,
        }
    }
}

/// Makes the child, or one that failed: its pid.
fn make(py: Python<'_>, arguments: &Arguments, extras: &Extras) -> PyResult<i32> {
    let failure = match py.detach(|| run(arguments, extras)) {
        Ok(process) => {
            let count = match process.mode() {
                Mode::Vfork => &VFORK,
                Mode::Stub => &STUB,
                _ => &FORK,
            };
            count.fetch_add(1, Ordering::Relaxed);
            return Ok(process.pid());
        }
        // What the original raises: no child was there to report anything.
        Err(Failure::Spawn(error)) if error.step() == Step::Clone || extras.are_to_blame(error) => {
            return Err(os_error(error));
        }
        Err(failure) => failure,
    };
    FAILED.fetch_add(1, Ordering::Relaxed);
    let signal = failure.signal();
    if signal.is_none() {
        report(arguments, &failure);
    }
    py.detach(|| failed_child(signal))
}

/// Why there is no child that executes the program.
enum Failure {
    Spawn(Error),
    /// A stream is an end that the original's child closes, or one is closed twice.
    Closed,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Spawn(error)
    }
}

impl Failure {
    /// The signal that killed the child. The original has no word for that: there, a
    /// child that is killed before its exec looks like one that is killed after.
    fn signal(&self) -> Option<u8> {
        match self {
            Self::Spawn(error) => match error.cause() {
                Cause::Killed(signal) => Some(signal),
                _ => None,
            },
            Self::Closed => None,
        }
    }
}

/// How many children this process has made: by mode, by CPython's own fork, and those
/// that did not come to their exec.
#[pyfunction]
fn counts(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let counts = PyDict::new(py);
    let made = [("vfork", &VFORK), ("stub", &STUB), ("fork", &FORK)];
    let others = [("delegated", &DELEGATED), ("failed", &FAILED)];
    for (name, count) in made.into_iter().chain(others) {
        counts.set_item(name, count.load(Ordering::Relaxed))?;
    }
    Ok(counts)
}

fn os_error(error: Error) -> PyErr {
    match error.errno() {
        Some(errno) if error.step() == Step::Clone => {
            PyOSError::new_err((errno.raw(), errno.message().unwrap_or("error")))
        }
        Some(errno) => PyOSError::new_err((errno.raw(), error.to_string())),
        None => PyOSError::new_err(error.to_string()),
    }
}

fn run(arguments: &Arguments, extras: &Extras) -> Result<Process, Failure> {
    if arguments.uses_what_is_closed() {
        return Err(Failure::Closed);
    }
    let argv = arguments.argv.pointers();
    let envp = arguments.env.as_ref().map(Strings::pointers);
    let candidates: Vec<_> = arguments.executables.iter().collect();
    let actions = actions(arguments, &extras.fd_map);
    let mut request = Request::new(
        Exec::Candidates(&candidates),
        CStrArray::new(&argv).unwrap_or(CStrArray::EMPTY),
    );
    if let Some(envp) = &envp {
        request.env(CStrArray::new(envp).unwrap_or(CStrArray::EMPTY));
    }
    request.fds(&actions);
    request.other_fds(if arguments.close_fds { OtherFds::Close } else { OtherFds::Inherit });
    if let Some(cwd) = &arguments.cwd {
        request.cwd(CurrentDir::Path(cwd));
    }
    if let Ok(umask) = u32::try_from(arguments.umask) {
        request.umask(umask & 0o777);
    }
    if arguments.restore_signals {
        request.restore_signals();
    }
    request.session(arguments.session);
    if arguments.pgrp >= 0 {
        request.process_group(arguments.pgrp);
    }
    // The original keeps the caller's groups unless others are given.
    request.groups(arguments.groups.as_deref().map_or(Groups::Keep, Groups::Set));
    if let Some(gid) = arguments.gid {
        request.gid(gid);
    }
    if let Some(uid) = arguments.uid {
        request.uid(uid);
    }
    if !arguments.allow_vfork {
        request.modes(Modes::Fork);
    }
    if let Some(cgroup) = extras.cgroup {
        request.cgroup(cgroup);
    }
    request.rlimits(&extras.rlimits);
    match request.spawn(&mut Buffer::<32, 64>::new()) {
        Err(error) if error.errno() == Some(Errno::ENOBUFS) && error.step() == Step::Plan => {
            Ok(request.spawn(&mut HeapBuffer::new(request.needed()?))?)
        }
        result => Ok(result?),
    }
}

/// What becomes of descriptors: `fd_map`, streams to 0, 1 and 2, those to be passed on,
/// and the parent's ends closed.
fn actions(arguments: &Arguments, fd_map: &[(RawFd, RawFd)]) -> Vec<FdAction<'static>> {
    let streams = arguments.streams.into_iter().zip(0..).filter(|(fd, _)| *fd != -1);
    let maps = fd_map.iter().copied().chain(streams);
    let mut actions: Vec<_> =
        maps.map(|(parent_fd, child_fd)| FdAction::Map { parent_fd, child_fd }).collect();
    let is_target = |actions: &[FdAction<'_>], fd| {
        actions.iter().any(|action| {
            matches!(action, FdAction::Map { child_fd, .. } | FdAction::Close { child_fd } if *child_fd == fd)
        })
    };
    // It is the parent that reports. Open until exec, the pipe would hold up who reads it
    // until the child has freed what a fork has copied.
    if !is_target(&actions, arguments.errpipe_write) {
        actions.push(FdAction::Close { child_fd: arguments.errpipe_write });
    }
    for &fd in arguments.parent_ends.iter().filter(|fd| **fd != -1) {
        if !arguments.close_fds && !is_target(&actions, fd) {
            actions.push(FdAction::Close { child_fd: fd });
        }
    }
    for &fd in &arguments.pass_fds {
        if !arguments.parent_ends.contains(&fd) && !is_target(&actions, fd) {
            actions.push(FdAction::Map { parent_fd: fd, child_fd: fd });
        }
    }
    actions
}

/// Writes to the pipe what the original's child would have.
fn report(arguments: &Arguments, failure: &Failure) {
    let text = match failure {
        Failure::Closed => format!("OSError:{:X}:noexec", libc::EBADF),
        // Nothing was tried, and so nothing has failed.
        Failure::Spawn(_) if arguments.executables.is_empty() => "SubprocessError:0:".to_owned(),
        Failure::Spawn(error) => match (error.errno(), error.step()) {
            (Some(errno), Step::Exec) => format!("OSError:{:X}:", errno.raw()),
            (Some(errno), Step::CurrentDir) if arguments.names_chdir => {
                format!("OSError:{:X}:noexec:chdir", errno.raw())
            }
            (Some(errno), _) => format!("OSError:{:X}:noexec", errno.raw()),
            (None, _) => format!("SubprocessError:0:{error}"),
        },
    };
    // SAFETY: The caller's, and not closed here.
    #[allow(unsafe_code)]
    let pipe = unsafe { File::from_raw_fd(arguments.errpipe_write) };
    // Nobody may be reading, as in multiprocessing; then there is no one to tell.
    let _ = ManuallyDrop::new(pipe).write_all(text.as_bytes());
}

/// A child that ends as the original's would have, for callers that wait for it: by
/// `signal`, or with a status of its own.
#[allow(unsafe_code)]
fn failed_child(signal: Option<u8>) -> PyResult<i32> {
    // SAFETY: The child makes only calls that are safe in a signal handler.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        if let Some(signal) = signal {
            end_by(signal.into());
        }
        // SAFETY: Ends the child.
        unsafe { libc::_exit(FAILED_STATUS) };
    }
    if pid < 0 { Err(std::io::Error::last_os_error().into()) } else { Ok(pid) }
}

/// Ends this process by `signal`, whose default is to do so.
#[allow(unsafe_code)]
fn end_by(signal: i32) {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: It writes the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: No handler is left that could run.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    // SAFETY: Raised before any is unblocked, so that none comes first.
    unsafe { libc::kill(std::process::id() as i32, signal) };
    // SAFETY: The set was written.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), ptr::null_mut()) };
}

/// `rawspawn._native`.
#[pymodule(gil_used = false)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(fork_exec, module)?)?;
    module.add_function(wrap_pyfunction!(spawn, module)?)?;
    module.add_function(wrap_pyfunction!(counts, module)?)
}
