/* SPDX-License-Identifier: MIT
 * The tokenizer on vocabularies made up here, so that every rule can be seen at work without a model file.
 * The merge loop is checked against an oracle that is written from the definition: look at all pairs, merge the best,
 * start again. Real vocabularies: tests/golden/test_tokenizer_vectors.c. Bad files: test_tokenizer_gguf.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "base/os.h"
#include "base/rng.h"
#include "base/str.h"
#include "base/utf8.h"
#include "effort.h"
#include "tokenizer/tokenizer.h"

enum { MAX_TOKENS = 2048, MAX_TEXT = 64, ARENA = 1 << 17 };

/* A vocabulary under construction. */
struct vocab {
    struct slm_str tokens[MAX_TOKENS], merges[MAX_TOKENS];
    float scores[MAX_TOKENS];
    uint8_t types[MAX_TOKENS];
    size_t n, n_merges, used;
    char text[ARENA];
};

static struct slm_str keep(struct vocab *v, const char *text, size_t bytes)
{
    assert_true(v->used + bytes <= ARENA);
    char *at = v->text + v->used;
    memcpy(at, text, bytes);
    v->used += bytes;
    return (struct slm_str){at, bytes};
}

static int32_t add(struct vocab *v, const char *text, enum slm_token_type type, float score)
{
    assert_true(v->n < MAX_TOKENS);
    v->tokens[v->n] = keep(v, text, strlen(text));
    v->types[v->n] = (uint8_t)type;
    v->scores[v->n] = score;
    return (int32_t)v->n++;
}

static void add_merge(struct vocab *v, const char *left, const char *right)
{
    char rule[256];
    const int n = snprintf(rule, sizeof rule, "%s %s", left, right);
    v->merges[v->n_merges++] = keep(v, rule, (size_t)n);
}

/* The spelling of byte b in byte-level vocabularies, by GPT-2's own definition: walk all bytes, give the unprintable
 * ones the next free character from U+0100. */
static void spell(unsigned char b, char out[8])
{
    uint32_t next = 256, cp = 0;
    for (unsigned i = 0; i <= b; i++) {
        const bool printable = (i >= '!' && i <= '~') || (i >= 0xa1 && i <= 0xac) || (i >= 0xae && i <= 0xff);
        cp = printable ? i : next++;
    }
    out[slm_utf8_encode(cp, out)] = '\0';
}

/* id of byte b is b. */
static void add_bytes(struct vocab *v)
{
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        spell((unsigned char)b, text);
        add(v, text, SLM_TOKEN_NORMAL, 0);
    }
}

/* <unk> 0, <s> 1, </s> 2, then the byte tokens: id of byte b is 3 + b. */
static void add_spm_start(struct vocab *v)
{
    add(v, "<unk>", SLM_TOKEN_UNKNOWN, 0);
    add(v, "<s>", SLM_TOKEN_CONTROL, 0);
    add(v, "</s>", SLM_TOKEN_CONTROL, 0);
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", b);
        add(v, text, SLM_TOKEN_BYTE, 0);
    }
}

static struct slm_tokenizer_source source_of(struct vocab *v, const char *model)
{
    return (struct slm_tokenizer_source){
        .where = "test", .model = model, .pre = "gpt-2", .tokens = v->tokens, .scores = v->scores, .types = v->types,
        .n_vocab = v->n, .merges = v->merges, .n_merges = v->n_merges, .bos = -1, .eos = -1, .unk = -1, .pad = -1,
        .eot = -1,
    };
}

