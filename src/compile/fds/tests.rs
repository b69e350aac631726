//! The planner against a model: what a table of descriptors becomes when the ops
//! are applied to it, and what it should become.

use core::ffi::CStr;
use std::collections::BTreeMap;
use std::vec::Vec;

use linux_raw_sys::general as uapi;
use proptest::prelude::*;

use super::{Input, RawFd};
use crate::compile::{self, Caller};
use crate::errno::Errno;
use crate::error::Error;
use crate::kernel::{Feature, Kernel};
use crate::mode::{Mode, Reason};
use crate::plan::op::{ANY_ERRNO, Op, flags};
use crate::plan::{Buffer, Step};
use crate::request::{Exec, FdAction, OtherFds, Request};
use crate::signal::SigSet;
use crate::spawn::around::Wanted;
use crate::uapi::{CLOSE_RANGE_CLOEXEC, CLOSE_RANGE_UNSHARE};

/// An open file, and whether exec closes the descriptor.
type Table = BTreeMap<RawFd, (i32, bool)>;

/// Files that are opened have numbers from here on, by their paths.
const OPENED: i32 = 1000;

/// The numbers that are played with: some that are copied always, and some at the
/// ends of what is copied at once.
const NUMBERS: [RawFd; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 63, 64, 127, 1024];

/// Paths of files, which have the numbers for names.
const PATHS: [&CStr; 12] =
    [c"0", c"1", c"2", c"3", c"4", c"5", c"6", c"7", c"63", c"64", c"127", c"1024"];

/// What the kernel does with `op`; the result, or an errno.
fn apply(table: &mut Table, op: &Op<'_>, saved: RawFd) -> Result<RawFd, Errno> {
    let mut args = op.args.map(|arg| arg.value() as i64);
    if op.flags & flags::USE != 0 {
        args[0] = saved.into();
    }
    let [first, second, third, ..] = args;
    let (fd, other) = (first as RawFd, second as RawFd);
    let lowest = |table: &Table, least: RawFd| {
        (least..=200).find(|fd| !table.contains_key(fd)).expect("a free number")
    };
    match op.nr as usize {
        sc::nr::DUP3 if fd == other => Err(Errno::EINVAL),
        sc::nr::DUP3 => {
            let (file, _) = *table.get(&fd).ok_or(Errno::EBADF)?;
            table.insert(other, (file, third as u32 & uapi::O_CLOEXEC != 0));
            Ok(other)
        }
        sc::nr::FCNTL if second as u32 == uapi::F_GETFD => {
            table.get(&fd).map(|(_, cloexec)| (*cloexec).into()).ok_or(Errno::EBADF)
        }
        sc::nr::FCNTL if second as u32 == uapi::F_SETFD => {
            table.get_mut(&fd).ok_or(Errno::EBADF)?.1 = third as u32 & uapi::FD_CLOEXEC != 0;
            Ok(0)
        }
        sc::nr::FCNTL => {
            assert_eq!(second as u32, uapi::F_DUPFD_CLOEXEC);
            let (file, _) = *table.get(&fd).ok_or(Errno::EBADF)?;
            let free = lowest(table, third as RawFd);
            table.insert(free, (file, true));
            Ok(free)
        }
        sc::nr::OPENAT => {
            // SAFETY: The planner's argument is a path of `PATHS`.
            #[allow(unsafe_code)]
            let path = unsafe { CStr::from_ptr(op.args[1].as_ptr()) };
            let number: i32 = path.to_str().expect("ASCII").parse().expect("a number");
            let free = lowest(table, 0);
            table.insert(free, (OPENED + number, third as u32 & uapi::O_CLOEXEC != 0));
            Ok(free)
        }
        sc::nr::CLOSE => table.remove(&fd).map(|_| 0).ok_or(Errno::EBADF),
        sc::nr::CLOSE_RANGE => {
            assert!(first <= second, "an empty range");
            let marks = third as u32 == CLOSE_RANGE_CLOEXEC;
            table.retain(|fd, (_, cloexec)| {
                let within = (first..=second).contains(&i64::from(*fd));
                *cloexec |= within && marks;
                !within || marks
            });
            Ok(0)
        }
        sc::nr::EXECVE => {
            table.retain(|_, (_, cloexec)| !*cloexec);
            Ok(0)
        }
        nr => panic!("no op of the planner: {nr}"),
    }
}

