// The child of a spawn, x86-64: runs a plan, one op after the other.
//
//   in   r15  first op            struct Op,    src/plan/op.rs
//        r14  frame               struct Frame, src/plan/op.rs
//        r13  0
//   uses rax rcx rdx rsi rdi r8 r9 r10 r11   each op
//        r12  result kept for a later op; among exec ops, errno of the last one
//        r13  errno of the exec to report, bit 16 set once a strong one is kept;
//             0 before an exec op, but within an op for each signal: its number
//        rbx  the op that r13 belongs to
//
// No stack, no thread pointer, no memory but ops (read) and frame (written on
// failure). rsp is the parent's and stays as it is. The loop knows no system
// call by its number: the epilogue that ends a failed child is made of ops too.
// The op pointer never goes back, so every plan ends.

        .intel_syntax noprefix

        .set    SAVE,   1       // keep the result
        .set    USE,    2       // the kept result is the first argument
        .set    EXPECT, 4       // the result must equal Op.want
        .set    EXEC,   8       // go on after a failure; Op.want has the weak errnos
        .set    LAST,   16      // no exec op follows: report
        .set    CALL,   32      // not a system call: see the second entry
        .set    FRAME,  64      // the third argument counts from the frame
        .set    STOP,   128     // go on only after an errno of Op.want, by its last five bits

        .set    EINTR,  4
        .set    EACCES, 13
        .set    EPROTO, 71

        // Op.guard, where it is no errno.
        .set    UNLESS_SAME, 255 // unless the kept result is the second argument
        .set    EACH,   254     // once for each signal of the set in the fifth argument
        .set    TRAP,   253     // no call: the child ends here

        .section .text.rawspawn_child,"ax",@progbits
        .globl  rawspawn_child
        .hidden rawspawn_child
        .type   rawspawn_child,@function
        .p2align 5
rawspawn_child:
        .cfi_startproc
        .cfi_undefined rip              // the parent's frames are not ours
.Lop:
        movzx   eax, byte ptr [r15 + 7] // Op.guard: run only after this errno
        test    eax, eax
        jz      .Lrun
        cmp     eax, EACH
        jae     .Lspecial
        cmp     eax, TRAP
        je      .Ltrap
        cmp     eax, r12d
        jne     .Lskip
.Lrun:
        mov     rdi, [r15 + 8]
        mov     rsi, [r15 + 16]
        mov     rdx, [r15 + 24]
        mov     r10, [r15 + 32]
        mov     r8,  [r15 + 40]
        mov     r9,  [r15 + 48]
        test    byte ptr [r15 + 6], USE
        cmovnz  rdi, r12
        lea     rax, [rdx + r14]
        test    byte ptr [r15 + 6], FRAME
        cmovnz  rdx, rax
        test    byte ptr [r15 + 6], CALL
        jnz     rawspawn_child_call
        mov     eax, [r15]
        syscall
.Lresult:
        cmp     rax, -4096
        ja      .Lerror
        test    byte ptr [r15 + 6], EXPECT
        jz      .Lsave
        cmp     eax, [r15 + 56]
        jne     .Lunexpected
.Lsave:
        test    byte ptr [r15 + 6], SAVE
        cmovnz  r12, rax
.Lnext:
        add     r15, 64
        jmp     .Lop

.Lspecial:
        jne     .Lunless_same
        mov     rax, [r15 + 40]
.Lsignal:
        cmp     r13d, 64
        je      .Llast_signal
        bt      rax, r13
        lea     r13d, [r13 + 1]         // the first signal is 1
        jnc     .Lsignal
        mov     r12d, r13d              // and by USE the first argument
        jmp     .Lrun
.Llast_signal:
        xor     r13d, r13d
        jmp     .Lnext

.Lunless_same:
        cmp     r12, [r15 + 16]
        jne     .Lrun
        jmp     .Lskip

.Ltrap:
        ud2                             // what this raises no filter can refuse

