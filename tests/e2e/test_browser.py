# SPDX-License-Identifier: MIT
"""The helper that drives a browser sees what it is there to see: a page that is wrong in each way is told from one that is
not. What pages of slm look like is tested where they are made."""

import struct

import pytest

from browser import Browser
from support import PATIENCE


@pytest.fixture(scope="module")
def browser():
    with Browser() as program:
        yield program


def opened(browser, folder, body, **look):
    path = folder / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><meta name=viewport content=\"width=device-width\">"
                    f"<title>Ä</title><body>{body}")
    page = browser.page(**look)
    page.open(path.as_uri())
    return page


def test_a_good_page(browser, tmp_path):
    page = opened(browser, tmp_path, "<p id=a>one</p>", width=390, dark=True)
    assert page.errors == [] and page.requests == [(tmp_path / "page.html").as_uri()]
    assert page.run("document.title") == "Ä" and page.run("Promise.resolve([1, {a: null}])") == [1, {"a": None}]
    assert page.run("innerWidth") == 390 and page.run("matchMedia('(prefers-color-scheme: dark)').matches")
    page.look(800, dark=False)
    assert page.run("innerWidth") == 800 and page.run("matchMedia('(prefers-color-scheme: light)').matches")
    page.screenshot(tmp_path / "shot.png")
    png = (tmp_path / "shot.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">I", png[16:20])[0] == 800


def test_using_a_page(browser, tmp_path):
    page = opened(browser, tmp_path, "<input id=i><button id=b>b</button><p id=p></p><script>b.onclick = () => "
                  "setTimeout(() => p.textContent = i.value, 50)</script>")
    page.type("#i", "größer")
    page.click("#b")
    assert page.until("p.textContent") == "größer"
    with pytest.raises(AssertionError, match="did not come true"):
        page.until("0 > 1", seconds=0.1)
    with pytest.raises(AssertionError, match="ReferenceError"):
        page.run("nothing_of_this_name")


@pytest.mark.parametrize("body, word", [
    ("<script>undefined_function()</script>", "ReferenceError"), ("<script>console.error('bad', 7)</script>", "bad 7"),
    ("<script>Promise.reject(new Error('unkept'))</script>", "unkept"), ("<img src=none.png>", "ERR_FILE_NOT_FOUND"),
])
def test_what_goes_wrong_is_seen(browser, tmp_path, body, word):
    page = opened(browser, tmp_path, body)
    browser.wait(lambda: page.errors, PATIENCE, "the complaint")
    assert len(page.errors) == 1 and word in page.errors[0]
    assert ("none.png" in body) == any(r.endswith("none.png") for r in page.requests)


def test_a_page_that_is_not_there(browser, tmp_path):
    with pytest.raises(AssertionError, match="ERR_FILE_NOT_FOUND"):
        browser.page().open((tmp_path / "absent.html").as_uri())
