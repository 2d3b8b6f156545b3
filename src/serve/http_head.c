/* SPDX-License-Identifier: MIT
 *
 * What is refused in the head of a request before a parser sees it, so that no proxy in front and we can disagree
 * about where a request ends: control characters, CR and LF that do not belong together, folded lines, doubled or
 * mixed lengths, encodings other than "chunked". A client that means well sends none of these, so there is nothing
 * to be lenient about. Each byte is looked at once, however small the pieces it comes in.
 *
 * Deliberately not here: the grammar itself (llhttp). */
#include "base/utf8.h"
#include "serve/http_message.h"

/* RFC 9110, 5.6.2: token, of which methods and names of headers are made. */
static bool is_token_char(char c)
{
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static int refuse(struct slm_error *error, int status, const char *why)
{
    slm_fail(error, status == 431 || status == 414 ? SLM_ERR_LIMIT : SLM_ERR_FORMAT, "request", "%s", why);
    return status;
}

/* What a line may be at all: the bytes before `at` are fine. 0 or an error. Folding (RFC 9112, 5.2) lets one server
 * see a header where another sees the value of the one above. Values may have bytes from 0x80 on, which are old
 * encodings of names and nothing to us. A TLS hello sent to this port by mistake ends at its first byte, not at a
 * deadline. */
static int look_at_byte(const struct slm_head_scan *scan, const char *data, const struct slm_http_limits *limits,
                        struct slm_error *error)
{
    const unsigned char c = (unsigned char)data[scan->at];
    const bool first = scan->at == scan->line;
    if (scan->n_lines > 0 && first && (c == ' ' || c == '\t'))
        return refuse(error, 400, "a header is folded over lines, which HTTP no longer allows");
    if ((c < 0x20 && c != '\t') || c == 0x7f) return refuse(error, 400, "a control character in the head");
    if (scan->n_lines > 0) return 0;
    if (c >= 0x80 || c == '\t') return refuse(error, 400, "the request line is not plain ASCII");
    if (scan->in_method && !(c == ' ' && !first) && !is_token_char((char)c))
        return refuse(error, 400, "this is not an HTTP request");
    if (scan->in_method && scan->at - scan->line > 32) return refuse(error, 400, "the method is too long");
    if (scan->at - scan->line > limits->url_bytes + 64) return refuse(error, 414, "the URL is too long");
    return 0;
}

/* A lone LF or CR is the end of a line for some servers and not for others (RFC 9112, 2.2), which is how a request is
 * smuggled past a proxy (11.2). The scan goes on where it stopped, so a head that comes byte by byte costs no more.
 * */
int slm_head_scan(struct slm_head_scan *scan, const char *data, size_t len, const struct slm_http_limits *limits,
                  size_t *head_bytes, struct slm_error *error)
{
    if (scan->at == 0) scan->in_method = true;
    for (; scan->at < len; scan->at++) {
        if (scan->at >= limits->header_bytes) return refuse(error, 431, "the headers are too long");
        const char c = data[scan->at];
        if (c == '\n' && (scan->at == 0 || data[scan->at - 1] != '\r'))
            return refuse(error, 400, "a line ends in LF without CR");
        if (c == '\r') {
            if (scan->at + 1 == len) return SLM_HTTP_MORE; /* what follows decides; look at it again then */
            if (data[scan->at + 1] != '\n') return refuse(error, 400, "a CR without LF");
            if (scan->in_method) return refuse(error, 400, "this is not an HTTP request");
            continue;
        }
        if (c != '\n') {
            const int status = look_at_byte(scan, data, limits, error);
            if (status) return status;
            if (c == ' ') scan->in_method = false;
            continue;
        }
        if (scan->at == scan->line + 1) {
            *head_bytes = scan->at + 1;
            return SLM_HTTP_HEAD;
        }
        scan->line = scan->at + 1;
        if (++scan->n_lines > limits->n_headers + 1) return refuse(error, 431, "there are too many headers");
    }
    return SLM_HTTP_MORE;
}

/* ---- target ---------------------------------------------------------------------------------------------- */

static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* %XX in place; the new length, or SIZE_MAX. Once only: "%252e" is the text "%2e", not a dot. What it decodes to is
 * checked afterwards, so %00, %2e%2e and the like are refused however they were spelled. */
static size_t decode(char *text, size_t len)
{
    size_t out = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '%') {
            text[out++] = text[i];
            continue;
        }
        const int high = len - i > 2 ? hex(text[i + 1]) : -1, low = len - i > 2 ? hex(text[i + 2]) : -1;
        if (high < 0 || low < 0) return SIZE_MAX;
        text[out++] = (char)(high * 16 + low);
        i += 2;
    }
    return out;
}

/* No "." and ".." between slashes: whoever sends them hopes that we resolve them. */
static bool has_dots(const char *path, size_t len)
{
    size_t start = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && path[i] != '/') continue;
        const struct slm_str part = {path + start, i - start};
        if (slm_str_is(part, ".") || slm_str_is(part, "..")) return true;
        start = i + 1;
    }
    return false;
}

