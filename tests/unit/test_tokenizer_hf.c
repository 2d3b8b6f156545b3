/* SPDX-License-Identifier: MIT
 * Tokenizers of Hugging Face folders: what each file may say, and every way it can be wrong. Folders are made on the
 * spot; ids expected here follow from the tables by hand. Agreement with the original programs is tests/e2e's part. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_os.h"
#include "shared.h"
#include "slm.h"
#include "tiny_model.h"
#include "tokenizer/tokenizer.h"

#define MARK "\xe2\x96\x81" /* U+2581 */

/* A folder without any of the files that these tests write. */
static const char *empty_folder(void)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "config.json",
                                        "generation_config.json", "added_tokens.json", "special_tokens_map.json"};
    const char *folder = tiny_path("hf_tokenizer");
    mkdir(folder, 0700);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    return folder;
}

static void put(const char *folder, const char *name, const char *data, size_t bytes)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    fclose(file);
}

static void put_text(const char *folder, const char *name, const char *text) { put(folder, name, text, strlen(text)); }

static struct slm_tokenizer *open_folder(const char *folder, size_t n_vocab)
{
    struct slm_tokenizer *t = NULL;
    struct slm_error error = {0};
    if (slm_tokenizer_from_hf(folder, n_vocab, &t, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    assert_non_null(t);
    return t;
}

static struct slm_tokenizer *open_json(const char *json)
{
    const char *folder = empty_folder();
    put_text(folder, "tokenizer.json", json);
    return open_folder(folder, 0);
}

/* The ids of a text as "1 2 3". */
static const char *ids_of(const struct slm_tokenizer *t, const char *text, unsigned flags)
{
    static char shown[256];
    int32_t ids[64];
    size_t n = 0, used = 0;
    struct slm_error error = {0};
    if (slm_tokenizer_encode(t, text, strlen(text), flags, ids, 64, &n, &error) != SLM_OK)
        fail_msg("%s", error.message);
    assert_true(n <= 64);
    shown[0] = 0;
    for (size_t i = 0; i < n; i++)
        used += (size_t)snprintf(shown + used, sizeof shown - used, "%s%d", i ? " " : "", ids[i]);
    return shown;
}

#define BOTH (SLM_TOKENIZE_ADD_SPECIAL | SLM_TOKENIZE_PARSE_SPECIAL)
#define BYTES \
    "\"a\":0,\"b\":1,\"\\u0120\":2,\"ab\":3,\"\xc4\xa0" "ab\":4,\"c\":5,\"bc\":6,\"\xc3\x83\":9,\"\xc2\xa9\":10"
#define LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}"
#define BYTE_MODEL \
    "{\"type\":\"BPE\",\"unk_token\":null,\"vocab\":{" BYTES "},\"merges\":[\"b c\",[\"a\",\"b\"],\"\xc4\xa0 ab\"]}"
#define ADDED \
    "[{\"id\":7,\"content\":\"<s>\",\"special\":true},{\"id\":8,\"content\":\"<t>\",\"lstrip\":true,\"rstrip\":true}]"

#define FILE_WITH(more) "{\"pre_tokenizer\":" LEVEL ",\"model\":" BYTE_MODEL "," more "}"

static void byte_level(void **state)
{
    (void)state;
    /* The model stands last, though added tokens need its ids; the post-processor is a sequence, as Llama 3's is. */
    struct slm_tokenizer *t = open_json(
        "{\"added_tokens\":" ADDED ",\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":" LEVEL ",\"post_processor\":"
        "{\"type\":\"Sequence\",\"processors\":[" LEVEL ",{\"type\":\"TemplateProcessing\","
        "\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\"}}],\"pair\":[{\"SpecialToken\":{\"id\":\"?\"}}],"
        "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[7]}}}]},\"model\":" BYTE_MODEL "}");
    assert_string_equal(ids_of(t, "abc ab", 0), "0 6 4"); /* b c is the earlier rule */
    assert_string_equal(ids_of(t, "abc ab", BOTH), "7 0 6 4");
    assert_string_equal(ids_of(t, "<s>", SLM_TOKENIZE_PARSE_SPECIAL), "7");
    assert_string_equal(ids_of(t, "c \t<t>\n c", 0), "5 8 5"); /* white space on both sides belongs to it */
    assert_string_equal(slm_tokenizer_pre(t), "gpt-2");
    slm_tokenizer_free(t);
    /* A rule about a token that is not there never applies. */
    t = open_json("{\"added_tokens\":" ADDED ",\"pre_tokenizer\":" LEVEL ",\"model\":{\"vocab\":{\"a\":0,\"b\":1},"
                  "\"merges\":[\"a b\",\"a x\"]}}");
    assert_string_equal(ids_of(t, "ab", 0), "0 1");
    assert_int_equal(slm_tokenizer_type(t, 7), SLM_TOKEN_CONTROL);
    assert_int_equal(slm_tokenizer_type(t, 8), SLM_TOKEN_USER_DEFINED);
    slm_tokenizer_free(t);
}

/* The bytes of one form of an accented e are tokens, those of the other form too: the ids tell which form it was. */
static void normal_form_c(void **state)
{
    (void)state;
    static const char json[] =
        "{\"normalizer\":%s,\"pre_tokenizer\":" LEVEL ",\"model\":{\"type\":\"BPE\",\"vocab\":{\"e\":0,\"\xc3\x83\":1,"
        "\"\xc2\xa9\":2,\"\xc3\x8c\":3,\"\xc4\xa3\":4,\"\xc2\xa3\":5},\"merges\":[]}}";
    char text[1024];
    snprintf(text, sizeof text, json, "{\"type\":\"NFC\"}");
    struct slm_tokenizer *t = open_json(text);
    assert_string_equal(ids_of(t, "ee\xcc\x81" "e", 0), "0 1 2 0");            /* e + U+0301 = U+00E9 = C3 A9 */
    slm_tokenizer_free(t);
    snprintf(text, sizeof text, json, "null");
    t = open_json(text);
    assert_string_equal(ids_of(t, "e\xcc\x81", 0), "0 3 4"); /* U+0301 = CC 81, spelled U+00CC U+0123 */
    slm_tokenizer_free(t);
}

#define SPM_VOCAB \
    "\"<unk>\":0,\"<s>\":1,\"" MARK "\":2,\"a\":3,\"b\":4,\"" MARK "a\":5,\"ab\":6,\"<0xC3>\":7,\"<0xA9>\":8," \
    "\"a" MARK "\":9"
#define SPM_MODEL(merges) \
    "{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"fuse_unk\":true,\"byte_fallback\":true,\"vocab\":{" SPM_VOCAB \
    "},\"merges\":[" merges "]}"
#define PREPEND "{\"type\":\"Prepend\",\"prepend\":\"" MARK "\"}"
#define REPLACE "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" MARK "\"}"

static void like_sentencepiece(void **state)
{
    (void)state;
    struct slm_tokenizer *t = open_json("{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[" PREPEND "," REPLACE
                                        "]},\"model\":" SPM_MODEL("\"" MARK " a\",\"a b\"") ",\"added_tokens\":"
                                        "[{\"id\":1,\"content\":\"<s>\",\"special\":true}]}");
    assert_string_equal(slm_tokenizer_model(t), "llama-merges");
    assert_string_equal(ids_of(t, "ab a", 0), "5 4 5");
    assert_string_equal(ids_of(t, "bab", 0), "2 4 6");
    assert_string_equal(ids_of(t, "\xc3\xa9", 0), "2 7 8");            /* byte tokens */
    assert_string_equal(ids_of(t, "xyb\xc3\xb8", 0), "2 0 4 0");       /* runs of unknown characters are one token */
    assert_string_equal(ids_of(t, "b<s>b", SLM_TOKENIZE_PARSE_SPECIAL), "2 4 1 2 4");
    char text[32];
    size_t n = 0;
    assert_int_equal(slm_tokenizer_decode(t, (const int32_t[]){2, 4, 6}, 3, false, text, sizeof text, &n, NULL),
                     SLM_OK);
    assert_int_equal(n, 3);
    assert_memory_equal(text, "bab", 3);
    slm_tokenizer_free(t);
}

static void metaspace(void **state)
{
    (void)state;
    static const struct { const char *scheme, *split, *text, *ids; } rows[] = {
        {"first", "false", "b", "2 4"},      {"first", "false", " b", "2 4"},   {"first", "false", "b<s>b", "2 4 1 4"},
        {"always", "false", "b<s>b", "2 4 1 2 4"}, {"never", "false", "b a", "4 5"},
        {"never", "false", "a b", "9 4"},    {"never", "true", "a b", "3 2 4"}, /* cut: "a " cannot merge */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char json[2048];
        snprintf(json, sizeof json, "{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"" MARK "\","
                 "\"prepend_scheme\":\"%s\",\"split\":%s},\"model\":" SPM_MODEL("\"" MARK " a\",\"a " MARK "\"")
                 ",\"added_tokens\":[{\"id\":1,\"content\":\"<s>\",\"special\":true}]}", rows[i].scheme, rows[i].split);
        struct slm_tokenizer *t = open_json(json);
        assert_string_equal(ids_of(t, rows[i].text, SLM_TOKENIZE_PARSE_SPECIAL), rows[i].ids);
        slm_tokenizer_free(t);
    }
}

static void small_files(void **state)
{
    (void)state;
    const char *folder = empty_folder();
    struct slm_tokenizer *t = NULL;
    assert_int_equal(slm_tokenizer_from_hf(folder, 100, &t, NULL), SLM_OK);
    assert_null(t);
    put_text(folder, "tokenizer.json", FILE_WITH("\"added_tokens\":" ADDED));
    put_text(folder, "special_tokens_map.json", "{\"bos_token\":\"<t>\",\"eos_token\":{\"content\":\"c\"}}");
    put_text(folder, "tokenizer_config.json", "{\"bos_token\":{\"content\":\"<s>\",\"special\":true},"
             "\"add_bos_token\":true,\"pad_token\":null,"
             "\"added_tokens_decoder\":{\"1\":{\"content\":\"not read here\"}}}");
    put_text(folder, "generation_config.json", "{\"eos_token_id\":[8,12],\"temperature\":0.6}");
    t = open_folder(folder, 13);
    assert_int_equal(slm_tokenizer_n_vocab(t), 13);
    assert_int_equal(slm_tokenizer_bos(t), 7);
    assert_int_equal(slm_tokenizer_eos(t), 5);
    assert_string_equal(ids_of(t, "a", BOTH), "7 0");
    assert_true(slm_tokenizer_is_eog(t, 5) && slm_tokenizer_is_eog(t, 8) && slm_tokenizer_is_eog(t, 12));
    assert_false(slm_tokenizer_is_eog(t, 7));
    assert_int_equal(slm_tokenizer_type(t, 12), SLM_TOKEN_UNUSED);
    assert_int_equal(slm_tokenizer_find(t, slm_str("[PAD12]")), 12);
    slm_tokenizer_free(t);
}

/* ---- Unigram; the sums are in the comments, more of it in tests/e2e/test_tokenizer_trained.py --------------- */

#define UNIGRAM(more) \
    "{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],[\"" MARK "\",-2],[\"a\",-1],[\"b\",-1.5]," \
    "[\"ab\",-2.25],[\"" MARK "a\",-2.5],[\"bb\",-3]]" more "}"
#define UNIGRAM_FILE(before, more) "{" before "\"pre_tokenizer\":{\"type\":\"Metaspace\"},\"model\":" UNIGRAM(more) "}"

static void unigram(void **state)
{
    (void)state;
    const char *folder = empty_folder();
    put_text(folder, "tokenizer.json", UNIGRAM_FILE("", ""));
    struct slm_tokenizer *t = open_folder(folder, 0);
    assert_string_equal(slm_tokenizer_model(t), "t5");
    assert_string_equal(ids_of(t, "ab", 0), "5 3");     /* _a b -4 before _ ab -4.25, _ a b -4.5 */
    assert_string_equal(ids_of(t, "aab", 0), "5 4");    /* _a ab -4.75 before _a a b -5 */
    assert_string_equal(ids_of(t, "abb", 0), "5 6");    /* _a bb and _a b b are both -5.5: the piece that starts first stays */
    assert_string_equal(ids_of(t, "xyab", 0), "1 0 4"); /* the unknown is one; ab -2.25 before a b -2.5 */
    assert_string_equal(ids_of(t, "ab  b", 0), "5 3 1 1 3");
    assert_string_equal(ids_of(t, "<unk>", 0), "1 0"); /* no text names the unknown token: these are characters */
    assert_string_equal(ids_of(t, "\xff" "a", 0), "1 0 2");
    slm_tokenizer_free(t);
    put_text(folder, "tokenizer.json",
             UNIGRAM_FILE("\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Replace\",\"pattern\":"
                          "{\"String\":\"c\"},\"content\":\"ab\"},{\"type\":\"Lowercase\"},{\"type\":\"Strip\"},{\"type\":"
                          "\"StripAccents\"},{\"type\":\"NFKC\"}]},", ""));
    t = open_folder(folder, 0);
    assert_string_equal(ids_of(t, " A\xcc\x81" "cB ", 0), "5 4 3"); /* _a ab b -6.25 before _a a bb -6.5 */
    assert_string_equal(ids_of(t, "\xef\xbc\xa1", 0), "5");       /* full-width A, lower case first */
    slm_tokenizer_free(t);
}

/* ---- what must be refused ---------------------------------------------------------------------------------- */

#define JSON(pre, model) "{\"pre_tokenizer\":" pre ",\"model\":" model "}"
#define META "{\"type\":\"Metaspace\"}"
#define NORMAL(steps) "{\"normalizer\":" steps ",\"pre_tokenizer\":" META ",\"model\":" UNIGRAM("") "}"
#define VOCAB(entries) JSON(LEVEL, "{\"type\":\"BPE\",\"vocab\":{" entries "},\"merges\":[]}")
#define SPLIT(pattern) \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" pattern "\"}," \
    "\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":false," \
    "\"use_regex\":false}]}"

static const struct { const char *json; slm_status status; const char *says; } bad[] = {
    {"", SLM_ERR_FORMAT, "ends too early"},
    {"[]", SLM_ERR_FORMAT, "an object is expected"},
    {"{}", SLM_ERR_FORMAT, "'model' is missing"},
    {"{\"model\":3}", SLM_ERR_FORMAT, "must be one object"},
    {"{\"model\":{},\"model\":{}}", SLM_ERR_FORMAT, "must be one object"},
    {JSON(LEVEL, "{\"type\":\"WordPiece\",\"vocab\":{\"a\":0}}"), SLM_ERR_UNSUPPORTED, "WordPiece"},
    {JSON(LEVEL, "{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1.5]]}"), SLM_ERR_UNSUPPORTED, "combination"},
    {JSON(META, "{\"type\":\"Unigram\",\"vocab\":{\"a\":0}}"), SLM_ERR_FORMAT, "Unigram needs a list"},
    {JSON(META, "{\"type\":\"BPE\",\"vocab\":[[\"a\",0]]}"), SLM_ERR_FORMAT, "BPE an object"},
    {JSON(META, "{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]],\"unk_id\":1}"), SLM_ERR_FORMAT, "model.unk_id 1"},
    {JSON(META, "{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]],\"unk_id\":0.5}"), SLM_ERR_FORMAT, "model.unk_id 92"},
    {JSON(META, "{\"type\":\"Unigram\",\"vocab\":[[\"a\",1e999]]}"), SLM_ERR_FORMAT, "score of token 0 is inf"},
    {JSON(META, "{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}"), SLM_ERR_FORMAT, "log-probability"},
    {JSON(META, "{\"type\":\"Unigram\",\"vocab\":[3]}"), SLM_ERR_FORMAT, "log-probability"},
    {NORMAL("{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Sequence\",\"normalizers\":[{\"type\":"
            "\"Nmt\"}]}]}"), SLM_ERR_UNSUPPORTED, "normalizer.normalizers[1].normalizers[0]: 'Nmt'"},
    {NORMAL("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a+\"},\"content\":\"\"}"), SLM_ERR_UNSUPPORTED,
     "normalizer: 'Replace'"},
    {NORMAL("{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"?\"}"), SLM_ERR_FORMAT,
     "normalizer.precompiled_charsmap is not base64"},
    {NORMAL("{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}"), SLM_ERR_FORMAT, "table of normalizations"},
    {NORMAL("{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"BAAAAAAAAABh\"}"), SLM_ERR_FORMAT, "end with a NUL"},
    {"{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"CTC\"}]},\"model\":" BYTE_MODEL "}",
     SLM_ERR_UNSUPPORTED, "decoder.decoders[1]: 'CTC'"},
    {JSON(LEVEL, "{\"vocab\":{\"a\":0},\"merges\":[],\"end_of_word_suffix\":\"</w>\"}"), SLM_ERR_UNSUPPORTED, "words"},
    {VOCAB(""), SLM_ERR_FORMAT, "empty"},
    {VOCAB("\"a\":-1"), SLM_ERR_FORMAT, "'a' is -1"},
    {VOCAB("\"a\":1099511627776"), SLM_ERR_LIMIT, "1099511627776"},
    {VOCAB("\"a\":1e3"), SLM_ERR_FORMAT, "must be an integer"},
    {VOCAB("\"a\":\"0\""), SLM_ERR_FORMAT, "must be an integer"},
    {VOCAB("\"a\":0,\"b\":0"), SLM_ERR_FORMAT, "both have the id 0"},
    {VOCAB("\"\\ud800\":0"), SLM_ERR_FORMAT, "surrogate"},
    {JSON(LEVEL, "{\"vocab\":{\"a\":0},\"merges\":[\"aa\"]}"), SLM_ERR_FORMAT, "merge 0 is 'aa'"},
    {JSON(LEVEL, "{\"vocab\":{\"a\":0},\"merges\":[[\"a\",\"\"]]}"), SLM_ERR_FORMAT, "merge 0"},
    {JSON(LEVEL, "{\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}"), SLM_ERR_FORMAT, "two strings"},
    {JSON(LEVEL, "{\"vocab\":{\"a\":0},\"merges\":[3]}"), SLM_ERR_FORMAT, "a merge must be"},
    {JSON(LEVEL, "{\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"<unk>\"}"), SLM_ERR_FORMAT, "<unk>"},
    {JSON("null", BYTE_MODEL), SLM_ERR_UNSUPPORTED, "combination"},
    {JSON("3", BYTE_MODEL), SLM_ERR_FORMAT, "an object or null"},
    {JSON("{\"type\":\"Whitespace\"}", BYTE_MODEL), SLM_ERR_UNSUPPORTED, "'Whitespace'"},
    {JSON("{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", BYTE_MODEL), SLM_ERR_UNSUPPORTED, "'ByteLevel'"},
    {JSON(SPLIT("(a+)+$"), BYTE_MODEL), SLM_ERR_UNSUPPORTED, "(a+)+$"},
    {JSON(SPLIT("(?<=a)b"), BYTE_MODEL), SLM_ERR_UNSUPPORTED, "(?<=a)b"},
    {JSON("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\"}]}", BYTE_MODEL), SLM_ERR_UNSUPPORTED,
     "pre_tokenizer.pretokenizers[0]: 'Digits'"},
    {FILE_WITH("\"added_tokens\":{}"), SLM_ERR_FORMAT, "must be a list"},
    {FILE_WITH("\"added_tokens\":[3]"), SLM_ERR_FORMAT, "must be an object"},
    {FILE_WITH("\"added_tokens\":[{\"id\":20}]"), SLM_ERR_FORMAT, "content"},
    {FILE_WITH("\"added_tokens\":[{\"content\":\"x\"}]"), SLM_ERR_FORMAT,
     "'x' is -1"},
    {FILE_WITH("\"added_tokens\":[{\"id\":0,\"content\":\"x\"}]"),
     SLM_ERR_FORMAT, "both have the id 0"},
    {FILE_WITH("\"post_processor\":{\"single\":[{\"SpecialToken\":{\"id\":"
     "\"a\"}},{\"SpecialToken\":{\"id\":\"b\"}},{\"Sequence\":{\"id\":\"A\"}}]}"), SLM_ERR_UNSUPPORTED,
     "2 tokens in front"},
    {FILE_WITH("\"post_processor\":{\"single\":[{\"SpecialToken\":{\"id\":"
     "\"zzz\"}}]}"), SLM_ERR_FORMAT, "'zzz' is not in"},
    {JSON(LEVEL, BYTE_MODEL) "x", SLM_ERR_FORMAT, "follows the document"},
};

static void refuses(const char *folder, slm_status status, const char *says)
{
    struct slm_tokenizer *t = NULL;
    struct slm_error error = {0};
    const slm_status got = slm_tokenizer_from_hf(folder, 0, &t, &error);
    if (got != status || !strstr(error.message, says))
        fail_msg("expected %d '%s', got %d '%s'", status, says, got, error.message);
    assert_null(t);
    assert_non_null(strstr(error.where, "tokenizer"));
    assert_int_equal(slm_tokenizer_from_hf(folder, 0, &t, NULL), status); /* the same without a message */
}

static void bad_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *folder = empty_folder();
        put_text(folder, "tokenizer.json", bad[i].json);
        refuses(folder, bad[i].status, bad[i].says);
    }
    /* Sequences in sequences, ten thousand deep: the JSON reader ends it. */
    struct slm_buf deep = {0};
    slm_buf_puts(&deep, "{\"normalizer\":");
    for (int i = 0; i < 10000; i++) slm_buf_puts(&deep, "{\"type\":\"Sequence\",\"normalizers\":[");
    const char *folder = empty_folder();
    put(folder, "tokenizer.json", deep.data, deep.len);
    slm_buf_release(&deep);
    refuses(folder, SLM_ERR_LIMIT, "more than");
}

