//! Whether a debugger or a tracer follows what this process does.
//!
//! One that does is told of each child by an event, of which it has three: a vfork, a fork, and
//! a thread. The last is for whatever has neither `CLONE_VFORK` nor the exit signal of a fork:
//! a child that its parent does not wait for. A debugger that takes such a child for a thread
//! loses the whole program when the child executes another one. So, while somebody
//! traces, a parent waits, or its child is a fork as others make it; and at all other times
//! the child is `CLONE_UNTRACED`, for the sake of who attaches in between.

use core::sync::atomic::{AtomicU64, Ordering};

use linux_raw_sys::general as uapi;

use crate::fd::Fd;
use crate::sys;

/// For how long an answer holds, in nanoseconds.
const HOLDS: u64 = 1_000_000_000;

/// The last answer, as its lowest bit, and when it was given; 0 before there is one.
static LAST: AtomicU64 = AtomicU64::new(0);

/// Whether the calling thread is traced, or was within the last second.
///
/// To ask costs as much as a start does; so it is done once in a second.
pub(crate) fn is_traced() -> bool {
    let now = sys::monotonic_ns() | 1;
    let last = LAST.load(Ordering::Relaxed);
    if last != 0 && now.wrapping_sub(last | 1) < HOLDS {
        return last & 1 == 1;
    }
    look(now)
}

/// Whether the calling thread is traced now: for a child that runs the caller's code, in which
/// a debugger that has just been attached has its breakpoints.
pub(crate) fn is_traced_now() -> bool {
    look(sys::monotonic_ns() | 1)
}

fn look(now: u64) -> bool {
    let traced = ask();
    LAST.store(now - u64::from(!traced), Ordering::Relaxed);
    traced
}

/// Asks the kernel. Without `/proc` there is no telling: not traced.
fn ask() -> bool {
    let flags = uapi::O_RDONLY | uapi::O_CLOEXEC;
    let Ok(status) = sys::open(c"/proc/thread-self/status", flags).map(Fd::new) else {
        return false;
    };
    // What comes before is a name of at most 64 bytes and six numbers.
    let mut text = [0; 256];
    let size = sys::read(status.raw(), &mut text).unwrap_or(0);
    names_a_tracer(text.get(..size).unwrap_or_default())
}

/// Whether `status`, of proc(5), has a tracer.
fn names_a_tracer(status: &[u8]) -> bool {
    const KEY: &[u8] = b"TracerPid:\t";
    let value = |line: &[u8]| {
        let is_key = KEY.iter().eq(line.iter().take(KEY.len()));
        if is_key { line.get(KEY.len()).copied() } else { None }
    };
    status.split(|byte| *byte == b'\n').find_map(value).is_some_and(|first| first != b'0')
}

#[cfg(test)]
mod tests {
    use super::names_a_tracer;

    #[test]
    fn a_tracer_is_one_with_a_number() {
        assert!(names_a_tracer(b"Name:\tx\nPPid:\t1\nTracerPid:\t17\nUid:\t0\n"));
        assert!(!names_a_tracer(b"Name:\tx\nPPid:\t1\nTracerPid:\t0\nUid:\t0\n"));
        // The kernel writes a newline in a name otherwise.
        assert!(!names_a_tracer(b"Name:\tTracerPid:\t1\nTracerPid:\t0\n"));
        for cut in [&b""[..], b"Name:\tx\n", b"Name:\tx\nTracerPid:\t", b"TracerPid:"] {
            assert!(!names_a_tracer(cut));
        }
    }
}
