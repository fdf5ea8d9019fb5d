# SPDX-License-Identifier: MIT
"""The measurements. Each section runs rounds; in a round every peer has its
turn, so that what disturbs the machine disturbs all, and the next round begins
with the next peer."""

import json
import os
import subprocess
import threading

import peers

NO_HIREDIS = 'the client was built without hiredis (libhiredis-dev)'


class Bench:
    """What the sections share: options, tools, the scratch directory, and who
    takes part."""

    def __init__(self, options, tools, scratch, say):
        self.options = options
        self.tools = tools
        self.scratch = scratch
        self.say = say
        self.failures = []

    def present(self, section, classes, needs_client=True):
        """The peers that this machine has; says which it has not."""
        found = []
        for cls in classes:
            try:
                if cls.name not in self.options.peers:
                    continue
                cls.require(self.tools)
                if cls is peers.Redis and needs_client and \
                        not self.tools.hiredis:
                    raise peers.Missing(NO_HIREDIS)
                found.append(cls)
            except peers.Missing as e:
                self.say(f'{section}: without {cls.name}: {e}')
        return found

    def rounds(self, section, classes, count, turn):
        """Calls turn(cls, round); a peer that fails has no more turns."""
        left = list(classes)
        for i in range(count):
            order = left[i % len(left):] + left[:i % len(left)] if left else []
            for cls in order:
                self.say(f'{section}: round {i + 1} of {count}: {cls.name}')
                try:
                    turn(cls, i)
                except (peers.Failed, OSError,
                        subprocess.SubprocessError) as e:
                    self.say(f'{section}: {cls.name} failed: {e}')
                    self.failures.append(f'{section}: {cls.name}: {e}')
                    left.remove(cls)

    def run_tool(self, command, cpu=None, timeout=900):
        """Standard output as JSON. A child that hangs in a dead mount is
        killed but not waited for: it ends when the mount does."""
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, preexec_fn=peers.pin_to(cpu))
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
        if process.returncode != 0:
            raise peers.Failed(err.decode(errors='replace').strip() or
                               f'status {process.returncode}')
        return json.loads(out)

    def make_dump(self, keys, dirs, compressible=False):
        path = os.path.join(self.scratch, f'data-{keys}-{dirs}-{compressible}')
        if not os.path.exists(path):
            self.say(f'making a dump of {keys} keys')
            subprocess.run([self.tools.gen_dump, '-d', str(dirs)] +
                           ['-c'] * compressible + [str(keys), path],
                           check=True)
        return path


def run_ops(bench):
    """{placement: {peer: [the client's result, a round each]}}"""
    opt = bench.options
    classes = bench.present('ops', peers.ALL)
    cpu = max(os.sched_getaffinity(0))
    dump = bench.make_dump(opt.files + 1, 1)
    result = {}
    for placement in opt.placements:
        pin = cpu if placement == 'same' else None
        runs = result.setdefault(placement, {c.name: [] for c in classes})

        def turn(cls, _, pin=pin, runs=runs):
            with cls(bench.tools, bench.scratch, pin, opt.files + 1, 1,
                     dump) as peer:
                run = bench.run_tool(
                    [bench.tools.client, '-n', str(opt.files), '-c',
                     str(opt.files), '-m', str(opt.mib)] + peer.target(), pin)
                if cls.has_cold and not run['preloaded']:
                    raise peers.Failed('it did not load its data set')
                runs[cls.name].append(run['ops'])

        bench.rounds(f'ops, placement {placement}', classes, opt.rounds, turn)
    return result


def check_dump(bench, path, keys):
    """What keyfs saved must be what it holds: a fast save of nothing is no
    save. redis-server is the judge."""
    with peers.Redis(bench.tools, bench.scratch, dump=path) as server:
        size = int(server.call('DBSIZE'))
    if size != keys:
        raise peers.Failed(f'its dump has {size} keys of {keys}')


def rewritten_by_redis(bench, dump):
    """The same data as redis-server saves it, in the order of its table."""
    path = dump + '-redis'
    if not os.path.exists(path):
        bench.say('having redis-server write the dump')
        with peers.Redis(bench.tools, bench.scratch, dump=dump) as server:
            server.save()
            os.link(server.dump_path(), path)
    return path


