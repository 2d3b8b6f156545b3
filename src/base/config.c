/* SPDX-License-Identifier: MIT
 *
 * Environment variables. They are read here and nowhere else (a test looks for getenv in other files): programs ask by
 * name, the library's own calls take everything as arguments. Read so far, all by the command line: NO_COLOR,
 * XDG_STATE_HOME and HOME (history of the chat). */
#include "base/config.h"

#include <stdlib.h>

/* Empty counts as unset: NO_COLOR and the XDG variables are both specified that way. */
const char *slm_env(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}
