//! What takes rights away until the end of the process: Landlock and seccomp.
#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::slice;

use super::Input;
use crate::error::Error;
use crate::plan::op::{Tag, sys};
use crate::plan::{Step, Writer, tables};
use crate::request::{Filter, Request};
use crate::uapi::SECCOMP_SET_MODE_FILTER;

/// Restricts access to files.
pub(super) fn landlock(plan: &mut Writer<'_>, request: &Request<'_>) -> Result<(), Error> {
    if let Some(fd) = request.landlock {
        super::fds::refuse_overwritten(request, fd, Step::Landlock)?;
        plan.push(Tag::new(Step::Landlock), sys!(LANDLOCK_RESTRICT_SELF, fd, 0));
    }
    Ok(())
}

/// Installs the filter while there is the right to, if that is not `no_new_privs`.
#[allow(clippy::unnecessary_wraps)] // a stage like others
pub(crate) fn seccomp_early<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    tables::link();
    if !input.request.no_new_privs {
        seccomp(plan, input);
    }
    Ok(())
}

/// Installs the filter as the last thing before exec, of which all else is free.
#[allow(clippy::unnecessary_wraps)] // a stage like others
pub(crate) fn seccomp_late<'a>(plan: &mut Writer<'a>, input: &Input<'a>) -> Result<(), Error> {
    if input.request.no_new_privs {
        seccomp(plan, input);
    }
    Ok(())
}

fn seccomp<'a>(plan: &mut Writer<'a>, input: &Input<'a>) {
    if let Some(filter) = input.request.seccomp {
        let program = plan.value(Program::new(filter));
        plan.push(Tag::new(Step::Seccomp), sys!(SECCOMP, SECCOMP_SET_MODE_FILTER, 0, program));
    }
}

/// `struct sock_fprog` of `linux/filter.h`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Program<'a> {
    length: u16,
    filter: *const Filter,
    lives: PhantomData<&'a [Filter]>,
}

impl<'a> Program<'a> {
    /// Of at most 65,535 instructions; the kernel takes 4,096.
    pub(crate) fn new(filter: &'a [Filter]) -> Self {
        let length = filter.len().min(u16::MAX.into()) as u16;
        Self { length, filter: filter.as_ptr(), lives: PhantomData }
    }

    /// The same whose instructions are, or will be, at another address.
    pub(crate) fn at<'b>(self, filter: *const Filter) -> Program<'b> {
        Program { length: self.length, filter, lives: PhantomData }
    }

    /// As it is in memory.
    pub(crate) fn words(self) -> [u64; 2] {
        [self.length.into(), self.filter.addr() as u64]
    }

    pub(crate) fn filter(&self) -> &'a [Filter] {
        // SAFETY: Of the slice that `new` was given.
        unsafe { slice::from_raw_parts(self.filter, self.length.into()) }
    }
}
