# SPDX-License-Identifier: MIT
"""llama.cpp as a prebuilt library: fetched by npm from the package node-llama-cpp, spoken to through ctypes.

Owns the version that slm is compared with, the layout of the structs of its C interface, and loading it. What is asked
of it is the business of llama_cpp.py (does it agree?) and bench/peer.py (how fast is it?). Only Python's standard
library is used.
"""
import ctypes
import platform
import subprocess
import tarfile

VERSION = "3.22.1"  # node-llama-cpp; its libraries are llama.cpp 0.5.0
PACKAGES = {"x86_64": "linux-x64", "aarch64": "linux-arm64"}


class Unavailable(Exception):
    pass


def fetch(folder):
    """The package's libraries below folder, downloaded by npm (which checks their hash) when they are not there."""
    machine = PACKAGES.get(platform.machine())
    if not machine or platform.system() != "Linux":
        raise Unavailable(f"llama.cpp is not prebuilt for {platform.system()} on {platform.machine()}")
    libraries = folder / "package" / "bins" / machine
    if libraries.exists():
        return libraries
    folder.mkdir(parents=True, exist_ok=True)
    package = f"@node-llama-cpp/{machine}@{VERSION}"
    try:
        done = subprocess.run(["npm", "pack", "--loglevel", "error", package], cwd=folder, capture_output=True,
                              text=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise Unavailable(f"npm cannot be run: {problem}") from None
    if done.returncode:
        said = [line.removeprefix("npm error").strip() for line in done.stderr.splitlines()]
        why = "; ".join(line for line in said if line and "complete log" not in line)
        raise Unavailable(f"npm pack {package} failed: {why[:300] or 'no reason given'}")
    with tarfile.open(folder / done.stdout.split()[-1]) as archive:
        archive.extractall(folder, filter="data")
    return libraries


class ModelParams(ctypes.Structure):
    _fields_ = [("devices", ctypes.c_void_p), ("overrides", ctypes.c_void_p), ("n_gpu_layers", ctypes.c_int32),
                ("split_mode", ctypes.c_int), ("load_mode", ctypes.c_int), ("lazy_mode", ctypes.c_int),
                ("main_gpu", ctypes.c_int32), ("tensor_split", ctypes.c_void_p), ("progress", ctypes.c_void_p),
                ("progress_user", ctypes.c_void_p), ("kv_overrides", ctypes.c_void_p)] + [
        (name, ctypes.c_bool) for name in ("vocab_only", "check_tensors", "use_extra_bufts", "no_host", "no_alloc",
                                           "load_mtp")]


class ContextParams(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("n_ctx", "n_batch", "n_ubatch", "n_seq_max", "n_rs_seq",
                                                     "n_outputs_max", "n_outputs_max_per_seq")] + [
        (name, ctypes.c_int32) for name in ("n_threads", "n_threads_batch", "ctx_type", "rope_scaling_type",
                                            "pooling_type", "attention_type", "flash_attn_type")] + [
        (name, ctypes.c_float) for name in ("rope_freq_base", "rope_freq_scale", "yarn_ext_factor", "yarn_attn_factor",
                                            "yarn_beta_fast", "yarn_beta_slow")] + [
        ("yarn_orig_ctx", ctypes.c_uint32), ("defrag_thold", ctypes.c_float), ("cb_eval", ctypes.c_void_p),
        ("cb_eval_user", ctypes.c_void_p), ("type_k", ctypes.c_int), ("type_v", ctypes.c_int),
        ("abort", ctypes.c_void_p), ("abort_user", ctypes.c_void_p)] + [
        (name, ctypes.c_bool) for name in ("embeddings", "offload_kqv", "no_perf", "op_offload", "swa_full",
                                           "kv_unified")] + [
        ("samplers", ctypes.c_void_p), ("n_samplers", ctypes.c_size_t), ("ctx_other", ctypes.c_void_p)]


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)),
                ("embd", ctypes.POINTER(ctypes.c_float)), ("pos", ctypes.POINTER(ctypes.c_int32)),
                ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
                ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("logits", ctypes.POINTER(ctypes.c_int8))]


LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


class Library:
    def __init__(self, folder):
        try:
            base = ctypes.CDLL(str(folder / "libggml-base.so"), ctypes.RTLD_GLOBAL)
            ggml = ctypes.CDLL(str(next(folder.glob("libggml.v*.so"))), ctypes.RTLD_GLOBAL)
            self.c = ctypes.CDLL(str(next(folder.glob("libllama.v*.so"))), ctypes.RTLD_GLOBAL)
        except (OSError, StopIteration) as problem:
            raise Unavailable(f"llama.cpp's libraries cannot be loaded: {problem}") from None
        self.said = []
        self.log = LOG(lambda level, text, _: self.said.append(text.decode(errors="replace")))
        base.ggml_log_set(self.log, None)
        self.c.llama_log_set(self.log, None)
        ggml.ggml_backend_load_all_from_path(str(folder).encode())
        pointer, i32 = ctypes.c_void_p, ctypes.c_int32
        for name, result, arguments in (
                ("llama_model_default_params", ModelParams, []),
                ("llama_context_default_params", ContextParams, []),
                ("llama_model_load_from_file", pointer, [ctypes.c_char_p, ModelParams]),
                ("llama_init_from_model", pointer, [pointer, ContextParams]),
                ("llama_model_get_vocab", pointer, [pointer]),
                ("llama_vocab_n_tokens", i32, [pointer]),
                ("llama_batch_init", Batch, [i32, i32, i32]),
                ("llama_batch_free", None, [Batch]),
                ("llama_decode", i32, [pointer, Batch]),
                ("llama_model_n_embd", i32, [pointer]),
                ("llama_get_embeddings_seq", ctypes.POINTER(ctypes.c_float), [pointer, i32]),
                ("llama_get_logits_ith", ctypes.POINTER(ctypes.c_float), [pointer, i32]),
                ("llama_tokenize", i32, [pointer, ctypes.c_char_p, i32, ctypes.POINTER(i32), i32, ctypes.c_bool,
                                         ctypes.c_bool]),
                ("llama_free", None, [pointer]),
                ("llama_model_free", None, [pointer])):
            function = getattr(self.c, name)
            function.restype, function.argtypes = result, arguments
