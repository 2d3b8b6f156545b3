/* SPDX-License-Identifier: MIT
 * Splits many answers for test_pycalls.py, so that thousands of comparisons need one process. A case is a line with its
 * length in bytes, and the bytes; its style is Gemma's. A result is a line of JSON: a list of [name, arguments] for
 * calls and [null, text] for what is content. */
#include <stdio.h>
#include <stdlib.h>
#include "engine/parts.h"

static bool on_part(void *user, const struct slm_part *part)
{
    struct slm_buf *line = user;
    if (!part->name && !part->text_bytes) return true;
    slm_buf_puts(line, line->len ? ", [" : "[[");
    if (part->name) slm_buf_add_json_string(line, slm_str(part->name));
    else slm_buf_puts(line, "null");
    slm_buf_puts(line, ", ");
    slm_buf_add_json_string(line, (struct slm_str){part->text, part->text_bytes});
    return slm_buf_puts(line, "]");
}

int main(void)
{
    const struct slm_parts_style style = {.template_text = "<start_of_turn>", .tools = true};
    size_t n;
    while (scanf("%zu", &n) == 1 && getchar() == '\n') {
        char *text = malloc(n + 1);
        struct slm_parts *parts = NULL;
        struct slm_buf line = {0};
        if (!text || fread(text, 1, n, stdin) != n || slm_parts_new(&style, &parts, NULL) != SLM_OK ||
            slm_parts_feed(parts, text, n, on_part, &line, NULL) != SLM_OK ||
            slm_parts_finish(parts, on_part, &line, NULL) != SLM_OK)
            return 2;
        puts(line.len ? slm_buf_puts(&line, "]") ? line.data : "" : "[]");
        slm_parts_close(parts);
        slm_buf_release(&line);
        free(text);
    }
    return 0;
}
