//! A plan that owns what it points to.
#![allow(unsafe_code)]

use alloc::sync::Arc;
use core::ffi::{CStr, c_char};
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr;
use core::slice;

use super::op::{Arg, flags};
use super::pointee::{Pointee, pointees};
use super::{HeapBuffer, Plan, Step, Storage, Writer};
use crate::array::CStrArray;
use crate::compile::sandbox::Program;
use crate::errno::Errno;
use crate::error::Error;
use crate::mode::Mode;
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
    /// Points into `_room`, whose bytes stay where they are.
    plan: Plan<'static>,
    _room: HeapBuffer,
}

impl OwnedPlan {
    /// Copies `plan` and all that it points to.
    ///
    /// # Errors
    ///
    /// - [`Step::Hook`], [`Step::ListenFds`] or [`Step::Wait`] with `EOPNOTSUPP`: see
    ///   `Request::owned_plan`.
    pub(crate) fn new(plan: &Plan<'_>) -> Result<Self, Error> {
        let refused = |step| Err(Error::new(step, 0, Errno::EOPNOTSUPP));
        let has = |step| plan.ops.iter().any(|op| op.tag.step == step);
        if has(Step::Hook) {
            return refused(Step::Hook);
        }
        // In a fork the child writes to what is copied here.
        if has(Step::ListenFds) && plan.mode == Mode::Fork {
            return refused(Step::ListenFds);
        }
        if plan.around.needs_request() {
            return refused(Step::Wait);
        }
        let mut count = Writer::new(Storage::none());
        copy(plan, &mut count);
        let mut room = HeapBuffer::new(count.needed());
        // SAFETY: The buffer is not used again but to be freed, after the plan.
        let storage = unsafe { room.storage() };
        let mut writer = Writer::new(storage);
        copy(plan, &mut writer);
        let around = plan.around.flags_only();
        let plan = Plan { ops: writer.finish()?, inherits_environ: false, around, ..*plan };
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
            if op.tag.step == Step::CloseOthers {
                args[1] = kept(op.args[1], writer);
            }
        } else {
            for (place, pointee) in pointees(op) {
                args[place] = match pointee {
                    Pointee::Bytes(start, size) => {
                        // SAFETY: There is as much as it says.
                        let copied = unsafe { writer.bytes(start, size) };
                        Arg::raw(copied.cast())
                    }
                    Pointee::Filter(filter) => {
                        // SAFETY: A slice of integers.
                        let start =
                            unsafe { writer.bytes(filter.as_ptr().cast(), size_of_val(filter)) };
                        writer.value(Program::new(filter).at(start.cast()))
                    }
                    Pointee::Strings(array, which) => strings(array, writer, &mut known[which]),
                };
            }
        }
        writer.copy(op, args);
    }
}

/// A copy of `array`: pointers, and then all that they point to.
fn strings<'a>(array: CStrArray<'_>, writer: &mut Writer<'a>, known: &mut Known) -> Arg<'a> {
    let start = array.as_ptr().cast();
    if known.0 != start {
        let length = |string: &CStr| string.to_bytes_with_nul().len();
        let (count, bytes) =
            array.iter().fold((1, 0), |(n, bytes), string| (n + 1, bytes + length(string)));
        let place = match writer.words(count + bytes.div_ceil(size_of::<usize>())) {
            Some(words) => write_strings(array, count, words),
            None => start,
        };
        *known = (start, place);
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
    // SAFETY: The op of the step that closes others has it.
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
