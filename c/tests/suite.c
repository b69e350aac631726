/*
 * Every function of rawspawn.h, and every member of its structures, with real children. Without
 * a C library, and so with any; as C and as C++. Says what fails, and exits with how many did.
 */
#include "rawspawn.h"
#include "system.h"

#ifdef __cplusplus
#define ZERO {}
#else
#define ZERO {0}
#endif
#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static int failures, checks;
static char **environment;

static int check_at(int line, const char *what, int holds)
{
	checks++;
	if (!holds) {
		failures++;
		say("suite.c:");
		say_number(line);
		say(": ");
		say(what);
		say("\n");
	}
	return holds;
}
#define CHECK(condition) check_at(__LINE__, #condition, (condition) != 0)

static int check_number(int line, const char *what, long got, long wanted)
{
	if (check_at(line, what, got == wanted))
		return 1;
	say("\tis ");
	say_number(got);
	say(", not ");
	say_number(wanted);
	say("\n");
	return 0;
}
#define IS(expression, wanted) check_number(__LINE__, #expression, (long)(expression), (long)(wanted))

static int check_text(int line, const char *got, const char *wanted)
{
	if (check_at(line, "the text", same(got, wanted)))
		return 1;
	say("\tis \"");
	say(got);
	say("\", not \"");
	say(wanted);
	say("\"\n");
	return 0;
}
#define TEXT_IS(text, wanted) check_text(__LINE__, text, wanted)

enum { EPERM = 1, ENOENT = 2, ESRCH = 3, E2BIG = 7, EBADF = 9, ECHILD = 10, EACCES = 13, EBUSY = 16,
       EINVAL = 22, EMFILE = 24, ENOBUFS = 105, EOPNOTSUPP = 95, ETIMEDOUT = 110 };
enum { SIGKILL = 9, SIGUSR1 = 10, SIGUSR2 = 12, SIGPIPE = 13, SIGTERM = 15 };

#define EXITED(code) ((code) << 8)

/* The words of a command; those of a shell's last. */
static char sh_name[] = "sh", sh_option[] = "-c", true_name[] = "true";
static char *sh_argv[] = {sh_name, sh_option, NULL, NULL};
static char *true_argv[] = {true_name, NULL};

/* A shell that runs script. */
static struct rawspawn_request shell(const char *script)
{
	struct rawspawn_request request = ZERO;
	request.size = sizeof request;
	request.path = "/bin/sh";
	sh_argv[2] = (char *)script;
	request.argv = sh_argv;
	request.envp = environment;
	return request;
}

/* The error of a request that is to fail; of one that does not, all is 0. */
static struct rawspawn_error fails(const struct rawspawn_request *request)
{
	struct rawspawn_child child;
	struct rawspawn_error error = {0, 0, 0, 0};
	int result = rawspawn(request, &child, &error);
	IS(result, error.number);
	if (!result)
		rawspawn_wait(&child, -1, NULL);
	return error;
}

/* Checks what it is that fails. */
static void check_fails(int line, const struct rawspawn_request *request, int number, unsigned step,
			unsigned index)
{
	struct rawspawn_error error = fails(request);
	check_number(line, "the error's number", error.number, number);
	check_number(line, "its step", error.step, step);
	check_number(line, "its index", error.index, index);
}
#define FAILS(request, number, step, index) check_fails(__LINE__, request, number, step, index)

/* Waits for the end of child: its status. */
static int wait_for(struct rawspawn_child *child)
{
	int status = -1;
	IS(rawspawn_wait(child, -1, &status), 0);
	return status;
}

static char output[4096];

/* What the program of request writes, with a pipe among its descriptors beside those it has. */
static const char *output_of_from(int line, struct rawspawn_request request, struct rawspawn_child *child)
{
	struct rawspawn_fd_action fds[12] = {{0, 0, 0, 0, NULL, 0}};
	struct rawspawn_error error = {0, 0, 0, 0};
	int ends[2], result;
	size_t n;
	output[0] = 0;
	if (!IS(rawspawn_pipe(ends), 0) || !CHECK(request.fd_count < COUNT(fds)))
		return output;
	for (n = 0; n < request.fd_count; n++)
		fds[n] = request.fds[n];
	fds[n].kind = RAWSPAWN_FD_MAP;
	fds[n].parent_fd = ends[1];
	fds[n].child_fd = 1;
	request.fds = fds;
	request.fd_count = n + 1;
	result = rawspawn(&request, child, &error);
	call(CLOSE, ends[1], 0, 0, 0);
	if (!check_number(line, "rawspawn()", result, 0)) {
		char text[200];
		rawspawn_strerror(&error, text, sizeof text);
		say("\t");
		say(text);
		say("\n");
		call(CLOSE, ends[0], 0, 0, 0);
		return output;
	}
	read_all(ends[0], output, sizeof output);
	check_number(line, "the status", wait_for(child), 0);
	return output;
}

static const char *output_at(int line, const struct rawspawn_request *request)
{
	struct rawspawn_child child;
	return output_of_from(line, *request, &child);
}
#define OUTPUT(request) output_at(__LINE__, request)

static void a_child_is_spawned_and_waited_for(void)
{
	struct rawspawn_request request = shell("exit 7");
	struct rawspawn_child child = ZERO;
	int status = -1;
	IS(rawspawn(&request, &child, NULL), 0);
	CHECK(child.pid > 0);
	IS(child.pidfd, -1);
	IS(child.mode, RAWSPAWN_MODE_VFORK);
	IS(child.reason, RAWSPAWN_REASON_DEFAULT);
	IS(wait_for(&child), EXITED(7));
	IS(rawspawn_wait(&child, 0, &status), 0);
	IS(status, EXITED(7));
	IS(rawspawn_kill(&child, SIGKILL), ESRCH);

	/* Who wants to know nothing is told nothing. */
	IS(rawspawn(&request, NULL, NULL), 0);
	request.path = "/nonexistent";
	IS(rawspawn(&request, NULL, NULL), ENOENT);

	/* Of one that failed there is nothing to wait for. */
	IS(rawspawn(&request, &child, NULL), ENOENT);
	IS(child.pid, 0);
	IS(child.pidfd, -1);
	IS(rawspawn_wait(&child, -1, &status), ECHILD);
	IS(rawspawn_wait_usage(&child, &status, NULL), ECHILD);
	IS(rawspawn_kill(&child, SIGKILL), ESRCH);
	rawspawn_close(&child);
}

static void waiting_can_be_limited(void)
{
	struct rawspawn_request request = shell("read line");
	struct rawspawn_fd_action fds[] = {RAWSPAWN_MAP(0, 0)};
	struct rawspawn_child child;
	long usage[36] = ZERO;
	int ends[2], status = -1, fd;
	IS(rawspawn_pipe(ends), 0);
	fds[0].parent_fd = ends[0];
	request.fds = fds;
	request.fd_count = 1;
	request.flags = RAWSPAWN_PIDFD;
	IS(rawspawn(&request, &child, NULL), 0);
	CHECK(child.pidfd > 2);
	IS(rawspawn_wait(&child, 0, &status), ETIMEDOUT);
	IS(rawspawn_wait(&child, 1000000, &status), ETIMEDOUT);
	IS(status, -1);
	IS(rawspawn_kill(&child, 0), 0);
	rawspawn_close(&child);
	IS(child.pidfd, -1);
	rawspawn_close(&child);
	IS(rawspawn_kill(&child, SIGTERM), 0);
	IS(rawspawn_wait_usage(&child, &status, (struct rusage *)usage), 0);
	IS(status, SIGTERM);
	CHECK(usage[4] > 0); /* ru_maxrss */
	IS(rawspawn_wait_usage(&child, &status, (struct rusage *)usage), ECHILD);
	IS(rawspawn(&request, &child, NULL), 0);
	fd = rawspawn_take_pidfd(&child);
	CHECK(fd > 2);
	IS(child.pidfd, -1);
	IS(rawspawn_take_pidfd(&child), -1);
	IS(call(CLOSE, fd, 0, 0, 0), 0);
	IS(rawspawn_kill(&child, SIGKILL), 0);
	IS(rawspawn_wait_usage(&child, NULL, NULL), 0);
	call(CLOSE, ends[0], 0, 0, 0);
	call(CLOSE, ends[1], 0, 0, 0);
}

