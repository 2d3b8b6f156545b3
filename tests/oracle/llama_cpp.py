#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `slm convert` writes, opened by llama.cpp: both must say the same.

Usage: llama_cpp.py SLM_BINARY [--models N] [--seed S] [--family F] [--library FOLDER]

Models: the random ones of oracle.py, converted to f32 files. llama.cpp computes them with an f32 cache; its logits
must be slm's within 1e-3 of the greatest (families with gelu: 1e-2, because llama.cpp looks it up in a table of 16-bit
floats), and so must the 64 tokens it continues with greedily. What GGUF files cannot say to llama.cpp is not drawn:
sliding windows of Mistral and Phi-3, a head of Gemma 2 or BitNet that is not the embedding, SmolLM3's layers without
rotation other than every fourth, heads of Qwen2 that together are not as wide as the model. Of EmbeddingGemma, with and
without layers behind the pooling, the vectors are compared.
BitNet: llama.cpp multiplies matrices of floats with activations as they are, so for the f32 file the reference is what
transformers computes with the ternary weights and no more. Activations of TQ1_0 and TQ2_0 it rounds in blocks of 256,
which are whole tokens where the model is 256 wide: such files (bitnet_packed) must say what the original says, up to
the first activation on which f32 is not sure (ternary.py). This version of llama.cpp takes SiLU for the architecture
whatever the file says. So what it says of models with squared ReLU is compared with the original changed to SiLU: that,
and nothing else, is what it does otherwise.
Tokenizers: trained here on this repository's text, one for each pattern, put beside a tiny model and converted. The ids
that `tokenizers` gives, those of slm from the folder, from the file, and those of llama.cpp from the file are compared.

