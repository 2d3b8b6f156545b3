/* SPDX-License-Identifier: MIT
 * Pre-tokenizer patterns: how byte-level vocabularies cut text into words before merging. A wrong pattern gives wrong
 * tokens without any error, so this is a table, checked against Hugging Face tokenizers in tests/e2e.
 *
 * The names are those that GGUF files carry in tokenizer.ggml.pre; the patterns are those of the models' own
 * tokenizer.json, rewritten in three ways that change nothing they match:
 *   - \s is Unicode White_Space, spelled out: PCRE2's \s also takes U+180E;
 *   - two-step rules (isolate digits, then cut) become one pattern;
 *   - every pattern is anchored and matches something at every position, so words tile the text.
 * Each alternative is a run of single characters, so matching is linear and needs no stack whatever the text. */
#include <stdio.h>
#include "base/os.h"
#include "tokenizer/internal.h"

#define S "\\t-\\r\\x{85}\\p{Z}" /* White_Space, inside a class */
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
/* Blank runs: up to a line end; else all but the last before a word (which takes it); else the rest. */
#define BLANKS "[" S "]+(?![^" S "])|[" S "]+"
#define LINE_BLANKS "[" S "]*[\\r\\n]+|" BLANKS
#define WORD "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define SIGNS " ?[^" S "\\p{L}\\p{N}]+"
/* Words that break between lower and upper case; marks count as letters. */
#define UPPERS "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWERS "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(tail) \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPERS "*" LOWERS "+" tail "|[^\\r\\n\\p{L}\\p{N}]?" UPPERS "+" LOWERS "*" tail
/* Punctuation that the oldest rules isolate first. */
#define MARKS "\\p{P}$+<=>\\^~|"

static const char *const gpt2_names[] = {
    "gpt-2", "phi-2", "jina-es", "jina-de", "jina-v1-en", "jina-v2-es", "jina-v2-de", "jina-v2-code", "roberta-bpe",
    "gigachat", "a.x-4.0", "mellum", "modern-bert", "mpt", "olmo", "jais", "exaone4", "trillion", "granite-docling",
    NULL};
static const char *const llama3_names[] = {
    "llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano", NULL};
static const char *const cl100k_names[] = {"dbrx", "smaug-bpe", "glm4", "chatglm-bpe", NULL}; /* Phi-4 says "dbrx" */
static const char *const qwen2_names[] = {
    "qwen2", "deepseek-r1-qwen", "stablelm2", "megrez", "hunyuan", "solar-open", "kormo", "f2llmv2", "grok-2", NULL};
static const char *const qwen35_names[] = {"qwen35", NULL};
static const char *const gpt4o_names[] = {"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2", NULL};
static const char *const tekken_names[] = {"tekken", NULL};
static const char *const smollm_names[] = {
    "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2", NULL};
static const char *const default_names[] = {"default", NULL};

static const struct slm_pretokenizer table[] = {
    {gpt2_names, "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|" SIGNS "|" BLANKS, false, false},
    {llama3_names, CONTRACTIONS "|" WORD "|\\p{N}{1,3}|" SIGNS "[\\r\\n]*|" LINE_BLANKS, true, true},
    {cl100k_names, CONTRACTIONS "|" WORD "|\\p{N}{1,3}|" SIGNS "[\\r\\n]*|" LINE_BLANKS, false, false},
    {qwen2_names, CONTRACTIONS "|" WORD "|\\p{N}|" SIGNS "[\\r\\n]*|" LINE_BLANKS, false, false},
    {qwen35_names,
     CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^" S "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" LINE_BLANKS,
     false, false},
    {gpt4o_names, CASED(CONTRACTIONS "?") "|\\p{N}{1,3}|" SIGNS "[\\r\\n/]*|" LINE_BLANKS, false, false},
    {tekken_names, CASED("") "|\\p{N}|" SIGNS "[\\r\\n/]*|" LINE_BLANKS, true, true},
    /* Digits stand alone, so blanks before a digit stay whole as they do at the end. */
    {smollm_names,
     "\\p{N}|'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+|" SIGNS "|[" S "]+(?![^" S "\\p{N}])|[" S "]+", false, false},
    /* Files older than tokenizer.ggml.pre: punctuation runs alone, digits in threes. */
    {default_names,
     "[" MARKS "]+|[0-9]{3}|(?:(?![0-9]{3})\\p{N})+| ?\\p{L}+| ?[^" S "\\p{L}\\p{N}" MARKS "]+"
     "|[" S "]+(?![^" S MARKS "])|[" S "]+", false, false},
};
enum { N_ROWS = sizeof table / sizeof *table };

const struct slm_pretokenizer *slm_pretokenizer_find(struct slm_str name)
{
    for (size_t i = 0; i < N_ROWS; i++)
        for (const char *const *n = table[i].names; *n; n++)
            if (slm_str_is(name, *n)) return &table[i];
    return NULL;
}

const struct slm_pretokenizer *slm_pretokenizer_like(const struct slm_pretokenizer *row, bool ignore_merges)
{
    for (size_t i = 0; i < N_ROWS; i++)
        if (table[i].ignore_merges == ignore_merges && strcmp(table[i].pattern, row->pattern) == 0) return &table[i];
    return NULL;
}

void slm_pretokenizer_list(char *out, size_t cap)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < N_ROWS && used < cap; i++) {
        const int n = snprintf(out + used, cap - used, "%s%s", i ? ", " : "", table[i].names[0]);
        used += n > 0 ? (size_t)n : cap;
    }
}

static void *pcre_alloc(size_t bytes, void *user)
{
    (void)user;
    return slm_alloc(1, bytes, "tokenizer pattern", NULL);
}

static void pcre_release(void *memory, void *user)
{
    (void)user;
    slm_release(memory);
}

pcre2_general_context *slm_pretokenizer_memory(void)
{
    return pcre2_general_context_create(pcre_alloc, pcre_release, NULL);
}

slm_status slm_pretokenizer_compile(const struct slm_pretokenizer *row, const char *where, pcre2_code **out,
                                    struct slm_error *error)
{
    pcre2_general_context *memory = slm_pretokenizer_memory();
    pcre2_compile_context *context = memory ? pcre2_compile_context_create(memory) : NULL;
    pcre2_code *code = NULL;
    int status = PCRE2_ERROR_NOMEMORY;
    size_t at = 0;
    if (context)
        code = pcre2_compile((PCRE2_SPTR)row->pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED,
                             &status, &at, context);
    pcre2_compile_context_free(context);
    pcre2_general_context_free(memory);
    if (!code) {
        SLM_ASSERT(status == PCRE2_ERROR_NOMEMORY || status == PCRE2_ERROR_HEAP_FAILED ||
                   status == 121 /* "failed to allocate heap memory" */);
        return slm_fail_memory(error, where, strlen(row->pattern));
    }
    /* Where pages cannot be writable and executable this fails, and the interpreter matches instead. */
    (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    *out = code;
    return SLM_OK;
}
