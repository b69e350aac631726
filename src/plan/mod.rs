//! A plan: the array of ops that a child executes, in the caller's storage.
//!
//! `compile` writes it through a [`Writer`], `spawn` hands it to the child,
//! `show` prints it. Nothing else makes ops.
#![allow(unsafe_code)]

mod calls;
pub(crate) mod op;
#[cfg(feature = "alloc")]
mod owned;
pub(crate) mod pointee;
mod show;
mod step;
pub(crate) mod tables;

#[cfg(feature = "alloc")]
use alloc::boxed::Box;
use core::ffi::{CStr, c_char};
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
#[cfg(feature = "alloc")]
use core::ptr::NonNull;
use core::slice;

#[cfg(feature = "alloc")]
pub use owned::OwnedPlan;
pub use step::Step;

use crate::array::CStrArray;
use crate::errno::Errno;
use crate::error::Error;
use crate::kernel::Kernel;
use crate::mode::{Mode, Reason};
use crate::request::RawFd;
use crate::spawn::Stub;
use crate::spawn::around::Around;
use calls::Kind;
use op::{Arg, Call, IntoArg, Op, Tag, flags, flags_of};

/// Room for a plan of up to `OPS` system calls and `WORDS` machine words of
/// texts, such as the paths of a search.
///
/// A spawn that needs more fails with [`Step::Plan`] and `ENOBUFS`, before any process exists;
/// [`Request::needed`](crate::Request::needed) says how much it takes. With 16 ops there is room for
/// a request without options on every kernel and in every filter, and for a few options more:
/// most take one op each.
pub struct Buffer<const OPS: usize = 48, const WORDS: usize = 256> {
    ops: [MaybeUninit<Op<'static>>; OPS],
    words: [MaybeUninit<usize>; WORDS],
}

impl<const OPS: usize, const WORDS: usize> Buffer<OPS, WORDS> {
    /// Room, not yet written to.
    pub const fn new() -> Self {
        Self { ops: [const { MaybeUninit::uninit() }; OPS], words: [MaybeUninit::uninit(); WORDS] }
    }
}

impl<const OPS: usize, const WORDS: usize> Default for Buffer<OPS, WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const OPS: usize, const WORDS: usize> fmt::Debug for Buffer<OPS, WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer<{OPS}, {WORDS}>")
    }
}

/// How much room a plan takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needed {
    /// System calls, 64 bytes each.
    pub ops: usize,
    /// Machine words of texts.
    pub words: usize,
}

/// Words in an op.
const OP_WORDS: usize = size_of::<Op<'_>>() / size_of::<usize>();

impl Needed {
    /// The greater of both, of each.
    pub(crate) fn max(self, other: Self) -> Self {
        Self { ops: self.ops.max(other.ops), words: self.words.max(other.words) }
    }

    /// How many bytes that is, wherever they begin: for [`Storage::in_bytes`].
    pub const fn bytes(self) -> usize {
        // One op more than there are, for the sake of alignment.
        let ops = self.ops.saturating_add(self.words.div_ceil(OP_WORDS)).saturating_add(1);
        ops.saturating_mul(size_of::<Op<'_>>())
    }
}

/// Room for a plan, borrowed from a [`Buffer`] or a `HeapBuffer`.
pub struct Storage<'s> {
    ops: &'s mut [MaybeUninit<Op<'static>>],
    words: &'s mut [MaybeUninit<usize>],
}

impl<'s> Storage<'s> {
    /// Room for `needed` in memory of any kind, such as a frame of the caller's own; `None` if
    /// that has fewer than [`Needed::bytes`].
    ///
    /// ```
    /// use core::mem::MaybeUninit;
    /// use rawspawn::{Exec, Request, Storage, argv};
    ///
    /// let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
    /// request.env(argv![]);
    /// let mut memory = [MaybeUninit::uninit(); 4096];
    /// let room = Storage::in_bytes(&mut memory, request.needed()?).expect("4 KiB will do");
    /// assert!(request.spawn(room)?.wait()?.success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn in_bytes(bytes: &'s mut [MaybeUninit<u8>], needed: Needed) -> Option<Self> {
        if bytes.len() < needed.bytes() {
            return None;
        }
        // SAFETY: Room is room, whatever for.
        let (_, aligned, _) = unsafe { bytes.align_to_mut::<MaybeUninit<Op<'static>>>() };
        let (ops, rest) = aligned.split_at_mut_checked(needed.ops)?;
        let words = needed.words.min(rest.len() * OP_WORDS);
        // SAFETY: `rest` as words.
        let words = unsafe { slice::from_raw_parts_mut(rest.as_mut_ptr().cast(), words) };
        Some(Self { ops, words })
    }