llama.cpp is the prebuilt library of llama_lib.py. Without npm, or on a machine it
is not built for, all of it is one skipped test. Output is TAP and a table, as oracle.py's.
"""
import argparse
import copy
import ctypes
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["GGML_NO_BACKTRACE"] = "1"  # an abort would start a debugger

import oracle  # noqa: E402
from llama_lib import VERSION, Library, Unavailable, fetch  # noqa: E402, F401
import safetensors.torch  # noqa: E402
import ternary  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = (*oracle.FAMILIES, "bitnet_packed", "gemma-embedding")
TOLERANCE = {"gemma2": 1e-2, "gemma3": 1e-2, "gemma3_vision": 1e-2, "gemma-embedding": 1e-2}
CONTEXT = 256  # of both programs: llama.cpp rounds up to this, and LongRoPE depends on it
TEXT = 40  # tokens computed at once


class Model:
    """A file opened by llama.cpp; with n_ctx > 0 also a context of that length, with an f32 cache, for logits or for
    embeddings."""

    def __init__(self, library, path, n_ctx=0, embeddings=False):
        self.c, library.said = library.c, []
        params = self.c.llama_model_default_params()
        params.n_gpu_layers, params.use_extra_bufts, params.vocab_only = 0, False, n_ctx == 0
        self.context, self.past = None, 0
        self.model = self.c.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            raise AssertionError("llama.cpp does not load the file: " + "".join(library.said)[-400:])
        self.vocab = self.c.llama_model_get_vocab(self.model)
        self.n_vocab = self.c.llama_vocab_n_tokens(self.vocab)
        if n_ctx == 0:
            return
        params = self.c.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = n_ctx
        params.n_threads = params.n_threads_batch = 1
        params.flash_attn_type, params.type_k, params.type_v, params.swa_full = 0, 0, 0, True
        params.embeddings = embeddings
        self.context = self.c.llama_init_from_model(self.model, params)
        if not self.context:
            raise AssertionError("llama.cpp makes no context: " + "".join(library.said)[-400:])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.context:
            self.c.llama_free(self.context)
        self.c.llama_model_free(self.model)

    def eval(self, ids):
        """Logits after each of the ids, which continue what was evaluated before."""
        batch = self.c.llama_batch_init(len(ids), 0, 1)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, self.past + i, 1, 1
            batch.seq_id[i][0] = 0
        batch.n_tokens = len(ids)
        if self.c.llama_decode(self.context, batch):
            raise AssertionError("llama.cpp cannot evaluate")
        self.past += len(ids)
        rows = [torch.tensor(self.c.llama_get_logits_ith(self.context, i)[:self.n_vocab]) for i in range(len(ids))]
        self.c.llama_batch_free(batch)
        return torch.stack(rows)

    def embed(self, ids):
        """The vector of a text, as the file says to pool."""
        batch = self.c.llama_batch_init(len(ids), 0, 1)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
            batch.seq_id[i][0] = 0
        batch.n_tokens = len(ids)
        if self.c.llama_decode(self.context, batch):
            raise AssertionError("llama.cpp cannot evaluate")
        self.c.llama_batch_free(batch)
        return torch.tensor(self.c.llama_get_embeddings_seq(self.context, 0)[:self.c.llama_model_n_embd(self.model)])

    def tokenize(self, text):
        data, ids = text.encode(), (ctypes.c_int32 * (len(text.encode()) + 8))()
        n = self.c.llama_tokenize(self.vocab, data, len(data), ids, len(ids), True, False)
        assert n >= 0, "llama_tokenize wants more room"
        return list(ids[:n])


# ---- slm -----------------------------------------------------------------------------------------------------------


def run(*command, stdin=None):
    done = subprocess.run([str(c) for c in command], capture_output=True, input=stdin, timeout=300)
    if done.returncode:
        raise AssertionError(done.stderr.decode().strip())
    return done.stdout


def slm_logits(slm, path, ids):
    """After each of the ids."""
    answer = run(slm, "logits", path, "--ids", " ".join(map(str, ids)), "--json", "--kv", "f32", "--all", "--ctx",
                 CONTEXT)
    return torch.tensor(json.loads(answer)["logits"])


def slm_ids(slm, model, text):
    return [int(i) for i in run(slm, "tokenize", model, "--ids", stdin=text.encode()).split()]


# ---- models --------------------------------------------------------------------------------------------------------


def draw(family, seed):
    """A model of oracle.py, within what llama.cpp computes."""
    rng = random.Random(f"llama.cpp {family} {seed}")
    torch.manual_seed(seed)
    config = oracle.FAMILIES[family.removesuffix("_packed")](rng, TEXT)
    while family == "qwen2" and getattr(config, "head_dim", None):
        config = oracle.FAMILIES[family](rng, TEXT)
    if family in ("mistral", "phi3", "mistral3_vision"):
        config.get_text_config().sliding_window = None
    if family == "smollm3":
        config.no_rope_layers = [int(layer % 4 != 3) for layer in range(config.num_hidden_layers)]
    if family == "phi3" and seed % 2:  # longer than the context: the short factors
        config.original_max_position_embeddings = 300
        if config.rope_parameters["rope_type"] == "longrope":
            config.rope_parameters["original_max_position_embeddings"] = 300
    if family == "gemma2":
        config.tie_word_embeddings = True
    if family == "bitnet_packed":
        config.hidden_size = config.intermediate_size = 256
        config.num_attention_heads, config.num_key_value_heads = rng.choice([(2, 1), (4, 4), (4, 2), (8, 2)])
    config.tie_word_embeddings |= family.startswith("bitnet")
    config._attn_implementation = "eager"
    auto = transformers.AutoModelForImageTextToText if hasattr(config, "vision_config") else \
        transformers.AutoModelForCausalLM
    model = auto.from_config(config, dtype=torch.float32).eval()
    oracle.randomise(model, seed)
    return model, [rng.randrange(oracle.VOCAB) for _ in range(TEXT)]


def difference(mine, theirs, allowed, what):
    """Of two tables of logits, relative to the greatest."""
    scale = mine.abs().max().item()
    worst = (theirs - mine).abs().max().item()
    if not worst <= allowed * scale:
        raise AssertionError(f"logits differ by {worst:.3g} of {scale:.3g}, {what}")
    return worst / scale


def check_model(slm, library, family, seed):
    if family == "bitnet":
        return check_bitnet(slm, library, seed)
    if family == "bitnet_packed":
        return check_bitnet_packed(slm, library, seed)
    if family == "gemma-embedding":
        return check_embedding(slm, library, seed)
    model, ids = draw(family, seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "converted.gguf"
        model.save_pretrained(folder)
        run(slm, "convert", folder, path, "--type", "f32", "-q")
        with Model(library, path, n_ctx=CONTEXT) as peer:
            theirs = peer.eval(ids)
        worst = difference(slm_logits(slm, path, ids), theirs, TOLERANCE.get(family, 1e-3),
                           model.config.to_json_string(use_diff=True))
        with Model(library, path, n_ctx=CONTEXT) as peer:
            text, rows = continue_greedily(peer, ids)
        check_greedy(text, rows, slm_logits(slm, path, text[:-1])[len(ids) - 1:], len(ids), 2 * worst)
        return worst


def continue_greedily(peer, ids):
    """The text and llama.cpp's logits from the last of ids on."""
    text, rows = list(ids), [peer.eval(ids)[-1]]
    for _ in range(oracle.GREEDY):
        text.append(rows[-1].argmax().item())
        rows.append(peer.eval(text[-1:])[0])
    return text, rows


