#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures keyfs beside tmpfs, a FUSE server that does nothing but answer, and
redis-server. README.md beside this file says what the figures mean."""

import argparse
import glob
import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True  # the source tree stays as it is

import peers  # noqa: E402 (after what concerns its import)
import report  # noqa: E402
import sections  # noqa: E402


def parse(argv):
    p = argparse.ArgumentParser(
        prog='bench.py', description=__doc__,
        epilog='KEYFS_BENCH in the environment holds more arguments.')
    p.add_argument('sections', nargs='*', metavar='SECTION',
                   help='ops, save, memory, stall or all (the default)')
    tools = p.add_argument_group('programs')
    tools.add_argument('--keyfs', metavar='PROGRAM')
    for name in ('floor', 'client', 'stall', 'gen-dump'):
        tools.add_argument('--' + name, metavar='PROGRAM', required=True)
    tools.add_argument('--hiredis', action='store_true',
                       help='client and stall can talk to redis-server')
    p.add_argument('--quick', action='store_true',
                   help='small and few: does it work, roughly how fast')
    p.add_argument('--rounds', type=int, help='of each section '
                   '(5 for ops, 3 for the others)')
    p.add_argument('--peers', default='tmpfs,floor,keyfs,redis',
                   help='only these (%(default)s)')
    p.add_argument('--placements', default='same,free',
                   help='ops: client and server on the same processor, or '
                   'free (%(default)s)')
    p.add_argument('--files', type=int, help='ops: how many (10000)')
    p.add_argument('--mib', type=int, help='ops: size of the large file (256)')
    p.add_argument('--keys', type=int, help='save, memory (2000000)')
    p.add_argument('--stall-keys', type=int, help='(1000000)')
    p.add_argument('--stall-seconds', type=int, help='of each run (10)')
    p.add_argument('--writers', type=int, default=4,
                   help='stall (%(default)s)')
    p.add_argument('--dir', help='where to work; saves go to this disk')
    p.add_argument('--json', metavar='FILE', help='all figures, also of '
                   'single rounds')
    opt = p.parse_args(argv + shlex.split(os.environ.get('KEYFS_BENCH', '')))
    complete(p, opt)
    return opt


def complete(parser, opt):
    """Fills in what depends on --quick, and checks the words."""
    defaults = {'files': (10000, 2000), 'mib': (256, 64),
                'keys': (2000000, 200000), 'stall_keys': (1000000, 100000),
                'stall_seconds': (10, 3)}
    for name, (full, quick) in defaults.items():
        if getattr(opt, name) is None:
            setattr(opt, name, quick if opt.quick else full)
        if getattr(opt, name) < 1:
            parser.error(f'{name} must be at least 1')
    opt.slow_rounds = opt.rounds or (1 if opt.quick else 3)
    opt.rounds = opt.rounds or (2 if opt.quick else 5)
    opt.peers = opt.peers.split(',')
    opt.placements = opt.placements.split(',')
    if not opt.sections or 'all' in opt.sections:
        opt.sections = list(sections.ALL)
    for what, given, known in (
            ('section', opt.sections, sections.ALL),
            ('peer', opt.peers, [c.name for c in peers.ALL]),
            ('placement', opt.placements, ('same', 'free'))):
        for word in given:
            if word not in known:
                parser.error(f'unknown {what} {word!r}: one of '
                             f'{", ".join(known)}')


def read_line(path):
    try:
        with open(path, encoding='utf-8', errors='replace') as f:
            return f.readline().strip()
    except OSError:
        return None


def first_line(command):
    if not shutil.which(command[0]):
        return 'none'
    return subprocess.run(command, stdout=subprocess.PIPE, check=False,
                          text=True).stdout.partition('\n')[0]


def disk_of(path):
    """Type and options of the file system that saves go to."""
    best = ('', '?')
    with open('/proc/self/mountinfo', encoding='utf-8') as f:
        for line in f:
            fields = line.split()
            at = fields[4].rstrip('/') + '/'
            if (path + '/').startswith(at) and len(at) >= len(best[0]):
                kind = fields[fields.index('-') + 1]
                best = (at, f'{kind} ({fields[5]})')
    return best[1]


def machine(scratch):
    """What the figures depend on. A guest whose idle processors halt at once
    (guest_halt_poll_ns 0, or no such parameter) pays tens of microseconds for
    each wake-up on another processor: with placement `free` that is most of a
    request's time."""
    facts = {'kernel': platform.release(), 'machine': platform.machine(),
             'processors': len(os.sched_getaffinity(0)),
             'load before': '%.2f' % os.getloadavg()[0],
             'disk': disk_of(scratch),
             'redis-server': first_line(['redis-server', '--version'])}
    with open('/proc/cpuinfo', encoding='utf-8', errors='replace') as f:
        for line in f:
            if line.startswith('model name'):
                facts['processor'] = line.split(':', 1)[1].strip()
                break
    for path in glob.glob('/sys/module/*/parameters/guest_halt_poll_ns') + \
            glob.glob('/sys/devices/system/cpu/cpuidle/current_governor') + \
            glob.glob('/sys/kernel/mm/transparent_hugepage/enabled') + \
            glob.glob('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor'):
        facts[path] = read_line(path)
    return facts


def interrupted(signum, _):
    """The first signal starts the clean-up, which no second one cuts short."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt(signal.Signals(signum).name)


def measure(opt, scratch):
    facts = machine(scratch)
    for name, value in facts.items():
        print(f'{name}: {value}', flush=True)
    bench = sections.Bench(opt, opt, scratch,
                           lambda text: print(text, file=sys.stderr,
                                              flush=True))
    results = {}
    for name in opt.sections:
        results[name] = sections.ALL[name](bench)
        report.ALL[name](results[name], opt)
        sys.stdout.flush()
    if opt.json:
        options = {k: v for k, v in vars(opt).items() if k != 'json'}
        with open(opt.json, 'w', encoding='utf-8') as f:
            json.dump({'machine': facts, 'options': options,
                       'failures': bench.failures, 'results': results}, f,
                      indent=1)
            f.write('\n')
    for failure in bench.failures:
        print(f'FAILED: {failure}')
    return 1 if bench.failures else 0


def main():
    opt = parse(sys.argv[1:])
    for name in ('keyfs', 'floor', 'client', 'stall', 'gen_dump'):
        if getattr(opt, name):
            setattr(opt, name, os.path.abspath(getattr(opt, name)))
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, interrupted)
    scratch = os.path.realpath(
        tempfile.mkdtemp(prefix='keyfs-bench-', dir=opt.dir))
    try:
        return measure(opt, scratch)
    except KeyboardInterrupt as e:
        print(f'ended by {e}', file=sys.stderr)
        return 130
    finally:
        left = peers.mounts_below(scratch)
        if left:
            print(f'still mounted: {" ".join(left)}', file=sys.stderr)
        else:
            shutil.rmtree(scratch, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
