/* SPDX-License-Identifier: MIT
 * What filters.c and filters_seq.c share: the second table, and how a filter reads its optional arguments. The filters
 * themselves are reached by name only, through slm_jinja_find_filter (value.h). */
#ifndef SLM_TEMPLATE_FILTERS_H
#define SLM_TEMPLATE_FILTERS_H
#include "template/value.h"

extern const struct builtin slm_jinja_sequence_filters[];
extern const size_t slm_jinja_n_sequence_filters;
const struct text *slm_jinja_text_of(struct render *r, struct value v); /* str(v); NULL = failed */
bool slm_jinja_flag(struct value v, bool if_missing);
bool slm_jinja_int_arg(struct render *r, struct value v, int64_t if_missing, int64_t *out);
#endif
