/* SPDX-License-Identifier: MIT
 * See recipe.h. One table says every field: where it stands, what it may be, where it goes. A field that is not in
 * the table is refused, because a misspelt one would silently change nothing. Deliberately not here: defaults,
 * which depend on the model (optimize.c). */
#include "tune/recipe.h"

#include <jansson.h>
#include <stdio.h>

#include "base/str.h"

enum kind { KIND_TEXT, KIND_GOAL, KIND_INT, KIND_TYPES };

/* section "": the recipe itself. */
struct field { const char *section, *name; enum kind kind; size_t offset; int64_t min, max; };
#define AT(member) offsetof(struct slm_recipe, member)
static const struct field fields[] = {
    {"", "input", KIND_TEXT, AT(input), 0, 0},
    {"", "output", KIND_TEXT, AT(output), 0, 0},
    {"", "text", KIND_TEXT, AT(text), 0, 0},
    {"", "goal", KIND_GOAL, AT(goal), 0, 0},
    {"target", "ctx", KIND_INT, AT(ctx), 16, 1 << 24},
    {"target", "threads", KIND_INT, AT(threads), 1, 1024},
    {"convert", "type", KIND_TEXT, AT(convert_type), 0, 0},
    {"calibrate", "window", KIND_INT, AT(calibrate_window), 4, 1 << 20},
    {"calibrate", "max_windows", KIND_INT, AT(calibrate_windows), 1, 1 << 20},
    {"quantize", "types", KIND_TYPES, AT(types), 0, 0},
    {"search", "types", KIND_TYPES, AT(search_types), 0, 0},
    {"search", "rounds", KIND_INT, AT(rounds), 1, 64},
    {"evaluate", "window", KIND_INT, AT(window), 4, 1 << 20},
    {"evaluate", "max_windows", KIND_INT, AT(max_windows), 1, 1 << 20},
    {"bench", "prompt", KIND_INT, AT(bench_prompt), 1, 1 << 16},
    {"bench", "tokens", KIND_INT, AT(bench_tokens), 1, 1 << 16},
    {"bench", "repeat", KIND_INT, AT(bench_repeat), 1, 99},
};
#undef AT

/* In the order of enum slm_pass. */
static const char *const pass_names[SLM_PASS_COUNT] = {"convert", "calibrate", "quantize", "search", "evaluate",
                                                       "bench", "package"};

/* Where values go, and what messages are about. */
struct reader { struct slm_recipe *recipe; struct slm_str text; const char *where; struct slm_error *error; };

/* The number of the line where a field stands, for people: the first place behind its section's name that reads like
 * its name. The section's, or 1, where nothing does, as when it is written with escapes. */
static int line_of(const struct reader *r, const char *section, const char *name)
{
    const char *const path[] = {section, name};
    size_t at = 0;
    int line = 1;
    for (int i = 0; i < 2; i++) {
        const size_t n = strlen(path[i]);
        size_t found = at;
        while (n && found + n + 2 <= r->text.len &&
               !(r->text.ptr[found] == '"' && memcmp(r->text.ptr + found + 1, path[i], n) == 0 &&
                 r->text.ptr[found + n + 1] == '"'))
            found++;
        if (n && found + n + 2 > r->text.len) break;
        at = found;
    }
    for (size_t i = 0; i < at; i++) line += r->text.ptr[i] == '\n';
    return line;
}

/* The field as its path in the recipe. The name may come from the file, so it is shown escaped. */
static slm_status refuse(const struct reader *r, const char *section, const char *name, const char *what)
{
    char shown[64];
    slm_escape(shown, sizeof shown, slm_str(name));
    return slm_fail(r->error, SLM_ERR_FORMAT, r->where, "line %d: field '%s%s%s' %s", line_of(r, section, name),
                    section, *section ? "." : "", shown, what);
}

/* A copy that lives as long as the recipe: jansson's own text goes with the tree. */
static slm_status copy_text(const struct reader *r, const json_t *value, const char **out)
{
    *out = slm_arena_copy(&r->recipe->arena, json_string_value(value), json_string_length(value), r->error);
    return *out ? SLM_OK : SLM_ERR_MEMORY;
}

/* C strings from here on: a NUL inside would hide the rest of a path. */
static bool is_text(const json_t *value)
{
    return json_is_string(value) && json_string_length(value) > 0 &&
           json_string_length(value) == strlen(json_string_value(value));
}

/* Names only: which types there are, the quantizer knows. */
static slm_status read_types(const struct reader *r, const struct field *f, const json_t *value,
                             struct slm_type_list *out)
{
    const size_t n = json_array_size(value);
    if (n == 0 || n > SLM_RECIPE_MAX_TYPES) return refuse(r, f->section, f->name, "is no list of 1 to 32 types");
    for (size_t i = 0; i < n; i++) {
        if (!is_text(json_array_get(value, i))) return refuse(r, f->section, f->name, "has an entry that is no text");
        SLM_TRY(copy_text(r, json_array_get(value, i), &out->items[i]));
    }
    out->n = n;
    return SLM_OK;
}

