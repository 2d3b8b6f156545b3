# SPDX-License-Identifier: MIT
"""slm optimize as a user sees it: goals are met by what `slm eval` measures, a killed run ends in the same bytes, recipes
that are wrong are refused by name."""

import json
import os
import random
import re
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest

from browser import Browser
from support import ERROR_LINE, ROOT, SHARED, SLM, need, slm, stamp

BUILTIN = ROOT / "models/builtin.gguf"
TINYSTORIES = SHARED / "data/models/tinystories-656k"
TALE = ("Once upon a time there was a small fox. The fox had a red ball and played with it all day.\nOne day the ball "
        "rolled into the river, and the fox was sad. A duck saw it and said: I will help you.\n") * 30
PASSES = {"calibrate": {"window": 64, "max_windows": 4}, "quantize": {"types": ["Q6_K", "Q4_0"]},
          "search": {"types": ["Q8_0", "Q6_K", "Q5_K", "Q4_0", "Q3_K"], "rounds": 2},
          "evaluate": {"window": 64, "max_windows": 4}, "package": {}, "convert": {}}
KILLS = 50 if os.environ.get("SLM_TEST_LEVEL") == "soak" else 3


@pytest.fixture(name="recipe")
def _recipe(tmp_path):
    """Writes a recipe with these changes; returns its path."""
    text = tmp_path / "text"
    text.write_text(TALE)

    def write(name="recipe.json", **changes):
        path = tmp_path / name
        path.write_text(json.dumps({"input": str(BUILTIN), "text": str(text), "passes": PASSES, **changes}))
        return path

    return write


