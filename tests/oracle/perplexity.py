#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The perplexity that `slm eval` states beside the one computed from llama.cpp's logits of the same F16 file and text.

Usage: perplexity.py SLM_BINARY [--models N] [--seed S] [--library FOLDER]

Windows are cut as llama.cpp's perplexity program cuts them. Both numbers must agree within 0.1 %. The KL divergence of
a quantized file must be what PyTorch computes from llama.cpp's logits of the F16 file and of the quantized one's decoded
weights (F32: of quantized weights it rounds activations), within 1e-4. Models and texts are the shared test data's;
without them, or without llama.cpp (an npm package), a test is skipped. Output is TAP.
"""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import llama_cpp
import oracle
import torch

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SLM_SHARED", ROOT.parent / "shared"))
MODELS, TEXTS = SHARED / "data/models", SHARED / "data/text"
CASES = (("stories260K/stories260K.gguf", "tinystories_val.txt", 256), ("tinystories-656k", "tinystories_val.txt", 512),
         ("stories260K/stories260K.gguf", "wiki.test.raw", 128))


def slm(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise AssertionError(done.stderr.strip())
    return done.stdout


def peer_rows(library, path, text, window, n_windows):
    """Log-probabilities of all tokens at the predicted positions, and the tokens that came."""
    rows, after = [], []
    with llama_cpp.Model(library, path) as peer:
        ids = peer.tokenize(text)
    for w in range(n_windows):
        part = ids[:1] + ids[w * window + 1:(w + 1) * window]  # each window begins with BOS
        with llama_cpp.Model(library, path, n_ctx=max(256, window)) as peer:
            logits = peer.eval(part)
        rows.append(torch.log_softmax(logits[window // 2:window - 1].double(), -1))
        after += part[window // 2 + 1:]
    return torch.cat(rows), torch.tensor(after)


def check(binary, library, model, text, window):
    n_windows = 4
    with tempfile.TemporaryDirectory() as folder:
        words, f16, q4, f32 = (Path(folder) / name for name in ("text", "f16.gguf", "q4.gguf", "f32.gguf"))
        words.write_text((TEXTS / text).read_text()[:30000])
        slm(binary, "convert", MODELS / model, f16, "--type", "f16", "-q")
        slm(binary, "quantize", f16, q4, "q4_0", "-q")
        slm(binary, "convert", q4, f32, "--type", "f32", "-q")
        options = ["--text", words, "--window", window, "--max-windows", n_windows, "--json", "-q", "--kv", "f32",
                   "--activations", "f32"]
        mine = json.loads(slm(binary, "eval", q4, "--base", f16, *options))
        rows, after = peer_rows(library, f16, words.read_text(), window, n_windows)
        other, _ = peer_rows(library, f32, words.read_text(), window, n_windows)
    theirs = math.exp(-rows.gather(1, after[:, None]).mean().item())
    assert mine["tokens"] == len(after), f"{mine['tokens']} tokens, not {len(after)}"
    assert abs(mine["base_ppl"] / theirs - 1) < 1e-3, f"perplexity {mine['base_ppl']}, llama.cpp's {theirs}"
    kl = torch.nn.functional.kl_div(other, rows, reduction="none", log_target=True).sum(-1).mean().item()
    assert abs(mine["kl_mean"] - kl) < 1e-4, f"KL {mine['kl_mean']}, PyTorch's {kl}"
    return mine["base_ppl"], theirs, mine["kl_mean"], kl


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slm")
    parser.add_argument("--models", type=int, default=0, help="for the runner; the number of checks is fixed")
    parser.add_argument("--seed", type=int, default=1, help="for the runner; nothing is drawn")
    parser.add_argument("--library", type=Path, default=ROOT / "build" / "llama-cpp", help="where llama.cpp is put")
    args = parser.parse_args()
    torch.set_num_threads(1)
    try:
        library = llama_cpp.Library(llama_cpp.fetch(args.library))
    except llama_cpp.Unavailable as reason:
        print(f"1..1\n{reason}\nok 1 # SKIP perplexity beside llama.cpp's")
        return 0
    tap = oracle.Tap()
    print(f"1..{len(CASES)}", flush=True)
    for model, text, window in CASES:
        name, problem = f"perplexity {model} {text} {window}", None
        if not (MODELS / model).exists() or not (TEXTS / text).exists():
            tap.say(f"{name} # SKIP no shared test data", None)
            continue
        try:
            ours, theirs, kl, torch_kl = check(args.slm, library, model, text, window)
            print(f"report: {name}: {ours:.5f}, llama.cpp {theirs:.5f}; KL of Q4_0 {kl:.6f}, PyTorch {torch_kl:.6f}")
        except (AssertionError, subprocess.TimeoutExpired) as error:
            problem = str(error)
        tap.say(name, problem)
    return tap.failed != 0


if __name__ == "__main__":
    sys.exit(main())
