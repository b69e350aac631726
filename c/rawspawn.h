// rawspawn: spawns programs on Linux by raw system calls. See rawspawn(3).
//
// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Made from c/src by `cargo xtask header`.

#ifndef RAWSPAWN_H
#define RAWSPAWN_H

#include <stddef.h>
#include <stdint.h>

// Sets a number that may be unset.
#define RAWSPAWN_SET(n) ((uint64_t)1 << 32 | (uint32_t)(n))

// A signal in a mask.
#define RAWSPAWN_SIGNAL(n) ((uint64_t)1 << ((n) - 1))

// Items of request.fds.
#define RAWSPAWN_MAP(parent, child) {RAWSPAWN_FD_MAP, child, parent, 0, NULL, 0}
#define RAWSPAWN_OPEN(child, path, flags, mode) {RAWSPAWN_FD_OPEN, child, 0, flags, path, mode}
#define RAWSPAWN_CLOSE(child) {RAWSPAWN_FD_CLOSE, child, 0, 0, NULL, 0}

// The version of this header: a byte each of its three numbers.
#define RAWSPAWN_VERSION 256

// request.flags: a new session, of which the child is the leader. setsid(2)
#define RAWSPAWN_SESSION 1

// request.flags: exec grants no privileges. PR_SET_NO_NEW_PRIVS
#define RAWSPAWN_NO_NEW_PRIVS 2

// request.flags: orphans among the descendants become children of the child.
#define RAWSPAWN_SUBREAPER 4

// request.flags: a pidfd in the child structure. Linux 5.3
#define RAWSPAWN_PIDFD 8

// request.flags: what the kernel does not recognise is run by /bin/sh, as execvp(3) does.
#define RAWSPAWN_SH_FALLBACK 16

// request.flags: the child has all descriptors that are not close-on-exec. Without, it has 0, 1,
// 2 and those of request.fds.
#define RAWSPAWN_INHERIT_FDS 32

// request.flags: SIGPIPE and SIGXFSZ, which language runtimes ignore, get their default action.
#define RAWSPAWN_RESTORE_SIGNALS 64

// request.flags: the supplementary groups stay, whatever the uid. Without it, and without
// request.groups, a change of the uid drops them where that is permitted.
#define RAWSPAWN_KEEP_GROUPS 128

// request.flags: rawspawn() may map memory, until it returns, for a request that does not fit
// into its stack frame. Without it that is ENOBUFS.
#define RAWSPAWN_MAP_MEMORY 256

// namespaces.flags: setgroups(2) is forbidden in the new user namespace for good.
#define RAWSPAWN_DENY_SETGROUPS 1

// namespaces.flags: the loopback device of the child's network namespace is switched on.
#define RAWSPAWN_LOOPBACK 2

// capabilities.sets: the bounding set is limited to .bounding.
#define RAWSPAWN_CAP_BOUNDING 1

// capabilities.sets: .permitted, .effective and .inheritable.
#define RAWSPAWN_CAP_SETS 2

// capabilities.sets: .ambient.
#define RAWSPAWN_CAP_AMBIENT 4

// capabilities.sets: .securebits.
#define RAWSPAWN_CAP_SECUREBITS 8

// posix.flags: POSIX_SPAWN_SETSID.
#define RAWSPAWN_POSIX_SETSID 1

// posix.flags: POSIX_SPAWN_RESETIDS.
#define RAWSPAWN_POSIX_RESETIDS 2

// Who shares memory with whom until exec: request.mode, and child.mode.
enum rawspawn_mode {
    // request.mode: the fastest that is safe.
    RAWSPAWN_MODE_ANY = 0,
    // The child borrows the caller's memory; the calling thread waits.
    RAWSPAWN_MODE_VFORK = 1,
    // The child has a copy of the caller's memory; the calling thread waits.
    RAWSPAWN_MODE_FORK = 2,
    // The child executes a stub and changes its credentials in there. The calling thread waits.
    RAWSPAWN_MODE_STUB = 3,
    // child.mode alone: the child borrowed memory, and the caller went on.
    RAWSPAWN_MODE_DETACHED = 4,
    // child.mode alone: one that has no number.
    RAWSPAWN_MODE_OTHER = 255,
};

