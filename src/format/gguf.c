/* SPDX-License-Identifier: MIT
 *
 * A GGUF model as one thing: opens its file or files, parses each (gguf_parse.c), checks that the parts of a split
 * model belong together, and answers look-ups. All bytes stay in the maps of the OS seam; what is handed out points
 * into them and lives until slm_gguf_close.
 *
 * A split model is named prefix-00001-of-0000N.gguf ...; its first file holds the metadata and says split.count = N,
 * each file holds split.no = its place from 0. Only the metadata of the first part can be looked up.
 *
 * A file that is shortened while it is mapped makes later reads of it fault: that is a property of mapping. Callers
 * that keep a model for long copy what they need (repacking does) and ask slm_gguf_unchanged before trusting the rest.
 * Deliberately not here: the typed getters (gguf_get.c), writing (gguf_write.c), any meaning of keys but split.*. */
#include "format/gguf.h"

#include <stdio.h>

#include "base/checked.h"
#include "format/gguf_part.h"

/* ---- parts --------------------------------------------------------------------------------------------------- */

/* The part keeps its own copy: the caller's may not live long. */
static slm_status copy_path(struct slm_gguf_part *part, const char *path, struct slm_error *error)
{
    size_t bytes = strlen(path) + 1;
    part->path = slm_alloc(bytes, 1, "file name", error);
    if (part->path == NULL) return SLM_ERR_MEMORY;
    memcpy(part->path, path, bytes);
    return SLM_OK;
}

/* Maps and parses one file. On failure the part is to be released. */
static slm_status open_part(const char *path, const struct slm_gguf_limits *limits, struct slm_gguf_part *part,
                            struct slm_error *error)
{
    SLM_TRY(copy_path(part, path, error)); /* first, so that every later message can name the file */
    struct slm_file *file;
    SLM_TRY(slm_os()->open_read(path, &file, &part->info, error));
    slm_status status = slm_os()->map(file, &part->map, error);
    slm_status closed = slm_os()->close(file, status == SLM_OK ? error : NULL); /* the map outlives the file */
    if (status == SLM_OK) status = closed;
    if (status != SLM_OK) return status;
    part->data = part->map.data;
    part->readable_bytes = part->map.bytes;
    part->file_bytes = part->map.bytes;
    return slm_gguf_part_parse(part, limits, error);
}

/* An integer key of one part; absent: *out is left as it is. */
static slm_status part_i64(struct slm_gguf_part *part, const char *key, int64_t min, int64_t max, int64_t *out,
                           struct slm_error *error)
{
    struct slm_gguf view = {.parts = part, .n_parts = 1};
    bool found;
    return slm_gguf_get_i64(&view, key, min, max, out, &found, error);
}

/* An error about a key of one part. */
static slm_status split_fail(const struct slm_gguf_part *part, const char *key, slm_status status,
                             struct slm_error *error, const char *message)
{
    char where[SLM_GGUF_WHERE_BYTES];
    slm_gguf_where(where, part->path, "key", slm_str(key));
    return slm_fail(error, status, where, "%s", message);
}

/* ---- split models -------------------------------------------------------------------------------------------- */

enum { SUFFIX_BYTES = 20 }; /* "-00001-of-00003.gguf" */

/* Exactly five, as all writers of split files put them. */
static bool five_digits(const char *text, unsigned *out)
{
    *out = 0;
    for (int i = 0; i < 5; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        *out = *out * 10 + (unsigned)(text[i] - '0');
    }
    return true;
}

/* Reads the suffix of a split file's name; false when it has none. */
static bool split_suffix(const char *path, unsigned *number, unsigned *count)
{
    size_t len = strlen(path);
    if (len < SUFFIX_BYTES) return false;
    const char *s = path + len - SUFFIX_BYTES;
    return s[0] == '-' && five_digits(s + 1, number) && memcmp(s + 6, "-of-", 4) == 0 && five_digits(s + 10, count) &&
           memcmp(s + 15, ".gguf", 5) == 0;
}