static struct slm_tokenizer *open_source(const struct slm_tokenizer_source *source)
{
    struct slm_tokenizer *t = NULL;
    struct slm_error error = {0};
    if (slm_tokenizer_new(source, &t, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    return t;
}

static size_t encode(const struct slm_tokenizer *t, struct slm_str text, unsigned flags, int32_t *ids, size_t cap)
{
    struct slm_error error = {0};
    size_t n = 0, measured = 0;
    if (slm_tokenizer_encode(t, text.ptr, text.len, flags, ids, cap, &n, &error) != SLM_OK)
        fail_msg("%s: %s", error.where, error.message);
    assert_int_equal(slm_tokenizer_encode(t, text.ptr, text.len, flags, NULL, 0, &measured, &error), SLM_OK);
    assert_int_equal(n, measured);
    return n;
}

static void assert_ids(const struct slm_tokenizer *t, const char *text, unsigned flags, const int32_t *want, size_t n)
{
    int32_t ids[64];
    const size_t got = encode(t, slm_str(text), flags, ids, 64);
    if (got != n || memcmp(ids, want, n * sizeof *ids) != 0) {
        for (size_t i = 0; i < got; i++) print_message("%d ", ids[i]);
        fail_msg("'%s' gave the %zu ids above", text, got);
    }
}
#define ASSERT_IDS(t, text, flags, ...) \
    assert_ids(t, text, flags, (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

static void assert_round_trip(const struct slm_tokenizer *t, struct slm_str text, unsigned flags)
{
    int32_t *ids = test_malloc((text.len + 2) * sizeof *ids);
    char *back = test_malloc(text.len + 1);
    const size_t n = encode(t, text, flags, ids, text.len + 2);
    assert_true(n <= text.len + 2);
    size_t bytes = 0;
    struct slm_error error = {0};
    assert_int_equal(slm_tokenizer_decode(t, ids, n, true, back, text.len + 1, &bytes, &error), SLM_OK);
    assert_int_equal(bytes, text.len);
    assert_memory_equal(back, text.ptr, text.len);
    test_free(ids);
    test_free(back);
}

/* ---- byte-level BPE ---- */

static void test_merge_order(void **state)
{
    (void)state;
    struct vocab *v = test_calloc(1, sizeof *v);
    add_bytes(v);
    const int32_t ab = add(v, "ab", SLM_TOKEN_NORMAL, 0), bc = add(v, "bc", SLM_TOKEN_NORMAL, 0),
                  abc = add(v, "abc", SLM_TOKEN_NORMAL, 0), space_a = add(v, "\xc4\xa0" "a", SLM_TOKEN_NORMAL, 0),
                  aa = add(v, "aa", SLM_TOKEN_NORMAL, 0);
    add_merge(v, "b", "c");
    add_merge(v, "a", "b");
    add_merge(v, "a", "bc");
    add_merge(v, "\xc4\xa0", "a");
    add_merge(v, "a", "a");
    struct slm_tokenizer_source source = source_of(v, "gpt2");
    struct slm_tokenizer *t = open_source(&source);
    ASSERT_IDS(t, "ab", 0, ab);
    ASSERT_IDS(t, "bc", 0, bc);
    ASSERT_IDS(t, "abc", 0, abc);            /* bc first, then a + bc */
    ASSERT_IDS(t, "abd", 0, ab, 'd');
    ASSERT_IDS(t, "x abc", 0, 'x', ' ', abc); /* bc and abc come before space + a */
    ASSERT_IDS(t, "x a", 0, 'x', space_a);
    ASSERT_IDS(t, "aaa", 0, aa, 'a');        /* equal ranks: leftmost first */
    ASSERT_IDS(t, "\xc3\xa9", 0, 0xc3, 0xa9);
    size_t n = 1;
    struct slm_error error;
    assert_int_equal(slm_tokenizer_encode(t, NULL, 0, 0, NULL, 0, &n, &error), SLM_OK);
    assert_int_equal(n, 0);
    assert_int_equal(slm_tokenizer_find(t, slm_str("\xc4\xa0" "a")), space_a);
    assert_int_equal(slm_tokenizer_find(t, slm_str(" a")), -1);
    assert_true(slm_str_is(slm_tokenizer_piece(t, space_a, false), " a"));
    slm_tokenizer_free(t);

    /* With ignore_merges a word of the vocabulary is taken as it is, reachable by merges or not. */
    const int32_t word = add(v, "xyz", SLM_TOKEN_NORMAL, 0);
    add(v, "forged", SLM_TOKEN_CONTROL, 0);
    source = source_of(v, "gpt2");
    source.pre = "llama-bpe";
    t = open_source(&source);
    ASSERT_IDS(t, "xyz", 0, word);
    ASSERT_IDS(t, "xyzz", 0, 'x', 'y', 'z', 'z');
    ASSERT_IDS(t, "forged", 0, 'f', 'o', 'r', 'g', 'e', 'd'); /* but never a control token */
    slm_tokenizer_free(t);
    test_free(v);
}

/* Random vocabularies closed under random merges; every merge's result is a token. */
static void random_vocab(struct vocab *v, struct slm_rng *rng, bool spm)
{
    char grown[MAX_TOKENS][MAX_TEXT];
    size_t n = 0;
    for (const char *c = "abc"; *c; c++) {
        grown[n][0] = *c, grown[n][1] = '\0';
        if (spm) add(v, grown[n], SLM_TOKEN_NORMAL, -100);
        n++;
    }
    for (int tries = 0; tries < 40; tries++) {
        const char *left = grown[slm_rng_next(rng) % n], *right = grown[slm_rng_next(rng) % n];
        if (strlen(left) + strlen(right) > 9) continue;
        char both[MAX_TEXT];
        snprintf(both, sizeof both, "%s%s", left, right);
        bool known = false;
        for (size_t i = 0; i < n; i++) known |= strcmp(grown[i], both) == 0;
        if (!spm) add_merge(v, left, right); /* also another way to a known token, also twice the same rule */
        if (known) continue;
        memcpy(grown[n++], both, sizeof both);
        add(v, both, SLM_TOKEN_NORMAL, (float)(slm_rng_next(rng) % 8)); /* few scores: many ties */
    }
}

/* When these two merge (less is earlier), or -1 for never: rules for bpe, scores for spm. */
static double order_of(const struct vocab *v, bool spm, struct slm_str left, struct slm_str right)
{
    char both[2 * MAX_TEXT];
    const size_t gap = spm ? 0 : 1, n = left.len + gap + right.len;
    memcpy(both, left.ptr, left.len);
    both[left.len] = ' ';
    memcpy(both + left.len + gap, right.ptr, right.len);
    const struct slm_str *texts = spm ? v->tokens : v->merges;
    for (size_t i = 0; i < (spm ? v->n : v->n_merges); i++)
        if (slm_str_equal(texts[i], (struct slm_str){both, n})) return spm ? 1000 - (double)v->scores[i] : (double)i;
    return -1;
}

static size_t oracle(const struct vocab *v, bool spm, const char *text, int32_t *ids)
{
    struct slm_str parts[MAX_TEXT];
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++) parts[i] = (struct slm_str){text + i, 1};
    for (;;) {
        size_t best = n;
        double best_order = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            const double order = order_of(v, spm, parts[i], parts[i + 1]);
            if (order >= 0 && (best == n || order < best_order)) best = i, best_order = order;
        }
        if (best == n) break;
        parts[best].len += parts[best + 1].len;
        for (size_t i = best + 1; i + 1 < n; i++) parts[i] = parts[i + 1];
        n--;
    }
    for (size_t k = 0; k < n; k++) {
        ids[k] = -1;
        for (size_t i = v->n; i-- > 0;)
            if (slm_str_equal(v->tokens[i], parts[k])) ids[k] = (int32_t)i;
    }
    return n;
}

static void test_merge_against_oracle(void **state)
{
    (void)state;
    struct slm_rng rng = {.seed = 11};
    struct vocab *v = test_malloc(sizeof *v);
    for (int round = 0; round < (int)test_share(60); round++) {
        const bool spm = round % 2;
        memset(v, 0, sizeof *v);
        if (spm) add_spm_start(v);
        else add_bytes(v);
        random_vocab(v, &rng, spm);
        const struct slm_tokenizer_source source = source_of(v, spm ? "llama" : "gpt2");
        struct slm_tokenizer *t = open_source(&source);
        for (int k = 0; k < 100; k++) {
            char text[MAX_TEXT];
            const size_t n = 1 + slm_rng_next(&rng) % 48;
            for (size_t i = 0; i < n; i++) text[i] = "abc"[slm_rng_next(&rng) % 3];
            text[n] = '\0';
            int32_t want[MAX_TEXT];
            const size_t n_want = oracle(v, spm, text, want);
            assert_ids(t, text, 0, want, n_want);
        }
        slm_tokenizer_free(t);
    }
    test_free(v);
}

static void test_invalid_utf8(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80", "a\x80" "b", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "caf\xc3", "\xff\xfe",
        "\xe2\x82", "x\xf0\x9f\x98", "\xc3\xa9\xc3", "\xf8\x88\x80\x80\x80"};
    struct vocab *v = test_calloc(1, sizeof *v);
    add_bytes(v);
    struct slm_tokenizer_source source = source_of(v, "gpt2");
    struct slm_tokenizer *bpe = open_source(&source);
    memset(v, 0, sizeof *v);
    add_spm_start(v);
    add(v, "\xe2\x96\x81", SLM_TOKEN_NORMAL, -1);
    add(v, "a", SLM_TOKEN_NORMAL, -2);
    source = source_of(v, "llama");
    source.add_space_prefix = true;
    struct slm_tokenizer *spm = open_source(&source);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_round_trip(bpe, slm_str(bad[i]), 0);
        assert_round_trip(spm, slm_str(bad[i]), 0);
    }
    assert_round_trip(bpe, (struct slm_str){"a\0b\0", 4}, 0);
    assert_round_trip(spm, (struct slm_str){"a\0b\0", 4}, 0);
    ASSERT_IDS(bpe, "\xc3\xa9\x80", 0, 0xc3, 0xa9, 0x80);
    struct slm_rng rng = {.seed = 5};
    for (int k = 0; k < (int)test_share(2000); k++) {
        char noise[100];
        const size_t n = slm_rng_next(&rng) % sizeof noise;
        for (size_t i = 0; i < n; i++) noise[i] = (char)(slm_rng_next(&rng) >> 7);
        assert_round_trip(bpe, (struct slm_str){noise, n}, 0);
        assert_round_trip(spm, (struct slm_str){noise, n}, 0);
    }
    slm_tokenizer_free(bpe);
    slm_tokenizer_free(spm);
    test_free(v);
}

