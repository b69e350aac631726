/* Objects that the C library has made, spawned here, and the other way round, as of a program that has
 * looked up one of the functions by itself. Attributes mean the same to both; file actions are
 * an error, and never a crash nor nothing at all. It says where it failed, and else how many. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

typedef posix_spawn_file_actions_t Actions;

/* The functions of one library. */
static struct Library {
    int (*init)(Actions *), (*destroy)(Actions *);
    int (*close)(Actions *, int), (*dup2)(Actions *, int, int);
    int (*open)(Actions *, int, const char *, int, mode_t);
    int (*chdir)(Actions *, const char *), (*fchdir)(Actions *, int), (*closefrom)(Actions *, int);
    int (*init_attributes)(posix_spawnattr_t *), (*flags)(posix_spawnattr_t *, short);
    int (*group)(posix_spawnattr_t *, pid_t);
    int (*mask)(posix_spawnattr_t *, const sigset_t *), (*defaults)(posix_spawnattr_t *, const sigset_t *);
    int (*spawn)(pid_t *, const char *, const Actions *, const posix_spawnattr_t *, char *const *,
        char *const *);
} ours, cs;

static void fill(struct Library *library, void *from)
{
    struct {
        const char *name;
        void *place;
    } functions[] = {
        {"posix_spawn_file_actions_init", &library->init},
        {"posix_spawn_file_actions_destroy", &library->destroy},
        {"posix_spawn_file_actions_addclose", &library->close},
        {"posix_spawn_file_actions_adddup2", &library->dup2},
        {"posix_spawn_file_actions_addopen", &library->open},
        {"posix_spawn_file_actions_addchdir_np", &library->chdir},
        {"posix_spawn_file_actions_addfchdir_np", &library->fchdir},
        /* Not of every C library. */
        {"posix_spawn_file_actions_addclosefrom_np", &library->closefrom},
        {"posix_spawnattr_init", &library->init_attributes},
        {"posix_spawnattr_setflags", &library->flags},
        {"posix_spawnattr_setpgroup", &library->group},
        {"posix_spawnattr_setsigmask", &library->mask},
        {"posix_spawnattr_setsigdefault", &library->defaults},
        {"posix_spawn", &library->spawn},
    };
    for (unsigned n = 0; n < sizeof functions / sizeof functions[0]; n++) {
        void *found = dlsym(from, functions[n].name);
        memcpy(functions[n].place, &found, sizeof found);
    }
}

static const char *topic = "";
static int count;

#define CHECK(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "%s:%d: %s: %s (errno %d)\n", __FILE__, __LINE__, topic, #what, errno); \
            exit(1); \
        } \
        count++; \
    } while (0)

/* What the spawn returns; on success also that the child exits with 9. */
static int spawn(struct Library *by, const Actions *actions, const posix_spawnattr_t *attributes)
{
    char name[] = "sh", option[] = "-c", command[] = "exit 9";
    char *argv[] = {name, option, command, NULL};
    pid_t pid = -1;
    int status = -1, result = by->spawn(&pid, "/bin/sh", actions, attributes, argv, environ);
    if (result == 0)
        CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 9);
    else
        CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    return result;
}

enum { KINDS = 6 };

/* Adds an action of one kind; 0 if the library does not have it. */
static int add(struct Library *by, Actions *actions, int kind)
{
    switch (kind) {
    case 0:
        return by->close(actions, 30) == 0;
    case 1:
        return by->dup2(actions, 0, 30) == 0;
    case 2:
        return by->open(actions, 30, "/dev/null", O_RDONLY, 0) == 0;
    case 3:
        return by->chdir != NULL && by->chdir(actions, "/") == 0;
    case 4:
        return by->fchdir != NULL && by->fchdir(actions, 9) == 0;
    default:
        return by->closefrom != NULL && by->closefrom(actions, 50) == 0;
    }
}

/* Memory as it comes: musl leaves most of an object as it was. */
static void dirty(Actions *actions, int with)
{
    memset(actions, with, sizeof *actions);
    if (with == 1)
        ((int *)(void *)actions)[0] = ((int *)(void *)actions)[1] = 1;
}