// Why a child was made in its mode: child.reason.
enum rawspawn_reason {
    // Nothing stood against sharing memory.
    RAWSPAWN_REASON_DEFAULT = 0,
    // request.mode
    RAWSPAWN_REASON_ASKED = 1,
    // It gets other credentials, whose owner could reach memory that is shared.
    RAWSPAWN_REASON_CREDENTIALS = 2,
    // A hook needs memory of its own.
    RAWSPAWN_REASON_HOOK = 3,
    // The kernel, a filter or an emulator does not let a child share memory.
    RAWSPAWN_REASON_KERNEL = 4,
    // The OOM score would be the caller's too.
    RAWSPAWN_REASON_OOM_SCORE_ADJ = 5,
    // Others could reach memory that is shared, from a namespace.
    RAWSPAWN_REASON_NAMESPACES = 6,
    // A step works on the child's memory.
    RAWSPAWN_REASON_MEMORY = 7,
    // The caller does something while the child waits.
    RAWSPAWN_REASON_PARENT = 8,
    // It enters a cgroup, whose want of memory would kill the caller too.
    RAWSPAWN_REASON_CGROUP = 9,
    // A tracer follows the caller, and would take the child for a thread of it.
    RAWSPAWN_REASON_TRACED = 10,
    // One that has no number. (A newer library may give numbers that are not here, too.)
    RAWSPAWN_REASON_OTHER = 255,
};

