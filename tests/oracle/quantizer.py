#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `slm quantize` writes beside what llama.cpp's quantizer makes of the same model.

Usage: quantizer.py SLM_BINARY [--models N] [--seed S] [--library FOLDER]

For each type: llama.cpp decodes our bytes to the numbers that slm decodes them to, bit for bit; and the root mean
square error, plain and weighed by an importance matrix, is not above that of ggml_quantize_chunk, on a random matrix,
on one as wide as a layer of Qwen3-0.6B with its random weights, on one of the built-in model, and on one of another
trained model where the test data is there. For each mixture: every tensor of a random model of 16
layers has the type that llama_model_quantize gives it, and llama.cpp loads our file; and the same types come out for
files that only look like a model of 80 layers (70B), of 8 experts, and like Falcon.
The importance matrix of `slm calibrate` holds the sums of squares that PyTorch sees going into the layers of the
trained model, and llama.cpp's reader finds them under the names it looks for.
llama.cpp comes from an npm package (llama_cpp.py); without it all of this is one skipped test. Output is TAP and a
table.
"""
import argparse
import ctypes
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import llama_cpp
import oracle
import torch
import transformers

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SLM_SHARED", ROOT.parent / "shared"))
BUILTIN = ROOT / "models/builtin.gguf"
TRAINED = SHARED / "data/models/tinystories-656k"
TYPES = {"Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q2_K": 10, "Q3_K": 11, "Q4_K": 12, "Q5_K": 13,
         "Q6_K": 14, "IQ4_NL": 20, "IQ4_XS": 23, "TQ1_0": 34, "TQ2_0": 35}
MIXTURES = {"F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12,
            "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18, "IQ4_NL": 25,
            "IQ4_XS": 30, "BF16": 32, "TQ1_0": 36, "TQ2_0": 37}
# What rules ask for: architecture, layers, heads, heads of keys, experts.
LOOKS = {"70B": ("llama", 80, 8, 1, 0), "65B": ("llama", 80, 8, 8, 0), "qwen2 72B": ("qwen2", 80, 8, 1, 0),
         "8 experts": ("llama", 16, 8, 8, 8), "8 experts, grouped": ("llama", 16, 8, 2, 8), "falcon": ("falcon", 32, 8, 1, 0)}
NAME = "blk.0.ffn_up.weight"


class QuantizeParams(ctypes.Structure):
    _fields_ = [("n_threads", ctypes.c_int32)] + [(name, ctypes.c_int) for name in (
        "ftype", "output_type", "embedding_type")] + [(name, ctypes.c_bool) for name in (
            "allow_requantize", "quantize_output", "only_copy", "pure", "keep_split", "dry_run")] + [
        (name, ctypes.c_void_p) for name in ("imatrix", "kv_overrides", "types", "prune")] + [("spare", ctypes.c_char * 64)]


class InitParams(ctypes.Structure):
    _fields_ = [("no_alloc", ctypes.c_bool), ("context", ctypes.c_void_p)]


def declare(folder):
    """The functions of llama.cpp that llama_cpp.Library does not need."""
    base = ctypes.CDLL(str(folder / "libggml-base.so"))
    p, i64, text = ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p
    for name, result, arguments in (
            ("ggml_quantize_chunk", ctypes.c_size_t, [ctypes.c_int, p, p, i64, i64, i64, p]),
            ("gguf_init_from_file", p, [text, InitParams]), ("gguf_free", None, [p]),
            ("gguf_get_n_tensors", i64, [p]), ("gguf_get_tensor_name", text, [p, i64]),
            ("gguf_get_tensor_type", ctypes.c_int, [p, i64]), ("gguf_get_tensor_offset", ctypes.c_size_t, [p, i64]),
            ("gguf_get_data_offset", ctypes.c_size_t, [p])):
        function = getattr(base, name)
        function.restype, function.argtypes = result, arguments
    return base


def tensors(base, path):
    """name -> (type, place in the file), as llama.cpp's reader sees them."""
    file = base.gguf_init_from_file(str(path).encode(), InitParams(True, None))
    assert file, f"llama.cpp does not read {path}"
    start = base.gguf_get_data_offset(file)
    found = {base.gguf_get_tensor_name(file, i).decode():
             (base.gguf_get_tensor_type(file, i), start + base.gguf_get_tensor_offset(file, i))
             for i in range(base.gguf_get_n_tensors(file))}
    base.gguf_free(file)
    return found