static void file_actions(int kind, int memory)
{
    Actions a;
    topic = "made by the C library, spawned here";
    dirty(&a, memory);
    cs.init(&a);
    CHECK(spawn(&ours, &a, NULL) == 0);
    if (add(&cs, &a, kind)) {
        CHECK(spawn(&ours, &a, NULL) == EINVAL);
        CHECK(ours.close(&a, 31) == EINVAL && ours.open(&a, 31, "/", O_RDONLY, 0) == EINVAL);
        CHECK(spawn(&cs, &a, NULL) == 0);
        for (int n = 0; n < 20; n++)
            CHECK(add(&cs, &a, (kind + n) % 3));
        CHECK(spawn(&ours, &a, NULL) == EINVAL);
        CHECK(ours.destroy(&a) == EINVAL);
        CHECK(cs.destroy(&a) == 0);
    }

    topic = "made here, spawned by the C library";
    dirty(&a, memory);
    ours.init(&a);
    CHECK(spawn(&cs, &a, NULL) == 0);
    for (int n = 0; n < 20; n++) {
        CHECK(add(&ours, &a, (kind + n) % KINDS));
        CHECK(spawn(&cs, &a, NULL) == EBADF);
    }
    CHECK(spawn(&ours, &a, NULL) == 0);
    CHECK(cs.destroy(&a) == 0);

    topic = "initialised by the C library, the rest here";
    dirty(&a, memory);
    cs.init(&a);
    CHECK(add(&ours, &a, kind) && spawn(&ours, &a, NULL) == 0 && ours.destroy(&a) == 0);

    topic = "initialised here, the rest by the C library";
    dirty(&a, memory);
    ours.init(&a);
    if (add(&cs, &a, kind))
        CHECK(spawn(&ours, &a, NULL) == EINVAL && spawn(&cs, &a, NULL) == 0 && cs.destroy(&a) == 0);

    topic = "actions of both";
    dirty(&a, memory);
    ours.init(&a);
    CHECK(add(&ours, &a, kind) && cs.close(&a, 31) == 0);
    CHECK(spawn(&ours, &a, NULL) == EINVAL && spawn(&cs, &a, NULL) == EBADF);
    CHECK(ours.dup2(&a, 0, 31) == EINVAL && cs.destroy(&a) == 0);
}

static void attributes(struct Library *made, struct Library *spawned)
{
    topic = "attributes";
    posix_spawnattr_t a;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    memset(&a, 0x55, sizeof a);
    CHECK(made->init_attributes(&a) == 0);
    CHECK(made->flags(&a, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF) == 0);
    CHECK(made->group(&a, 0) == 0 && made->mask(&a, &set) == 0 && made->defaults(&a, &set) == 0);
    signal(SIGUSR2, SIG_IGN);
    char name[] = "grep", option[] = "-Ecz",
         wanted[] = "SigBlk:\t0000000000000800\nSigIgn:\t0000000000000000\n", file[] = "/proc/self/status";
    char *argv[] = {name, option, wanted, file, NULL};
    pid_t pid = -1;
    int status = -1;
    Actions none;
    made->init(&none);
    CHECK(spawned->spawn(&pid, "/bin/grep", &none, &a, argv, environ) == 0);
    CHECK(getpgid(pid) == pid);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    signal(SIGUSR2, SIG_DFL);
}

static void too_long(int signal)
{
    static const char text[] = "objects: not done in two minutes\n";
    (void)!write(2, text, sizeof text - 1);
    _exit(1);
    (void)signal;
}

int main(int argc, char **argv)
{
    signal(SIGALRM, too_long);
    alarm(120);
    void *c = dlopen(argc > 1 ? argv[1] : "libc.so.6", RTLD_NOW);
    if (c == NULL) {
        fprintf(stderr, "objects: %s\n", dlerror());
        return 1;
    }
    fill(&ours, RTLD_DEFAULT);
    fill(&cs, c);
    topic = "two libraries";
    CHECK(ours.spawn != cs.spawn);
    int root = open("/", O_RDONLY | O_DIRECTORY);
    dup2(root, 9);
    freopen("/dev/null", "w", stdout);
    for (int kind = 0; kind < KINDS; kind++)
        for (int memory = 0; memory < 3; memory++)
            file_actions(kind, memory == 2 ? 0xff : memory);
    attributes(&ours, &cs);
    attributes(&cs, &ours);
    fprintf(stderr, "objects: %d checks of objects of two libraries\n", count);
    return 0;
}
