//! What is spawned, for somebody who wants to know: `RAWSPAWN_TRACE` is a descriptor, or the
//! path of a file that is appended to.

use core::ffi::CStr;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

use rawspawn::{Error, Process, Request};

use crate::{c, sys};

/// That the first spawn has found that nobody wants to know.
static IS_OFF: AtomicBool = AtomicBool::new(false);

/// Tells of a spawn, if that is asked for.
pub(crate) fn tell(path: &CStr, request: &Request<'_>, result: &Result<Process, Error>) {
    if !IS_OFF.load(Ordering::Relaxed) {
        look_and_tell(path, request, result);
    }
}

#[cold]
#[inline(never)]
fn look_and_tell(path: &CStr, request: &Request<'_>, result: &Result<Process, Error>) {
    let mut value = [0; 256];
    // Who runs a program with more rights than their own must not have it write anywhere.
    match place(&mut value).filter(|place| !place.is_empty() && !c::has_more_rights()) {
        Some(place) => tell_to(place, path, request, result),
        None => IS_OFF.store(true, Ordering::Relaxed),
    }
}

/// The variable as it was when the program was executed.
///
/// Not as the C library has it: who calls `posix_spawn(3)` may change the environment meanwhile.
fn place(value: &mut [u8]) -> Option<&CStr> {
    const O_CLOEXEC: usize = 0o2_000_000;
    let fd = c::open(c"/proc/self/environ", O_CLOEXEC)?;
    let length = find(b"RAWSPAWN_TRACE=", fd, value);
    sys::close(fd);
    CStr::from_bytes_with_nul(value.get(..length?)?).ok()
}

/// Reads `fd` up to what begins with `start`, the rest of which comes to `value`: its length, with
/// the NUL. `None` if there is no such, or it is longer.
fn find(start: &[u8], fd: i32, value: &mut [u8]) -> Option<usize> {
    let mut chunk = [0; 2048];
    // How much of `start` the string at hand begins with, if that is all of it so far.
    let mut same = Some(0);
    let mut length = 0;
    loop {
        let bytes = c::read(fd, &mut chunk);
        if bytes.is_empty() {
            return None;
        }
        for byte in bytes {
            match (same, same.and_then(|same| start.get(same))) {
                (Some(_), None) => {
                    *value.get_mut(length)? = *byte;
                    length += 1;
                    if *byte == 0 {
                        return Some(length);
                    }
                }
                _ if *byte == 0 => same = Some(0),
                (Some(at), Some(wanted)) if wanted == byte => same = Some(at + 1),
                _ => same = None,
            }
        }
    }
}

#[inline(never)]
fn tell_to(place: &CStr, path: &CStr, request: &Request<'_>, result: &Result<Process, Error>) {
    const WRITE_CREATE_APPEND_CLOEXEC: usize = 0o1 | 0o100 | 0o2000 | 0o2_000_000;
    let number = place.to_bytes().iter().try_fold(0i32, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    });
    let opened = || c::open(place, WRITE_CREATE_APPEND_CLOEXEC);
    let Some(fd) = number.or_else(opened) else { return };
    let mut output = Output { fd, bytes: [0; 2048], used: 0 };
    let path = path.to_str().unwrap_or("?");
    let _ = match result {
        Ok(process) => writeln!(output, "spawn {}: {path}", process.pid()),
        Err(error) => writeln!(output, "failed {path}: {error}"),
    };
    crate::with_room(request, |room| {
        if let Ok(plan) = request.plan(room) {
            let _ = writeln!(output, "{plan}");
        }
    });
    output.flush();
    if number.is_none() {
        sys::close(fd);
    }
}

/// Written as a whole, as far as it goes: several processes may write to the same place.
struct Output {
    fd: i32,
    bytes: [u8; 2048],
    used: usize,
}

impl Output {
    fn flush(&mut self) {
        let (fd, start) = (self.fd as usize, self.bytes.as_ptr() as usize);
        // SAFETY: As many bytes of an array.
        unsafe { sc::syscall3(sc::nr::WRITE, fd, start, self.used) };
        self.used = 0;
    }
}

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.used == self.bytes.len() {
                self.flush();
            }
            if let Some(place) = self.bytes.get_mut(self.used) {
                *place = byte;
                self.used += 1;
            }
        }
        Ok(())
    }
}
