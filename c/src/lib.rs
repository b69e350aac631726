//! rawspawn for C: see `rawspawn.h` and rawspawn(3).
//!
//! Nothing is allocated, unless the caller asks for it, and nothing is needed from outside: not
//! even a C library.
#![no_std]
#![allow(unsafe_code)]
// C's pointers, which are the callers' to vouch for: rawspawn.h.
#![allow(clippy::missing_safety_doc)]
// And comments for C.
#![allow(clippy::doc_markdown)]

pub mod abi;
mod error;
mod kept;
mod memory;
mod request;
mod room;
mod steps;
mod sys;
mod text;

use core::ffi::{c_char, c_int, c_void};
use core::mem::MaybeUninit;
use core::panic::PanicInfo;
use core::ptr;
use core::slice;
use core::time::Duration;

use rawspawn::{Errno, Feature, LowFds, Needed, Process, Storage};

use crate::abi::{Child, Error, Job, Mode, Plan, Reason, Refused, Request, Step};
use crate::kept::{keep, kept, kept_mut, take};
use crate::room::{Room, TOO_SMALL, in_pages};

/// Spawns what request describes, and returns when it has been executed, or why it could not be.
///
/// Returns 0, or an error number, of which error says more. child and error may be NULL. Of a spawn
/// that failed nothing remains: no child and no descriptor; child->pid is 0 then, which is not for
/// kill(2), to which it means the caller's own group. (In RAWSPAWN_MODE_STUB it sends SIGCHLD, if it fails late.)
///
/// May be called by several threads, with the same request if its hook_stack is NULL. Takes up to
/// 17 KiB of stack.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rawspawn(
    request: *const Request,
    child: *mut Child,
    error: *mut Error,
) -> c_int {
    let mut frame = Frame::new();
    // SAFETY: The caller's promises.
    let mut result = unsafe { spawn(request, &mut frame.0, false) };
    if is_too_small(&result) {
        // SAFETY: As above.
        result = unsafe { spawn(request, &mut frame.0, true) };
    }
    // SAFETY: As above; it was read, or that would be the error.
    let maps = || unsafe { (*request).flags } & abi::RAWSPAWN_MAP_MEMORY != 0;
    if is_too_small(&result) && maps() {
        // SAFETY: As above.
        result = in_pages(|bytes| unsafe { spawn(request, bytes, true) });
    }
    // SAFETY: The caller's places.
    unsafe { tell(result, child, error) }
}

/// Compiles request, into size bytes at room, to be spawned as often as wanted.
///
/// If there are too few, and if room is NULL, that is ENOBUFS, and *size is how many it takes. (To
/// find that out of a long request, memory is mapped until it returns.) low_fds must be NULL. The
/// plan refers to what the request does, which must stay and be unchanged as long as the plan is
/// used, and so must room; there is nothing to release.
///
/// What the plan knows of the process and the kernel is from now: it belongs to this process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rawspawn_plan(
    request: *const Request,
    room: *mut c_void,
    size: *mut usize,
    plan: *mut *const Plan,
    error: *mut Error,
) -> c_int {
    if size.is_null() {
        // SAFETY: The caller's place.
        return unsafe { report(Error::refused(Step::Plan, 0, Refused::Missing), error) };
    }
    // SAFETY: The caller's number.
    let bytes = if room.is_null() { 0 } else { unsafe { *size } };
    let start = if room.is_null() { ptr::dangling_mut() } else { room.cast() };
    // SAFETY: The caller's memory.
    let bytes = unsafe { slice::from_raw_parts_mut(start, bytes) };
    // SAFETY: The caller's promises.
    let mut result = unsafe { compile(request, bytes) };
    if result.is_err_and(|error| error.is_too_small()) {
        // SAFETY: As above.
        let mut measured = unsafe { measure(request, &mut Frame::new().0) };
        if is_too_small(&measured) {
            // SAFETY: As above.
            measured = in_pages(|bytes| unsafe { measure(request, bytes) });
        }
        match measured {
            // SAFETY: The caller's number.
            Ok(needed) => unsafe { size.write(needed) },
            Err(other) => result = Err(other),
        }
    }
    match result {
        Ok(compiled) => {
            // SAFETY: The caller's place.
            unsafe { plan.write(compiled) };
            0
        }
        // SAFETY: The caller's place.
        Err(failure) => unsafe { report(failure, error) },
    }
}

