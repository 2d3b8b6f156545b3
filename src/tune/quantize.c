/* SPDX-License-Identifier: MIT
 * slm_quantize: a conversion (convert.c) whose types come from a mixture and whose scales are searched for.
 *
 * A mixture is a type and exceptions: matrices that models are most sensitive to get more bits, depending on what they
 * are, which layer they are of and how many heads share them. The rows below are llama.cpp's choices, so that a name
 * like Q4_K_M means the same files, for models this library does not run as well.
 *
 * Deliberately not here: the search (kernel/simd_search.h), files (convert.c), how an importance matrix comes about. */
#include <stdio.h>

#include "base/cpu.h"
#include "families/families.h"
#include "model/model.h"
#include "tune/convert.h"
#include "tune/imatrix.h"

/* ---- mixtures ---------------------------------------------------------------------------------------------------- */

struct mixture { const char *name; enum slm_dtype type; uint32_t file_type; };

/* What can be asked for, with the number general.file_type has in llama.cpp. Names without exceptions below are plain
 * types, of which only the head differs. */
static const struct mixture mixtures[] = {
    {"Q2_K", SLM_DTYPE_Q2_K, 10}, {"Q2_K_S", SLM_DTYPE_Q2_K, 21}, {"Q3_K_S", SLM_DTYPE_Q3_K, 11},
    {"Q3_K_M", SLM_DTYPE_Q3_K, 12}, {"Q3_K_L", SLM_DTYPE_Q3_K, 13}, {"Q4_K_S", SLM_DTYPE_Q4_K, 14},
    {"Q4_K_M", SLM_DTYPE_Q4_K, 15}, {"Q5_K_S", SLM_DTYPE_Q5_K, 16}, {"Q5_K_M", SLM_DTYPE_Q5_K, 17},
    {"Q6_K", SLM_DTYPE_Q6_K, 18}, {"Q4_0", SLM_DTYPE_Q4_0, 2}, {"Q4_1", SLM_DTYPE_Q4_1, 3},
    {"Q5_0", SLM_DTYPE_Q5_0, 8}, {"Q5_1", SLM_DTYPE_Q5_1, 9}, {"Q8_0", SLM_DTYPE_Q8_0, 7},
    {"IQ4_NL", SLM_DTYPE_IQ4_NL, 25}, {"IQ4_XS", SLM_DTYPE_IQ4_XS, 30}, {"TQ1_0", SLM_DTYPE_TQ1_0, 36},
    {"TQ2_0", SLM_DTYPE_TQ2_0, 37}, {"I2_S", SLM_DTYPE_I2_S, SLM_FILE_TYPE_NONE},
    {"F16", SLM_DTYPE_F16, 1}, {"BF16", SLM_DTYPE_BF16, 32}, {"F32", SLM_DTYPE_F32, 0},
};
/* Names people use for the usual mixture of a type. */
static const struct { const char *name, *means; } aliases[] = {
    {"Q3_K", "Q3_K_M"}, {"Q4_K", "Q4_K_M"}, {"Q5_K", "Q5_K_M"},
};

enum role { ROLE_OTHER, ROLE_HEAD, ROLE_EMBEDDING, ROLE_ATTN_K, ROLE_ATTN_V, ROLE_ATTN_OUT, ROLE_FFN_DOWN };

/* A part of the tensor's name says what it is; the first row that fits counts. */
static const struct { const char *part; enum role role; } roles[] = {
    {"token_embd.weight", ROLE_EMBEDDING}, {"attn_qkv.weight", ROLE_ATTN_V}, {"attn_kv_b.weight", ROLE_ATTN_V},
    {"attn_v.weight", ROLE_ATTN_V}, {"attn_k.weight", ROLE_ATTN_K}, {"attn_output.weight", ROLE_ATTN_OUT},
    {"ffn_down", ROLE_FFN_DOWN},
};

/* Of a model of n layers, layer i. shared_4: four query heads or more share a key head. large: as its family says. */
struct position { uint32_t i, n; bool shared_4, has_imatrix, experts_8, large, falcon; };

