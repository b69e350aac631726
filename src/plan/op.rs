//! One op of a plan, and the frame that its child reports to: the layout that
//! Rust and `asm/` share.

use core::ffi::{CStr, c_char};
use core::marker::PhantomData;
use core::mem::offset_of;
use core::sync::atomic::{AtomicPtr, AtomicU32};

use crate::errno::Errno;
use crate::plan::Step;
use crate::signal::SigSet;
use crate::uapi::CLOSE_RANGE_UNSHARE;

/// `Op::ok_errno`: whatever the call returns is fine.
pub(crate) const ANY_ERRNO: u16 = u16::MAX;

/// `Op::flags`. The numbers are written out in `asm/` once more.
pub(crate) mod flags {
    /// Keep the result for a later op.
    pub(crate) const SAVE: u8 = 1;
    /// The kept result is the first argument.
    pub(crate) const USE: u8 = 2;
    /// The low 32 bits of the result must equal `want`.
    pub(crate) const EXPECT: u8 = 4;
    /// Go on after a failure; `want` has a bit for each errno that a later
    /// failure replaces in the report.
    pub(crate) const EXEC: u8 = 8;
    /// The last op with `EXEC`: report the kept errno.
    pub(crate) const LAST: u8 = 16;
    /// Call the function `args[0]` with `args[1]` on the stack `args[2]`.
    pub(crate) const CALL: u8 = 32;
    /// `args[2]` is an offset from the frame, which each child has its own of.
    pub(crate) const FRAME: u8 = 64;
    /// Of an op with `EXEC`: go on only after an errno whose last five bits are the number of
    /// one of `want`; any other is the end. `EACCES` is never weak.
    pub(crate) const STOP: u8 = 128;
}

/// `Op::guard`: runs only if the kept result is not the second argument.
pub(crate) const UNLESS_SAME: u8 = 255;

/// `Op::guard`: runs once for each signal of the set that the fifth argument is, whose number is
/// the first.
pub(crate) const EACH: u8 = 254;

/// `Op::guard`: makes no call, but ends the child by an instruction that is none.
pub(crate) const TRAP: u8 = 253;

/// One system call of a plan: a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Op<'a> {
    pub(crate) nr: u32,
    /// An errno that counts as success; `ANY_ERRNO` for all, 0 for none.
    pub(crate) ok_errno: u16,
    pub(crate) flags: u8,
    /// Not 0: runs only if the last exec failed with this errno; or `UNLESS_SAME`, `EACH`, `TRAP`.
    pub(crate) guard: u8,
    pub(crate) args: [Arg<'a>; 6],
    /// What `EXPECT` compares with, or the weak errnos of `EXEC`.
    pub(crate) want: u32,
    pub(crate) tag: Tag,
}

/// What the child and its parent share about one spawn.
///
/// The child writes `failed`, then `errno`; the kernel writes `tid`.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Frame {
    /// The op that failed; null until then.
    pub(crate) failed: AtomicPtr<()>,
    /// Why; 0 until then.
    pub(crate) errno: AtomicU32,
    /// The child's pid as it sees it (`CLONE_CHILD_SETTID`); where asked for, 0 once
    /// it has left this address space (`CLONE_CHILD_CLEARTID`).
    pub(crate) tid: AtomicU32,
    /// The ops that end a child that failed.
    pub(crate) epilogue: *const (),
    /// What a child waits for: 1 once its parent lets it go on. Only who has this memory can
    /// write it; the first kept result, before there is another, is its address.
    pub(crate) released: AtomicU32,
}

