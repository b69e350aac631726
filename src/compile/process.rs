//! Single attributes of the process, and the hook.

use linux_raw_sys::prctl::{PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG};

use super::Input;
use crate::errno::Errno;
use crate::error::Error;
use crate::namespaces::Namespaces;
use crate::plan::op::{Arg, Tag, sys};
use crate::plan::{Step, Writer, tables};
use crate::request::Request;
use crate::spawn::fallback::call_hook;

/// Sets the umask.
pub(crate) fn umask<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    tables::link();
    if let Some(mask) = input.request.umask {
        if mask > 0o777 {
            return Err(Error::new(Step::Umask, 0, Errno::EINVAL));
        }
        plan.push(Tag::new(Step::Umask), sys!(UMASK, mask));
    }
    Ok(())
}

/// What is left to say of the process.
pub(crate) fn stage<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    tables::link();
    parent_death_signal(plan, input);
    no_new_privs(plan, input.request);
    super::sandbox::landlock(plan, input.request)
}

/// Sets the parent death signal, and ends the child if the parent is dead
/// already: its death sent no signal.
fn parent_death_signal(plan: &mut Writer<'_>, input: &Input<'_>) {
    if let Some(signal) = input.request.pdeathsig {
        let tag = Tag::new(Step::ParentDeathSignal);
        plan.push(tag, sys!(PRCTL, PR_SET_PDEATHSIG, signal, 0, 0, 0));
        // In one that it joins, its parent may be or not.
        let joins = |namespaces: &Namespaces<'_>| namespaces.pid_join().is_some();
        if !input.request.namespaces.is_some_and(joins) {
            plan.push(tag, sys!(GETPPID)).expect(input.caller.pid as u32);
        }
    }
}

/// Sets `no_new_privs`.
fn no_new_privs(plan: &mut Writer<'_>, request: &Request<'_>) {
    if request.no_new_privs {
        plan.push(Tag::new(Step::NoNewPrivs), sys!(PRCTL, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    }
}

/// Calls the hook.
#[allow(clippy::unnecessary_wraps)] // a stage like others
pub(crate) fn hook<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    tables::link();
    if let Some(hook) = &input.request.hook {
        plan.call(
            Tag::new(Step::Hook),
            call_hook as *const (),
            Arg::ptr(hook),
            Arg::raw(hook.stack.cast()),
        );
    }
    Ok(())
}
