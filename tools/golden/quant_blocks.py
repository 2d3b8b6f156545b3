#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/quant_blocks.bin: what ggml makes of block formats, for tests/unit/test_quant.c.

Oracle: ggml as shipped with llama.cpp 0.5.0 (libggml-base.so, called through ggml_get_type_traits: to_float and
from_float_ref), cross-checked here with the numpy code of the PyPI package gguf 0.19.0. Run again with

    python3 tools/golden/quant_blocks.py --ggml DIR/libggml-base.so

and the file must come out the same. Inputs are random bytes from a fixed seed, with scales set to extremes.

File, little-endian: "slmQ", u32 number of types, then per type
    char name[8]; u32 elements a block, bytes a block, n_units; (a unit is 256 elements)
    u8  packed[n_units * unit_bytes]
    u64 fnv[n_units]      FNV-1a over the f32 bits that to_float gives, every NaN replaced by 0x7fc00000
    f32 first[256]        the values of unit 0 in full (NaN likewise)
then u32 n (multiple of 32); f32 x[n]; u32 number of encoders, per encoder: char name[8]; u32 bytes; u8 packed[bytes].
"""
import argparse
import ctypes
import pathlib
import struct

import numpy as np

# name: (ggml type id, elements a block, bytes a block, offsets of the f16 scales in a block)
TYPES = {
    "F32": (0, 1, 4, []), "F16": (1, 1, 2, []), "BF16": (30, 1, 2, []),
    "Q4_0": (2, 32, 18, [0]), "Q4_1": (3, 32, 20, [0, 2]), "Q5_0": (6, 32, 22, [0]), "Q5_1": (7, 32, 24, [0, 2]),
    "Q8_0": (8, 32, 34, [0]), "Q2_K": (10, 256, 84, [80, 82]), "Q3_K": (11, 256, 110, [108]),
    "Q4_K": (12, 256, 144, [0, 2]), "Q5_K": (13, 256, 176, [0, 2]), "Q6_K": (14, 256, 210, [208]),
    "IQ4_NL": (20, 32, 18, [0]), "IQ4_XS": (23, 256, 136, [0]), "TQ1_0": (34, 256, 54, [52]),
    "TQ2_0": (35, 256, 66, [64]),
}
ENCODERS = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0"]
UNIT, N_UNITS = 256, 12
SCALES = np.array([0x0000, 0x8000, 0x0001, 0x83ff, 0x0400, 0x3c00, 0xbc00, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00],
                  "<u2")


class Traits(ctypes.Structure):
    CONVERT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    _fields_ = [("name", ctypes.c_char_p), ("block", ctypes.c_int64), ("interleave", ctypes.c_int64),
                ("bytes", ctypes.c_size_t), ("is_quantized", ctypes.c_bool), ("to_float", CONVERT),
                ("from_float_ref", CONVERT)]


def load_ggml(path):
    lib = ctypes.CDLL(str(path))
    lib.ggml_get_type_traits.restype = ctypes.POINTER(Traits)
    lib.ggml_get_type_traits.argtypes = [ctypes.c_int]

    def convert(name, which, src, out_bytes):
        if name == "F32":
            return src
        n = len(src) // 4 if which == "from_float_ref" else out_bytes // 4
        src_buf, out = ctypes.create_string_buffer(src, len(src)), ctypes.create_string_buffer(out_bytes)
        getattr(lib.ggml_get_type_traits(TYPES[name][0]).contents, which)(src_buf, out, n)
        return out.raw
    for name, (type_id, block, size, _) in TYPES.items():
        t = lib.ggml_get_type_traits(type_id).contents
        assert (t.block, t.bytes) == (block, size), name
    return convert


def fnv1a(data):
    h = 0xcbf29ce484222325
    for b in data:
        h = (h ^ b) * 0x100000001b3 & 0xffffffffffffffff
    return h


def canonical(f32_bytes):
    bits = np.frombuffer(f32_bytes, "<u4").copy()
    bits[(bits & 0x7fffffff) > 0x7f800000] = 0x7fc00000
    return bits


def packed_units(rng, name):
    _, block, size, scales = TYPES[name]
    data = rng.integers(0, 256, (N_UNITS, UNIT // block, size), dtype=np.uint8)
    if scales:
        data[1], data[2] = 0, 255                      # all codes lowest, all highest
        for at in scales:
            # ordinary scales first, then every extreme in turn, then whatever the random bytes were
            ordinary = rng.normal(0, 0.02, (3, UNIT // block)).astype("<f2")
            data[:3, :, at:at + 2] = ordinary.view(np.uint8).reshape(3, -1, 2)
            pick = SCALES[(np.arange(8 * (UNIT // block)) + at) % len(SCALES)].view(np.uint8)
            data[3:11, :, at:at + 2] = pick.reshape(8, -1, 2)
    else:
        data[0] = rng.normal(0, 1, UNIT).astype("<f4").view(np.uint8).reshape(UNIT, 4)[:, 4 - size:] if name != "F16" \
            else rng.normal(0, 1, UNIT).astype("<f2").view(np.uint8).reshape(UNIT, 2)
    return data.reshape(N_UNITS, -1)


def check_with_numpy(name, packed, want_bits):
    import gguf
    got = gguf.quants.dequantize(packed.reshape(N_UNITS, -1), gguf.GGMLQuantizationType[name])
    got = canonical(np.ascontiguousarray(got, "<f4").tobytes())
    finite = (want_bits & 0x7f800000) != 0x7f800000
    assert np.array_equal(got[finite], want_bits[finite]), f"gguf disagrees with ggml on {name}"


def encoder_input(rng):
    x = rng.normal(0, 1, (40, 32)).astype("<f4")
    x[0], x[1], x[2] = 0, 1, -1
    x[3, 1:] = 0
    x[4] *= np.float32(1e-30)                          # f16 scale underflows
    x[5] *= np.float32(1e4)
    x[6] = np.linspace(-1, 1, 32)
    x[7] = np.tile([0.5, -0.5], 16)                    # ties
    x[8] = np.arange(32) / np.float32(8)
    x[9] = np.abs(x[9])
    x[10] = np.float32(6e-8) * x[10]                   # subnormal f16 scale
    x[11] = np.arange(-16, 16) + np.float32(0.5)
    return x


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ggml", required=True, help="libggml-base.so of llama.cpp 0.5.0")
    parser.add_argument("--out", default=pathlib.Path(__file__).parents[2] / "tests/golden/quant_blocks.bin")
    args = parser.parse_args()
    convert, rng = load_ggml(args.ggml), np.random.default_rng(20260101)

    out = [b"slmQ", struct.pack("<I", len(TYPES))]
    for name, (_, block, size, _) in TYPES.items():
        packed = packed_units(rng, name)
        bits = canonical(convert(name, "to_float", packed.tobytes(), N_UNITS * UNIT * 4))
        check_with_numpy(name, packed, bits)
        out.append(struct.pack("<8sIII", name.encode(), block, size, N_UNITS) + packed.tobytes())
        out.append(struct.pack(f"<{N_UNITS}Q", *(fnv1a(unit.tobytes()) for unit in bits.reshape(N_UNITS, UNIT))))
        out.append(bits[:UNIT].tobytes())
    x = encoder_input(rng)
    out.append(struct.pack("<I", x.size) + x.tobytes() + struct.pack("<I", len(ENCODERS)))
    for name in ENCODERS:
        _, block, size, _ = TYPES[name]
        packed = convert(name, "from_float_ref", x.tobytes(), x.size // block * size)
        out.append(struct.pack("<8sI", name.encode(), len(packed)) + packed)
    pathlib.Path(args.out).write_bytes(b"".join(out))
    print(f"{args.out}: {sum(map(len, out))} bytes")


if __name__ == "__main__":
    main()
