//! Roots that keep every part of the core in a static library, so that `nm` can
//! tell what it needs from outside: nothing.
#![no_std]
#![allow(unsafe_code)]

use core::ffi::{c_char, c_int, c_void};
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::time::Duration;

use rawspawn::{Buffer, CStrArray, Kernel, LowFds, Plan, Process, Request, SigSet};

/// Spawns any request: all of `compile` and `spawn`.
#[unsafe(no_mangle)]
pub extern "C" fn archive_spawn(request: &Request<'_>, room: &mut Buffer) -> c_int {
    match request.spawn(room) {
        Ok(mut process) => manage(&mut process),
        Err(error) => show(&error),
    }
}

/// Prints any plan.
#[unsafe(no_mangle)]
pub extern "C" fn archive_plan(request: &Request<'_>, room: &mut Buffer) -> c_int {
    let needed = request.needed().map_or(0, |needed| needed.ops as c_int);
    request.plan(room).map_or_else(|error| show(&error), |plan: Plan<'_>| show(&plan)) + needed
}

/// Spawns with low numbers, and a plan again.
#[unsafe(no_mangle)]
pub extern "C" fn archive_again(request: &Request<'_>, room: &mut Buffer) -> c_int {
    let Ok(low) = LowFds::claim(4) else { return 1 };
    if let Err(error) = request.spawn_with(&low, &mut *room) {
        return show(&error);
    }
    match request.plan(room).and_then(|plan| plan.spawn()) {
        Ok(mut process) => manage(&mut process),
        Err(error) => show(&error),
    }
}

/// What is not reached from the above.
///
/// # Safety
///
/// As [`rawspawn::set_inherited_environ`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn archive_rest(environ: *const *const c_char) -> c_int {
    // SAFETY: The caller vouches for it.
    unsafe { rawspawn::set_inherited_environ(environ) };
    // SAFETY: As above.
    let strings = unsafe { CStrArray::from_ptr(environ) };
    let found = strings.iter().count() + usize::from(strings.is_empty());
    let kernel = Kernel::probe().map_or_else(|error| show(&error), |_| 0);
    let pipe = rawspawn::pipe().map_or_else(|errno| show(&errno), |(reader, _)| reader.raw());
    found as c_int + kernel + pipe + SigSet::ALL.iter().count() as c_int
}

fn manage(process: &mut Process) -> c_int {
    let ends = [
        process.try_wait().map(|_| ()),
        process.wait_timeout(Duration::from_secs(1)).map(|_| ()),
        process.kill(),
        process.wait_with_usage().map(|_| ()),
    ];
    let failed = ends.iter().filter(|end| end.is_err()).count() as c_int;
    failed + process.wait().map_or_else(|errno| show(&errno), |status| show(&status))
}

fn show(what: &dyn fmt::Display) -> c_int {
    /// Counts what is printed.
    struct Count(c_int);
    impl Write for Count {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.wrapping_add(text.len() as c_int);
            Ok(())
        }
    }
    let mut count = Count(0);
    let _ = write!(count, "{what}");
    count.0
}

/// A hook, so that it is linked as a user's would be.
#[unsafe(no_mangle)]
pub extern "C" fn archive_hook(data: *mut c_void) -> c_int {
    c_int::from(data.is_null())
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}
