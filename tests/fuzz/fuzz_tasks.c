/* SPDX-License-Identifier: MIT
 * Fuzzes files of multiple-choice questions, asked both ways. An item that is read has choices with text, a right one
 * among them, a prompt that ends in no white space, and nothing points outside of it. */
#include "tune/tasks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    for (int letters = 0; letters < 2; letters++) {
        struct slm_tasks tasks;
        struct slm_error error = {0};
        const slm_status status = slm_tasks_parse((const char *)data, bytes, "fuzz", letters, 100, &tasks, &error);
        SLM_ASSERT((status == SLM_OK) == (error.message[0] == 0));
        for (size_t i = 0; status == SLM_OK && i < tasks.n; i++) {
            const struct slm_task_item *item = &tasks.items[i];
            SLM_ASSERT(item->n_choices >= 2 && item->n_choices <= SLM_TASK_MAX_CHOICES);
            SLM_ASSERT(item->answer < item->n_choices && item->line > 0);
            SLM_ASSERT(item->prompt.len > 0 && item->prompt.ptr[item->prompt.len - 1] != ' ');
            for (unsigned c = 0; c < item->n_choices; c++)
                SLM_ASSERT(item->endings[c].len > 1 && memchr(item->endings[c].ptr, ' ', item->endings[c].len));
        }
        slm_tasks_release(&tasks);
    }
    return 0;
}
