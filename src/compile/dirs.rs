//! Root and working directory.

use super::Input;
use crate::errno::Errno;
use crate::error::Error;
use crate::plan::op::{Tag, sys};
use crate::plan::{Step, Writer, tables};
use crate::request::{CurrentDir, Request};

/// Root, then working directory.
pub(crate) fn stage<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    tables::link();
    root(plan, input.request);
    cwd(plan, input.request)
}

/// Changes the root, and the working directory with it: one outside the root
/// would be the way out.
fn root<'a>(plan: &mut Writer<'a>, request: &'a Request<'a>) {
    if let Some(path) = request.root {
        let tag = Tag::new(Step::Root);
        plan.push(tag, sys!(CHROOT, path));
        plan.push(tag, sys!(CHDIR, c"/"));
    }
}

/// Changes the working directory.
fn cwd<'a>(plan: &mut Writer<'a>, request: &'a Request<'a>) -> Result<(), Error> {
    let tag = Tag::new(Step::CurrentDir);
    match request.cwd {
        None => {}
        Some(CurrentDir::Path(path)) => {
            plan.push(tag, sys!(CHDIR, path));
        }
        Some(CurrentDir::Fd(fd)) => {
            if super::fds::is_overwritten(request, fd) {
                return Err(Error::new(Step::CurrentDir, 0, Errno::EINVAL));
            }
            plan.push(tag, sys!(FCHDIR, fd));
        }
    }
    Ok(())
}
