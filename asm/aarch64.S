// The child of a spawn, AArch64: runs a plan, one op after the other.
//
//   in   x20  first op            struct Op,    src/plan/op.rs
//        x21  frame               struct Frame, src/plan/op.rs
//        x22  0
//   uses x0-x5 x8 x9 x10          each op
//        x23  result kept for a later op; among exec ops, errno of the last one
//        x22  errno of the exec to report, bit 16 set once a strong one is kept;
//             0 before an exec op, but within an op for each signal: its number
//        x24  the op that x22 belongs to
//
// No stack, no thread pointer, no memory but ops (read) and frame (written on
// failure). sp is the parent's and stays as it is. See x86_64.S for the rest.

        .set    SAVE,   0               // the bits of Op.flags, by number
        .set    USE,    1
        .set    EXPECT, 2
        .set    EXEC,   3
        .set    LAST,   4
        .set    CALL,   5
        .set    FRAME,  6
        .set    STOP,   7

        .set    EINTR,  4
        .set    EACCES, 13
        .set    EPROTO, 71

        .set    UNLESS_SAME, 255        // Op.guard, where it is no errno
        .set    EACH,   254
        .set    TRAP,   253

        .section .text.rawspawn_child,"ax",%progbits
        .globl  rawspawn_child
        .hidden rawspawn_child
        .type   rawspawn_child,%function
        .p2align 5
rawspawn_child:
        .cfi_startproc
        .cfi_undefined x30              // the parent's frames are not ours
