//! The loop, with plans made by hand: what each flag of an op does, on the
//! architecture that the tests run on.

use core::ptr;
use core::sync::atomic::{AtomicI32, Ordering};
use std::vec::Vec;

use linux_raw_sys::general as uapi;

use super::{CloneArgs, Start, clone, clone3, enter, runs_on_valgrind};
use crate::errno::Errno;
use crate::plan::Step;
use crate::plan::op::{Arg, Call, EPILOGUE, Frame, Op, Saved, Tag, flags, sys};
use crate::signal::SigSet;
use crate::sys;

/// Never valid as a descriptor.
const BAD: i32 = -1;

/// The weak errnos of an exec op.
const WEAK: u32 = 1 << Errno::ENOENT.number() | 1 << Errno::ENOTDIR.number();

fn op<'a>(call: Call<'_, 'a>) -> Op<'a> {
    Op::new(Tag::new(Step::Child), call)
}

/// The op as changed by `change`.
fn with<'a>(call: Call<'_, 'a>, change: for<'o> fn(&'o mut Op<'a>) -> &'o mut Op<'a>) -> Op<'a> {
    *change(&mut op(call))
}

/// An exec op that fails with the errno of opening `path`.
fn exec(path: &core::ffi::CStr) -> Op<'_> {
    with(sys!(EXECVE, path, 0, 0), |op| op.exec(WEAK))
}

/// Ends the child with `status`, as a success.
fn exit(status: i32) -> Op<'static> {
    op(sys!(EXIT_GROUP, status))
}

/// How a child ended: by an op of its own, or by the epilogue with a report.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Exit(i32),
    Killed(i32),
    Failed { op: usize, errno: i32 },
}

/// What makes the child.
#[derive(Clone, Copy, Debug)]
enum By {
    Clone3,
    Clone,
    Fork,
}

