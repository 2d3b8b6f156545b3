# SPDX-License-Identifier: MIT
"""`slm compare`: what it says must be what inspect, eval and the files say, each in its own way of asking; the page is
opened in a real browser, light and dark, wide and narrow."""

import json
import math
import re

import pytest

from browser import Browser
from support import ERROR_LINE, ROOT, SHARED, STORIES, need, slm

BUILTIN = ROOT / "models/builtin.gguf"
TINYSTORIES = SHARED / "data/models/tinystories-656k"
TALE = ("Once upon a time there was a small fox. The fox had a red ball and played with it all day. One day the ball "
        "rolled into the river, and the fox was sad. A duck saw it and said: I will help you. ") * 6
KINDS = ("q5_1", "q4_0", "q2_k")
FIELDS = {"model": str, "name": str, "is_base": bool, "architecture": str, "licence": (str, type(None)), "n_params": int,
          "size_class": str, "file_bytes": int, "weights_bytes": int, "bits_per_weight": float, "types": str,
          "memory": list, "prefill_tok_s": (float, type(None)), "decode_tok_s": (float, type(None)),
          "ppl": (float, type(None)), "ppl_error": (float, type(None)), "bits_per_byte": (float, type(None)),
          "same_tokens_as_base": (bool, type(None)), "kl_mean": (float, type(None)),
          "kl_mean_error": (float, type(None)), "kl_p99": (float, type(None)), "top1": (float, type(None)), "front": bool}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def models(folder):
    """The built-in model and what quantizing makes of it."""
    for kind in KINDS:
        done = slm("quantize", BUILTIN, folder / f"{kind}.gguf", kind, "-q")
        assert done.returncode == 0, done.stderr
    (folder / "text").write_text(TALE)
    return [BUILTIN, *(folder / f"{kind}.gguf" for kind in KINDS)]


@pytest.fixture(scope="module")
def report(models, folder):
    done = slm("compare", *models, "--text", folder / "text", "-w", 64, "-p", 8, "-n", 4, "-r", 1, "-t", 1, "--json",
               "--html", folder / "report.html")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return json.loads(done.stdout)


