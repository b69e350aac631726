//! Where a program is looked up: in the parent's `PATH`, as execvp(3) does.

use core::ffi::CStr;

use rawspawn::Exec;

use crate::c;

/// `confstr(_CS_PATH)`.
const DEFAULT: &[u8] = b"/bin:/usr/bin";

/// How `name` is looked up.
pub(crate) fn exec(name: &CStr) -> Exec<'_> {
    let path = c::variable(c"PATH").map_or(DEFAULT, CStr::to_bytes);
    Exec::Search { name, path: Some(path) }
}
