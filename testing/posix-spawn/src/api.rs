//! The functions of spawn.h, of one library or another.

use std::ffi::{CStr, CString, c_char, c_int, c_short, c_uint, c_void};
use std::ptr;

use crate::case::{Action, Case};

/// Room for any object of spawn.h.
#[repr(C, align(16))]
struct Object([u8; 512]);

type Spawn = unsafe extern "C" fn(
    *mut c_int,
    *const c_char,
    *const Object,
    *const Object,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type One = unsafe extern "C" fn(*mut Object) -> c_int;
type WithInt = unsafe extern "C" fn(*mut Object, c_int) -> c_int;
type WithInts = unsafe extern "C" fn(*mut Object, c_int, c_int) -> c_int;
type WithText = unsafe extern "C" fn(*mut Object, *const c_char) -> c_int;
type WithShort = unsafe extern "C" fn(*mut Object, c_short) -> c_int;
type WithPlace = unsafe extern "C" fn(*mut Object, *const c_void) -> c_int;
type Open = unsafe extern "C" fn(*mut Object, c_int, *const c_char, c_int, c_uint) -> c_int;

macro_rules! api {
    ($($field:ident $name:literal $ty:ty;)+) => {
        /// The functions.
        pub(crate) struct Api { $($field: $ty),+ }

        impl Api {
            fn of(handle: *mut c_void) -> Self {
                Self { $($field: {
                    // SAFETY: A handle, and a C string.
                    let function = unsafe { libc::dlsym(handle, $name.as_ptr()) };
                    assert!(!function.is_null(), "{:?}", $name);
                    // SAFETY: Of this type, says spawn.h.
                    unsafe { std::mem::transmute::<*mut c_void, $ty>(function) }
                }),+ }
            }
        }
    };
}

api! {
    spawn c"posix_spawn" Spawn;
    spawnp c"posix_spawnp" Spawn;
    actions_init c"posix_spawn_file_actions_init" One;
    actions_destroy c"posix_spawn_file_actions_destroy" One;
    addclose c"posix_spawn_file_actions_addclose" WithInt;
    addopen c"posix_spawn_file_actions_addopen" Open;
    adddup2 c"posix_spawn_file_actions_adddup2" WithInts;
    addchdir c"posix_spawn_file_actions_addchdir_np" WithText;
    addfchdir c"posix_spawn_file_actions_addfchdir_np" WithInt;
    addclosefrom c"posix_spawn_file_actions_addclosefrom_np" WithInt;
    addtcsetpgrp c"posix_spawn_file_actions_addtcsetpgrp_np" WithInt;
    attr_init c"posix_spawnattr_init" One;
    attr_destroy c"posix_spawnattr_destroy" One;
    setflags c"posix_spawnattr_setflags" WithShort;
    setpgroup c"posix_spawnattr_setpgroup" WithInt;
    setsigdefault c"posix_spawnattr_setsigdefault" WithPlace;
    setsigmask c"posix_spawnattr_setsigmask" WithPlace;
    setschedpolicy c"posix_spawnattr_setschedpolicy" WithInt;
    setschedparam c"posix_spawnattr_setschedparam" WithPlace;
}

impl Api {
    /// The C library's.
    pub(crate) fn of_libc() -> Self {
        Self::of(libc::RTLD_DEFAULT)
    }

    /// Those of the shared library at `path`.
    pub(crate) fn of_library(path: &str) -> Self {
        let path = CString::new(path).expect("no NUL");
        // SAFETY: A C string; the library's constructor does nothing.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null(), "{path:?}");
        Self::of(handle)
    }

    /// Makes the calls of `case`: what each of them returns, the last of all the spawn; and
    /// the pid.
    pub(crate) fn spawn(&self, case: &Case, report: &CStr) -> (Vec<c_int>, c_int) {
        let mut actions = Object([0x5a; 512]);
        let mut attributes = Object([0x5a; 512]);
        // SAFETY: Room for it.
        assert_eq!(unsafe { (self.actions_init)(&raw mut actions) }, 0);
        // SAFETY: As above.
        assert_eq!(unsafe { (self.attr_init)(&raw mut attributes) }, 0);
        // What is refused is left out.
        let added = case.actions.iter().map(|action| self.add(&mut actions, action));
        let mut results: Vec<_> = added.collect();
        results.extend(self.set(&mut attributes, case));
        let program = CString::new(case.program.clone()).expect("no NUL");
        let argv = [c"child".as_ptr(), report.as_ptr(), c"x".as_ptr(), ptr::null()];
        let envp = [c"A=B".as_ptr(), ptr::null()];
        let spawn = if case.searches { self.spawnp } else { self.spawn };
        let with_attributes =
            if case.attributes.is_some() { &raw const attributes } else { ptr::null() };
        let mut pid = -1;
        // SAFETY: All of it lives.
        let result = unsafe {
            spawn(
                &raw mut pid,
                program.as_ptr(),
                &raw const actions,
                with_attributes,
                argv.as_ptr(),
                envp.as_ptr(),
            )
        };
        // SAFETY: Made above.
        unsafe { (self.actions_destroy)(&raw mut actions) };
        // SAFETY: As above.
        unsafe { (self.attr_destroy)(&raw mut attributes) };
        results.push(result);
        (results, pid)
    }

    fn add(&self, actions: &mut Object, action: &Action) -> c_int {
        let actions = ptr::from_mut(actions);
        let text = |text: &str| CString::new(text).expect("no NUL");
        match *action {
            // SAFETY: An object.
            Action::Close(fd) => unsafe { (self.addclose)(actions, fd) },
            Action::Open(fd, path, flags) => {
                let path = text(path);
                // SAFETY: An object, and a string that is copied.
                unsafe { (self.addopen)(actions, fd, path.as_ptr(), flags, 0o666) }
            }
            // SAFETY: An object.
            Action::Dup2(fd, new) => unsafe { (self.adddup2)(actions, fd, new) },
            Action::Chdir(path) => {
                let path = text(path);
                // SAFETY: An object, and a string that is copied.
                unsafe { (self.addchdir)(actions, path.as_ptr()) }
            }
            // SAFETY: An object.
            Action::Fchdir(fd) => unsafe { (self.addfchdir)(actions, fd) },
            // SAFETY: An object.
            Action::CloseFrom(fd) => unsafe { (self.addclosefrom)(actions, fd) },
            // SAFETY: An object.
            Action::SetForeground(fd) => unsafe { (self.addtcsetpgrp)(actions, fd) },
        }
    }

    fn set(&self, attributes: &mut Object, case: &Case) -> Vec<c_int> {
        let Some(wanted) = &case.attributes else { return Vec::new() };
        let attributes = ptr::from_mut(attributes);
        let sets = [wanted.sigdefault, wanted.sigmask].map(|bits| {
            let mut set = [0u64; 16];
            set[0] = bits;
            set
        });
        let priority = &raw const wanted.priority;
        vec![
            // SAFETY: An object.
            unsafe { (self.setpgroup)(attributes, wanted.pgrp) },
            // SAFETY: An object, and a set.
            unsafe { (self.setsigdefault)(attributes, sets[0].as_ptr().cast()) },
            // SAFETY: As above.
            unsafe { (self.setsigmask)(attributes, sets[1].as_ptr().cast()) },
            // SAFETY: An object.
            unsafe { (self.setschedpolicy)(attributes, wanted.policy) },
            // SAFETY: An object, and a `sched_param`.
            unsafe { (self.setschedparam)(attributes, priority.cast()) },
            // SAFETY: An object.
            unsafe { (self.setflags)(attributes, wanted.flags) },
        ]
    }
}
