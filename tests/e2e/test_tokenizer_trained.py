# SPDX-License-Identifier: MIT
"""Tokenizers trained here by the libraries themselves: Unigram and BPE in every form that models ship them in.

No real Unigram vocabulary is among the test data, and real ones would cover one setting each. So Hugging Face
`tokenizers` and `sentencepiece` train small ones on the test texts, with each normalizer, pre-tokenizer and switch that
models use, and slm must give the ids (and back, the text) that the library gives, on random Unicode strings.

The number of strings is a fifth of that of test_tokenizer_oracle.py: SLM_TOKENIZER_STRINGS, else by SLM_TEST_LEVEL.
"""

import json
import random
import struct
import unicodedata

import pytest

from test_tokenizer_oracle import BATCH, BLANKS, COUNT, DATA, MARKS_AND_LETTERS, TOOL, Tool, compare, random_string

tokenizers = pytest.importorskip("tokenizers", reason="the package tokenizers (the oracle) is not installed")
spm = pytest.importorskip("sentencepiece", reason="the package sentencepiece (the oracle) is not installed")
from tokenizers import (Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,  # noqa: E402
                        processors, trainers)

TEXTS = DATA.parent / "text"
VOCAB = 800
SHARE = COUNT // 5  # strings for each of these tokenizers, which are many; all of them for those that people use
pytestmark = [pytest.mark.slow,  # training takes its time
              pytest.mark.skipif(not TEXTS.is_dir() or not TOOL.exists(), reason="no test texts or test program")]


def sentences(limit=100_000, n_random=1_000):
    lines = []
    for name in ("wiki.test.raw", "tinystories_val.txt"):
        lines += (TEXTS / name).read_text(encoding="utf-8")[:limit].splitlines()
    rng = random.Random("training")  # scripts that the texts lack, so that not all of them is unknown
    return [line for line in lines if line.strip()] + [random_string(rng) for _ in range(n_random)]


# ---- sentencepiece -----------------------------------------------------------------------------------------------

def train_sentencepiece(path, **settings):
    settings = {"vocab_size": VOCAB, "model_type": "unigram", "character_coverage": 0.98, "hard_vocab_limit": False,
                "num_threads": 1, "minloglevel": 2, **settings}
    with path.open("wb") as file:
        spm.SentencePieceTrainer.train(sentence_iterator=iter(sentences()), model_writer=file, **settings)
    return spm.SentencePieceProcessor(model_file=str(path))


def fields(message):
    """(number, bytes or int) of one protobuf message."""
    def varint(at):
        value = shift = 0
        while True:
            byte = message[at]
            value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
            if byte < 128:
                return value, at
    at = 0
    while at < len(message):
        key, at = varint(at)
        if key & 7 == 0:
            value, at = varint(at)
        else:
            n, at = varint(at) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], at)
            value, at = message[at:at + n], at + n
        yield key >> 3, value


def charsmap_of(path):
    specs = [value for number, value in fields(path.read_bytes()) if number == 3]
    return next(value for number, value in fields(specs[0]) if number == 2)


def plain_string(rng):
    """Without what the library cannot tell apart from something else, or replaces because it is no text to it."""
    return random_string(rng).replace("\u2581", "_")


