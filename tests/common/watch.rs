//! An end for a test that something could hold for ever.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Ends this process, with a message that says what was waited for, unless it is dropped in time.
pub(crate) struct Watch {
    _alive: SyncSender<()>,
}

impl Watch {
    pub(crate) fn new(seconds: u64, what: impl Fn() -> String + Send + 'static) -> Self {
        let (alive, dropped): (_, Receiver<()>) = sync_channel(0);
        std::thread::spawn(move || {
            let end = dropped.recv_timeout(Duration::from_secs(seconds));
            if end == Err(RecvTimeoutError::Timeout) {
                eprintln!("after {seconds} s the test still waits for {}", what());
                std::process::abort();
            }
        });
        Self { _alive: alive }
    }
}
