# SPDX-License-Identifier: MIT
"""Train the byte-level BPE tokenizer, and encode the training documents with it.

tokenizer.py train  --docs docs.jsonl --out tokenizer.json
tokenizer.py extract --model builtin.gguf --out tokenizer.json   (the one inside a model file)
tokenizer.py encode --docs docs.jsonl --tokenizer tokenizer.json --out tokens.npz
"""

import argparse
import json
import random

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

VOCABULARY = 2048
CUT = 0xFFFF  # after a text that does not end there: train.py learns nothing from what follows it
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# the split pattern of Qwen2's tokenizer
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def documents(path):
    for line in open(path):
        yield json.loads(line)


def train(docs, out):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    rng = random.Random(1)
    parts = {}
    for doc in documents(docs):
        text = doc["text"]
        for mark in SPECIAL:
            text = text.replace(mark, " ")
        parts.setdefault("teacher" if doc["part"] == "teacher" else "ours", []).append(text)
    # the teacher's wider vocabulary and the generated text weigh the same
    size = min(15000, *map(len, parts.values()))
    tokenizer.train_from_iterator((t for texts in parts.values() for t in rng.sample(texts, size)), trainer)
    tokenizer.save(out)
    print(tokenizer.get_vocab_size(), "tokens")


def encode(docs, tokenizer, out):
    tokenizer = Tokenizer.from_file(tokenizer)
    parts = {}
    for doc in documents(docs):
        parts.setdefault(doc["part"], []).append(doc["text"])
    arrays = {}
    for part, texts in parts.items():
        rows = [e.ids + [CUT] * (part == "short") for e in tokenizer.encode_batch(texts)]
        arrays[part + "_tokens"] = np.concatenate([np.array(r, np.uint16) for r in rows])
        arrays[part + "_lengths"] = np.array([len(r) for r in rows], np.int32)
        size = sum(len(t.encode()) for t in texts)
        print(
            f"{part}: {len(rows)} documents, {arrays[part + '_tokens'].size} tokens, "
            f"{size / arrays[part + '_tokens'].size:.2f} bytes a token"
        )
    np.savez(out, **arrays)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["train", "extract", "encode"])
    parser.add_argument("--docs")
    parser.add_argument("--model")
    parser.add_argument("--tokenizer")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    if args.action == "train":
        train(args.docs, args.out)
    elif args.action == "extract":
        from evaluate import Builtin  # which needs this file's PATTERN

        Builtin(args.model).tokenizer.save(args.out)
    else:
        encode(args.docs, args.tokenizer, args.out)


if __name__ == "__main__":
    main()
