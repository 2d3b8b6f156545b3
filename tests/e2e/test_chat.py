# SPDX-License-Identifier: MIT
"""The interactive chat, on a pseudo-terminal and through a pipe. The model is a tiny story model that was given a chat
template: what it answers is silly, that it answers the right question is what is tested."""

import json
import os
import re

import pytest

from support import CHAT_TEMPLATE, STORIES, Terminal, cpu_seconds, eventually, need, slm, with_template

PROMPT = r">>> "


@pytest.fixture(name="model")
def fixture_model(tmp_path):
    return with_template(need(STORIES), tmp_path / "chat.gguf", CHAT_TEMPLATE)


@pytest.fixture(name="env")
def fixture_env(tmp_path):
    return {"XDG_STATE_HOME": str(tmp_path / "state"), "HOME": str(tmp_path)}


def answers(model, *inputs, options=("-n", "12", "--temp", "0"), env=None):
    """What the chat prints on stdout for lines from a pipe."""
    done = slm("chat", model, *options, stdin="".join(line + "\n" for line in inputs), env=env)
    assert done.returncode == 0, done.stderr
    return done


def raw_answer(model, transcript, n=12):
    """The oracle: the same transcript as a plain prompt. Only the BOS that --raw adds differs from a template."""
    ids = slm("tokenize", model, "--ids", stdin=transcript).stdout.split()
    out = []
    for _ in range(n):
        row = json.loads(slm("logits", model, "--ids", " ".join(ids + out), "--json").stdout)["logits"][0]
        out.append(str(row.index(max(row))))
    return slm("tokenize", model, "--decode", stdin=" ".join(ids + out)).stdout[len(transcript):]


def test_piped_chat_answers_with_the_whole_conversation(model):
    first = raw_answer(model, "user: Hello dog\nassistant:")
    second = raw_answer(model, f"user: Hello dog\nassistant: {first}\nuser: And then?\nassistant:")
    # The template strips nothing, so the second question's prompt holds the first answer as it was printed.
    out = answers(model, "Hello dog", "And then?").stdout
    assert out.startswith(first)
    assert out.rstrip("\n").endswith(second.rstrip("\n"))


def test_piped_chat_shows_no_prompts(model):
    done = answers(model, "Hello", "/bye", "never read")
    assert ">>>" not in done.stdout + done.stderr and "/help" not in done.stderr
    assert answers(model, "Hello").stdout == done.stdout


def test_clear_forgets(model):
    options = ("-n", "12", "--temp", "1", "--seed", "4")  # draws depend on the position: a longer past shows
    once = answers(model, "Hello", options=options).stdout
    twice = answers(model, "Hello", "/clear", "Hello", options=options).stdout
    assert twice == once + once
    assert answers(model, "Hello", "Hello", options=options).stdout != once + once


def test_multi_line_inputs_are_one_message(model):
    block = answers(model, '"""one', "two", 'three"""').stdout
    joined = answers(model, "one\\", "two\\", "three").stdout
    assert block == joined == answers(model, '"""', "one", "two", 'three"""').stdout
    assert block.startswith(raw_answer(model, "user: one\ntwo\nthree\nassistant:"))


def test_set_parameters_and_system(model):
    plain = answers(model, "Hello").stdout
    short = answers(model, "/set parameter num_predict 3", "Hello").stdout
    assert plain.startswith(short.rstrip("\n")) and len(short) < len(plain)
    system = "Lily and Tom went to the big park to play."
    assert answers(model, f"/set system {system}", "Hello").stdout == answers(
        model, "Hello", options=("-n", "12", "--temp", "0", "--system", system)).stdout != plain
    assert answers(model, f"/set system {system}", "/set system", "Hello").stdout == plain
    done = answers(model, "/set parameter temperature 0.25", "/set parameter seed 77", "/set parameter stop END",
                   "/show parameters")
    assert re.search(r"temperature +0\.25\n", done.stderr) and re.search(r"seed +77\n", done.stderr)
    assert re.search(r"stop +END\n", done.stderr)


@pytest.mark.parametrize("line, words", [
    ("/set parameter temprature 1", ["temprature", "temperature"]),
    ("/set parameter top_p 2", ["top_p", "'2'", "0 to 1"]),
    ("/set parameter seed", ["name and a value"]),
    ("/set colour red", ["colour"]),
    ("/sho", ["/sho", "/show"]),
    ("/frobnicate", ["/frobnicate", "/help"]),
    ("/save", ["/save", "file"]),
    ("/load /no/such/file.json", ["/no/such/file.json", "No such file"]),
])
def test_bad_commands_say_what_is_wrong_and_go_on(model, line, words):
    done = answers(model, line, "Hello")
    assert len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr
    assert done.stdout == answers(model, "Hello").stdout


