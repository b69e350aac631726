//! `posix_spawn_file_actions_t`: within the size that C libraries give it.

use core::ffi::{CStr, c_char, c_int, c_uint};
use core::mem::offset_of;
use core::ptr;
use core::slice;

use rawspawn::{Errno, FileAction};

use crate::c;

/// A `posix_spawn_file_actions_t`: what C libraries have at its start.
///
/// A program may have an object made by the C library and spawn with it here, or the other way
/// round: it has looked one of the functions up by itself, or bound it early. Neither knows
/// the other's actions, so both must refuse them.
#[repr(C)]
pub struct FileActions {
    /// In glibc how many actions there is room for, and how many there are. musl leaves it alone.
    counts: [c_int; 2],
    /// The actions. NULL: none, whoever made the object.
    block: *mut Block,
}
// glibc's and musl's.
const _: () = assert!(size_of::<FileActions>() <= 80 && offset_of!(FileActions, block) == 8);

/// The counts of an object of ours that has actions: glibc has room for 8 and more.
const OURS: [c_int; 2] = [1, 1];

/// What is allocated: this, and the actions behind it. A C library frees it as its own.
#[repr(C)]
struct Block {
    sign: [c_int; 8],
    room: usize,
    used: usize,
}

/// Where the actions of `block` are.
fn behind(block: *mut Block) -> *mut FileAction<'static> {
    block.wrapping_add(1).cast()
}

/// What C libraries take for the one action that there is, and fail at with `EBADF`; and what no
/// action of theirs is, as they take no such descriptors. It is no longer than the shortest of
/// theirs.
///
/// - glibc's `__spawn_action` begins with what it is, 0 to close, and has the descriptor at byte 8.
/// - musl's `fdop` has at its start the next, none, at byte 16 what it is, 2 to duplicate, then the
///   new number and the old.
const SIGN: [c_int; 8] = [0, 0, -1, 0x7261_7773, 2, 0, -1, 0x7061_776e];

impl FileActions {
    /// The block; NULL if there are no actions. `Err`: they are another library's.
    fn block(&self) -> Result<*mut Block, Errno> {
        // SAFETY: Whoever made it, it has as many bytes.
        let is_ours = || self.counts == OURS && unsafe { (*self.block).sign } == SIGN;
        if self.block.is_null() || is_ours() { Ok(self.block) } else { Err(Errno::EINVAL) }
    }

    /// The actions; as long as the object is not changed.
    pub(crate) fn as_slice(&self) -> Result<&[FileAction<'_>], Errno> {
        let block = self.block()?;
        if block.is_null() {
            return Ok(&[]);
        }
        // SAFETY: It is ours.
        let used = unsafe { (*block).used };
        // SAFETY: As many have been written behind it.
        Ok(unsafe { slice::from_raw_parts(behind(block), used) })
    }

    /// Appends `action`.
    fn push(&mut self, action: FileAction<'static>) -> Result<(), Errno> {
        let old = self.block()?;
        // SAFETY: NULL, or ours.
        let (used, room) = unsafe { old.as_ref() }.map_or((0, 0), |block| (block.used, block.room));
        if used == room {
            let room = room.saturating_mul(2).max(8);
            let size = room.checked_mul(size_of::<FileAction<'_>>());
            let size = size.and_then(|size| size.checked_add(size_of::<Block>()));
            // SAFETY: NULL, or what it has returned before.
            let new = unsafe { c::realloc(old.cast(), size.ok_or(Errno::ENOMEM)?) };
            if new.is_null() {
                return Err(Errno::ENOMEM);
            }
            (self.block, self.counts) = (new.cast(), OURS);
            // SAFETY: There is room for it.
            unsafe { self.block.write(Block { sign: SIGN, room, used }) };
        }
        // SAFETY: There is room for one more.
        let place = unsafe { behind(self.block).add(used) };
        // SAFETY: As above.
        unsafe { place.write(action) };
        // SAFETY: It is ours.
        unsafe { (*self.block).used = used + 1 };
        Ok(())
    }

    /// Appends what `make` says of a copy of `path`.
    ///
    /// # Safety
    ///
    /// A C string.
    unsafe fn push_path(
        &mut self,
        path: *const c_char,
        make: impl FnOnce(&'static CStr) -> FileAction<'static>,
    ) -> Result<(), Errno> {
        // SAFETY: The caller's promise.
        let copy = unsafe { c::duplicate(path) };
        if copy.is_null() {
            return Err(Errno::ENOMEM);
        }
        // SAFETY: It stays until `destroy` frees it, when nobody has it any more.
        let result = self.push(make(unsafe { CStr::from_ptr(copy) }));
        if result.is_err() {
            // SAFETY: Just made.
            unsafe { c::free(copy.cast()) };
        }
        result
    }
}

/// What a function of C's returns for `result`.
fn number(result: Result<(), Errno>) -> c_int {
    result.map_or_else(Errno::raw, |()| 0)
}

/// Whether `fd` could be a descriptor.
fn is_valid(fd: c_int) -> bool {
    u64::try_from(fd).is_ok_and(|fd| fd < c::descriptor_limit())
}

/// Appends `action`, which is about `fds`.
///
/// # Safety
///
/// An object that `init` has made.
unsafe fn push(actions: *mut FileActions, fds: &[c_int], action: FileAction<'static>) -> c_int {
    if !fds.iter().all(|fd| is_valid(*fd)) {
        return Errno::EBADF.raw();
    }
    // SAFETY: The caller's promise.
    number(unsafe { &mut *actions }.push(action))
}

/// An object without actions, for a C library too.
const NONE: FileActions = FileActions { counts: [0, 0], block: ptr::null_mut() };

/// `posix_spawn_file_actions_init(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawn_file_actions_init(actions: *mut FileActions) -> c_int {
    // SAFETY: The caller's room.
    unsafe { actions.write(NONE) };
    0
}

/// `posix_spawn_file_actions_destroy(3)`. One of another library is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawn_file_actions_destroy(actions: *mut FileActions) -> c_int {
    // SAFETY: The caller's object.
    let actions = unsafe { &mut *actions };
    let Ok(slice) = actions.as_slice() else { return Errno::EINVAL.raw() };
    for action in slice {
        if let FileAction::Open { path, .. } | FileAction::Chdir { path } = action {
            // SAFETY: What `duplicate` has made.
            unsafe { c::free(path.as_ptr().cast_mut().cast()) };
        }
    }
    // SAFETY: NULL, or what `realloc` has made.
    unsafe { c::free(actions.block.cast()) };
    *actions = NONE;
    0
}

