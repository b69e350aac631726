//! `Command`: `std::process`'s shape over the core.

mod child;
mod env;
mod fork;
mod options;
mod stdio;

use std::borrow::ToOwned;
use std::ffi::{CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{ExitStatus, Output};
use std::time::Duration;
use std::vec::Vec;
use std::{error, fmt, io};

pub use child::{Child, TimedOut};
use env::EnvChanges;
pub use stdio::{ChildStderr, ChildStdin, ChildStdout, Stdio};

use crate::array::{CStrArray, CStrPtr};
use crate::error::Error;
use crate::request::{CurrentDir, Exec, FdAction, Groups, RawFd, Request};
use crate::signal::SigSet;

/// A program to be started. As `std::process::Command`, with these differences:
///
/// - Descriptors that are not named are closed, whatever their flags, but for those that a hook
///   makes inheritable: [`other_fds`](Self::other_fds) says otherwise.
/// - With [`pre_exec`](Self::pre_exec) the child is a fork, as with std. Without, it has a copy of the
///   parent's memory only where it must not share that and no stub will do: see [`Reason`](crate::Reason).
/// - All options of the core are here too, and deadlines, and pidfds.
///
/// ```
/// use rawspawn::{Command, Stdio};
///
/// let child = Command::new("sort").stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
/// assert!(child.wait_with_output()?.status.success());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Command {
    program: CString,
    args: Vec<CString>,
    /// Something held a NUL, and cannot be given to a program.
    nul: bool,
    env: EnvChanges,
    cwd: Option<CString>,
    streams: [Option<Stdio>; 3],
    hooks: fork::Hooks,
    /// Options that borrow nothing.
    base: Request<'static>,
    /// Those that would borrow.
    owned: options::Owned,
    /// Whether an option was used that `std::process` does not have.
    beyond_std: bool,
}

/// Why a [`Command`] did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum SpawnError {
    /// A string holds a NUL, or a pipe could not be made.
    Io(io::Error),
    /// The core's error, with the step that failed.
    Spawn(Error),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Spawn(error) => error.fmt(f),
        }
    }
}

impl error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Spawn(error) => Some(error),
        }
    }
}

impl From<io::Error> for SpawnError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Error> for SpawnError {
    fn from(error: Error) -> Self {
        Self::Spawn(error)
    }
}

impl From<SpawnError> for io::Error {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::Io(error) => error,
            SpawnError::Spawn(error) => error.into(),
        }
    }
}

/// The directory and the streams that are the defaults of a spawn.
#[derive(Clone, Copy)]
enum Default {
    Inherit,
    /// Of `output`: nothing to read, and all that is written comes here.
    Capture,
}

