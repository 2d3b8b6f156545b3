/* SPDX-License-Identifier: MIT
 * What a model writes, told apart as it streams: thinking, content, calls of tools.
 *
 * Models mark these parts in a handful of ways, which their chat templates and special tokens give away; each way is
 * a row of a table here, and no model is known by its name. Calls are written as JSON or as Python (pycall.h). The
 * recogniser is conservative: what is not exactly a call (its JSON is damaged, its Python does more than calling, the
 * text ends inside it) is content, and every byte of the text belongs to some part.
 *
 * Text is held back only where it may still turn out to be something else: the beginning of a mark, white space that a
 * mark would swallow, a call until it is complete. Each byte is looked at a fixed number of times, whatever the text.
 * Deliberately not here: running tools, and the prompt that offers them (chat.c). */
#include "engine/parts.h"
#include "base/os.h"
#include "format/json.h"
#include "format/pycall.h"
#include "model/model.h"

#define WHERE "parts of an answer"

/* Where thinking stands. Only at the beginning of an answer: later on a model may speak about the marks. */
static const struct thinking { const char *open, *close; } thinkings[] = {
    {"<think>", "</think>"},
    {"[THINK]", "[/THINK]"},
};

/* Where calls stand. `needles`: texts of a template that mean this style, besides one that has the open mark itself.
 * A mark that begins like another stands behind it. */
enum call_flags {
    ONLY_WITH_TOOLS = 1, /* the marks are too common to mean a call unless tools were offered */
    NAMED = 2,           /* the function's name may stand in front of its arguments */
    STRICT = 4,          /* arguments are never left out */
    PYTHON = 8,          /* calls may be written in Python */
    BARE = 16,           /* the answer itself begins as a call: its bracket is the mark, and of the call */
    WRITES_ONE = 32,     /* how such a model writes: each call between marks of its own, */
    WRITES_LIST = 64,    /* or an array of all, */
    WRITES_BARE = 128,   /* or one call with "parameters" that is the whole answer */
};
#define SAYS_NAME_PARAMETERS "{\"name\": function name, \"parameters\":" /* Llama 3's way of asking */
#define TURNS "<start_of_turn>" /* Gemma's: its template never speaks of tools, so whoever wants calls asks in words */
static const struct call { const char *open, *close, *needles[2]; unsigned flags; } calls[] = {
    {"<tool_call>", "</tool_call>", {NULL}, WRITES_ONE},         /* Hermes' way, widely taken over */
    {"<|tool_call|>", "<|/tool_call|>", {"<|tool|>"}, WRITES_LIST},
    {"<|python_tag|>", NULL, {NULL}, PYTHON},
    {"[TOOL_CALLS]", NULL, {NULL}, NAMED | WRITES_LIST},              /* a list; in newer versions name[ARGS]{...} */
    {"```tool_code\n", "```", {TURNS}, STRICT | PYTHON},
    {"{", NULL, {SAYS_NAME_PARAMETERS, TURNS}, ONLY_WITH_TOOLS | STRICT | BARE | WRITES_BARE},
    {"[", NULL, {SAYS_NAME_PARAMETERS, TURNS}, ONLY_WITH_TOOLS | STRICT | PYTHON | BARE},
};
enum { N_THINKINGS = sizeof thinkings / sizeof *thinkings, N_CALLS = sizeof calls / sizeof *calls };
enum { MAX_MARKS = 2 * (N_CALLS + N_THINKINGS) + 2 };

enum place { IN_CONTENT, IN_THINKING, IN_CALL };