/* ---- tokenizer.model --------------------------------------------------------------------------------------- */

/* Pieces, scores and types; then trainer and normalizer specifications: BPE, no change of text. */
#define PIECE(n, len, text, score, type) "\x0a" n "\x0a" len text "\x15" score "\x18" type
#define ZERO "\0\0\0\0"
#define PIECES \
    PIECE("\x0e", "\x05", "<unk>", ZERO, "\2") PIECE("\x0c", "\x03", "<s>", ZERO, "\3") \
    PIECE("\x0d", "\x04", "</s>", ZERO, "\3") PIECE("\x0c", "\x03", MARK, "\0\0\x80\xbf", "\1") \
    PIECE("\x0a", "\x01", "a", "\0\0\x80\xbf", "\1") PIECE("\x0d", "\x04", MARK "a", "\0\0\0\xbf", "\1")
#define SPEC_BPE "\x12\2\x18\2"
#define SPEC_PLAIN "\x1a\2\x20\0"

static void sentencepiece(void **state)
{
    (void)state;
    static const char good[] = PIECES SPEC_BPE SPEC_PLAIN;
    const char *folder = empty_folder();
    put(folder, "tokenizer.model", good, sizeof good - 1);
    put_text(folder, "added_tokens.json", "{\"<|im_end|>\":6}");
    struct slm_tokenizer *t = open_folder(folder, 0);
    assert_string_equal(slm_tokenizer_model(t), "llama");
    assert_string_equal(ids_of(t, "aa<|im_end|>", BOTH), "1 5 4 6");
    assert_string_equal(ids_of(t, "xy", 0), "3 0");
    assert_int_equal(slm_tokenizer_eos(t), 2);
    assert_true(slm_tokenizer_is_eog(t, 6));
    slm_tokenizer_free(t);
    static const char squeezes[] = PIECES SPEC_BPE, words[] = PIECES "\x12\2\x18\3", suffix[] = PIECES "\x12\3\xc0\1\1",
                      plain_spaces[] = PIECES "\x1a\2\x28\0", bad_table[] = PIECES "\x1a\5\x12\3xyz";
    static const char type_9[] = PIECE("\x0a", "\x01", "a", ZERO, "\x09");
    put(folder, "tokenizer.model", squeezes, sizeof squeezes - 1); /* what no specification says is the default */
    t = open_folder(folder, 0);
    assert_string_equal(slm_tokenizer_model(t), "llama");
    assert_string_equal(ids_of(t, "  a   a ", 0), "5 5");
    slm_tokenizer_free(t);
    put(folder, "tokenizer.model", PIECES, sizeof PIECES - 1);
    t = open_folder(folder, 0);
    assert_string_equal(slm_tokenizer_model(t), "t5");
    assert_string_equal(ids_of(t, " aa", 0), "5 4");
    slm_tokenizer_free(t);
    put(folder, "tokenizer.model", words, sizeof words - 1);
    refuses(folder, SLM_ERR_UNSUPPORTED, "type word");
    put(folder, "tokenizer.model", suffix, sizeof suffix - 1);
    refuses(folder, SLM_ERR_UNSUPPORTED, "treat_whitespace_as_suffix");
    put(folder, "tokenizer.model", plain_spaces, sizeof plain_spaces - 1);
    refuses(folder, SLM_ERR_UNSUPPORTED, "plain spaces");
    put(folder, "tokenizer.model", bad_table, sizeof bad_table - 1);
    refuses(folder, SLM_ERR_FORMAT, "table of normalizations has 3 bytes");
    put(folder, "tokenizer.model", type_9, sizeof type_9 - 1);
    refuses(folder, SLM_ERR_FORMAT, "type 9");
    size_t n_whole = 0;
    for (size_t n = 1; n < sizeof good - 1; n++) { /* cut anywhere */
        struct slm_error error = {0};
        put(folder, "tokenizer.model", good, n);
        const bool whole = slm_tokenizer_from_hf(folder, 0, &t, &error) == SLM_OK;
        if (whole) slm_tokenizer_free(t);
        n_whole += whole;
        assert_true(whole || error.message[0] != 0);
    }
    assert_int_equal(n_whole, 7); /* behind a piece or a specification */
}

