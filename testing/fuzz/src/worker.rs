//! A worker: a process with a world of its own, which goes through some cases and compares.

use std::fmt::Write;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use rand::Rng;
use rawspawn::{HeapBuffer, Kernel, Mode, Request};

use crate::case::{self, Case, Does, Door, Item, ParentHook};
use crate::doors::{self, Outcome};
use crate::facts::Facts;
use crate::filter::{self, Refused};
use crate::masked;
use crate::model::{self, Model};
use crate::state::State;
use crate::sys::{self, Progress};
use crate::world::{World, fd};

/// What is to be done.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Task {
    #[arg(long)]
    pub(crate) seed: u64,
    /// The kind of the cases.
    #[arg(long)]
    pub(crate) kind: Kind,
    /// The first case.
    #[arg(long)]
    pub(crate) from: u64,
    /// The one after the last.
    #[arg(long)]
    pub(crate) to: u64,
    /// Items to leave out, by their position.
    #[arg(long, value_delimiter = ',')]
    pub(crate) without: Vec<usize>,
    /// The part of the case that they are left out of: a thread each.
    #[arg(long, default_value_t = 0)]
    pub(crate) part: u64,
    /// Where the files are.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    #[arg(long)]
    pub(crate) cgroup: Option<PathBuf>,
    /// Says what the first case is, and does nothing.
    #[arg(long)]
    pub(crate) describe: bool,
    /// The descriptor of the page to say the progress on.
    #[arg(long)]
    pub(crate) progress: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    Spawn,
    Compile,
}

impl Kind {
    /// How many cases share a worker.
    pub(crate) fn batch(self) -> u64 {
        match self {
            Self::Spawn => 64,
            Self::Compile => 16_384,
        }
    }
}

/// What a worker does in a case, as the runner says it of one that is stuck.
pub(crate) const PHASES: [&str; 6] = [
    "the worker's start",
    "the case's request",
    "the spawn",
    "the end of the child",
    "the comparison",
    "the other threads",
];

