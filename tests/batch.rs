//! Programs that are started together: each has its own outcome, and all are through
//! when the call returns.

use std::ffi::c_void;
use std::sync::atomic::AtomicU32;

use rawspawn::{
    Buffer, CStrArray, Errno, Exec, FdAction, Feature, Hook, Job, Kernel, LowFds, Mode, Modes,
    ParentHook, Plan, Request, Step, argv, spawn_all,
};

use crate::common::rights::{PIDFD_OPEN, may_change_credentials, needs};
use crate::common::{
    Remains, Room, Running, can_detach, each_setup, fd_state, file_at, has_children, isolated,
    open_and_close, open_fds, quick, test_children,
};

fn kept<'a>(request: &mut Request<'a>) -> &'a Request<'a> {
    Box::leak(Box::new(*request.env(CStrArray::EMPTY)))
}

fn plan(request: &'static Request<'static>) -> Plan<'static> {
    request.plan(Box::leak(Box::new(Room::new()))).expect("a valid request")
}

/// A plan of a child that exits with `status`.
fn exits_with(status: u8) -> Plan<'static> {
    let (exe, argv) = quick(status);
    plan(kept(&mut Request::new(Exec::Path(exe), argv)))
}

unsafe extern "C" fn nothing(_: *mut c_void) -> i32 {
    0
}

#[test]
fn each_job_has_its_own_outcome() {
    isolated(|| {
        let before = Remains::look();
        let kernel = Kernel::current().expect("a child can be made");
        let (exe, argv) = quick(3);
        let missing = plan(kept(&mut Request::new(Exec::Path(c"/nonexistent"), argv)));
        let mut no_fd = Request::new(Exec::Path(exe), argv);
        no_fd.fds(&[FdAction::Map { parent_fd: 900, child_fd: 5 }]);
        let no_fd = plan(kept(&mut no_fd));
        let mut hooked = Request::new(Exec::Path(exe), argv);
        // SAFETY: The hook does nothing.
        hooked.hook(unsafe { Hook::new(nothing, std::ptr::null_mut()) });
        let hooked = plan(kept(&mut hooked));
        let asked = plan(kept(Request::new(Exec::Path(exe), argv).modes(Modes::Fork)));
        let together = if can_detach(kernel) { Mode::Detached } else { exits_with(0).mode() };
        let (one, two) = (exits_with(1), exits_with(2));
        let failed = |step, errno| Err((step, Some(errno)));
        let rows = [
            (&one, Ok((1, together))),
            (&missing, failed(Step::Exec, Errno::ENOENT)),
            (&hooked, Ok((3, Mode::Fork))),
            (&two, Ok((2, together))),
            (&asked, Ok((3, Mode::Fork))),
            (&no_fd, failed(Step::Move, Errno::EBADF)),
            (&one, Ok((1, together))),
        ];
        let mut jobs = rows.map(|(plan, _)| Job::new(plan));
        assert!(jobs.iter_mut().all(|job| job.take().is_none()), "none has been started");
        // Again and again, as plans can be.
        for _ in 0..3 {
            spawn_all(&mut jobs);
            for (job, (_, expected)) in jobs.iter_mut().zip(rows) {
                let found = job.take().expect("it was started");
                let found = found.map_err(|error| (error.step(), error.errno()));
                let found = found.map(|mut process| {
                    let status = process.wait().expect("our child");
                    (status.code().expect("no signal"), process.mode())
                });
                assert_eq!(found, expected);
                assert!(job.take().is_none(), "taken");
            }
            before.assert_unchanged();
        }
    });
}

