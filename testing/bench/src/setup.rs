//! What a spawn in the native worker is given: made once, kept for ever.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rawspawn::{CStrArray, CStrPtr};

/// The program, its arguments and its environment.
pub(crate) struct Setup {
    pub(crate) program: &'static CStr,
    pub(crate) argv: CStrArray<'static>,
    pub(crate) envp: CStrArray<'static>,
}

impl Setup {
    /// To spawn `program` with this process's environment.
    pub(crate) fn new(program: &OsStr) -> Self {
        let program = c_string(program.as_bytes().to_vec());
        let environ = std::env::vars_os()
            .map(|(key, value)| {
                c_string([&key.into_vec(), b"=".as_slice(), value.as_bytes()].concat())
            })
            .collect();
        Self { program, argv: array(vec![program]), envp: array(environ) }
    }

    /// The program, as std takes it.
    pub(crate) fn path(&self) -> &OsStr {
        OsStr::from_bytes(self.program.to_bytes())
    }
}

/// What came from the kernel as a C string has no NUL.
fn c_string(bytes: Vec<u8>) -> &'static CStr {
    Box::leak(CString::new(bytes).unwrap_or_default().into_boxed_c_str())
}

fn array(strings: Vec<&'static CStr>) -> CStrArray<'static> {
    let mut elements: Vec<_> = strings.into_iter().map(CStrPtr::new).collect();
    elements.push(CStrPtr::NULL);
    CStrArray::new(elements.leak()).unwrap_or(CStrArray::EMPTY)
}
