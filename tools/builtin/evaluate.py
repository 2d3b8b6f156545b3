# SPDX-License-Identifier: MIT
"""Evaluate a built-in model file: bits per byte against the teacher, and samples to read.

Bits per byte: the text is cut at spaces into pieces of at most 1024 bytes that do not overlap; each piece is encoded
alone and predicted after the model's start token, so both models see the same bytes with the same context.
"""

import argparse
import json
import math
import re
import subprocess
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

# what is asked, and the words that the story must come back to (| between forms of one word)
REQUESTS = [row.partition(" --")[::2] for row in """
Tell me a story about a dragon who is afraid of the dark -- dragon; dark
Write a short story about a cat and a boat. -- cat; boat
Tell me a story about a robot who wants to bake -- robot; bake|baking|cake|bread|cookie
a fox and a balloon -- fox; balloon
Tell me a story about being brave. -- brave|afraid|scared
Can you tell me a story about a penguin named Zip? -- penguin|Zip
Write a story about a lost shoe. -- shoe
tell me about the moon -- moon
Tell me a story about two friends and a bike. -- friend; bike
Tell me a story about a volcano. -- volcano
Tell me a story about a dog and a bone. -- dog; bone
tell me a story about a frog who cannot swim -- frog; swim|swam
Write a story about a girl named Mia and her red kite. -- Mia; kite
A story about a king and a mouse, please. -- king; mouse
Tell me a story about a snowman in the desert -- snowman; desert|sand
Write a short story about a pirate who loses his hat. -- pirate; hat
Tell me a story about Tom and Lily. -- Tom; Lily
Tell me a story about a wizard and a broken clock. -- wizard; clock
story about a lazy bear -- bear; lazy
Tell me a story about a little train. -- train
Can you write a story about an elephant who is scared of mice? -- elephant; mice|mouse
I want a story about a princess and a frog -- princess; frog
Tell me a bedtime story about a sleepy owl. -- owl; sleep
write a story with a monkey and a drum -- monkey; drum
Tell me a story about a boy who wants to fly. -- boy; fly|flew
Tell me a story about a lonely whale. -- whale; lonely|friend
Write a story about a magic pencil. -- magic; pencil
Tell me a story about an astronaut on the moon. -- astronaut; moon
Tell me a story about a rabbit and a turtle who are friends. -- rabbit; turtle
tell me a story about a birthday cake -- cake
Tell me a story about a spider who learns to dance. -- spider; danc
Write a story about a farmer and a giant pumpkin. -- farmer; pumpkin
Tell me a story about a teddy bear that gets lost. -- bear; lost|home
Tell me a story about a ghost in a library. -- ghost; library|book
A story about a knight and a sandwich -- knight; sandwich
Tell me a story about Max the dog and his ball. -- Max|dog; ball
Tell me a story about a bee and a computer. -- bee; computer
Write a short story about rain. -- rain
""".strip().split("\n")]
OPENINGS = [row.partition(" --")[::2] for row in """
Once upon a time --
Tom had a red kite. One windy day -- Tom; kite
Lily was very hungry. -- Lily
The old robot -- robot
It was raining. Two frogs -- frog
"Help!" cried the little mouse. -- mouse
My name is Sam. Last summer -- I|my
In a dark cave, there lived --
A cat and a dog -- cat; dog
The princess did not want to sleep. -- princess
One day, a boy named Ben found a key -- Ben; key
Sara and her brother -- Sara
Deep in the sea --
Grandpa made a boat -- Grandpa; boat
There was a snail who wanted to fly. -- snail; fly|flew
The wind blew the hat away. -- hat
Max lost his ball -- Max; ball
At night, the toys -- toy
A hungry wolf came to the farm. -- wolf
Mia baked a cake for -- Mia; cake
The moon was sad. -- moon
Captain Joe sailed to an island. -- Joe; island
When Anna opened the box, -- Anna; box
Nobody wanted to play with the crocodile. -- crocodile
Once there was a little girl named Rosie who loved her garden. -- Rosie; garden
The teacher had a problem. -- teacher
Jack and Emma walked into the forest. -- Jack; Emma
A giant lived on top of a mountain. -- giant
""".strip().split("\n")]
TALK = ["Tell me a story", "Hi", "Who are you?", "What is the capital of France?", "I am sad.", "Write a poem about love.", "Thank you!"]


def kept(words, text):
    """For each of the words ("forms|of a word; next word"): in which thirds of the text it is.

    Where the text gives a kind a name ("a fox named Rusty", "Rusty the fox") the name stands for the word.
    """
    for forms in filter(None, words.split("; ")):
        names = re.findall(rf"\b(?:{forms}),? (?:named|called|whose name was) ([A-Z]\w+)", text)
        names += re.findall(rf"\b([A-Z]\w+) the (?:\w+ )?(?:{forms})\b", text)
        pattern = re.compile(rf"\b(?:{'|'.join([forms] + names)})", re.IGNORECASE)
        cut = len(text) / 3
        yield {min(2, int(m.start() / cut)) for m in pattern.finditer(text)}


def write(slm, model, prompt, temperature, seed, raw):
    """The text that the command itself writes, and whether it came to an end."""
    done = subprocess.run([slm, "run", model, prompt, "--json", "--temp", str(temperature), "--seed", str(seed), "-t", "1"] + ["--raw"] * raw,
                          capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    return answer["text"].strip(), answer["stop_reason"] == "eog"


def samples(args):
    """Writes the answers to read, then how many of them keep to their words."""
    for kind, rows, raw in (("request", REQUESTS, False), ("opening", OPENINGS, True)):
        for temperature in (0.0, 0.7):
            first, last, all_thirds, ended, asked = 0, 0, 0, 0, 0
            for number, (prompt, words) in enumerate(rows):
                text, end = write(args.slm, args.model, prompt, temperature, args.seed + number, raw)
                thirds = list(kept(words.strip(), prompt + text if raw else text))
                print(f"=== {kind}, temperature {temperature}: {prompt} -- {[sorted(t) for t in thirds]}\n{text}\n")
                ended += end
                if thirds:
                    asked += 1
                    first += all(0 in t for t in thirds)
                    last += all(2 in t for t in thirds)
                    all_thirds += all(len(t) == 3 for t in thirds)
            print(f"## {kind}s at {temperature}: of {asked}, every word in the first third {first}, in the last third {last}, "
                  f"in all thirds {all_thirds}; {ended} of {len(rows)} come to an end\n", flush=True)
    for prompt in TALK:
        print(f"=== talk: {prompt}\n{write(args.slm, args.model, prompt, 0.7, args.seed, False)[0]}\n")


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
    parser.add_argument("--samples", action="store_true", help="write samples with the slm command instead of measuring")
    parser.add_argument("--slm", default="../../build/slm", help="the command")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.samples:
        samples(args)
        return
    builtin = Builtin(args.model)
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