static void test_missing_bytes(void **state)
{
    (void)state;
    struct vocab *v = test_calloc(1, sizeof *v);
    add(v, "a", SLM_TOKEN_NORMAL, 0);
    const int32_t unk = add(v, "<unk>", SLM_TOKEN_UNKNOWN, 0);
    struct slm_tokenizer_source source = source_of(v, "gpt2");
    struct slm_tokenizer *t = open_source(&source);
    struct slm_error error = {0};
    size_t n = 77;
    int32_t ids[4];
    assert_int_equal(slm_tokenizer_encode(t, "ab", 2, 0, ids, 4, &n, &error), SLM_ERR_ARGUMENT);
    assert_string_equal(error.message, "the vocabulary has no token for the byte 0x62 and no unknown token");
    slm_tokenizer_free(t);
    source.unk = unk;
    t = open_source(&source);
    ASSERT_IDS(t, "aba", 0, 0, unk, 0);
    slm_tokenizer_free(t);
    test_free(v);
}

/* ---- SentencePiece BPE ---- */

static void test_spm(void **state)
{
    (void)state;
    struct vocab *v = test_calloc(1, sizeof *v);
    add_spm_start(v);
    const int32_t sp = add(v, "\xe2\x96\x81", SLM_TOKEN_NORMAL, -10), a = add(v, "a", SLM_TOKEN_NORMAL, -11),
                  b = add(v, "b", SLM_TOKEN_NORMAL, -12), spa = add(v, "\xe2\x96\x81" "a", SLM_TOKEN_NORMAL, -1),
                  spsp = add(v, "\xe2\x96\x81\xe2\x96\x81", SLM_TOKEN_NORMAL, -2);
    struct slm_tokenizer_source source = source_of(v, "llama");
    source.add_space_prefix = true;
    source.bos = 1, source.eos = 2, source.unk = 0, source.add_bos = true, source.add_eos = true;
    struct slm_tokenizer *t = open_source(&source);
    ASSERT_IDS(t, "a", 0, spa);
    ASSERT_IDS(t, "a b", 0, spa, sp, b);
    ASSERT_IDS(t, " a", 0, sp, spa);
    ASSERT_IDS(t, "  b", 0, spsp, sp, b);
    ASSERT_IDS(t, "aa", SLM_TOKENIZE_ADD_SPECIAL, 1, spa, a, 2);
    ASSERT_IDS(t, "", SLM_TOKENIZE_ADD_SPECIAL, 1, 2);
    ASSERT_IDS(t, "\xc3\xa9", 0, sp, 3 + 0xc3, 3 + 0xa9);
    ASSERT_IDS(t, "\xe2\x96\x81" "a", 0, sp, spa); /* U+2581 is a space */
    /* A control token is text unless the caller says otherwise; after it comes a space again. */
    ASSERT_IDS(t, "a</s>a", SLM_TOKENIZE_PARSE_SPECIAL, spa, 2, spa);
    ASSERT_IDS(t, "<s>", 0, sp, 3 + '<', 3 + 's', 3 + '>');
    int32_t ids[] = {1, spa, 2, spa, sp, 3 + 'x'};
    char text[64];
    size_t n = 0;
    struct slm_error error = {0};
    assert_int_equal(slm_tokenizer_decode(t, ids, 6, false, text, sizeof text, &n, &error), SLM_OK);
    assert_true(slm_str_is((struct slm_str){text, n}, "aa x"));
    assert_int_equal(slm_tokenizer_decode(t, ids, 6, true, text, sizeof text, &n, &error), SLM_OK);
    assert_true(slm_str_is((struct slm_str){text, n}, "<s>a</s>a x"));
    assert_int_equal(slm_tokenizer_decode(t, ids, 6, true, text, 3, &n, &error), SLM_OK); /* measures past cap */
    assert_int_equal(n, 11);
    static const int32_t wrong[] = {-1, INT32_MIN, INT32_MAX, 3 + 256 + 5};
    for (size_t i = 0; i < 4; i++) {
        ids[2] = wrong[i];
        assert_int_equal(slm_tokenizer_decode(t, ids, 6, true, text, sizeof text, &n, &error), SLM_ERR_ARGUMENT);
        assert_non_null(strstr(error.message, "token 2 is "));
    }
    assert_round_trip(t, slm_str("  a  b </s> \n<s>\ta</s></s>  a"), SLM_TOKENIZE_PARSE_SPECIAL);
    slm_tokenizer_free(t);

    /* A token with a space inside: words may no longer be cut there. */
    const int32_t across = add(v, "a\xe2\x96\x81" "b", SLM_TOKEN_NORMAL, -0.5f);
    add(v, "\xe2\x96\x81" "b", SLM_TOKEN_NORMAL, -0.6f);
    source = source_of(v, "llama");
    t = open_source(&source);
    ASSERT_IDS(t, "aa b", 0, a, across);
    slm_tokenizer_free(t);
    test_free(v);
}

