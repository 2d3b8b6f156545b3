/* SPDX-License-Identifier: MIT
 * An answer and how it is cut: a byte of style, a byte that says how many bytes each feed has, the text. Whatever
 * comes, the raw texts of the parts are the text, and the parts do not depend on the cuts. */
#include "base/os.h"
#include "engine/parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const styles[8] = {
    "<think> <tool_call>", "<|python_tag|> {\"name\": function name, \"parameters\":", "<|tool|>",
    "[THINK] [TOOL_CALLS]", "<start_of_turn>", "", "[THINK] <start_of_turn> [TOOL_CALLS]",
    "<think> [THINK] <tool_call> <|tool|> <|python_tag|> [TOOL_CALLS] <start_of_turn>"};

struct seen { struct slm_buf raw, parts; int last; };

static bool on_part(void *user, const struct slm_part *part)
{
    struct seen *seen = user;
    slm_buf_add(&seen->raw, part->raw, part->raw_bytes);
    if (!part->text_bytes && !part->name) return true;
    if (part->name || seen->last != (int)part->kind) slm_buf_printf(&seen->parts, "%c%d ", 0, (int)part->kind);
    if (part->name) slm_buf_puts(&seen->parts, part->name);
    slm_buf_add(&seen->parts, part->text, part->text_bytes);
    seen->last = part->name ? -1 : (int)part->kind;
    return true;
}

static void run(const struct slm_parts_style *style, struct slm_str text, size_t step, struct seen *seen)
{
    struct slm_parts *parts = NULL;
    *seen = (struct seen){.last = -1};
    SLM_ASSERT(slm_parts_new(style, &parts, NULL) == SLM_OK);
    for (size_t at = 0; at < text.len; at += step) {
        const size_t n = step < text.len - at ? step : text.len - at;
        SLM_ASSERT(slm_parts_feed(parts, text.ptr + at, n, on_part, seen, NULL) == SLM_OK);
    }
    SLM_ASSERT(slm_parts_finish(parts, on_part, seen, NULL) == SLM_OK);
    SLM_ASSERT(slm_str_equal((struct slm_str){seen->raw.data, seen->raw.len}, text));
    slm_parts_close(parts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    const struct slm_parts_style style = {.template_text = styles[data[0] % 8],
                                          .prompt_end = data[0] & 64 ? "<think>\n" : NULL,
                                          .tools = data[0] & 128};
    const struct slm_str text = {(const char *)data + 2, size - 2};
    struct seen whole, cut;
    run(&style, text, text.len ? text.len : 1, &whole);
    run(&style, text, data[1] % 16 + 1, &cut);
    SLM_ASSERT(slm_str_equal((struct slm_str){whole.parts.data, whole.parts.len},
                             (struct slm_str){cut.parts.data, cut.parts.len}));
    slm_buf_release(&whole.raw);
    slm_buf_release(&whole.parts);
    slm_buf_release(&cut.raw);
    slm_buf_release(&cut.parts);
    return 0;
}
