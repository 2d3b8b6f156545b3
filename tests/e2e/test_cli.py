# SPDX-License-Identifier: MIT
"""The commands as a user or a script meets them: what goes to stdout, what to stderr, exit codes, help."""

import json
import os
import re
import subprocess

import pytest

from support import CHAT_TEMPLATE, ERROR_LINE, ROOT, SHARED, SLM, STORIES, TINY_QWEN3, has_builtin_model, need, slm, \
    with_template

COMMANDS = ["run", "chat", "inspect", "tokenize", "template", "logits", "embed", "bench", "doctor"]


def assert_error(done, code, *words):
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert ERROR_LINE.match(done.stderr), done.stderr
    for word in words:
        assert word in done.stderr


# ---- help and usage ------------------------------------------------------------------------------------------------


def test_help_lists_every_command():
    done = slm("help")
    assert done.returncode == 0 and done.stderr == ""
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\S", done.stdout, re.M)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(command):
    for args in ([command, "--help"], [command, "-h"], ["help", command]):
        done = slm(*args)
        assert done.returncode == 0 and done.stderr == ""
        assert done.stdout.startswith(f"usage: slm {command}")
        assert "--help" in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 80


def test_docs_contain_the_help():
    assert slm("help", "all").stdout in (ROOT / "docs/cli.md").read_text()


def test_version():
    for word in ("--version", "-V", "version"):
        done = slm(word)
        assert done.returncode == 0 and re.fullmatch(r"slm \d+\.\d+\.\d+\n", done.stdout)


def test_without_arguments_help_is_an_error():
    done = slm()
    assert done.returncode == 2 and done.stdout == "" and "usage: slm" in done.stderr


@pytest.mark.parametrize("typed, meant", [("rnu", "run"), ("inspec", "inspect"), ("tokenise", "tokenize"),
                                          ("hepl", "help")])
def test_unknown_command_suggests_the_nearest(typed, meant):
    assert_error(slm(typed), 2, typed, f"'{meant}'")


def test_unknown_command():
    assert_error(slm("frobnicate"), 2, "frobnicate", "slm help")
    assert_error(slm("story.gguf"), 2, "slm run story.gguf")
    assert_error(slm("help", "frobnicate"), 2, "frobnicate")


@pytest.mark.parametrize("args, words", [
    (["run", "--tepm", "1"], ["--tepm", "--temp"]),
    (["run", "--temp"], ["--temp", "needs a value"]),
    (["run", "--raw=1"], ["--raw", "no value"]),
    (["run", "-Q"], ["-Q"]),
    (["run", "--temp", "warm"], ["--temp", "warm", "number"]),
    (["run", "--temp", "nan"], ["--temp", "nan"]),
    (["run", "--top-p", "1.01"], ["--top-p", "1.01", "0 to 1"]),
    (["run", "--top-k", "-1"], ["--top-k", "-1", "0 to"]),
    (["run", "--min-p", "-0.5"], ["--min-p", "0 to 1"]),
    (["run", "-n", "many"], ["--n-predict", "many", "whole number"]),
    (["run", "-n", "99999999999999999999"], ["--n-predict"]),
    (["run", "-t", "0"], ["--threads", "1 to 1024"]),
    (["run", "--seed", "-1"], ["--seed", "-1"]),
    (["run", "--kv", "f8"], ["--kv", "f16", "f32"]),
    (["run", "--logit-bias", "5"], ["--logit-bias", "ID=BIAS"]),
    (["run", "--logit-bias", "5=inf"], ["--logit-bias", "-inf"]),
    (["run", "--stop", ""], ["--stop"]),
    (["run", "m.gguf", "a prompt", "another"], ["another", "quotes"]),
    (["run", "--model", "m.gguf", "Once", "upon"], ["upon"]),
    (["run", "--file", "x", "prompt"], ["--file"]),
    (["run", "--raw", "--system", "x", "prompt"], ["--system", "--raw"]),
    (["logits", "m.gguf"], ["--ids"]),
    (["template", "m.gguf"], ["--messages"]),
    (["doctor", "extra"], ["extra"]),
])
def test_bad_arguments(args, words):
    assert_error(slm(*args), 2, *words)


@pytest.mark.parametrize("args", [
    ["run", "/no/such/model.gguf", "Hi"], ["chat", "/no/such/model.gguf"], ["inspect", "/no/such/model.gguf"],
    ["tokenize", "/no/such/model.gguf"], ["logits", "/no/such/model.gguf", "--ids", "1"],
    ["bench", "/no/such/model.gguf"], ["template", "/no/such/model.gguf", "--messages", "-"],
])
def test_missing_file(args):
    assert_error(slm(*args, stdin="[]"), 1, "/no/such/model.gguf", "No such file")


