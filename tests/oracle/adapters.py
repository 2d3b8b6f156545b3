#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Random LoRA adapters on random tiny models of every family: slm with --lora against peft.

Usage: adapters.py SLM_BINARY [--models N] [--seed S] [--family F]

Each model (made as oracle.py makes them) gets two adapters on linear layers chosen at random, with ranks, alphas,
rank and alpha patterns and rank-stabilised scaling at random, saved by peft and applied by slm with different scales,
to the folder and to the F32 GGUF that `slm convert` makes of it.
The logits must be those of peft in f64: max |difference| <= 1e-5 * max |logit|, or, where a random model blows rounding
up, four times what peft in f32 differs by.
Output is TAP and a table, as oracle.py's.
"""
import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import oracle
import peft
import ternary
import torch
import transformers

TOLERANCE = 1e-5
FAMILIES = oracle.FAMILIES


def linear_names(model):
    """The last parts of the names of all linear layers of the decoder's blocks."""
    return sorted({name.rsplit(".", 1)[-1] for name, module in model.named_modules()
                   if isinstance(module, torch.nn.Linear) and ".layers." in name})


def random_config(rng, names):
    chosen = names if rng.random() < 0.6 else rng.sample(names, rng.randrange(1, len(names) + 1))
    if rng.random() < 0.3:
        chosen = chosen + ["lm_head"]
    ranks, alphas = {}, {}
    if rng.random() < 0.4:
        ranks[rng.choice(chosen)] = rng.choice([1, 3, 6])
    if rng.random() < 0.4:
        alphas[rng.choice(chosen)] = rng.choice([2, 5.5])
    if rng.random() < 0.3 and "o_proj" in chosen:
        alphas["layers.0.self_attn.o_proj"] = 7
    return peft.LoraConfig(r=rng.choice([1, 2, 4, 8]), lora_alpha=rng.choice([1, 8, 16]), target_modules=chosen,
                           use_rslora=rng.random() < 0.4, rank_pattern=ranks, alpha_pattern=alphas,
                           lora_dropout=0.1, fan_in_fan_out=False)


def random_weights(model, seed):
    """peft starts B at zero, which would hide every mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name:
                p.copy_(torch.empty(p.shape).uniform_(-0.15, 0.15, generator=generator))


def load(config, folder):
    if config.model_type in oracle.TERNARY:
        return ternary.load(folder)
    return oracle.auto_class(config).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def add_adapters(rng, model, seed, folder, base):
    """Two adapters saved below folder; returns the model of the folder base with both active, read back as peft reads
    them (patterns that overlap count in the order of the file), and their names and scales."""
    adapters = [("one", rng.choice([1.0, 0.5, -1.25])), ("two", rng.choice([1.0, 2.0, 0.3]))]
    names = linear_names(model)
    tuned = peft.get_peft_model(model, random_config(rng, names), adapter_name="one")
    tuned.add_adapter("two", random_config(rng, names))
    random_weights(tuned, seed)
    tuned.save_pretrained(folder)
    fresh = load(model.config, base)
    tuned = peft.PeftModel.from_pretrained(fresh, folder / "one", adapter_name="one")
    tuned.load_adapter(folder / "two", "two")
    for layer in tuned.modules():
        if isinstance(layer, peft.tuners.lora.LoraLayer):
            for name, scale in adapters:
                if name in layer.scaling:
                    layer.set_scale(name, scale)
    tuned.base_model.set_adapter([name for name, _ in adapters])
    return tuned.eval(), adapters


def slm_logits(binary, folder, ids, adapters):
    more = [f"--lora={path}={scale}" for path, scale in adapters]
    answer = oracle.run([binary, "logits", folder, "--ids", " ".join(map(str, ids)), "--json", "--all", "--kv", "f32",
                         *more])
    return torch.tensor(json.loads(answer)["logits"])


def both_forms(binary, base, convert, config):
    """The model as a folder; and as GGUF, where rows of q and k are in another order than in the adapter. Not where
    GGUF has no key for how scores are divided: converting then scales q itself, which no adapter can know of. No
    released model is like that."""
    yield base
    divisor = getattr(config, "query_pre_attn_scalar", None)
    if convert and (divisor is None or divisor == config.head_dim):
        oracle.run([binary, "convert", base, base.with_suffix(".gguf"), "--type", "f32"])
        yield base.with_suffix(".gguf")


def check(binary, family, seed, convert):
    """Worst difference relative to the largest logit, or oracle.Different."""
    rng = random.Random(f"adapter {family} {seed}")
    torch.manual_seed(seed)
    ids = [rng.randrange(oracle.VOCAB) for _ in range(rng.choice([2, 7, 33, 100]))]
    config = FAMILIES[family](rng, len(ids))
    config._attn_implementation = "eager"
    model = oracle.auto_class(config).from_config(config, dtype=torch.float32).eval()
    oracle.randomise(model, seed)
    with tempfile.TemporaryDirectory() as place, torch.no_grad():
        base = Path(place) / "base"
        model.save_pretrained(base)
        if family in oracle.TERNARY:  # the form that peft can adapt: layers that round as they compute
            ternary.pack(base, "autobitlinear", "online")
        tuned, adapters = add_adapters(rng, load(config, base), seed, Path(place), base)
        ties = ternary.Ties(tuned) if family in oracle.TERNARY else None
        ids = ties.free_prompt(ids, lambda: rng.randrange(oracle.VOCAB)) if ties else ids
        plain = load(config, base)(torch.tensor([ids])).logits[0]
        paths = [(Path(place) / name, scale) for name, scale in adapters]
        mine = [slm_logits(binary, form, ids, paths) for form in both_forms(binary, base, convert, config)]
        single = tuned(torch.tensor([ids])).logits[0]
        expected = ties.logits(ids) if ties else tuned.double()(torch.tensor([ids])).logits[0]
    scale = expected.abs().max().item()
    moved, rounding, *differences = ((x - expected).abs().max().item() / scale for x in (plain, single, *mine))
    worst = max(differences)
    if moved < 1e-3:
        raise oracle.Different(f"the adapters change nothing ({moved:.2g}): the comparison says nothing")
    if not worst <= max(TOLERANCE, 4 * rounding):
        raise oracle.Different(f"logits differ by {worst:.3g}, f32 rounding by {rounding:.3g}; {len(ids)} tokens, "
                               f"{config}")
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slm")
    parser.add_argument("--models", type=int, default=80, help="in all families together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--family", choices=sorted(FAMILIES))
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.simplefilter("ignore")  # peft's about embeddings that are saved along: that they are is tested here
    convert = subprocess.run([args.slm, "convert", "--help"], capture_output=True).returncode == 0
    families = [args.family] if args.family else list(FAMILIES)
    n, tap, rows, begun = -(-args.models // len(families)), oracle.Tap(), [], time.monotonic()
    print(f"1..{n * len(families)}", flush=True)
    for family in families:
        worst = 0.0
        for i in range(n):
            problem = None
            try:
                worst = max(worst, check(args.slm, family, args.seed * 100000 + i, convert))
            except (oracle.Different, RuntimeError, subprocess.TimeoutExpired) as found:
                problem = str(found)
            tap.say(f"adapters on {family} seed {args.seed} model {i}", problem)
        rows.append(f"{family:10} {n:4} models   worst {worst:.1e}")
    print(f"report: live oracle of adapters: peft {peft.__version__}, transformers {transformers.__version__}, "
          f"seed {args.seed}, {time.monotonic() - begun:.0f} s")
    for row in rows:
        print(f"report:   {row}")
    sys.exit(tap.failed != 0)


if __name__ == "__main__":
    main()
