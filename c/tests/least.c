/*
 * The least program: what spawning takes where there is no C library.
 */
#include "rawspawn.h"

int main(int argc, char **argv, char **envp)
{
	struct rawspawn_request request = {.size = sizeof request, .path = "/bin/true", .argv = argv, .envp = envp};
	struct rawspawn_child child;
	int status;
	(void)argc;
	return rawspawn(&request, &child, NULL) || rawspawn_wait(&child, -1, &status) || status;
}
