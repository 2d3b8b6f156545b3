# SPDX-License-Identifier: MIT
"""docs/api.md lists every field of every endpoint: word for word what the server reads requests by."""

import subprocess

import pytest

from support import ROOT, SLM


def test_every_field_is_documented():
    tool = SLM.parent / "tests" / "slm_test_api_fields"
    if not tool.exists():
        pytest.skip(f"no {tool}")
    tables = subprocess.run([tool], capture_output=True, check=True, text=True).stdout
    assert tables.count("### ") > 20
    document = (ROOT / "docs" / "api.md").read_text()
    quoted = document.split("<!-- fields -->\n")[1].split("<!-- /fields -->")[0]
    assert quoted == tables, "run build/tests/slm_test_api_fields and put its output between the marks of docs/api.md"
