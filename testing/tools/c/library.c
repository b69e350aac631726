// Spawns by the library for C: a program that ends with 7, and one that there is not, whose step
// is told.
#include <errno.h>
#include <rawspawn.h>
#include <stdio.h>
#include <string.h>

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
    struct rawspawn_request request = {
        .size = sizeof request,
        .path = argv[0],
        .argv = arguments,
        .envp = environ,
        .cwd = "/",
        .umask = RAWSPAWN_SET(077),
    };
    struct rawspawn_child child;
    struct rawspawn_error error;
    int status = 0;
    before_the_spawn();
    int failed = rawspawn(&request, &child, &error) || rawspawn_wait(&child, -1, &status) || status != 7 << 8;
    after_the_spawn();
    request.path = "/nonexistent";
    char text[128] = "";
    failed |= rawspawn(&request, &child, &error) == 0;
    rawspawn_strerror(&error, text, sizeof text);
    failed |= error.number != ENOENT || !strstr(text, "execute the program");
    puts(failed ? "rawspawn: WRONG" : "rawspawn: right");
    return failed;
}