/* ---- special tokens ---- */

static void test_specials(void **state)
{
    (void)state;
    struct vocab *v = test_calloc(1, sizeof *v);
    add_bytes(v);
    const int32_t end = add(v, "<|im_end|>", SLM_TOKEN_USER_DEFINED, 0), /* a well-known name: becomes control */
                  start = add(v, "<|im_start|>", SLM_TOKEN_CONTROL, 0),
                  user = add(v, "<tool>", SLM_TOKEN_USER_DEFINED, 0),
                  longer = add(v, "<tool>s", SLM_TOKEN_USER_DEFINED, 0), unk = add(v, "<unk>", SLM_TOKEN_UNKNOWN, 0),
                  normal = add(v, "</s>", SLM_TOKEN_NORMAL, 0);
    add(v, "<tool>", SLM_TOKEN_USER_DEFINED, 0); /* a duplicate never wins */
    add(v, "", SLM_TOKEN_CONTROL, 0);
    struct slm_tokenizer_source source = source_of(v, "gpt2");
    source.eos = start;
    struct slm_tokenizer *t = open_source(&source);
    ASSERT_IDS(t, "<tool>", 0, user);
    ASSERT_IDS(t, "<tool>s<tool", 0, longer, '<', 't', 'o', 'o', 'l');
    ASSERT_IDS(t, "<<unk>", 0, '<', '<', 'u', 'n', 'k', '>');
    ASSERT_IDS(t, "<<unk>", SLM_TOKENIZE_PARSE_SPECIAL, '<', unk);
    ASSERT_IDS(t, "<|im_start|>a<|im_end|>", SLM_TOKENIZE_PARSE_SPECIAL, start, 'a', end);
    int32_t ids[64];
    const size_t n = encode(t, slm_str("<|im_start|>a<|im_end|>"), 0, ids, 64);
    assert_int_equal(n, 23);
    for (size_t i = 0; i < n; i++) assert_true(ids[i] < 256);
    assert_int_equal(slm_tokenizer_type(t, end), SLM_TOKEN_CONTROL);
    assert_int_equal(slm_tokenizer_type(t, normal), SLM_TOKEN_NORMAL);
    assert_true(slm_tokenizer_is_eog(t, end) && slm_tokenizer_is_eog(t, start));
    assert_false(slm_tokenizer_is_eog(t, user) || slm_tokenizer_is_eog(t, normal) || slm_tokenizer_is_eog(t, -1) ||
                 slm_tokenizer_is_eog(t, (int32_t)v->n));
    assert_int_equal(slm_tokenizer_find(t, slm_str("<|im_end|>")), end);
    assert_int_equal(slm_tokenizer_find(t, slm_str("<tool>")), user);
    assert_int_equal(slm_tokenizer_piece(t, end, false).len, 0);
    assert_true(slm_str_is(slm_tokenizer_piece(t, end, true), "<|im_end|>"));
    const struct slm_str chat = slm_str("<|im_start|>user\n<tool>s  <|im_end|><|im_end|>\xff<|im_");
    assert_round_trip(t, chat, SLM_TOKENIZE_PARSE_SPECIAL);
    slm_tokenizer_free(t);

    source.specials_swallow_space = true;
    t = open_source(&source);
    ASSERT_IDS(t, "<|im_start|> \n\xc2\xa0" "a <unk> b", SLM_TOKENIZE_PARSE_SPECIAL, start, 'a', ' ', unk, ' ', 'b');
    slm_tokenizer_free(t);

    /* gpt-oss: <|end|> parts an answer when <|return|> and <|call|> exist. */
    const int32_t part = add(v, "<|end|>", SLM_TOKEN_CONTROL, 0);
    source = source_of(v, "gpt2");
    t = open_source(&source);
    assert_true(slm_tokenizer_is_eog(t, part));
    slm_tokenizer_free(t);
    add(v, "<|return|>", SLM_TOKEN_CONTROL, 0);
    add(v, "<|call|>", SLM_TOKEN_CONTROL, 0);
    source = source_of(v, "gpt2");
    t = open_source(&source);
    assert_false(slm_tokenizer_is_eog(t, part));
    slm_tokenizer_free(t);
    test_free(v);
}