impl Command {
    /// A command that starts `program`, with no arguments, the parent's environment,
    /// working directory and standard streams. A name without a slash is looked up
    /// in the `PATH` of the child.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut nul = false;
        let program = c_string(program.as_ref(), &mut nul);
        let mut base = Request::new(Exec::Path(c""), CStrArray::EMPTY);
        // Rust's runtime ignores it, which is not the child's choice.
        base.default_signals(SigSet::EMPTY.with(crate::sys::SIGPIPE));
        Self {
            args: [program.clone()].into(),
            program,
            nul,
            env: EnvChanges::default(),
            cwd: None,
            streams: [None, None, None],
            hooks: Vec::new(),
            base,
            owned: options::Owned::default(),
            beyond_std: false,
        }
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.args.push(c_string(arg.as_ref(), &mut self.nul));
        self
    }

    /// Adds arguments.
    pub fn args<I, S>(&mut self, args: I) -> &mut Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        for arg in args {
            self.arg(arg);
        }
        self
    }

    /// Sets the name that the program sees as its own.
    pub fn arg0(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        let arg = c_string(arg.as_ref(), &mut self.nul);
        if let Some(first) = self.args.first_mut() {
            *first = arg;
        }
        self
    }

    /// Sets a variable of the child's environment.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.env.set(key.as_ref(), value.as_ref());
        self
    }

    /// Sets variables of the child's environment.
    pub fn envs<I, K, V>(&mut self, vars: I) -> &mut Self
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        for (key, value) in vars {
            self.env(key, value);
        }
        self
    }

    /// Removes a variable from the child's environment.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Self {
        self.env.remove(key.as_ref());
        self
    }

    /// Starts the child with an empty environment, and what is set from here on.
    pub fn env_clear(&mut self) -> &mut Self {
        self.env.clear();
        self
    }

    /// Sets the working directory. A relative program counts from there.
    pub fn current_dir(&mut self, dir: impl AsRef<Path>) -> &mut Self {
        self.cwd = Some(c_string(dir.as_ref().as_os_str(), &mut self.nul));
        self
    }

    /// Sets the standard input. Inherited by default, empty for [`output`](Self::output).
    pub fn stdin(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.streams[0] = Some(stdio.into());
        self
    }

    /// Sets the standard output. Inherited by default, captured by [`output`](Self::output).
    pub fn stdout(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.streams[1] = Some(stdio.into());
        self
    }

    /// Sets the standard error. Inherited by default, captured by [`output`](Self::output).
    pub fn stderr(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.streams[2] = Some(stdio.into());
        self
    }

    /// Runs `hook` in the child, made by fork, just before exec. Several run in the
    /// order of these calls; the error of one ends the spawn, and is its error.
    ///
    /// All else is in place by then, so what a hook does to descriptors, signals, limits or the mask
    /// reaches the program. The child is one that `std::process` makes, and what holds in a hook there
    /// holds here:
    ///
    /// - It is a child of the C library's fork, in which `malloc` works with glibc and musl, and
    ///   `setuid` and its kin.
    /// - A panic aborts the child, without a lock and without memory.
    /// - A hook that does so, that exits, or that is killed is no error of the spawn: what
    ///   [`Child::wait`] says is what became of the child. So a daemon may fork in a hook, and exit.
    ///   (With [`Request::hook`](crate::Request::hook) a child that ends before exec is an error.)
    /// - The environment can be read there, but is not to be changed: that waits for ever, for a lock
    ///   that std holds meanwhile. Changes would not reach the program.
    /// - A process that another thread forks at that moment, and that executes nothing, holds the
    ///   caller as long as it lives.
    ///
    /// Two options of the core's own cannot be had so. With [`parent_hook`](Self::parent_hook) it is
    /// not std that calls the C library's fork, and with [`namespaces`](Self::namespaces) that make a
    /// user or a PID namespace, or choose the pid, it is the kernel's clone, where a hook must do no
    /// more than [`Hook::new`](crate::Hook::new) says. In both a panic takes Rust's usual way until
    /// it aborts, and an end before exec is an error.
    ///
    /// # Safety
    ///
    /// The closure runs in a fork of a process that may have other threads: what
    /// they were in the middle of stays so. See
    /// `std::os::unix::process::CommandExt::pre_exec`.
    #[allow(unsafe_code)]
    pub unsafe fn pre_exec<F>(&mut self, hook: F) -> &mut Self
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static,
    {
        self.hooks.push(std::boxed::Box::new(hook));
        self
    }

    /// The program, as it was given.
    pub fn get_program(&self) -> &OsStr {
        OsStr::from_bytes(self.program.to_bytes())
    }

    /// The arguments, without the program's name.
    pub fn get_args(&self) -> impl ExactSizeIterator<Item = &OsStr> {
        self.args.iter().skip(1).map(|arg| OsStr::from_bytes(arg.to_bytes()))
    }

    /// The changes to the environment: `None` for a variable that is removed.
    pub fn get_envs(&self) -> impl ExactSizeIterator<Item = (&OsStr, Option<&OsStr>)> {
        self.env.iter()
    }

    /// The working directory, if one was set.
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.cwd.as_ref().map(|dir| Path::new(OsStr::from_bytes(dir.to_bytes())))
    }

    /// Starts the program.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: a string holds a NUL. Else the
    /// error number of the step that failed; [`try_spawn`](Self::try_spawn) has
    /// the step.
    pub fn spawn(&mut self) -> io::Result<Child> {
        Ok(self.start(Default::Inherit)?)
    }

    /// Starts the program, with an error that names the step that failed.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    pub fn try_spawn(&mut self) -> Result<Child, SpawnError> {
        self.start(Default::Inherit)
    }

    /// Starts the program, waits for it, and collects its output.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn) and [`Child::wait_with_output`].
    pub fn output(&mut self) -> io::Result<Output> {
        self.start(Default::Capture)?.wait_with_output()
    }

    /// As [`output`](Self::output), but after `timeout` the child is killed.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn) and [`Child::wait_with_output_timeout`].
    pub fn output_timeout(&mut self, timeout: Duration) -> io::Result<Output> {
        self.start(Default::Capture)?.wait_with_output_timeout(timeout)
    }

    /// Starts the program and waits for it.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn) and [`Child::wait`].
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait()
    }

    fn start(&mut self, default: Default) -> Result<Child, SpawnError> {
        if self.nul {
            let text = "nul byte found in provided data";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text).into());
        }
        let mut actions: Vec<FdAction<'_>> = Vec::new();
        let mut theirs = Vec::new();
        let mut ours: [Option<OwnedFd>; 3] = [None, None, None];
        for ((stream, end), child_fd) in self.streams.iter().zip(&mut ours).zip(0..) {
            let fallback = match (default, child_fd) {
                (Default::Inherit, _) => Stdio::inherit(),
                (Default::Capture, 0) => Stdio::null(),
                (Default::Capture, _) => Stdio::piped(),
            };
            let (action, pipe) = stream.as_ref().unwrap_or(&fallback).prepare(child_fd)?;
            actions.extend(action);
            if let Some((their_end, our_end)) = pipe {
                theirs.push(their_end);
                *end = Some(our_end);
            }
        }
        self.owned.add_actions(&mut actions);
        let envp = self.env.capture()?;
        let (argv, envp) = (pointers(&self.args), pointers(&envp));

        let mut request: Request<'_> = self.base;
        self.owned.add_to(&mut request);
        request.argv = CStrArray::terminated(&argv);
        request.env(CStrArray::terminated(&envp)).fds(&actions);
        request.exec = Exec::Search { name: &self.program, path: None };
        if let Some(dir) = &self.cwd {
            request.cwd(CurrentDir::Path(dir));
        }
        if !self.hooks.is_empty() {
            // SAFETY: `pre_exec`'s callers vouched for the closures. They are
            // used by a child alone, in its own memory, while we wait here.
            #[allow(unsafe_code)]
            unsafe {
                fork::add_hooks(&mut self.hooks, &mut request);
            }
        }
        // Without a pidfd, which `Child` opens when it is asked for: std takes no descriptor for one.
        let process = request.spawn_in_any_room()?;
        // Only now, as the child's numbers refer to them.
        drop(theirs);
        Ok(Child::new(process, ours))
    }

    /// Replaces this process by the program; returns only if that fails.
    ///
    /// Nothing is spawned, so it is `std::os::unix::process::CommandExt::exec`
    /// that does it, and this process may be left changed by a failure. Descriptors
    /// that are not close-on-exec stay open.
    ///
    /// # Errors
    ///
    /// `Unsupported`, before anything happens: an option was used that
    /// `std::process` does not have. Else those of exec(3).
    pub fn exec(&mut self) -> io::Error {
        match self.take_std() {
            Ok(mut command) => std::os::unix::process::CommandExt::exec(&mut command),
            Err(error) => error,
        }
    }

    /// The same command of `std::process`; takes the hooks away.
    fn take_std(&mut self) -> io::Result<std::process::Command> {
        use std::os::unix::process::CommandExt;

        if self.beyond_std || self.nul {
            let kind =
                if self.nul { io::ErrorKind::InvalidInput } else { io::ErrorKind::Unsupported };
            return Err(kind.into());
        }
        let mut command = std::process::Command::new(self.get_program());
        command.args(self.get_args());
        if let Some(first) = self.args.first() {
            command.arg0(OsStr::from_bytes(first.to_bytes()));
        }
        if self.env.does_clear() {
            command.env_clear();
        }
        for (key, value) in self.env.iter() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(dir) = self.get_current_dir() {
            command.current_dir(dir);
        }
        let [stdin, stdout, stderr] = &self.streams;
        if let Some(stdin) = stdin {
            command.stdin(stdin.to_std()?);
        }
        if let Some(stdout) = stdout {
            command.stdout(stdout.to_std()?);
        }
        if let Some(stderr) = stderr {
            command.stderr(stderr.to_std()?);
        }
        self.base.uid.map(|uid| command.uid(uid));
        self.base.gid.map(|gid| command.gid(gid));
        self.base.pgrp.map(|pgrp| command.process_group(pgrp));
        if self.owned.has_groups() || self.base.session {
            return Err(io::ErrorKind::Unsupported.into()); // not stable in std
        }
        for hook in self.hooks.drain(..) {
            // SAFETY: The caller of our `pre_exec` promised the same.
            #[allow(unsafe_code)]
            unsafe {
                command.pre_exec(hook)
            };
        }
        Ok(command)
    }
}

