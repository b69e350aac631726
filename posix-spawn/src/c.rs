//! What is taken of the C library: its memory, the environment, and that a thread is not
//! cancelled meanwhile.

use core::ffi::{CStr, c_char, c_int, c_ulong, c_void};

use rawspawn::{Buffer, CStrArray, SigSet};

unsafe extern "C" {
    pub(crate) fn realloc(start: *mut c_void, size: usize) -> *mut c_void;
    pub(crate) fn free(start: *mut c_void);
    pub(crate) fn strdup(string: *const c_char) -> *mut c_char;
    pub(crate) safe fn abort() -> !;
    pub(crate) safe fn close(fd: c_int) -> c_int;
    fn mmap(
        start: *mut c_void,
        size: usize,
        access: c_int,
        kind: c_int,
        fd: c_int,
        at: i64,
    ) -> *mut c_void;
    fn munmap(start: *mut c_void, size: usize) -> c_int;
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
    safe fn getauxval(kind: c_ulong) -> c_ulong;
    static mut environ: *const *const c_char;
}

/// Whether the program was given more rights than who executed it has: set-user-ID and the like.
pub(crate) fn has_more_rights() -> bool {
    const AT_SECURE: c_ulong = 23;
    getauxval(AT_SECURE) != 0
}

const PTHREAD_CANCEL_DISABLE: c_int = 1;

/// The signals that C libraries keep to themselves: to cancel a thread, to set ids of all.
const INTERNAL: SigSet = SigSet::EMPTY.with(32).with(33);

/// Keeps this thread from being cancelled, as long as it lives.
///
/// That takes both: a signal that was sent before cancellation was disabled is obeyed by glibc
/// after it.
pub(crate) struct NoCancellation {
    state: c_int,
    mask: SigSet,
}

impl NoCancellation {
    pub(crate) fn new() -> Self {
        let mut state = 0;
        // SAFETY: It writes one number.
        unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut state) };
        Self { state, mask: change_mask(SIG_BLOCK, INTERNAL) }
    }

    /// The mask that the thread had, and has again.
    pub(crate) fn mask(&self) -> SigSet {
        self.mask
    }
}

impl Drop for NoCancellation {
    fn drop(&mut self) {
        change_mask(SIG_SETMASK, self.mask);
        let mut ignored = 0;
        // SAFETY: As above; a state that it has returned.
        unsafe { pthread_setcancelstate(self.state, &raw mut ignored) };
    }
}

const SIG_BLOCK: usize = 0;
const SIG_SETMASK: usize = 2;

/// Changes the mask as the C library does not: it leaves its own signals alone. The mask before.
fn change_mask(how: usize, signals: SigSet) -> SigSet {
    let mut before = SigSet::EMPTY;
    let (new, old) = (&raw const signals as usize, &raw mut before as usize);
    // SAFETY: The kernel reads one set and writes another.
    unsafe { sc::syscall4(sc::nr::RT_SIGPROCMASK, how, new, old, size_of::<SigSet>()) };
    before
}

/// `signals` but for those that are never blocked by who uses a C library.
pub(crate) fn without_internal(signals: SigSet) -> SigSet {
    SigSet::from_bits(signals.bits() & !INTERNAL.bits())
}

/// The value of the variable `name` in the environment of this process.
pub(crate) fn variable(name: &[u8]) -> Option<&'static CStr> {
    // SAFETY: Who changes the environment while another thread spawns is at fault.
    let start = unsafe { environ };
    if start.is_null() {
        return None;
    }
    // SAFETY: The C library's array.
    let strings = unsafe { CStrArray::from_ptr(start) };
    strings.iter().find_map(|string| {
        let value = string.to_bytes_with_nul().strip_prefix(name)?.strip_prefix(b"=")?;
        CStr::from_bytes_with_nul(value).ok()
    })
}

/// `RLIMIT_NOFILE`, which no descriptor reaches.
pub(crate) fn descriptor_limit() -> u64 {
    const RLIMIT_NOFILE: usize = 7;
    // All are possible where the kernel does not say.
    let mut limit = [u64::MAX; 2];
    // SAFETY: The kernel writes two numbers.
    unsafe { sc::syscall4(sc::nr::PRLIMIT64, 0, RLIMIT_NOFILE, 0, &raw mut limit as usize) };
    limit[0]
}

/// Pages for a long plan. Those that are not touched cost nothing.
pub(crate) struct Room(*mut Long);

type Long = Buffer<65536, 262_144>;

impl Room {
    pub(crate) fn new() -> Option<Self> {
        const READ_WRITE: c_int = 3;
        const PRIVATE_ANONYMOUS: c_int = 0x22;
        let none = core::ptr::null_mut();
        // SAFETY: New pages.
        let start = unsafe { mmap(none, size_of::<Long>(), READ_WRITE, PRIVATE_ANONYMOUS, -1, 0) };
        (start.addr() != usize::MAX).then_some(Self(start.cast()))
    }

    pub(crate) fn buffer(&mut self) -> &mut Long {
        // SAFETY: Ours; a buffer is room, whatever is in it.
        unsafe { &mut *self.0 }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: What `new` has mapped, and nobody has any more.
        unsafe { munmap(self.0.cast(), size_of::<Long>()) };
    }
}
