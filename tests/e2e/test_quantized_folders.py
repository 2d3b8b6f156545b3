# SPDX-License-Identifier: MIT
"""Folders with quantized weights through the command: what they convert to says what they say."""

import json

import pytest

from support import ROOT, slm

GOLDEN = ROOT / "tests/golden"


def logits(model, kv="f32"):
    done = slm("logits", model, "--ids", "1 2 3 50 7", "--json", "--all", "--kv", kv)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["logits"]


@pytest.mark.parametrize("folder", ["mlx", "families/bitnet"])
@pytest.mark.parametrize("type_name, most", [("f32", 1e-5), (None, 2e-2), ("f16", 2e-2)])
def test_converted_folders_agree(folder, type_name, most, tmp_path):
    out = tmp_path / "converted.gguf"
    done = slm("convert", GOLDEN / folder, out, *(["--type", type_name] if type_name else []), "--quiet")
    assert done.returncode == 0, done.stderr
    before, after = logits(GOLDEN / folder), logits(out)
    scale = max(abs(x) for row in before for x in row)
    assert max(abs(x - y) for a, b in zip(before, after) for x, y in zip(a, b)) <= most * scale
    info = json.loads(slm("inspect", out, "--json").stdout)
    assert info["n_params"] == json.loads(slm("inspect", GOLDEN / folder, "--json").stdout)["n_params"]