/* ---- what a source may not say ---- */

struct spoil {
    const char *name, *message;
    slm_status status;
    void (*apply)(struct vocab *, struct slm_tokenizer_source *);
};

static void spoil_model(struct vocab *v, struct slm_tokenizer_source *s) { (void)v, s->model = "bert"; }
static void spoil_pre(struct vocab *v, struct slm_tokenizer_source *s) { (void)v, s->pre = "gpt-9"; }
static void spoil_empty(struct vocab *v, struct slm_tokenizer_source *s) { (void)v, s->n_vocab = 0; }
static void spoil_size(struct vocab *v, struct slm_tokenizer_source *s) { (void)v, s->n_vocab = (size_t)1 << 40; }
static void spoil_eos(struct vocab *v, struct slm_tokenizer_source *s) { (void)v, s->eos = 9999; }
static void spoil_bos(struct vocab *v, struct slm_tokenizer_source *s) { (void)v, s->add_bos = true; }
static void spoil_type(struct vocab *v, struct slm_tokenizer_source *s) { (void)s, v->types[7] = 9; }
static void spoil_byte(struct vocab *v, struct slm_tokenizer_source *s)
{
    (void)s;
    v->types[7] = SLM_TOKEN_BYTE;
    v->tokens[7] = slm_str("<0x-1>");
}
static void spoil_merge(struct vocab *v, struct slm_tokenizer_source *s) { (void)s, v->merges[1] = slm_str("ab"); }
static void spoil_half(struct vocab *v, struct slm_tokenizer_source *s) { (void)s, v->merges[1] = slm_str("a "); }
static void spoil_none(struct vocab *v, struct slm_tokenizer_source *s) { (void)s, v->merges[1] = slm_str(""); }
static void spoil_scores(struct vocab *v, struct slm_tokenizer_source *s)
{
    (void)v, s->model = "llama", s->scores = NULL;
}
static void spoil_nan(struct vocab *v, struct slm_tokenizer_source *s)
{
    s->model = "llama", v->scores[3] = (float)strtod("nan", NULL);
}

