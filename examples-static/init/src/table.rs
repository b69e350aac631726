//! The table of services, a line each:
//!
//! ```text
//! # name    restart     needs       program and arguments
//! net       once        -           /bin/ip link set lo up
//! log       always      -           /bin/syslogd -n
//! web       on-failure  net,log     /bin/httpd -f -h "/srv/my site"
//! ```
//!
//! Quotes hold together what has spaces in it; `#` at the beginning of a word begins a comment.

use core::ffi::CStr;
use core::fmt::{self, Write as _};

use rawspawn::{CStrArray, CStrPtr};

/// How many services there may be.
pub(crate) const MOST: usize = 32;

/// How many words a command may have.
const MOST_WORDS: usize = 24;

/// When a service is started again.
#[derive(Clone, Copy)]
pub(crate) enum Policy {
    /// Never: what needs it waits for its end.
    Once,
    OnFailure,
    Always,
}

/// A line of the table.
pub(crate) struct Service<'t> {
    pub(crate) line: u32,
    pub(crate) name: &'t CStr,
    pub(crate) policy: Policy,
    needs: &'t CStr,
    words: [CStrPtr<'t>; MOST_WORDS + 1],
    program: &'t CStr,
}

impl<'t> Service<'t> {
    pub(crate) fn program(&self) -> &'t CStr {
        self.program
    }

    pub(crate) fn argv(&self) -> CStrArray<'_> {
        CStrArray::new(&self.words).unwrap_or(CStrArray::EMPTY)
    }

    /// The names of what has to be up before it.
    pub(crate) fn needs(&self) -> impl Iterator<Item = &'t [u8]> + use<'t> {
        let names = self.needs.to_bytes().split(|&byte| byte == b',');
        names.filter(|name| !name.is_empty() && !same(name, b"-"))
    }

    /// Whether its name is `name`.
    pub(crate) fn is(&self, name: &[u8]) -> bool {
        same(self.name.to_bytes(), name)
    }
}

/// Whether two texts are the same. Not `==`, which is a call of C's bcmp.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.iter().eq(other)
}

/// Why a line is no service, or its service is not started.
#[derive(Clone, Copy)]
pub(crate) enum Fault<'t> {
    Nul,
    Quote,
    NoRestart,
    Restart(&'t CStr),
    NoNeeds,
    NoProgram,
    Words,
    /// The line of the first with this name.
    Twice(u32),
    Services,
    Unknown(&'t [u8]),
    NotRunning(&'t [u8]),
    Cycle(&'t [u8]),
}

impl fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, name, after) = match *self {
            Fault::Nul => ("a NUL byte", &b""[..], ""),
            Fault::Quote => ("a quote that is not closed", &b""[..], ""),
            Fault::NoRestart => ("no word that says when it is restarted", &b""[..], ""),
            Fault::Restart(word) => {
                ("\"", word.to_bytes(), "\" is none of once, on-failure and always")
            }
            Fault::NoNeeds => ("no word that says what it needs", &b""[..], ""),
            Fault::NoProgram => ("no program", &b""[..], ""),
            Fault::Words => ("more words than a command may have", &b""[..], ""),
            Fault::Twice(line) => {
                f.write_str("a second service of this name, after line ")?;
                return fmt::Display::fmt(&Number(line), f);
            }
            Fault::Services => ("more services than there may be", &b""[..], ""),
            Fault::Unknown(need) => ("needs \"", need, "\", which is no service"),
            Fault::NotRunning(need) => ("needs \"", need, "\", which does not run"),
            Fault::Cycle(need) => ("needs \"", need, "\", which needs it in turn"),
        };
        f.write_str(before)?;
        write_bytes(f, name)?;
        f.write_str(after)
    }
}

/// Writes a word of the table. What is not ASCII could be any encoding: the line tells it apart.
pub(crate) fn write_bytes(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes
        .iter()
        .try_for_each(|&byte| f.write_char(if byte.is_ascii() { char::from(byte) } else { '?' }))
}

