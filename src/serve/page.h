/* SPDX-License-Identifier: MIT
 * The page for people: chat, comparison, models and metrics in a browser, with nothing but what this server sends. Its
 * files (src/serve/page) are part of the program. */
#ifndef SLM_SERVE_PAGE_H
#define SLM_SERVE_PAGE_H
#include "serve/http.h"

/* Everything but "/", which shares its path with another API's answer: it calls the next. */
extern const struct slm_http_table slm_page_table;
void slm_page_send_index(const struct slm_http_request *request, struct slm_reply *reply);
#endif
