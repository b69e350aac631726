//! A plan that owns what it points to.
#![allow(unsafe_code)]

use alloc::sync::Arc;
use core::ffi::{CStr, c_char};
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr;
use core::slice;

use linux_raw_sys::general as uapi;

use super::calls::{Kind, kinds};
use super::op::{Arg, Op, flags};
use super::{HeapBuffer, Plan, Step, Storage, Writer};
use crate::array::{CStrArray, c_str};
use crate::errno::Errno;
use crate::error::Error;
use crate::request::FdAction;
use crate::spawn::fallback::Others;

/// A [`Plan`] with a copy of all that its request borrowed: paths, arguments, the
/// environment.
///
/// It can be kept as long as wanted, sent to other threads, and spawned and
/// [started](Self::start) by several at once. A clone is the same plan.
///
/// ```
/// use rawspawn::{Exec, Request, argv};
///
/// let mut request = Request::new(Exec::Path(c"/bin/true"), argv![c"true"]);
/// let plan = request.env(argv![]).owned_plan()?;
/// let started: Vec<_> = (0..3).map(|_| plan.start()).collect();
/// for pending in started {
///     assert!(pending?.finish()?.wait()?.success());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct OwnedPlan(Arc<Image>);

struct Image {
    /// Points into `_room`, which stays where it is: its parts are on the heap.
    plan: Plan<'static>,
    _room: HeapBuffer,
}

impl OwnedPlan {
    /// Copies `plan` and all that it points to.
    ///
    /// # Errors
    ///
    /// - [`Step::Hook`] with `EOPNOTSUPP`: only the caller knows what a hook's data is.
    pub(crate) fn new(plan: &Plan<'_>) -> Result<Self, Error> {
        let calls_hook = |op: &Op<'_>| op.tag.step == Step::Hook;
        if plan.ops.iter().any(calls_hook) {
            return Err(Error::new(Step::Hook, 0, Errno::EOPNOTSUPP));
        }
        let mut count = Writer::new(Storage::none());
        copy(plan, &mut count);
        let mut room = HeapBuffer::new(count.needed());
        // SAFETY: The buffer is not used again but to be freed, after the plan.
        let storage = unsafe { room.storage() };
        let mut writer = Writer::new(storage);
        copy(plan, &mut writer);
        let plan = Plan { ops: writer.finish()?, inherits_environ: false, ..*plan };
        Ok(Self(Arc::new(Image { plan, _room: room })))
    }

    /// The plan.
    pub fn plan(&self) -> &Plan<'_> {
        &self.0.plan
    }
}

impl fmt::Debug for OwnedPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.plan(), f)
    }
}

/// What an array of strings has become: asked for by each exec op, copied once.
type Known = (*const (), *const ());

/// Appends the ops of `plan` to `writer`, and all that they point to.
fn copy(plan: &Plan<'_>, writer: &mut Writer<'_>) {
    let mut known: [Known; 2] = [(ptr::null(), ptr::null()); 2];
    for op in plan.ops {
        // What is no pointer stays as it is.
        let mut args = op.args.map(|arg| Arg::raw(arg.as_ptr()));
        if op.flags & flags::CALL != 0 {
            args[1] = kept(op.args[1], writer);
        } else if let Some((_, kinds)) = kinds(op) {
            for (place, kind) in kinds.iter().enumerate() {
                let from_frame = place == 2 && op.flags & flags::FRAME != 0;
                if !from_frame && op.args[place].value() != 0 {
                    args[place] = argument(*kind, op, place, writer, &mut known);
                }
            }
        }
        writer.copy(op, args);
    }
}