static void the_program_is_found_in_four_ways(void)
{
	static char search_path[] = "PATH=/nonexistent:/bin";
	char *with_path[] = {search_path, NULL};
	const char *candidates[] = {"/nonexistent", "/bin/sh", NULL};
	struct rawspawn_request request = shell("echo found");
	long fd = call(OPENAT, AT_CWD, (long)"/bin/sh", RDONLY | CLOEXEC, 0);
	TEXT_IS(OUTPUT(&request), "found\n");

	request.path = NULL;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_EXEC, 0);
	request.search = "sh";
	request.envp = with_path;
	TEXT_IS(OUTPUT(&request), "found\n");
	request.search_path = "/nonexistent";
	FAILS(&request, ENOENT, RAWSPAWN_STEP_EXEC, 0);
	request.search_path = "/nonexistent:/bin";
	TEXT_IS(OUTPUT(&request), "found\n");
	request.search = NULL;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_EXEC, 0);
	request.search_path = NULL;

	request.candidates = candidates;
	TEXT_IS(OUTPUT(&request), "found\n");
	request.program_fd = RAWSPAWN_SET(fd);
	FAILS(&request, EINVAL, RAWSPAWN_STEP_EXEC, 0);
	request.candidates = NULL;
	TEXT_IS(OUTPUT(&request), "found\n");
	call(CLOSE, fd, 0, 0, 0);
}

static void a_file_that_is_no_program_is_the_shells_if_asked_for(void)
{
	const char *path = "/tmp/rawspawn-c-script";
	struct rawspawn_request request = shell("");
	struct rawspawn_child child;
	long fd = call(OPENAT, AT_CWD, (long)path, WRONLY | CREAT | TRUNC | CLOEXEC, 0700);
	call(WRITE, fd, (long)"exit 5\n", 7, 0);
	request.path = path;
	/* Still open to write to. */
	request.busy_retries = 2;
	FAILS(&request, 26, RAWSPAWN_STEP_EXEC, 0);
	request.busy_retries = 11;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_EXEC, 0);
	request.busy_retries = 300;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_EXEC, 0);
	request.busy_retries = 0;
	call(CLOSE, fd, 0, 0, 0);
	FAILS(&request, 8, RAWSPAWN_STEP_EXEC, 0);
	request.flags = RAWSPAWN_SH_FALLBACK;
	if (IS(rawspawn(&request, &child, NULL), 0))
		IS(wait_for(&child), EXITED(5));
	call(UNLINKAT, AT_CWD, (long)path, 0, 0);
}

static void descriptors_are_what_was_asked_for(void)
{
	struct rawspawn_request request = shell("read line <&7; echo $line >&8; test -e /proc/self/fd/2 || echo closed");
	struct rawspawn_fd_action fds[] = {
		RAWSPAWN_OPEN(7, "/proc/sys/kernel/ostype", RDONLY, 0),
		RAWSPAWN_MAP(2, 8),
		RAWSPAWN_CLOSE(2),
	};
	int ends[2];
	IS(rawspawn_pipe(ends), 0);
	fds[1].parent_fd = ends[1];
	request.fds = fds;
	request.fd_count = COUNT(fds);
	TEXT_IS(OUTPUT(&request), "closed\n");
	fds[1].parent_fd = 2;
	call(CLOSE, ends[1], 0, 0, 0);
	read_all(ends[0], output, sizeof output);
	TEXT_IS(output, "Linux\n");

	request = shell("ls -ln /tmp/rawspawn-c-file");
	request.umask = RAWSPAWN_SET(0);
	fds[0].path = "/tmp/rawspawn-c-file";
	fds[0].flags = WRONLY | CREAT;
	fds[0].mode = 0614;
	request.fds = fds;
	request.fd_count = 1;
	CHECK(contains(OUTPUT(&request), "-rw---xr-- "));
	call(UNLINKAT, AT_CWD, (long)fds[0].path, 0, 0);
	request = shell("");
	request.fds = fds;
	request.fd_count = COUNT(fds);
	fds[0].flags = RDONLY;
	fds[0].path = "/nonexistent";
	FAILS(&request, ENOENT, RAWSPAWN_STEP_OPEN, 0);
	fds[0].path = NULL;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_OPEN, 0);
	fds[0].kind = 9;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_MOVE, 0);
	fds[2].parent_fd = 7;
	fds[0] = fds[2];
	FAILS(&request, EINVAL, RAWSPAWN_STEP_MOVE, 0);
	fds[2].parent_fd = 0;
	fds[0] = fds[2];
	fds[1].parent_fd = -1;
	FAILS(&request, EBADF, RAWSPAWN_STEP_MOVE, 1);
	request.fds = NULL;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_MOVE, 0);
}

static void others_are_inherited_if_asked_for(void)
{
	struct rawspawn_request request = shell("test -e /proc/self/fd/57");
	struct rawspawn_child child;
	IS(call(DUP3, 2, 57, 0, 0), 57);
	IS(rawspawn(&request, &child, NULL), 0);
	IS(wait_for(&child), EXITED(1));
	request.flags = RAWSPAWN_INHERIT_FDS;
	IS(rawspawn(&request, &child, NULL), 0);
	IS(wait_for(&child), 0);
	call(CLOSE, 57, 0, 0, 0);
}

static void low_numbers_are_lent_and_given_back(void)
{
	struct rawspawn_low_fds low = ZERO;
	struct rawspawn_request request = shell("read line <&7; test \"$line\" = text");
	struct rawspawn_fd_action fds[] = {RAWSPAWN_MAP(900, 7)};
	struct rawspawn_child child;
	int ends[2], round;
	IS(rawspawn_low_fds_claim(&low, 17), EINVAL);
	IS(rawspawn_low_fds_claim(&low, 2), 0);
	IS(rawspawn_pipe(ends), 0);
	IS(call(DUP3, ends[0], 900, CLOEXEC, 0), 900);
	request.fds = fds;
	request.fd_count = 1;
	request.low_fds = &low;
	for (round = 0; round < 3; round++) {
		call(WRITE, ends[1], (long)"text\n", 5, 0);
		IS(rawspawn(&request, &child, NULL), 0);
		IS(wait_for(&child), 0);
	}
	rawspawn_low_fds_release(&low);
	rawspawn_low_fds_release(&low);
	call(WRITE, ends[1], (long)"text\n", 5, 0);
	IS(rawspawn(&request, &child, NULL), 0);
	IS(wait_for(&child), 0);
	call(CLOSE, 900, 0, 0, 0);
	call(CLOSE, ends[0], 0, 0, 0);
	call(CLOSE, ends[1], 0, 0, 0);
}

