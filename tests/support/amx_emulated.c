/* SPDX-License-Identifier: MIT
 * The kernels for AMX with its instructions in plain C: their tiles, chains and tails can be held to the definitions
 * on any CPU with AVX-512 VNNI. Empty where the compiler was not told of that (tests/CMakeLists.txt). */
#if defined(__AVX512VNNI__)
#define AMX_OPERATIONS "amx_emulated.h"
#define AMX_FILL slm_test_fill_amx_emulated
#include "checkkern.h"
#include "kernel/x86/kernels_amx.c"
#else
typedef int slm_amx_emulated_is_not_used; /* ISO C wants something in every file */
#endif