// The steps of a spawn, in the order in which they happen in this version: error.step.
enum rawspawn_step {
    // The request itself, or the memory for it is too small.
    RAWSPAWN_STEP_PLAN = 0,
    // argv: none, or empty
    RAWSPAWN_STEP_ARGUMENTS = 1,
    // envp: none
    RAWSPAWN_STEP_ENVIRONMENT = 2,
    // The only safe mode is not the one asked for.
    RAWSPAWN_STEP_MODE = 3,
    // Memory or a pipe for the child's report.
    RAWSPAWN_STEP_REPORT = 4,
    // clone3(2), clone(2)
    RAWSPAWN_STEP_CLONE = 5,
    // namespaces.set_tid
    RAWSPAWN_STEP_SET_TID = 6,
    // namespaces.uid_map
    RAWSPAWN_STEP_UID_MAP = 7,
    // namespaces.gid_map, RAWSPAWN_DENY_SETGROUPS
    RAWSPAWN_STEP_GID_MAP = 8,
    // request.parent_hook
    RAWSPAWN_STEP_PARENT_HOOK = 9,
    // The child waits for its parent. futex(2)
    RAWSPAWN_STEP_WAIT = 10,
    // Signals are kept away. sigprocmask(2)
    RAWSPAWN_STEP_SHIELD = 11,
    // request.cgroup
    RAWSPAWN_STEP_CGROUP = 12,
    // RAWSPAWN_SESSION
    RAWSPAWN_STEP_SESSION = 13,
    // request.process_group
    RAWSPAWN_STEP_PROCESS_GROUP = 14,
    // request.controlling_terminal
    RAWSPAWN_STEP_CONTROLLING_TERMINAL = 15,
    // request.foreground
    RAWSPAWN_STEP_FOREGROUND = 16,
    // request.scheduler_policy
    RAWSPAWN_STEP_SCHEDULER = 17,
    // request.nice
    RAWSPAWN_STEP_NICE = 18,
    // request.affinity
    RAWSPAWN_STEP_AFFINITY = 19,
    // request.ioprio
    RAWSPAWN_STEP_IO_PRIORITY = 20,
    // request.oom_score_adj
    RAWSPAWN_STEP_OOM_SCORE_ADJ = 21,
    // request.umask
    RAWSPAWN_STEP_UMASK = 22,
    // posix.actions
    RAWSPAWN_STEP_FILE_ACTION = 23,
    // RAWSPAWN_FD_MAP
    RAWSPAWN_STEP_MOVE = 24,
    // RAWSPAWN_FD_OPEN
    RAWSPAWN_STEP_OPEN = 25,
    // RAWSPAWN_FD_CLOSE
    RAWSPAWN_STEP_CLOSE = 26,
    // The stub of RAWSPAWN_MODE_STUB is made and executed.
    RAWSPAWN_STEP_STUB = 27,
    // request.listen_fds
    RAWSPAWN_STEP_LISTEN_FDS = 28,
    // request.coredump_filter
    RAWSPAWN_STEP_COREDUMP_FILTER = 29,
    // request.timer_slack
    RAWSPAWN_STEP_TIMER_SLACK = 30,
    // RAWSPAWN_SUBREAPER
    RAWSPAWN_STEP_SUBREAPER = 31,
    // namespaces.join
    RAWSPAWN_STEP_JOIN = 32,
    // namespaces.create
    RAWSPAWN_STEP_NEW_NAMESPACES = 33,
    // namespaces.clock_offsets
    RAWSPAWN_STEP_CLOCK_OFFSETS = 34,
    // namespaces.hostname
    RAWSPAWN_STEP_HOSTNAME = 35,
    // namespaces.domainname
    RAWSPAWN_STEP_DOMAINNAME = 36,
    // RAWSPAWN_LOOPBACK
    RAWSPAWN_STEP_LOOPBACK = 37,
    // namespaces.filesystem
    RAWSPAWN_STEP_FILE_SYSTEM = 38,
    // namespaces.pivot_root
    RAWSPAWN_STEP_PIVOT_ROOT = 39,
    // request.root
    RAWSPAWN_STEP_ROOT = 40,
    // request.cwd, request.cwd_fd
    RAWSPAWN_STEP_CURRENT_DIR = 41,
    // request.rlimits
    RAWSPAWN_STEP_RLIMIT = 42,
    // capabilities.securebits, PR_SET_KEEPCAPS
    RAWSPAWN_STEP_SECUREBITS = 43,
    // capabilities.bounding
    RAWSPAWN_STEP_BOUNDING = 44,
    // request.seccomp
    RAWSPAWN_STEP_SECCOMP = 45,
    // request.groups
    RAWSPAWN_STEP_GROUPS = 46,
    // request.gid
    RAWSPAWN_STEP_GID = 47,
    // request.uid
    RAWSPAWN_STEP_UID = 48,
    // capabilities.permitted, .effective, .inheritable
    RAWSPAWN_STEP_CAPABILITIES = 49,
    // capabilities.ambient
    RAWSPAWN_STEP_AMBIENT = 50,
    // request.parent_death_signal
    RAWSPAWN_STEP_PARENT_DEATH_SIGNAL = 51,
    // RAWSPAWN_NO_NEW_PRIVS
    RAWSPAWN_STEP_NO_NEW_PRIVS = 52,
    // request.landlock
    RAWSPAWN_STEP_LANDLOCK = 53,
    // request.hook
    RAWSPAWN_STEP_HOOK = 54,
    // request.default_signals, .ignore_signals
    RAWSPAWN_STEP_SIGNAL_ACTION = 55,
    // All other descriptors are closed. close_range(2)
    RAWSPAWN_STEP_CLOSE_OTHERS = 56,
    // request.signal_mask
    RAWSPAWN_STEP_SIGNAL_MASK = 57,
    // execve(2), execveat(2)
    RAWSPAWN_STEP_EXEC = 58,
    // The end of a child that failed.
    RAWSPAWN_STEP_EXIT = 59,
    // The child died before it executed the program: error.status says how.
    RAWSPAWN_STEP_CHILD = 60,
    // The pidfd of the child.
    RAWSPAWN_STEP_PIDFD = 61,
    // One that has no number. (A newer library may give numbers that are not here, too.)
    RAWSPAWN_STEP_OTHER = 255,
};

// Why the library refused a request, before there was a process: error.status of an EINVAL or
// E2BIG, of all steps but RAWSPAWN_STEP_CHILD.
enum rawspawn_refused {
    // It was not the library, but the kernel, or two options that exclude each other.
    RAWSPAWN_REFUSED_NOT = 0,
    // A pointer or a program is missing.
    RAWSPAWN_REFUSED_MISSING = 1,
    // Two are given of which there may be one: programs, working directories, groups and
    // RAWSPAWN_KEEP_GROUPS.
    RAWSPAWN_REFUSED_SEVERAL = 2,
    // .size is smaller than the structure ever was.
    RAWSPAWN_REFUSED_SIZE = 3,
    // E2BIG: .size says that the structure is a newer one, and what this library does not know
    // of it is not zero.
    RAWSPAWN_REFUSED_NEWER = 4,
    // A flag, kind or mode that this library does not know.
    RAWSPAWN_REFUSED_UNKNOWN = 5,
    // A number without RAWSPAWN_SET.
    RAWSPAWN_REFUSED_UNSET = 6,
    // A number, a size or a count out of its range.
    RAWSPAWN_REFUSED_RANGE = 7,
    // A member is set that has no effect beside the others: another kind's, or one of a member
    // that is not set.
    RAWSPAWN_REFUSED_NO_EFFECT = 8,
};

