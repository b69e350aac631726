//! Which mode a spawn runs in, and why.

use crate::errno::Errno;
use crate::error::Error;
use crate::kernel::{Feature, Kernel};
use crate::namespaces::Namespaces;
use crate::plan::Step;
use crate::request::Request;
use crate::spawn::around::{CREDENTIALS, EXPOSES, OWN_MEMORY, SHARES_SCORE, TRACED, WAITS, Wanted};

/// Who shares memory with whom until exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// `CLONE_VM|CLONE_VFORK`: the child borrows the caller's memory, the
    /// calling thread waits. The cost does not depend on the caller's size.
    Vfork,
    /// `CLONE_VFORK` alone: the child has a copy, the calling thread waits. If the child's
    /// credentials change, so that another user may stop it, this holds the caller too.
    Fork,
    /// `CLONE_VM` alone: the child borrows memory that is kept for it, and the calling
    /// thread goes on at once. Of what is started by `Request::start` or together by
    /// [`spawn_all`](crate::spawn_all), where nothing stands against it; and of a spawn whose
    /// child waits for the caller.
    Detached,
    /// `CLONE_VM|CLONE_VFORK` until the child executes a stub, a small program that the
    /// spawn makes: there it has memory of its own, and changes its credentials. The calling
    /// thread waits until the stub has executed the program. A copy of the caller's memory
    /// is never made, so that the cost does not depend on the caller's size; and who may stop
    /// the child, as another user may whose credentials it gets, does not hold the caller.
    ///
    /// A stub that enters a cgroup moves there, and the kernel takes some milliseconds for that,
    /// during which nobody forks.
    ///
    /// A spawn that fails in the stub sends `SIGCHLD`, as the child has executed something by
    /// then.
    Stub,
}

/// Which modes a spawn may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Modes {
    /// The fastest that is safe.
    #[default]
    Any,
    /// [`Mode::Vfork`] or an error.
    Vfork,
    /// [`Mode::Fork`], even where vfork would do.
    Fork,
    /// [`Mode::Stub`] or an error.
    Stub,
}

/// Why a spawn runs in the mode that it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Nothing stands against sharing memory.
    Default,
    /// The caller asked for it.
    Asked,
    /// The child gets other credentials: another user could reach memory that
    /// it shares with its parent.
    Credentials,
    /// The hook needs memory of its own.
    Hook,
    /// The kernel, a filter or an emulator does not let a child share memory, or not
    /// with a parent that goes on; or a filter may kill the child, which below Linux 5.16 ends
    /// all who share its memory.
    Kernel,
    /// The OOM score of a child that shares memory is its parent's too, unless that
    /// waits.
    OomScoreAdj,
    /// Others could reach memory that the child shares with its parent: those in a PID namespace
    /// that it joins; or whoever is of the same user, and owns its new user namespace so.
    Namespaces,
    /// A step works on the memory of the child, which must not be its parent's: a time namespace,
    /// the core dump filter, the pid in `LISTEN_PID`.
    Memory,
    /// The caller does something while the child waits: maps of ids that take privileges, a
    /// hook of its own.
    Parent,
    /// The child enters a cgroup: where that is out of memory, the kernel kills all who share
    /// the memory of whom it kills.
    Cgroup,
    /// A debugger or a tracer follows the caller, and would take a child that shares memory
    /// with a parent who goes on for a thread of the caller's.
    Traced,
}

/// Whether the child may be killed, by its filter, in a way that ends all who share its memory.
fn may_dump_core(request: &Request<'_>, kernel: Kernel) -> bool {
    request.seccomp.is_some() && !kernel.has(Feature::OwnCoreDump)
}

/// What of `kernel` a spawn in `mode` makes use of.
///
/// A tracer takes the child of a fork with `CLONE_VFORK` for one that shares memory, in
/// which there is no breakpoint left, and one that its parent does not wait for, for a thread. So
/// a child that runs the caller's code or waits is one of a fork as others make it.
pub(crate) fn kernel_in(
    mode: Mode,
    request: &Request<'_>,
    kernel: Kernel,
    around: Wanted,
) -> Kernel {
    let runs_or_waits = || request.hook.is_some() || around.has(WAITS);
    if mode == Mode::Fork && around.has(TRACED) && runs_or_waits() {
        kernel.without(Feature::Suspends).without(Feature::NoExitSignal)
    } else {
        kernel
    }
}

/// Chooses the mode for `request` on `kernel`; `around` is what the parent does besides.
#[inline]
pub(crate) fn choose(
    request: &Request<'_>,
    kernel: Kernel,
    around: Wanted,
) -> Result<(Mode, Reason), Error> {
    // Of most requests nothing can stand against it.
    if !request.stages.concern_the_mode() && request.modes == Modes::Any && kernel.shares_memory() {
        return Ok((Mode::Vfork, Reason::Default));
    }
    if request.namespaces.is_some_and(Namespaces::takes_clone) && request.is_forked() {
        return Err(Error::new(Step::Mode, 0, Errno::EOPNOTSUPP));
    }
    // The child waits for a parent that a tracer follows.
    let is_seen = around.has(WAITS) && around.has(TRACED);
    // By reference: a copy would be most of what this does.
    let has_hook = request.hook.as_ref().is_some_and(|hook| hook.stack.is_null());
    let against = if around.has(EXPOSES) {
        Some(Reason::Namespaces)
    } else if request.changes_credentials() || around.has(CREDENTIALS) {
        Some(Reason::Credentials)
    } else if has_hook {
        Some(Reason::Hook)
    } else if !kernel.shares_memory() || may_dump_core(request, kernel) {
        Some(Reason::Kernel)
    } else if request.cgroup.is_some() {
        Some(Reason::Cgroup)
    } else if around.has(OWN_MEMORY) {
        Some(Reason::Memory)
    } else if around.has(SHARES_SCORE) {
        Some(Reason::OomScoreAdj)
    } else if is_seen && request.modes == Modes::Any {
        Some(Reason::Traced)
    } else {
        None
    };
    let may_be_stub = || request.stub.is_some_and(|stub| (stub.is_sound)(request, kernel, around));
    // A fork is made in its cgroup, a stub has to move there.
    let pays = |reason| {
        reason != Reason::Cgroup || request.stub.is_some_and(|stub| (stub.pays_for_a_move)())
    };
    let sharing = if around.has(WAITS) {
        (Mode::Detached, Reason::Parent)
    } else {
        (Mode::Vfork, Reason::Default)
    };
    match (request.modes, against) {
        // A debugger that follows the child finds no breakpoint in a stub.
        (Modes::Any, Some(reason)) if !around.has(TRACED) && pays(reason) && may_be_stub() => {
            Ok((Mode::Stub, reason))
        }
        (Modes::Stub, _) if may_be_stub() => Ok((Mode::Stub, Reason::Asked)),
        (Modes::Vfork, Some(_)) | (Modes::Stub, _) => {
            Err(Error::new(Step::Mode, 0, Errno::EOPNOTSUPP))
        }
        (Modes::Vfork, None) => Ok((sharing.0, Reason::Asked)),
        (Modes::Fork, _) => Ok((Mode::Fork, Reason::Asked)),
        (Modes::Any, Some(reason)) => Ok((Mode::Fork, reason)),
        (Modes::Any, None) => Ok(sharing),
    }
}
