#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Includes form a DAG: fs -> persist -> store, and nothing upwards.

    lint_includes.py ROOT

The linker finds an upward call; this finds the rest: includes for a type only,
a layer that reaches into another one's private headers, a library that belongs
to one layer, a cycle between headers, names that are not "layer/file.h".
"""

import os
import re
import sys

from tree import LAYERS, c_files

# What one layer may include of another: its public headers, no others.
PUBLIC = {
    "store": {"alloc", "defs", "journal", "lock", "name", "span", "store",
              "value", "view"},
    "persist": {"io", "persist", "rdb"},
    "fs": set(),
}
EDGES = {
    "store": {"store"},
    "persist": {"persist", "store"},
    "fs": {"fs", "persist", "store"},
}
# Tests look inside of the layer they test, and see below it what it sees.
TEST_LAYERS = {"tests/" + layer: layer for layer in LAYERS}

# Libraries with one home in the product, so that each can be replaced in one
# place: a pattern of header names, and the start of the paths that have it.
LIBRARIES = (
    (r"fuse.*|linux/fuse\.h", ("fs/",)),
    (r"jemalloc/.*", ("store/alloc",)),
    (r"xxhash\.h", ("store/",)),
    (r"(liblzf/)?lzf\.h", ("persist/",)),
    (r"isa-l.*|crc64\.h", ("persist/",)),
    (r"nettle/.*", ("persist/",)),
    (r"syslog\.h", ("fs/log",)),
)
# Parts of the daemon that do not know FUSE, so they can be tested without it.
NO_FUSE = ("fs/conf", "fs/ctl", "fs/log")

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def layer_of(path):
    parts = path.split("/")
    if parts[0] in LAYERS:
        return parts[0]
    if parts[0] == "tests" and len(parts) > 2:
        return "/".join(parts[:2])
    return parts[0]


def stem(path):
    return os.path.splitext(path)[0]


def check_project(path, target, files):
    """Why `path` may not include "target", or None."""
    if "/" not in target:
        return 'write it as "layer/file.h"'
    if target not in files:
        return "there is no such file below the root"
    if target.endswith(".c"):
        return "a .c file is compiled, not included"
    source, wanted = layer_of(path), layer_of(target)
    if source.startswith("tests"):
        if wanted.startswith("tests/"):
            if wanted not in (source, "tests/lib"):
                return f"{source} may include tests/lib only, not {wanted}"
            return None
        top = TEST_LAYERS.get(source)
        if top is None:
            return None  # fuzz targets, the model, benchmarks: as they need
        if wanted == top:
            return None
        source = top
    if wanted not in EDGES.get(source, set()):
        return f"{source} does not see {wanted or target}"
    if wanted != source and stem(target).split("/", 1)[1] not in PUBLIC[wanted]:
        return f"{target} is private to {wanted}"
    return None


def check_system(path, target):
    if re.fullmatch(r"fuse.*", target) and path.startswith(NO_FUSE):
        return "this part of the daemon does not know FUSE"
    for pattern, homes in LIBRARIES:
        if re.fullmatch(pattern, target) and not path.startswith(
                homes + ("tests/",)):
            return "belongs to " + ", ".join(homes)
    if os.path.dirname(target) in LAYERS:
        return 'our own headers take quotes: "layer/file.h"'
    return None


def find_cycle(graph):
    """A list of headers that include each other in a ring, or None."""
    done, stack = set(), []

    def visit(node):
        if node in stack:
            return stack[stack.index(node):] + [node]
        if node in done:
            return None
        stack.append(node)
        for following in graph.get(node, ()):
            cycle = visit(following)
            if cycle:
                return cycle
        stack.pop()
        done.add(node)
        return None

    for node in sorted(graph):
        cycle = visit(node)
        if cycle:
            return cycle
    return None


def check_file(path, text, files):
    """Yields (line, message)."""
    first = None
    for m in INCLUDE.finditer(text):
        kind, target = m.groups()
        line = text.count("\n", 0, m.start()) + 1
        first = first or target
        problem = (check_project(path, target, files) if kind == '"'
                   else check_system(path, target))
        if problem:
            yield line, f"{target}: {problem}"
    own = stem(path) + ".h"
    if path.endswith(".c") and own in files and first != own:
        yield 1, f"{own} comes first: so it is shown to stand on its own"


def main(root):
    paths = c_files(root)
    files, graph, bad = set(paths), {}, 0
    for path in paths:
        with open(os.path.join(root, path), encoding="utf-8") as f:
            text = f.read()
        for line, message in check_file(path, text, files):
            print(f"{path}:{line}: {message}")
            bad += 1
        if path.endswith(".h"):
            graph[path] = [t for k, t in INCLUDE.findall(text) if k == '"']
    cycle = find_cycle(graph)
    if cycle:
        print("headers include each other: " + " -> ".join(cycle))
        bad += 1
    if not paths:
        print(f"no C files below {root}")
        bad = 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
