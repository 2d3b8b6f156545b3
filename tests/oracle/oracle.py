#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Random tiny models of every family, written by Hugging Face transformers, run by slm: the logits must agree.

Usage: oracle.py SLM_BINARY [--models N] [--seed S] [--family F] [--only I]      (make oracle N=200 SEED=1)

Each model has random hyper-parameters (heads, key-value heads, a head_dim that need not be width / heads, odd widths,
tied or not, rope variants, windows shorter and longer than the text), random weights in F32, F16 or BF16, in one file
or several. It is saved as a folder; `slm logits` evaluates a random text and goes on greedily, token by token, with a
random number of threads and random chunks; then the same from the F32 GGUF that `slm convert` makes of the folder.
transformers, in f64, evaluates the same text in one pass. Asked for:

  - max |difference| <= 1e-4 * max |logit|, over every token (most models show about 1e-6). A few random models
    multiply rounding: there it is four times what transformers' own f32 differs by from its f64, at most 2e-3;
  - each greedy token is the one transformers finds likeliest. Where it is not, its logit there may lie below the
    greatest by no more than twice the difference measured on this model: a tie that rounding decides. Such ties are
    counted, and more than one token in a hundred is a failure;
  - in each family, a model whose configuration was changed behind slm's back is told apart.

Output is TAP, then a table for people ("report: ", which tests/run.py shows). While torch makes one model, slm runs
another. The seed decides everything; `make oracle` draws a new one unless it is given one, and prints it.
"""
import argparse
import collections
import concurrent.futures
import copy
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is to be fetched
os.environ["TORCHDYNAMO_DISABLE"] = "1"  # BitNet's layers would start a compiler

import torch  # noqa: E402
import transformers  # noqa: E402

import ternary  # noqa: E402

VOCAB = 97
TOLERANCE, MOST = 1e-4, 2e-3  # for any model; for one that multiplies rounding
GREEDY = 64
MAX_TIES = 0.01


def common(rng):
    """Hyper-parameters every family has, under Hugging Face's names."""
    kv = rng.choice([1, 2, 3])
    heads = kv * rng.choice([1, 2, 3])
    return dict(vocab_size=VOCAB, hidden_size=heads * rng.choice([4, 6, 8, 13]),
                intermediate_size=rng.choice([33, 48, 100]),
                num_hidden_layers=rng.choice([1, 2, 3, 7]), num_attention_heads=heads, num_key_value_heads=kv,
                head_dim=rng.choice([4, 6, 8, 16, 20, 32]), max_position_embeddings=512,
                rms_norm_eps=rng.choice([1e-5, 1e-6]),
                tie_word_embeddings=rng.random() < 0.5, bos_token_id=1, eos_token_id=2, pad_token_id=0,
                initializer_range=rng.choice([0.05, 0.15, 0.3]))


def common_or_even(rng):
    """For configurations that state no head_dim as a rule: most often width / heads."""
    c = common(rng)
    if rng.random() < 0.7:
        del c["head_dim"]
        c["hidden_size"] = c["num_attention_heads"] * rng.choice([4, 8, 16])
    return c


def rope(theta, **scaling):
    """The rope settings in the form this version of transformers wants."""
    return dict(rope_parameters=dict(rope_theta=theta, **(scaling or dict(rope_type="default"))))


def plain_rope(rng, theta):
    """What every family may have: nothing special, or all positions divided by a factor."""
    return rope(theta, **(dict(rope_type="linear", factor=rng.choice([2.0, 3.5])) if rng.random() < 0.3 else {}))


def window(rng, n, none=True):
    """None, a few tokens, just at the length of the prompt, or longer than all of the text."""
    return rng.choice([None] * none + [2, 7, 40, max(2, n - 1), max(2, n), n + 1, n + GREEDY, 400])


def llama(rng, n):
    scaling = plain_rope(rng, rng.choice([10000.0, 500000.0]))
    if rng.random() < 0.5:
        scaling = rope(rng.choice([100.0, 10000.0]), rope_type="llama3", factor=rng.choice([8.0, 32.0]),
                       low_freq_factor=1.0, high_freq_factor=4.0,
                       original_max_position_embeddings=rng.choice([32, 64, 300]))
    return transformers.LlamaConfig(**common(rng), **scaling, attention_bias=rng.random() < 0.3)


def mistral(rng, n):
    return transformers.MistralConfig(**common(rng), **plain_rope(rng, 10000.0), sliding_window=window(rng, n))


def qwen2(rng, n):
    return transformers.Qwen2Config(**common_or_even(rng), **plain_rope(rng, 1000000.0), use_sliding_window=False)


def qwen3(rng, n):
    return transformers.Qwen3Config(**common(rng), **plain_rope(rng, 1000000.0), attention_bias=False)


