# SPDX-License-Identifier: MIT
"""Qwen3 (as Hugging Face's Qwen3ForCausalLM computes it), just enough for training and checking."""

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = {
    "vocab_size": 2048,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "rope_theta": 10000.0,
    "rms_norm_eps": 1e-6,
}


class Norm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        return F.rms_norm(x, x.shape[-1:], self.weight.to(x.dtype), self.eps)


def rope_tables(config, length):
    d = config["head_dim"]
    inverse = config["rope_theta"] ** (-torch.arange(0, d, 2).float() / d)
    angles = torch.outer(torch.arange(length).float(), inverse).repeat(1, 2)
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        width, d, eps = c["hidden_size"], c["head_dim"], c["rms_norm_eps"]
        self.head_dim = d
        self.attn_norm, self.ffn_norm = Norm(width, eps), Norm(width, eps)
        self.q_norm, self.k_norm = Norm(d, eps), Norm(d, eps)
        self.q = nn.Linear(width, c["num_attention_heads"] * d, bias=False)
        self.k = nn.Linear(width, c["num_key_value_heads"] * d, bias=False)
        self.v = nn.Linear(width, c["num_key_value_heads"] * d, bias=False)
        self.o = nn.Linear(c["num_attention_heads"] * d, width, bias=False)
        self.gate = nn.Linear(width, c["intermediate_size"], bias=False)
        self.up = nn.Linear(width, c["intermediate_size"], bias=False)
        self.down = nn.Linear(c["intermediate_size"], width, bias=False)

    def forward(self, x, cos, sin):
        batch, n, _ = x.shape
        h = self.attn_norm(x)
        q = self.q_norm(self.q(h).view(batch, n, -1, self.head_dim)).transpose(1, 2)
        k = self.k_norm(self.k(h).view(batch, n, -1, self.head_dim)).transpose(1, 2)
        v = self.v(h).view(batch, n, -1, self.head_dim).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        group = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(h.transpose(1, 2).reshape(batch, n, -1))
        h = self.ffn_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Qwen3(nn.Module):
    """Submodule names are ours; export.py maps them to the GGUF tensor names."""

    def __init__(self, config=CONFIG):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.blocks = nn.ModuleList(Block(config) for _ in range(config["num_hidden_layers"]))
        self.norm = Norm(config["hidden_size"], config["rms_norm_eps"])
        cos, sin = rope_tables(config, config["max_position_embeddings"])
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.reset()

    def reset(self):
        depth = 2 * len(self.blocks)
        nn.init.normal_(self.embed.weight, std=0.02)
        for block in self.blocks:
            for name in ("q", "k", "v", "gate", "up", "o", "down"):
                matrix = getattr(block, name).weight
                std = matrix.shape[1] ** -0.5
                nn.init.normal_(matrix, std=std * (depth ** -0.5 if name in ("o", "down") else 1))

    def forward(self, ids):
        n = ids.shape[1]
        x = self.embed(ids)
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        cos, sin = self.cos[:n].to(x.dtype), self.sin[:n].to(x.dtype)
        for block in self.blocks:
            x = block(x, cos, sin)
        return F.linear(self.norm(x), self.embed.weight)