#[test]
fn every_kernel_starts_jobs() {
    isolated(|| {
        let before = Remains::look();
        let (exe, argv) = quick(4);
        for setup in each_setup() {
            let mut request = Request::new(Exec::Path(exe), argv);
            let pidfds = setup.kernel.has(Feature::Pidfd);
            let plan = plan(kept(request.kernel(setup.kernel).pidfd(pidfds)));
            let mut jobs: [Job<'_>; 5] = std::array::from_fn(|_| Job::new(&plan));
            spawn_all(&mut jobs);
            for job in &mut jobs {
                let mut process = job.take().expect("started").expect("a program");
                assert_eq!(process.pidfd().is_some(), pidfds);
                assert_eq!(process.wait().expect("our child").code(), Some(4), "{setup:?}");
            }
        }
        before.assert_unchanged();
    });
}

#[test]
fn a_plan_that_inherits_the_environment_is_refused() {
    isolated(|| {
        let (exe, argv) = quick(0);
        let request = Request::new(Exec::Path(exe), argv);
        let mut room = Room::new();
        let plan = request.plan(&mut room).expect("a valid request");
        let mut jobs = [Job::new(&plan)];
        spawn_all(&mut jobs);
        let error = jobs[0].take().expect("started").expect_err("it may have moved");
        assert_eq!((error.step(), error.errno()), (Step::Environment, Some(Errno::EINVAL)));
    });
}

#[test]
fn no_job_and_a_job_that_is_dropped_leave_no_trouble() {
    isolated(|| {
        spawn_all(&mut []);
        let plan = exits_with(0);
        let mut jobs = [Job::new(&plan), Job::new(&plan)];
        spawn_all(&mut jobs);
        // What was not taken is dropped: the processes go on.
        spawn_all(&mut jobs);
        drop(jobs);
        let mut reaped = 0;
        // SAFETY: Asks for no status.
        while unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) } > 0 {
            reaped += 1;
        }
        assert_eq!(reaped, 4);
    });
}

#[test]
fn jobs_have_their_descriptors_and_no_other_while_threads_open_some() {
    isolated(|| {
        let files = [20, 21, 22, 23].map(file_at);
        let low = LowFds::claim(1).expect("low numbers");
        let fds: [[FdAction<'_>; 1]; 4] = std::array::from_fn(|n| {
            [FdAction::Map { parent_fd: 20 + n as i32, child_fd: n as i32 % 3 }]
        });
        let count = test_children(4000);
        let running = AtomicU32::new(1);
        let before = open_fds();
        std::thread::scope(|scope| {
            scope.spawn(|| open_and_close(&running));
            let running = Running(&running);
            scope.spawn(move || {
                let _running = running;
                let (exe, argv) = quick(6);
                let requests: [_; 4] = std::array::from_fn(|n| {
                    let mut request = Request::new(Exec::Path(exe), argv);
                    *request.env(argv![]).fds(&fds[n])
                });
                let mut rooms: [_; 4] = std::array::from_fn(|_| Room::new());
                let plans: Vec<_> = requests
                    .iter()
                    .zip(&mut rooms)
                    .map(|(request, room)| request.plan(room).expect("a valid request"))
                    .collect();
                let mut jobs: Vec<_> = plans.iter().cycle().take(16).map(Job::new).collect();
                for _ in 0..count / 16 {
                    spawn_all(&mut jobs);
                    for job in &mut jobs {
                        let mut process = job.take().expect("started").expect("a program");
                        assert_eq!(process.wait().expect("our child").code(), Some(6));
                    }
                }
            });
        });
        assert_eq!(open_fds(), before);
        assert!(!has_children());
        drop((files, low));
    });
}