/// What a batch has in common.
#[derive(Debug)]
struct Surroundings {
    ordinary_user: bool,
    refused: Vec<Refused>,
    /// The position of the case before which the filter comes; 0: before any spawn.
    filter_at: u64,
    storm: Storm,
    /// Threads that spawn beside the first.
    helpers: u64,
    cloexec: u64,
    closed: u8,
    mask: u64,
    ignored: u64,
    restarts: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Storm {
    None,
    Process,
    Group,
}

impl Surroundings {
    fn new(task: &Task) -> Self {
        let batch = task.from / task.kind.batch();
        let rng = &mut case::numbers(task.seed, 2, batch, 0);
        let refused = if rng.random_bool(0.4) { filter::random(rng) } else { Vec::new() };
        let filter_at = if rng.random() { 0 } else { rng.random_range(0..task.kind.batch()) };
        let storm = match rng.random_range(0..20) {
            0..3 => Storm::Process,
            3 | 4 => Storm::Group,
            _ => Storm::None,
        };
        let all = Self {
            ordinary_user: rng.random_bool(0.2) && sys::euid() == 0,
            refused,
            filter_at,
            storm,
            helpers: if rng.random_bool(0.3) { rng.random_range(1..4) } else { 0 },
            cloexec: rng.random(),
            closed: if rng.random_bool(0.15) { rng.random_range(1..8) } else { 0 },
            mask: if rng.random_bool(0.3) { 1 << 14 | 1 << 33 | 1 << 16 } else { 0 },
            ignored: if rng.random_bool(0.4) { rng.random() } else { 0 },
            restarts: rng.random(),
        };
        // Where 0 is free, what a thread opens is for a moment the input of another's child.
        let closed = if all.helpers > 0 { 0 } else { all.closed };
        let all = Self { closed, ..all };
        match task.kind {
            Kind::Spawn => all,
            Kind::Compile => Self { storm: Storm::None, helpers: 0, refused: Vec::new(), ..all },
        }
    }
}

/// The worker, for the handler of its signals.
static WORKER: AtomicI32 = AtomicI32::new(0);
static PROGRESS: std::sync::OnceLock<&'static Progress> = std::sync::OnceLock::new();

extern "C" fn on_signal(_: i32) {
    if let Some(progress) = PROGRESS.get() {
        progress.signals.fetch_add(1, Ordering::Relaxed);
        if std::process::id() as i32 != WORKER.load(Ordering::Relaxed) {
            progress.strayed.store(1, Ordering::Relaxed);
        }
    }
}

/// What all threads of a worker know.
struct Shared {
    task: Task,
    world: World,
    facts: RwLock<Facts>,
    progress: &'static Progress,
}

/// Does the task: how many findings there were.
pub(crate) fn run(task: Task) -> usize {
    sys::keep_to_the_heap();
    let progress = sys::shared_page(task.progress);
    sys::close(task.progress);
    let _ = sys::dup_to(2, fd::MESSAGES, true);
    let _ = PROGRESS.set(progress);
    WORKER.store(std::process::id() as i32, Ordering::Relaxed);
    let around = Surroundings::new(&task);
    quiet_about_planned_panics();
    // No terminal of whoever runs this, and a process group of its own.
    let _ = sys::plain(libc::SYS_setsid, [0; 4]);
    if around.ordinary_user {
        let _ = sys::set_ids(65_534, 65_534);
        // Or /proc/self would be another's.
        sys::prctl(libc::PR_SET_DUMPABLE, 1);
    }
    sys::set_umask(0o022);
    let world = World::new(&task.dir, task.cgroup.as_deref(), around.cloexec, around.closed);
    for signal in 1..=64 {
        let is_free = ![9, 11, 7, 17, 19, 31, 32, 33].contains(&signal);
        if is_free && around.ignored >> (signal - 1) & 1 == 1 {
            sys::handle(signal, libc::SIG_IGN, 0);
        }
    }
    let flags = if around.restarts { libc::SA_RESTART } else { 0 };
    let signals = [libc::SIGUSR1, libc::SIGUSR2, libc::SIGRTMIN() + 3];
    for signal in signals {
        sys::handle(signal, on_signal as *const () as usize, flags);
    }
    sys::answer_traps();
    sys::set_mask(around.mask);
    // Of one that dies the rest cannot be asked.
    let refused = filter::names(&around.refused);
    let text = format!("in {around:?} (refused: {refused})\n");
    let _ = sys::write_all(fd::MESSAGES, text.as_bytes());
    let facts = RwLock::new(Facts::new(&world));
    let shared = Arc::new(Shared { task, world, facts, progress });
    let helpers: Vec<_> =
        (1..=around.helpers).map(|part| helper(Arc::clone(&shared), part)).collect();
    if around.storm != Storm::None {
        let target = if around.storm == Storm::Group { 0 } else { std::process::id() as i32 };
        let (send, begun) = channel();
        std::thread::spawn(move || {
            let _ = send.send(());
            storm(target, signals);
        });
        let _ = begun.recv();
    }
    if around.helpers > 0 {
        let (send, begun) = channel();
        std::thread::spawn(move || {
            let _ = send.send(());
            open_and_close(progress);
        });
        let _ = begun.recv();
    }
    // Not before there are the threads, which the C library makes by clone3.
    let early = around.filter_at == 0;
    if early && !around.refused.is_empty() {
        filter::install(&around.refused);
    }
    if !shared.task.describe {
        warm_up(early);
    }
    // By now the C library ignores no signal of its own.
    shared.set_facts(&around, early);
    // What is mapped late is mapped by now.
    let _ = shared.state();
    if shared.task.describe {
        shared.say(shared.task.from, &around, &[]);
        return 0;
    }
    shared.cases(&around, &helpers)
}

/// Kept by who opens and closes descriptors beside the spawns, and by who lists them.
static TABLE: Mutex<()> = Mutex::new(());

/// Opens and closes for as long as there is a process: whoever closes a number that is not theirs
/// closes one of these, sooner or later.
fn open_and_close(progress: &Progress) {
    sys::set_mask(u64::MAX);
    loop {
        if let Ok(kept) = TABLE.lock() {
            let [reader, writer] = sys::pipe();
            std::thread::yield_now();
            if !sys::close(reader) || !sys::close(writer) {
                progress.robbed.store(1, Ordering::Relaxed);
            }
            drop(kept);
        }
        std::thread::sleep(Duration::from_micros(20));
    }
}

/// Sends signals for as long as there is a process.
fn storm(target: i32, signals: [i32; 3]) {
    sys::set_mask(u64::MAX);
    loop {
        for signal in signals {
            sys::kill(target, signal);
            std::thread::sleep(Duration::from_micros(60));
        }
    }
}

/// Does once what maps memory at its first time; with `early` no spawn, as the filter is to
/// meet the first.
fn warm_up(early: bool) {
    let caught = std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new(0)));
    drop(caught);
    if !early {
        let _ = Kernel::current();
    }
}

