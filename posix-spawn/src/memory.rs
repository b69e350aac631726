//! What compilers take for granted, for the shared library on `x86_64`: so that it is not
//! looked up in each program that loads it. `build.rs` has the linker use it for C's names.
//!
//! The static library is linked to the program's own. What is here is used on some hundred bytes,
//! a few times in a spawn: it is short rather than fast.

use core::arch::global_asm;

global_asm!(
    ".pushsection .text.rawspawn_memory, \"ax\", @progbits",
    ".irp name, memmove, memset, bcmp, strlen",
    ".globl rawspawn_\\name",
    ".hidden rawspawn_\\name",
    ".type rawspawn_\\name, @function",
    ".endr",
    // And memcpy: backwards if the destination begins within the source.
    "rawspawn_memmove:",
    "    mov rax, rdi",
    "    mov rcx, rdx",
    "    sub rdi, rsi",
    "    cmp rdi, rdx",
    "    mov rdi, rax",
    "    jb 1f",
    "    rep movsb",
    "    ret",
    "1:  lea rdi, [rdi + rdx - 1]",
    "    lea rsi, [rsi + rdx - 1]",
    "    std",
    "    rep movsb",
    "    cld",
    "    ret",
    "rawspawn_memset:",
    "    mov r8, rdi",
    "    mov eax, esi",
    "    mov rcx, rdx",
    "    rep stosb",
    "    mov rax, r8",
    "    ret",
    // Equal if there is nothing to compare: `test` sets ZF for that.
    "rawspawn_bcmp:",
    "    xor eax, eax",
    "    mov rcx, rdx",
    "    test rcx, rcx",
    "    repe cmpsb",
    "    setne al",
    "    ret",
    "rawspawn_strlen:",
    "    mov rax, -1",
    "2:  inc rax",
    "    cmp byte ptr [rdi + rax], 0",
    "    jne 2b",
    "    ret",
    ".popsection",
);
