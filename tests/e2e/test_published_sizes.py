# SPDX-License-Identifier: MIT
"""Full-size folders: real config.json files beside weights that are all zero, in sparse files that take no room. slm must
map them to the hyper-parameters the papers state and count the parameters that were published."""

import json

import pytest

from support import SHARED, need, slm, write_zeros

CONFIGS = SHARED / "data/configs"


def qkvo(c, d):
    q, kv, e = c["num_attention_heads"] * d, c["num_key_value_heads"] * d, c["hidden_size"]
    return {"self_attn.q_proj": (q, e), "self_attn.k_proj": (kv, e), "self_attn.v_proj": (kv, e),
            "self_attn.o_proj": (e, q)}


def ffn(c):
    f, e = c["intermediate_size"], c["hidden_size"]
    return {"mlp.gate_proj": (f, e), "mlp.up_proj": (f, e), "mlp.down_proj": (e, f)}


def head_dim(c):
    return c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]


def llama(c):
    e = c["hidden_size"]
    return {**qkvo(c, head_dim(c)), **ffn(c), "input_layernorm": (e,), "post_attention_layernorm": (e,)}


def qwen3(c):
    d = head_dim(c)
    return {**llama(c), "self_attn.q_norm": (d,), "self_attn.k_norm": (d,)}


def phi3(c):
    d, e, f = head_dim(c), c["hidden_size"], c["intermediate_size"]
    q, kv = c["num_attention_heads"] * d, c["num_key_value_heads"] * d
    return {"self_attn.qkv_proj": (q + 2 * kv, e), "self_attn.o_proj": (e, q), "mlp.gate_up_proj": (2 * f, e),
            "mlp.down_proj": (e, f), "input_layernorm": (e,), "post_attention_layernorm": (e,)}


def gemma3(c):
    e = c["hidden_size"]
    return {**qwen3(c), "pre_feedforward_layernorm": (e,), "post_feedforward_layernorm": (e,)}


def bitnet(c):
    return {**llama(c), "self_attn.attn_sub_norm": (c["hidden_size"],), "mlp.ffn_sub_norm": (c["intermediate_size"],)}


def tensors(c, layer, tied):
    """name -> (dtype, shape), as these models are published."""
    v, e = c["vocab_size"], c["hidden_size"]
    shapes = {"model.embed_tokens.weight": (v, e), "model.norm.weight": (e,)}
    if not tied:
        shapes["lm_head.weight"] = (v, e)
    for i in range(c["num_hidden_layers"]):
        shapes.update({f"model.layers.{i}.{name}.weight": shape for name, shape in layer(c).items()})
    return {name: ("BF16", shape) for name, shape in shapes.items()}


