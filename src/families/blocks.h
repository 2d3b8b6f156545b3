/* SPDX-License-Identifier: MIT
 * Parts that several families share, made of plan operations, and the table rows that go with them. A family that needs
 * something slightly different writes its own lines instead of adding a switch here. */
#ifndef SLM_FAMILIES_BLOCKS_H
#define SLM_FAMILIES_BLOCKS_H
#include "model/family.h"

/* The hyper-parameters every decoder-only transformer with RMS norms and rotary positions has. */
#define SLM_N_DECODER_HPARAMS 11
extern const struct slm_hparam_row slm_decoder_hparams[SLM_N_DECODER_HPARAMS];

/* Fills head_dim, n_head_kv and n_rot when the file leaves them out; checks divisibility. */
slm_status slm_decoder_derive(struct slm_hparams *hparams, const char *where, struct slm_error *error);

/* x + down(silu(gate(norm x)) * up(norm x)) */
slm_val slm_block_swiglu(struct slm_plan *p, slm_val x, const struct slm_layer *layer, float eps);

/* Last norm, the rows whose logits are wanted, the head. */
slm_val slm_block_head(struct slm_plan *p, slm_val x, const struct slm_model *model);
#endif
