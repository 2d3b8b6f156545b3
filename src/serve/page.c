/* SPDX-License-Identifier: MIT
 *
 * The page's files as they are sent: with a tag of their content, so that a browser asks whether they have changed and
 * never shows an old page to a new server, and with a policy that lets the page run and call what came from here and
 * nothing else. What a model says cannot become a script even if the page had a mistake.
 *
 * Deliberately not here: what the page does (page/), and an API of its own: it uses those that everybody uses. */
#include "serve/page.h"

#include <stdio.h>

#include "serve/api_openai.h"

#define SCRIPT "text/javascript; charset=utf-8"
#define PAGE_FILE(symbol, name, type) extern const char slm_page_##symbol##_begin[], slm_page_##symbol##_end[];
#include "serve/page/files.inc"
#undef PAGE_FILE

/* The first is the page itself. */
#define PAGE_FILE(symbol, name, type) {name, type, slm_page_##symbol##_begin, slm_page_##symbol##_end},
static const struct page_file {
    const char *name, *type, *begin, *end;
} files[] = {
#include "serve/page/files.inc"
};
#undef PAGE_FILE

/* No frames: another page could lay itself over this one's buttons. */
static const struct { const char *name, *value; } headers[] = {
    {"Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                                "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Cache-Control", "no-cache"}, /* kept, and asked about each time: by the tag */
};

/* If-None-Match is a list of tags, some with "W/" before them (RFC 9110, 13.1.2); ours occurs in no other tag. */
static bool has_it(const struct slm_http_request *request, const char *tag)
{
    const struct slm_str have = slm_http_header(request, "If-None-Match");
    return have.len > 0 && (slm_str_is(have, "*") || memmem(have.ptr, have.len, tag, strlen(tag)));
}

static void send_file(const struct page_file *file, const struct slm_http_request *request, struct slm_reply *reply)
{
    char tag[24];
    const struct slm_str body = {file->begin, (size_t)(file->end - file->begin)};
    snprintf(tag, sizeof tag, "\"%016llx\"", (unsigned long long)slm_hash_bytes(body.ptr, body.len, 0));
    slm_reply_header(reply, "ETag", tag);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        slm_reply_header(reply, headers[i].name, headers[i].value);
    if (has_it(request, tag)) slm_reply_send(reply, 304, NULL, (struct slm_str){NULL, 0});
    else slm_reply_send(reply, 200, file->type, body);
}

void slm_page_send_index(const struct slm_http_request *request, struct slm_reply *reply)
{
    send_file(&files[0], request, reply);
}

/* Names are compared whole: there are no folders to climb out of. */
static void get_file(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    struct slm_error error;
    (void)app;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (slm_str_is(request->wild, files[i].name)) {
            send_file(&files[i], request, reply);
            return;
        }
    slm_fail(&error, SLM_ERR_ARGUMENT, "request", "there is nothing at this path");
    slm_page_table.error(reply, 404, &error);
}

/* As where no API is meant. */
static void page_error(struct slm_reply *reply, int status, const struct slm_error *error)
{
    slm_api_native.error(reply, status, error);
}

/* Without a key: there is nothing in them, and it is the page that asks for the key. */
static const struct slm_http_route routes[] = {
    {"GET", "/page/:file", get_file, SLM_ROUTE_OPEN},
    {NULL, NULL, NULL, 0},
};
const struct slm_http_table slm_page_table = {.prefix = "/page/", .routes = routes, .error = page_error};