static void test_bad_sources(void **state)
{
    (void)state;
    static const struct spoil rows[] = {
        {"model", "'bert'", SLM_ERR_UNSUPPORTED, spoil_model},
        {"pre", "'gpt-9' is not known; known are gpt-2, llama-bpe", SLM_ERR_UNSUPPORTED, spoil_pre},
        {"empty", "empty", SLM_ERR_FORMAT, spoil_empty},
        {"size", "1099511627776 tokens", SLM_ERR_LIMIT, spoil_size},
        {"eos", "is 9999; 0 to 256 are allowed", SLM_ERR_FORMAT, spoil_eos},
        {"bos", "a bos token is to be added", SLM_ERR_FORMAT, spoil_bos},
        {"type", "token 7 has type 9", SLM_ERR_FORMAT, spoil_type},
        {"byte", "token 7 has type byte but its text is '<0x-1>'", SLM_ERR_FORMAT, spoil_byte},
        {"merge", "merge 1 is 'ab'", SLM_ERR_FORMAT, spoil_merge},
        {"half merge", "merge 1 is 'a '", SLM_ERR_FORMAT, spoil_half},
        {"no merge", "merge 1 is ''", SLM_ERR_FORMAT, spoil_none},
        {"scores", "scores are missing", SLM_ERR_FORMAT, spoil_scores},
        {"nan", "score of token 3 is NaN", SLM_ERR_FORMAT, spoil_nan},
    };
    struct vocab *v = test_malloc(sizeof *v);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        memset(v, 0, sizeof *v);
        add_bytes(v);
        add(v, "ab", SLM_TOKEN_NORMAL, 0);
        add_merge(v, "a", "b");
        add_merge(v, "a", "b");
        struct slm_tokenizer_source source = source_of(v, "gpt2");
        rows[i].apply(v, &source);
        struct slm_tokenizer *t = NULL;
        struct slm_error error = {0};
        const slm_status status = slm_tokenizer_new(&source, &t, &error);
        if (status != rows[i].status || !strstr(error.message, rows[i].message))
            fail_msg("%s: %s: %s", rows[i].name, slm_status_name(status), error.message);
        assert_null(t);
        assert_string_equal(error.where, "test");
    }
    test_free(v);
}

