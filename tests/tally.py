#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Adds up the results of several `meson test` runs.

    tally.py MORE TESTLOG.json...

A test log has one JSON object a line. MORE is what meson does not know: lines
of RESULT, BUILD, NAME and REASON with tabs between. Prints what was skipped and
what failed, each with the reason, then the sum; exits 1 if anything failed.
"""

import json
import os
import re
import sys

PASSED = {"OK", "EXPECTEDFAIL"}
SKIPPED = {"SKIP"}
# Everything else (FAIL, TIMEOUT, ERROR, INTERRUPT, UNEXPECTEDPASS and whatever
# a later meson invents) counts as failed.

# What tests/mount/harness.py prints at the end.
CASE_SKIP = re.compile(r"^SKIP (.*?): (.*)$")
TAP_SKIP = re.compile(r"^ok\b\s*\d*\s*(?:- )?(.*?)\s*#\s*skip\S*\s*(.*)$", re.I)
TAP_PLAN_SKIP = re.compile(r"^1\.\.0\s*#\s*skip\S*\s*(.*)$", re.I)


def last_line(text):
    lines = [line.strip() for line in (text or "").splitlines()]
    return next((line for line in reversed(lines) if line), "")


def skip_reason(entry):
    for line in (entry.get("stdout") or "").splitlines():
        m = (TAP_PLAN_SKIP.match(line) or TAP_SKIP.match(line)
             or CASE_SKIP.match(line))
        if m:
            return m.groups()[-1] or "no reason given"
    return (last_line(entry.get("stderr")) or last_line(entry.get("stdout"))
            or "no reason given")


def skipped_inside(entry):
    """What a test that passed as a whole left out: (name, reason)."""
    for line in (entry.get("stdout") or "").splitlines():
        m = TAP_SKIP.match(line) or CASE_SKIP.match(line)
        if m:
            yield m.group(1), m.group(2) or "no reason given"


def read_log(path):
    """Yields (result, build, name, reason)."""
    build = os.path.dirname(os.path.dirname(path)) or "."
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f:
            entry = json.loads(line)
            result, name = entry["result"], entry["name"]
            if result in SKIPPED:
                yield "SKIP", build, name, skip_reason(entry)
            elif result in PASSED:
                yield "OK", build, name, ""
                for point, reason in skipped_inside(entry):
                    yield "SKIP", build, f"{name}: {point}", reason
            else:
                yield "FAIL", build, name, result.lower()


def read_more(path):
    with open(path, encoding="utf-8") as f:
        for line in f:
            yield tuple(line.rstrip("\n").split("\t", 3))


def main(argv):
    more, *logs = argv
    results = []
    for path in logs:
        if os.path.exists(path):  # else MORE tells why
            results.extend(read_log(path))
    results.extend(read_more(more))
    print()
    for result, title in (("SKIP", "skipped"), ("FAIL", "failed")):
        for r in results:
            if r[0] == result:
                print(f"{title}: {r[1]}: {r[2]}: {r[3]}")
    n = {kind: sum(r[0] == kind for r in results)
         for kind in ("OK", "FAIL", "SKIP")}
    if not results:
        print("failed: nothing ran")
        n["FAIL"] = 1
    print(f"{n['OK']} passed, {n['FAIL']} failed, {n['SKIP']} skipped",
          flush=True)
    return 1 if n["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
