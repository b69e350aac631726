//! The environment that a child inherits unless told otherwise.
#![allow(unsafe_code)]

use crate::array::CStrArray;

#[cfg(feature = "std")]
mod imp {
    use core::ffi::c_char;

    unsafe extern "C" {
        static environ: *const *const c_char;
    }

    pub(super) fn get() -> *const *const c_char {
        // SAFETY: Every C library on Linux has it, a pointer.
        unsafe { (&raw const environ).read() }
    }
}

#[cfg(not(feature = "std"))]
mod imp {
    use core::ffi::c_char;
    use core::ptr;
    use core::sync::atomic::{AtomicPtr, Ordering};

    static ENVIRON: AtomicPtr<*const c_char> = AtomicPtr::new(ptr::null_mut());

    pub(super) fn get() -> *const *const c_char {
        ENVIRON.load(Ordering::Acquire)
    }

    /// Tells the crate what environment children inherit.
    ///
    /// A program without a C library finds it on its initial stack, behind the
    /// arguments. Only without feature `std`, which reads C's `environ`.
    ///
    /// # Safety
    ///
    /// `environ` must point to pointers to NUL-terminated strings with a NULL
    /// behind them, all of which stay valid for the rest of the program.
    pub unsafe fn set_inherited_environ(environ: *const *const c_char) {
        ENVIRON.store(environ.cast_mut(), Ordering::Release);
    }
}

#[cfg(not(feature = "std"))]
pub use imp::set_inherited_environ;

/// The environment to inherit, if any is known.
pub(crate) fn inherited<'a>() -> Option<CStrArray<'a>> {
    let environ = imp::get();
    // SAFETY: C's `environ`, or what a caller vouched for. The array is only
    // handed to the kernel, which checks what it reads; PATH alone is read here.
    (!environ.is_null()).then(|| unsafe { CStrArray::from_ptr(environ) })
}