/// Spawns the program of a plan, as rawspawn() does. By several threads at once, if wanted and
/// hook_stack was NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rawspawn_spawn(
    plan: *const Plan,
    child: *mut Child,
    error: *mut Error,
) -> c_int {
    // SAFETY: What `rawspawn_plan` has made, or NULL.
    let plan = unsafe { plan.cast::<rawspawn::Plan<'_>>().as_ref() };
    let result = plan.ok_or(Error::refused(Step::Plan, 0, Refused::Missing));
    let result = result.and_then(|plan| plan.spawn().map_err(Error::from));
    // SAFETY: The caller's places.
    unsafe { tell(result, child, error) }
}

/// Starts the programs of count jobs together, and returns when each has been executed or has
/// failed. The children are set up in parallel, as far as they need not hold the caller.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rawspawn_all(jobs: *mut Job, count: usize) {
    /// Not more at once than there is stack for.
    const MOST: usize = 32;
    if count == 0 {
        return;
    }
    // SAFETY: As many of the caller's.
    let jobs = unsafe { slice::from_raw_parts_mut(jobs, count) };
    for jobs in jobs.chunks_mut(MOST) {
        let mut room = [const { MaybeUninit::<rawspawn::Job<'_>>::uninit() }; MOST];
        let mut started = 0;
        for job in &*jobs {
            // SAFETY: What `rawspawn_plan` has made, or NULL.
            let plan = unsafe { job.plan.cast::<rawspawn::Plan<'_>>().as_ref() };
            if let (Some(plan), Some(place)) = (plan, room.get_mut(started)) {
                place.write(rawspawn::Job::new(plan));
                started += 1;
            }
        }
        let start = room.as_mut_ptr().cast::<rawspawn::Job<'_>>();
        // SAFETY: As many have been written.
        let mine = unsafe { slice::from_raw_parts_mut(start, started) };
        rawspawn::spawn_all(mine);
        let mut mine = mine.iter_mut();
        for job in jobs {
            let of = if job.plan.is_null() { None } else { mine.next() };
            let result = of.and_then(rawspawn::Job::take);
            let none = Err(Error::refused(Step::Plan, 0, Refused::Missing));
            let result = result.map_or(none, |result| result.map_err(Error::from));
            // SAFETY: The caller's job.
            job.result = unsafe { tell(result, &raw mut job.child, &raw mut job.error) };
        }
    }
}

/// Writes what the child of plan executes, like strace(1), to size bytes at text, as far as it
/// fits, and a NUL. Returns the length of all of it, as snprintf(3) does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rawspawn_print(
    plan: *const Plan,
    text: *mut c_char,
    size: usize,
) -> usize {
    // SAFETY: What `rawspawn_plan` has made.
    let plan = unsafe { &*plan.cast::<rawspawn::Plan<'_>>() };
    // SAFETY: The caller's bytes.
    unsafe { text::write(text, size, plan) }
}

/// Writes what error says, such as "open a file (item 2): No such file or directory (ENOENT)", to
/// size bytes at text, as rawspawn_print() does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rawspawn_strerror(
    error: *const Error,
    text: *mut c_char,
    size: usize,
) -> usize {
    // SAFETY: The caller's error.
    let error = unsafe { &*error };
    // SAFETY: The caller's bytes.
    unsafe { text::write(text, size, error) }
}

/// Waits until the child has ended, and reaps it: its status, as waitpid(2) gives it, is written to
/// status, if that is not NULL. Asked again it says the same.
///
/// timeout is in nanoseconds: 0 does not wait, a negative one waits as long as it takes. ETIMEDOUT
/// says that the child has not ended; ECHILD that somebody else has reaped it, or that SIGCHLD is
/// ignored. With a timeout: Linux 5.3.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rawspawn_wait(
    child: *mut Child,
    timeout: i64,
    status: *mut c_int,
) -> c_int {
    // SAFETY: The caller's child.
    let Some(process) = (unsafe { process(child) }) else { return Errno::ECHILD.raw() };
    let result = match u64::try_from(timeout) {
        Err(_) => process.wait().map(Some),
        Ok(0) => process.try_wait(),
        Ok(nanos) => process.wait_timeout(Duration::from_nanos(nanos)),
    };
    let result = result.and_then(|status| status.ok_or(Errno::ETIMEDOUT));
    // SAFETY: NULL, or the caller's number.
    match (result, unsafe { status.as_mut() }) {
        (Ok(found), Some(place)) => *place = found.raw(),
        (Ok(_), None) => {}
        (Err(errno), _) => return errno.raw(),
    }
    0
}

/// Waits as rawspawn_wait() without a timeout does, and says what the child has used. ECHILD after
/// another wait. status and usage may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rawspawn_wait_usage(
    child: *mut Child,
    status: *mut c_int,
    usage: *mut abi::Rusage,
) -> c_int {
    // SAFETY: The caller's child.
    let Some(process) = (unsafe { process(child) }) else { return Errno::ECHILD.raw() };
    match process.wait_with_usage() {
        Ok((found, used)) => {
            // SAFETY: NULL, or the caller's number.
            if let Some(place) = unsafe { status.as_mut() } {
                *place = found.raw();
            }
            // SAFETY: NULL, or the caller's structure, which C libraries lay out as the kernel does.
            if let Some(place) = unsafe { usage.cast::<rawspawn::Rusage>().as_mut() } {
                *place = used;
            }
            0
        }
        Err(errno) => errno.raw(),
    }
}