def asked(*args):
    done = slm(*args, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_fields(report, models):
    assert [m["model"] for m in report["models"]] == [str(m) for m in models]
    assert [m["is_base"] for m in report["models"]] == [True, False, False, False]
    for model in report["models"]:
        assert set(model) == set(FIELDS)
        for key, kind in FIELDS.items():
            value = model[key]
            assert isinstance(value, kind) or (isinstance(value, int) and kind is float), (key, value)
        assert model["decode_tok_s"] > 0 and model["prefill_tok_s"] > 0 and model["licence"] == "mit"


def test_memory_is_what_inspect_says(report):
    for model in report["models"]:
        inspected = asked("inspect", model["model"], "-t", 1)
        assert model["memory"] == inspected["memory"] and model["weights_bytes"] == inspected["weights_bytes"]
        assert model["bits_per_weight"] == inspected["bits_per_weight"] and set(model["types"].split()) == set(
            inspected["types"])


def test_quality_is_what_eval_says(report, folder):
    for model in report["models"]:
        base = [] if model["is_base"] else ["--base", BUILTIN]
        told = asked("eval", model["model"], *base, "--text", folder / "text", "-w", 64, "-t", 1)
        for key in ("ppl", "ppl_error", *(() if model["is_base"] else ("kl_mean", "kl_mean_error", "kl_p99", "top1"))):
            assert model[key] == told[key], key
        # As many bytes as the text has where tokens are predicted: the second half of each window of 64.
        ids = [int(i) for i in slm("tokenize", model["model"], "--ids", stdin=TALE).stdout.split()]
        n = 0
        for w in range(told["windows"]):
            part = ids[w * 64 + 33:w * 64 + 64]
            n += len(slm("tokenize", model["model"], "--decode", stdin=" ".join(map(str, part)), binary=True).stdout)
        assert model["bits_per_byte"] == pytest.approx(told["nll"] * told["tokens"] / n / math.log(2), rel=0.01)
    assert [m["kl_mean"] for m in report["models"][1:]] == sorted(m["kl_mean"] for m in report["models"][1:])


def test_sizes_are_those_of_files(report):
    """The footprint is predicted without quantizing: it must be, to the byte, what quantizing made."""
    found = {f["type"].lower(): f for f in report["footprint"]}
    for model in report["models"][1:]:
        row = found[model["name"]]
        assert row["present"] and row["weights_bytes"] == model["weights_bytes"]
        assert row["total_bytes"] == model["memory"][-1]["total_bytes"]
    assert found["q8_0"]["present"] and not found["f16"]["present"]
    sizes = [f["weights_bytes"] for f in report["footprint"]]
    assert sizes[0] == max(sizes) and sizes[-1] == min(sizes) and len(sizes) == 10


def test_front_is_what_nobody_beats(report):
    def costs(m):
        return m["weights_bytes"], 1 / m["decode_tok_s"], m["kl_mean"] or 0
    for model in report["models"]:
        beaten = any(all(a <= b for a, b in zip(costs(o), costs(model))) and costs(o) != costs(model)
                     for o in report["models"])
        assert model["front"] == (not beaten)


def test_other_tokenizers_have_no_divergence(models, folder):
    need(TINYSTORIES)
    found = asked("compare", models[0], TINYSTORIES, "--base", models[2], "--text", folder / "text", "-w", 64, "-t", 1,
                  "--no-bench")
    base, near, far = found["models"]
    assert found["base"] == base["model"] == str(models[2]) and base["is_base"] and found["cpu"] is None
    assert near["same_tokens_as_base"] and near["kl_mean"] > 0 and near["decode_tok_s"] is None
    assert far["same_tokens_as_base"] is False and far["kl_mean"] is None and far["bits_per_byte"] > 0
    text = slm("compare", *models[:1], TINYSTORIES, "--text", folder / "text", "-w", 64, "--no-bench").stdout
    assert "no KL divergence of tinystories-656k" in text and not re.search(r" $", text, re.M)


def test_a_bad_model_is_named(models, folder):
    (folder / "bad.gguf").write_bytes(b"no model")
    for bad in (folder / "bad.gguf", folder / "absent.gguf"):
        done = slm("compare", models[0], bad, models[1], "--html", folder / "none.html")
        assert done.returncode == 1 and done.stdout == "" and ERROR_LINE.match(done.stderr) and bad.name in done.stderr
        assert not (folder / "none.html").exists()
    done = slm("compare", models[0], "--text", folder / "absent")
    assert done.returncode == 1 and "absent" in done.stderr
    (folder / "short").write_text("too short")
    done = slm("compare", models[0], "--text", folder / "short", "--no-bench")
    assert done.returncode == 1 and "builtin.gguf" in done.stderr and "less than a window" in done.stderr
    assert slm("compare").returncode == 2 and slm("compare", models[0], "--ctx", "0").returncode == 2


def test_longer_than_trained_is_not_predicted(models):
    need(STORIES)
    found = asked("compare", models[0], STORIES, "--no-bench", "--ctx", "256,1024")
    assert [[m and m["n_ctx"] for m in model["memory"]] for model in found["models"]] == [[256, None], [256, 1024]]


@pytest.fixture(scope="module")
def browser():
    with Browser() as program:
        yield program


@pytest.mark.parametrize("width, dark", [(1024, False), (1024, True), (390, False), (390, True)])
def test_the_page_in_a_browser(report, folder, browser, width, dark):
    page = browser.page(width=width, dark=dark)
    page.open((folder / "report.html").as_uri())
    assert page.errors == [] and len(page.requests) == 1, page.requests
    assert page.run("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    seen = "[...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().height > 0)"
    charts = page.run(f"{seen}.map(s => [s.getAttribute('aria-label'), s.querySelectorAll('circle').length, "
                      "s.querySelectorAll('rect').length])")
    assert [c[1:] for c in charts] == [[len(report["models"]), 0], [0, 3 * len(report["footprint"])]]
    assert all(label for label, *_ in charts)
    # Nothing written in a chart is cut off, tiny, or as bright as what it is written on.
    boxes = page.run(f"{seen}.flatMap(s => [...s.querySelectorAll('text')].map(t => {{ const a = t.getBoundingClientRect(), "
                     "b = s.getBoundingClientRect(); return [t.textContent, a.left - b.left, b.right - a.right, "
                     "a.height, getComputedStyle(t).fill]; }))")
    for text, left, right, height, colour in boxes:
        assert left > -2 and right > -2 and height > 9, (text, left, right, height)
        light = sum(map(int, re.findall(r"\d+", colour)[:3])) / 3
        assert (light > 128) == dark, (text, colour)
    cells = page.run("document.body.textContent")
    for model in report["models"]:
        assert model["name"] in cells and f"{model['bits_per_byte']:.4f}" in cells
        assert model["is_base"] or f"{model['kl_mean']:.5f}" in cells
    assert page.run("document.querySelectorAll('table').length") == 3


def test_names_are_text(models, folder):
    path = folder / "a<b>&\"c.gguf"
    path.write_bytes(BUILTIN.read_bytes())
    done = slm("compare", path, "--no-bench", "--html", folder / "names.html")
    assert done.returncode == 0, done.stderr
    page = (folder / "names.html").read_text()
    assert "a&lt;b&gt;&amp;&quot;c" in page and "a<b>" not in page and "http" not in page
