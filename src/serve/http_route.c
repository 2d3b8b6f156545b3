/* SPDX-License-Identifier: MIT
 *
 * Who may call what: the path's row, the name the server was called by, the page the call comes from, the key. All
 * of it by the head alone, so that nobody sends a body in vain and "100 Continue" is a promise.
 *
 * The host check is what keeps a page of the open web from reaching a server on this machine by a name that the
 * page's owner points here (DNS rebinding); the origin check is what keeps any other page from it. */
#include <arpa/inet.h>

#include "base/os.h"
#include "serve/http_part.h"

/* ---- answers of the server itself ------------------------------------------------------------------------ */

/* Where no API says how its errors look. */
static void plain_error(struct slm_reply *reply, int status, const struct slm_error *error)
{
    struct slm_buf body = {0};
    slm_buf_puts(&body, "{\"error\":{\"message\":");
    slm_buf_add_json_string(&body, slm_str(error->message));
    slm_buf_printf(&body, ",\"type\":\"%s\",\"code\":%d}}\n",
                   status >= 500   ? "server_error"
                   : status == 401 ? "authentication_error"
                   : status == 429 ? "rate_limit_error"
                                   : "invalid_request_error", status);
    slm_reply_send(reply, status, "application/json", (struct slm_str){body.data, body.len});
    slm_buf_release(&body);
}

/* In the shape of the API that the path belongs to, because clients parse errors too. 503 passes, here or by another
 * server in our place, and the SDKs wait as long as Retry-After says (RFC 9110, 10.2.3: in seconds). */
static void answer_error(struct slm_reply *reply, int status, const struct slm_error *error)
{
    if (status == 503) slm_reply_header(reply, "Retry-After", "1");
    (reply->table && reply->table->error ? reply->table->error : plain_error)(reply, status, error);
}

/* Whether a body follows that nobody will read. */
static bool body_follows(const struct slm_conn *conn)
{
    const struct slm_http_message *m = &conn->message;
    return !m->done && (m->framing.is_chunked || m->framing.length > 0);
}

/* An error before the body was read. If one follows, the connection ends: reading it only to drop it would be the
 * client's choice of how long, and without reading it the next request cannot be found. */
static bool answer(struct slm_conn *conn, int status, slm_status kind, const char *what)
{
    struct slm_error error;
    if (body_follows(conn)) conn->reply.last = true;
    slm_fail(&error, kind, "request", "%s", what);
    answer_error(&conn->reply, status, &error);
    return false;
}

/* Also where there was no request yet (a broken head, a deadline, too many connections), so that it too has a line in
 * the log. */
void slm_route_refuse(struct slm_conn *conn, int status, const struct slm_error *error)
{
    if (!conn->reply.active) slm_reply_start(conn);
    conn->ends = conn->reply.last = true;
    answer_error(&conn->reply, status, error);
}

/* ---- routes ---------------------------------------------------------------------------------------------- */

/* Whether path is the route's; *wild is what stands for its ":name". */
static bool matches(const char *pattern, struct slm_str path, struct slm_str *wild)
{
    const char *colon = strchr(pattern, ':');
    const size_t fixed = colon ? (size_t)(colon - pattern) : strlen(pattern);
    *wild = (struct slm_str){NULL, 0};
    if (path.len < fixed || memcmp(path.ptr, pattern, fixed) != 0) return false;
    if (!colon) return path.len == fixed;
    *wild = (struct slm_str){path.ptr + fixed, path.len - fixed};
    return wild->len > 0;
}

struct found {
    const struct slm_http_route *route; /* of this method */
    struct slm_str wild;
    void *app;
    struct slm_buf allow;               /* methods of this path */
};

