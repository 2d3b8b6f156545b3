#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/adapters: tiny random models with LoRA adapters, and the logits peft computes with them.

Usage: adapters.py OUT_FOLDER      (needs torch, transformers, peft, gguf: tests/oracle/requirements.txt)

llama/ has everything twice: as Hugging Face writes it (model folder, PEFT adapters one/ and two/), and as GGUF files
written with llama.cpp's Python package, with the rows of q and k in llama.cpp's order (base.gguf, one.gguf). phi3/ has
fused matrices and comes as folders only. Each holds ids.txt (token ids) and three files of f32 logits, one row a token:
plain.bin, one.bin (adapter one, scale 1), both.bin (one x 0.5 and two x -1.5 together).
"""
import sys
from pathlib import Path

import gguf
import peft
import torch
import transformers

VOCAB, LENGTH = 40, 12


def configs():
    common = dict(vocab_size=VOCAB, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
                  num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0,
                  initializer_range=0.2)
    rope = dict(rope_theta=10000.0, rope_type="default")
    return dict(llama=transformers.LlamaConfig(**common, head_dim=8, rope_parameters=rope, tie_word_embeddings=False),
                phi3=transformers.Phi3Config(**{**common, "hidden_size": 32}, rope_parameters=rope,
                                             tie_word_embeddings=True))


def adapters(family):
    fused = family == "phi3"
    everything = (["qkv_proj", "gate_up_proj"] if fused else
                  ["q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"]) + ["o_proj", "down_proj"]
    some = ["qkv_proj"] if fused else ["q_proj", "up_proj"]
    one = peft.LoraConfig(r=2, lora_alpha=5, target_modules=everything + ([] if fused else ["lm_head"]))
    two = peft.LoraConfig(r=4, lora_alpha=3, target_modules=some, use_rslora=True, rank_pattern={some[0]: 3},
                          alpha_pattern={"layers.1.self_attn." + some[0]: 6})
    return one, two


def random_weights(model, names, spread):
    generator = torch.Generator().manual_seed(7)
    for name, p in model.named_parameters():
        if any(part in name for part in names):
            p.copy_(torch.empty(p.shape).uniform_(-spread, spread, generator=generator) + (p if p.ndim == 1 else 0))


GGUF_NAMES = dict(q_proj="attn_q", k_proj="attn_k", v_proj="attn_v", o_proj="attn_output", gate_proj="ffn_gate",
                  up_proj="ffn_up", down_proj="ffn_down", input_layernorm="attn_norm",
                  post_attention_layernorm="ffn_norm")


def gguf_name(name):
    ends = dict([("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output")])
    module = name.removesuffix(".weight")
    if module in ends:
        return ends[module] + ".weight"
    parts = module.split(".")
    return f"blk.{parts[2]}.{GGUF_NAMES[parts[-1]]}.weight"


def neighbours(name, tensor, config):
    """Rows of q and k as llama.cpp has them: of each head, the two halves interleaved."""
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(name.split(".")[-2])
    if not heads:
        return tensor
    return tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(tensor.shape)


def write_base(path, model):
    c = model.config
    w = gguf.GGUFWriter(path, "llama")
    w.add_block_count(c.num_hidden_layers)
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_key_length(c.head_dim)
    w.add_value_length(c.head_dim)
    w.add_rope_dimension_count(c.head_dim)
    w.add_rope_freq_base(c.rope_parameters["rope_theta"])
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    w.add_vocab_size(c.vocab_size)
    for name, tensor in model.state_dict().items():
        new = gguf_name(name)
        w.add_tensor(new, neighbours(new, tensor, c).contiguous().numpy())
    finish(w)


def write_adapter(path, folder, config, alpha):
    w = gguf.GGUFWriter(path, "llama")
    w.add_type(gguf.GGUFType.ADAPTER)
    w.add_string(gguf.Keys.Adapter.TYPE, "lora")
    w.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    from safetensors.torch import load_file
    for name, tensor in load_file(folder / "adapter_model.safetensors").items():
        module, kind, _ = name.removeprefix("base_model.model.").rsplit(".", 2)
        if kind not in ("lora_A", "lora_B"):
            continue  # peft saves a copy of the head beside its adapter
        new = gguf_name(module + ".weight")
        tensor = neighbours(new, tensor, config) if kind == "lora_B" else tensor
        w.add_tensor(f"{new}.{kind.lower()}", tensor.contiguous().numpy())
    finish(w)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write(folder, family, config):
    torch.manual_seed(3)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    random_weights(model, ["norm"], 0.3)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink()
    if family == "llama":
        write_base(folder / "base.gguf", model)
    ids = torch.randint(VOCAB, (1, LENGTH))
    (folder / "ids.txt").write_text(" ".join(map(str, ids[0].tolist())) + "\n")
    save = lambda name, m: (folder / name).write_bytes(m(ids).logits[0].float().numpy().tobytes())
    save("plain.bin", model)
    one, two = adapters(family)
    tuned = peft.get_peft_model(model, one, adapter_name="one")
    tuned.add_adapter("two", two)
    random_weights(tuned, ["lora_"], 0.3)
    tuned.save_pretrained(folder)
    (folder / "README.md").unlink()
    if family == "llama":
        write_adapter(folder / "one.gguf", folder / "one", config, one.lora_alpha)
    tuned.set_adapter("one")
    save("one.bin", tuned)
    for layer in tuned.modules():
        if isinstance(layer, peft.tuners.lora.LoraLayer):
            layer.set_scale("one", 0.5)
            if "two" in layer.scaling:
                layer.set_scale("two", -1.5)
    tuned.base_model.set_adapter(["one", "two"])
    save("both.bin", tuned)
    for junk in list(folder.glob("*/README.md")):
        junk.unlink()


def main():
    out = Path(sys.argv[1])
    with torch.no_grad():
        for family, config in configs().items():
            write(out / family, family, config)


if __name__ == "__main__":
    main()
