//! Credentials. Never compiled for a child that shares memory: see `mode`.

use super::Input;
use crate::errno::Errno;
use crate::error::Error;
use crate::plan::op::{Arg, Tag, sys};
use crate::plan::{Step, Writer, tables};
use crate::request::{Groups, Request};

/// Groups, then gid, then uid: each takes away the right to the one before.
pub(crate) fn stage<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    tables::link();
    groups(plan, input.request);
    gid(plan, input.request)?;
    uid(plan, input.request)
}

/// Sets or drops the supplementary groups.
fn groups<'a>(plan: &mut Writer<'a>, request: &'a Request<'a>) {
    let tag = Tag::new(Step::Groups);
    match request.groups {
        Groups::Set(groups) => {
            plan.push(tag, sys!(SETGROUPS, groups.len(), Arg::ptr(groups)));
        }
        // Who changes to another user must not keep root's groups.
        Groups::Auto if request.uid.is_some() => drop_groups(plan),
        Groups::Auto | Groups::Keep => {}
    }
}

/// Drops the supplementary groups, unless they may not be: there are none then that the
/// caller had not.
pub(super) fn drop_groups(plan: &mut Writer<'_>) {
    plan.push(Tag::new(Step::Groups), sys!(SETGROUPS, 0, 0)).ok(Errno::EPERM);
}

/// Sets the three group ids.
fn gid(plan: &mut Writer<'_>, request: &Request<'_>) -> Result<(), Error> {
    if let Some(gid) = request.gid {
        if gid == UNCHANGED {
            return Err(Error::new(Step::Gid, 0, Errno::EINVAL));
        }
        plan.push(Tag::new(Step::Gid), sys!(SETRESGID, gid, gid, gid));
    }
    Ok(())
}

/// Sets the three user ids.
fn uid(plan: &mut Writer<'_>, request: &Request<'_>) -> Result<(), Error> {
    if let Some(uid) = request.uid {
        if uid == UNCHANGED {
            return Err(Error::new(Step::Uid, 0, Errno::EINVAL));
        }
        plan.push(Tag::new(Step::Uid), sys!(SETRESUID, uid, uid, uid));
    }
    Ok(())
}

/// -1 leaves an id as it is.
const UNCHANGED: u32 = u32::MAX;