int slm_head_target(char *target, size_t len, struct slm_str *path, struct slm_str *query, struct slm_str *host,
                    struct slm_error *error)
{
    if (len == 1 && target[0] == '*') {
        *path = (struct slm_str){target, 1};
        return 200;
    }
    if (len > 7 && memcmp(target, "http://", 7) == 0) { /* as clients of a proxy write it */
        char *slash = memchr(target + 7, '/', len - 7);
        *host = (struct slm_str){target + 7, (slash ? (size_t)(slash - target) : len) - 7};
        if (!slash) return refuse(error, 400, "the URL has no path");
        len -= (size_t)(slash - target);
        target = slash;
    }
    if (len == 0 || target[0] != '/') return refuse(error, 400, "the URL's path must begin with '/'");
    if (memchr(target, '#', len)) return refuse(error, 400, "the URL has a fragment ('#')");
    const char *mark = memchr(target, '?', len);
    size_t path_len = mark ? (size_t)(mark - target) : len;
    if (mark) *query = (struct slm_str){mark + 1, len - path_len - 1};
    path_len = decode(target, path_len);
    if (path_len == SIZE_MAX) return refuse(error, 400, "the URL has a '%' without two hexadecimal digits");
    for (size_t i = 0; i < path_len; i++)
        if ((unsigned char)target[i] < 0x20 || target[i] == 0x7f)
            return refuse(error, 400, "the URL has a control character");
    if (slm_utf8_valid_prefix(target, path_len) != path_len) return refuse(error, 400, "the URL is not UTF-8");
    if (has_dots(target, path_len)) return refuse(error, 400, "the URL has a part '.' or '..'");
    *path = (struct slm_str){target, path_len};
    return 200;
}

/* ---- framing --------------------------------------------------------------------------------------------- */

static bool is_name(struct slm_str name, const char *what)
{
    return name.len == strlen(what) && strncasecmp(name.ptr, what, name.len) == 0;
}

/* Digits only, and few enough for 64 bits. */
static bool parse_length(struct slm_str text, uint64_t *out)
{
    *out = 0;
    if (text.len == 0 || text.len > 18) return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') return false;
        *out = *out * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    return true;
}

/* A name or an address, and perhaps a port. */
static bool is_host(struct slm_str host)
{
    size_t i = 0;
    if (host.len > 0 && host.ptr[0] == '[') {
        for (i = 1; i < host.len && (hex(host.ptr[i]) >= 0 || host.ptr[i] == ':' || host.ptr[i] == '.'); i++) {}
        if (i == host.len || host.ptr[i++] != ']') return false;
    } else {
        while (i < host.len && host.ptr[i] != ':' && (is_token_char(host.ptr[i]))) i++;
    }
    if (i == 0) return false;
    if (i == host.len) return true;
    if (host.ptr[i++] != ':' || host.len - i > 5) return false;
    for (; i < host.len; i++)
        if (host.ptr[i] < '0' || host.ptr[i] > '9') return false;
    return true;
}

/* One header that says how the message goes on. Doubled lengths and codings are refused even where they agree: that
 * is allowed (RFC 9112, 6.3), but only attacks on proxies send them. Compressed bodies are refused before they come,
 * since a few KiB can unpack to gigabytes; 100-continue of an HTTP/1.0 client is to be ignored (RFC 9110, 10.1.1). */
static int take_header(const struct slm_http_header *h, bool is_http10, int counts[3], struct slm_head_framing *out,
                       struct slm_error *error)
{
    if (is_name(h->name, "host")) {
        if (counts[0]++) return refuse(error, 400, "there are two Host headers");
        if (!is_host(h->value)) return refuse(error, 400, "the Host header is not a host");
        out->host = h->value;
    } else if (is_name(h->name, "content-length")) {
        if (counts[1]++) return refuse(error, 400, "there are two Content-Length headers");
        if (!parse_length(h->value, &out->length)) return refuse(error, 400, "Content-Length is not a number");
        out->has_length = true;
    } else if (is_name(h->name, "transfer-encoding")) {
        if (counts[2]++) return refuse(error, 400, "there are two Transfer-Encoding headers");
        if (is_http10) return refuse(error, 400, "Transfer-Encoding in HTTP/1.0");
        if (!is_name(h->value, "chunked")) return refuse(error, 501, "the only Transfer-Encoding is 'chunked'");
        out->is_chunked = true;
    } else if (is_name(h->name, "content-encoding")) {
        if (!is_name(h->value, "identity")) return refuse(error, 415, "compressed bodies are not accepted");
    } else if (is_name(h->name, "expect")) {
        if (!is_name(h->value, "100-continue")) return refuse(error, 417, "the only Expect is '100-continue'");
        out->wants_continue = !is_http10;
    }
    return 0;
}

int slm_head_framing(const struct slm_http_header *headers, size_t n, bool is_http10, struct slm_head_framing *out,
                     struct slm_error *error)
{
    int counts[3] = {0}; /* Host, Content-Length, Transfer-Encoding */
    *out = (struct slm_head_framing){.length = 0};
    for (size_t i = 0; i < n; i++) {
        if (headers[i].name.len == 0) return refuse(error, 400, "a header without a name");
        for (size_t k = 0; k < headers[i].name.len; k++)
            if (!is_token_char(headers[i].name.ptr[k]))
                return refuse(error, 400, "a header's name has a character that names cannot have");
        const int status = take_header(&headers[i], is_http10, counts, out, error);
        if (status) return status;
    }
    if (counts[0] == 0 && !is_http10) return refuse(error, 400, "there is no Host header");
    if (out->has_length && out->is_chunked)
        return refuse(error, 400, "both Content-Length and Transfer-Encoding are given");
    return 200;
}