def test_not_a_model(tmp_path):
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"this is not a model file at all, whatever its name says" * 10)
    for command in ("run", "inspect", "bench"):
        assert_error(slm(command, bad, *(["Hi"] if command == "run" else [])), 1, "bad.gguf")


# ---- run ---------------------------------------------------------------------------------------------------


def reference_text():
    return need(STORIES), (STORIES.parent / "greedy-200.llama2c.txt").read_text()


def test_run_prints_the_reference_text():
    model, text = reference_text()
    prompt = "Once upon a time"
    done = slm("run", model, prompt, "-n", 60, "--temp", 0, "--raw")
    assert done.returncode == 0 and done.stderr == ""
    assert len(done.stdout) > 100 and (prompt + done.stdout) == text[:len(prompt + done.stdout)]


def test_run_takes_the_prompt_from_argument_file_or_pipe(tmp_path):
    model = need(STORIES)
    file = tmp_path / "prompt.txt"
    file.write_text("The little dog\n")  # the newline that ends a text file is not part of the prompt
    options = ["-n", 20, "--temp", 0, "--raw"]
    texts = {slm("run", model, "The little dog", *options).stdout,
             slm("run", model, "--file", file, *options).stdout,
             slm("run", model, "--file", "-", *options, stdin="The little dog").stdout,
             slm("run", "-m", model, *options, stdin="The little dog\n").stdout,
             slm("run", *options, "--model", model, "The little dog").stdout}
    assert len(texts) == 1 and len(min(texts)) > 20
    assert slm("run", model, *options, stdin="The little dog\n\n").stdout not in texts


def test_without_chat_template_raw_is_implied():
    model = need(STORIES)
    assert_error(slm("run", model, "Hello", "--system", "Be kind"), 1, "system message")
    options = ["The little dog", "-n", 20, "--temp", 0]
    assert slm("run", model, *options).stdout == slm("run", model, *options, "--raw").stdout != ""


@pytest.mark.slow
def test_run_is_repeatable_by_seed():
    model = need(STORIES)
    run = lambda *more: slm("run", model, "Once", "-n", 40, "--temp", 1, *more).stdout
    assert run("--seed", 7) == run("--seed", 7) == run("--seed", 7, "-t", 1) == run("-s", "0x7")
    assert len({run("--seed", s) for s in range(5)}) == 5
    assert len({run() for _ in range(5)}) > 1


