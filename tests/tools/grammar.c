/* SPDX-License-Identifier: MIT
 * Grammars for end-to-end tests, which compare them with other programs: a vocabulary from the file or folder named on
 * the command line, then a command a line on stdin, one line of answer each. Texts are in hexadecimal.
 *   compile KIND TEXT   ok | error STATUS WHERE: MESSAGE      (KIND: number of enum slm_grammar_kind)
 *   match TEXT          yes | prefix | no BYTE
 *   random SEED MOST    complete TEXT | cut TEXT              (tokens drawn from the masks, at most MOST)
 *   time TEXT           microseconds a token: median, 99th percentile, greatest, of masks; twice over the text */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/rng.h"
#include "base/str.h"
#include "slm.h"

enum { MAX_LINE = 1 << 22 };

static struct slm_model *model;
static struct slm_grammar *grammar;
static uint64_t *mask;
static size_t n_vocab;

static size_t unhex(char *text)
{
    size_t n = 0;
    for (; text[2 * n] && text[2 * n + 1] && text[2 * n] != '\n'; n++) {
        const char pair[3] = {text[2 * n], text[2 * n + 1], 0};
        text[n] = (char)strtol(pair, NULL, 16);
    }
    return n;
}

static struct slm_grammar_state *begin(void)
{
    struct slm_grammar_state *state = NULL;
    if (!grammar || slm_grammar_state_open(grammar, &state, NULL) != SLM_OK) exit(3);
    return state;
}

static void compile(char *rest)
{
    char *text = strchr(rest, ' ');
    struct slm_error error = {0};
    const int kind = (int)strtol(rest, NULL, 10);
    const size_t n = text ? unhex(++text) : 0;
    slm_grammar_close(grammar);
    grammar = NULL;
    if (slm_grammar_open(model, (enum slm_grammar_kind)kind, text, n, &grammar, &error) == SLM_OK) printf("ok\n");
    else printf("error %s %s: %s\n", slm_status_name(error.status), error.where, error.message);
}

static void match(char *text)
{
    struct slm_grammar_state *state = begin();
    const size_t n = unhex(text);
    size_t i = 0;
    while (i < n && slm_grammar_accept_text(state, text + i, 1, NULL) == SLM_OK) i++;
    if (i < n) printf("no %zu\n", i);
    else printf("%s\n", slm_grammar_is_complete(state) ? "yes" : "prefix");
    slm_grammar_state_close(state);
}

static bool has(int32_t id) { return mask[id / 64] >> (id % 64) & 1; }

/* A token of the mask; often, where there is one, a short one that ends something, so that texts end. */
static int32_t choose(uint64_t seed, uint64_t at)
{
    const bool hurry = slm_rng_uniform(seed, at, 1) < 0.3;
    size_t n = 0, n_short = 0;
    for (int32_t id = 0; id < (int32_t)n_vocab; id++) {
        if (!has(id)) continue;
        char text[2];
        size_t bytes = 0;
        if (slm_token_is_eog(model, id) && slm_rng_uniform(seed, at, 2) < 0.5) return id;
        slm_detokenize(model, &id, 1, false, text, sizeof text, &bytes, NULL);
        n++;
        if (bytes == 1 && strchr("\"]},", text[0])) n_short++;
    }
    const bool only_short = hurry && n_short > 0;
    size_t left = (size_t)(slm_rng_uniform(seed, at, 3) * (double)(only_short ? n_short : n));
    for (int32_t id = 0; id < (int32_t)n_vocab; id++) {
        char text[2];
        size_t bytes = 0;
        if (!has(id)) continue;
        slm_detokenize(model, &id, 1, false, text, sizeof text, &bytes, NULL);
        if (only_short && !(bytes == 1 && strchr("\"]},", text[0]))) continue;
        if (left-- == 0) return id;
    }
    exit(4);
}

static void draw(char *rest)
{
    char *more;
    const uint64_t seed = strtoull(rest, &more, 10), most = strtoull(more, NULL, 10);
    struct slm_grammar_state *state = begin();
    struct slm_buf out = {0};
    bool ended = false;
    for (uint64_t i = 0; i < most && !ended; i++) {
        struct slm_error error = {0};
        if (slm_grammar_is_final(state)) {
            ended = true;
            break;
        }
        if (slm_grammar_mask(state, mask, &error) != SLM_OK) {
            printf("stuck %s\n", error.message);
            goto out;
        }
        const int32_t id = choose(seed, i);
        char text[4096];
        size_t n = 0;
        if (slm_grammar_accept(state, id, &error) != SLM_OK) {
            printf("stuck %s\n", error.message);
            goto out;
        }
        ended = slm_token_is_eog(model, id);
        if (!ended && slm_detokenize(model, &id, 1, true, text, sizeof text, &n, NULL) == SLM_OK)
            slm_buf_add(&out, text, n);
    }
    printf("%s ", ended ? "complete" : "cut");
    for (size_t i = 0; i < out.len; i++) printf("%02x", (unsigned char)out.data[i]);
    printf("\n");
out:
    slm_buf_release(&out);
    slm_grammar_state_close(state);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(char *text)
{
    static double us[1 << 16];
    static int32_t ids[1 << 16];
    size_t n_ids = 0;
    const size_t n = unhex(text);
    slm_tokenize(model, text, n, 0, ids, sizeof ids / sizeof *ids, &n_ids, NULL);
    for (int pass = 0; pass < 2; pass++) {
        struct slm_grammar_state *state = begin();
        double sum = 0;
        size_t i = 0;
        for (; i < n_ids; i++) {
            const uint64_t start = slm_os()->now_ns();
            if (slm_grammar_mask(state, mask, NULL) != SLM_OK) break;
            if (slm_grammar_accept(state, ids[i], NULL) != SLM_OK) break;
            us[i] = (double)(slm_os()->now_ns() - start) * 1e-3;
            sum += us[i];
        }
        if (i == 0) {
            printf("nothing ");
        } else {
            qsort(us, i, sizeof *us, by_value);
            printf("%zu/%zu tokens: mean %.1f median %.1f p99 %.1f max %.1f; ", i, n_ids, sum / (double)i, us[i / 2],
                   us[i * 99 / 100], us[i - 1]);
        }
        slm_grammar_state_close(state);
    }
    printf("\n");
}

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*run)(char *rest); } commands[] = {
        {"compile ", compile}, {"match ", match}, {"random ", draw}, {"time ", measure},
    };
    struct slm_error error = {0};
    const struct slm_model_options options = {.vocab_only = true};
    static char line[MAX_LINE];
    if (slm_model_open(argc > 1 ? argv[1] : NULL, &options, &model, &error) != SLM_OK) {
        fprintf(stderr, "%s: %s\n", error.where, error.message);
        return 2;
    }
    n_vocab = (size_t)slm_model_info(model).n_vocab;
    mask = slm_alloc((n_vocab + 63) / 64, sizeof *mask, "mask", NULL);
    while (mask && fgets(line, sizeof line, stdin)) {
        for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
            if (strncmp(line, commands[i].name, strlen(commands[i].name)) == 0)
                commands[i].run(line + strlen(commands[i].name));
        fflush(stdout);
    }
    slm_grammar_close(grammar);
    slm_model_close(model);
    slm_release(mask);
    return 0;
}
