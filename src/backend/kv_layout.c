/* SPDX-License-Identifier: MIT
 * The arithmetic of the KV cache layout that backend.h describes. */
#include "backend/backend.h"

#include "base/checked.h"
#include "kernel/pack.h"

bool slm_kv_layout_init(struct slm_kv_layout *layout, uint32_t n_layer, uint32_t n_head_kv, uint32_t head_dim,
                        enum slm_dtype dtype)
{
    *layout = (struct slm_kv_layout){.n_layer = n_layer, .n_head_kv = n_head_kv, .head_dim = head_dim, .dtype = dtype};
    size_t heads;
    if (dtype == SLM_DTYPE_Q8_0) { /* both blocks get the room of the larger */
        const size_t keys = SLM_KV_PAGE_TOKENS / SLM_PANEL_ROWS * slm_pack_panel_bytes(dtype, head_dim);
        const size_t values = SLM_KV_PAGE_TOKENS * ((size_t)head_dim + sizeof(float));
        layout->head_bytes = keys > values ? keys : values;
    } else if (!slm_mul_size((size_t)SLM_KV_PAGE_TOKENS * slm_dtypes[dtype].block_bytes, head_dim,
                             &layout->head_bytes)) {
        return false;
    }
    return slm_mul_size((size_t)n_layer * 2, n_head_kv, &heads) &&
           slm_mul_size(heads, layout->head_bytes, &layout->page_bytes);
}