/// What a child with the caller's `table` has after exec, or the step that fails.
fn execute(ops: &[Op<'_>], mut table: Table) -> Result<Table, (Step, u16)> {
    let mut saved = -1;
    for op in ops {
        match apply(&mut table, op, saved) {
            Ok(result) if op.flags & flags::SAVE != 0 => saved = result,
            Ok(_) => {}
            Err(errno) if op.ok_errno == ANY_ERRNO || op.ok_errno == errno.number() => {}
            Err(_) => return Err((op.tag.step, op.tag.index)),
        }
    }
    Ok(table)
}

/// What was asked for, said directly.
fn expected(request: &Request<'_>, caller: &Table) -> Option<Table> {
    let inherits = request.other_fds == OtherFds::Inherit;
    let mut child = caller.clone();
    child.retain(|fd, (_, cloexec)| !*cloexec && (inherits || *fd <= 2));
    for action in request.fds {
        match *action {
            FdAction::Map { parent_fd, child_fd } => {
                child.insert(child_fd, (caller.get(&parent_fd)?.0, false));
            }
            FdAction::Open { child_fd, path, .. } => {
                let number: i32 = path.to_str().expect("ASCII").parse().expect("a number");
                child.insert(child_fd, (OPENED + number, false));
            }
            FdAction::Close { child_fd } => {
                child.remove(&child_fd);
            }
        }
    }
    Some(child)
}

fn check(actions: &[FdAction<'_>], caller: &Table, others: OtherFds, kernel: Kernel) {
    let argv = crate::argv![c"program"];
    let mut request = Request::new(Exec::Path(c"/program"), argv);
    request.fds(actions).other_fds(others).env(crate::CStrArray::EMPTY);
    let caller_state = Caller {
        envp: None,
        mask: None,
        around: Wanted::NOTHING,
        ignored: SigSet::EMPTY,
        pid: 0,
        pgrp: 0,
        sources_open: true,
    };
    let input = Input::new(&request, kernel, Mode::Vfork, caller_state);
    let mut buffer = Buffer::<128, 64>::new();
    let plan = compile::compile(&input, Reason::Default, (&mut buffer).into());
    let plan: Result<_, Error> = plan;
    let plan = plan.expect("a valid request");
    let ops = plan.ops;
    // What is shared is the parent's until the first op has copied it.
    let copies = |op: &Op<'_>| {
        op.nr as usize == sc::nr::CLOSE_RANGE && op.args[2].value() as u32 == CLOSE_RANGE_UNSHARE
    };
    assert_eq!(plan.shares_fds, ops.first().is_some_and(copies), "{plan}");
    assert!(!ops.iter().skip(1).any(copies), "{plan}");
    let needed = compile::needed(&input).expect("a valid request");
    assert!(needed.ops >= ops.len(), "{needed:?} for {} ops", ops.len());

    let found = execute(ops, caller.clone());
    if let Some(table) = expected(&request, caller) {
        assert_eq!(found.as_ref(), Ok(&table), "{actions:?} from {caller:?}");
    } else {
        let (step, index) = found.expect_err("a descriptor is missing");
        assert_eq!(step, Step::Move);
        // The one that is named is to blame.
        let FdAction::Map { parent_fd, .. } = actions[usize::from(index)] else {
            panic!("no move: {index}");
        };
        assert!(!caller.contains_key(&parent_fd), "{parent_fd} from {caller:?}");
    }
    let spares = ops.iter().filter(|op| {
        op.nr as usize == sc::nr::FCNTL && op.args[1].value() as u32 == uapi::F_DUPFD_CLOEXEC
    });
    let moves = super::real_moves(actions).count();
    assert!(spares.count() <= moves / 2, "more spare descriptors than rings");
}

fn number() -> impl Strategy<Value = RawFd> + Clone {
    prop::sample::select(&NUMBERS[..])
}

fn action() -> impl Strategy<Value = FdAction<'static>> {
    let fd = number();
    prop_oneof![
        4 => (fd.clone(), fd.clone())
            .prop_map(|(parent_fd, child_fd)| FdAction::Map { parent_fd, child_fd }),
        1 => (0..NUMBERS.len()).prop_map(|place| FdAction::Open {
            child_fd: NUMBERS[place], path: PATHS[place], flags: 0, mode: 0,
        }),
        1 => fd.prop_map(|child_fd| FdAction::Close { child_fd }),
    ]
}

