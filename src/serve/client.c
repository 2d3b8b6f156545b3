/* SPDX-License-Identifier: MIT
 *
 * See client.h. A request is written, and the answer goes through llhttp as it comes. Whatever ends it (the last byte,
 * an error, the time) leads to finish(), once; the memory goes when libuv has let go of both handles. */
#include "serve/client.h"

#include <llhttp.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/os.h"

struct slm_peer {
    uv_loop_t *loop;
    struct slm_url url;
    struct addrinfo *addresses;
    struct exchange *open; /* those that have not ended */
};

struct exchange {
    struct slm_ask ask;
    struct exchange *next, **place; /* in the peer's list, and what points to it there */
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_connect_t connect;
    uv_write_t write;
    struct slm_buf request;
    const struct addrinfo *address; /* tried now */
    llhttp_t parser;
    llhttp_settings_t settings;
    char name[32], value[32];       /* of a header, as far as they matter */
    size_t n_name, n_value;
    int status, retry_after_s, n_handles;
    bool is_over, is_whole;
    char input[65536];
};

/* ---- addresses --------------------------------------------------------------------------------------------------- */

/* What stands between "//" and the next slash is host and port; an IPv6 address has brackets around it because of
 * its own colons (RFC 3986, 3.2.2). Blanks and control characters would end the lines of a request, names of users
 * before an "@" are no hosts. */
slm_status slm_url_parse(const char *text, struct slm_url *out, struct slm_error *error)
{
    const char *at = text, *colons = strstr(text, "://");
    *out = (struct slm_url){.port = "80"};
    if (slm_str_starts_with(slm_str(text), slm_str("https://")))
        return slm_fail(error, SLM_ERR_UNSUPPORTED, "URL", "'%s' needs TLS, which this command does not speak; give "
                        "the http address of the server, or of a proxy that speaks TLS to it", text);
    if (colons && !slm_str_starts_with(slm_str(text), slm_str("http://")))
        return slm_fail(error, SLM_ERR_ARGUMENT, "URL", "'%s' is no http address", text);
    if (colons) at = colons + 3;
    const char *slash = at + strcspn(at, "/?#"), *end = *at == '[' ? memchr(at, ']', (size_t)(slash - at)) : NULL;
    const char *colon = memchr(end ? end : at, ':', (size_t)(slash - (end ? end : at)));
    struct slm_str host = {at, (size_t)((colon ? colon : slash) - at)};
    struct slm_str path = slm_str(slash);
    if (end && host.len > 2 && end == host.ptr + host.len - 1) host.ptr++, host.len -= 2;
    while (path.len && path.ptr[path.len - 1] == '/') path.len--;
    const size_t n_port = colon ? (size_t)(slash - colon) - 1 : 0;
    bool good = host.len > 0 && host.len < sizeof out->host && path.len < sizeof out->path && *slash != '?' &&
                *slash != '#' && n_port < 6 && !(colon && n_port == 0);
    for (size_t i = 0; good && i < host.len; i++) good = (unsigned char)host.ptr[i] > ' ' && host.ptr[i] != '@';
    for (size_t i = 0; good && i < path.len; i++) good = (unsigned char)path.ptr[i] > ' ';
    for (size_t i = 0; good && i < n_port; i++) good = colon[1 + i] >= '0' && colon[1 + i] <= '9';
    if (!good)
        return slm_fail(error, SLM_ERR_ARGUMENT, "URL", "'%s' is no address of a server, as "
                        "http://127.0.0.1:8080/v1 is", text);
    memcpy(out->host, host.ptr, host.len);
    memcpy(out->path, path.ptr, path.len);
    if (n_port) snprintf(out->port, sizeof out->port, "%.*s", (int)n_port, colon + 1);
    return SLM_OK;
}

/* Blocks, once: before anything is measured. */
slm_status slm_peer_open(uv_loop_t *loop, const struct slm_url *url, struct slm_peer **out,
                         struct slm_error *error)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct slm_peer *peer = slm_alloc(1, sizeof *peer, "server", error);
    if (!peer) return SLM_ERR_MEMORY;
    *peer = (struct slm_peer){.loop = loop, .url = *url};
    const int bad = getaddrinfo(url->host, url->port, &hints, &peer->addresses);
    if (bad) {
        slm_fail(error, SLM_ERR_IO, url->host, "its address was not found: %s", gai_strerror(bad));
        slm_release(peer);
        return SLM_ERR_IO;
    }
    *out = peer;
    return SLM_OK;
}

/* After the loop has run out: what is at work has its addresses. */
void slm_peer_close(struct slm_peer *peer)
{
    if (!peer) return;
    freeaddrinfo(peer->addresses);
    slm_release(peer);
}

/* ---- one exchange ------------------------------------------------------------------------------------------------ */

