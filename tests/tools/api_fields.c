/* SPDX-License-Identifier: MIT
 * Prints a table in Markdown of every field of every endpoint, from the rows that requests are read by: docs/api.md has
 * them word for word, and a test sees to it. */
#include <stdio.h>

#include "serve/api_openai.h"

static void print_kind(const struct slm_field *row)
{
    const char *what = "any";
    switch (row->kind) {
    case SLM_FIELD_BOOL: what = "boolean"; break;
    case SLM_FIELD_TEXT: what = "text"; break;
    case SLM_FIELD_JSON: what = "JSON"; break;
    case SLM_FIELD_ONLY: what = *row->only ? "only" : "refused"; break;
    case SLM_FIELD_INT:
    case SLM_FIELD_FLOAT:
        printf("%s %.16g to %.16g", row->kind == SLM_FIELD_INT ? "integer" : "number", row->min, row->max);
        return;
    default: break;
    }
    printf("%s", what);
    /* A bar would end the cell. */
    for (const char *c = row->kind == SLM_FIELD_ONLY ? row->only : ""; *c; c++) {
        if (c == row->only) printf(" `");
        if (*c == '|') printf("` or `");
        else putchar(*c);
        if (!c[1]) putchar('`');
    }
}

static void print_routes(void)
{
    printf("### All paths\n\n");
    for (const struct slm_http_table *const *table = slm_api_tables; *table; table++)
        for (const struct slm_http_route *route = (*table)->routes; route->method; route++)
            printf("- `%s %s`%s\n", route->method, route->path, route->flags & SLM_ROUTE_OPEN ? " (without a key)" : "");
    printf("\n");
}

int main(void)
{
    print_routes();
    for (const struct slm_call_kind *const *kind = slm_api_kinds; *kind; kind++) {
        printf("### `%s%s%s`\n\n| Field | Value | |\n|---|---|---|\n", (*kind)->method, *(*kind)->method ? " " : "",
               (*kind)->path);
        for (const struct slm_field_set *set = (*kind)->sets; set->rows; set++)
            for (size_t i = 0; i < set->n; i++) {
                const struct slm_field *row = &set->rows[i];
                if (!*row->name) continue;
                printf("| `%s`%s | ", row->name, row->needed ? " (required)" : "");
                print_kind(row);
                printf(" | %s |\n", row->help ? row->help : "");
            }
        printf("\n");
    }
    return 0;
}
