//! Seccomp filters: what a kernel, or who runs this in a container, refuses.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use rawspawn::Filter;

/// A call that is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Refused {
    pub(crate) call: i64,
    pub(crate) how: How,
}

/// How a call is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum How {
    Enosys,
    Eperm,
    /// By a `SIGSYS`, whose handler answers `ENOSYS`, as sandboxes of browsers do.
    Trap,
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// The calls that filters and old kernels refuse.
const CALLS: [(i64, &str); 8] = [
    (libc::SYS_clone3, "clone3"),
    (libc::SYS_close_range, "close_range"),
    (libc::SYS_execveat, "execveat"),
    (libc::SYS_pidfd_open, "pidfd_open"),
    (libc::SYS_memfd_create, "memfd_create"),
    (libc::SYS_pidfd_send_signal, "pidfd_send_signal"),
    (libc::SYS_waitid, "waitid"),
    (libc::SYS_wait4, "wait4"),
];

/// Some of them; never both ways to wait.
pub(crate) fn random(rng: &mut ChaCha8Rng) -> Vec<Refused> {
    let mut refused: Vec<Refused> = Vec::new();
    let most = if rng.random_bool(0.2) { 6 } else { rng.random_range(1..4) };
    for _ in 0..most {
        let Some((call, _)) = CALLS.choose(rng) else { continue };
        let is_childs = [libc::SYS_close_range, libc::SYS_execveat].contains(call);
        let how = match rng.random_range(0..5) {
            // Whoever has no handlers any more dies of it.
            0 if !is_childs => How::Trap,
            0..3 => How::Enosys,
            _ => How::Eperm,
        };
        let waits = |call: i64| call == libc::SYS_waitid || call == libc::SYS_wait4;
        let is_last = waits(*call) && refused.iter().any(|other| waits(other.call));
        if !is_last && refused.iter().all(|other| other.call != *call) {
            refused.push(Refused { call: *call, how });
        }
    }
    refused
}

/// What is refused, to be read.
pub(crate) fn names(refused: &[Refused]) -> String {
    let name = |one: &Refused| {
        let name = CALLS.iter().find(|(call, _)| *call == one.call).map_or("?", |(_, name)| name);
        format!("{name} {:?}", one.how)
    };
    refused.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Refuses the calls in this process, in all of its threads, from now on.
pub(crate) fn install(refused: &[Refused]) {
    let one =
        |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = vec![one(LOAD, 0, 0, 0)];
    for Refused { call, how } in refused {
        let action = match how {
            How::Enosys => libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs(),
            How::Eperm => libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs(),
            How::Trap => libc::SECCOMP_RET_TRAP,
        };
        program.push(one(EQUAL, *call as u32, 0, 1));
        program.push(one(RETURN, action, 0, 0));
    }
    program.push(one(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0));
    if crate::sys::install(&mut program).is_err() {
        crate::sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1);
        let result = crate::sys::install(&mut program);
        assert!(result.is_ok(), "the filter: error {result:?}");
    }
}

const fn op(code: u32, k: u32, jt: u8, jf: u8) -> Filter {
    Filter { code: code as u16, jt, jf, k }
}

/// For a child: allows everything.
pub(crate) static ALLOW: [Filter; 1] = [op(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0)];

/// For a child: kills who executes a program.
pub(crate) static KILL: [Filter; 5] = [
    op(LOAD, 0, 0, 0),
    op(EQUAL, libc::SYS_execve as u32, 1, 0),
    op(EQUAL, libc::SYS_execveat as u32, 0, 1),
    op(RETURN, libc::SECCOMP_RET_KILL_PROCESS, 0, 0),
    op(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
];

/// For a child: ends nowhere.
pub(crate) static INVALID: [Filter; 1] = [op(LOAD, 0, 0, 0)];
