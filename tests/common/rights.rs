//! What this process may do: asked of the kernel, never guessed from who it is.
//!
//! In a container, in a filter, in a user namespace root may not do what root may, and
//! somebody else may do more than nothing.

use std::fs::File;
use std::os::fd::AsRawFd;

use rawspawn::NsSet;

use super::{KINDS, TempDir, skip};

/// Whether `try_it` succeeds in a fork of this process, which ends with it.
fn in_fork(try_it: impl FnOnce() -> bool) -> bool {
    super::own::assert_isolated();
    // SAFETY: In an isolated test this is the only thread that matters.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid == 0 {
        let fails = i32::from(!try_it());
        // SAFETY: Ends the process.
        unsafe { libc::_exit(fails) };
    }
    let mut status = 0;
    // SAFETY: The kernel writes one status.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status == 0
}

/// Whether this thread has capability `number` in effect.
pub(crate) fn has_capability(number: u32) -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("a line");
    let set = u64::from_str_radix(line.trim(), 16).expect("hexadecimal");
    set >> number & 1 == 1
}

/// Whether this process may leave a child capability `number`; says so if not.
pub(crate) fn may_give(number: u32) -> bool {
    let may = has_capability(number);
    if !may {
        skip(&format!("capability {number}, which we do not have"));
    }
    may
}

/// A call that a test takes, or makes on its own behalf.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call(&'static str, libc::c_long);

pub(crate) const CHROOT: Call = Call("chroot", libc::SYS_chroot);
pub(crate) const EXECVEAT: Call = Call("execveat", libc::SYS_execveat);
pub(crate) const IOPRIO_SET: Call = Call("ioprio_set", libc::SYS_ioprio_set);
const KCMP: Call = Call("kcmp", libc::SYS_kcmp);
pub(crate) const MEMFD_CREATE: Call = Call("memfd_create", libc::SYS_memfd_create);
pub(crate) const MOUNT: Call = Call("mount", libc::SYS_mount);
pub(crate) const PIDFD_OPEN: Call = Call("pidfd_open", libc::SYS_pidfd_open);
pub(crate) const PIVOT_ROOT: Call = Call("pivot_root", libc::SYS_pivot_root);
#[cfg(feature = "std")]
pub(crate) const PROCESS_VM_READV: Call = Call("process_vm_readv", libc::SYS_process_vm_readv);
pub(crate) const SECCOMP: Call = Call("seccomp", libc::SYS_seccomp);
pub(crate) const SETDOMAINNAME: Call = Call("setdomainname", libc::SYS_setdomainname);
pub(crate) const SETHOSTNAME: Call = Call("sethostname", libc::SYS_sethostname);
pub(crate) const SETNS: Call = Call("setns", libc::SYS_setns);

impl Call {
    /// Whether the kernel, a filter, or both refuse it whatever its arguments are.
    pub(crate) fn is_refused(self) -> bool {
        let nothing: libc::c_long = -1;
        // SAFETY: No address, descriptor, size or flags are -1: nothing is touched or done.
        let result =
            unsafe { libc::syscall(self.1, nothing, nothing, nothing, nothing, nothing, nothing) };
        let errno = std::io::Error::last_os_error().raw_os_error();
        result == -1 && matches!(errno, Some(libc::ENOSYS | libc::EPERM | libc::EOPNOTSUPP))
    }
}

/// Whether all of `calls` can be made; says so if not.
pub(crate) fn needs(calls: &[Call]) -> bool {
    let refused = calls.iter().find(|call| call.is_refused());
    if let Some(Call(name, _)) = refused {
        skip(&format!("{name}, which is refused here"));
    }
    refused.is_none()
}

/// Whether this process may look into those of others, and compare them; says so if not.
pub(crate) fn may_trace_others() -> bool {
    let may = has_capability(SYS_PTRACE) && !KCMP.is_refused();
    if !may {
        skip("a look into processes of others, which is not ours");
    }
    may
}

/// Whether this process may become another user, with other groups; says so if not.
pub(crate) fn may_change_credentials() -> bool {
    let may = in_fork(|| {
        let groups: [libc::gid_t; 2] = [5, 9];
        // SAFETY: Two groups; the others touch no memory.
        unsafe {
            libc::setgroups(2, groups.as_ptr()) == 0
                && libc::setresgid(65533, 65533, 65533) == 0
                && libc::setresuid(65534, 65534, 65534) == 0
        }
    });
    if !may {
        skip("a change of credentials, which is not ours to make");
    }
    may
}

/// Whether this process may make namespaces of these kinds; says so if not.
pub(crate) fn may_make(kinds: NsSet) -> bool {
    may_make_for(kinds, &[])
}

