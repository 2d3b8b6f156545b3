#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/mlx: a tiny model whose every matrix is quantized by mlx, as mlx-lm saves such models.

    build/oracle-venv/bin/python tools/golden/mlx_groups.py        (tests/oracle/requirements.txt, and mlx[cpu]==0.32.4)

Bits, group sizes and the type of the scales go through all combinations, stated in config.json for each matrix as
mlx-lm states them. expected.safetensors, which tests/golden/test_mlx.c reads, holds

    ids, logits        what transformers computes, in f64, with the weights that mlx makes of the codes
    NAME.rows          of each matrix the first row, the second and the last, as mlx dequantizes them in f32
"""
import json
import os
import shutil
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is to be fetched

import mlx.core as mx  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "golden" / "mlx"
WIDTHS = [(bits, group) for bits in (2, 3, 4, 6, 8, 5) for group in (32, 64, 128)]
TYPES = [mx.bfloat16, mx.float16, mx.float32]


def main():
    torch.manual_seed(7)
    config = transformers.LlamaConfig(
        vocab_size=61, hidden_size=128, num_attention_heads=4, num_key_value_heads=1, head_dim=32,
        intermediate_size=128, num_hidden_layers=3, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2,
        max_position_embeddings=256, rms_norm_eps=1e-5, initializer_range=0.2)
    config._attn_implementation = "eager"
    model = transformers.LlamaForCausalLM(config).eval()
    shutil.rmtree(FOLDER, ignore_errors=True)
    model.config.save_pretrained(FOLDER)
    tensors, expected, settings = {}, {}, dict(group_size=64, bits=4)
    matrices = [(n, p) for n, p in model.named_parameters() if p.ndim == 2]
    for i, (name, p) in enumerate(matrices):
        bits, group = WIDTHS[i % len(WIDTHS)]
        dtype = TYPES[(i + i // len(WIDTHS)) % 3]
        stem = name.removesuffix(".weight")
        codes, scales, biases = mx.quantize(mx.array(p.detach().numpy()).astype(dtype), group_size=group, bits=bits)
        back = np.array(mx.dequantize(codes, scales.astype(mx.float32), biases.astype(mx.float32), group_size=group,
                                      bits=bits))
        p.data = torch.from_numpy(back.copy())
        tensors.update({name: codes, stem + ".scales": scales, stem + ".biases": biases})
        expected[name + ".rows"] = p.data[[0, 1, -1]].clone()
        if (bits, group) != (4, 64):
            settings[stem] = dict(group_size=group, bits=bits)
    for name, p in model.named_parameters():
        if p.ndim == 1:
            p.data += torch.empty(p.shape).uniform_(-0.3, 0.3)
            tensors[name] = mx.array(p.data.numpy()).astype(mx.float32)
    mx.save_safetensors(str(FOLDER / "model.safetensors"), tensors, metadata={"format": "mlx"})
    path = FOLDER / "config.json"
    state = json.loads(path.read_text())
    state["architectures"] = ["LlamaForCausalLM"]
    path.write_text(json.dumps({**state, "quantization": settings, "quantization_config": settings}, indent=1) + "\n")
    ids = torch.randint(0, 61, (24,), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        logits = model.double()(ids[None]).logits[0]
    expected.update(ids=ids.float(), logits=logits.float())
    save_file(expected, FOLDER / "expected.safetensors")


main()
