#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The conventions of this repository as tests: tests/tidy/tidy.py [--tap] [CHECK...]

Each check is a function from a Tree (the files of a folder) to findings: file, line, what is wrong and how to put it
right. The rules themselves are the tables at the top; an exception is a row there, with its reason. Beside each check
stands a broken sample that it must find (see SAMPLES): a check that cannot fail is itself a failure.

Owns nothing else: the compilers warn about what they can see, ctest and pytest test behaviour.
Only Python's standard library is used, and a C compiler for "headers".
"""

import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

# ---- the rules ---------------------------------------------------------------------------------------------------

# A file may include headers of its own folder or of a lower rank; include/slm.h may be included anywhere.
RANKS = {
    "base": 0, "format": 1, "quant": 1, "kernel": 2, "tokenizer": 2, "template": 2, "grammar": 2, "plan": 3, "model": 3,
    "families": 4, "backend": 4, "engine": 5, "tune": 6, "store": 6, "serve": 7, "cli": 8,
}
# (from, to) inside one rank that is allowed nevertheless.
RANK_EXCEPTIONS = {
    ("format", "quant"): "a GGUF tensor's size follows from its block format",
    ("model", "plan"): "a model's weights are the tensors that plans name",
}

MAX_LINE = 120
SENTENCES = r"tools/builtin/(chat|evaluate|generate|lexicon|plots|schemas)\.py"  # full of them: a sentence is data
MAX_LINE_TEST_CASE = 160 # a row of test data that quotes its input and what must come out is one thought
MAX_FILE = 1000  # lines outside of tables
MAX_FUNCTION = 70
MAX_FUNCTION_KERNEL = 150  # src/kernel: unrolled loops read better whole
# "path:function" or "path" -> reason. Keep this short: a long function usually wants to be two.
LONG_FUNCTIONS = {}
LONG_FILES = {}
MIN_COMMENT_SHARE = 0.12  # of the non-blank lines of a file in src/ or include/ with more than 100 of them
MAX_BLOB = 256 * 1024
BLOBS = {"models/builtin.gguf": "the built-in model"}
# Headers that are text for several files rather than interfaces; each says in its opening what it is included into.
INCLUDED_TEXTS = {
    r"src/kernel/(simd_|x86/(vec|tile_|activations_)|arm/(vec|tile_))\w+\.h": "kernels written once, compiled once for each vector ISA",
}
ESSAY_BYTES = 60  # the least that says what a file is; headers and sources of one purpose need no more

# names, where they are banned, where they are allowed nevertheless, what to write instead
BANNED = [
    ("strcpy stpcpy strcat strncat strncpy sprintf vsprintf gets", r".*", r"$^",
     "snprintf, memcpy with a known length, or slm_buf"),
    ("atoi atol atoll atof", r".*", r"$^", "strtol and friends with an end pointer, checked"),
    ("alloca strtok tmpnam mktemp", r".*", r"$^", "an arena; slm_str; mkstemp"),
    ("setjmp longjmp", r"src/.*", r"$^", "slm_status and goto out"),
    ("getenv secure_getenv setenv putenv", r"src/.*", r"src/base/config\.c",
     "the configuration struct, which src/base/config.c fills"),
    ("malloc calloc realloc free posix_memalign aligned_alloc strdup strndup asprintf vasprintf",
     r"src/.*", r"src/base/os\w*\.c", "slm_alloc, an arena or slm_buf (base/os.h)"),
    ("fopen open openat read pread mmap munmap fread fwrite rename unlink", r"src/(?!cli/|serve/).*",
     r"src/base/os\w*\.c", "the OS seam, slm_os()"),
    ("pthread_create pthread_mutex_lock sleep usleep nanosleep clock_gettime gettimeofday time",
     r"src/(?!cli/|serve/).*", r"src/base/os\w*\.c", "the OS seam, slm_os(), or the pool"),
    ("printf fprintf puts fputs putchar perror exit _exit abort", r"src/(?!cli/).*", r"src/base/(os\w*|error)\.c",
     "slm_fail: the library never prints, exits or aborts on input"),
    ("assert", r"src/.*", r"$^", "SLM_ASSERT, which stays on in release"),
    ("rand srand random drand48", r"src/.*", r"$^", "slm_rng, keyed by seed and position"),
    ("expf logf powf sinf cosf tanhf exp pow sin cos", r"src/(kernel|backend|engine|plan)/.*", r"$^",
     "base/fmath.h: libm differs between machines"),
]
# Model families are data of src/families: nowhere else may code or a string name one (comments may: what a rule was
# learned from is worth knowing). files -> why these do nevertheless.
FAMILY = re.compile(r"(?<![A-Za-z])(llama(?!\w*\.c)|mistral|qwen|smollm|phi-?\d|gemma|bitnet)", re.I)
FAMILY_EXCEPTIONS = {
    r"src/tokenizer/.*": "files call tokenizers after the first model that had them",
    r"src/model/ternary\.c": "the quant_method of config.json is called so",
    r"src/cli/.*": "examples in help texts",
    r"src/serve/metrics\.c": "metrics by the names that dashboards know",
}
# Files whose functions may call themselves: each counts its depth against a fixed limit.
RECURSION = {r"src/template/.*": "every level of an expression or block counts against TEMPLATE_MAX_DEPTH"}

# Web addresses may point to these only: a registry, mirror or machine of whoever works here is nobody's business.
HOSTS = re.compile(r"(.*\.)?(github\.com|githubusercontent\.com|huggingface\.co|arxiv\.org|debian\.org|python\.org|"
                   r"kernel\.org|unicode\.org|rfc-editor\.org|pcre\.org|llvm\.org|gnu\.org|opensource\.org|spdx\.org|"
                   r"cmake\.org|prometheus\.io|w3\.org|json\.org|example\.(com|org)|ietf\.org|doi\.org)|"
                   r"(.*\.)?localhost|127\.0\.0\.1|\[::1\]")
MACHINE_PATHS = re.compile(r"(?<![\w.}*)\]-])/(?:home|root|work|Users|mnt|scratch)/[\w.]")

# ---- reading files -----------------------------------------------------------------------------------------------


class Finding:
    def __init__(self, path, line, message):
        self.path, self.line, self.message = path, line, message

    def __str__(self):
        return f"{self.path}:{self.line}: {self.message}"


def strip_c(text):
    """The C text with comments and the insides of strings blanked (newlines stay), and the set of comment lines."""
    out, comment_lines, line, i, n = [], set(), 1, 0, len(text)
    while i < n:
        c, pair = text[i], text[i:i + 2]
        if pair in ("/*", "//"):
            end = text.find("*/", i + 2) + 2 if pair == "/*" else text.find("\n", i)
            end = n if end < 2 else end
            chunk = text[i:end]
            for k, piece in enumerate(chunk.split("\n")):
                if piece.strip():
                    comment_lines.add(line + k)
            out.append(re.sub(r"[^\n]", " ", chunk))
        elif c in "\"'":
            end = i + 1
            while end < n and text[end] != c and text[end] != "\n":
                end += 2 if text[end] == "\\" else 1
            end = min(end + 1, n)
            chunk = text[i:end]
            out.append(c + re.sub(r"[^\n]", "_", chunk[1:-1]) + c)
        else:
            end, chunk = i + 1, c
            out.append(c)
        line += chunk.count("\n")
        i = end
    return "".join(out), comment_lines


class Tree:
    """The files to look at: those git would commit, or every file when the folder is no git checkout."""

    def __init__(self, root):
        self.root, self.cache, self.strip_cache = Path(root), {}, {}
        listed = subprocess.run(["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"],
                                capture_output=True)
        top = subprocess.run(["git", "-C", str(root), "rev-parse", "--show-toplevel"], capture_output=True, text=True)
        if listed.returncode == 0 and Path(top.stdout.strip()) == self.root.resolve():
            names = [n for n in listed.stdout.decode().split("\0") if n]
        else:
            names = [str(p.relative_to(root)) for p in self.root.rglob("*") if p.is_file()]
            names = [n for n in names if not re.match(r"(build|\.venv|\.git)\b", n)]
        self.names = sorted(n for n in set(names) if (self.root / n).is_file())

    def files(self, pattern):
        return [n for n in self.names if re.fullmatch(pattern, n)]

    def text(self, name):
        if name not in self.cache:
            data = (self.root / name).read_bytes()
            self.cache[name] = None if b"\0" in data else data.decode("utf-8", "replace")
        return self.cache[name]

    def lines(self, pattern):
        for name in self.files(pattern):
            if self.text(name) is not None:
                for number, line in enumerate(self.text(name).split("\n"), 1):
                    yield name, number, line

    def code(self, name):
        if name not in self.strip_cache:
            self.strip_cache[name] = strip_c(self.text(name))
        return self.strip_cache[name]


C_FILES = r"(src|include|tests)/.*\.[ch]"
SOURCES = r"(.*\.(c|h|S|py|sh|cmake)|Makefile|\.ci/run|(.*/)?CMakeLists\.txt|.*\.ini)"
TEXT = r"(?!tests/fuzz/corpus/|models/).*"


def without_preprocessor(code):
    """Blanks preprocessor lines and their continuations, so that braces in macros do not confuse."""
    return re.sub(r"^[ \t]*#(?:[^\n\\]|\\[^\n]|\\\n)*", lambda m: re.sub(r"[^\n]", " ", m[0]), code, flags=re.M)


def blocks(code):
    """Top-level { } blocks as (head text, line of the head, first line, last line, body)."""
    code = re.sub(r'extern\s*"_*"\s*\{', lambda m: re.sub(r"[^\n]", " ", m[0]), without_preprocessor(code))
    depth, head_start, begin = 0, 0, 0
    for match in re.finditer(r"[{};]", code):
        i, c = match.start(), match[0]
        if c == "{":
            if depth == 0:
                begin = i
            depth += 1
        elif c == "}":
            depth -= 1
            if depth == 0:
                head = code[head_start:begin]
                lead = len(head) - len(head.lstrip())
                yield (head.strip(), code.count("\n", 0, head_start + lead) + 1, code.count("\n", 0, begin) + 1,
                       code.count("\n", 0, i) + 1, code[begin:i + 1])
                head_start = i + 1
            elif depth < 0:
                depth, head_start = 0, i + 1 # the closing brace of extern "C"
        elif depth == 0:
            head_start = i + 1


def functions(code):
    """(name, first line, last line, body) of every function definition."""
    for head, line, _, last, body in blocks(code):
        plain = re.sub(r"__attribute__\s*\(\(.*?\)\)|\s+", " ", head).strip()
        # The head of a table ends in "=", that of a struct in its name.
        match = re.search(r"(\w+) ?\((?:[^()]|\([^()]*\))*\)$", plain)
        if match:
            yield match[1], line, last, body


# ---- the checks --------------------------------------------------------------------------------------------------


def check_ranks(tree):
    """A file includes headers of its own folder or of a lower rank only."""
    for name, number, line in tree.lines(r"src/.*\.[ch]"):
        match = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
        room = name.split("/")[1]
        if room not in RANKS:
            yield Finding(name, number, f"folder src/{room} has no rank: add it to RANKS in tests/tidy/tidy.py")
            continue
        if not match or "/" not in match[1]:
            continue # slm.h, a generated header, or one of the same folder
        target = match[1].split("/")[0]
        if target == room or (room, target) in RANK_EXCEPTIONS:
            continue
        if target not in RANKS:
            yield Finding(name, number, f'include "{match[1]}": src/{target} has no rank (write "room/file.h")')
        elif RANKS[target] >= RANKS[room]:
            yield Finding(name, number, f'include "{match[1]}": {room} has rank {RANKS[room]} and may not use {target} '
                                        f"(rank {RANKS[target]}); move the shared part down or pass it in as data")


def check_file_length(tree):
    """Files stay readable: at most 1000 lines, not counting the rows of tables."""
    for name in tree.files(C_FILES + r"|.*\.py|tools/.*\.sh"):
        text = tree.text(name)
        lines = text.count("\n")
        if re.fullmatch(C_FILES, name):
            for head, _, first, last, _ in blocks(tree.code(name)[0]):
                if head.endswith("=") or head.startswith("enum"):
                    lines -= last - first
        if lines > MAX_FILE and name not in LONG_FILES:
            yield Finding(name, lines, f"{lines} lines outside of tables, allowed {MAX_FILE}: split it by purpose")


def check_function_length(tree):
    """Functions fit on a screen or two: 70 lines, kernels 150."""
    for name in tree.files(C_FILES):
        limit = MAX_FUNCTION_KERNEL if name.startswith("src/kernel/") else MAX_FUNCTION
        for function, first, last, _ in functions(tree.code(name)[0]):
            length = last - first + 1
            if length > limit and f"{name}:{function}" not in LONG_FUNCTIONS:
                yield Finding(name, first, f"{function} has {length} lines, allowed {limit}: give a part of it a name")


def check_line_length(tree):
    """No line is longer than 120 characters."""
    for name, number, line in tree.lines(SOURCES):
        if re.fullmatch(SENTENCES, name):
            continue
        is_case = name.startswith("tests/") and re.search(r"[\"'].*[\"']", line)
        limit = MAX_LINE_TEST_CASE if is_case else MAX_LINE
        if len(line) > limit:
            yield Finding(name, number, f"{len(line)} characters, allowed {limit}: break the line")


def check_banned(tree):
    """Functions that are banned, or that have one home."""
    rules = [(re.compile(r"(?<![\w.>])(" + "|".join(names.split()) + r")\s*\("), re.compile(where),
              re.compile(allowed), instead) for names, where, allowed, instead in BANNED]
    for name in tree.files(C_FILES):
        active = [r for r in rules if r[1].fullmatch(name) and not r[2].fullmatch(name)]
        for number, line in enumerate(without_format_attributes(tree.code(name)[0]).split("\n"), 1):
            for pattern, _, _, instead in active:
                for match in pattern.finditer(line):
                    yield Finding(name, number, f"{match[1]}() is banned here: use {instead}")


def without_format_attributes(code):
    return re.sub(r"format\s*\(\s*(printf|scanf)", lambda m: " " * len(m[0]), code)


def check_recursion(tree):
    """No function of the library calls itself: input must not decide how deep the stack goes."""
    for name in tree.files(r"src/.*\.[ch]"):
        if any(re.fullmatch(files, name) for files in RECURSION):
            continue
        for function, first, _, body in functions(tree.code(name)[0]):
            match = re.search(rf"(?<![\w.>]){function}\s*\(", body)
            if match:
                line = first + body.count("\n", 0, match.start()) + 1
                yield Finding(name, line, f"{function} calls itself: use a loop with a bounded stack of your own")


def without_comments(text):
    """The C text with comments blanked; strings stay."""
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"'
    return re.sub(pattern, lambda m: m[0] if m[0][0] == '"' else re.sub(r"[^\n]", " ", m[0]), text, flags=re.S)


def check_families(tree):
    """No family is named outside of src/families."""
    for name in tree.files(r"(src|include)/(?!families/).*\.[ch]"):
        if any(re.fullmatch(files, name) for files in FAMILY_EXCEPTIONS):
            continue
        for number, line in enumerate(without_comments(tree.text(name)).split("\n"), 1):
            match = FAMILY.search(line)
            if match:
                yield Finding(name, number, f"'{match[0]}' is a family: let its row in src/families say what differs")


def check_opening(tree):
    """Every source opens with its licence line and says what it owns and why it exists."""
    for name in tree.files(SOURCES):
        text = tree.text(name)
        if not text.strip():
            continue
        head = text[:400]
        if "SPDX-License-Identifier: MIT" not in "\n".join(head.split("\n")[:3]):
            yield Finding(name, 1, "the first lines lack `SPDX-License-Identifier: MIT`")
        elif re.fullmatch(r"(src|include|tests)/.*\.[chS]", name):
            opening = re.match(r"/\*(.*?)\*/", text, re.S)
            prose = re.sub(r"SPDX-License-Identifier: MIT|[\s*]+", " ", opening[1]).strip() if opening else ""
            if len(prose) < ESSAY_BYTES:
                yield Finding(name, 1, "the opening comment should say what this file owns, why it exists and what it "
                                       "deliberately does not do")


def check_comments(tree):
    """Enough of a file is comment that a stranger can follow it."""
    for name in tree.files(r"(src|include)/.*\.[chS]"):
        code, comment_lines = tree.code(name)
        used = sum(1 for line in tree.text(name).split("\n") if line.strip())
        share = len(comment_lines) / max(1, used)
        if used > 100 and share < MIN_COMMENT_SHARE:
            yield Finding(name, 1, f"{share:.1%} of {used} lines carry a comment, wanted {MIN_COMMENT_SHARE:.0%}: say "
                                   "why, units, shapes, sources")


def check_whitespace(tree):
    """No tabs (but in Makefiles), no space at line ends, one newline at the end."""
    for name in tree.files(TEXT):
        text = tree.text(name)
        if not text:
            continue
        for number, line in enumerate(text.split("\n"), 1):
            if "\t" in line and not name.endswith("Makefile") and re.fullmatch(SOURCES + r"|.*\.md", name):
                yield Finding(name, number, "a tab: write spaces (or \\t in a string)")
            if line != line.rstrip() and re.fullmatch(SOURCES + r"|.*\.md", name):
                yield Finding(name, number, "white space at the end of the line")
        if re.fullmatch(SOURCES + r"|.*\.md", name) and (not text.endswith("\n") or text.endswith("\n\n")):
            yield Finding(name, text.count("\n") + 1, "the file should end with exactly one newline")


def check_blobs(tree):
    """No large files: test data and models do not belong into a source repository."""
    for name in tree.names:
        size = (tree.root / name).stat().st_size
        if size > MAX_BLOB and name not in BLOBS:
            yield Finding(name, 1, f"{size} bytes, allowed {MAX_BLOB}: fetch or make it instead of committing it")


def check_places(tree):
    """No path of somebody's machine and no address of a private host."""
    for name, number, line in tree.lines(TEXT):
        for match in MACHINE_PATHS.finditer(line):
            yield Finding(name, number, f"'{match[0]}...' is a path of one machine: make it relative or an option")
        for match in re.finditer(r"https?://(\[[\da-f:.]+\]|[^\s/\"'<>)`:\\]+)", line):
            if not HOSTS.fullmatch(match[1]) and "%" not in match[1] and "$" not in match[1]:
                yield Finding(name, number, f"address of '{match[1]}': link public sources only (HOSTS in tidy.py)")


