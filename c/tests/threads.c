/*
 * One request and one plan, spawned by several threads at once.
 */
#include <pthread.h>
#include <rawspawn.h>
#include <stdio.h>
#include <sys/wait.h>

extern char **environ;

enum { THREADS = 8, SPAWNS = 50 };

static struct rawspawn_request request;
static const struct rawspawn_plan *plan;
static struct rawspawn_low_fds low;

static void *spawns(void *failures)
{
	for (int n = 0; n < SPAWNS; n++) {
		struct rawspawn_child child;
		int status = -1;
		int result = n % 2 ? rawspawn(&request, &child, NULL) : rawspawn_spawn(plan, &child, NULL);
		if (result || rawspawn_wait(&child, -1, &status) || WEXITSTATUS(status) != 3)
			++*(int *)failures;
		rawspawn_close(&child);
	}
	return NULL;
}

int main(void)
{
	static char room[8192];
	char name[] = "sh", option[] = "-c", script[] = "read line; exit 3";
	char *argv[] = {name, option, script, NULL};
	struct rawspawn_fd_action fds[] = {RAWSPAWN_OPEN(0, "/dev/null", 0, 0)};
	struct rawspawn_error error;
	size_t size = sizeof room;
	pthread_t threads[THREADS];
	int failures[THREADS] = {0}, all = 0;

	request.size = sizeof request;
	request.path = "/bin/sh";
	request.argv = argv;
	request.envp = environ;
	request.flags = RAWSPAWN_PIDFD;
	request.fds = fds;
	request.fd_count = 1;
	if (rawspawn_plan(&request, room, &size, &plan, &error) || rawspawn_low_fds_claim(&low, 4))
		return 1;
	request.low_fds = &low;
	for (int n = 0; n < THREADS; n++)
		if (pthread_create(&threads[n], NULL, spawns, &failures[n]))
			return 1;
	for (int n = 0; n < THREADS; n++) {
		pthread_join(threads[n], NULL);
		all += failures[n];
	}
	rawspawn_low_fds_release(&low);
	printf("threads: %d spawns by %d threads, %d failed\n", THREADS * SPAWNS, THREADS, all);
	return all != 0;
}