def smollm3(rng, n):
    c = common_or_even(rng)
    c["no_rope_layers"] = rng.choice([None, [rng.randrange(2) for _ in range(c["num_hidden_layers"])]])
    return transformers.SmolLM3Config(**c, **plain_rope(rng, 2000000.0), use_sliding_window=False)


def phi3(rng, n):
    """LongRoPE on both sides of its original length: all of the text beyond it, or all within (transformers would
    change its mind about the past between)."""
    c = common(rng)
    del c["head_dim"]  # transformers refuses one beside LongRoPE
    head_dim = rng.choice([4, 8, 16, 32])
    c["hidden_size"] = c["num_attention_heads"] * head_dim
    fraction = rng.choice([1.0, 0.75, 0.5] if head_dim > 4 else [1.0, 0.5])
    half = int(head_dim * fraction) // 2
    original = rng.choice([n + GREEDY, n + GREEDY + 30] + ([n - 1, n // 2 + 1] if n > 2 else []))
    c["max_position_embeddings"] = max(512, original * rng.choice([1, 2, 32]))
    scaling = {}
    if rng.random() < 0.7:
        scaling = dict(rope_type="longrope", short_factor=[rng.uniform(1, 1.3) for _ in range(half)],
                       long_factor=[rng.uniform(1, 30) for _ in range(half)], original_max_position_embeddings=original)
    parameters = rope(10000.0, **scaling)
    parameters["rope_parameters"]["partial_rotary_factor"] = fraction
    return transformers.Phi3Config(**c, **parameters, original_max_position_embeddings=original,
                                   sliding_window=window(rng, n))


def gemma2(rng, n):
    return transformers.Gemma2Config(**common(rng), **plain_rope(rng, 10000.0), sliding_window=window(rng, n, False),
                                     query_pre_attn_scalar=rng.choice([8, 16, 256]),
                                     attn_logit_softcapping=rng.choice([None, 50.0, 2.0]),
                                     final_logit_softcapping=rng.choice([None, 30.0, 3.0]))


def gemma3(rng, n):
    c = common(rng)
    full = dict(rope_type="default", rope_theta=1000000.0)
    if rng.random() < 0.5:
        full.update(rope_type="linear", factor=8.0)
    kinds = ["sliding_attention", "full_attention"]
    if rng.random() < 0.5:
        c["layer_types"] = [rng.choice(kinds) for _ in range(c["num_hidden_layers"])]
    parameters = dict(full_attention=full, sliding_attention=dict(rope_type="default", rope_theta=10000.0))
    return transformers.Gemma3TextConfig(**c, rope_parameters=parameters, sliding_window=window(rng, n, False),
                                         query_pre_attn_scalar=rng.choice([8, 16, 256]))


def gemma3_vision(rng, n):
    """The same language model inside one that sees; the text goes past the tower."""
    eyes = dict(hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2, image_size=28,
                patch_size=14, model_type="siglip_vision_model")
    return transformers.Gemma3Config(text_config=gemma3(rng, n).to_dict(), vision_config=eyes, mm_tokens_per_image=4,
                                     image_token_index=VOCAB + 5)


def gemma_embedding(rng, n):
    """For the oracles of embeddings: it has no logits."""
    values = gemma3(rng, n).to_dict()
    values.update(use_bidirectional_attention=True, sliding_window=rng.choice([4, 6, 40]))
    return transformers.Gemma3TextConfig(**values)


def mistral3_vision(rng, n):
    eyes = dict(hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2, image_size=28,
                patch_size=14, head_dim=4, model_type="pixtral")
    return transformers.Mistral3Config(text_config=mistral(rng, n).to_dict(), vision_config=eyes,
                                       image_token_index=VOCAB + 5)


def bitnet(rng, n):
    c = common(rng)
    del c["head_dim"]
    c["hidden_size"] = c["num_attention_heads"] * rng.choice([8, 12, 16, 32])
    c["intermediate_size"] = rng.choice([36, 100, 260])  # transformers packs four rows at a time
    c["num_hidden_layers"] = rng.choice([1, 2, 3])  # every layer more has its ties
    return transformers.BitNetConfig(**c, **rope(rng.choice([10000.0, 500000.0])),
                                     hidden_act=rng.choice(["relu2", "relu2", "silu"]))


# family -> how to draw a configuration, given the random source and the length of the prompt
FAMILIES = dict(llama=llama, mistral=mistral, qwen2=qwen2, qwen3=qwen3, smollm3=smollm3, phi3=phi3, gemma2=gemma2,
                gemma3=gemma3, gemma3_vision=gemma3_vision, mistral3_vision=mistral3_vision, bitnet=bitnet)
TERNARY = ["bitnet"]


def randomise(model, seed):
    """Norm weights and biases are ones and zeros after construction: a wrong one would not be noticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim == 1:
                p.add_(torch.empty(p.shape).uniform_(-0.3, 0.3, generator=generator))


def auto_class(config):
    sees = hasattr(config, "vision_config")
    return transformers.AutoModelForImageTextToText if sees else transformers.AutoModelForCausalLM


def say_it_twice(folder):
    """Adds older keys with other values beside the newer ones. transformers then reads the same model, and so must slm."""
    path = Path(folder) / "config.json"
    config = json.loads(path.read_text())
    text = config.get("text_config", config)
    newer = text["rope_parameters"]
    text.update(rope_theta=77.0)
    if "full_attention" in newer:
        newer = newer["full_attention"]
        text.update(rope_local_base_freq=33.0)
    newer["type"] = "default" if newer["rope_type"] == "linear" else "linear"
    before = transformers.AutoConfig.from_pretrained(folder).get_text_config().rope_parameters
    path.write_text(json.dumps(config))
    after = transformers.AutoConfig.from_pretrained(folder).get_text_config().rope_parameters
    (after.get("full_attention") or after).pop("type")
    assert before == after, (before, after)


class Case:
    """One random model: its folder, its text, and how slm is to run it. Owns the folder."""

    def __init__(self, family, seed):
        rng = random.Random(f"{family} {seed}")
        torch.manual_seed(seed)
        n = rng.choice([1, 2, rng.randint(3, 40), rng.randint(41, 130), rng.randint(131, 300)])
        self.ids = [rng.randrange(VOCAB) for _ in range(n)]
        config = FAMILIES[family](rng, n)
        config._attn_implementation = "eager"
        self.dtype = rng.choice([torch.float32, torch.float32, torch.bfloat16, torch.float16])
        self.flags = ["--threads", str(rng.choice([1, 2, 3])), "--batch-size", str(rng.choice([1, 7, 64, 256]))]
        model = auto_class(config).from_config(config, dtype=torch.float32).eval()
        randomise(model, seed)
        self.folder = tempfile.TemporaryDirectory()
        for p in model.parameters():  # not model.to(): that would round the rotation's frequencies too
            p.data = p.data.to(self.dtype)
        shard = rng.choice(["1GB", "1GB", "40KB"]) if family not in TERNARY else "1GB"
        model.save_pretrained(self.folder.name, max_shard_size=shard)
        if random.Random(f"twice {family} {seed}").random() < 0.2:
            say_it_twice(self.folder.name)
        self.what = f"{str(self.dtype)[6:]}, {n} tokens"
        if family in TERNARY:
            form = rng.choice(ternary.FORMS)
            ternary.pack(self.folder.name, *form)
            model = ternary.load(self.folder.name)
            self.what += ", " + " ".join(form)
        self.config, self.ties = config, ternary.Ties(model) if family in TERNARY else None
        if self.ties:
            self.ids = self.ties.free_prompt(self.ids, lambda: rng.randrange(VOCAB))
            self.what += f", {len(self.ids)} without ties"
        self.model = None if self.ties else model.double()

    def logits(self, ids):
        """What the reference says, in one pass over the whole text."""
        if self.ties:
            return self.ties.logits(ids)
        with torch.no_grad():
            return self.model(torch.tensor([ids]), use_cache=False).logits[0]

    def rounded(self, ids):
        """The same in f32."""
        with torch.no_grad():
            return copy.deepcopy(self.model).float()(torch.tensor([ids]), use_cache=False).logits[0]

    def close(self):
        self.folder.cleanup()


def run(command):
    """stdout of a command that must succeed."""
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    if result.returncode:
        raise RuntimeError(f"{' '.join(map(str, command[:2]))} failed: {result.stderr.strip()}")
    return result.stdout


def logits(binary, model, case):
    """Logits of every token of the text and of how slm goes on, and that continuation."""
    answer = json.loads(run([binary, "logits", model, "--ids", " ".join(map(str, case.ids)), "--json", "--all", "--kv",
                             "f32", "--greedy", GREEDY, *case.flags]))
    return torch.tensor(answer["logits"], dtype=torch.float64), answer["greedy"]


def slm_side(binary, case):
    """Name of the form -> what slm says."""
    gguf = Path(case.folder.name) / "converted.gguf"
    run([binary, "convert", case.folder.name, gguf, "--type", "f32", "--quiet"])
    return {"folder": logits(binary, case.folder.name, case), "gguf": logits(binary, gguf, case)}


class Different(Exception):
    pass


def judge(case, mine, greedy):
    """(worst difference relative to the largest logit, greedy tokens compared, ties among them) or Different."""
    expected = case.logits(case.ids + greedy)
    if case.ties and case.ties.first is not None:  # from there on rounding decides
        expected, mine = expected[:case.ties.first], mine[:case.ties.first]
        greedy = greedy[:max(0, case.ties.first - len(case.ids) + 1)]
        if case.ties.first == 0:
            return 0.0, 0, 0
    scale = expected.abs().max().item()
    difference = (mine - expected).abs().max().item()
    if not difference <= TOLERANCE * scale:
        rounding = 0.0 if case.ties else (case.rounded(case.ids + greedy) - expected).abs().max().item()
        if not difference <= min(4 * rounding, MOST * scale):
            raise Different(f"logits differ by {difference:.3g} of {scale:.3g}, f32 rounding by {rounding:.3g}")
    ties = 0
    for i, token in enumerate(greedy):
        row = expected[len(case.ids) - 1 + i]
        below = row.max().item() - row[token].item()
        ties += below > 0
        if below > 2 * difference:
            raise Different(f"greedy token {i} is {token}, expected {row.argmax().item()}")
    return difference / scale if scale else 0.0, len(greedy), ties  # a lone padding token is all zeros


class Totals:
    """One family's row of the table."""

    def __init__(self):
        self.models, self.tokens, self.ties, self.worst = 0, 0, 0, {}

    def verdict(self, case, future):
        """None, or what is wrong with this model. Counts it."""
        self.models += 1
        try:
            for form, answer in future.result().items():
                worst, tokens, ties = judge(case, *answer)
                self.worst[form] = max(self.worst.get(form, 0.0), worst)
                self.tokens += tokens
                self.ties += ties
        except (Different, RuntimeError, ValueError, KeyError, subprocess.TimeoutExpired) as problem:
            return f"{problem}\n{case.what}, {' '.join(case.flags)}\n{case.config}"
        return None

    def row(self, family):
        worst = "   ".join(f"{form} {error:.1e}" for form, error in self.worst.items())
        return f"{family:15} {self.models:4} models {self.tokens:6} greedy tokens {self.ties:3} ties   worst {worst}"


class Tap:
    def __init__(self):
        self.number = self.failed = 0

    def say(self, name, problem):
        self.number += 1
        self.failed += problem is not None
        if problem is not None:
            print("\n".join("  " + line for line in problem.splitlines()))
        print(f"{'ok' if problem is None else 'not ok'} {self.number} - {name}", flush=True)


def changed_model_is_noticed(binary, family, seed):
    case = Case(family, seed)
    try:
        path = Path(case.folder.name) / "config.json"
        config = json.loads(path.read_text())
        config.get("text_config", config)["rms_norm_eps"] = 0.05
        path.write_text(json.dumps(config))
        judge(case, *logits(binary, case.folder.name, case))
        return False
    except Different:
        return True
    finally:
        case.close()


def changed_models_are_noticed(binary, family, seed):
    """The comparison must be able to fail: with another epsilon in config.json every family computes other logits. A
    model may be drawn in which nothing shows (padding alone, a tie in the first token), but not five in a row."""
    if any(changed_model_is_noticed(binary, family, seed + i) for i in range(5)):
        return None
    return "another rms_norm_eps makes no difference"


def check_family(args, family, numbers, pool, tap):
    """Models are made ahead of slm by a few, and judged in order."""
    totals, waiting = Totals(), collections.deque()

    def finish():
        number, case, future = waiting.popleft()
        tap.say(f"{family} seed {args.seed} model {number} ({case.what})", totals.verdict(case, future))
        case.close()

    for number in numbers:
        case = Case(family, args.seed * 100000 + number)
        waiting.append((number, case, pool.submit(slm_side, args.slm, case)))
        if len(waiting) > 3:
            finish()
    while waiting:
        finish()
    tap.say(f"{family}: ties are rare", None if totals.ties <= MAX_TIES * totals.tokens else
            f"{totals.ties} of {totals.tokens} greedy tokens are not the likeliest one")
    tap.say(f"{family}: a changed configuration is noticed",
            changed_models_are_noticed(args.slm, family, args.seed * 100000 + numbers[0]))
    return totals


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slm")
    parser.add_argument("--models", type=int, default=200, help="in all families together, at least")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--family", choices=sorted(FAMILIES))
    parser.add_argument("--only", type=int, help="this model of each family")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    families = [args.family] if args.family else list(FAMILIES)
    numbers = range(-(-args.models // len(families))) if args.only is None else [args.only]
    print(f"# transformers {transformers.__version__}, torch {torch.__version__}, --seed {args.seed}")
    print(f"1..{len(families) * (len(numbers) + 2)}", flush=True)
    tap, rows, begun = Tap(), [], time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for family in families:
            rows.append(check_family(args, family, numbers, pool, tap).row(family))
    print(f"report: live oracle: transformers {transformers.__version__}, seed {args.seed}, "
          f"{time.monotonic() - begun:.0f} s")
    for row in rows:
        print(f"report:   {row}")
    sys.exit(tap.failed != 0)


if __name__ == "__main__":
    main()
