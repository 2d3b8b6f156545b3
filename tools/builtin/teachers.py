# SPDX-License-Identifier: MIT
"""Sample training stories from the teacher model TinyStories-656K.

The teacher is a small trained LlamaForCausalLM.  It is run here by a plain batched forward pass with a
key/value cache; finished rows are squeezed out of the batch as sampling goes on.  Part of the stories
starts from an opening sentence (a small grammar below) for variety.  Stories that do not end, loop, or
look broken are dropped.  Output: JSON lines {"text": ...}.
"""

import argparse
import json
import random
import re
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer


class Teacher:
    def __init__(self, folder, device):
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = {k: v.float().to(device) for k, v in load_file(folder / "model.safetensors").items()}
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.device = device
        c = self.config
        self.heads, self.kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        self.head_dim = c["hidden_size"] // self.heads
        positions = torch.arange(c["max_position_embeddings"], device=device).float()
        inverse = c["rope_theta"] ** (-torch.arange(0, self.head_dim, 2, device=device).float() / self.head_dim)
        angles = torch.outer(positions, inverse).repeat(1, 2)
        self.cos, self.sin = angles.cos(), angles.sin()

    def new_cache(self, batch, length):
        shape = (batch, self.kv_heads, length, self.head_dim)
        return [
            [torch.zeros(shape, device=self.device) for _ in "kv"] for _ in range(self.config["num_hidden_layers"])
        ]

    def norm(self, x, name):
        return F.rms_norm(x, x.shape[-1:], self.weights[name], self.config["rms_norm_eps"])

    def rotate(self, x, start):
        cos, sin = self.cos[start : start + x.shape[2]], self.sin[start : start + x.shape[2]]
        a, b = x.chunk(2, -1)
        return x * cos + torch.cat((-b, a), -1) * sin

    def forward(self, ids, start, cache):
        """ids [batch, n] at positions start..start+n; returns the hidden states [batch, n, width]."""
        w, (batch, n) = self.weights, ids.shape
        x = w["lm_head.weight"][ids]
        for layer, (keys, values) in enumerate(cache):
            p = f"model.layers.{layer}."
            h = self.norm(x, p + "input_layernorm.weight")
            q, k, v = (
                F.linear(h, w[f"{p}self_attn.{m}_proj.weight"]).view(batch, n, -1, self.head_dim).transpose(1, 2)
                for m in "qkv"
            )
            keys[:, :, start : start + n] = self.rotate(k, start)
            values[:, :, start : start + n] = v
            q = self.rotate(q, start)
            ks, vs = keys[:, :, : start + n], values[:, :, : start + n]
            if n == 1:  # one position: group the query heads of a kv head into rows
                q = q.reshape(batch, self.kv_heads, -1, self.head_dim)
                h = F.scaled_dot_product_attention(q, ks, vs)
            else:
                h = F.scaled_dot_product_attention(q, ks, vs, is_causal=start == 0, enable_gqa=True)
            h = h.reshape(batch, self.heads, n, self.head_dim).transpose(1, 2).reshape(batch, n, -1)
            x = x + F.linear(h, w[p + "self_attn.o_proj.weight"])
            h = self.norm(x, p + "post_attention_layernorm.weight")
            h = F.silu(F.linear(h, w[p + "mlp.gate_proj.weight"])) * F.linear(h, w[p + "mlp.up_proj.weight"])
            x = x + F.linear(h, w[p + "mlp.down_proj.weight"])
        return self.norm(x, "model.norm.weight")

    def logits(self, ids):
        cache = self.new_cache(ids.shape[0], ids.shape[1])
        return F.linear(self.forward(ids, 0, cache), self.weights["lm_head.weight"])


def pick(logits, temperature, top_k, top_p):
    values, index = (logits / temperature).topk(top_k, dim=-1)
    probs = values.softmax(-1)
    probs[probs.cumsum(-1) - probs > top_p] = 0
    return index.gather(1, torch.multinomial(probs, 1))


@torch.inference_mode()
def sample_batch(teacher, prompts, temperature, top_p, limit):
    """Finished token rows that start with the prompts (id lists of equal length, BOS included)."""
    eos, squeeze_every = teacher.config["eos_token_id"], 16
    batch, length = len(prompts), len(prompts[0])
    cache = teacher.new_cache(batch, limit)
    tokens = torch.zeros(batch, limit, dtype=torch.long, device=teacher.device)
    tokens[:, :length] = torch.tensor(prompts, device=teacher.device)
    done = torch.zeros(batch, dtype=torch.bool, device=teacher.device)
    finished, step, pos = [], tokens[:, :length], 0
    while True:
        hidden = teacher.forward(step, pos, cache)
        pos += step.shape[1]
        if pos >= limit:
            return finished
        step = pick(F.linear(hidden[:, -1], teacher.weights["lm_head.weight"]), temperature, 64, top_p)
        tokens[:, pos] = step[:, 0]
        done |= step[:, 0] == eos
        if pos % squeeze_every == 0 and done.any():
            for row in tokens[done, 1 : pos + 1].tolist():
                finished.append(row[: row.index(eos)] if eos in row else row)
            keep = ~done
            if keep.sum() < batch * 0.06:  # a few long stragglers are not worth the time
                return finished
            tokens, step, done = tokens[keep], step[keep], done[keep]
            # only the filled part of the cache needs copying
            for pair in cache:
                for i, old in enumerate(pair):
                    pair[i] = torch.zeros(len(tokens), *old.shape[1:], device=teacher.device)
                    pair[i][:, :, :pos] = old[keep, :, :pos]