#[test]
fn a_pidfd_of_one_job_is_no_descriptor_of_another() {
    isolated(|| {
        if !needs(&[PIDFD_OPEN]) {
            return;
        }
        let (exe, argv) = quick(0);
        // The number that the next pidfd gets, and with it every later one.
        let next = file_at(63);
        let next = std::os::fd::AsRawFd::as_raw_fd(&next.try_clone().expect("a descriptor"));
        let actions = [FdAction::Map { parent_fd: next, child_fd: 0 }];
        let mut takes = Request::new(Exec::Path(exe), argv);
        let takes: Request<'_> = *takes.env(argv![]).fds(&actions);
        let mut makes = Request::new(Exec::Path(exe), argv);
        makes.env(argv![]).pidfd(true);
        let (mut room, mut other) = (Room::new(), Room::new());
        let plans = [
            takes.plan(&mut room).expect("a valid request"),
            makes.plan(&mut other).expect("a valid request"),
        ];
        for _ in 0..200 {
            let mut jobs = plans.each_ref().map(Job::new);
            spawn_all(&mut jobs);
            let [taken, made] = jobs.each_mut().map(|job| job.take().expect("started"));
            let error = taken.expect_err("nothing is open there");
            assert_eq!((error.step(), error.errno()), (Step::Move, Some(Errno::EBADF)));
            let mut process = made.expect("a program");
            assert_eq!(process.pidfd(), Some(next), "the number that was meant");
            process.wait().expect("our child");
        }
    });
}

#[test]
fn what_is_opened_for_one_job_is_no_descriptor_of_anothers() {
    isolated(|| {
        if !may_change_credentials() {
            return;
        }
        let (exe, argv) = quick(0);
        let free = (3..100).find(|fd| fd_state(*fd).is_none()).expect("a number");
        let actions = Box::leak(Box::new([FdAction::Map { parent_fd: free, child_fd: 0 }]));
        let mut closed = Request::new(Exec::Path(exe), argv);
        let closed = plan(kept(closed.fds(actions)));
        // Its pipe and its file have the lowest numbers.
        let mut other = Request::new(Exec::Path(exe), argv);
        let other = plan(kept(other.uid(54_324).gid(54_324)));
        for _ in 0..100 {
            let mut jobs = [Job::new(&closed), Job::new(&other)];
            spawn_all(&mut jobs);
            let error = jobs[0].take().expect("done").expect_err("it is not open");
            assert_eq!((error.step(), error.errno()), (Step::Move, Some(Errno::EBADF)));
            let mut process = jobs[1].take().expect("done").expect("a child");
            assert!(process.wait().expect("our child").success());
        }
    });
}

#[test]
fn a_hook_that_panics_leaves_no_child_of_the_batch_in_this_memory() {
    isolated(|| {
        let hidden = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        let before = Remains::look();
        let panics = |_| panic!("as asked");
        // Which take a while to their exec, as they look in many places.
        let mut candidates = vec![c"/nonexistent/a/b/c"; 2000];
        let (exe, argv) = quick(4);
        candidates.push(exe);
        for _ in 0..10 {
            let unwound = std::panic::catch_unwind(|| {
                // All that the children read goes with the panic.
                let candidates = candidates.clone();
                let mut many = Request::new(Exec::Candidates(&candidates), argv);
                let mut bad = Request::new(Exec::Path(exe), argv);
                many.env(CStrArray::EMPTY);
                bad.env(CStrArray::EMPTY).parent_hook(ParentHook::new(&panics));
                let (mut room, mut other) = (Box::new(Buffer::<2048, 64>::new()), Room::new());
                let many = many.plan(&mut *room).expect("a valid request");
                let bad = bad.plan(&mut other).expect("a valid request");
                let mut jobs: Vec<_> = (0..4).map(|_| Job::new(&many)).collect();
                jobs.push(Job::new(&bad));
                // Not even a forgotten job is one whose child still reads.
                let mut jobs = std::mem::ManuallyDrop::new(jobs);
                spawn_all(&mut jobs);
            });
            assert!(unwound.is_err(), "the hook panics");
            // What was freed is used for something else.
            let reused: Vec<Vec<u64>> = (1..200).map(|size| vec![u64::MAX; size * 16]).collect();
            for _ in 0..4 {
                let mut status = 0;
                // SAFETY: The kernel writes one status.
                assert!(unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) } > 0);
                assert_eq!(status, 4 << 8, "a child read what was freed");
            }
            assert!(reused.iter().flatten().all(|word| *word == u64::MAX), "it was written to");
        }
        before.assert_unchanged();
        std::panic::set_hook(hidden);
    });
}