static void directories_and_umask_are_set(void)
{
	struct rawspawn_request request = shell("pwd; umask");
	long fd = call(OPENAT, AT_CWD, (long)"/proc", RDONLY | CLOEXEC, 0);
	request.cwd = "/tmp";
	request.umask = RAWSPAWN_SET(027);
	TEXT_IS(OUTPUT(&request), "/tmp\n0027\n");
	request.cwd_fd = RAWSPAWN_SET(fd);
	FAILS(&request, EINVAL, RAWSPAWN_STEP_CURRENT_DIR, 0);
	request.cwd = NULL;
	request.umask = RAWSPAWN_SET(0);
	TEXT_IS(OUTPUT(&request), "/proc\n0000\n");
	call(CLOSE, fd, 0, 0, 0);
	request.cwd_fd = 0;
	request.cwd = "/nonexistent";
	FAILS(&request, ENOENT, RAWSPAWN_STEP_CURRENT_DIR, 0);
	request.cwd = NULL;
	request.umask = RAWSPAWN_SET(01000);
	FAILS(&request, EINVAL, RAWSPAWN_STEP_UMASK, 0);
	request.umask = 0;
	request.root = "/nonexistent";
	CHECK(fails(&request).step == RAWSPAWN_STEP_ROOT);
	if (call(GETUID, 0, 0, 0, 0) == 0) {
		request.root = "/proc";
		FAILS(&request, ENOENT, RAWSPAWN_STEP_EXEC, 0);
	}
}

static void session_and_group_are_set(void)
{
	struct rawspawn_request request =
		shell("read pid name state parent group session rest < /proc/self/stat; "
		      "test $group = $$ && echo group; test $session = $$ && echo session; :");
	request.flags = RAWSPAWN_SESSION;
	TEXT_IS(OUTPUT(&request), "group\nsession\n");
	request.process_group = RAWSPAWN_SET(0);
	FAILS(&request, EPERM, RAWSPAWN_STEP_PROCESS_GROUP, 0);
	request.flags = 0;
	TEXT_IS(OUTPUT(&request), "group\n");
	request.process_group = RAWSPAWN_SET(-5);
	FAILS(&request, EINVAL, RAWSPAWN_STEP_PROCESS_GROUP, 0);
	request.process_group = 0;
	request.foreground = RAWSPAWN_SET(-1);
	CHECK(fails(&request).step == RAWSPAWN_STEP_FOREGROUND);
	request.foreground = 0;
	request.controlling_terminal = RAWSPAWN_SET(-1);
	CHECK(fails(&request).step == RAWSPAWN_STEP_CONTROLLING_TERMINAL);
	request.controlling_terminal = 0;
	request.parent_death_signal = RAWSPAWN_SET(SIGKILL);
	OUTPUT(&request);
	request.parent_death_signal = RAWSPAWN_SET(99);
	FAILS(&request, EINVAL, RAWSPAWN_STEP_PARENT_DEATH_SIGNAL, 0);
}

/* Ignores signal, or gives it its default action, as the kernel takes it. */
static void ignore(int signal, unsigned long action)
{
	unsigned long act[4] = {0, 0, 0, 0};
	act[0] = action;
	IS(call(RT_SIGACTION, signal, (long)act, 0, 8), 0);
}

static void a_terminal_is_taken(void)
{
	struct rawspawn_request request =
		shell("set -- $(cat /proc/self/stat); test $7 != 0 && test $8 = $$ && echo taken");
	int unlocked = 0;
	long master = call(OPENAT, AT_CWD, (long)"/dev/ptmx", 0402 | CLOEXEC, 0), terminal;
	if (master < 0)
		return; /* Not mounted, on a machine with nothing but tests. */
	IS(call(IOCTL, master, 0x40045431 /* TIOCSPTLCK */, (long)&unlocked, 0), 0);
	terminal = call(IOCTL, master, 0x5441 /* TIOCGPTPEER */, 0402 | CLOEXEC, 0);
	CHECK(terminal > 2);
	request.flags = RAWSPAWN_SESSION;
	request.controlling_terminal = RAWSPAWN_SET(terminal);
	request.foreground = RAWSPAWN_SET(terminal);
	TEXT_IS(OUTPUT(&request), "taken\n");
	call(CLOSE, terminal, 0, 0, 0);
	call(CLOSE, master, 0, 0, 0);
}

static void signals_are_set(void)
{
	static char name[] = "grep", option[] = "-E", lines[] = "^Sig(Blk|Ign)", file[] = "/proc/self/status";
	/* Not a shell, which may ignore a signal itself. */
	char *argv[] = {name, option, lines, file, NULL};
	struct rawspawn_request request = shell("");
	uint64_t mask = RAWSPAWN_SIGNAL(SIGUSR1), none = 0;
	request.path = NULL;
	request.search = name;
	request.search_path = "/bin:/usr/bin";
	request.argv = argv;
	request.signal_mask = &mask;
	request.ignore_signals = RAWSPAWN_SIGNAL(SIGUSR2);
	request.flags = RAWSPAWN_RESTORE_SIGNALS;
	/* What whoever runs this in the background or by nohup ignores. */
	request.default_signals = RAWSPAWN_SIGNAL(1) | RAWSPAWN_SIGNAL(2) | RAWSPAWN_SIGNAL(3);
	TEXT_IS(OUTPUT(&request), "SigBlk:\t0000000000000200\nSigIgn:\t0000000000000800\n");
	request.signal_mask = &none;
	ignore(SIGPIPE, 1);
	ignore(SIGTERM, 1);
	TEXT_IS(OUTPUT(&request), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000004800\n");
	request.default_signals |= RAWSPAWN_SIGNAL(SIGTERM);
	TEXT_IS(OUTPUT(&request), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000800\n");
	ignore(SIGPIPE, 0);
	ignore(SIGTERM, 0);
	request.default_signals = request.ignore_signals;
	CHECK(fails(&request).step == RAWSPAWN_STEP_SIGNAL_ACTION);
}

static void limits_are_set(void)
{
	struct rawspawn_rlimit rlimits[] = {{7 /* RLIMIT_NOFILE */, 100, 200}, {4 /* RLIMIT_CORE */, 0, 0}};
	unsigned long cpus[] = {1};
	struct rawspawn_request request =
		shell("ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj; "
		      "cat /proc/self/timerslack_ns; cat /proc/self/coredump_filter; "
		      "set -- $(cat /proc/self/stat); echo ${19} ${41}; "
		      "while read name value; do test $name = Cpus_allowed_list: && echo $value; "
		      "done < /proc/self/status; :");
	request.rlimits = rlimits;
	request.rlimit_count = COUNT(rlimits);
	request.oom_score_adj = RAWSPAWN_SET(500);
	request.timer_slack = 70000;
	request.coredump_filter = RAWSPAWN_SET(0x11);
	request.nice = RAWSPAWN_SET(7);
	request.scheduler_policy = RAWSPAWN_SET(3 /* SCHED_BATCH */);
	request.ioprio = RAWSPAWN_SET(3 << 13);
	request.affinity = cpus;
	request.affinity_count = 1;
	TEXT_IS(OUTPUT(&request), "100\n200\n0\n500\n70000\n00000011\n7 3\n0\n");
	request.ioprio = RAWSPAWN_SET(7 << 13);
	FAILS(&request, EINVAL, RAWSPAWN_STEP_IO_PRIORITY, 0);
	request.ioprio = RAWSPAWN_SET(0x10000);
	FAILS(&request, EINVAL, RAWSPAWN_STEP_IO_PRIORITY, 0);
	request.ioprio = 0;
	request.oom_score_adj = RAWSPAWN_SET(1001);
	FAILS(&request, EINVAL, RAWSPAWN_STEP_OOM_SCORE_ADJ, 0);
	request.oom_score_adj = RAWSPAWN_SET(40000);
	FAILS(&request, EINVAL, RAWSPAWN_STEP_OOM_SCORE_ADJ, 0);
	request.oom_score_adj = 0;
	request.scheduler_priority = 1;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_SCHEDULER, 0);
	request.scheduler_policy = 0;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_SCHEDULER, 0);
	request.scheduler_priority = 0;
	request.nice = RAWSPAWN_SET(20);
	FAILS(&request, EINVAL, RAWSPAWN_STEP_NICE, 0);
	request.nice = 0;
	rlimits[1].soft = 1;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_RLIMIT, 1);
	request.rlimit_count = 0;
	request.affinity_count = 1;
	cpus[0] = 0;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_AFFINITY, 0);
	request.affinity_count = 0;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_AFFINITY, 0);
	request.affinity = NULL;
	request.cgroup = RAWSPAWN_SET(-1);
	FAILS(&request, EBADF, RAWSPAWN_STEP_CGROUP, 0);
}