struct slm_parts {
    bool thinks[N_THINKINGS], has_call[N_CALLS]; /* the styles in use */
    size_t form;           /* the row that says how calls are written; N_CALLS: none does */
    enum place place;
    size_t row;            /* of thinkings or calls, where inside one */
    bool at_start;         /* of this place: white space is not text yet */
    bool answered;         /* content that is not white space has come */
    bool bare_may_follow;  /* nothing but calls without marks has come */
    struct slm_buf held;   /* from `begin` on: the text not passed on yet; all positions count from there */
    size_t begin;
    size_t scanned;        /* bytes of the text that are known to begin no mark */
    size_t text_end;       /* of those: up to the last one that is not white space */
    struct slm_buf list;   /* name NUL arguments NUL for each call of a list */
    /* Inside a call: where its JSON, or the statement of Python, stands. */
    size_t value_at, name_at;
    uint32_t depth;
    bool in_string, escaped, began, complete;
    bool is_python, undecided; /* a list that may become either has only begun */
    struct slm_pyscan python;
    int32_t marks[MAX_MARKS]; /* [n_marks] tokens whose text must be shown for this to work */
    size_t n_marks;
    slm_part_fn emit;
    void *user;
    bool cancelled;
};

/* ---- passing on ------------------------------------------------------------------------------------------------ */

static const char *text_of(const struct slm_parts *p) { return p->held.data + p->begin; }
static size_t length_of(const struct slm_parts *p) { return p->held.len - p->begin; }

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

static void emit(struct slm_parts *p, const struct slm_part *part)
{
    if (p->cancelled || (part->raw_bytes == 0 && part->text_bytes == 0 && !part->name)) return;
    p->cancelled = p->emit && !p->emit(p->user, part);
}

/* The first n held bytes are text of a kind, but for white space in front (of the place) and behind `text_end`. */
static void pass_on(struct slm_parts *p, enum slm_part_kind kind, size_t n, size_t text_end)
{
    size_t begin = 0;
    if (text_end > n) text_end = n;
    if (p->at_start)
        while (begin < text_end && is_space(text_of(p)[begin])) begin++;
    if (begin < text_end) {
        p->at_start = false;
        if (kind == SLM_PART_CONTENT) p->answered = true, p->bare_may_follow = false;
    }
    emit(p, &(struct slm_part){.kind = kind, .text = text_of(p) + begin, .text_bytes = text_end - begin,
                               .raw = text_of(p), .raw_bytes = n});
    p->begin += n;
    p->scanned = p->scanned > n ? p->scanned - n : 0;
    p->text_end = p->text_end > n ? p->text_end - n : 0;
}

static enum slm_part_kind kind_of(enum place place)
{
    return place == IN_THINKING ? SLM_PART_THINKING : SLM_PART_CONTENT;
}

/* ---- a call ---------------------------------------------------------------------------------------------------- */

/* One object {"name": text, "arguments" or "parameters": object} behind its OBJECT event, added to the list. An object
 * "function" around both is looked into. False: it is no call. */
static bool read_call(struct slm_parts *p, struct slm_json *json, unsigned flags)
{
    struct slm_buf name = {0};
    struct slm_str arguments = {0};
    const uint32_t outside = json->depth - 1;
    bool ok = true;
    enum slm_json_event event = SLM_JSON_OBJECT;
    while (ok && json->depth > outside && (event = slm_json_next(json)) != SLM_JSON_ERROR) {
        if (event != SLM_JSON_KEY) continue;
        const bool is_name = slm_json_is(json, "name"), is_function = slm_json_is(json, "function");
        const bool is_arguments = slm_json_is(json, "arguments") || slm_json_is(json, "parameters");
        event = slm_json_next(json);
        if (is_function && event == SLM_JSON_OBJECT) continue;
        if (is_name && event == SLM_JSON_STRING) ok = name.len == 0 && slm_json_read_text(json, &name) && name.len > 0;
        const size_t begin = json->at - 1; /* of an object: the reader is behind its brace */
        ok = ok && slm_json_skip(json, event);
        if (is_arguments && ok && event == SLM_JSON_OBJECT)
            arguments = (struct slm_str){json->text.ptr + begin, json->at - begin};
    }
    ok = ok && event != SLM_JSON_ERROR && name.len > 0 && !memchr(name.data, 0, name.len);
    if (ok && !arguments.ptr && !(flags & STRICT)) arguments = slm_str("{}");
    ok = ok && arguments.ptr;
    if (ok) {
        slm_buf_add(&p->list, name.data, name.len + 1);
        slm_buf_add_str(&p->list, arguments);
        slm_buf_add(&p->list, "", 1);
    }
    slm_buf_release(&name);
    return ok;
}

