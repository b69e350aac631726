//! `posix_spawn(3)` and its kin by rawspawn, for programs that already exist: preloaded, or
//! linked in front of the C library.
//!
//! The semantics are glibc's: the order of the steps, what is an error and which. Every function
//! that touches an attribute or file actions object is defined here, so that what is in one
//! is this library's own.
#![no_std]
#![allow(unsafe_code)]
// C's names, and its pointers, which are the callers' to vouch for: spawn.h.
#![allow(clippy::missing_safety_doc)]

pub mod actions;
pub mod attributes;
mod c;
#[cfg(target_arch = "x86_64")]
mod memory;
mod search;
// The C library's, which has as little below it.
#[path = "../../c/src/sys.rs"]
mod sys;
mod trace;

use core::ffi::{CStr, c_char, c_int};
use core::panic::PanicInfo;

use rawspawn::{
    Buffer, CStrArray, Errno, Error, Exec, OtherFds, Process, Request, SigSet, Step, Storage,
};

use crate::actions::FileActions;
use crate::attributes::{Attributes, flags};

/// The functions that spawn: whether they look the program up, and what they tell of it.
macro_rules! spawners {
    ($(#[doc = $doc:literal] $name:ident $searches:literal $by:expr;)+) => {$(
        #[doc = $doc]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            pid: *mut c_int,
            path: *const c_char,
            actions: *const FileActions,
            attributes: *const Attributes,
            argv: *const *const c_char,
            envp: *const *const c_char,
        ) -> c_int {
            let job = Job { pid, path, actions, attributes, argv, envp, by: $by };
            // SAFETY: The caller's promises.
            unsafe { job.run($searches) }
        }
    )+};
}

spawners! {
    #[doc = "`posix_spawn(3)`."]
    posix_spawn false By::Pid;
    #[doc = "`posix_spawnp(3)`."]
    posix_spawnp true By::Pid;
    #[doc = "`pidfd_spawn(3)`, of glibc 2.39."]
    pidfd_spawn false By::Pidfd;
    #[doc = "`pidfd_spawnp(3)`, of glibc 2.39."]
    pidfd_spawnp true By::Pidfd;
}

/// What the caller is told of the child by.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Pid,
    Pidfd,
}

/// The arguments of a call.
struct Job {
    pid: *mut c_int,
    path: *const c_char,
    actions: *const FileActions,
    attributes: *const Attributes,
    argv: *const *const c_char,
    envp: *const *const c_char,
    by: By,
}

impl Job {
    /// Spawns, and returns 0 or an error number.
    ///
    /// # Safety
    ///
    /// The pointers are what spawn.h says.
    unsafe fn run(self, searches: bool) -> c_int {
        let undisturbed = c::Undisturbed::new();
        // SAFETY: The caller's promise.
        match unsafe { self.spawn(searches, undisturbed.mask()) } {
            Ok(mut process) => {
                let told = match self.by {
                    By::Pid => process.pid(),
                    By::Pidfd => process.take_pidfd().unwrap_or(-1),
                };
                // SAFETY: NULL, or room for a number.
                if let Some(place) = unsafe { self.pid.as_mut() } {
                    *place = told;
                } else if self.by == By::Pidfd {
                    // Nobody could close it.
                    sys::close(told);
                }
                0
            }
            Err(errno) => errno.raw(),
        }
    }

    /// # Safety
    ///
    /// As for [`run`](Self::run).
    unsafe fn spawn(&self, searches: bool, mask: SigSet) -> Result<Process, Errno> {
        static NONE: Attributes = Attributes::NONE;
        // SAFETY: A C string.
        let path = unsafe { CStr::from_ptr(self.path) };
        // SAFETY: NULL, or what `init` has made.
        let attributes = unsafe { self.attributes.as_ref() }.unwrap_or(&NONE);
        // SAFETY: As above.
        let actions = unsafe { self.actions.as_ref() };
        let actions = actions.map_or(Ok(&[][..]), FileActions::as_slice)?;
        let exec = if searches { search::exec(path) } else { Exec::Path(path) };
        // SAFETY: NULL, or an array with a NULL behind it.
        let argv = unsafe { strings(self.argv) };
        // SAFETY: As above.
        let envp = unsafe { strings(self.envp) };
        let posix = attributes.posix(actions)?;
        let mut request = Request::new(exec, argv);
        request.env(envp).other_fds(OtherFds::Inherit).posix(&posix);
        if attributes.has(flags::SETSIGDEF) {
            request.default_signals(SigSet::from_bits(attributes.sigdefault[0]));
        }
        let asked = SigSet::from_bits(attributes.sigmask[0]);
        let mask = if attributes.has(flags::SETSIGMASK) { asked } else { mask };
        request.signal_mask(c::without_internal(mask));
        request.pidfd(self.by == By::Pidfd).leave_dead(true);
        let result = spawn(&request);
        trace::tell(path, &request, &result);
        result.map_err(number)
    }
}

/// The error that the caller is given for `error`.
fn number(error: Error) -> Errno {
    match (error.step(), error.errno()) {
        // No room, as there is no memory.
        (Step::Plan, _) => Errno::ENOMEM,
        (_, Some(errno)) => errno,
        // Of a child that has died, which is left and no error.
        (_, None) => Errno::ECHILD,
    }
}

/// Spawns in room on the stack, where that is too small in pages.
///
/// Callers may have little stack. So the room is small, and not inline: the loader, which takes
/// twice as much for the first call of each function of the C library, comes before it.
#[inline(never)]
fn spawn(request: &Request<'_>) -> Result<Process, Error> {
    match request.spawn(&mut Buffer::<16, 64>::new()) {
        Err(error) if error.step() == Step::Plan => {
            with_room(request, |room| request.spawn(room)).unwrap_or(Err(error))
        }
        result => result,
    }
}

/// What `action` does in pages of the size that the plan of `request` takes. `None` where there is
/// no memory.
fn with_room<R>(request: &Request<'_>, action: impl FnOnce(Storage<'_>) -> R) -> Option<R> {
    let needed = request.needed().ok()?;
    let mut pages = sys::Pages::map(needed.bytes()).ok()?;
    Storage::in_bytes(pages.bytes(), needed).map(action)
}

/// # Safety
///
/// NULL, or an array of C strings with a NULL behind it, that stay.
unsafe fn strings<'a>(array: *const *const c_char) -> CStrArray<'a> {
    if array.is_null() {
        CStrArray::EMPTY
    } else {
        // SAFETY: The caller's promise.
        unsafe { CStrArray::from_ptr(array) }
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    sys::abort()
}