def test_help_lists_every_command(model):
    text = answers(model, "/help").stderr
    assert text == answers(model, "/?").stderr
    for command in ("/set", "/show", "/save", "/load", "/clear", "/help", "/bye", '"""'):
        assert command in text


def test_save_and_load(model, tmp_path):
    file = tmp_path / "talk.json"
    whole = answers(model, "/set parameter seed 5", "Hello dog", f"/save {file}", "And then?").stdout
    saved = json.loads(file.read_text())
    assert [m["role"] for m in saved["messages"]] == ["user", "assistant"]
    assert saved["messages"][0]["content"] == "Hello dog" and saved["parameters"]["seed"] == "5"
    assert saved["parameters"]["num_predict"] == 12
    rest = answers(model, f"/load {file}", "And then?").stdout
    assert whole.endswith(rest) and rest
    # The saved settings count, not those of the new program.
    assert answers(model, f"/load {file}", "And then?", options=("-n", "2", "--temp", "0")).stdout == rest


@pytest.mark.parametrize("text", [
    "", "[]", "{", '{"format": "slm-chat", "version": 2, "messages": []}',
    '{"format": "slm-chat", "version": 1}',
    '{"format": "slm-chat", "version": 1, "messages": [{"role": "user"}]}',
    '{"format": "slm-chat", "version": 1, "messages": [{"role": "root", "content": "x"}]}',
    '{"format": "slm-chat", "version": 1, "messages": [], "parameters": {"top_p": 9}}',
    '{"format": "slm-chat", "version": 1, "messages": [], "parameters": {"num_predict": true}}',
    '{"format": "slm-chat", "version": 1, "messages": [], "system": 7}',
    '{"format": "slm-chat", "version": 1, "messages": [], "messages": []}',
])
def test_a_bad_file_leaves_the_chat_as_it_was(model, tmp_path, text):
    file = tmp_path / "bad.json"
    file.write_text(text)
    done = answers(model, "Hello", f"/load {file}", "More")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stdout == answers(model, "Hello", "More").stdout


def test_only_what_is_new_is_computed(model, tmp_path):
    """The second prompt holds the whole conversation, but what the session already holds is not evaluated again. (An
    answer may be, when its text makes other tokens than those it was generated with.)"""
    question = "One day a girl went to the park with a dog and a cat and a big red ball"
    file = tmp_path / "talk.json"
    done = answers(model, question, f"/save {file}", "And then?", options=("-n", "12", "--temp", "0", "-v"))
    first, second = map(int, re.findall(r"^prompt eval count: +(\d+)", done.stderr, re.M))
    answer = json.loads(file.read_text())["messages"][1]["content"]
    whole = f"user: {question}\nassistant: {answer}\nuser: And then?\nassistant:"
    n_whole = len(slm("tokenize", model, "--ids", stdin=whole).stdout.split())
    assert first > 20 and 0 < second <= n_whole - first


def test_full_context_is_said_and_the_question_can_be_asked_again(model):
    options = ("-n", "10", "--temp", "0", "-c", "48")
    done = answers(model, "Hello", "a long line " * 30, "/clear", "Hello", options=options)
    assert len(re.findall(r"context holds 48", done.stderr)) == 1 and "/clear" in done.stderr
    once = answers(model, "Hello", options=options).stdout
    assert done.stdout == once + once


def test_model_without_template_continues_the_text():
    model = need(STORIES)
    refused = slm("chat", model, "--system", "Be kind", stdin="Hello\n")
    assert refused.returncode == 1 and refused.stdout == "" and "system message" in refused.stderr
    options = ("-n", "10", "--temp", "0")
    out = answers(model, "Once upon a time", options=options).stdout
    assert out.rstrip("\n") == slm("run", model, "Once upon a time", *options).stdout.rstrip("\n")
    assert "template" in slm("chat", model, stdin="/load x\n").stderr


# ---- on a terminal ---------------------------------------------------------------------------------------


def need_editor(t):
    """The first prompt, or a skip: builds without libedit leave editing to the terminal."""
    t.expect(PROMPT)
    if "\x1b[?2004h" not in t.seen:
        pytest.skip("this build has no line editor")


def test_terminal_session(model, env):
    with Terminal("run", model, "-n", "12", "--temp", "0", env=env) as t:
        t.expect(r"/help lists commands")
        t.expect(PROMPT)
        t.type("Hello dog\r")
        t.expect(re.escape(raw_answer(model, "user: Hello dog\nassistant:").split()[0]))
        t.expect(PROMPT)
        t.type("/bye\r")
        assert t.wait() == 0


