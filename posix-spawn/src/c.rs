//! What is taken of the C library: its memory, `PATH`, and that a thread is not cancelled
//! meanwhile. And of the kernel.

use core::ffi::{CStr, c_char, c_int, c_ulong, c_void};
use core::ptr;

use rawspawn::SigSet;

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
    "rawspawn_confstr" to "confstr": fn confstr(name: c_int, start: *mut c_char, size: usize) -> usize;
    "rawspawn_getauxval" to "getauxval": fn getauxval(kind: c_ulong) -> c_ulong;
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

/// Opens the file at `path`.
pub(crate) fn open(path: &CStr, flags: usize) -> Option<c_int> {
    const AT_FDCWD: usize = -100isize as usize;
    let (path, mode) = (path.as_ptr() as usize, 0o666);
    // SAFETY: A C string.
    let fd = unsafe { sc::syscall4(sc::nr::OPENAT, AT_FDCWD, path, flags, mode) };
    c_int::try_from(fd).ok()
}

/// Reads what comes next; nothing at the end, or if that fails.
pub(crate) fn read(fd: c_int, bytes: &mut [u8]) -> &[u8] {
    let (start, room) = (bytes.as_mut_ptr() as usize, bytes.len());
    // SAFETY: As many bytes of an array.
    let read = unsafe { sc::syscall3(sc::nr::READ, fd as usize, start, room) };
    bytes.get(..read).unwrap_or_default()
}

const PTHREAD_CANCEL_DISABLE: c_int = 1;

/// The signals that C libraries keep to themselves: to cancel a thread, to set ids of all.
const INTERNAL: SigSet = SigSet::EMPTY.with(32).with(33);

/// `SIGSYS`, which is not blocked: a filter's trap is for the program's handler, which answers
/// in the place of the kernel. If it could not, the kernel would end the program.
const TRAP: i32 = 31;

/// Keeps this thread from being cancelled and from handling signals, as long as it lives.
///
/// The first takes both: a signal that was sent before cancellation was disabled is obeyed by
/// glibc after it. And a handler would see a child whose pid the caller has not been told.
pub(crate) struct Undisturbed {
    state: c_int,
    mask: SigSet,
}

impl Undisturbed {
    pub(crate) fn new() -> Self {
        let mut state = 0;
        // SAFETY: It writes one number.
        unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut state) };
        Self { state, mask: set_mask(SigSet::ALL.without(TRAP)) }
    }

    /// The mask that the thread had, and has again.
    pub(crate) fn mask(&self) -> SigSet {
        self.mask
    }
}

impl Drop for Undisturbed {
    fn drop(&mut self) {
        set_mask(self.mask);
        let mut ignored = 0;
        // SAFETY: As above; a state that it has returned.
        unsafe { pthread_setcancelstate(self.state, &raw mut ignored) };
    }
}

/// Sets the mask as the C library does not: it leaves its own signals alone. The mask before.
fn set_mask(signals: SigSet) -> SigSet {
    const SIG_SETMASK: usize = 2;
    let mut before = SigSet::EMPTY;
    let (new, old) = (&raw const signals as usize, &raw mut before as usize);
    // SAFETY: The kernel reads one set and writes another.
    unsafe { sc::syscall4(sc::nr::RT_SIGPROCMASK, SIG_SETMASK, new, old, size_of::<SigSet>()) };
    before
}

/// `signals` but for those that are never blocked by who uses a C library.
pub(crate) fn without_internal(signals: SigSet) -> SigSet {
    SigSet::from_bits(signals.bits() & !INTERNAL.bits())
}

/// Whether the C library is glibc: the one that the program has, which is known when it runs. It has
/// a name for its version, as others have not.
pub(crate) fn is_glibc() -> bool {
    const CS_GNU_LIBC_VERSION: c_int = 2;
    // SAFETY: Without room nothing is written.
    unsafe { confstr(CS_GNU_LIBC_VERSION, ptr::null_mut(), 0) != 0 }
}

/// The value of the variable `name` in the environment of this process.
pub(crate) fn variable(name: &CStr) -> Option<&'static CStr> {
    // SAFETY: A C string. Who changes the environment while another thread searches is at fault.
    let start = unsafe { getenv(name.as_ptr()) };
    // SAFETY: If it is not NULL, a string of the environment.
    (!start.is_null()).then(|| unsafe { CStr::from_ptr(start) })
}

/// Whether the program was given more rights than who executed it has: set-user-ID and the like.
pub(crate) fn has_more_rights() -> bool {
    const AT_SECURE: c_ulong = 23;
    // SAFETY: It reads what the kernel has told of this process.
    unsafe { getauxval(AT_SECURE) != 0 }
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