/* What the row allows, put where it says. */
static slm_status read_field(const struct reader *r, const struct field *f, const json_t *value)
{
    char *target = (char *)r->recipe + f->offset;
    struct slm_goal goal;
    struct slm_error problem;
    if (f->kind == KIND_TYPES)
        return read_types(r, f, value, (struct slm_type_list *)(void *)target);
    if (f->kind == KIND_INT) {
        if (!json_is_integer(value) || json_integer_value(value) < f->min || json_integer_value(value) > f->max)
            return slm_fail(r->error, SLM_ERR_FORMAT, r->where,
                            "line %d: field '%s.%s' is no whole number from %lld to %lld",
                            line_of(r, f->section, f->name), f->section, f->name, (long long)f->min,
                            (long long)f->max);
        const int64_t number = json_integer_value(value);
        memcpy(target, &number, sizeof number);
        return SLM_OK;
    }
    const char *text;
    /* A goal is judged here, so that it is refused before anything is computed. */
    if (!is_text(value)) return refuse(r, f->section, f->name, "is no text, or empty");
    SLM_TRY(copy_text(r, value, &text));
    memcpy(target, &text, sizeof text);
    /* The goal's own message says what is wrong with it, this one where it stands. */
    if (f->kind != KIND_GOAL || slm_goal_parse(text, &goal, &problem) == SLM_OK) return SLM_OK;
    return slm_fail(r->error, problem.status, r->where, "line %d: goal: %s", line_of(r, "", f->name), problem.message);
}

/* NULL for what is not in the table. */
static const struct field *find(const char *section, const char *name)
{
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (strcmp(fields[i].section, section) == 0 && strcmp(fields[i].name, name) == 0) return &fields[i];
    return NULL;
}

/* With those that are. */
static slm_status refuse_unknown(const struct reader *r, const char *section, const char *name)
{
    char sentence[160] = "is not known; "; /* the longest section has three */
    size_t n = 0;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const size_t at = strlen(sentence);
        if (strcmp(fields[i].section, section) == 0)
            snprintf(sentence + at, sizeof sentence - at, "%s%s", n++ ? ", " : "", fields[i].name);
    }
    const size_t at = strlen(sentence);
    snprintf(sentence + at, sizeof sentence - at, "%s", n ? " are" : "this pass has no fields");
    return refuse(r, section, name, sentence);
}

/* An object whose fields are rows of the table: the target, or one pass. */
static slm_status read_section(const struct reader *r, const char *section, json_t *object)
{
    const char *name;
    json_t *value;
    if (!json_is_object(object)) return refuse(r, "", section, "is no object");
    /* What is not known is refused: a slip must not quietly mean the default. */
    json_object_foreach(object, name, value) {
        const struct field *f = find(section, name);
        if (!f) return refuse_unknown(r, section, name);
        SLM_TRY(read_field(r, f, value));
    }
    return SLM_OK;
}

/* Naming passes leaves the others out. */
static slm_status read_passes(const struct reader *r, json_t *object)
{
    const char *name;
    json_t *value;
    if (!json_is_object(object)) return refuse(r, "", "passes", "is no object");
    memset(r->recipe->passes, 0, sizeof r->recipe->passes);
    json_object_foreach(object, name, value) {
        size_t i = 0;
        while (i < SLM_PASS_COUNT && strcmp(pass_names[i], name) != 0) i++;
        if (i == SLM_PASS_COUNT)
            return refuse(r, "passes", name,
                          "is none of convert, calibrate, quantize, search, evaluate, bench, package");
        r->recipe->passes[i] = true;
        SLM_TRY(read_section(r, name, value));
    }
    return SLM_OK;
}

/* Fields in any order; jansson has refused doubled ones. */
static slm_status read_recipe(const struct reader *r, json_t *root)
{
    const char *name;
    json_t *value;
    if (!json_is_object(root)) return slm_fail(r->error, SLM_ERR_FORMAT, r->where, "is no JSON object");
    json_object_foreach(root, name, value) {
        const struct field *f = find("", name);
        if (f) SLM_TRY(read_field(r, f, value));
        else if (strcmp(name, "target") == 0) SLM_TRY(read_section(r, "target", value));
        else if (strcmp(name, "passes") == 0) SLM_TRY(read_passes(r, value));
        else return refuse(r, "", name, "is not known; input, output, text, goal, target and passes are");
    }
    return SLM_OK;
}

/* The tree is jansson's and goes at once; what is kept was copied. */
slm_status slm_recipe_parse(const char *text, size_t bytes, const char *where, struct slm_recipe *out,
                            struct slm_error *error)
{
    const struct reader r = {out, {text, bytes}, where, error};
    json_error_t problem;
    *out = (struct slm_recipe){0};
    /* Without a word about passes all of them run. */
    for (int i = 0; i < SLM_PASS_COUNT; i++) out->passes[i] = true;
    if (bytes == 0) return SLM_OK;
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &problem);
    if (!root)
        return slm_fail(error, SLM_ERR_FORMAT, where, "line %d, column %d: %s", problem.line, problem.column,
                        problem.text);
    const slm_status status = read_recipe(&r, root);
    json_decref(root);
    return status;
}

/* Zeroed again: harmless twice. */
void slm_recipe_release(struct slm_recipe *recipe)
{
    slm_arena_release(&recipe->arena);
    *recipe = (struct slm_recipe){0};
}
