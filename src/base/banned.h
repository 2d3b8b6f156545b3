/* SPDX-License-Identifier: MIT
 * Functions this project does not use, made unusable. The build puts this file in front of every
 * source of the library and the command (-include); the system headers that declare the names come
 * first, so that only our uses are refused.
 *   strcpy strcat sprintf vsprintf gets   write without a bound: memcpy with a known length, snprintf, slm_buf
 *   atoi atol atof                        cannot report an error: strtol and friends with checks
 *   alloca                                takes the stack by a number from outside: slm_alloc, slm_arena
 *   strtok                                hidden state: slm_str
 *   getenv                                hidden configuration: one struct, filled by the command */
#ifndef SLM_BASE_BANNED_H
#define SLM_BASE_BANNED_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#undef alloca  /* these are macros in glibc, */
#undef sprintf /* the last two for clang with _FORTIFY_SOURCE */
#undef vsprintf
#pragma GCC poison strcpy strcat sprintf vsprintf gets atoi atol atof alloca strtok getenv
#endif