    /// Room for ops that need no texts.
    pub(crate) fn for_ops(ops: &'s mut [MaybeUninit<Op<'static>>]) -> Self {
        Self { ops, words: &mut [] }
    }

    /// No room: to learn how much is needed.
    pub(crate) const fn none() -> Self {
        Self { ops: &mut [], words: &mut [] }
    }

    /// The same room, for a shorter time.
    pub(crate) fn reborrow(&mut self) -> Storage<'_> {
        Storage { ops: self.ops, words: self.words }
    }
}

impl fmt::Debug for Storage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Storage({} ops, {} words)", self.ops.len(), self.words.len())
    }
}

impl<'s, const OPS: usize, const WORDS: usize> From<&'s mut Buffer<OPS, WORDS>> for Storage<'s> {
    fn from(buffer: &'s mut Buffer<OPS, WORDS>) -> Self {
        Self { ops: &mut buffer.ops, words: &mut buffer.words }
    }
}

/// Room for a plan on the heap, in the size that a request needs.
#[cfg(feature = "alloc")]
pub struct HeapBuffer {
    /// Of a `Box`, which would not allow that it is moved while something points to its bytes. Not
    /// of ops: allocators are slow at alignment.
    room: NonNull<[MaybeUninit<u8>]>,
    needed: Needed,
}

// SAFETY: It owns its bytes, as the `Box` would.
#[cfg(feature = "alloc")]
unsafe impl Send for HeapBuffer {}
// SAFETY: As above.
#[cfg(feature = "alloc")]
unsafe impl Sync for HeapBuffer {}

#[cfg(feature = "alloc")]
impl HeapBuffer {
    /// Room for `needed`.
    pub fn new(needed: Needed) -> Self {
        Self { room: NonNull::from(Box::leak(Box::new_uninit_slice(needed.bytes()))), needed }
    }

    /// The room, for as long as the caller says.
    ///
    /// # Safety
    ///
    /// The buffer must outlive what is put there, and not be used until then.
    unsafe fn storage<'s>(&mut self) -> Storage<'s> {
        // SAFETY: The bytes are there as long as the buffer, for as long as the caller promises.
        let bytes = unsafe { self.room.as_mut() };
        Storage::in_bytes(bytes, self.needed).unwrap_or(Storage::none())
    }
}

#[cfg(feature = "alloc")]
impl Default for HeapBuffer {
    fn default() -> Self {
        Self::new(Needed::default())
    }
}

#[cfg(feature = "alloc")]
impl Drop for HeapBuffer {
    fn drop(&mut self) {
        // SAFETY: It came from a `Box`, and whoever borrowed it has gone.
        drop(unsafe { Box::from_raw(self.room.as_ptr()) });
    }
}

#[cfg(feature = "alloc")]
impl fmt::Debug for HeapBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeapBuffer({} ops, {} words)", self.needed.ops, self.needed.words)
    }
}

#[cfg(feature = "alloc")]
impl<'s> From<&'s mut HeapBuffer> for Storage<'s> {
    fn from(buffer: &'s mut HeapBuffer) -> Self {
        // SAFETY: The buffer is borrowed for as long.
        unsafe { buffer.storage() }
    }
}

/// What a child is going to execute. `Debug` and `Display` print it like strace.
///
/// It can be kept, and spawned by [`spawn`](Self::spawn) again and again:
///
/// ```
/// use rawspawn::{Buffer, Exec, Request, argv};
///
/// let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
/// request.env(argv![]);
/// let mut buffer = Buffer::<8>::new();
/// let plan = request.plan(&mut buffer)?;
/// for _ in 0..3 {
///     assert!(plan.spawn()?.wait()?.success());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[allow(clippy::struct_excessive_bools)] // a property each
pub struct Plan<'a> {
    pub(crate) ops: &'a [Op<'a>],
    pub(crate) kernel: Kernel,
    pub(crate) mode: Mode,
    pub(crate) reason: Reason,
    /// The parent gets a pidfd.
    pub(crate) pidfd: bool,
    /// A child that dies before its exec is left to be waited for.
    pub(crate) leave_dead: bool,
    /// The child is made in this cgroup, or its stub enters it.
    pub(crate) cgroup: Option<RawFd>,
    /// The parent gets a descriptor that tells of the exec.
    #[cfg(feature = "alloc")]
    pub(crate) exec_fd: bool,
    /// The environment is the caller's own, which may move.
    pub(crate) inherits_environ: bool,
    /// The child starts with the parent's table of descriptors, until its first
    /// op takes a copy of the part that it needs.
    pub(crate) shares_fds: bool,
    /// An op calls a function on the stack below the frame.
    pub(crate) needs_stack: bool,
    /// What the parent does around the clone.
    pub(crate) around: Around<'a>,
    /// What runs a plan that is for a stub.
    pub(crate) stub: Option<&'static Stub>,
    /// The first op of the stub, if it is for one.
    pub(crate) stub_at: usize,
}

