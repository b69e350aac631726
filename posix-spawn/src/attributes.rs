//! `posix_spawnattr_t`: within the size that C libraries give it.

use core::ffi::{c_int, c_short};
use core::mem::offset_of;

use rawspawn::{Errno, FileAction, PosixSpawn, Scheduler};

/// `POSIX_SPAWN_*` of spawn.h.
pub(crate) mod flags {
    pub(crate) const RESETIDS: i16 = 1;
    pub(crate) const SETPGROUP: i16 = 2;
    pub(crate) const SETSIGDEF: i16 = 4;
    pub(crate) const SETSIGMASK: i16 = 8;
    pub(crate) const SETSCHEDPARAM: i16 = 16;
    pub(crate) const SETSCHEDULER: i16 = 32;
    pub(crate) const SETSID: i16 = 128;
    pub(crate) const SETCGROUP: i16 = 256;
    /// With `USEVFORK`, 64, which says nothing any more.
    pub(crate) const ALL: i16 = 511;
}

/// `sigset_t` of the C library; the kernel knows the first word of it.
pub type SigSetT = [u64; 16];

/// A `posix_spawnattr_t`. All that is in it is where glibc's and musl's spawn.h have it: whoever made
/// an object, whoever spawns with it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Attributes {
    flags: c_short,
    pgrp: c_int,
    pub(crate) sigdefault: SigSetT,
    pub(crate) sigmask: SigSetT,
    priority: c_int,
    policy: c_int,
    cgroup: c_int,
}
// glibc's and musl's.
const _: () = assert!(
    size_of::<Attributes>() <= 336
        && offset_of!(Attributes, flags) == 0
        && offset_of!(Attributes, pgrp) == 4
        && offset_of!(Attributes, sigdefault) == 8
        && offset_of!(Attributes, sigmask) == 136
        && offset_of!(Attributes, priority) == 264
        && offset_of!(Attributes, policy) == 268
        && offset_of!(Attributes, cgroup) == 272
);

impl Attributes {
    pub(crate) const NONE: Self = Self {
        flags: 0,
        pgrp: 0,
        sigdefault: [0; 16],
        sigmask: [0; 16],
        priority: 0,
        policy: 0,
        cgroup: 0,
    };

    /// Whether one of `flags` is set.
    pub(crate) fn has(&self, flags: c_short) -> bool {
        self.flags & flags != 0
    }

    /// What is to be done besides signals; an error for a number that is none.
    pub(crate) fn posix<'a>(&self, actions: &'a [FileAction<'a>]) -> Result<PosixSpawn<'a>, Errno> {
        let mut posix = PosixSpawn::new().actions(actions);
        if self.has(flags::SETSCHEDULER) {
            posix = posix.scheduler(Scheduler::new(self.policy, self.priority));
        } else if self.has(flags::SETSCHEDPARAM) {
            posix = posix.priority(self.priority);
        }
        if self.has(flags::SETPGROUP) {
            posix = posix.process_group(self.pgrp);
        }
        if self.has(flags::SETCGROUP) {
            // clone3(2) takes a larger number, and this for one that is too large.
            if self.cgroup < 0 {
                return Err(Errno::EINVAL);
            }
            posix = posix.cgroup(self.cgroup);
        }
        Ok(posix.session(self.has(flags::SETSID)).reset_ids(self.has(flags::RESETIDS)))
    }
}

/// `posix_spawnattr_init(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawnattr_init(attributes: *mut Attributes) -> c_int {
    // SAFETY: The caller's room.
    unsafe { attributes.write(Attributes::NONE) };
    0
}

/// `posix_spawnattr_destroy(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn posix_spawnattr_destroy(_: *mut Attributes) -> c_int {
    0
}

/// `posix_spawnattr_setflags(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawnattr_setflags(
    attributes: *mut Attributes,
    flags: c_short,
) -> c_int {
    if flags & !flags::ALL != 0 {
        return Errno::EINVAL.raw();
    }
    // SAFETY: The caller's object.
    unsafe { (*attributes).flags = flags };
    0
}

/// `posix_spawnattr_setschedpolicy(3)`: of the policies that POSIX has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawnattr_setschedpolicy(
    attributes: *mut Attributes,
    policy: c_int,
) -> c_int {
    const SCHED_RR: c_int = 2;
    if !(0..=SCHED_RR).contains(&policy) {
        return Errno::EINVAL.raw();
    }
    // SAFETY: The caller's object.
    unsafe { (*attributes).policy = policy };
    0
}

/// A function that reads a field of the object, or one that writes it.
macro_rules! accessors {
    ($(#[doc = $doc:literal] $name:ident get $field:ident as $ty:ty;)+) => {$(
        #[doc = $doc]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(attributes: *const Attributes, value: *mut $ty) -> c_int {
            // SAFETY: The caller's object.
            let field = unsafe { (*attributes).$field };
            // SAFETY: The caller's room.
            unsafe { value.write(field) };
            0
        }
    )+};
    ($(#[doc = $doc:literal] $name:ident set $field:ident from $ty:ty;)+) => {$(
        #[doc = $doc]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(attributes: *mut Attributes, value: $ty) -> c_int {
            // SAFETY: The caller's object.
            unsafe { (*attributes).$field = value };
            0
        }
    )+};
    ($(#[doc = $doc:literal] $name:ident copy $field:ident from $ty:ty;)+) => {$(
        #[doc = $doc]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(attributes: *mut Attributes, value: *const $ty) -> c_int {
            // SAFETY: The caller's value.
            let value = unsafe { value.read() };
            // SAFETY: The caller's object.
            unsafe { (*attributes).$field = value };
            0
        }
    )+};
}

accessors! {
    #[doc = "`posix_spawnattr_getflags(3)`."]
    posix_spawnattr_getflags get flags as c_short;
    #[doc = "`posix_spawnattr_getpgroup(3)`."]
    posix_spawnattr_getpgroup get pgrp as c_int;
    #[doc = "`posix_spawnattr_getsigdefault(3)`."]
    posix_spawnattr_getsigdefault get sigdefault as SigSetT;
    #[doc = "`posix_spawnattr_getsigmask(3)`."]
    posix_spawnattr_getsigmask get sigmask as SigSetT;
    #[doc = "`posix_spawnattr_getschedparam(3)`: the priority is the first field, and in glibc the only one."]
    posix_spawnattr_getschedparam get priority as c_int;
    #[doc = "`posix_spawnattr_getschedpolicy(3)`."]
    posix_spawnattr_getschedpolicy get policy as c_int;
    #[doc = "`posix_spawnattr_getcgroup_np(3)`, of glibc 2.39."]
    posix_spawnattr_getcgroup_np get cgroup as c_int;
}

accessors! {
    #[doc = "`posix_spawnattr_setpgroup(3)`."]
    posix_spawnattr_setpgroup set pgrp from c_int;
    #[doc = "`posix_spawnattr_setcgroup_np(3)`, of glibc 2.39."]
    posix_spawnattr_setcgroup_np set cgroup from c_int;
}

accessors! {
    #[doc = "`posix_spawnattr_setsigdefault(3)`."]
    posix_spawnattr_setsigdefault copy sigdefault from SigSetT;
    #[doc = "`posix_spawnattr_setsigmask(3)`."]
    posix_spawnattr_setsigmask copy sigmask from SigSetT;
    #[doc = "`posix_spawnattr_setschedparam(3)`."]
    posix_spawnattr_setschedparam copy priority from c_int;
}
