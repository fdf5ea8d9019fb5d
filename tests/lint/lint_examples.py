#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every example is run by a test, and every path in README.md exists.

    lint_examples.py ROOT BUILD

The tests are those that meson knows in BUILD; an example is run if its file,
or the program compiled from it, is among the arguments of one.
"""

import json
import os
import re
import subprocess
import sys

# Not examples: the build file and what runs the examples as tests.
APART = {"meson.build", "run_example.py"}


def test_words(meson, build):
    out = subprocess.run([*meson, "introspect", "--tests", build],
                         stdout=subprocess.PIPE, check=True).stdout
    for test in json.loads(out):
        for word in test["cmd"]:
            yield os.path.basename(word)


def check_examples(root, words):
    folder = os.path.join(root, "examples")
    bad = 0
    names = sorted(n for n in os.listdir(folder)
                   if n not in APART and not n.startswith((".", "__")))
    for name in names:
        stem, ext = os.path.splitext(name)
        wanted = stem if ext == ".c" else name
        if wanted not in words:
            print(f"examples/{name}: no test runs it")
            bad += 1
    if not names:
        print("examples/ is empty")
        bad += 1
    return bad


def check_readme(root):
    """Names in backquotes or links that look like paths of the tree."""
    with open(os.path.join(root, "README.md"), encoding="utf-8") as f:
        text = f.read()
    tops = {n for n in os.listdir(root)
            if os.path.isdir(os.path.join(root, n))}
    paths = set(re.findall(r"\]\(([^)#:]+)\)", text))
    for word in re.findall(r"[\w.*/-]+/[\w.*/-]*", text):
        if word.split("/")[0] in tops - {"build"} and "*" not in word:
            paths.add(word)
    bad = 0
    for path in sorted(paths):
        if not os.path.exists(os.path.join(root, path)):
            print(f"README.md: there is no {path}")
            bad += 1
    return bad


def main(root, build, *meson):
    words = set(test_words(meson, build))
    bad = check_examples(root, words) + check_readme(root)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
