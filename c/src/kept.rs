//! What the library keeps in a structure of the caller's, with a mark that it is there: a structure
//! that was never filled, or of a spawn that failed, is told from one that was.

/// The last of the words.
const MARK: u64 = u64::from_ne_bytes(*b"rawspawn");

/// Keeps `value` in `words`.
pub(crate) fn keep<T, const N: usize>(words: &mut [u64; N], value: T) {
    const { assert!(size_of::<T>() <= size_of::<[u64; N]>() - size_of::<u64>()) };
    const { assert!(align_of::<T>() <= align_of::<u64>()) };
    if let Some(last) = words.last_mut() {
        *last = MARK;
    }
    // SAFETY: It fits in front of the mark.
    unsafe { words.as_mut_ptr().cast::<T>().write(value) };
}

/// The value in `words`, if there is one. (Not by a reference to the words: it may change inside.)
///
/// # Safety
///
/// Words, which if marked are from [`keep`], of the same type, and which stay.
pub(crate) unsafe fn kept<'k, T, const N: usize>(words: *const [u64; N]) -> Option<&'k T> {
    // SAFETY: The caller's promise.
    let last = unsafe { words.cast::<u64>().add(N - 1) };
    // SAFETY: As above.
    let there = unsafe { last.read() } == MARK;
    // SAFETY: As above.
    there.then(|| unsafe { &*words.cast() })
}

/// As [`kept`], to be changed.
///
/// # Safety
///
/// As there, and nobody else uses them.
pub(crate) unsafe fn kept_mut<'k, T, const N: usize>(words: *mut [u64; N]) -> Option<&'k mut T> {
    // SAFETY: The caller's promise.
    let there = unsafe { kept::<T, N>(words) }.is_some();
    // SAFETY: As above.
    there.then(|| unsafe { &mut *words.cast() })
}

/// Takes the value out of `words`, if there is one.
///
/// # Safety
///
/// As for [`kept_mut`].
pub(crate) unsafe fn take<T, const N: usize>(words: *mut [u64; N]) -> Option<T> {
    // SAFETY: The caller's promise.
    let value: &mut T = unsafe { kept_mut(words) }?;
    // SAFETY: Nobody finds it there any more.
    let value = unsafe { core::ptr::read(value) };
    // SAFETY: The caller's promise.
    unsafe { words.write([0; N]) };
    Some(value)
}
