//! Which mode is chosen, and what it does.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, Ordering};

use rawspawn::{Errno, Exec, Feature, Groups, Hook, Kernel, Mode, Modes, Reason, Request, Step};

use crate::common::{Room, failure, forked, isolated, may_change, quick, skip, without_stub};

unsafe extern "C" fn nothing(_: *mut c_void) -> i32 {
    0
}

static WRITTEN: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" fn write(_: *mut c_void) -> i32 {
    WRITTEN.fetch_add(1, Ordering::Relaxed);
    0
}

unsafe extern "C" fn fail(_: *mut c_void) -> i32 {
    libc::EDQUOT
}

fn hook(function: rawspawn::HookFn) -> Hook<'static> {
    // SAFETY: All of the above touch one atomic at most.
    unsafe { Hook::new(function, std::ptr::null_mut()) }
}

/// A hook in shared memory, with a stack that is never given back.
fn sharing(function: rawspawn::HookFn) -> Hook<'static> {
    let stack = Vec::leak(vec![MaybeUninit::uninit(); 8192]);
    // SAFETY: All of the above touch one atomic at most, and need little stack.
    unsafe { Hook::sharing_memory(function, std::ptr::null_mut(), stack) }
}

type Ask = fn(&mut Request<'static>);

/// What of its credentials a request changes: its user, its group.
const NEITHER: (bool, bool) = (false, false);
const USER: (bool, bool) = (true, false);
const GROUP: (bool, bool) = (false, true);

/// What stands against sharing memory.
const CASES: [(Ask, Option<Reason>, (bool, bool)); 7] = [
    (|_| {}, None, NEITHER),
    (
        |r| {
            r.hook(sharing(nothing));
        },
        None,
        NEITHER,
    ),
    (
        |r| {
            r.hook(hook(nothing));
        },
        Some(Reason::Hook),
        NEITHER,
    ),
    (
        |r| {
            r.uid(0);
        },
        Some(Reason::Credentials),
        USER,
    ),
    (
        |r| {
            r.gid(0);
        },
        Some(Reason::Credentials),
        GROUP,
    ),
    (
        |r| {
            r.groups(Groups::Set(&[0]));
        },
        Some(Reason::Credentials),
        NEITHER,
    ),
    // What a caller vouches for does not lift the other rule.
    (
        |r| {
            r.uid(0).hook(sharing(nothing));
        },
        Some(Reason::Credentials),
        USER,
    ),
];

#[test]
fn memory_is_shared_wherever_that_is_safe_and_nowhere_else() {
    isolated(|| {
        let (exe, argv) = quick(0);
        for (ask, against, (user, group)) in CASES {
            let mut asked = Request::new(Exec::Path(exe), argv);
            let has_hook = format!("{:?}", {
                ask(&mut asked);
                asked
            })
            .contains("hook: Some");
            let features = [Feature::SharedMemory, Feature::Suspends, Feature::ExecMemfd];
            for lacks in [None].into_iter().chain(features.map(Some)) {
                let kernel = lacks.map_or(Kernel::NEWEST, |lacks| Kernel::NEWEST.without(lacks));
                let shares_no_memory = lacks.filter(|lacks| *lacks != Feature::ExecMemfd);
                let against = against.or(shares_no_memory.map(|_| Reason::Kernel));
                for modes in [Modes::Any, Modes::Vfork, Modes::Fork, Modes::Stub] {
                    let mut request = Request::new(Exec::Path(exe), argv);
                    ask(&mut request);
                    request.kernel(kernel).modes(modes);
                    let mut room = Room::new();
                    let plan = request.plan(&mut room).map(|plan| (plan.mode(), plan.reason()));
                    let may_be_stub = !has_hook && lacks.is_none();
                    let expected = match (modes, against) {
                        (Modes::Any, Some(Reason::Credentials))
                            if may_be_stub && may_change(user, group) =>
                        {
                            Ok((Mode::Stub, Reason::Credentials))
                        }
                        (Modes::Stub, None) if may_be_stub => Ok((Mode::Stub, Reason::Asked)),
                        (Modes::Stub, Some(Reason::Credentials))
                            if may_be_stub && may_change(user, group) =>
                        {
                            Ok((Mode::Stub, Reason::Asked))
                        }
                        (Modes::Vfork, Some(_)) | (Modes::Stub, _) => {
                            Err((Step::Mode, Some(Errno::EOPNOTSUPP)))
                        }
                        (Modes::Vfork, None) => Ok((Mode::Vfork, Reason::Asked)),
                        (Modes::Fork, _) => Ok((Mode::Fork, Reason::Asked)),
                        (Modes::Any, None) => Ok((Mode::Vfork, Reason::Default)),
                        (Modes::Any, Some(reason)) => Ok((Mode::Fork, reason)),
                    };
                    assert_eq!(plan.map_err(|e| (e.step(), e.errno())), expected, "{modes:?}");
                }
            }
        }
    });
}

#[test]
fn what_a_hook_writes_is_seen_in_shared_memory_alone() {
    isolated(|| {
        let (exe, argv) = quick(0);
        for setup in without_stub() {
            let hook = if setup.mode == Mode::Vfork { sharing(write) } else { hook(write) };
            let before = WRITTEN.load(Ordering::Relaxed);
            let mut request = Request::new(Exec::Path(exe), argv);
            setup.apply(request.hook(hook));
            let mut process = request.spawn(&mut Room::new()).expect("a child");
            assert!(process.wait().expect("our child").success());
            let writes = WRITTEN.load(Ordering::Relaxed) - before;
            assert_eq!(writes, u32::from(setup.mode == Mode::Vfork), "{setup:?}");
        }
    });
}

#[test]
fn a_hook_that_fails_is_the_error() {
    isolated(|| {
        let (exe, argv) = quick(0);
        for setup in without_stub() {
            let hook = if setup.mode == Mode::Vfork { sharing(fail) } else { hook(fail) };
            let error = failure(setup, Request::new(Exec::Path(exe), argv).hook(hook));
            let found = (error.step(), error.errno().map(Errno::raw));
            assert_eq!(found, (Step::Hook, Some(libc::EDQUOT)), "{setup:?}");
        }
    });
}

#[test]
fn a_process_in_a_new_time_namespace_spawns() {
    isolated(|| {
        forked(|| {
            // From here on children are in another time namespace than we are,
            // which kernels below 6.3 do not let share memory.
            // SAFETY: Touches no memory.
            if unsafe {
                libc::unshare(0x80 /* CLONE_NEWTIME */)
            } != 0
            {
                skip("time namespaces, which are not ours to make");
                return;
            }
            let (exe, argv) = quick(4);
            let mut process =
                Request::new(Exec::Path(exe), argv).spawn(&mut Room::new()).expect("a child");
            assert_eq!(process.wait().expect("our child").code(), Some(4));
        });
    });
}
