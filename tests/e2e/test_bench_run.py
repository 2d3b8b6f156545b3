# SPDX-License-Identifier: MIT
"""bench/run without measuring: how it pairs two programs' answers, which way its ratios point, what it reports and how it
fails. The programs are stand-ins whose answers are known; that the real ones answer is seen when it is run."""

import importlib.machinery
import importlib.util
import json
import subprocess
import sys

import pytest

from support import ROOT, SLM, STORIES, need, slm

loader = importlib.machinery.SourceFileLoader("bench_run", str(ROOT / "bench/run"))
bench_run = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench_run", loader))
sys.dont_write_bytecode = True  # "run" has no suffix; its cache would lie beside it
loader.exec_module(bench_run)

MACHINE = {"cpu": "A CPU", "kernels": "avx2", "threads": 2, "memory_total_bytes": 1 << 34, "version": "1.2.3",
           "read_bytes_s_all": 40e9, "int8_mac_s_all": 900e9, "f32_flop_s_all": 300e9}
WORK = {"weight_bytes_per_tok": 400_000_000, "macs_per_prompt_tok": 450_000_000, "file_bytes": 380_000_000}
WORK_OF = {"kv_bytes": 20_000_000, "attention_macs": 100_000, "n_layer": 20}


class Stand_in:
    """Both programs: ours is twice as fast and needs half the memory; flash attention helps prompts alone."""

    def __init__(self):
        self.calls, self.slm = [], "slm"

    def file(self, shape, dtype):
        return f"{shape}-{dtype}"

    def ours(self, path, row):
        self.calls.append(("ours", path, row["name"]))
        return {**WORK, "pp_tok_s": 1000.0, "tg_tok_s": 80.0, "first_token_s": 0.2, "ttft_s": 0.3,
                "peak_rss_bytes": 400e6}

    def theirs(self, path, row, flash):
        self.calls.append(("theirs", path, row["name"], flash))
        return {"pp_tok_s": 500.0 if flash else 400.0, "tg_tok_s": 30.0 if flash else 40.0,
                "first_token_s": 0.6 if flash else 0.5, "ttft_s": 0.9, "peak_rss_bytes": 800e6}


def measured(monkeypatch, *arguments):
    monkeypatch.setattr(bench_run, "work_of", lambda programs, path: WORK_OF)
    programs = Stand_in()
    options = bench_run.parse(list(arguments))
    return programs, bench_run.measure(programs, options), options


def report_of(cells, **more):
    return {"machine": MACHINE, "cells": cells, "rounds": 2, "peer": "3", "date": "2026-01-02", **more}


def test_rows_types_and_turns(monkeypatch):
    programs, cells, _ = measured(monkeypatch, "--types", "q4_0,f16", "--rounds", "3")
    assert [c["type"] for c in cells] == ["q4_0"] * 10 + ["f16"] * 5  # clients and long rows for q4_0 alone
    assert all(len(c["ours"]) == len(c["theirs"]) == 3 for c in cells)
    flash = {c["row"]: c["flash"] for c in cells}
    assert flash["prefill 512"] == flash["prefill 4096"] == 1  # llama.cpp at its best, cell by cell
    assert flash["decode 64"] == flash["open to first token"] == 0
    after = programs.calls[2 * len(cells):]  # behind the trials
    for turn in range(3):
        one = after[turn * 2 * len(cells):(turn + 1) * 2 * len(cells)]
        assert {a[0] for a in one[::2]} == {"ours" if turn % 2 == 0 else "theirs"}  # who begins changes
        assert all(a[1:3] == b[1:3] for a, b in zip(one[::2], one[1::2]))  # neighbours are a pair


def test_ratios_point_to_what_is_better(monkeypatch):
    _, cells, _ = measured(monkeypatch, "--types", "q4_0")
    found = {c["row"]: bench_run.cell_ratio(c) for c in cells}
    assert found == {"prefill 512": 2, "decode 64": 2, "8 sequences": 2, "8 clients": 2, "32 clients": 2,
                     "first text, 4 clients": pytest.approx(3), "open to first token": 2.5, "peak memory": 2,
                     "prefill 4096": 2, "decode 64 behind 4096": 2}