fn quiet_about_planned_panics() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.payload().downcast_ref::<String>().map(String::as_str);
        if text != Some(doors::PLANNED) {
            // Standard error may be closed.
            let _ = sys::write_all(fd::MESSAGES, format!("{info}\n").as_bytes());
        }
    }));
}

/// A case for a thread, and what came of it.
type Order = (Sender<(u64, Sender<Vec<String>>)>, ());

fn helper(shared: Arc<Shared>, part: u64) -> Order {
    type Orders = Receiver<(u64, Sender<Vec<String>>)>;
    let (send, orders): (_, Orders) = channel();
    let (begin, begun) = channel();
    std::thread::spawn(move || {
        let _ = begin.send(());
        let mut before = None;
        while let Ok((number, results)) = orders.recv() {
            // By now all threads are there.
            let before = before.get_or_insert_with(State::of_thread);
            let mut found = shared.spawn_case(number, part);
            let changes = before.changes(&State::of_thread());
            found.extend(
                changes
                    .into_iter()
                    .map(|change| {
                        // A filter that came later, for all threads.
                        format!("the thread is not as it was: {change}")
                    })
                    .filter(|change| {
                        !change.contains("Seccomp")
                            && !change.contains("NoNewPrivs")
                            && !change.contains("no_new_privs")
                    }),
            );
            let _ = results.send(found);
        }
    });
    let _ = begun.recv();
    (send, ())
}

impl Shared {
    fn set_facts(&self, around: &Surroundings, is_filtered: bool) {
        let kept = TABLE.lock();
        let mut facts = Facts::new(&self.world);
        drop(kept);
        if is_filtered {
            facts.refused.clone_from(&around.refused);
        }
        facts.refused_late = is_filtered && around.filter_at > 0;
        facts.group_storm = around.storm == Storm::Group;
        facts.threads = around.helpers > 0;
        if let Ok(mut place) = self.facts.write() {
            *place = facts;
        }
    }

    /// What the process is, while nobody opens anything.
    fn state(&self) -> State {
        let kept = TABLE.lock();
        let state = State::of_process(&self.world);
        drop(kept);
        state
    }

    fn phase(&self, phase: u64) {
        self.progress.phase.store(phase, Ordering::Relaxed);
    }

    /// Goes through all cases: how many had findings.
    fn cases(&self, around: &Surroundings, helpers: &[Order]) -> usize {
        let task = &self.task;
        let first = task.from / task.kind.batch() * task.kind.batch();
        let mut is_filtered = around.filter_at == 0;
        let mut before = self.state();
        for number in task.from..task.to {
            self.progress.case.store(number, Ordering::Relaxed);
            if !is_filtered && number - first >= around.filter_at {
                is_filtered = true;
                if !around.refused.is_empty() {
                    filter::install(&around.refused);
                }
                self.set_facts(around, true);
                before = self.state();
            }
            let found = match task.kind {
                Kind::Spawn => self.spawn_with_helpers(number, helpers),
                Kind::Compile => self.compile_case(number),
            };
            let mut found = found;
            if task.kind == Kind::Spawn || number + 1 == task.to {
                self.phase(4);
                let changes = before.changes(&self.state());
                found.extend(
                    changes
                        .into_iter()
                        .map(|change| format!("the parent is not as it was: {change}")),
                );
                let strayed = self.progress.strayed.swap(0, Ordering::Relaxed) != 0;
                if strayed && !(0..=around.helpers).any(|part| self.has_fork(number, part)) {
                    found.push("a handler of the parent's ran in a child".into());
                }
                if self.progress.robbed.swap(0, Ordering::Relaxed) != 0 {
                    found.push("a descriptor of another thread's was closed".into());
                }
            }
            if let Ok(facts) = self.facts.read() {
                found.retain(|finding| !masked::is_known(None, &facts, finding));
            }
            self.progress.done.fetch_add(1, Ordering::Relaxed);
            if !found.is_empty() {
                self.say(number, around, &found);
                return 1;
            }
        }
        0
    }

    fn say(&self, number: u64, around: &Surroundings, found: &[String]) {
        let mut text = String::new();
        for part in 0..=around.helpers {
            let mut case = self.case(number, part);
            if let (Kind::Spawn, Ok(facts)) = (self.task.kind, self.facts.read()) {
                case = doors::fit(case, &facts);
            }
            let _ = writeln!(text, "case {number}, part {part}: {case:?}");
        }
        for line in found {
            text.push_str(line);
            text.push('\n');
        }
        let items = self.case(number, self.task.part).items.len();
        let _ = writeln!(text, "items: {items}");
        let _ = sys::write_all(fd::MESSAGES, text.as_bytes());
    }

