//! An init: starts the services of a table in the order of what they need, restarts them with
//! a growing delay, reaps every process that ends up with it, says on `SIGUSR1` how they
//! are, and on `SIGTERM` or `SIGINT`, or when nothing is left to run, stops them in the reverse order.
//!
//! Run with:
//! `cargo build -p rawspawn-init --profile static`, then
//! `unshare --fork --pid --kill-child target/static/rawspawn-init TABLE`
//!
//! Without TABLE it is a system's first program: it mounts what others look for, takes
//! `/etc/rawspawn.services`, and turns the machine off at the end.
#![no_std]
#![no_main]

mod table;

use core::mem::MaybeUninit;

use rawspawn::{Buffer, CStrArray, Exec, Process, Request, SigSet};
use rawspawn_rt::{
    SIGCHLD, SIGINT, SIGKILL, SIGTERM, SIGUSR1, STDOUT, block_signals, end_all, milliseconds,
    mount, power_off, read_file, reap_any, wait_for_signal,
};
use table::{MOST, Policy, Service};

rawspawn_rt::main!(main);

/// The delay before a restart, which doubles with each, in milliseconds.
const FIRST_DELAY: u64 = 100;

/// The longest delay.
const LONGEST_DELAY: u64 = 10_000;

/// How long a service has to run for its delay to start over.
const STABLE: u64 = 10_000;

/// How long a service may take to end.
const GRACE: u64 = 5_000;

/// What has become of a service.
enum State {
    /// To be started at this time, once what it needs is up.
    Waiting(u64),
    Running(Process),
    /// It did what it was to do.
    Done,
    Failed,
}

/// A service as it is now.
struct Unit<'t> {
    service: Service<'t>,
    state: State,
    /// When it was started last.
    started: u64,
    delay: u64,
}

fn main(arguments: CStrArray<'static>, _: CStrArray<'static>) -> i32 {
    let argument = arguments.iter().nth(1);
    if argument.is_none() {
        for (kind, place) in [
            (c"proc", c"/proc"),
            (c"sysfs", c"/sys"),
            (c"devtmpfs", c"/dev"),
            (c"devpts", c"/dev/pts"),
            (c"tmpfs", c"/tmp"),
        ] {
            mount(kind, place);
        }
    }
    let path = argument.unwrap_or(c"/etc/rawspawn.services");
    let mut room = [const { MaybeUninit::uninit() }; 8192];
    let Some(text) = read_file(path, &mut room) else {
        STDOUT.line(path, &"cannot be read, or is longer than 8 KiB");
        return 1;
    };
    let mut units = [const { None }; MOST];
    let mut free = units.iter_mut();
    let fits = table::parse(text, |service| {
        let unit = Unit { service, state: State::Waiting(0), started: 0, delay: FIRST_DELAY };
        free.next().map(|place| *place = Some(unit)).is_some()
    });
    if !fits {
        STDOUT.line(path, &"has more services than there is room for");
    }
    supervise(&mut units);
    STDOUT.line(c"init", &"all services have stopped");
    if argument.is_none() {
        end_all();
        power_off();
    }
    0
}

/// All that the table has.
type Units<'t> = [Option<Unit<'t>>; MOST];

/// Runs the services, until a signal ends that or none is left.
fn supervise(units: &mut Units<'_>) {
    // Blocked, not handled: they wait until we ask. Init is sent no others.
    let signals = SigSet::EMPTY.with(SIGCHLD).with(SIGTERM).with(SIGINT).with(SIGUSR1);
    block_signals(signals);
    loop {
        let now = milliseconds();
        start_what_can_be(units, now);
        let next = units.iter().flatten().filter_map(|unit| match unit.state {
            State::Waiting(at) if is_ready(units, unit) => Some(at),
            _ => None,
        });
        let next = next.min().unwrap_or(u64::MAX);
        let runs = units.iter().flatten().any(Unit::is_running);
        if !runs && next == u64::MAX {
            break;
        }
        let signal = wait_for_signal(signals, next.saturating_sub(now));
        reap(units);
        match signal {
            Some(SIGTERM | SIGINT) => break,
            Some(SIGUSR1) => tell(units),
            _ => {}
        }
    }
    // Each after those that need it.
    while let Some(last) = last_in_need(units) {
        stop(units, last, signals);
    }
}

