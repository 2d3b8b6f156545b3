/* SPDX-License-Identifier: MIT
 * The one place that reads environment variables, so that what the environment can change is one grep away. */
#ifndef SLM_BASE_CONFIG_H
#define SLM_BASE_CONFIG_H
/* Value of an environment variable, or NULL when it is unset or empty. Lives until the environment changes. */
const char *slm_env(const char *name);
#endif
