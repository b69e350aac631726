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

/// The value in `words`, if there is one.
///
/// # Safety
///
/// Words that are marked are from [`keep`], of the same type.
pub(crate) unsafe fn kept<T, const N: usize>(words: &[u64; N]) -> Option<&T> {
    let there = words.last() == Some(&MARK);
    // SAFETY: The caller's promise.
    there.then(|| unsafe { &*words.as_ptr().cast() })
}

/// As [`kept`], to be changed.
///
/// # Safety
///
/// As there.
pub(crate) unsafe fn kept_mut<T, const N: usize>(words: &mut [u64; N]) -> Option<&mut T> {
    let there = words.last() == Some(&MARK);
    // SAFETY: The caller's promise.
    there.then(|| unsafe { &mut *words.as_mut_ptr().cast() })
}

/// Takes the value out of `words`, if there is one.
///
/// # Safety
///
/// As for [`kept`].
pub(crate) unsafe fn take<T, const N: usize>(words: &mut [u64; N]) -> Option<T> {
    // SAFETY: The caller's promise.
    let value = unsafe { kept_mut::<T, N>(words) }?;
    // SAFETY: Nobody finds it there any more.
    let value = unsafe { core::ptr::read(value) };
    *words = [0; N];
    Some(value)
}
