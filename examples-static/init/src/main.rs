//! A minimal init: starts the services of a table, reaps every process that ends
//! up with it, restarts services with a growing delay, and on `SIGTERM` stops
//! them in reverse order.
//!
//! Run with:
//! `cargo build -p rawspawn-init --profile static`, then
//! `unshare --fork --pid --kill-child target/static/rawspawn-init`
#![no_std]
#![no_main]

use core::ffi::CStr;

use rawspawn::{Buffer, CStrArray, Exec, Process, Request, SigSet, argv};
use rawspawn_rt::{
    SIGCHLD, SIGINT, SIGKILL, SIGTERM, STDOUT, block_signals, milliseconds, reap_any,
    wait_for_signal,
};

rawspawn_rt::main!(main);

/// A program that is to run for as long as the system does.
struct Service {
    name: &'static CStr,
    argv: CStrArray<'static>,
}

/// What is started, in this order, and stopped in the reverse one.
static SERVICES: [Service; 3] = [
    Service { name: c"log", argv: argv![c"/bin/sh", c"-c", c"exec sleep 1000"] },
    // Its background process becomes an orphan, which init inherits.
    Service { name: c"daemon", argv: argv![c"/bin/sh", c"-c", c"(sleep 0.1 &); exec sleep 1000"] },
    Service { name: c"flaky", argv: argv![c"/bin/sh", c"-c", c"exit 3"] },
];

/// The delay before the first restart, which doubles with each, in milliseconds.
const FIRST_DELAY: u64 = 100;

/// The longest delay.
const LONGEST_DELAY: u64 = 10_000;

/// How long a service has to run for its delay to start over.
const STABLE: u64 = 10_000;

/// How long a service may take to end.
const GRACE: u64 = 5_000;

/// A service and what has become of it.
struct State {
    service: &'static Service,
    process: Option<Process>,
    /// When it was started, or is to be.
    at: u64,
    delay: u64,
}

fn main(_: CStrArray<'static>, _: CStrArray<'static>) -> i32 {
    // Blocked, not handled: they wait until we ask. Init is sent no others.
    let signals = SigSet::EMPTY.with(SIGCHLD).with(SIGTERM).with(SIGINT);
    block_signals(signals);
    let mut states = SERVICES.each_ref().map(|service| State {
        service,
        process: None,
        at: 0,
        delay: FIRST_DELAY,
    });
    loop {
        let now = milliseconds();
        let mut next = u64::MAX;
        for state in &mut states {
            if state.process.is_none() && state.at <= now {
                state.start(now);
            }
            if state.process.is_none() {
                next = next.min(state.at);
            }
        }
        let signal = wait_for_signal(signals, next.saturating_sub(now));
        reap(&mut states);
        if signal == Some(SIGTERM) || signal == Some(SIGINT) {
            break;
        }
    }
    for number in (0..states.len()).rev() {
        stop(&mut states, number, signals);
    }
    STDOUT.line(c"init", &"all services have stopped");
    0
}

impl State {
    fn start(&mut self, now: u64) {
        let Some(program) = self.service.argv.iter().next() else { return };
        let mut request = Request::new(Exec::Path(program), self.service.argv);
        request.session(true).signal_mask(SigSet::EMPTY);
        self.at = now;
        match request.spawn(&mut Buffer::<16, 16>::new()) {
            Ok(process) => {
                STDOUT.line(self.service.name, &"started");
                self.process = Some(process);
            }
            Err(error) => {
                STDOUT.line(self.service.name, &error);
                self.back_off(now);
            }
        }
    }

    /// Sets the time of the next start.
    fn back_off(&mut self, now: u64) {
        if now.saturating_sub(self.at) >= STABLE {
            self.delay = FIRST_DELAY;
        }
        self.at = now.saturating_add(self.delay);
        self.delay = self.delay.saturating_mul(2).min(LONGEST_DELAY);
    }
}

/// Reaps all that has ended: services, and what they left behind.
fn reap(states: &mut [State]) {
    while let Some((pid, status)) = reap_any() {
        let ended = |state: &&mut State| state.process.as_ref().is_some_and(|p| p.pid() == pid);
        if let Some(state) = states.iter_mut().find(ended) {
            STDOUT.line(state.service.name, &status);
            state.process = None;
            state.back_off(milliseconds());
        } else {
            STDOUT.line(c"orphan", &status);
        }
    }
}

/// Ends a service, politely at first.
fn stop(states: &mut [State], number: usize, signals: SigSet) {
    for (signal, grace) in [(SIGTERM, GRACE), (SIGKILL, u64::MAX)] {
        let deadline = milliseconds().saturating_add(grace);
        if let Some(State { service, process: Some(process), .. }) = states.get(number) {
            STDOUT.line(service.name, &"stopping");
            let _ = process.signal(signal);
        }
        while states.get(number).is_some_and(|state| state.process.is_some()) {
            let left = deadline.saturating_sub(milliseconds());
            if left == 0 {
                break;
            }
            wait_for_signal(signals, left);
            reap(states);
        }
    }
}
