//! What compilers take for granted, for programs without a C library: memcpy and memset.
//!
//! Hidden, so that no other code gets these; weak, so that they are no second ones. Each copy here
//! is of a structure, once in a spawn at most: they are short rather than fast.

use core::arch::global_asm;

global_asm!(
    ".pushsection .text.rawspawn_memory, \"ax\", %progbits",
    ".weak memcpy, memset",
    ".hidden memcpy, memset",
    ".type memcpy, %function",
    ".type memset, %function",
);

#[cfg(target_arch = "x86_64")]
global_asm!(
    "memcpy:",
    "    mov rax, rdi",
    "    mov rcx, rdx",
    "    rep movsb",
    "    ret",
    "memset:",
    "    mov r8, rdi",
    "    mov eax, esi",
    "    mov rcx, rdx",
    "    rep stosb",
    "    mov rax, r8",
    "    ret",
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    "memcpy:",
    "    mov x3, x0",
    "1:  cbz x2, 2f",
    "    ldrb w4, [x1], #1",
    "    strb w4, [x3], #1",
    "    sub x2, x2, #1",
    "    b 1b",
    "2:  ret",
    "memset:",
    "    mov x3, x0",
    "3:  cbz x2, 4f",
    "    strb w1, [x3], #1",
    "    sub x2, x2, #1",
    "    b 3b",
    "4:  ret",
);

#[cfg(target_arch = "riscv64")]
global_asm!(
    "memcpy:",
    "    mv a3, a0",
    "1:  beqz a2, 2f",
    "    lb a4, 0(a1)",
    "    sb a4, 0(a3)",
    "    addi a1, a1, 1",
    "    addi a3, a3, 1",
    "    addi a2, a2, -1",
    "    j 1b",
    "2:  ret",
    "memset:",
    "    mv a3, a0",
    "3:  beqz a2, 4f",
    "    sb a1, 0(a3)",
    "    addi a3, a3, 1",
    "    addi a2, a2, -1",
    "    j 3b",
    "4:  ret",
);

global_asm!(".popsection");