static void look_in(const struct slm_mount *mount, struct slm_str method, struct slm_str path, struct found *found)
{
    for (const struct slm_http_route *route = mount->table->routes; route->method; route++) {
        struct slm_str wild;
        if (!matches(route->path, path, &wild)) continue;
        slm_buf_printf(&found->allow, "%s%s", found->allow.len ? ", " : "", route->method);
        if (strcmp(route->method, "GET") == 0) slm_buf_puts(&found->allow, ", HEAD");
        const bool is_method = slm_str_is(method, route->method) ||
                               (slm_str_is(method, "HEAD") && strcmp(route->method, "GET") == 0);
        /* A path that is spelled out goes before one with a name for anything. */
        if (!is_method || (found->route && wild.len > 0)) continue;
        *found = (struct found){route, wild, mount->app, found->allow};
    }
}

/* The table with the longest prefix of path. */
static const struct slm_http_table *table_of(const struct slm_http *http, struct slm_str path)
{
    const struct slm_http_table *best = NULL;
    for (size_t i = 0; i < http->n_mounts; i++) {
        const struct slm_http_table *table = http->mounts[i].table;
        if (slm_str_starts_with(path, slm_str(table->prefix)) &&
            (!best || strlen(table->prefix) > strlen(best->prefix)))
            best = table;
    }
    return best;
}

/* ---- who calls ------------------------------------------------------------------------------------------- */

static bool is_text(struct slm_str s, const char *text)
{
    return s.len == strlen(text) && strncasecmp(s.ptr, text, s.len) == 0;
}

static bool ends_with(struct slm_str s, const char *end)
{
    const size_t n = strlen(end);
    return s.len > n && strncasecmp(s.ptr + s.len - n, end, n) == 0;
}

/* Without the port. */
static struct slm_str host_name(struct slm_str host)
{
    if (host.len > 0 && host.ptr[0] == '[') {
        const char *end = memchr(host.ptr, ']', host.len);
        return end ? (struct slm_str){host.ptr, (size_t)(end - host.ptr) + 1} : host;
    }
    const char *colon = host.len ? memchr(host.ptr, ':', host.len) : NULL;
    return colon ? (struct slm_str){host.ptr, (size_t)(colon - host.ptr)} : host;
}

/* IPv4 or IPv6, as an URL writes them. */
static bool is_address(struct slm_str name)
{
    char text[64];
    unsigned char out[16];
    if (name.len > 2 && name.ptr[0] == '[') name.ptr++, name.len -= 2;
    if (name.len == 0 || name.len >= sizeof text) return false;
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    return inet_pton(AF_INET, text, out) == 1 || inet_pton(AF_INET6, text, out) == 1;
}

/* Nobody can point an address or "localhost" (RFC 6761, 6.3) elsewhere; other names must be told to us. Only loopback
 * sockets are checked: others are meant to be reached by names we cannot know, and there the key protects. */
static bool host_is_ours(const struct slm_conn *conn)
{
    const struct slm_http_options *options = &conn->http->options;
    const struct slm_str name = host_name(conn->message.host);
    if (!conn->on_loopback || name.len == 0) return true;
    if (is_address(name) || is_text(name, "localhost") || ends_with(name, ".localhost")) return true;
    for (size_t i = 0; i < options->n_hosts; i++)
        if (is_text(name, options->hosts[i])) return true;
    return false;
}