// fd_action.kind
enum rawspawn_fd {
    // The child's child_fd is the caller's parent_fd.
    RAWSPAWN_FD_MAP = 1,
    // The child opens path at child_fd, with flags and mode.
    RAWSPAWN_FD_OPEN = 2,
    // The child does not have child_fd.
    RAWSPAWN_FD_CLOSE = 3,
};

// fs_action.kind
enum rawspawn_fs {
    // mount(2): source, target, fstype, flags, data. A NULL is "".
    RAWSPAWN_FS_MOUNT = 1,
    // umount2(2): target, flags.
    RAWSPAWN_FS_UNMOUNT = 2,
    // mkdir(2): target, mode. One that is there already is left alone.
    RAWSPAWN_FS_MKDIR = 3,
    // An empty file, to mount another on: target, mode. As RAWSPAWN_FS_MKDIR.
    RAWSPAWN_FS_FILE = 4,
    // symlink(2): source is what it contains, target where it is. As RAWSPAWN_FS_MKDIR.
    RAWSPAWN_FS_SYMLINK = 5,
    // mknod(2): target, mode with S_IFCHR or S_IFBLK, device.
    RAWSPAWN_FS_DEVICE = 6,
};

// file_action.kind
enum rawspawn_file {
    // fd
    RAWSPAWN_FILE_CLOSE = 1,
    // fd, path, flags, mode
    RAWSPAWN_FILE_OPEN = 2,
    // fd, new_fd
    RAWSPAWN_FILE_DUP2 = 3,
    // path
    RAWSPAWN_FILE_CHDIR = 4,
    // fd
    RAWSPAWN_FILE_FCHDIR = 5,
    // fd and all above
    RAWSPAWN_FILE_CLOSEFROM = 6,
    // fd: the terminal
    RAWSPAWN_FILE_TCSETPGRP = 7,
};

// What a kernel offers: request.kernel, rawspawn_kernel().
enum rawspawn_feature {
    // clone3(2), Linux 5.3
    RAWSPAWN_FEATURE_CLONE3 = 1,
    // CLONE_CLEAR_SIGHAND, Linux 5.5
    RAWSPAWN_FEATURE_CLEAR_SIGHAND = 2,
    // close_range(2), Linux 5.9
    RAWSPAWN_FEATURE_CLOSE_RANGE = 4,
    // CLOSE_RANGE_CLOEXEC, Linux 5.11
    RAWSPAWN_FEATURE_CLOSE_RANGE_CLOEXEC = 8,
    // CLONE_VM|CLONE_VFORK shares memory.
    RAWSPAWN_FEATURE_SHARED_MEMORY = 16,
    // CLONE_VFORK suspends the parent.
    RAWSPAWN_FEATURE_SUSPENDS = 32,
    // A child may send no signal at its end.
    RAWSPAWN_FEATURE_NO_EXIT_SIGNAL = 64,
    // pidfd_open(2), Linux 5.3
    RAWSPAWN_FEATURE_PIDFD = 128,
    // CLONE_PIDFD, Linux 5.2
    RAWSPAWN_FEATURE_CLONE_PIDFD = 256,
    // CLONE_FILES, and CLOSE_RANGE_UNSHARE, Linux 5.9
    RAWSPAWN_FEATURE_SHARE_FDS = 512,
    // A memfd can be executed, Linux 3.19.
    RAWSPAWN_FEATURE_EXEC_MEMFD = 1024,
    // A core dump ends one process alone, Linux 5.16
    RAWSPAWN_FEATURE_OWN_CORE_DUMP = 2048,
};

// A compiled request: what a child executes. It lives in the caller's memory, and ends with that.
struct rawspawn_plan;

// Of sys/resource.h.
struct rusage;

// An instruction of a seccomp filter, of linux/filter.h.
struct sock_filter;

// A number that may be left unset: 0 is unset, RAWSPAWN_SET(n) is n. Any other value is EINVAL,
// so that a plain number is never mistaken for none.
typedef uint64_t rawspawn_optional;

