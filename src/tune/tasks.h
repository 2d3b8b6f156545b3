/* SPDX-License-Identifier: MIT
 * Files of multiple-choice questions, a JSON object a line, in the spellings that the well-known ones (ARC,
 * HellaSwag, MMLU) have. Reading only; tasks_eval.c scores them. */
#ifndef SLM_TUNE_TASKS_H
#define SLM_TUNE_TASKS_H
#include "base/arena.h"
#include "base/str.h"

enum { SLM_TASK_MAX_CHOICES = 32 };

struct slm_task_item {
    size_t line;             /* of the file, from 1 */
    struct slm_str prompt;   /* what stands before every choice; ends in no white space; not empty */
    struct slm_str *endings; /* [n_choices] what is scored behind it, white space in front included */
    size_t *lengths;         /* [n_choices] characters of the choice itself, >= 1 */
    unsigned n_choices, answer;
};

struct slm_tasks {
    struct slm_task_item *items; /* [n], in the arena like all they point to */
    size_t n;
    struct slm_arena arena;
};

/* where names the file in messages, which say line and field. letters: the choices are listed in the prompt and their
 * letters scored. most 0: all items there are. Blank lines are passed over; a file without items is an error.
 * slm_tasks_release also after a failure. */
slm_status slm_tasks_parse(const char *text, size_t bytes, const char *where, bool letters, size_t most,
                           struct slm_tasks *out, struct slm_error *error);
void slm_tasks_release(struct slm_tasks *tasks);
#endif
