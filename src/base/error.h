/* SPDX-License-Identifier: MIT
 * Filling struct slm_error. Owns nothing; a NULL error is always allowed. */
#ifndef SLM_BASE_ERROR_H
#define SLM_BASE_ERROR_H
#include <assert.h>
#include "slm.h"

/* Writes {status, where, message} into *error when it is not NULL and returns status, so that
 * callers can `return slm_fail(...)`. Control bytes and invalid UTF-8 in the result are shown as
 * \xNN (names come from files). */
slm_status slm_fail(struct slm_error *error, slm_status status, const char *where, const char *format, ...)
    __attribute__((format(printf, 4, 5), cold));

/* The usual sentence for a failed allocation. */
slm_status slm_fail_memory(struct slm_error *error, const char *where, size_t bytes) __attribute__((cold));

/* Programmer errors stay checked in release builds, outside kernels. */
#define SLM_ASSERT(cond) ((cond) ? (void)0 : slm_assert_failed(#cond, __FILE__, __LINE__))
_Noreturn void slm_assert_failed(const char *cond, const char *file, int line) __attribute__((cold));

/* Propagates a failure: SLM_TRY(slm_x(..., error)); */
#define SLM_TRY(call) do { slm_status slm_try_ = (call); if (slm_try_ != SLM_OK) return slm_try_; } while (0)
#endif