/* The JSON of held[value_at .. end): one call, or a list of them. */
static bool read_calls(struct slm_parts *p, size_t end)
{
    struct slm_json json;
    struct slm_error ignored = {0};
    const unsigned flags = calls[p->row].flags;
    slm_json_init(&json, (struct slm_str){text_of(p) + p->value_at, end - p->value_at}, WHERE, &ignored);
    enum slm_json_event event = slm_json_next(&json);
    if (event == SLM_JSON_OBJECT) return read_call(p, &json, flags) && slm_json_next(&json) == SLM_JSON_END;
    if (event != SLM_JSON_ARRAY) return false;
    while ((event = slm_json_next(&json)) == SLM_JSON_OBJECT)
        if (!read_call(p, &json, flags)) return false;
    return event == SLM_JSON_ARRAY_END && slm_json_next(&json) == SLM_JSON_END && p->list.len > 0;
}

/* held[name_at .. value_at) is "name", "name[ARGS]" or "name[CALL_ID]id[ARGS]", and its arguments follow. */
static bool read_named(struct slm_parts *p, size_t end)
{
    struct slm_str name = {text_of(p) + p->name_at, p->value_at - p->name_at};
    const char *bracket = memchr(name.ptr, '[', name.len);
    if (bracket) name.len = (size_t)(bracket - name.ptr);
    while (name.len && is_space(*name.ptr)) name.ptr++, name.len--;
    while (name.len && is_space(name.ptr[name.len - 1])) name.len--;
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.ptr[i] <= ' ') return false;
    struct slm_json json;
    struct slm_error ignored = {0};
    const struct slm_str value = {text_of(p) + p->value_at, end - p->value_at};
    slm_json_init(&json, value, WHERE, &ignored);
    const enum slm_json_event event = slm_json_next(&json);
    if (name.len == 0 || event != SLM_JSON_OBJECT || !slm_json_skip(&json, event) ||
        slm_json_next(&json) != SLM_JSON_END)
        return false;
    slm_buf_add_str(&p->list, name);
    slm_buf_add(&p->list, "", 1);
    slm_buf_add_str(&p->list, value);
    slm_buf_add(&p->list, "", 1);
    return true;
}

/* Is held[.. value_end) inside of the marks all calls? They are in the list then; those of Python already were. */
static bool list_calls(struct slm_parts *p, size_t value_end)
{
    if (!p->complete) return false;
    if (p->is_python) return true;
    const bool named = calls[p->row].flags & NAMED && p->value_at > p->name_at;
    bool blank = true; /* in front of the value: no name */
    for (size_t i = p->name_at; named && i < p->value_at; i++) blank = blank && is_space(text_of(p)[i]);
    return named && !blank ? read_named(p, value_end) : read_calls(p, value_end);
}

/* The call is over: its JSON ends at value_end, its mark at `end`. It becomes calls, or content. */
static void finish_call(struct slm_parts *p, size_t value_end, size_t end)
{
    const bool good = list_calls(p, value_end) && p->list.failed == SLM_OK;
    p->place = IN_CONTENT;
    if (!good) { /* as it stands, marks and all, and without another look: it was looked at */
        pass_on(p, SLM_PART_CONTENT, end, end);
        return;
    }
    struct slm_str raw = {text_of(p), end};
    for (size_t at = 0; at < p->list.len; raw.len = 0) {
        const struct slm_str name = slm_str(p->list.data + at);
        at += name.len + 1;
        const struct slm_str text = slm_str(p->list.data + at);
        at += text.len + 1;
        emit(p, &(struct slm_part){.kind = SLM_PART_TOOL_CALL, .text = text.ptr, .text_bytes = text.len,
                                   .name = name.ptr, .raw = raw.ptr, .raw_bytes = raw.len});
    }
    p->bare_may_follow = !calls[p->row].close;
    p->begin += end;
    p->scanned = p->text_end = 0;
    p->at_start = true;
}