static void descriptors_to_listen_on_are_told(void)
{
	struct rawspawn_request request =
		shell("test $LISTEN_PID = $$ && echo $LISTEN_FDS $LISTEN_FDNAMES");
	struct rawspawn_fd_action fds[] = {RAWSPAWN_MAP(0, 3), RAWSPAWN_MAP(0, 4)};
	fds[0].parent_fd = fds[1].parent_fd = 2;
	request.fds = fds;
	request.fd_count = 2;
	request.listen_fds = RAWSPAWN_SET(2);
	request.listen_fd_names = "web:control";
	TEXT_IS(OUTPUT(&request), "2 web:control\n");
	request.listen_fds = RAWSPAWN_SET(3);
	FAILS(&request, EBADF, RAWSPAWN_STEP_LISTEN_FDS, 2);
	request.listen_fds = 0;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_LISTEN_FDS, 0);
}

static void credentials_are_switched(void)
{
	struct rawspawn_request request = shell("id -u; id -g; id -G");
	struct rawspawn_child child;
	uint32_t groups[] = {54331, 54332};
	request.uid = RAWSPAWN_SET(54329);
	request.gid = RAWSPAWN_SET(54330);
	request.groups = groups;
	request.group_count = 2;
	TEXT_IS(output_of_from(__LINE__, request, &child), "54329\n54330\n54330 54331 54332\n");
	CHECK(child.mode == RAWSPAWN_MODE_STUB || child.mode == RAWSPAWN_MODE_FORK);
	IS(child.reason, RAWSPAWN_REASON_CREDENTIALS);
	request.group_count = 0;
	TEXT_IS(OUTPUT(&request), "54329\n54330\n54330\n");
	request.flags = RAWSPAWN_KEEP_GROUPS;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_GROUPS, 0);
	request.groups = NULL;
	IS(call(SETGROUPS, 2, (long)groups, 0, 0), 0);
	TEXT_IS(OUTPUT(&request), "54329\n54330\n54330 54331 54332\n");
	request.flags = 0;
	TEXT_IS(OUTPUT(&request), "54329\n54330\n54330\n");
	IS(call(SETGROUPS, 0, 0, 0, 0), 0);
	request.group_count = 1;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_GROUPS, 0);
	request.group_count = 0;
	request.mode = RAWSPAWN_MODE_VFORK;
	FAILS(&request, EOPNOTSUPP, RAWSPAWN_STEP_MODE, 0);
	request.mode = RAWSPAWN_MODE_FORK;
	TEXT_IS(output_of_from(__LINE__, request, &child), "54329\n54330\n54330\n");
	IS(child.mode, RAWSPAWN_MODE_FORK);
	IS(child.reason, RAWSPAWN_REASON_ASKED);
	request.mode = RAWSPAWN_MODE_DETACHED;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_MODE, 0);
	request.mode = 0;
	/* A number that is not said to be set is no number. */
	request.uid = 54329;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_UID, 0);
	request.uid = RAWSPAWN_SET(-1);
	FAILS(&request, EINVAL, RAWSPAWN_STEP_UID, 0);
}

#define STATUS_LINES(names) \
	"while read name value; do case $name in " names ") echo $name $value;; esac; done < /proc/self/status"

static void capabilities_are_limited(void)
{
	struct rawspawn_capabilities capabilities = ZERO;
	struct rawspawn_request request = shell(STATUS_LINES("CapInh:|CapPrm:|CapBnd:|CapAmb:"));
	capabilities.size = sizeof capabilities;
	capabilities.sets = RAWSPAWN_CAP_BOUNDING | RAWSPAWN_CAP_SETS | RAWSPAWN_CAP_AMBIENT;
	capabilities.bounding = 7 << 10;
	capabilities.permitted = 7 << 10;
	capabilities.effective = 1 << 10;
	capabilities.inheritable = 3 << 10;
	capabilities.ambient = 1 << 10;
	request.capabilities = &capabilities;
	request.uid = RAWSPAWN_SET(54329);
	request.gid = RAWSPAWN_SET(54330);
	TEXT_IS(OUTPUT(&request), "CapInh: 0000000000000c00\nCapPrm: 0000000000000400\n"
		"CapBnd: 0000000000001c00\nCapAmb: 0000000000000400\n");
	capabilities.sets = RAWSPAWN_CAP_BOUNDING;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_CAPABILITIES, 0);
	capabilities.sets = RAWSPAWN_CAP_SETS | RAWSPAWN_CAP_AMBIENT;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_BOUNDING, 0);
	capabilities.sets |= RAWSPAWN_CAP_BOUNDING;
	capabilities.ambient = 1 << 12; /* Not inheritable. */
	FAILS(&request, EPERM, RAWSPAWN_STEP_AMBIENT, 12);
	capabilities.effective = 15 << 10; /* Not permitted. */
	capabilities.ambient = 0;
	FAILS(&request, EPERM, RAWSPAWN_STEP_CAPABILITIES, 0);
	capabilities.effective = 1 << 10;
	capabilities.ambient = 1 << 10;
	capabilities.sets &= ~(unsigned)RAWSPAWN_CAP_AMBIENT;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_AMBIENT, 0);
	capabilities.ambient = 0;
	capabilities.securebits = 1;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_SECUREBITS, 0);
	/* SECBIT_NOROOT: root is nobody special to an exec. */
	capabilities.sets = RAWSPAWN_CAP_SECUREBITS;
	capabilities.bounding = capabilities.permitted = capabilities.effective = capabilities.inheritable = 0;
	request = shell(STATUS_LINES("CapPrm:"));
	request.capabilities = &capabilities;
	TEXT_IS(OUTPUT(&request), "CapPrm: 0000000000000000\n");
	capabilities.sets = 0x10;
	CHECK(fails(&request).number == EINVAL);
}

