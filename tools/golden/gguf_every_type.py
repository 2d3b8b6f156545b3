#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/every_type.gguf with the PyPI package gguf 0.19.0: every metadata type, alignment 64, three
tensors. tests/unit/test_gguf.c holds the same values; the file must be read as such and rewritten byte for byte.

    python3 tools/golden/gguf_every_type.py
"""
import pathlib
import sys

import gguf
import numpy as np

T = gguf.GGUFValueType
default = pathlib.Path(__file__).parents[2] / "tests/golden/every_type.gguf"
out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
w = gguf.GGUFWriter(out, "test")
w.add_custom_alignment(64)
for key, value, kind in [("u8", 255, T.UINT8), ("i8", -128, T.INT8), ("u16", 65535, T.UINT16), ("i16", -32768, T.INT16),
                         ("u32", 2**32 - 1, T.UINT32), ("i32", -2**31, T.INT32), ("u64", 2**63 - 1, T.UINT64),
                         ("i64", -2**63, T.INT64), ("f32", -1.5e-3, T.FLOAT32), ("f64", 3.141592653589793, T.FLOAT64),
                         ("bool", True, T.BOOL), ("string", "h\u00e9llo\nworld", T.STRING), ("empty", "", T.STRING)]:
    w.add_key_value("t." + key, value, kind)
w.add_array("t.array_i32", [-1, 0, 7])
w.add_array("t.array_f32", [0.5, 2.5])
w.add_array("t.array_bool", [True, False])
w.add_array("t.array_string", ["one", "", "\u4e09"])
w.add_tensor("a.weight", np.arange(6, dtype=np.float32).reshape(2, 3))
w.add_tensor("b.weight", np.arange(5, dtype=np.float16))
w.add_tensor("c.weight", gguf.quants.quantize(np.linspace(-1, 1, 64, dtype=np.float32).reshape(2, 32),
                                              gguf.GGMLQuantizationType.Q8_0),
             raw_dtype=gguf.GGMLQuantizationType.Q8_0)
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
