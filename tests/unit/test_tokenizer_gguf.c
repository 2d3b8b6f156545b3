/* SPDX-License-Identifier: MIT
 * Tokenizers from GGUF files: what a good file gives, and that each way to spoil one key of it is one clean error which
 * names the file, the key and the value. The files are put together byte by byte (gguf_builder). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/os.h"
#include "families/families.h"
#include "gguf_builder.h"
#include "tokenizer/tokenizer.h"

#define FILE_NAME "spoiled.gguf"
#define KEY "tokenizer.ggml."
enum { N_TOKENS = 300 };

enum key {
    MODEL, PRE, TOKENS, SCORES, TYPES, MERGES, BOS, EOS, EOT, UNK, PAD, ADD_BOS, ADD_EOS, ADD_SPACE, ARCHITECTURE,
    N_KEYS
};

/* Token i of the two vocabularies: for spm <unk> <s> </s>, the bytes, words; for bpe the bytes' spellings, words. */
static void token_text(bool spm, unsigned i, char out[16])
{
    static const char *const first[] = {"<unk>", "<s>", "</s>"};
    if (spm && i < 3) snprintf(out, 16, "%s", first[i]);
    else if (spm && i < 259) snprintf(out, 16, "<0x%02X>", i - 3);
    else if (!spm && i < 256) {
        unsigned next = 256, cp = 0;
        for (unsigned b = 0; b <= i; b++) {
            const bool printable = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
            cp = printable ? b : next++;
        }
        if (cp < 0x80) snprintf(out, 16, "%c", (int)cp);
        else snprintf(out, 16, "%c%c", (int)(0xc0 | cp >> 6), (int)(0x80 | (cp & 0x3f)));
    } else if (i == 259) snprintf(out, 16, "ab");
    else snprintf(out, 16, "word%u", i);
}

static unsigned token_type(bool spm, unsigned i)
{
    if (!spm) return SLM_TOKEN_NORMAL;
    return i == 0 ? SLM_TOKEN_UNKNOWN : i < 3 ? SLM_TOKEN_CONTROL : i < 259 ? SLM_TOKEN_BYTE : SLM_TOKEN_NORMAL;
}

static void write_tokens(struct slm_buf *file, bool spm, unsigned n, const char *replaced, unsigned at)
{
    gb_key_array(file, KEY "tokens", SLM_GGUF_STRING, n);
    for (unsigned i = 0; i < n; i++) {
        char text[16];
        token_text(spm, i, text);
        gb_string(file, replaced && i == at ? replaced : text);
    }
}

static void write_types(struct slm_buf *file, bool spm, unsigned n, unsigned replaced, unsigned at)
{
    gb_key_array(file, KEY "token_type", SLM_GGUF_I32, n);
    for (unsigned i = 0; i < n; i++) gb_u32(file, i == at ? replaced : token_type(spm, i));
}

static void write_scores(struct slm_buf *file, unsigned n, uint32_t replaced, unsigned at)
{
    gb_key_array(file, KEY "scores", SLM_GGUF_F32, n);
    for (unsigned i = 0; i < n; i++) gb_u32(file, i == at ? replaced : 0xc0000000u /* -2.0 */);
}

static void write_merges(struct slm_buf *file, const char *rule)
{
    gb_key_array(file, KEY "merges", SLM_GGUF_STRING, 2);
    gb_string(file, "a b");
    gb_string(file, rule);
}

/* The value that a good file has. bpe files have no scores, spm files no merges; ids that may be absent are. */
static bool write_good(struct slm_buf *file, bool spm, enum key key)
{
    switch (key) {
    case MODEL: gb_key_string(file, KEY "model", spm ? "llama" : "gpt2"); return true;
    case PRE: gb_key_string(file, KEY "pre", spm ? "default" : "qwen2"); return true;
    case TOKENS: write_tokens(file, spm, N_TOKENS, NULL, 0); return true;
    case SCORES: if (spm) write_scores(file, N_TOKENS, 0, N_TOKENS); return spm;
    case TYPES: write_types(file, spm, N_TOKENS, 0, N_TOKENS); return true;
    case MERGES: if (!spm) write_merges(file, "a b"); return !spm;
    case BOS: gb_key_u32(file, KEY "bos_token_id", 1); return true;
    case EOS: gb_key_u32(file, KEY "eos_token_id", 2); return true;
    case ARCHITECTURE: gb_key_string(file, "general.architecture", "llama"); return true;
    default: return false;
    }
}