/* For writers: such a name promises other files. */
bool slm_gguf_is_split_name(const char *path)
{
    unsigned number, count;
    return split_suffix(path, &number, &count);
}

/* How many files the model has by its first file, whose name must agree. */
static slm_status split_count(struct slm_gguf_part *first, const struct slm_gguf_limits *limits,
                              int64_t *count, struct slm_error *error)
{
    char message[200];
    int64_t no = 0;
    *count = 1;
    SLM_TRY(part_i64(first, "split.count", 0, UINT16_MAX, count, error));
    SLM_TRY(part_i64(first, "split.no", 0, UINT16_MAX, &no, error));
    if (*count == 0) *count = 1; /* some writers put 0 into files that were never split */
    unsigned name_number = 1, name_count = 1;
    bool named = split_suffix(first->path, &name_number, &name_count);
    if ((uint64_t)*count > limits->max_parts) {
        (void)snprintf(message, sizeof message, "is %lld; at most %llu files are allowed", (long long)*count,
                       (unsigned long long)limits->max_parts);
        return split_fail(first, "split.count", SLM_ERR_LIMIT, error, message);
    }
    if (no != 0) {
        (void)snprintf(message, sizeof message, "is %lld: this is file %lld of %lld of a split model; open the first "
                       "one, whose name ends in -00001-of-%05lld.gguf", (long long)no, (long long)no + 1,
                       (long long)*count, (long long)*count);
        return split_fail(first, "split.no", SLM_ERR_ARGUMENT, error, message);
    }
    /* Name and contents must say the same, or the other parts would be looked for in the wrong place. */
    if (named && (name_number != 1 || name_count != *count)) {
        (void)snprintf(message, sizeof message, "is %lld with split.no 0, but by its name this is file %u of %u",
                       (long long)*count, name_number, name_count);
        return split_fail(first, "split.count", SLM_ERR_FORMAT, error, message);
    }
    if (*count > 1 && !named) {
        (void)snprintf(message, sizeof message, "is %lld, so the name must end in -00001-of-%05lld.gguf for the other "
                       "files to be found", (long long)*count, (long long)*count);
        return split_fail(first, "split.count", SLM_ERR_FORMAT, error, message);
    }
    return SLM_OK;
}

/* Part i must say that it is part i of as many, and of the same model where it says of which. */
static slm_status check_part(const struct slm_gguf *gguf, size_t i, struct slm_error *error)
{
    struct slm_gguf_part *first = &gguf->parts[0], *part = &gguf->parts[i];
    char message[200];
    int64_t no = -1, count = -1;
    SLM_TRY(part_i64(part, "split.no", 0, UINT16_MAX, &no, error));
    SLM_TRY(part_i64(part, "split.count", 0, UINT16_MAX, &count, error));
    if (no != (int64_t)i || count != (int64_t)gguf->n_parts) {
        (void)snprintf(message, sizeof message, "the file says part %lld of %lld; part %zu of %zu (split.no %zu) is "
                       "expected here", (long long)no + 1, (long long)count, i + 1, gguf->n_parts, i);
        return split_fail(part, "split.no", SLM_ERR_FORMAT, error, message);
    }
    /* Parts after the first usually say nothing about the model; where one does, it must agree. */
    static const char *const same[] = {"general.architecture", "general.name"};
    for (size_t k = 0; k < sizeof same / sizeof *same; k++) {
        const struct slm_gguf_kv *a = slm_name_index_find(&first->keys, slm_str(same[k]));
        const struct slm_gguf_kv *b = slm_name_index_find(&part->keys, slm_str(same[k]));
        if (a != NULL && b != NULL && (a->bytes != b->bytes || memcmp(a->data, b->data, a->bytes) != 0))
            return split_fail(part, same[k], SLM_ERR_FORMAT, error,
                              "differs from the first part: the files are of different models");
    }
    return SLM_OK;
}