impl fmt::Debug for Command {
    /// As `std::process::Command`: a line that a shell would understand, or with
    /// `{:#?}` all fields.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            let mut fields = f.debug_struct("Command");
            fields.field("program", &self.program).field("args", &self.args);
            if !self.env.is_unchanged() {
                fields.field("env", &self.env);
            }
            return fields
                .field("cwd", &self.cwd)
                .field("streams", &self.streams)
                .field("options", &self.base)
                .finish_non_exhaustive();
        }
        if let Some(dir) = self.get_current_dir() {
            write!(f, "cd {dir:?} && ")?;
        }
        if self.env.does_clear() {
            f.write_str("env -i ")?;
        } else {
            let mut removed = self.env.iter().filter(|(_, value)| value.is_none()).peekable();
            if removed.peek().is_some() {
                f.write_str("env ")?;
            }
            for (key, _) in removed {
                write!(f, "-u {} ", key.to_string_lossy())?;
            }
        }
        for (key, value) in self.env.iter() {
            if let Some(value) = value {
                write!(f, "{}={value:?} ", key.to_string_lossy())?;
            }
        }
        if self.args.first() != Some(&self.program) {
            write!(f, "[{:?}] ", self.get_program())?;
        }
        for (place, arg) in self.args.iter().enumerate() {
            let arg = OsStr::from_bytes(arg.to_bytes());
            write!(f, "{}{arg:?}", if place > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

/// `string` without its NULs, which `nul` tells of.
fn c_string(string: &OsStr, nul: &mut bool) -> CString {
    CString::new(string.as_bytes()).unwrap_or_else(|_| {
        *nul = true;
        c"<string-with-nul>".to_owned()
    })
}

fn pointers(strings: &[CString]) -> Vec<CStrPtr<'_>> {
    strings.iter().map(|string| CStrPtr::new(string)).chain([CStrPtr::NULL]).collect()
}
