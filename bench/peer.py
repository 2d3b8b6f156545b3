#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `slm bench --json` measures, of llama.cpp: bench/peer.py LIBRARIES MODEL [options]

One process is one measurement of one file, as `slm bench` is, with the same tokens at a time, the same warming up and
the same names in the JSON, so that bench/run can pair them up. The loops are Python's, which costs microseconds where a
step takes milliseconds. Random tokens: only their number matters. Owns no opinion on which options are best.
"""
import argparse
import ctypes
import json
import os
import random
import resource
import sys
import time
from pathlib import Path

os.environ["GGML_NO_BACKTRACE"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/oracle"))
import llama_lib  # noqa: E402

FIRST_PROMPT = 16  # as SLM_BENCH_FIRST_PROMPT


class Peer:
    def __init__(self, libraries, model, options):
        self.options, self.library = options, llama_lib.Library(libraries)
        self.c, pointer, i32 = self.library.c, ctypes.c_void_p, ctypes.c_int32
        for name, result, arguments in (("llama_synchronize", None, [pointer]),
                                        ("llama_get_memory", pointer, [pointer]),
                                        ("llama_memory_seq_rm", ctypes.c_bool, [pointer, i32, i32, i32])):
            function = getattr(self.c, name)
            function.restype, function.argtypes = result, arguments
        start = time.perf_counter()
        params = self.c.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = self.c.llama_model_load_from_file(str(model).encode(), params)
        if not self.model:
            raise llama_lib.Unavailable(f"llama.cpp does not load {model}: " + "".join(self.library.said)[-300:])
        self.open_context()
        self.load_s = time.perf_counter() - start
        self.n_vocab = self.c.llama_vocab_n_tokens(self.c.llama_model_get_vocab(self.model))

    def open_context(self):
        o, params = self.options, self.c.llama_context_default_params()
        longest = o.depth + max(o.pp, o.tg, FIRST_PROMPT)
        params.n_ctx, params.n_batch, params.n_ubatch = longest * o.seqs, max(longest * o.seqs, 32), 512
        params.n_seq_max, params.flash_attn_type = o.seqs, o.flash
        params.n_threads = params.n_threads_batch = o.threads
        self.context = self.c.llama_init_from_model(self.model, params)
        if not self.context:
            raise llama_lib.Unavailable("llama.cpp makes no context: " + "".join(self.library.said)[-300:])

    def batch(self, n, past):
        """n tokens of each sequence, behind `past`; logits of the last."""
        seqs = self.options.seqs
        batch = self.c.llama_batch_init(n * seqs, 0, 1)
        for i in range(n * seqs):
            s, k = divmod(i, n)
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = random.randrange(self.n_vocab), past + k, 1
            batch.seq_id[i][0], batch.logits[i] = s, k == n - 1
        batch.n_tokens = n * seqs
        return batch

    def decode(self, batch):
        if self.c.llama_decode(self.context, batch):
            raise llama_lib.Unavailable("llama.cpp cannot evaluate")
        self.c.llama_synchronize(self.context)

    def once(self, n, past):
        batch = self.batch(n, past)
        start = time.perf_counter()
        self.decode(batch)
        seconds = time.perf_counter() - start
        self.c.llama_batch_free(batch)
        return seconds

    def forget(self, n):
        memory = self.c.llama_get_memory(self.context)
        for s in range(self.options.seqs):
            self.c.llama_memory_seq_rm(memory, s, n, -1)

    def steps(self, n):
        """n tokens one after the other."""
        batches = [self.batch(1, self.options.depth + i) for i in range(n)]
        start = time.perf_counter()
        for batch in batches:
            self.decode(batch)
        seconds = time.perf_counter() - start
        for batch in batches:
            self.c.llama_batch_free(batch)
        return seconds

    def measure(self):
        o, result = self.options, {"pp_tok_s": None, "tg_tok_s": None, "load_s": self.load_s}
        result["first_token_s"] = self.load_s + self.once(FIRST_PROMPT, 0)
        self.forget(0)
        if o.depth:
            self.once(o.depth, 0)
        for _ in range(1 + o.warm_up):  # the last one counts
            if o.pp:
                self.forget(o.depth)
                result["ttft_s"] = self.once(o.pp, o.depth)  # of all sequences: they are one batch
                result["pp_tok_s"] = o.pp * o.seqs / result["ttft_s"]
            if o.tg:
                self.forget(o.depth)
                result["tg_tok_s"] = o.tg * o.seqs / self.steps(o.tg)
        return result


def peak_rss():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("libraries", type=Path)
    parser.add_argument("model", type=Path)
    for name, default in (("pp", 0), ("tg", 0), ("depth", 0), ("seqs", 1), ("threads", 1), ("flash", -1),
                          ("warm-up", 1)):
        parser.add_argument("--" + name, type=int, default=default)
    options = parser.parse_args()
    python = peak_rss()  # the interpreter is not llama.cpp's doing
    random.seed(1)
    try:
        result = Peer(options.libraries, options.model, options).measure()
    except llama_lib.Unavailable as problem:
        sys.exit(f"peer: {problem}")
    result["peak_rss_bytes"] = peak_rss() - python
    print(json.dumps(result), flush=True)
    os._exit(0)  # the library takes its time to go


if __name__ == "__main__":
    main()
