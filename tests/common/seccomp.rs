//! Seccomp filters: calls that the kernel is to refuse.
//!
//! A filter belongs to a thread and to what that spawns, so each is installed in a
//! thread of its own, and the test goes on without.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A call to refuse.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refuse {
    pub(crate) call: i64,
    pub(crate) errno: i32,
    pub(crate) first: First,
}

/// The first argument of the calls to refuse.
#[derive(Clone, Copy, Debug)]
pub(crate) enum First {
    Any,
    Is(u32),
    /// One of these bits at least.
    Has(u32),
}

impl Refuse {
    pub(crate) fn new(call: impl Into<i64>, errno: i32) -> Self {
        Self { call: call.into(), errno, first: First::Any }
    }

    fn filter(self) -> Vec<libc::sock_filter> {
        let action = libc::SECCOMP_RET_ERRNO | self.errno.unsigned_abs();
        self.program(action)
    }

    /// "If it is this call, with such an argument, `action`."
    fn program(self, action: u32) -> Vec<libc::sock_filter> {
        const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
        const NUMBER: u32 = 0;
        /// The low half of the first argument; all our machines are little-endian.
        const ARGUMENT: u32 = 16;
        let call = u32::try_from(self.call).expect("a call");
        let (test, value, otherwise) = match self.first {
            First::Any => (libc::BPF_JEQ, 0, 0),
            First::Is(value) => (libc::BPF_JEQ, value, 1),
            First::Has(bits) => (libc::BPF_JSET, bits, 1),
        };
        vec![
            statement(LOAD, NUMBER),
            jump(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call, 0, 3),
            statement(LOAD, ARGUMENT),
            jump(libc::BPF_JMP | test | libc::BPF_K, value, 0, otherwise),
            statement(libc::BPF_RET | libc::BPF_K, action),
        ]
    }
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    jump(code, k, 0, 0)
}

fn jump(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).expect("a code"), jt, jf, k }
}

/// Runs `test` in a thread in which the kernel refuses `calls`.
pub(crate) fn refusing<T: Send>(calls: &[Refuse], test: impl FnOnce() -> T + Send) -> T {
    filtered(calls.iter().flat_map(|call| call.filter()).collect(), test)
}

/// Runs `test` in a thread whose processes are killed if they make `call`.
pub(crate) fn killing<T: Send>(call: impl Into<i64>, test: impl FnOnce() -> T + Send) -> T {
    filtered(Refuse::new(call, 0).program(libc::SECCOMP_RET_KILL_PROCESS), test)
}

/// What a filter answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Errno(i32),
    /// A signal, whose handler answers `ENOSYS` in place of the kernel.
    Trap,
}

/// Runs `test` in a thread in which each of `calls` gets its answer. Isolated, as a handler is
/// installed.
pub(crate) fn answering<T: Send>(calls: &[(i64, Answer)], test: impl FnOnce() -> T + Send) -> T {
    super::own::assert_isolated();
    handle_traps();
    let programs = calls.iter().flat_map(|(call, answer)| match *answer {
        Answer::Errno(errno) => Refuse::new(*call, errno).filter(),
        Answer::Trap => Refuse::new(*call, 0).program(libc::SECCOMP_RET_TRAP),
    });
    filtered(programs.collect(), test)
}

/// Has this process killed for every call that is none of `allowed`, from now on.
pub(crate) fn only(allowed: &[i64]) {
    let allow = |call: &i64| Refuse::new(*call, 0).program(libc::SECCOMP_RET_ALLOW);
    let mut program: Vec<_> = allowed.iter().flat_map(allow).collect();
    program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_KILL_PROCESS));
    install(&mut program, 0);
}

/// Installs a handler that has each call which a filter traps fail with `ENOSYS`.
fn handle_traps() {
    extern "C" fn answer(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let refused = i64::from(-libc::ENOSYS);
        // SAFETY: The kernel gives such a handler a context.
        let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
        #[cfg(target_arch = "x86_64")]
        {
            context.uc_mcontext.gregs[libc::REG_RAX as usize] = refused;
        }
        #[cfg(target_arch = "aarch64")]
        {
            context.uc_mcontext.regs[0] = refused as u64;
        }
        #[cfg(target_arch = "riscv64")]
        {
            context.uc_mcontext.__gregs[libc::REG_A0] = refused as u64;
        }
    }
    // SAFETY: All of it is integers.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = answer as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: The handler touches its context alone.
    let result = unsafe { libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()) };
    assert_eq!(result, 0, "sigaction");
}

