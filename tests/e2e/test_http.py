# SPDX-License-Identifier: MIT
"""HTTP as a hostile or broken client speaks it: raw bytes to the server, rows of what must come back.

What RFC 9112 says to refuse is refused with the connection closed, so that no second request hides behind a first; what
it says to accept works; whoever is slow is let go and holds nobody up. The server is tests/tools/http_server.c: the
real one, with routes of its own and limits that are reached in a second.
"""

import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from support import PATIENCE, SLM, eventually, slm

SERVER = Path(os.environ.get("SLM_TEST_HTTP_SERVER", SLM.parent / "tests" / "slm_test_http_server"))
LIMITS = {"body": 100000, "bodies": 400000, "header_ms": 500, "body_ms": 500, "rate": 20000, "idle_ms": 1500, "write_ms": 700,
          "linger_ms": 300}
# Where a deadline is not what is tested none is near: who waits for one is seen, nobody is let go for being busy.
PATIENT = {**LIMITS, "header_ms": 60000, "body_ms": 60000, "idle_ms": 60000, "write_ms": 60000}
NO_DEADLINE = 30  # seconds: less than those


class Server:
    def __init__(self, **limits):
        self.errors = tempfile.TemporaryFile("w+") # a pipe that nobody reads would stop the server
        self.process = subprocess.Popen([str(SERVER), *(f"{k}={v}" for k, v in limits.items())],
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.port = None
        for line in self.process.stdout:
            if found := re.search(r"listening on http:.*:(\d+)", line):
                self.port = int(found[1])
            if "Anthropic" in line or "unix:" in line:
                break

    def connect(self, timeout=PATIENCE):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def get(self, path, headers=""):
        with self.connect() as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: x.localhost\r\nConnection: close\r\n{headers}\r\n".encode())
            return response(read_all(s))

    def stats(self):
        return json.loads(self.get("/stats")[2])

    def rest(self):
        """Waits until nothing is left of what others did; what there is then."""
        return eventually(lambda: (found := self.stats())["connections"] == 1 and not any(
            found[name] for name in ("waiting", "streams", "bodies")) and found, "rest")

    def log(self):
        return os.pread(self.errors.fileno(), 1 << 20, 0).decode()

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.communicate(timeout=PATIENCE)
        return self.process.returncode


@pytest.fixture(scope="module")
def hasty():
    """One whose limits are reached in a second."""
    if not SERVER.exists():
        pytest.skip(f"no {SERVER}")
    s = Server(**LIMITS)
    yield s
    assert s.stop() == 0


@pytest.fixture(scope="module")
def server():
    if not SERVER.exists():
        pytest.skip(f"no {SERVER}")
    s = Server(**PATIENT)
    yield s
    assert s.stop() == 0


def read_all(s):
    data = b""
    try:
        while piece := s.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


def response(data):
    """(status, headers, body, what follows) of the first response."""
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while True:
            size, _, rest = rest.partition(b"\r\n")
            n = int(size, 16)
            body, rest = body + rest[:n], rest[n + 2:]
            if n == 0:
                return int(lines[0].split()[1]), headers, body, rest
    n = int(headers.get("content-length", 0))
    return int(lines[0].split()[1]), headers, rest[:n], rest[n:]


def statuses(data):
    return [int(n) for n in re.findall(rb"HTTP/1\.1 (\d\d\d) ", data)]


H = b"Host: localhost\r\n"
POST = b"POST /echo HTTP/1.1\r\n" + H
NEXT = b"GET /smuggled HTTP/1.1\r\n" + H + b"\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

# Bytes, and the statuses one of which must be the only answer; the connection ends after it, whatever follows.
REFUSED = {
    "no_host": (b"GET /health HTTP/1.1\r\n\r\n", [400]),
    "two_hosts": (b"GET /health HTTP/1.1\r\n" + H + H + b"\r\n", [400]),
    "bad_host": (b"GET /health HTTP/1.1\r\nHost: a b\r\n\r\n", [400]),
    "host_with_path": (b"GET /health HTTP/1.1\r\nHost: a/b\r\n\r\n", [400]),
    "empty_host": (b"GET /health HTTP/1.1\r\nHost:\r\n\r\n", [400]),
    "cl_and_te": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]),
    "te_and_cl": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", [400]),
    "two_lengths": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", [400]),
    "same_length_twice": (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", [400]),
    "length_list": (POST + b"Content-Length: 5, 5\r\n\r\nhello", [400]),
    "length_plus": (POST + b"Content-Length: +5\r\n\r\nhello", [400]),
    "length_hex": (POST + b"Content-Length: 0x5\r\n\r\nhello", [400]),
    "length_minus": (POST + b"Content-Length: -5\r\n\r\nhello", [400]),
    "length_20_digits": (POST + b"Content-Length: 100000000000000000000\r\n\r\nhello", [400]),
    "length_wraps": (POST + b"Content-Length: 18446744073709551621\r\n\r\nhello", [400]),
    "length_empty": (POST + b"Content-Length:\r\n\r\nhello", [400]),
    "length_space": (POST + b"Content-Length: 5 5\r\n\r\nhello", [400]),
    "te_other": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", [400, 501]),
    "te_gzip": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", [400, 501]),
    "te_identity": (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", [400, 501]),
    "te_twice": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]),
    "te_http10": (b"POST /echo HTTP/1.0\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]),
    "te_tab": (POST + b"Transfer-Encoding:\tchunked\x0b\r\n\r\n0\r\n\r\n", [400, 501]),
    "te_quoted": (POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n', [400, 501]),
    "te_space_colon": (POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", [400]),
    "chunk_minus": (CHUNKED + b"-2\r\nab\r\n0\r\n\r\n", [400]),
    "chunk_plus": (CHUNKED + b"+2\r\nab\r\n0\r\n\r\n", [400]),
    "chunk_0x": (CHUNKED + b"0x2\r\nab\r\n0\r\n\r\n", [400]),
    "chunk_ffff": (CHUNKED + b"ffffffffffffffff\r\nab\r\n0\r\n\r\n", [400, 413]),
    "chunk_17_digits": (CHUNKED + b"10000000000000002\r\nab\r\n0\r\n\r\n", [400, 413]),
    "chunk_empty_size": (CHUNKED + b"\r\nab\r\n0\r\n\r\n", [400]),
    "chunk_space": (CHUNKED + b" 2\r\nab\r\n0\r\n\r\n", [400]),
    "chunk_no_crlf": (CHUNKED + b"2\r\nab0\r\n\r\n", [400]),
    "chunk_too_long": (CHUNKED + b"2\r\nabc\r\n0\r\n\r\n", [400]),
    "chunk_lf": (CHUNKED + b"2\nab\n0\n\n", [400]),
    "chunk_data_lf": (CHUNKED + b"2\r\nab\n0\r\n\r\n", [400]),
    "chunk_cr": (CHUNKED + b"2\rXab\r\n0\r\n\r\n", [400]),
    "chunk_extension_64k": (CHUNKED + b"2;" + b"x" * 65536 + b"\r\nab\r\n0\r\n\r\n", [400]),
    "chunk_extension_lf": (CHUNKED + b"2;a\nb\r\nab\r\n0\r\n\r\n", [400]),
    "chunk_extension_nul": (CHUNKED + b"2;a\0b\r\nab\r\n0\r\n\r\n", [400]),
    "trailer_length": (CHUNKED + b"2\r\nab\r\n0\r\nContent-Length: 50\r\n\r\n", [400]),
    "trailer_cr": (CHUNKED + b"0\r\nX: a\rY: b\r\n\r\n", [400]),
    "last_chunk_lf": (CHUNKED + b"2\r\nab\r\n0\n\n", [400]),
    "bare_lf": (b"GET /health HTTP/1.1\nHost: localhost\n\n", [400]),
    "bare_lf_header": (b"GET /health HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n", [400]),
    "bare_cr_header": (b"GET /health HTTP/1.1\r\n" + H + b"X: a\rContent-Length: 5\r\n\r\n", [400]),
    "fold": (b"GET /health HTTP/1.1\r\n" + H + b"X: a\r\n b\r\n\r\n", [400]),
    "fold_tab": (b"GET /health HTTP/1.1\r\n" + H + b"X: a\r\n\tb\r\n\r\n", [400]),
    "fold_first": (b"GET /health HTTP/1.1\r\n X: a\r\n" + H + b"\r\n", [400]),
    "length_folded": (POST + b"Content-Length:\r\n 5\r\n\r\nhello", [400]),
    "nul_name": (b"GET /health HTTP/1.1\r\n" + H + b"X\0: a\r\n\r\n", [400]),
    "nul_value": (b"GET /health HTTP/1.1\r\n" + H + b"X: a\0b\r\n\r\n", [400]),
    "control_value": (b"GET /health HTTP/1.1\r\n" + H + b"X: a\x08b\r\n\r\n", [400]),
    "delete_value": (b"GET /health HTTP/1.1\r\n" + H + b"X: a\x7fb\r\n\r\n", [400]),
    "no_colon": (b"GET /health HTTP/1.1\r\n" + H + b"Xab\r\n\r\n", [400]),
    "empty_name": (b"GET /health HTTP/1.1\r\n" + H + b": a\r\n\r\n", [400]),
    "space_in_name": (b"GET /health HTTP/1.1\r\n" + H + b"X y: a\r\n\r\n", [400]),
    "quote_in_name": (b"GET /health HTTP/1.1\r\n" + H + b'X"y: a\r\n\r\n', [400]),
    "high_byte_in_name": (b"GET /health HTTP/1.1\r\n" + H + b"X\xe9: a\r\n\r\n", [400]),
    "http09": (b"GET /health\r\n\r\n", [400]),
    "http2": (b"GET /health HTTP/2.0\r\n" + H + b"\r\n", [505]),
    "http3": (b"GET /health HTTP/3.0\r\n" + H + b"\r\n", [505]),
    "http12": (b"GET /health HTTP/1.2\r\n" + H + b"\r\n", [505]),
    "http_lower": (b"GET /health http/1.1\r\n" + H + b"\r\n", [400]),
    "http_long": (b"GET /health HTTP/1.10\r\n" + H + b"\r\n", [400]),
    "two_spaces": (b"GET  /health HTTP/1.1\r\n" + H + b"\r\n", [400]),
    "tab_for_space": (b"GET\t/health HTTP/1.1\r\n" + H + b"\r\n", [400]),
    "space_at_end": (b"GET /health HTTP/1.1 \r\n" + H + b"\r\n", [400]),
    "space_first": (b" GET /health HTTP/1.1\r\n" + H + b"\r\n", [400]),
    "space_in_url": (b"GET /hea lth HTTP/1.1\r\n" + H + b"\r\n", [400]),
    "url_nul": (b"GET /a%00b HTTP/1.1\r\n" + H + b"\r\n", [400]),
    "url_zz": (b"GET /a%zzb HTTP/1.1\r\n" + H + b"\r\n", [400]),
    "url_cut": (b"GET /a%4 HTTP/1.1\r\n" + H + b"\r\n", [400]),
    "url_dots": (b"GET /items/../health HTTP/1.1\r\n" + H + b"\r\n", [400]),
    "url_encoded_dots": (b"GET /items/%2e%2e/%2e%2e/etc HTTP/1.1\r\n" + H + b"\r\n", [400]),
    "url_latin1": (b"GET /a%e9 HTTP/1.1\r\n" + H + b"\r\n", [400]),
    "url_high": (b"GET /\xe9 HTTP/1.1\r\n" + H + b"\r\n", [400]),
    "url_fragment": (b"GET /health#x HTTP/1.1\r\n" + H + b"\r\n", [400]),
    "url_64k": (b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\n" + H + b"\r\n", [414]),
    "url_9k": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + H + b"\r\n", [414]),
    "header_64k": (b"GET /health HTTP/1.1\r\n" + H + b"X: " + b"a" * 65536 + b"\r\n\r\n", [431]),
    "headers_101": (b"GET /health HTTP/1.1\r\n" + H + b"X: a\r\n" * 100 + b"\r\n", [431]),
    "method_long": (b"G" * 40 + b" /health HTTP/1.1\r\n" + H + b"\r\n", [400]),
    "method_unknown": (b"BREW /health HTTP/1.1\r\n" + H + b"\r\n", [501]),
    "connect": (b"CONNECT localhost:80 HTTP/1.1\r\n" + H + b"\r\n", [400, 405]),
    "tls_hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 60, [400]),
    "h2_preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400, 505]),
    "body_announced_1g": (POST + b"Content-Length: 1073741824\r\n\r\n", [413]),
    "chunk_announced_1g": (CHUNKED + b"40000000\r\n", [413]),
    "chunks_add_up": (CHUNKED + (b"3e8\r\n" + b"x" * 1000 + b"\r\n") * 200, [413]),
    "gzip_body": (POST + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", [415]),
    "expect_other": (POST + b"Expect: miracles\r\nContent-Length: 5\r\n\r\nhello", [417]),
    "not_found_with_body": (b"POST /nope HTTP/1.1\r\n" + H + b"Content-Length: 9\r\n\r\nGET / HTT", [404]),
}

# The tricks of smuggling: a header of framing spelled so that one of two servers overlooks it. Each comes with another
# length before and behind it (CL.TE, TE.CL) and alone (TE.TE); none may be read in either way. Escapes are octets.
TE_TRICKS = [r"Transfer-Encoding: xchunked", r"Transfer-Encoding: chunk", r"Transfer-Encoding: chunkedx", r"Transfer-Encoding:",
             r"Transfer-Encoding: cow", r"Transfer-Encoding: identity", r"Transfer-Encoding: chunked, chunked",
             r"Transfer-Encoding: chunked, identity", r"Transfer-Encoding: identity, chunked", r"Transfer-Encoding: chunked;q=1",
             r"Transfer-Encoding: 'chunked'", r"Transfer-Encoding: chunked cow", r"Transfer-Encoding: \x0bchunked",
             r"Transfer-Encoding: chunked\x0b", r"Transfer-Encoding: \x0cchunked", r"Transfer-Encoding: \x00chunked",
             r"Transfer-Encoding: chunked\x00", r"Transfer-Encoding: chunked\xff", r"Transfer-Encoding: \xa0chunked",
             r"Transfer-Encoding: \x85chunked", r"Transfer-Encoding: c\u017funked", r"Transfer-Encoding: \x08chunked",
             r"Transfer-Encoding : chunked", r"Transfer-Encoding\t: chunked", r"Transfer-Encoding\x0b: chunked",
             r"Transfer-Encoding\x00: chunked", r"Transfer-Encoding\xa0: chunked", r"Transfer-Encoding\xff: chunked",
             r" Transfer-Encoding: chunked", r"\tTransfer-Encoding: chunked", r"\x00Transfer-Encoding: chunked",
             r"\xffTransfer-Encoding: chunked", r"Transfer Encoding: chunked", r"Transfer-Encoding chunked",
             r"Transfer-Encoding:\r\n chunked", r"Transfer-Encoding:\r\n\tchunked", r"Transfer-Encoding\r\n: chunked",
             r"Transfer-Encoding:\nchunked", r"Transfer-Encoding: chunked\n", r"Transfer-Encoding: chunked\r",
             r"X: y\nTransfer-Encoding: chunked", r"X: y\rTransfer-Encoding: chunked", r"X: y\r\r\nTransfer-Encoding: chunked",
             r"X: y\n\rTransfer-Encoding: chunked", r"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
             r"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked", r"Transfer-Encoding: chunked\r\ntransfer-encoding: chunked",
             r"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", r"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"]
CL_TRICKS = [r"-0", r"+0", r"-1", r"5.0", r"5e0", r"5,", r",5", r"5;", r"5,6", r"5, 5", r"0b101", r"0o5", r"5h", r"'5'", r"5\x0b", r"\x0b5", r"5\x0c",
             r"5\x00", r"5\xa0", r"\xa05", r"\xef\xbc\x95", r"5_0", r"9223372036854775808", r"18446744073709551616", r"5\r\n\t",
             r"5\r\nContent-Length: 6", r"5\r\ncontent-length: 5", r"5\r\nContent-Length: ", r"5\nX: y", r"5\rX: y"]
CHUNK_TRICKS = [r"5 5", r"5g", r"5\x0b", r"5\x00", r"5\xa0", r"5.", r"5,", r"5_0", r"\x0b5", r"\t5", r"-0", r"+5", r"'5'", r"\xef\xbc\x95",
                r"5;a\x0bb", r"5;a\x7fb", r"5;a\rb", r"5\n", r"5\r", r"5\r\r", r"fffffffffffffffb", r"8000000000000005", r"100000005",
                r"10000000000000005"]


def octets(text):
    return text.encode("utf-8").decode("unicode_escape").encode("utf-8" if "\\u" in text else "latin-1")


for trick in TE_TRICKS:
    line, length = octets(trick) + b"\r\n", b"Content-Length: 5\r\n"
    for how, head in (("alone", line), ("cl_te", length + line), ("te_cl", line + length)):
        REFUSED[f"{how} {trick}"] = (POST + head + b"\r\n0\r\n\r\n", [400, 501])
for trick in CL_TRICKS:
    REFUSED[f"length {trick}"] = (POST + b"Content-Length: " + octets(trick) + b"\r\n\r\nhello", [400, 413])
for trick in CHUNK_TRICKS:
    REFUSED[f"chunk {trick}"] = (CHUNKED + octets(trick) + b"\r\nhello\r\n0\r\n\r\n", [400, 413])


@pytest.mark.parametrize("name", REFUSED)
def test_refused(server, name):
    probe, allowed = REFUSED[name]
    started = time.monotonic()
    with server.connect() as s:
        try:
            s.sendall(probe + NEXT * 3)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = read_all(s)
    found = statuses(answer)
    assert len(found) == 1 and found[0] in allowed, (found, answer[:300])
    assert response(answer)[1]["connection"] == "close"
    assert time.monotonic() - started < NO_DEADLINE, "it waited for a deadline"


# What a strict server must still take: bytes, statuses in order.
ACCEPTED = {
    "plain": (b"GET /health HTTP/1.1\r\n" + H + b"\r\n", [200]),
    "empty_line_first": (b"\r\nGET /health HTTP/1.1\r\n" + H + b"\r\n", [200]),
    "absolute": (b"GET http://localhost/health HTTP/1.1\r\n" + H + b"\r\n", [200]),
    "options_star": (b"OPTIONS * HTTP/1.1\r\n" + H + b"\r\n", [204]),
    "encoded_path": (b"GET /%68ealth HTTP/1.1\r\n" + H + b"\r\n", [200]),
    "query": (b"GET /health?a=b&c=%zz HTTP/1.1\r\n" + H + b"\r\n", [200]),
    "no_space_value": (b"GET /health HTTP/1.1\r\nHost:localhost\r\nX:\t a \t\r\n\r\n", [200]),
    "latin1_value": (b"GET /health HTTP/1.1\r\n" + H + b"X: \xe9\r\n\r\n", [200]),
    "host_port": (b"GET /health HTTP/1.1\r\nHost: localhost:8080\r\n\r\n", [200]),
    "host_ip6": (b"GET /health HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", [200]),
    "upgrade_ignored": (b"GET /health HTTP/1.1\r\n" + H + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                        b"HTTP2-Settings: AAMAAABk\r\n\r\n", [200]),
    "upgrade_with_body": (POST + b"Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 5\r\n\r\nhello" + NEXT, [200, 404]),
    "length": (POST + b"Content-Length: 5\r\n\r\nhello", [200]),
    "chunks": (CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", [200]),
    "chunk_extension": (CHUNKED + b"2;a=b\r\nhe\r\n3;c=\"d e\"\r\nllo\r\n0\r\n\r\n", [200]),
    "chunk_zeros": (CHUNKED + b"0005\r\nhello\r\n0\r\n\r\n", [200]),
    "chunk_case": (POST + b"transfer-ENCODING: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", [200]),
    "continue": (POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", [200]),
    "headers_100": (b"GET /health HTTP/1.1\r\n" + H + b"X: a\r\n" * 99 + b"\r\n", [200]),
    "url_8k": (b"GET /health?" + b"a" * 8180 + b" HTTP/1.1\r\n" + H + b"\r\n", [200]),
    "pipelined": ((b"GET /health HTTP/1.1\r\n" + H + b"\r\n") * 100, [200] * 100),
    "pipelined_bodies": ((POST + b"Content-Length: 5\r\n\r\nhello" + CHUNKED + b"5\r\nhello\r\n0\r\n\r\n") * 20,
                         [200] * 40),
    "unread_is_no_request": (b"GET /nope HTTP/1.1\r\n" + H + b"\r\n" + b"GET /health HTTP/1.1\r\n" + H + b"\r\n", [404, 200]),
    # Other names are other headers: what they say about lengths is nothing to us, nor to a proxy.
    "te_underscore": (POST + b"Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello", [200]),
    "cl_underscore": (POST + b"Content_Length: 50\r\nContent-Length: 5\r\n\r\nhello", [200]),
    "te_other_name": (POST + b"X-Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello", [200]),
    "length_zeros": (POST + b"Content-Length: 0005\r\n\r\nhello", [200]),
    "trace": (b"TRACE /health HTTP/1.1\r\n" + H + b"\r\n", [405]),
}


@pytest.mark.parametrize("pieces", [0, 1])
@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(server, name, pieces):
    probe, expected = ACCEPTED[name]
    with server.connect() as s:
        if pieces and len(probe) < 1000:
            for i in range(len(probe)): # a byte at a time: no boundary matters
                s.send(probe[i:i + 1])
        else:
            s.sendall(probe)
        s.shutdown(socket.SHUT_WR)
        answer = read_all(s)
    found = [n for n in statuses(answer) if n != 100]
    assert found == expected, answer[:400]
    if b"hello" in probe:
        assert response(answer[answer.index(b"HTTP/1.1 200"):])[2] == b"hello"


def test_http10(server):
    with server.connect() as s:
        s.sendall(b"GET /stream?2 HTTP/1.0\r\n\r\n")
        head, _, body = read_all(s).partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head and b"Connection: close" in head and body == b"line\n" * 2
    with server.connect() as s:
        s.sendall(b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /health HTTP/1.0\r\n\r\n")
        assert statuses(read_all(s)) == [200, 200]


def test_continue_comes_before_the_body(server):
    with server.connect() as s:
        s.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert s.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(b"hello")
        assert s.recv(1000).endswith(b"hello")
    with server.connect() as s: # nobody is asked to send in vain
        s.sendall(b"POST /nope HTTP/1.1\r\n" + H + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert statuses(read_all(s)) == [404]


def test_replies_keep_their_order(server):
    """A slow answer is not overtaken by the fast ones behind it on the same connection."""
    with server.connect() as s:
        s.sendall(b"GET /stream?5 HTTP/1.1\r\n" + H + b"\r\nGET /work HTTP/1.1\r\n" + H + b"\r\n"
                  b"GET /health HTTP/1.1\r\n" + H + b"Connection: close\r\n\r\n")
        answer = read_all(s)
    assert statuses(answer) == [200] * 3
    assert answer.index(b"line\n") < answer.index(b"worked") < answer.index(b'"ok"')


def test_ten_thousand_requests_on_one_connection(server):
    with server.connect() as s:
        for _ in range(100):
            s.sendall((b"GET /health HTTP/1.1\r\n" + H + b"\r\n") * 100)
            answer = b""
            while answer.count(b'"ok"') < 100:
                answer += s.recv(1 << 16)
            assert statuses(answer) == [200] * 100
    assert server.rest()


def test_head_and_options(server):
    with server.connect() as s:
        s.sendall(b"HEAD /stream?3 HTTP/1.1\r\n" + H + b"\r\nHEAD /health HTTP/1.1\r\n" + H + b"Connection: close\r\n\r\n")
        answer = read_all(s)
    assert statuses(answer) == [200, 200] and b"line" not in answer and b'"ok"' not in answer
    assert b"Content-Length: 16" in answer
    status, headers, _, _ = server.get("/echo")
    assert status == 405 and headers["allow"] == "POST"


def test_wild_routes_and_error_shapes(server):
    assert b"path=/items/a/b c\n" in server.get("/items/a%2Fb%20c")[2]
    assert server.get("/items/")[:1] == (404,) and server.get("/items/")[2].startswith(b"there is")
    assert "message" in json.loads(server.get("/nope")[2])["error"]


@pytest.mark.parametrize("headers, status, allowed", [
    ("Origin: http://localhost:3000\r\n", 200, True), ("Origin: https://127.0.0.1\r\n", 200, True),
    ("Origin: http://[::1]:5\r\n", 200, True), ("Origin: tauri://x\r\n", 200, True),
    ("Origin: http://x.localhost\r\n", 200, True), # the page's own server
    ("Origin: http://evil.example.com\r\n", 403, False), ("Origin: null\r\n", 403, False),
    ("Origin: http://localhost.example.com\r\n", 403, False), ("Origin: ftp://localhost\r\n", 403, False),
])
def test_origins(server, headers, status, allowed):
    got, have, _, _ = server.get("/health", headers)
    assert got == status and ("access-control-allow-origin" in have) == allowed


@pytest.mark.parametrize("host, status", [
    ("localhost", 200), ("LOCALHOST:1", 200), ("127.0.0.1", 200), ("192.168.1.7:80", 200), ("[::1]", 200),
    ("a.localhost", 200), ("example.com", 403), ("localhost.example.com", 403), ("notlocalhost", 403),
])
def test_hosts(server, host, status):
    with server.connect() as s:
        s.sendall(f"GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert statuses(read_all(s)) == [status]


def test_request_ids(server):
    assert server.get("/health", "X-Request-Id: abc-1\r\n")[1]["x-request-id"] == "abc-1"
    for bad in ("a b", "<x>", "x" * 40):
        assert server.get("/health", f"X-Request-Id: {bad}\r\n")[1]["x-request-id"].startswith("req-")
    assert server.get("/health")[1]["x-request-id"] != server.get("/health")[1]["x-request-id"]


# Who is slow, and how it ends: first bytes, what is sent every 50 ms, the answer ("" = none).
SLOW_CLIENTS = {
    "silent": (b"", b"", []),
    "head": (b"GET /health HTTP/1.1\r\n", b"X", [408]),
    "head_lines": (b"GET /health HTTP/1.1\r\n", b"X: y\r\n", [408]),
    "body": (POST + b"Content-Length: 50000\r\n\r\n", b"x", [408]),
    "chunks": (CHUNKED, b"1\r\nx\r\n", [408]),
    "no_body": (POST + b"Content-Length: 5\r\n\r\n", b"", [408]),
}


@pytest.mark.parametrize("name", SLOW_CLIENTS)
def test_slow_clients_end(hasty, name):
    first, drip, expected = SLOW_CLIENTS[name]
    started = time.monotonic()
    with hasty.connect(0.05) as s:
        s.sendall(first)
        answer = b""
        while time.monotonic() - started < PATIENCE:
            try:
                piece = s.recv(1000)
                if not piece:
                    break
                answer += piece
            except TimeoutError:
                try:
                    s.send(drip)
                except OSError:  # what it was told before may still be there
                    answer += read_all(s)
                    break
            except ConnectionResetError:
                break
        else:
            raise AssertionError("it was never let go")
    assert statuses(answer) == expected
    assert time.monotonic() - started >= 0.4, "sooner than its deadline"


def test_idle_connections_end(hasty):
    with hasty.connect() as s:
        started = time.monotonic()
        s.sendall(b"GET /health HTTP/1.1\r\n" + H + b"\r\n")
        assert statuses(read_all(s)) == [200]
        assert time.monotonic() - started >= 1.4, "sooner than its deadline"


def test_stalled_reader_is_cancelled(hasty):
    """Who stops reading loses the connection, and the stream behind it hears of it."""
    hasty.rest()
    with hasty.connect() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(b"GET /big?30000000 HTTP/1.1\r\n" + H + b"\r\n")
        s.recv(1)  # it has begun
        hasty.rest()  # our side of it is still open


def test_disconnects_in_every_state_leak_nothing(server):
    """Clients that leave at random places, politely or not: no descriptor, reply or body stays."""
    rng = random.Random(6)
    probes = [b"GET /wait HTTP/1.1\r\n" + H + b"\r\n", b"GET /stream?200 HTTP/1.1\r\n" + H + b"\r\n",
              POST + b"Content-Length: 9000\r\n\r\n" + b"x" * 8000, CHUNKED + b"500\r\n" + b"y" * 700,
              b"GET /big?3000000 HTTP/1.1\r\n" + H + b"\r\n", b"GET /work HTTP/1.1\r\n" + H + b"\r\n",
              (b"GET /health HTTP/1.1\r\n" + H + b"\r\n") * 30]
    before = server.rest()
    for _ in range(300):
        s = server.connect()
        probe = rng.choice(probes)
        s.sendall(probe[:rng.randint(0, len(probe))] if rng.random() < 0.4 else probe)
        if rng.random() < 0.3:
            s.settimeout(0.02)
            try:
                s.recv(10)
            except (TimeoutError, ConnectionResetError):
                pass
        if rng.random() < 0.5: # RST instead of FIN
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        s.close()
    eventually(lambda: server.stats() == before, f"{before}")


def test_bodies_have_a_budget():
    s = Server(**{**PATIENT, "body": 100000, "bodies": 150000})
    with s.connect() as a, s.connect() as b:
        a.sendall(POST + b"Content-Length: 100000\r\n\r\n" + b"x" * 90000)
        eventually(lambda: s.stats()["bodies"] == 90000)
        b.sendall(POST + b"Content-Length: 100000\r\n\r\n" + b"x" * 90000)
        status, headers, _, _ = response(read_all(b))
        assert status == 503 and headers["retry-after"]
        a.sendall(b"x" * 10000)
        assert statuses(a.recv(100)) == [200]
    eventually(lambda: s.stats()["bodies"] == 0)
    assert s.stop() == 0


def test_slow_crowd_holds_nobody_up():
    """Nine in ten connections say nothing or never end a request; the others are answered at once: none waits for a slow
    one's deadline, and the quickest, whom the rest of a busy machine disturbs least, are as quick as that."""
    s = Server(**{**PATIENT, "connections": 330})
    slow = [s.connect() for _ in range(300)]
    memory = rss(s.process.pid)
    for i, c in enumerate(slow):
        c.sendall([b"", b"GET /health HT", POST + b"Content-Length: 99\r\n\r\nx", b"GET /wait HTTP/1.1\r\n" + H + b"\r\n"]
                  [i % 4])
    times = []
    with s.connect() as c:
        for _ in range(200):
            started = time.monotonic()
            c.sendall(b"GET /health HTTP/1.1\r\n" + H + b"\r\n")
            assert statuses(c.recv(1000)) == [200]
            times.append(time.monotonic() - started)
    assert sorted(times)[20] < 0.05 and max(times) < NO_DEADLINE
    extra = [s.connect() for _ in range(40)] # beyond the limit: told so
    answers = [statuses(read_all(c)) for c in extra[35:]]
    assert all(a in ([503], []) for a in answers) and answers[0] == [503]
    for c in slow + extra:
        c.close()
    assert s.stop() == 0
    assert memory > 0


def rss(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_idle_connections_are_small():
    s = Server(**{**PATIENT, "connections": 1000})
    with s.connect() as c: # what is allocated once
        c.sendall(b"GET /health HTTP/1.1\r\n" + H + b"\r\n")
        c.recv(1000)
    before, open_now = rss(s.process.pid), []
    for _ in range(400):
        c = s.connect()
        c.sendall(b"GET /headers HTTP/1.1\r\n" + H + b"X: y\r\n\r\n")
        assert c.recv(1000)
        open_now.append(c)
    assert (rss(s.process.pid) - before) / len(open_now) < 16384
    for c in open_now:
        c.close()
    assert s.stop() == 0


# ---- keys, sockets, life -------------------------------------------------------------------------------------------


def test_keys(tmp_path):
    file = tmp_path / "keys"
    file.write_text("# team\nanna:anna-secret-1\n\nplain-secret-2\r\n")
    s = Server(key_file=file, key="admin:first-secret", **PATIENT)
    def who(headers):
        status, have, body, _ = s.get("/headers", headers)
        assert (status == 401) == ("www-authenticate" in have)
        return re.search(rb"key=(.*)", body)[1].decode() if status == 200 else status
    assert who("Authorization: Bearer anna-secret-1\r\n") == "anna"
    assert who("X-Api-Key: anna-secret-1\r\n") == "anna"
    assert who("Authorization: Bearer first-secret\r\n") == "admin"
    assert who("authorization: bearer plain-secret-2\r\n") == "key-3"
    for bad in ("", "Authorization: anna-secret-1\r\n", "Authorization: Bearer anna-secret-\r\n",
                "Authorization: Bearer anna-secret-12\r\n", "Authorization: Basic anna-secret-1\r\n",
                "X-Api-Key: " + "x" * 300 + "\r\n"):
        assert who(bad) == 401
    assert s.get("/health")[0] == 200
    with s.connect() as c: # no key: no body is asked for
        c.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert statuses(read_all(c)) == [401]
    file.write_text("berta:berta-secret-1\n")
    s.process.send_signal(signal.SIGHUP)
    eventually(lambda: who("X-Api-Key: berta-secret-1\r\n") == "berta")
    assert who("X-Api-Key: anna-secret-1\r\n") == 401
    file.write_text("short\n")
    s.process.send_signal(signal.SIGHUP)
    eventually(lambda: "line 1" in s.log(), "reading the file")
    assert who("X-Api-Key: berta-secret-1\r\n") == "berta", "a bad file changes nothing"
    assert s.stop() == 0
    assert "secret" not in s.log()


def test_unix_socket(tmp_path):
    path = tmp_path / "s"
    for _ in range(2): # the second time over what a killed server leaves
        s = Server(unix=path)
        with socket.socket(socket.AF_UNIX) as c:
            c.connect(str(path))
            c.sendall(b"GET /health HTTP/1.1\r\nHost: whatever\r\nConnection: close\r\n\r\n")
            assert statuses(read_all(c)) == [200]
        s.process.kill()
        s.process.wait()
    s = Server(unix=path)
    assert s.stop() == 0 and not path.exists()


def test_a_key_has_its_rate(tmp_path):
    """Each API says 429 in its shape; other keys, and what only looks, go on. A reload gives nothing back."""
    file = tmp_path / "keys"
    file.write_text("anna:anna-secret-1 3/h\nberta:berta-secret-1\n")
    arguments = [SLM, "serve", "--port", "0", "--log-level", "error", "--api-key-file", file, "--key-rate", "1000/s"]
    with subprocess.Popen(list(map(str, arguments)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as p:
        port = int(re.search(r":(\d+)$", p.stdout.readline().strip())[1])

        def ask(key, path, body=b"{}", method="POST"):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            connection.request(method, path, body, {"Content-Type": "application/json", "X-Api-Key": key})
            reply = connection.getresponse()
            text = reply.read().decode()
            connection.close()
            return reply.status, reply.getheader("Retry-After"), text

        try:
            assert [ask("anna-secret-1", "/v1/chat/completions")[0] for _ in range(3)] == [400] * 3
            for path, shape in [("/v1/chat/completions", lambda e: e["error"]["type"] == "rate_limit_error"),
                                ("/v1/messages", lambda e: (e["type"], e["error"]["type"]) == ("error", "rate_limit_error")),
                                ("/api/chat", lambda e: isinstance(e["error"], str)),
                                ("/tokenize", lambda e: e["error"]["type"] == "rate_limit_error")]:
                for _ in range(20):
                    status, after, text = ask("anna-secret-1", path)
                    assert status == 429 and 0 < int(after) <= 1200, text  # a third of an hour for each
                    assert shape(json.loads(text)) and "3 requests in 3600 s" in text and "secret" not in text
                assert ask("berta-secret-1", path)[0] == 400
            assert ask("anna-secret-1", "/v1/models", None, "GET")[0] == 200
            p.send_signal(signal.SIGHUP)
            for _ in range(50):
                assert ask("anna-secret-1", "/tokenize")[0] == 429 and ask("wrong-secret", "/tokenize")[0] == 401
        finally:
            p.terminate()
            assert p.wait(PATIENCE) == 0
    done = subprocess.run([str(SLM), "serve", "--key-rate", "often"], capture_output=True, text=True, timeout=PATIENCE,
                          check=False)
    assert done.returncode == 1 and "'often' is no rate" in done.stderr


def test_public_addresses_need_a_key():
    done = subprocess.run([str(SERVER), "host=0.0.0.0"], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1 and "--api-key-file" in done.stderr and "--open" in done.stderr


def test_systemd(tmp_path):
    """A socket handed over at start and the states told on the way, with neither systemd nor its library."""
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(tmp_path / "notify"))
    notify.settimeout(PATIENCE)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    # The descriptor must be 3, and LISTEN_PID the process that runs the server: a shell sets both.
    fd = listening.fileno()
    process = subprocess.Popen(
        ["sh", "-c", f'export LISTEN_PID=$$ LISTEN_FDS=1 NOTIFY_SOCKET={tmp_path}/notify; exec "$0"', str(SERVER)],
        preexec_fn=lambda: os.dup2(fd, 3), pass_fds=(3,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert notify.recv(100) == b"READY=1"
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as c:
        c.sendall(b"GET /health HTTP/1.1\r\n" + H + b"Connection: close\r\n\r\n")
        assert statuses(read_all(c)) == [200]
    process.send_signal(signal.SIGHUP)
    assert [notify.recv(100), notify.recv(100)] == [b"RELOADING=1", b"READY=1"]
    process.terminate()
    assert notify.recv(100) == b"STOPPING=1"
    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_drain(number):
    """Streams at work end whole, idle connections at once, new ones are refused, the exit code is 0."""
    s = Server(drain_ms=60000, hold=1)
    streams = [s.connect() for _ in range(16)]
    for c in streams:
        c.sendall(b"GET /stream?30 HTTP/1.1\r\n" + H + b"\r\n")
    eventually(lambda: s.stats()["streams"] == 16, "16 streams")
    idle = s.connect()
    idle.sendall(b"GET /health HTTP/1.1\r\n" + H + b"\r\n")
    idle.recv(1000)
    s.process.send_signal(number)
    assert idle.recv(100) == b""
    refuses(s)
    s.process.send_signal(signal.SIGUSR1)
    for c in streams:
        status, _, body, rest = response(read_all(c))
        assert status == 200 and body == b"line\n" * 30 and rest == b""
    assert s.process.wait(PATIENCE) == 0


def refuses(s):
    """Waits until nobody can connect any more."""
    def is_refused():
        try:
            s.connect().close()
        except OSError:
            return True
        return False
    eventually(is_refused, "refusing connections")


def test_second_signal_ends_at_once():
    s = Server(drain_ms=60000)
    c = s.connect()
    c.sendall(b"GET /wait HTTP/1.1\r\n" + H + b"\r\n")
    eventually(lambda: s.stats()["waiting"] == 1)
    s.process.send_signal(signal.SIGTERM)
    refuses(s)
    assert s.process.poll() is None
    assert s.stop(signal.SIGINT) == 128 + signal.SIGINT


def test_drain_has_an_end():
    s = Server(drain_ms=200)
    c = s.connect()
    c.sendall(b"GET /wait HTTP/1.1\r\n" + H + b"\r\n")
    eventually(lambda: s.stats()["waiting"] == 1)
    assert s.stop() == 0


def test_many_at_once(server):
    """Ten threads, a connection each, hundreds of requests: every answer belongs to its question."""
    failures = []
    def ask(n):
        with server.connect() as c:
            for i in range(50):
                body = f"{n}-{i}".encode() * 10
                c.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                data = b""
                while not data.endswith(body):
                    data += c.recv(65536)
                if statuses(data) != [200]:
                    failures.append(data)
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_command():
    """The command itself: where it listens, the port that is taken, the help."""
    process = subprocess.Popen([str(SLM), "serve", "--port", "0", "--log", "json"], stderr=subprocess.PIPE, text=True)
    first = process.stderr.readline()
    port = int(re.search(r":(\d+)$", first)[1])
    clients = [process.stderr.readline() for _ in range(4)]
    assert [line.split()[0] for line in clients] == ["browsers:", "OpenAI", "Ollama", "Anthropic"], clients
    assert f"http://127.0.0.1:{port}/v1" in clients[1]
    taken = slm("serve", "--port", port)
    assert taken.returncode == 1 and "listens there already" in taken.stderr
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as c:
        c.sendall(b"GET /nope HTTP/1.1\r\n" + H + b"Connection: close\r\n\r\n")
        assert statuses(read_all(c)) == [404]
    process.terminate()
    lines = [json.loads(line) for line in process.stderr.read().splitlines() if line.startswith("{")]
    assert process.wait(PATIENCE) == 0
    request = next(line for line in lines if line["msg"] == "request")
    assert request["status"] == 404 and request["path"] == "/nope" and request["peer"] == "127.0.0.1"


def test_metrics():
    """Counts that a completion of at most eight tokens must leave behind, under both names."""
    process = subprocess.Popen([str(SLM), "serve", "--port", "0"], stderr=subprocess.PIPE, text=True)
    port = int(re.search(r":(\d+)$", process.stderr.readline())[1])
    def ask(request):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as c:
            c.sendall(request)
            return response(read_all(c))
    body = b'{"prompt":"Once","max_tokens":8}'
    assert ask(b"POST /v1/completions HTTP/1.1\r\n" + H + b"Connection: close\r\nContent-Type: application/json\r\n"
               b"Content-Length: %d\r\n\r\n" % len(body) + body)[0] == 200
    status, headers, text, _ = ask(b"GET /metrics HTTP/1.1\r\n" + H + b"Connection: close\r\n\r\n")
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert status == 200 and headers["content-type"].startswith("text/plain; version=0.0.4")
    values = dict(line.rsplit(" ", 1) for line in text.decode().splitlines() if not line.startswith("#"))
    one_model = re.compile(r'\{model_name="[^"]*"\}|(?<=\{)model_name="[^"]*",')
    values = {one_model.sub("", name): value for name, value in values.items()}
    for name in ("vllm:generation_tokens_total", "llamacpp:tokens_predicted_total",
                 "vllm:request_generation_tokens_sum"):
        assert 0 < float(values[name]) <= 8, name
    for name in ("vllm:time_to_first_token_seconds", "vllm:e2e_request_latency_seconds",
                 "vllm:request_queue_time_seconds", "vllm:request_time_per_output_token_seconds"):
        assert values[name + "_count"] == values[name + '_bucket{le="+Inf"}'] == "1", name
    assert values['http_requests_total{status="2xx"}'] == "1"
    types = re.findall(r"# TYPE (\S+) ", text.decode())
    assert len(types) == len(set(types)), "each metric is described once"