def write_gguf(path, keys, arrays):
    """A file of f32 tensors."""
    def string(text):
        return struct.pack("<Q", len(text)) + text.encode()
    head = b"GGUF" + struct.pack("<IQQ", 3, len(arrays), len(keys))
    for key, value in keys.items():
        kind = {str: 8, int: 4, float: 6}[type(value)]
        packed = string(value) if kind == 8 else struct.pack("<I" if kind == 4 else "<f", value)
        head += string(key) + struct.pack("<I", kind) + packed
    offset, data = 0, []
    for name, array in arrays.items():
        head += string(name) + struct.pack("<I", array.ndim)
        head += struct.pack(f"<{array.ndim}Q", *reversed(array.shape)) + struct.pack("<IQ", 0, offset)
        data.append(array.tobytes() + bytes(-array.nbytes % 32))
        offset += len(data[-1])
    Path(path).write_bytes(head + bytes(-len(head) % 32) + b"".join(data))


def slm(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise AssertionError(done.stderr.strip())


def rms(x, y, importance):
    return float(np.sqrt(((x.astype(np.float64) - y) ** 2 * importance).mean()))


def decode(base, name, path, place, n):
    """Our bytes as ggml decodes them."""
    data, out = Path(path).read_bytes()[place:], np.empty(n, np.float32)
    function = getattr(base, "dequantize_row_" + name.lower().replace("_k", "_K"))
    function(data, out.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(n))
    return out


def check_type(binary, base, name, x, importance):
    """Both errors of one matrix, ours first."""
    counts = np.array([[3.0]], np.float32)
    with tempfile.TemporaryDirectory() as folder:
        source, out, plain, weights = (Path(folder) / f"{n}.gguf" for n in ("in", "out", "plain", "imatrix"))
        write_gguf(source, {"general.architecture": "llama"}, {NAME: x})
        options = []
        if importance is not None:
            write_gguf(weights, {"general.type": "imatrix"}, {NAME + ".in_sum2": importance * 3, NAME + ".counts": counts})
            options = ["--imatrix", weights]
        slm(binary, "quantize", source, out, name, "--pure", "-q", *options)
        slm(binary, "convert", out, plain, "--type", "f32", "-q")
        kind, place = tensors(base, out)[NAME]
        assert kind == TYPES[name], f"the type is {kind}"
        theirs = decode(base, name, out, place, x.size)
        place = tensors(base, plain)[NAME][1]
        ours = np.frombuffer(plain.read_bytes()[place:place + 4 * x.size], np.float32)
        assert theirs.tobytes() == ours.tobytes(), "ggml decodes other numbers"
    packed = np.zeros(x.size, np.float32)
    base.ggml_quantize_chunk(TYPES[name], x.ctypes.data, packed.ctypes.data, 0, x.shape[0], x.shape[1],
                             None if importance is None else importance.ctypes.data)
    peer = np.empty(x.size, np.float32)
    function = getattr(base, "dequantize_row_" + name.lower().replace("_k", "_K"))
    function(packed.ctypes.data_as(ctypes.c_void_p), peer.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(x.size))
    w = 1.0 if importance is None else importance / importance.mean()
    mine, other = (rms(x, y.reshape(x.shape), w) for y in (ours, peer))
    assert mine <= other * (1 + 1e-6), f"the error is {mine:.5g}, llama.cpp's {other:.5g}"
    return mine, other


def matrices(binary, base, seed):
    """what -> matrix, 256 wide or a multiple of it."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((64, 1024)) * 0.02 * np.exp(0.4 * rng.standard_normal((64, 1)))
    x[:, ::97] *= 4
    found = {"random": x.astype(np.float32),
             "layer": (rng.standard_normal((64, 3072)) * 0.02).astype(np.float32)}
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "f32.gguf"
        slm(binary, "convert", BUILTIN, plain, "--type", "f32", "-q")
        place = tensors(base, plain)[NAME][1]
        found["built-in"] = np.frombuffer(plain.read_bytes()[place:place + 4 * 256 * 512], np.float32).reshape(-1, 256)
    trained = TRAINED / "model.safetensors"
    if trained.exists():
        from safetensors.numpy import load_file
        tensors_of = load_file(trained)
        name = max((n for n in tensors_of if "mlp" in n), key=lambda n: tensors_of[n].size)
        flat = tensors_of[name].astype(np.float32).ravel()
        found["trained"] = np.ascontiguousarray(flat[:flat.size // 512 * 512].reshape(-1, 512))
    return found


def compare_types(binary, base, library, name, source, ours, theirs):
    """One file, quantized by both."""
    c = library.c
    c.llama_model_quantize_default_params.restype = QuantizeParams
    c.llama_model_quantize.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(QuantizeParams)]
    params = c.llama_model_quantize_default_params()
    params.ftype, params.n_threads = MIXTURES[name], 1
    assert c.llama_model_quantize(str(source).encode(), str(theirs).encode(), ctypes.byref(params)) == 0, name
    slm(binary, "quantize", source, ours, name, "-q")
    a, b = tensors(base, ours), tensors(base, theirs)
    for tensor in b:
        if a[tensor][0] != b[tensor][0]:
            raise AssertionError(f"{name}: {tensor} has type {a[tensor][0]}, llama.cpp gives {b[tensor][0]}")
    return {kind for kind, _ in b.values()}


def check_looks(binary, base, library, look):
    """Names and numbers of a model; its tensors are as small as they can be."""
    arch, n_layer, n_head, n_head_kv, n_expert = LOOKS[look]
    keys = {"general.architecture": arch, **{f"{arch}.{key}": value for key, value in {
        "context_length": 256, "embedding_length": 256, "block_count": n_layer, "feed_forward_length": 256,
        "attention.head_count": n_head, "attention.head_count_kv": n_head_kv, "attention.layer_norm_epsilon": 1e-5,
        "attention.layer_norm_rms_epsilon": 1e-5, "vocab_size": 2}.items()}}
    if n_expert:
        keys.update({f"{arch}.expert_count": n_expert, f"{arch}.expert_used_count": 2})
    rng = np.random.default_rng(len(look))
    names = ["token_embd", "output"] + [f"blk.{i}.{name}" for i in range(n_layer) for name in (
        *(("attn_qkv",) if arch == "falcon" else ("attn_q", "attn_k", "attn_v")), "attn_output", "ffn_up",
        "ffn_down_exps" if n_expert else "ffn_down")]
    arrays = {f"{name}.weight": rng.standard_normal((8, 2, 256) if "exps" in name else (2, 256)).astype(np.float32)
              for name in names}
    seen = {}
    with tempfile.TemporaryDirectory() as folder:
        source, ours, theirs = (Path(folder) / f"{n}.gguf" for n in ("f32", "ours", "theirs"))
        write_gguf(source, keys, arrays)
        for name in MIXTURES:
            seen[name] = compare_types(binary, base, library, name, source, ours, theirs)
    assert (8 in seen["Q4_K_M"]) == (n_expert == 8 or arch == "falcon"), "the rules in question were not met"
    assert (13 in seen["Q3_K_S"]) == (look in ("70B", "qwen2 72B") or n_expert == 8), "nor those"


def check_mixtures(binary, base, library, seed, shared_heads):
    """Types of all tensors, of two models: heads that share keys, and heads that do not."""
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(vocab_size=320, hidden_size=256, intermediate_size=256, num_hidden_layers=16,
                                      num_attention_heads=4, num_key_value_heads=1 if shared_heads else 4,
                                      tie_word_embeddings=shared_heads)
    with tempfile.TemporaryDirectory() as folder:
        source, ours, theirs = (Path(folder) / f"{n}.gguf" for n in ("f16", "ours", "theirs"))
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        slm(binary, "convert", folder, source, "--type", "f16", "-q")
        for name in MIXTURES:
            compare_types(binary, base, library, name, source, ours, theirs)
            with llama_cpp.Model(library, ours, n_ctx=256) as peer:
                assert peer.eval([1, 2, 3]).isfinite().all()


def check_imatrix(binary, base):
    """Inputs of all matrices of TinyStories-656K over two windows, by forward hooks."""
    window, n_windows = 128, 2
    text = (SHARED / "data/text/tinystories_val.txt").read_text()[:3000]
    model = transformers.AutoModelForCausalLM.from_pretrained(TRAINED, dtype=torch.float32).eval()
    places = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
              "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
              "mlp.down_proj": "ffn_down"}
    sums = {}
    for layer, block in enumerate(model.model.layers):
        for place, name in places.items():
            def hook(_, inputs, name=f"blk.{layer}.{name}.weight"):
                sums[name] = sums.get(name, 0) + inputs[0].double().square().sum((0, 1))
            block.get_submodule(place).register_forward_pre_hook(hook)
    with tempfile.TemporaryDirectory() as folder:
        words, out = Path(folder) / "text", Path(folder) / "imatrix.gguf"
        words.write_text(text)
        slm(binary, "calibrate", TRAINED, "--text", words, "-o", out, "--window", window, "--max-windows", n_windows,
            "--kv", "f32", "-q")
        done = subprocess.run([binary, "tokenize", TRAINED, "--ids", "--bos"], input=text, capture_output=True, text=True)
        ids = [int(i) for i in done.stdout.split()]
        with torch.no_grad():
            for w in range(n_windows):
                model(torch.tensor([ids[:1] + ids[w * window + 1:(w + 1) * window]]))
        found, data = tensors(base, out), out.read_bytes()
    assert set(found) == {name + end for name in sums for end in (".in_sum2", ".counts")}, sorted(found)[:4]
    for name, expected in sums.items():
        got = np.frombuffer(data, np.float32, len(expected), found[name + ".in_sum2"][1])
        count = np.frombuffer(data, np.float32, 1, found[name + ".counts"][1])[0]
        assert count == window * n_windows, f"{name}: {count} tokens"
        assert np.allclose(got, expected, rtol=1e-4, atol=1e-4 * expected.max().item()), f"{name} differs"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slm")
    parser.add_argument("--models", type=int, default=0, help="for the runner; the number of checks is fixed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--library", type=Path, default=ROOT / "build" / "llama-cpp", help="where llama.cpp is put")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    try:
        folder = llama_cpp.fetch(args.library)
        library = llama_cpp.Library(folder)
    except llama_cpp.Unavailable as reason:
        print(f"1..1\n{reason}\nok 1 # SKIP quantizer beside llama.cpp's")
        return 0
    base = declare(folder)
    found = matrices(args.slm, base, args.seed)
    rng, tap, rows = np.random.default_rng(args.seed + 1), oracle.Tap(), []
    print(f"1..{len(TYPES) * len(found) * 2 + len(LOOKS) + 3}", flush=True)
    for name in TYPES:
        for what, x in found.items():
            importance = np.exp(1.2 * rng.standard_normal((1, x.shape[1]))).astype(np.float32)
            for weights in (None, importance):
                problem = None
                try:
                    rows.append((name, what, weights is not None, *check_type(args.slm, base, name, x, weights)))
                except (AssertionError, subprocess.TimeoutExpired) as error:
                    problem = str(error)
                tap.say(f"quantizer {name} {what}{'' if weights is None else ' weighed'} seed {args.seed}", problem)
    for shared_heads in (False, True):
        problem = None
        try:
            check_mixtures(args.slm, base, library, args.seed, shared_heads)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            problem = str(error)
        tap.say(f"quantizer mixtures {'shared' if shared_heads else 'own'} key heads seed {args.seed}", problem)
    for look in LOOKS:
        problem = None
        try:
            check_looks(args.slm, base, library, look)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            problem = str(error)
        tap.say(f"quantizer mixtures of a model that looks like {look}", problem)
    if not (TRAINED / "model.safetensors").exists():
        tap.say("quantizer importance matrix # SKIP no shared test data", None)
    else:
        problem = None
        try:
            check_imatrix(args.slm, base)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            problem = str(error)
        tap.say("quantizer importance matrix beside PyTorch's sums", problem)
    print(f"report: root mean square error of slm and llama.cpp (node-llama-cpp {llama_cpp.VERSION})")
    for name, what, weighed, mine, other in rows:
        print(f"report:   {name:7} {what:8} {'weighed' if weighed else '':7} {mine:.4e} {other:.4e} "
              f"{mine / other if other else 1:.3f}")
    return tap.failed != 0


if __name__ == "__main__":
    sys.exit(main())