NAMES = """Tom Lily Ben Mia Sam Anna Max Lucy Tim Sara Jack Amy Leo Zoe Finn Ella Bob Ruby Joe Nina Oscar Ivy Luke
Rosie Sue Jill Molly Emma Noah Kate Billy Daisy Jane Mark Jim Lola Fred Grace Harry Alice""".split()
ADJECTIVES = (
    "little big small brave shy clever funny kind tiny sad happy lonely curious young old grumpy silly".split()
)
ANIMALS = (
    """cat dog rabbit bear fox mouse duck frog bird squirrel turtle lion elephant monkey owl hedgehog pig horse cow
sheep goat bee ant butterfly snail fish whale dolphin crab penguin deer wolf dragon dinosaur giraffe zebra tiger hen
puppy kitten worm spider ladybug parrot snake""".split()
)
PEOPLE = """girl boy king queen princess prince farmer baker fairy pirate robot man woman wizard witch giant teacher
doctor sailor chef painter clown snowman grandma grandpa""".split()
THINGS = """red ball|blue kite|toy boat|shiny key|teddy bear|drum|book|magic hat|cake|balloon|bike|wagon|bell|lamp|
flower
|apple|umbrella|box|blanket|toy train|rocket|truck|cookie|pumpkin|doll|crayon|swing|rope|ladder|bucket|candle|coat|pair
|puzzle|jar of honey|map|feather|stone|necklace|star|snowball|pillow|clock|basket|guitar|sandwich|scarf|mirror
|car|seed|ring|telescope|whistle|tent|boot|shell|plane|bottle""".replace(
    "\n", ""
).split(
    "|"
)
PLACES = """forest garden farm park river beach castle village mountain kitchen school zoo lake cave pond meadow attic
city barn hill playground market library house train island field""".split()
PATTERNS = [
    "{N} had a {T}. ",
    "One day, {N} went to the {P}. ",
    "{N} and {M} were at the {P}. ",
    "{N} was a {J} {A}. ",
    "Once upon a time, there was a {J} {A} named {N}. ",
    "Once upon a time, there was a {J} {H} who lived near a {P}. ",
    "One day, a {J} {A} found a {T} in the {P}. ",
    "{N} loved to play in the {P}. ",
    "{N} was sad. ",
    "There was once a {H} who had a {T}. ",
    "It was a rainy day. {N} wanted to go to the {P}. ",
    "One sunny morning, {N} saw a {J} {A} in the {P}. ",
    "{N} lost a {T}. ",
    "A {A} and a {B} were best friends. ",
    "{N} and {M} wanted the same {T}. ",
    "The {H} had a {J} {A}. ",
    "Once there was a {T} that could talk. ",
    "In the {P}, there lived a {J} {A}. ",
    "{N} heard a loud noise in the {P}. ",
    "{N} was afraid of the {A}. ",
    "It was {N}'s birthday. ",
    "The {T} was broken. {N} wanted to fix it. ",
    "It was a windy day. {N} took the {T} outside. ",
    "{N} wanted to be a {H}. ",
    "A {J} {A} lived in a {P} with a {H}. ",
    "Mom gave {N} a {T}. ",
    '"Look!" said {N}. "A {T}!" ',
    "Once upon a time, in a {P}, there was a {T}. ",
    "{N} the {A} was very {J}. ",
    "The {A} was hungry. ",
    "One night, {N} could not sleep. ",
    "{N} went to visit a {H}. ",
    "Once upon a time, there was a {J} {A} who had a {T}. ",
    "Once upon a time, a {A} found a {T} in the {P}. ",
    "Once there was a {J} {A} who wanted a {T}. ",
    "A {H} and a {A} lived near the {P}. The {A} was {J}. ",
    "{N} the {A} had a {T}. {N} loved the {T}. ",
    "Once upon a time, there was a {H} with a {T}. ",
    "A {J} {A} and a {B} found a {T}. ",
    "{N} and {M} found a {T} in the {P}. ",
    "The {A} and the {B} wanted to play with the {T}. ",
    "Once upon a time, there was a {T}. It belonged to a {J} {H}. ",
    "{N} made a {T} for the {A}. ",
    "The {H} lost the {T}. ",
]

