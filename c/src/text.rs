//! Text in the caller's memory.

use core::ffi::c_char;
use core::fmt::{self, Write};

/// Writes what is shown to `size` bytes from `start` on, as far as it fits, with a NUL behind it.
/// The length that it has, or would have.
///
/// # Safety
///
/// As many bytes, to be written to; NULL if there are none.
pub(crate) unsafe fn write(start: *mut c_char, size: usize, shown: &dyn fmt::Display) -> usize {
    let mut text = Text { start, room: size.saturating_sub(1), length: 0 };
    let _ = write!(text, "{shown}");
    if size > 0 {
        // SAFETY: Not behind the last of the bytes.
        let end = unsafe { start.add(text.length.min(text.room)) };
        // SAFETY: As above.
        unsafe { end.write(0) };
    }
    text.length
}

struct Text {
    start: *mut c_char,
    room: usize,
    length: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.length < self.room {
                // SAFETY: One of the caller's bytes.
                let place = unsafe { self.start.add(self.length) };
                // Volatile, or the loop would be a call of memcpy.
                // SAFETY: As above.
                unsafe { place.write_volatile(byte as c_char) };
            }
            self.length += 1;
        }
        Ok(())
    }
}
