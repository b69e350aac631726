//! The child has a copy of the parent's memory, and the calling thread waits.
//!
//! The frame is in a page that both share. Not a pipe: another thread that forks
//! meanwhile would hold a copy of its writing end, and the parent would wait for
//! that stranger. A parent for whom the child waits, which `CLONE_VFORK` must not suspend,
//! asks. Where there is no answer, under an emulator or as a dead child is to be left, a pipe tells
//! of the exec.

use core::ffi::c_void;
use core::sync::atomic::{AtomicPtr, Ordering};

use super::around::{WAITS, Wanted};
use super::{Frame, clone_flags, make, unnamed_pipe};
use crate::errno::Errno;
use crate::error::Error;
use crate::kernel::{Feature, Kernel};
use crate::mode::Mode;
use crate::plan::{Plan, Step};
use crate::process::Process;
use crate::sys;

pub(super) fn run(plan: &Plan<'_>) -> Result<Process, Error> {
    let failed = |errno| Error::new(Step::Report, 0, errno);
    let page = SharedFrame::new().map_err(failed)?;
    let frame = page.frame();
    let pipe = if tells_by_pipe(plan.kernel, plan.around.wanted, plan.leave_dead) {
        Some(unnamed_pipe(plan).map_err(failed)?)
    } else {
        None
    };
    // SAFETY: The child has its own copy of all but the frame, which stays until
    // `page` goes, after the child's exec or end.
    let made = unsafe { make(plan, frame, clone_flags(plan, Mode::Fork, plan.shares_fds)) }?;
    if let Some((reader, writer)) = pipe {
        drop(writer);
        sys::wait_for_end_of_file(reader.raw());
    }
    made.conclude(plan)
}

/// Whether a pipe tells of the exec. Where a child sends no signal until then, `conclude`
/// asks for one that does; one that is left when it is dead always sends one.
pub(crate) fn tells_by_pipe(kernel: Kernel, around: Wanted, leave_dead: bool) -> bool {
    let suspends = kernel.has(Feature::Suspends) && !around.has(WAITS);
    !suspends && (leave_dead || !kernel.has(Feature::NoExitSignal))
}

impl Frame {
    /// Puts a frame into `page`.
    ///
    /// By atomic stores alone: `ThreadSanitizer` does not see pages come and go, and takes the
    /// frames of two threads, one after the other at one address, for one of both.
    ///
    /// # Safety
    ///
    /// The page is [`sys::map_shared_page`]'s, and nobody else's.
    pub(crate) unsafe fn put_in(page: *mut c_void) {
        let page = page.cast::<Self>();
        let Self { failed, errno, tid, epilogue, released } = Self::new();
        // SAFETY: A place in the page.
        let place = unsafe { &raw mut (*page).epilogue };
        // SAFETY: Of a pointer, aligned, and nobody else's.
        let place = unsafe { AtomicPtr::from_ptr(place.cast::<*mut ()>()) };
        place.store(epilogue.cast_mut(), Ordering::Relaxed);
        // SAFETY: The other fields are zeros, which they may be.
        let frame = unsafe { &*page };
        frame.failed.store(failed.into_inner(), Ordering::Relaxed);
        frame.errno.store(errno.into_inner(), Ordering::Relaxed);
        frame.tid.store(tid.into_inner(), Ordering::Relaxed);
        frame.released.store(released.into_inner(), Ordering::Relaxed);
    }
}

/// A frame in a page of its own, shared with forks.
pub(crate) struct SharedFrame(*mut c_void);

impl SharedFrame {
    pub(crate) fn new() -> Result<Self, Errno> {
        let page = sys::map_shared_page()?;
        // SAFETY: The page is new.
        unsafe { Frame::put_in(page) };
        Ok(Self(page))
    }

    pub(crate) fn frame(&self) -> &Frame {
        // SAFETY: `new` put it there, and what others write of it is atomic.
        unsafe { &*self.0.cast() }
    }
}

impl Drop for SharedFrame {
    fn drop(&mut self) {
        // SAFETY: `frame` borrows from `self`, so no reference is left.
        unsafe { sys::unmap_page(self.0) };
    }
}
