/* SPDX-License-Identifier: MIT
 *
 * The options of speculation, which `run` and `chat` share, and the draft model they may open. What speculation is
 * and does, slm.h says. */
#include "base/os.h"
#include "cli/cli.h"

static const char *const mode_names[] = {"", "off", "ngram", "draft", NULL}; /* enum slm_speculate */

#define AT(field) offsetof(struct slm_speculating, field)
const struct slm_option slm_speculating_rows[SLM_SPECULATING_ROWS] = {
    {.name = "speculate", .kind = SLM_OPTION_CHOICE, .offset = AT(mode), .arg = "MODE", .choices = mode_names,
     .help = "compute guesses at the next tokens along: off, ngram (default: what followed the same words before) "
             "or draft; the text is the same"},
    {.name = "draft", .kind = SLM_OPTION_TEXT, .offset = AT(draft), .arg = "MODEL",
     .help = "a smaller model of the same vocabulary, which guesses"},
    {.name = "draft-max", .kind = SLM_OPTION_INT, .offset = AT(n_guess), .arg = "N", .min = 1, .max = 15,
     .help = "most guesses at a time (default: 15, as far as they pay)"},
};
#undef AT

int slm_cli_check_speculating(const char *command, const struct slm_speculating *s)
{
    if (s->mode == SLM_SPECULATE_DRAFT && !s->draft)
        return slm_cli_usage(command, "--speculate draft needs a model that guesses: --draft MODEL");
    if (s->draft && s->mode != SLM_SPECULATE_DEFAULT && s->mode != SLM_SPECULATE_DRAFT)
        return slm_cli_usage(command, "--draft does not go with --speculate %s", mode_names[s->mode]);
    return SLM_EXIT_OK;
}

/* The draft runs on the same kernels; adapters and sizes are the model's own business. */
slm_status slm_cli_speculate(struct slm_speculating *s, const struct slm_model_choice *choice,
                             struct slm_session *session, struct slm_error *error)
{
    struct slm_speculation options = {.mode = (enum slm_speculate)s->mode, .n_guess = s->n_guess};
    if (s->draft) {
        struct slm_model_choice draft = *choice;
        draft.path = s->draft;
        draft.lora.n = 0;
        SLM_TRY(slm_cli_open_model(&draft, false, &s->model, error));
        options.mode = SLM_SPECULATE_DRAFT;
        options.draft = s->model;
    }
    return slm_session_speculate(session, &options, error);
}