/// The actions without those about a number that has one already.
fn distinct(actions: Vec<FdAction<'static>>) -> Vec<FdAction<'static>> {
    let mut seen = std::collections::BTreeSet::new();
    actions.into_iter().filter(|action| seen.insert(action.child_fd())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 16_384, ..Default::default() })]

    #[test]
    fn every_request_gives_the_table_that_it_describes(
        actions in prop::collection::vec(action(), 0..12).prop_map(distinct),
        open in prop::collection::btree_map(number(), any::<bool>(), 0..12),
        inherits in any::<bool>(),
        marks in any::<bool>(),
        shares in any::<bool>(),
    ) {
        let caller = open.into_iter().map(|(fd, cloexec)| (fd, (fd, cloexec))).collect();
        let others = if inherits { OtherFds::Inherit } else { OtherFds::Close };
        let kernel = Kernel::NEWEST;
        let kernel = if marks { kernel } else { kernel.without(Feature::CloseRangeCloexec) };
        let kernel = if shares { kernel } else { kernel.without(Feature::ShareFds) };
        check(&actions, &caller, others, kernel);
    }
}

#[test]
fn all_mappings_over_five_descriptors_are_right() {
    let caller: Table = (0..5).map(|fd| (fd + 3, (fd + 3, true))).collect();
    for number in 0..6u32.pow(5) {
        let actions: Vec<_> = (0..5)
            .filter_map(|place| match number / 6u32.pow(place) % 6 {
                5 => None,
                from => Some(FdAction::Map {
                    parent_fd: from as RawFd + 3,
                    child_fd: place as RawFd + 3,
                }),
            })
            .collect();
        check(&actions, &caller, OtherFds::Close, Kernel::NEWEST);
    }
}

#[test]
fn a_ring_takes_one_spare_descriptor_and_a_chain_none() {
    let map = |parent_fd, child_fd| FdAction::Map { parent_fd, child_fd };
    let spares = |actions: &[FdAction<'_>]| {
        let caller: Table = (0..10).map(|fd| (fd, (fd, true))).collect();
        check(actions, &caller, OtherFds::Close, Kernel::NEWEST);
        let mut request = Request::new(Exec::Path(c"/program"), crate::argv![c"program"]);
        request.fds(actions).env(crate::CStrArray::EMPTY).kernel(Kernel::NEWEST);
        let mut buffer = Buffer::<32, 16>::new();
        let plan = request.plan(&mut buffer).expect("a valid request");
        plan.ops.iter().filter(|op| op.flags & flags::SAVE != 0).count()
    };
    assert_eq!(spares(&[map(3, 4), map(4, 5), map(5, 6)]), 0);
    assert_eq!(spares(&[map(3, 4), map(4, 3)]), 1);
    assert_eq!(spares(&[map(3, 4), map(4, 5), map(5, 3), map(6, 7), map(7, 6)]), 2);
    // What hangs on a ring is read first.
    assert_eq!(spares(&[map(3, 4), map(4, 3), map(4, 5)]), 1);
}
