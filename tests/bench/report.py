# SPDX-License-Identifier: MIT
"""Tables of what was measured: medians over the rounds, and medians of the
ratios that each round gave. A ratio of two medians would compare rounds that
never met."""

from statistics import median

FLOOR_AIM = 1.25  # times the floor
BY_BANDWIDTH = ('seq_write', 'seq_read_cold', 'seq_read_hot')


def table(rows):
    """The first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width)
                  for cell, width in zip(row[1:], widths[1:])]
        print('  ' + '  '.join(cells).rstrip())


def time_text(ns):
    if ns < 1e6:
        return f'{ns / 1e3:.1f} us'
    return f'{ns / 1e6:.2f} ms'


def pair_ratio(ours, theirs):
    """Round by round. None if they share none."""
    pairs = [a / b for a, b in zip(ours, theirs) if b]
    return median(pairs) if pairs else None


def ratio_text(ratio, digits=2):
    return '-' if ratio is None else f'{ratio:.{digits}f}'


def series(runs, op):
    """The figure of each round that ratios are made of: nanoseconds."""
    key = 'mean_ns' if op in BY_BANDWIDTH else 'median_ns'
    return [run[op][key] for run in runs if op in run]


def cell(runs, op):
    if not any(op in run for run in runs):
        return '-'
    if op in BY_BANDWIDTH:
        return f'{median(run[op]["gb_s"] for run in runs):.2f} GB/s'
    return time_text(median(series(runs, op)))


def print_ops(result, options):
    notes = {'same': 'client and server on one processor',
             'free': 'client and server where the scheduler puts them'}
    for placement, runs in result.items():
        print(f'\nSingle operations, {notes[placement]}: median of '
              f'{options.rounds} rounds')
        print_placement(runs)


def print_placement(runs):
    runs = {name: r for name, r in runs.items() if r}
    if not runs:
        print('  nothing was measured')
        return
    ops = list(dict.fromkeys(op for r in runs.values() for op in r[0]))
    base = 'keyfs' if 'keyfs' in runs else 'floor'
    others = [n for n in ('floor', 'tmpfs', 'redis')
              if n in runs and n != base and base in runs]
    rows = [['', *runs, *(f'{base}/{o}' for o in others)]]
    over = []
    for op in ops:
        row = [op] + [cell(r, op) for r in runs.values()]
        for other in others:
            ratio = pair_ratio(series(runs[base], op),
                               series(runs[other], op))
            row.append(ratio_text(ratio))
            if (base, other) == ('keyfs', 'floor') and ratio is not None \
                    and ratio > FLOOR_AIM:
                over.append(op)
        rows.append(row)
    table(rows)
    print('  ratios are of times: below 1 is faster')
    if over:
        print(f'  over {FLOOR_AIM} times the floor: {", ".join(over)}')


def speed(keys, seconds):
    if seconds == 0:  # a log that counts milliseconds
        return '-'
    return f'{keys / seconds / 1e6:.2f} M/s'


def print_save(result, options):
    for values, runs in result.items():
        print(f'\nLoad and save, {options.keys} keys, {values} values of 100 '
              f'bytes: median of {options.slow_rounds} rounds')
        print_values(runs, options.keys)


def print_values(runs, keys):
    runs = {name: r for name, r in runs.items() if r}
    rows = [['', 'load', 'keys', 'save', 'keys', 'bgsave', 'keys', 'dump']]
    for name, r in runs.items():
        load = median(run.get('logged_load_s', run['load_s']) for run in r)
        save = median(run['save_s'] for run in r)
        row = [name, f'{load:.2f} s', speed(keys, load), f'{save:.2f} s',
               speed(keys, save), '-', '-', f'{r[0]["bytes"] / 1e6:.1f} MB']
        if 'bgsave_s' in r[0]:
            beside = median(run['bgsave_s'] for run in r)
            row[5:7] = [f'{beside:.2f} s', speed(keys, beside)]
        rows.append(row)
    table(rows)
    if 'keyfs' not in runs or 'redis' not in runs:
        return
    ours, theirs = runs['keyfs'], runs['redis']
    for what, key, other in (('loads', 'load_s', 'logged_load_s'),
                             ('saves', 'save_s', 'save_s'),
                             ('saves', 'save_s', 'bgsave_s')):
        ratio = pair_ratio([r[other] for r in theirs], [r[key] for r in ours])
        named = {'logged_load_s': '', 'save_s': ' (SAVE)',
                 'bgsave_s': ' (BGSAVE)'}[other]
        print(f'  keyfs {what} {ratio_text(ratio)} times as fast as '
              f'redis{named}')


def print_memory(result, options):
    print(f'\nMemory, {options.keys} keys of 100 bytes, bytes per key')
    rows = [['', 'used_memory', 'resident']]
    for name, r in result.items():
        rows.append([name] + [
            f'{(r[k] - r[k + "_empty"]) / r["keys"]:.1f}'
            for k in ('used', 'rss')])
    if len(rows) > 1:
        table(rows)
    else:
        print('  nothing was measured')


def print_stall(result, options):
    print(f'\nWriters that wait: {options.writers} of them over '
          f'{options.stall_keys} keys, {options.stall_seconds} s, median of '
          f'{options.slow_rounds} rounds; in brackets the worst of all')
    rows = [['', 'operations', 'median', 'p99', 'p99.9', 'longest', '',
             'saves']]
    for name, kinds in result.items():
        for kind, runs in kinds.items():
            if not runs:
                continue
            every = [run['all'] for run in runs]
            rows.append(
                [f'{name}, {kind}',
                 f'{median(a["n"] for a in every) / options.stall_seconds:.0f}'
                 '/s'] +
                [time_text(median(a[k] for a in every))
                 for k in ('median_ns', 'p99_ns', 'p999_ns', 'max_ns')] +
                [f'({time_text(max(a["max_ns"] for a in every))})',
                 str(sum(len(run['saves_s']) for run in runs))])
    if len(rows) > 1:
        table(rows)
    for name, kinds in result.items():
        ratio = pair_ratio([r['all']['max_ns'] for r in kinds['saving']],
                           [r['all']['max_ns'] for r in kinds['quiet']])
        if ratio is not None:
            print(f'  {name}: longest while saving is {ratio_text(ratio)} '
                  'times that without')


ALL = {'ops': print_ops, 'save': print_save, 'memory': print_memory,
       'stall': print_stall}
