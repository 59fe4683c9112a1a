import type { Machine } from '../../../../sandbox/machine.ts';
import { shell, UNIT, UNIT_PATH, waitUntil } from '../worker.ts';
import type { Case, Ending } from './cases.ts';
import { CHECKOUT, SUPPORT } from './deploy.ts';
import { boots } from './faults.ts';

/** All that a deploy changes, and all that it must not leave behind, as one JSON object. */
const INSPECT = `
import fcntl, glob, hashlib, json, os, subprocess

def run(*argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, universal_newlines=True).stdout.strip()

def digest(path):
    try:
        with open(path, 'rb') as file:
            return hashlib.sha256(file.read()).hexdigest()
    except FileNotFoundError:
        return None

def is_locked():
    with open('/var/lib/celeriac/lock', 'a') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False

names = ['ActiveState', 'SubState', 'NeedDaemonReload', 'MemoryMax', 'UnitFileState', 'MainPID']
lines = run('systemctl', 'show', '${UNIT}', '-p', ','.join(names)).splitlines()
unit = dict(line.split('=', 1) for line in lines)
main = unit.pop('MainPID')
folders = ['/etc/systemd/system', '/run/systemd/system', '/usr/local/lib/celeriac', '/var/lib/celeriac']
print(json.dumps({
    'text': digest('${UNIT_PATH}'),
    'support': digest('${SUPPORT}'),
    'supportFolder': os.path.exists('/usr/local/lib/celeriac'),
    'code': run('git', '-C', '${CHECKOUT}', 'log', '-1', '--format=%H %D'),
    'dirty': run('git', '-C', '${CHECKOUT}', 'status', '--short'),
    'installed': sorted(glob.glob('/srv/venv/lib/*/site-packages/probe*')),
    'unit': unit,
    'children': len(run('pgrep', '-P', main).split()) if main != '0' else 0,
    'temporary': sorted(each for folder in folders for each in glob.glob(folder + '/**/.*.celeriac-*', recursive=True)),
    'dropIns': sorted(glob.glob('/run/systemd/system/${UNIT}.d/*') + glob.glob('/run/systemd/system.control/${UNIT}.d/*')),
    'scopes': run('systemctl', 'list-units', '--plain', '--no-legend', 'celeriac-*.scope'),
    'locked': is_locked() if os.path.exists('/var/lib/celeriac/lock') else False,
    'armed': os.path.lexists('/etc/systemd/system/timers.target.wants/celeriac-guard.timer'),
    'timer': run('systemctl', 'is-active', 'celeriac-guard.timer') == 'active',
    'sampled': os.path.lexists('/etc/systemd/system/timers.target.wants/celeriac-sampler.timer'),
    'failed': run('systemctl', 'list-units', '--failed', '--plain', '--no-legend'),
}))
`;

export interface Inspected {
  readonly text: string | null;
  readonly support: string | null;
  readonly supportFolder: boolean;
  readonly code: string;
  readonly dirty: string;
  readonly installed: readonly string[];
  readonly unit: Readonly<Record<string, string>>;
  readonly children: number;
  readonly temporary: readonly string[];
  readonly dropIns: readonly string[];
  readonly scopes: string;
  readonly locked: boolean;
  readonly armed: boolean;
  readonly timer: boolean;
  /** Whether the sampler's timer is enabled. */
  readonly sampled: boolean;
  readonly failed: string;
}

/** The host as it was before the deploy, and as a deploy without a fault leaves it. */
export type Ends = Readonly<Record<Ending, Inspected>>;

/** By what is there, not by what Celeriac says of it. */
export async function inspect(machine: Machine): Promise<Inspected> {
  const { stdout } = await machine.run('python3 -I -S -', {
    input: INSPECT,
    // An emulated machine beside others takes its time.
    timeoutSeconds: 300,
  });
  return JSON.parse(stdout) as Inspected;
}

/** What a transaction wrote down, and the ledger's last words, for who looks into a failure. */
export const readJournal = (machine: Machine): Promise<string> =>
  shell(
    machine,
    'cd /var/lib/celeriac/transactions && cat "$(ls -t | head -n 1)/journal.jsonl"; tail -n 3 ../releases.jsonl 2>/dev/null || true',
  );

// Asked on the host, over and over: a connection for each look would cost more than the look.
const AT_REST = `for _ in $(seq 60); do
  ! test -L /etc/systemd/system/timers.target.wants/celeriac-guard.timer &&
    flock -n /var/lib/celeriac/lock true &&
    ! systemctl is-active -q celeriac-guard.service celeriac-guard.timer && exit 0
  sleep 0.25
done
exit 1`;

/** Nobody works, and the guard has found nothing left to look after. */
export async function waitForRest(machine: Machine): Promise<void> {
  await waitUntil('the host is at rest', async () => {
    const { code } = await machine.run(AT_REST, { allowFailure: true, timeoutSeconds: 60 });
    return code === 0;
  });
}

/** @throws Error that tells what is neither as before nor as after, or not as it must be */
export function judge(each: Case, ends: Ends, found: Inspected, journal: string): Ending {
  const ending = (['old', 'new'] as const).find((end) => pick(ends[end]) === pick(found));
  const wrong: string[] = [];
  if (ending === undefined) wrong.push('neither old nor new');
  // The worker was not enabled: until the guard noted how it ran, a boot ends it.
  const forgotten = boots(each.fault) && !journal.includes('"name": "was"');
  const serves = found.unit.ActiveState === 'active' && found.children > 0;
  if (!serves && !forgotten) wrong.push('the worker does not serve');
  if (serves && ending !== undefined && found.unit.MemoryMax !== ends[ending].unit.MemoryMax) {
    wrong.push('MemoryMax');
  }
  if (found.dirty !== '') wrong.push('a dirty tree');
  if (found.unit.NeedDaemonReload !== 'no') wrong.push('NeedDaemonReload');
  if (found.temporary.length > 0 || found.dropIns.length > 0) wrong.push('left behind');
  if (found.scopes !== '' || found.locked) wrong.push('still at work');
  if (found.armed || found.timer) wrong.push('the guard has not left');
  if (found.failed !== ends.old.failed) wrong.push('failed units');
  if (wrong.length > 0 || ending === undefined) {
    throw new Error(`${wrong.join(', ')}: ${JSON.stringify(found, null, 1)}\n${journal}`);
  }
  return ending;
}

const pick = ({
  text,
  support,
  supportFolder,
  code,
  installed,
  unit,
  sampled,
}: Inspected): string =>
  JSON.stringify([text, support, supportFolder, code, installed, unit.UnitFileState, sampled]);