static slm_status open_other_parts(struct slm_gguf *gguf, size_t n_parts, const struct slm_gguf_limits *limits,
                                   struct slm_error *error)
{
    /* New entries are zero, so a close after a failure half way finds them empty. */
    struct slm_gguf_part *grown = slm_realloc(gguf->parts, n_parts, sizeof *grown, "split model", error);
    if (grown == NULL) return SLM_ERR_MEMORY;
    gguf->parts = grown;
    gguf->n_parts = n_parts; /* from now on: release all of them */
    size_t len = strlen(grown[0].path), prefix = len - SUFFIX_BYTES;
    char *path = slm_alloc(len + 1, 1, "file name", error); /* all names are as long as the first */
    if (path == NULL) return SLM_ERR_MEMORY;
    memcpy(path, grown[0].path, prefix);
    slm_status status = SLM_OK;
    for (size_t i = 1; i < n_parts && status == SLM_OK; i++) {
        (void)snprintf(path + prefix, SUFFIX_BYTES + 1, "-%05u-of-%05u.gguf", (unsigned)(i + 1) % 100000,
                       (unsigned)n_parts % 100000);
        status = open_part(path, limits, &grown[i], error);
        if (status == SLM_OK) status = check_part(gguf, i, error);
    }
    slm_release(path);
    return status;
}

/* ---- the whole ----------------------------------------------------------------------------------------------- */

/* Brings the tensors of all parts into one table with one index. */
slm_status slm_gguf_join_tensors(struct slm_gguf *gguf, const struct slm_gguf_limits *limits, struct slm_error *error)
{
    struct slm_gguf_part *first = &gguf->parts[0];
    char message[200];
    for (size_t i = 0; i < gguf->n_parts; i++) gguf->n_tensors += gguf->parts[i].n_tensors;
    if (gguf->n_tensors > limits->max_tensors)
        return slm_fail(error, SLM_ERR_LIMIT, first->path, "the parts have %zu tensors; at most %llu are allowed",
                        gguf->n_tensors, (unsigned long long)limits->max_tensors);
    /* The first part says how many there are in all: a part that was swapped for a shorter one shows here. */
    int64_t declared = (int64_t)gguf->n_tensors;
    if (gguf->n_parts > 1) SLM_TRY(part_i64(first, "split.tensors.count", 0, INT64_MAX, &declared, error));
    if (declared != (int64_t)gguf->n_tensors) {
        (void)snprintf(message, sizeof message, "is %lld but the %zu files hold %zu tensors", (long long)declared,
                       gguf->n_parts, gguf->n_tensors);
        return split_fail(first, "split.tensors.count", SLM_ERR_FORMAT, error, message);
    }
    gguf->tensors = first->tensors; /* most models are one file: its table is the table */
    if (gguf->n_parts > 1)
        gguf->tensors = slm_realloc(first->tensors, gguf->n_tensors, sizeof *gguf->tensors, first->path, error);
    if (gguf->tensors == NULL) return SLM_ERR_MEMORY;
    size_t n = first->n_tensors;
    first->tensors = NULL;
    for (size_t i = 1; i < gguf->n_parts; i++) {
        struct slm_gguf_part *part = &gguf->parts[i];
        for (size_t k = 0; k < part->n_tensors; k++) {
            gguf->tensors[n] = part->tensors[k];
            gguf->tensors[n++].part = (uint16_t)i;
        }
        slm_release(part->tensors);
        part->tensors = NULL;
    }
    return slm_gguf_index_rows(first->path, "tensor", &gguf->tensor_index, gguf->tensors, gguf->n_tensors,
                               sizeof *gguf->tensors, error);
}

/* From here on slm_gguf_close releases whatever has been reached. */
slm_status slm_gguf_new(struct slm_gguf **out, struct slm_error *error)
{
    struct slm_gguf *gguf = slm_alloc(1, sizeof *gguf, "model", error);
    if (gguf == NULL) return SLM_ERR_MEMORY;
    gguf->parts = slm_alloc(1, sizeof *gguf->parts, "model", error);
    if (gguf->parts == NULL) {
        slm_release(gguf);
        return SLM_ERR_MEMORY;
    }
    gguf->n_parts = 1;
    *out = gguf;
    return SLM_OK;
}