.Lunexpected:
        cmp     byte ptr [r15 + 7], EACH // never what is expected: the next signal
        je      .Lop
        mov     eax, -EPROTO
.Lerror:
        neg     eax
        movzx   ecx, word ptr [r15 + 4] // Op.ok_errno
        cmp     ecx, eax
        je      .Lnext
        cmp     ecx, 0xffff             // ANY_ERRNO
        je      .Lnext
        test    byte ptr [r15 + 6], EXEC
        jz      .Lfailed
        cmp     eax, EINTR              // nothing has happened: the same op again
        je      .Lop
        test    byte ptr [r15 + 6], STOP
        jz      .Lgo_on
        mov     ecx, [r15 + 56]
        bt      ecx, eax
        jnc     .Lfailed
.Lgo_on:
        mov     r12d, eax
        cmp     r13d, 0xffff            // the first strong errno stays
        ja      .Lskip
        mov     r13d, eax
        mov     rbx, r15
        mov     ecx, [r15 + 56]         // Op.want, a bit for each weak errno
        cmp     eax, 31
        ja      .Lstrong
        cmp     eax, EACCES
        je      .Lstrong
        bt      ecx, eax
        jc      .Lskip
.Lstrong:
        or      r13d, 0x10000
.Lskip:
        test    byte ptr [r15 + 6], LAST
        jz      .Lnext
        jmp     .Lreport

.Lfailed:
        mov     r13d, eax
        mov     rbx, r15
.Lreport:
        mov     [r14], rbx              // Frame.failed first,
        movzx   eax, r13w
        mov     [r14 + 8], eax          // Frame.errno last
        mov     r15, [r14 + 16]         // Frame.epilogue
        jmp     .Lop
        .cfi_endproc
        .size   rawspawn_child, . - rawspawn_child

// The second entry, for the few ops that are Rust: calls Op.args[0] with
// Op.args[1] on the stack that ends at Op.args[2], or, where that is 0, on the
// child's own copy of the parent's stack. Its result is one of a system call.

        .globl  rawspawn_child_call
        .hidden rawspawn_child_call
        .type   rawspawn_child_call,@function
rawspawn_child_call:
        .cfi_startproc
        .cfi_undefined rip
        lea     rsp, [rsp - 256]        // the parent's red zone holds its data
        test    rdx, rdx
        cmovnz  rsp, rdx
        and     rsp, -64
        mov     rax, rdi
        mov     rdi, rsi
        call    rax
        jmp     .Lresult
        .cfi_endproc
        .size   rawspawn_child_call, . - rawspawn_child_call

// What a stub starts with: an image of this section, of ops and of what they point to,
// at the addresses of src/spawn/stub.rs. The frame is in memory of its own.

        .set    STUB_OPS,      0x200100 // the first of them are the epilogue
        .set    STUB_EPILOGUE_SIZE, 256
        .set    STUB_FRAME,    0x3ff000

        .globl  rawspawn_stub
        .hidden rawspawn_stub
        .type   rawspawn_stub,@function
rawspawn_stub:
        .cfi_startproc
        .cfi_undefined rip
        mov     r14d, STUB_FRAME
        mov     r15d, STUB_OPS
        mov     [r14 + 16], r15         // Frame.epilogue
        add     r15, STUB_EPILOGUE_SIZE
        xor     r13d, r13d              // no exec has failed yet
        jmp     .Lop
        .cfi_endproc
        .size   rawspawn_stub, . - rawspawn_stub

        .globl  rawspawn_child_end
        .hidden rawspawn_child_end
rawspawn_child_end:

        .section .note.GNU-stack,"",@progbits

// No entry is the target of an indirect jump, so all are fit for IBT
// and, as nothing returns, for shadow stacks.
        .section .note.gnu.property,"a",@note
        .p2align 3
        .long   4, 16, 5                // name size, data size, NT_GNU_PROPERTY_TYPE_0
        .asciz  "GNU"
        .long   0xc0000002, 4, 3, 0     // X86_FEATURE_1_AND: IBT, SHSTK
