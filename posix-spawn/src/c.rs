//! What is taken of the C library: its memory, the environment, and that a thread is not
//! cancelled meanwhile.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;

use rawspawn::{Buffer, Errno, SigSet};

/// Functions of the C library, each by way of a jump.
///
/// A call as Rust makes it has the loader look the function up in every program that the library is
/// loaded into. A jump by the procedure linkage table has that done by the first call.
macro_rules! c_functions {
    ($($jump:literal to $c:literal: fn $name:ident($($argument:ident: $ty:ty),*) $(-> $result:ty)?;)+) => {
        #[cfg(target_arch = "x86_64")]
        core::arch::global_asm!(
            ".pushsection .text.rawspawn_jumps, \"ax\", @progbits",
            $(
                concat!(".globl ", $jump),
                concat!(".hidden ", $jump),
                concat!(".type ", $jump, ", @function"),
                concat!($jump, ": jmp ", $c, "@PLT"),
            )+
            ".popsection",
        );

        unsafe extern "C" {$(
            #[cfg_attr(target_arch = "x86_64", link_name = $jump)]
            pub(crate) fn $name($($argument: $ty),*) $(-> $result)?;
        )+}
    };
}

c_functions! {
    "rawspawn_realloc" to "realloc": fn realloc(start: *mut c_void, size: usize) -> *mut c_void;
    "rawspawn_free" to "free": fn free(start: *mut c_void);
    "rawspawn_getenv" to "getenv": fn getenv(name: *const c_char) -> *const c_char;
    "rawspawn_secure_getenv" to "secure_getenv": fn secure_getenv(name: *const c_char) -> *const c_char;
    "rawspawn_setcancelstate" to "pthread_setcancelstate":
        fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
}

/// A copy of `string`, which `free` takes; NULL where there is no memory.
///
/// # Safety
///
/// A C string.
pub(crate) unsafe fn duplicate(string: *const c_char) -> *mut c_char {
    // SAFETY: The caller's promise.
    let bytes = unsafe { CStr::from_ptr(string) }.to_bytes_with_nul();
    // SAFETY: NULL makes it malloc(3).
    let copy = unsafe { realloc(ptr::null_mut(), bytes.len()) }.cast::<c_char>();
    if !copy.is_null() {
        // SAFETY: As many bytes of either.
        unsafe { copy.copy_from_nonoverlapping(string, bytes.len()) };
    }
    copy
}

/// Closes `fd`.
pub(crate) fn close(fd: c_int) {
    // SAFETY: Touches no memory.
    unsafe { sc::syscall1(sc::nr::CLOSE, fd as usize) };
}

/// Ends the process, as what cannot be has happened.
pub(crate) fn abort() -> ! {
    const SIGABRT: usize = 6;
    loop {
        // SAFETY: Touches no memory.
        let pid = unsafe { sc::syscall0(sc::nr::GETPID) };
        // SAFETY: As above, and ends the process.
        unsafe { sc::syscall2(sc::nr::KILL, pid, SIGABRT) };
        // SAFETY: As above, if that was blocked.
        unsafe { sc::syscall1(sc::nr::EXIT_GROUP, 128 + SIGABRT) };
    }
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
pub(crate) fn variable(name: &CStr) -> Option<&'static CStr> {
    // SAFETY: A C string. Who changes the environment while another thread spawns is at fault.
    value(unsafe { getenv(name.as_ptr()) })
}

/// As [`variable`]; none in a process that was given more rights than who executed it has:
/// set-user-ID and the like.
pub(crate) fn secure_variable(name: &CStr) -> Option<&'static CStr> {
    // SAFETY: As above.
    value(unsafe { secure_getenv(name.as_ptr()) })
}

fn value(start: *const c_char) -> Option<&'static CStr> {
    // SAFETY: If it is not NULL, a string of the environment.
    (!start.is_null()).then(|| unsafe { CStr::from_ptr(start) })
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
        const READ_WRITE: usize = 3;
        const PRIVATE_ANONYMOUS: usize = 0x22;
        let (size, none) = (size_of::<Long>(), usize::MAX);
        // SAFETY: Pages that nobody has yet.
        let start =
            unsafe { sc::syscall6(sc::nr::MMAP, 0, size, READ_WRITE, PRIVATE_ANONYMOUS, none, 0) };
        Errno::from_result(start).is_none().then_some(Self(start as *mut Long))
    }

    pub(crate) fn buffer(&mut self) -> &mut Long {
        // SAFETY: Ours; a buffer is room, whatever is in it.
        unsafe { &mut *self.0 }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: What `new` has mapped, and nobody has any more.
        unsafe { sc::syscall2(sc::nr::MUNMAP, self.0 as usize, size_of::<Long>()) };
    }
}
