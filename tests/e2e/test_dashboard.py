# SPDX-License-Identifier: MIT
"""examples/grafana/slm.json asks for nothing that /metrics does not print: each name in an expression is a sample of a running
server, each label in it one that its samples have or Prometheus adds, each quantile is of a histogram, each rate of a
counter."""

import json
import re

import pytest

from serving import serving
from support import ROOT, need_builtin_model

ADDED = {"job", "instance", "le"}  # by Prometheus; by histograms


@pytest.fixture(scope="module")
def metrics():
    need_builtin_model()
    with serving("--ctx", 256) as server:
        text = server.ask("GET", "/metrics")[2]
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    labels = {}
    for name, found in re.findall(r"^([\w:]+)(?:\{(.*)\})? \S+$", text, re.M):
        labels.setdefault(name, set()).update(re.findall(r"(\w+)=", found))
    return types, labels


def expressions():
    board = json.loads((ROOT / "examples/grafana/slm.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]
    for variable in board["templating"]["list"][1:]:
        yield variable["name"], variable["definition"], ""


def test_every_name_is_one_of_ours(metrics):
    types, labels = metrics
    names = set()
    for title, expression, legend in expressions():
        used = re.findall(r"\b((?:vllm:|slm_|http_|process_)\w+)", expression)
        assert used, title
        assert set(used) <= set(labels), title
        names.update(used)
        for name, selector in re.findall(r"([\w:]+)\{([^}]*)\}", expression):
            assert set(re.findall(r"(\w+)=", selector)) <= ADDED | labels[name], title
        for by in re.findall(r"by \((\w+)\)", expression) + re.findall(r"\{\{(\w+)\}\}", legend):
            assert all(by in labels[name] for name in used), title
        for name in re.findall(r"rate\(([\w:]+)", expression):
            base = name.removesuffix("_bucket")
            assert types[base] == ("counter" if base == name else "histogram"), title
        for name in set(used) - set(re.findall(r"rate\(([\w:]+)", expression)):
            assert types[name] == "gauge", title
    assert len(names) >= 15


def test_panels_lie_beside_each_other():
    panels = json.loads((ROOT / "examples/grafana/slm.json").read_text())["panels"]
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"],
                                                                                           place["y"] + place["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24
        taken |= cells
    assert len({p["id"] for p in panels}) == len(panels)
