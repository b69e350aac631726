/*
 * What a program without a C library starts with, and what compilers take for granted.
 */
#include <stddef.h>

int main(int argc, char **argv, char **envp);

__attribute__((noreturn, used)) static void start(long *stack)
{
	int argc = (int)*stack;
	char **argv = (char **)(stack + 1);
	long result = main(argc, argv, argv + argc + 1);
#if defined(__x86_64__)
	__asm__ volatile("syscall" : : "a"(231), "D"(result));
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = 94;
	register long x0 __asm__("x0") = result;
	__asm__ volatile("svc 0" : : "r"(x8), "r"(x0));
#elif defined(__riscv)
	register long a7 __asm__("a7") = 94;
	register long a0 __asm__("a0") = result;
	__asm__ volatile("ecall" : : "r"(a7), "r"(a0));
#endif
	__builtin_unreachable();
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start: mov %rsp, %rdi\nand $-16, %rsp\ncall start\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start: mov x0, sp\nbl start\n");
#elif defined(__riscv)
__asm__(".globl _start\n_start: mv a0, sp\ncall start\n");
#endif

void *memset(void *to, int byte, size_t n)
{
	char *place = to;
	while (n--) {
		*place++ = (char)byte;
		__asm__ volatile("");
	}
	return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
	char *place = to;
	const char *source = from;
	while (n--) {
		*place++ = *source++;
		__asm__ volatile("");
	}
	return to;
}
