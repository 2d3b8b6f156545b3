/* SPDX-License-Identifier: MIT
 * The files of the page, byte for byte between two symbols each. They are found in the folder that the build passes to
 * the assembler with -I. */
#define PAGE_FILE(symbol, name, type) \
    .globl slm_page_##symbol##_begin ; slm_page_##symbol##_begin: ; .incbin name ; \
    .globl slm_page_##symbol##_end ; slm_page_##symbol##_end: ; .byte 0 ;
    .section .rodata
#include "page/files.inc"
    .section .note.GNU-stack, "", %progbits