static void namespaces_are_furnished(void)
{
	struct rawspawn_namespaces namespaces = ZERO, none = ZERO;
	struct rawspawn_id_range ids[] = {{0, 0, 1}, {1000, 54329, 10}}, groups[] = {{0, 0, 1}, {2000, 54340, 20}};
	struct rawspawn_fs_action filesystem[] = {
		{RAWSPAWN_FS_MOUNT, 6, "tmpfs", "/tmp", "tmpfs", "size=64k", 0, 0},
		{RAWSPAWN_FS_MKDIR, 0, NULL, "/tmp/directory", NULL, NULL, 0750, 0},
		{RAWSPAWN_FS_FILE, 0, NULL, "/tmp/directory/file", NULL, NULL, 0645, 0},
		{RAWSPAWN_FS_SYMLINK, 0, "directory", "/tmp/link", NULL, NULL, 0, 0},
		{RAWSPAWN_FS_MOUNT, 0, "proc", "/proc", "proc", NULL, 0, 0},
	};
	struct rawspawn_clock_offsets clocks = {1000000, 2000000, 5, 6};
	int pids[] = {1, 30123};
	struct rawspawn_child child;
	struct rawspawn_request request =
		shell("hostname; cat /proc/sys/kernel/domainname; cd /tmp/link; ls; echo $$; id -u; "
		      "cat /proc/self/setgroups; read up rest < /proc/uptime; "
		      "test ${up%.*} -gt 2000000 && echo later; "
		      "cat /proc/self/uid_map /proc/self/gid_map /proc/self/timens_offsets | "
		      "while read a b c; do echo $a $b $c; done; ls -ln /tmp/directory | while read a b; do echo $a; done");
	enum { NEWNS = 0x20000, NEWUTS = 0x4000000, NEWNET = 0x40000000, NEWPID = 0x20000000,
	       NEWUSER = 0x10000000, NEWTIME = 0x80 };
	none.size = namespaces.size = sizeof namespaces;
	namespaces.create = NEWNS | NEWUTS | NEWNET | NEWPID | NEWUSER | NEWTIME;
	namespaces.flags = RAWSPAWN_LOOPBACK | RAWSPAWN_DENY_SETGROUPS;
	namespaces.uid_map = ids;
	namespaces.gid_map = groups;
	namespaces.uid_map_count = namespaces.gid_map_count = 2;
	namespaces.set_tid = pids;
	namespaces.set_tid_count = 2;
	namespaces.clock_offsets = &clocks;
	namespaces.hostname = "box";
	namespaces.domainname = "example";
	namespaces.filesystem = filesystem;
	namespaces.filesystem_count = COUNT(filesystem);
	request.namespaces = &namespaces;
	request.umask = RAWSPAWN_SET(0);
	TEXT_IS(output_of_from(__LINE__, request, &child), "box\nexample\nfile\n1\n0\ndeny\nlater\n0 0 1\n1000 54329 10\n"
		"0 0 1\n2000 54340 20\nmonotonic 1000000 5\nboottime 2000000 6\ntotal\n-rw-r--r-x\n");
	IS(child.pid, 30123);

	filesystem[2].target = NULL;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_FILE_SYSTEM, 2);
	filesystem[2].target = "/tmp/nonexistent/file";
	FAILS(&request, ENOENT, RAWSPAWN_STEP_FILE_SYSTEM, 2);
	filesystem[2].kind = 7;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_FILE_SYSTEM, 2);
	filesystem[3].source = NULL;
	filesystem[2].kind = RAWSPAWN_FS_MKDIR;
	filesystem[2].target = "/tmp/other";
	FAILS(&request, EINVAL, RAWSPAWN_STEP_FILE_SYSTEM, 3);
	filesystem[3].kind = RAWSPAWN_FS_UNMOUNT;
	filesystem[3].target = "/tmp";
	filesystem[3].flags = 0x80000000;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_FILE_SYSTEM, 3);
	filesystem[3].mode = 1;
	filesystem[3].flags = 0;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_FILE_SYSTEM, 3);
	namespaces.filesystem_count = 0;
	namespaces.flags = 4;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_PLAN, 0);
	namespaces.flags = RAWSPAWN_DENY_SETGROUPS;
	namespaces.create ^= NEWUSER;
	namespaces.uid_map_count = namespaces.gid_map_count = 0;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_GID_MAP, 0);
	namespaces.flags = 0;
	namespaces.create |= 1;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_NEW_NAMESPACES, 0);
	namespaces.create ^= 1;
	namespaces.pivot_root = "/nonexistent";
	FAILS(&request, ENOENT, RAWSPAWN_STEP_PIVOT_ROOT, 0);
	namespaces.pivot_root = NULL;

	/* A device takes the first user namespace. */
	request = shell("ls -ln /tmp/null | while read mode links user group major minor rest; do "
			"case $mode in c*) echo $mode $major $minor; esac; done");
	namespaces = none;
	namespaces.create = NEWNS;
	request.namespaces = &namespaces;
	request.umask = RAWSPAWN_SET(0);
	filesystem[1].kind = RAWSPAWN_FS_DEVICE;
	filesystem[1].target = "/tmp/null";
	filesystem[1].mode = 020614;
	filesystem[1].device = 0x105;
	namespaces.filesystem = filesystem;
	namespaces.filesystem_count = 2;
	CHECK(contains(OUTPUT(&request), "crw---xr-- 1, 5\n"));
	filesystem[1].kind = RAWSPAWN_FS_UNMOUNT;
	filesystem[1].mode = filesystem[1].device = 0;
	filesystem[1].target = "/tmp";
	filesystem[1].flags = 2; /* MNT_DETACH */
	OUTPUT(&request);
}

static void a_namespace_is_joined(void)
{
	struct rawspawn_namespaces namespaces = ZERO;
	struct rawspawn_request request = shell("hostname joined; read line");
	struct rawspawn_fd_action fds[] = {RAWSPAWN_MAP(0, 0), RAWSPAWN_MAP(0, 1)};
	struct rawspawn_join join = {-1, 0x4000000};
	struct rawspawn_child first;
	int input[2], result[2];
	IS(rawspawn_pipe(input), 0);
	IS(rawspawn_pipe(result), 0);
	namespaces.size = sizeof namespaces;
	namespaces.create = 0x4000000;
	request.namespaces = &namespaces;
	request = shell("hostname joined; echo; read line");
	request.namespaces = &namespaces;
	request.fds = fds;
	fds[0].parent_fd = input[0];
	fds[1].parent_fd = result[1];
	request.fd_count = 2;
	request.flags = RAWSPAWN_PIDFD;
	if (!IS(rawspawn(&request, &first, NULL), 0))
		return;
	call(CLOSE, result[1], 0, 0, 0);
	call(READ, result[0], (long)output, 1, 0);

	request = shell("hostname");
	request.namespaces = &namespaces;
	namespaces.create = 0;
	namespaces.join = &join;
	namespaces.join_count = 1;
	FAILS(&request, EBADF, RAWSPAWN_STEP_JOIN, 0);
	join.fd = first.pidfd;
	TEXT_IS(OUTPUT(&request), "joined\n");
	join.kinds = 3;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_JOIN, 0);
	call(CLOSE, input[0], 0, 0, 0);
	call(CLOSE, input[1], 0, 0, 0);
	call(CLOSE, result[0], 0, 0, 0);
	IS(wait_for(&first), EXITED(1));
	rawspawn_close(&first);
}

static void a_filter_is_installed(void)
{
	struct instruction { uint16_t code; uint8_t jt, jf; uint32_t k; };
	struct instruction allow = {6, 0, 0, 0x7fff0000};
	struct rawspawn_request request = shell(STATUS_LINES("NoNewPrivs:|Seccomp:"));
	TEXT_IS(OUTPUT(&request), "NoNewPrivs: 0\nSeccomp: 0\n");
	request.flags = RAWSPAWN_NO_NEW_PRIVS;
	request.seccomp = (const struct sock_filter *)&allow;
	request.seccomp_count = 1;
	TEXT_IS(OUTPUT(&request), "NoNewPrivs: 1\nSeccomp: 2\n");
	request.seccomp_count = 0;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_SECCOMP, 0);
	request.seccomp = NULL;
	request.landlock = RAWSPAWN_SET(-1);
	FAILS(&request, EBADF, RAWSPAWN_STEP_LANDLOCK, 0);
}

