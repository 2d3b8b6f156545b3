# SPDX-License-Identifier: MIT
"""The same ids as Hugging Face `tokenizers`, for every pre-tokenizer, on random Unicode strings.

A wrong pattern or merge order gives plausible wrong tokens and no error, so nothing but an oracle finds it. Each case
pairs a GGUF vocabulary (from the test data, or written here from a tiktoken file) with a tokenizer that `tokenizers`
builds from the model's own vocabulary and its tokenizer.json pattern. The test program tests/tools/tokenize.c encodes
thousands of strings in one run; its answers are compared string by string.

The number of strings is SLM_TOKENIZER_STRINGS, else by SLM_TEST_LEVEL: check 2,000, test 100,000, soak 1,000,000.
Random strings leave out characters that are not in Unicode 14 (the version PCRE2 10.42 knows) and U+2581, which the
SentencePiece case cannot tell from a space.
"""

import base64
import json
import os
import random
import struct
import subprocess
import unicodedata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SLM_SHARED", ROOT.parent / "shared"))
DATA = SHARED / "data" / "tokenizers"
TOOL = Path(os.environ.get("SLM_BUILD", ROOT / "build")) / "tests" / "slm_test_tokenize"
COUNT = int(os.environ.get("SLM_TOKENIZER_STRINGS") or
            {"check": 2_000, "soak": 1_000_000}.get(os.environ.get("SLM_TEST_LEVEL", ""), 100_000))
BATCH = 50_000  # strings a process: opening a large vocabulary takes a while

tokenizers = pytest.importorskip("tokenizers", reason="the package tokenizers (the oracle) is not installed")
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers  # noqa: E402

# ---- the patterns, as the models' tokenizer.json files have them -------------------------------------------------

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
QWEN35 = (CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def cased(tail, digits):
    start = r"[^\r\n\p{L}\p{N}]?"
    return (f"{start}{UPPER}*{LOWER}+{tail}|{start}{UPPER}+{LOWER}*{tail}|{digits}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


GPT4O = cased(CONTRACTIONS + "?", r"\p{N}{1,3}")
TEKKEN = cased("", r"\p{N}")
MARKS = r"[\p{P}\$\+<=>\^~\|]+"  # the first of the four rules of files without tokenizer.ggml.pre


def split(*patterns):
    """Cut by each pattern in turn, then spell bytes in the byte-level alphabet."""
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(p), "isolated") for p in patterns] +
                                   [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


# ---- vocabularies -------------------------------------------------------------------------------------------------

def byte_alphabet():
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(others)}}


ALPHABET = byte_alphabet()


def spell(token):
    return "".join(ALPHABET[b] for b in token)


def from_tiktoken(path):
    """(vocabulary, merges) as converters derive them: every way to cut a token in two tokens, in rank order."""
    ranks = {}
    for line in path.read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    merges = []
    for token in ranks:
        cuts = [(token[:i], token[i:]) for i in range(1, len(token))]
        cuts = [(ranks[a], ranks[b], a, b) for a, b in cuts if a in ranks and b in ranks]
        merges += [(spell(a), spell(b)) for _, _, a, b in sorted(cuts)]
    return {spell(token): rank for token, rank in ranks.items()}, merges


def from_gpt2():
    vocab = json.loads((DATA / "gpt2/vocab.json").read_text(encoding="utf-8"))
    lines = (DATA / "gpt2/merges.txt").read_text(encoding="utf-8").splitlines()
    return vocab, [tuple(line.split()) for line in lines if line and not line.startswith("#version")]


def from_llama3():
    vocab = json.loads((DATA / "llama3/encoder.json").read_text(encoding="utf-8"))
    lines = (DATA / "llama3/vocab.bpe").read_text(encoding="utf-8").splitlines()
    return vocab, [tuple(line.split()) for line in lines if line and not line.startswith("#version")]


def byte_level(vocab, merges, pre, ignore_merges=False):
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def write_gguf(path, pre, vocab, merges):
    """The smallest GGUF that says all this; ids without a token become unused ones."""
    def text(value):
        data = value.encode()
        return struct.pack("<Q", len(data)) + data

    def string(key, value):
        return text(key) + struct.pack("<I", 8) + text(value)

    def array(key, kind, items):
        return text(key) + struct.pack("<IIQ", 9, kind, len(items)) + b"".join(items)

    tokens = [f"[hole {i}]" for i in range(max(vocab.values()) + 1)]
    types = [5] * len(tokens)
    for token, i in vocab.items():
        tokens[i], types[i] = token, 1
    keys = [string("general.architecture", "test"), string("tokenizer.ggml.model", "gpt2"),
            string("tokenizer.ggml.pre", pre), array("tokenizer.ggml.tokens", 8, [text(t) for t in tokens]),
            array("tokenizer.ggml.token_type", 5, [struct.pack("<i", t) for t in types]),
            array("tokenizer.ggml.merges", 8, [text(f"{a} {b}") for a, b in merges])]
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys)) + b"".join(keys))
    return path