static bool starts_at(const struct slm_parts *p, size_t at, const char *mark)
{
    const size_t n = strlen(mark);
    return length_of(p) - at >= n && memcmp(text_of(p) + at, mark, n) == 0;
}

/* Is what is left at held[at] the beginning of this mark, with more of it to come? */
static bool may_start_at(const struct slm_parts *p, size_t at, const char *mark)
{
    const size_t left = length_of(p) - at;
    return left < strlen(mark) && memcmp(text_of(p) + at, mark, left) == 0;
}

/* A byte of Python. Each statement is read when it ends, so that other code is content as soon as it shows. */
static bool take_python(struct slm_parts *p, char c)
{
    const enum slm_pyscan_event event = slm_pyscan_next(&p->python, c);
    if (event == SLM_PYSCAN_BEGIN) p->value_at = p->scanned, p->complete = false;
    if (event != SLM_PYSCAN_END) return event != SLM_PYSCAN_BROKEN;
    p->complete = slm_pycall_read((struct slm_str){text_of(p) + p->value_at, p->scanned + 1 - p->value_at}, &p->list);
    return p->complete;
}

/* A byte in front of the value: false when this cannot be a call any more. */
static bool before_value(struct slm_parts *p, char c)
{
    const bool named = calls[p->row].flags & NAMED;
    bool blank = true;
    if (named)
        for (size_t i = p->name_at; i < p->scanned && i <= p->name_at + 64 && blank; i++)
            blank = is_space(text_of(p)[i]);
    if (c == '{' || (c == '[' && blank)) {
        p->began = true;
        p->depth = 1;
        p->value_at = p->scanned;
        p->undecided = c == '[' && calls[p->row].flags & PYTHON;
        return true;
    }
    if (calls[p->row].flags & PYTHON && (c == '#' || slm_pycall_starts(c))) {
        p->is_python = true;
        return take_python(p, c);
    }
    return is_space(c) || (named && c != '\n' && c != '}');
}

/* A byte where JSON stands. False: this is no call. */
static bool take_json(struct slm_parts *p, char c)
{
    if (p->complete) return is_space(c);
    if (!p->began) return before_value(p, c);
    if (p->in_string) {
        if (!p->escaped && c == '"') p->in_string = false;
        p->escaped = !p->escaped && c == '\\';
        return true;
    }
    if (p->undecided && !is_space(c)) {
        p->undecided = false;
        p->is_python = c == '#' || slm_pycall_starts(c);
    }
    if (p->is_python) {
        for (size_t at = p->value_at; at < p->scanned; at++) slm_pyscan_next(&p->python, text_of(p)[at]);
        return take_python(p, c);
    }
    if (c == '"') p->in_string = true;
    if (c == '{' || c == '[') p->depth++;
    if ((c == '}' || c == ']') && --p->depth == 0) p->complete = true, p->text_end = p->scanned + 1;
    return true;
}

/* Reads on inside a call. False when more text is needed. */
static bool scan_call(struct slm_parts *p)
{
    const char *close = calls[p->row].close;
    while (p->scanned < length_of(p)) {
        const char c = text_of(p)[p->scanned];
        const bool in_string = p->is_python ? slm_pyscan_in_string(&p->python) : p->in_string;
        if (close && !in_string && c == *close) {
            if (starts_at(p, p->scanned, close)) {
                finish_call(p, p->complete ? p->text_end : p->scanned, p->scanned + strlen(close));
                return true;
            }
            if (may_start_at(p, p->scanned, close)) return false;
        }
        if (!(p->is_python ? take_python(p, c) : take_json(p, c))) {
            p->complete = false; /* something else than a call */
            finish_call(p, 0, p->scanned);
            return true;
        }
        p->scanned++;
        /* Without a closing mark JSON ends itself; of Python only a list that is the answer does. */
        if (p->complete && !close && (!p->is_python || calls[p->row].flags & BARE)) {
            finish_call(p, p->scanned, p->scanned);
            return true;
        }
    }
    return false;
}

