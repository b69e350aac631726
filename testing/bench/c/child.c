// The program that is spawned: it ends. Linked without a C library.
void _start(void) {
#if defined(__x86_64__)
    __asm__ volatile("mov $60, %eax\n xor %edi, %edi\n syscall");
#elif defined(__aarch64__)
    __asm__ volatile("mov x8, #93\n mov x0, #0\n svc #0");
#elif defined(__riscv)
    __asm__ volatile("li a7, 93\n li a0, 0\n ecall");
#endif
}