/* Left half, right half or result that is no token: the rule does nothing, the next one still works. */
static void test_merges_of_absent_tokens_are_passed_over(void **state)
{
    (void)state;
    struct vocab *v = test_calloc(1, sizeof *v);
    add_bytes(v);
    const int32_t ab = (int32_t)v->n;
    add(v, "ab", SLM_TOKEN_NORMAL, 0);
    add_merge(v, "b", "a");
    add_merge(v, "zz", "a");
    add_merge(v, "a", "zz");
    add_merge(v, "a", "b");
    const struct slm_tokenizer_source source = source_of(v, "gpt2");
    struct slm_tokenizer *t = NULL;
    assert_int_equal(slm_tokenizer_new(&source, &t, NULL), SLM_OK);
    int32_t ids[8];
    size_t n;
    assert_int_equal(slm_tokenizer_encode(t, "bab", 3, 0, ids, 8, &n, NULL), SLM_OK);
    assert_int_equal(n, 2);
    assert_int_equal(ids[1], ab);
    slm_tokenizer_free(t);
    test_free(v);
}

static void test_duplicates_and_broken_tokens_load(void **state)
{
    (void)state;
    struct vocab *v = test_calloc(1, sizeof *v);
    add_spm_start(v);
    const int32_t a = add(v, "a", SLM_TOKEN_NORMAL, -1), again = add(v, "a", SLM_TOKEN_NORMAL, 5),
                  broken = add(v, "\xff\x80", SLM_TOKEN_NORMAL, 0), empty = add(v, "", SLM_TOKEN_NORMAL, 0);
    const struct slm_tokenizer_source source = source_of(v, "llama");
    struct slm_tokenizer *t = open_source(&source);
    ASSERT_IDS(t, "a", 0, a);
    assert_true(slm_str_is(slm_tokenizer_piece(t, again, false), "a"));
    assert_true(slm_str_is(slm_tokenizer_piece(t, broken, false), "\xff\x80"));
    assert_int_equal(slm_tokenizer_piece(t, empty, false).len, 0);
    assert_int_equal(slm_tokenizer_find(t, slm_str("")), -1);
    assert_int_equal(slm_tokenizer_n_vocab(t), v->n);
    slm_tokenizer_free(t);
    test_free(v);
}

/* ---- long runs: no limit, no recursion, no quadratic time ---- */