/// Runs `ops` in a child with a copy of this memory, by both clone calls and by the C library's
/// fork.
fn run(ops: &[Op<'_>]) -> End {
    let [first, others @ ..] = [By::Clone3, By::Clone, By::Fork].map(|by| run_by(by, ops));
    for other in others {
        assert_eq!(first, other, "clone3, clone and fork differ");
    }
    first
}

fn run_by(by: By, ops: &[Op<'_>]) -> End {
    let page = sys::map_shared_page().expect("a page");
    // SAFETY: The page is new.
    unsafe { Frame::put_in(page) };
    let frame: *const Frame = page.cast();
    let start = Start { ops: ops.as_ptr(), frame };
    let signal = uapi::SIGCHLD as usize;
    let pid = match by {
        By::Clone3 if sys::clone3_version() != sys::Clone3::Missing => {
            // SAFETY: All of it is integers.
            let mut args: uapi::clone_args = unsafe { core::mem::zeroed() };
            args.exit_signal = signal as u64;
            // SAFETY: The child has a copy of all but the frame, which outlives it.
            unsafe { clone3(&args, super::CLONE_ARGS_SIZE, start) }
        }
        By::Clone3 | By::Clone => {
            let args = CloneArgs { flags: signal, pidfd: ptr::null_mut(), child_tid: ptr::null() };
            // SAFETY: As above.
            unsafe { clone(args, start) }
        }
        // SAFETY: The child does nothing but enter the loop.
        By::Fork => match unsafe { libc::fork() } {
            // SAFETY: As above.
            0 => unsafe { enter(start) },
            pid => pid as usize,
        },
    };
    let pid = i32::try_from(pid as isize).expect("a child");
    let status = sys::wait4(pid, 0).expect("our child").expect("its end");
    // SAFETY: Written above, and by a child that is gone.
    let frame = unsafe { &*frame };
    let failed = frame.failed.load(Ordering::Relaxed);
    let code = status.code().unwrap_or_default();
    let end = if let Some(signal) = status.signal() {
        End::Killed(signal)
    } else if failed.is_null() {
        End::Exit(code)
    } else {
        assert_eq!(code, 127, "the epilogue's status");
        let offset = failed.addr() - ops.as_ptr().addr();
        let errno = frame.errno.load(Ordering::Relaxed) as i32;
        End::Failed { op: offset / size_of::<Op<'_>>(), errno }
    };
    // SAFETY: Nothing refers to it any more.
    unsafe { sys::unmap_page(page) };
    end
}

#[test]
fn valgrind_is_seen_where_it_is_and_nowhere_else() {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc");
    assert_eq!(runs_on_valgrind(), maps.contains("/valgrind/"));
}

#[test]
fn ops_run_in_order_until_one_fails() {
    assert_eq!(run(&[op(sys!(GETPID)), exit(3)]), End::Exit(3));
    let ops = [op(sys!(GETPID)), op(sys!(FCHDIR, BAD)), exit(3)];
    assert_eq!(run(&ops), End::Failed { op: 1, errno: 9 });
}

#[test]
fn one_errno_or_any_can_be_a_success() {
    let args = [Arg::int(BAD as isize)];
    let bad = || Call { nr: sc::nr::FCHDIR as u32, flags: 0, args: &args };
    assert_eq!(run(&[with(bad(), |op| op.ok(Errno::EBADF)), exit(4)]), End::Exit(4));
    assert_eq!(run(&[with(bad(), Op::ok_any), exit(4)]), End::Exit(4));
    let ops = [with(bad(), |op| op.ok(Errno::EINVAL)), exit(4)];
    assert_eq!(run(&ops), End::Failed { op: 0, errno: 9 });
}

#[test]
fn a_kept_result_is_the_first_argument_of_a_later_op() {
    // The lowest free number, and its copy one above it.
    let open = with(sys!(OPENAT, uapi::AT_FDCWD, c"/dev/null", 0, 0), Op::save);
    let ops = [open, op(sys!(GETPID)), op(sys!(FCNTL, Saved, 1, 0)), exit(5)];
    assert_eq!(run(&ops), End::Exit(5));
    // Closed, it is no longer good.
    let ops = [open, op(sys!(CLOSE, Saved)), op(sys!(FCNTL, Saved, 1, 0)), exit(5)];
    assert_eq!(run(&ops), End::Failed { op: 2, errno: 9 });
}

#[test]
fn an_unexpected_result_is_eproto() {
    let umask = op(sys!(UMASK, 0o27));
    let ops = [umask, with(sys!(UMASK, 0), |op| op.expect(0o27)), exit(6)];
    assert_eq!(run(&ops), End::Exit(6));
    let ops = [umask, with(sys!(UMASK, 0), |op| op.expect(0o22)), exit(6)];
    assert_eq!(run(&ops), End::Failed { op: 1, errno: Errno::EPROTO.raw() });
}

#[test]
fn the_first_strong_errno_of_exec_is_reported_else_the_last() {
    let (noent, notdir, access) = (c"/nonexistent", c"/dev/null/below", c"/");
    let report = |paths: &[&core::ffi::CStr]| {
        let mut ops: Vec<_> = paths.iter().map(|path| exec(path)).collect();
        ops.last_mut().expect("one").flags |= flags::LAST;
        run(&ops)
    };
    assert_eq!(report(&[noent]), End::Failed { op: 0, errno: 2 });
    assert_eq!(report(&[noent, notdir]), End::Failed { op: 1, errno: 20 });
    assert_eq!(report(&[notdir, noent]), End::Failed { op: 1, errno: 2 });
    assert_eq!(report(&[access, noent]), End::Failed { op: 0, errno: 13 });
    assert_eq!(report(&[noent, access, notdir]), End::Failed { op: 1, errno: 13 });
    // A number above the bits of a word is strong.
    let long = std::ffi::CString::new(std::vec![b'x'; 5000]).expect("no NUL");
    let name_too_long = Errno::ENAMETOOLONG.raw();
    let end = End::Failed { op: 1, errno: name_too_long };
    assert_eq!(report(&[noent, &long, access, noent]), end);
}

#[test]
fn a_guarded_op_runs_after_its_errno_only() {
    let guarded = |errno| {
        let mut last = exec(c"/");
        last.flags |= flags::LAST;
        let mut exit = exit(7);
        exit.only_after(errno);
        run(&[exec(c"/nonexistent"), exit, last])
    };
    assert_eq!(guarded(Errno::ENOENT), End::Exit(7));
    assert_eq!(guarded(Errno::EACCES), End::Failed { op: 2, errno: 13 });
    // One that is passed over can be the last, too.
    let mut last = exec(c"/");
    last.only_after(Errno::ENOEXEC);
    last.flags |= flags::LAST;
    assert_eq!(run(&[exec(c"/nonexistent"), last]), End::Failed { op: 0, errno: 2 });
}

#[test]
fn a_called_function_returns_like_a_system_call() {
    extern "C" fn negated(value: *const AtomicI32) -> isize {
        // SAFETY: The op below points to one.
        let value = unsafe { &*value };
        -(value.load(Ordering::Relaxed) as isize)
    }
    let call = |value: &AtomicI32, stack: *const ()| {
        let function = Arg::raw(negated as *const ());
        let args = &[function, Arg::raw(ptr::from_ref(value).cast()), Arg::raw(stack)];
        run(&[op(Call { nr: 0, flags: flags::CALL, args }), exit(8)])
    };
    let mut stack = std::vec![0u64; 1024];
    let end: *const () = stack.as_mut_ptr_range().end.cast();
    for stack in [ptr::null(), end] {
        assert_eq!(call(&AtomicI32::new(0), stack), End::Exit(8));
        assert_eq!(call(&AtomicI32::new(17), stack), End::Failed { op: 0, errno: 17 });
    }
}

#[test]
fn the_epilogue_has_other_ways_out() {
    assert_eq!(EPILOGUE[0].nr as usize, sc::nr::EXIT_GROUP);
    assert_eq!(EPILOGUE[1].nr as usize, sc::nr::EXIT);
    // What a filter that refuses the first would do, and then one that refuses both.
    let refused = with(sys!(FCHDIR, BAD), Op::ok_any);
    assert_eq!(run(&[refused, EPILOGUE[1]]), End::Exit(127));
    assert_eq!(run(&[refused, refused, EPILOGUE[2]]), End::Killed(uapi::SIGILL as i32));
}

#[test]
fn an_op_can_run_for_each_signal_of_a_set() {
    // 0 for the set of signals that it can be asked about: all.
    let ask = |set| *op(sys!(RT_SIGACTION, Saved, 0, 0, 8)).for_each(set);
    let none = SigSet::EMPTY;
    assert_eq!(run(&[ask(SigSet::ALL), ask(none), ask(none.with(64)), exit(3)]), End::Exit(3));
    // It is the number that the call is made with: that of an open descriptor, or of none.
    let look = |set| *op(sys!(FCNTL, Saved, uapi::F_GETFD)).for_each(set);
    assert_eq!(run(&[look(none.with(1).with(2)), exit(4)]), End::Exit(4));
    let fails = End::Failed { op: 0, errno: 9 };
    assert_eq!(run(&[look(none.with(1).with(2).with(64)), exit(4)]), fails);
    // A failure is the end, and of the calls after it none is made.
    let fail = *op(sys!(FCHDIR, Saved)).for_each(none.with(60).with(61));
    assert_eq!(run(&[fail, exit(5)]), End::Failed { op: 0, errno: 9 });
    // What comes after it starts as if nothing had been counted.
    let mut last = exec(c"/nonexistent");
    last.flags |= flags::LAST;
    assert_eq!(run(&[ask(SigSet::ALL), last]), End::Failed { op: 1, errno: 2 });
}

/// The same as one of a search.
fn stopping(path: &core::ffi::CStr) -> Op<'_> {
    const GO_ON: u32 = WEAK | 1 << Errno::EACCES.number();
    with(sys!(EXECVE, path, 0, 0), |op| op.exec(GO_ON).stop())
}

#[test]
fn an_errno_that_is_not_weak_can_be_the_end() {
    let report = |paths: &[&core::ffi::CStr]| {
        let mut ops: Vec<_> = paths.iter().map(|path| stopping(path)).collect();
        ops.last_mut().expect("one").flags |= flags::LAST;
        run(&ops)
    };
    let (noent, notdir, access) = (c"/nonexistent", c"/dev/null/below", c"/");
    let long = std::ffi::CString::new(std::vec![b'x'; 5000]).expect("no NUL");
    let name_too_long = Errno::ENAMETOOLONG.raw();
    assert_eq!(report(&[noent, notdir]), End::Failed { op: 1, errno: 20 });
    // One is kept, and does not end it.
    assert_eq!(report(&[access, noent]), End::Failed { op: 0, errno: 13 });
    // Any other ends it, as the error, whatever was kept.
    assert_eq!(report(&[&long, access]), End::Failed { op: 0, errno: name_too_long });
    assert_eq!(report(&[access, &long, noent]), End::Failed { op: 1, errno: name_too_long });
    // As long as it goes on, what follows is reached.
    let exit_if_reached = [stopping(noent), exit(9)];
    assert_eq!(run(&exit_if_reached), End::Exit(9));
}

#[test]
fn an_op_can_be_passed_over_if_the_result_is_a_number() {
    let open = with(sys!(OPENAT, uapi::AT_FDCWD, c"/dev/null", 0, 0), Op::save);
    // The lowest free number, which two files have one after the other.
    let fd = {
        let file = std::fs::File::open("/dev/null").expect("a device");
        std::os::fd::AsRawFd::as_raw_fd(&file)
    };
    let close = |other| *op(sys!(CLOSE, Saved)).unless_same(other);
    let check = op(sys!(FCNTL, Saved, 1, 0));
    assert_eq!(run(&[open, close(fd), check, exit(5)]), End::Exit(5));
    assert_eq!(run(&[open, close(fd + 1), check, exit(5)]), End::Failed { op: 2, errno: 9 });
    assert_eq!(run(&[open, close(255), check, exit(5)]), End::Failed { op: 2, errno: 9 });
}