slm_status slm_gguf_open(const char *path, const struct slm_gguf_limits *limits, struct slm_gguf **out,
                         struct slm_error *error)
{
    struct slm_gguf_limits l = slm_gguf_limits_or_default(limits);
    struct slm_gguf *gguf;
    int64_t n_parts = 1;
    SLM_TRY(slm_gguf_new(&gguf, error));
    slm_status status = open_part(path, &l, &gguf->parts[0], error);
    if (status == SLM_OK) status = split_count(&gguf->parts[0], &l, &n_parts, error);
    if (status == SLM_OK && n_parts > 1) status = open_other_parts(gguf, (size_t)n_parts, &l, error);
    if (status == SLM_OK) status = slm_gguf_join_tensors(gguf, &l, error);
    if (status == SLM_OK)
        *out = gguf;
    else
        slm_gguf_close(gguf);
    return status;
}

slm_status slm_gguf_open_memory(const void *data, size_t bytes, const char *name, const struct slm_gguf_limits *limits,
                                struct slm_gguf **out, struct slm_error *error)
{
    struct slm_gguf_limits l = slm_gguf_limits_or_default(limits);
    struct slm_gguf *gguf;
    SLM_TRY(slm_gguf_new(&gguf, error));
    struct slm_gguf_part *part = &gguf->parts[0];
    part->data = data;
    part->readable_bytes = bytes;
    part->file_bytes = bytes;
    int64_t n_parts = 1;
    slm_status status = copy_path(part, name, error);
    if (status == SLM_OK) status = slm_gguf_part_parse(part, &l, error);
    if (status == SLM_OK) status = part_i64(part, "split.count", 0, UINT16_MAX, &n_parts, error);
    if (status == SLM_OK && n_parts > 1)
        status = split_fail(part, "split.count", SLM_ERR_UNSUPPORTED, error,
                            "a split model cannot be read from memory; only from its files");
    if (status == SLM_OK) status = slm_gguf_join_tensors(gguf, &l, error);
    if (status == SLM_OK)
        *out = gguf;
    else
        slm_gguf_close(gguf);
    return status;
}

void slm_gguf_close(struct slm_gguf *gguf)
{
    if (gguf == NULL) return;
    slm_name_index_release(&gguf->tensor_index);
    slm_release(gguf->tensors);
    for (size_t i = 0; i < gguf->n_parts; i++) slm_gguf_part_release(&gguf->parts[i]);
    slm_release(gguf->parts);
    slm_release(gguf);
}

slm_status slm_gguf_unchanged(const struct slm_gguf *gguf, struct slm_error *error)
{
    for (size_t i = 0; i < gguf->n_parts; i++) {
        const struct slm_gguf_part *part = &gguf->parts[i];
        if (part->map.data == NULL) continue; /* memory files cannot change by themselves */
        struct slm_file *file;
        struct slm_file_info now;
        SLM_TRY(slm_os()->open_read(part->path, &file, &now, error));
        SLM_TRY(slm_os()->close(file, error));
        /* A renamed-over file leaves our map on the old one, which is harmless; a write in place does not. */
        if (now.device != part->info.device || now.inode != part->info.inode)
            return slm_fail(error, SLM_ERR_IO, part->path, "another file has taken its place since it was opened");
        if (now.bytes != part->info.bytes || now.mtime_ns != part->info.mtime_ns)
            return slm_fail(error, SLM_ERR_IO, part->path, "was changed while open (it had %llu bytes, now %llu)",
                            (unsigned long long)part->info.bytes, (unsigned long long)now.bytes);
    }
    return SLM_OK;
}

/* Sizes, times and places, as make tells files apart: reading gigabytes would cost as much as what it is to save. */
uint64_t slm_gguf_fingerprint(const struct slm_gguf *gguf)
{
    uint64_t hash = gguf->n_parts;
    for (size_t i = 0; i < gguf->n_parts; i++) {
        const struct slm_file_info *info = &gguf->parts[i].info;
        const uint64_t facts[] = {info->bytes, info->device, info->inode, (uint64_t)info->mtime_ns};
        hash = slm_hash_bytes(facts, sizeof facts, hash);
    }
    return hash;
}