def write_t5(folder):
    """The model as llama.cpp's converter writes it into a GGUF file."""
    data = (folder / "tokenizer.model").read_bytes()
    pieces = [dict(fields(value)) for number, value in fields(data) if number == 1]
    spec = {3: 1, 4: 1, **dict(fields(next(value for number, value in fields(data) if number == 3)))}

    def text(value):
        return struct.pack("<Q", len(value)) + value

    def array(key, kind, items):
        return text(b"tokenizer.ggml." + key) + struct.pack("<IIQ", 9, kind, len(items)) + b"".join(items)

    def value(key, kind, data):
        return text(b"tokenizer.ggml." + key) + struct.pack("<I", kind) + data

    keys = [value(b"model", 8, text(b"t5")), array(b"tokens", 8, [text(piece[1]) for piece in pieces]),
            array(b"scores", 6, [piece.get(2, b"\0\0\0\0") for piece in pieces]),
            array(b"token_type", 5, [struct.pack("<i", piece.get(3, 1)) for piece in pieces]),
            value(b"unknown_token_id", 4, struct.pack("<I", 0)), value(b"add_eos_token", 7, b"\0"),
            value(b"add_space_prefix", 7, bytes([spec[3]])), value(b"remove_extra_whitespaces", 7, bytes([spec[4]])),
            array(b"precompiled_charsmap", 0, [spec.get(2, b"")[i:i + 1] for i in range(len(spec.get(2, b"")))])]
    (folder / "t5.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys)) + b"".join(keys))
    return folder / "t5.gguf"


SENTENCEPIECE = {
    "unigram": {},
    "unigram identity": {"normalization_rule_name": "identity", "remove_extra_whitespaces": False},
    "unigram bytes": {"byte_fallback": True},
    "unigram nfkc": {"normalization_rule_name": "nfkc", "remove_extra_whitespaces": False, "byte_fallback": True},
    "unigram nfkc_cf": {"normalization_rule_name": "nmt_nfkc_cf", "add_dummy_prefix": False},
    "unigram symbols": {"user_defined_symbols": ["<user>", "don't", "HelloWorld"], "control_symbols": ["<mask>"]},
    "unigram whole": {"split_by_whitespace": False, "byte_fallback": True},
    "bpe": {"model_type": "bpe"},
    "bpe identity": {"model_type": "bpe", "normalization_rule_name": "identity", "remove_extra_whitespaces": False,
                     "byte_fallback": True},
    "bpe symbols": {"model_type": "bpe", "user_defined_symbols": ["<user>", "don't"], "byte_fallback": True},
}


@pytest.mark.parametrize("name", SENTENCEPIECE)
def test_sentencepiece_model(name, tmp_path):
    """tokenizer.model alone, against the library that made it: ids, and the text back."""
    oracle = train_sentencepiece(tmp_path / "tokenizer.model", **SENTENCEPIECE[name])
    tool, rng = Tool(tmp_path), random.Random(name)
    gguf = Tool(write_t5(tmp_path)) if "unigram" in name else None
    for done in range(0, SHARE, BATCH):
        texts = [plain_string(rng) for _ in range(min(BATCH, SHARE - done))]
        if "symbols" in name:
            texts = [text.replace("3.14159", "<user>").replace("½", "don't<user>") for text in texts]
        for text, ours, theirs in zip(texts, tool.encode_batch(texts), oracle.encode(texts), strict=True):
            assert ours == theirs, f"{text!r}: ours {ours}, theirs {theirs}"
        if gguf:
            assert gguf.encode_batch(texts[:1_000]) == tool.encode_batch(texts[:1_000])


# ---- Hugging Face tokenizers -------------------------------------------------------------------------------------

MARK = "\u2581"
SPECIALS = ["<unk>", "<s>", "</s>", "<pad>"]
SPACES = normalizers.Replace(Regex(" {2,}"), MARK)
GEMMA = (normalizers.Replace(" ", MARK), None)


def metaspace(scheme="always", split=True):
    return pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme=scheme, split=split)


def charsmap(tmp, rule="nmt_nfkc"):
    """The compiled table of a rule of sentencepiece, out of a model that has it."""
    path = tmp / "charsmap.model"
    train_sentencepiece(path, normalization_rule_name=rule, vocab_size=300)
    return normalizers.Precompiled(charsmap_of(path))


def t5(tmp):
    return normalizers.Sequence([charsmap(tmp), normalizers.Strip(left=False, right=True), SPACES]), metaspace()


def xlm_roberta(tmp):
    return charsmap(tmp), pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace()])


def albert(tmp):
    steps = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(),
             normalizers.StripAccents(), normalizers.Lowercase(), charsmap(tmp, "nfkc"),
             normalizers.Replace(Regex(" {2,}"), " ")]
    return normalizers.Sequence(steps), metaspace()


def fixed(normalizer, pre_tokenizer):
    return lambda tmp: (normalizer, pre_tokenizer)


# name -> (model, byte_fallback, what makes the normalizer and the pre-tokenizer)
TRAINED = {
    "unigram t5": ("Unigram", False, t5),
    "unigram xlm-roberta": ("Unigram", False, xlm_roberta),
    "unigram albert": ("Unigram", False, albert),
    "unigram bytes": ("Unigram", True, fixed(None, metaspace("first", split=False))),
    "unigram bytes nfkc": ("Unigram", True, fixed(normalizers.NFKC(), metaspace())),
    "unigram strip": ("Unigram", True, fixed(normalizers.Sequence([normalizers.NFD(), normalizers.Strip()]),
                                             metaspace("never", split=False))),
    "unigram gemma": ("Unigram", True, fixed(*GEMMA)),
    "bpe llama": ("BPE", True, fixed(normalizers.Sequence([normalizers.Prepend(MARK), GEMMA[0]]), None)),
    "bpe mistral": ("BPE", True, fixed(None, metaspace("first", split=False))),
    "bpe gemma": ("BPE", True, fixed(*GEMMA)),
    "bpe split": ("BPE", False, fixed(None, metaspace())),
    "bpe lowercase": ("BPE", True, fixed(normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]),
                                         metaspace())),
    "bpe words": ("BPE", True, fixed(normalizers.StripAccents(),
                                     pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace()]))),
}