static double encode_seconds(const struct slm_tokenizer *t, struct slm_str text)
{
    int32_t *ids = test_malloc((text.len + 1) * sizeof *ids);
    size_t n = 0, bytes = 0;
    struct slm_error error = {0};
    const clock_t begin = clock(); /* CPU time: other programs do not count */
    if (slm_tokenizer_encode(t, text.ptr, text.len, 0, ids, text.len + 1, &n, &error) != SLM_OK)
        fail_msg("%s: %s", error.where, error.message);
    const double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    char *back = test_malloc(text.len + 1);
    assert_int_equal(slm_tokenizer_decode(t, ids, n, true, back, text.len, &bytes, &error), SLM_OK);
    assert_int_equal(bytes, text.len);
    assert_memory_equal(back, text.ptr, text.len);
    test_free(back);
    test_free(ids);
    return seconds;
}

/* Tokens of 1, 2, 4 ... 64 units, each merging from two of the one before: runs merge as deep as they can. */
static void add_doublings(struct vocab *v, const char *unit, bool single_exists)
{
    char half[256], whole[256];
    snprintf(whole, sizeof whole, "%s", unit);
    if (!single_exists) add(v, whole, SLM_TOKEN_NORMAL, -1);
    for (int k = 2; k <= 64; k *= 2) {
        memcpy(half, whole, sizeof half);
        const size_t n = strlen(half);
        memcpy(whole + n, half, n + 1);
        add(v, whole, SLM_TOKEN_NORMAL, (float)-k);
        add_merge(v, half, half);
    }
}

static void test_long_runs(void **state)
{
    (void)state;
    static const char *const pres[] = {"gpt-2", "llama-bpe", "dbrx", "qwen2", "qwen35", "gpt-4o", "tekken", "smollm",
                                       "default", NULL /* llama */};
    static const char *const units[] = {"Z", " ", "1", "\n", "\xc3\xa9", "\xe4\xb8\xad", "\xf0\x9f\x98\x80",
                                        "\xcc\x81", "'", "ab", "aB", " \n", "\xff"};
    enum { MOST = 1 << 20 };
    const size_t large_bytes = test_share(MOST), small_bytes = large_bytes / 8;
    char *text = test_malloc(MOST);
    struct vocab *v = test_malloc(sizeof *v);
    for (size_t p = 0; p < sizeof pres / sizeof *pres; p++) {
        const bool spm = !pres[p];
        memset(v, 0, sizeof *v);
        if (spm) add_spm_start(v);
        else add_bytes(v);
        if (!spm) add_merge(v, "a", "b");
        add_doublings(v, "ab", false);
        add_doublings(v, "Z", !spm);
        add_doublings(v, spm ? "\xe2\x96\x81" : "\xc4\xa0", !spm);
        struct slm_tokenizer_source source = source_of(v, spm ? "llama" : "gpt2");
        source.pre = pres[p];
        struct slm_tokenizer *t = open_source(&source);
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            const size_t len = strlen(units[u]);
            for (size_t i = 0; i < large_bytes; i++) text[i] = units[u][i % len];
            const double small = encode_seconds(t, (struct slm_str){text, small_bytes - small_bytes % len}),
                         large = encode_seconds(t, (struct slm_str){text, large_bytes - large_bytes % len});
            /* 8 times the text: 8 times the time and a little. Quadratic would be 64 times, and minutes at this size;
             * the floor keeps the noise of a few milliseconds out. */
            if (large > 30 * (small > 0.03 ? small : 0.03))
                fail_msg("%s, unit %zu: %.3f s for %zu bytes, %.3f s for %zu", spm ? "llama" : pres[p], u, small, small_bytes,
                         large, large_bytes);
        }
        slm_tokenizer_free(t);
    }
    test_free(v);
    test_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge_order),
        cmocka_unit_test(test_merge_against_oracle),
        cmocka_unit_test(test_invalid_utf8),
        cmocka_unit_test(test_missing_bytes),
        cmocka_unit_test(test_spm),
        cmocka_unit_test(test_specials),
        cmocka_unit_test(test_bad_sources),
        cmocka_unit_test(test_merges_of_absent_tokens_are_passed_over),
        cmocka_unit_test(test_duplicates_and_broken_tokens_load),
        cmocka_unit_test(test_long_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
