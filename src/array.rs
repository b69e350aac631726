//! NULL-terminated arrays of C strings, as execve(2) takes them.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char};
use core::fmt;
use core::marker::PhantomData;
use core::ptr;

/// An element of a [`CStrArray`]: a C string, or the NULL that ends the array.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct CStrPtr<'a>(*const c_char, PhantomData<&'a CStr>);

// SAFETY: It is a `&CStr` or nothing, and `&CStr` is `Send`.
unsafe impl Send for CStrPtr<'_> {}
// SAFETY: As above; there is no way to write through it.
unsafe impl Sync for CStrPtr<'_> {}

impl<'a> CStrPtr<'a> {
    /// The end of an array.
    pub const NULL: Self = Self(ptr::null(), PhantomData);

    /// The string `string`.
    pub const fn new(string: &'a CStr) -> Self {
        Self(string.as_ptr(), PhantomData)
    }
}

/// A NULL-terminated array of C strings: `argv` or `envp`.
///
/// [`argv!`](crate::argv) makes one without allocation.
#[derive(Clone, Copy)]
pub struct CStrArray<'a>(*const CStrPtr<'a>, PhantomData<&'a [CStrPtr<'a>]>);

// SAFETY: It is a shared reference to `CStrPtr`s, which are `Sync`.
unsafe impl Send for CStrArray<'_> {}
// SAFETY: As above.
unsafe impl Sync for CStrArray<'_> {}

impl<'a> CStrArray<'a> {
    /// The array without a string.
    pub const EMPTY: CStrArray<'static> = CStrArray(&raw const NULL, PhantomData);

    /// The strings of `array` up to its first NULL; `None` where there is none.
    pub const fn new(array: &'a [CStrPtr<'a>]) -> Option<Self> {
        let mut rest = array;
        while let [first, tail @ ..] = rest {
            if first.0.is_null() {
                return Some(Self(array.as_ptr(), PhantomData));
            }
            rest = tail;
        }
        None
    }

    /// The strings of an array that has its NULL; empty without one.
    #[doc(hidden)]
    pub const fn terminated(array: &'a [CStrPtr<'a>]) -> Self {
        match Self::new(array) {
            Some(array) => array,
            None => CStrArray::EMPTY,
        }
    }

    /// The array at `array`, such as C's `environ` or `argv`.
    ///
    /// # Safety
    ///
    /// `array` must point to pointers to NUL-terminated strings with a NULL
    /// behind them, all of which stay valid and unchanged for `'a`.
    pub const unsafe fn from_ptr(array: *const *const c_char) -> Self {
        Self(array.cast(), PhantomData)
    }

    /// The pointer that execve(2) takes.
    pub const fn as_ptr(self) -> *const *const c_char {
        self.0.cast()
    }

    /// Whether the array has no string.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }

    /// The strings.
    pub fn iter(self) -> Iter<'a> {
        Iter(self)
    }

    /// The array without its first string: a program's arguments without its
    /// own name.
    pub fn after_first(self) -> Self {
        let mut rest = self.iter();
        rest.next();
        rest.0
    }

    /// The value of the environment variable `name`.
    pub(crate) fn variable(self, name: &[u8]) -> Option<&'a [u8]> {
        self.iter().find_map(|entry| value(entry, name))
    }
}

/// The value of the variable `name`, if `entry` of an environment is that.
pub(crate) fn value<'a>(entry: &'a CStr, name: &[u8]) -> Option<&'a [u8]> {
    let (key, rest) = entry.to_bytes().split_at_checked(name.len())?;
    // Not `==`, which is a call of C's bcmp.
    let (b'=', value) = rest.split_first()? else { return None };
    key.iter().eq(name).then_some(value)
}

impl fmt::Debug for CStrArray<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

impl<'a> IntoIterator for CStrArray<'a> {
    type Item = &'a CStr;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The strings of a [`CStrArray`].
#[derive(Clone, Debug)]
pub struct Iter<'a>(CStrArray<'a>);

impl<'a> Iterator for Iter<'a> {
    type Item = &'a CStr;

