/* SPDX-License-Identifier: MIT
 *
 * llhttp, told to stop after each message, and what its callbacks gather. The head is collected whole before llhttp
 * sees it, so that method, target and headers are views of one buffer; bodies are copied once, into memory that is
 * counted over all connections.
 *
 * Trailers are refused and extensions of chunks are bounded: no client of these APIs sends any, and both are
 * where parsers disagree. */
#include <llhttp.h>

#include "base/os.h"
#include "serve/http_message.h"

enum { MAX_EXTENSION_BYTES = 4096 }; /* of all chunks of a message */

/* From within a callback: llhttp only knows that somebody objected, so the status and the reason wait in the message
 * until objection() hands them on. */
static int refuse(struct slm_http_message *m, int status, slm_status kind, const char *why)
{
    m->refused = status;
    slm_fail(&m->reason, kind, "request", "%s", why);
    return HPE_USER;
}

/* llhttp may report one text in several pieces; in a head that is one buffer they are neighbours. */
static void extend(struct slm_str *view, const char *at, size_t len)
{
    if (view->len > 0 && view->ptr + view->len == at) view->len += len;
    else *view = (struct slm_str){at, len};
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct slm_http_message *m = parser->data;
    extend(&m->target, at, len);
    return 0;
}

/* A name after the body is a trailer (RFC 9112, 7.1.2): merged into the headers it could forge what was checked. */
static int on_field(llhttp_t *parser, const char *at, size_t len)
{
    struct slm_http_message *m = parser->data;
    if (m->head_done) return refuse(m, 400, SLM_ERR_UNSUPPORTED, "trailers after the body are not accepted");
    struct slm_http_header *last = m->n_headers ? &m->headers[m->n_headers - 1] : NULL;
    if (last && last->value.ptr == NULL && last->name.ptr + last->name.len == at) {
        last->name.len += len;
        return 0;
    }
    if (m->n_headers == m->limits->n_headers)
        return refuse(m, 431, SLM_ERR_LIMIT, "there are too many headers");
    if (m->n_headers == m->cap_headers) {
        const size_t cap = m->cap_headers ? 2 * m->cap_headers : 16;
        struct slm_http_header *grown = slm_realloc(m->headers, cap, sizeof *grown, "request", NULL);
        if (!grown) return refuse(m, 503, SLM_ERR_MEMORY, "there is no memory for this request now");
        m->headers = grown;
        m->cap_headers = cap;
    }
    m->headers[m->n_headers++] = (struct slm_http_header){{at, len}, {NULL, 0}};
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t len)
{
    struct slm_http_message *m = parser->data;
    if (m->n_headers > 0) extend(&m->headers[m->n_headers - 1].value, at, len);
    return 0;
}

/* Spaces around values are no part of them. */
static struct slm_str trim(struct slm_str s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) s.ptr++, s.len--;
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t')) s.len--;
    return s;
}

/* llhttp's own idea of the framing is not relied upon: the headers are read a second time, by rules that leave no
 * choice, and llhttp goes on only where both can agree. Nothing is upgraded: a client that asks for HTTP/2 or a
 * WebSocket gets an ordinary answer, which is how a server says no (RFC 9110, 7.8). */
static int on_headers_complete(llhttp_t *parser)
{
    struct slm_http_message *m = parser->data;
    m->head_done = true;
    m->is_http10 = parser->http_major == 1 && parser->http_minor == 0;
    m->keep_alive = llhttp_should_keep_alive(parser) != 0;
    parser->upgrade = 0; /* to nothing: the request is answered as what it is */
    for (size_t i = 0; i < m->n_headers; i++) m->headers[i].value = trim(m->headers[i].value);
    const int status = slm_head_framing(m->headers, m->n_headers, m->is_http10, &m->framing, &m->reason);
    if (status == 200) return 0;
    m->refused = status;
    return -1;
}

/* Extensions (RFC 9112, 7.1.1) mean nothing to us and are no part of the body's length, so without a limit of their
 * own a body of 1-byte chunks could keep us reading for ever; bare control characters there have smuggled requests.
 * */