static void a_subreaper_is_made(void)
{
	/* What outlives its parent, $0, asks who is its parent then. */
	struct rawspawn_request request =
		shell("parent=$(sh -c 'sh -c \"$1\" $$ &' sh "
		      "'while read pid name state parent rest < /proc/self/stat; test $parent = $0; "
		      "do :; done; echo $parent'); test $parent = $$ && echo adopted");
	request.flags = RAWSPAWN_SUBREAPER;
	TEXT_IS(OUTPUT(&request), "adopted\n");
}

static void file_actions_happen_one_after_the_other(void)
{
	struct rawspawn_posix posix = ZERO;
	struct rawspawn_file_action actions[] = {
		{RAWSPAWN_FILE_CHDIR, 0, 0, 0, "/proc/sys/kernel", 0},
		{RAWSPAWN_FILE_OPEN, 9, 0, RDONLY, "ostype", 0},
		{RAWSPAWN_FILE_DUP2, 9, 0, 0, NULL, 0},
		{RAWSPAWN_FILE_CLOSE, 9, 0, 0, NULL, 0},
		{RAWSPAWN_FILE_OPEN, 10, 0, RDONLY, "/tmp", 0},
		{RAWSPAWN_FILE_FCHDIR, 10, 0, 0, NULL, 0},
		{RAWSPAWN_FILE_CLOSEFROM, 3, 0, 0, NULL, 0},
	};
	struct rawspawn_request request =
		shell("read line; read pid name state parent group session rest < /proc/self/stat; "
		      "pwd >&2; test $line = Linux && test $session = $$ && "
		      "set -- $(cat /proc/self/stat) && exit ${41}");
	struct rawspawn_child child;
	int ends[2], saved = 58;
	IS(call(DUP3, 2, saved, CLOEXEC, 0), saved);
	IS(rawspawn_pipe(ends), 0);
	call(DUP3, ends[1], 2, 0, 0);
	posix.size = sizeof posix;
	posix.flags = RAWSPAWN_POSIX_SETSID | RAWSPAWN_POSIX_RESETIDS;
	posix.scheduler_policy = RAWSPAWN_SET(3);
	posix.actions = actions;
	posix.action_count = COUNT(actions);
	request.posix = &posix;
	request.flags = RAWSPAWN_INHERIT_FDS;
	if (IS(rawspawn(&request, &child, NULL), 0))
		IS(wait_for(&child), EXITED(3));
	call(DUP3, saved, 2, 0, 0);
	call(CLOSE, saved, 0, 0, 0);
	call(CLOSE, ends[1], 0, 0, 0);
	read_all(ends[0], output, sizeof output);
	TEXT_IS(output, "/tmp\n");

	posix.flags = 0;
	posix.scheduler_policy = 0;
	posix.priority = RAWSPAWN_SET(5);
	FAILS(&request, EINVAL, RAWSPAWN_STEP_SCHEDULER, 0);
	posix.priority = RAWSPAWN_SET(0);
	posix.process_group = RAWSPAWN_SET(0);
	sh_argv[2] = (char *)"exit 5";
	IS(rawspawn(&request, &child, NULL), 0);
	IS(wait_for(&child), EXITED(5));
	posix.process_group = RAWSPAWN_SET(-1);
	CHECK(fails(&request).step == RAWSPAWN_STEP_PROCESS_GROUP);
	posix.process_group = 0;
	actions[5].kind = RAWSPAWN_FILE_TCSETPGRP;
	FAILS(&request, 25 /* ENOTTY */, RAWSPAWN_STEP_FILE_ACTION, 5);
	actions[0].path = NULL;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_FILE_ACTION, 0);
	actions[0].kind = 8;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_FILE_ACTION, 0);
	actions[0] = actions[3];
	actions[0].new_fd = 4;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_FILE_ACTION, 0);
	posix.flags = 4;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_PLAN, 0);
}

static int notes_the_pid(void *data, int pid)
{
	*(int *)data = pid;
	return 0;
}

static int gives(void *data)
{
	return *(int *)data;
}

static int gives_to_parent(void *data, int pid)
{
	return pid > 0 ? *(int *)data : 1;
}

static void hooks_run(void)
{
	static char stack[16384];
	struct rawspawn_request request = shell("exit 3");
	struct rawspawn_child child;
	int pid = 0, number = 0;
	request.parent_hook = notes_the_pid;
	request.parent_hook_data = &pid;
	IS(rawspawn(&request, &child, NULL), 0);
	IS(pid, child.pid);
	IS(child.reason, RAWSPAWN_REASON_PARENT);
	IS(wait_for(&child), EXITED(3));
	request.parent_hook = gives_to_parent;
	request.parent_hook_data = &number;
	number = EBUSY;
	FAILS(&request, EBUSY, RAWSPAWN_STEP_PARENT_HOOK, 0);
	number = -7;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_PARENT_HOOK, 0);
	request.parent_hook = NULL;
	request.parent_hook_data = NULL;

	request.hook = gives;
	request.hook_data = &number;
	number = 0;
	IS(rawspawn(&request, &child, NULL), 0);
	IS(child.mode, RAWSPAWN_MODE_FORK);
	IS(child.reason, RAWSPAWN_REASON_HOOK);
	IS(wait_for(&child), EXITED(3));
	number = 42;
	FAILS(&request, 42, RAWSPAWN_STEP_HOOK, 0);
	request.hook_stack = stack;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_HOOK, 0);
	request.hook_stack_size = 100;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_HOOK, 0);
	request.hook_stack_size = sizeof stack;
	FAILS(&request, 42, RAWSPAWN_STEP_HOOK, 0);
	number = 0;
	IS(rawspawn(&request, &child, NULL), 0);
	IS(child.mode, RAWSPAWN_MODE_VFORK);
	IS(wait_for(&child), EXITED(3));
	request.hook = NULL;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_HOOK, 0);
	request.hook_stack = NULL;
	request.hook_data = NULL;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_HOOK, 0);
	request.hook_stack_size = 0;
	request.parent_hook_data = &number;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_PARENT_HOOK, 0);
}

static int kills_itself(void *data)
{
	(void)data;
	call(KILL, call(GETPID, 0, 0, 0, 0), SIGKILL, 0, 0);
	return 0;
}

static int exits_itself(void *data)
{
	(void)data;
	call(EXIT_GROUP, 9, 0, 0, 0);
	return 0;
}

static void a_child_that_dies_is_an_error(void)
{
	struct rawspawn_request request = shell("");
	struct rawspawn_error error;
	char text[100];
	request.hook = kills_itself;
	error = fails(&request);
	IS(error.number, ECHILD);
	IS(error.step, RAWSPAWN_STEP_CHILD);
	IS(error.status, SIGKILL);
	rawspawn_strerror(&error, text, sizeof text);
	TEXT_IS(text, "start the program: signal: 9 before exec");
	request.hook = exits_itself;
	error = fails(&request);
	IS(error.status, EXITED(9));
}