struct spoil {
    enum key key;
    bool spm;
    slm_status status;
    const char *says; /* in "where: message" */
    void (*write)(struct slm_buf *file); /* instead of the good value; NULL: the key is left out */
};

static void put_u32_array(struct slm_buf *f, const char *key, unsigned type, unsigned n)
{
    gb_key_array(f, key, type, n);
    gb_zeros(f, (type == SLM_GGUF_U8 ? 1 : 4) * (size_t)n);
}
static void tokens_scalar(struct slm_buf *f) { gb_key_u32(f, KEY "tokens", 7); }
static void tokens_u32(struct slm_buf *f) { put_u32_array(f, KEY "tokens", SLM_GGUF_U32, N_TOKENS); }
static void tokens_none(struct slm_buf *f) { write_tokens(f, true, 0, NULL, 0); }
static void tokens_two(struct slm_buf *f) { write_tokens(f, true, 2, NULL, 0); }
static void tokens_many(struct slm_buf *f)
{
    gb_key_array(f, KEY "tokens", SLM_GGUF_STRING, 1 << 21);
    gb_zeros(f, (size_t)8 << 21);
}
static void token_long(struct slm_buf *f)
{
    char text[5001];
    memset(text, 'x', 5000);
    text[5000] = '\0';
    write_tokens(f, true, N_TOKENS, text, 299);
}
static void byte_zz(struct slm_buf *f) { write_tokens(f, true, N_TOKENS, "<0xZZ>", 40); }
static void byte_minus(struct slm_buf *f) { write_tokens(f, true, N_TOKENS, "<0x-1>", 40); }
static void byte_short(struct slm_buf *f) { write_tokens(f, true, N_TOKENS, "<0x>", 40); }
static void byte_word(struct slm_buf *f) { write_types(f, false, N_TOKENS, SLM_TOKEN_BYTE, 41); }
static void scores_short(struct slm_buf *f) { write_scores(f, N_TOKENS - 1, 0, N_TOKENS); }
static void scores_long(struct slm_buf *f) { write_scores(f, N_TOKENS + 1, 0, N_TOKENS + 1); }
static void scores_u8(struct slm_buf *f) { put_u32_array(f, KEY "scores", SLM_GGUF_U8, N_TOKENS); }
static void scores_nan(struct slm_buf *f) { write_scores(f, N_TOKENS, 0x7fc00000u, 17); }
static void types_short(struct slm_buf *f) { write_types(f, true, 10, 0, N_TOKENS); }
static void types_long(struct slm_buf *f) { write_types(f, true, 2 * N_TOKENS, 0, 2 * N_TOKENS); }
static void types_u8(struct slm_buf *f) { put_u32_array(f, KEY "token_type", SLM_GGUF_U8, N_TOKENS); }
static void types_odd(struct slm_buf *f) { write_types(f, true, N_TOKENS, 77, 5); }
static void types_minus(struct slm_buf *f) { write_types(f, true, N_TOKENS, UINT32_MAX, 5); }
static void merges_joined(struct slm_buf *f) { write_merges(f, "ab"); }
static void merges_empty(struct slm_buf *f) { write_merges(f, ""); }
static void merges_u32(struct slm_buf *f) { put_u32_array(f, KEY "merges", SLM_GGUF_U32, 4); }
static void merges_none(struct slm_buf *f) { gb_key_array(f, KEY "merges", SLM_GGUF_STRING, 0); }
static void bos_large(struct slm_buf *f) { gb_key_u32(f, KEY "bos_token_id", 9999); }
static void bos_minus(struct slm_buf *f) { gb_key_u32(f, KEY "bos_token_id", UINT32_MAX); }
static void bos_text(struct slm_buf *f) { gb_key_string(f, KEY "bos_token_id", "<s>"); }
static void eos_just(struct slm_buf *f) { gb_key_u32(f, KEY "eos_token_id", N_TOKENS); }
static void eot_large(struct slm_buf *f) { gb_key_u32(f, KEY "eot_token_id", 9999); }
static void unk_large(struct slm_buf *f) { gb_key_u32(f, KEY "unknown_token_id", 9999); }
static void pad_large(struct slm_buf *f) { gb_key_u32(f, KEY "padding_token_id", 9999); }
static void add_bos_u32(struct slm_buf *f) { gb_key_u32(f, KEY "add_bos_token", 1); }
static void model_bert(struct slm_buf *f) { gb_key_string(f, KEY "model", "bert"); }
static void model_u32(struct slm_buf *f) { gb_key_u32(f, KEY "model", 1); }
static void pre_odd(struct slm_buf *f) { gb_key_string(f, KEY "pre", "no-such-pre"); }
static void pre_u32(struct slm_buf *f) { gb_key_u32(f, KEY "pre", 1); }