def packed(entries):
    """Ternary matrices as bytes that hold four rows each, and their scales."""
    out = {}
    for name, (dtype, shape) in entries.items():
        if name.endswith("_proj.weight"):
            out[name] = ("U8", (shape[0] // 4, shape[1]))
            out[name + "_scale"] = ("BF16", (1,))
        else:
            out[name] = (dtype, shape)
    return out


def load(name, **changes):
    return {**json.loads(open(need(CONFIGS / name)).read()), **changes}


QWEN3_06B = dict(num_hidden_layers=28, hidden_size=1024, num_attention_heads=16, num_key_value_heads=8, head_dim=128,
                 intermediate_size=3072, vocab_size=151936, tie_word_embeddings=True)

# file, rows of a layer, tied, published parameters, (layers, width, heads, kv heads, head size, context).
# Sources: the models' cards and technical reports; sums of the shapes where a card rounds.
MODELS = {
    "Qwen3-0.6B": ("qwen3-0.6b-sft.json", qwen3, True, 596049920, (28, 1024, 16, 8, 128, None)),
    "Qwen3-1.7B": ("Qwen3-1.7B.executorch.json", qwen3, True, 1720574976, (28, 2048, 16, 8, 128, None)),
    "Qwen3-4B": ("Qwen3-4B.executorch.json", qwen3, True, 4022468096, (36, 2560, 32, 8, 128, 40960)),
    "Qwen3-4B-2507": ("Qwen3-4B-Instruct-2507.json", qwen3, True, 4022468096, (36, 2560, 32, 8, 128, 262144)),
    "Qwen3-8B": ("Qwen3-8B.json", qwen3, False, 8190735360, (36, 4096, 32, 8, 128, None)),
    "Phi-4-mini": ("phi-4-mini-reasoning.executorch.json", phi3, True, 3836021760, (32, 3072, 24, 8, 128, 131072)),
    "Gemma-3-1B": ("gemma-3-1b-it.json", gemma3, True, 999885952, (26, 1152, 4, 1, 256, 32768)),
    "Gemma-3-270M": ("gemma-3-270m.trimmed.json", gemma3, True, 268098176, (18, 640, 4, 1, 256, 32768)),
    "Llama-3-8B": ("Llama-3.1-8B-Instruct.json", llama, False, 8030261248, (32, 4096, 32, 8, 128, 131072)),
    "Llama-3.2-1B": ("Llama-3.2-1B-Instruct.json", llama, True, 1235814400, (16, 2048, 32, 8, 64, 131072)),
    "BitNet-2B4T": ("bitnet-b1.58-2B-4T.json", bitnet, True, 2412820480, (30, 2560, 20, 5, 128, 4096)),
}


def inspect(folder):
    done = slm("inspect", folder, "--json", timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(info, n_params, shape):
    assert info["runs"], info["runs_not_because"]
    assert info["n_params"] == n_params
    hp = info["hyper_parameters"]
    names = ("n_layer", "n_embd", "n_head", "n_head_kv", "head_dim", "n_ctx_train")
    for name, value in zip(names, shape):
        assert value is None or hp[name] == value, name


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_published_parameters_and_shapes(name, tmp_path):
    file, layer, tied, n_params, shape = MODELS[name]
    config = load(file)
    if "trimmed" in file:  # one entry for every layer, as published
        config["layer_types"] = (["sliding_attention"] * 5 + ["full_attention"]) * (config["num_hidden_layers"] // 6)
    assert config.get("tie_word_embeddings", tied) == tied
    entries = tensors(config, layer, tied)
    if layer is bitnet:  # the packed release; the weights training worked on would have to be read whole
        config["quantization_config"]["quantization_mode"] = "offline"
        entries = packed(entries)
    write_zeros(tmp_path, config, entries)
    check(inspect(tmp_path), n_params, shape)


@pytest.mark.slow
def test_a_tied_head_that_is_stored_counts_once(tmp_path):
    """As Qwen3-0.6B is published."""
    file, layer, tied, n_params, shape = MODELS["Qwen3-0.6B"]
    config = load(file, tie_word_embeddings=True)
    write_zeros(tmp_path, config, tensors(config, layer, False))
    check(inspect(tmp_path), n_params, shape)


@pytest.mark.parametrize("file", ["gemma3_1b_it.executorch.json", "phi3.5-mini-instruct.executorch.json",
                                  "Llama-3.2-3B-Instruct.executorch.json", "llama3-8B-instruct.executorch.json",
                                  "Llama-3.2-1B-Instruct.executorch.json"])
def test_every_other_configuration_opens(file, tmp_path):
    """Copies trimmed by others: the classes they leave out are put back, the rest must be understood."""
    config = load(file)
    layer, class_name = {"gemma": (gemma3, "Gemma3ForCausalLM"), "phi": (phi3, "Phi3ForCausalLM"),
                         "qwen": (qwen3, "Qwen3ForCausalLM"), "llama": (llama, "LlamaForCausalLM")}[
                             next(k for k in ("gemma", "phi", "qwen", "llama") if k in file.lower())]
    config["architectures"] = [class_name]
    write_zeros(tmp_path, config, tensors(config, layer, True))
    info = inspect(tmp_path)
    assert info["runs"], info["runs_not_because"]
    assert info["hyper_parameters"]["n_layer"] == config["num_hidden_layers"]


# The same models' numbers as others (executorch) wrote them down, under names of their own: a second witness.
WITNESSES = {"qwen3-0.6b.params.json": "Qwen3-0.6B", "gemma3-1b.params.json": "Gemma-3-1B",
             "phi-4-mini-instruct.params.json": "Phi-4-mini"}
SAME = {"dim": "embedding_length", "n_heads": "attention.head_count", "n_kv_heads": "attention.head_count_kv",
        "norm_eps": "attention.layer_norm_rms_epsilon", "head_dim": "attention.key_length",
        "rope_theta": "rope.freq_base", "local_rope_theta": "rope.freq_base_swa",
        "sliding_window": "attention.sliding_window", "max_position_embeddings": "context_length",
        "original_max_position_embeddings": "rope.scaling.original_context_length"}


@pytest.mark.parametrize("file", WITNESSES)
def test_a_second_witness_says_the_same(file, tmp_path):
    """What slm takes config.json for is seen in the keys it writes. Few and thin layers, so that this is quick."""
    name, layer, tied, _, _ = MODELS[WITNESSES[file]]
    config, says = load(name), load(file)
    for mine, theirs in {"num_hidden_layers": "n_layers", "vocab_size": "vocab_size", "intermediate_size": "hidden_dim",
                         "layer_types": "layer_types"}.items():
        assert theirs not in says or config.get(mine, says[theirs]) == says[theirs]
    config.update(num_hidden_layers=6 if layer is gemma3 else 1, vocab_size=64, intermediate_size=64)
    config.pop("layer_types", None)
    write_zeros(tmp_path, config, tensors(config, layer, tied))
    assert slm("convert", tmp_path, tmp_path / "out.gguf").returncode == 0
    keys = json.loads(slm("inspect", tmp_path / "out.gguf", "--json", "--keys").stdout)["keys"]
    found = {theirs: keys[f"{keys['general.architecture']}.{mine}"] for theirs, mine in SAME.items() if theirs in says}
    assert found == pytest.approx({theirs: says[theirs] for theirs in found}) and len(found) >= 6
    rotary = says.get("head_dim", says["dim"] // says["n_heads"]) * says.get("partial_rotary_factor", 1)
    assert keys[f"{keys['general.architecture']}.rope.dimension_count"] == rotary


def test_folders_are_named_in_full():
    """Architecture, tokenizer and template of a folder, which has none of GGUF's keys."""
    folder = need(SHARED / "data/models/tinystories-656k")
    info = json.loads(slm("inspect", folder, "--json").stdout)
    assert info["format"] == "folder" and info["architecture"] == "llama" and info["n_params"] == 656000
    assert info["tokenizer"]["n_tokens"] == info["hyper_parameters"]["n_vocab"] == 2048
    assert info["tokenizer"]["model"] == "llama-merges" and info["tokenizer"]["eos_id"] == 2
    text = slm("inspect", folder).stdout
    assert "Hugging Face folder" in text and "architecture  \"llama\"" in text