impl Plan<'_> {
    /// The mode that it is for.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Why it is this mode.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Why the calling thread has to wait for the exec, if it has to.
    pub(crate) fn why_wait(&self) -> Option<Reason> {
        if self.reason != Reason::Default {
            return Some(self.reason);
        }
        if self.around.needs_request() {
            return Some(Reason::Parent);
        }
        self.ops.iter().find_map(|op| match op.tag.step {
            Step::Hook => Some(Reason::Hook),
            Step::OomScoreAdj => Some(Reason::OomScoreAdj),
            // It takes a stack, of which there is one.
            _ if op.flags & flags::CALL != 0 => Some(Reason::Kernel),
            _ => None,
        })
    }

    /// Whether an argument of a call is the descriptor `fd`, in the child or its parent.
    pub(crate) fn names(&self, fd: RawFd) -> bool {
        self.around.joins(fd)
            || self.cgroup == Some(fd)
            || self.ops.iter().any(|op| {
                calls::kinds(op).is_some_and(|(_, kinds)| {
                    let mut args = kinds.iter().zip(&op.args);
                    args.any(|(kind, arg)| matches!(kind, Kind::Fd) && arg.value() == fd as isize)
                })
            })
    }

    /// The step and item of the op at `address`, as a child reported it.
    pub(crate) fn tag_at(&self, address: *const ()) -> Tag {
        let offset = address.addr().wrapping_sub(self.ops.as_ptr().addr());
        let op = self.ops.get(offset / size_of::<Op<'_>>());
        op.map_or(Tag::new(Step::Child), |op| op.tag)
    }
}

