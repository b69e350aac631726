//! The child's last steps in a fresh address space, that of a stub which it executes.
//!
//! Other credentials must not share memory with the parent, and a copy of the parent's
//! takes long where that is large. So the child borrows the parent's memory only until it
//! executes the stub: the loop, the rest of the plan and what that points to, as a
//! program of its own in a memfd. The stub takes the steps that are left, and then executes
//! the program.
//!
//! The parent goes on when the stub is executed, and waits for the next exec by a pipe,
//! whose writing end is close-on-exec in the stub. The stub writes to it that all steps are
//! done, before it executes the program, and its frame if something failed.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_int};
use core::hint::black_box;
use core::mem::{MaybeUninit, offset_of};
use core::ptr::without_provenance;
use core::slice;

use linux_raw_sys::general as uapi;
use linux_raw_sys::prctl as prctls;

use super::around::{EXPOSES, SHARES_SCORE, Wanted, path_of};
use super::made::{cause, reap};
use super::{Frame, clone_flags, make, unnamed};
use crate::arch;
use crate::argv;
use crate::capability::{CapSet, Capabilities};
use crate::compile::sandbox::Program;
use crate::compile::service::LISTEN_PID;
use crate::compile::{self, Input, uses_after_moves};
use crate::errno::Errno;
use crate::error::Error;
use crate::fd::Fd;
use crate::kernel::{Feature, Kernel};
use crate::mode::{Mode, Modes};
use crate::plan::op::{Arg, Call, Op, Tag, ends, flags, sys};
use crate::plan::pointee::{Pointee, pointees};
use crate::plan::{Plan, Step, Storage, Writer};
use crate::process::Process;
use crate::request::{Groups, OtherFds, RawFd, Request};
use crate::sys::{self, Target};