// What happens to one descriptor of the child. All maps happen at once, whatever numbers they
// write; then files are opened, then descriptors closed.
struct rawspawn_fd_action {
    // RAWSPAWN_FD_*. Members that are another kind's must be zero.
    uint32_t kind;
    // The number in the child.
    int child_fd;
    // RAWSPAWN_FD_MAP: a descriptor of the caller.
    int parent_fd;
    // RAWSPAWN_FD_OPEN: the flags of open(2). O_CLOEXEC is ignored.
    int flags;
    // RAWSPAWN_FD_OPEN: from the caller's working directory.
    const char *path;
    // RAWSPAWN_FD_OPEN: the mode of a file that is created; the child's umask applies.
    uint32_t mode;
};

// Low numbers of descriptors, kept free for spawns, by several threads if wanted: see
// rawspawn_low_fds_claim(). It must stay where it is, and not be copied.
struct rawspawn_low_fds {
    // The library's.
    uint64_t opaque[12];
};

// A resource limit. prlimit(2)
struct rawspawn_rlimit {
    // RLIMIT_*
    uint32_t resource;
    // UINT64_MAX is none.
    uint64_t soft;
    // UINT64_MAX is none.
    uint64_t hard;
};

// What the child may do, whoever it is: bit n is capability n. capabilities(7)
struct rawspawn_capabilities {
    // sizeof(struct rawspawn_capabilities)
    size_t size;
    // RAWSPAWN_CAP_*: which of the following are set.
    uint32_t sets;
    // SECBIT_*
    uint32_t securebits;
    // What no exec can exceed.
    uint64_t bounding;
    // What the child may have.
    uint64_t permitted;
    // What it has.
    uint64_t effective;
    // What files may pass on.
    uint64_t inheritable;
    // What a program has that is not root's.
    uint64_t ambient;
};

// Existing namespaces that the child enters. setns(2)
struct rawspawn_join {
    // The caller's descriptor of a namespace, or a pidfd (Linux 5.8).
    int fd;
    // CLONE_NEW*: the kind of the one, or those of the process behind the pidfd.
    uint32_t kinds;
};

// A range of ids of the new user namespace: a line of /proc/PID/uid_map.
struct rawspawn_id_range {
    // The first, in the namespace.
    uint32_t inside;
    // The same one in the caller's.
    uint32_t outside;
    // How many.
    uint32_t count;
};

// What is added to the clocks of the new time namespace. Nanoseconds are 0 to 999999999.
struct rawspawn_clock_offsets {
    // CLOCK_MONOTONIC
    int64_t monotonic_seconds;
    // CLOCK_BOOTTIME
    int64_t boottime_seconds;
    // CLOCK_MONOTONIC
    uint32_t monotonic_nanoseconds;
    // CLOCK_BOOTTIME
    uint32_t boottime_nanoseconds;
};

// A step that furnishes the child's mount namespace.
struct rawspawn_fs_action {
    // RAWSPAWN_FS_*. Members that are another kind's must be zero.
    uint32_t kind;
    // MS_*, MNT_*
    uint32_t flags;
    // The device or directory.
    const char *source;
    // Where it is to be.
    const char *target;
    // The kind of file system.
    const char *fstype;
    // The file system's own options.
    const char *data;
    // Permissions; the child's umask applies.
    uint32_t mode;
    // makedev(3)
    uint32_t device;
};

// The namespaces of the child: what it joins, what is new, and how that is furnished.
// namespaces(7)
struct rawspawn_namespaces {
    // sizeof(struct rawspawn_namespaces)
    size_t size;
    // CLONE_NEW*: the new ones.
    uint32_t create;
    // RAWSPAWN_DENY_SETGROUPS, RAWSPAWN_LOOPBACK
    uint32_t flags;
    // Existing ones, in this order.
    const struct rawspawn_join *join;
    // How many.
    size_t join_count;
    // The user ids of the new user namespace.
    const struct rawspawn_id_range *uid_map;
    // How many ranges.
    size_t uid_map_count;
    // Its group ids.
    const struct rawspawn_id_range *gid_map;
    // How many ranges.
    size_t gid_map_count;
    // The child's pid, in its own PID namespace first, then in each one around it. Linux 5.5
    const int *set_tid;
    // How many.
    size_t set_tid_count;
    // Of the new time namespace.
    const struct rawspawn_clock_offsets *clock_offsets;
    // sethostname(2)
    const char *hostname;
    // setdomainname(2)
    const char *domainname;
    // In this order.
    const struct rawspawn_fs_action *filesystem;
    // How many.
    size_t filesystem_count;
    // The root of the mount namespace, after filesystem. pivot_root(2)
    const char *pivot_root;
};

