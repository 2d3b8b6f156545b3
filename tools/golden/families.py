#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/families/NAME: a tiny model a family and what Hugging Face transformers computes with it.

    build/oracle-venv/bin/python tools/golden/families.py [NAME...]     (the packages of tests/oracle/requirements.txt)

Each folder holds the model as transformers saves it (config.json, model.safetensors with f32 weights) and
expected.safetensors, which tests/golden/test_families.c reads:

    runR.ids, runR.greedy      the prompt and how it goes on, as f32 numbers
    runR.embedding, runR.output_norm, runR.logits                     [tokens of the prompt, width]
    runR.layers.L.attn_out, runR.layers.L.ffn_down, runR.layers.L.layer_out

The reference is computed in f64 from the f32 weights, as far as transformers allows (its rotations and norms are f32),
so that what differs is slm's rounding. Hyper-parameters are chosen, not drawn: every rule of a family must be visible
in 40 tokens, which the C test proves by changing each one. Run again, the files must come out the same.
"""
import copy
import json
import os
import shutil
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is to be fetched
os.environ["TORCHDYNAMO_DISABLE"] = "1"  # BitNet's layers would start a compiler
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "oracle"))

import torch  # noqa: E402
import transformers as hf  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

import ternary  # noqa: E402

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "golden" / "families"
VOCAB, PROMPT, GREEDY = 61, 40, 24
LONG = [(PROMPT, GREEDY)]  # (tokens of the prompt, greedy tokens) of each run


def shape(hidden, heads, kv, ff, layers, head_dim=None, tied=False):
    return dict(vocab_size=VOCAB, hidden_size=hidden, num_attention_heads=heads, num_key_value_heads=kv,
                intermediate_size=ff, num_hidden_layers=layers, tie_word_embeddings=tied, bos_token_id=1,
                eos_token_id=2, pad_token_id=0, max_position_embeddings=256,
                **(dict(head_dim=head_dim) if head_dim else {}))


def rope(theta, **scaling):
    return dict(rope_parameters=dict(rope_theta=theta, **(scaling or dict(rope_type="default"))))


def factors(first, last, n):
    return [round(first + (last - first) * i / (n - 1), 3) for i in range(n)]


# name: (configuration, runs). Base and original length of llama make three of Llama 3.1's cases visible: wavelengths
# that stay, that are stretched, and between. phi3 runs once on each side of its original length.
MODELS = {
    "llama": (lambda: hf.LlamaConfig(**shape(20, 4, 2, 28, 3, 16), rms_norm_eps=0.01, **rope(
        100.0, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=32)), LONG),
    "mistral": (lambda: hf.MistralConfig(**shape(28, 4, 1, 36, 3, 8), rms_norm_eps=0.01, sliding_window=7,
                                         **rope(10000.0)), LONG),
    "qwen2": (lambda: hf.Qwen2Config(**shape(24, 4, 2, 33, 3, tied=True), rms_norm_eps=0.01, use_sliding_window=False,
                                     **rope(1000.0)), LONG),
    "qwen3": (lambda: hf.Qwen3Config(**shape(20, 3, 3, 30, 3, 12, tied=True), rms_norm_eps=0.01, **rope(1000.0)), LONG),
    "smollm3": (lambda: hf.SmolLM3Config(**shape(24, 4, 2, 32, 4, tied=True), rms_norm_eps=0.01,
                                         use_sliding_window=False, **rope(1000.0)), LONG),
    "phi3": (lambda: hf.Phi3Config(**shape(32, 2, 1, 36, 3), rms_norm_eps=0.01, sliding_window=23,
                                   original_max_position_embeddings=16, **rope(
                                       1000.0, rope_type="longrope", partial_rotary_factor=0.75,
                                       short_factor=factors(1.0, 1.5, 6), long_factor=factors(1.1, 6.0, 6),
                                       original_max_position_embeddings=16)), [(12, 4), (PROMPT, GREEDY)]),
    "gemma2": (lambda: hf.Gemma2Config(**shape(20, 4, 2, 28, 4, 12), rms_norm_eps=0.01, sliding_window=7,
                                       query_pre_attn_scalar=20, attn_logit_softcapping=4.0,
                                       final_logit_softcapping=10.0, **rope(1000.0)), LONG),
    "gemma3": (lambda: hf.Gemma3TextConfig(
        **shape(18, 2, 1, 26, 7, 16), rms_norm_eps=0.01, sliding_window=7, query_pre_attn_scalar=10,
        rope_parameters=dict(full_attention=dict(rope_type="linear", rope_theta=10000.0, factor=8.0),
                             sliding_attention=dict(rope_type="default", rope_theta=100.0))), LONG),
    "bitnet": (lambda: hf.BitNetConfig(**shape(32, 4, 2, 44, 2, tied=True), rms_norm_eps=0.01, hidden_act="relu2",
                                       **rope(100.0)), [(20, 8)]),
}
TERNARY = {"bitnet": ("autobitlinear", "offline")}  # how the folder says it


def random_weights(model, seed):
    """Matrices large enough that attention prefers some tokens; no norm is all ones, no bias zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if p.ndim == 1:
                p.add_(torch.empty(p.shape).uniform_(-0.4, 0.4, generator=generator))
            else:
                p.copy_(torch.empty(p.shape).normal_(0, 1.3 / p.shape[1] ** 0.5, generator=generator))


