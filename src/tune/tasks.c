/* SPDX-License-Identifier: MIT
 * See tasks.h. Three things make an item: what stands before the choices (a context, a question or both), the choices,
 * and which of them is right. Data sets spell them differently; the tables below are all that is known about them, so a
 * file of one's own needs no name of a data set, only fields that are listed there.
 *
 * The text around a question ("Question: ... Answer:") is that of lm-evaluation-harness' ARC and MMLU tasks, and white
 * space at the end of a prompt goes to the front of the choices as there, so that accuracies can be compared.
 * Deliberately not here: few-shot examples, which a file can have in its contexts. */
#include "tune/tasks.h"

#include <jansson.h>

/* The first spelling that an item has counts. */
static const char *const context_fields[] = {"context", "ctx", "passage"},
                  *const question_fields[] = {"question", "query"},
                  *const choice_fields[] = {"choices", "endings"},
                  *const answer_fields[] = {"answer", "label", "answerKey", "gold"};
#define FIELD_OF(item, fields) field_of(item, fields, sizeof fields / sizeof *fields)

/* One line on its way. */
struct line {
    struct slm_tasks *tasks;
    const char *where;
    size_t number;
    bool letters;
    const json_t *json;
    const char *choices[SLM_TASK_MAX_CHOICES], *labels[SLM_TASK_MAX_CHOICES]; /* a label is NULL where there is none */
    unsigned n;
    struct slm_error *error;
};

/* A sentence that names the line, and the field as people know it. */
static slm_status refuse(const struct line *l, const char *field, const char *what)
{
    return slm_fail(l->error, SLM_ERR_FORMAT, l->where, "line %zu: field '%s' %s", l->number, field, what);
}

/* NULL when the object has none of them. */
static const json_t *field_of(const json_t *object, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_object_get(object, names[i]);
        if (value) return value;
    }
    return NULL;
}

/* Text with something in it. */
static bool is_text(const json_t *value) { return json_is_string(value) && json_string_length(value) > 0; }

/* A question may be an object with its choices inside: {"stem": ..., "choices": [...]}. */
static const json_t *inside(const json_t *item) { return json_is_object(json_object_get(item, "question")) ?
                                                        json_object_get(item, "question") : item; }

/* ---- choices --------------------------------------------------------------------------------- */

/* label may be NULL. */
static slm_status add_choice(struct line *l, const json_t *text, const json_t *label)
{
    if (l->n == SLM_TASK_MAX_CHOICES) return refuse(l, "choices", "has more than 32 choices");
    if (!is_text(text)) return refuse(l, "choices", "has a choice that is no text, or empty");
    if (label && !json_is_string(label)) return refuse(l, "choices", "has a label that is no text");
    l->choices[l->n] = json_string_value(text);
    l->labels[l->n++] = label ? json_string_value(label) : NULL;
    return SLM_OK;
}

/* ["a", "b"], [{"text": "a", "label": "A"}, ...] or {"text": ["a", "b"], "label": ["A", "B"]} */
static slm_status read_choices(struct line *l)
{
    const json_t *value = FIELD_OF(inside(l->json), choice_fields), *labels = NULL;
    if (!value) return refuse(l, "choices", "is missing; 'endings' would do too");
    if (json_is_object(value)) {
        labels = json_object_get(value, "label");
        value = json_object_get(value, "text");
        if (labels && json_array_size(labels) != json_array_size(value))
            return refuse(l, "choices", "has not as many labels as texts");
    }
    if (!json_is_array(value)) return refuse(l, "choices", "is no list of texts");
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *choice = json_array_get(value, i);
        const bool labelled = json_is_object(choice);
        SLM_TRY(add_choice(l, labelled ? json_object_get(choice, "text") : choice,
                           labelled ? json_object_get(choice, "label") : json_array_get(labels, i)));
    }
    return l->n >= 2 ? SLM_OK : refuse(l, "choices", "has fewer than 2 choices");
}

/* An index from 0, as a number or its text; a label; a letter. */
static slm_status read_answer(const struct line *l, unsigned *out)
{
    const json_t *value = FIELD_OF(l->json, answer_fields);
    if (!value) return refuse(l, "answer", "is missing; 'label', 'answerKey' or 'gold' would do too");
    json_int_t index = -1;
    if (json_is_integer(value)) index = json_integer_value(value);
    const char *text = json_string_value(value);
    for (unsigned i = 0; text && index < 0 && i < l->n; i++)
        if (l->labels[i] && strcmp(l->labels[i], text) == 0) index = i;
    if (text && index < 0 && !l->labels[0] && text[0] >= 'A' && text[0] <= 'Z' && !text[1]) index = text[0] - 'A';
    for (const char *p = text; p && index < 0 && !l->labels[0] && *p >= '0' && *p <= '9' && p < text + 2; p++)
        if (!p[1]) index = p == text ? *p - '0' : (text[0] - '0') * 10 + (*p - '0');
    if (index < 0 || index >= (json_int_t)l->n)
        return refuse(l, "answer", "names no choice; the index from 0, the letter or the label does");
    *out = (unsigned)index;
    return SLM_OK;
}

/* ---- texts ----------------------------------------------------------------------------------- */

