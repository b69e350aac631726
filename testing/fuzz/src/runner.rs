//! Runs workers, waits for none for ever, and makes small what one has found.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::Arguments;
use crate::sys::{self, Progress};
use crate::worker::{Kind, PHASES};
use crate::world::Scratch;

/// Some cases of one batch, and what to leave out of them.
#[derive(Clone, Debug)]
struct Job {
    kind: Kind,
    from: u64,
    to: u64,
    without: Vec<usize>,
    part: u64,
    /// Only to say what the first case is.
    describe: bool,
}

/// A worker that runs.
struct Running {
    job: Job,
    child: Child,
    progress: &'static Progress,
    log: PathBuf,
    /// What it had done when, at the last change.
    done: (u64, Instant),
}

/// What is wrong with a case.
struct Finding {
    job: Job,
    case: u64,
    text: String,
}

struct Runner<'a> {
    arguments: &'a Arguments,
    seed: u64,
    scratch: Scratch,
    cgroup: Option<PathBuf>,
    /// Numbers for the names of logs.
    started: u64,
    /// Pages, which are used again.
    pages: Vec<(i32, &'static Progress)>,
    totals: [u64; 4],
    running: Vec<Running>,
    /// Workers that run meanwhile, of which nothing is asked.
    aside: Vec<Running>,
    /// Keeps a program busy.
    _busy: File,
}

/// Runs all that `arguments` ask for.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let seed = arguments.seed.unwrap_or_else(fresh);
    // Whoever loses their parent becomes ours, to be ended.
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
    let scratch = Scratch::new();
    let busy = File::options().append(true).open(scratch.dir.join("busy")).expect("a file of ours");
    let mut runner = Runner {
        arguments,
        seed,
        scratch,
        cgroup: cgroup(),
        started: 0,
        pages: Vec::new(),
        totals: [0; 4],
        running: Vec::new(),
        aside: Vec::new(),
        _busy: busy,
    };
    if cfg!(panic = "abort") {
        println!(
            "fuzz: hooks do not panic in this build, which cannot unwind: --profile fuzz does"
        );
    }
    println!("fuzz: seed {seed}");
    let start = Instant::now();
    let found = match arguments.case {
        Some(case) => runner.one(case),
        None => runner.all(start),
    };
    if let Some(cgroup) = &runner.cgroup {
        let _ = fs::remove_dir(cgroup);
    }
    let [spawns, compiles, succeeded, failed] = runner.totals;
    println!(
        "fuzz: seed {seed}: {spawns} spawn cases ({succeeded} programs ran, {failed} spawns failed as \
         they had to) and {compiles} compile cases in {} s: {found} findings",
        start.elapsed().as_secs()
    );
    ExitCode::from(u8::from(found > 0))
}

/// A seed that nobody has chosen.
fn fresh() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish() >> 12
}

/// A cgroup of version 2 for the children, where one can be made.
fn cgroup() -> Option<PathBuf> {
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
    let root = roots.into_iter().find(|root| root.join("cgroup.procs").exists())?;
    let cgroup = root.join(format!("rawspawn-fuzz-{}", std::process::id()));
    fs::create_dir(&cgroup).ok().map(|()| cgroup)
}