/* ---- content and thinking -------------------------------------------------------------------------------------- */

/* White space in front of the mark stays with it: it is the call's when that is one, else content. */
static void enter_call(struct slm_parts *p, size_t row, size_t at)
{
    const size_t mark = at + (calls[row].flags & BARE ? 0 : strlen(calls[row].open));
    p->place = IN_CALL;
    p->row = row;
    p->scanned = p->name_at = p->value_at = mark;
    p->text_end = 0;
    p->depth = 0;
    p->in_string = p->escaped = p->began = p->complete = p->is_python = p->undecided = false;
    p->python = (struct slm_pyscan){0};
    slm_buf_clear(&p->list);
}

/* The place changes at a mark, which is passed on with the place it opens or closes, as no text. */
static void enter(struct slm_parts *p, enum place place, size_t row, size_t mark_bytes)
{
    const enum slm_part_kind kind = SLM_PART_THINKING;
    p->place = place;
    p->row = row;
    pass_on(p, kind, mark_bytes, 0);
    p->scanned = p->text_end = 0;
    p->at_start = true;
}

enum match { NO_MATCH, MATCH, MAYBE };

/* Does a mark that counts here begin at held[at]? Which one, in *row; thinking marks are the first N_THINKINGS. */
static enum match find_mark(const struct slm_parts *p, size_t at, size_t *row)
{
    enum match found = NO_MATCH;
    for (size_t i = 0; i < N_THINKINGS + N_CALLS; i++) {
        const char *mark;
        if (i < N_THINKINGS) {
            if (p->place == IN_THINKING ? p->row != i : !p->thinks[i] || p->answered) continue;
            mark = p->place == IN_THINKING ? thinkings[i].close : thinkings[i].open;
        } else {
            if (p->place == IN_THINKING || !p->has_call[i - N_THINKINGS]) continue;
            if (calls[i - N_THINKINGS].flags & BARE && (p->answered || !p->at_start)) continue;
            mark = calls[i - N_THINKINGS].open;
        }
        *row = i;
        if (starts_at(p, at, mark)) return found == MAYBE ? MAYBE : MATCH; /* a longer one first, if it comes */
        if (may_start_at(p, at, mark)) found = MAYBE;
    }
    return found;
}

/* An answer of bare calls may separate them. */
static bool is_separator(const struct slm_parts *p, char c)
{
    return p->place == IN_CONTENT && p->bare_may_follow && (c == ';' || c == ',');
}

/* Reads on outside of a call. False when more text is needed. */
static bool scan_text(struct slm_parts *p)
{
    for (; p->scanned < length_of(p); p->scanned++) {
        size_t row;
        const enum match match = find_mark(p, p->scanned, &row);
        if (match == MAYBE) break;
        if (match == NO_MATCH) {
            const char c = text_of(p)[p->scanned];
            if (!is_space(c) && !is_separator(p, c)) {
                p->text_end = p->scanned + 1;
                if (p->place == IN_CONTENT) p->answered = true, p->bare_may_follow = false;
            }
            continue;
        }
        if (row >= N_THINKINGS) {
            const size_t at = p->scanned - p->text_end;
            if (p->text_end) pass_on(p, SLM_PART_CONTENT, p->text_end, p->text_end);
            enter_call(p, row - N_THINKINGS, at);
            return true;
        }
        pass_on(p, kind_of(p->place), p->scanned, p->text_end); /* the mark is now at the front */
        if (p->place == IN_THINKING) enter(p, IN_CONTENT, 0, strlen(thinkings[row].close));
        else enter(p, IN_THINKING, row, strlen(thinkings[row].open));
        return true;
    }
    if (p->text_end) pass_on(p, kind_of(p->place), p->text_end, p->text_end);
    return false;
}

