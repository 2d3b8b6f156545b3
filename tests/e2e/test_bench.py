# SPDX-License-Identifier: MIT
"""`slm bench`: what it says must belong together, the page must need nothing from outside, and a made-up model must have
the shape that config.json of the real one states. How fast anything is, is not tested."""

import html.parser
import json
import re

import pytest

from support import ERROR_LINE, SHARED, STORIES, need, slm

CONFIGS = SHARED / "data/configs"


def bench(*args):
    done = slm("bench", *args, "--json", timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def hyper_parameters(path):
    """What `slm inspect` states, and further keys of the file without their prefix."""
    hp = json.loads(slm("inspect", path, "--json").stdout)["hyper_parameters"]
    for line in slm("inspect", path, "--keys").stdout.splitlines():
        match = re.search(r"\b\w+\.(feed_forward_length|rope\.freq_base|attention\.layer_norm_rms_epsilon) = (\S+)", line)
        if match:
            hp[{"f": "n_ff", "r": "rope_base", "a": "rms_eps"}[match[1][0]]] = float(match[2])
    return hp


def test_one_case():
    answer = bench("-m", need(STORIES), "-p", 32, "-n", 8, "-b", 2, "-r", 3, "-t", 2)
    assert answer["threads"] == 2 and answer["batch"] == 2 and answer["n_prompt"] == 32 and answer["n_gen"] == 8
    for key in ("pp_tok_s", "tg_tok_s", "load_s", "first_token_s"):
        values = answer[key + "_all"]
        assert len(values) == 3 and sorted(values)[1] == answer[key] > 0
    assert answer["first_token_s"] > answer["load_s"]
    assert answer["peak_rss_bytes"] >= answer["rss_bytes"] > 1_000_000
    assert [c["tok_s"] for c in answer["cases"]] == [answer["pp_tok_s"], answer["tg_tok_s"]]


def test_nothing_measured_is_null():
    answer = bench(need(STORIES), "-p", 0, "-n", 1, "-r", 1)
    assert answer["pp_tok_s"] is None and answer["pp_tok_s_all"] == [] and answer["n_prompt"] == 0
    answer = bench(need(STORIES), "-p", 0, "-n", 0, "-r", 1)
    assert answer["cases"] == [] and answer["load_s"] > 0


def test_lists_are_all_combinations():
    answer = bench(need(STORIES), "-p", "8,16", "-n", "4", "-d", "0,32", "-b", "1,3", "-t", "1,2", "-r", 1)
    found = [(c["test"], c["n"], c["depth"], c["batch"], c["threads"]) for c in answer["cases"]]
    wanted = {(test, n, d, b, t) for test, n in (("pp", 8), ("pp", 16), ("tg", 4)) for d in (0, 32) for b in (1, 3)
              for t in (1, 2)}
    assert len(found) == len(wanted) and set(found) == wanted
    text = slm("bench", need(STORIES), "-p", "8,16", "-n", "4", "-d", "0,32", "-r", 1).stdout
    assert len(re.findall(r"(?m)^(?:prompt|generate) ", text)) == 6 and not re.search(r" $", text, re.M)


def test_work_of_a_token():
    """Of stories260K: 5 layers of width 64, 8 heads of 8 with 4 for keys and values, 172 wide; head tied or not."""
    hp = hyper_parameters(need(STORIES))
    wide, kv = hp["n_embd"], hp["n_head_kv"] * hp["head_dim"]
    macs = hp["n_layer"] * (2 * wide * wide + 2 * wide * kv + 3 * wide * hp["n_ff"])
    answer = bench(STORIES, "-p", 1, "-n", 1, "-r", 1)
    assert answer["macs_per_prompt_tok"] == macs
    assert answer["file_bytes"] > answer["weight_bytes_per_tok"] >= macs


@pytest.mark.parametrize("args, words", [
    (["-p", "1,,2"], ["--n-prompt", "whole number"]), (["-p", ""], ["--n-prompt"]), (["-n", "1,x"], ["--n-gen", "'x'"]),
    (["-d", ",".join("1" * 17)], ["--depth", "at most 16"]), (["-b", "1,65"], ["--batch", "1 to 64"]),
    (["-t", "0"], ["--threads", "1 to 1024"]), (["-p", "99999999999999999999"], ["--n-prompt"]),
    (["--save", "x.gguf"], ["--shape"]), (["m.gguf", "--shape", "qwen3-0.6b"], ["--shape"]),
])
def test_wrong_lists(args, words):
    done = slm("bench", *args)
    assert done.returncode == 2 and ERROR_LINE.match(done.stderr) and all(w in done.stderr for w in words), done.stderr


def test_unknown_shapes():
    done = slm("bench", "--shape", "gpt-9")
    assert done.returncode == 1 and ERROR_LINE.match(done.stderr) and "qwen3-0.6b" in done.stderr
    done = slm("bench", "--shape", "qwen3-0.6b:q3")
    assert done.returncode == 1 and ERROR_LINE.match(done.stderr) and "q4_k_m" in done.stderr


class Page(html.parser.HTMLParser):
    """Opened and closed tags, and everything that would be fetched."""
    def __init__(self):
        super().__init__()
        self.open, self.tags, self.outside, self.text = [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.outside += [v for k, v in attrs if k in ("src", "href", "srcset", "data", "action")]
        if tag not in ("meta", "rect", "path", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_html_page(tmp_path):
    model = tmp_path / "a<b>&\"c.gguf"
    model.write_bytes(open(need(STORIES), "rb").read())
    out = tmp_path / "report.html"
    answer = bench(model, "-p", "8,16", "-n", 4, "-d", "0,32", "-r", 2, "--html", out)
    text = out.read_text()
    page = Page()
    page.feed(text)
    assert page.open == [] and page.outside == [] and "script" not in page.tags
    assert not re.search(r"https?:|url\(|@import", text)
    assert "a<b>&\"c.gguf" in page.text and "prefers-color-scheme:dark" in text
    assert page.tags.count("svg") == 2 * 4 and page.tags.count("rect") == 2 * len(answer["cases"])  # wide and narrow
    for case in answer["cases"]:
        assert f"{case['tok_s']:.2f}" in page.text and f"{case['tok_s']:.1f}" in page.text
    done = slm("bench", STORIES, "-p", 1, "-n", 1, "-r", 1, "--html", tmp_path / "no/x.html")
    assert done.returncode == 1 and "x.html" in done.stderr and done.stdout == ""


# shape, the real model's config.json, type, bits a weight of what is in layers
SHAPES = [("qwen3-0.6b", "qwen3-0.6b-sft.json", "tq2_0", 2.0625),
          pytest.param("llama-3.2-1b", "Llama-3.2-1B-Instruct.json", "q4_0", 4.5, marks=pytest.mark.slow),
          pytest.param("gemma-3-1b", "gemma-3-1b-it.json", "q5_1", 6, marks=pytest.mark.slow),
          pytest.param("bitnet-2b4t", "bitnet-b1.58-2B-4T.json", "tq2_0", 2.0625, marks=pytest.mark.slow)]


@pytest.mark.parametrize("shape, config, dtype, bits", SHAPES)
def test_shapes_are_the_real_ones(shape, config, dtype, bits, tmp_path):
    c = json.loads(open(need(CONFIGS / config)).read())
    path = tmp_path / "made.gguf"
    answer = bench("--shape", f"{shape}:{dtype}", "--save", path, "-p", 4, "-n", 2, "-r", 1)
    assert answer["model"] == f"{shape}:{dtype}" and answer["architecture"] == c["model_type"].removesuffix("_text")
    hp = hyper_parameters(path)
    heads = c["num_attention_heads"]
    for ours, theirs in {"n_layer": c["num_hidden_layers"], "n_embd": c["hidden_size"], "n_ff": c["intermediate_size"],
                         "n_head": heads, "n_head_kv": c["num_key_value_heads"], "n_vocab": c["vocab_size"],
                         "head_dim": c.get("head_dim") or c["hidden_size"] // heads,
                         "n_ctx_train": c["max_position_embeddings"], "rope_base": c["rope_theta"]}.items():
        assert hp[ours] == theirs, ours
    assert hp["rms_eps"] == pytest.approx(c["rms_norm_eps"], rel=1e-6)
    # Layers in their type and the tied head in Q6_K, as llama.cpp's quantizer does it, or Q8_0 where rows do not fit.
    head = c["vocab_size"] * c["hidden_size"] * (6.5625 if c["hidden_size"] % 256 == 0 else 8.5) / 8
    weights = json.loads(slm("inspect", path, "--json").stdout)["weights_bytes"]
    assert weights == pytest.approx(answer["macs_per_prompt_tok"] * bits / 8 + head, rel=5e-3)  # and norms
    assert weights < answer["file_bytes"] < weights + 50 * c["vocab_size"]  # and a token, a merge, a type
    text = " the house of the \u00e4 \x00\x7f \U0001f600\n" * 9  # any text has tokens, and they are the text
    ids = slm("tokenize", path, "--ids", stdin=text).stdout
    assert len(text) / 3 < len(ids.split()) < len(text) and slm("tokenize", path, "-d", stdin=ids).stdout == text
    logits = json.loads(slm("logits", path, "--ids", "1 2 3", "--json").stdout)["logits"][-1]
    assert len(logits) == c["vocab_size"] and None not in logits
    mean = sum(logits) / len(logits)
    assert 0.01 < (sum((x - mean) ** 2 for x in logits) / len(logits)) ** 0.5 < 100


def test_a_shape_without_a_name_leaves_nothing(tmp_path):
    import glob
    before = set(glob.glob("/tmp/slm-bench-*"))
    assert slm("bench", "--shape", "qwen3-0.6b:tq2_0", "-p", 1, "-n", 0, "-r", 1, "--html",
               "/no/such/folder/x").returncode == 1
    assert set(glob.glob("/tmp/slm-bench-*")) <= before