def test_the_median_of_ratios_is_not_the_ratio_of_medians():
    cell = {"row": "decode 64", "ours": [10.0, 90.0, 30.0], "theirs": [10.0, 30.0, 60.0]}
    assert bench_run.ratios(cell) == [1.0, 3.0, 0.5] and bench_run.cell_ratio(cell) == 1.0
    cell = {"row": "open to first token", "ours": [0.1, 0.2], "theirs": [0.3, 0.2]}
    assert bench_run.ratios(cell) == pytest.approx([3.0, 1.0]) and bench_run.cell_ratio(cell) == pytest.approx(2.0)


def test_disturbed_pairs_are_measured_again(monkeypatch):
    shares = iter([0.5, 0.2, 0.01] + [0.4, 0.1, 0.3] + [0.0] * 1000)
    monkeypatch.setattr(bench_run.Others, "share", lambda self: next(shares))
    programs, cells, _ = measured(monkeypatch, "--types", "q4_0", "--rounds", "1", "--long", "", "--served", "")
    assert [c["others"] for c in cells] == [[0.01], [0.1], [0.0], [0.0], [0.0]]  # the quietest of three at most
    assert all(len(c["ours"]) == len(c["theirs"]) == 1 for c in cells)
    tries = [call[2] for call in programs.calls[2 * len(cells):] if call[0] == "ours"]
    assert tries.count("prefill 512") == tries.count("decode 64") == 3 and tries.count("8 sequences") == 1


def test_other_work_is_seen():
    """Somebody else's, not that of what is measured."""
    spin = [sys.executable, "-c", "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"]
    others = bench_run.Others()
    stranger = subprocess.Popen(spin)  # no child that was waited for counts as ours before the question
    while others.share() == 0.0 and stranger.poll() is None:
        pass
    seen = others.share()
    stranger.wait()
    assert seen is None or seen > 0


def test_rounds_are_saved_as_they_end(monkeypatch):
    saved = []
    monkeypatch.setattr(bench_run, "work_of", lambda programs, path: WORK_OF)
    options = bench_run.parse(["--types", "q4_0", "--rounds", "2", "--long", ""])
    bench_run.measure(Stand_in(), options, lambda cells: saved.append(json.dumps(cells)))
    first, last = (json.loads(text) for text in saved)
    assert all(len(c["ours"]) == 1 for c in first) and all(len(c["ours"]) == 2 for c in last)
    assert "prefill 512" in bench_run.render(report_of(first, rounds=1), markdown=False)


def test_shares_of_the_machine(monkeypatch):
    _, cells, _ = measured(monkeypatch, "--types", "q4_0,f16")
    report = report_of(cells)
    by = {(c["row"], c["type"]): bench_run.share(report, c) for c in cells}
    cache = 20e6 / 576  # bytes a token
    assert by["decode 64", "q4_0"] == pytest.approx(80 * (400e6 + 32 * cache) / 40e9)
    assert by["decode 64 behind 4096", "q4_0"] == pytest.approx(80 * (400e6 + 4128 * cache) / 40e9)
    assert by["8 sequences", "q4_0"] == pytest.approx(80 * (50e6 + 16 * cache) / 40e9)
    assert by["8 sequences", "f16"] == pytest.approx(80 * (450e6 + 16 * 100e3) / 150e9)  # it computes longer than it reads
    assert by["prefill 512", "q4_0"] == pytest.approx(950 * (450e6 / 900e9 + 256.5 * 100e3 / 150e9))
    assert by["prefill 4096", "q4_0"] == pytest.approx(950 * (450e6 / 900e9 + 2048.5 * 100e3 / 150e9))
    assert by["prefill 512", "f16"] == pytest.approx(950 * (450e6 + 256.5 * 100e3) / 150e9)
    assert by["peak memory", "q4_0"] == pytest.approx(400 / 400) and by["open to first token", "q4_0"] is None


