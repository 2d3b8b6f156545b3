# SPDX-License-Identifier: MIT
"""The page of `slm serve` in a real browser, with the built-in model behind it: what people do with it, by keyboard too,
and that it fetches nothing from anywhere else. Where there is no Chromium the tests in it skip."""

import re

import pytest

from browser import Browser
from serving import server, serving  # noqa: F401 (server is a fixture)
from support import PATIENCE, ROOT

FILES = sorted(p.name for p in (ROOT / "src/serve/page").glob("*.*") if p.suffix != ".inc")
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(scope="module")
def browser():
    with Browser() as program:
        yield program


@pytest.fixture
def page(server, browser):
    """The page, opened anew in a browser that has forgotten everything; complains at the end about what went wrong."""
    tab = browser.page()
    tab.call("Storage.clearDataForOrigin", origin=server.url, storageTypes="local_storage")
    tab.open(server.url + "/")
    tab.until(READY)
    yield tab
    assert tab.errors == []
    assert {address.split("/")[2] for address in tab.requests} == {f"127.0.0.1:{server.port}"}


READY = "document.querySelector('#model').options.length === 1"


def reload(page):
    page.loaded = False
    page.call("Page.reload")
    page.browser.wait(lambda: page.loaded, PATIENCE, "loading again")
    page.until(READY)


def press(page, key, code=None, modifiers=0, text=""):
    """A key of the keyboard. modifiers: 2 is Ctrl, 8 Shift."""
    common = {"key": key, "code": code or key, "modifiers": modifiers,
              "windowsVirtualKeyCode": {"Enter": 13, "Escape": 27, "Tab": 9, " ": 32}[key]}
    page.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
    page.call("Input.dispatchKeyEvent", type="keyUp", **common)


def say(page, text):
    page.type("#prompt", text)
    press(page, "Enter", text="\r")


def setting(page, name, value):
    page.run(f"(f => {{ f.value = '{value}'; f.dispatchEvent(new Event('change')) }})"
             f"(document.querySelector('#set-{name}'))")


STATUS = "document.querySelector('#status').textContent"
LAST = "document.querySelector('#log .assistant:last-child .content').textContent"


# ---- files -------------------------------------------------------------------------------------------------------


def test_files_come_with_their_headers(server):
    status, headers, text = server.ask("GET", "/", headers=HTML)
    assert status == 200 and "<title>slm</title>" in text and headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Vary"] == "Accept"
    types = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "html": "text/html"}
    for name in FILES:
        path = f"/page/{name}"
        status, headers, text = server.ask("GET", path)
        assert status == 200 and text.encode() == (ROOT / "src/serve/page" / name).read_bytes(), name
        assert headers["Content-Type"].split(";")[0] == types[name.split(".")[-1]]
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-cache"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy and "http" not in policy
        assert server.ask("HEAD", path)[1]["Content-Length"] == headers["Content-Length"]
        tag = headers["ETag"]
        for known in (tag, f'"x", W/{tag}', "*"):
            status, again, text = server.ask("GET", path, headers={"If-None-Match": known})
            assert (status, text, again["ETag"]) == (304, "", tag)
        assert server.ask("GET", path, headers={"If-None-Match": '"other"'})[0] == 200


def test_programs_get_what_they_got(server):
    assert server.ask("GET", "/")[2] == server.ask("GET", "/", headers={"Accept": "*/*"})[2] == "Ollama is running"
    assert server.ask("HEAD", "/", headers=HTML)[0] == 200
    for path in ("/page/none.js", "/page/files.inc", "/page/", "/app.js"):
        status, _, answer = server.ask("GET", path, headers=HTML)
        assert status == 404 and answer["error"]["message"], path
    assert server.ask("POST", "/page/app.js", {})[0] == 405


def test_without_the_page():
    with serving("--no-page") as server:
        assert server.ask("GET", "/", headers=HTML)[2] == "Ollama is running"
        assert server.ask("GET", "/page/app.js")[0] == 404


def test_nothing_in_the_files_makes_markup_of_text_or_calls_others():
    for name in FILES:
        text = (ROOT / "src/serve/page" / name).read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|setTimeout\(\"",
                             text), name
        assert not re.search(r"(src|href)=\"(https?:)?//|@import|url\(", text), name


# ---- chat --------------------------------------------------------------------------------------------------------


