//! Changes to the environment.

use std::borrow::ToOwned;
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::vec::Vec;

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

    /// `KEY=value` of all that the child is to have.
    ///
    /// The parent's environment is copied even where nothing changes: std's lock
    /// keeps it in one piece meanwhile.
    pub(super) fn capture(&self) -> io::Result<Vec<CString>> {
        if self.is_unchanged() {
            return std::env::vars_os().map(|(key, value)| entry(key, &value)).collect();
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

fn entry(key: OsString, value: &OsStr) -> io::Result<CString> {
    // A first `=` belongs to the name: some shells export such.
    if key.is_empty() || key.as_bytes().iter().skip(1).any(|byte| *byte == b'=') {
        let text = "a variable's name is empty or holds a `=`";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let mut entry = key.into_vec();
    entry.push(b'=');
    entry.extend(value.as_bytes());
    Ok(CString::new(entry)?)
}