    fn case(&self, number: u64, part: u64) -> Case {
        let kind = u64::from(self.task.kind == Kind::Compile);
        let mut case = Case::random(&mut case::numbers(self.task.seed, kind, number, part));
        let has_kernel = case.items.iter().any(|item| matches!(item, Item::Kernel(_)));
        if self.task.kind == Kind::Compile && !has_kernel {
            let rng = &mut case::numbers(self.task.seed, 3, number, part);
            case.items.push(Item::Kernel(case::kernel(rng)));
        }
        if part == self.task.part { case.without(&self.task.without) } else { case }
    }

    /// Whether the case has a fork of the C library's, in which handlers stay until the exec.
    fn has_fork(&self, number: u64, part: u64) -> bool {
        let case = self.case(number, part);
        case.door == Door::Command && case.items.iter().any(|item| matches!(item, Item::Hook(_)))
    }

    fn spawn_with_helpers(&self, number: u64, helpers: &[Order]) -> Vec<String> {
        let (send, results) = channel();
        for (helper, ()) in helpers {
            let _ = helper.send((number, send.clone()));
        }
        drop(send);
        let mut found = self.spawn_case(number, 0);
        self.phase(5);
        found.extend(results.iter().flatten());
        found
    }

    /// One case of spawning: what is wrong with it.
    fn spawn_case(&self, number: u64, part: u64) -> Vec<String> {
        self.phase(1);
        let Ok(facts) = self.facts.read() else { return Vec::new() };
        let case = doors::fit(self.case(number, part), &facts);
        let model = model::model(&case, &facts);
        self.phase(2);
        let (outcomes, written) = doors::through(&case, &self.world, &facts, &model.expects);
        self.phase(3);
        let judge = Judge { case: &case, model: &model, written, shared: self, number };
        let mut found: Vec<String> =
            outcomes.into_iter().filter_map(|one| judge.objection(one)).collect();
        if let Door::All { panics: Some(_), .. } = case.door {
            // What was started before the panic, and has no handle.
            while sys::reap(-1, 0).is_some() {}
        }
        found.retain(|finding| !masked::is_known(Some(&case), &facts, finding));
        if part > 0 {
            for finding in &mut found {
                *finding = format!("in part {part}: {finding}");
            }
        }
        found
    }

    /// One case of compiling: what is wrong with it.
    fn compile_case(&self, number: u64) -> Vec<String> {
        let Ok(facts) = self.facts.read() else { return Vec::new() };
        let case = self.case(number, 0);
        let (objection, _) = doors::with_request(&case, &self.world, &facts, &[], |request| {
            std::panic::catch_unwind(AssertUnwindSafe(|| compile(request, number)))
                .unwrap_or_else(|_| Some("it panicked".into()))
        });
        let found = objection.filter(|finding| !masked::is_known(Some(&case), &facts, finding));
        found.into_iter().collect()
    }
}

/// Compiles in as much room as is said to be needed, and in less.
fn compile(request: &Request<'_>, number: u64) -> Option<String> {
    let is_too_small = |error: rawspawn::Error| {
        (error.step(), error.errno()) == (rawspawn::Step::Plan, Some(rawspawn::Errno::ENOBUFS))
    };
    let needed = match request.needed() {
        Ok(needed) => needed,
        Err(error) => {
            let plan = request.plan(&mut rawspawn::Buffer::<256, 4096>::new()).err();
            return (plan != Some(error))
                .then(|| format!("needed: {error:?}, but compiled it gives {plan:?}"));
        }
    };
    let mut buffer = HeapBuffer::new(needed);
    match request.plan(&mut buffer) {
        Ok(plan) => {
            if number % 16 == 0 && plan.to_string().lines().count() < 2 {
                return Some(format!("it is printed as {plan}"));
            }
        }
        Err(error) if is_too_small(error) => return Some(format!("{needed:?} is too little")),
        // What is found out for a spawn alone, such as whether there are pidfds.
        Err(_) => return None,
    }
    let less = rawspawn::Needed { ops: needed.ops.saturating_sub(1), ..needed };
    if let Err(error) = request.plan(&mut HeapBuffer::new(less)) {
        if !is_too_small(error) {
            return Some(format!("in {less:?} it gives {error:?}"));
        }
    }
    if number % 8 == 0 {
        if let Err(error) = request.owned_plan() {
            if is_too_small(error) {
                return Some("its copy is too small".into());
            }
        }
    }
    None
}