static void tiktoken(void **state)
{
    (void)state;
    const char *folder = empty_folder();
    put_text(folder, "tokenizer.model", "YQ== 0\nYg== 1\nYWI= 2\nIA== 3\n"); /* a, b, ab, space */
    struct slm_tokenizer *t = open_folder(folder, 0);
    assert_int_equal(slm_tokenizer_n_vocab(t), 4 + 256);
    assert_string_equal(ids_of(t, "ab ba<|eot_id|>", BOTH), "4 2 3 1 0 13");
    assert_int_equal(slm_tokenizer_find(t, slm_str("<|reserved_special_token_247|>")), 259);
    assert_true(slm_tokenizer_is_eog(t, 13));
    slm_tokenizer_free(t);
    put_text(folder, "tokenizer_config.json", "{\"bos_token\":\"<b>\",\"added_tokens_decoder\":{\"4\":"
             "{\"content\":\"<b>\",\"special\":true}}}");
    t = open_folder(folder, 0);
    assert_int_equal(slm_tokenizer_n_vocab(t), 5);
    assert_int_equal(slm_tokenizer_bos(t), 4);
    slm_tokenizer_free(t);
    static const char *const lines[] = {"YQ==", "YQ== ", "YQ 0", "Y!== 0", "YQ== -1", "YQ== 0x", " 0",
                                        "YQ== 9999999999"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        put_text(folder, "tokenizer.model", lines[i]);
        refuses(folder, SLM_ERR_FORMAT, "line 1 is");
    }
}