/* Pages of this machine and of programs that show pages. */
static bool origin_is_local(struct slm_str origin)
{
    static const char *const schemes[] = {"app://", "file://", "tauri://", "vscode-webview://", "vscode-file://"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (slm_str_starts_with(origin, slm_str(schemes[i]))) return true;
    struct slm_str host = origin;
    if (slm_str_starts_with(origin, slm_str("http://"))) host.ptr += 7, host.len -= 7;
    else if (slm_str_starts_with(origin, slm_str("https://"))) host.ptr += 8, host.len -= 8;
    else return false;
    const struct slm_str name = host_name(host);
    return is_text(name, "localhost") || is_text(name, "127.0.0.1") || is_text(name, "[::1]");
}

/* "Origin: null" (sandboxed frames, redirects) is nobody's in particular and passes with '*' only. Programs that are
 * no browsers send no Origin; whoever can forge one could leave it out as well. */
static bool origin_may_call(const struct slm_conn *conn, struct slm_str origin)
{
    const struct slm_http_options *options = &conn->http->options;
    for (size_t i = 0; i < options->n_origins; i++)
        if (strcmp(options->origins[i], "*") == 0 || slm_str_is(origin, options->origins[i])) return true;
    if (origin_is_local(origin)) return true;
    /* Our own page, under whatever name it was opened: that name has passed the host check. */
    const char *slashes = memmem(origin.ptr, origin.len, "://", 3);
    if (!slashes) return false;
    const struct slm_str host = {slashes + 3, origin.len - (size_t)(slashes + 3 - origin.ptr)};
    return host.len > 0 && slm_str_equal(host, conn->message.host);
}

static void copy(char *out, size_t cap, struct slm_str s)
{
    const size_t n = s.len < cap - 1 ? s.len : cap - 1;
    if (n) memcpy(out, s.ptr, n);
    out[n] = '\0';
}

static void allow_origin(struct slm_reply *reply, struct slm_str origin)
{
    char text[512];
    copy(text, sizeof text, origin);
    slm_reply_header(reply, "Access-Control-Allow-Origin", text);
    slm_reply_header(reply, "Access-Control-Expose-Headers", "X-Request-Id, Retry-After");
    slm_reply_header(reply, "Vary", "Origin");
}

/* OPTIONS: what a browser asks before it calls, or anyone who wants to know (RFC 9110, 9.3.7). No key is asked for,
 * because browsers send none with this question. All headers are allowed: it is the origin that was checked. */
static bool answer_options(struct slm_conn *conn, struct found *found)
{
    struct slm_reply *reply = &conn->reply;
    char text[1024];
    const struct slm_str headers = slm_http_header(&reply->request, "Access-Control-Request-Headers");
    slm_buf_puts(&found->allow, found->allow.len ? ", OPTIONS" : "GET, HEAD, POST, DELETE, OPTIONS");
    slm_reply_header(reply, "Allow", found->allow.data ? found->allow.data : "OPTIONS");
    if (slm_http_header(&reply->request, "Access-Control-Request-Method").len > 0) {
        slm_reply_header(reply, "Access-Control-Allow-Methods", found->allow.data ? found->allow.data : "GET, POST");
        copy(text, sizeof text, headers);
        if (headers.len > 0) slm_reply_header(reply, "Access-Control-Allow-Headers", text);
        slm_reply_header(reply, "Access-Control-Max-Age", "86400");
    }
    if (body_follows(conn)) reply->last = true;
    slm_reply_send(reply, 204, NULL, (struct slm_str){NULL, 0});
    return false;
}

static bool needs_key(const struct slm_conn *conn, const struct slm_http_route *route)
{
    const struct slm_keys *keys = conn->http->options.keys;
    return keys && keys->n > 0 && !(route->flags & SLM_ROUTE_OPEN);
}

/* The key that came with the request; NULL: none or a wrong one. */
static struct slm_key *key_of(const struct slm_conn *conn)
{
    const struct slm_keys *keys = conn->http->options.keys;
    struct slm_str key = slm_http_header(&conn->reply.request, "Authorization");
    if (key.len > 7 && strncasecmp(key.ptr, "Bearer ", 7) == 0) key.ptr += 7, key.len -= 7;
    else key = slm_http_header(&conn->reply.request, "X-Api-Key");
    return key.len > 0 ? slm_keys_find(keys, key) : NULL;
}

/* ---- the head, the body ---------------------------------------------------------------------------------- */

/* Methods that are none of ours. */
static bool method_is_known(struct slm_str method)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT",
                                        "TRACE"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (slm_str_is(method, known[i])) return true;
    return false;
}

/* The order: a page that may not call gets no Access-Control-Allow-Origin and so cannot read even the error; a page
 * that may gets it before anything else can fail, else its script would see "network error" in place of a 401 or 404.
 * */
