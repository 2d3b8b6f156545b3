/* SPDX-License-Identifier: MIT
 * Fuzzes recipes, and the same bytes as a goal. What is read is in the range that the format allows. */
#include "base/str.h"
#include "tune/recipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct slm_recipe r;
    struct slm_goal goal;
    struct slm_buf text = {0};
    if (slm_recipe_parse((const char *)data, bytes, "fuzz", &r, NULL) == SLM_OK) {
        SLM_ASSERT(r.ctx == 0 || r.ctx >= 16);
        SLM_ASSERT(r.rounds >= 0 && r.rounds <= 64 && r.types.n <= SLM_RECIPE_MAX_TYPES);
        for (size_t i = 0; i < r.types.n; i++) SLM_ASSERT(r.types.items[i][0] != 0);
        if (r.goal) SLM_ASSERT(slm_goal_parse(r.goal, &goal, NULL) == SLM_OK);
    }
    slm_recipe_release(&r);
    slm_buf_add(&text, data, bytes);
    slm_buf_add(&text, "", 1);
    if (text.data && slm_goal_parse(text.data, &goal, NULL) == SLM_OK) {
        const double zeros[SLM_METRIC_COUNT] = {0};
        SLM_ASSERT(goal.n >= 1 && goal.n <= SLM_GOAL_MAX_BOUNDS);
        for (size_t i = 0; i < goal.n; i++) SLM_ASSERT(goal.bounds[i].value >= 0 && goal.bounds[i].value < 1e30);
        SLM_ASSERT(slm_goal_met(&goal, zeros) == !(slm_goal_miss(&goal, zeros) > 0));
    }
    slm_buf_release(&text);
    return 0;
}