def check_greedy(text, rows, mine, n_prompt, allowed):
    """mine: logits from the last token of the prompt on; perhaps of fewer tokens than there are."""
    for i, token in enumerate(text[n_prompt:][:len(mine)]):
        best = mine[i].argmax().item()
        # A tie to rounding is no difference.
        if best != token and rows[i][token] - rows[i][best] > allowed * rows[i].abs().max():
            raise AssertionError(f"greedy token {i} is {best}, llama.cpp says {token}")


def with_silu(model):
    """The same model with the activation llama.cpp takes."""
    changed = copy.deepcopy(model)
    for module in changed.modules():
        if hasattr(module, "act_fn"):
            module.act_fn = torch.nn.SiLU()
    return changed


def check_bitnet(slm, library, seed):
    """Every form of folder as an f32 file."""
    model, ids = draw("bitnet", seed)
    linear_class, mode = ternary.FORMS[seed % len(ternary.FORMS)]
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "converted.gguf"
        model.save_pretrained(folder)
        ternary.pack(folder, linear_class, mode)
        run(slm, "convert", folder, path, "--type", "f32", "-q")
        for name, weight in model.named_parameters():
            if name.endswith("_proj.weight"):
                mean = weight.abs().mean().clamp(min=1e-5)
                weight.copy_((weight / mean).round().clamp(-1, 1) * mean)
        with Model(library, path, n_ctx=CONTEXT) as peer:
            text, rows = continue_greedily(peer, ids)
        expected = with_silu(model).double()(torch.tensor([text[:-1]])).logits[0, len(ids) - 1:]
        worst = difference(expected, torch.stack(rows[:-1]), 1e-3, f"{linear_class} {mode} {model.config}")
        check_greedy(text, rows, expected, len(ids), 2 * worst)
        return worst


def check_bitnet_packed(slm, library, seed):
    """Files of ternary types: llama.cpp and slm say what the original says."""
    saved, ids = draw("bitnet_packed", seed)
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path, weights = Path(folder) / "converted.gguf", Path(folder) / "model.safetensors"
        saved.save_pretrained(folder)
        ternary.pack(folder, "autobitlinear", "offline")
        tensors = safetensors.torch.load_file(weights)
        for name in [n for n in tensors if n.endswith("_scale")]:  # as released: they fit the scales of the types
            tensors[name] = tensors[name].bfloat16()
        safetensors.torch.save_file(tensors, weights, metadata={"format": "pt"})
        run(slm, "convert", folder, path, "--type", rng.choice(["tq1_0", "tq2_0"]), "-q")
        model = ternary.load(folder)
        ties = ternary.Ties(model)
        mine = ties.free_prompt(ids, lambda: rng.randrange(oracle.VOCAB))
        worst = difference(ties.logits(mine)[:ties.first], slm_logits(slm, path, mine)[:ties.first], 1e-3,
                           f"slm, {saved.config}")
        ties = ternary.Ties(with_silu(model))
        ids = ties.free_prompt(ids, lambda: rng.randrange(oracle.VOCAB))
        with Model(library, path, n_ctx=CONTEXT) as peer:
            text, rows = continue_greedily(peer, ids)
        expected = ties.logits(text[:-1])[:ties.first][len(ids) - 1:]
        if not len(expected):
            return worst
        what = f"{len(expected)} tokens before a tie, {saved.config}"
        theirs = difference(expected, torch.stack(rows[:len(expected)]), 1e-3, what)
        check_greedy(text, rows, expected, len(ids), 2 * theirs)
        return max(worst, theirs)


