/* SPDX-License-Identifier: MIT
 * Rows of fields (api_read.h) whose places are in struct slm_ask, one short name a kind. For the tables of api_*.c
 * alone: nothing else may include it, since the names are as short as rows need them.
 *
 * field: its name in JSON; to: the member of struct slm_ask; text: its help in docs/api.md. */
#ifndef SLM_SERVE_API_ROWS_H
#define SLM_SERVE_API_ROWS_H
#include "serve/api_call.h"

#define SLM_ASK(field) offsetof(struct slm_ask, field)

#define HINT(field, text) {.name = (field), .kind = SLM_FIELD_HINT, .help = (text)}
#define ONLY(field, values, text) {.name = (field), .kind = SLM_FIELD_ONLY, .only = (values), .help = (text)}
#define FLOAT(field, to, low, high, text) \
    {.name = (field), .kind = SLM_FIELD_FLOAT, .offset = SLM_ASK(to), .min = (low), .max = (high), .help = (text)}
#define INT(field, to, low, high, text) \
    {.name = (field), .kind = SLM_FIELD_INT, .offset = SLM_ASK(to), .min = (low), .max = (high), .help = (text)}
#define BOOL(field, to, text) {.name = (field), .kind = SLM_FIELD_BOOL, .offset = SLM_ASK(to), .help = (text)}
#define TEXT(field, to, text) {.name = (field), .kind = SLM_FIELD_TEXT, .offset = SLM_ASK(to), .help = (text)}
#define JSON(field, to, text) {.name = (field), .kind = SLM_FIELD_JSON, .offset = SLM_ASK(to), .help = (text)}
#define NEEDED_TEXT(field, to, text) \
    {.name = (field), .kind = SLM_FIELD_TEXT, .offset = SLM_ASK(to), .needed = true, .help = (text)}
#define NEEDED_JSON(field, to, text) \
    {.name = (field), .kind = SLM_FIELD_JSON, .offset = SLM_ASK(to), .needed = true, .help = (text)}
#endif
