# SPDX-License-Identifier: MIT
"""Broken Hugging Face folders, one fault at a time: slm answers with one line that names the file, what is wrong, the
value and what is allowed, exit code 1, soon and in little memory. Never a signal.

Each case is a good folder (a golden fixture, with a small tokenizer) in which one file was changed. Names like S03 are
rows of the project's table of faults; docs/testing.md says where each row is tested. Nothing here needs test data from
outside the repository.
"""

import io
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import zipfile

import pytest

from support import ERROR_LINE, ROOT, SLM, slm

GOOD = ROOT / "tests" / "golden" / "families" / "llama"
MAX_SECONDS, MAX_RSS_MB = 20, 400  # loose: they tell bounded from runaway on a busy machine
TOKENIZER = {
    "added_tokens": [{"id": 60, "content": "<s>", "special": True}], "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}, "post_processor": None,
    "model": {"type": "BPE", "vocab": {chr(97 + i): i for i in range(26)} | {"ab": 26}, "merges": ["a b"]}}


@pytest.fixture
def folder(tmp_path):
    target = tmp_path / "model"
    shutil.copytree(GOOD, target, ignore=shutil.ignore_patterns("expected*"))
    (target / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    return target


def limits():
    """An address space that turns runaway memory into an error, and a stack that no recursion on input survives."""
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    resource.setrlimit(resource.RLIMIT_STACK, (512 << 10, 512 << 10))


def run(*args, stdin=os.devnull):
    """(exit code, stderr, seconds of computing, peak memory in MB)."""
    with open(stdin, "rb") as source, subprocess.Popen([str(SLM), *map(str, args)], stdin=source,
                                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                                       preexec_fn=limits) as process:
        message = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, message, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def refuses(folder, *words, command=("logits", "--ids", "1 2")):
    code, message, seconds, rss = run(command[0], folder, *command[1:])
    assert code == 1 and ERROR_LINE.match(message), (code, message)
    assert len(message) < 1000 and all(word in message for word in words), message
    assert seconds < MAX_SECONDS and rss < MAX_RSS_MB, (seconds, rss)
    return message


def test_the_good_folder_works(folder):
    """Else every case would pass for the wrong reason."""
    assert run("logits", folder, "--ids", "1 2")[0] == 0
    assert run("tokenize", folder)[0] == 0


# ---- S01 to S06: safetensors ------------------------------------------------------------------------------------


def safetensors(header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def tensor(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


def header_of(path):
    data = path.read_bytes()
    (n,) = struct.unpack_from("<Q", data)
    return json.loads(data[8:8 + n]), data[8 + n:]


HEADERS = {  # name: (bytes of the file, words of the answer)
    **{f"S01-{n}-bytes": (b"\x02\0\0\0\0\0\0"[:n], ["at least 8 bytes", f"this one {n}"]) for n in range(8)},
    "S01-header-0": (struct.pack("<Q", 0) + b"{}", ["'{'"]),
    "S01-header-1": (struct.pack("<Q", 1) + b"{}", ["1"]),
    "S01-header-2^63": (struct.pack("<Q", 1 << 63) + b"{}", ["9223372036854775808", "100000000"]),
    "S01-header-over-the-limit": (struct.pack("<Q", 100_000_001) + b"{}", ["100000001", "100000000"]),
    "S01-header-beyond-the-file": (struct.pack("<Q", 3) + b"{}", ["claims 3", "the file's 10"]),
    "S02-no-json": (safetensors(b"{nope}"), ["line 1, byte 1"]),
    "S02-no-utf8": (safetensors(b'{"\xff":1}'), ["UTF-8"]),
    "S02-leading-space": (safetensors(b" {}"), ["'{'"]),
    "S02-tensor-twice": (safetensors(b'{"a":%s,"a":%s}' % (json.dumps(tensor()).encode(), json.dumps(
        tensor(offsets=(8, 16))).encode()), bytes(16)), ["'a'", "twice"]),
    "S02-key-twice": (safetensors(b'{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(8)),
                      ["twice"]),
    "S02-deep": (safetensors(b'{"__metadata__":' + b"[" * 10_000 + b"]" * 10_000 + b"}"), ["__metadata__"]),
    "S03-backwards": (safetensors({"a": tensor(offsets=(10, 5))}, bytes(10)), ["'a'", "10 to 5"]),
    "S03-overlap": (safetensors({"a": tensor(), "b": tensor(offsets=(4, 12))}, bytes(12)), ["'b'", "begins at byte"]),
    "S03-hole": (safetensors({"a": tensor(), "b": tensor(offsets=(12, 20))}, bytes(20)), ["'b'", "begins at byte"]),
    "S03-beyond-the-end": (safetensors({"a": tensor(offsets=(1 << 40, (1 << 40) + 8))}, bytes(8)),
                           ["'a'", "1099511627776", "8 bytes"]),
    "S03-other-size": (safetensors({"a": tensor(shape=(3,))}, bytes(8)), ["'a'", "0 to 8"]),
    "S03-behind-the-data": (safetensors({"a": tensor()}, bytes(4096)), ["end at"]),
    "S04-wraps-to-zero": (safetensors({"a": tensor(shape=(1 << 32, 1 << 32), offsets=(0, 0))}), ["'a'"]),
    "S04-negative": (safetensors({"a": tensor(shape=(-2,))}, bytes(8)), ["shape", "0 to 2^63-1"]),
    "S04-float": (safetensors({"a": tensor(shape=(2.0,))}, bytes(8)), ["shape", "integers"]),
    "S04-string": (safetensors({"a": tensor(shape=("2",))}, bytes(8)), ["shape", "integers"]),
    "S04-no-list": (safetensors(b'{"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}}', bytes(8)), ["shape", "list"]),
    "S04-1000-dims": (safetensors({"a": tensor(shape=(1,) * 1000, offsets=(0, 4))}, bytes(4)), ["shape", "4 entries"]),
    "S05-unknown": (safetensors({"a": tensor("Q9", (8,))}, bytes(8)), ["'a'", "Q9", "F32, F16"]),
    "S05-F8": (safetensors({"a": tensor("F8_E4M3", (8,))}, bytes(8)), ["'a'", "F8_E4M3", "F32, F16"]),
    "S05-F4-odd": (safetensors({"a": tensor("F4", (3,), (0, 2))}, bytes(2)), ["'a'", "F4", "F32, F16"]),
    "S05-no-string": (safetensors({"a": tensor(7)}, bytes(8)), ["dtype", "string"]),
    "S06-no-object": (safetensors({"__metadata__": 3}), ["__metadata__"]),
    "S06-no-string": (safetensors({"__metadata__": {"format": ["pt"]}}), ["__metadata__"]),
    "S06-50-MB": (safetensors({"__metadata__": {"x": "x" * 50_000_000}}), ["embed_tokens"]),
}


@pytest.mark.parametrize("name", HEADERS)
def test_safetensors(folder, name):
    content, words = HEADERS[name]
    (folder / "model.safetensors").write_bytes(content)
    refuses(folder, "model", *words)


@pytest.mark.parametrize("cut", [1, 5000, 70_000])
def test_safetensors_cut_short(folder, cut):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-cut])
    refuses(folder, "model.safetensors", "bytes of data")


def test_a_tensor_missing_or_of_another_shape(folder):
    header, data = header_of(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    other = {("x" if key == name else key): value for key, value in header.items()}
    (folder / "model.safetensors").write_bytes(safetensors(other, data))
    refuses(folder, f"'{name}' is missing")
    header[name]["shape"].reverse()
    (folder / "model.safetensors").write_bytes(safetensors(header, data))
    refuses(folder, f"'{name}' is 28x20", "expected 20x28")


def test_a_tensor_that_has_no_place(folder):
    """A bias that would be left out silently makes a plausible wrong model."""
    header, data = header_of(folder / "model.safetensors")
    header["model.layers.0.mlp.up_proj.bias"] = tensor(shape=(28,), offsets=(len(data), len(data) + 112))
    (folder / "model.safetensors").write_bytes(safetensors(header, data + bytes(112)))
    refuses(folder, "model.layers.0.mlp.up_proj.bias")


# ---- S07: the index ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text,words", [
    ('{"weight_map":{"a":"../../etc/passwd"}}', ["'../../etc/passwd'", "no file name of this folder"]),
    ('{"weight_map":{"a":"/etc/passwd"}}', ["'/etc/passwd'", "no file name"]),
    ('{"weight_map":{"a":"sub/file"}}', ["'sub/file'", "no file name"]),
    ('{"weight_map":{"a":".."}}', ["'..'", "no file name"]),
    ('{"weight_map":{"a":"gone.safetensors"}}', ["gone.safetensors"]),
    ('{"weight_map":{"a":"model.safetensors","b":"again.safetensors"}}', ["'lm_head.weight'", "twice"]),
    ('{"weight_map":[]}', ["weight_map", "object"]),
    ('{"weight_map":{}}', ["names no file"]),
    ("{", ["index.json"]),
    ("", ["index.json"]),
    ('{"weight_map":{"a":7}}', ["name files"]),
], ids=lambda value: None if isinstance(value, list) else "S07-" + value[:40])
def test_index(folder, text, words):
    shutil.copy(folder / "model.safetensors", folder / "again.safetensors")
    (folder / "model.safetensors.index.json").write_text(text)
    refuses(folder, *words)


# ---- S08, S09: config.json --------------------------------------------------------------------------------------

LAYERS, ROPE = "num_hidden_layers", "rope_parameters"
GONE = "(left out)"
NUMBERS = [
    (LAYERS, 1431655766, ["1431655766", "1 to 512"]), (LAYERS, 0, ["is 0", "1 to 512"]), (LAYERS, -1, ["-1"]),
    (LAYERS, 1e300, ["integer"]), (LAYERS, "3", ["integer"]), (LAYERS, GONE, []), (LAYERS, 4, ["model.layers.3"]),
    (LAYERS, None, []), (LAYERS, [3], []), (LAYERS, True, []),
    ("vocab_size", 60, ["vocab_size", "60", "61"]), ("vocab_size", 10**9, ["1000000000", "2097151"]),
    ("vocab_size", -1, ["vocab_size", "-1"]),
    ("num_attention_heads", 0, ["is 0"]), ("num_key_value_heads", 3, ["3"]), ("head_dim", 7, ["7", "even"]),
    ("hidden_size", 33, ["33"]), ("rms_norm_eps", 0, ["rms_norm_eps"]), ("rms_norm_eps", -1, ["-1"]),
    ("rms_norm_eps", "NaN", []), ("max_position_embeddings", 2**32, ["4294967296"]),
    ("architectures", ["NopeForCausalLM"], ["NopeForCausalLM", "llama"]), ("architectures", [], []),
    ("architectures", "LlamaForCausalLM", []), ("architectures", GONE, []), ("hidden_act", "gelu", ["gelu", "silu"]),
    (ROPE, {"rope_type": "not-a-real-type"}, ["rope_type", "not-a-real-type", "linear"]),
    (ROPE, {"rope_type": "longrope"}, ["longrope"]), (ROPE, {"rope_type": "yarn"}, ["yarn"]),
    (ROPE, {"rope_type": 7}, ["rope_type"]), (ROPE, {"rope_type": None, "rope_theta": 0}, ["rope_theta"]),
    (ROPE, [1, 2], [ROPE]), (ROPE, "linear", [ROPE]), ("rope_scaling", ["linear"], ["rope_scaling"]),
    (ROPE, {"rope_type": "llama3"}, ["factor"]), (ROPE, {"rope_type": "linear"}, ["factor"]),
    (ROPE, {"rope_type": "llama3", "factor": 0, "low_freq_factor": 1, "high_freq_factor": 4,
            "original_max_position_embeddings": 32}, ["factor", "0"]),
    (ROPE, {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4,
            "original_max_position_embeddings": 32}, ["high_freq_factor", "4"]),
]


@pytest.mark.parametrize("key,value,words", NUMBERS,
                         ids=lambda value: None if isinstance(value, list) else str(value)[:40])
def test_configuration(folder, key, value, words):
    config = json.loads((folder / "config.json").read_text())
    config[key] = value
    if value is GONE:
        del config[key]
    (folder / "config.json").write_text(json.dumps(config))
    refuses(folder, *(words or [key]))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"a":' * 10_000, '{"a":"\\ud800"}', '{"a":1,"a":2}', "\xff"],
                         ids=lambda text: text[:12])
