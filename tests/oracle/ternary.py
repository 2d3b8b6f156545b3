# SPDX-License-Identifier: MIT
"""BitNet models for the oracles: making a saved model ternary, and telling where rounding decides what it says.

Activations are rounded to 255 values a token. Where one lies halfway between two of them, an error of a millionth moves
it by a whole step, and transformers in f32 and in f64 disagree by percents. That is no property of either program, so
texts are compared up to the first token with such an activation, and prompts are drawn so that they have none.
"""
import copy
import json
from pathlib import Path

import safetensors.torch
import torch
import transformers
import transformers.integrations.bitnet as bitnet

SAFETY = 8  # a tie is where a code lies this many times nearer to the middle than f32 is to f64, in its row
FORMS = [("autobitlinear", "online"), ("autobitlinear", "offline"), ("bitlinear", "offline")]


def pack(folder, linear_class, mode):
    """Changes a saved model of plain floats (one file) into one of the forms in which folders are ternary."""
    path = Path(folder) / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    for name in [n for n in tensors if n.endswith("_proj.weight") and mode == "offline"]:
        mean = tensors[name].float().abs().mean().clamp(min=1e-5)
        codes = (tensors[name].float() / mean).round().clamp(-1, 1)
        tensors[name + "_scale"] = (mean if linear_class == "autobitlinear" else 1 / mean).reshape(1).to(
            tensors[name].dtype)
        tensors[name] = bitnet.pack_weights(codes)
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    path = Path(folder) / "config.json"
    config = json.loads(path.read_text())
    config["quantization_config"] = dict(quant_method="bitnet", linear_class=linear_class, quantization_mode=mode)
    path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def load(folder):
    """The model as transformers opens it: its linear layers are ternary."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                              attn_implementation="eager").eval()
    return torch.nn.Module.float(model)  # masters keep their own type, and transformers' float() refuses


class Ties:
    """Where a text has ties: its first token with an activation that f32 cannot be trusted to round as f64 does."""

    def __init__(self, model):
        """model is in f32; a copy in f64 is the reference, .exact."""
        self.rough, self.exact, self.codes, self.first = model, copy.deepcopy(model).double(), {}, None
        for which in (self.rough, self.exact):
            self.codes[which] = []
            for module in which.modules():
                if isinstance(module, (bitnet.AutoBitLinear, bitnet.BitLinear)):
                    module.register_forward_pre_hook(self.watch(self.codes[which]))

    @staticmethod
    def watch(codes):
        def look(module, args):
            x = args[0].detach().double()[0]
            codes.append(x * 127 / x.abs().amax(-1, keepdim=True).clamp(min=1e-5))
        return look

    def logits(self, ids):
        """What the exact model says; sets first, None when the text has no tie."""
        self.first, answer = None, None
        for which in (self.rough, self.exact):
            self.codes[which].clear()
            with torch.no_grad():
                answer = which(torch.tensor([ids]), use_cache=False).logits[0]
        for rough, exact in zip(self.codes[self.rough], self.codes[self.exact]):
            noise = (rough - exact).abs().amax(-1)
            tied = ((exact - exact.floor() - 0.5).abs().amin(-1) < SAFETY * noise + 1e-6).nonzero()
            if len(tied):
                self.first = min(tied[0].item(), len(ids) if self.first is None else self.first)
        return answer

    def find(self, ids):
        self.logits(ids)
        return self.first

    def free_prompt(self, ids, draw):
        """ids, redrawn from the first tie on until there is none; shortened where that does not come to an end."""
        for _ in range(60):
            if self.find(ids) is None:
                return ids
            ids = ids[:self.first] + [draw() for _ in ids[self.first:]]
        return ids[:max(self.first, 1)]
