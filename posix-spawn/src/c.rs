//! What is taken of the C library: its memory, the environment, and that a thread is not
//! cancelled meanwhile.

use core::ffi::{CStr, c_char, c_int, c_ulong, c_void};

use rawspawn::{Buffer, CStrArray};

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

/// Keeps this thread from being cancelled, as long as it lives.
pub(crate) struct NoCancellation(c_int);

impl NoCancellation {
    pub(crate) fn new() -> Self {
        let mut before = 0;
        // SAFETY: It writes one number.
        unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut before) };
        Self(before)
    }
}

impl Drop for NoCancellation {
    fn drop(&mut self) {
        let mut ignored = 0;
        // SAFETY: As above; a state that it has returned.
        unsafe { pthread_setcancelstate(self.0, &raw mut ignored) };
    }
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
