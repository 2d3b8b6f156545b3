/* SPDX-License-Identifier: MIT
 *
 * How an answer is shown to a person: thinking dim or not at all, content plain. And what `run` and `chat` have in
 * common about thinking: the options, and the template's variable.
 *
 * Text that goes into a pipe is not looked at here: it stays what the model wrote. */
#include "base/os.h"
#include "cli/cli.h"

#define AT(field) offsetof(struct slm_thinking, field)
const struct slm_option slm_thinking_rows[SLM_THINKING_ROWS] = {
    {.name = "think", .kind = SLM_OPTION_FLAG, .offset = AT(on),
     .help = "have the model think first, if its chat template can say so"},
    {.name = "no-think", .kind = SLM_OPTION_FLAG, .offset = AT(off),
     .help = "have it answer at once"},
    {.name = "hide-thinking", .kind = SLM_OPTION_FLAG, .offset = AT(hide),
     .help = "print the answer without the thinking before it"},
};
#undef AT

const char *slm_cli_think_variables(const struct slm_thinking *thinking)
{
    return thinking->on ? "{\"enable_thinking\": true}" : thinking->off ? "{\"enable_thinking\": false}" : NULL;
}

slm_status slm_answer_open(struct slm_answer *answer, const struct slm_model *model, const int32_t *prompt, size_t n,
                           bool hide, struct slm_error *error)
{
    *answer = (struct slm_answer){.hide = hide, .dim = slm_cli_colour(stdout)};
    if (!hide && !answer->dim) return SLM_OK;
    return slm_parts_open(model, prompt, n, false, &answer->parts, error);
}

/* Switches to the look of a kind. Between thinking and what follows there is an empty line. */
static void switch_to(struct slm_answer *answer, enum slm_part_kind kind)
{
    if (answer->any && answer->last == kind) return;
    const bool before = answer->any && answer->last == SLM_PART_THINKING;
    if (before && answer->dim) slm_cli_write("\033[0m", 4);
    if (before) slm_cli_write("\n\n", 2);
    if (kind == SLM_PART_THINKING && answer->dim) slm_cli_write("\033[2m", 4);
    answer->any = true;
    answer->last = kind;
}

static bool show_part(void *user, const struct slm_part *part)
{
    struct slm_answer *answer = user;
    const bool call = part->kind == SLM_PART_TOOL_CALL;
    if (part->kind == SLM_PART_THINKING && answer->hide) return true;
    if (!part->text_bytes && !call) return true;
    switch_to(answer, part->kind);
    return call ? slm_cli_write(part->raw, part->raw_bytes) : slm_cli_write(part->text, part->text_bytes);
}

bool slm_answer_text(struct slm_answer *answer, const char *text, size_t n_bytes)
{
    if (!answer->parts) return slm_cli_write(text, n_bytes) && fflush(stdout) == 0;
    return slm_parts_feed(answer->parts, text, n_bytes, show_part, answer, NULL) == SLM_OK && fflush(stdout) == 0;
}

void slm_answer_close(struct slm_answer *answer)
{
    if (answer->parts) {
        slm_parts_finish(answer->parts, show_part, answer, NULL);
        /* An answer that ended while thinking leaves the terminal as it was. */
        if (answer->any && answer->last == SLM_PART_THINKING && answer->dim) slm_cli_write("\033[0m", 4);
    }
    slm_parts_close(answer->parts);
    answer->parts = NULL;
}
