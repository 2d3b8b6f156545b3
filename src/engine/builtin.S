/* SPDX-License-Identifier: MIT
 * The built-in model, byte for byte as models/builtin.gguf, between two symbols. SLM_BUILTIN_FILE comes from the
 * build; without it the two symbols are the same address, and opening the built-in model says so. */
    .section .rodata
    .balign 64
    .globl slm_builtin_begin
slm_builtin_begin:
#ifdef SLM_BUILTIN_FILE
    .incbin SLM_BUILTIN_FILE
#endif
    .globl slm_builtin_end
slm_builtin_end:
    .byte 0
    .section .note.GNU-stack, "", %progbits