def test_run_json():
    model = need(STORIES)
    options = ["Once upon a time", "-n", 30, "--temp", 0]
    done = slm("run", model, *options, "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 0 and done.stderr == ""
    assert answer["text"] == slm("run", model, *options).stdout
    assert answer["generated_tokens"] == 30 and answer["prompt_tokens"] == 5 and answer["stop_reason"] == "length"
    again = slm("run", model, "Once", "-n", 30, "--json")
    seed = json.loads(again.stdout)["seed"]
    assert slm("run", model, "Once", "-n", 30, "--seed", seed).stdout == json.loads(again.stdout)["text"]


def test_run_verbose_uses_the_labels_scripts_know():
    done = slm("run", need(STORIES), "Once", "-n", 10, "-v", "--temp", 0)
    for label in ("total duration:", "load duration:", "prompt eval count:", "prompt eval duration:",
                  "prompt eval rate:", "eval count:", "eval duration:", "eval rate:"):
        assert re.search(rf"^{label} +\S", done.stderr, re.M), label
    assert re.search(r"^eval count: +10 token\(s\)$", done.stderr, re.M)
    assert "duration" not in done.stdout


def test_speculation_does_not_change_the_text():
    model = need(STORIES)
    for options in (["--temp", 0], ["--seed", 3, "--repeat-penalty", 1.2]):
        run = lambda *more: slm("run", model, "Once upon a time, there was a", "-n", 80, *options, *more)
        plain = json.loads(run("--speculate", "off", "--json").stdout)
        assert plain["steps"] == plain["generated_tokens"] == 80 and plain["guessed_tokens"] == 0
        for more in (["--speculate", "ngram"], ["--draft", model], ["--speculate", "draft", "--draft", model], []):
            assert run(*more).stdout == plain["text"]
    answer = json.loads(run("--draft", model, "--json").stdout)  # a model is a good draft of itself
    assert answer["text"] == plain["text"]
    assert answer["steps"] + answer["accepted_tokens"] == 80
    assert 0 < answer["accepted_tokens"] == answer["guessed_tokens"]
    assert re.search(r"^speculation: +\d+ of \d+ guess\(es\) came true, \d+\.\d\d tokens/step$",
                     run("--draft", model, "-v").stderr, re.M)


@pytest.mark.skipif(not has_builtin_model(), reason="no built-in model")
def test_speculation_refuses_what_cannot_be():
    model = need(STORIES)
    assert_error(slm("run", "Hi", "--draft", model), 1, "draft model", "vocabulary", "512")
    assert_error(slm("run", model, "Hi", "--speculate", "draft"), 2, "--draft MODEL")
    assert_error(slm("chat", model, "--speculate", "draft", stdin=""), 2, "--draft MODEL")
    assert_error(slm("run", model, "Hi", "--speculate", "off", "--draft", model), 2, "--speculate off")
    assert_error(slm("run", model, "Hi", "--speculate", "sometimes"), 2, "sometimes", "ngram")
    assert_error(slm("run", model, "Hi", "--draft", "missing.gguf"), 1, "missing.gguf")


@pytest.mark.skipif(not has_builtin_model(), reason="no built-in model")
def test_speculation_in_the_chat():
    questions = "Tell me a story about a brave mouse\nTell me a story about a brave mouse\n"
    chat = lambda *more: slm("chat", "-n", 60, "--seed", 5, *more, stdin=questions).stdout
    assert chat("--speculate", "off") == chat() == chat("--draft", ROOT / "models/builtin.gguf") != ""


def test_stop_strings_are_never_printed():
    model = need(STORIES)
    full = slm("run", model, "Once upon a time", "-n", 60, "--temp", 0).stdout
    for stop in ("Lily", "ily.", ". She", "day, s", "ark"):
        done = slm("run", model, "Once upon a time", "-n", 60, "--temp", 0, "--stop", stop, "--json")
        answer = json.loads(done.stdout)
        assert answer["text"] == full[:full.index(stop)] and answer["stop_reason"] == "string"
    first = min(full.index("park"), full.index("ball"))
    assert slm("run", model, "Once upon a time", "-n", 60, "--temp", 0, "--stop", "ball", "--stop", "park").stdout == \
        full[:first]


def test_logit_bias_bans_a_token():
    model = need(STORIES)
    lily = slm("tokenize", model, "--ids", stdin=" Lily").stdout.split()
    run = lambda *more: slm("run", model, "a little girl named", "-n", 3, "--temp", 0, *more).stdout
    assert "Lily" in run()
    assert "Lily" not in run("--logit-bias", f"{lily[-1]}=-inf")
    assert_error(slm("run", model, "Hi", "--logit-bias", "512=1"), 1, "512", "0 to 511")


def test_context_limit_is_said():
    model = need(STORIES)
    done = slm("run", model, "Once upon a time", "-c", 32, "-n", 100, "--temp", 0)
    assert done.returncode == 0 and "context of 32 tokens is full" in done.stderr
    assert json.loads(slm("run", model, "Once", "-c", 32, "--temp", 0, "--json").stdout)["stop_reason"] == "context"
    assert_error(slm("run", model, "word " * 100, "-c", 32), 1, "32")


def test_closed_pipe_is_quiet():
    model = need(STORIES)
    done = subprocess.run(f"'{SLM}' run '{model}' Once --temp 0 | head -c 5; echo ${{PIPESTATUS[0]}}", shell=True,
                          executable="/bin/bash", capture_output=True, timeout=60, check=False)
    assert done.stdout.endswith(b"0\n") and done.stderr == b""


def test_full_disk_is_reported():
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([SLM, "help"], stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 1 and done.stderr.startswith(b"slm: stdout: ")


def test_chat_template_is_used_unless_raw(tmp_path):
    model = with_template(need(STORIES), tmp_path / "chat.gguf", CHAT_TEMPLATE)
    options = ["-n", 20, "--temp", 0]
    rendered = "user: Hello\nassistant:"
    chat = json.loads(slm("run", model, "Hello", *options, "--json").stdout)
    n_tokens = len(slm("tokenize", model, "--ids", stdin=rendered).stdout.split())
    assert chat["prompt_tokens"] == n_tokens  # and no BOS: templates write it themselves
    assert json.loads(slm("run", model, "Hello", "--raw", *options, "--json").stdout)["prompt_tokens"] < n_tokens
    assert_error(slm("run", model, *options, stdin="a\0b"), 1, "NUL")
    system = json.loads(slm("run", model, "Hello", "--system", "Be kind", *options, "--json").stdout)
    assert system["prompt_tokens"] > n_tokens


# ---- inspect -----------------------------------------------------------------------------------------------


def test_inspect_json():
    info = json.loads(slm("inspect", need(STORIES), "--json", "--keys", "--tensors").stdout)
    assert (info["architecture"], info["n_params"], info["size_class"]) == ("llama", 292800, "tiny")
    assert info["hyper_parameters"] == {"n_layer": 5, "n_embd": 64, "n_head": 8, "n_head_kv": 4, "head_dim": 8,
                                        "n_vocab": 512, "n_ctx_train": 2048}
    assert info["types"] == {"F32": {"n_tensors": 48, "n_elements": 292800, "bytes": 4 * 292800}}
    assert info["runs"] is True and info["bits_per_weight"] == 32 and info["chat_template"] is None
    assert info["tokenizer"]["n_tokens"] == 512 and len(info["keys"]["tokenizer.ggml.tokens"]) == 512
    assert len(info["tensors"]) == 48 and sum(t["bytes"] for t in info["tensors"]) == info["weights_bytes"]
    last = info["memory"][-1]
    # f16 keys and values of 2048 tokens; the rest is at least the weights
    assert last["n_ctx"] == 2048 and last["kv_bytes"] == 2048 * 5 * 2 * 4 * 8 * 2
    assert last["total_bytes"] == last["weights_bytes"] + last["kv_bytes"] + last["scratch_bytes"]


@pytest.mark.slow
def test_inspect_works_for_what_cannot_run():
    folder = SHARED / "data/tokenizers/ggml-vocab"
    need(folder)
    for file in sorted(folder.glob("*.gguf")):
        info = json.loads(slm("inspect", file, "--json", "--keys").stdout)
        assert info["runs"] is False and info["runs_not_because"] and info["tokenizer"]["n_tokens"] > 30000
        assert re.search(r"^runs here +no: ", slm("inspect", file).stdout, re.M)


def test_inspect_text_names_everything():
    text = slm("inspect", need(STORIES), "--keys", "--tensors").stdout
    for word in ("llama", "293K (292800)", "tiny", "F32", "5 of width 64", "8 heads of 8, 4", "2048 tokens",
                 "tokenizer.ggml.tokens = ", "blk.4.ffn_up.weight", "chat template none"):
        assert word in text, word


# ---- tokenize, logits, template, bench, doctor -------------------------------------------------------------


def test_tokenize_and_back():
    model = need(STORIES)
    text = "Once upon a time, there was a dog — naïve 🦊!\n"
    ids = slm("tokenize", model, "--ids", stdin=text).stdout
    assert ids.count("\n") == 1 and "1" != ids.split()[0]  # no BOS
    assert slm("tokenize", model, "--decode", stdin=ids).stdout == text
    assert slm("tokenize", model, "--ids", "--bos", stdin=text).stdout == "1 " + ids
    table = slm("tokenize", model, stdin=text).stdout.splitlines()
    assert [line.split("\t")[0] for line in table] == ids.split()
    pieces = [json.loads(line.split("\t")[1]) for line in table]
    assert pieces[:4] == [" Once", " upon", " a", " time"] and pieces[-1] == "\n"
    assert slm("tokenize", model, "--ids", stdin="").stdout == "\n"
    assert_error(slm("tokenize", model, "--decode", stdin="1 2 x"), 1, "'x'")
    assert_error(slm("tokenize", model, "--decode", stdin="512"), 1, "'512'", "0 to 511")


def test_logits_match_the_reference():
    model = need(TINY_QWEN3)
    reference = [float(number) for number in (TINY_QWEN3.parent / "tiny_ref_logits.txt").read_text().split(",")]
    answer = json.loads(slm("logits", model, "--ids", "1 2 3 4 5", "--json", "--kv", "f32").stdout)
    assert answer["n_vocab"] == 512 and len(answer["logits"]) == 1 and len(reference) == 512
    assert max(abs(a - b) for a, b in zip(answer["logits"][0], reference)) < 1e-4
    every = json.loads(slm("logits", model, "--ids", "1,2,3,4,5", "--json", "--all", "--kv", "f32").stdout)["logits"]
    assert len(every) == 5 and every[4] == answer["logits"][0]
    assert_error(slm("logits", model, "--ids", "1 512"), 1, "'512'")
    assert_error(slm("logits", model, "--ids", " "), 1, "ids")
    top = slm("logits", model, "--ids", "1 2 3 4 5", "--top", 3, "--kv", "f32").stdout.splitlines()
    best = sorted(range(512), key=lambda i: -answer["logits"][0][i])[:3]
    assert [int(line.split("\t")[1]) for line in top] == best


def test_logits_of_a_greedy_continuation():
    """What is added one by one is what the whole text would have got, and each is the likeliest."""
    model = need(TINY_QWEN3)
    ids = [1, 2, 3, 4, 5]
    answer = json.loads(slm("logits", model, "--ids", "1 2 3 4 5", "--json", "--all", "--greedy", "6").stdout)
    assert len(answer["greedy"]) == 6 and len(answer["logits"]) == 11
    assert answer["greedy"] == [row.index(max(row)) for row in answer["logits"][4:10]]
    whole = " ".join(map(str, ids + answer["greedy"]))
    assert json.loads(slm("logits", model, "--ids", whole, "--json", "--all").stdout)["logits"] == answer["logits"]
    last = json.loads(slm("logits", model, "--ids", "1 2 3 4 5", "--json", "--greedy", "6").stdout)
    assert last["logits"] == answer["logits"][-1:]
    assert slm("logits", model, "--ids", "1 2", "--greedy", "2", "--top", "1").stdout.count("greedy\t") == 1


def test_template(tmp_path):
    jinja, messages = tmp_path / "t.jinja", tmp_path / "m.json"
    jinja.write_text("{{ bos_token }}" + CHAT_TEMPLATE + "{{ eos_token }}")
    messages.write_text(json.dumps([{"role": "user", "content": "Hi <there> & \"you\""}]))
    run = lambda *more: slm("template", "--template", jinja, "--messages", messages, "--bos", "<s>", "--eos", "</s>",
                            *more)
    assert run().stdout == "<s>user: Hi <there> & \"you\"\nassistant:</s>"
    assert run("--no-generation-prompt").stdout == "<s>user: Hi <there> & \"you\"\n</s>"
    jinja.write_text("{{ tools | length }} {{ mood }}")
    tools = tmp_path / "tools.json"
    tools.write_text("[{\"type\": \"function\"}]")
    assert run("--tools", tools, "--extra", '{"mood": "good"}').stdout == "1 good"
    jinja.write_text("{{ raise_exception('no such role') }}")
    assert_error(run(), 1, "no such role")
    messages.write_text("{not json")
    assert_error(run(), 1)
    model = with_template(need(STORIES), tmp_path / "chat.gguf", "{{ bos_token }}" + CHAT_TEMPLATE)
    messages.write_text('[{"role": "user", "content": "Hi"}]')
    assert slm("template", model, "--messages", messages).stdout == "<s>user: Hi\nassistant:"
    assert_error(slm("template", need(STORIES), "--messages", messages), 1, "no chat template")


@pytest.mark.slow
def test_doctor():
    done = slm("doctor", "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 0 and answer["self_check"] in ("ok", "skipped")
    assert answer["self_check"] == "ok" or not has_builtin_model()
    assert answer["threads"] >= 1 and answer["memory_total_bytes"] > answer["memory_available_bytes"] > 0
    assert answer["read_bytes_s_1"] > 1e8 and answer["f32_flop_s_1"] > 1e7
    assert answer["int8_mac_s_1"] > 1e7 and answer["int8_mac_s_all"] > 1e7
    scalar = json.loads(slm("doctor", "--json", "--cpu-mask", "0").stdout)
    assert scalar["kernels"] == "scalar" and scalar["cpu_mask"] == 0 and scalar["self_check"] == answer["self_check"]
    text = slm("doctor").stdout
    for feature in answer["features"]:
        assert re.search(rf"{re.escape(feature['name'])} +mask {1 << feature['bit']:#x}\b", text)


def test_cpu_mask_changes_nothing_but_speed():
    model = need(STORIES)
    options = ["Once upon", "-n", 30, "--temp", 1, "--seed", 3]
    assert slm("run", model, *options, "--cpu-mask", 0).stdout == slm("run", model, *options).stdout != ""


def test_builtin_model_tells_a_story():
    if not has_builtin_model():
        pytest.skip("this build has no built-in model")
    done = slm("run", "Once upon a time", "-n", 40, "--temp", 0)
    assert done.returncode == 0 and len(done.stdout.split()) > 10
    assert done.stdout == slm("run", "Once upon a time", "-n", 40, "--temp", 0, "-t", 1).stdout