PLAIN = [  # as the teacher's own stories begin: it keeps to its thread better there
    "Once upon a time, there was a little girl named {N}. She loved to ",
    "Once upon a time, there was a little boy named {N}. He loved to ",
    "Once upon a time, there was a little girl named {N}. She had a {T}. ",
    "Once upon a time, there was a little boy named {N}. He had a {T}. ",
    "Once upon a time, there was a {J} {A} named {N}. {N} lived in a ",
    "Once upon a time, there was a {J} {A}. The {A} loved to ",
    "One day, a {J} {A} went to the {P}. The {A} saw a ",
    "{N} and {M} were friends. They liked to play in the {P}. ",
    "One day, {N} and {M} went to the {P} with their mom. They saw a ",
    "Once upon a time, there was a {J} {H}. ",
    "Once upon a time, in a {P}, there lived a {J} {A} named {N}. ",
]


def opening(rng, patterns):
    name, other = rng.sample(NAMES, 2)
    animal, second = rng.sample(ANIMALS, 2)
    text = rng.choice(patterns).format(
        N=name,
        M=other,
        A=animal,
        B=second,
        J=rng.choice(ADJECTIVES),
        H=rng.choice(PEOPLE),
        T=rng.choice(THINGS),
        P=rng.choice(PLACES),
    )
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)


def acceptable(text):
    """Cheap checks against loops, unfinished endings and broken text."""
    words = text.split()
    if not 45 <= len(words) <= 330 or not text.isascii() or text[-1] not in '.!?"':
        return False
    if text.count('"') % 2:
        return False
    sentences = [s for s in re.split(r"(?<=[.!?])\s+", text) if len(s) > 12]
    if len(set(sentences)) < len(sentences):
        return False
    grams = [tuple(words[i : i + 5]) for i in range(len(words) - 4)]
    if len(set(grams)) < 0.93 * len(grams):
        return False
    echoes = 0  # "the bird flew down to the bird"
    for sentence in sentences:
        content = [w for w in re.findall(r"[a-z]{4,}", sentence) if w not in FREE]
        echoes += len(content) > len(set(content))
    if echoes > 1:
        return False
    # who is who: at most three names, each named at least twice and met in the first two thirds
    names = {}
    for match in re.finditer(r"(?<=[a-z,] )[A-Z][a-z]+", text):
        names.setdefault(match.group(), text.index(match.group()))
    names = {n: first for n, first in names.items() if n not in TITLES}
    if len(names) > 3 or any(text.count(n) < 2 or first > 0.66 * len(text) for n, first in names.items()):
        return False
    return len(set(w.lower() for w in words)) >= 0.42 * len(words)


FREE = set(
    "that they them then there with were have from what said will very this want wanted their more your".split()
)
TITLES = set("Mom Mommy Mum Dad Daddy Mama Papa Grandma Grandpa Mr Mrs Miss God Christmas Monday Sunday".split())


def tidy(text):
    text = text.removesuffix("<|end_story|>")
    text = text.replace("\u2019", "'").replace("\u201c", '"').replace("\u201d", '"').replace("\u2014", "-")
    text = re.sub(r"[ \t]+", " ", text)
    return re.sub(r" ?\n[\n ]*", "\n\n", text).strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", type=Path, default=Path("../shared/data/models/tinystories-656k"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--prompted", type=float, default=0.8, help="share of batches that start from an opening")
    parser.add_argument("--plain", action="store_true", help="only the openings that the teacher knows best")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    teacher = Teacher(args.teacher, "cuda" if torch.cuda.is_available() else "cpu")
    bos = teacher.config["bos_token_id"]
    start, made, kept, size = time.time(), 0, 0, 0
    with args.out.open("w") as out:
        while time.time() - start < args.minutes * 60:
            if rng.random() < args.prompted:  # several openings per round, in groups of equal length
                groups = {}
                for _ in range(args.batch * 8 // 32):
                    ids = teacher.tokenizer.encode(opening(rng, PLAIN if args.plain else PATTERNS).rstrip()).ids
                    groups.setdefault(len(ids), []).extend([ids] * 8)
                jobs = [g for g in groups.values() if len(g) >= args.batch // 8]
            else:
                jobs = [[[bos]] * args.batch]
            for prompts in jobs:
                temperature, top_p = rng.choice([0.3, 0.4, 0.5] if len(prompts[0]) > 1 else [0.6, 0.7]), 0.95
                for row in sample_batch(teacher, prompts, temperature, top_p, 450):
                    made += 1
                    text = tidy(teacher.tokenizer.decode(row))
                    if acceptable(text):
                        kept += 1
                        size += len(text)
                        out.write(json.dumps({"text": text}) + "\n")
            print(f"{time.time() - start:.0f} s: {made} made, {kept} kept, {size / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