# ---- cases: name -> (the oracle, the GGUF file) ------------------------------------------------------------------

def ready_made(name):
    return DATA / "ggml-vocab" / f"ggml-vocab-{name}.gguf"


def case_gpt2(tmp):
    return byte_level(*from_gpt2(), split(GPT2)), ready_made("gpt-2")


def case_llama_bpe(tmp):
    return byte_level(*from_llama3(), split(LLAMA3), ignore_merges=True), ready_made("llama-bpe")


def case_qwen2(tmp):
    return byte_level(*from_tiktoken(DATA / "qwen/qwen.tiktoken"), split(QWEN2)), ready_made("qwen2")


def case_gpt4o(tmp):
    parts = from_tiktoken(DATA / "phi-4-mini/o200k_base.tiktoken")
    return byte_level(*parts, split(GPT4O)), write_gguf(tmp / "gpt-4o.gguf", "gpt-4o", *parts)


def on_gpt2(pre, pre_tokenizer, ignore_merges=False):
    def case(tmp):
        parts = from_gpt2()
        return byte_level(*parts, pre_tokenizer, ignore_merges), write_gguf(tmp / f"{pre}.gguf", pre, *parts)
    return case


def case_phi3(tmp):
    return Tokenizer.from_file(str(DATA / "phi-3-mini/tokenizer.json")), ready_made("phi-3")