/* Both handles have to be closed before their memory may go. */
static void on_closed(uv_handle_t *handle)
{
    struct exchange *x = handle->data;
    if (--x->n_handles > 0) return;
    slm_buf_release(&x->request);
    slm_release(x);
}

/* The owner hears of the end here, in the loop's turn; it may ask anew at once. */
static void finish(struct exchange *x, const struct slm_error *error)
{
    if (x->is_over) return;
    x->is_over = true;
    *x->place = x->next;
    if (x->next) x->next->place = x->place;
    if (!uv_is_closing((uv_handle_t *)&x->tcp)) uv_close((uv_handle_t *)&x->tcp, on_closed); /* else: on_reopen() */
    uv_close((uv_handle_t *)&x->timer, on_closed);
    x->ask.on_end(x->ask.user, x->status, x->retry_after_s, error);
}

/* uv_status 0: the words say it all. */
static void fail(struct exchange *x, const char *what, int uv_status)
{
    struct slm_error error;
    const struct slm_url *url = x->ask.url;
    slm_fail(&error, SLM_ERR_IO, url->host, "port %s: %s%s%s", url->port, what, uv_status ? ": " : "",
             uv_status ? uv_strerror(uv_status) : "");
    finish(x, &error);
}

/* The time of all of it, from the call on: a server that sends a byte a minute is late as well. */
static void on_late(uv_timer_t *timer)
{
    fail(timer->data, "the answer took longer than it may", 0);
}

/* ---- the answer ------------------------------------------------------------------------------------------------- */

/* Retry-After alone matters (RFC 9110, 10.2.3); it comes in seconds, a date is left out. */
static void end_header(struct exchange *x)
{
    x->name[x->n_name] = x->value[x->n_value] = '\0';
    char *end;
    const long seconds = strtol(x->value, &end, 10);
    if (strcasecmp(x->name, "retry-after") == 0 && end != x->value && *end == '\0' && seconds >= 0 && seconds < 1000000)
        x->retry_after_s = (int)seconds;
    x->n_name = x->n_value = 0;
}

/* What is longer than its room is none of ours. */
static void append(char *out, size_t *len, size_t cap, const char *at, size_t n)
{
    const size_t room = cap - 1 - *len;
    memcpy(out + *len, at, n < room ? n : room);
    *len += n < room ? n : room;
}

/* llhttp gives names and values in as many pieces as the bytes came in; a name after a value begins the next header. */
static int on_field(llhttp_t *parser, const char *at, size_t n)
{
    struct exchange *x = parser->data;
    if (x->n_value > 0) end_header(x);
    append(x->name, &x->n_name, sizeof x->name, at, n);
    return 0;
}

/* Values of any header; only that of one is looked at. */
static int on_value(llhttp_t *parser, const char *at, size_t n)
{
    struct exchange *x = parser->data;
    append(x->value, &x->n_value, sizeof x->value, at, n);
    return 0;
}

/* The last header ends with the head. */
static int on_head(llhttp_t *parser)
{
    struct exchange *x = parser->data;
    end_header(x);
    x->status = parser->status_code;
    return 0;
}

/* Chunks are put apart by llhttp; what arrives here is the body alone. */
static int on_body(llhttp_t *parser, const char *at, size_t n)
{
    struct exchange *x = parser->data;
    x->ask.on_body(x->ask.user, at, n);
    return 0;
}

/* Paused, so that bytes behind the answer are nobody's. */
static int on_whole(llhttp_t *parser)
{
    struct exchange *x = parser->data;
    x->is_whole = parser->status_code >= 200; /* 100 Continue is none */
    return x->is_whole ? HPE_PAUSED : 0;
}

/* The end of the connection is that of a body without a length (RFC 9112, 6.3): llhttp knows whether it may be. */
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct exchange *x = stream->data;
    if (n == 0 || x->is_over) return;
    if (n < 0 && n != UV_EOF) {
        fail(x, "the connection broke", (int)n);
        return;
    }
    const llhttp_errno_t state = n > 0 ? llhttp_execute(&x->parser, buf->base, (size_t)n) : llhttp_finish(&x->parser);
    if (x->is_whole) finish(x, NULL);
    else if (n < 0) fail(x, "the connection ended before the answer", 0);
    else if (state != HPE_OK && state != HPE_PAUSED) fail(x, "what came is no HTTP", 0);
}

/* One buffer, since what was read is used up before the next is. */
static void give_buffer(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct exchange *x = handle->data;
    (void)size;
    *buf = uv_buf_init(x->input, sizeof x->input);
}

/* ---- the request ------------------------------------------------------------------------------------------------- */

static void on_written(uv_write_t *write, int status)
{
    struct exchange *x = write->data;
    /* A server may refuse before it has read all: then there is an answer to read. */
    if (status < 0 && status != UV_ECANCELED && status != UV_EPIPE && status != UV_ECONNRESET)
        fail(x, "writing failed", status);
}