static const struct spoil bad[] = {
    {TOKENS, true, SLM_ERR_FORMAT, KEY "tokens", NULL},
    {TOKENS, true, SLM_ERR_FORMAT, KEY "tokens", tokens_scalar},
    {TOKENS, true, SLM_ERR_FORMAT, KEY "tokens", tokens_u32},
    {TOKENS, true, SLM_ERR_FORMAT, KEY "tokens' has 0 entries", tokens_none},
    {TOKENS, true, SLM_ERR_FORMAT, "has 300 entries; 2 are needed", tokens_two},
    {TOKENS, true, SLM_ERR_LIMIT, KEY "tokens' has 2097152 entries; 1 to 2097151", tokens_many},
    {TOKENS, true, SLM_ERR_LIMIT, "token 299 has 5000 bytes", token_long},
    {TOKENS, true, SLM_ERR_FORMAT, "token 40 has type byte but its text is '<0xZZ>'", byte_zz},
    {TOKENS, true, SLM_ERR_FORMAT, "token 40 has type byte but its text is '<0x-1>'", byte_minus},
    {TOKENS, true, SLM_ERR_FORMAT, "token 40 has type byte but its text is '<0x>'", byte_short},
    {TYPES, false, SLM_ERR_FORMAT, "token 41 has type byte", byte_word},
    {SCORES, true, SLM_ERR_FORMAT, "scores are missing", NULL},
    {SCORES, true, SLM_ERR_FORMAT, KEY "scores' has 299 entries; 300 are needed", scores_short},
    {SCORES, true, SLM_ERR_FORMAT, KEY "scores' has 301 entries; 300 are needed", scores_long},
    {SCORES, true, SLM_ERR_FORMAT, KEY "scores", scores_u8},
    {SCORES, true, SLM_ERR_FORMAT, "score of token 17 is NaN", scores_nan},
    {TYPES, true, SLM_ERR_FORMAT, KEY "token_type' has 10 entries; 300 are needed", types_short},
    {TYPES, true, SLM_ERR_FORMAT, KEY "token_type' has 600 entries; 300 are needed", types_long},
    {TYPES, true, SLM_ERR_FORMAT, KEY "token_type", types_u8},
    {TYPES, true, SLM_ERR_FORMAT, KEY "token_type': entry 5 is 77; 0 to 6", types_odd},
    {TYPES, true, SLM_ERR_FORMAT, KEY "token_type': entry 5 is -1; 0 to 6", types_minus},
    {MERGES, false, SLM_ERR_FORMAT, KEY "merges", NULL},
    {MERGES, false, SLM_ERR_FORMAT, "merge 1 is 'ab'; two tokens with one space", merges_joined},
    {MERGES, false, SLM_ERR_FORMAT, "merge 1 is ''", merges_empty},
    {MERGES, false, SLM_ERR_FORMAT, KEY "merges", merges_u32},
    {MERGES, false, SLM_ERR_FORMAT, KEY "merges' has 0 entries", merges_none},
    {BOS, false, SLM_ERR_FORMAT, "9999", bos_large},
    {BOS, true, SLM_ERR_FORMAT, "4294967295", bos_minus},
    {BOS, true, SLM_ERR_FORMAT, KEY "bos_token_id", bos_text},
    {EOS, true, SLM_ERR_FORMAT, "300", eos_just},
    {EOT, true, SLM_ERR_FORMAT, KEY "eot_token_id", eot_large},
    {UNK, true, SLM_ERR_FORMAT, KEY "unknown_token_id", unk_large},
    {PAD, true, SLM_ERR_FORMAT, KEY "padding_token_id", pad_large},
    {ADD_BOS, true, SLM_ERR_FORMAT, KEY "add_bos_token", add_bos_u32},
    {MODEL, true, SLM_ERR_UNSUPPORTED, "'bert' is not known; known are llama, llama-merges, gpt2 and t5", model_bert},
    {MODEL, true, SLM_ERR_FORMAT, KEY "model", model_u32},
    {PRE, false, SLM_ERR_UNSUPPORTED, "'no-such-pre' is not known; known are gpt-2, llama-bpe", pre_odd},
    {PRE, false, SLM_ERR_FORMAT, KEY "pre", pre_u32},
};

