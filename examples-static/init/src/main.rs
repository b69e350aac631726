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
//!
//! What is wrong with the table is said with its line, and the rest is run. Where nothing is left
//! to run, a container's init ends with status 1; a machine's stays until it is told to stop,
//! as a machine that is off tells nobody why.
#![no_std]
#![no_main]

mod table;

use core::ffi::CStr;
use core::fmt;
use core::mem::MaybeUninit;

use rawspawn::{Buffer, CStrArray, Errno, Exec, Process, Request, SigSet};
use rawspawn_rt::{
    SIGCHLD, SIGINT, SIGKILL, SIGTERM, SIGUSR1, STDOUT, block_signals, end_all, milliseconds,
    mount, own_pid, power_off, read_file, reap_any, wait_for_signal,
};
use table::{Fault, MOST, Number, Policy, Service};

rawspawn_rt::main!(main);

/// The delay before a restart, which doubles with each, in milliseconds.
const FIRST_DELAY: u64 = 100;

/// The longest delay.
const LONGEST_DELAY: u64 = 10_000;

/// How long a service has to run for its delay to start over.
const STABLE: u64 = 10_000;

/// How long a service may take to end; and how long all may wait for those that need them.
const GRACE: u64 = 5_000;

/// What is waited for, blocked and not handled. Init is sent no others.
const SIGNALS: SigSet = SigSet::EMPTY.with(SIGCHLD).with(SIGTERM).with(SIGINT).with(SIGUSR1);

/// What has become of a service.
enum State {
    /// To be started at this time, once what it needs is up.
    Waiting(u64),
    Running(Process),
    /// It did what it was to do.
    Done,
    Failed,
    /// Never to be started.
    Refused,
}

/// A service as it is now.
struct Unit<'t> {
    service: Service<'t>,
    state: State,
    /// When it was started last.
    started: u64,
    delay: u64,
    /// When it is killed, once it was told to end.
    killed: Option<u64>,
}

fn main(arguments: CStrArray<'static>, _: CStrArray<'static>) -> i32 {
    let argument = arguments.iter().nth(1);
    let is_machine = argument.is_none();
    if is_machine && own_pid() != 1 {
        STDOUT.line(c"init", &"without a table it is a machine's first program, with the pid 1");
        return 2;
    }
    if is_machine {
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
    block_signals(SIGNALS);
    let path = argument.unwrap_or(c"/etc/rawspawn.services");
    let mut room = [const { MaybeUninit::uninit() }; 8192];
    let mut units = [const { None }; MOST];
    let is_sound = match read_file(path, &mut room) {
        Ok(text) => fill(&mut units, path, text),
        Err(Errno::EFBIG) => {
            STDOUT.line(path, &"is longer than 8 KiB");
            false
        }
        Err(errno) => {
            STDOUT.line(path, &errno);
            false
        }
    };
    let has_any = units.iter().flatten().any(|unit| !matches!(unit.state, State::Refused));
    let mut is_well = is_sound && has_any;
    if has_any {
        is_well &= supervise(&mut units);
        stop(&mut units);
        STDOUT.line(c"init", &"all services have stopped");
    } else {
        STDOUT.line(path, &"there is no service to start");
        if is_machine {
            STDOUT.line(c"init", &"waits for SIGTERM, to turn the machine off");
            while !matches!(wait_for_signal(SIGNALS, LONGEST_DELAY), Some(SIGTERM | SIGINT)) {
                reap(&mut units);
            }
        }
    }
    if is_machine {
        end_all();
        power_off();
    }
    i32::from(!is_well)
}

/// All that the table has.
type Units<'t> = [Option<Unit<'t>>; MOST];

/// Fills `units` with the services of the table, and says of each line that is none why. Whether
/// all is sound.
fn fill<'t>(units: &mut Units<'t>, path: &CStr, text: &'t mut [u8]) -> bool {
    let mut is_sound = true;
    table::parse(text, |line, name, found| {
        let result = found.and_then(|service| {
            let mut others = units.iter().flatten();
            if let Some(first) = others.find(|unit| unit.service.is(name.to_bytes())) {
                return Err(Fault::Twice(first.service.line));
            }
            let place = units.iter_mut().find(|place| place.is_none()).ok_or(Fault::Services)?;
            let state = State::Waiting(0);
            *place = Some(Unit { service, state, started: 0, delay: FIRST_DELAY, killed: None });
            Ok(())
        });
        if let Err(fault) = result {
            is_sound = false;
            STDOUT.print(path, ":", &Refusal { line, name, fault });
        }
    });
    is_sound & refuse_what_can_never_be(units, path)
}

/// Why a line of the table comes to nothing.
struct Refusal<'t> {
    line: u32,
    name: &'t CStr,
    fault: Fault<'t>,
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Number(self.line), f)?;
        f.write_str(": ")?;
        if !self.name.is_empty() {
            table::write_bytes(f, self.name.to_bytes())?;
            f.write_str(": ")?;
        }
        fmt::Display::fmt(&self.fault, f)
    }
}