def test_reports(monkeypatch):
    _, cells, _ = measured(monkeypatch, "--types", "q4_0,f16")
    text = bench_run.render(report_of(cells), markdown=True)
    assert "| qwen3-0.6b: slm against llama.cpp | Q4_0 | F16 |\n| --- | --- | --- |\n| prefill 512 | 2.00 | 2.00 |" in text
    assert "| prefill 4096 | 2.00 |  |" in text and "| peak memory | 400 MB | 400 MB |" in text
    assert "| decode 64, of the machine's best | 80 % | 80 % |" in text
    assert "| prefill 512, of the machine's best | 64 % | 301 % |" in text
    assert "| decode 64, the most it could be | 2.5 | 2.5 |" in text
    assert "| prefill 512, the most it could be | 3.1 | 0.7 |" in text
    assert "| peak memory, of file and KV cache | 100 % | 100 % |" in text and "open to first token, of" not in text
    assert "A CPU, 2 threads" in text and "40.0 GB/s read, 900 GMAC/s int8" in text and "WARNING" not in text
    cells[0]["others"][1] = 0.5
    plain = bench_run.render(report_of(cells), markdown=False)
    assert f"WARNING: beside 1 of {5 * len(cells)} pairs" in plain and "(50 % at most)" in plain and "prefill 512" in plain and "|" not in plain
    assert not any(line != line.rstrip() for line in plain.split("\n"))


def test_shapes_with_types_of_their_own(monkeypatch):
    _, cells, _ = measured(monkeypatch, "--types", "q4_0", "--shapes", "bitnet-2b4t,llama-3.2-1b", "--rounds", "1")
    assert {(c["shape"], c["type"]) for c in cells} == {("bitnet-2b4t", "tq2_0"), ("llama-3.2-1b", "q4_0")}
    text = bench_run.render(report_of(cells), markdown=False)
    assert text.index("bitnet-2b4t: slm") < text.index("llama-3.2-1b: slm")


def test_quick_is_quick():
    options = bench_run.parse(["--quick"])
    assert (options.types, options.rounds, options.long, options.served) == (["q4_0"], 1, [], [])


def run(*arguments, **more):
    return subprocess.run([sys.executable, ROOT / "bench/run", *map(str, arguments)], capture_output=True, text=True,
                          check=False, timeout=60, **more)


def test_saved_reports(monkeypatch, tmp_path):
    _, cells, _ = measured(monkeypatch, "--types", "q4_0")
    (tmp_path / "r.json").write_text(json.dumps(report_of(cells)))
    done = run("--from", tmp_path / "r.json", "--markdown")
    assert done.returncode == 0 and done.stdout.strip() == bench_run.render(report_of(cells), True)
    (tmp_path / "r.json").write_text("{")
    done = run("--from", tmp_path / "r.json")
    assert done.returncode == 1 and done.stderr.startswith("bench/run: ") and done.stderr.count("\n") == 1


def test_what_is_missing_is_said(tmp_path):
    done = run("--slm", tmp_path / "none")
    assert done.returncode == 1 and "run make first" in done.stderr
    done = run("--slm", SLM, "--folder", tmp_path, env={"PATH": str(tmp_path)})  # no npm
    assert done.returncode == 1 and "llama.cpp cannot be had" in done.stderr and "Traceback" not in done.stderr


def test_rows_are_options_that_slm_has(tmp_path):
    """And the fields are in what it answers."""
    programs = object.__new__(bench_run.Programs)  # without the library, which need not be there
    programs.slm, programs.threads, programs.mask, programs.folder = SLM, 1, [], tmp_path
    small = {512: 8, 4096: 16, 64: 2, 32: 2, 8: 2}
    for row in bench_run.ROWS:
        if "serve" in row:
            few = {key: small.get(n, n) for key, n in row["serve"].items()}
            assert programs.ours(need(STORIES), {"serve": few})[row["field"]] > 0, row["name"]
            continue
        words = [small.get(word, word) for word in row["slm"]]
        done = slm("bench", "-m", need(STORIES), *words, "-r", 1, "-t", 1, "--json")
        answer = json.loads(done.stdout)
        assert answer[row["field"]] > 0, row["name"]
        assert {"weight_bytes_per_tok", "macs_per_prompt_tok", "file_bytes"} <= set(answer)