// A file action of posix_spawn(3): they happen one after the other.
struct rawspawn_file_action {
    // RAWSPAWN_FILE_*. Members that are another kind's must be zero.
    uint32_t kind;
    // The descriptor.
    int fd;
    // RAWSPAWN_FILE_DUP2: the number of the copy.
    int new_fd;
    // RAWSPAWN_FILE_OPEN: the flags of open(2).
    int flags;
    // RAWSPAWN_FILE_OPEN, RAWSPAWN_FILE_CHDIR.
    const char *path;
    // RAWSPAWN_FILE_OPEN: the mode of a file that is created.
    uint32_t mode;
};

// What posix_spawn(3) does in the child, in its order, before all other changes of descriptors.
// Needs RAWSPAWN_INHERIT_FDS if there are actions.
struct rawspawn_posix {
    // sizeof(struct rawspawn_posix)
    size_t size;
    // RAWSPAWN_POSIX_*
    uint32_t flags;
    // With scheduler_policy.
    int scheduler_priority;
    // POSIX_SPAWN_SETSCHEDULER
    rawspawn_optional scheduler_policy;
    // POSIX_SPAWN_SETSCHEDPARAM
    rawspawn_optional priority;
    // POSIX_SPAWN_SETPGROUP
    rawspawn_optional process_group;
    // In this order.
    const struct rawspawn_file_action *actions;
    // How many.
    size_t action_count;
};