static int on_extension(llhttp_t *parser, const char *at, size_t len)
{
    struct slm_http_message *m = parser->data;
    m->extra_bytes += len;
    if (m->extra_bytes > MAX_EXTENSION_BYTES)
        return refuse(m, 400, SLM_ERR_LIMIT, "the extensions of the chunks are too long");
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)at[i] < 0x20 || at[i] == 0x7f)
            return refuse(m, 400, SLM_ERR_FORMAT, "a control character in an extension of a chunk");
    return 0;
}

/* The length of a chunk is known before it comes, so a chunk that is too long is refused before it is read. */
static int on_chunk_header(llhttp_t *parser)
{
    struct slm_http_message *m = parser->data;
    if (parser->content_length > m->limits->body_bytes - m->body.len)
        return refuse(m, 413, SLM_ERR_LIMIT, "the body is too long");
    return 0;
}

/* 413 is the fault of this request, 503 that of all of them together: the same one may succeed a second later. Bodies
 * are counted as they arrive, not as they are announced; an announcement costs the client nothing. */
static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct slm_http_message *m = parser->data;
    if (len > m->limits->body_bytes - m->body.len) return refuse(m, 413, SLM_ERR_LIMIT, "the body is too long");
    if (len > m->limits->all_body_bytes - *m->all_body_bytes)
        return refuse(m, 503, SLM_ERR_LIMIT, "too many bodies of requests are in memory; try again soon");
    if (!slm_buf_add(&m->body, at, len))
        return refuse(m, 503, SLM_ERR_MEMORY, "there is no memory for this request now");
    *m->all_body_bytes += len;
    return 0;
}

/* Stops llhttp right behind the message: bytes of the next request stay with the connection. */
static int on_message_complete(llhttp_t *parser)
{
    struct slm_http_message *m = parser->data;
    m->done = true;
    return HPE_PAUSED;
}

/* Of all connections; not const only because llhttp takes it so. */
static llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_headers_complete,
    .on_chunk_extension_name = on_extension,
    .on_chunk_extension_value = on_extension,
    .on_chunk_header = on_chunk_header,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* *all_body_bytes belongs to the server and lives longer than any message. The parser is kept from request to
 * request. */
slm_status slm_http_message_init(struct slm_http_message *message, const struct slm_http_limits *limits,
                                 size_t *all_body_bytes, struct slm_error *error)
{
    *message = (struct slm_http_message){.limits = limits, .all_body_bytes = all_body_bytes};
    message->parser = slm_alloc(1, sizeof *message->parser, "http", error);
    if (!message->parser) return SLM_ERR_MEMORY;
    slm_http_message_reset(message);
    return SLM_OK;
}

void slm_http_message_release(struct slm_http_message *message)
{
    if (!message->parser) return;
    slm_http_message_reset(message);
    slm_release(message->parser);
    message->parser = NULL;
}

void slm_http_message_reset(struct slm_http_message *m)
{
    struct slm_http_message fresh = {
        .limits = m->limits, .all_body_bytes = m->all_body_bytes, .parser = m->parser};
    *m->all_body_bytes -= m->body.len;
    slm_buf_release(&m->head);
    slm_buf_release(&m->body);
    slm_release(m->headers);
    *m = fresh;
    llhttp_init(m->parser, HTTP_REQUEST, &settings);
}

/* What llhttp objects to, as a status. The connection ends after each of them: where the next request begins is no
 * longer known. */
static int objection(struct slm_http_message *m, llhttp_errno_t what, struct slm_error *error)
{
    if (m->refused) {
        *error = m->reason;
        return m->refused;
    }
    if (what == HPE_INVALID_VERSION) {
        slm_fail(error, SLM_ERR_UNSUPPORTED, "request", "the protocol must be HTTP/1.1 or HTTP/1.0");
        return 505;
    }
    if (what == HPE_INVALID_METHOD) {
        slm_fail(error, SLM_ERR_UNSUPPORTED, "request", "there is no such method");
        return 501;
    }
    slm_fail(error, SLM_ERR_FORMAT, "request", "this is not valid HTTP: %s", llhttp_get_error_reason(m->parser));
    return 400;
}

/* The request line as it stands, because llhttp knows more versions than we speak. The scan has made sure of a CR and
 * of a space behind the method. */
