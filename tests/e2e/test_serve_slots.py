# SPDX-License-Identifier: MIT
"""llama-server's slots: a conversation saved to a file, had again after a restart, forgotten; and what must not work."""

import os

import pytest

from serving import serving
from support import need_builtin_model

PROMPT = "Once upon a time there was a little girl who lived in a small house near the forest. " * 4
ASK = {"prompt": PROMPT, "n_predict": 20, "temperature": 0, "id_slot": 2}


@pytest.fixture(autouse=True, scope="module")
def builtin():
    need_builtin_model()


def slot(server, number, action, **body):
    return server.ask("POST", f"/slots/{number}?action={action}", body or None)


def test_a_conversation_survives_a_restart(tmp_path):
    args = ("--ctx", 512, "--max-running", 4, "--slot-save-path", tmp_path)
    with serving(*args) as server:
        first = server.post("/completion", **ASK)[2]
        status, _, saved = slot(server, 2, "save", filename="girl.bin")
        assert status == 200 and saved["id_slot"] == 2 and saved["filename"] == "girl.bin"
        n = first["tokens_evaluated"] + first["tokens_predicted"]
        assert saved["n_saved"] == n and saved["n_written"] == (tmp_path / "girl.bin").stat().st_size > 10000
        assert saved["timings"]["save_ms"] > 0 and os.listdir(tmp_path) == ["girl.bin"]
        more = server.post("/completion", **{**ASK, "prompt": PROMPT + first["content"] + " And"})[2]
    with serving(*args) as server:
        status, _, restored = slot(server, 1, "restore", filename="girl.bin")
        assert status == 200 and restored["id_slot"] == 1 and restored["n_restored"] == n
        assert restored["n_read"] == saved["n_written"] and restored["timings"]["restore_ms"] > 0
        again = server.post("/completion", **{**ASK, "prompt": PROMPT + first["content"] + " And"})[2]
        assert again["content"] == more["content"]
        assert again["tokens_cached"] >= n // 32 * 32 - 32  # full pages of the file
        # What was restored can be saved again, from the slot it went to.
        assert slot(server, 1, "save", filename="again.bin")[2]["n_saved"] == n
        tokens = slice(48, 48 + 4 * n)  # behind the header
        assert (tmp_path / "again.bin").read_bytes()[tokens] == (tmp_path / "girl.bin").read_bytes()[tokens]
        assert slot(server, 1, "erase")[2] == {"id_slot": 1, "n_erased": n}
        assert slot(server, 1, "save", filename="none.bin")[0] == 400
    with serving(*args) as server:  # without restoring nothing is there
        assert server.post("/completion", **ASK)[2]["tokens_cached"] < 32


def test_what_is_refused(tmp_path):
    folder = tmp_path / "slots"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"SLMSESS2" + bytes(100))
    with serving("--ctx", 512, "--max-running", 4, "--slot-save-path", folder) as server:
        server.post("/completion", **ASK)
        for name in ["../secret", "/etc/passwd", "..", ".", "", ".hidden", "a/b", "a\\b", "x" * 300, "a\nb", "a:b", "\x7f"]:
            for action in ["save", "restore"]:
                status, _, body = slot(server, 2, action, filename=name)
                assert status == 400 and "filename" in body["error"]["message"], (name, body)
        assert os.listdir(folder) == [] and sorted(os.listdir(tmp_path)) == ["secret", "slots"]
        slot(server, 2, "save", filename="good")
        good = (folder / "good").read_bytes()
        bad = {"empty": b"", "cut": good[:-1], "long": good + b"x", "flip": good[:200] + b"\1" + good[201:],
               "magic": b"X" + good[1:], "model": good[:8] + b"\xff" + good[9:],
               "huge": good[:24] + b"\xff" * 8 + good[32:]}
        for name, data in bad.items():
            (folder / name).write_bytes(data)
            status, _, body = slot(server, 2, "restore", filename=name)
            assert status == 400 and str(tmp_path) not in body["error"]["message"], (name, body)
        assert slot(server, 2, "restore", filename="missing")[0] == 400
        assert slot(server, 2, "save", filename="good")[0] == 200  # the slot is as it was
        for number in ["4", "-1", "x", "99999999999", "1%2f..", ""]:
            assert slot(server, number, "save", filename="good")[0] in (400, 404), number
        assert slot(server, 0, "fly", filename="good")[0] == 400
        assert server.ask("POST", "/slots/0", {"filename": "good"})[0] == 400
        assert slot(server, 2, "save")[0] == 400
        assert server.post("/completion", **{**ASK, "id_slot": 4})[0] == 400
        assert server.post("/completion", **{**ASK, "id_slot": -1})[0] == 200
    with serving("--ctx", 512) as server:
        status, _, body = slot(server, 0, "save", filename="good")
        assert status == 501 and "--slot-save-path" in body["error"]["message"]