/// Sends signal to the child, through its pidfd if there is one. ESRCH after rawspawn_wait() has
/// said how it ended; of a child that somebody else has waited for it knows nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rawspawn_kill(child: *const Child, signal: c_int) -> c_int {
    // SAFETY: The caller's child.
    let words = unsafe { &raw const (*child).opaque };
    // SAFETY: What `put` has made.
    let Some(process) = (unsafe { kept::<Process, CHILD_WORDS>(words) }) else {
        return Errno::ESRCH.raw();
    };
    process.signal(signal).map_or_else(Errno::raw, |()| 0)
}

/// Closes the pidfd of the child, if it has one. (Never by close(2): the library would go on to use
/// the number.) It can be waited for, and be sent signals, then too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rawspawn_close(child: *mut Child) {
    // SAFETY: The caller's child.
    let fd = unsafe { rawspawn_take_pidfd(child) };
    if fd >= 0 {
        sys::close(fd);
    }
}

/// Gives the pidfd away, or -1: it is the caller's to close then. The child is as after
/// rawspawn_close().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rawspawn_take_pidfd(child: *mut Child) -> c_int {
    // SAFETY: The caller's child.
    let fd = unsafe { process(child) }.and_then(Process::take_pidfd);
    if fd.is_some() {
        // SAFETY: As above.
        unsafe { (*child).pidfd = -1 };
    }
    fd.unwrap_or(-1)
}

/// Makes a pipe: fds[0] to read, fds[1] to write, both close-on-exec, and above 2 even where standard
/// streams are closed, so that no map to those overwrites them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rawspawn_pipe(fds: *mut c_int) -> c_int {
    match rawspawn::pipe() {
        Ok((reader, writer)) => {
            let ends = [reader.into_raw(), writer.into_raw()];
            // SAFETY: Room for two numbers.
            unsafe { fds.cast::<[c_int; 2]>().write(ends) };
            0
        }
        Err(errno) => errno.raw(),
    }
}

/// Claims the count lowest free descriptors above 2, at most 16, and one more, for
/// request.low_fds: in a process with thousands of them open the child need not copy all of the
/// table to be given a few. Early, when there are low ones.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rawspawn_low_fds_claim(low_fds: *mut abi::LowFds, count: usize) -> c_int {
    let claimed = LowFds::claim(count);
    let result = claimed.as_ref().map_or_else(|errno| errno.raw(), |_| 0);
    let mut filled = abi::LowFds { opaque: [0; 12] };
    if let Ok(low) = claimed {
        keep(&mut filled.opaque, low);
    }
    // SAFETY: The caller's structure.
    unsafe { low_fds.write(filled) };
    result
}