// What is to be spawned. All zero but size, one of the programs, argv and envp is the plain
// case. The library reads it, and what it points to, until the call returns; only a plan reads
// it longer.
struct rawspawn_request {
    // sizeof(struct rawspawn_request)
    size_t size;
    // RAWSPAWN_SESSION and the like.
    uint32_t flags;
    // RAWSPAWN_MODE_ANY, or the only one that will do.
    uint32_t mode;
    // The program: this file, ...
    const char *path;
    // ... or this name, looked up as execvp(3) does, ...
    const char *search;
    // (in these directories instead of PATH of envp,)
    const char *search_path;
    // ... or the first of these files that can be executed, with a NULL behind them, ...
    const char *const *candidates;
    // ... or the file behind this descriptor of the caller. Exactly one of the four.
    rawspawn_optional program_fd;
    // As execve(2) takes it. Not empty.
    char *const *argv;
    // As execve(2) takes it. NULL is an error, not an empty environment.
    char *const *envp;
    // How often exec is tried again while the file is busy, 0 to 10.
    uint32_t busy_retries;
    // The file mode creation mask, 0 to 0777.
    rawspawn_optional umask;
    // Single descriptors.
    const struct rawspawn_fd_action *fds;
    // How many.
    size_t fd_count;
    // Where descriptors with high numbers are lent low ones, by rawspawn() alone.
    const struct rawspawn_low_fds *low_fds;
    // The working directory: this path, ...
    const char *cwd;
    // ... or the directory behind this descriptor.
    rawspawn_optional cwd_fd;
    // The root directory. chroot(2)
    const char *root;
    // The group to be in; RAWSPAWN_SET(0) is one of its own. setpgid(2)
    rawspawn_optional process_group;
    // A descriptor of the terminal. With RAWSPAWN_SESSION.
    rawspawn_optional controlling_terminal;
    // A descriptor of the terminal whose foreground the child's process group becomes.
    rawspawn_optional foreground;
    // What the child gets when the thread that spawned it ends.
    rawspawn_optional parent_death_signal;
    // Bit n - 1 is signal n. NULL leaves the caller's.
    const uint64_t *signal_mask;
    // Those that get their default action, besides all that have a handler.
    uint64_t default_signals;
    // Those that the child ignores.
    uint64_t ignore_signals;
    // The directory of a cgroup of version 2, by descriptor. The child is a fork that is made
    // there, or a stub that moves there: it shares no memory, as what is out of memory there is
    // killed with all who share its own.
    rawspawn_optional cgroup;
    // Resource limits.
    const struct rawspawn_rlimit *rlimits;
    // How many.
    size_t rlimit_count;
    // SCHED_*
    rawspawn_optional scheduler_policy;
    // With scheduler_policy: 1 to 99 for SCHED_FIFO and SCHED_RR, else 0.
    int scheduler_priority;
    // -20 to 19
    rawspawn_optional nice;
    // CPUs, a bit each, counted on from word to word.
    const unsigned long *affinity;
    // How many words.
    size_t affinity_count;
    // ioprio_set(2): class in the bits from 13 up, level below.
    rawspawn_optional ioprio;
    // -1000 to 1000
    rawspawn_optional oom_score_adj;
    // Nanoseconds; 0 leaves the caller's. PR_SET_TIMERSLACK
    uint64_t timer_slack;
    // core(5)
    rawspawn_optional coredump_filter;
    // How many descriptors from 3 on the program is to listen on. sd_listen_fds(3)
    rawspawn_optional listen_fds;
    // Their names, joined by colons; or NULL.
    const char *listen_fd_names;
    // Real, effective and saved user id. The child does not share the caller's memory then.
    rawspawn_optional uid;
    // Real, effective and saved group id. As uid.
    rawspawn_optional gid;
    // Supplementary groups. NULL leaves the choice to RAWSPAWN_KEEP_GROUPS.
    const uint32_t *groups;
    // How many; 0 is none of them.
    size_t group_count;
    // Capabilities.
    const struct rawspawn_capabilities *capabilities;
    // A seccomp filter.
    const struct sock_filter *seccomp;
    // How many instructions.
    size_t seccomp_count;
    // A Landlock ruleset, by descriptor. Linux 5.13
    rawspawn_optional landlock;
    // Namespaces.
    const struct rawspawn_namespaces *namespaces;
    // What posix_spawn(3) does.
    const struct rawspawn_posix *posix;
    // Runs in the caller while the child waits, with the child's pid. 0, or an error number that
    // ends the spawn. It must return, and may be called again for another child.
    int (*parent_hook)(void *data, int pid);
    // What it is given.
    void *parent_hook_data;
    // Runs in the child as the last thing before exec. As above.
    int (*hook)(void *data);
    // What it is given.
    void *hook_data;
    // NULL makes the child a fork, whose hook may do what may be done there; the C library may take
    // the caller's pid for the child's, as for raise(3). Else it shares the caller's memory, runs on
    // this stack and must not call the C library, not even for errno.
    void *hook_stack;
    // How many bytes: 2048 at least.
    size_t hook_stack_size;
    // What the kernel is to be taken to offer, RAWSPAWN_FEATURE_*, to test what happens on another.
    rawspawn_optional kernel;
};

// A child that has executed its program. It is for one thread at a time, and a copy of it must not be
// used beside it.
struct rawspawn_child {
    // The pid, as the caller sees it.
    int pid;
    // The pidfd, close-on-exec; -1 without RAWSPAWN_PIDFD. rawspawn_close() closes it, not close(2).
    int pidfd;
    // RAWSPAWN_MODE_*: how it was made.
    uint32_t mode;
    // RAWSPAWN_REASON_*: why in that mode.
    uint32_t reason;
    // The library's.
    uint64_t opaque[8];
};

// Why there is no child. The caller's process is as it was.
struct rawspawn_error {
    // The error number, which is returned too. ECHILD if the child died.
    int number;
    // RAWSPAWN_STEP_*
    uint32_t step;
    // Which item of the caller's list, or which capability or signal: 65535 at most.
    // RAWSPAWN_STEP_EXEC: which of the candidates, or of the directories of the search.
    uint32_t index;
    // RAWSPAWN_STEP_CHILD: how it ended, as waitpid(2) says it. Else RAWSPAWN_REFUSED_*, 0 if it
    // was not the library that refused it.
    int status;
};