impl Runner<'_> {
    /// All cases that are asked for: how many findings there were.
    fn all(&mut self, start: Instant) -> usize {
        let jobs = self.arguments.jobs.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
        });
        let mut queue = VecDeque::new();
        self.fill(&mut queue, 0);
        let mut round = 0;
        let mut found = 0;
        loop {
            if queue.is_empty() {
                let Some(time) = self.arguments.time else { break };
                if start.elapsed() >= time {
                    break;
                }
                round += 1;
                self.fill(&mut queue, round);
            }
            while self.running.len() < jobs {
                let Some(job) = queue.pop_front() else { break };
                let worker = self.start(job);
                self.running.push(worker);
            }
            for finding in self.poll(Duration::from_secs(self.arguments.deadline)) {
                found += 1;
                let rest = Job { from: finding.case + 1, ..finding.job.clone() };
                self.say(finding);
                if rest.from < rest.to {
                    queue.push_front(rest);
                }
            }
            if found >= self.arguments.findings {
                self.end_all();
                return found;
            }
        }
        while !self.running.is_empty() {
            for finding in self.poll(Duration::from_secs(self.arguments.deadline)) {
                found += 1;
                self.say(finding);
            }
        }
        found
    }

    /// One case alone.
    fn one(&mut self, case: u64) -> usize {
        let kind = self.arguments.kind;
        let from = if self.arguments.with_those_before {
            case / kind.batch() * kind.batch()
        } else {
            case
        };
        let (without, part) = (self.arguments.without.clone(), self.arguments.part);
        let job = Job { kind, from, to: case + 1, without, part, describe: false };
        match self.alone(job, Duration::from_secs(self.arguments.deadline)) {
            Some(finding) => {
                println!("{}", finding.text.trim_end());
                1
            }
            None => 0,
        }
    }

    /// Appends the jobs of a round: a round has as many cases as the arguments say.
    fn fill(&self, queue: &mut VecDeque<Job>, round: u64) {
        let mut lists =
            [(Kind::Spawn, self.arguments.spawns), (Kind::Compile, self.arguments.compiles)].map(
                |(kind, count)| {
                    let (first, last) = (round * count, (round + 1) * count);
                    let mut jobs = VecDeque::new();
                    let mut from = first;
                    while from < last {
                        let to = ((from / kind.batch() + 1) * kind.batch()).min(last);
                        jobs.push_back(Job {
                            kind,
                            from,
                            to,
                            without: Vec::new(),
                            part: 0,
                            describe: false,
                        });
                        from = to;
                    }
                    jobs
                },
            );
        let [spawns, compiles] = &mut lists;
        queue.append(compiles);
        queue.append(spawns);
    }

    fn start(&mut self, job: Job) -> Running {
        self.started += 1;
        let (fd, progress) = self.pages.pop().unwrap_or_else(|| {
            let fd = sys::anonymous_file();
            (fd, sys::shared_page(fd))
        });
        for word in
            [&progress.case, &progress.done, &progress.phase, &progress.succeeded, &progress.failed]
        {
            word.store(0, Ordering::Relaxed);
        }
        progress.case.store(job.from, Ordering::Relaxed);
        let log = self.scratch.dir.join(format!("log-{}", self.started));
        let errors = File::create(&log).expect("room for a log");
        let mut command = Command::new(std::env::current_exe().expect("/proc"));
        command.arg("worker");
        command.arg(format!("--seed={}", self.seed));
        command.arg(if job.kind == Kind::Spawn { "--kind=spawn" } else { "--kind=compile" });
        command.arg(format!("--from={}", job.from)).arg(format!("--to={}", job.to));
        command.arg(format!("--dir={}", self.scratch.dir.display()));
        command.arg(format!("--progress={fd}")).arg(format!("--part={}", job.part));
        if !job.without.is_empty() {
            let list: Vec<_> = job.without.iter().map(usize::to_string).collect();
            command.arg(format!("--without={}", list.join(",")));
        }
        if let Some(cgroup) = &self.cgroup {
            command.arg(format!("--cgroup={}", cgroup.display()));
        }
        if job.describe {
            command.arg("--describe");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let child = command.spawn().expect("a worker");
        progress.page.store(fd as u64, Ordering::Relaxed);
        let done = (0, Instant::now());
        Running { job, child, progress, log, done }
    }

    /// Looks at each worker once, and sleeps a little: what those have found that have ended.
    fn poll(&mut self, deadline: Duration) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut place = 0;
        while place < self.running.len() {
            let worker = &mut self.running[place];
            let done = worker.progress.done.load(Ordering::Relaxed);
            if done != worker.done.0 {
                worker.done = (done, Instant::now());
            }
            let is_late = worker.done.1.elapsed() > deadline;
            let ended = worker.child.try_wait().expect("a child of ours");
            let stuck = (is_late && ended.is_none()).then(|| stuck(worker, deadline));
            if stuck.is_some() {
                let _ = worker.child.kill();
            }
            if ended.is_none() && stuck.is_none() {
                place += 1;
                continue;
            }
            let worker = self.running.swap_remove(place);
            findings.extend(self.ended(worker, stuck));
        }
        if findings.is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        findings
    }

    /// Counts what a worker has done that has ended, and takes what it has found.
    fn ended(&mut self, mut worker: Running, stuck: Option<String>) -> Option<Finding> {
        let status = worker.child.wait().expect("a child of ours");
        self.end_orphans();
        let progress = worker.progress;
        let page = progress.page.load(Ordering::Relaxed) as i32;
        self.pages.push((page, progress));
        let word = |word: &std::sync::atomic::AtomicU64| word.load(Ordering::Relaxed);
        let kind = usize::from(worker.job.kind == Kind::Compile);
        self.totals[kind] += word(&progress.done);
        self.totals[2] += word(&progress.succeeded);
        self.totals[3] += word(&progress.failed);
        let log = fs::read_to_string(&worker.log).unwrap_or_default();
        let _ = fs::remove_file(&worker.log);
        let text = match stuck {
            Some(text) => format!("{text}\n{log}"),
            None if status.success() && !worker.job.describe => return None,
            None => format!("{}{log}", crash(status)),
        };
        let case = word(&progress.case).min(worker.job.to - 1);
        Some(Finding { job: worker.job, case, text })
    }

    /// Runs one job to its end.
    fn alone(&mut self, job: Job, deadline: Duration) -> Option<Finding> {
        self.aside = std::mem::take(&mut self.running);
        let worker = self.start(job);
        self.running.push(worker);
        let mut finding = None;
        while !self.running.is_empty() {
            finding = self.poll(deadline).pop().or(finding);
        }
        self.running = std::mem::take(&mut self.aside);
        // Nobody has looked at them meanwhile.
        self.running.iter_mut().for_each(|worker| worker.done.1 = Instant::now());
        finding
    }

    /// What was found, with the case: a worker that died has not said it.
    fn describe(&mut self, job: &Job, finding: &Finding) -> String {
        if finding.text.contains("items: ") {
            return finding.text.clone();
        }
        let described = self.alone(Job { describe: true, ..job.clone() }, Duration::from_secs(10));
        let case = described.map_or_else(String::new, |described| described.text);
        format!("{}{case}", finding.text)
    }

    /// Says what was found, how to see it again, and with which items alone it is still so.
    fn say(&mut self, finding: Finding) {
        let Finding { job, case, text } = finding;
        let kind = if job.kind == Kind::Spawn { "spawn" } else { "compile" };
        println!(
            "\nfuzz: FINDING in {kind} case {case} of seed {}\n{}",
            self.seed,
            text.trim_end()
        );
        let part = text
            .lines()
            .find_map(|line| line.strip_prefix("in part ")?.split(':').next()?.parse().ok())
            .unwrap_or(0);
        let deadline = Duration::from_secs(self.arguments.deadline.min(10));
        let alone = Job {
            from: case,
            to: case + 1,
            without: Vec::new(),
            part,
            kind: job.kind,
            describe: false,
        };
        let mut again = None;
        for _ in 0..3 {
            again = again.or_else(|| self.alone(alone.clone(), deadline));
        }
        let binary = "cargo run --profile fuzz -p rawspawn-fuzz --";
        let command = format!("{binary} --seed {} --kind {kind} --case {case}", self.seed);
        let Some(again) = again else {
            println!(
                "alone it passed three times; with those before it: {command} --with-those-before"
            );
            return;
        };
        let told = self.describe(&alone, &again);
        let items: usize =
            told.lines().find_map(|line| line.strip_prefix("items: ")?.parse().ok()).unwrap_or(0);
        let mut without = Vec::new();
        let mut small = None;
        let end = Instant::now() + Duration::from_secs(60);
        for item in (0..items).filter(|_| Instant::now() < end) {
            let fewer: Vec<usize> = without.iter().copied().chain([item]).collect();
            if let Some(finding) =
                self.alone(Job { without: fewer.clone(), ..alone.clone() }, deadline)
            {
                without = fewer;
                small = Some(finding);
            }
        }
        let list: Vec<_> = without.iter().map(usize::to_string).collect();
        let rest = if without.is_empty() {
            String::new()
        } else {
            format!(" --part {part} --without {}", list.join(","))
        };
        if let Some(small) = small {
            let told = self.describe(&Job { without: without.clone(), ..alone }, &small);
            println!("as small as it gets:\n{}", told.trim_end());
        } else if !again.text.contains("items: ") {
            println!("{}", told.trim_end());
        }
        println!("again: {command}{rest}");
    }

    /// Ends the workers that still run.
    fn end_all(&mut self) {
        for mut worker in std::mem::take(&mut self.running) {
            let _ = worker.child.kill();
            let _ = worker.child.wait();
        }
        self.end_orphans();
    }

    /// Ends whoever has lost their worker.
    fn end_orphans(&self) {
        let ours: Vec<i32> =
            self.running.iter().chain(&self.aside).map(|worker| worker.child.id() as i32).collect();
        for pid in children(std::process::id() as i32) {
            if !ours.contains(&pid) {
                sys::kill(pid, libc::SIGKILL);
                sys::reap(pid, 0);
            }
        }
    }
}

