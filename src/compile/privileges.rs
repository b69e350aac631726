//! Capabilities and securebits, around the change of the ids.

use linux_raw_sys::general::_LINUX_CAPABILITY_VERSION_3;
use linux_raw_sys::prctl::{
    PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, PR_CAP_AMBIENT_RAISE, PR_CAPBSET_DROP,
    PR_SET_KEEPCAPS, PR_SET_SECUREBITS,
};

use super::Input;
use crate::capability::Sets;
use crate::errno::Errno;
use crate::error::Error;
use crate::plan::op::{Tag, sys};
use crate::plan::{Step, Writer, tables};

/// `linux/securebits.h`: a change of the uid leaves the permitted set. exec clears it.
const SECBIT_KEEP_CAPS: u32 = 1 << 4;

/// Securebits and the bounding set, while there is `CAP_SETPCAP`; and what keeps the
/// permitted set while the uid changes.
#[allow(clippy::unnecessary_wraps)] // a stage like others
pub(crate) fn before_ids<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    tables::link();
    let Some(capabilities) = input.request.capabilities else { return Ok(()) };
    let keeps = input.request.uid.is_some() && capabilities.sets.is_some();
    let tag = Tag::new(Step::Securebits);
    match capabilities.securebits {
        Some(bits) => {
            let bits = bits | if keeps { SECBIT_KEEP_CAPS } else { 0 };
            plan.push(tag, sys!(PRCTL, PR_SET_SECUREBITS, bits, 0, 0, 0));
        }
        None if keeps => {
            plan.push(tag, sys!(PRCTL, PR_SET_KEEPCAPS, 1, 0, 0, 0));
        }
        None => {}
    }
    if let Some(bounding) = capabilities.bounding {
        for capability in (0..64).filter(|capability| !bounding.contains(*capability)) {
            let tag = Tag::item(Step::Bounding, capability as usize);
            // EINVAL: the kernel has no such capability.
            plan.push(tag, sys!(PRCTL, PR_CAPBSET_DROP, capability, 0, 0, 0)).ok(Errno::EINVAL);
        }
    }
    Ok(())
}

/// The other sets, which a change of the uid would have cleared.
#[allow(clippy::unnecessary_wraps)] // a stage like others
pub(crate) fn after_ids<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    tables::link();
    let Some(capabilities) = input.request.capabilities else { return Ok(()) };
    if let Some(Sets { permitted, effective, inheritable }) = capabilities.sets {
        let header = plan.value([_LINUX_CAPABILITY_VERSION_3, 0]);
        let [permitted, effective, inheritable] = [permitted, effective, inheritable]
            .map(|set| [set.bits() as u32, (set.bits() >> 32) as u32]);
        let half = |n: usize| [effective[n], permitted[n], inheritable[n]];
        let data = plan.value([half(0), half(1)]);
        plan.push(Tag::new(Step::Capabilities), sys!(CAPSET, header, data));
    }
    if let Some(ambient) = capabilities.ambient {
        let clear = sys!(PRCTL, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        plan.push(Tag::new(Step::Ambient), clear);
        for capability in ambient.iter() {
            let tag = Tag::item(Step::Ambient, capability as usize);
            plan.push(tag, sys!(PRCTL, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0));
        }
    }
    Ok(())
}
