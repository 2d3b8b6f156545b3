# SPDX-License-Identifier: MIT
"""What the end-to-end tests share: where the command and the data are, running it, and a terminal to talk to it."""

import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SLM = Path(os.environ.get("SLM_BINARY", ROOT / "build" / "slm"))
SHARED = Path(os.environ.get("SLM_SHARED", ROOT.parent / "shared"))
STORIES = SHARED / "data/models/stories260K/stories260K.gguf"
TINY_QWEN3 = SHARED / "data/models/tiny-qwen3-random/tiny-qwen3-q8_0.gguf"

# One error is one line: who, where, what.
ERROR_LINE = re.compile(r"\Aslm: [^\n]+: [^\n]+\n\Z")

CHAT_TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def need(path):
    """The path of a reference file, or a skip that says which one is missing."""
    if not Path(path).exists():
        pytest.skip(f"no {path}")
    return str(path)


def slm(*args, stdin="", env=None, timeout=120, binary=False):
    """Runs the command with the text as its stdin. Nothing of the caller's environment decides how it behaves."""
    base = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "XDG_STATE_HOME")}
    data = stdin if isinstance(stdin, bytes) else stdin.encode()
    done = subprocess.run([str(SLM), *map(str, args)], input=data, capture_output=True, timeout=timeout,
                          env={**base, **(env or {})}, check=False)
    if not binary:
        done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


def interrupt_again_and_again(args, point, step, most):
    """Runs slm with a checkpoint and ends it, now by SIGKILL, now by SIGINT, after a little longer each time, until it is through.
    At least one of them must have left a checkpoint."""
    kept = 0
    for attempt in range(most):
        job = subprocess.Popen([SLM, *map(str, args), "--checkpoint", point], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(step * (attempt + 1))
        job.send_signal(signal.SIGINT if attempt % 2 else signal.SIGKILL)
        job.communicate(timeout=60)
        kept += point.exists()
        if job.returncode == 0:
            break
    assert kept > 0


def peak_mib(*args):
    """The most memory the command takes at a time; mapped files that are in memory count."""
    # Linux counts the memory of whoever starts a program to the program's peak, so somebody small has to.
    start = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
             "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
    done = subprocess.run([sys.executable, "-c", start, str(SLM), *map(str, args)], check=True, capture_output=True,
                          text=True)
    return int(done.stdout) / 1024


def write_zeros(folder, config, entries):
    """A model folder with these tensors, name -> (type, shape). They are zeros that take no room on the disk."""
    sizes, header, at = {"F32": 4, "U32": 4, "BF16": 2, "U8": 1}, {}, 0
    for name, (dtype, shape) in entries.items():
        size = sizes[dtype]
        for n in shape:
            size *= n
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)
    (folder / "config.json").write_text(json.dumps(config))


def has_builtin_model():
    return slm("inspect").returncode == 0


def need_builtin_model():
    """A skip in a build without it."""
    if not has_builtin_model():
        pytest.skip("no built-in model in this build")


def with_template(source, target, template):
    """Copies a GGUF file and gives it a chat template. The new entry is put first, and padded to the alignment with a
    template comment, so that nothing after it has to be understood."""
    data = Path(source).read_bytes()
    assert data[:4] == b"GGUF"
    n_kv = struct.unpack_from("<Q", data, 16)[0]
    name, text = b"tokenizer.chat_template", template.encode() + b"{#"
    text += b" " * (-(8 + len(name) + 4 + 8 + len(text) + 2) % 32) + b"#}"
    entry = struct.pack("<Q", len(name)) + name + struct.pack("<IQ", 8, len(text)) + text
    Path(target).write_bytes(data[:16] + struct.pack("<Q", n_kv + 1) + entry + data[24:])
    return str(target)


class Terminal:
    """slm on a pseudo-terminal: type, and wait for what appears."""

    def __init__(self, *args, env=None, term="xterm"):
        self.seen = ""  # everything printed so far
        self.mark = 0   # what expect() has consumed
        pid, fd = pty.fork()
        if pid == 0:
            os.environ.update({"TERM": term, "LC_ALL": "C.UTF-8", **(env or {})})
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.execv(str(SLM), [str(SLM), *map(str, args)])
        self.pid, self.fd, self.code = pid, fd, None

    def type(self, text):
        os.write(self.fd, text.encode())

    def read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # Linux: the other side is closed
            data = b""
        self.seen += data.decode(errors="replace")
        return bool(data)

    def expect(self, pattern, seconds=60):
        """Waits until the pattern shows in what was printed since the last expect; returns the match."""
        deadline = time.monotonic() + seconds
        while True:
            match = re.compile(pattern, re.S).search(self.seen, self.mark)
            if match:
                self.mark = match.end()
                return match
            if time.monotonic() > deadline or not (self.read(0.2) or self.running()):
                raise AssertionError(f"{pattern!r} did not appear in {self.seen[self.mark:]!r}")

    def running(self):
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is None

    def wait(self, seconds=30):
        deadline = time.monotonic() + seconds
        while self.running() and time.monotonic() < deadline:
            self.read(0.1)
        while self.read(0):
            pass
        return self.code

    def close(self):
        if self.running():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
