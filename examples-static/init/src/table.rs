//! The table of services, a line each:
//!
//! ```text
//! # name    restart     needs       program and arguments
//! net       once        -           /bin/ip link set lo up
//! log       always      -           /bin/syslogd -n
//! web       on-failure  net,log     /bin/httpd -f -h "/srv/my site"
//! ```

use core::ffi::CStr;

use rawspawn::{CStrArray, CStrPtr};

/// How many services there may be.
pub(crate) const MOST: usize = 32;

/// How many words a command may have.
const MOST_WORDS: usize = 12;

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
    pub(crate) fn needs(&self) -> impl Iterator<Item = &'t [u8]> {
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

/// Gives each service of `text` to `add`, until that has no room; whether it had. A line that
/// is none is passed over.
pub(crate) fn parse<'t>(text: &'t mut [u8], mut add: impl FnMut(Service<'t>) -> bool) -> bool {
    for line in text.split_inclusive_mut(|&byte| byte == b'\n') {
        separate(line);
        let line: &'t [u8] = line;
        if let Some(service) = service(Words(line)) {
            if !add(service) {
                return false;
            }
        }
    }
    true
}

/// Ends each word of a line by NUL. Quotes hold together what has spaces in it.
fn separate(line: &mut [u8]) {
    let mut quoted = false;
    let mut comment = false;
    for byte in line {
        comment |= *byte == b'#' && !quoted;
        quoted ^= *byte == b'"';
        let ends = matches!(*byte, b'"' | b'\n') || matches!(*byte, b' ' | b'\t') && !quoted;
        if ends || comment {
            *byte = 0;
        }
    }
}

/// The words of a line, each with a NUL behind it.
struct Words<'t>(&'t [u8]);

impl<'t> Iterator for Words<'t> {
    type Item = &'t CStr;

    fn next(&mut self) -> Option<&'t CStr> {
        let start = self.0.iter().position(|&byte| byte != 0)?;
        let word = CStr::from_bytes_until_nul(self.0.get(start..)?).ok()?;
        self.0 = self.0.get(start + word.count_bytes()..)?;
        Some(word)
    }
}

fn service(mut words: Words<'_>) -> Option<Service<'_>> {
    let name = words.next()?;
    let policy = words.next()?.to_bytes();
    let policy = [
        (Policy::Once, &b"once"[..]),
        (Policy::OnFailure, b"on-failure"),
        (Policy::Always, b"always"),
    ]
    .into_iter()
    .find(|(_, text)| same(policy, text))
    .map(|(policy, _)| policy)?;
    let needs = words.next()?;
    let program = words.next()?;
    let mut service =
        Service { name, policy, needs, words: [CStrPtr::NULL; MOST_WORDS + 1], program };
    let command = [program].into_iter().chain(words);
    for (place, word) in service.words.iter_mut().take(MOST_WORDS).zip(command) {
        *place = CStrPtr::new(word);
    }
    Some(service)
}