def write_steps(folder, width, rng):
    """What sentence-transformers would save behind a model; two layers, or none."""
    steps = [("", "Transformer"), ("1_Pooling", "Pooling")]
    (folder / "1_Pooling").mkdir()
    mode = rng.choice(["mean", "lasttoken", "cls"])
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": mode}))
    between = rng.choice([0, 0, 5, 64, 100])
    for name, n_in, n_out in [("2_Dense", width, between), ("3_Dense", between, width)] if between else []:
        steps.append((name, "Dense"))
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(dict(
            in_features=n_in, out_features=n_out, bias=False, activation_function="torch.nn.modules.linear.Identity")))
        safetensors.torch.save_file({"linear.weight": torch.randn(n_out, n_in)}, folder / name / "model.safetensors")
    (folder / "modules.json").write_text(json.dumps([
        dict(idx=i, name=str(i), path=path, type=f"sentence_transformers.models.{kind}")
        for i, (path, kind) in enumerate(steps)]))


def check_embedding(slm, library, seed):
    """Pooling, direction and layers behind the pooling, from the file alone."""
    rng = random.Random(f"llama.cpp embedding {seed}")
    torch.manual_seed(seed)
    config = oracle.gemma_embedding(rng, TEXT)
    while len(set(config.layer_types)) < 2:  # with one kind of layer llama.cpp aborts
        config = oracle.gemma_embedding(rng, TEXT)
    model = transformers.AutoModel.from_config(config, dtype=torch.float32)
    oracle.randomise(model, seed)
    ids = [rng.randrange(oracle.VOCAB) for _ in range(TEXT)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "converted.gguf"
        model.save_pretrained(folder)
        write_steps(Path(folder), config.hidden_size, rng)
        run(slm, "convert", folder, path, "--type", "f32", "-q")
        answers = [torch.tensor(json.loads(run(slm, "embed", which, "--ids", " ".join(map(str, ids)), "--no-normalize",
                                               "--json"))["embeddings"][0]) for which in (folder, path)]
        difference(answers[0], answers[1], 1e-5, "slm, folder and file")
        with Model(library, path, n_ctx=CONTEXT, embeddings=True) as peer:
            return difference(answers[1], peer.embed(ids), TOLERANCE["gemma-embedding"], str(config))


# ---- tokenizers ----------------------------------------------------------------------------------------------------

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = {
    "gpt-2": None,
    "llama-bpe": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL,
    "qwen2": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL,
}


def training_text():
    return [p.read_text() for p in sorted(ROOT.glob("docs/*.md")) + sorted(ROOT.glob("src/*/*.h"))]


def byte_level(pattern, whole_words):
    """A byte-level BPE tokenizer with this pattern; whole_words is what Llama 3 adds."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers
    made = tokenizers.Tokenizer(models.BPE(ignore_merges=whole_words))
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    cut = [] if pattern is None else [pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")]
    made.pre_tokenizer = pre_tokenizers.Sequence(cut + [level]) if cut else level
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(training_text(), trainers.BpeTrainer(
        vocab_size=1500, special_tokens=["<|begin|>", "<|end|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return made


def sentencepiece_like():
    """Merges over U+2581 with byte fallback, as Llama 2's tokenizer.json: every split of a token is a rule."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, trainers
    made = tokenizers.Tokenizer(models.BPE())
    made.train_from_iterator([("\u2581" + line).replace(" ", "\u2581") for text in training_text()
                              for line in text.split("\n")],
                             trainers.BpeTrainer(vocab_size=900, show_progress=False, max_token_length=12))
    learned = json.loads(made.to_str())["model"]
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    order = sorted(learned["vocab"], key=learned["vocab"].get)
    tokens += [t for t in order if "\u2581" not in t[1:]]  # as SentencePiece: spaces in front only
    vocab = {t: i for i, t in enumerate(tokens)}
    merges = [(t[:i], t[i:]) for t in tokens[259:] for i in range(len(t) - 1, 0, -1)
              if t[:i] in vocab and t[i:] in vocab]
    made = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True,
                                           byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    made.decoder = decoders.ByteFallback()
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    return made


def texts(rng):
    alphabet = "aeiot nrsl  hdcum.,'\n\t0123456789-_(){}é漢🙂ß\u00a0"
    for text in training_text()[:3]:
        yield text[:2000]
    for _ in range(200):
        yield "".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 60)))


