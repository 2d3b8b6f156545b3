#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the tests of slm and counts them: tests/run.py STAGE... [--only FUZZER] [--seconds S] [--models N] [--seed S]

A stage is one thing to build and run (units, tidy, e2e, asan, ubsan, tsan, clang, arm64, fuzz, oracle); `check`,
`test` and `soak` are lists of stages with the depth at which they run. What is counted is the single test: every test
function of every cmocka program (read from its TAP output), every pytest item, every style check, every fuzzer, every
build, every random model.

Each program's output goes to build/test-logs; only failures, the reasons of skips and tables (lines that begin with
"report: ", of an ordinary build) are shown. The last line is always `N passed, N failed, N skipped`, and the exit code
is 0 exactly when nothing failed. A program that dies half-way fails once for each test it did not get to report; a
stage that breaks counts as a failure, never as silence.

Deliberately not here: building rules (CMake), installing anything (tools/setup.sh), and any test of its own.
"""

import argparse
import concurrent.futures
import json
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
RUNNING = set()  # processes, so that an interrupt can end them and their children
BUILT = {}  # tree -> folder or None: several stages may want the same tree
LOGS = BUILD / "test-logs"
WORKERS = max(1, len(os.sched_getaffinity(0)))
# Under a sanitizer or an emulator everything is slower; the limits only have to tell slow from stuck.
TIMEOUT_S = {"default": 300, "clang": 300, "asan": 900, "ubsan": 600, "tsan": 1200, "arm64": 1200}
# How many times slower than an ordinary build; tests that measure time multiply their limits with it.
SLOWDOWN = {"asan": 15, "ubsan": 5, "tsan": 30, "arm64": 100}
SANITIZER_OPTIONS = {
    # gcc 12 aligns ASan's heap-allocated stack frames to 32 bytes, which AVX-512 code takes badly (GCC bug 110027).
    "ASAN_OPTIONS": "detect_stack_use_after_return=0:strict_string_checks=1:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "second_deadlock_stack=1:halt_on_error=1",
}


# Parsers of what most often comes from strangers; the others are fuzzed for a shorter time in `make test`.
FUZZED_LONG = ("gguf", "tokenizer")


@dataclass
class Result:
    name: str
    status: str  # "passed", "failed" or "skipped"
    detail: str = ""  # why it was skipped
    log: Path | None = None
    excerpt: list = field(default_factory=list)  # the lines of the log that belong to it
    report: list = field(default_factory=list)  # lines that its program wants people to see


@dataclass
class Options:
    level: str = "test"  # check, test or soak: how deep tests go (SLM_TEST_LEVEL)
    fuzz_seconds: int = 60
    brief_seconds: int = 5  # of fuzzers that are not in FUZZED_LONG, unless somebody asked for a time
    only: str = ""
    repeat: int = 1
    models: int = 200  # the live oracle's
    seed: int | None = None  # of everything drawn at random; None: another one each time


def run_logged(command, log, timeout, env=None):
    """Runs command with its output in log. Returns (exit code, output); a timeout kills the whole process group."""
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with open(log, "wb") as out:
        out.write(("$ " + " ".join(map(str, command)) + "\n").encode())
        out.flush()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT,
                                   env={**os.environ, **(env or {})}, start_new_session=True)
        RUNNING.add(process)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = 124
        RUNNING.discard(process)
    with open(log, "ab") as out:
        if code == 124:
            out.write(f"\n[timed out after {timeout} s]\n".encode())
        elif code < 0:
            out.write(f"\n[killed by {signal.Signals(-code).name}]\n".encode())
        out.write(f"[exit code {code}, {time.monotonic() - started:.1f} s]\n".encode())
    return code, log.read_text(errors="replace")


def stop_everything(signum, _frame):
    for process in list(RUNNING):
        os.killpg(process.pid, signal.SIGKILL)
    print(f"interrupted by {signal.Signals(signum).name}", flush=True)
    os._exit(128 + signum)


def parse_tap(name, code, output, log):
    """Results of one program from its TAP output; of the program as a whole when it prints none."""
    planned = sum(int(n) for n in re.findall(r"^1\.\.(\d+)\s*$", output, re.M))
    if planned == 0:
        return [Result(name, "passed" if code == 0 else "failed", log=log)]
    results, before = [], []
    for line in output.splitlines():
        match = re.match(r"(not )?ok \d+ (?:- )?(# SKIP ?)?(.*)", line)
        if not match:
            # cmocka explains a failure after its verdict in comments, others before it.
            (results[-1].excerpt if results and line.startswith("#") else before).append(line)
            continue
        status = "skipped" if match[2] else "failed" if match[1] else "passed"
        # cmocka's skip() carries no reason; the test prints it just before.
        reason = next((text.strip() for text in reversed(before) if not re.match(r"1\.\.|\$|\s*$", text)), "")
        results.append(Result(f"{name}.{match[3]}", status, reason if match[2] else "", log, before))
        before = []
    for i in range(len(results), planned):
        results.append(Result(f"{name}: test {i + 1} of {planned} never finished", "failed", log=log))
    if code != 0 and all(r.status != "failed" for r in results):
        results.append(Result(f"{name}: exit code {code} though its tests passed", "failed", log=log))
    results[0].report = re.findall(r"^report: (.*)$", output, re.M)
    return results


def build(tree):
    """Configures and builds a tree. Returns its folder (None when that failed) and the result if it is new."""
    if tree in BUILT:
        return BUILT[tree], []
    BUILT[tree] = None
    shutil.rmtree(LOGS / tree, ignore_errors=True)
    folder = BUILD if tree == "default" else BUILD / tree
    log = LOGS / tree / "build.log"
    code, _ = run_logged(["cmake", "--preset", tree], log, 300) # each time: a library may have been installed since
    if code != 0:
        return None, [Result(f"{tree}: configure", "failed", log=log)]
    code, _ = run_logged(["cmake", "--build", str(folder)], log, 3600)
    result = Result(f"{tree}: builds without warnings", "passed" if code == 0 else "failed", log=log)
    BUILT[tree] = folder if code == 0 else None
    return BUILT[tree], [result]


def ctest_programs(folder):
    """(name, command, environment, timeout or None, runs alone) of every test that CTest knows in this tree."""
    shown = subprocess.run(["ctest", "--test-dir", str(folder), "--show-only=json-v1"], capture_output=True, check=True)
    for test in json.loads(shown.stdout)["tests"]:
        properties = {p["name"]: p["value"] for p in test.get("properties", [])}
        env = dict(pair.split("=", 1) for pair in properties.get("ENVIRONMENT", []))
        yield (test["name"], test["command"], env, properties.get("TIMEOUT"), properties.get("RUN_SERIAL", False))


def run_programs(tree, options, prefix=()):
    """Builds a tree and runs its C tests, as many at a time as there are CPUs."""
    folder, results = build(tree)
    if folder is None:
        return results

    def one(program, round_):
        name, command, env, timeout, _ = program
        log = LOGS / tree / (name.replace("/", ".") + (f".{round_}" if round_ else "") + ".log")
        env = {**SANITIZER_OPTIONS, **env, "CMOCKA_MESSAGE_OUTPUT": "TAP", "SLM_TEST_LEVEL": options.level,
               "SLM_TEST_SLOWDOWN": str(SLOWDOWN.get(tree, 1))}
        code, output = run_logged([*prefix, *command], log, timeout or TIMEOUT_S[tree], env)
        return parse_tap(f"{tree}:{name}", code, output, log)

    programs = list(ctest_programs(folder))
    for round_ in range(options.repeat):
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            for part in pool.map(lambda p: one(p, round_), [p for p in programs if not p[4]]):
                results += part
        for program in [p for p in programs if p[4]]:
            results += one(program, round_)
    if not programs:
        results.append(Result(f"{tree}: has C tests", "failed", log=LOGS / tree / "build.log"))
    return results


def stage_units(options):
    return run_programs("default", options)


def stage_tree(tree, prefix=()):
    return lambda options: run_programs(tree, options, prefix)


def without_aslr():
    # ThreadSanitizer of gcc 12 cannot start when the kernel randomises more address bits than it knows of.
    return ["setarch", platform.machine(), "-R"] if shutil.which("setarch") else []


def stage_clang(options):
    if not shutil.which("clang-19"):
        return [Result("clang", "skipped", "clang-19 is not installed (tools/setup.sh clang)")]
    return run_programs("clang", options)


def stage_arm64(options):
    missing = [tool for tool in ("aarch64-linux-gnu-gcc", "qemu-aarch64") if not shutil.which(tool)]
    if missing or not (BUILD / "arm64-sysroot" / "complete").exists():
        what = " and ".join(missing) or "build/arm64-sysroot"
        return [Result("arm64", "skipped", f"{what} is missing (tools/setup.sh arm64)")]
    return run_programs("arm64", options)


def stage_tidy(options):
    log = LOGS / "tidy.log"
    code, output = run_logged([sys.executable, "tests/tidy/tidy.py", "--tap"], log, 300)
    return parse_tap("tidy", code, output, log)


def stage_e2e(options):
    folder, results = build("default")
    if folder is None:
        return results
    if not any((ROOT / "tests" / "e2e").glob("test_*.py")):
        return results
    python = ROOT / ".venv" / "bin" / "python"
    if not python.exists():
        return results + [Result("e2e", "failed", log=None, detail=".venv is missing: run tools/setup.sh test")]
    log, report = LOGS / "e2e.log", LOGS / "e2e.xml"
    report.unlink(missing_ok=True)
    marks = {"check": "not slow and not soak", "test": "not soak", "soak": ""}[options.level]
    env = {"SLM_TEST_LEVEL": options.level, "SLM_BINARY": str(BUILD / "slm"), "PYTHONDONTWRITEBYTECODE": "1"}
    if options.seed is not None:
        env["SLM_TEMPLATE_SEED"] = os.environ.get("SLM_TEMPLATE_SEED", str(options.seed))
    code, _ = run_logged([str(python), "-m", "pytest", "-c", "tests/e2e/pytest.ini", "tests/e2e", "-m", marks,
                          f"--numprocesses={WORKERS}", f"--junitxml={report}"], log, 3600, env)
    if not report.exists():
        return results + [Result(f"e2e: pytest ended with exit code {code} and no report", "failed", log=log)]
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        skipped, broken = case.find("skipped"), case.find("failure")
        if broken is None:
            broken = case.find("error")
        status = "failed" if broken is not None else "skipped" if skipped is not None else "passed"
        reason = (skipped.get("message") or "") if skipped is not None else ""
        excerpt = (broken.text or broken.get("message") or "").splitlines() if broken is not None else []
        results.append(Result(f"e2e:{case.get('classname')}.{case.get('name')}", status, reason, log, excerpt))
    if code not in (0, 1, 5):  # 1: tests failed (counted above); 5: everything was deselected
        results.append(Result(f"e2e: pytest ended with exit code {code}", "failed", log=log))
    return results


def stage_oracle(options):
    """Random models of every family, with adapters and as embedders, against transformers, peft and
    sentence-transformers; converted and quantized ones against llama.cpp: tests/oracle. Only the last four may be
    skipped: who asks for the others wants an answer, and a machine without PyTorch has none."""
    folder, results = build("default")
    if folder is None:
        return results
    python = BUILD / "oracle-venv" / "bin" / "python"
    if not python.exists():
        detail = "build/oracle-venv is missing: tools/setup.sh oracle installs PyTorch and transformers into it"
        return results + [Result("oracle", "failed", detail)]
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1, 1000000)
    for name, models in (("oracle", options.models), ("adapters", options.models * 2 // 5),
                         ("embeddings", options.models // 4), ("llama_cpp", options.models // 5), ("quantizer", 0),
                         ("perplexity", 0), ("tasks", 0)):
        log = LOGS / f"{name}.log"
        command = [python, f"tests/oracle/{name}.py", folder / "slm", "--models", models, "--seed", seed]
        code, output = run_logged([str(part) for part in command], log, 120 + 20 * models)
        results += parse_tap(name, code, output, log)
    return results


def stage_fuzz(options):
    if not shutil.which("clang-19"):
        return [Result("fuzz", "skipped", "clang-19 is not installed (tools/setup.sh clang)")]
    folder, results = build("fuzz")
    if folder is None:
        return results
    names = sorted(p.stem.removeprefix("fuzz_") for p in (ROOT / "tests" / "fuzz").glob("fuzz_*.c"))
    if options.only:
        if options.only not in names:
            return results + [Result(f"fuzz: no parser '{options.only}'; there are: {', '.join(names)}", "failed")]
        names = [options.only]

    def one(name):
        seconds = options.fuzz_seconds if name in FUZZED_LONG else min(options.fuzz_seconds, options.brief_seconds)
        # New inputs gather in the build tree; one that crashes is saved into the corpus and so becomes a replay test.
        corpus, found = ROOT / "tests" / "fuzz" / "corpus" / name, folder / "found" / name
        corpus.mkdir(parents=True, exist_ok=True)
        found.mkdir(parents=True, exist_ok=True)
        dictionary = ROOT / "tests" / "fuzz" / f"{name}.dict"
        command = [str(folder / "tests" / f"fuzz_{name}"), f"-max_total_time={seconds}", "-timeout=10",
                   "-rss_limit_mb=2048", "-report_slow_units=60", "-print_final_stats=1",
                   f"-seed={options.seed or 0}", f"-artifact_prefix={corpus}/", str(found), str(corpus)]
        if dictionary.exists():
            command.insert(1, f"-dict={dictionary}")
        env = {**SANITIZER_OPTIONS, "ASAN_SYMBOLIZER_PATH": shutil.which("llvm-symbolizer-19") or ""}
        log = LOGS / "fuzz" / f"{name}.log"
        code, _ = run_logged(command, log, seconds + 300, env)
        return Result(f"fuzz:{name}", "passed" if code == 0 else "failed", log=log)

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        return results + list(pool.map(one, names))


STAGES = {
    "units": stage_units,
    "tidy": stage_tidy,
    "e2e": stage_e2e,
    "asan": stage_tree("asan"),
    "ubsan": stage_tree("ubsan"),
    "tsan": stage_tree("tsan", without_aslr()),
    "clang": stage_clang,
    "arm64": stage_arm64,
    "fuzz": stage_fuzz,
    "oracle": stage_oracle,
}
# asan already includes what ubsan checks, so `test` does not build a tree for ubsan alone.
PROFILES = {
    "check": (["tidy", "units", "e2e"], Options(level="check", seed=1)),
    "test": (["tidy", "units", "e2e", "asan", "tsan", "clang", "arm64", "fuzz"], Options(level="test", seed=1)),
    "soak": (["units", "e2e", "asan", "tsan", "fuzz"],
             Options(level="soak", fuzz_seconds=600, brief_seconds=600, repeat=20)),
}


def telling_lines(log):
    """The part of a log that says what went wrong: from a sanitizer's or compiler's first error, else the end."""
    lines = log.read_text(errors="replace").splitlines()
    telling = [i for i, line in enumerate(lines) if re.search(r"ERROR: |WARNING: Thread|runtime error|error: ", line)]
    first = telling[0] if telling else max(0, len(lines) - 25)
    return lines[first:first + 25]


def show_failures(results):
    shown = set()
    for result in (r for r in results if r.status == "failed"):
        print(f"  FAILED {result.name}  {result.detail}".rstrip())
        if result.log is None:
            continue
        lines = result.excerpt[-25:] if result.excerpt else [] if result.log in shown else telling_lines(result.log)
        print(f"         {result.log.relative_to(ROOT)}")
        shown.add(result.log)
        for line in lines:
            print(f"         | {line[:300]}")


def show_skips(results):
    reasons = Counter((r.detail or "no reason given") for r in results if r.status == "skipped")
    for reason, count in reasons.most_common():
        print(f"  skipped {count}: {reason[:200]}")


def show_reports(results):
    for line in (line for r in results for line in r.report):
        print(f"  {line}")


def main():
    parser = argparse.ArgumentParser(description="Runs and counts the tests of slm.")
    parser.add_argument("stages", nargs="+", choices=[*PROFILES, *STAGES], metavar="STAGE",
                        help=", ".join([*PROFILES, *STAGES]))
    parser.add_argument("--only", default="", help="fuzz: this parser only")
    parser.add_argument("--seconds", type=int, help="fuzz: seconds a parser")
    parser.add_argument("--models", type=int, default=200, help="oracle: models in all families together")
    parser.add_argument("--seed", type=int, help="of random models, templates and fuzzers")
    arguments = parser.parse_args()

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stop_everything)
    totals = Counter()
    started = time.monotonic()
    for wanted in arguments.stages:
        stages, options = PROFILES.get(wanted, ([wanted], Options()))
        options.only, options.models = arguments.only, arguments.models
        options.seed = options.seed if arguments.seed is None else arguments.seed
        if arguments.seconds:
            options.fuzz_seconds = options.brief_seconds = arguments.seconds
        for stage in stages:
            begun = time.monotonic()
            try:
                results = STAGES[stage](options)
            except (OSError, subprocess.SubprocessError, ValueError, xml.etree.ElementTree.ParseError) as problem:
                results = [Result(f"{stage}: {problem}", "failed")]
            counts = Counter(r.status for r in results)
            totals += counts
            print(f"{stage:8} {counts['passed']:5} passed {counts['failed']:4} failed {counts['skipped']:4} skipped"
                  f"   {time.monotonic() - begun:6.1f} s", flush=True)
            show_failures(results)
            show_skips(results)
            if stage in ("units", "oracle"):
                show_reports(results)
    print(f"in {time.monotonic() - started:.0f} s, logs in {LOGS.relative_to(ROOT)}")
    print(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped", flush=True)
    return 1 if totals["failed"] or not totals["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