/* ---- what was read; for a split model, keys, version and alignment are those of its first part ----------------- */

const char *slm_gguf_name(const struct slm_gguf *gguf) { return gguf->parts[0].path; }
uint32_t slm_gguf_version(const struct slm_gguf *gguf) { return gguf->parts[0].version; }
uint32_t slm_gguf_alignment(const struct slm_gguf *gguf) { return gguf->parts[0].alignment; }
bool slm_gguf_is_hf(const struct slm_gguf *gguf) { return gguf->from_hf; }
size_t slm_gguf_n_parts(const struct slm_gguf *gguf) { return gguf->n_parts; }
size_t slm_gguf_n_kv(const struct slm_gguf *gguf) { return gguf->parts[0].n_kv; }
size_t slm_gguf_n_tensors(const struct slm_gguf *gguf) { return gguf->n_tensors; }

uint64_t slm_gguf_data_offset(const struct slm_gguf *gguf, unsigned part)
{
    SLM_ASSERT(part < gguf->n_parts);
    return gguf->parts[part].data_offset;
}

uint64_t slm_gguf_file_bytes(const struct slm_gguf *gguf)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < gguf->n_parts; i++) bytes += gguf->parts[i].file_bytes;
    return bytes;
}

const struct slm_gguf_kv *slm_gguf_kv_at(const struct slm_gguf *gguf, size_t i)
{
    SLM_ASSERT(i < gguf->parts[0].n_kv);
    return &gguf->parts[0].kvs[i];
}

const struct slm_gguf_tensor *slm_gguf_tensor_at(const struct slm_gguf *gguf, size_t i)
{
    SLM_ASSERT(i < gguf->n_tensors);
    return &gguf->tensors[i];
}

const struct slm_gguf_kv *slm_gguf_find(const struct slm_gguf *gguf, const char *key)
{
    const struct slm_name_index *keys = &gguf->parts[0].keys;
    /* A folder's model inside a model first: both may have a key of this name. */
    char inner[SLM_HF_MAX_KEY + sizeof SLM_HF_INNER];
    const struct slm_gguf_kv *kv = NULL;
    if (gguf->from_hf && strlen(key) < SLM_HF_MAX_KEY) {
        (void)snprintf(inner, sizeof inner, SLM_HF_INNER "%s", key);
        kv = slm_name_index_find(keys, slm_str(inner));
    }
    return kv != NULL ? kv : slm_name_index_find(keys, slm_str(key));
}

const struct slm_gguf_tensor *slm_gguf_find_tensor(const struct slm_gguf *gguf, struct slm_str name)
{
    return slm_name_index_find(&gguf->tensor_index, name);
}

void slm_gguf_drop_bytes(const struct slm_gguf *gguf, const unsigned char *data, size_t bytes)
{
    for (size_t i = 0; i < gguf->n_parts; i++) {
        const struct slm_map *map = &gguf->parts[i].map;
        /* As numbers: pointers into different maps must not be compared. */
        const uintptr_t at = (uintptr_t)data, begin = (uintptr_t)map->data;
        if (map->data == NULL || at < begin || at - begin >= map->bytes) continue;
        slm_os()->map_drop(map, at - begin, bytes);
        return;
    }
}

/* By device and inode: links and other spellings of a path lead to the same file. */
slm_status slm_gguf_reads_file(const struct slm_gguf *gguf, const char *path, bool *out, struct slm_error *error)
{
    struct slm_path_info at, part;
    *out = false;
    SLM_TRY(slm_os()->look_at(path, &at, error));
    for (size_t i = 0; i < gguf->n_parts && at.exists && !*out; i++) {
        SLM_TRY(slm_os()->look_at(gguf->parts[i].path, &part, error));
        *out = part.exists && part.device == at.device && part.inode == at.inode;
    }
    return SLM_OK;
}