.Lop:
        ldrb    w10, [x20, #6]          // Op.flags, for the whole op
        ldrb    w9, [x20, #7]           // Op.guard: run only after this errno
        cbz     w9, .Lrun
        cmp     w9, #EACH
        b.hs    .Lspecial
        cmp     w9, #TRAP
        b.eq    .Ltrap
        cmp     w9, w23
        b.ne    .Lskip
.Lrun:
        ldr     w8, [x20]
        ldp     x0, x1, [x20, #8]
        ldp     x2, x3, [x20, #24]
        ldp     x4, x5, [x20, #40]
        tst     w10, #(1 << USE)
        csel    x0, x23, x0, ne
        add     x9, x2, x21
        tst     w10, #(1 << FRAME)
        csel    x2, x9, x2, ne
        tbz     w10, #CALL, .Lsyscall
        b       rawspawn_child_call
.Lsyscall:
        svc     #0
.Lresult:
        ldrb    w10, [x20, #6]
        cmn     x0, #4095
        b.hs    .Lerror
        tbz     w10, #EXPECT, .Lsave
        ldr     w9, [x20, #56]
        cmp     w0, w9
        b.ne    .Lunexpected
.Lsave:
        tst     w10, #(1 << SAVE)
        csel    x23, x0, x23, ne
.Lnext:
        add     x20, x20, #64
        b       .Lop

.Lspecial:
        b.ne    .Lunless_same
        ldr     x9, [x20, #40]
.Lsignal:
        cmp     w22, #64
        b.eq    .Llast_signal
        lsr     x8, x9, x22
        add     w22, w22, #1            // the first signal is 1
        tbz     x8, #0, .Lsignal
        mov     w23, w22                // and by USE the first argument
        b       .Lrun
.Llast_signal:
        mov     w22, wzr
        b       .Lnext

.Lunless_same:
        ldr     x9, [x20, #16]
        cmp     x23, x9
        b.ne    .Lrun
        b       .Lskip

.Ltrap:
        udf     #0                      // what this raises no filter can refuse

.Lunexpected:
        ldrb    w9, [x20, #7]
        cmp     w9, #EACH               // never what is expected: the next signal
        b.eq    .Lop
        mov     w0, #-EPROTO
.Lerror:
        neg     w0, w0
        ldrh    w9, [x20, #4]           // Op.ok_errno
        cmp     w9, w0
        b.eq    .Lnext
        mov     w8, #0xffff             // ANY_ERRNO
        cmp     w9, w8
        b.eq    .Lnext
        tbz     w10, #EXEC, .Lfailed
        cmp     w0, #EINTR              // nothing has happened: the same op again
        b.eq    .Lop
        tbz     w10, #STOP, .Lgo_on
        ldr     w9, [x20, #56]
        lsr     w9, w9, w0              // by the last five bits
        tbz     w9, #0, .Lfailed
.Lgo_on:
        mov     w23, w0
        tbnz    w22, #16, .Lskip        // the first strong errno stays
        mov     w22, w0
        mov     x24, x20
        ldr     w9, [x20, #56]          // Op.want, a bit for each weak errno
        cmp     w0, #31
        b.hi    .Lstrong
        cmp     w0, #EACCES
        b.eq    .Lstrong
        lsr     w9, w9, w0
        tbnz    w9, #0, .Lskip
.Lstrong:
        orr     w22, w22, #0x10000
.Lskip:
        tbz     w10, #LAST, .Lnext
        b       .Lreport

.Lfailed:
        mov     w22, w0
        mov     x24, x20
.Lreport:
        str     x24, [x21]              // Frame.failed first,
        and     w9, w22, #0xffff
        add     x8, x21, #8
        stlr    w9, [x8]                // Frame.errno last
        ldr     x20, [x21, #16]         // Frame.epilogue
        b       .Lop
        .cfi_endproc
        .size   rawspawn_child, . - rawspawn_child

// The second entry, for the few ops that are Rust: calls Op.args[0] with
// Op.args[1] on the stack that ends at Op.args[2], or, where that is 0, on the
// child's own copy of the parent's stack. Its result is one of a system call.

        .globl  rawspawn_child_call
        .hidden rawspawn_child_call
        .type   rawspawn_child_call,%function
rawspawn_child_call:
        .cfi_startproc
        .cfi_undefined x30
        sub     x9, sp, #256
        cmp     x2, #0
        csel    x9, x2, x9, ne
        and     sp, x9, #-64
        mov     x9, x0
        mov     x0, x1
        mov     x29, #0
        blr     x9
        b       .Lresult
        .cfi_endproc
        .size   rawspawn_child_call, . - rawspawn_child_call

// What a stub starts with: an image of this section, of ops and of what they point to,
// at the addresses of src/spawn/stub.rs. The frame is in memory of its own.

        .set    STUB_OPS_HIGH, 0x20     // 0x200100, the first of them are the epilogue
        .set    STUB_OPS_LOW,  0x100
        .set    STUB_EPILOGUE_SIZE, 256
        .set    STUB_FRAME_HIGH, 0x3f   // 0x3ff000
        .set    STUB_FRAME_LOW, 0xf000

        .globl  rawspawn_stub
        .hidden rawspawn_stub
        .type   rawspawn_stub,%function
rawspawn_stub:
        .cfi_startproc
        .cfi_undefined x30
        movz    x21, #STUB_FRAME_HIGH, lsl #16
        movk    x21, #STUB_FRAME_LOW
        movz    x20, #STUB_OPS_HIGH, lsl #16
        movk    x20, #STUB_OPS_LOW
        str     x20, [x21, #16]         // Frame.epilogue
        add     x20, x20, #STUB_EPILOGUE_SIZE
        mov     x22, #0                 // no exec has failed yet
        b       .Lop
        .cfi_endproc
        .size   rawspawn_stub, . - rawspawn_stub

        .globl  rawspawn_child_end
        .hidden rawspawn_child_end
rawspawn_child_end:

        .section .note.GNU-stack,"",%progbits

// No entry is the target of an indirect jump: fit for BTI.
        .section .note.gnu.property,"a",%note
        .p2align 3
        .long   4, 16, 5                // name size, data size, NT_GNU_PROPERTY_TYPE_0
        .asciz  "GNU"
        .long   0xc0000000, 4, 3, 0     // AARCH64_FEATURE_1_AND: BTI, PAC
