#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Random tiny models of every family, written by Hugging Face transformers, run by slm: the logits must agree.

Usage: oracle.py SLM_BINARY [--models N] [--seed S] [--family F]

Each model has random hyper-parameters (heads, key-value heads, a head_dim that need not be width / heads, odd widths,
tied or not, rope variants, windows shorter and longer than the text) and random weights. It is saved as a folder,
opened by `slm logits`, and compared with a full forward pass in f32: max |difference| <= 2e-3 * max |logit|, and the
greedy continuation must be the same tokens. Prints one line a family and, last, 'N passed, N failed'.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is to be fetched

import torch  # noqa: E402
import transformers  # noqa: E402

VOCAB = 97
TOLERANCE = 2e-3
GREEDY = 64


def common(rng):
    """Hyper-parameters every family has, under Hugging Face's names."""
    kv = rng.choice([1, 2, 3])
    heads = kv * rng.choice([1, 2, 3])
    return dict(vocab_size=VOCAB, hidden_size=heads * rng.choice([4, 6, 8, 13]),
                intermediate_size=rng.choice([33, 48, 100]),
                num_hidden_layers=rng.choice([1, 2, 3, 7]), num_attention_heads=heads, num_key_value_heads=kv,
                head_dim=rng.choice([4, 8, 16, 32]), max_position_embeddings=512, rms_norm_eps=rng.choice([1e-5, 1e-6]),
                tie_word_embeddings=rng.random() < 0.5, bos_token_id=1, eos_token_id=2, pad_token_id=0,
                initializer_range=rng.choice([0.05, 0.15, 0.3]))


def rope(theta, **scaling):
    """The rope settings in the form this version of transformers wants."""
    return dict(rope_parameters=dict(rope_theta=theta, **(scaling or dict(rope_type="default"))))


def llama(rng):
    kind = rng.choice(["default", "linear", "llama3"])
    scaling = {}
    if kind == "linear":
        scaling = dict(rope_type="linear", factor=rng.choice([2.0, 3.5]))
    if kind == "llama3":
        scaling = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                       original_max_position_embeddings=rng.choice([32, 64]))
    theta = rng.choice([10000.0, 500000.0])
    return transformers.LlamaConfig(**common(rng), **rope(theta, **scaling), attention_bias=rng.random() < 0.3)


def mistral(rng):
    return transformers.MistralConfig(**common(rng), **rope(10000.0), sliding_window=rng.choice([None, 7, 40, 300]))


def qwen2(rng):
    c = common(rng)
    del c["head_dim"]
    c["hidden_size"] = c["num_attention_heads"] * rng.choice([4, 8, 16])
    return transformers.Qwen2Config(**c, **rope(1000000.0), use_sliding_window=False)


def qwen3(rng):
    return transformers.Qwen3Config(**common(rng), **rope(1000000.0), attention_bias=False)


def smollm3(rng):
    c = common(rng)
    del c["head_dim"]
    c["hidden_size"] = c["num_attention_heads"] * rng.choice([4, 8, 16])
    return transformers.SmolLM3Config(**c, **rope(2000000.0), use_sliding_window=False)


def phi3(rng):
    c = common(rng)
    del c["head_dim"]
    head_dim = rng.choice([8, 16, 32])
    c["hidden_size"] = c["num_attention_heads"] * head_dim
    fraction = rng.choice([1.0, 0.75, 0.5])
    half = int(head_dim * fraction) // 2
    scaling = {}
    if rng.random() < 0.7:
        scaling = dict(rope_type="longrope", short_factor=[rng.uniform(1, 1.3) for _ in range(half)],
                       long_factor=[rng.uniform(1, 30) for _ in range(half)], original_max_position_embeddings=64)
    parameters = rope(10000.0, **scaling)
    parameters["rope_parameters"]["partial_rotary_factor"] = fraction
    return transformers.Phi3Config(**c, **parameters, original_max_position_embeddings=64,
                                   sliding_window=rng.choice([None, 7, 300]))


def gemma2(rng):
    return transformers.Gemma2Config(**common(rng), **rope(10000.0), sliding_window=rng.choice([7, 40, 300]),
                                     query_pre_attn_scalar=rng.choice([8, 16, 256]),
                                     attn_logit_softcapping=rng.choice([None, 50.0, 2.0]),
                                     final_logit_softcapping=rng.choice([None, 30.0, 3.0]))


