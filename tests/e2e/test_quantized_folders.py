# SPDX-License-Identifier: MIT
"""Folders with quantized weights through the command: what they convert to says what they say, and converting takes no
more memory for more of them."""

import json

import pytest

from support import ROOT, peak_mib, slm, write_zeros

GOLDEN = ROOT / "tests/golden"


def logits(model, kv="f32"):
    done = slm("logits", model, "--ids", "1 2 3 50 7", "--json", "--all", "--kv", kv)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["logits"]


@pytest.mark.parametrize("folder", ["mlx", "families/bitnet"])
@pytest.mark.parametrize("type_name, most", [("f32", 1e-5), (None, 2e-2), ("f16", 2e-2)])
def test_converted_folders_agree(folder, type_name, most, tmp_path):
    out = tmp_path / "converted.gguf"
    done = slm("convert", GOLDEN / folder, out, *(["--type", type_name] if type_name else []), "--quiet")
    assert done.returncode == 0, done.stderr
    before, after = logits(GOLDEN / folder), logits(out)
    scale = max(abs(x) for row in before for x in row)
    assert max(abs(x - y) for a, b in zip(before, after) for x, y in zip(a, b)) <= most * scale
    info = json.loads(slm("inspect", out, "--json").stdout)
    assert info["n_params"] == json.loads(slm("inspect", GOLDEN / folder, "--json").stdout)["n_params"]


def test_what_llama_cpp_does_not_read_is_said(tmp_path):
    done = slm("convert", GOLDEN / "families/bitnet", tmp_path / "out.gguf")
    assert done.returncode == 0 and "squared ReLU" in done.stderr


def grouped(tensors, bits, group):
    """Matrices as MLX quantizes them: codes in words, a scale and a bias a group."""
    for name, (dtype, shape) in tensors.items():
        if len(shape) == 1:
            yield name, (dtype, shape)
            continue
        yield name, ("U32", (shape[0], shape[1] * bits // 32))
        for side in ("scales", "biases"):
            yield name.replace("weight", side), ("BF16", (shape[0], shape[1] // group))


def packed(tensors):
    """Ternary matrices as bytes that hold four rows each, and their scales."""
    for name, (dtype, shape) in tensors.items():
        if name.endswith("_proj.weight"):
            yield name, ("U8", (shape[0] // 4, shape[1]))
            yield name + "_scale", ("BF16", (1,))
        else:
            yield name, (dtype, shape)


def model(vocab, embd, ff, layers, norms):
    """Tensors of a model with heads of 128, all of them with keys of their own."""
    yield "model.embed_tokens.weight", ("BF16", (vocab, embd))
    yield "model.norm.weight", ("BF16", (embd,))
    for layer in range(layers):
        for name, n in norms.items():
            yield f"model.layers.{layer}.{name}.weight", ("BF16", (n,))
        for name, shape in (("self_attn.q_proj", (embd, embd)), ("self_attn.k_proj", (embd, embd)),
                            ("self_attn.v_proj", (embd, embd)), ("self_attn.o_proj", (embd, embd)),
                            ("mlp.gate_proj", (ff, embd)), ("mlp.up_proj", (ff, embd)), ("mlp.down_proj", (embd, ff))):
            yield f"model.layers.{layer}.{name}.weight", ("BF16", shape)


def config(class_name, vocab, embd, ff, layers, **more):
    return dict(architectures=[class_name], vocab_size=vocab, hidden_size=embd, intermediate_size=ff,
                num_hidden_layers=layers, num_attention_heads=embd // 128, num_key_value_heads=embd // 128,
                head_dim=128, max_position_embeddings=4096, rms_norm_eps=1e-6, rope_theta=10000.0,
                tie_word_embeddings=True, **more)


PRE = dict.fromkeys(["input_layernorm", "post_attention_layernorm"], 1024)


def one_large_matrix():
    """74 MB of codes in one matrix, 9 MB of scales and biases."""
    size = 72000, 1024, 1024, 1
    return config("LlamaForCausalLM", *size, quantization=dict(bits=8, group_size=32)), dict(
        grouped(dict(model(*size, PRE)), 8, 32))


def many_groups():
    """100 MB of codes, 50 MB of scales and biases: none of them large."""
    size = 1000, 1024, 2816, 32
    return config("LlamaForCausalLM", *size, quantization=dict(bits=2, group_size=32)), dict(
        grouped(dict(model(*size, PRE)), 2, 32))


def ternary():
    """Opened for running, its weights would be 62 MB of memory; for one half of them they are the file."""
    size = 1000, 1024, 4096, 14
    quantization = dict(quant_method="bitnet", linear_class="autobitlinear", quantization_mode="offline")
    norms = {**PRE, "self_attn.attn_sub_norm": 1024, "mlp.ffn_sub_norm": 4096}
    return config("BitNetForCausalLM", *size, hidden_act="relu2", quantization_config=quantization), dict(
        packed(dict(model(*size, norms))))


def rounded_when_opened():
    """The same with the weights training worked on: 270 MB in the file."""
    size = 1000, 1024, 4096, 8
    quantization = dict(quant_method="bitnet", linear_class="autobitlinear", quantization_mode="online")
    norms = {**PRE, "self_attn.attn_sub_norm": 1024, "mlp.ffn_sub_norm": 4096}
    return config("BitNetForCausalLM", *size, hidden_act="relu2", quantization_config=quantization), dict(
        model(*size, norms))


def test_floats_of_ternary_models_are_refused(tmp_path):
    """A folder that says nothing of quantization runs with plain floats; no file could say so."""
    size = 64, 128, 256, 1
    norms = dict.fromkeys([*PRE, "self_attn.attn_sub_norm"], 128) | {"mlp.ffn_sub_norm": 256}
    write_zeros(tmp_path, config("BitNetForCausalLM", *size, hidden_act="relu2"), dict(model(*size, norms)))
    assert logits(tmp_path)
    done = slm("convert", tmp_path, tmp_path / "out.gguf")
    assert done.returncode == 1 and "'quantization_config' is missing" in done.stderr
    assert not (tmp_path / "out.gguf").exists()


@pytest.mark.slow
@pytest.mark.parametrize("make", [one_large_matrix, many_groups, ternary, rounded_when_opened])
def test_converting_takes_the_same_memory_for_any_size(make, tmp_path):
    """Two buffers of 16 MiB for what is written, and little else: a file held in memory would show."""
    write_zeros(tmp_path, *make())
    type_name = "tq2_0" if make in (ternary, rounded_when_opened) else "q4_0"
    peak = peak_mib("convert", tmp_path, tmp_path / "out.gguf", "--type", type_name, "--threads", "2", "-q")
    assert peak <= 60