// A program to be started with others by rawspawn_all().
struct rawspawn_job {
    // Its plan. Several jobs may share one.
    const struct rawspawn_plan *plan;
    // 0, or an error number: what rawspawn() would have returned.
    int result;
    // Why, if not 0.
    struct rawspawn_error error;
    // The child, if 0.
    struct rawspawn_child child;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Spawns what request describes, and returns when it has been executed, or why it could not be.
//
// Returns 0, or an error number, of which error says more. child and error may be NULL. Of a spawn
// that failed nothing remains: no child and no descriptor; child->pid is 0 then, which is not for
// kill(2), to which it means the caller's own group. (In RAWSPAWN_MODE_STUB it sends SIGCHLD, if it fails late.)
//
// May be called by several threads, with the same request if its hook_stack is NULL. Takes up to
// 17 KiB of stack.
int rawspawn(const struct rawspawn_request *request,
             struct rawspawn_child *child,
             struct rawspawn_error *error);

// Compiles request, into size bytes at room, to be spawned as often as wanted.
//
// If there are too few, and if room is NULL, that is ENOBUFS, and *size is how many it takes. (To
// find that out of a long request, memory is mapped until it returns.) low_fds must be NULL. The
// plan refers to what the request does, which must stay and be unchanged as long as the plan is
// used, and so must room; there is nothing to release.
//
// What the plan knows of the process and the kernel is from now: it belongs to this process.
int rawspawn_plan(const struct rawspawn_request *request,
                  void *room,
                  size_t *size,
                  const struct rawspawn_plan **plan,
                  struct rawspawn_error *error);

// Spawns the program of a plan, as rawspawn() does. By several threads at once, if wanted and
// hook_stack was NULL.
int rawspawn_spawn(const struct rawspawn_plan *plan,
                   struct rawspawn_child *child,
                   struct rawspawn_error *error);

// Starts the programs of count jobs together, and returns when each has been executed or has
// failed. The children are set up in parallel, as far as they need not hold the caller.
void rawspawn_all(struct rawspawn_job *jobs, size_t count);

// Writes what the child of plan executes, like strace(1), to size bytes at text, as far as it
// fits, and a NUL. Returns the length of all of it, as snprintf(3) does.
size_t rawspawn_print(const struct rawspawn_plan *plan, char *text, size_t size);

// Writes what error says, such as "open a file (item 2): No such file or directory (ENOENT)", to
// size bytes at text, as rawspawn_print() does.
size_t rawspawn_strerror(const struct rawspawn_error *error, char *text, size_t size);

// Waits until the child has ended, and reaps it: its status, as waitpid(2) gives it, is written to
// status, if that is not NULL. Asked again it says the same.
//
// timeout is in nanoseconds: 0 does not wait, a negative one waits as long as it takes. ETIMEDOUT
// says that the child has not ended; ECHILD that somebody else has reaped it, or that SIGCHLD is
// ignored. With a timeout: Linux 5.3.
int rawspawn_wait(struct rawspawn_child *child, int64_t timeout, int *status);

// Waits as rawspawn_wait() without a timeout does, and says what the child has used. ECHILD after
// another wait. status and usage may be NULL.
int rawspawn_wait_usage(struct rawspawn_child *child, int *status, struct rusage *usage);

// Sends signal to the child, through its pidfd if there is one. ESRCH after rawspawn_wait() has
// said how it ended; of a child that somebody else has waited for it knows nothing.
int rawspawn_kill(const struct rawspawn_child *child, int signal);

// Closes the pidfd of the child, if it has one. (Never by close(2): the library would go on to use
// the number.) It can be waited for, and be sent signals, then too.
void rawspawn_close(struct rawspawn_child *child);

// Gives the pidfd away, or -1: it is the caller's to close then. The child is as after
// rawspawn_close().
int rawspawn_take_pidfd(struct rawspawn_child *child);

// Makes a pipe: fds[0] to read, fds[1] to write, both close-on-exec, and above 2 even where standard
// streams are closed, so that no map to those overwrites them.
int rawspawn_pipe(int *fds);

// Claims the count lowest free descriptors above 2, at most 16, and one more, for
// request.low_fds: in a process with thousands of them open the child need not copy all of the
// table to be given a few. Early, when there are low ones.
int rawspawn_low_fds_claim(struct rawspawn_low_fds *low_fds, size_t count);

// Closes them. No spawn may have them any more.
void rawspawn_low_fds_release(struct rawspawn_low_fds *low_fds);

// What the running kernel offers, RAWSPAWN_FEATURE_*: as the first spawn found out, or anew if that
// is not 0, as after a seccomp filter was installed.
int rawspawn_kernel(int anew, uint32_t *features, struct rawspawn_error *error);

// The version of the library: RAWSPAWN_VERSION of its header.
uint32_t rawspawn_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* RAWSPAWN_H */