/// Whether all that `unit` needs is up: running, or, if that was all there was to do, done.
fn is_ready(units: &Units<'_>, unit: &Unit<'_>) -> bool {
    unit.service.needs().all(|need| {
        let mut others = units.iter().flatten();
        others.find(|other| other.service.is(need)).is_some_and(|other| match other.state {
            State::Running(_) => !matches!(other.service.policy, Policy::Once),
            State::Done => true,
            _ => false,
        })
    })
}

/// Starts what is due and ready; one start may make another ready.
fn start_what_can_be(units: &mut Units<'_>, now: u64) {
    let due = |unit: &Unit<'_>| matches!(unit.state, State::Waiting(at) if at <= now);
    while let Some(place) = units
        .iter()
        .position(|unit| unit.as_ref().is_some_and(|unit| due(unit) && is_ready(units, unit)))
    {
        if let Some(Some(unit)) = units.get_mut(place) {
            unit.start(now);
        }
    }
}

/// A running service that no other running one needs, the last in the table first.
fn last_in_need(units: &Units<'_>) -> Option<usize> {
    units.iter().rposition(|unit| {
        unit.as_ref().is_some_and(|unit| {
            let needs_it = |other: &Unit<'_>| {
                other.is_running() && other.service.needs().any(|need| unit.service.is(need))
            };
            unit.is_running() && !units.iter().flatten().any(needs_it)
        })
    })
}

impl Unit<'_> {
    fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    fn start(&mut self, now: u64) {
        self.started = now;
        let argv = self.service.argv();
        let program = Exec::Search { name: self.service.program(), path: None };
        let mut request = Request::new(program, argv);
        request.session(true).signal_mask(SigSet::EMPTY);
        self.state = match request.spawn(&mut Buffer::<32, 128>::new()) {
            Ok(process) => {
                STDOUT.line(self.service.name, &"started");
                State::Running(process)
            }
            Err(error) => {
                STDOUT.line(self.service.name, &error);
                self.next(false, now)
            }
        };
    }

    /// What is to become of it now that it has ended, well or not.
    fn next(&mut self, well: bool, now: u64) -> State {
        match (self.service.policy, well) {
            (Policy::Once | Policy::OnFailure, true) => return State::Done,
            (Policy::Once, false) => return State::Failed,
            (Policy::OnFailure | Policy::Always, _) => {}
        }
        if now.saturating_sub(self.started) >= STABLE {
            self.delay = FIRST_DELAY;
        }
        let at = now.saturating_add(self.delay);
        self.delay = self.delay.saturating_mul(2).min(LONGEST_DELAY);
        State::Waiting(at)
    }
}

/// Reaps all that has ended: services, and what they left behind.
fn reap(units: &mut Units<'_>) {
    while let Some((pid, status)) = reap_any() {
        let has_ended = |unit: &&mut Unit<'_>| match &unit.state {
            State::Running(process) => process.pid() == pid,
            _ => false,
        };
        if let Some(unit) = units.iter_mut().flatten().find(has_ended) {
            STDOUT.line(unit.service.name, &status);
            unit.state = unit.next(status.success(), milliseconds());
        } else {
            STDOUT.line(c"orphan", &status);
        }
    }
}

/// Says how each service is.
fn tell(units: &Units<'_>) {
    for unit in units.iter().flatten() {
        let state = match unit.state {
            State::Waiting(_) => "status: waiting",
            State::Running(_) => "status: running",
            State::Done => "status: done",
            State::Failed => "status: failed",
        };
        STDOUT.line(unit.service.name, &state);
    }
}

/// Ends a service, politely at first.
fn stop(units: &mut Units<'_>, place: usize, signals: SigSet) {
    let running =
        |units: &Units<'_>| units.get(place).and_then(Option::as_ref).is_some_and(Unit::is_running);
    for (signal, grace) in [(SIGTERM, GRACE), (SIGKILL, u64::MAX)] {
        let deadline = milliseconds().saturating_add(grace);
        if let Some(Some(Unit { service, state: State::Running(process), .. })) = units.get(place) {
            STDOUT.line(service.name, &"stopping");
            let _ = process.signal(signal);
        }
        while running(units) {
            let left = deadline.saturating_sub(milliseconds());
            if left == 0 {
                break;
            }
            wait_for_signal(signals, left);
            reap(units);
        }
    }
}