static void an_error_is_told(void)
{
	struct rawspawn_fd_action fds[] = {RAWSPAWN_CLOSE(5), RAWSPAWN_OPEN(6, "/nonexistent", RDONLY, 0)};
	struct rawspawn_request request = shell("");
	struct rawspawn_error error;
	const char *whole = "open a file (item 1): No such file or directory (ENOENT)";
	char text[100], unchanged = 'x';
	request.fds = fds;
	request.fd_count = 2;
	error = fails(&request);
	IS(rawspawn_strerror(&error, text, sizeof text), length(whole));
	TEXT_IS(text, whole);
	IS(rawspawn_strerror(&error, text, 5), length(whole));
	TEXT_IS(text, "open");
	IS(rawspawn_strerror(&error, &unchanged, 0), length(whole));
	IS(unchanged, 'x');
	IS(rawspawn_strerror(&error, NULL, 0), length(whole));
	error.step = RAWSPAWN_STEP_OTHER;
	rawspawn_strerror(&error, text, sizeof text);
	TEXT_IS(text, "spawn: No such file or directory (ENOENT)");
}

/* Checks the text of what is wrong with a request. */
static void check_says(int line, const struct rawspawn_request *request, const char *wanted)
{
	struct rawspawn_error error = fails(request);
	char text[200];
	rawspawn_strerror(&error, text, sizeof text);
	check_text(line, text, wanted);
}
#define SAYS(request, wanted) check_says(__LINE__, request, wanted)
#define INVALID "Invalid argument (EINVAL)"

static void causes_are_told_apart(void)
{
	struct rawspawn_fd_action fds[] = {RAWSPAWN_CLOSE(5), RAWSPAWN_OPEN(6, NULL, RDONLY, 0)};
	struct { struct rawspawn_request request; uint64_t more; } newer = {shell(""), 1};
	struct rawspawn_namespaces namespaces = ZERO;
	struct rawspawn_request request = shell("");
	struct rawspawn_error error;
	const char *none[] = {"/nonexistent", "/dev/null", NULL};

	request.path = NULL;
	SAYS(&request, "execute the program: none is given: " INVALID);
	IS(fails(&request).status, RAWSPAWN_REFUSED_MISSING);
	request.search_path = "/bin";
	SAYS(&request, "execute the program: a member is set that has no effect here: " INVALID);
	request.search = "sh";
	request.path = "/bin/sh";
	SAYS(&request, "execute the program: more than one is given: " INVALID);
	IS(fails(&request).status, RAWSPAWN_REFUSED_SEVERAL);
	request = shell("");
	request.busy_retries = 11;
	SAYS(&request, "execute the program: a number out of its range: " INVALID);
	request = shell("");
	request.program_fd = 3;
	SAYS(&request, "execute the program: a number without RAWSPAWN_SET: " INVALID);

	request = shell("");
	request.size = 8;
	SAYS(&request, "compile the plan: the structure's size is none that it has had: " INVALID);
	newer.request.size = sizeof newer;
	SAYS(&newer.request, "compile the plan: a member that this library does not know is set: "
			     "Argument list too long (E2BIG)");
	request = shell("");
	request.flags = 0x80000000;
	SAYS(&request, "compile the plan: a flag or kind that this library does not know: " INVALID);
	IS(rawspawn(NULL, NULL, &error), EINVAL);
	IS(error.status, RAWSPAWN_REFUSED_MISSING);
	request.flags = 0;
	request.namespaces = &namespaces;
	SAYS(&request, "compile the plan: the structure's size is none that it has had: " INVALID);

	request = shell("");
	request.uid = 1000;
	SAYS(&request, "set the user ids: a number without RAWSPAWN_SET: " INVALID);
	request.uid = 0;
	request.fds = fds;
	request.fd_count = 2;
	SAYS(&request, "open a file (item 1): none is given: " INVALID);
	fds[1].path = "/dev/null";
	fds[1].parent_fd = 1;
	SAYS(&request, "move a descriptor (item 1): a member is set that has no effect here: " INVALID);
	fds[1].kind = 9;
	SAYS(&request, "move a descriptor (item 1): a flag or kind that this library does not know: " INVALID);

	/* What the kernel refuses has no more to it. */
	request = shell("");
	request.path = NULL;
	request.candidates = none;
	SAYS(&request, "execute the program: Permission denied (EACCES)");
	error = fails(&request);
	IS(error.index, 1);
	IS(error.status, RAWSPAWN_REFUSED_NOT);
}

static void a_plan_is_spawned_again_and_again(void)
{
	static char room[65536];
	struct rawspawn_low_fds low = ZERO;
	struct rawspawn_request request = shell("exit 4");
	struct rawspawn_child child;
	struct rawspawn_error error;
	const struct rawspawn_plan *plan = NULL;
	size_t needed = 0, size;
	int round;
	request.cwd = "/tmp";
	IS(rawspawn_plan(&request, NULL, &needed, &plan, &error), ENOBUFS);
	IS(error.step, RAWSPAWN_STEP_PLAN);
	CHECK(needed > 200 && needed < 8192);
	size = 100;
	IS(rawspawn_plan(&request, room, &size, &plan, NULL), ENOBUFS);
	IS(size, needed);
	CHECK(!plan);
	/* Wherever it begins. */
	for (round = 0; round < 64; round++) {
		size = needed;
		if (!IS(rawspawn_plan(&request, room + round, &size, &plan, &error), 0))
			return;
		IS(size, needed);
	}
	for (round = 0; round < 3; round++) {
		IS(rawspawn_spawn(plan, &child, &error), 0);
		IS(wait_for(&child), EXITED(4));
	}
	size = rawspawn_print(plan, output, sizeof output);
	IS(length(output), size);
	CHECK(contains(output, "chdir(\"/tmp\")"));
	CHECK(contains(output, "execve(\"/bin/sh\", [\"sh\", \"-c\", \"exit 4\"], envp)"));
	IS(rawspawn_print(plan, NULL, 0), size);
	IS(rawspawn_spawn(NULL, &child, &error), EINVAL);

	request.argv = NULL;
	size = sizeof room;
	IS(rawspawn_plan(&request, room, &size, &plan, &error), EINVAL);
	IS(error.step, RAWSPAWN_STEP_ARGUMENTS);
	request.argv = true_argv;
	request.low_fds = &low;
	IS(rawspawn_plan(&request, room, &size, &plan, &error), EINVAL);
	IS(rawspawn_plan(&request, room, NULL, &plan, &error), EINVAL);
}

static void jobs_are_started_together(void)
{
	static char rooms[3][16384];
	static struct rawspawn_job jobs[70];
	struct rawspawn_request request = shell("exit 6");
	const struct rawspawn_plan *plans[3];
	size_t n, size;
	for (n = 0; n < 3; n++) {
		request.path = n == 1 ? "/nonexistent" : "/bin/sh";
		request.flags = n == 2 ? RAWSPAWN_PIDFD : 0;
		size = sizeof rooms[n];
		IS(rawspawn_plan(&request, rooms[n], &size, &plans[n], NULL), 0);
	}
	rawspawn_all(jobs, 0);
	for (n = 0; n < COUNT(jobs); n++)
		jobs[n].plan = n % 4 == 3 ? NULL : plans[n % 4];
	rawspawn_all(jobs, COUNT(jobs));
	for (n = 0; n < COUNT(jobs); n++) {
		struct rawspawn_job *job = &jobs[n];
		if (n % 4 == 1) {
			IS(job->result, ENOENT);
			IS(job->error.step, RAWSPAWN_STEP_EXEC);
		} else if (n % 4 == 3) {
			IS(job->result, EINVAL);
			IS(job->error.step, RAWSPAWN_STEP_PLAN);
		} else if (IS(job->result, 0)) {
			IS(job->child.mode, RAWSPAWN_MODE_DETACHED);
			CHECK((job->child.pidfd > 2) == (n % 4 == 2));
			IS(wait_for(&job->child), EXITED(6));
			rawspawn_close(&job->child);
		}
	}
}

