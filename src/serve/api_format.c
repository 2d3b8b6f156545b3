/* SPDX-License-Identifier: MIT
 * What an answer must be: a JSON object of any kind, or of a schema, a regular expression, one of some texts, a grammar,
 * a call of a tool. Each API has its own fields for it; here they become one wish. Deliberately not here: compiling and
 * enforcing it. */
#include "base/os.h"
#include "serve/api_chat.h"

struct wish {
    const json_t *schema, *choices;
    const char *regex, *gbnf;
    int any_json; /* 1: an object of any kind */
    size_t n;     /* wishes read: one at most may be */
};

#define AT(field) offsetof(struct wish, field)
static const struct slm_field structured_rows[] = {
    {.name = "json", .kind = SLM_FIELD_JSON, .offset = AT(schema), .help = "a JSON Schema"},
    {.name = "regex", .kind = SLM_FIELD_TEXT, .offset = AT(regex), .help = "a regular expression"},
    {.name = "choice", .kind = SLM_FIELD_JSON, .offset = AT(choices), .help = "an array of strings"},
    {.name = "grammar", .kind = SLM_FIELD_TEXT, .offset = AT(gbnf), .help = "a GBNF grammar"},
    {.name = "json_object", .kind = SLM_FIELD_BOOL, .offset = AT(any_json), .help = "true: a JSON object of any kind"},
};
#undef AT
static const struct slm_field_set structured_sets[] = {SLM_FIELDS(structured_rows), {NULL, 0}};

/* {"type": "json_schema", "json_schema": {"schema": ...}} of chats; responses have the schema beside the type. */
static slm_status read_format(const json_t *format, struct wish *wish, struct slm_error *error)
{
    const char *type = json_string_value(json_object_get(format, "type"));
    if (!type)
        return slm_fail(error, SLM_ERR_ARGUMENT, "response_format.type", "must be text, json_object or json_schema");
    if (strcmp(type, "text") == 0) return SLM_OK;
    const json_t *inner = json_object_get(format, "json_schema");
    const json_t *schema = json_object_get(inner ? inner : format, "schema");
    if (strcmp(type, "json_object") == 0 && !schema) {
        wish->any_json = 1;
        return SLM_OK;
    }
    if (strcmp(type, "json_schema") != 0 && strcmp(type, "json_object") != 0)
        return slm_fail(error, SLM_ERR_ARGUMENT, "response_format.type",
                        "must be text, json_object or json_schema, not '%.40s'", type);
    if (!json_is_object(schema) && !json_is_boolean(schema))
        return slm_fail(error, SLM_ERR_ARGUMENT, "response_format.json_schema.schema", "is required: a JSON Schema");
    wish->schema = schema;
    return SLM_OK;
}

static slm_status read_wish(const struct slm_ask *ask, struct wish *wish, struct slm_error *error)
{
    if (ask->structured)
        SLM_TRY(slm_read_fields(ask->structured, "structured_outputs.", structured_sets, wish, error));
    wish->any_json = wish->any_json == 1;
    const bool structured = ask->structured != NULL;
    if (ask->format) SLM_TRY(read_format(ask->format, wish, error));
    if (ask->schema) wish->schema = ask->schema;
    if (ask->choice_list) wish->choices = ask->choice_list;
    if (ask->regex) wish->regex = ask->regex;
    if (ask->grammar) wish->gbnf = ask->grammar;
    if (ask->any_json == 1) wish->any_json = 1;
    const size_t given = (size_t)structured + (ask->format != NULL && (wish->schema || wish->any_json)) +
                         (ask->schema != NULL) + (ask->choice_list != NULL) + (ask->regex != NULL) +
                         (ask->grammar != NULL) + (ask->any_json == 1);
    wish->n = (size_t)(wish->schema != NULL) + (wish->choices != NULL) + (wish->regex != NULL) +
              (wish->gbnf != NULL) + (size_t)wish->any_json;
    if (given > 1 || wish->n > 1)
        return slm_fail(error, SLM_ERR_ARGUMENT, "response_format", "more than one form is asked of the answer: give one");
    return SLM_OK;
}

slm_status slm_call_add_grammar(struct slm_call *call, struct slm_job *job, struct slm_error *error)
{
    struct wish wish = {0};
    SLM_TRY(read_wish(&call->ask, &wish, error));
    (void)job;
    if (wish.n == 0 && !call->forced) return SLM_OK;
    return slm_fail(error, SLM_ERR_UNSUPPORTED, call->forced ? "tool_choice" : "response_format",
                    "this build cannot enforce the form of answers");
}
