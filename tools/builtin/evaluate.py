# SPDX-License-Identifier: MIT
"""Evaluate a built-in model file: bits per byte against the teacher, and samples to read.

Bits per byte: the text is cut at spaces into pieces of at most 1024 bytes that do not overlap; each piece is encoded
alone and predicted after the model's start token, so both models see the same bytes with the same context.
"""

import argparse
import math
from pathlib import Path

import gguf
import torch
import torch.nn.functional as F
from gguf.quants import dequantize
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from export import BLOCK_NAMES
from model import Qwen3
from teachers import Teacher
from tokenizer import PATTERN

OPENINGS = ["Once upon a time", "Tom had a red kite. One windy day", "Lily was very hungry.", "The old robot", "It was raining. Two frogs",
            "\"Help!\" cried the little mouse.", "My name is Sam. Last summer", "In a dark cave, there lived", "A cat and a dog",
            "The princess did not want to sleep.", "One day, a boy named Ben found a key", "Sara and her brother", "Deep in the sea",
            "Grandpa made a boat", "There was a snail who wanted to fly.", "The wind blew the hat away.", "Max lost his ball",
            "At night, the toys", "A hungry wolf came to the farm.", "Mia baked a cake for", "The moon was sad.", "Captain Joe sailed to an island.",
            "When Anna opened the box,", "Nobody wanted to play with the crocodile."]
CHATS = ["Tell me a story about a dragon who is afraid of the dark", "Write a short story about a cat and a boat.", "Tell me a story", "Hi",
         "Who are you?", "Tell me a story about a robot who wants to bake", "a fox and a balloon", "Tell me a story about being brave.",
         "What is the capital of France?", "Can you tell me a story about a penguin named Zip?", "Write a story about a lost shoe.",
         "tell me about the moon", "I am sad.", "Tell me a story about two friends and a bike.", "Write a poem about love.",
         "Tell me a story about a volcano."]


class Builtin:
    """The model in a GGUF file, dequantised to f32."""

    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        value = lambda key: reader.fields[key].contents()
        config = {
            "vocab_size": len(value("tokenizer.ggml.tokens")), "hidden_size": value("qwen3.embedding_length"),
            "intermediate_size": value("qwen3.feed_forward_length"), "num_hidden_layers": value("qwen3.block_count"),
            "num_attention_heads": value("qwen3.attention.head_count"), "num_key_value_heads": value("qwen3.attention.head_count_kv"),
            "head_dim": value("qwen3.attention.key_length"), "max_position_embeddings": value("qwen3.context_length"),
            "rope_theta": value("qwen3.rope.freq_base"), "rms_norm_eps": value("qwen3.attention.layer_norm_rms_epsilon")}
        ours = {v: k for k, v in BLOCK_NAMES.items()}
        self.tensors = {t.name: dequantize(t.data, t.tensor_type) for t in reader.tensors}
        weights = {}
        for name, data in self.tensors.items():
            if name.startswith("blk."):
                _, number, part, _ = name.split(".")
                name = f"blocks.{number}.{ours[part]}.weight"
            else:
                name = {"token_embd.weight": "embed.weight", "output_norm.weight": "norm.weight"}[name]
            weights[name] = torch.tensor(data)
        self.config = config
        self.model = Qwen3(config).eval()
        self.model.load_state_dict(weights)

        tokens, types = value("tokenizer.ggml.tokens"), value("tokenizer.ggml.token_type")
        merges = [tuple(m.split(" ")) for m in value("tokenizer.ggml.merges")]
        self.tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
        self.tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        self.tokenizer.decoder = decoders.ByteLevel()
        self.tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, types)
                                           if k == gguf.TokenType.CONTROL])
        self.bos = value("tokenizer.ggml.bos_token_id")
        self.ends = {value("tokenizer.ggml.eos_token_id"), value("tokenizer.ggml.eot_token_id")}

    def ids(self, text):
        return [self.bos] + self.tokenizer.encode(text).ids

    def logits(self, ids):
        return self.model(ids)

    @torch.inference_mode()
    def write(self, prompt, temperature=0.0, limit=400, top_k=40, top_p=0.95, min_p=0.05):
        ids = self.ids(prompt)
        start = len(ids)
        while len(ids) < min(start + limit, self.config["max_position_embeddings"]):
            logits = self.logits(torch.tensor([ids]))[0, -1]
            if temperature:
                values, index = (logits / temperature).topk(top_k)
                probs = values.softmax(-1)
                probs[(probs.cumsum(-1) - probs > top_p) | (probs < min_p * probs[0])] = 0
                token = int(index[torch.multinomial(probs, 1)])
            else:
                token = int(logits.argmax())
            if token in self.ends:
                return self.tokenizer.decode(ids[start:]), True
            ids.append(token)
        return self.tokenizer.decode(ids[start:]), False


def pieces(text, size=1024):
    data, start = text.encode(), 0
    while start < len(data):
        end = min(start + size, len(data))
        if end < len(data):
            end = data.rindex(b" ", start, end) + 1
        yield data[start:end].decode()
        start = end


@torch.inference_mode()
def bits_per_byte(encode, logits, text):
    nats = size = tokens = 0
    for piece in pieces(text):
        ids = torch.tensor([encode(piece)])
        nats += F.cross_entropy(logits(ids[:, :-1])[0].float(), ids[0, 1:], reduction="sum").item()
        size += len(piece.encode())
        tokens += ids.shape[1] - 1
    return nats / size / math.log(2), nats / tokens, size, tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", type=Path, default=Path("../shared/data/text/tinystories_val.txt"))
    parser.add_argument("--teacher", type=Path, default=Path("../shared/data/models/tinystories-656k"))
    parser.add_argument("--bytes", type=int, default=0, help="only the first bytes of the text (0: all)")
    parser.add_argument("--samples", action="store_true", help="write samples instead of measuring")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    builtin = Builtin(args.model)
    if args.samples:
        for kind, prompts in (("raw", OPENINGS), ("chat", CHATS)):
            for prompt in prompts:
                full = prompt if kind == "raw" else f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
                for temperature in (0.0, 0.7):
                    text, ended = builtin.write(full, temperature)
                    print(f"=== {kind}, temperature {temperature}{'' if ended else ', no end'}: {prompt}\n{text}\n", flush=True)
        return
    text = args.text.read_text()
    if args.bytes:
        text = text[:args.bytes]
    teacher = Teacher(args.teacher, "cpu")
    for name, encode, logits in (("built-in", builtin.ids, builtin.logits),
                                 ("TinyStories-656K", lambda t: teacher.tokenizer.encode(t).ids, teacher.logits)):
        bits, loss, size, tokens = bits_per_byte(encode, logits, text)
        print(f"{name}: {bits:.4f} bits per byte ({size} bytes, {tokens} tokens, {loss:.4f} nats a token)")


if __name__ == "__main__":
    main()