/// The argument of `op` at `place`, with what it points to copied.
fn argument<'a>(
    kind: Kind,
    op: &Op<'_>,
    place: usize,
    writer: &mut Writer<'a>,
    known: &mut [Known; 2],
) -> Arg<'a> {
    let start = op.args[place].as_ptr::<u8>();
    let before = || op.args[place.saturating_sub(1)].value() as usize;
    let size = match kind {
        // SAFETY: `compile` made the op with a C string that lives as long as the plan.
        Kind::Text => unsafe { c_str(start.cast()) }.to_bytes_with_nul().len(),
        Kind::CInt => size_of::<i32>(),
        Kind::Rlimit => size_of::<uapi::rlimit64>(),
        // `signals` has tables of this size, at least as long as the kernel's.
        Kind::Sigaction => size_of::<[usize; 4]>(),
        Kind::Sigset => size_of::<u64>(),
        Kind::Timespec => size_of::<uapi::timespec>(),
        Kind::Cpus => before(),
        Kind::Gids => before() * size_of::<u32>(),
        Kind::Strings => return strings(start, writer, &mut known[0]),
        Kind::Environ => return strings(start, writer, &mut known[1]),
        _ => return Arg::raw(start.cast()),
    };
    // SAFETY: The table of calls says how much there is.
    Arg::raw(unsafe { writer.bytes(start, size) }.cast())
}

/// A copy of the array of strings at `start`: pointers, and then all that they point to.
fn strings<'a>(start: *const u8, writer: &mut Writer<'a>, known: &mut Known) -> Arg<'a> {
    if known.0 != start.cast() {
        // SAFETY: `compile` made the op with such an array, which lives as long as the
        // plan.
        let array = unsafe { CStrArray::from_ptr(start.cast()) };
        let length = |string: &CStr| string.to_bytes_with_nul().len();
        let (count, bytes) =
            array.iter().fold((1, 0), |(n, bytes), string| (n + 1, bytes + length(string)));
        let place = match writer.words(count + bytes.div_ceil(size_of::<usize>())) {
            Some(words) => write_strings(array, count, words),
            None => start.cast(),
        };
        *known = (start.cast(), place);
    }
    Arg::raw(known.1)
}

/// Writes the `count` pointers of `array` to `words`, the last of which is NULL, and what
/// they point to behind them.
fn write_strings(
    array: CStrArray<'_>,
    count: usize,
    words: &mut [MaybeUninit<usize>],
) -> *const () {
    let mut pointer = words.as_mut_ptr().cast::<*const c_char>();
    let place = pointer.cast_const().cast();
    // SAFETY: There is room for `count` pointers, and more.
    let mut text = unsafe { pointer.add(count) }.cast::<c_char>();
    for string in array {
        let length = string.to_bytes_with_nul().len();
        // SAFETY: Of the room for all strings, this one's is next.
        unsafe { text.copy_from_nonoverlapping(string.as_ptr(), length) };
        // SAFETY: A word that a pointer fits, one of `count`.
        unsafe { pointer.write(text) };
        // SAFETY: At most the end of the room.
        text = unsafe { text.add(length) };
        // SAFETY: The last of `count` is still to come.
        pointer = unsafe { pointer.add(1) };
    }
    // SAFETY: The last of `count`.
    unsafe { pointer.write(ptr::null()) };
    place
}

const ACTION_WORDS: usize = size_of::<FdAction<'_>>() / size_of::<usize>();

/// A copy of the list of descriptors that `mark_others` leaves alone.
fn kept<'a>(others: Arg<'_>, writer: &mut Writer<'a>) -> Arg<'a> {
    // SAFETY: The one op that calls another function than a hook has it.
    let Others(actions) = unsafe { *others.as_ptr::<Others<'_>>() };
    let kept = actions.iter().filter(|action| action.is_kept()).map(FdAction::child_fd);
    let count = kept.clone().count();
    let copied = match writer.words(count * ACTION_WORDS) {
        Some(words) => {
            let first = words.as_mut_ptr().cast::<FdAction<'a>>();
            for (place, fd) in kept.enumerate() {
                // SAFETY: There are `count` places.
                let place = unsafe { first.add(place) };
                // SAFETY: Of the right size, and aligned as a word. Only the number is read.
                unsafe { place.write(FdAction::Map { parent_fd: fd, child_fd: fd }) };
            }
            // SAFETY: `count` of them were just written.
            unsafe { slice::from_raw_parts(first, count) }
        }
        None => &[],
    };
    writer.value(Others(copied))
}
