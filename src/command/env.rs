//! Changes to the environment.

use std::borrow::ToOwned;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::OnceLock;
use std::vec::Vec;

use crate::environ;
use crate::sys;

/// What differs from the parent's environment.
#[derive(Clone, Debug, Default)]
pub(super) struct EnvChanges {
    clear: bool,
    /// The new value, or `None` where there is to be none.
    vars: BTreeMap<OsString, Option<OsString>>,
}

impl EnvChanges {
    pub(super) fn set(&mut self, key: &OsStr, value: &OsStr) {
        self.vars.insert(key.to_owned(), Some(value.to_owned()));
    }

    pub(super) fn remove(&mut self, key: &OsStr) {
        if self.clear {
            self.vars.remove(key);
        } else {
            self.vars.insert(key.to_owned(), None);
        }
    }

    pub(super) fn clear(&mut self) {
        self.clear = true;
        self.vars.clear();
    }

    pub(super) fn does_clear(&self) -> bool {
        self.clear
    }

    pub(super) fn is_unchanged(&self) -> bool {
        !self.clear && self.vars.is_empty()
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&OsStr, Option<&OsStr>)> {
        self.vars.iter().map(|(key, value)| (&**key, value.as_deref()))
    }

    /// The entries of all that the child is to have.
    pub(super) fn capture(&self) -> io::Result<Vec<CString>> {
        if self.is_unchanged() {
            return unchanged();
        }
        let mut all = BTreeMap::new();
        if !self.clear {
            all.extend(std::env::vars_os());
        }
        for (key, value) in &self.vars {
            match value {
                Some(value) => all.insert(key.clone(), value.clone()),
                None => all.remove(key),
            };
        }
        all.into_iter().map(|(key, value)| entry(key, &value)).collect()
    }
}

/// What std makes of a variable, whatever its name.
fn entry(key: OsString, value: &OsStr) -> io::Result<CString> {
    let mut entry = key.into_vec();
    entry.push(b'=');
    entry.extend(value.as_bytes());
    Ok(CString::new(entry)?)
}

/// The environment of this process as it is: the order, what is there twice, and entries that
/// are no variables.
///
/// std hands C's `environ` on, and keeps it in one piece by a lock that nobody else can take. It
/// lends that lock to `vars_os` alone, which tells of variables, in their order. What it passes
/// over are entries without a name and a `=`. No function makes those: a process is given
/// them when it is executed. So only who was reads `environ` itself. The kernel does that,
/// as memory that another thread frees meanwhile must not be read here; and what it has read is
/// taken as it is only if the variables among it are those that std tells of. Where other
/// threads change them all the time, those entries are put among std's that are the same twice.
fn unchanged() -> io::Result<Vec<CString>> {
    let variables = || -> io::Result<Vec<CString>> {
        std::env::vars_os().map(|(key, value)| entry(key, &value)).collect()
    };
    let mut known = variables()?;
    if !was_given_others() {
        return Ok(known);
    }
    let mut others = None;
    for _ in 0..TRIES {
        // None of it can be read, or part of it has been freed meanwhile.
        let Some(all) = read_environ(known.len()) else {
            known = variables()?;
            continue;
        };
        if all.iter().filter(|entry| is_variable(entry)).eq(&known) {
            return Ok(all);
        }
        // Another thread has changed it meanwhile.
        known = variables()?;
        let found: Vec<_> =
            all.into_iter().enumerate().filter(|(_, entry)| !is_variable(entry)).collect();
        if others.as_ref() == Some(&found) {
            for (place, entry) in found {
                known.insert(place.min(known.len()), entry);
            }
            return Ok(known);
        }
        others = Some(found);
    }
    Ok(known)
}

/// How often a thread that changes the environment may be in the way.
const TRIES: usize = 64;

/// Whether std takes `entry` for a variable: a first `=` belongs to its name.
fn is_variable(entry: &CStr) -> bool {
    entry.to_bytes().iter().skip(1).any(|byte| *byte == b'=')
}

/// Whether this process was executed with entries that are no variables. A program that has
/// written its title there since may seem so; that does no harm.
fn was_given_others() -> bool {
    static WAS_GIVEN: OnceLock<bool> = OnceLock::new();

    if let Some(known) = WAS_GIVEN.get() {
        return *known;
    }
    // Without `/proc`, or a free descriptor for it, it is asked again the next time.
    let Ok(given) = std::fs::read("/proc/self/environ") else { return false };
    let mut entries = given.split_inclusive(|byte| *byte == 0);
    let others = entries.any(|entry| {
        let entry = CStr::from_bytes_until_nul(entry);
        entry.is_ok_and(|entry| !is_variable(entry))
    });
    *WAS_GIVEN.get_or_init(|| others)
}

/// What `environ` points to, of which `variables` are known.
///
/// Not inline: few processes come here.
#[inline(never)]
fn read_environ(variables: usize) -> Option<Vec<CString>> {
    const POINTER: usize = size_of::<usize>();

    let mut entries = Vec::new();
    let mut place = environ::inherited()?.as_ptr().addr();
    loop {
        let mut pointer = [0; POINTER];
        if sys::read_memory(place, &mut pointer) != Ok(POINTER) {
            return None;
        }
        let start = usize::from_ne_bytes(pointer);
        if start == 0 {
            return Some(entries);
        }
        entries.push(read_string(start)?);
        // It has been freed, and is something else by now.
        if entries.len() > variables + MOST_OTHERS {
            return None;
        }
        place = place.checked_add(POINTER)?;
    }
}

/// How many entries that are no variables are taken for an environment.
const MOST_OTHERS: usize = 4096;

/// The string at `start`; no longer than the kernel takes one.
fn read_string(start: usize) -> Option<CString> {
    const PAGE: usize = 4096;
    const MOST: usize = 32 * PAGE;

    let mut bytes = Vec::new();
    while bytes.len() < MOST {
        let place = start.checked_add(bytes.len())?;
        // Not beyond a page: the next may not be there.
        let mut buffer = [0; PAGE];
        let part = buffer.get_mut(..PAGE - place % PAGE)?;
        let count = sys::read_memory(place, part).ok().filter(|count| *count > 0)?;
        let part = part.get(..count)?;
        let end = part.iter().position(|byte| *byte == 0);
        bytes.extend_from_slice(part.get(..end.unwrap_or(count))?);
        if end.is_some() {
            return CString::new(bytes).ok();
        }
    }
    None
}