def forward(model, ids):
    """Logits, and every tap under its name: the inside of the model as slm names it."""
    taps, hooks = {}, []

    def keep(name):
        return lambda module, args, output: taps.__setitem__(name, output[0] if isinstance(output, tuple) else output)

    base = model.model
    hooks.append(base.layers[0].register_forward_pre_hook(lambda module, args, kwargs: taps.__setitem__(
        "embedding", args[0] if args else kwargs["hidden_states"]), with_kwargs=True))
    for i, layer in enumerate(base.layers):
        hooks.append(layer.self_attn.register_forward_hook(keep(f"layers.{i}.attn_out")))
        hooks.append(layer.mlp.register_forward_hook(keep(f"layers.{i}.ffn_down")))
        hooks.append(layer.register_forward_hook(keep(f"layers.{i}.layer_out")))
    hooks.append(base.norm.register_forward_hook(keep("output_norm")))
    taps["logits"] = model(torch.tensor([ids]), use_cache=False).logits
    for hook in hooks:
        hook.remove()
    return {name: value.detach()[0].float().contiguous() for name, value in taps.items()}


def run(model, generator, n_prompt, n_greedy):
    """None when two tokens are nearly equal somewhere: then rounding decides which is next, and nobody is to blame."""
    ids = torch.randint(0, VOCAB, (n_prompt,), generator=generator).tolist()
    text = list(ids)
    for _ in range(n_greedy):
        row = forward(model, text)["logits"][-1]
        best = row.topk(2).values
        if best[0] - best[1] <= 1e-3 * row.abs().max():
            return None
        text.append(row.argmax().item())
    return {"ids": torch.tensor(ids).float(), "greedy": torch.tensor(text[n_prompt:]).float(), **forward(model, ids)}


def make(name, seed, folder):
    """The runs of a model that is then in the folder; None when the seed gives a dull or doubtful continuation."""
    config, runs = MODELS[name][0](), MODELS[name][1]
    config._attn_implementation = "eager"
    model = hf.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    random_weights(model, seed)
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    if name in TERNARY:
        ternary.pack(folder, *TERNARY[name])
        model = ternary.load(folder)
    generator, exact, tensors = torch.Generator().manual_seed(seed), copy.deepcopy(model).double(), {}
    for i, (n_prompt, n_greedy) in enumerate(runs):
        result = run(exact, generator, n_prompt, n_greedy)
        if result is None or len(set(result["greedy"].tolist())) < n_greedy // 3:
            return None
        text = result["ids"].tolist() + result["greedy"].tolist()
        if name in TERNARY and ternary.Ties(model).find([int(token) for token in text]) is not None:
            return None
        tensors.update({f"run{i}.{k}": v for k, v in result.items()})
    return tensors


def write(name):
    seed, tensors, folder = 0, None, FOLDER / name
    while tensors is None:
        seed += 1
        tensors = make(name, seed, folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    text = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(text, indent=1, sort_keys=True) + "\n")
    save_file(tensors, folder / "expected.safetensors")
    size = sum(file.stat().st_size for file in folder.iterdir())
    assert size <= 256 * 1024, f"{name} takes {size} bytes"
    print(f"{name}: seed {seed}, {size} bytes")


if __name__ == "__main__":
    torch.set_num_threads(1)
    hf.logging.set_verbosity_error()
    hf.logging.disable_progress_bar()
    for wanted in sys.argv[1:] or MODELS:
        write(wanted)