static bool always(const struct position *p) { return p->n > 0; }
static bool shared_4(const struct position *p) { return p->shared_4; }
static bool experts_8(const struct position *p) { return p->experts_8; }
static bool large(const struct position *p) { return p->large; }
static bool large_shared_4(const struct position *p) { return p->large && p->shared_4; }
static bool falcon(const struct position *p) { return p->falcon; }
static bool first_2(const struct position *p) { return p->i < 2; }
static bool first_4(const struct position *p) { return p->i < 4; }
static bool first_16th(const struct position *p) { return p->i < p->n / 16; }
static bool first_8th(const struct position *p) { return p->i < p->n / 8; }
static bool first_8th_blind(const struct position *p) { return first_8th(p) && !p->has_imatrix; }
static bool first_8th_seen(const struct position *p) { return first_8th(p) && p->has_imatrix; }
/* The first and the last eighth, and every third layer between. */
static bool spread(const struct position *p)
{
    return p->i < p->n / 8 || p->i >= 7 * p->n / 8 || (p->i - p->n / 8) % 3 == 2;
}

static bool falcon_first_16th(const struct position *p) { return p->falcon && first_16th(p); }
static bool falcon_spread(const struct position *p) { return p->falcon && spread(p); }

/* The first row that fits counts. */
static const struct exception {
    const char *mixture; /* NULL: each but those of floats, of which nothing is lost */
    enum role role;
    bool (*where)(const struct position *);
    enum slm_dtype type;
} exceptions[] = {
    /* Of eight experts the attention is a small part, whatever it costs. */
    {NULL, ROLE_ATTN_V, experts_8, SLM_DTYPE_Q8_0}, {NULL, ROLE_ATTN_K, experts_8, SLM_DTYPE_Q8_0},
    {"Q2_K", ROLE_ATTN_OUT, experts_8, SLM_DTYPE_Q5_K}, {"Q3_K_S", ROLE_ATTN_OUT, experts_8, SLM_DTYPE_Q5_K},
    {"Q3_K_M", ROLE_ATTN_OUT, experts_8, SLM_DTYPE_Q5_K}, {"Q3_K_L", ROLE_ATTN_OUT, experts_8, SLM_DTYPE_Q3_K},
    {"Q4_K_S", ROLE_ATTN_OUT, experts_8, SLM_DTYPE_Q5_K}, {"Q4_K_M", ROLE_ATTN_OUT, experts_8, SLM_DTYPE_Q5_K},
    {"IQ4_NL", ROLE_ATTN_OUT, experts_8, SLM_DTYPE_Q5_K}, {"IQ4_XS", ROLE_ATTN_OUT, experts_8, SLM_DTYPE_Q5_K},
    /* A large model's attn_v is small beside the rest: what would get 3 or 4 bits gets 5. */
    {"Q2_K", ROLE_ATTN_V, large, SLM_DTYPE_Q5_K}, {"Q2_K_S", ROLE_ATTN_V, large_shared_4, SLM_DTYPE_Q5_K},
    {"Q3_K_S", ROLE_ATTN_V, large, SLM_DTYPE_Q5_K}, {"Q3_K_M", ROLE_ATTN_V, large, SLM_DTYPE_Q5_K},
    {"Q4_K_S", ROLE_ATTN_V, large, SLM_DTYPE_Q5_K},
    /* Falcon's ffn_down and attn_output lose less than others. */
    {"Q2_K", ROLE_ATTN_OUT, falcon, SLM_DTYPE_Q2_K}, {"Q3_K_M", ROLE_ATTN_OUT, falcon, SLM_DTYPE_Q3_K},
    {"Q3_K_L", ROLE_ATTN_OUT, falcon, SLM_DTYPE_Q4_K}, {"Q3_K_L", ROLE_FFN_DOWN, falcon, SLM_DTYPE_Q4_K},
    {"Q3_K_M", ROLE_FFN_DOWN, falcon_first_16th, SLM_DTYPE_Q5_K},
    {"Q3_K_M", ROLE_FFN_DOWN, falcon_spread, SLM_DTYPE_Q4_K}, {"Q3_K_M", ROLE_FFN_DOWN, falcon, SLM_DTYPE_Q3_K},
    {"Q4_K_M", ROLE_FFN_DOWN, falcon_first_16th, SLM_DTYPE_Q6_K},
    {"Q4_K_M", ROLE_FFN_DOWN, falcon_spread, SLM_DTYPE_Q5_K}, {"Q4_K_M", ROLE_FFN_DOWN, falcon, SLM_DTYPE_Q4_K},
    {"Q4_K_S", ROLE_FFN_DOWN, falcon, SLM_DTYPE_Q4_K}, {NULL, ROLE_HEAD, falcon, SLM_DTYPE_Q8_0},
    /* All models. */
    {"Q2_K", ROLE_ATTN_V, shared_4, SLM_DTYPE_Q4_K}, {"Q2_K", ROLE_ATTN_V, always, SLM_DTYPE_Q3_K},
    {"Q2_K", ROLE_FFN_DOWN, always, SLM_DTYPE_Q3_K}, {"Q2_K", ROLE_ATTN_OUT, always, SLM_DTYPE_Q3_K},
    {"Q2_K_S", ROLE_ATTN_V, shared_4, SLM_DTYPE_Q4_K}, {"Q2_K_S", ROLE_FFN_DOWN, first_8th, SLM_DTYPE_Q4_K},
    {"Q3_K_M", ROLE_ATTN_V, first_2, SLM_DTYPE_Q5_K}, {"Q3_K_M", ROLE_ATTN_V, always, SLM_DTYPE_Q4_K},
    {"Q3_K_M", ROLE_FFN_DOWN, first_16th, SLM_DTYPE_Q5_K}, {"Q3_K_M", ROLE_FFN_DOWN, always, SLM_DTYPE_Q4_K},
    {"Q3_K_M", ROLE_ATTN_OUT, always, SLM_DTYPE_Q4_K}, {"Q3_K_L", ROLE_ATTN_V, always, SLM_DTYPE_Q5_K},
    {"Q3_K_L", ROLE_FFN_DOWN, always, SLM_DTYPE_Q5_K}, {"Q3_K_L", ROLE_ATTN_OUT, always, SLM_DTYPE_Q5_K},
    {"Q4_K_S", ROLE_ATTN_V, first_4, SLM_DTYPE_Q5_K}, {"Q4_K_S", ROLE_FFN_DOWN, first_8th, SLM_DTYPE_Q5_K},
    {"Q4_K_M", ROLE_ATTN_V, spread, SLM_DTYPE_Q6_K}, {"Q4_K_M", ROLE_ATTN_V, large, SLM_DTYPE_Q5_K},
    {"Q4_K_M", ROLE_FFN_DOWN, spread, SLM_DTYPE_Q6_K},
    {"Q5_K_M", ROLE_ATTN_V, spread, SLM_DTYPE_Q6_K}, {"Q5_K_M", ROLE_FFN_DOWN, spread, SLM_DTYPE_Q6_K},
    {"IQ4_NL", ROLE_ATTN_V, shared_4, SLM_DTYPE_Q5_K}, {"IQ4_NL", ROLE_FFN_DOWN, first_8th_blind, SLM_DTYPE_Q5_K},
    {"IQ4_XS", ROLE_ATTN_V, shared_4, SLM_DTYPE_Q5_K}, {"IQ4_XS", ROLE_FFN_DOWN, first_8th_blind, SLM_DTYPE_Q5_K},
    {"Q4_0", ROLE_FFN_DOWN, first_8th_seen, SLM_DTYPE_Q4_1}, {"Q5_0", ROLE_FFN_DOWN, first_8th_seen, SLM_DTYPE_Q5_1},
    {"TQ1_0", ROLE_EMBEDDING, always, SLM_DTYPE_Q4_K}, {"TQ2_0", ROLE_EMBEDDING, always, SLM_DTYPE_Q4_K},
    {"I2_S", ROLE_EMBEDDING, always, SLM_DTYPE_F16}, {"I2_S", ROLE_HEAD, always, SLM_DTYPE_F16},
};

