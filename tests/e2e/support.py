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
import termios
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SLM = Path(os.environ.get("SLM_BINARY", ROOT / "build" / "slm"))
SHARED = Path(os.environ.get("SLM_SHARED", ROOT.parent / "shared"))
STORIES = SHARED / "data/models/stories260K/stories260K.gguf"
TINY_QWEN3 = SHARED / "data/models/tiny-qwen3-random/tiny-qwen3-q8_0.gguf"

PATIENCE = 120  # seconds after which something is stuck, on however busy a machine

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


def slm(*args, stdin="", env=None, timeout=300, binary=False):
    """Runs the command with the text as its stdin. Nothing of the caller's environment decides how it behaves."""
    base = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "XDG_STATE_HOME")}
    data = stdin if isinstance(stdin, bytes) else stdin.encode()
    done = subprocess.run([str(SLM), *map(str, args)], input=data, capture_output=True, timeout=timeout,
                          env={**base, **(env or {})}, check=False)
    if not binary:
        done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


def eventually(condition, what="it", seconds=PATIENCE):
    """Looks until the condition is true; returns its value. How long that takes is never what is tested."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} s"
        time.sleep(0.002)
    return value


def stamp(path):
    """What changes whenever the file is replaced or written; None where there is none."""
    try:
        now = Path(path).stat()
    except FileNotFoundError:
        return None
    return now.st_ino, now.st_size, now.st_mtime_ns


def cpu_seconds(pid):
    """What the process has computed so far: time that it does not get from a busy machine does not count."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def has_come_to(path, share):
    """Whether a file that is written from its beginning to its end has data there. Where the system does not tell holes
    from data: as soon as it is that long."""
    try:
        with open(path, "rb") as file:
            at = int(share * os.fstat(file.fileno()).st_size)
            return at > 0 and os.lseek(file.fileno(), at, os.SEEK_DATA) == at
    except OSError:  # there is none, or nothing but a hole behind that place
        return False


def interrupt_again_and_again(args, point):
    """Runs slm with a checkpoint and ends it as soon as that has changed, now by SIGKILL, now by SIGINT, a few times. Where this
    machine looked away until it was through, it begins again."""
    kept = 0
    for _ in range(40):
        before = stamp(point)
        job = subprocess.Popen([SLM, *map(str, args), "--checkpoint", point], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while stamp(point) == before and job.poll() is None:
            time.sleep(0.0005)
        job.send_signal(signal.SIGKILL if kept % 2 else signal.SIGINT)
        job.communicate(timeout=PATIENCE)
        if job.returncode == 0:
            point.unlink(missing_ok=True)
        elif point.exists():
            kept += 1
        if kept == 4:
            return
    raise AssertionError("40 runs ended before their checkpoint was seen")


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
        looked, look = os.pipe()
        pid, fd = pty.fork()
        if pid == 0:
            os.close(look)
            os.read(looked, 1)
            os.close(looked)
            os.environ.update({"TERM": term, "LC_ALL": "C.UTF-8", **(env or {})})
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.execv(str(SLM), [str(SLM), *map(str, args)])
        self.pid, self.fd, self.code = pid, fd, None
        self.modes = termios.tcgetattr(fd)  # as the program finds them
        os.close(looked)
        os.close(look)

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

    def expect(self, pattern, seconds=PATIENCE):
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

    def wait(self, seconds=PATIENCE):
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