    fn next(&mut self) -> Option<&'a CStr> {
        // SAFETY: The array ends with a NULL, and the pointer does not move on
        // from there.
        let first = unsafe { *self.0.0 };
        if first.0.is_null() {
            return None;
        }
        // SAFETY: `first` was not the NULL, so another element follows.
        self.0.0 = unsafe { self.0.0.add(1) };
        // SAFETY: What is not NULL came from a `&'a CStr`, or from a caller of
        // `from_ptr` who promised as much.
        Some(unsafe { c_str(first.0) })
    }
}

/// The C string at `start`.
///
/// # Safety
///
/// As `CStr::from_ptr`.
#[cfg(feature = "std")]
pub(crate) unsafe fn c_str<'a>(start: *const c_char) -> &'a CStr {
    // SAFETY: The caller's promise.
    unsafe { CStr::from_ptr(start) }
}

/// `CStr::from_ptr` without its call of `strlen`, which a program without a C
/// library does not have.
///
/// # Safety
///
/// As `CStr::from_ptr`.
#[cfg(not(feature = "std"))]
pub(crate) unsafe fn c_str<'a>(start: *const c_char) -> &'a CStr {
    let mut end = start;
    // Volatile, or LLVM makes the loop that very call.
    // SAFETY: `end` is not behind the NUL.
    while unsafe { end.read_volatile() } != 0 {
        // SAFETY: The NUL is still ahead.
        end = unsafe { end.add(1) };
    }
    let length = end.addr() - start.addr() + 1;
    // SAFETY: `length` bytes up to the NUL, which the caller vouches for.
    let bytes = unsafe { core::slice::from_raw_parts(start.cast(), length) };
    // SAFETY: The only NUL is the last byte.
    unsafe { CStr::from_bytes_with_nul_unchecked(bytes) }
}

/// What [`CStrArray::EMPTY`] points to.
static NULL: CStrPtr<'static> = CStrPtr::NULL;

/// Makes a [`CStrArray`] of `&CStr`s on the spot, without allocation.
///
/// ```
/// let argv = rawspawn::argv![c"ls", c"-l"];
/// assert_eq!(argv.iter().count(), 2);
/// ```
///
/// Literals make an array that lives for ever; other expressions one that lives
/// as long as the statement. To keep the latter longer, keep the elements:
///
/// ```
/// use rawspawn::{CStrArray, CStrPtr};
///
/// let name = std::ffi::CString::new("ls").unwrap();
/// let elements = [CStrPtr::new(&name), CStrPtr::NULL];
/// let argv = CStrArray::new(&elements).unwrap();
/// assert_eq!(argv.iter().next(), Some(c"ls"));
/// ```
#[macro_export]
macro_rules! argv {
    ($($string:literal),* $(,)?) => {{
        const ELEMENTS: &[$crate::CStrPtr<'static>] = $crate::argv!(@ $($string),*);
        $crate::CStrArray::terminated(ELEMENTS)
    }};
    ($($string:expr),* $(,)?) => {
        $crate::CStrArray::terminated($crate::argv!(@ $($string),*))
    };
    (@ $($string:expr),*) => {
        &[$($crate::CStrPtr::new($string),)* $crate::CStrPtr::NULL]
    };
}

#[cfg(test)]
mod tests {
    use super::{CStrArray, CStrPtr};

    #[test]
    fn an_array_needs_its_null() {
        assert!(CStrArray::new(&[]).is_none());
        assert!(CStrArray::new(&[CStrPtr::new(c"a")]).is_none());
        let array = [CStrPtr::new(c"a"), CStrPtr::NULL, CStrPtr::new(c"b")];
        assert_eq!(CStrArray::new(&array).map(|array| array.iter().count()), Some(1));
        assert!(CStrArray::EMPTY.is_empty());
    }

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let env = crate::argv![c"PATHS=1", c"PATH=/bin", c"PATH=/usr/bin", c"NONE"];
        assert_eq!(env.variable(b"PATH"), Some(&b"/bin"[..]));
        assert_eq!(env.variable(b"NONE"), None);
    }
}