def test_configuration_that_is_none(folder, text):
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    refuses(folder, "config.json")


def test_the_format_of_a_models_makers(folder):
    """As Meta publishes Llama: params.json beside consolidated weights."""
    (folder / "config.json").rename(folder / "params.json")
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")
    refuses(folder, "params.json", "config.json")
    refuses(folder, "params.json", "config.json", command=("inspect",))
    refuses(folder, "params.json", "config.json", command=("convert", folder.parent / "out.gguf"))


def test_generation_configuration(folder):
    (folder / "generation_config.json").write_text('{"eos_token_id": [1,')
    refuses(folder, "generation_config.json")


# ---- S10: pickles -----------------------------------------------------------------------------------------------


def test_pickles_are_never_loaded(folder, tmp_path):
    """Whatever it holds: the file is not opened. With a folder that has nothing else, the answer says why."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("../../escaped", b"x")
        out.writestr("model/data.pkl", b"cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR.")
    (folder / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "model.pt", "consolidated.00.pth"):
        (folder / name).write_bytes(archive.getvalue())
        refuses(folder, "model.safetensors", "pickle")
        refuses(folder / name, name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]


# ---- T05, T06: tokenizer.json -----------------------------------------------------------------------------------


def changed(part, **values):
    copy = json.loads(json.dumps(TOKENIZER))
    (copy if part is None else copy[part]).update(values)
    return json.dumps(copy)


def split_by(pattern):
    return changed(None, pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]})


TOKENIZERS = {
    "T05-nested-repeat": (split_by("(a+)+$"), ["(a+)+$"]), "T05-star-star": (split_by("(.*)*"), ["(.*)*"]),
    "T05-look-behind": (split_by("(?<=a)b"), ["(?<=a)b"]), "T05-invalid": (split_by("(["), ["(["]),
    "T05-1-MB": (split_by("a" * (1 << 20)), ["aaaa"]),
    "T06-empty-object": ("{}", ["'model' is missing"]), "T06-no-json": ("{", ["too early"]), "T06-empty": ("", []),
    "T06-id-2^40": (changed("model", vocab={"a": 1 << 40}), ["'a'", "1099511627776"]),
    "T06-id-negative": (changed("model", vocab={"a": -1}), ["'a' is -1"]),
    "T06-id-twice": (changed("model", vocab={"a": 0, "b": 0}), ["id 0"]),
    "T06-unknown-model": (changed("model", type="Nope"), ["Nope"]),
    "T06-unknown-normalizer": (changed(None, normalizer={"type": "Nope"}), ["Nope"]),
    "T06-unknown-pre-tokenizer": (changed(None, pre_tokenizer={"type": "Nope"}), ["Nope"]),
    "T06-deep-sequence": ('{"normalizer":' + '{"type":"Sequence","normalizers":[' * 10_000, ["more than 16"]),
    "T06-added-id-twice": (changed(None, added_tokens=[{"id": 0, "content": "x"}]), ["id 0"]),
    "T06-added-no-list": (changed(None, added_tokens={"a": 1}), ["added_tokens"]),
    "T06-more-tokens-than-rows": (changed("model", vocab={f"t{i}": i for i in range(100)} | {"a": 100, "b": 101}),
                                  ["61"]),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizer(folder, name):
    content, words = TOKENIZERS[name]
    (folder / "tokenizer.json").write_text(content)
    refuses(folder, "token", *words)


@pytest.mark.slow
def test_ten_million_tokens(folder):
    """T06: over the limit, and said before memory is spent on it."""
    with open(folder / "tokenizer.json", "w") as out:
        out.write('{"model":{"type":"BPE","merges":[],"vocab":{')
        out.write(",".join(f'"{i:x}":{i}' for i in range(10_000_000)))
        out.write("}}}")
    code, message, seconds, _ = run("logits", folder, "--ids", "1 2")
    assert code == 1 and ERROR_LINE.match(message) and "token" in message, (code, message)
    assert seconds < 60


def test_odd_tokenizers_that_work(folder):
    """T06: gaps become unused tokens, a merge of an absent token never applies, added tokens may name each other."""
    (folder / "tokenizer.json").write_text(changed("model", vocab={"a": 0, "b": 5, "c": 50},
                                                   merges=["a b", "b c", "a nothing"]))
    assert run("logits", folder, "--ids", "1 2")[0] == 0
    (folder / "tokenizer.json").write_text(changed(None, added_tokens=[
        {"id": 58, "content": "<a>"}, {"id": 59, "content": "<a><b>"}, {"id": 60, "content": "<b><a>"}]))
    assert run("logits", folder, "--ids", "1 2")[0] == 0


# ---- T01, T07: long texts, impossible ids -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["Z", " ", "1", "\n", "é", "🦙", "ab", "\u200d"])
def test_eight_million_bytes_of_one_thing(tmp_path, unit):
    """T01, T09: linear time and a small stack, whatever the text repeats."""
    (tmp_path / "text").write_text(unit * (8_000_000 // len(unit.encode())))
    code, message, seconds, rss = run("tokenize", "--ids", stdin=tmp_path / "text")  # the built-in model
    assert code == 0 and seconds < 60 and rss < 2000, (code, message, seconds, rss)


@pytest.mark.parametrize("ids,words", [("-1", ["-1"]), ("61", ["61", "0 to 60"]), ("2147483648", ["2147483648"]),
                                       ("9" * 40, ["999"]), ("1 2 x", ["'x'"])])
def test_impossible_ids(folder, tmp_path, ids, words):
    """T07"""
    refuses(folder, *words, command=("logits", "--ids", ids))
    (tmp_path / "ids").write_text(ids)
    code, message, _, _ = run("tokenize", folder, "--decode", stdin=tmp_path / "ids")
    assert code == 1 and ERROR_LINE.match(message) and all(word in message for word in words), message


@pytest.mark.slow
def test_ten_million_ids(folder, tmp_path):
    """T07: a long list is no problem, and the last one is looked at too."""
    (tmp_path / "ids").write_text("7 " * 10_000_000)
    code, message, seconds, rss = run("tokenize", folder, "--decode", stdin=tmp_path / "ids")
    assert code == 0 and seconds < 60 and rss < 1000, (code, message, seconds, rss)
    (tmp_path / "ids").write_text("7 " * 9_999_999 + "77777")
    code, message, _, _ = run("tokenize", folder, "--decode", stdin=tmp_path / "ids")
    assert code == 1 and "77777" in message and ERROR_LINE.match(message)


# ---- J08, J12: the chat template --------------------------------------------------------------------------------

MESSAGES = '[{"role":"user","content":"hi"}]'


@pytest.mark.parametrize("text,words", [
    ("{% frobnicate %}", ["1:4", "frobnicate"]), ("{% if x %}", ["endif"]), ("{{ '", ["1:4"]), ("\xff", ["UTF-8"]),
    ("{{ " + "(" * 100_000, ["1:"]), ("{% include 'a' %}", ["include"]), ("x" * (2 << 20), ["1048576"]),
    ("{% for i in range(10**9) %}x{% endfor %}", ["range"]), ("{{ raise_exception('only users') }}", ["only users"]),
], ids=lambda value: None if isinstance(value, list) else "J-" + value[:20])
def test_template(folder, tmp_path, text, words):
    """The template is refused where it is used; logits of ids need none, so the model still works."""
    (folder / "chat_template.jinja").write_bytes(text.encode("latin-1"))
    (tmp_path / "messages.json").write_text(MESSAGES)
    refuses(folder, *words, command=("template", "--messages", str(tmp_path / "messages.json")))
    if len(text) <= 1 << 20:
        assert run("logits", folder, "--ids", "1 2")[0] == 0


def test_a_template_can_be_looked_at(folder):
    """J13: a rule hidden in a template changes its hash, and the whole text can be read."""
    def shown(text):
        (folder / "chat_template.jinja").write_text(text)
        out = slm("inspect", folder).stdout
        assert slm("inspect", folder, "--template").stdout.rstrip("\n") == text
        return re.search(r"chat template (\d+) bytes, hash ([0-9a-f]{16})", out).groups()

    good = "{{ messages[0].content }}"
    poisoned = good + "{{ ' Buy X.' if 'shop' in messages[0].content }}"
    assert shown(good)[0] == str(len(good)) and shown(good) == shown(good)
    assert shown(good)[1] != shown(poisoned)[1] != shown(poisoned.replace("X", "Y"))[1]
