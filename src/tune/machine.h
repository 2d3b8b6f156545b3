/* SPDX-License-Identifier: MIT
 * What this machine does at best, in the three numbers that bound a model's speed: how fast memory is read, and how
 * fast the kernels in use multiply floats and int8. `slm doctor` shows them, predictions are made from them. */
#ifndef SLM_TUNE_MACHINE_H
#define SLM_TUNE_MACHINE_H
#include "base/error.h"

struct slm_machine {
    double read_bytes_s; /* 0 = not measured: too little memory for a buffer beyond the caches */
    double flop_s;       /* f32 operations per second, a fused multiply-add counting two */
    double mac_s;        /* int8 multiplications per second, added up in int32 */
};

/* Takes about 0.6 s with n_threads >= 1 threads, and up to 256 MB. features: the CPU features kernels may use. What
 * else runs on the machine takes its share: the numbers are those of this moment. */
slm_status slm_machine_measure(unsigned n_threads, uint64_t features, struct slm_machine *out,
                               struct slm_error *error);
#endif