def check_tokenizer(slm, library, what, seed):
    name = what.split()[1]
    made = sentencepiece_like() if name == "sentencepiece" else byte_level(PATTERNS[name], name == "llama-bpe")
    c = transformers.LlamaConfig(vocab_size=made.get_vocab_size(), hidden_size=16, intermediate_size=16,
                                 num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=64)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "converted.gguf"
        transformers.AutoModelForCausalLM.from_config(c).save_pretrained(folder)
        made.save(str(Path(folder) / "tokenizer.json"))
        run(slm, "convert", folder, path, "-q")
        with Model(library, path) as peer:
            for text in texts(random.Random(seed)):
                expected = made.encode(text, add_special_tokens=False).ids
                answers = {"slm, folder": slm_ids(slm, folder, text), "slm, file": slm_ids(slm, path, text),
                           "llama.cpp": peer.tokenize(text)}
                for who, ids in answers.items():
                    if ids != expected:
                        raise AssertionError(f"{who}: {text!r} is {ids}, expected {expected}")


# ---- all -----------------------------------------------------------------------------------------------------------


def jobs_of(args):
    """(name, check, what it is about, seed)"""
    families = [args.family] if args.family else FAMILIES
    for family in families:
        for i in range(-(-args.models // len(families))):
            yield f"llama.cpp reads {family} seed {args.seed} model {i}", check_model, family, args.seed * 100000 + i
    if not args.family:
        for name in [*PATTERNS, "sentencepiece"]:
            yield f"llama.cpp reads tokenizer {name} seed {args.seed}", check_tokenizer, f"tokenizer {name}", args.seed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slm")
    parser.add_argument("--models", type=int, default=40, help="in all families together, at least")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--family", choices=FAMILIES)
    parser.add_argument("--library", type=Path, default=ROOT / "build" / "llama-cpp", help="where llama.cpp is put")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    try:
        library = Library(fetch(args.library))
    except Unavailable as reason:
        print(f"1..1\n{reason}\nok 1 # SKIP llama.cpp reads converted models")
        return 0
    jobs, tap, worst = list(jobs_of(args)), oracle.Tap(), {}
    print(f"1..{len(jobs)}", flush=True)
    for name, check, what, seed in jobs:
        problem = None
        try:
            worst[what] = max(worst.get(what, 0.0), check(args.slm, library, what, seed) or 0.0)
        except (AssertionError, subprocess.TimeoutExpired) as found:
            problem = str(found)
        tap.say(name, problem)
    print(f"report: converted models in llama.cpp (node-llama-cpp {VERSION}), seed {args.seed}")
    for what in worst:
        n = sum(job[2] == what for job in jobs)
        print(f"report:   {what:15} {n:4} models   worst {worst[what]:.1e}" if what in FAMILIES else
              f"report:   {what}")
    return tap.failed != 0


if __name__ == "__main__":
    sys.exit(main())
