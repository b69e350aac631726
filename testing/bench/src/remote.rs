//! A worker process, as the coordinator sees it.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::peers::Kind;
use crate::scenario::{Scenario, State};

/// Where the programs are that are not this one.
pub(crate) struct Programs {
    /// The folder with what `./benchmark` has built.
    pub(crate) folder: PathBuf,
    /// Python itself, not a script that starts it; empty without one.
    pub(crate) python: String,
}

/// Nanoseconds of one sample: held, and until all children were reaped.
pub(crate) type Sample = (u64, u64);

impl Programs {
    /// Those in `folder`.
    pub(crate) fn find(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let folder = folder
            .canonicalize()
            .map_err(|error| format!("{}: {error}: ./benchmark builds it", folder.display()))?;
        let python = first_line("python3", &["-c", "import sys; print(sys.executable)"]);
        Ok(Self { folder, python })
    }

    /// Whether a worker of this kind can be started.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Native => true,
            Kind::Musl => self.folder.join("musl").exists(),
            Kind::Python => !self.python.is_empty() && self.folder.join("python.py").exists(),
            Kind::Go => self.folder.join("go").exists(),
        }
    }

    fn command(&self, kind: Kind) -> Result<Command, Box<dyn Error>> {
        let (program, argument) = match kind {
            Kind::Native => (std::env::current_exe()?, Some(crate::WORKER.into())),
            Kind::Musl => (self.folder.join("musl"), None),
            Kind::Python => (PathBuf::from(&self.python), Some(self.folder.join("python.py"))),
            Kind::Go => (self.folder.join("go"), None),
        };
        let mut command = Command::new(program);
        command.args(argument);
        Ok(command)
    }

    /// What `scenario` spawns.
    fn child(&self, scenario: Scenario) -> PathBuf {
        if scenario == Scenario::True { "/bin/true".into() } else { self.folder.join("child") }
    }

    /// Starts a worker and waits until it is in its state.
    pub(crate) fn start(
        &self,
        kind: Kind,
        scenario: Scenario,
        state: State,
    ) -> Result<Worker, Box<dyn Error>> {
        let mut command = self.command(kind)?;
        command.arg(self.child(scenario));
        for number in [state.fds, state.rss_mib, state.handlers, state.threads] {
            command.arg(number.to_string());
        }
        // The same for each user, as it is copied at each exec.
        command.env_clear().envs(ENVIRONMENT.iter().copied());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(requests), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("a worker without pipes".into());
        };
        let answers = BufReader::new(answers);
        let mut worker = Worker { process, requests: Some(requests), answers };
        let answer = worker.answer()?;
        if answer == "ready" { Ok(worker) } else { Err(format!("{kind:?}: {answer}").into()) }
    }
}

/// As a login session has it.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/"),
    ("USER", "somebody"),
    ("LOGNAME", "somebody"),
    ("SHELL", "/bin/bash"),
    ("TERM", "xterm-256color"),
    ("LANG", "C.UTF-8"),
    ("LC_ALL", "C.UTF-8"),
    ("TZ", "UTC"),
    ("PWD", "/"),
    ("OLDPWD", "/"),
    ("SHLVL", "1"),
    ("MAIL", "/var/mail/somebody"),
    ("EDITOR", "vi"),
    ("PAGER", "less"),
    ("LESS", "-R"),
    ("TMPDIR", "/tmp"),
    ("HOSTNAME", "localhost"),
    ("XDG_SESSION_ID", "1"),
    ("XDG_SESSION_TYPE", "tty"),
    ("XDG_SESSION_CLASS", "user"),
    ("XDG_RUNTIME_DIR", "/run/user/1000"),
    ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/1000/bus"),
    ("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22"),
];

/// The first line that a command prints; empty without one.
pub(crate) fn first_line(program: impl AsRef<Path>, arguments: &[&str]) -> String {
    let output = Command::new(program.as_ref()).args(arguments).stderr(Stdio::null()).output();
    let bytes = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_owned()
}

/// A worker that waits for requests.
pub(crate) struct Worker {
    process: Child,
    /// None once it was told to end.
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Lets `peer` take up to `count` samples of `children` each.
    pub(crate) fn run(
        &mut self,
        peer: &str,
        count: usize,
        children: u32,
        limit: Duration,
    ) -> Result<Vec<Sample>, Box<dyn Error>> {
        let requests = self.requests.as_mut().ok_or("a worker that has ended")?;
        writeln!(requests, "run {peer} {count} {children} {}", limit.as_nanos())?;
        let answer = self.answer()?;
        let sample = |text: &str| {
            let (held, total) = text.split_once(':')?;
            Some((held.parse().ok()?, total.parse().ok()?))
        };
        let samples: Option<Vec<_>> = answer.split_whitespace().map(sample).collect();
        match samples {
            Some(samples) if !samples.is_empty() => Ok(samples),
            _ => Err(format!("{peer}: not an answer: {answer:?}").into()),
        }
    }

    /// The next line; empty when the worker has ended, and said why.
    fn answer(&mut self) -> Result<String, Box<dyn Error>> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The end of its input is the end of a worker.
        self.requests = None;
        let _ = self.process.wait();
    }
}
