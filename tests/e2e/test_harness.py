# SPDX-License-Identifier: MIT
"""The test runner itself: a count that cannot be wrong in our favour."""
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import run  # noqa: E402 -- tests/run.py


@pytest.mark.parametrize("code, output, passed, failed, skipped", [
    (0, "1..2\nok 1 - a\nok 2 - b\n", 2, 0, 0),
    (1, "1..2\nok 1 - a\nnot ok 2 - b\n# 1 != 2\n", 1, 1, 0),
    (0, "1..2\nok 1 - a\nskipped: no model\nnot ok 2 # SKIP b\n", 1, 0, 1),
    (134, "1..3\nok 1 - a\n", 1, 2, 0),                        # died in the second: the third never ran either
    (1, "1..1\nok 1 - a\n", 1, 1, 0),                          # passed, then a leak was found at exit
    (0, "1..1\nok 1 - a\n1..2\nok 1 - b\nnot ok 2 - c\n", 2, 1, 0), # two groups in one program
    (0, "1..2\nok 1 - a\nsome output without newline ok 2 - b\n", 1, 1, 0), # what cannot be read did not pass
    (0, "", 1, 0, 0),                                          # a program without TAP counts by its exit code
    (-11, "", 0, 1, 0),
])
def test_tap_counts(tmp_path, code, output, passed, failed, skipped):
    counts = Counter(r.status for r in run.parse_tap("program", code, output, tmp_path / "log"))
    assert counts == Counter({k: v for k, v in
                              {"passed": passed, "failed": failed, "skipped": skipped}.items() if v})


def test_a_skip_carries_the_reason_printed_before_it(tmp_path):
    output = "1..2\nok 1 - a\nskipped: no model\nnot ok 2 # SKIP b\n"
    assert run.parse_tap("program", 0, output, tmp_path / "log")[1].detail == "skipped: no model"


def test_a_stuck_program_is_killed_with_its_children(tmp_path):
    code, output = run.run_logged(["sh", "-c", "sleep 60 & sleep 60"], tmp_path / "log", 0.5)
    assert code == 124 and "timed out" in output