def optimized(*args):
    done = slm("optimize", *args, "--json", "-q")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def second_half(path):
    """Where the evaluation's half of the text begins: the first line behind the middle."""
    text = path.read_text()
    path.with_suffix(".half").write_text(text[text.index("\n", len(text) // 2 - 1) + 1:])
    return path.with_suffix(".half")


def test_a_loss_is_met_and_measured(recipe, tmp_path):
    out, page = tmp_path / "out.gguf", tmp_path / "page.html"
    found = optimized(recipe(goal="kl<=0.06"), "-o", out, "--html", page)
    by_name = {c["name"]: c for c in found["candidates"]}
    chosen = by_name[found["chosen"]]
    assert found["met"] and chosen["meets"] and chosen["kl"] <= 0.06 and chosen["size"] == out.stat().st_size
    assert all(c["size"] >= chosen["size"] for c in found["candidates"] if c["meets"])
    assert any(name.startswith("mixed-") for name in by_name)
    evaluated = json.loads(slm("eval", out, "--base", BUILTIN, "--text", second_half(tmp_path / "text"), "--window", 64,
                               "--max-windows", 4, "--json", "-q").stdout)
    assert evaluated["kl_mean"] == pytest.approx(chosen["kl"], rel=1e-6)
    assert evaluated["ppl"] == pytest.approx(chosen["ppl"], rel=1e-6)
    for c in found["candidates"]:  # nobody is better in both
        beaten = [d for d in found["candidates"] if d["size"] <= c["size"] and d["kl"] <= c["kl"]
                  and (d["size"] < c["size"] or d["kl"] < c["kl"])]
        assert c["pareto"] == (not beaten)
    # The same question again is answered from the work folder: nothing in it is made again.
    work = {path: stamp(path) for path in Path(str(out) + ".work").iterdir()}
    assert optimized(recipe(goal="kl<=0.06"), "-o", out) == found
    assert work == {path: stamp(path) for path in Path(str(out) + ".work").iterdir()} != {}
    check_page(page, found)


def check_page(page, found):
    """One page that loads nothing, with a mark for each candidate, every number and every type of the chosen model."""
    with Browser() as browser:
        for dark in (False, True):
            tab = browser.page(dark=dark)
            tab.open(page.as_uri())
            assert tab.errors == [] and len(tab.requests) == 1, tab.requests
            assert tab.run("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
            marks = "[...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().height > 0)" \
                    ".map(s => s.querySelectorAll('circle').length)"
            assert tab.run(marks) == [len(found["candidates"])]
        rows = tab.run("[...document.querySelectorAll('table')].map(t => [...t.querySelectorAll('tbody tr')]"
                       ".map(r => [...r.children].map(c => c.textContent)))")
    assert [row[0].removesuffix(" ★") for row in rows[0]] == [c["name"] for c in found["candidates"]]
    for row, candidate in zip(rows[0], found["candidates"]):
        assert row[3] == f"{candidate['kl']:.5f}" and row[0].endswith("★") == candidate["pareto"]
        assert row[-1] == ("chosen" if candidate["name"] == found["chosen"] else "met" if candidate["meets"] else "not met")
    told = {}
    for kind, types in rows[1] if found["types"] else []:
        for part in types.split(", "):
            kind_type, _, layers = part.partition(" (")
            first, _, last = layers.rstrip(")").partition("–")
            for layer in range(int(first), int(last or first) + 1) if layers else [None]:
                told[kind if layer is None else f"blk.{layer}.{kind}"] = kind_type
    assert told == found["types"]


def test_a_size_is_met_by_what_loses_least(recipe, tmp_path):
    out = tmp_path / "out.gguf"
    found = optimized(recipe(goal="size<=2.4M"), "-o", out)
    chosen = next(c for c in found["candidates"] if c["name"] == found["chosen"])
    assert out.stat().st_size == chosen["size"] <= 2.4e6
    assert chosen["kl"] == min(c["kl"] for c in found["candidates"] if c["size"] <= 2.4e6)
    q4 = next(c for c in found["candidates"] if c["name"] == "Q4_0")
    assert q4["size"] <= 2.4e6 and chosen["kl"] < q4["kl"]  # the search found better than what fits anyway
    shown = json.loads(slm("inspect", out, "--json", "--tensors").stdout)
    types = {t["name"]: t["type"] for t in shown["tensors"]}
    assert found["types"] and all(types[name] == kind for name, kind in found["types"].items())


def test_a_goal_beyond_reach_writes_nothing(recipe, tmp_path):
    out = tmp_path / "out.gguf"
    done = slm("optimize", recipe(goal="size<=1K, kl<=0.01", passes={**PASSES, "search": {"rounds": 1, "types": ["Q4_0"]}}),
               "-o", out, "-q", "--json")
    assert done.returncode == 1 and "no file was written" in done.stderr and not out.exists()
    assert json.loads(done.stdout)["met"] is False


def test_folders_and_a_text_of_its_own(tmp_path):
    need(TINYSTORIES)
    path, out = tmp_path / "recipe.json", tmp_path / "out.gguf"
    passes = {**PASSES, "quantize": {"types": ["Q8_0", "Q4_0"]}}
    del passes["search"]
    path.write_text(json.dumps({"input": str(TINYSTORIES), "output": str(out), "goal": "kl<=0.01", "passes": passes}))
    found = optimized(path, "-w", tmp_path / "work")
    assert found["chosen"] == "Q8_0" and out.exists()
    assert len(list((tmp_path / "work").glob("base-*.gguf"))) == len(list((tmp_path / "work").glob("text-*.txt"))) == 1


def test_killed_anywhere_it_ends_in_the_same_bytes(recipe, tmp_path):
    rng = random.Random(5)
    whole, out = tmp_path / "whole.gguf", tmp_path / "out.gguf"
    path = recipe(goal="kl<=0.06")
    expected = optimized(path, "-o", whole, "-w", tmp_path / "a")
    command = [SLM, "optimize", path, "-o", out, "-q", "--json"]
    kills = 0
    for attempt in range(KILLS):
        work = tmp_path / f"b{attempt // 5}"
        job = subprocess.Popen([*map(str, command), "-w", str(work)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(rng.randint(1, 5)):  # so many changes in its folder later
            before = [(f, stamp(f)) for f in sorted(work.glob("*"))]
            while job.poll() is None and before == [(f, stamp(f)) for f in sorted(work.glob("*"))]:
                time.sleep(0.0005)
        job.send_signal(signal.SIGKILL)
        job.communicate()
        kills += job.returncode == -signal.SIGKILL
        if attempt % 5 == 4 or attempt == KILLS - 1:
            out.unlink(missing_ok=True)
            found = optimized(path, "-o", out, "-w", tmp_path / f"b{attempt // 5}")
            assert out.read_bytes() == whole.read_bytes()
            assert {**found, "output": None} == {**expected, "output": None}
    assert kills > 0


BAD = [
    ({"goal": "kl<0.1"}, "goal"), ({"goal": "speed>=4"}, "begins with none of"), ({"goal": "kl<=0.1M"}, "goal"),
    ({"passes": {"bake": {}}}, "'passes.bake'"), ({"passes": {"search": {"round": 1}}}, "'search.round'"),
    ({"passes": {"evaluate": {"window": 2}}}, "'evaluate.window'"), ({"target": {"ctx": "x"}}, "'target.ctx'"),
    ({"colour": 1}, "'colour'"), ({"input": 5}, "'input'"), ({"passes": {"quantize": {"types": []}}}, "'quantize.types'"),
    ({"goal": "decode>=4"}, "pass bench"), ({"passes": {"quantize": {}}}, "evaluate"),
    ({"passes": {**PASSES, "quantize": {"types": ["q9"]}}}, "'q9' is no type"),
]


@pytest.mark.parametrize(("changes", "complaint"), BAD)
def test_bad_recipes_are_refused_by_name(recipe, tmp_path, changes, complaint):
    done = slm("optimize", recipe(**changes), "-o", tmp_path / "out.gguf", "-q")
    assert done.returncode == 1 and complaint in done.stderr and ERROR_LINE.match(done.stderr), done.stderr


def test_complaints_say_where_and_what_is_allowed(tmp_path):
    path = tmp_path / "r.json"
    for text, complaint in (
            ('{\n "input": "x",\n "passes": {\n  "search": {"round": 1}}}', r"line 4: field 'search.round' is not known; types, rounds are"),
            ('{\n "input": "x",\n "goal": "kl<0.1"}', r"line 3: goal: .*needs <= or >="),
            ('{\n "input": "x"\n "goal": 1}', r"line 3, column \d+"),
            ('{"target": {\n"ctx": 5}}', r"line 2: field 'target.ctx' is no whole number from 16 to"),
            ('{"passes": {\n\n"bake": {}}}', r"line 3: field 'passes.bake' is none of convert, calibrate")):
        path.write_text(text)
        done = slm("optimize", path, "-o", tmp_path / "out.gguf", "-q")
        assert done.returncode == 1 and ERROR_LINE.fullmatch(done.stderr) and str(path) in done.stderr, done.stderr
        assert re.search(complaint, done.stderr), done.stderr


@pytest.mark.parametrize("name", ["story", "phone", pytest.param("tinystories", marks=pytest.mark.slow)])
def test_the_examples_run(tmp_path, monkeypatch, name):
    """As they are, from this folder; the one for phones names no model."""
    example, out = ROOT / "examples" / f"{name}.json", tmp_path / "out.gguf"
    args = [example]
    monkeypatch.chdir(ROOT)
    if name == "tinystories":
        need(ROOT.parent / "shared/data/models/tinystories-656k/model.safetensors")
    if name == "phone":
        need(TINYSTORIES / "model.safetensors")
        args = [TINYSTORIES, "--recipe", example]
    done = slm("optimize", *args, "-o", out, "-w", tmp_path / "work", "-q", "--json")
    assert done.returncode == 0, done.stderr
    found, recipe = json.loads(done.stdout), json.loads(example.read_text())
    assert found["met"] and found["goal"] == recipe["goal"] and out.exists()
    assert {c["name"] for c in found["candidates"]} >= set(recipe["passes"]["quantize"]["types"])


def test_every_example_is_run():
    assert {p.stem for p in (ROOT / "examples").glob("*.json")} == {"story", "phone", "tinystories"}


QUICK = {**PASSES, "search": {"types": ["Q8_0", "Q4_0"], "rounds": 1}, "quantize": {"types": ["Q4_0"]}}


def test_a_spoilt_work_folder_is_not_trusted(recipe, tmp_path):
    """Files of it in turn are cut, changed or emptied: each is made again as it was."""
    rng = random.Random(3)
    out, work = tmp_path / "out.gguf", tmp_path / "work"
    path = recipe(goal="kl<=0.2", passes={**QUICK, "convert": {"type": "f16"}})
    command = (path, "-o", out, "-w", work)
    expected = optimized(*command)
    whole = out.read_bytes()
    kinds = {f.name.split("-")[0] + f.suffix: f for f in work.iterdir()}  # one of each
    assert set(kinds) == {"base.gguf", "base.sum", "errors.gguf", "imatrix.gguf", "imatrix.sum", "measured.json"}
    for file in kinds.values():
        data = file.read_bytes()
        half = data[:len(data) // 2]
        file.write_bytes(rng.choice([half, half + b"?" + data[len(half) + 1:], b""]))
        out.unlink()
        assert optimized(*command) == expected, file
        assert out.read_bytes() == whole and file.read_bytes() == data


def test_disk_full_in_the_work_folder_and_at_the_output(recipe, tmp_path):
    """A limit on the size of files is what a full disk looks like to who writes one."""
    whole, out = tmp_path / "whole.gguf", tmp_path / "out.gguf"
    path = recipe(goal="kl<=0.2", passes=QUICK)
    expected = optimized(path, "-o", whole, "-w", tmp_path / "a")
    for kib, work in ((8, "b"), (700, "b"), (700, "a")):  # imatrix; candidates; only the output is still to be written
        def limit(most=kib * 1024):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        full = subprocess.run([SLM, "optimize", path, "-o", out, "-w", tmp_path / work, "-q"], capture_output=True,
                              text=True, preexec_fn=limit)
        assert full.returncode == 1 and ERROR_LINE.fullmatch(full.stderr) and not out.exists(), full.stderr
        assert "File too large" in full.stderr
    for work in ("b", "a"):
        found = optimized(path, "-o", out, "-w", tmp_path / work)
        assert out.read_bytes() == whole.read_bytes() and {**found, "output": None} == {**expected, "output": None}
        out.unlink()


def test_killed_while_it_measures(recipe, tmp_path):
    """The candidate and the checkpoint are there: both are used, and, cut short, neither."""
    whole, out, work = tmp_path / "whole.gguf", tmp_path / "out.gguf", tmp_path / "work"
    path = recipe(goal="kl<=0.2", passes=QUICK)
    optimized(path, "-o", whole, "-w", tmp_path / "a")
    with subprocess.Popen([SLM, "optimize", path, "-o", out, "-w", work, "-q", "-t", "1"]) as job:
        while job.poll() is None and not list(work.glob("candidate-*.part")):
            time.sleep(0.001)
        job.kill()
    left = [f for f in work.glob("candidate-*") if f.suffix in (".gguf", ".part")] if not out.exists() else []
    for file in left:
        file.write_bytes(file.read_bytes()[:-100])
    optimized(path, "-o", out, "-w", work)
    assert out.read_bytes() == whole.read_bytes() and not list(work.glob("candidate-*"))