def test_history_is_kept_for_its_owner(model, env):
    with Terminal("run", model, "-n", "12", "--temp", "0", env=env) as t:
        need_editor(t)
        t.type("Hello dog\r")
        t.expect(PROMPT)
        t.type("/bye\r")
        assert t.wait() == 0
    history = os.path.join(env["XDG_STATE_HOME"], "slm", "history")
    assert os.stat(history).st_mode & 0o077 == 0
    with Terminal("chat", model, "-n", "12", "--temp", "0", env=env) as t:
        t.expect(PROMPT)
        t.type("\x1b[A\x1b[A")
        t.expect("Hello dog")
        t.type("\x15/bye\r")
        assert t.wait() == 0


def test_ctrl_c_stops_the_answer_and_then_leaves(model, env):
    with Terminal("chat", model, "--temp", "1", "--seed", "1", "--ignore-eos", "-c", "65536", env=env) as t:
        t.expect(PROMPT)
        t.type("Hello\r")
        t.expect(r"Hello\r?\n.{20,}?")  # it talks, and would for half a minute
        t.type("\x03")
        t.expect(PROMPT)
        t.type("/show info\r")
        t.expect(r"messages +2")
        t.expect(PROMPT)
        t.type("half a line\x03")
        assert t.wait() == 0


@pytest.mark.slow
def test_ctrl_c_is_heard_during_a_long_prompt(model, env, tmp_path):
    file = tmp_path / "long.json"
    messages = [{"role": "user", "content": "Once upon a time " * 10000}, {"role": "assistant", "content": "Yes."}]
    file.write_text(json.dumps({"format": "slm-chat", "version": 1, "messages": messages}))
    with Terminal("chat", model, "-n", "5", "-c", "65536", env=env) as t:
        t.expect(PROMPT)
        t.type(f"/load {file}\r")
        t.expect("2 messages")
        t.expect(PROMPT)
        before = cpu_seconds(t.pid)
        t.type("Go on\r")
        t.expect(r"Go on\r?\n")
        eventually(lambda: cpu_seconds(t.pid) > before + 0.1, "computing")  # the prompt takes many seconds of it
        t.type("\x03")
        t.expect("stopped before the answer began")
        t.expect(PROMPT)
        t.type("/show info\r")
        t.expect(r"messages +2\r")


def test_ctrl_d_leaves(model, env):
    with Terminal("chat", model, env=env) as t:
        t.expect(PROMPT)
        t.type("\x04")
        assert t.wait() == 0


def test_multi_line_on_a_terminal(model, env):
    with Terminal("chat", model, "-n", "12", "--temp", "0", env=env) as t:
        t.expect(PROMPT)
        t.type('"""one\r')
        t.expect(r"\.\.\. ")
        t.type("two\r")
        t.expect(r"\.\.\. ")
        t.type('three"""\r')
        t.expect(PROMPT)
        save_and_check(t, env, "one\ntwo\nthree")


def save_and_check(t, env, text):
    file = os.path.join(env["HOME"], "talk.json")
    t.type(f"/save {file}\r")
    t.expect("2 messages")
    with open(file, encoding="utf-8") as saved:
        assert json.load(saved)["messages"][0]["content"] == text


def test_bracketed_paste(model, env):
    with Terminal("chat", model, "-n", "5", "--temp", "0", env=env) as t:
        need_editor(t)
        t.type("Say: \x1b[200~one\rtwo\rthrée\x1b[201~!")
        t.expect(r"paste 1: 3 lines")
        t.type("\r")
        t.expect(r"\x1b\[\?2004h")
        t.expect(PROMPT)
        save_and_check(t, env, "Say: one\ntwo\nthrée!")
        t.expect(PROMPT)
        t.type("/clear\r")
        t.expect(PROMPT)
        t.type("\x1b[200~a single line\x1b[201~\r")
        t.expect("a single line")
        t.expect(PROMPT)
        save_and_check(t, env, "a single line")


def test_editing_and_wide_characters(model, env):
    with Terminal("chat", model, "-n", "5", "--temp", "0", env=env) as t:
        need_editor(t)
        t.type("Grüße, 🦊x\x7f!\x01A \r")
        t.expect(PROMPT)
        save_and_check(t, env, "A Grüße, 🦊!")


def test_no_colour_when_asked(model, env):
    for more, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        with Terminal("chat", model, env={**env, **more}) as t:
            t.expect(PROMPT)
            assert ("\x1b[2m" in t.seen) == coloured


def test_a_model_file_cut_short_while_in_use_is_an_error_not_a_signal(model, env):
    chat = Terminal("chat", model, "-n", "4", env=env)
    chat.expect(PROMPT)
    os.truncate(model, 20000)
    chat.type("Hello\n")
    assert chat.wait() == 1
    assert "slm: a model file was cut short" in chat.seen