def test_a_conversation(page, server):
    setting(page, "temperature", "0")
    setting(page, "max_tokens", "40")
    say(page, "Tell me a story about a brave mouse")
    page.until(f"{STATUS} === 'Done'")
    same = server.post("/v1/chat/completions", temperature=0, max_tokens=40,
                       messages=[{"role": "user", "content": "Tell me a story about a brave mouse"}])
    text = same[2]["choices"][0]["message"]["content"]
    assert page.run(LAST).split() == text.split()
    how = page.run("document.querySelector('#log .how').textContent")
    assert re.fullmatch(r"40 tokens · [\d.]+ tokens/s · first after [\d.]+ m?s · ended at the most tokens", how)
    # Kept, and there again after the page is opened anew.
    reload(page)
    assert page.run("document.querySelectorAll('#log .message').length") == 2
    assert page.run(LAST).split() == text.split() and page.run("document.querySelector('#set-max_tokens').value") == "40"
    # A second one, and back.
    page.click("#talk-new")
    assert page.run("document.querySelectorAll('#log .message').length") == 0
    page.run("(t => { t.selectedIndex = 1; t.dispatchEvent(new Event('change')) })(document.querySelector('#talks'))")
    assert page.run("document.querySelectorAll('#log .message').length") == 2
    page.click("#talk-delete")
    assert page.run("document.querySelectorAll('#log .message').length") == 0


# From here on what the server streams reaches the page event by event, and only as many as window.allowed says: no race
# of a small model with a browser decides what is seen.
GATE = """(() => {
    const real = window.fetch, wait = () => new Promise(done => setTimeout(done, 5));
    window.allowed = 0;
    window.fetch = async (...request) => {
        const reply = await real(...request);
        if (!reply.headers.get('Content-Type')?.startsWith('text/event-stream')) return reply;
        const pieces = (async function* () {
            let rest = '', n = 0;
            const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader(), stop = request[1].signal;
            for (;;) {
                const {value, done} = await reader.read();
                const events = (rest + (value ?? '')).split(/(?<=\\n\\n)/);
                rest = done ? '' : events.pop();
                for (const event of events) {
                    while (n >= window.allowed) { stop.throwIfAborted(); await wait(); }
                    n++;
                    yield new TextEncoder().encode(event);
                }
                if (done) return;
            }
        })();
        const body = new ReadableStream({pull: async (to) => {
            const {value, done} = await pieces.next();
            if (done) to.close(); else to.enqueue(value);
        }});
        return new Response(body, reply);
    };
})()"""


def test_text_streams_and_stops(page):
    setting(page, "max_tokens", "60")
    page.run(GATE)
    say(page, "Tell me a long story about a mouse")
    shown = [""]
    for allowed in (4, 8, 12):  # each piece is shown when it comes, before the next
        page.run(f"window.allowed = {allowed}")
        page.until(f"{LAST}.length > {len(shown[-1])}")
        shown.append(page.run(LAST))
    page.run("window.allowed = 1e9")
    page.until(f"{STATUS} === 'Done'")
    shown.append(page.run(LAST))
    assert all(len(a) < len(b) for a, b in zip(shown, shown[1:])), shown
    # Stopped when there is something: by Esc, then by the button.
    for stop in (lambda: press(page, "Escape"), lambda: page.click("#stop")):
        page.run("window.allowed = 5, document.querySelector('#talk-new').click()")
        say(page, "Tell me a story")
        page.until(f"document.querySelector('#log .assistant') && {LAST}")
        stop()
        page.until(f"{STATUS} === 'Stopped'")
        assert page.run("document.querySelector('#stop').hidden") and page.run(LAST)


def test_asking_again_and_changing_what_was_said(page):
    setting(page, "max_tokens", "8")
    say(page, "First")
    page.until(f"{STATUS} === 'Done'")
    page.run("[...document.querySelectorAll('button')].find(b => b.textContent === 'Regenerate').click()")
    page.until(f"{STATUS} === 'Done'")
    assert page.run("document.querySelectorAll('#log .message').length") == 2
    say(page, "Second")
    page.until(f"{STATUS} === 'Done'")
    assert page.run("document.querySelectorAll('#log .message').length") == 4
    page.run("[...document.querySelectorAll('button')].find(b => b.textContent === 'Edit').click()")
    page.run("document.activeElement.select()")
    page.call("Input.insertText", text="Changed")
    press(page, "Enter", modifiers=2)
    page.until(f"{STATUS} === 'Done' && document.querySelectorAll('#log .message').length === 2")
    assert page.run("document.querySelector('.user .content').textContent") == "Changed"


def test_errors_are_said(page):
    say(page, "word " * 2000)
    page.until(f"{STATUS} === 'Failed'")
    error = page.run("document.querySelector('#log .assistant .error').textContent")
    assert "context" in error or "tokens" in error
    page.errors = [e for e in page.errors if "400" not in e]  # the browser's own line about the status


