# SPDX-License-Identifier: MIT
"""/metrics as Prometheus' own checks want it, and its numbers for each model: which model, and never more than there are."""

import re
import shutil

import pytest

from serving import serving
from support import STORIES, eventually, need, need_builtin_model

ODD = 'q"uo\\te\nd'  # what a file may be called, and a label must escape
SAMPLE = re.compile(r'([a-zA-Z_:][\w:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*"(?:,(?=[a-zA-Z_])|(?=\})))+)\})? '
                    r'(-?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?)|\+Inf|NaN)')
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"')


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    need_builtin_model()
    folder = tmp_path_factory.mktemp("models")
    for name in ("stories", ODD, "never"):
        shutil.copy(need(STORIES), folder / f"{name}.gguf")
    with serving("", "--models", folder, "--ctx", 128) as running:
        yield running


def scrape(server):
    """{(name, labels): value} and {name: type}, after every rule of the text format that can be broken is checked."""
    status, headers, text = server.ask("GET", "/metrics")
    assert status == 200 and headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert text.endswith("\n")
    samples, types, helps, group = {}, {}, set(), None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split()[2]
            assert name not in helps and len(line.split()) > 3, line
            helps.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in types and name in helps and kind in ("counter", "gauge", "histogram"), line
            types[name] = kind
            group = name  # all samples of a name stand together, behind its TYPE
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            name, labels, value = match.groups()
            base = re.sub("_(bucket|sum|count)$", "", name) if types[group] == "histogram" else name
            assert base == group, line
            key = name, tuple(sorted(LABEL.findall(labels or "")))
            assert key not in samples and len(dict(key[1])) == len(key[1]), line
            samples[key] = float(value)
    for name, kind in types.items():
        assert name.endswith("_total") == (kind == "counter"), name
    return samples, types


def of(samples, name, model, **more):
    return samples[name, tuple(sorted({"model_name": model, **more}.items()))]


def escaped(name):
    return name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def test_histograms_are_cumulative_and_whole(server):
    server.post("/v1/completions", prompt="Once", max_tokens=5)
    samples, types = scrape(server)
    for name in (n for n, kind in types.items() if kind == "histogram"):
        series = {}
        for (full, labels), value in samples.items():
            if full == f"{name}_bucket":
                rest = tuple(label for label in labels if label[0] != "le")
                series.setdefault(rest, []).append((float(dict(labels)["le"]), value))
        assert series, name
        for rest, buckets in series.items():
            assert buckets == sorted(buckets) and buckets[-1][0] == float("inf"), name
            assert [v for _, v in buckets] == sorted(v for _, v in buckets), name
            assert samples[f"{name}_count", rest] == buckets[-1][1] and (f"{name}_sum", rest) in samples


def test_each_model_has_its_own_numbers(server):
    server.post("/v1/completions", model="builtin", prompt="Once", max_tokens=7)
    before, _ = scrape(server)
    for model, n in (("stories", 3), (ODD, 5)):
        assert server.post("/v1/completions", model=model, prompt="Once", max_tokens=n, temperature=0)[0] == 200
    samples, types = scrape(server)
    seen = {dict(labels)["model_name"] for name, labels in samples if "model_name" in dict(labels)}
    assert seen == {"builtin", "stories", escaped(ODD)}  # not "never": no series before there is something to count
    generated = "vllm:generation_tokens_total"
    assert of(samples, generated, "stories") == 3 and of(samples, generated, escaped(ODD)) == 5
    assert of(samples, generated, "builtin") == of(before, generated, "builtin") >= 7
    assert samples["llamacpp:tokens_predicted_total", ()] == sum(of(samples, generated, m) for m in seen)
    for model in seen - {"builtin"}:
        assert of(samples, "vllm:time_to_first_token_seconds_count", model) == 1
        assert of(samples, "vllm:request_success_total", model, finished_reason="length") == 1
        assert of(samples, "slm_kv_pages", model) > 0
    for name in types:
        labelled = any("model_name" in dict(labels) for full, labels in samples if full.startswith(name))
        assert labelled == name.startswith(("vllm:", "slm_kv_")), name


def test_counters_stay_when_a_model_leaves_and_go_on_when_it_comes_back(server):
    ask = {"model": "stories", "prompt": "Once", "max_tokens": 4, "temperature": 0}
    server.post("/v1/completions", **ask)
    before, _ = scrape(server)
    server.post("/api/generate", model="stories", prompt="", keep_alive=0)
    eventually(lambda: of(scrape(server)[0], "slm_kv_pages", "stories") == 0, "unloading")
    gone, _ = scrape(server)
    assert of(gone, "slm_kv_pages", "stories") == 0 and of(gone, "vllm:num_requests_running", "stories") == 0
    names = ("vllm:generation_tokens_total", "vllm:prompt_tokens_total", "vllm:time_to_first_token_seconds_count")
    assert all(of(gone, n, "stories") == of(before, n, "stories") for n in names)
    server.post("/v1/completions", **ask)
    again, _ = scrape(server)
    assert of(again, names[0], "stories") == of(before, names[0], "stories") + 4
    assert of(again, names[2], "stories") == of(before, names[2], "stories") + 1


def test_names_of_clients_make_no_series(server):
    server.post("/v1/completions", prompt="Once", max_tokens=1)
    before, _ = scrape(server)
    for i in range(30):
        assert server.post("/v1/completions", model=f"nope{i}", prompt="x")[0] == 404
    assert set(scrape(server)[0]) == set(before)
