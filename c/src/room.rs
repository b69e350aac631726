//! The caller's memory, of which a request takes what it needs.

use core::mem::{self, MaybeUninit};
use core::slice;

use rawspawn::Errno;

use crate::abi::{Error, Step};
use crate::sys;

/// Memory that is handed out from its start.
pub(crate) struct Room<'r> {
    rest: &'r mut [MaybeUninit<u8>],
}

/// That there is too little of it.
pub(crate) const TOO_SMALL: Error = Error::new(Step::Plan, 0, Errno::ENOBUFS);

impl<'r> Room<'r> {
    pub(crate) fn new(bytes: &'r mut [MaybeUninit<u8>]) -> Self {
        Self { rest: bytes }
    }

    /// What is left.
    pub(crate) fn rest(self) -> &'r mut [MaybeUninit<u8>] {
        self.rest
    }

    /// How much is left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Room for `count` values.
    fn take<T>(&mut self, count: usize) -> Result<&'r mut [MaybeUninit<T>], Error> {
        let rest = mem::take(&mut self.rest);
        let skipped = rest.as_ptr().align_offset(align_of::<T>());
        let size = count.checked_mul(size_of::<T>()).ok_or(TOO_SMALL)?;
        let (_, aligned) = rest.split_at_mut_checked(skipped).ok_or(TOO_SMALL)?;
        let (taken, rest) = aligned.split_at_mut_checked(size).ok_or(TOO_SMALL)?;
        self.rest = rest;
        // SAFETY: As many bytes, aligned, that nobody else has any more.
        Ok(unsafe { slice::from_raw_parts_mut(taken.as_mut_ptr().cast(), count) })
    }

    /// Room for one value.
    pub(crate) fn take_one<T>(&mut self) -> Result<&'r mut MaybeUninit<T>, Error> {
        self.take(1)?.first_mut().ok_or(TOO_SMALL)
    }

    /// Keeps `value`, which is never dropped.
    pub(crate) fn put<T>(&mut self, value: T) -> Result<&'r T, Error> {
        Ok(self.take_one()?.write(value))
    }

    /// Keeps what `make` makes of each item, given its position too.
    pub(crate) fn map<C, T>(
        &mut self,
        items: &'r [C],
        make: impl Fn(usize, &'r C) -> Result<T, Error>,
    ) -> Result<&'r [T], Error> {
        let places = self.take(items.len())?;
        for (place, (index, item)) in places.iter_mut().zip(items.iter().enumerate()) {
            place.write(make(index, item)?);
        }
        // SAFETY: All have been written.
        Ok(unsafe { slice::from_raw_parts(places.as_ptr().cast(), places.len()) })
    }
}

/// What `attempt` makes of pages of this process, which are given back then: of as many as it
/// takes, while it says that they are too few.
pub(crate) fn in_pages<T>(
    attempt: impl Fn(&mut [MaybeUninit<u8>]) -> Result<T, Error>,
) -> Result<T, Error> {
    const FIRST: usize = 64 << 10;
    // No list of arguments that exec takes needs as much.
    const MOST: usize = 256 << 20;
    let mut size = FIRST;
    loop {
        let mut pages = sys::Pages::map(size).map_err(|e| Error::new(Step::Plan, 0, e))?;
        match attempt(pages.bytes()) {
            Err(error) if error.is_too_small() && size < MOST => size *= 4,
            result => return result,
        }
    }
}