/* ---- failures of the machine ------------------------------------------------------------------------------- */

static slm_status open_and_close(void *folder, struct slm_error *error)
{
    struct slm_tokenizer *t = NULL;
    const slm_status status = slm_tokenizer_from_hf(folder, 0, &t, error);
    slm_tokenizer_free(t);
    return status;
}

static void memory_runs_out(void **state)
{
    (void)state;
    const char *folder = empty_folder();
    put_text(folder, "tokenizer.json", FILE_WITH("\"added_tokens\":" ADDED));
    put_text(folder, "tokenizer_config.json", "{\"bos_token\":\"\\u003cs>\"}");
    fake_os_every_failure(NULL, FAKE_MEMORY, false, open_and_close, (void *)(uintptr_t)folder);
    put_text(folder, "tokenizer.json",
             UNIGRAM_FILE("\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"BAAAAAAAAAAA\"},", ""));
    fake_os_every_failure(NULL, FAKE_MEMORY, false, open_and_close, (void *)(uintptr_t)folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byte_level), cmocka_unit_test(normal_form_c), cmocka_unit_test(like_sentencepiece),
        cmocka_unit_test(metaspace), cmocka_unit_test(unigram), cmocka_unit_test(small_files),
        cmocka_unit_test(bad_json), cmocka_unit_test(sentencepiece), cmocka_unit_test(tiktoken),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