/* ---- types of tensors -------------------------------------------------------------------------------------------- */

struct quantization {
    struct slm_conversion c; /* first: the conversion's callbacks get it */
    const struct slm_quantize_options *options;
    const struct mixture *mixture;
    struct slm_encoders encoders;
    struct slm_imatrix imatrix;
};

/* ASCII only, whatever the locale says. */
static bool same_name(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if ((*a | (*a >= 'A' && *a <= 'Z' ? 32 : 0)) != (*b | (*b >= 'A' && *b <= 'Z' ? 32 : 0))) return false;
    return *a == *b;
}

static slm_status find_mixture(const char *name, const struct mixture **out, struct slm_error *error)
{
    /* The usual mixture of a type first, so that it is listed and written under its own name. */
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (same_name(name, aliases[i].name)) name = aliases[i].means;
    for (size_t i = 0; i < sizeof mixtures / sizeof *mixtures; i++)
        if (same_name(name, mixtures[i].name)) {
            *out = &mixtures[i];
            return SLM_OK;
        }
    struct slm_buf known = {0};
    for (size_t i = 0; i < sizeof mixtures / sizeof *mixtures; i++)
        slm_buf_printf(&known, "%s%s", i ? ", " : "", mixtures[i].name);
    const slm_status status = slm_fail(error, SLM_ERR_ARGUMENT, "type", "'%s' is no type; %s are", name,
                                       known.data ? known.data : "");
    slm_buf_release(&known);
    return status;
}