fn filtered<T: Send>(mut program: Vec<libc::sock_filter>, test: impl FnOnce() -> T + Send) -> T {
    program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW));
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            install(&mut program, 0);
            test()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs `test` in a thread whose calls of `call` wait for an answer, and `answer`
/// beside it, with the descriptor that the questions come from.
pub(crate) fn supervised<T: Send>(
    call: impl Into<i64>,
    answer: impl FnOnce(i32) + Send,
    test: impl FnOnce() -> T + Send,
) -> T {
    let mut program = Refuse::new(call, 0).program(libc::SECCOMP_RET_USER_NOTIF);
    program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW));
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let listener = install(&mut program, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
            send.send(i32::try_from(listener).expect("a descriptor")).expect("a receiver");
            test()
        });
        let listener = receive.recv().expect("a descriptor");
        // SAFETY: Just made, and ours. Closed by a panic too, or the thread would wait for ever.
        let listener = unsafe { OwnedFd::from_raw_fd(listener) };
        answer(listener.as_raw_fd());
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn install(program: &mut [libc::sock_filter], flags: libc::c_ulong) -> i64 {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).expect("a short program"),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: Touches no memory.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(result, 0, "no_new_privs");
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: The kernel reads the program, which is live.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
    assert!(result >= 0, "seccomp: {}", std::io::Error::last_os_error());
    result
}

/// `_IOWR('!', 0, struct seccomp_notif)`, of 80 bytes.
const NOTIF_RECV: u64 = 0xc050_2100;
/// `_IOWR('!', 1, struct seccomp_notif_resp)`, of 24 bytes.
const NOTIF_SEND: u64 = 0xc018_2101;
/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`, in the upper half of the last word.
const CONTINUE: u64 = 1 << 32;

/// A call that waits for an answer.
pub(crate) struct Question {
    listener: i32,
    id: u64,
    pid: i32,
}

impl Question {
    /// Waits for the next call, for a minute at most.
    pub(crate) fn next(listener: i32) -> Self {
        let mut poll = libc::pollfd { fd: listener, events: libc::POLLIN, revents: 0 };
        // SAFETY: The kernel reads and writes one `pollfd`.
        let ready = unsafe { libc::poll(&raw mut poll, 1, 60_000) };
        assert_eq!(ready, 1, "nobody has made the call that was waited for");
        // The id is the first word.
        let mut notification = [0u64; 10];
        let place = notification.as_mut_ptr();
        // SAFETY: The kernel writes 80 bytes.
        let result = unsafe { libc::syscall(libc::SYS_ioctl, listener, NOTIF_RECV, place) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        // Then the pid, before flags.
        let pid = notification[1] as u32 as i32;
        Self { listener, id: notification[0], pid }
    }

    /// Who asks.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Has the call go on.
    pub(crate) fn go_on(self) {
        self.answer(CONTINUE);
    }

    /// Has the call fail.
    pub(crate) fn fail(self, errno: i32) {
        self.answer(refusal(errno));
    }

    fn answer(self, last: u64) {
        let result = self.send(last);
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }

    fn send(&self, last: u64) -> i64 {
        // id, value, then error and flags.
        let answer = [self.id, 0, last];
        let place = answer.as_ptr();
        // SAFETY: The kernel reads 24 bytes.
        unsafe { libc::syscall(libc::SYS_ioctl, self.listener, NOTIF_SEND, place) }
    }
}

impl Drop for Question {
    /// Or who asks, and whoever waits for that, would wait for ever.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.send(refusal(libc::ECANCELED));
        }
    }
}

fn refusal(errno: i32) -> u64 {
    u64::from(u32::from_ne_bytes((-errno).to_ne_bytes()))
}