def train(name, tmp):
    """The library's tokenizer, which is also written to tmp/tokenizer.json."""
    kind, byte_fallback, make = TRAINED[name]
    normalizer, pre_tokenizer = make(tmp)
    settings = {"vocab_size": VOCAB, "special_tokens": SPECIALS, "show_progress": False}
    if kind == "Unigram":
        tokenizer = Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(unk_token="<unk>", max_piece_length=16, **settings)
    else:
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
        trainer = trainers.BpeTrainer(limit_alphabet=300, **settings)
    # Without words to cut, training would learn whole lines.
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer or pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme="never")
    n_random = 30 if kind == "Unigram" else 1_000  # its trainer must take every character it sees
    limit = 20_000 if kind == "Unigram" and "split=False" in repr(pre_tokenizer) else 100_000  # whole lines: quadratic
    tokenizer.train_from_iterator(sentences(limit, n_random), trainer)
    data = json.loads(tokenizer.to_str())
    data["pre_tokenizer"] = json.loads(pre_tokenizer.__getstate__()) if pre_tokenizer else None
    parts = [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
    strip = [decoders.Strip(" ", 1, 0)] if pre_tokenizer and "never" not in str(pre_tokenizer) or "llama" in name else []
    data["decoder"] = json.loads(decoders.Sequence(parts + strip).__getstate__())
    if byte_fallback:
        model = data["model"]
        model["byte_fallback"] = True
        names = [f"<0x{byte:02X}>" for byte in range(256)]
        if kind == "Unigram":
            model["vocab"] += [[name, 0.0] for name in names]
        else:
            model["fuse_unk"] = True
            model["vocab"].update({name: len(model["vocab"]) + i for i, name in enumerate(names)})
    around = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    data["post_processor"] = json.loads(around.__getstate__())
    (tmp / "tokenizer.json").write_text(json.dumps(data), encoding="utf-8")
    return Tokenizer.from_file(str(tmp / "tokenizer.json"))


@pytest.fixture(scope="module", params=TRAINED)
def trained(request, tmp_path_factory):
    tmp = tmp_path_factory.mktemp("trained")
    return request.param, train(request.param, tmp), Tool(tmp)


def compare_back(oracle, tool, texts):
    """What a stream shows of the ids is what the library decodes."""
    backs = tool.back_batch(texts)
    decoded = oracle.decode_batch([e.ids for e in oracle.encode_batch(texts, add_special_tokens=False)])
    for text, ours, theirs in zip(texts, backs, decoded, strict=True):
        assert ours == theirs, f"{text!r}: ours {ours!r}, theirs {theirs!r}"


FORMS = {"NFC": normalizers.NFC(), "NFD": normalizers.NFD(), "NFKC": normalizers.NFKC(), "NFKD": normalizers.NFKD()}


def settled(text):
    """Do the oracle's Unicode tables, which are old, know all marks of this text?"""
    letters = "".join(c for c in text if not unicodedata.category(c).startswith("M"))
    return (all(form.normalize_str(text) == unicodedata.normalize(name, text) for name, form in FORMS.items()) and
            normalizers.StripAccents().normalize_str(text) == letters)


def test_special_tokens(trained):
    """Special tokens in the text where they are looked for, and those put around it."""
    name, oracle, tool = trained
    rng = random.Random(name)
    texts = ["".join(rng.choice(SPECIALS[1:]) if rng.random() < 0.2 else random_string(rng)
                     for _ in range(rng.randrange(1, 4))) for _ in range(500)]
    texts = [text for text in texts if settled(text) and "</s" not in text.replace("</s>", "")]
    answers = tool.encode_batch(texts, "--parse-special", "--add-special")
    for text, ours, theirs in zip(texts, answers, oracle.encode_batch(texts), strict=True):
        assert ours == theirs.ids, f"{text!r}: ours {ours}, theirs {theirs.ids}"


def test_long_runs(trained):
    """Linear time, whatever the text."""
    _, oracle, tool = trained
    for unit in ("a", " ", "e\u0301\u0323", "the ", "\u4e2d"):
        compare(oracle, tool, [unit * n for n in (1, 100, 5_000)])
    tool.encode_batch(["e" + "\u0301\u0323" * 500_000, "a" * 1_000_000, " " * 1_000_000])


def test_trained(trained):
    name, oracle, tool = trained
    rng = random.Random(name)
    for done in range(0, SHARE, BATCH):
        texts = []
        for _ in range(min(BATCH, SHARE - done)):
            text = random_string(rng) if rng.random() < 0.9 else "".join(
                rng.choices(MARKS_AND_LETTERS + BLANKS, k=rng.randrange(1, 12)))
            texts.append(text.replace("</s>", "</a>"))  # their text can forge it, ours cannot
        texts = [text for text in texts if settled(text)]
        compare(oracle, tool, texts)
        compare_back(oracle, tool, texts[:2_000])
