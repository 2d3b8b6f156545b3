/* SPDX-License-Identifier: MIT
 * SentencePiece's compiled table of normalizations ("precompiled_charsmap"): byte strings and what each becomes.
 *
 * The layout is that of the darts-clone library: u32 bytes of a double-array trie, little-endian like its 32-bit units;
 * then the replacements, each ended by a NUL. Walking a trie from a file is the dangerous part: every step is checked
 * against the number of units, and replacements are bounded when the table is opened, so that a text cannot grow
 * beyond MAX_BYTES times.
 *
 * Two programs read these tables differently. SentencePiece replaces the longest entry that fits, then goes on behind
 * it. Hugging Face goes by grapheme clusters, replaces a whole one of up to 5 bytes by its *shortest* entry, and falls
 * back to single characters. Models were trained with the first, tokenizer.json files mean the second. */
#include <utf8proc.h>
#include "base/utf8.h"
#include "tokenizer/internal.h"

enum { MAX_BYTES = 256, MAX_CLUSTER = 5 };

static uint32_t unit_at(struct slm_charsmap map, size_t i)
{
    const unsigned char *p = (const unsigned char *)map.units + 4 * i;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

slm_status slm_charsmap_open(struct slm_str blob, const char *where, struct slm_charsmap *out, struct slm_error *error)
{
    const size_t trie = blob.len < 4 ? 0 : unit_at((struct slm_charsmap){.units = blob.ptr}, 0);
    if (trie < 4 || trie % 4 || trie > blob.len - 4)
        return slm_fail(error, SLM_ERR_FORMAT, where,
                        "the table of normalizations has %zu bytes, of which %zu are its trie; whole units of 4 that "
                        "fit are allowed", blob.len, trie);
    *out = (struct slm_charsmap){.units = blob.ptr + 4, .n_units = trie / 4, .texts = blob.ptr + 4 + trie,
                                 .texts_bytes = blob.len - 4 - trie};
    size_t begin = 0;
    for (size_t i = 0; i < out->texts_bytes; i++) {
        if (i - begin >= MAX_BYTES)
            return slm_fail(error, SLM_ERR_LIMIT, where,
                            "the table of normalizations has a text of more than %d bytes", MAX_BYTES - 1);
        if (out->texts[i] == '\0') begin = i + 1;
    }
    if (begin != out->texts_bytes)
        return slm_fail(error, SLM_ERR_FORMAT, where, "the table of normalizations does not end with a NUL");
    return SLM_OK;
}

/* The replacement of the longest (or else the shortest) entry that text starts with; 0 when there is none. */
static size_t find(struct slm_charsmap map, struct slm_str text, bool longest, struct slm_str *put)
{
    size_t found = 0;
    uint32_t unit = unit_at(map, 0);
    /* A unit's offset is 22 bits, times 256 when bit 9 is set; the XOR with a byte cannot overflow. */
    size_t node = (size_t)(unit >> 10) << ((unit & 0x200) >> 6);
    for (size_t i = 0; i < text.len; i++) {
        const unsigned char c = (unsigned char)text.ptr[i];
        if (c == 0) break; /* 0 is the label of values */
        node ^= c;
        if (node >= map.n_units) break;
        unit = unit_at(map, node);
        if ((unit & 0x800000ffu) != c) break;
        node ^= (size_t)(unit >> 10) << ((unit & 0x200) >> 6);
        if (!(unit & 0x100)) continue; /* no entry ends here */
        if (node >= map.n_units) break;
        const size_t value = unit_at(map, node) & 0x7fffffffu;
        if (value >= map.texts_bytes) break;
        *put = slm_str(map.texts + value); /* a NUL follows: checked at open */
        found = i + 1;
        if (!longest) break;
    }
    return found;
}

/* Bytes of the character at text[i]; 1 where it is not UTF-8. */
static size_t character_at(struct slm_str text, size_t i)
{
    uint32_t cp;
    const int n = slm_utf8_decode(text.ptr + i, text.len - i, &cp);
    return n > 0 ? (size_t)n : 1;
}

void slm_charsmap_apply(struct slm_charsmap map, struct slm_str text, struct slm_buf *out)
{
    struct slm_str put;
    for (size_t i = 0, n; i < text.len; i += n) {
        n = find(map, (struct slm_str){text.ptr + i, text.len - i}, true, &put);
        if (n) slm_buf_add_str(out, put);
        else slm_buf_add(out, text.ptr + i, n = character_at(text, i));
    }
}

/* Bytes of the grapheme cluster at text[i], an invalid byte being one. */
static size_t cluster_at(struct slm_str text, size_t i)
{
    uint32_t cp, next;
    utf8proc_int32_t state = 0;
    int n = slm_utf8_decode(text.ptr + i, text.len - i, &cp);
    if (n <= 0) return 1;
    size_t end = i + (size_t)n;
    for (; end < text.len; end += (size_t)n, cp = next) {
        n = slm_utf8_decode(text.ptr + end, text.len - end, &next);
        if (n <= 0 || utf8proc_grapheme_break_stateful((utf8proc_int32_t)cp, (utf8proc_int32_t)next, &state)) break;
    }
    return end - i;
}

void slm_charsmap_apply_clusters(struct slm_charsmap map, struct slm_str text, struct slm_buf *out)
{
    struct slm_str put;
    for (size_t i = 0, n; i < text.len; i += n) {
        n = cluster_at(text, i);
        if (n <= MAX_CLUSTER && find(map, (struct slm_str){text.ptr + i, n}, false, &put)) {
            slm_buf_add_str(out, put);
            continue;
        }
        for (size_t k = i, bytes; k < i + n; k += bytes) {
            bytes = character_at(text, k);
            if (find(map, (struct slm_str){text.ptr + k, bytes}, false, &put)) slm_buf_add_str(out, put);
            else slm_buf_add(out, text.ptr + k, bytes);
        }
    }
}