/// `posix_spawn_file_actions_addopen(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawn_file_actions_addopen(
    actions: *mut FileActions,
    fd: c_int,
    path: *const c_char,
    flags: c_int,
    mode: c_uint,
) -> c_int {
    if !is_valid(fd) {
        return Errno::EBADF.raw();
    }
    let make = |path| FileAction::Open { fd, path, flags, mode };
    // SAFETY: The caller's object.
    let actions = unsafe { &mut *actions };
    // SAFETY: The caller's string.
    number(unsafe { actions.push_path(path, make) })
}

/// `posix_spawn_file_actions_addclose(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawn_file_actions_addclose(
    actions: *mut FileActions,
    fd: c_int,
) -> c_int {
    // SAFETY: The caller's promise.
    unsafe { push(actions, &[fd], FileAction::Close { fd }) }
}

/// `posix_spawn_file_actions_adddup2(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawn_file_actions_adddup2(
    actions: *mut FileActions,
    fd: c_int,
    new_fd: c_int,
) -> c_int {
    // SAFETY: The caller's promise.
    unsafe { push(actions, &[fd, new_fd], FileAction::Dup2 { fd, new_fd }) }
}

/// `posix_spawn_file_actions_addchdir_np(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawn_file_actions_addchdir_np(
    actions: *mut FileActions,
    path: *const c_char,
) -> c_int {
    // SAFETY: The caller's object.
    let actions = unsafe { &mut *actions };
    // SAFETY: The caller's string.
    number(unsafe { actions.push_path(path, |path| FileAction::Chdir { path }) })
}

/// `posix_spawn_file_actions_addchdir(3)`, of POSIX.1-2024.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawn_file_actions_addchdir(
    actions: *mut FileActions,
    path: *const c_char,
) -> c_int {
    // SAFETY: The caller's promises.
    unsafe { posix_spawn_file_actions_addchdir_np(actions, path) }
}

/// `posix_spawn_file_actions_addfchdir_np(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawn_file_actions_addfchdir_np(
    actions: *mut FileActions,
    fd: c_int,
) -> c_int {
    // Whether it could be a descriptor glibc leaves to the spawn. musl, and POSIX.1-2024, do not.
    if fd < 0 && !c::is_glibc() {
        return Errno::EBADF.raw();
    }
    // SAFETY: The caller's promise.
    unsafe { push(actions, &[], FileAction::Fchdir { fd }) }
}

/// `posix_spawn_file_actions_addfchdir(3)`, of POSIX.1-2024.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawn_file_actions_addfchdir(
    actions: *mut FileActions,
    fd: c_int,
) -> c_int {
    // SAFETY: The caller's promises.
    unsafe { posix_spawn_file_actions_addfchdir_np(actions, fd) }
}

/// `posix_spawn_file_actions_addclosefrom_np(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawn_file_actions_addclosefrom_np(
    actions: *mut FileActions,
    fd: c_int,
) -> c_int {
    // SAFETY: The caller's promise.
    unsafe { push(actions, &[fd], FileAction::CloseFrom { fd }) }
}

/// `posix_spawn_file_actions_addtcsetpgrp_np(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawn_file_actions_addtcsetpgrp_np(
    actions: *mut FileActions,
    fd: c_int,
) -> c_int {
    // SAFETY: The caller's promise.
    unsafe { push(actions, &[fd], FileAction::SetForeground { fd }) }
}
