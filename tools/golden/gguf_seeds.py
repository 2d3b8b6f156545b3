#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the seeds of tests/fuzz/corpus/gguf: small files that reach each part of the reader, and a few that it must
refuse late. Built with struct alone; inputs that fuzzing found lie beside them and are not touched.

    python3 tools/golden/gguf_seeds.py
"""
import pathlib
import struct

OUT = pathlib.Path(__file__).parents[2] / "tests/fuzz/corpus/gguf"
FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
          11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 20: (32, 18), 23: (256, 136), 30: (1, 2),
          34: (256, 54), 35: (256, 66)}


def text(s):
    data = s.encode() if isinstance(s, str) else s
    return struct.pack("<Q", len(data)) + data


def scalar(kind, value):
    return text(value) if kind == STRING else struct.pack("<" + FORMATS[kind], value)


def key(name, kind, value, element=None):
    body = text(name) + struct.pack("<I", kind)
    if kind != ARRAY:
        return body + scalar(kind, value)
    return body + struct.pack("<IQ", element, len(value)) + b"".join(scalar(element, v) for v in value)


def build(keys=(), tensors=(), version=3, alignment=32):
    """tensors: (name, dims, type)."""
    infos, data = b"", b""
    for name, dims, kind in tensors:
        data += bytes(-len(data) % alignment)
        infos += text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, len(data))
        n = 1
        for d in dims:
            n *= d
        size = n // BLOCKS[kind][0] * BLOCKS[kind][1]
        data += bytes((i * 37 + kind) & 255 for i in range(size))
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys)) + b"".join(keys) + infos
    return head + (bytes(-len(head) % alignment) + data if tensors else b"")


SEEDS = {
    "empty_model": build(),
    "v2": build([key("general.name", STRING, "old")], [("x", (2,), 0)], version=2),
    "scalars": build([key(f"k.{kind}", kind, 1) for kind in FORMATS] + [key("k.string", STRING, "hello")]),
    "arrays": build([key(f"a.{kind}", ARRAY, [0, 1, 1], kind) for kind in FORMATS]
                    + [key("a.string", ARRAY, ["a", "", "\u4e09"], STRING), key("a.empty", ARRAY, [], STRING)]),
    "align_8": build([key("general.alignment", 4, 8)], [("a", (3,), 1), ("b", (5, 2), 0)], alignment=8),
    "align_1": build([key("general.alignment", 4, 1)], [("a", (3,), 1), ("b", (5,), 1)], alignment=1),
    "all_types": build([], [(f"t{kind}", (block, 1), kind) for kind, (block, _) in BLOCKS.items()]),
    "four_dims": build([], [("w", (2, 3, 1, 2), 0)]),
    "vocabulary": build([key("general.architecture", STRING, "llama"), key("tokenizer.ggml.model", STRING, "llama"),
                         key("tokenizer.ggml.tokens", ARRAY, ["<unk>", "<s>", "</s>", "<0x0A>", "\u2581a"], STRING),
                         key("tokenizer.ggml.scores", ARRAY, [0, 0, 0, 0, -1.5], 6),
                         key("tokenizer.ggml.token_type", ARRAY, [2, 3, 3, 6, 1], 5)]),
    "split": build([key("split.no", 2, 0), key("split.count", 2, 3), key("split.tensors.count", 5, 1)],
                   [("x", (1,), 0)]),
    "bad_duplicate": build([key("same", 4, 1), key("same", 4, 2)]),
    "bad_bool": build([key("flag", 0, 7).replace(b"flag" + struct.pack("<I", 0), b"flag" + struct.pack("<I", 7))]),
    "bad_overflow": build([], [("x", (1,), 0)]).replace(struct.pack("<Q", 1) + struct.pack("<I", 0),
                                                       struct.pack("<Q", 1 << 62) + struct.pack("<I", 0)),
}

OUT.mkdir(parents=True, exist_ok=True)
for name, data in SEEDS.items():
    (OUT / name).write_bytes(data)
print(f"{len(SEEDS)} seeds, {sum(map(len, SEEDS.values()))} bytes")
