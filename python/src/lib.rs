//! CPython's `_posixsubprocess.fork_exec` on rawspawn.
//!
//! `arguments` reads what subprocess.py passes and refuses what the original refuses;
//! this file makes a request of it, spawns, and reports as the original's child would.

mod arguments;

use std::fs::File;
use std::io::Write as _;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::FromRawFd as _;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use rawspawn::{
    CStrArray, Cause, CurrentDir, Error, Exec, FdAction, Groups, HeapBuffer, Mode, Modes, OtherFds,
    Process, Request, Step,
};

use arguments::Arguments;

/// How many children were made, and how.
static VFORK: AtomicU64 = AtomicU64::new(0);
static FORK: AtomicU64 = AtomicU64::new(0);
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
fn fork_exec(original: &Bound<'_, PyAny>, args: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    let py = args.py();
    let Some(arguments) = Arguments::read(args)? else {
        DELEGATED.fetch_add(1, Ordering::Relaxed);
        return Ok(original.call1(args.clone())?.unbind());
    };
    let failure = match py.detach(|| spawn(&arguments)) {
        Ok(process) => {
            let count = if process.mode() == Mode::Vfork { &VFORK } else { &FORK };
            count.fetch_add(1, Ordering::Relaxed);
            return Ok(process.pid().into_pyobject(py)?.into_any().unbind());
        }
        // What the original raises: no child was there to report anything.
        Err(Failure::Spawn(error)) if error.step() == Step::Clone => return Err(os_error(error)),
        Err(failure) => failure,
    };
    FAILED.fetch_add(1, Ordering::Relaxed);
    let signal = failure.signal();
    if signal.is_none() {
        report(&arguments, &failure);
    }
    let pid = py.detach(|| failed_child(signal))?;
    Ok(pid.into_pyobject(py)?.into_any().unbind())
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
    let all = [("vfork", &VFORK), ("fork", &FORK), ("delegated", &DELEGATED), ("failed", &FAILED)];
    for (name, count) in all {
        counts.set_item(name, count.load(Ordering::Relaxed))?;
    }
    Ok(counts)
}

fn os_error(error: Error) -> PyErr {
    match error.errno() {
        Some(errno) => PyOSError::new_err((errno.raw(), errno.message().unwrap_or("error"))),
        None => PyOSError::new_err(error.to_string()),
    }
}

fn spawn(arguments: &Arguments) -> Result<Process, Failure> {
    if arguments.uses_what_is_closed() {
        return Err(Failure::Closed);
    }
    let argv = arguments::pointers(&arguments.argv);
    let envp = arguments.env.as_deref().map(arguments::pointers);
    let candidates: Vec<_> = arguments.executables.iter().map(|path| &**path).collect();
    let actions = actions(arguments);
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
    Ok(request.spawn(&mut HeapBuffer::new(request.needed()?))?)
}

/// What becomes of descriptors: streams to 0, 1 and 2, those to be passed on, and the
/// parent's ends closed.
fn actions(arguments: &Arguments) -> Vec<FdAction<'static>> {
    let streams = arguments.streams.iter().zip(0..).filter(|(fd, _)| **fd != -1);
    let mut actions: Vec<_> =
        streams.map(|(&parent_fd, child_fd)| FdAction::Map { parent_fd, child_fd }).collect();
    let is_target = |actions: &[FdAction<'_>], fd| {
        actions.iter().any(|action| {
            matches!(action, FdAction::Map { child_fd, .. } | FdAction::Close { child_fd } if *child_fd == fd)
        })
    };
    for &fd in arguments.parent_ends.iter().filter(|fd| **fd != -1) {
        if !is_target(&actions, fd) {
            actions.push(FdAction::Close { child_fd: fd });
        }
    }
    for &fd in &arguments.pass_fds {
        // It is closed by exec, which is what it tells by.
        if fd != arguments.errpipe_write && !is_target(&actions, fd) {
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
    module.add_function(wrap_pyfunction!(counts, module)?)
}