/// Says what is wrong with an outcome.
struct Judge<'c> {
    case: &'c Case,
    model: &'c Model,
    written: Option<u64>,
    shared: &'c Shared,
    number: u64,
}

/// How a child ended: its exit status, or a signal below 0.
fn ended(status: i32) -> i32 {
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) }
}

impl Judge<'_> {
    fn objection(&self, outcome: Outcome) -> Option<String> {
        let progress = self.shared.progress;
        let result = match outcome {
            Outcome::Process(process) => self.started(process),
            Outcome::Child(mut child) => {
                child.stdout = None;
                let pid = child.id() as i32;
                let status = match child.wait() {
                    Ok(status) => {
                        use std::os::unix::process::ExitStatusExt;
                        Some(ended(status.into_raw()))
                    }
                    // A filter refuses waitid.
                    Err(_) => sys::reap(pid, 0).map(|(_, status)| ended(status)),
                };
                self.ran(status)
            }
            // Dropped: one that failed has been reaped. Forgotten: it has the status of such.
            Outcome::Pid(pid) => match sys::reap(pid, 0).map(|(_, status)| ended(status)) {
                None | Some(127 | i32::MIN..0) => {
                    progress.failed.fetch_add(1, Ordering::Relaxed);
                    return None;
                }
                status => self.ran(status),
            },
            Outcome::Failed(error) => {
                progress.failed.fetch_add(1, Ordering::Relaxed);
                return self
                    .model
                    .objection(Err(error.step()))
                    .map(|objection| format!("{error:?}: {objection}"));
            }
            Outcome::Io(error) => Some(format!("no step: {error}")),
            Outcome::Panicked => {
                let hook = Item::ParentHook(ParentHook::Panics);
                let is_planned = matches!(self.case.door, Door::All { panics: Some(_), .. })
                    || self
                        .case
                        .items
                        .iter()
                        .any(|item| format!("{item:?}") == format!("{hook:?}"));
                progress.failed.fetch_add(1, Ordering::Relaxed);
                return (!is_planned).then(|| "it panicked".into());
            }
        };
        progress.succeeded.fetch_add(1, Ordering::Relaxed);
        result
    }

    fn started(&self, mut process: rawspawn::Process) -> Option<String> {
        let mode = process.mode();
        let pid = process.pid();
        let status = match self.number % 4 {
            0 => process.wait_timeout(Duration::from_secs(60)).ok().flatten(),
            1 => process.wait_with_usage().ok().map(|(status, _)| status),
            _ => process.wait().ok(),
        };
        let status = match status {
            Some(status) => Some(ended(status.raw())),
            // A filter refuses what it took.
            None => sys::reap(pid, 0).map(|(_, status)| ended(status)),
        };
        self.ran(status).or_else(|| self.wrote(mode))
    }

    /// A child that has ended.
    fn ran(&self, status: Option<i32>) -> Option<String> {
        if let Some(objection) = self.model.objection(Ok(())) {
            let is_allowed = status.is_some_and(|status| self.model.ends.contains(&status));
            return (!is_allowed).then(|| format!("{objection}; status {status:?}"));
        }
        match status {
            Some(0) => None,
            Some(status) if self.model.ends.contains(&status) => None,
            Some(status @ 10..100) => {
                let place = usize::try_from(status - 12).unwrap_or(usize::MAX);
                let told = self.model.expects.get(place);
                let detail = self.shared.world.take_detail();
                Some(format!("the program was told {told:?}, which is not so: {detail}"))
            }
            status => Some(format!("the child ended with {status:?}")),
        }
    }

    /// What a hook wrote is there if memory was shared, and not if it was not.
    fn wrote(&self, mode: Mode) -> Option<String> {
        let hook = self.case.items.iter().find_map(|item| match item {
            Item::Hook(hook) if hook.does == Does::Writes => Some(hook),
            _ => None,
        })?;
        let shared = matches!(mode, Mode::Vfork | Mode::Detached);
        let is_so = self.written? == 42;
        let expected = hook.shares && shared;
        (is_so != expected).then(|| format!("the hook's word is there: {is_so}, in {mode:?}"))
    }
}
