import type { Machine } from '../../sandbox/machine.ts';
import { BACKEND, SUPPORT, TRANSACTIONS, UNIT, UNIT_PATH } from '../../test/host/lib/worker.ts';
import { CHECKOUT } from './release.ts';

/** The state of a host, read with its own tools, without any code of Celeriac. */
export interface Seen {
  readonly unitText: string;
  /** sha256 by path. */
  readonly dropIns: Readonly<Record<string, string>>;
  /** sha256; null: no such file. */
  readonly support: string | null;
  readonly commit: string;
  readonly branch: string;
  /** The output of `git status`. */
  readonly dirty: string;
  /** Installed versions of the dependency: at most one, unless something is broken. */
  readonly versions: readonly string[];
  readonly show: Readonly<Record<string, string>>;
  readonly children: number;
  /** Whether anything still runs or waits. */
  readonly armed: boolean;
  /** Whether the sampler's timer is enabled, which stays while a release is not proven. */
  readonly sampled: boolean;
  readonly locked: boolean;
  readonly jobs: string;
  readonly active: readonly string[];
  readonly awaiting: readonly string[];
  /** Transaction → the last line of its journal, apart from that it was reported. */
  readonly transactions: Readonly<Record<string, string>>;
  readonly failed: string;
  /** Commands of all processes except those of the worker, the kernel and logins. */
  readonly processes: readonly string[];
  /** All paths except temporary ones. */
  readonly files: readonly string[];
  /** Ids of tasks in a queue, and of tasks that a worker has taken but not acknowledged. */
  readonly queued: readonly string[];
  readonly unacked: readonly string[];
}

const PROGRAM = `
import fcntl, glob, json, os, subprocess, sys

def run(*argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, universal_newlines=True).stdout.strip()

def digest(path):
    return run('sha256sum', '--', path).split(' ')[0] or None

def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ''

def beside_sampler(*argv):
    # It is there every minute, while a release is not proven.
    return [line for line in run('systemctl', '--plain', '--no-legend', *argv).splitlines() if 'celeriac-sampler.' not in line]

def is_locked():
    try:
        with open('/var/lib/celeriac/lock') as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False

NAMES = ['ActiveState', 'SubState', 'NeedDaemonReload', 'MemoryMax', 'UnitFileState', 'MainPID',
         'ControlGroup', 'NRestarts', 'WatchdogUSec']
show = dict(line.split('=', 1) for line in
            run('systemctl', 'show', '${UNIT}', '-p', ','.join(NAMES)).splitlines())

PLACES = ['/etc', '/opt', '/root', '/home', '/srv', '/usr/local', '/usr/lib/systemd', '/var/lib/celeriac', '/', '/tmp', '/var/tmp']
found = []
for place in PLACES if sys.argv[1] == 'all' else ():
    argv = ['find', place, '-xdev'] + (['-maxdepth', '1'] if place in ('/', '/tmp', '/var/tmp') else [])
    found += run(*argv, '!', '-name', '__pycache__', '!', '-name', '*.pyc', '!', '-path', '${CHECKOUT}/.git/*').splitlines()

processes = []
mine = show.get('ControlGroup') or '/none'
for pid in sorted(filter(str.isdigit, os.listdir('/proc')), key=int):
    words = read('/proc/%s/cmdline' % pid).split('\\0')
    group = read('/proc/%s/cgroup' % pid).strip().split('::', 1)[-1]
    if words == [''] or '/user.slice/' in group or group == mine or group.startswith(mine + '/') or group.endswith('/celeriac-sampler.service'):
        continue
    processes.append(' '.join(words).strip())

def ids(texts):
    return sorted(json.loads(text)['headers']['id'] for text in texts if text)

unacked = [json.dumps(json.loads(text)[0]) for text in run('redis-cli', 'hvals', 'unacked').splitlines() if text]
transactions = {}
for folder in sorted(glob.glob('${TRANSACTIONS}/*')):
    # That its end was reported to somebody comes after it.
    lines = [line for line in read(folder + '/journal.jsonl').splitlines() if '"event": "told"' not in line]
    transactions[os.path.basename(folder)] = lines[-1] if lines else ''

print(json.dumps({
    'unitText': read('${UNIT_PATH}'),
    'dropIns': {path: digest(path) for folder in ('/etc/systemd/system', '/run/systemd/system', '/run/systemd/system.control')
                for path in sorted(glob.glob(folder + '/${UNIT}.d/*'))},
    'support': digest('${SUPPORT}'),
    'commit': run('git', '-C', '${CHECKOUT}', 'rev-parse', 'HEAD'),
    'branch': run('git', '-C', '${CHECKOUT}', 'rev-parse', '--abbrev-ref', 'HEAD'),
    'dirty': run('git', '-C', '${CHECKOUT}', 'status', '--porcelain'),
    'versions': sorted(os.path.basename(path)[len('probe_package-'):-len('.dist-info')]
                       for path in glob.glob('/srv/venv/lib/*/site-packages/probe_package-*.dist-info')),
    'show': show,
    'children': len(run('pgrep', '-P', show['MainPID']).split()) if show['MainPID'] != '0' else 0,
    'armed': os.path.lexists('/etc/systemd/system/timers.target.wants/celeriac-guard.timer'),
    'sampled': os.path.lexists('/etc/systemd/system/timers.target.wants/celeriac-sampler.timer'),
    'locked': is_locked(),
    'jobs': '\\n'.join(beside_sampler('list-jobs')),
    'active': beside_sampler('list-units', '--state=active,activating,deactivating', 'celeriac-*'),
    'awaiting': sorted(glob.glob('/var/lib/celeriac/awaiting/*') + glob.glob('/var/lib/celeriac/rolling.json')),
    'transactions': transactions,
    'failed': run('systemctl', 'list-units', '--failed', '--plain', '--no-legend'),
    'processes': processes,
    'files': sorted(set(found)),
    'queued': ids(run('redis-cli', 'lrange', 'celery', '0', '-1').splitlines()),
    'unacked': ids(unacked),
}))
`;

/** `soon`: without the files, for polling. */
export async function look(machine: Machine, how: 'all' | 'soon' = 'all'): Promise<Seen> {
  const { stdout } = await machine.run(`cd ${BACKEND} && python3 -I -S - ${how}`, {
    input: PROGRAM,
    timeoutSeconds: 120,
  });
  return JSON.parse(stdout) as Seen;
}

/** Nothing runs or waits, and systemd has no jobs left. */
export function isAtRest({ armed, locked, jobs, active, show }: Seen): boolean {
  const settled = ['active', 'inactive', 'failed'].includes(show.ActiveState ?? '');
  return !armed && !locked && jobs === '' && active.length === 0 && settled;
}