/* A good file but for one key; then the tokenizer from it. */
static slm_status open_file(bool spm, enum key spoiled, void (*write)(struct slm_buf *), struct slm_tokenizer **t,
                            struct slm_error *error)
{
    struct slm_buf keys = {0}, file = {0};
    uint64_t n = 0;
    for (int key = 0; key < N_KEYS; key++) {
        if (key != (int)spoiled) n += write_good(&keys, spm, (enum key)key);
        else if (write) write(&keys), n++;
    }
    gb_header(&file, 0, n);
    slm_buf_add(&file, keys.data, keys.len);
    gb_align(&file, 32);
    struct slm_gguf *gguf = NULL;
    if (slm_gguf_open_memory(file.data, file.len, FILE_NAME, NULL, &gguf, error) != SLM_OK)
        fail_msg("the file itself is broken: %s: %s", error->where, error->message);
    const slm_status status =
        slm_tokenizer_from_gguf(gguf, slm_family_specials_swallow_space(gguf), t, error);
    slm_gguf_close(gguf);
    slm_buf_release(&keys);
    slm_buf_release(&file);
    return status;
}

static void test_spoiled(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct slm_tokenizer *t = NULL;
        struct slm_error error = {0};
        const slm_status status = open_file(bad[i].spm, bad[i].key, bad[i].write, &t, &error);
        char sentence[600];
        snprintf(sentence, sizeof sentence, "%s: %s", error.where, error.message);
        if (status != bad[i].status || !strstr(sentence, bad[i].says) || !strstr(sentence, FILE_NAME))
            fail_msg("row %zu (%s): %s: %s", i, bad[i].says, slm_status_name(status), sentence);
        assert_null(t);
    }
}

