//! Which descriptors a child has, seen from the child.

use crate::common::{each_setup, fd_state, file_at, isolated, raw, report};
use rawspawn::{FdAction, OtherFds};

#[test]
fn two_descriptors_that_trade_places_both_arrive() {
    isolated(|| {
        let (_five, _six) = (file_at(5), file_at(6));
        let swap = [
            FdAction::Map { parent_fd: 5, child_fd: 6 },
            FdAction::Map { parent_fd: 6, child_fd: 5 },
        ];
        for setup in each_setup() {
            let seen = report(setup, |request| {
                request.fds(&swap);
            });
            assert_eq!(Some(seen.fd(5)), fd_state(6), "{setup:?}");
            assert_eq!(Some(seen.fd(6)), fd_state(5), "{setup:?}");
            assert_eq!(seen.fds(), [0, 1, 2, 5, 6], "{setup:?}: something leaked");
        }
    });
}

#[test]
fn a_child_has_the_standard_streams_and_nothing_else() {
    isolated(|| {
        let files: Vec<_> = (20..40).map(file_at).collect();
        for fd in &files {
            // SAFETY: F_SETFD touches no memory.
            unsafe { libc::fcntl(raw(fd), libc::F_SETFD, 0) };
        }
        for setup in each_setup() {
            let seen = report(setup, |_| {});
            assert_eq!(seen.fds(), [0, 1, 2], "{setup:?}");
            let seen = report(setup, |request| {
                request.other_fds(OtherFds::Inherit);
            });
            assert!((20..40).all(|fd| seen.fds().contains(&fd)), "{setup:?}: {:?}", seen.fds());
        }
    });
}