def check_links(tree):
    """Links between documents point to files and headings that exist."""
    def anchors(name):
        heads = re.findall(r"^#+ +(.*)$", tree.text(name) or "", re.M)
        return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}

    for name, number, line in tree.lines(r".*\.md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            full = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
            if not (tree.root / full).exists():
                yield Finding(name, number, f"link to '{target}': there is no {full}")
            elif anchor and full.endswith(".md") and anchor not in anchors(full):
                yield Finding(name, number, f"link to '{target}': {full} has no such heading")


def check_headers(tree):
    """Every header compiles alone, and the public one also as C++."""
    def compile_one(job):
        name, compiler = job
        result = subprocess.run([*compiler, "-fsyntax-only", "-Wall", "-Wextra", "-D_GNU_SOURCE", "-Iinclude", "-Isrc",
                                 "-Itests/support", "-include", name, "-x", "c++" if "++" in compiler[0] else "c",
                                 os.devnull], cwd=tree.root, capture_output=True, text=True)
        if result.returncode != 0 or result.stderr:
            first = next((l for l in result.stderr.splitlines() if "error" in l or "warning" in l), result.stderr[:200])
            return Finding(name, 1, f"does not compile on its own: {first.strip()}")
        return None

    isa = {"_avx2.h": ["-mavx2", "-mfma", "-mf16c"],
           "_avx512.h": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]}
    jobs = []
    for name in tree.files(r"(src|include|tests)/.*\.h"):
        if "/arm/" in name or "/wasm/" in name or any(re.fullmatch(text, name) for text in INCLUDED_TEXTS):
            continue # other machines' intrinsics; the cross-build compiles these
        flags = next((f for suffix, f in isa.items() if name.endswith(suffix)), [])
        jobs.append((name, ["gcc", "-std=gnu17", *flags]))
    jobs += [(name, ["g++", "-std=c++17"]) for name in tree.files(r"include/slm\.h")]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        yield from filter(None, pool.map(compile_one, jobs))


