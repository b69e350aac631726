// The child of a spawn, RISC-V 64: runs a plan, one op after the other.
//
//   in   s2   first op            struct Op,    src/plan/op.rs
//        s3   frame               struct Frame, src/plan/op.rs
//        s4   0
//   uses a0-a5 a7 t0-t2           each op
//        s5   result kept for a later op; among exec ops, errno of the last one
//        s4   errno of the exec to report, bit 16 set once a strong one is kept;
//             0 before an exec op, but within an op for each signal: its number
//        s6   the op that s4 belongs to
//
// No stack, no thread pointer, no memory but ops (read) and frame (written on
// failure). sp is the parent's and stays as it is. See x86_64.S for the rest.

        .set    SAVE,   1
        .set    USE,    2
        .set    EXPECT, 4
        .set    EXEC,   8
        .set    LAST,   16
        .set    CALL,   32
        .set    FRAME,  64
        .set    STOP,   128

        .set    EINTR,  4
        .set    EACCES, 13
        .set    EPROTO, 71

        .set    UNLESS_SAME, 255        // Op.guard, where it is no errno
        .set    EACH,   254
        .set    TRAP,   253

        .section .text.rawspawn_child,"ax",@progbits
        .globl  rawspawn_child
        .hidden rawspawn_child
        .type   rawspawn_child,@function
        .p2align 5
rawspawn_child:
        .cfi_startproc
        .cfi_undefined ra               // the parent's frames are not ours
.Lop:
        lbu     t0, 7(s2)               // Op.guard: run only after this errno
        beqz    t0, .Lrun
        li      t1, EACH
        bgeu    t0, t1, .Lspecial
        li      t1, TRAP
        beq     t0, t1, .Ltrap
        bne     t0, s5, .Lskip
.Lrun:
        lwu     a7, 0(s2)
        ld      a0, 8(s2)
        ld      a1, 16(s2)
        ld      a2, 24(s2)
        ld      a3, 32(s2)
        ld      a4, 40(s2)
        ld      a5, 48(s2)
        lbu     t1, 6(s2)
        andi    t0, t1, USE
        beqz    t0, .Lthird
        mv      a0, s5
.Lthird:
        andi    t0, t1, FRAME
        beqz    t0, .Larguments
        add     a2, a2, s3
.Larguments:
        andi    t0, t1, CALL
        beqz    t0, .Lsyscall
        j       rawspawn_child_call
.Lsyscall:
        ecall
.Lresult:
        lbu     t1, 6(s2)
        li      t0, -4096
        bgtu    a0, t0, .Lerror
        andi    t0, t1, EXPECT
        beqz    t0, .Lsave
        lw      t0, 56(s2)
        sext.w  t2, a0
        bne     t0, t2, .Lunexpected
.Lsave:
        andi    t0, t1, SAVE
        beqz    t0, .Lnext
        mv      s5, a0
.Lnext:
        addi    s2, s2, 64
        j       .Lop

.Lspecial:
        bne     t0, t1, .Lunless_same
        ld      t2, 40(s2)
        li      t1, 64
.Lsignal:
        beq     s4, t1, .Llast_signal
        srl     t0, t2, s4
        addi    s4, s4, 1               // the first signal is 1
        andi    t0, t0, 1
        beqz    t0, .Lsignal
        mv      s5, s4                  // and by USE the first argument
        j       .Lrun
.Llast_signal:
        li      s4, 0
        j       .Lnext

.Lunless_same:
        ld      t0, 16(s2)
        bne     t0, s5, .Lrun
        j       .Lskip

.Ltrap:
        unimp                           // what this raises no filter can refuse

.Lunexpected:
        lbu     t0, 7(s2)
        li      t2, EACH                // never what is expected: the next signal
        beq     t0, t2, .Lop
        li      a0, -EPROTO
.Lerror:
        neg     a0, a0
        lhu     t0, 4(s2)               // Op.ok_errno
        beq     t0, a0, .Lnext
        li      t2, 0xffff              // ANY_ERRNO
        beq     t0, t2, .Lnext
        andi    t0, t1, EXEC
        beqz    t0, .Lfailed
        li      t0, EINTR               // nothing has happened: the same op again
        beq     a0, t0, .Lop
        andi    t0, t1, STOP
        beqz    t0, .Lgo_on
        lwu     t0, 56(s2)
        srlw    t0, t0, a0              // by the last five bits
        andi    t0, t0, 1
        beqz    t0, .Lfailed
.Lgo_on:
        mv      s5, a0
        bgtu    s4, t2, .Lskip          // the first strong errno stays
        mv      s4, a0
        mv      s6, s2
        li      t0, 31
        bgtu    a0, t0, .Lstrong
        li      t0, EACCES
        beq     a0, t0, .Lstrong
        lwu     t0, 56(s2)              // Op.want, a bit for each weak errno
        srl     t0, t0, a0
        andi    t0, t0, 1
        bnez    t0, .Lskip
.Lstrong:
        li      t0, 0x10000
        or      s4, s4, t0
.Lskip:
        lbu     t1, 6(s2)
        andi    t0, t1, LAST
        beqz    t0, .Lnext
        j       .Lreport

.Lfailed:
        mv      s4, a0
        mv      s6, s2
.Lreport:
        sd      s6, 0(s3)               // Frame.failed first,
        slli    t0, s4, 48
        srli    t0, t0, 48
        fence   rw, w
        sw      t0, 8(s3)               // Frame.errno last
        ld      s2, 16(s3)              // Frame.epilogue
        j       .Lop
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
        .cfi_undefined ra
        addi    sp, sp, -256
        beqz    a2, .Lcall
        mv      sp, a2
.Lcall:
        andi    sp, sp, -64
        mv      t0, a0
        mv      a0, a1
        li      s0, 0
        jalr    t0
        j       .Lresult
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
        .cfi_undefined ra
        li      s3, STUB_FRAME
        li      s2, STUB_OPS
        sd      s2, 16(s3)              // Frame.epilogue
        addi    s2, s2, STUB_EPILOGUE_SIZE
        li      s4, 0                   // no exec has failed yet
        j       .Lop
        .cfi_endproc
        .size   rawspawn_stub, . - rawspawn_stub

        .globl  rawspawn_child_end
        .hidden rawspawn_child_end
rawspawn_child_end:

        .section .note.GNU-stack,"",@progbits
