/* SPDX-License-Identifier: MIT
 *
 * UTF-8, one character at a time, exactly as Unicode table 3-7 allows it. One decoder serves
 * everybody (tokenizers, JSON, terminals, streaming output), so there is one opinion about what a
 * valid byte sequence is.
 *
 * The trick of the table: only the *second* byte has a range that depends on the first; this
 * excludes overlongs (E0, F0), surrogates (ED) and what lies above U+10FFFF (F4). Deliberately not
 * here: normalisation and properties (utf8proc has them), and SIMD: text is never the bottleneck of
 * a language model. */
#include "base/utf8.h"

/* Length of the sequence that a lead byte opens (0: it opens none), and the range of its second byte. */
struct lead { int length; unsigned char second_min, second_max; };

static struct lead lead_of(unsigned char b)
{
    if (b < 0x80) return (struct lead){1, 0, 0};
    if (b < 0xC2) return (struct lead){0, 0, 0}; /* continuation, or an overlong of ASCII */
    if (b < 0xE0) return (struct lead){2, 0x80, 0xBF};
    if (b == 0xE0) return (struct lead){3, 0xA0, 0xBF};
    if (b == 0xED) return (struct lead){3, 0x80, 0x9F};
    if (b < 0xF0) return (struct lead){3, 0x80, 0xBF};
    if (b == 0xF0) return (struct lead){4, 0x90, 0xBF};
    if (b < 0xF4) return (struct lead){4, 0x80, 0xBF};
    if (b == 0xF4) return (struct lead){4, 0x80, 0x8F};
    return (struct lead){0, 0, 0};
}

int slm_utf8_decode(const char *s, size_t len, uint32_t *cp)
{
    const unsigned char *b = (const unsigned char *)s;
    struct lead lead = lead_of(b[0]);
    if (lead.length == 0) return 0;
    if (lead.length == 1) {
        *cp = b[0];
        return 1;
    }
    uint32_t value = b[0] & (0x7Fu >> lead.length);
    for (int i = 1; i < lead.length; i++) {
        if ((size_t)i >= len) return -1;
        unsigned char min = i == 1 ? lead.second_min : 0x80, max = i == 1 ? lead.second_max : 0xBF;
        if (b[i] < min || b[i] > max) return 0;
        value = value << 6 | (b[i] & 0x3Fu);
    }
    *cp = value;
    return lead.length;
}

int slm_utf8_encode(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xC0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xE0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3F));
        out[2] = (char)(0x80 | (cp & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3F));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3F));
    out[3] = (char)(0x80 | (cp & 0x3F));
    return 4;
}

size_t slm_utf8_valid_prefix(const char *s, size_t len)
{
    size_t at = 0;
    uint32_t cp;
    while (at < len) {
        int n = slm_utf8_decode(s + at, len - at, &cp);
        if (n <= 0) break;
        at += (size_t)n;
    }
    return at;
}

size_t slm_utf8_bad_length(const char *s, size_t len)
{
    uint32_t cp;
    size_t n = 1;
    /* The bytes are a maximal subpart as long as more bytes could still complete them. At most 3 steps. */
    while (n < len && slm_utf8_decode(s, n, &cp) < 0 && slm_utf8_decode(s, n + 1, &cp) < 0) n++;
    return n;
}
