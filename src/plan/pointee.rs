//! What the arguments of an op point to: for those who copy a plan.
#![allow(unsafe_code)]

use linux_raw_sys::general as uapi;
use linux_raw_sys::ioctl::TIOCSPGRP;
use linux_raw_sys::prctl::PR_SET_NAME;

use super::calls::{Kind, kinds};
use super::op::{Op, flags};
use crate::array::{CStrArray, c_str};
use crate::compile::namespaces::Ifreq;
use crate::compile::sandbox::Program;
use crate::request::Filter;
use crate::uapi::SIOCSIFFLAGS;

/// What an argument points to.
#[derive(Clone, Copy)]
pub(crate) enum Pointee<'a> {
    /// So many bytes.
    Bytes(*const u8, usize),
    /// An array of strings: `argv`, which is 0 here, or the environment, 1. Each exec op
    /// has the same.
    Strings(CStrArray<'a>, usize),
    /// A `sock_fprog`, and then the instructions that it points to.
    Filter(&'a [Filter]),
}

/// What the arguments of `op`, one that `compile` made and that is no call of Rust, point
/// to: those that are pointers to what lives as long as the plan, by their places.
pub(crate) fn pointees<'a>(op: &Op<'a>) -> impl Iterator<Item = (usize, Pointee<'a>)> {
    let kinds = kinds(op).map_or(&[][..], |(_, kinds)| kinds);
    let kinds = kinds.iter().enumerate();
    kinds.filter_map(|(place, kind)| Some((place, pointee(op, place, *kind)?)))
}

fn pointee<'a>(op: &Op<'a>, place: usize, kind: Kind) -> Option<Pointee<'a>> {
    let from_frame = place == 2 && op.flags & flags::FRAME != 0;
    let arg = op.args.get(place).filter(|arg| !from_frame && arg.value() != 0)?;
    let start = arg.as_ptr::<u8>();
    let before = || {
        let before = op.args.get(place.wrapping_sub(1));
        before.map_or(0, |count| count.value() as usize)
    };
    let of_command = |command: u32| {
        let before = op.args.get(place.wrapping_sub(1));
        before.is_some_and(|before| before.value() == command as isize)
    };
    let size = match kind {
        Kind::OfIoctl if of_command(TIOCSPGRP) => size_of::<i32>(),
        Kind::OfIoctl if of_command(SIOCSIFFLAGS) => size_of::<Ifreq>(),
        Kind::OfPrctl if of_command(PR_SET_NAME) => {
            // SAFETY: The name that a plan sets is a C string.
            unsafe { c_str(start.cast()) }.to_bytes_with_nul().len()
        }
        // SAFETY: `compile` made the op with a C string that lives as long as the plan.
        Kind::Text => unsafe { c_str(start.cast()) }.to_bytes_with_nul().len(),
        Kind::CInt => size_of::<i32>(),
        Kind::Rlimit => size_of::<uapi::rlimit64>(),
        // `signals` has tables of this size, at least as long as the kernel's.
        Kind::Sigaction => size_of::<[usize; 4]>(),
        Kind::Sigset => size_of::<u64>(),
        Kind::Timespec => size_of::<uapi::timespec>(),
        Kind::CapHeader => size_of::<[u32; 2]>(),
        Kind::CapData => size_of::<[u32; 6]>(),
        Kind::Filter => {
            // SAFETY: `compile` made the op with one that lives as long as the plan.
            let program = unsafe { &*arg.as_ptr::<Program<'a>>() };
            return Some(Pointee::Filter(program.filter()));
        }
        Kind::Cpus => before(),
        Kind::Gids => before() * size_of::<u32>(),
        Kind::Strings | Kind::Environ => {
            // SAFETY: `compile` made the op with such an array, which lives as long as
            // the plan.
            let array = unsafe { CStrArray::from_ptr(start.cast()) };
            return Some(Pointee::Strings(array, usize::from(matches!(kind, Kind::Environ))));
        }
        _ => return None,
    };
    Some(Pointee::Bytes(start, size))
}