static void structures_may_be_older_or_newer(void)
{
	struct { struct rawspawn_request request; uint64_t more[2]; } newer = {shell("exit 8"), {0, 0}};
	struct { struct rawspawn_namespaces of; uint64_t more; } newer_namespaces = ZERO;
	struct rawspawn_capabilities capabilities = ZERO;
	struct rawspawn_child child;
	newer.request.size = sizeof newer;
	IS(rawspawn(&newer.request, &child, NULL), 0);
	IS(wait_for(&child), EXITED(8));
	newer.more[1] = 1;
	FAILS(&newer.request, E2BIG, RAWSPAWN_STEP_PLAN, 0);
	/* What an old caller does not have is not looked at. */
	newer.request.kernel = 5;
	FAILS(&newer.request, E2BIG, RAWSPAWN_STEP_PLAN, 0);
	newer.request.size = offsetof(struct rawspawn_request, kernel);
	IS(rawspawn(&newer.request, &child, NULL), 0);
	IS(wait_for(&child), EXITED(8));
	/* But there is no caller as old as this. */
	newer.request.size = offsetof(struct rawspawn_request, uid);
	FAILS(&newer.request, EINVAL, RAWSPAWN_STEP_PLAN, 0);
	newer.request.size = (size_t)1 << 40;
	FAILS(&newer.request, E2BIG, RAWSPAWN_STEP_PLAN, 0);
	newer.request.size = 0;
	FAILS(&newer.request, EINVAL, RAWSPAWN_STEP_PLAN, 0);
	newer.request = shell("");
	newer.request.capabilities = &capabilities;
	FAILS(&newer.request, EINVAL, RAWSPAWN_STEP_PLAN, 0);
	newer.request.capabilities = NULL;
	newer_namespaces.of.size = sizeof newer_namespaces;
	newer.request.namespaces = &newer_namespaces.of;
	IS(rawspawn(&newer.request, &child, NULL), 0);
	IS(wait_for(&child), 0);
	newer_namespaces.more = 1;
	FAILS(&newer.request, E2BIG, RAWSPAWN_STEP_PLAN, 0);
	newer_namespaces.of.size = sizeof newer_namespaces.of - 8;
	FAILS(&newer.request, EINVAL, RAWSPAWN_STEP_PLAN, 0);
	newer.request.namespaces = NULL;
	newer.request.flags = 0x200;
	FAILS(&newer.request, EINVAL, RAWSPAWN_STEP_PLAN, 0);
	CHECK(rawspawn(NULL, &child, NULL) == EINVAL);
}

static void what_is_missing_is_an_error(void)
{
	struct rawspawn_request request = shell("");
	char *none[] = {NULL};
	request.argv = NULL;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_ARGUMENTS, 0);
	request.argv = none;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_ARGUMENTS, 0);
	request.argv = true_argv;
	request.envp = NULL;
	FAILS(&request, EINVAL, RAWSPAWN_STEP_ENVIRONMENT, 0);
	request.envp = none;
	request.path = "/nonexistent";
	FAILS(&request, ENOENT, RAWSPAWN_STEP_EXEC, 0);
}

static void a_long_search_path_fits_into_the_frame(void)
{
	static char path[2001];
	struct rawspawn_request request = shell("exit 5");
	struct rawspawn_child child;
	size_t n;
	for (n = 0; n + 5 < sizeof path; n++)
		path[n] = n % 40 == 39 ? ':' : n % 40 == 0 ? '/' : 'x';
	for (n = 0; n < 5; n++)
		path[sizeof path - 6 + n] = ":/bin"[n];
	request.path = NULL;
	request.search = "sh";
	request.search_path = path;
	IS(rawspawn(&request, &child, NULL), 0);
	IS(wait_for(&child), EXITED(5));
}

static void memory_is_mapped_if_asked_for(void)
{
	static struct rawspawn_fd_action fds[400];
	struct rawspawn_request request = shell("test -e /proc/self/fd/402");
	struct rawspawn_child child;
	size_t n;
	for (n = 0; n < COUNT(fds); n++) {
		fds[n].kind = RAWSPAWN_FD_OPEN;
		fds[n].child_fd = (int)n + 3;
		fds[n].path = "/";
	}
	request.fds = fds;
	request.fd_count = COUNT(fds);
	FAILS(&request, ENOBUFS, RAWSPAWN_STEP_PLAN, 0);
	request.flags = RAWSPAWN_MAP_MEMORY;
	IS(rawspawn(&request, &child, NULL), 0);
	IS(wait_for(&child), 0);
	fds[399].path = "/nonexistent";
	FAILS(&request, ENOENT, RAWSPAWN_STEP_OPEN, 399);
}

static void the_kernel_is_looked_at_and_made_up(void)
{
	struct rawspawn_request request = shell("exit 2");
	struct rawspawn_child child;
	uint32_t features = 0, again = 0;
	IS(rawspawn_kernel(0, &features, NULL), 0);
	IS(rawspawn_kernel(1, &again, NULL), 0);
	IS(features, again);
	CHECK(features & RAWSPAWN_FEATURE_CLONE3);
	request.kernel = RAWSPAWN_SET(0x80000000);
	FAILS(&request, EINVAL, RAWSPAWN_STEP_PLAN, 0);
	IS(rawspawn_version(), RAWSPAWN_VERSION);
	request.kernel = RAWSPAWN_SET(features & ~(unsigned)RAWSPAWN_FEATURE_SHARED_MEMORY);
	IS(rawspawn(&request, &child, NULL), 0);
	IS(child.mode, RAWSPAWN_MODE_FORK);
	IS(child.reason, RAWSPAWN_REASON_KERNEL);
	IS(wait_for(&child), EXITED(2));
}

int main(int argc, char **argv, char **envp)
{
	(void)argc;
	(void)argv;
	environment = envp;
	a_child_is_spawned_and_waited_for();
	waiting_can_be_limited();
	the_program_is_found_in_four_ways();
	a_file_that_is_no_program_is_the_shells_if_asked_for();
	descriptors_are_what_was_asked_for();
	others_are_inherited_if_asked_for();
	low_numbers_are_lent_and_given_back();
	directories_and_umask_are_set();
	session_and_group_are_set();
	a_terminal_is_taken();
	signals_are_set();
	limits_are_set();
	descriptors_to_listen_on_are_told();
	a_filter_is_installed();
	a_subreaper_is_made();
	file_actions_happen_one_after_the_other();
	hooks_run();
	a_child_that_dies_is_an_error();
	an_error_is_told();
	causes_are_told_apart();
	a_plan_is_spawned_again_and_again();
	jobs_are_started_together();
	structures_may_be_older_or_newer();
	what_is_missing_is_an_error();
	a_long_search_path_fits_into_the_frame();
	memory_is_mapped_if_asked_for();
	the_kernel_is_looked_at_and_made_up();
	if (call(GETUID, 0, 0, 0, 0) == 0) {
		credentials_are_switched();
		capabilities_are_limited();
		namespaces_are_furnished();
		a_namespace_is_joined();
	} else {
		say("skipped: what takes root\n");
	}
	say_number(checks);
	say(" checks, ");
	say_number(failures);
	say(" failed\n");
	return failures != 0;
}
