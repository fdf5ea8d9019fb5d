#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The manual page against the program, both ways: what either has, the other
has, and says the same about it.

usage: test_manual.py KEYFS.8 TABLES KEYFS

Compared: control files and their modes, directives with their defaults and
whether they are fixed, options of --help, exit codes 0 to 4. With mandoc
installed the page must also be without a warning.
"""

import re
import shutil
import subprocess
import sys

PAGE, TABLES, KEYFS = sys.argv[1:4]

failures = 0
number = 0


def report(ok, name, why=""):
    """One line of TAP."""
    global failures, number
    number += 1
    failures += not ok
    print(f"{'ok' if ok else 'not ok'} {number} - {name}")
    for line in why.splitlines() if not ok else []:
        print(f"# {line}")


def compare(name, manual, program):
    """Two dictionaries (or sets) must be equal."""
    why = []
    for key in sorted(set(manual) | set(program)):
        if key not in manual:
            why.append(f"not in the manual: {key}")
        elif key not in program:
            why.append(f"just in the manual: {key}")
        elif isinstance(manual, dict) and manual[key] != program[key]:
            why.append(f"{key}: manual {manual[key]}, program {program[key]}")
    if not program:
        why.append("the program has none")
    report(not why, name, "\n".join(why))


def section(text, name):
    """The lines of one section of the page."""
    found = re.search(rf"^\.Sh {name}\n(.*?)(?=^\.Sh |\Z)", text,
                      re.MULTILINE | re.DOTALL)
    if not found:
        sys.exit(f"Bail out! {PAGE} has no section {name}")
    return found.group(1)


def run(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60,
                          check=False)
    return done.returncode, done.stdout, done.stderr


def program_tables():
    ctl, conf = {}, {}
    for line in run(TABLES)[1].splitlines():
        kind, name, *rest = line.split("\t")
        if kind == "ctl":
            ctl[name] = rest[0]
        else:
            conf[name] = tuple(rest)
    return ctl, conf


def manual_ctl(text):
    items = re.findall(r"^\.It Pa (\S+)(?: Pq (\d+))?$",
                       section(text, "CONTROL FILES"), re.MULTILINE)
    return dict(items)


def manual_conf(text):
    conf = {}
    for item in re.split(r"^\.It Cm ", section(text, "CONFIGURATION"),
                         flags=re.MULTILINE)[1:]:
        item = item.split("\n.El")[0]
        default = re.search(r"^Default:\n\.Li (.*)$", item, re.MULTILINE)
        fixed = "Fixed while the daemon runs." in item
        conf[item.split()[0]] = (default.group(1) if default else "none",
                                 "fixed" if fixed else "mutable")
    return conf


def manual_options(text):
    """-x, --long and the words of -o, from the list in DESCRIPTION."""
    found = set()
    body = section(text, "DESCRIPTION")
    for line in re.findall(r"^\.It (Fl .*|Cm .*)$", body, re.MULTILINE):
        if line.startswith("Fl o"):
            found.add("-o")
            continue
        for word in line.replace(",", " ").split():
            if word in ("Fl", "Cm", "Ns", "Ar", "how", "c", "name"):
                continue
            if line.startswith("Fl"):
                found.add("-" + word)
            else:
                found.add(word.rstrip("="))
    return found


def help_options(text):
    found = set(re.findall(r"(?<![\w.-])--?[a-zA-Z][a-z]*", text))
    if "-o" in found:
        for line in text.splitlines():
            if not re.match(r"  (-o|   \w+=)", line):
                continue
            words = re.split(r"\s{2,}", line.strip().removeprefix("-o "))[0]
            for word in re.split(r"[ ,|]+", words):
                found.add(word.split("=")[0])
    # Commands that the help names for the end.
    found.discard("-u")
    found.discard("")
    return found


def check_lint():
    if not shutil.which("mandoc"):
        print(f"ok {number + 1} - lint # SKIP mandoc is not installed")
        return 1
    out = run("mandoc", "-T", "lint", "-W", "warning", PAGE)[1]
    # About the index of the machine's own pages, not about this one.
    out = "\n".join(line for line in out.splitlines()
                    if "outdated mandoc.db" not in line)
    report(not out, "mandoc finds nothing to warn of", out)
    return 0


def main():
    with open(PAGE, encoding="utf-8") as page:
        text = page.read()
    ctl, conf = program_tables()
    compare("control files and modes", manual_ctl(text), ctl)
    compare("directives, defaults, fixed or not",
            {n: (d.replace(r"\(dq", '"'), f)
             for n, (d, f) in manual_conf(text).items()}, conf)
    status, out, _ = run(KEYFS, "--help")
    report(status == 0, "--help ends with 0")
    manual = manual_options(text)
    # -d and -o debug are one thing; help names the first.
    compare("options", manual - {"debug"}, help_options(out) - {"debug"})
    codes = re.findall(r"^\.It (\d)$", section(text, "EXIT STATUS"),
                       re.MULTILINE)
    report(codes == ["0", "1", "2", "3", "4"], "exit codes", str(codes))
    status, _, err = run(KEYFS, "-o", "no_such_option", "a", "b")
    report(status == 1 and "unknown option 'no_such_option'" in err,
           "the diagnostic for an unknown option is the manual's",
           f"{status}: {err}")
    skipped = check_lint()
    print(f"1..{number + skipped}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