static bool check_caller(struct slm_conn *conn)
{
    struct slm_reply *reply = &conn->reply;
    const struct slm_str origin = slm_http_header(&reply->request, "Origin");
    if (!method_is_known(reply->request.method))
        return answer(conn, 501, SLM_ERR_UNSUPPORTED, "there is no such method");
    if (!host_is_ours(conn))
        return answer(conn, 403, SLM_ERR_ARGUMENT,
                      "this server is not known by that name; --allow-host NAME lets it be called so");
    if (origin.len > 0 && !origin_may_call(conn, origin))
        return answer(conn, 403, SLM_ERR_ARGUMENT,
                      "pages of that origin may not call this server; --cors-origin ORIGIN lets them");
    if (origin.len > 0) allow_origin(reply, origin);
    return true;
}

/* What asks a model for something counts, looking does not: a page that shows charts asks for them all the time. */
static bool check_rate(struct slm_conn *conn, struct slm_key *key)
{
    struct slm_reply *reply = &conn->reply;
    unsigned seconds;
    char text[160];
    if (!slm_str_is(reply->request.method, "POST") || slm_key_use(key, slm_os()->now_ns(), &seconds)) return true;
    (void)snprintf(text, sizeof text, "%u", seconds);
    slm_reply_header(reply, "Retry-After", text);
    (void)snprintf(text, sizeof text, "this key may be used for %u requests in %u s: try again in %u s",
                   (unsigned)key->rate.n, (unsigned)key->rate.seconds, seconds);
    return answer(conn, 429, SLM_ERR_LIMIT, text);
}

/* That a path exists is no secret, so 404 and 405 come before the key is asked for, and a typo in a base URL is not
 * reported as a wrong key. 405 must list what is allowed (RFC 9110, 15.5.6). */
static bool check_route(struct slm_conn *conn, struct found *found)
{
    struct slm_reply *reply = &conn->reply;
    if (slm_str_is(reply->request.method, "OPTIONS")) return answer_options(conn, found);
    if (found->allow.len == 0) return answer(conn, 404, SLM_ERR_ARGUMENT, "there is nothing at this path");
    if (!found->route) {
        slm_reply_header(reply, "Allow", found->allow.data);
        return answer(conn, 405, SLM_ERR_ARGUMENT, "this path does not have that method");
    }
    reply->route = found->route;
    reply->app = found->app;
    reply->request.wild = found->wild;
    const bool asks = needs_key(conn, found->route);
    struct slm_key *key = asks ? key_of(conn) : NULL;
    copy(reply->key, sizeof reply->key, slm_str(key ? key->name : ""));
    reply->request.key = reply->key;
    if (asks && !key) {
        slm_reply_header(reply, "WWW-Authenticate", "Bearer");
        return answer(conn, 401, SLM_ERR_ARGUMENT,
                      "an API key is needed: the header 'Authorization: Bearer KEY' or 'X-Api-Key: KEY'");
    }
    if (conn->http->draining && !(found->route->flags & SLM_ROUTE_OPEN))
        return answer(conn, 503, SLM_ERR_LIMIT, "the server is about to stop");
    return !key || check_rate(conn, key);
}

bool slm_route_head(struct slm_conn *conn)
{
    struct slm_reply *reply = &conn->reply;
    struct found found = {.route = NULL};
    reply->table = table_of(conn->http, reply->request.path);
    bool goes_on = check_caller(conn);
    if (goes_on) {
        for (size_t i = 0; i < conn->http->n_mounts; i++)
            look_in(&conn->http->mounts[i], reply->request.method, reply->request.path, &found);
        goes_on = check_route(conn, &found);
    }
    slm_buf_release(&found.allow);
    if (goes_on && conn->message.framing.wants_continue && body_follows(conn))
        slm_conn_send(conn, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    return goes_on;
}

void slm_route_run(struct slm_conn *conn)
{
    struct slm_reply *reply = &conn->reply;
    reply->request.body = (struct slm_str){conn->message.body.data, conn->message.body.len};
    reply->route->handle(reply->app, &reply->request, reply);
}
