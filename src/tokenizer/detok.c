/* SPDX-License-Identifier: MIT
 * Tokens to text as it streams. A token may end inside a character; whoever shows text must never see half of one.
 *
 * The state is at most three held bytes. Bytes that cannot become UTF-8 come out as U+FFFD, one for each maximal part
 * of a character (Unicode 15, section 3.9), the same as a decoder would make of the whole text at once. */
#include <string.h>
#include "base/utf8.h"
#include "tokenizer/tokenizer.h"

static size_t put_replacement(char *out)
{
    memcpy(out, "\xef\xbf\xbd", 3);
    return 3;
}

/* Length of the longest start of s that could have been the start of a character; at least 1. */
static size_t broken_part(const char *s, size_t len)
{
    uint32_t cp;
    size_t n = 1;
    while (n < len && n < 3 && slm_utf8_decode(s, n + 1, &cp) == -1) n++;
    return n;
}

size_t slm_detok_feed(struct slm_detok *state, struct slm_str piece, char *out)
{
    size_t written = 0, used = 0;
    /* The held bytes are completed one byte at a time: at most three steps. */
    while (state->n_held && used < piece.len) {
        uint32_t cp;
        state->held[state->n_held++] = piece.ptr[used++];
        const int n = slm_utf8_decode(state->held, state->n_held, &cp);
        if (n < 0) continue;
        if (n > 0) {
            memcpy(out + written, state->held, (size_t)n);
            written += (size_t)n;
        } else { /* the new byte does not continue it: it starts afresh */
            written += put_replacement(out + written);
            used--;
        }
        state->n_held = 0;
    }
    while (used < piece.len) {
        const char *s = piece.ptr + used;
        const size_t left = piece.len - used, valid = slm_utf8_valid_prefix(s, left);
        memcpy(out + written, s, valid);
        written += valid;
        used += valid;
        if (valid == left) break;
        uint32_t cp;
        if (slm_utf8_decode(s + valid, left - valid, &cp) == -1) {
            memcpy(state->held, s + valid, left - valid);
            state->n_held = (unsigned)(left - valid);
            break;
        }
        written += put_replacement(out + written);
        used += broken_part(s + valid, left - valid);
    }
    return written;
}

size_t slm_detok_flush(struct slm_detok *state, char *out)
{
    const size_t written = state->n_held ? put_replacement(out) : 0;
    state->n_held = 0;
    return written;
}
