/* SPDX-License-Identifier: MIT
 * What the tables of `slm optimize` have in common: its columns. They are those of the terminal (optimize.c) and of the
 * page (optimize_html.c). */
#ifndef SLM_CLI_OPTIMIZE_H
#define SLM_CLI_OPTIMIZE_H
#include "cli/cli.h"

/* In the order of the table and of the JSON. */
struct slm_optimize_column {
    const char *key, *title; /* no title: in the JSON only */
    int width, digits;
    double factor;           /* of tables */
    size_t offset;           /* of a double in struct slm_optimize_candidate */
};
enum { SLM_OPTIMIZE_COLUMNS = 9 };
extern const struct slm_optimize_column slm_optimize_columns[SLM_OPTIMIZE_COLUMNS];

static inline double slm_optimize_number(const struct slm_optimize_candidate *c, const struct slm_optimize_column *k)
{
    double value;
    memcpy(&value, (const char *)c + k->offset, sizeof value);
    return value;
}

/* `what` is what was asked for: a model or a recipe. */
void slm_optimize_html(struct slm_buf *out, const struct slm_optimize_result *r, const char *what);
#endif
