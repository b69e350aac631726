//! Scheduling and resource limits, seen from the child.

use crate::common::child::{End, ending};
use crate::common::rights::{IOPRIO_SET, needs};
use crate::common::{Report, each_setup, failure, isolated, report, skip};
use rawspawn::{Errno, Request, Rlimit, Scheduler, Step};

type Change = fn(&mut Request<'static>);

/// All that the options of this topic are about.
fn limits_of(seen: &Report) -> Vec<(String, String)> {
    let names = ["scheduler", "nice", "ioprio", "oom_score_adj", "Cpus_allowed_list"];
    let names = names.into_iter().map(str::to_owned);
    let all = names.chain((0..16).map(|resource| format!("rlimit{resource}")));
    all.map(|name| (name.clone(), seen.get(&name).to_owned())).collect()
}

#[test]
fn each_option_changes_the_child_in_that_and_the_parent_in_nothing() {
    isolated(|| {
        static LIMITS: [Rlimit; 3] = [
            Rlimit::new(libc::RLIMIT_CORE as _, 0, 0),
            Rlimit::new(libc::RLIMIT_NOFILE as _, 64, 128),
            // The same again: the last one counts.
            Rlimit::new(libc::RLIMIT_NOFILE as _, 32, 128),
        ];
        static ONE_CPU: [usize; 2] = [1, 0];
        let (core, files) = (libc::RLIMIT_CORE, libc::RLIMIT_NOFILE);
        let options: &[(Change, &[(String, &str)])] = &[
            (|r| _ = r.nice(7), &[("nice".to_owned(), "7")]),
            (|r| _ = r.nice(19), &[("nice".to_owned(), "19")]),
            (
                |r| _ = r.scheduler(Scheduler::new(libc::SCHED_BATCH, 0)),
                &[("scheduler".to_owned(), "3")],
            ),
            (
                |r| _ = r.scheduler(Scheduler::new(libc::SCHED_IDLE, 0)),
                &[("scheduler".to_owned(), "5")],
            ),
            (
                |r| _ = r.nice(4).scheduler(Scheduler::new(libc::SCHED_BATCH, 0)),
                &[("scheduler".to_owned(), "3"), ("nice".to_owned(), "4")],
            ),
            // Class 2, best effort; level 6.
            (|r| _ = r.ioprio(2 << 13 | 6), &[("ioprio".to_owned(), "16390")]),
            (|r| _ = r.oom_score_adj(1000), &[("oom_score_adj".to_owned(), "1000")]),
            (|r| _ = r.affinity(&ONE_CPU), &[("Cpus_allowed_list".to_owned(), "0")]),
            (
                |r| _ = r.rlimits(&LIMITS),
                &[(format!("rlimit{core}"), "0 0"), (format!("rlimit{files}"), "32 128")],
            ),
        ];
        // It says so once.
        let has_priorities = needs(&[IOPRIO_SET]);
        for setup in each_setup() {
            let before = limits_of(&report(setup, |_| {}));
            for (number, (change, differs)) in options.iter().enumerate() {
                if !has_priorities && differs[0].0 == "ioprio" {
                    continue;
                }
                let mut expected = before.clone();
                for (name, value) in *differs {
                    let place = expected.iter_mut().find(|(known, _)| known == name);
                    (*value).clone_into(&mut place.expect("listed").1);
                }
                let seen = report(setup, *change);
                assert_eq!(limits_of(&seen), expected, "{setup:?}, option {number}");
                // A child inherits what its parent has.
                let after = limits_of(&report(setup, |_| {}));
                assert_eq!(after, before, "{setup:?}, option {number}: the parent");
            }
        }
    });
}

/// A `sched_param`, which has more fields in musl.
fn priority(priority: i32) -> libc::sched_param {
    // SAFETY: All of it is integers.
    let mut param: libc::sched_param = unsafe { std::mem::zeroed() };
    param.sched_priority = priority;
    param
}

#[test]
fn a_real_time_policy_is_set_where_it_is_allowed() {
    isolated(|| {
        let fifo = priority(9);
        // SAFETY: One `sched_param`.
        if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const fifo) } != 0 {
            skip("no real-time scheduling for us here");
            return;
        }
        let other = priority(0);
        // SAFETY: One `sched_param`.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const other) };
        for setup in each_setup() {
            let seen = report(setup, |request| {
                request.scheduler(Scheduler::new(libc::SCHED_FIFO, 9));
            });
            assert_eq!(seen.number("scheduler"), libc::SCHED_FIFO.into(), "{setup:?}");
        }
    });
}

#[test]
fn what_is_out_of_range_is_refused_at_its_step() {
    isolated(|| {
        static NO_CPU: [usize; 1] = [0];
        static SECOND: [Rlimit; 2] = [
            Rlimit::new(libc::RLIMIT_CORE as _, 0, 0),
            Rlimit::new(libc::RLIMIT_NOFILE as _, 2, 1),
        ];
        static UNKNOWN: [Rlimit; 1] = [Rlimit::new(99, 0, 0)];
        let refused: &[(Change, Step, usize)] = &[
            (|r| _ = r.nice(20), Step::Nice, 0),
            (|r| _ = r.nice(-21), Step::Nice, 0),
            (|r| _ = r.oom_score_adj(1001), Step::OomScoreAdj, 0),
            (|r| _ = r.oom_score_adj(-1001), Step::OomScoreAdj, 0),
            (|r| _ = r.scheduler(Scheduler::new(77, 0)), Step::Scheduler, 0),
            (|r| _ = r.scheduler(Scheduler::new(libc::SCHED_OTHER, 1)), Step::Scheduler, 0),
            (|r| _ = r.affinity(&NO_CPU), Step::Affinity, 0),
            (|r| _ = r.ioprio(7 << 13), Step::IoPriority, 0),
            (|r| _ = r.rlimits(&SECOND), Step::Rlimit, 1),
            (|r| _ = r.rlimits(&UNKNOWN), Step::Rlimit, 0),
        ];
        let has_priorities = needs(&[IOPRIO_SET]);
        for setup in each_setup() {
            for (number, (change, step, index)) in refused.iter().enumerate() {
                if !has_priorities && *step == Step::IoPriority {
                    continue;
                }
                let mut request = ending(End::Exit(0));
                change(&mut request);
                let error = failure(setup, &mut request);
                let seen = (error.step(), error.index(), error.errno());
                assert_eq!(seen, (*step, *index, Some(Errno::EINVAL)), "{setup:?}, {number}");
            }
        }
    });
}