static void on_connected(uv_connect_t *connect, int status);

/* The host's addresses one after the other: "localhost" may be two, of which one has nobody listening. */
static void try_next(struct exchange *x, int status)
{
    for (; x->address; x->address = x->address->ai_next) {
        status = uv_tcp_connect(&x->connect, &x->tcp, x->address->ai_addr, on_connected);
        if (status == 0) return;
    }
    fail(x, "nobody answers", status);
}

/* A handle connects once, so the next address waits until the old socket has gone. */
static void on_reopen(uv_handle_t *handle)
{
    struct exchange *x = handle->data;
    uv_tcp_init(handle->loop, &x->tcp);
    x->tcp.data = x;
    if (x->is_over) uv_close((uv_handle_t *)&x->tcp, on_closed);
    else try_next(x, UV_ECONNREFUSED);
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct exchange *x = connect->data;
    if (x->is_over) return;
    if (status < 0 && x->address->ai_next && !uv_is_closing((uv_handle_t *)&x->tcp)) {
        x->address = x->address->ai_next;
        uv_close((uv_handle_t *)&x->tcp, on_reopen);
        return;
    }
    if (status < 0) {
        fail(x, "nobody answers", status);
        return;
    }
    const uv_buf_t out = uv_buf_init(x->request.data, (unsigned)x->request.len);
    uv_tcp_nodelay(&x->tcp, 1);
    x->write.data = x;
    if ((status = uv_read_start((uv_stream_t *)&x->tcp, give_buffer, on_read)) < 0 ||
        (status = uv_write(&x->write, (uv_stream_t *)&x->tcp, &out, 1, on_written)) < 0)
        fail(x, "writing failed", status);
}

/* "Connection: close": the end is then the end, also for servers that send no length. */
static void write_request(struct slm_buf *out, const struct slm_ask *ask)
{
    const struct slm_url *url = ask->url;
    const bool is_ip6 = strchr(url->host, ':') != NULL;
    slm_buf_printf(out, "%s %s%s HTTP/1.1\r\nHost: %s%s%s:%s\r\nConnection: close\r\nAccept: */*\r\n", ask->method,
                   url->path, ask->path, is_ip6 ? "[" : "", url->host, is_ip6 ? "]" : "", url->port);
    slm_buf_printf(out, "User-Agent: slm/%s\r\n", slm_version());
    if (ask->key) slm_buf_printf(out, "Authorization: Bearer %s\r\n", ask->key);
    if (ask->body.len) slm_buf_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", ask->body.len);
    slm_buf_puts(out, "\r\n");
    slm_buf_add_str(out, ask->body);
}

/* Everything is ready before the connection is begun, so that only one thing here can fail after it. */
slm_status slm_peer_ask(struct slm_peer *peer, const struct slm_ask *ask, struct slm_error *error)
{
    struct exchange *x = slm_alloc(1, sizeof *x, "request", error);
    if (!x) return SLM_ERR_MEMORY;
    x->ask = *ask;
    x->ask.url = &peer->url;
    x->retry_after_s = -1;
    x->n_handles = 2;
    write_request(&x->request, &x->ask);
    if (x->request.failed) {
        const slm_status status = slm_buf_status(&x->request, "request", error);
        slm_buf_release(&x->request);
        slm_release(x);
        return status;
    }
    llhttp_settings_init(&x->settings);
    x->settings.on_header_field = on_field;
    x->settings.on_header_value = on_value;
    x->settings.on_headers_complete = on_head;
    x->settings.on_body = on_body;
    x->settings.on_message_complete = on_whole;
    llhttp_init(&x->parser, HTTP_RESPONSE, &x->settings);
    x->parser.data = x->tcp.data = x->timer.data = x->connect.data = x;
    uv_tcp_init(peer->loop, &x->tcp);
    uv_timer_init(peer->loop, &x->timer);
    if (ask->timeout_ms) uv_timer_start(&x->timer, on_late, ask->timeout_ms, 0);
    x->address = peer->addresses;
    /* Errors of connect come on the loop, by its callback, but for those of the first call. */
    const int status = uv_tcp_connect(&x->connect, &x->tcp, x->address->ai_addr, on_connected);
    if (status == 0) {
        x->place = &peer->open;
        x->next = peer->open;
        if (x->next) x->next->place = &x->next;
        peer->open = x;
        return SLM_OK;
    }
    x->is_over = true;
    uv_close((uv_handle_t *)&x->tcp, on_closed);
    uv_close((uv_handle_t *)&x->timer, on_closed);
    return slm_fail(error, SLM_ERR_IO, peer->url.host, "port %s: %s", peer->url.port, uv_strerror(status));
}

/* From the loop's thread, also out of an on_end: that one has left the list already. */
void slm_peer_cancel(struct slm_peer *peer)
{
    while (peer->open) fail(peer->open, "it was not waited for", 0);
}
