/* SPDX-License-Identifier: MIT
 * Renders many templates for test_template_oracle.py: cases come in on stdin and results go out on stdout, so that
 * thousands of comparisons need one process. A case is six fields (template, messages, tools, variables, bos, flags),
 * each a line with its length in bytes (-1 = absent) and the bytes. flags: 'g' adds the generation prompt.
 * A result is a status number, a length and bytes: the text, or "where: message". Time stands at 2025-03-09 08:05:07.
 * */
#include <stdio.h>
#include <stdlib.h>
#include "template/template.h"

/* NULL = absent; *more is false at the end of the input. */
static char *read_field(size_t *len, bool *more)
{
    long n;
    *more = scanf("%ld", &n) == 1 && getchar() == '\n';
    *len = 0;
    if (!*more || n < 0) return NULL;
    char *text = malloc((size_t)n + 1);
    if (!text || fread(text, 1, (size_t)n, stdin) != (size_t)n) exit(2);
    text[n] = 0;
    *len = (size_t)n;
    return text;
}

int main(void)
{
    for (;;) {
        char *field[6];
        size_t len[6];
        bool more = true;
        for (int i = 0; i < 6; i++) field[i] = read_field(&len[i], &more);
        if (!more) return 0;
        struct slm_template *tmpl = NULL;
        struct slm_error error = {0};
        struct slm_buf out = {0};
        struct slm_template_args args = {
            .messages_json = field[1], .tools_json = field[2], .extra_json = field[3], .bos_token = field[4],
            .eos_token = "</s>", .add_generation_prompt = field[5] && strchr(field[5], 'g'),
            .now_unix_s = 1741507507};
        slm_status status = slm_template_parse((struct slm_str){field[0], len[0]}, "case", &tmpl, &error);
        if (status == SLM_OK) status = slm_template_render(tmpl, &args, NULL, &out, &error);
        if (status == SLM_OK) {
            printf("0 %zu\n", out.len);
            fwrite(out.data, 1, out.len, stdout);
        } else {
            char text[600];
            int n = snprintf(text, sizeof text, "%s: %s", error.where, error.message);
            printf("%d %d\n%s", (int)status, n, text);
        }
        fflush(stdout);
        slm_buf_release(&out);
        slm_template_free(tmpl);
        for (int i = 0; i < 6; i++) free(field[i]);
    }
}