def gemma3(rng):
    full = dict(rope_type="default", rope_theta=1000000.0)
    if rng.random() < 0.5:
        full.update(rope_type="linear", factor=8.0)
    parameters = dict(full_attention=full, sliding_attention=dict(rope_type="default", rope_theta=10000.0))
    return transformers.Gemma3TextConfig(**common(rng), rope_parameters=parameters,
                                         sliding_window=rng.choice([7, 40, 300]),
                                         query_pre_attn_scalar=rng.choice([8, 16, 256]))


FAMILIES = dict(llama=llama, mistral=mistral, qwen2=qwen2, qwen3=qwen3, smollm3=smollm3, phi3=phi3, gemma2=gemma2,
                gemma3=gemma3)


def randomise(model, seed):
    """Norm weights and biases are ones and zeros after construction: a wrong one would not be noticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim == 1:
                p.add_(torch.empty(p.shape).uniform_(-0.3, 0.3, generator=generator))


def slm_logits(binary, folder, ids, every, *options):
    command = [binary, "logits", str(folder), "--ids", " ".join(map(str, ids)), "--json", "--kv", "f32", *options]
    result = subprocess.run(command + (["--all"] if every else []), capture_output=True, text=True, timeout=300)
    if result.returncode:
        raise AssertionError(result.stderr.strip())
    return torch.tensor(json.loads(result.stdout)["logits"])


def check(binary, family, seed):
    rng = random.Random(f"{family} {seed}")
    torch.manual_seed(seed)
    config = FAMILIES[family](rng)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    randomise(model, seed)
    n = rng.choice([1, 5, 31, 33, 63, 100, 257])
    ids = [rng.randrange(VOCAB) for _ in range(n)]
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        model.save_pretrained(folder)
        expected = model(torch.tensor([ids])).logits[0]
        mine = slm_logits(binary, folder, ids, every=True)
        scale = expected.abs().max().item()
        worst = (mine - expected).abs().max().item()
        if not worst <= TOLERANCE * scale:
            raise AssertionError(f"logits differ by {worst:.3g} of {scale:.3g}, {n} tokens, {config}")
        return worst / scale, greedy_agrees(binary, folder, model, ids[:20])


def greedy_agrees(binary, folder, model, ids):
    """Both continue greedily, each forward pass whole: what a session caches must not change what it says. With
    LongRoPE the text stays on one side of the original length, where transformers changes its mind about the past."""
    text = list(ids)
    longrope = model.config.rope_parameters.get("rope_type") == "longrope"
    for _ in range(min(GREEDY, model.config.original_max_position_embeddings - len(ids)) if longrope else GREEDY):
        text.append(model(torch.tensor([text])).logits[0, -1].argmax().item())
    mine = slm_logits(binary, folder, text[:-1], every=True)[len(ids) - 1:].argmax(-1).tolist()
    expected = text[len(ids):]
    if mine != expected:
        logits = model(torch.tensor([text])).logits[0]
        for i, (a, b) in enumerate(zip(mine, expected)):
            row = logits[len(ids) - 1 + i]
            if a != b and row[b] - row[a] > 1e-4 * row.abs().max():  # a tie to rounding is no difference
                raise AssertionError(f"greedy token {i} is {a}, expected {b}")
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slm")
    parser.add_argument("--models", type=int, default=200, help="in all families together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--family", choices=sorted(FAMILIES))
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    families = [args.family] if args.family else list(FAMILIES)
    passed = failed = 0
    for family in families:
        worst = 0.0
        for i in range(-(-args.models // len(families))):
            seed = args.seed * 100000 + i
            try:
                relative, _ = check(args.slm, family, seed)
                worst = max(worst, relative)
                passed += 1
            except (AssertionError, subprocess.TimeoutExpired) as problem:
                failed += 1
                print(f"FAILED {family} --seed {args.seed} model {i}: {problem}", flush=True)
        print(f"{family}: worst |difference| / max |logit| {worst:.2e}", flush=True)
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, seed {args.seed}")
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