/* ASCII only: other white space is text to a tokenizer. */
static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Code points: bytes that begin one. */
static size_t characters(const char *text)
{
    size_t n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* What stands before the choices. */
static slm_status write_prompt(const struct line *l, struct slm_buf *out)
{
    const json_t *context = FIELD_OF(l->json, context_fields), *question = FIELD_OF(l->json, question_fields);
    if (json_is_object(question)) question = json_object_get(question, "stem");
    if (context && !json_is_string(context)) return refuse(l, "context", "is no text");
    if (question && !is_text(question)) return refuse(l, "question", "is no text, or empty");
    if (!question && !is_text(context)) return refuse(l, "question", "is missing, and so is 'context' or 'ctx'");
    if (is_text(context)) slm_buf_printf(out, "%s%s", json_string_value(context), question ? "\n" : "");
    if (question) slm_buf_printf(out, "%s%s\n", l->letters ? "" : "Question: ", json_string_value(question));
    for (unsigned i = 0; l->letters && i < l->n; i++) slm_buf_printf(out, "%c. %s\n", (int)('A' + i), l->choices[i]);
    if (question || l->letters) slm_buf_puts(out, "Answer:");
    return slm_buf_status(out, l->where, l->error);
}

/* White space at the end of the prompt would be a token of its own that texts do not have there: it goes to the
 * choices. */
static slm_status write_item(const struct line *l, struct slm_task_item *item)
{
    struct slm_arena *arena = &l->tasks->arena;
    struct slm_buf prompt = {0}, ending = {0};
    slm_status status = write_prompt(l, &prompt);
    size_t len = prompt.len;
    while (len > 0 && is_space(prompt.data[len - 1])) len--;
    if (status == SLM_OK && len == 0) status = refuse(l, "context", "is nothing but white space");
    if (status == SLM_OK) {
        item->prompt = (struct slm_str){slm_arena_copy(arena, prompt.data, len, l->error), len};
        item->endings = slm_arena_alloc(arena, l->n, sizeof *item->endings, l->where, l->error);
        item->lengths = slm_arena_alloc(arena, l->n, sizeof *item->lengths, l->where, l->error);
        if (!item->prompt.ptr || !item->endings || !item->lengths) status = SLM_ERR_MEMORY;
    }
    for (unsigned i = 0; status == SLM_OK && i < l->n; i++) {
        const char letter[2] = {(char)('A' + i), 0}, *choice = l->letters ? letter : l->choices[i];
        slm_buf_clear(&ending);
        slm_buf_add(&ending, prompt.data + len, prompt.len - len);
        slm_buf_printf(&ending, " %s", choice);
        status = slm_buf_status(&ending, l->where, l->error);
        if (status == SLM_OK)
            item->endings[i] = (struct slm_str){slm_arena_copy(arena, ending.data, ending.len, l->error), ending.len};
        if (status == SLM_OK && !item->endings[i].ptr) status = SLM_ERR_MEMORY;
        item->lengths[i] = characters(choice);
    }
    slm_buf_release(&prompt);
    slm_buf_release(&ending);
    return status;
}

/* Choices before the answer, which may be one of their labels. */
static slm_status read_item(struct line *l, struct slm_task_item *item)
{
    if (!json_is_object(l->json))
        return slm_fail(l->error, SLM_ERR_FORMAT, l->where, "line %zu: is no JSON object", l->number);
    SLM_TRY(read_choices(l));
    if (l->letters && l->n > 26) return refuse(l, "choices", "has more choices than there are letters");
    SLM_TRY(read_answer(l, &item->answer));
    item->line = l->number;
    item->n_choices = l->n;
    return write_item(l, item);
}

/* ---- the file -------------------------------------------------------------------------------- */

static bool is_blank(const char *text, size_t n)
{
    while (n > 0 && is_space(text[n - 1])) n--;
    return n == 0;
}

/* The JSON tree lives as long as this line. */
static slm_status read_line(struct line *l, const char *text, size_t n, struct slm_task_item *item)
{
    json_error_t problem;
    json_t *json = json_loadb(text, n, JSON_REJECT_DUPLICATES, &problem);
    if (!json)
        return slm_fail(l->error, SLM_ERR_FORMAT, l->where, "line %zu: column %d: %s", l->number, problem.column,
                        problem.text);
    l->json = json;
    const slm_status status = read_item(l, item);
    json_decref(json);
    return status;
}

static size_t line_length(const char *text, size_t bytes)
{
    const char *end = bytes ? memchr(text, '\n', bytes) : NULL;
    return end ? (size_t)(end - text) : bytes;
}

slm_status slm_tasks_parse(const char *text, size_t bytes, const char *where, bool letters, size_t most,
                           struct slm_tasks *out, struct slm_error *error)
{
    size_t n_lines = 1, number = 1;
    *out = (struct slm_tasks){0};
    for (size_t i = 0; i < bytes; i++) n_lines += text[i] == '\n';
    if (most == 0 || most > n_lines) most = n_lines;
    out->items = slm_arena_alloc(&out->arena, most, sizeof *out->items, where, error);
    if (!out->items) return SLM_ERR_MEMORY;
    for (size_t at = 0; at < bytes && out->n < most; number++) {
        const size_t n = line_length(text + at, bytes - at);
        struct line l = {.tasks = out, .where = where, .number = number, .letters = letters, .error = error};
        if (!is_blank(text + at, n)) {
            SLM_TRY(read_line(&l, text + at, n, &out->items[out->n]));
            out->n++;
        }
        at += n + 1;
    }
    if (out->n > 0) return SLM_OK;
    return slm_fail(error, SLM_ERR_FORMAT, where, "has no items: a JSON object a line is expected");
}

void slm_tasks_release(struct slm_tasks *tasks)
{
    slm_arena_release(&tasks->arena);
    *tasks = (struct slm_tasks){0};
}