// The offsets that asm/*.S writes as numbers. Change both or neither.
const _: () = {
    assert!(size_of::<Op<'_>>() == 64);
    assert!(offset_of!(Op<'_>, nr) == 0);
    assert!(offset_of!(Op<'_>, ok_errno) == 4);
    assert!(offset_of!(Op<'_>, flags) == 6);
    assert!(offset_of!(Op<'_>, guard) == 7);
    assert!(offset_of!(Op<'_>, args) == 8);
    assert!(offset_of!(Op<'_>, want) == 56);
    assert!(offset_of!(Frame, failed) == 0);
    assert!(offset_of!(Frame, errno) == 8);
    assert!(offset_of!(Frame, epilogue) == 16);
};

/// For the parent alone: which step an op belongs to, and which item of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) step: Step,
    pub(crate) index: u16,
}

impl Tag {
    pub(crate) const fn new(step: Step) -> Self {
        Self { step, index: 0 }
    }

    /// The item at `index`; a list longer than 65,535 shares the last number.
    #[inline(never)]
    pub(crate) const fn item(step: Step, index: usize) -> Self {
        let index = if index > u16::MAX as usize { u16::MAX } else { index as u16 };
        Self { step, index }
    }
}

/// An argument: an integer, or a pointer that keeps its provenance.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Arg<'a>(*const (), PhantomData<&'a ()>);

// SAFETY: An integer, or a pointer into what the request borrows, which is `Sync`;
// nobody writes through it here.
unsafe impl Send for Arg<'_> {}
// SAFETY: As above.
unsafe impl Sync for Arg<'_> {}

/// The first argument of an op that uses the kept result.
#[derive(Clone, Copy)]
pub(crate) struct Saved;

/// The third argument of an op that points into the child's frame, at an offset.
#[derive(Clone, Copy)]
pub(crate) struct InFrame(pub(crate) usize);

impl<'a> Arg<'a> {
    pub(crate) const ZERO: Self = Self::int(0);

    pub(crate) const fn int(value: isize) -> Self {
        Self(core::ptr::without_provenance(value as usize), PhantomData)
    }

    pub(crate) const fn ptr<T: ?Sized>(value: &'a T) -> Self {
        Self(core::ptr::from_ref(value).cast(), PhantomData)
    }

    /// A pointer whose target the caller of the spawn vouches for.
    pub(crate) const fn raw(value: *const ()) -> Self {
        Self(value, PhantomData)
    }

    pub(crate) fn value(self) -> isize {
        self.0.addr() as isize
    }

    pub(crate) fn as_ptr<T>(self) -> *const T {
        self.0.cast()
    }
}

/// What can stand as an argument in [`sys!`].
pub(crate) trait IntoArg<'a> {
    fn into_arg(self) -> Arg<'a>;

    /// The flags that the argument asks for.
    const FLAGS: u8 = 0;
}

macro_rules! integer_args {
    ($($ty:ty),+) => {$(
        impl<'a> IntoArg<'a> for $ty {
            fn into_arg(self) -> Arg<'a> {
                Arg::int(self as isize)
            }
        }
    )+};
}
integer_args!(i32, u32, isize, usize);

impl<'a> IntoArg<'a> for Arg<'a> {
    fn into_arg(self) -> Self {
        self
    }
}

impl<'a> IntoArg<'a> for &'a CStr {
    fn into_arg(self) -> Arg<'a> {
        let start: *const c_char = self.as_ptr();
        Arg::raw(start.cast())
    }
}

impl<'a> IntoArg<'a> for Saved {
    fn into_arg(self) -> Arg<'a> {
        Arg::ZERO
    }

    const FLAGS: u8 = flags::USE;
}

impl<'a> IntoArg<'a> for InFrame {
    fn into_arg(self) -> Arg<'a> {
        Arg::int(self.0 as isize)
    }

    const FLAGS: u8 = flags::FRAME;
}

/// The flags of an argument, with its type inferred.
pub(crate) const fn flags_of<'a, A: IntoArg<'a>>(_: &A) -> u8 {
    A::FLAGS
}

/// A system call to append to a plan; arguments that are not given are 0.
#[derive(Clone, Copy)]
pub(crate) struct Call<'c, 'a> {
    pub(crate) nr: u32,
    pub(crate) flags: u8,
    pub(crate) args: &'c [Arg<'a>],
}

/// `sys!(DUP3, fd, 1, 0)`: a system call by its name in `uapi::nr`.
macro_rules! sys {
    ($nr:ident $(, $arg:expr)* $(,)?) => {
        $crate::plan::op::Call {
            nr: $crate::uapi::nr::$nr as u32,
            flags: 0 $(| $crate::plan::op::flags_of(&$arg))*,
            args: &[$($crate::plan::op::IntoArg::into_arg($arg)),*],
        }
    };
}
pub(crate) use sys;

impl<'a> Op<'a> {
    /// An op that no child executes.
    pub(crate) const NONE: Self =
        Self::new(Tag::new(Step::Plan), Call { nr: 0, flags: 0, args: &[] });

    pub(crate) const fn new(tag: Tag, call: Call<'_, 'a>) -> Self {
        let mut args = [Arg::ZERO; 6];
        let mut place = 0;
        // Over all six, or LLVM makes the loop a call of memcpy, which a program
        // without a C library does not have.
        while place < args.len() {
            if place < call.args.len() {
                args[place] = call.args[place];
            }
            place += 1;
        }
        let Call { nr, flags, .. } = call;
        Self { nr, ok_errno: 0, flags, guard: 0, args, want: 0, tag }
    }

    pub(crate) const fn ok(&mut self, errno: Errno) -> &mut Self {
        self.ok_errno = errno.number();
        self
    }

    pub(crate) const fn ok_any(&mut self) -> &mut Self {
        self.ok_errno = ANY_ERRNO;
        self
    }

    pub(crate) const fn save(&mut self) -> &mut Self {
        self.flags |= flags::SAVE;
        self
    }

    pub(crate) const fn expect(&mut self, want: u32) -> &mut Self {
        self.flags |= flags::EXPECT;
        self.want = want;
        self
    }

    pub(crate) const fn exec(&mut self, weak: u32) -> &mut Self {
        self.flags |= flags::EXEC;
        self.want = weak;
        self
    }

    /// Of an exec op: an errno that says that there is a program is the end.
    pub(crate) const fn stop(&mut self) -> &mut Self {
        self.flags |= flags::STOP;
        self
    }

    /// Makes the call again when a signal interrupts it; any other error is the end, as for
    /// each op. It is what the exec op does that is the last.
    pub(crate) const fn again(&mut self) -> &mut Self {
        self.flags |= flags::EXEC | flags::LAST;
        self
    }

    /// Of a call whose first argument is the kept result: makes it only if that is not `fd`,
    /// which is the second argument then, and none of the call's.
    pub(crate) const fn unless_same(&mut self, fd: i32) -> &mut Self {
        self.guard = UNLESS_SAME;
        self.args[1] = Arg::int(fd as isize);
        self
    }

    /// Of a call whose first argument is the kept result: makes it for each signal in `set`. It
    /// must succeed with 0, and no later op may use what was kept before.
    pub(crate) const fn for_each(&mut self, set: SigSet) -> &mut Self {
        self.guard = EACH;
        self.args[4] = Arg::int(set.bits() as isize);
        // Which 0 is not, so that the loop looks for the next one.
        self.expect(1)
    }

    pub(crate) const fn only_after(&mut self, errno: Errno) -> &mut Self {
        self.guard = errno.number() as u8;
        self
    }
}

/// Ops that need no request: `ENDS[2..]` end a child that failed, all of them probe
/// the kernel.
///
/// The probe takes a copy of the table of descriptors, and ends with status 0 if it
/// could. Nothing has the number that it drops: were the table still shared, no harm
/// would be done.
static ENDS: [Op<'static>; 5] = {
    const fn op(nr: usize, args: &[Arg<'static>]) -> Op<'static> {
        Op::new(Tag::new(Step::Exit), Call { nr: nr as u32, flags: 0, args })
    }
    let none = Arg::int(u32::MAX as isize);
    let copy = op(sc::nr::CLOSE_RANGE, &[none, none, Arg::int(CLOSE_RANGE_UNSHARE as isize)]);
    let mut success = op(sc::nr::EXIT_GROUP, &[Arg::ZERO]);
    success.ok_any();
    let [group, single, trap] = ends(127);
    [copy, success, group, single, trap]
};

/// Ops that end the child with `status`. A filter may refuse both calls; what the third raises it
/// cannot.
pub(crate) const fn ends(status: isize) -> [Op<'static>; 3] {
    const fn end(nr: usize, status: isize) -> Op<'static> {
        let args = &[Arg::int(status)];
        let mut op = Op::new(Tag::new(Step::Exit), Call { nr: nr as u32, flags: 0, args });
        op.ok_any();
        op
    }
    let mut trap = Op::new(Tag::new(Step::Exit), Call { nr: 0, flags: 0, args: &[] });
    trap.guard = TRAP;
    [end(sc::nr::EXIT_GROUP, status), end(sc::nr::EXIT, status), trap]
}

/// Copies the table of descriptors; exits with 0 or, if it could not, 127.
pub(crate) const PROBE: &[Op<'static>] = &ENDS;

/// Ends a child that failed.
pub(crate) const EPILOGUE: &[Op<'static>] = ENDS.split_at(2).1;