/// Closes them. No spawn may have them any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rawspawn_low_fds_release(low_fds: *mut abi::LowFds) {
    // SAFETY: The caller's structure.
    let words = unsafe { &raw mut (*low_fds).opaque };
    // SAFETY: What `rawspawn_low_fds_claim` has made.
    drop(unsafe { take::<LowFds, 12>(words) });
}

/// What the running kernel offers, RAWSPAWN_FEATURE_*: as the first spawn found out, or anew if that
/// is not 0, as after a seccomp filter was installed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rawspawn_kernel(
    anew: c_int,
    features: *mut u32,
    error: *mut Error,
) -> c_int {
    let found = if anew != 0 { rawspawn::Kernel::probe() } else { rawspawn::Kernel::current() };
    match found {
        Ok(kernel) => {
            let bits = Feature::ALL.into_iter().filter(|feature| kernel.has(*feature));
            // SAFETY: NULL, or the caller's number.
            if let Some(place) = unsafe { features.as_mut() } {
                *place = bits.fold(0, |all, feature| all | feature as u32);
            }
            0
        }
        // SAFETY: The caller's place.
        Err(failure) => unsafe { report(failure.into(), error) },
    }
}

/// The version of the library: RAWSPAWN_VERSION of its header.
#[unsafe(no_mangle)]
pub extern "C" fn rawspawn_version() -> u32 {
    abi::RAWSPAWN_VERSION
}

/// Words of a child that are the library's.
const CHILD_WORDS: usize = 8;

/// Room on the stack.
#[repr(align(64))]
struct Frame([MaybeUninit<u8>; 8192]);

impl Frame {
    fn new() -> Self {
        Self([MaybeUninit::uninit(); 8192])
    }
}

fn is_too_small<T>(result: &Result<T, Error>) -> bool {
    result.as_ref().is_err_and(Error::is_too_small)
}

/// Spawns `request`, compiled into `bytes`: at first glance, or exactly as large as it must be.
///
/// # Safety
///
/// What rawspawn.h says of a request.
unsafe fn spawn(
    request: *const Request,
    bytes: &mut [MaybeUninit<u8>],
    exactly: bool,
) -> Result<Process, Error> {
    let mut room = Room::new(bytes);
    // SAFETY: The caller's promise.
    let (request, from) = unsafe { request::build(request, &mut room) }?;
    let needed = if exactly { request.needed()? } else { share(room.left()) };
    let storage = Storage::in_bytes(room.rest(), needed).ok_or(TOO_SMALL)?;
    let low = if from.low_fds.is_null() {
        None
    } else {
        // SAFETY: The caller's structure.
        let words = unsafe { &raw const (*from.low_fds).opaque };
        // SAFETY: What `rawspawn_low_fds_claim` has made, or nothing; who releases it does so when
        // no spawn has it.
        unsafe { kept::<LowFds, 12>(words) }
    };
    let result = match low {
        Some(low) => request.spawn_with(low, storage),
        None => request.spawn(storage),
    };
    result.map_err(Error::from)
}

/// What most requests need, in `bytes`: four times as many for system calls as for texts.
fn share(bytes: usize) -> Needed {
    let ops = bytes / 80;
    Needed { ops: ops.saturating_sub(1), words: ops }
}

/// Compiles `request` into `bytes`, to a plan that is there too.
///
/// # Safety
///
/// As for [`spawn`], as long as the plan is used.
unsafe fn compile(
    request: *const Request,
    bytes: &mut [MaybeUninit<u8>],
) -> Result<*const Plan, Error> {
    let mut room = Room::new(bytes);
    let place = room.take_one::<rawspawn::Plan<'_>>()?;
    // SAFETY: The caller's promise.
    let (request, from) = unsafe { request::build(request, &mut room) }?;
    // Whoever spawns it would have to claim them.
    if !from.low_fds.is_null() {
        return Err(Error::refused(Step::Plan, 0, Refused::NoEffect));
    }
    let storage = Storage::in_bytes(room.rest(), request.needed()?).ok_or(TOO_SMALL)?;
    Ok(ptr::from_ref(place.write(request.plan(storage)?)).cast())
}