/// What a request brings along that may be spawned so.
#[derive(Debug)]
pub(crate) struct Stub {
    pub(crate) is_sound: fn(&Request<'_>, Kernel, Wanted) -> bool,
    /// Whether a stub moves to another cgroup in less time than it takes to copy the caller's
    /// memory for a child that is made there.
    pub(crate) pays_for_a_move: fn() -> bool,
    /// The mode of what is compiled: a stub's, or another if too many steps would come before it.
    pub(crate) settle: fn(&Input<'_>) -> Mode,
    pub(crate) run: fn(&Plan<'_>) -> Result<Process, Error>,
    /// What is left of a kernel where a stub has failed with an errno, if there is another way.
    pub(crate) without: fn(&Request<'_>, Kernel, Option<Errno>) -> Option<Kernel>,
}

pub(crate) static STUB: Stub = Stub { is_sound, pays_for_a_move, settle, run, without };

fn settle(input: &Input<'_>) -> Mode {
    // Which shows when they are counted.
    let is_stubs = |error: Error| error.step() == Step::Stub && input.request.modes == Modes::Any;
    if compile::needed(input).is_err_and(is_stubs) { Mode::Fork } else { Mode::Stub }
}

fn without(request: &Request<'_>, kernel: Kernel, errno: Option<Errno>) -> Option<Kernel> {
    if request.modes != Modes::Any || !kernel.has(Feature::ExecMemfd) {
        return None;
    }
    // Or there was no descriptor for it, or too little room.
    let is_refused = matches!(errno, Some(Errno::EACCES | Errno::EPERM | Errno::ENOSYS));
    if is_refused && request.kernel.is_none() {
        Kernel::forget(Feature::ExecMemfd);
    }
    Some(kernel.without(Feature::ExecMemfd))
}

/// Whether a stub can do what the request asks for: it has what it needs after one more
/// exec, and needs no Rust.
fn is_sound(request: &Request<'_>, kernel: Kernel, around: Wanted) -> bool {
    let fits = match request.other_fds {
        // The pipe must outlive the step that closes all others, which marks them instead;
        // marked, the caller's would keep a file busy.
        OtherFds::Close => kernel.has(Feature::CloseRangeCloexec) && request.busy_retries == 0,
        // To survive the first exec, those that the stub uses lose their close-on-exec flag,
        // and who inherits all others must not see that.
        OtherFds::Inherit => !uses_after_moves(request),
    };
    kernel.shares_memory()
        && kernel.has(Feature::ExecMemfd)
        && request.hook.is_none()
        // Whose ids would be reset before it.
        && request.posix.is_none()
        && !around.has(EXPOSES | SHARES_SCORE)
        && fits
        && keeps_capabilities(request)
}

/// Whether this process has more memory than a fork copies in the time that the kernel takes to
/// move a process to another cgroup.
fn pays_for_a_move() -> bool {
    sys::private_kib().is_some_and(|kib| kib >= AS_LONG_AS_A_MOVE)
}

/// Measured: to move takes 8 to 12 ms, a grace period of RCU (Linux, `kernel/cgroup/cgroup.c`,
/// `cgroup_attach_lock`), as does the copy of half a GiB, in pages of 4 KiB.
const AS_LONG_AS_A_MOVE: usize = 512 << 10;

/// Whether an exec takes away no capability that the request needs.
///
/// Root gets what its bounding set has; another keeps what is ambient. See
/// capabilities(7).
fn keeps_capabilities(request: &Request<'_>) -> bool {
    let changes_groups = request.gid.is_some()
        || matches!(request.groups, Groups::Set(_))
        || request.uid.is_some() && matches!(request.groups, Groups::Auto);
    let sandboxes = request.seccomp.is_some() || request.landlock.is_some();
    let namespaces = request.namespaces;
    let mut needs = request.capabilities.map_or(CapSet::EMPTY, Capabilities::needed);
    for (is_needed, capability) in [
        // To reach the program.
        (true, uapi::CAP_DAC_OVERRIDE),
        (true, uapi::CAP_DAC_READ_SEARCH),
        (request.root.is_some() || namespaces.is_some(), uapi::CAP_SYS_CHROOT),
        (namespaces.is_some(), uapi::CAP_SYS_ADMIN),
        (namespaces.is_some(), uapi::CAP_SYS_TIME),
        (namespaces.is_some(), uapi::CAP_NET_ADMIN),
        (namespaces.is_some(), uapi::CAP_MKNOD),
        (request.uid.is_some(), uapi::CAP_SETUID),
        (changes_groups, uapi::CAP_SETGID),
        (!request.rlimits.is_empty(), uapi::CAP_SYS_RESOURCE),
        // For scheduling and the OOM score, which come after it.
        (request.cgroup.is_some(), uapi::CAP_SYS_NICE),
        (request.cgroup.is_some(), uapi::CAP_SYS_RESOURCE),
        (request.cgroup.is_some() && request.ioprio.is_some(), uapi::CAP_SYS_ADMIN),
        (sandboxes && !request.no_new_privs, uapi::CAP_SYS_ADMIN),
    ] {
        needs = if is_needed { needs.with(capability) } else { needs };
    }
    let Ok(effective) = sys::effective_capabilities() else { return false };
    let no_root = sys::prctl(prctls::PR_GET_SECUREBITS, 0, 0).unwrap_or(SECBIT_NOROOT);
    let is_root = sys::geteuid() == 0 && no_root & SECBIT_NOROOT == 0;
    // Without them, ids change only among the three that there are, and exec changes those.
    let may_set_ids = effective >> uapi::CAP_SETUID & 1 == 1 || request.uid.is_none();
    let may_set_groups = effective >> uapi::CAP_SETGID & 1 == 1 || request.gid.is_none();
    may_set_ids
        && may_set_groups
        && needs.iter().filter(|capability| effective >> capability & 1 == 1).all(|capability| {
            let survives = if is_root {
                sys::prctl(prctls::PR_CAPBSET_READ, capability, 0)
            } else {
                let is_set = prctls::PR_CAP_AMBIENT_IS_SET;
                sys::prctl(prctls::PR_CAP_AMBIENT, is_set, capability)
            };
            survives == Ok(1)
        })
}

/// `linux/securebits.h`: root is a user like others.
const SECBIT_NOROOT: u32 = 1;

// Where the stub finds itself; `asm/` has the numbers once more. No address below 64 KiB
// can be relied on, and the frame must be above all else, as it is the break.
const BASE: usize = 0x20_0000;
const FRAME: usize = 0x3f_f000;
/// The ops are behind the headers, and the first of them the epilogue.
const OPS: usize = 256;
const EPILOGUE: usize = 4;
const _: () = assert!(size_of::<[Op<'_>; EPILOGUE]>() == 256);
/// How many ops of the stub's own come before the rest of the plan.
const BEFORE: usize = EPILOGUE + 3;
const OP: usize = size_of::<Op<'_>>();

/// Behind the frame, what a step may write to: a variable of the environment.
pub(crate) const STUB_TEXT: usize = FRAME + size_of::<Frame>();
const TEXT_SIZE: usize = 32;

/// How many ops there may be in the child before it executes the stub: it is the
/// parent's stack that they are on.
const MOST_FIRST: usize = 32;

/// How many of them are not of the plan.
const TAIL: usize = 5;

/// How many ops of a plan may come before the stub.
pub(crate) const MOST_BEFORE: usize = MOST_FIRST - TAIL;

type Memory = [MaybeUninit<Op<'static>>; MOST_FIRST];

fn run(plan: &Plan<'_>) -> Result<Process, Error> {
    let failed = |errno| Error::new(Step::Stub, 0, errno);
    // First: what is opened here could get the number of a directory that is not open.
    let procs = open_procs(plan)?;
    let procs_fd = procs.as_ref().map(Fd::raw);
    let (reader, writer) = sys::nonblocking_pipe().map_err(failed)?;
    let reader = unnamed(plan, reader).map_err(failed)?;
    let writer = unnamed(plan, writer).map_err(failed)?;
    // First for what is written to the memfd, then for ops.
    let mut memory: Memory = [const { MaybeUninit::uninit() }; MOST_FIRST];
    let stub = Image::new(plan, [reader.raw(), writer.raw()], procs_fd);
    let memfd = stub.write(&mut memory).map_err(failed)?;
    let memfd = unnamed(plan, memfd).map_err(failed)?;
    let ops = first_ops(plan, &mut memory, [reader.raw(), writer.raw(), memfd.raw()], procs_fd)?;
    let frame = Frame::new();
    let first = Plan { ops, cgroup: None, ..*plan };
    // SAFETY: As in `vfork`: the frame is new, and all of it outlives the child's stay.
    let made = unsafe { make(&first, &frame, clone_flags(plan, Mode::Stub, plan.shares_fds)) }?;
    let process = made.conclude(&first)?;
    drop((memfd, writer, procs));
    if !wait_for_exec(process.pid(), reader.raw()) {
        return Err(Error::new(Step::Child, 0, Errno::EPERM));
    }
    match stub.outcome(reader.raw()) {
        Outcome::Done | Outcome::Died if plan.leave_dead => Ok(process),
        Outcome::Done if has_executed(process.pid()) => Ok(process),
        Outcome::Failed(error) => {
            // Somebody who waits for every child may be faster.
            let _ = reap(process.pid());
            Err(error)
        }
        Outcome::Done | Outcome::Died => {
            let status = reap(process.pid());
            let gone = Error::new(Step::Child, 0, Errno::ECHILD);
            Err(status.ok().flatten().map_or(gone, |status| Error::died(cause(status))))
        }
    }
}

/// Opens what a stub writes to that enters a cgroup.
fn open_procs(plan: &Plan<'_>) -> Result<Option<Fd>, Error> {
    let Some(directory) = plan.cgroup else { return Ok(None) };
    let failed = |errno: Errno| {
        // A fork takes no descriptor.
        let step = if errno.is_table_full() { Step::Stub } else { Step::Cgroup };
        Error::new(step, 0, errno)
    };
    let procs = sys::openat(directory, c"cgroup.procs", uapi::O_WRONLY | uapi::O_CLOEXEC);
    unnamed(plan, Fd::new(procs.map_err(failed)?)).map(Some).map_err(failed)
}

/// The ops of the child up to its exec of the stub.
fn first_ops<'m>(
    plan: &Plan<'m>,
    memory: &'m mut Memory,
    [reader, writer, memfd]: [RawFd; 3],
    procs: Option<RawFd>,
) -> Result<&'m [Op<'m>], Error> {
    let mut first = Writer::new(Storage::for_ops(memory));
    for op in plan.ops.iter().take(plan.stub_at) {
        first.copy(op, op.args);
    }
    let tag = Tag::new(Step::Stub);
    first.push(tag, sys!(FCNTL, writer, uapi::F_SETLK, Arg::ptr(&sys::LOCK)));
    // Both ends: a stub whose parent dies can still write, and goes on. And who closed one would lose
    // the lock of the other.
    for fd in [Some(reader), Some(writer), procs].into_iter().flatten() {
        first.push(tag, sys!(FCNTL, fd, uapi::F_SETFD, 0));
    }
    let name = Arg::raw(argv![c"rawspawn"].as_ptr().cast());
    first.push(tag, sys!(EXECVEAT, memfd, c"", name, 0, uapi::AT_EMPTY_PATH)).exec(0);
    let ops = first.finish_mut().map_err(|_| Error::new(Step::Stub, 0, Errno::ENOBUFS))?;
    // The new descriptors may be above what the plan copies of a table.
    if let (true, Some(op)) = (plan.shares_fds, ops.first_mut()) {
        let last = reader.max(writer).max(memfd).max(procs.unwrap_or(0)) as isize | 63;
        if op.args[0].value() <= last {
            op.args[0] = Arg::int(last + 1);
        }
    }
    Ok(ops)
}

/// Waits until the child has closed its end of the pipe: by exec or by its end.
///
/// A process that another thread has forked may have a copy of that end. So now and then
/// it is asked whether the child still holds the lock that it took, which no other
/// inherits.
///
/// The child may have another user's credentials by now, and be stopped by that user:
/// its parent has it continue, and after a second of that ends it. A parent that may not even
/// do that, for want of `CAP_KILL`, gives it up: `false`.
fn wait_for_exec(pid: c_int, reader: RawFd) -> bool {
    let mut patience = 100;
    while !matches!(sys::poll_hangup(reader, PATIENCE), Ok(true) | Err(_)) {
        if !sys::is_locked(reader) {
            return true;
        }
        let options = uapi::WSTOPPED | uapi::WNOHANG | uapi::WNOWAIT;
        match sys::waitid(Target::Pid(pid), options, None) {
            Ok(Some(_)) => {
                patience -= 1;
                let signal = if patience > 0 { uapi::SIGCONT } else { uapi::SIGKILL };
                let refused = sys::kill(pid, signal as c_int) == Err(Errno::EPERM);
                if refused && patience <= 0 {
                    return false;
                }
            }
            // A filter refuses the question. Who is not stopped does not mind.
            Err(Errno::ENOSYS | Errno::EPERM) => {
                let _ = sys::kill(pid, uapi::SIGCONT as c_int);
            }
            _ => {}
        }
    }
    true
}

/// How long to wait for the pipe before more is asked, in nanoseconds.
const PATIENCE: u64 = 10_000_000;

/// What the pipe says of a child that has closed it.
enum Outcome {
    /// With all steps, and then its exec or its end.
    Done,
    Failed(Error),
    Died,
}

/// Whether a child whose last report is that it executes the program has done so, and
/// was not killed meanwhile. A process that has ended keeps its name. Without `/proc`
/// there is no telling.
fn has_executed(pid: c_int) -> bool {
    let mut buffer = [0u8; 64];
    // Who may not trace the child may not read this, and does not know by it.
    let known = sys::read_link(path_of(pid, b"/exe", &mut buffer)).is_ok();
    known || {
        let comm = sys::open(path_of(pid, b"/comm", &mut buffer), uapi::O_RDONLY | uapi::O_CLOEXEC);
        let name = comm.map(Fd::new).and_then(|comm| {
            let mut name = [0; NAME.len()];
            sys::read(comm.raw(), &mut name).map(|_| name)
        });
        // A newline is where the name's NUL was.
        !name.is_ok_and(|name| NAME.iter().zip(name).all(|(a, b)| *a == b || *a == 0))
    }
}

/// The name of the process while it is the stub, behind the headers of its image.
pub(crate) const STUB_NAME: &CStr = c"rawspawn-stub";
const NAME: &[u8] = STUB_NAME.to_bytes_with_nul();
const NAME_AT: usize = 232;
const _: () = assert!(NAME_AT + NAME.len() <= OPS);

/// The program that a stub is: headers, ops, code, and what the ops point to.
struct Image<'p> {
    /// What is left of the plan.
    rest: &'p [Op<'p>],
    /// How many of these are steps before the exec.
    steps: usize,
    /// Of the pipe to the parent, the reading end and the writing end.
    pipe: [RawFd; 2],
    /// What is written to to enter a cgroup.
    procs: Option<RawFd>,
}

impl<'p> Image<'p> {
    fn new(plan: &Plan<'p>, pipe: [RawFd; 2], procs: Option<RawFd>) -> Self {
        let rest = plan.ops.get(plan.stub_at..).unwrap_or_default();
        // What comes with the exec: a filter may not allow to write what is told before it.
        let is_exec = |op: &Op<'_>| op.flags & flags::EXEC != 0;
        let exec = rest.iter().position(is_exec).unwrap_or(rest.len());
        let filter = exec.saturating_sub(1);
        let is_late = rest.get(filter).is_some_and(|op| op.tag.step == Step::Seccomp);
        let steps = if is_late { filter } else { exec };
        Self { rest, steps, pipe, procs }
    }

    /// The ops of the stub's own, in the order of their places.
    fn own(&self) -> [(usize, Op<'static>); EPILOGUE + 4] {
        let tag = Tag::new(Step::Stub);
        let op = |tag, call: Call<'_, 'static>| Op::new(tag, call);
        let mark = |fd: RawFd| op(tag, sys!(FCNTL, fd, uapi::F_SETFD, uapi::FD_CLOEXEC));
        let [reader, writer] = self.pipe;
        let mut report = op(Tag::new(Step::Exit), sys!(WRITE, writer, FRAME, REPORT));
        let mut name = op(tag, sys!(PRCTL, prctls::PR_SET_NAME, BASE + NAME_AT));
        for op in [&mut report, &mut name] {
            op.ok_any();
        }
        let [group, single, trap] = ends(127);
        [
            (0, report),
            (1, group),
            (2, single),
            (3, trap),
            (EPILOGUE, mark(writer)),
            (EPILOGUE + 1, mark(reader)),
            (EPILOGUE + 2, name),
            // A byte of whatever: all that is left is the exec.
            (BEFORE + self.steps, op(tag, sys!(WRITE, writer, BASE, DONE))),
        ]
    }

    /// How many ops there are.
    fn count(&self) -> usize {
        BEFORE + 1 + self.rest.len()
    }

    /// Which op of `rest` is at `place`.
    fn rest_at(&self, place: usize) -> Option<&'p Op<'p>> {
        let place = place.checked_sub(BEFORE)?;
        match place.checked_sub(self.steps) {
            None => self.rest.get(place),
            Some(0) => None,
            Some(_) => self.rest.get(place - 1),
        }
    }

    /// Writes it to a memfd that nobody can change.
    fn write(&self, memory: &mut Memory) -> Result<Fd, Errno> {
        let (code, entry) = arch::code();
        let code_at = OPS + self.count() * OP;
        let data_at = code_at + code.len().next_multiple_of(size_of::<usize>());
        let mut size = Layout::new(BASE + data_at);
        for op in self.rest {
            size.visit(op, &mut |_, _, _| ());
        }
        let size = size.end - BASE;
        // A longer one would reach the frame; or the kernel would send a signal to the one
        // who writes.
        if size > FRAME - BASE || size as u64 > sys::file_size_limit()? {
            return Err(Errno::EFBIG);
        }
        let memfd = sys::memfd(c"rawspawn")?;
        let mut file = File { memory, used: 0, written: 0, memfd: memfd.raw(), result: Ok(()) };
        file.words(&headers(size, BASE + code_at + entry));
        file.pad_to(NAME_AT);
        // SAFETY: An array.
        unsafe { file.bytes(NAME.as_ptr(), NAME.len()) };
        file.pad_to(OPS);
        let (mut layout, mut own) =
            (Layout::new(BASE + data_at), self.own().into_iter().peekable());
        for place in 0..self.count() {
            if let Some((_, op)) = own.next_if(|(at, _)| *at == place) {
                file.op(&op);
            } else if let Some(op) = self.rest_at(place) {
                let mut copy = *op;
                layout.visit(op, &mut |place, address, _| {
                    copy.args[place] = Arg::int(address as isize);
                });
                if let (Step::Cgroup, Some(procs)) = (op.tag.step, self.procs) {
                    copy.args[0] = Arg::int(procs as isize);
                    copy.flags &= !flags::USE;
                }
                file.op(&copy);
            }
        }
        // SAFETY: A slice.
        unsafe { file.bytes(code.as_ptr(), code.len()) };
        let mut layout = Layout::new(BASE + data_at);
        let tells_pid = self.rest.iter().any(|op| op.tag.step == Step::ListenFds);
        for op in self.rest {
            layout.visit(op, &mut |_, address, pointee| {
                if let Some(pointee) = pointee {
                    file.pad_to(address - BASE);
                    file.pointee(address, pointee, tells_pid);
                }
            });
        }
        file.flush();
        file.result?;
        sys::seal(memfd.raw())?;
        Ok(memfd)
    }

    /// Reads what became of the child, which has closed the pipe.
    fn outcome(&self, reader: RawFd) -> Outcome {
        let mut bytes = [0u8; DONE + REPORT];
        let count = sys::read(reader, &mut bytes).unwrap_or(0);
        let report = match count {
            DONE => return Outcome::Done,
            REPORT => bytes.get(..REPORT),
            _ => bytes.get(DONE..),
        };
        let word = |place: usize| {
            let bytes = report.and_then(|report| report.get(place..)?.first_chunk());
            u64::from_ne_bytes(*bytes.unwrap_or(&[0; 8]))
        };
        let place = (word(0) as usize).wrapping_sub(BASE + OPS) / OP;
        match Errno::from_raw(word(8) as i32) {
            Some(errno) if count >= REPORT => {
                let tag = self.rest_at(place).map_or(Tag::new(Step::Stub), |op| op.tag);
                Outcome::Failed(Error::new(tag.step, tag.index, errno))
            }
            _ => Outcome::Died,
        }
    }
}

/// What the stub writes to the pipe once nothing but the exec is left, and what if
/// something failed: the first two fields of its frame.
const DONE: usize = 1;
const REPORT: usize = 16;
const _: () = assert!(offset_of!(Frame, errno) == 8 && offset_of!(Frame, epilogue) == REPORT);

/// The headers of an executable: of what is read and executed, of the frame, and of a
/// stack that is not executed. See elf(5).
fn headers(size: usize, entry: usize) -> [u64; 29] {
    const HEADER: u64 = 64;
    const SEGMENT: u64 = 56;
    const READ_EXECUTE: u64 = 5;
    const READ_WRITE: u64 = 6;
    const LOAD: u64 = 1;
    const STACK: u64 = 0x6474_e551;
    let (base, size, entry) = (BASE as u64, size as u64, entry as u64);
    let (frame, frame_size) = (FRAME as u64, (size_of::<Frame>() + TEXT_SIZE) as u64);
    #[rustfmt::skip]
    let words = [
        // Magic number; 64 bits, and the byte order of all that this crate is for.
        u64::from_le_bytes(*b"\x7fELF\x02\x01\x01\0"), 0,
        // ET_EXEC, machine, version; where it starts, where the segments are.
        2 | u64::from(arch::MACHINE) << 16 | 1 << 32, entry, HEADER, 0,
        // No flags; sizes, and how many segments.
        HEADER << 32 | SEGMENT << 48, 3,
        // Each: kind and access, place in the file, address twice, sizes there, alignment.
        LOAD | READ_EXECUTE << 32, 0, base, base, size, size, 1 << 12,
        LOAD | READ_WRITE << 32, 0, frame, frame, 0, frame_size, 1 << 12,
        STACK | READ_WRITE << 32, 0, 0, 0, 0, 0, 1 << 4,
    ];
    words
}

/// Where what the ops point to will be, one after the other.
struct Layout {
    end: usize,
    /// Arrays of strings are asked for by each exec op, and there once.
    known: [Option<(*const (), usize)>; 2],
}

impl Layout {
    fn new(start: usize) -> Self {
        Self { end: start, known: [None; 2] }
    }

    /// Calls `tell` for each argument of `op` that is a pointer, with its place, its new
    /// address, and what it points to unless that was there already.
    fn visit(&mut self, op: &Op<'_>, tell: &mut dyn FnMut(usize, usize, Option<Pointee<'_>>)) {
        for (place, pointee) in pointees(op) {
            let known = match pointee {
                Pointee::Bytes(..) | Pointee::Filter(_) => None,
                Pointee::Strings(array, which) => {
                    let start = array.as_ptr().cast();
                    let known = self.known[which & 1].filter(|(known, _)| *known == start);
                    known.map(|(_, address)| address)
                }
            };
            let address = known.unwrap_or(self.end);
            if known.is_none() {
                let size = match pointee {
                    Pointee::Bytes(_, size) => size,
                    Pointee::Filter(filter) => size_of::<Program<'_>>() + size_of_val(filter),
                    Pointee::Strings(array, which) => {
                        self.known[which & 1] = Some((array.as_ptr().cast(), address));
                        let sizes = array.iter().map(|string| 8 + string.to_bytes_with_nul().len());
                        8 + sizes.sum::<usize>()
                    }
                };
                self.end += size.next_multiple_of(size_of::<usize>());
            }
            tell(place, address, known.is_none().then_some(pointee));
        }
    }
}

/// A file that is written from its start to its end, some at a time.
struct File<'m> {
    memory: &'m mut Memory,
    /// How much of the memory is written, and of the file.
    used: usize,
    written: usize,
    memfd: RawFd,
    result: Result<(), Errno>,
}

impl File<'_> {
    /// Appends the `size` bytes at `start`.
    ///
    /// # Safety
    ///
    /// There are that many, all of them initialised.
    unsafe fn bytes(&mut self, start: *const u8, size: usize) {
        let mut done = 0;
        while done < size {
            if self.used == size_of::<Memory>() {
                self.flush();
            }
            let count = (size - done).min(size_of::<Memory>() - self.used);
            let to = self.memory.as_mut_ptr().cast::<u8>().wrapping_add(self.used);
            // SAFETY: The caller's promise, and room for as much.
            unsafe { copy(start.wrapping_add(done), to, count) };
            self.used += count;
            done += count;
        }
    }

    fn words(&mut self, words: &[u64]) {
        // SAFETY: A slice of integers.
        unsafe { self.bytes(words.as_ptr().cast(), size_of_val(words)) };
    }

    fn op(&mut self, op: &Op<'_>) {
        // SAFETY: An op, which has no padding.
        unsafe { self.bytes(core::ptr::from_ref(op).cast(), OP) };
    }

    /// Appends zeros up to `place`; no more than a few are ever missing.
    fn pad_to(&mut self, place: usize) {
        while self.written + self.used < place {
            // SAFETY: An array.
            unsafe { self.bytes([0u8].as_ptr(), 1) };
        }
    }

    /// Appends what is to be at `address`. `tells_pid`: a variable of the environment is one
    /// that the stub writes.
    fn pointee(&mut self, address: usize, pointee: Pointee<'_>, tells_pid: bool) {
        match pointee {
            // SAFETY: There is as much as it says.
            Pointee::Bytes(start, size) => unsafe { self.bytes(start, size) },
            Pointee::Filter(filter) => {
                let behind = address + size_of::<Program<'_>>();
                let program = Program::new(filter).at(without_provenance(behind));
                self.words(&program.words());
                // SAFETY: A slice of integers.
                unsafe { self.bytes(filter.as_ptr().cast(), size_of_val(filter)) };
            }
            Pointee::Strings(array, which) => {
                let mut text = address + 8 * (array.iter().count() + 1);
                for string in array {
                    let is_pid = tells_pid && which == 1 && string == LISTEN_PID;
                    self.words(&[if is_pid { STUB_TEXT } else { text } as u64]);
                    text += string.to_bytes_with_nul().len();
                }
                self.words(&[0]);
                for string in array {
                    let bytes = string.to_bytes_with_nul();
                    // SAFETY: A slice.
                    unsafe { self.bytes(bytes.as_ptr(), bytes.len()) };
                }
            }
        }
    }

    fn flush(&mut self) {
        // SAFETY: As many bytes were written.
        let bytes = unsafe { slice::from_raw_parts(self.memory.as_ptr().cast(), self.used) };
        if self.result.is_ok() {
            self.result = sys::write_all(self.memfd, bytes);
        }
        self.written += self.used;
        self.used = 0;
    }
}

/// Copies `size` bytes; without `alloc` not by a call of memcpy, which a program without
/// a C library does not have.
///
/// # Safety
///
/// There are that many at `from`, and there is room for them at `to`.
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, size: usize) {
    if cfg!(feature = "alloc") {
        // SAFETY: The caller's promise; nobody reads what is being written.
        return unsafe { to.copy_from_nonoverlapping(from, size) };
    }
    for done in 0..size {
        // SAFETY: A byte of the source. Or LLVM would see what this loop is.
        let byte = black_box(unsafe { from.wrapping_add(done).read() });
        // SAFETY: There is as much room as source.
        unsafe { to.wrapping_add(done).write(byte) };
    }
}