static bool contains(struct slm_str text, const char *part)
{
    const size_t n = strlen(part);
    for (size_t i = 0; i + n <= text.len; i++)
        if (memcmp(text.ptr + i, part, n) == 0) return true;
    return false;
}

static const struct slm_stream_tensor *find_tensor(const struct slm_conversion *c, const char *name)
{
    for (size_t i = 0; i < c->n_tensors; i++)
        if (slm_str_is(c->tensors[i].name, name)) return &c->tensors[i];
    return NULL;
}

/* The embedding is the head where there is no other. */
static enum role role_of(const struct slm_conversion *c, struct slm_str name)
{
    if (slm_str_is(name, "output.weight")) return ROLE_HEAD;
    enum role role = ROLE_OTHER;
    for (size_t i = 0; role == ROLE_OTHER && i < sizeof roles / sizeof *roles; i++)
        if (contains(name, roles[i].part)) role = roles[i].role;
    return role == ROLE_EMBEDDING && !find_tensor(c, "output.weight") ? ROLE_HEAD : role;
}

/* N of "blk.N."; 0 for others. */
static uint32_t layer_of(struct slm_str name)
{
    uint32_t layer = 0;
    if (!slm_str_starts_with(name, slm_str("blk."))) return 0;
    for (size_t i = 4; i < name.len && name.ptr[i] >= '0' && name.ptr[i] <= '9' && layer < 100000; i++)
        layer = layer * 10 + (uint32_t)(name.ptr[i] - '0');
    return layer;
}

/* A number of the model, of its first layer where layers have their own; 0 = not known. */
static int64_t model_number(const struct slm_gguf *gguf, const char *name)
{
    struct slm_str arch;
    bool found = false;
    char key[256];
    if (slm_gguf_get_str(gguf, "general.architecture", &arch, &found, NULL) != SLM_OK || !found || arch.len > 128)
        return 0;
    snprintf(key, sizeof key, "%.*s.%s", (int)arch.len, arch.ptr, name);
    const struct slm_gguf_kv *kv = slm_gguf_find(gguf, key);
    return kv && kv->n > 0 && kv->array_type != SLM_GGUF_STRING ? slm_gguf_i64_at(kv, 0) : 0;
}

static bool four_share_a_head(const struct slm_conversion *c)
{
    return c->n_head_kv > 0 && c->n_head / c->n_head_kv >= 4;
}

/* A list of tensors that came from a file or a folder, which know how many heads and experts there are. */
static void count_heads(struct slm_conversion *c)
{
    if (!c->model && !c->gguf) return;
    c->n_head = c->model ? c->model->hparams.n_head : model_number(c->gguf, "attention.head_count");
    c->n_head_kv = c->model ? c->model->hparams.n_head_kv : model_number(c->gguf, "attention.head_count_kv");
    c->n_expert = c->model ? 0 : model_number(c->gguf, "expert_count");
}

