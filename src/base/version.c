/* SPDX-License-Identifier: MIT
 *
 * Who this library is, and the stable names of its status codes: what logs, exit messages and the
 * HTTP layer print. */
#include "slm.h"
#include "slm_version.h"

const char *slm_version(void) { return SLM_VERSION_TEXT; }

const char *slm_status_name(slm_status status)
{
    static const char *const names[SLM_STATUS_COUNT] = {
        [SLM_OK] = "ok",
        [SLM_ERR_ARGUMENT] = "argument",
        [SLM_ERR_IO] = "io",
        [SLM_ERR_FORMAT] = "format",
        [SLM_ERR_UNSUPPORTED] = "unsupported",
        [SLM_ERR_LIMIT] = "limit",
        [SLM_ERR_MEMORY] = "memory",
        [SLM_ERR_CONTEXT] = "context",
        [SLM_ERR_CANCELLED] = "cancelled",
        [SLM_ERR_NUMERIC] = "numeric",
        [SLM_ERR_TIMEOUT] = "timeout",
        [SLM_ERR_DEAD_END] = "dead end",
    };
    unsigned index = (unsigned)status;
    return index < SLM_STATUS_COUNT ? names[index] : "unknown";
}