def test_markdown_makes_nodes_and_nothing_else(page):
    made = page.run("""import('/page/markdown.js').then(({markdown}) => {
        const look = (text) => { const d = document.createElement('div'); d.append(...markdown(text)); return d; };
        return {
          html: look('<img src=x onerror=alert(1)><script>alert(1)</' + 'script>').textContent,
          tags: [...look('<img src=x> ![p](https://example.org/p.png) <b>x</b>').querySelectorAll('*')].map(n => n.tagName),
          links: [...look('[a](javascript:alert(1)) [b](JaVaScRiPt:x) [c](data:text/html,x) [d](https://example.org/d_(e)) '
                          + 'https://example.com/x_y.').querySelectorAll('a')].map(a => [a.getAttribute('href'), a.rel]),
          text: look('# T\\n**b** *i* `c<d` ~~s~~ snake_case_name 2*3*4 \\\\*no\\\\*').innerHTML,
          list: look('1. a\\n2. b\\n   - c\\n   - d\\n\\n   more\\n3. e').innerHTML,
          table: look('| a | b |\\n|:--|--:|\\n| 1 | `x\\\\|y` |').innerHTML,
          fence: look('```js\\n<b>\\n  two').querySelector('pre').textContent,
          quote: look('> a\\n> > b').innerHTML,
          deep: look('> '.repeat(3000) + 'x').querySelectorAll('blockquote').length,
          wide: (look('*'.repeat(20000)), look('['.repeat(20000)), look('`'.repeat(5000) + 'a'), true)};
        })""")
    assert made["html"] == "<img src=x onerror=alert(1)><script>alert(1)</script>"
    assert made["tags"] == ["P", "A"]
    rel = "noopener noreferrer nofollow"
    assert made["links"] == [["https://example.org/d_(e)", rel], ["https://example.com/x_y", rel]]
    assert made["text"] == ("<h3>T</h3><p><strong>b</strong> <em>i</em> <code>c&lt;d</code> <del>s</del> snake_case_name "
                            "2<em>3</em>4 *no*</p>")
    assert made["list"] == "<ol><li>a</li><li>b<ul><li>c</li><li>d</li></ul><p>more</p></li><li>e</li></ol>"
    assert "<td>1</td>" in made["table"] and '<td class="right"><code>x|y</code></td>' in made["table"]
    assert made["fence"] == "<b>\n  two"
    assert made["quote"] == "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote>"
    assert 1 < made["deep"] < 20 and made["wide"]


# ---- the other views ---------------------------------------------------------------------------------------------


def test_comparing(page):
    page.run("location.hash = '#compare'")
    for side, seed in (("a", 1), ("b", 2)):
        for name, value in (("seed", seed), ("max_tokens", 30)):
            page.run(f"(f => {{ f.value = {value}; f.dispatchEvent(new Event('change')) }})"
                     f"(document.querySelector('#side-{side}-{name}'))")
    page.type("#compare-prompt", "Tell me a story")
    press(page, "Enter", modifiers=2)
    page.until("document.querySelector('#compare-status').textContent === 'Both answers are there'")
    left, right = (page.run(f"document.querySelector('#side-{s} .content').textContent") for s in "ab")
    assert left and right and left != right
    for s in "ab":
        assert page.run(f"document.querySelector('#side-{s} .how').textContent").startswith("30 tokens · ")


def test_models_load_and_unload(page, server):
    page.run("location.hash = '#models'")
    page.until("document.querySelectorAll('#model-rows tr').length === 1")
    for words, n in (("Unload", 0), ("Load", 1)):
        page.until(f"document.querySelector('#model-rows button').textContent === '{words}'")
        page.click("#model-rows button")
        page.until(f"document.querySelector('#model-rows button').textContent !== '{words}'")
        assert len(server.ask("GET", "/api/ps")[2]["models"]) == n