/// Whether this process may make namespaces of these kinds, and then `calls` in them; says so if
/// not.
pub(crate) fn may_make_for(kinds: NsSet, calls: &[Call]) -> bool {
    let known = |kind: &str| std::fs::metadata(format!("/proc/self/ns/{kind}")).is_ok();
    let mut of_kinds = KINDS.iter().filter(|(set, _)| kinds.contains(*set));
    if let Some((_, kind)) = of_kinds.clone().find(|(_, kind)| !known(kind)) {
        skip(&format!("a {kind} namespace, which this kernel does not have"));
        return false;
    }
    let may = has_capability(SYS_ADMIN) && of_kinds.all(|(set, _)| in_fork(|| unshares(*set)));
    if !may {
        skip("namespaces, which are not ours to make");
        return false;
    }
    let refused = calls.iter().find(|call| !in_fork(|| unshares(kinds) && !call.is_refused()));
    if let Some(Call(name, _)) = refused {
        skip(&format!("{name} in a new namespace, which is refused here"));
    }
    refused.is_none()
}

/// Whether this process may make user namespaces, which takes no privileges where it is not
/// forbidden; says so if not.
pub(crate) fn may_make_users() -> bool {
    let may = in_fork(|| unshares(NsSet::USER));
    if !may {
        skip("a user namespace, which is not ours to make");
    }
    may
}

/// Whether this process could make namespaces, by unshare(2) and by clone(2). They are this
/// process's then.
fn unshares(kinds: NsSet) -> bool {
    let flags = i32::try_from(kinds.bits()).expect("flags");
    // clone(2) has its exit signal where one of them is.
    let by_clone = kinds.contains(NsSet::TIME) || {
        let flags = libc::c_long::from(flags | libc::SIGCHLD);
        // SAFETY: As fork(2), of which the child does nothing but to exit.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
        if pid == 0 {
            // SAFETY: Ends the process.
            unsafe { libc::_exit(0) };
        }
        // SAFETY: Our child, whose status does not matter.
        pid > 0 && unsafe { libc::waitpid(pid as libc::pid_t, std::ptr::null_mut(), 0) } > 0
    };
    // SAFETY: Of this fork alone; touches no memory.
    by_clone && unsafe { libc::unshare(flags) == 0 }
}

/// Whether this thread may enter a PID namespace, and so come back from one; says so if not.
pub(crate) fn may_join_pids() -> bool {
    let own = File::open("/proc/self/ns/pid").expect("/proc");
    // SAFETY: Of this fork alone; touches no memory.
    let may = in_fork(|| unsafe { libc::setns(own.as_raw_fd(), libc::CLONE_NEWPID) == 0 });
    if !may {
        skip("a PID namespace, from which we could not come back");
    }
    may
}

/// Whether the ids from `first` on, so many, are there in this user namespace, for others too;
/// says so if not.
pub(crate) fn has_ids(first: u32, count: u32) -> bool {
    let has = |file: &str| {
        let map = std::fs::read_to_string(format!("/proc/self/{file}")).expect("/proc");
        map.lines().any(|line| {
            let words = line.split_whitespace().map(|word| word.parse::<u64>().expect("ids"));
            let [inside, _, length] = words.collect::<Vec<_>>()[..] else { return false };
            let (first, count) = (u64::from(first), u64::from(count));
            (inside..inside + length).contains(&first) && first + count <= inside + length
        })
    };
    let has = has("uid_map") && has("gid_map");
    if !has {
        skip(&format!("the ids from {first} on, of which there are fewer than {count} here"));
    }
    has
}

/// Whether this process may make device nodes; says so if not.
pub(crate) fn may_make_devices() -> bool {
    let dir = TempDir::new();
    let path = dir.join("null");
    // SAFETY: A C string.
    let may = unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o600, 0x103) == 0 };
    if !may {
        skip("a device node, which is not ours to make");
    }
    may
}

/// Whether this process may choose the pid of a child; says so if not.
pub(crate) fn may_choose_pids() -> bool {
    let pid = 1;
    // `struct clone_args`, as far as there is set_tid.
    let args: [u64; 10] = [0, 0, 0, 0, 0, 0, 0, 0, (&raw const pid) as u64, 1];
    // SAFETY: There is a process 1, so that no child is made.
    let result = unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), size_of_val(&args)) };
    assert_eq!(result, -1, "another process 1");
    let may = std::io::Error::last_os_error().raw_os_error() == Some(libc::EEXIST);
    if !may {
        skip("the choice of a pid, which is not ours");
    }
    may
}

pub(crate) const SETGID: u32 = 6;
pub(crate) const SETUID: u32 = 7;
const SYS_PTRACE: u32 = 19;
pub(crate) const SYS_ADMIN: u32 = 21;
