//! Where a program is looked up: in the parent's `PATH`, as execvp(3) does.

use core::ffi::CStr;

use rawspawn::Exec;

use crate::c;

/// Where glibc looks without a `PATH`, and musl.
const DEFAULTS: [&[u8]; 2] = [b"/bin:/usr/bin", b"/usr/local/bin:/bin:/usr/bin"];

/// How `name` is looked up.
pub(crate) fn exec(name: &CStr) -> Exec<'_> {
    let default = || if c::is_glibc() { DEFAULTS[0] } else { DEFAULTS[1] };
    let path = c::variable(c"PATH").map_or_else(default, CStr::to_bytes);
    Exec::Search { name, path: Some(path) }
}