/// A number, without the integers of `core::fmt`, which take more room than all else here.
pub(crate) struct Number(pub(crate) u32);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What there is a line of is shorter than a million.
        let (mut rest, mut begun) = (self.0, false);
        for unit in [100_000, 10_000, 1000, 100, 10, 1] {
            let mut digit = b'0';
            while rest >= unit {
                rest -= unit;
                digit += 1;
            }
            begun |= digit > b'0' || unit == 1;
            if begun {
                f.write_char(char::from(digit))?;
            }
        }
        Ok(())
    }
}

/// Gives each line of `text` that is not empty to `add`: its number, the first of its words if
/// it has one, and the service that it is, or what is wrong with it.
pub(crate) fn parse<'t>(
    text: &'t mut [u8],
    mut add: impl FnMut(u32, &'t CStr, Result<Service<'t>, Fault<'t>>),
) {
    let mut number = 0;
    for line in text.split_inclusive_mut(|&byte| byte == b'\n') {
        number += 1;
        let separated = separate(line);
        let (length, fault) = match separated {
            Ok(length) => (length, None),
            Err(fault) => (0, Some(fault)),
        };
        let line: &'t [u8] = line;
        let mut words = Words(line.get(..length).unwrap_or_default());
        match (words.next(), fault) {
            (_, Some(fault)) => add(number, c"", Err(fault)),
            (Some(name), None) => add(number, name, service(number, name, words)),
            (None, None) => {}
        }
    }
}

/// Takes the words of a line apart, in their place: each has a NUL behind it then. How long they are.
fn separate(line: &mut [u8]) -> Result<usize, Fault<'static>> {
    let (mut quoted, mut in_word, mut length) = (false, false, 0);
    // What is written is never longer than what was read.
    let put = |line: &mut [u8], length: &mut usize, byte| {
        if let Some(place) = line.get_mut(*length) {
            *place = byte;
            *length += 1;
        }
    };
    for at in 0..line.len() {
        match line.get(at).copied().unwrap_or_default() {
            0 => return Err(Fault::Nul),
            b'\n' => break,
            b'"' => (quoted, in_word) = (!quoted, true),
            b' ' | b'\t' | b'\r' if !quoted => {
                if in_word {
                    put(line, &mut length, 0);
                }
                in_word = false;
            }
            b'#' if !in_word => break,
            byte => {
                put(line, &mut length, byte);
                in_word = true;
            }
        }
    }
    if in_word {
        put(line, &mut length, 0);
    }
    if quoted { Err(Fault::Quote) } else { Ok(length) }
}

/// The words of a line, each with a NUL behind it.
struct Words<'t>(&'t [u8]);

impl<'t> Iterator for Words<'t> {
    type Item = &'t CStr;

    fn next(&mut self) -> Option<&'t CStr> {
        let word = CStr::from_bytes_until_nul(self.0).ok()?;
        self.0 = self.0.get(word.count_bytes() + 1..)?;
        Some(word)
    }
}

fn service<'t>(line: u32, name: &'t CStr, mut words: Words<'t>) -> Result<Service<'t>, Fault<'t>> {
    let restart = words.next().ok_or(Fault::NoRestart)?;
    let policy = [
        (Policy::Once, &b"once"[..]),
        (Policy::OnFailure, b"on-failure"),
        (Policy::Always, b"always"),
    ]
    .into_iter()
    .find(|(_, text)| same(restart.to_bytes(), text))
    .map(|(policy, _)| policy)
    .ok_or(Fault::Restart(restart))?;
    let needs = words.next().ok_or(Fault::NoNeeds)?;
    let program = words.next().ok_or(Fault::NoProgram)?;
    let mut service =
        Service { line, name, policy, needs, words: [CStrPtr::NULL; MOST_WORDS + 1], program };
    let mut places = service.words.iter_mut().take(MOST_WORDS);
    for word in [program].into_iter().chain(words) {
        *places.next().ok_or(Fault::Words)? = CStrPtr::new(word);
    }
    Ok(service)
}