CASES = {
    "gpt-2": case_gpt2,
    "llama-bpe": case_llama_bpe,
    "qwen2": case_qwen2,
    "gpt-4o": case_gpt4o,
    "phi-3": case_phi3,
    "dbrx": on_gpt2("dbrx", split(LLAMA3)),
    "qwen35": on_gpt2("qwen35", split(QWEN35)),
    "tekken": on_gpt2("tekken", split(TEKKEN), ignore_merges=True),
    "smollm": on_gpt2("smollm", pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                         pre_tokenizers.ByteLevel(add_prefix_space=False)])),
    "default": on_gpt2("default", split(MARKS, GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
}

# ---- strings -----------------------------------------------------------------------------------------------------

WORDS = """the of and to in I'm you're WE'VE they'll it's She'D 'twas don'T O'Reilly naïve Straße ſ'ſ 'ſ K'K
    HelloWorld camelCase snake_case HTTPServer x86_64 3.14159 1,000,000 12:34:56 2024-01-31 0xDEADBEEF
    https://example.org/a?b=c&d=e#f foo@bar.com C:\\Windows\\ /usr/bin/env //comment /* x */ <div> </s> <|im_end|>
    Привет мир Ёлка ὈΔΥΣΣΕΎΣ Ǆ ǅ ǆ العربية ١٢٣ हिन्दी क्षत्रिय १२३ தமிழ் ภาษาไทย ๑๒๓ 中文字符 日本語テキスト カタカナ ｶﾅ 한국어
    조선글 Tiếng Việt ½ ² Ⅷ ㊿ ༳ 𝟘𝟙 𝒜𝒷 𐐀𐐨 🤗 👩‍👩‍👧‍👦 👍🏽 🇩🇪🇫🇷 ✨️ €5 £ ¥ © ™ … — “quotes” ‘s ’s ’LL ﬁ ﷺ""".split()
BLANKS = [" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n", "\n ", "\t\t", "\u00a0", "\u2003", "\u3000", "\u0085",
          "\u2028", "\u200b", "\u180e", "\ufeff", "\x0b", "\x0c", "\x1c", "\x00", "                "]
RANGES = [(0x20, 0x7F), (0x80, 0x250), (0x300, 0x370), (0x370, 0x600), (0x600, 0x900), (0x900, 0xE80), (0x1000, 0x1400),
          (0x1680, 0x1900), (0x1D00, 0x2000), (0x2000, 0x2100), (0x2100, 0x2800), (0x2C00, 0x3100), (0x3100, 0xA000),
          (0xA000, 0xD7A4), (0xF900, 0x10000), (0x10000, 0x10800), (0x1D400, 0x1D800), (0x1F000, 0x1FB00),
          (0x20000, 0x20100), (0xE0000, 0xE0200), (0, 0x110000)]


def random_character(rng):
    while True:
        cp = rng.randrange(*rng.choice(RANGES))
        if 0xD800 <= cp < 0xE000:
            continue
        c = chr(cp)
        if unicodedata.category(c) != "Cn" and c != "\u2581":
            return c


def random_string(rng):
    parts = []
    for _ in range(rng.randrange(1, 12)):
        kind = rng.randrange(10)
        if kind < 3:
            parts.append(rng.choice(WORDS))
        elif kind < 5:
            parts.append(rng.choice(BLANKS))
        elif kind == 5:
            parts.append("".join(rng.choice("0123456789") for _ in range(rng.randrange(1, 9))))
        elif kind == 6:
            parts.append("".join(rng.choice("'sStTrReEvVmMlLdD ") for _ in range(rng.randrange(1, 8))))
        elif kind == 7:
            parts.append("".join(rng.choice("!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'") for _ in range(rng.randrange(1, 6))))
        elif kind == 8:
            parts.append(random_character(rng) * rng.choice((1, 2, 3, 17)))
        else:
            parts.append("".join(random_character(rng) for _ in range(rng.randrange(1, 8))))
        if rng.random() < 0.5:
            parts.append(" ")
    return "".join(parts)


# ---- the program under test --------------------------------------------------------------------------------------

class Tool:
    """tests/tools/tokenize.c: length-prefixed texts in, length-prefixed ids out."""

    def __init__(self, gguf, *flags):
        self.command = [TOOL, gguf, *flags]

    def ask(self, texts, *flags):
        datas = [text.encode() for text in texts]
        sent = b"".join(struct.pack("<I", len(data)) + data for data in datas)
        return subprocess.run([*self.command, *flags], input=struct.pack("<I", len(datas)) + sent, check=True,
                              stdout=subprocess.PIPE, timeout=300).stdout

    def encode_batch(self, texts, *flags):
        answer, at, answers = self.ask(texts, *flags), 0, []
        for _ in texts:
            (n,) = struct.unpack_from("<I", answer, at)
            answers.append(list(struct.unpack_from(f"<{n}i", answer, at + 4)))
            at += 4 + 4 * n
        assert at == len(answer)
        return answers

    def back_batch(self, texts):
        """The texts encoded and decoded again, as a stream."""
        answer, at, answers = self.ask(texts, "--back"), 0, []
        for _ in texts:
            (n,) = struct.unpack_from("<I", answer, at)
            answers.append(answer[at + 4:at + 4 + n].decode())
            at += 4 + n
        assert at == len(answer)
        return answers


class Both:
    """A GGUF file and a folder of one tokenizer. They must agree, so comparing one with the oracle is for both."""

    def __init__(self, gguf, folder):
        self.gguf, self.folder = gguf, folder

    def encode_batch(self, texts):
        answers = self.gguf.encode_batch(texts)
        for text, of_gguf, of_folder in zip(texts, answers, self.folder.encode_batch(texts), strict=True):
            assert of_gguf == of_folder, f"{text!r}: GGUF {of_gguf}, folder {of_folder}"
        return answers


def ids_of(oracle, texts):
    return [e.ids for e in oracle.encode_batch(texts, add_special_tokens=False)]


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    if not DATA.is_dir():
        pytest.skip(f"no tokenizer data in {DATA}")
    if not TOOL.exists():
        pytest.skip(f"{TOOL} is not built")
    tmp = tmp_path_factory.mktemp("vocab")
    oracle, gguf = CASES[request.param](tmp)
    if request.param == "default":  # what GGUF files without a pre-tokenizer mean; no folder says such a thing
        return request.param, oracle, Tool(gguf)
    folder = DATA / "phi-3-mini" if request.param == "phi-3" else tmp
    if folder == tmp:
        oracle.save(str(tmp / "tokenizer.json"))
    return request.param, oracle, Both(Tool(gguf), Tool(folder))


def compare(oracle, tool, texts):
    for text, ours, theirs in zip(texts, tool.encode_batch(texts), ids_of(oracle, texts), strict=True):
        assert ours == theirs, f"{text!r}: ours {ours}, theirs {theirs}"


def test_random_strings(case):
    name, oracle, tool = case
    rng = random.Random(name)
    for done in range(0, COUNT, BATCH):
        texts = [random_string(rng) for _ in range(min(BATCH, COUNT - done))]
        if name == "phi-3":  # its tokenizer.json lets any text forge an end of sequence; here text never can
            texts = [text.replace("</s>", "</a>") for text in texts]
        compare(oracle, tool, texts)


def test_every_character(case):
    """Each character of Unicode 14 alone, and between a letter, a digit and a blank."""
    _, oracle, tool = case
    characters = [chr(cp) for cp in range(0x110000)
                  if not 0xD800 <= cp < 0xE000 and cp != 0x2581 and unicodedata.category(chr(cp)) not in ("Cn", "Co")]
    for at in range(0, len(characters), BATCH):
        compare(oracle, tool, [f"{c}|a{c}b 1{c} {c}{c}\n" for c in characters[at:at + BATCH]])


def test_long_runs(case):
    name, oracle, tool = case
    units = ("Z", "a", " ", "1", "\n", "é", "😀", "ab", " a", "\u200d", "Aa", "!")
    compare(oracle, tool, [unit * n for unit in units for n in (23, 1000, 24_000)])


def test_special_tokens_of_phi3():
    """Special tokens swallow the white space after them, as this family was trained."""
    if not DATA.is_dir() or not TOOL.exists():
        pytest.skip("no tokenizer data or test program")
    oracle, gguf = case_phi3(None)
    rng = random.Random(3)
    specials = ["<|user|>", "<|end|>", "<|assistant|>", "<s>", "</s>", "<|endoftext|>", "<unk>"]
    texts = ["".join(rng.choice(specials) if rng.random() < 0.4 else rng.choice(WORDS + BLANKS)
                     for _ in range(rng.randrange(1, 12))) for _ in range(min(COUNT, 20_000))]
    compare(oracle, Tool(gguf, "--parse-special"), texts)


# ---- folders: what no GGUF file of the test data has ------------------------------------------------------------

MODELS = SHARED / "data" / "models"
FOLDERS = ("tinystories-656k", "qwen2-nfc")
# What normal form C composes, reorders, or leaves alone.
MARKS_AND_LETTERS = ["e", "a", " ", "\u0301", "\u0323", "\u0308", "\u0344", "\u1100", "\u1161", "\u11a8", "\uac00",
                     "\u212b", "\u1ec7", "\u0f73", "\u212a", "\uf900", "\u00e9", "\U0001d160",
                     "\u0958", "\u3099", "\u304b"]


@pytest.fixture(scope="module", params=FOLDERS)
def folder(request, tmp_path_factory):
    if not DATA.is_dir() or not TOOL.exists():
        pytest.skip("no tokenizer data or test program")
    if request.param == "tinystories-656k":
        ready = MODELS / "tinystories-656k"
        return request.param, Tokenizer.from_file(str(ready / "tokenizer.json")), Tool(ready)
    tmp = tmp_path_factory.mktemp("folder")
    oracle = byte_level(*from_tiktoken(DATA / "qwen/qwen.tiktoken"), split(QWEN2))
    oracle.normalizer = normalizers.NFC()
    oracle.save(str(tmp / "tokenizer.json"))
    return request.param, oracle, Tool(tmp)


def test_folder_random_strings(folder):
    name, oracle, tool = folder
    rng = random.Random(name)
    for done in range(0, COUNT, BATCH):
        count = min(BATCH, COUNT - done) // 2
        texts = [random_string(rng).replace("</s>", "</a>") for _ in range(count)]  # see test_random_strings
        texts += ["".join(rng.choices(MARKS_AND_LETTERS, k=rng.randrange(1, 12))) for _ in range(count)]
        if name == "qwen2-nfc":  # the oracle's Unicode tables are old: marks that came since, it does not reorder
            texts = [text for text in texts if oracle.normalizer.normalize_str(text) == unicodedata.normalize("NFC", text)]
            assert len(texts) > 1.9 * count
        compare(oracle, tool, texts)


def test_folder_long_runs(folder):
    """No step may cost more than linear time; marks in the wrong order are the worst case of a normal form."""
    _, oracle, tool = folder
    compare(oracle, tool, ["e" + "\u0301\u0323" * n for n in (1, 100, 5_000)])
    tool.encode_batch(["e" + "\u0301\u0323" * 500_000])


@pytest.mark.parametrize("name,file", [("llama-spm", "llama2"), ("llama-bpe", "llama3")])
def test_folder_with_tokenizer_model(name, file, tmp_path):
    """tokenizer.model alone gives the ids of the GGUF vocabulary and of its published vectors."""
    if not DATA.is_dir() or not TOOL.exists():
        pytest.skip("no tokenizer data or test program")
    (tmp_path / "tokenizer.model").write_bytes((DATA / file / "tokenizer.model").read_bytes())
    gguf = ready_made(name)
    texts = gguf.with_name(gguf.name + ".inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    lines = gguf.with_name(gguf.name + ".out").read_text().splitlines()
    tool, count = Tool(tmp_path), min(len(texts), len(lines))
    assert count >= 40
    for text, ours, line in zip(texts, tool.encode_batch(texts[:count]), lines):
        assert ours == [int(i) for i in line.split()], repr(text)
    rng = random.Random(name)
    texts = [random_string(rng) for _ in range(min(COUNT, 20_000))]
    assert tool.encode_batch(texts) == Tool(gguf).encode_batch(texts)
