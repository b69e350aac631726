//! `posix_spawn_file_actions_t`: within the size that C libraries give it.

use core::ffi::{CStr, c_char, c_int, c_uint};
use core::ptr;
use core::slice;

use rawspawn::{Errno, FileAction};

use crate::c;

/// A `posix_spawn_file_actions_t`: an array that grows.
#[repr(C)]
pub struct FileActions {
    room: usize,
    used: usize,
    start: *mut FileAction<'static>,
}
// glibc's and musl's.
const _: () = assert!(size_of::<FileActions>() <= 80);

impl FileActions {
    /// The actions; as long as the object is not changed.
    pub(crate) fn as_slice(&self) -> &[FileAction<'_>] {
        if self.used == 0 {
            return &[];
        }
        // SAFETY: As many have been written there.
        unsafe { slice::from_raw_parts(self.start, self.used) }
    }

    /// Appends `action`.
    fn push(&mut self, action: FileAction<'static>) -> c_int {
        if self.used == self.room {
            let room = self.room.saturating_mul(2).max(8);
            let Some(size) = room.checked_mul(size_of::<FileAction<'_>>()) else {
                return Errno::ENOMEM.raw();
            };
            // SAFETY: NULL, or what it has returned before.
            let start = unsafe { c::realloc(self.start.cast(), size) };
            if start.is_null() {
                return Errno::ENOMEM.raw();
            }
            (self.start, self.room) = (start.cast(), room);
        }
        // SAFETY: There is room for one more.
        let place = unsafe { self.start.add(self.used) };
        // SAFETY: As above.
        unsafe { place.write(action) };
        self.used += 1;
        0
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
    ) -> c_int {
        // SAFETY: The caller's promise.
        let copy = unsafe { c::duplicate(path) };
        if copy.is_null() {
            return Errno::ENOMEM.raw();
        }
        // SAFETY: It stays until `destroy` frees it, when nobody has it any more.
        let result = self.push(make(unsafe { CStr::from_ptr(copy) }));
        if result != 0 {
            // SAFETY: Just made.
            unsafe { c::free(copy.cast()) };
        }
        result
    }
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
    unsafe { &mut *actions }.push(action)
}

/// `posix_spawn_file_actions_init(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawn_file_actions_init(actions: *mut FileActions) -> c_int {
    let none = FileActions { room: 0, used: 0, start: ptr::null_mut() };
    // SAFETY: The caller's room.
    unsafe { actions.write(none) };
    0
}

/// `posix_spawn_file_actions_destroy(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawn_file_actions_destroy(actions: *mut FileActions) -> c_int {
    // SAFETY: The caller's object.
    let actions = unsafe { &*actions };
    for action in actions.as_slice() {
        if let FileAction::Open { path, .. } | FileAction::Chdir { path } = action {
            // SAFETY: What `duplicate` has made.
            unsafe { c::free(path.as_ptr().cast_mut().cast()) };
        }
    }
    // SAFETY: NULL, or what `realloc` has made.
    unsafe { c::free(actions.start.cast()) };
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
    unsafe { actions.push_path(path, make) }
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
    unsafe { actions.push_path(path, |path| FileAction::Chdir { path }) }
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
    // Whether it could be a descriptor glibc leaves to the spawn.
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
