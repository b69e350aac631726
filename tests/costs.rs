//! What a spawn of the core does without: allocations, and locks.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use rawspawn::{
    CurrentDir, Exec, Fd, FdAction, Feature, Job, LowFds, Mode, Request, Rlimit, pipe, spawn_all,
};

use crate::common::gate::Gate;
use crate::common::{Room, Setup, each_setup, file_at, isolated, quick};

/// The system's allocator, which counts.
struct Counting;

thread_local! {
    static COUNT: Cell<u32> = const { Cell::new(0) };
}

// SAFETY: It is `System`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: The caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: The caller's promise.
        unsafe { System.dealloc(start, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often this thread allocates while `run` runs.
fn allocations(run: impl FnOnce()) -> u32 {
    let before = COUNT.get();
    run();
    COUNT.get() - before
}

#[test]
fn the_core_allocates_nothing() {
    isolated(|| {
        assert_eq!(allocations(|| drop(black_box(Box::new(1)))), 1, "it counts");
        let low = LowFds::claim(2).expect("low numbers");
        let _file = file_at(900);
        let (exe, argv) = quick(0);
        let limits = [Rlimit::new(libc::RLIMIT_CORE as _, 0, 0)];
        let fds = [
            FdAction::Map { parent_fd: 900, child_fd: 0 },
            FdAction::Map { parent_fd: 0, child_fd: 1 },
            FdAction::Map { parent_fd: 1, child_fd: 2 },
        ];
        for setup in each_setup() {
            let mut request = Request::new(Exec::Path(exe), argv);
            request.env(argv).cwd(CurrentDir::Path(c"/")).rlimits(&limits).fds(&fds).umask(0o22);
            let busy_retries = u8::from(setup.mode != Mode::Stub);
            setup.apply(request.restore_signals().retry_busy(busy_retries).sh_fallback(true));
            let mut missing = request;
            missing.cwd(CurrentDir::Path(c"/nonexistent"));
            let (mut room, mut plan_room) = (Room::new(), Room::new());
            let count = allocations(|| {
                let ends: (Fd, Fd) = pipe().expect("a pipe");
                let spawned = request.spawn(&mut room);
                spawned.expect("a program").wait().expect("our child");
                let spawned = request.spawn_with(&low, &mut room);
                spawned.expect("a program").wait().expect("our child");
                missing.spawn(&mut room).expect_err("no such directory");
                let plan = request.plan(&mut plan_room).expect("a valid request");
                plan.spawn().expect("a program").wait().expect("our child");
                let mut jobs = [Job::new(&plan), Job::new(&plan)];
                spawn_all(&mut jobs);
                for job in &mut jobs {
                    let process = job.take().expect("started");
                    process.expect("a program").wait().expect("our child");
                }
                drop(ends);
            });
            assert_eq!(count, 0, "{setup:?}");
        }
    });
}

#[test]
fn a_spawn_that_is_held_up_holds_up_no_other() {
    isolated(|| {
        let (exe, argv) = quick(0);
        // An emulated parent waits for the end of a pipe, which a child that is made at
        // that moment has too until its exec.
        let suspends = |setup: &Setup| setup.kernel.has(Feature::Suspends);
        for setup in each_setup().into_iter().filter(suspends) {
            let gate = Gate::new();
            let actions = [gate.at(0)];
            std::thread::scope(|scope| {
                let held = scope.spawn(|| {
                    let mut request = Request::new(Exec::Path(exe), argv);
                    setup.apply(request.fds(&actions));
                    request.spawn(&mut Room::new()).expect("a program").wait()
                });
                // Its child is at the gate, or comes there meanwhile.
                for _ in 0..20 {
                    let mut request = Request::new(Exec::Path(exe), argv);
                    setup.apply(&mut request);
                    let mut process = request.spawn(&mut Room::new()).expect("a program");
                    assert!(process.wait().expect("our child").success());
                }
                assert!(!held.is_finished());
                gate.open();
                assert!(held.join().expect("no panic").expect("our child").success());
            });
        }
    });
}
