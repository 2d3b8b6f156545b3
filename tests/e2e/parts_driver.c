/* SPDX-License-Identifier: MIT
 * Splits many answers for test_pycalls.py and test_serve_tools.py, so that thousands of comparisons need one process.
 * A case is a line with its length in bytes, and the bytes; its style is Gemma's, or that of the template in the file
 * that is named on the command line. A number behind it: so many bytes are fed at a time (0: all). A result is a line
 * of JSON: a list of [name, arguments] for calls and [null, text] for what is content. */
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

static char *read_all(const char *path)
{
    static char text[1 << 20];
    FILE *file = fopen(path, "rb");
    if (!file) exit(2);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    return text;
}

static bool feed(struct slm_parts *parts, const char *text, size_t n, size_t piece, struct slm_buf *line)
{
    for (size_t at = 0; at < n; at += piece)
        if (slm_parts_feed(parts, text + at, n - at < piece ? n - at : piece, on_part, line, NULL) != SLM_OK)
            return false;
    return slm_parts_finish(parts, on_part, line, NULL) == SLM_OK;
}

int main(int argc, char **argv)
{
    const struct slm_parts_style style = {.template_text = argc > 1 ? read_all(argv[1]) : "<start_of_turn>",
                                          .tools = true};
    const size_t asked = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    size_t n;
    while (scanf("%zu", &n) == 1 && getchar() == '\n') {
        char *text = malloc(n + 1);
        struct slm_parts *parts = NULL;
        struct slm_buf line = {0};
        if (!text || fread(text, 1, n, stdin) != n || slm_parts_new(&style, &parts, NULL) != SLM_OK ||
            !feed(parts, text, n, asked ? asked : n + 1, &line))
            return 2;
        puts(line.len ? slm_buf_puts(&line, "]") ? line.data : "" : "[]");
        slm_parts_close(parts);
        slm_buf_release(&line);
        free(text);
    }
    return 0;
}