def run_save(bench):
    """{values: {peer: [{load_s, save_s, ..., a round each}]}}"""
    opt = bench.options
    classes = bench.present('save', [peers.Keyfs, peers.Redis],
                            needs_client=False)
    result = {}
    for values in ('random', 'compressible'):
        dump = bench.make_dump(opt.keys, 0, values == 'compressible')
        if peers.Redis in classes:
            dump = rewritten_by_redis(bench, dump)
        runs = result.setdefault(values, {c.name: [] for c in classes})

        def turn(cls, i, dump=dump, runs=runs):
            with cls(bench.tools, bench.scratch, dump=dump) as peer:
                run = {'load_s': peer.load_s}
                run['save_s'] = peer.save()
                run['bytes'] = os.stat(peer.dump_path()).st_size
                if cls is peers.Redis:
                    run['logged_load_s'] = peer.logged_load_s()
                    run['bgsave_s'] = peer.save_beside()
                    run['fork_ms'] = int(peer.info(
                        'stats', 'latest_fork_usec')) / 1000
                elif i == 0 and peers.Redis in classes:
                    check_dump(bench, peer.dump_path(), opt.keys)
                runs[cls.name].append(run)

        bench.rounds(f'save, {values} values', classes, opt.slow_rounds, turn)
    return result


def run_memory(bench):
    """{peer: {keys, used_empty, used, rss_empty, rss}}"""
    opt = bench.options
    classes = bench.present('memory', [peers.Keyfs, peers.Redis],
                            needs_client=False)
    dump = bench.make_dump(opt.keys, 0)
    result = {}

    def look(cls, dump):
        with cls(bench.tools, bench.scratch, dump=dump) as peer:
            return peer.used_memory(), peers.memory_of(peer.process.pid)

    def turn(cls, _):
        used_empty, rss_empty = look(cls, None)
        used, rss = look(cls, dump)
        result[cls.name] = {'keys': opt.keys, 'used_empty': used_empty,
                            'used': used, 'rss_empty': rss_empty, 'rss': rss}

    bench.rounds('memory', classes, 1, turn)
    return result


class Saver(threading.Thread):
    """Saves again and again until it is told to stop."""

    def __init__(self, peer):
        super().__init__(daemon=True)  # a save that hangs keeps nobody
        self.peer = peer
        self.stopping = threading.Event()
        self.durations = []
        self.error = None

    def run(self):
        try:
            while not self.stopping.is_set():
                self.durations.append(self.peer.save_beside())
                self.stopping.wait(0.1)
        except (OSError, peers.Failed) as e:
            self.error = e

    def finish(self):
        self.stopping.set()
        self.join(600)
        if self.is_alive():
            raise peers.Failed('a save does not end')
        if self.error:
            raise peers.Failed(f'a save failed: {self.error}')
        return self.durations


def stall_once(bench, peer, saving):
    opt = bench.options
    saver = None
    if saving:
        saver = Saver(peer)
        saver.start()
    try:
        run = bench.run_tool(
            [bench.tools.stall, '-w', str(opt.writers), '-k',
             str(opt.stall_keys), '-t', str(opt.stall_seconds)] +
            peer.target())
    finally:
        saves = saver.finish() if saver else []
    run['saves_s'] = saves
    return run


def run_stall(bench):
    """{peer: {'quiet': [...], 'saving': [...]}}; the floor cannot save: it
    shows what the machine alone does to a writer."""
    opt = bench.options
    classes = bench.present('stall', [peers.Floor, peers.Keyfs, peers.Redis])
    dump = bench.make_dump(opt.stall_keys, opt.writers)
    result = {c.name: {'quiet': [], 'saving': []} for c in classes}

    def turn(cls, _):
        for saving in (False, True):
            if saving and cls is peers.Floor:
                continue
            with cls(bench.tools, bench.scratch, None, opt.stall_keys,
                     opt.writers, dump) as peer:
                run = stall_once(bench, peer, saving)
            result[cls.name]['saving' if saving else 'quiet'].append(run)

    bench.rounds('stall', classes, opt.slow_rounds, turn)
    return result


ALL = {'ops': run_ops, 'save': run_save, 'memory': run_memory,
       'stall': run_stall}
