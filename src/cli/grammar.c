/* SPDX-License-Identifier: MIT
 *
 * The options that say what form an answer must have, and the grammar they come to. At most one of them. What a grammar
 * is, slm.h and docs/structured-output.md say; deliberately not here: how it steers the generation (engine/generate.c).
 */
#include "base/os.h"
#include "cli/cli.h"

enum { MAX_GRAMMAR_BYTES = 16 << 20 };

#define AT(field) offsetof(struct slm_form, field)
const struct slm_option slm_form_rows[SLM_FORM_ROWS] = {
    {.name = "json-schema", .kind = SLM_OPTION_TEXT, .offset = AT(schema), .arg = "SCHEMA",
     .help = "the answer is JSON that satisfies this JSON Schema: a file, or the schema itself (begins with '{')"},
    {.name = "json-object", .kind = SLM_OPTION_FLAG, .offset = AT(object),
     .help = "the answer is a JSON object"},
    {.name = "grammar", .kind = SLM_OPTION_TEXT, .offset = AT(gbnf), .arg = "FILE",
     .help = "the answer is what the rule 'root' of this GBNF grammar describes"},
    {.name = "regex", .kind = SLM_OPTION_TEXT, .offset = AT(regex), .arg = "REGEX",
     .help = "the answer matches this regular expression as a whole"},
    {.name = "choice", .kind = SLM_OPTION_LIST, .offset = AT(choice), .arg = "TEXT",
     .help = "the answer is one of these texts; may be given again"},
};
#undef AT

int slm_cli_check_form(const char *command, const struct slm_form *form)
{
    const int n = (form->schema != NULL) + form->object + (form->gbnf != NULL) + (form->regex != NULL) +
                  (form->choice.n > 0);
    if (n > 1)
        return slm_cli_usage(command, "an answer has one form: give one of --json-schema, --json-object, --grammar, "
                                      "--regex and --choice");
    return SLM_EXIT_OK;
}

/* The texts as the JSON array that the library takes. */
static void list_choices(const struct slm_text_list *list, struct slm_buf *out)
{
    slm_buf_puts(out, "[");
    for (size_t i = 0; i < list->n; i++) {
        if (i) slm_buf_puts(out, ",");
        slm_buf_add_json_string(out, slm_str(list->items[i]));
    }
    slm_buf_puts(out, "]");
}

slm_status slm_cli_open_form(const struct slm_form *form, const struct slm_model *model, struct slm_grammar **grammar,
                             struct slm_grammar_state **state, struct slm_error *error)
{
    struct slm_buf text = {0};
    enum slm_grammar_kind kind = SLM_GRAMMAR_JSON_OBJECT;
    const char *file = form->gbnf;
    if (form->schema) {
        kind = SLM_GRAMMAR_JSON_SCHEMA;
        if (form->schema[strspn(form->schema, " \t\r\n")] == '{') slm_buf_puts(&text, form->schema);
        else file = form->schema;
    } else if (form->gbnf) {
        kind = SLM_GRAMMAR_GBNF;
    } else if (form->regex) {
        kind = SLM_GRAMMAR_REGEX;
        slm_buf_puts(&text, form->regex);
    } else if (form->choice.n) {
        kind = SLM_GRAMMAR_CHOICE;
        list_choices(&form->choice, &text);
    } else if (!form->object) {
        return SLM_OK;
    }
    slm_status status = file ? slm_cli_read(file, MAX_GRAMMAR_BYTES, &text, error) : SLM_OK;
    if (status == SLM_OK) status = slm_buf_status(&text, "grammar", error);
    if (status == SLM_OK) status = slm_grammar_open(model, kind, text.data, text.len, grammar, error);
    if (status == SLM_OK) status = slm_grammar_state_open(*grammar, state, error);
    slm_buf_release(&text);
    return status;
}
