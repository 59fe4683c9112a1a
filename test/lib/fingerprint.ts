import type { Machine } from '../../sandbox/machine.ts';
import { READ_PROCESSES } from './processes.ts';

/** What must not change: a name for each thing, and what it is. */
export type Fingerprint = Readonly<Record<string, string>>;

const PROGRAM = `${READ_PROCESSES}
import hashlib, json, os, re, sqlite3, subprocess, sys
places, unit, database = json.loads(sys.argv[1])
found = {}
# It writes every minute, beside any run.
SAMPLER = re.compile('/var/lib/celeriac/(?:samples(?:/|$)|sampled/.*[.]seen|sampler[.]lock$)')

def note(path):
    status = os.lstat(path)
    if os.path.isdir(path) and not os.path.islink(path):
        found[path] = 'folder %o %d:%d' % (status.st_mode, status.st_uid, status.st_gid)
    else:
        # Whoever writes, renames or changes the mode moves the time of change.
        target = os.readlink(path) if os.path.islink(path) else status.st_size
        found[path] = '%s, inode %d, changed %d' % (target, status.st_ino, status.st_ctime_ns)

for place in places:
    if os.path.lexists(place):
        note(place)
    for folder, folders, files in os.walk(place):
        folders[:] = [name for name in folders if not name.startswith('systemd-private-')]
        for name in folders + files:
            path = os.path.join(folder, name)
            if not SAMPLER.match(path):
                note(path)

with open('/proc/swaps') as file:
    # Not how much of it is in use.
    found['swaps'] = json.dumps([line.split()[:3] for line in file][1:])
with open('/proc/sys/vm/swappiness') as file:
    found['swappiness'] = file.read().strip()
for process in read_processes().values():
    if 'worker' in process['words']:
        found['process %d' % process['pid']] = '%(command)s, started %(started)s' % process
properties = 'ActiveState,SubState,MainPID,NRestarts,InvocationID,LoadState,UnitFileState,FragmentPath'
shown = subprocess.run(['systemctl', 'show', unit, '-p', properties], stdout=subprocess.PIPE)
found['unit'] = shown.stdout.decode().strip().replace('\\n', ' ')
connection = sqlite3.connect('file:%s?mode=ro' % database, uri=True)
digest = hashlib.sha256('\\n'.join(connection.iterdump()).encode()).hexdigest()
found[database] = 'rows ' + digest
print(json.dumps(found))
`;

/** Everything that a run could have changed on a host; `more` are further files and folders. */
export async function takeFingerprint(
  machine: Machine,
  more: readonly string[] = [],
): Promise<Fingerprint> {
  const places = ['/etc', '/usr/local', '/var/lib/celeriac', '/swapfile', '/tmp', ...more];
  const database = '/root/slideshow/backend/batch_processing.db';
  const question = JSON.stringify([places, 'celery-worker.service', database]);
  const { stdout } = await machine.run(`python3 -I -S - '${question}'`, { input: PROGRAM });
  return JSON.parse(stdout) as Fingerprint;
}
