/* SPDX-License-Identifier: MIT
 *
 * A server for tests/e2e/test_http.py: the real one (slm_serve) with routes that no API has, and limits that tests
 * reach in a second. slm_test_http_server [KEY=NUMBER ...] [unix=PATH] [key=KEY] [key_file=FILE] prints what slm serve
 * prints.
 *
 *   POST /echo        the body as it came           GET /wait   an answer that never comes
 *   GET  /stream?N    N lines, one every 20 ms; with hold=1 from SIGUSR1 on
 *   GET  /big?N       N bytes at once
 *   GET  /stats       open descriptors, waiting replies, bytes of bodies
 *   GET  /headers     headers as they were read     GET /work   an answer from the pool of threads */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/os.h"
#include "serve/server.h"

struct stream { struct slm_reply *reply; struct stream *next; long left; bool used; };
static struct slm_http *http;
static struct stream streams[2048];
static size_t n_waiting, holds;
static volatile sig_atomic_t may_go;

static void echo(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    (void)app;
    slm_reply_send(reply, 200, "application/octet-stream", request->body);
}

static void headers(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    struct slm_buf out = {0};
    (void)app;
    for (size_t i = 0; i < request->n_headers; i++)
        slm_buf_printf(&out, "%.*s=%.*s\n", (int)request->headers[i].name.len, request->headers[i].name.ptr,
                       (int)request->headers[i].value.len, request->headers[i].value.ptr);
    slm_buf_printf(&out, "path=%.*s\nkey=%s\n", (int)request->path.len, request->path.ptr, request->key);
    slm_reply_send(reply, 200, "text/plain", (struct slm_str){out.data, out.len});
    slm_buf_release(&out);
}

static void stream_gone(void *user)
{
    struct stream *stream = user;
    *stream = (struct stream){.used = false};
}

static void stream(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    (void)app;
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        if (streams[i].used) continue;
        streams[i] = (struct stream){.reply = reply, .used = true};
        streams[i].left = request->query.len ? strtol(request->query.ptr, NULL, 10) : 1;
        slm_reply_on_close(reply, stream_gone, &streams[i]);
        slm_reply_begin(reply, 200, "text/plain");
        return;
    }
    slm_reply_send(reply, 503, "text/plain", slm_str("full\n"));
}

static void let_go(int number) { may_go = number; }

static void tick(void *user)
{
    (void)user;
    if (holds && !may_go) return;
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        struct stream *s = &streams[i];
        if (!s->used) continue;
        if (s->left-- > 0) {
            slm_reply_write(s->reply, "line\n", 5);
        } else {
            slm_reply_end(s->reply);
            s->used = false;
        }
    }
}

static void waiter_gone(void *user)
{
    (void)user;
    n_waiting--;
}

static void wait_for_ever(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    (void)app, (void)request;
    n_waiting++;
    slm_reply_on_close(reply, waiter_gone, NULL);
}

static void big(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    static char block[1 << 16];
    long left = request->query.len ? strtol(request->query.ptr, NULL, 10) : 0;
    (void)app;
    memset(block, 'x', sizeof block);
    slm_reply_begin(reply, 200, "text/plain");
    for (; left > 0; left -= (long)sizeof block)
        slm_reply_write(reply, block, left < (long)sizeof block ? (size_t)left : sizeof block);
    slm_reply_end(reply);
}

static void stats(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    struct slm_http_counts counts;
    char text[200];
    int n_fds = 0;
    (void)app, (void)request;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir)) n_fds++;
    if (dir) closedir(dir);
    size_t n_streams = 0;
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) n_streams += streams[i].used;
    slm_http_counts(http, &counts);
    snprintf(text, sizeof text, "{\"fds\":%d,\"waiting\":%zu,\"streams\":%zu,\"bodies\":%zu,\"connections\":%zu}\n",
             n_fds, n_waiting, n_streams, counts.body_bytes, counts.n_connections);
    slm_reply_send(reply, 200, "application/json", slm_str(text));
}

/* Posts from the thread of the pool, so that a race would show under ThreadSanitizer; the answer goes out when both
 * the post and the end of the work have arrived, in whatever order. */