static struct slm_tokenizer *open_good(bool spm, enum key key, void (*write)(struct slm_buf *))
{
    struct slm_tokenizer *t = NULL;
    struct slm_error error = {0};
    if (open_file(spm, key, write, &t, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    return t;
}

static size_t count(const struct slm_tokenizer *t, const char *text, unsigned flags)
{
    size_t n = 0;
    struct slm_error error = {0};
    assert_int_equal(slm_tokenizer_encode(t, text, strlen(text), flags, NULL, 0, &n, &error), SLM_OK);
    return n;
}

static void pad_none(struct slm_buf *f) { gb_key_u32(f, KEY "padding_token_id", UINT32_MAX); }
static void model_none(struct slm_buf *f) { gb_key_string(f, KEY "model", "none"); }
static void token_twice(struct slm_buf *f) { write_tokens(f, true, N_TOKENS, "word298", 299); }
static void token_broken(struct slm_buf *f) { write_tokens(f, true, N_TOKENS, "\xff\xc3", 299); }
static void add_bos_no(struct slm_buf *f) { gb_key(f, KEY "add_bos_token", SLM_GGUF_BOOL), gb_u8(f, 0); }
static void add_eos_yes(struct slm_buf *f) { gb_key(f, KEY "add_eos_token", SLM_GGUF_BOOL), gb_u8(f, 1); }
static void add_space_no(struct slm_buf *f) { gb_key(f, KEY "add_space_prefix", SLM_GGUF_BOOL), gb_u8(f, 0); }
static void pre_llama3(struct slm_buf *f) { gb_key_string(f, KEY "pre", "llama-bpe"); }
static void phi3(struct slm_buf *f) { gb_key_string(f, "general.architecture", "phi3"); }

static void test_good(void **state)
{
    (void)state;
    struct slm_tokenizer *t = open_good(true, N_KEYS, NULL);
    assert_string_equal(slm_tokenizer_model(t), "llama");
    assert_int_equal(slm_tokenizer_n_vocab(t), N_TOKENS);
    assert_int_equal(slm_tokenizer_bos(t), 1);
    assert_int_equal(slm_tokenizer_eos(t), 2);
    assert_true(slm_tokenizer_is_eog(t, 2));
    assert_int_equal(count(t, "x", SLM_TOKENIZE_ADD_SPECIAL), 3); /* <s>, space, x: both defaults of this model */
    assert_int_equal(slm_tokenizer_find(t, slm_str("<0x0a>")), -1);
    assert_int_equal(slm_tokenizer_find(t, slm_str("<0x0A>")), 13);
    slm_tokenizer_free(t);

    t = open_good(false, N_KEYS, NULL);
    assert_string_equal(slm_tokenizer_model(t), "gpt2");
    assert_string_equal(slm_tokenizer_pre(t), "qwen2");
    assert_int_equal(count(t, "ab", SLM_TOKENIZE_ADD_SPECIAL), 1); /* merged; no BOS unless the file says so */
    slm_tokenizer_free(t);

    static const struct {
        bool spm;
        enum key key;
        void (*write)(struct slm_buf *);
        const char *text;
        size_t n; /* tokens of it, everything added */
    } rows[] = {
        {true, PAD, pad_none, "x", 3},
        {true, TOKENS, token_twice, "x", 3},
        {true, TOKENS, token_broken, "x", 3},
        {true, ADD_BOS, add_bos_no, "x", 2},
        {true, ADD_EOS, add_eos_yes, "x", 4},
        {true, ADD_SPACE, add_space_no, "x", 2},
        {true, BOS, NULL, "x", 3}, /* 1, as SentencePiece numbers them */
        {true, TYPES, NULL, "x", 3},
        {true, PRE, NULL, "x", 3},
        {false, PRE, pre_llama3, "x", 2},
        {false, BOS, NULL, "x", 1},
        {false, PRE, NULL, "ab", 1},
        {true, ARCHITECTURE, NULL, "x", 3},
        {true, ARCHITECTURE, phi3, "x</s> ", 4}, /* <s>, space, x, </s> */
        {true, ARCHITECTURE, NULL, "x</s> ", 6},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        t = open_good(rows[i].spm, rows[i].key, rows[i].write);
        const size_t n = count(t, rows[i].text, SLM_TOKENIZE_ADD_SPECIAL | SLM_TOKENIZE_PARSE_SPECIAL);
        if (n != rows[i].n) fail_msg("row %zu: %zu tokens, wanted %zu", i, n, rows[i].n);
        slm_tokenizer_free(t);
    }
    assert_null(open_good(true, MODEL, NULL)); /* a file without a tokenizer is no error */
    assert_null(open_good(true, MODEL, model_none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_spoiled), cmocka_unit_test(test_good)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