static int check_line(struct slm_http_message *m, struct slm_error *error)
{
    const char *line = m->head.data, *end = memchr(line, '\r', m->head.len);
    const char *space = memchr(line, ' ', (size_t)(end - line));
    m->method = (struct slm_str){line, (size_t)(space - line)};
    if (end - space < 11 || memcmp(end - 9, " HTTP/", 6) != 0 || memchr(space + 1, ' ', (size_t)(end - 10 - space))) {
        slm_fail(error, SLM_ERR_FORMAT, "request", "the first line must be METHOD URL HTTP/1.1");
        return 400;
    }
    if (memcmp(end - 3, "1.1", 3) != 0 && memcmp(end - 3, "1.0", 3) != 0) {
        slm_fail(error, SLM_ERR_UNSUPPORTED, "request", "the protocol must be HTTP/1.1 or HTTP/1.0");
        return 505;
    }
    if ((size_t)(end - 9 - space) > m->limits->url_bytes) {
        slm_fail(error, SLM_ERR_LIMIT, "request", "the URL is longer than %zu bytes", m->limits->url_bytes);
        return 414;
    }
    return 0;
}

/* The head is whole: llhttp reads it. An announced body that is too long is refused here, before a byte of it comes
 * and before the client was told to continue. */
static int parse_head(struct slm_http_message *m, struct slm_error *error)
{
    int status = check_line(m, error);
    if (status) return status;
    m->parser->data = m;
    const llhttp_errno_t what = llhttp_execute(m->parser, m->head.data, m->head.len);
    if ((what != HPE_OK && what != HPE_PAUSED) || !m->head_done) return objection(m, what, error);
    m->host = m->framing.host;
    status = slm_head_target(m->head.data + (m->target.ptr - m->head.data), m->target.len, &m->path, &m->query,
                             &m->host, error);
    if (status != 200) return status;
    if (m->framing.has_length && m->framing.length > m->limits->body_bytes) {
        slm_fail(error, SLM_ERR_LIMIT, "request", "the body has %llu bytes, at most %zu are allowed",
                 (unsigned long long)m->framing.length, m->limits->body_bytes);
        return 413;
    }
    return SLM_HTTP_HEAD;
}

int slm_http_message_feed(struct slm_http_message *m, const char *data, size_t len, size_t *used,
                          struct slm_error *error)
{
    *used = 0;
    if (!m->head_done) {
        /* An empty line before a request is left over from the one before (RFC 9112, 2.2). */
        while (m->head.len == 0 && *used < len && m->n_skipped < 2 && data[*used] == "\r\n"[m->n_skipped])
            m->n_skipped++, ++*used;
        if (m->n_skipped == 1 && *used < len) {
            slm_fail(error, SLM_ERR_FORMAT, "request", "a CR without LF");
            return 400;
        }
        const size_t before = m->head.len, rest = len - *used;
        const size_t room = m->limits->header_bytes + 1 - before, take = rest < room ? rest : room;
        if (take == 0) return SLM_HTTP_MORE;
        size_t head_bytes = 0;
        if (!slm_buf_add(&m->head, data + *used, take)) {
            slm_fail(error, SLM_ERR_MEMORY, "request", "there is no memory for this request now");
            return 503;
        }
        const int status = slm_head_scan(&m->scan, m->head.data, m->head.len, m->limits, &head_bytes, error);
        if (status != SLM_HTTP_HEAD) {
            *used += take;
            m->bytes += *used;
            return status;
        }
        *used += head_bytes - before;
        m->bytes += *used;
        m->head.len = head_bytes;
        return parse_head(m, error);
    }
    if (m->done) return SLM_HTTP_DONE;
    if (len == 0) return SLM_HTTP_MORE;
    m->parser->data = m;
    const llhttp_errno_t what = llhttp_execute(m->parser, data, len);
    if (what == HPE_OK) *used = len;
    else if (what == HPE_PAUSED && m->done) *used = (size_t)(llhttp_get_error_pos(m->parser) - data);
    else return objection(m, what, error);
    m->bytes += *used;
    return m->done ? SLM_HTTP_DONE : SLM_HTTP_MORE;
}
