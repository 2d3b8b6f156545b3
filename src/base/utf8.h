/* SPDX-License-Identifier: MIT
 * UTF-8 per Unicode 15 table 3-7: no overlongs, no surrogates, nothing above U+10FFFF. */
#ifndef SLM_BASE_UTF8_H
#define SLM_BASE_UTF8_H
#include <stddef.h>
#include <stdint.h>

/* Decodes one character of s[0..len). Returns its length 1..4 and sets *cp; returns 0 when the
 * bytes are invalid; returns -1 when they are a valid but incomplete prefix (more bytes could
 * complete it). len >= 1. */
int slm_utf8_decode(const char *s, size_t len, uint32_t *cp);
/* Writes 1..4 bytes, returns how many. cp must be a Unicode scalar value. */
int slm_utf8_encode(uint32_t cp, char out[4]);
/* Length of the longest valid prefix in bytes. */
size_t slm_utf8_valid_prefix(const char *s, size_t len);
/* Where decode returned 0 (or -1 at the very end): how many bytes one U+FFFD replaces, as Unicode
 * (section 3.9) and WHATWG advise: the longest prefix that some character could begin with, at
 * least 1. len >= 1. */
size_t slm_utf8_bad_length(const char *s, size_t len);
#endif
