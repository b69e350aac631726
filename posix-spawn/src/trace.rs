//! What is spawned, for somebody who wants to know: `RAWSPAWN_TRACE` is a descriptor, or the
//! path of a file that is appended to.

use core::ffi::CStr;
use core::fmt::{self, Write};

use rawspawn::{Error, Process, Request};

use crate::c;

/// Tells of a spawn, if that is asked for.
pub(crate) fn tell(path: &CStr, request: &Request<'_>, result: &Result<Process, Error>) {
    // Who runs a program with more rights than their own must not have it write anywhere.
    let place = c::secure_variable(c"RAWSPAWN_TRACE");
    if let Some(place) = place.filter(|place| !place.is_empty()) {
        tell_to(place, path, request, result);
    }
}

#[cold]
fn tell_to(place: &CStr, path: &CStr, request: &Request<'_>, result: &Result<Process, Error>) {
    let number = place.to_bytes().iter().try_fold(0i32, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    });
    let Some(fd) = number.or_else(|| open(place)) else { return };
    let mut output = Output { fd, bytes: [0; 2048], used: 0 };
    let path = path.to_str().unwrap_or("?");
    let _ = match result {
        Ok(process) => writeln!(output, "spawn {}: {path}", process.pid()),
        Err(error) => writeln!(output, "failed {path}: {error}"),
    };
    if let Some(mut room) = c::Room::new() {
        if let Ok(plan) = request.plan(room.buffer()) {
            let _ = writeln!(output, "{plan}");
        }
    }
    output.flush();
    if number.is_none() {
        c::close(fd);
    }
}

/// Opens the file at `path` for appending.
fn open(path: &CStr) -> Option<i32> {
    const AT_FDCWD: usize = -100isize as usize;
    const WRITE_CREATE_APPEND_CLOEXEC: usize = 0o1 | 0o100 | 0o2000 | 0o2_000_000;
    let (path, mode) = (path.as_ptr() as usize, 0o666);
    // SAFETY: A C string.
    let fd =
        unsafe { sc::syscall4(sc::nr::OPENAT, AT_FDCWD, path, WRITE_CREATE_APPEND_CLOEXEC, mode) };
    i32::try_from(fd).ok()
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