/// The children of a process.
fn children(pid: i32) -> Vec<i32> {
    let mut all = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        all.extend(text.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    all
}

/// How a worker ended that ended badly.
fn crash(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("the worker was killed by signal {signal}\n"),
        None if status.code() == Some(1) => String::new(),
        None => format!("the worker ended with {status}\n"),
    }
}

/// What a worker that makes no progress waits for.
fn stuck(worker: &Running, deadline: Duration) -> String {
    let phase = worker.progress.phase.load(Ordering::Relaxed);
    let phase = PHASES.get(phase as usize).copied().unwrap_or("?");
    let mut text = format!("no end after {} s, in this: {phase}", deadline.as_secs());
    let pid = worker.child.id() as i32;
    let mut about = |pid: i32| {
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let of = |name: &str| {
                let text = fs::read_to_string(task.path().join(name)).unwrap_or_default();
                text.trim().to_owned()
            };
            let state =
                of("status").lines().find(|line| line.starts_with("State")).map(str::to_owned);
            let line = format!(
                "\n  {} {} {} in {} (call {})",
                task.file_name().to_string_lossy(),
                of("comm"),
                state.unwrap_or_default(),
                of("wchan"),
                of("syscall")
            );
            text.push_str(&line);
        }
    };
    about(pid);
    children(pid).into_iter().for_each(about);
    text
}
