# SPDX-License-Identifier: MIT
"""Check a model file: a forward pass in plain NumPy over its dequantised tensors against PyTorch, greedy text for
greedy text."""

import argparse

import numpy as np
import torch

from evaluate import Builtin
from model import Qwen3


def norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def rotate(x, position, theta):
    """x [heads, d]: halves rotated by position * theta^(-2i/d)."""
    half = x.shape[-1] // 2
    angle = position * theta ** (-np.arange(half) / half)
    a, b = x[:, :half], x[:, half:]
    return np.concatenate((a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)), -1)


class Plain:
    """One token at a time in double precision."""

    def __init__(self, tensors, config):
        self.t = {k: v.astype(np.float64) for k, v in tensors.items()}
        self.c = config
        self.keys = [[] for _ in range(config["num_hidden_layers"])]
        self.values = [[] for _ in range(config["num_hidden_layers"])]

    def next(self, token, position):
        t, c = self.t, self.c
        d, eps = c["head_dim"], c["rms_norm_eps"]
        group = c["num_attention_heads"] // c["num_key_value_heads"]
        x = t["token_embd.weight"][token]
        for n in range(c["num_hidden_layers"]):
            w = lambda part: t[f"blk.{n}.{part}.weight"]
            h = norm(x, w("attn_norm"), eps)
            q = rotate(norm((w("attn_q") @ h).reshape(-1, d), w("attn_q_norm"), eps), position, c["rope_theta"])
            k = rotate(norm((w("attn_k") @ h).reshape(-1, d), w("attn_k_norm"), eps), position, c["rope_theta"])
            self.keys[n].append(k)
            self.values[n].append((w("attn_v") @ h).reshape(-1, d))
            out = []
            for head in range(c["num_attention_heads"]):
                scores = np.array([key[head // group] @ q[head] for key in self.keys[n]]) / np.sqrt(d)
                p = np.exp(scores - scores.max())
                out.append(sum(p_i * v[head // group] for p_i, v in zip(p / p.sum(), self.values[n])))
            x = x + w("attn_output") @ np.concatenate(out)
            h = norm(x, w("ffn_norm"), eps)
            gate = w("ffn_gate") @ h
            x = x + w("ffn_down") @ (gate / (1 + np.exp(-gate)) * (w("ffn_up") @ h))
        return t["token_embd.weight"] @ norm(x, t["output_norm.weight"], eps)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--checkpoint", help="also compare with the weights before quantisation")
    parser.add_argument("--average", action="store_true", help="the averaged weights of the checkpoint")
    parser.add_argument("--prompt", default="Once upon a time")
    parser.add_argument("--tokens", type=int, default=120)
    args = parser.parse_args()
    builtin = Builtin(args.model)
    torched, _ = builtin.write(args.prompt, 0.0, args.tokens)

    plain, ids, produced, worst = Plain(builtin.tensors, builtin.config), builtin.ids(args.prompt), [], 0.0
    for position in range(len(ids) + args.tokens - 1):
        logits = plain.next(ids[position], position)
        with torch.inference_mode():
            other = builtin.logits(torch.tensor([ids[: position + 1]]))[0, -1].numpy()
        worst = max(worst, float(np.abs(other - logits).max()))
        if position + 1 == len(ids):
            token = int(logits.argmax())
            if token in builtin.ends:
                break
            produced.append(token)
            ids.append(token)
    text = builtin.tokenizer.decode(produced)
    print(text)
    print(
        "NumPy and PyTorch over the file: greedy text",
        "equal" if text == torched else "DIFFERENT",
        f"- largest logit difference {worst:.2e}",
    )
    if args.checkpoint:
        state = torch.load(args.checkpoint, map_location="cpu")
        builtin.model = Qwen3(state["config"]).eval()
        builtin.model.load_state_dict(state["average" if args.average else "model"])
        before, _ = builtin.write(args.prompt, 0.0, args.tokens)
        same = next((i for i, (a, b) in enumerate(zip(before, text)) if a != b), min(len(before), len(text)))
        print(f"before quantisation: greedy text equal for the first {same} of {len(before)} characters")


if __name__ == "__main__":
    main()
