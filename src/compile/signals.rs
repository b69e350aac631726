//! What signals do in the child, and which are blocked.

use linux_raw_sys::general::SIG_SETMASK;

use super::Input;
use crate::errno::Errno;
use crate::error::Error;
use crate::kernel::Feature;
use crate::plan::op::{Arg, Saved, Tag, sys};
use crate::plan::{Step, Writer};
use crate::signal::SigSet;

/// Two `struct kernel_sigaction`, of which only a handler is not 0: `IGNORE` is all of it,
/// `DEFAULT` what follows the handler. At least as long as on any architecture.
static ACTIONS: [usize; 5] = [crate::sys::SIG_IGN, 0, 0, 0, 0];

static ALL: SigSet = SigSet::ALL;

/// `sizeof(sigset_t)` of the kernel.
const SIGSET_SIZE: usize = size_of::<SigSet>();

/// Sets the actions that the request names, and resets what has a handler.
///
/// With `CLONE_CLEAR_SIGHAND` the kernel has reset the handlers. Without, every
/// signal is set to what it is to be: looking first would be a branch, and a
/// race with a thread that installs a handler.
#[inline]
pub(super) fn actions<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    let request = input.request;
    let named = request.to_ignore.bits() | request.to_default.bits();
    let clears = input.kernel.has(Feature::ClearSighand);
    if clears && named == 0 {
        return Ok(());
    }
    let (to_default, to_ignore) = (request.to_default, request.to_ignore);
    let refused = to_ignore.bits() & (to_default.bits() | SigSet::UNCHANGEABLE.bits());
    if let Some(signal) = SigSet::from_bits(refused).iter().next() {
        let index = signal.unsigned_abs() as u16;
        return Err(Error::new(Step::SignalAction, index, Errno::EINVAL));
    }
    let set = if clears { named } else { SigSet::ALL.bits() };
    let inherited = input.caller.ignored.bits() & !to_default.bits();
    let ignored = set & (to_ignore.bits() | inherited);
    // Not by way of the default: a signal that waits would then be obeyed, and not be ignored.
    for (set, action) in [(ignored, &ACTIONS[..4]), (set & !ignored, &ACTIONS[1..])] {
        let set = SigSet::from_bits(set & !SigSet::UNCHANGEABLE.bits());
        if let Some(first) = set.iter().next() {
            let tag = Tag::item(Step::SignalAction, first as usize);
            plan.push(tag, sys!(RT_SIGACTION, Saved, Arg::ptr(action), 0, SIGSET_SIZE))
                .for_each(set);
        }
    }
    Ok(())
}

/// Opens the mask where something has closed it, or sets the one that the request names.
#[inline]
pub(super) fn mask<'a>(plan: &mut Writer<'a>, input: &Input<'a>) {
    let mask = match (&input.request.mask, input.caller.mask) {
        (Some(mask), _) => Arg::ptr(mask),
        (None, Some(mask)) => plan.value(mask),
        (None, None) => return,
    };
    set_mask(plan, Tag::new(Step::SignalMask), mask);
}

/// Blocks every signal until [`mask`].
pub(super) fn block_all(plan: &mut Writer<'_>, tag: Tag) {
    set_mask(plan, tag, Arg::ptr(&ALL));
}

fn set_mask<'a>(plan: &mut Writer<'a>, tag: Tag, mask: Arg<'a>) {
    plan.push(tag, sys!(RT_SIGPROCMASK, SIG_SETMASK, mask, 0, SIGSET_SIZE));
}
