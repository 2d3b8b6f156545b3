# SPDX-License-Identifier: MIT
"""Code that the documents quote is code that exists: an example nobody compiles goes out of date unnoticed."""

import re

import pytest

from support import ROOT

# document -> the files that its blocks of C and Python are taken from
QUOTES = {"docs/families.md": ["src/families/qwen2.c", "tests/oracle/oracle.py", "tools/golden/families.py",
                               "tests/golden/test_families.c"]}


@pytest.mark.parametrize("document", QUOTES)
def test_quoted_code_exists(document):
    sources = [(ROOT / name).read_text() for name in QUOTES[document]]
    blocks = re.findall(r"^```(?:c|python)\n(.*?)^```$", (ROOT / document).read_text(), re.M | re.S)
    assert len(blocks) >= 5
    for block in blocks:
        assert any(block in source for source in sources), f"not in {QUOTES[document]}:\n{block}"
