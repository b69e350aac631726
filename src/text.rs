//! Numbers as text.
//!
//! `core::fmt`'s own integers, with their widths and signs, would be a tenth of
//! a program without a C library.
#![allow(unsafe_code)]

use core::fmt;

/// The digits of a number, `0o1777777777777777777777` at the longest.
pub(crate) struct Digits {
    bytes: [u8; 23],
    start: usize,
}

impl Digits {
    pub(crate) const fn decimal(value: i64) -> Self {
        let mut digits = Self::new(value.unsigned_abs(), 10);
        if value < 0 {
            digits.prepend(b'-');
        }
        digits
    }

    pub(crate) const fn octal(value: u64) -> Self {
        Self::new(value, 8)
    }

    const fn new(mut value: u64, radix: u64) -> Self {
        let mut digits = Self { bytes: [0; 23], start: 23 };
        loop {
            digits.prepend(b'0' + (value % radix) as u8);
            value /= radix;
            if value == 0 {
                return digits;
            }
        }
    }

    const fn prepend(&mut self, byte: u8) {
        if self.start > 0 && self.start <= self.bytes.len() {
            self.start -= 1;
            self.bytes[self.start] = byte;
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Writes the last `count` digits.
    pub(crate) fn write_last(&self, f: &mut fmt::Formatter<'_>, count: usize) -> fmt::Result {
        let start = self.bytes.len().saturating_sub(count);
        f.write_str(ascii(self.bytes.get(start..).unwrap_or_default()))
    }

    pub(crate) fn write_to(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ascii(self.as_bytes()))
    }
}

/// `bytes`, up to the first that is not ASCII, as text.
pub(crate) fn ascii(bytes: &[u8]) -> &str {
    let length = bytes.iter().take_while(|byte| byte.is_ascii()).count();
    let bytes = bytes.get(..length).unwrap_or_default();
    // SAFETY: ASCII is UTF-8.
    unsafe { core::str::from_utf8_unchecked(bytes) }
}

/// Line `number` of `table`, counted from 0.
pub(crate) fn line(table: &'static str, number: usize) -> &'static [u8] {
    // Of bytes, as core's search for a `char` calls C's memchr or memcmp.
    table.as_bytes().split(|&byte| byte == b'\n').nth(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{format, string::ToString};

    use super::Digits;

    #[test]
    fn digits_equal_the_standard_librarys() {
        for value in [0, 1, 7, 8, 9, 10, 99, 511, 1000, i64::MAX - 1, i64::MAX] {
            assert_eq!(Digits::decimal(value).as_bytes(), value.to_string().as_bytes());
            assert_eq!(Digits::decimal(-value).as_bytes(), (-value).to_string().as_bytes());
            assert_eq!(
                Digits::octal(value.unsigned_abs()).as_bytes(),
                format!("{value:o}").as_bytes()
            );
        }
        assert_eq!(Digits::decimal(i64::MIN).as_bytes(), i64::MIN.to_string().as_bytes());
        assert_eq!(Digits::octal(u64::MAX).as_bytes(), format!("{:o}", u64::MAX).as_bytes());
    }
}
