/* SPDX-License-Identifier: MIT
 *
 * Environment variables. They are read here and nowhere else (a test looks for it in other files): programs ask by
 * name, the library's own calls take everything as arguments. Read so far, all by the command line: NO_COLOR,
 * XDG_STATE_HOME and HOME (history of the chat). */
#include "base/config.h"

#include <stdlib.h>

/* Empty counts as unset: NO_COLOR and the XDG variables are both specified that way. The secure call answers nothing in
 * a program that runs with another user's rights. */
const char *slm_env(const char *name)
{
    const char *value = secure_getenv(name);
    return value && value[0] ? value : NULL;
}