/* What is the same for all layers of a model. */
static struct position position_in(const struct slm_conversion *c, bool has_imatrix)
{
    struct slm_str arch = c->model ? slm_str(c->model->architecture) : slm_str("");
    bool found = false;
    if (!c->model && c->gguf) (void)slm_gguf_get_str(c->gguf, "general.architecture", &arch, &found, NULL);
    struct position p = {.n = 1, .shared_4 = four_share_a_head(c), .has_imatrix = has_imatrix,
                         .experts_8 = c->n_expert == 8, .falcon = slm_str_is(arch, "falcon")};
    for (size_t i = 0; i < c->n_tensors; i++)
        if (layer_of(c->tensors[i].name) >= p.n) p.n = layer_of(c->tensors[i].name) + 1;
    const struct slm_family *family = slm_family_find(arch);
    p.large = family && family->n_layer_large == p.n && c->n_head > c->n_head_kv;
    return p;
}

/* Where the mixture's own blocks do not fit a head's rows, Q8_0; else the head has more bits than the rest. */
static enum slm_dtype head_type(const struct quantization *q, const struct slm_stream_tensor *t)
{
    if (t->dims[0] % slm_dtypes[q->mixture->type].block != 0) return SLM_DTYPE_Q8_0;
    return q->mixture->type == SLM_DTYPE_Q8_0 ? SLM_DTYPE_Q8_0 : SLM_DTYPE_Q6_K;
}

/* What the mixture gives a tensor. */
static enum slm_dtype mixed_type(const struct quantization *q, const struct slm_stream_tensor *t,
                                 struct position position)
{
    /* Exceptions go before the head: ternary mixtures keep it out of their own blocks. */
    const enum role role = role_of(&q->c, t->name);
    position.i = layer_of(t->name);
    for (size_t i = 0; i < sizeof exceptions / sizeof *exceptions; i++)
        if (exceptions[i].role == role && exceptions[i].where(&position) &&
            (!exceptions[i].mixture || strcmp(exceptions[i].mixture, q->mixture->name) == 0))
            return exceptions[i].type;
    return role == ROLE_HEAD ? head_type(q, t) : q->mixture->type;
}

/* A type for tensors whose name has the pattern in it: its own stars apart, two more stand around it. */
static slm_status apply_rule(struct quantization *q, const char *pattern, const char *name, struct slm_error *error)
{
    struct slm_buf text = {0};
    slm_buf_printf(&text, "*%s*", pattern);
    slm_status status = slm_buf_status(&text, "tensor", error);
    const struct slm_convert_rule rule = {text.data, name};
    if (status == SLM_OK) status = slm_convert_apply_rule(&q->c, &rule, error);
    slm_buf_release(&text);
    return status;
}

/* The mixture, the head and the embedding, the rules in turn, then what cannot be. */
static slm_status choose(struct slm_conversion *c, struct slm_error *error)
{
    struct quantization *q = (struct quantization *)(void *)c;
    const struct slm_quantize_options *o = q->options;
    count_heads(c);
    const struct position position = position_in(c, q->imatrix.gguf != NULL);
    /* Float types have no mixtures: nothing is lost in a head that would need more bits. */
    const bool pure = o->pure || slm_dtypes[q->mixture->type].block == 1;
    for (size_t i = 0; i < c->n_tensors; i++)
        if (!c->tensors[i].fixed) c->tensors[i].to = pure ? q->mixture->type : mixed_type(q, &c->tensors[i], position);
    /* Whole names: "output.weight" is also a part of every layer's "attn_output.weight". */
    const char *head_name = find_tensor(c, "output.weight") ? "output.weight" : "token_embd.weight";
    const struct slm_convert_rule head = {head_name, o->head};
    const struct slm_convert_rule embedding = {"token_embd.weight", o->embedding};
    if (o->head) SLM_TRY(slm_convert_apply_rule(c, &head, error));
    if (o->embedding) SLM_TRY(slm_convert_apply_rule(c, &embedding, error));
    for (size_t i = 0; i < o->n_rules; i++) SLM_TRY(apply_rule(q, o->rules[i].pattern, o->rules[i].type, error));
    c->file_type = q->mixture->file_type;
    return SLM_OK;
}