/// Appends ops to the caller's storage, and texts that they point to.
///
/// Past the end of the storage it goes on counting, so that the error can say
/// how much is needed.
pub(crate) struct Writer<'a> {
    ops: &'a mut [MaybeUninit<Op<'static>>],
    words: &'a mut [MaybeUninit<usize>],
    needed: Needed,
    /// Whether the arena ran out: then some ops point nowhere.
    too_small: bool,
    /// Whether an op calls a function on the stack below the frame.
    needs_stack: bool,
    /// The first op of the stub.
    stub_at: usize,
    /// The program's environment, if it is neither the request's nor the caller's.
    environ: Option<CStrArray<'a>>,
    /// What is written to once there is no room.
    spare: Op<'a>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(Storage { ops, words }: Storage<'a>) -> Self {
        let needed = Needed { ops: 0, words: 0 };
        let (too_small, needs_stack, stub_at) = (false, false, usize::MAX);
        let environ = None;
        Self { ops, words, needed, too_small, needs_stack, stub_at, environ, spare: Op::NONE }
    }

    /// Appends `call` as part of `tag`, and returns the op to say more of it.
    #[allow(clippy::inline_always)] // each call of it would take twice the room
    #[inline(always)]
    pub(crate) fn push(&mut self, tag: Tag, call: Call<'_, 'a>) -> &mut Op<'a> {
        let arg = |place: usize| call.args.get(place).copied().unwrap_or(Arg::ZERO);
        let head = call.nr | u32::from(call.flags) << 24;
        let op = self.append(tag, head, arg(0), arg(1), arg(2));
        if call.args.len() > 3 {
            op.args[3] = arg(3);
        }
        if call.args.len() > 4 {
            op.args[4] = arg(4);
        }
        op
    }

    /// The op with the arguments that most calls have, in registers and out of
    /// line: there are some 40 calls, and programs of 20 KiB.
    #[inline(never)]
    fn append(&mut self, tag: Tag, head: u32, a: Arg<'a>, b: Arg<'a>, c: Arg<'a>) -> &mut Op<'a> {
        let slot = self.ops.get_mut(self.needed.ops);
        self.needed.ops += 1;
        let args = &[a, b, c];
        let op = Op::new(tag, Call { nr: head & 0xff_ffff, flags: (head >> 24) as u8, args });
        let Some(slot) = slot else {
            self.spare = op;
            return &mut self.spare;
        };
        // Only the lifetime differs, and the slot is not read as 'static.
        let slot = core::ptr::from_mut(slot).cast::<MaybeUninit<Op<'a>>>();
        // SAFETY: `slot` came from a `&mut` to room for an op.
        unsafe { &mut *slot }.write(op)
    }

    /// Appends a copy of `op`, whose arguments now are `args`.
    pub(crate) fn copy(&mut self, op: &Op<'_>, args: [Arg<'a>; 6]) {
        let Op { nr, ok_errno, flags, guard, want, tag, .. } = *op;
        let slot = self.push(tag, Call { nr, flags, args: &[] });
        *slot = Op { nr, ok_errno, flags, guard, args, want, tag };
    }

    /// A pointer to a copy of the `size` bytes at `start`, in the arena.
    ///
    /// # Safety
    ///
    /// There are that many, all of them initialised.
    #[cfg(feature = "alloc")]
    pub(crate) unsafe fn bytes(&mut self, start: *const u8, size: usize) -> *const u8 {
        let Some(words) = self.words(size.div_ceil(size_of::<usize>())) else { return start };
        let place = words.as_mut_ptr().cast::<u8>();
        // SAFETY: The caller's promise, and room for them.
        unsafe { place.copy_from_nonoverlapping(start, size) };
        place
    }

    /// Takes `count` words from the arena; `None` once the storage is too small.
    #[inline(never)]
    pub(super) fn words(&mut self, count: usize) -> Option<&'a mut [MaybeUninit<usize>]> {
        self.needed.words = self.needed.words.saturating_add(count);
        let words = core::mem::take(&mut self.words);
        let Some((taken, rest)) = words.split_at_mut_checked(count) else {
            self.too_small = true;
            return None;
        };
        self.words = rest;
        Some(taken)
    }

    /// A C string that is `parts` joined, in the arena; an empty one once the
    /// storage is too small, when no child will read it.
    pub(crate) fn text(&mut self, parts: &[&[u8]]) -> Text<'a> {
        let length = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.len()));
        let Some(words) = self.words(length / size_of::<usize>() + 1) else {
            return Text(c"".as_ptr(), PhantomData);
        };
        let start = words.as_mut_ptr().cast::<u8>();
        let bytes = parts.iter().flat_map(|part| part.iter()).chain(&[0]);
        for (offset, byte) in bytes.enumerate() {
            // SAFETY: `words` has room for `length` bytes and the NUL, of which
            // `offset` is at most the last.
            let to = unsafe { start.add(offset) };
            // Volatile, or LLVM makes this a call of memcpy, which a program
            // without libc does not have.
            // SAFETY: `to` is within `words`, which is ours alone.
            unsafe { to.write_volatile(*byte) };
        }
        Text(start.cast(), PhantomData)
    }

    /// The NULL-terminated array of `first` and, of `rest`, what `is_kept`, in the arena;
    /// `None` once the storage is too small.
    pub(crate) fn pointers(
        &mut self,
        first: &[*const c_char],
        rest: CStrArray<'_>,
        is_kept: &dyn Fn(&CStr) -> bool,
    ) -> Option<CStrArray<'a>> {
        // Room for all, which is how much is needed at most.
        let count = rest.iter().count().saturating_add(first.len() + 1);
        let words = self.words(count)?;
        let start = words.as_mut_ptr().cast::<*const c_char>();
        let mut slots = words.iter_mut();
        let mut put = |pointer: *const c_char| {
            if let Some(slot) = slots.next() {
                let slot = core::ptr::from_mut(slot).cast::<*const c_char>();
                // SAFETY: `slot` is a word of ours, and a pointer fits a word.
                unsafe { slot.write(pointer) };
            }
        };
        first.iter().copied().for_each(&mut put);
        rest.iter().filter(|string| is_kept(string)).for_each(|string| put(string.as_ptr()));
        put(core::ptr::null());
        // SAFETY: The array is in the arena, and the caller says how long the strings live.
        Some(unsafe { CStrArray::from_ptr(start) })
    }

    /// Gives the program `first`, and of `rest` what `is_kept`, for its environment. The
    /// strings live as long as the plan.
    pub(crate) fn set_environ(
        &mut self,
        first: &[*const c_char],
        rest: CStrArray<'_>,
        is_kept: &dyn Fn(&CStr) -> bool,
    ) {
        // Without room the one that there was stays, for its PATH: what is needed is counted.
        self.environ = self.pointers(first, rest, is_kept);
    }

    /// The environment that [`set_environ`](Self::set_environ) made.
    pub(crate) fn environ(&self) -> Option<CStrArray<'a>> {
        self.environ
    }

    /// `count` words of zeros, in the arena.
    pub(crate) fn zeroed(&mut self, count: usize) -> Option<&'a mut [usize]> {
        let words = self.words(count)?;
        for word in &mut *words {
            // Volatile for the reason of `text`: no call of memset.
            // SAFETY: A word of ours.
            unsafe { word.as_mut_ptr().write_volatile(0) };
        }
        let (start, length) = (words.as_mut_ptr().cast::<usize>(), words.len());
        // SAFETY: Each word was just written, and `words` gives them up.
        Some(unsafe { slice::from_raw_parts_mut(start, length) })
    }

    /// A pointer to a copy of `value` in the arena; null once the storage is
    /// too small.
    pub(crate) fn value<T: Copy + 'a>(&mut self, value: T) -> Arg<'a> {
        const { assert!(align_of::<T>() <= align_of::<usize>()) };
        let Some(words) = self.words(size_of::<T>().div_ceil(size_of::<usize>())) else {
            return Arg::ZERO;
        };
        let place = words.as_mut_ptr().cast::<T>();
        // SAFETY: `words` has the size of a `T`, and its alignment.
        unsafe { place.write(value) };
        Arg::raw(place.cast_const().cast())
    }

    /// Appends a call of `function`, a `extern "C" fn(*const T) -> isize`, with
    /// `data`, on the stack that ends at `stack`.
    pub(crate) fn call(
        &mut self,
        tag: Tag,
        function: *const (),
        data: Arg<'a>,
        stack: impl IntoArg<'a>,
    ) {
        let flags = flags::CALL | flags_of(&stack);
        self.needs_stack |= flags & flags::FRAME != 0;
        let args = &[Arg::raw(function), data, stack.into_arg()];
        self.push(tag, Call { nr: 0, flags, args });
    }

    /// How much has been appended, whether there was room or not.
    pub(crate) fn needed(&self) -> Needed {
        self.needed
    }

    /// Whether an op calls a function on the stack below the frame.
    pub(crate) fn needs_stack(&self) -> bool {
        self.needs_stack
    }

    /// What is appended from now on is for the stub.
    pub(crate) fn begin_stub(&mut self) {
        self.stub_at = self.needed.ops;
    }

    /// The first op of the stub.
    pub(crate) fn stub_at(&self) -> usize {
        self.stub_at
    }

    /// Whether what is appended is for the stub.
    pub(crate) fn is_in_stub(&self) -> bool {
        self.stub_at != usize::MAX
    }

    /// The ops, the last of which is an exec, and reports.
    pub(crate) fn finish(self) -> Result<&'a [Op<'a>], Error> {
        self.finish_mut().map(|ops| &*ops)
    }

    /// The same, for last changes.
    pub(crate) fn finish_mut(self) -> Result<&'a mut [Op<'a>], Error> {
        let too_small = Error::new(Step::Plan, 0, Errno::ENOBUFS);
        if self.too_small {
            return Err(too_small);
        }
        let ops = self.ops.get_mut(..self.needed.ops).ok_or(too_small)?;
        let start = ops.as_mut_ptr().cast::<Op<'a>>();
        // SAFETY: `push` has written each of the first `needed.ops` slots.
        let ops = unsafe { slice::from_raw_parts_mut(start, self.needed.ops) };
        // Behind anything else the child would go on: there is no exec where a search has passed
        // over all directories.
        let last = ops.last_mut().filter(|op| op.flags & flags::EXEC != 0);
        last.ok_or(Error::new(Step::Exec, 0, Errno::ENOENT))?.flags |= flags::LAST;
        Ok(ops)
    }
}

/// A C string in a writer's arena.
#[derive(Clone, Copy)]
pub(crate) struct Text<'a>(*const c_char, PhantomData<&'a CStr>);

impl<'a> Text<'a> {
    pub(crate) const fn new(text: &'a CStr) -> Self {
        Self(text.as_ptr(), PhantomData)
    }

    pub(crate) const fn as_ptr(self) -> *const c_char {
        self.0
    }
}

impl<'a> IntoArg<'a> for Text<'a> {
    fn into_arg(self) -> Arg<'a> {
        Arg::raw(self.0.cast())
    }
}