/* ---- the interface --------------------------------------------------------------------------------------------- */

static slm_status status_of(const struct slm_parts *p, struct slm_error *error)
{
    SLM_TRY(slm_buf_status(&p->held, WHERE, error));
    SLM_TRY(slm_buf_status(&p->list, WHERE, error));
    if (p->cancelled) return slm_fail(error, SLM_ERR_CANCELLED, WHERE, "stopped by the caller");
    return SLM_OK;
}

slm_status slm_parts_feed(struct slm_parts *p, const char *text, size_t n_bytes, slm_part_fn on_part, void *user,
                          struct slm_error *error)
{
    p->emit = on_part, p->user = user;
    slm_buf_add(&p->held, text, n_bytes);
    while (p->held.failed == SLM_OK && !p->cancelled && (p->place == IN_CALL ? scan_call(p) : scan_text(p))) continue;
    if (p->begin) { /* once a feed: what stays is short, or a call that then lies at the front */
        p->held.len -= p->begin;
        memmove(p->held.data, p->held.data + p->begin, p->held.len);
        p->begin = 0;
    }
    return status_of(p, error);
}

/* A call is whole when its JSON is, also without the closing mark: an end of generation may have taken its place. */
slm_status slm_parts_finish(struct slm_parts *p, slm_part_fn on_part, void *user, struct slm_error *error)
{
    p->emit = on_part, p->user = user;
    if (p->place == IN_CALL) finish_call(p, p->complete ? p->text_end : 0, length_of(p));
    else if (length_of(p)) pass_on(p, kind_of(p->place), length_of(p), length_of(p));
    slm_buf_clear(&p->held);
    p->begin = 0;
    return status_of(p, error);
}

void slm_parts_close(struct slm_parts *p)
{
    if (!p) return;
    slm_buf_release(&p->held);
    slm_buf_release(&p->list);
    slm_release(p);
}

const int32_t *slm_parts_marks(const struct slm_parts *p, size_t *n)
{
    *n = p->n_marks;
    return p->marks;
}

static bool says(const struct slm_parts_style *style, const char *text)
{
    return text && style->template_text && strstr(style->template_text, text);
}

static bool uses(const struct slm_parts_style *style, const char *mark, const char *needle)
{
    return says(style, mark) || says(style, needle) || (style->has_mark && style->has_mark(style->user, mark));
}

/* Does the prompt end with this mark, and white space? Then the model begins inside. */
static bool ends_with(const char *text, const char *mark)
{
    size_t n = text ? strlen(text) : 0;
    while (n && is_space(text[n - 1])) n--;
    return n >= strlen(mark) && memcmp(text + n - strlen(mark), mark, strlen(mark)) == 0;
}

/* Only a template that shows the way is followed: a mark in the vocabulary may be used in another way, and inside of
 * the marks there are other languages than JSON. */
static size_t find_form(const struct slm_parts_style *style)
{
    if (says(style, "<function=") || says(style, "[ARGS]") || says(style, "<arg_key>")) return N_CALLS;
    for (size_t i = 0; i < N_CALLS; i++) {
        if (calls[i].flags & WRITES_BARE && says(style, SAYS_NAME_PARAMETERS)) return i;
        if (!(calls[i].flags & (WRITES_ONE | WRITES_LIST))) continue;
        if (says(style, calls[i].open) || says(style, calls[i].needles[0])) return i;
    }
    return N_CALLS;
}