/* After the types are final: what each matrix' columns count. */
static slm_status weigh(struct slm_conversion *c, struct slm_error *error)
{
    struct quantization *q = (struct quantization *)(void *)c;
    size_t n = 0, n_searched = 0, n_known = 0;
    char sentence[160];
    if (!q->imatrix.gguf) return SLM_OK;
    for (size_t i = 0; i < c->n_tensors; i++) {
        struct slm_stream_tensor *t = &c->tensors[i];
        const float *importance;
        if (t->fixed) continue;
        SLM_TRY(slm_imatrix_find(&q->imatrix, t->name, t->dims[0], &importance, error));
        n_known += importance != NULL;
        if (!q->encoders.encode[t->to]) continue; /* rounded: nothing to weigh */
        t->importance = importance;
        n += importance != NULL;
        n_searched++;
    }
    if (n_known == 0)
        return slm_fail(error, SLM_ERR_ARGUMENT, q->options->imatrix, "has no entry for any tensor of %s", c->in);
    snprintf(sentence, sizeof sentence, "the importance matrix weighs %zu of %zu matrices", n, n_searched);
    if (c->options->note) c->options->note(c->options->user, sentence);
    return SLM_OK;
}

/* A path's last part: where a file lay on this machine is nobody's business, and no part of what the model is. */
static struct slm_str base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slm_str(slash ? slash + 1 : path);
}

/* Keys by which llama.cpp's programs show that an importance matrix was used. */
static slm_status write_keys(struct slm_conversion *c, struct slm_gguf_writer *w, struct slm_error *error)
{
    const struct quantization *q = (const struct quantization *)(const void *)c;
    if (!q->imatrix.gguf) return SLM_OK;
    SLM_TRY(slm_gguf_write_str(w, "quantize.imatrix.file", base_name(q->options->imatrix), error));
    return slm_gguf_write_i64(w, "quantize.imatrix.entries_count", SLM_GGUF_U32,
                              (int64_t)slm_imatrix_n_entries(&q->imatrix), error);
}

slm_status slm_quantize_choose(struct slm_conversion *listed, const char *type, struct slm_error *error)
{
    const struct slm_quantize_options options = {.type = type};
    struct quantization q = {.c = *listed, .options = &options}; /* the list itself is shared */
    q.c.encoders = &q.encoders;
    slm_encoders_init(&q.encoders, slm_cpu_features());
    SLM_TRY(find_mixture(type, &q.mixture, error));
    SLM_TRY(choose(&q.c, error));
    slm_convert_fit_types(&q.c);
    return SLM_OK;
}

slm_status slm_quantize(const char *in, const char *out_path, const struct slm_quantize_options *options,
                        struct slm_convert_result *result, struct slm_error *error)
{
    if (!in || !*in || !out_path || !*out_path || !options || !options->type)
        return slm_fail(error, SLM_ERR_ARGUMENT, "quantize", "two paths and a type are needed");
    const struct slm_convert_options base = {.n_threads = options->n_threads, .progress = options->progress,
                                             .note = options->note, .user = options->user,
                                             .split_max_bytes = options->split_max_bytes, .pack = options->pack};
    struct quantization q = {.c = {.in = in, .options = &base, .file_type = SLM_FILE_TYPE_NONE, .choose = choose,
                                   .weigh = weigh, .write_keys = write_keys},
                             .options = options};
    q.c.encoders = &q.encoders;
    slm_encoders_init(&q.encoders, slm_cpu_features());
    SLM_TRY(find_mixture(options->type, &q.mixture, error));
    if (options->imatrix) SLM_TRY(slm_imatrix_open(options->imatrix, &q.imatrix, error));
    const slm_status status = slm_convert_run(&q.c, out_path, result, error);
    slm_imatrix_close(&q.imatrix);
    return status;
}