/// How many bytes [`compile`] needs, wherever they begin.
///
/// # Safety
///
/// As for [`spawn`].
unsafe fn measure(request: *const Request, bytes: &mut [MaybeUninit<u8>]) -> Result<usize, Error> {
    let all = bytes.len();
    let mut room = Room::new(bytes);
    room.take_one::<rawspawn::Plan<'_>>()?;
    // SAFETY: The caller's promise.
    let (request, _) = unsafe { request::build(request, &mut room) }?;
    let used = all - room.left();
    Ok(used + align_of::<u128>() + request.needed()?.bytes())
}

/// Tells C what came of a spawn.
///
/// # Safety
///
/// NULL or room for a child; NULL or room for an error.
unsafe fn tell(result: Result<Process, Error>, child: *mut Child, error: *mut Error) -> c_int {
    let (process, failure) = match result {
        Ok(process) => (Some(process), None),
        Err(failure) => (None, Some(failure)),
    };
    if !child.is_null() {
        // SAFETY: The caller's promise.
        unsafe { put(process, child) };
    }
    // SAFETY: The caller's promise.
    failure.map_or(0, |failure| unsafe { report(failure, error) })
}

/// # Safety
///
/// NULL or room for an error.
unsafe fn report(failure: Error, place: *mut Error) -> c_int {
    // SAFETY: The caller's promise.
    if let Some(place) = unsafe { place.as_mut() } {
        *place = failure;
    }
    failure.number
}

/// Fills C's structure with `process`, or with none.
///
/// # Safety
///
/// Room for a child.
unsafe fn put(process: Option<Process>, place: *mut Child) {
    let mut child = Child { pid: 0, pidfd: -1, mode: 0, reason: 0, opaque: [0; CHILD_WORDS] };
    if let Some(process) = process {
        child.pid = process.pid();
        child.pidfd = process.pidfd().unwrap_or(-1);
        child.mode = mode(process.mode()) as u32;
        child.reason = reason(process.reason()) as u32;
        keep(&mut child.opaque, process);
    }
    // SAFETY: The caller's promise.
    unsafe { place.write(child) };
}

fn mode(mode: rawspawn::Mode) -> Mode {
    match mode {
        rawspawn::Mode::Fork => Mode::Fork,
        rawspawn::Mode::Stub => Mode::Stub,
        rawspawn::Mode::Detached => Mode::Detached,
        rawspawn::Mode::Vfork => Mode::Vfork,
        _ => Mode::Other,
    }
}

fn reason(reason: rawspawn::Reason) -> Reason {
    match reason {
        rawspawn::Reason::Default => Reason::Default,
        rawspawn::Reason::Asked => Reason::Asked,
        rawspawn::Reason::Credentials => Reason::Credentials,
        rawspawn::Reason::Hook => Reason::Hook,
        rawspawn::Reason::Kernel => Reason::Kernel,
        rawspawn::Reason::OomScoreAdj => Reason::OomScoreAdj,
        rawspawn::Reason::Namespaces => Reason::Namespaces,
        rawspawn::Reason::Memory => Reason::Memory,
        rawspawn::Reason::Parent => Reason::Parent,
        rawspawn::Reason::Cgroup => Reason::Cgroup,
        rawspawn::Reason::Traced => Reason::Traced,
        _ => Reason::Other,
    }
}

/// The process of a child, if it is one.
///
/// # Safety
///
/// A child of the caller's that nobody else uses at the time.
unsafe fn process<'c>(child: *mut Child) -> Option<&'c mut Process> {
    // SAFETY: The caller's promise.
    let words = unsafe { &raw mut (*child).opaque };
    // SAFETY: What `put` has made.
    unsafe { kept_mut::<Process, CHILD_WORDS>(words) }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    sys::abort()
}