def test_charts_show_what_the_server_counts(page, server):
    page.run("location.hash = '#metrics'")
    page.until("document.querySelectorAll('.plot svg').length === 4")
    server.post("/v1/completions", prompt="Once", max_tokens=20)
    text = server.ask("GET", "/metrics")[2]
    answered = sum(int(n) for n in re.findall(r"^vllm:request_success_total\{.*\} (\d+)$", text, re.M))
    page.until(f"document.querySelector('.tile b').textContent === '{answered}'")
    labels = page.run("[...document.querySelectorAll('.plot svg')].map(s => s.getAttribute('aria-label'))")
    assert [label.split(":")[0] for label in labels] == ["Tokens a second", "Requests", "KV cache in use",
                                                         "Time to first token"]
    assert page.run("document.querySelectorAll('.plot path').length") == 7
    share = float(re.search(r"^vllm:kv_cache_usage_perc\{model_name=\"builtin\"\} (\S+)$", text, re.M)[1])
    assert 0 <= share <= 1
    # The page's quantiles against ones counted by hand: 4 values up to 1, 6 up to 2.
    assert page.run("import('/page/metrics.js').then(({parse, quantile}) => { const b = parse(`h_bucket{le=\"1\"} 4\n"
                    "h_bucket{x=\"}\",le=\"2\"} 10\nh_bucket{le=\"+Inf\"} 10\n`).buckets.h; "
                    "return [quantile(null, b, .2), quantile(null, b, .7), quantile(b, b, .5)] })") == [0.5, 1.5, None]


# ---- reading it --------------------------------------------------------------------------------------------------


def test_the_keyboard_is_enough(page):
    """From the top: skip link, views, then everything of the chat, each with a name; what has focus can be seen."""
    page.run("document.activeElement.blur()")
    names = []
    for _ in range(14):
        press(page, "Tab")
        names.append(page.run("(n => n.getAttribute('aria-label') || n.labels?.[0]?.firstElementChild?.textContent || "
                              "n.labels?.[0]?.textContent || n.textContent)(document.activeElement).trim()"))
        assert page.run("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert names[:9] == ["Skip to content", "Chat", "Compare", "Models", "Metrics", "Key", "Colours: auto", "Model",
                         "Conversation"]
    assert names[9:14] == ["New", "Delete", "Settings", "Conversation", "Message"]
    unnamed = page.run("[...document.querySelectorAll('input, select, textarea, button')].filter(n => "
                       "!(n.labels?.length || n.getAttribute('aria-label') || n.textContent.trim())).map(n => n.outerHTML)")
    assert unnamed == []


@pytest.mark.parametrize("width", [390, 1024])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_and_can_be_read(page, width, dark, tmp_path):
    """Nothing wider than the window, and every text with the contrast that WCAG 2.1 asks of it (4.5 to 1)."""
    page.look(width, dark=dark)
    assert page.run("getComputedStyle(document.body).backgroundColor") == ("rgb(20, 23, 27)" if dark else
                                                                           "rgb(255, 255, 255)")
    page.click("#settings-open")
    for view in ("chat", "compare", "models", "metrics"):
        page.run(f"location.hash = '#{view}'")
        page.until(f"!document.querySelector('#{view}').hidden")
        assert page.run("document.documentElement.scrollWidth") <= width
        poor = page.run("""(() => {
            const numbers = (c) => c.match(/[\\d.]+/g).map(Number);
            const light = (c) => { const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92
                                                                 : ((v + .055) / 1.055) ** 2.4);
                                   return .2126 * r + .7152 * g + .0722 * b; };
            const back = (n) => { for (; n; n = n.parentElement) {
                                    const c = numbers(getComputedStyle(n).backgroundColor);
                                    if (c.length < 4 || c[3] === 1) return c; }
                                  return [255, 255, 255]; };
            return [...document.querySelectorAll('body *')].filter(n => n.checkVisibility() && [...n.childNodes].some(
              c => c.nodeType === 3 && c.data.trim())).map(n => {
                const [a, b] = [light(numbers(getComputedStyle(n).color).slice(0, 3)), light(back(n).slice(0, 3))];
                return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), n.textContent.trim().slice(0, 40)];
              }).filter(([ratio]) => ratio < 4.5); })()""")
        assert poor == []


def test_colours_can_be_chosen(page):
    page.click("#theme")
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    reload(page)
    assert page.run("document.querySelector('#theme').textContent") == "Dark"
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    page.click("#theme")
    assert page.run("document.querySelector('#theme').textContent") == "Light"


def test_a_server_with_keys(browser):
    with serving("--api-key", "me:secret-of-mine") as server:
        page = browser.page()
        page.open(server.url + "/")
        page.until("document.querySelector('#key-dialog').open")
        page.type("#key", "secret-of-mine")
        press(page, "Enter", text="\r")
        page.until("document.querySelector('#model').options.length === 1")
        assert page.run("document.querySelector('#notice').hidden")
        assert page.run("JSON.stringify(localStorage).includes('secret')") is False
        setting(page, "max_tokens", "5")
        say(page, "Hello")
        page.until(f"{STATUS} === 'Done'")
        assert page.run(LAST)
