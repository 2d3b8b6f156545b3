#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/fuzz/corpus/folder: the smallest folder of each family that opens, in the form fuzz_folder.c reads.

    python3 tools/golden/folder_seeds.py

Weights are a counter, not random: a seed has to be small and valid, not good. Only the standard library is used.
"""
import json
import struct
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "fuzz" / "corpus" / "folder"
WIDTH, HEADS, HEAD, FF, VOCAB = 4, 2, 2, 3, 3
PRE = ["input_layernorm", "post_attention_layernorm"]
SEPARATE = {f"self_attn.{x}_proj.weight": (HEADS * HEAD, WIDTH) for x in "qkv"}
GATED = {f"mlp.{x}_proj.weight": (FF, WIDTH) for x in ("gate", "up")}
HEAD_NORMS = {f"self_attn.{x}_norm.weight": (HEAD,) for x in "qk"}
# class: (tensors of a layer beside norms, o and down; norms; more of config.json)
FAMILIES = {
    "LlamaForCausalLM": ({**SEPARATE, **GATED}, PRE, {"rope_parameters": {
        "rope_type": "llama3", "rope_theta": 100.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32}}),
    "MistralForCausalLM": ({**SEPARATE, **GATED}, PRE, {"sliding_window": 1}),
    "Qwen2ForCausalLM": ({**SEPARATE, **GATED, **{f"self_attn.{x}_proj.bias": (HEADS * HEAD,) for x in "qkv"}}, PRE,
                         {"use_sliding_window": False, "rope_scaling": {"type": "linear", "factor": 2.0}}),
    "Qwen3ForCausalLM": ({**SEPARATE, **GATED, **HEAD_NORMS}, PRE, {}),
    "SmolLM3ForCausalLM": ({**SEPARATE, **GATED}, PRE, {"no_rope_layers": [0]}),
    "Phi3ForCausalLM": ({"self_attn.qkv_proj.weight": (3 * HEADS * HEAD, WIDTH),
                         "mlp.gate_up_proj.weight": (2 * FF, WIDTH)}, PRE, {
                             "original_max_position_embeddings": 4, "rope_scaling": {
                                 "type": "longrope", "short_factor": [1.0], "long_factor": [2.0]}}),
    "Gemma2ForCausalLM": ({**SEPARATE, **GATED}, PRE + ["pre_feedforward_layernorm", "post_feedforward_layernorm"],
                          {"sliding_window": 1, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0,
                           "query_pre_attn_scalar": 2}),
    "Gemma3ForCausalLM": ({**SEPARATE, **GATED, **HEAD_NORMS},
                          PRE + ["pre_feedforward_layernorm", "post_feedforward_layernorm"],
                          {"sliding_window": 1, "layer_types": ["sliding_attention"]}),
}


def safetensors(shapes, dtype, size, odd):
    header, at = {}, 0
    for name, shape in shapes.items():
        n = size
        for d in shape:
            n *= d
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8 + odd)
    return struct.pack("<Q", len(text)) + text + bytes((17 * i) % 61 for i in range(at))  # small positive numbers


def seed(name, index=b"", odd=0):
    """odd: bytes by which the weights miss their alignment."""
    layer, norms, more = FAMILIES[name]
    config = {"architectures": [name], "num_hidden_layers": 1, "max_position_embeddings": 16, "hidden_size": WIDTH,
              "intermediate_size": FF, "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "head_dim": HEAD,
              "rms_norm_eps": 1e-5, "vocab_size": VOCAB, **more}
    shapes = {"model.embed_tokens.weight": (VOCAB, WIDTH), "model.norm.weight": (WIDTH,)}
    for key, shape in {**layer, **{f"{n}.weight": (WIDTH,) for n in norms}, "mlp.down_proj.weight": (WIDTH, FF),
                       "self_attn.o_proj.weight": (WIDTH, HEADS * HEAD)}.items():
        shapes[f"model.layers.0.{key}"] = shape
    dtype, size = ("BF16", 2) if index else ("F32", 4)
    text = json.dumps(config, separators=(",", ":")).encode()
    return text + b"\0" + index + b"\0" + safetensors(shapes, dtype, size, odd)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for family in FAMILIES:
        (FOLDER / family.removesuffix("ForCausalLM").lower()).write_bytes(seed(family))
    (FOLDER / "unaligned").write_bytes(seed("LlamaForCausalLM", odd=1))
    (FOLDER / "index").write_bytes(seed("LlamaForCausalLM", b'{"weight_map":{"a":"b.safetensors"}}'))
