// Spawns by posix_spawn(3), whoever defines it: a program that ends with 7, by what it is told
// twice over, and one that there is not.
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

__attribute__((noinline)) void before_the_spawn(void) { __asm__ volatile(""); }
__attribute__((noinline)) void after_the_spawn(void) { __asm__ volatile(""); }
__attribute__((noinline)) void in_the_program(void) { __asm__ volatile(""); }

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "--child")) {
        in_the_program();
        return 7;
    }
    char *arguments[] = {argv[0], "--child", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t signals;
    pid_t pid;
    int status = 0, failed = 0;
    before_the_spawn();
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 3, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, 3, 4);
    posix_spawnattr_init(&attributes);
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes, &signals);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    for (int round = 0; round < 2; round++) {
        int result = posix_spawn(&pid, argv[0], &actions, &attributes, arguments, environ);
        failed |= result || waitpid(pid, &status, 0) != pid || status != 7 << 8;
        after_the_spawn();
    }
    failed |= posix_spawnp(&pid, "no-such-program", &actions, &attributes, arguments, environ) != ENOENT;
    failed |= waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD;
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    puts(failed ? "posix_spawn: WRONG" : "posix_spawn: right");
    return failed;
}
