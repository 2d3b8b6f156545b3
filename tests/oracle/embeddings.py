#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Embeddings of random tiny models of every family: slm embed against transformers and sentence-transformers.

Usage: embeddings.py SLM_BINARY [--models N] [--seed S] [--family F]

Each model (made as oracle.py makes them, and one family more: Gemma 3 with attention to both sides) is saved with or
without its head. Token ids of several lengths are embedded with each pooling and compared with the last hidden states
of transformers. Then it becomes a folder of sentence-transformers with a small tokenizer of its own that puts a token
behind each text, a pooling, perhaps Dense layers, perhaps prompts, and texts are compared with what that library makes,
from the folder and from the GGUF file it converts to. Families that transformers has a sequence classifier of are
saved as one too: what a ranking model says of its labels is compared, from the folder and from GGUF.
Both ways the cosine must be at least 1 - 1e-6 and no number differ by more than 1e-4 of the greatest.
Output is TAP and a table, as oracle.py's.
"""
import argparse
import copy
import json
import logging
import random
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import oracle
import sentence_transformers
import tokenizers
import torch
import transformers
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

VOCAB = 320
TEXTS = ["", "a", "Hello there", "The quick brown fox jumps over the lazy dog.", "  spaces  and\ttabs ",
         "Über den Wölken: 你好, мир! 🙂", "word " * 60, "x" * 90]


# Nobody embeds with ternary models.
FAMILIES = {name: draw for name, draw in oracle.FAMILIES.items() if name not in oracle.TERNARY}
FAMILIES["gemma-embedding"] = oracle.gemma_embedding


def make_tokenizer(rng):
    """Byte-level BPE of a few words. Behind a text comes a token that is not the one that ends a generation."""
    t = tokenizers.Tokenizer(tokenizers.models.BPE())
    t.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=VOCAB, show_progress=False,
                                             special_tokens=["<pad>", "<bos>", "<|im_end|>", "<|endoftext|>"],
                                             initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet())
    t.train_from_iterator(TEXTS, trainer)
    single = "<bos> $A <|endoftext|>" if rng.random() < 0.5 else "$A <|endoftext|>"
    t.post_processor = tokenizers.processors.TemplateProcessing(
        single=single, pair="$A $B", special_tokens=[("<bos>", 1), ("<|endoftext|>", 3)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=t, eos_token="<|im_end|>", bos_token="<bos>",
                                                pad_token="<pad>", padding_side="right")


def slm_embed(binary, folder, *options, text=None):
    command = [binary, "embed", str(folder), "--json", *options]
    result = subprocess.run(command, input=text, capture_output=True, text=True, timeout=300)
    if result.returncode:
        raise RuntimeError(result.stderr.strip())
    return torch.tensor(json.loads(result.stdout)["embeddings"], dtype=torch.float64)


def compare(mine, expected, what):
    expected = expected.double()
    if not expected.any() and not mine.any():
        return 0.0  # the first token of a text is padding, whose embedding is zero
    cosine = torch.nn.functional.cosine_similarity(mine, expected, dim=-1).min().item()
    worst = ((mine - expected).abs().max() / expected.abs().max()).item()
    if not (cosine >= 1 - 1e-6 and worst <= 1e-4):
        raise oracle.Different(f"{what}: cosine {cosine}, difference {worst:.3g}")
    return worst


def pooled(hidden, how):
    return dict(mean=hidden.mean(0), last=hidden[-1], cls=hidden[0])[how]


def check_ids(binary, rng, model, folder):
    """Every pooling, raw, normalised and cut; the chunk size must not matter."""
    worst = 0.0
    for n in rng.sample([1, 2, 7, 33, 64, 100], 3):
        ids = [rng.randrange(VOCAB) for _ in range(n)]
        with torch.no_grad():
            hidden = model(torch.tensor([ids])).last_hidden_state[0]
        for how in ("mean", "last", "cls"):
            given = ["--ids", " ".join(map(str, ids)), "--pooling", how, "--ctx", str(n),
                     "--batch-size", str(rng.choice([1, 3, 32, 256]))]
            expected = pooled(hidden, how)
            worst = max(worst, compare(slm_embed(binary, folder, *given, "--no-normalize")[0], expected,
                                       f"{how} of {n} tokens"))
            cut = rng.randrange(1, len(expected) + 1)
            worst = max(worst, compare(slm_embed(binary, folder, *given, "--dimensions", str(cut))[0],
                                       torch.nn.functional.normalize(expected[:cut], dim=0), f"{how}, {cut} numbers"))
    return worst


def check_sentences(binary, rng, model, folder, place):
    make_tokenizer(rng).save_pretrained(folder)
    transformer = Transformer(str(folder), model_kwargs=dict(attn_implementation="eager"))
    steps = [transformer, Pooling(transformer.get_word_embedding_dimension(),
                                         pooling_mode=rng.choice(["mean", "lasttoken", "cls"]))]
    width = transformer.get_word_embedding_dimension()
    for _ in range(rng.choice([0, 0, 1, 2])):
        new = rng.choice([5, 16, 40])
        bias, act = rng.choice([(False, "Identity")] * 3 + [(True, "Identity"), (True, "Tanh"), (False, "Tanh")])
        steps.append(Dense(width, new, bias=bias, activation_function=getattr(torch.nn, act)()))
        width = new
    if rng.random() < 0.7:
        steps.append(Normalize())
    prompts = dict(query="task: search | query: ", document="") if rng.random() < 0.5 else {}
    default = "query" if prompts and rng.random() < 0.4 else None
    whole = sentence_transformers.SentenceTransformer(modules=steps, device="cpu", prompts=prompts, default_prompt_name=default)
    whole.max_seq_length = rng.choice([512, 512, 9])  # this is saved with the tokenizer
    target = Path(place) / "sentences"
    whole.save_pretrained(str(target))
    if rng.random() < 0.3:
        whole.max_seq_length = rng.choice([3, 14, 300])
        path = target / "sentence_bert_config.json"
        path.write_text(json.dumps(dict(json.loads(path.read_text()), max_seq_length=whole.max_seq_length)))
    # LongRoPE is chosen by the context here and by the text there: keep on one side of the original length.
    longrope = model.config.rope_parameters.get("rope_type") == "longrope"
    lines = TEXTS[:5] if longrope else TEXTS
    more_ctx = ["--ctx", str(model.config.original_max_position_embeddings)] if longrope else []
    worst = 0.0
    for name in [None, *prompts]:
        expected = torch.tensor(whole.encode(lines, prompt_name=name, normalize_embeddings=True))
        more = (["--prompt", name] if name else []) + more_ctx
        mine = slm_embed(binary, target, *more, text="".join(t + "\n" for t in lines))
        worst = max(worst, compare(mine, expected, f"sentence-transformers, prompt {name}, {whole}"))
    return max(worst, check_converted(binary, target, lines, whole, more_ctx))


def check_converted(binary, folder, lines, whole, options):
    """As GGUF, which has no prompts: pooling, direction, layers and the tokens around a text must be in the file. Layers
    that no GGUF file can hold must be refused."""
    command = [binary, "convert", folder, folder.with_suffix(".gguf"), "--type", "f32"]
    if any(isinstance(step, Dense) and (step.bias or not isinstance(step.activation_function, torch.nn.Identity))
           for step in whole):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
        if done.returncode != 1 or "GGUF files have no place for" not in done.stderr:
            raise oracle.Different(f"a layer with bias or tanh is converted: {done.stderr.strip()}")
        return 0.0
    oracle.run(command)
    mine = slm_embed(binary, folder.with_suffix(".gguf"), *options, text="".join(t + "\n" for t in lines))
    whole.max_seq_length = 512  # which GGUF cannot say
    expected = torch.tensor(whole.encode(lines, prompt="", normalize_embeddings=True))
    return compare(mine, expected, f"converted, {whole}")


def check_ranking(binary, rng, config, seed, place):
    """Scores of a classifier: the logit of one label, probabilities of several. Gemma 3 names its own another way."""
    config.num_labels = rng.choice([1, 2, 3])
    config.pad_token_id = None
    kinds = transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    if type(config) not in kinds or "Text" in kinds[type(config)].__name__:
        return 0.0
    made = kinds[type(config)]._from_config(config, dtype=torch.float32)
    oracle.randomise(made, seed)
    folder, target = Path(place) / "ranks", Path(place) / "ranks.gguf"
    made.save_pretrained(folder)
    make_tokenizer(rng).save_pretrained(folder)
    made = made.eval()
    oracle.run([binary, "convert", folder, target, "--type", "f32"])
    worst = 0.0
    for n in rng.sample([1, 2, 33, 100], 2):
        ids = [rng.randrange(4, VOCAB) for _ in range(n)]
        with torch.no_grad():
            expected = made(torch.tensor([ids])).logits[0]
        expected = expected.softmax(0) if config.num_labels > 1 else expected
        for model in (folder, target):
            mine = slm_embed(binary, model, "--ids", " ".join(map(str, ids)), "--ctx", str(n))[0]
            if mine.shape != expected.shape:
                raise oracle.Different(f"{len(mine)} scores for {config.num_labels} labels")
            worst = max(worst, compare(mine, expected, f"{config.num_labels} labels, {n} tokens, {model.name}"))
    return worst


def check(binary, family, seed):
    rng = random.Random(f"embedding {family} {seed}")
    torch.manual_seed(seed)
    oracle.VOCAB = VOCAB
    config = FAMILIES[family](rng, 100)
    config._attn_implementation = "eager"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        bare = family == "gemma-embedding" or rng.random() < 0.5
        made = (transformers.AutoModel if bare else oracle.auto_class(config)).from_config(config, dtype=torch.float32)
        oracle.randomise(made, seed)
        made.save_pretrained(folder)
        model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
        worst = max(check_ids(binary, rng, model, folder),
                    check_ranking(binary, rng, copy.deepcopy(config), seed, place))
        if family.endswith("_vision"):  # sentence-transformers would want to see something
            return worst
        return max(worst, check_sentences(binary, rng, model, folder, place))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slm")
    parser.add_argument("--models", type=int, default=45, help="in all families together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--family", choices=sorted(FAMILIES))
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)  # about prompts that are set: that they apply is tested here
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    families = [args.family] if args.family else list(FAMILIES)
    n, tap, rows, begun = -(-args.models // len(families)), oracle.Tap(), [], time.monotonic()
    print(f"1..{n * len(families)}", flush=True)
    for family in families:
        worst = 0.0
        for i in range(n):
            problem = None
            try:
                worst = max(worst, check(args.slm, family, args.seed * 100000 + i))
            except (oracle.Different, RuntimeError, subprocess.TimeoutExpired) as found:
                problem = str(found)
            tap.say(f"embeddings of {family} seed {args.seed} model {i}", problem)
        rows.append(f"{family:15} {n:4} models   worst {worst:.1e}")
    print(f"report: live oracle of embeddings: sentence-transformers {sentence_transformers.__version__}, "
          f"transformers {transformers.__version__}, seed {args.seed}, {time.monotonic() - begun:.0f} s")
    for row in rows:
        print(f"report:   {row}")
    sys.exit(tap.failed != 0)


if __name__ == "__main__":
    main()