/// Refuses each service that needs what is not there, or itself, or one that is refused, and says
/// why. Whether there is none.
fn refuse_what_can_never_be(units: &mut Units<'_>, path: &CStr) -> bool {
    // Those that can be started after one another.
    let mut can_be = [false; MOST];
    let is_up = |can_be: &[bool; MOST], need: &[u8]| {
        position(units, need).and_then(|place| can_be.get(place)).is_some_and(|&can| can)
    };
    loop {
        let next = units.iter().zip(can_be).position(|(unit, can)| {
            let of = unit.as_ref();
            !can && of.is_some_and(|unit| unit.service.needs().all(|need| is_up(&can_be, need)))
        });
        let Some(place) = next.and_then(|place| can_be.get_mut(place)) else { break };
        *place = true;
    }
    // What one of the others lacks, and where that is.
    let lacks = |place: usize| {
        let unit = units.get(place)?.as_ref()?;
        let need = unit.service.needs().find(|need| !is_up(&can_be, need))?;
        Some((need, position(units, need)))
    };
    let mut is_sound = true;
    for (place, unit) in units.iter().enumerate() {
        let (Some(unit), Some((need, found))) = (unit, lacks(place)) else { continue };
        is_sound = false;
        // Along what each lacks, back to it?
        let along = |at: &Option<usize>| at.and_then(lacks).map(|(_, next)| next);
        let mut chain = core::iter::successors(Some(found), along).take(MOST);
        let fault = if found.is_none() {
            Fault::Unknown(need)
        } else if chain.any(|at| at == Some(place)) {
            Fault::Cycle(need)
        } else {
            Fault::NotRunning(need)
        };
        let Service { line, name, .. } = unit.service;
        STDOUT.print(path, ":", &Refusal { line, name, fault });
    }
    for (unit, can) in units.iter_mut().zip(can_be) {
        if let (Some(unit), false) = (unit, can) {
            unit.state = State::Refused;
        }
    }
    is_sound
}

/// Where the service of that name is.
fn position(units: &Units<'_>, name: &[u8]) -> Option<usize> {
    units.iter().position(|unit| unit.as_ref().is_some_and(|unit| unit.service.is(name)))
}

/// Runs the services, until a signal ends that or none is left. Whether all did what they were to.
fn supervise(units: &mut Units<'_>) -> bool {
    loop {
        let now = milliseconds();
        start_what_can_be(units, now);
        let next = units.iter().flatten().filter_map(|unit| match unit.state {
            State::Waiting(at) if lacking(units, unit).is_none() => Some(at),
            _ => None,
        });
        let next = next.min().unwrap_or(u64::MAX);
        let runs = units.iter().flatten().any(Unit::is_running);
        if !runs && next == u64::MAX {
            break;
        }
        let signal = wait_for_signal(SIGNALS, next.saturating_sub(now));
        reap(units);
        match signal {
            Some(SIGTERM | SIGINT) => return true,
            Some(SIGUSR1) => tell(units),
            _ => {}
        }
    }
    let mut is_well = true;
    for unit in units.iter().flatten() {
        is_well &= !matches!(unit.state, State::Failed);
        if let (State::Waiting(_), Some(need)) = (&unit.state, lacking(units, unit)) {
            is_well = false;
            STDOUT.line(unit.service.name, &Fault::NotRunning(need));
        }
    }
    is_well
}

/// The first that `unit` needs and that is not up: running, or, if that was all there was to do, done.
fn lacking<'t>(units: &Units<'_>, unit: &Unit<'t>) -> Option<&'t [u8]> {
    unit.service.needs().find(|need| {
        let mut others = units.iter().flatten();
        !others.find(|other| other.service.is(need)).is_some_and(|other| match other.state {
            State::Running(_) => !matches!(other.service.policy, Policy::Once),
            State::Done => true,
            _ => false,
        })
    })
}

/// Starts what is due and ready; one start may make another ready.
fn start_what_can_be(units: &mut Units<'_>, now: u64) {
    let due = |unit: &Unit<'_>| matches!(unit.state, State::Waiting(at) if at <= now);
    while let Some(place) = units.iter().position(|unit| {
        unit.as_ref().is_some_and(|unit| due(unit) && lacking(units, unit).is_none())
    }) {
        if let Some(Some(unit)) = units.get_mut(place) {
            unit.start(now);
        }
    }
}

/// Whether a running service needs `unit`.
fn is_needed(units: &Units<'_>, unit: &Unit<'_>) -> bool {
    units
        .iter()
        .flatten()
        .any(|other| other.is_running() && other.service.needs().any(|need| unit.service.is(need)))
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

    /// Tells it to end, or kills it if it was told so long before.
    fn end(&mut self, now: u64) {
        let State::Running(process) = &self.state else { return };
        let (what, signal) = match self.killed {
            None => ("stopping", SIGTERM),
            Some(at) if at <= now => ("killing", SIGKILL),
            Some(_) => return,
        };
        STDOUT.line(self.service.name, &what);
        let _ = process.signal(signal);
        self.killed = Some(if signal == SIGKILL { u64::MAX } else { now.saturating_add(GRACE) });
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
            State::Refused => "status: refused",
        };
        STDOUT.line(unit.service.name, &state);
    }
}

/// Ends all services, politely at first: at once all that none needs any more, and when the grace
/// is over all that are left.
fn stop(units: &mut Units<'_>) {
    let begin = milliseconds();
    while units.iter().flatten().any(Unit::is_running) {
        let now = milliseconds();
        // Two graces, and a second for what is killed to go.
        if now >= begin.saturating_add(2 * GRACE + 1000) {
            for unit in units.iter().flatten().filter(|unit| unit.is_running()) {
                STDOUT.line(unit.service.name, &"cannot be killed");
            }
            return;
        }
        let in_order = now < begin.saturating_add(GRACE);
        for place in (0..MOST).rev() {
            let needed = |unit: &Unit<'_>| in_order && is_needed(units, unit);
            let holds = units.get(place).and_then(Option::as_ref).is_none_or(needed);
            if let (Some(Some(unit)), false) = (units.get_mut(place), holds) {
                unit.end(now);
            }
        }
        let deadlines = units.iter().flatten().filter(|unit| unit.is_running());
        let next = deadlines.filter_map(|unit| unit.killed).filter(|&at| at > now).min();
        let next = next.unwrap_or(u64::MAX).min(now + 1000);
        wait_for_signal(SIGNALS, next.saturating_sub(now));
        reap(units);
    }
}