slm_status slm_parts_new(const struct slm_parts_style *style, struct slm_parts **out, struct slm_error *error)
{
    struct slm_parts *p = slm_alloc(1, sizeof *p, WHERE, error);
    if (!p) return SLM_ERR_MEMORY;
    p->at_start = true;
    for (size_t i = 0; i < N_THINKINGS; i++) {
        p->thinks[i] = uses(style, thinkings[i].open, thinkings[i].close);
        if (ends_with(style->prompt_end, thinkings[i].open)) p->place = IN_THINKING, p->row = i;
    }
    for (size_t i = 0; i < N_CALLS; i++) {
        if (calls[i].flags & ONLY_WITH_TOOLS && !style->tools) continue;
        /* A bare bracket is no mark to look for in a template. */
        p->has_call[i] = says(style, calls[i].needles[0]) || says(style, calls[i].needles[1]) ||
                         (!(calls[i].flags & BARE) && uses(style, calls[i].open, NULL));
    }
    p->form = find_form(style);
    *out = p;
    return SLM_OK;
}

bool slm_parts_call_form(const struct slm_parts *p, struct slm_call_form *out)
{
    if (p->form == N_CALLS) return false;
    const struct call *row = &calls[p->form];
    const bool bare = row->flags & WRITES_BARE;
    *out = (struct slm_call_form){.open = bare ? NULL : row->open,
                                  .close = row->close,
                                  .arguments = bare ? "parameters" : "arguments",
                                  .is_list = row->flags & WRITES_LIST,
                                  .is_alone = bare};
    return true;
}

bool slm_parts_thinks(const struct slm_parts *p) { return p->place == IN_THINKING; }

static bool in_vocabulary(const void *user, const char *mark)
{
    const struct slm_tokenizer *t = user;
    const int32_t id = slm_tokenizer_find(t, slm_str(mark));
    return id >= 0 && slm_tokenizer_type(t, id) != SLM_TOKEN_NORMAL;
}

/* Marks that are control tokens are not part of the text that is generated, unless asked for. */
static void add_mark(struct slm_parts *p, const struct slm_tokenizer *t, const char *mark)
{
    const int32_t id = mark ? slm_tokenizer_find(t, slm_str(mark)) : -1;
    if (id >= 0 && slm_tokenizer_type(t, id) == SLM_TOKEN_CONTROL && !slm_tokenizer_is_eog(t, id) &&
        p->n_marks < MAX_MARKS)
        p->marks[p->n_marks++] = id;
}

slm_status slm_parts_open(const struct slm_model *model, const int32_t *prompt, size_t n_prompt, bool tools,
                          struct slm_parts **out, struct slm_error *error)
{
    enum { LAST = 8 }; /* tokens of the prompt that a mark and the white space behind it may have */
    char end[LAST * 64 + 1];
    size_t n = 0;
    const size_t n_last = n_prompt < LAST ? n_prompt : LAST;
    if (model->tokenizer && n_last)
        SLM_TRY(slm_tokenizer_decode(model->tokenizer, prompt + n_prompt - n_last, n_last, true, end, sizeof end - 1,
                                     &n, error));
    end[n < sizeof end ? n : 0] = '\0'; /* too long for a mark: none */
    const struct slm_parts_style style = {
        .template_text = model->chat_template, .prompt_end = end, .tools = tools,
        .has_mark = model->tokenizer ? in_vocabulary : NULL, .user = model->tokenizer};
    SLM_TRY(slm_parts_new(&style, out, error));
    for (size_t i = 0; i < N_CALLS && model->tokenizer; i++) {
        if (!(*out)->has_call[i] || calls[i].flags & BARE) continue;
        add_mark(*out, model->tokenizer, calls[i].open);
        add_mark(*out, model->tokenizer, calls[i].close);
    }
    for (size_t i = 0; i < N_THINKINGS && model->tokenizer; i++) {
        add_mark(*out, model->tokenizer, thinkings[i].open);
        add_mark(*out, model->tokenizer, thinkings[i].close);
    }
    for (size_t i = 0; i < 2 && model->tokenizer; i++)
        add_mark(*out, model->tokenizer, i ? "[CALL_ID]" : "[ARGS]");
    return SLM_OK;
}