# ---- samples: for each check, files in which it must find something (and what the finding must mention) --------------

LICENCE = ("/* SPDX-License-Identifier: MIT\n"
           " * A sample file that exists so that a check has something to find fault with. */\n")
SAMPLES = {
    check_ranks: [({"src/base/a.c": LICENCE + '#include "engine/kv.h"\n'}, "engine"),
                  ({"src/kernel/a.c": LICENCE + '#include "tokenizer/t.h"\n'}, "rank 2"),
                  ({"src/newroom/a.c": LICENCE}, "no rank")],
    check_file_length: [({"src/base/a.c": LICENCE + "int x;\n" * 1001}, "split")],
    check_function_length: [
        ({"src/base/a.c": LICENCE + "static int f(int (*g)(int))\n{\n" + "g(1);\n" * 70 + "}\n"}, "f has"),
        ({"src/kernel/a.c": LICENCE + "struct s *f(void) {\n" + "g();\n" * 150 + "}\n"}, "150")],
    check_line_length: [({"src/base/a.c": LICENCE + "// " + "x" * 118 + "\n"}, "121"),
                        ({"tests/unit/test_a.c": LICENCE + '{"' + "x" * 157 + '"},\n'}, "162")],
    check_banned: [({"src/cli/a.c": LICENCE + "void f(void) { strcpy(a, b); }\n"}, "strcpy"),
                   ({"tests/unit/test_a.c": LICENCE + "int x = atoi(y);\n"}, "atoi"),
                   ({"src/engine/a.c": LICENCE + 'const char *x = getenv("X");\n'}, "getenv"),
                   ({"src/format/a.c": LICENCE + "void *p = malloc(1);\n"}, "slm_alloc"),
                   ({"src/engine/a.c": LICENCE + 'void f(void) { printf("x"); }\n'}, "printf")],
    check_recursion: [
        ({"src/format/a.c": LICENCE + "static int walk(struct n *n)\n{\n    return walk(n->next);\n}\n"}, "walk")],
    check_families: [({"src/model/a.c": LICENCE + 'if (is(x, "qwen3")) y();\n'}, "qwen"),
                     ({"src/engine/a.c": LICENCE + "int slm_gemma3_scale;\n"}, "gemma")],
    check_opening: [({"src/base/a.c": "/* SPDX-License-Identifier: MIT */\nint x;\n"}, "opening"),
                    ({"tools/a.py": "print(1)\n"}, "SPDX")],
    check_comments: [({"src/base/a.c": LICENCE + "int x;\n" * 120}, "12%")],
    check_whitespace: [({"src/base/a.c": LICENCE + "int x;\t\n"}, "tab"), ({"README.md": "x \n"}, "white space"),
                       ({"README.md": "x"}, "newline")],
    check_blobs: [({"data.bin": "x" * (MAX_BLOB + 1)}, "bytes")],
    check_places: [({"README.md": "see " + "/ho" + "me/me/file\n"}, "one machine"),
                   ({"tools/a.sh": "# https:" + "//mirror.internal/simple\n"}, "mirror.internal")],
    check_links: [({"README.md": "[a](docs/none.md)\n"}, "no docs/none.md"),
                  ({"README.md": "# One\n[a](#two)\n"}, "heading")],
    check_headers: [({"src/base/a.h": "size_t f(void);\n"}, "compile"),
                    ({"include/slm.h": "int f(int class);\n"}, "compile")],
}
# What must not be found, so that a check cannot pass its own test by complaining about everything.
CLEAN = {
    "src/base/a.h": LICENCE + "#include <stddef.h>\nstatic inline size_t f(size_t n) { return n; }\n",
    "src/base/a.c": LICENCE + '#include "base/a.h"\nstatic const int rows[] = {\n' + "    1,\n" * 1100 + "};\n"
                    + "// why\n" * 200 + 'const char *x = "strcpy(1) /* no comment";\n',
    "src/families/gemma.c": LICENCE + 'const char *x = "gemma"; /* qwen */\n',
    "src/model/a.c": LICENCE + '/* Qwen has it */\nconst char *x = "llama.cpp/* */"; // phi3\n',
    "src/engine/a.c": LICENCE + '#include "base/a.h"\nvoid sprint(void) { s->free(p); slm_printf("malloc(1)"); }\n',
    "README.md": "# One two\n[a](#one-two) [b](src/base/a.c) https://github.com/x http://[::1]:1 'http://a.localhost\\r'\n",
}


def make_tree(files, folder):
    for name, text in files.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Tree(folder)


def self_test(check):
    """Problems of the check itself: samples it misses, or clean files it complains about."""
    for files, expected in SAMPLES[check]:
        with tempfile.TemporaryDirectory() as folder:
            found = [str(f) for f in check(make_tree(files, folder))]
            if not any(expected in f for f in found):
                yield f"{check.__name__} does not find '{expected}' in its sample {list(files)}; it found {found}"
    with tempfile.TemporaryDirectory() as folder:
        for finding in check(make_tree(CLEAN, folder)):
            yield f"{check.__name__} complains about a clean file: {finding}"


def main():
    arguments = [a for a in sys.argv[1:] if a != "--tap"]
    checks = [c for c in SAMPLES if not arguments or c.__name__.removeprefix("check_") in arguments]
    tree, failed, number = Tree(ROOT), 0, 0
    print(f"1..{2 * len(checks)}")
    for check in checks:
        name = check.__name__.removeprefix("check_")
        for title, found in ((name, list(check(tree))), (f"{name}_can_fail", list(self_test(check)))):
            number += 1
            failed += bool(found)
            for finding in found:
                print(f"  {finding}")
            print(f"{'not ok' if found else 'ok'} {number} - {title}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