struct work { struct slm_reply *reply; bool gone; int n_left; };
static void work_step(void *user)
{
    struct work *work = user;
    if (--work->n_left > 0) return;
    if (!work->gone) slm_reply_send(work->reply, 200, "text/plain", slm_str("worked\n"));
    slm_release(work);
}
static void in_pool(void *user)
{
    slm_http_post(http, work_step, user);
}
static void work_gone(void *user)
{
    struct work *work = user;
    work->gone = true;
}
static void work_off(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    struct work *work = slm_alloc(1, sizeof *work, "test", NULL);
    (void)app, (void)request;
    work->reply = reply;
    work->n_left = 2;
    slm_reply_on_close(reply, work_gone, work);
    slm_http_work(http, in_pool, work_step, work);
}

static void plain(struct slm_reply *reply, int status, const struct slm_error *error)
{
    slm_reply_send(reply, status, "text/plain", slm_str(error->message));
}
static const struct slm_http_route routes[] = {
    {"POST", "/echo", echo, 0},     {"PUT", "/blobs/:digest", echo, 0},
    {"GET", "/headers", headers, 0}, {"GET", "/stream", stream, 0},
    {"GET", "/wait", wait_for_ever, 0}, {"GET", "/big", big, 0},
    {"GET", "/stats", stats, SLM_ROUTE_OPEN}, {"GET", "/work", work_off, 0},
    {"GET", "/items/:name", headers, 0}, {NULL, NULL, NULL, 0},
};
static const struct slm_http_table table = {"/items/", routes, plain};

static slm_status mount(void *user, struct slm_http *opened, struct slm_error *error)
{
    (void)user;
    http = opened;
    SLM_TRY(slm_http_mount(http, &table, NULL, error));
    return slm_http_every(http, 20, tick, NULL, error);
}

static void say(void *user, const char *line)
{
    (void)user;
    puts(line);
    fflush(stdout);
}
static void write_log(void *user, const char *line, size_t bytes)
{
    (void)user;
    fwrite(line, 1, bytes, stderr);
}

int main(int argc, char **argv)
{
    struct slm_server_options options = {.say = say, .mount = mount, .drain_ms = 1000,
                                         .log = {.most = SLM_LOG_INFO, .write = write_log}};
    struct slm_http_limits *l = &options.http.limits;
    const struct { const char *key; size_t *size; unsigned *ms; const char **text; } rows[] = {
        {"connections", &l->n_connections, NULL, NULL}, {"body", &l->body_bytes, NULL, NULL},
        {"bodies", &l->all_body_bytes, NULL, NULL}, {"rate", &l->body_rate, NULL, NULL},
        {"requests", &l->n_requests, NULL, NULL}, {"unsent", &l->unsent_bytes, NULL, NULL},
        {"header_ms", NULL, &l->header_ms, NULL}, {"body_ms", NULL, &l->body_ms, NULL},
        {"idle_ms", NULL, &l->idle_ms, NULL}, {"write_ms", NULL, &l->write_ms, NULL},
        {"linger_ms", NULL, &l->linger_ms, NULL}, {"drain_ms", NULL, &options.drain_ms, NULL},
        {"unix", NULL, NULL, &options.unix_path}, {"host", NULL, NULL, &options.host},
        {"key_file", NULL, NULL, &options.key_file}, {"key", NULL, NULL, NULL}, {"hold", &holds, NULL, NULL},
    };
    static const char *key;
    for (int i = 1; i < argc; i++) {
        const char *value = strchr(argv[i], '=');
        if (!value) return 2;
        const size_t n = (size_t)(value++ - argv[i]);
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
            if (strlen(rows[k].key) != n || strncmp(rows[k].key, argv[i], n) != 0) continue;
            if (rows[k].size) *rows[k].size = (size_t)strtoul(value, NULL, 10);
            else if (rows[k].ms) *rows[k].ms = (unsigned)strtoul(value, NULL, 10);
            else if (rows[k].text) *rows[k].text = value;
            else key = value;
        }
    }
    signal(SIGUSR1, let_go);
    if (key) options.keys = &key, options.n_keys = 1;
    struct slm_error error;
    int exit_code = 0;
    if (slm_serve(&options, &exit_code, &error) == SLM_OK) return exit_code;
    fprintf(stderr, "slm: %s: %s\n", error.where, error.message);
    return 1;
}
