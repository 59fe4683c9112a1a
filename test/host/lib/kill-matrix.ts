import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Machine, startMachine } from '../../../sandbox/machine.ts';
import { offerCode } from '../../../src/action/offer-code.ts';
import { supportModuleText } from '../../../src/action/support-module.ts';
import { openGitCode } from '../../../src/adapters/git-code.ts';
import { openAgent } from '../../../src/adapters/ssh-agent-session.ts';
import { hostProgram } from '../../../src/generated/host-program.ts';
import type { Plan } from '../../../src/model/operation.ts';
import type { Outcome, TransactionMeta } from '../../../src/model/outcome.ts';
import { seconds } from '../../../src/model/units.ts';
import { deployWorkerQuery, planDeployWorker } from '../../../src/plan/deploy-worker.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import type { Parcel } from '../../../src/ports/code.ts';
import { workerDesired } from '../../lib/worker-desired.ts';
import { Clone } from './clone.ts';
import {
  BACKEND,
  completeJob,
  DATABASE,
  type Job,
  leaveUnacked,
  makeJob,
  readJob,
  shell,
  UNIT,
  UNIT_PATH,
  waitUntil,
} from './worker.ts';

/** Where the work stands when the fault comes. */
export const PHASES = ['before', 'in', 'unsaid', 'after'] as const;
export type Phase = (typeof PHASES)[number];

/** What happens then. */
export const FAULTS = [
  'work-killed',
  'runner-killed',
  'all-killed',
  'link-cut',
  'reboot',
  'power-cut',
  'disk-full',
  'state-full',
] as const;
export type Fault = (typeof FAULTS)[number];

/** What a transaction does after its operations: a row of the matrix like theirs. */
const RELEASE = 'release';

export interface Case {
  /** Of the operation in the plan; their number: the release. */
  readonly index: number;
  readonly op: string;
  readonly phase: Phase;
  readonly fault: Fault;
}

export const nameOf = ({ op, index, phase, fault }: Case): string =>
  `${fault}, ${phase} ${op} (${index})`;

/** Every operation of the plan × every phase × every fault. */
export function allCases(plan: Plan): readonly Case[] {
  return opsOf(plan).flatMap((op, index) =>
    PHASES.flatMap((phase) => FAULTS.map((fault) => ({ index, op, phase, fault }))),
  );
}

/** One for each fault, spread over the operations: as many as a test run has time for. */
export function someCases(plan: Plan): readonly Case[] {
  const ops = opsOf(plan);
  return FAULTS.map((fault, at) => {
    // From the first operation to the release at the end.
    const index = Math.round((at * (ops.length - 1)) / (FAULTS.length - 1));
    const phase = PHASES[(at + Math.floor(at / PHASES.length)) % PHASES.length] as Phase;
    return { index, op: ops[index] as string, phase, fault };
  });
}

const opsOf = ({ operations }: Plan): readonly string[] => [
  ...operations.map(({ op }) => op),
  RELEASE,
];

const DESIRED = workerDesired({
  unit: UNIT,
  memoryHighBytes: null,
  longestTaskSeconds: seconds(60),
  minHealthySeconds: seconds(2),
  strays: { graceSeconds: seconds(60) },
  supportModule: { name: 'celeriac_support', text: supportModuleText() },
  orphanedJobs: {
    action: 'fail',
    database: DATABASE,
    keepBackups: 2,
    busyTimeoutSeconds: seconds(10),
    runUrl: null,
  },
  restoreUnacked: true,
  release: {
    from: { source: 'git', checkout: null, dirtyTree: 'refuse' },
    commit: null,
    dependencies: {
      file: 'backend/requirements.txt',
      tool: 'pip',
      timeoutSeconds: seconds(150),
    },
  },
});
const CHECKOUT = '/root/slideshow';
const REQUIREMENTS = '--no-index\n--find-links /srv/wheels\nprobe-package==1.0\n';
const SUPPORT = `${DESIRED.supportDirectory}/${DESIRED.supportModule.name}.py`;

/** Short: who is gone never confirms. */
const UNCONFIRMED = seconds(5);
/** Who is there has that long to confirm. */
const CONFIRMED = seconds(60);
/** The work goes on by itself, where nothing can be told to it. */
const LINK_CUT_SECONDS = 6;

/** A job that a crash left "processing", and no message for it anywhere. */
const ORPHAN = '0f0f0f0f-0000-4000-8000-000000000000';

/** Every operation of a deploy has something to do on this host. */
const PREPARE = `
systemctl -q disable ${UNIT}
systemctl is-active -q ${UNIT} || systemctl start ${UNIT}
sqlite3 -cmd '.timeout 5000' ${DATABASE} "INSERT OR IGNORE INTO jobs (id, status, celery_task_id, started_at)
  VALUES ('${ORPHAN}', 'processing', '${ORPHAN}', CURRENT_TIMESTAMP)"
if ! pgrep -xa celery | grep -q -- --pool=solo; then
  cd ${BACKEND}
  nohup setsid celery -A celery_app worker --loglevel=warning --pool=solo >/tmp/celery-stray.log 2>&1 </dev/null &
fi
until [ "$(pgrep -cP "$(systemctl show -P MainPID ${UNIT})")" -ge 1 ]; do sleep 0.5; done
until pgrep -xa celery | grep -q -- --pool=solo; do sleep 0.5; done
`;

/** All that a deploy changes, and all that it must not leave behind, as one JSON object. */
const INSPECT = `
import fcntl, glob, hashlib, json, os, sqlite3, subprocess

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
folders = ['/etc/systemd/system', '/usr/local/lib/celeriac', '/var/lib/celeriac', '/etc/systemd/system/*']
print(json.dumps({
    'text': digest('${UNIT_PATH}'),
    'support': digest('${SUPPORT}'),
    'supportFolder': os.path.exists('/usr/local/lib/celeriac'),
    'code': run('git', '-C', '${CHECKOUT}', 'log', '-1', '--format=%H %D'),
    'dirty': run('git', '-C', '${CHECKOUT}', 'status', '--short'),
    'installed': sorted(glob.glob('/srv/venv/lib/*/site-packages/probe*')),
    'orphan': sqlite3.connect('${DATABASE}', timeout=20).execute("SELECT status FROM jobs WHERE id = '${ORPHAN}'").fetchone(),
    'unit': unit,
    'children': len(run('pgrep', '-P', main).split()) if main != '0' else 0,
    'temporary': sorted(each for folder in folders for each in glob.glob(folder + '/.*.celeriac-*')),
    'dropIns': sorted(glob.glob('/run/systemd/system/${UNIT}.d/*') + glob.glob('/run/systemd/system.control/${UNIT}.d/*')),
    'scopes': run('systemctl', 'list-units', '--plain', '--no-legend', 'celeriac-*.scope'),
    'locked': is_locked() if os.path.exists('/var/lib/celeriac/lock') else False,
    'armed': os.path.lexists('/etc/systemd/system/timers.target.wants/celeriac-guard.timer'),
    'timer': run('systemctl', 'is-active', 'celeriac-guard.timer') == 'active',
    'failed': run('systemctl', 'list-units', '--failed', '--plain', '--no-legend'),
}))
`;

interface Inspected {
  readonly text: string | null;
  readonly support: string | null;
  readonly supportFolder: boolean;
  readonly code: string;
  readonly dirty: string;
  readonly installed: readonly string[];
  readonly orphan: readonly string[];
  readonly unit: Readonly<Record<string, string>>;
  readonly children: number;
  readonly temporary: readonly string[];
  readonly dropIns: readonly string[];
  readonly scopes: string;
  readonly locked: boolean;
  readonly armed: boolean;
  readonly timer: boolean;
  readonly failed: string;
}

export type Ending = 'old' | 'new';

export interface Verdict {
  readonly ending: Ending;
  /** What the run itself was told, where there still was one. */
  readonly told: string;
}

/** One host, brought into the same state for each case. */
export class KillMatrix {
  readonly machine: Machine;
  readonly plan: Plan;
  readonly #clone: Clone;
  readonly #old: Inspected;
  readonly #new: Inspected;
  #dirty = true;

  private constructor(rig: Rig, plan: Plan, old: Inspected, next: Inspected) {
    this.machine = rig.machine;
    this.#clone = rig.clone;
    this.plan = plan;
    this.#old = old;
    this.#new = next;
  }

  /** Deploys once without a fault: that is what `new` looks like. */
  static async start(name: string): Promise<KillMatrix> {
    const machine = await startMachine({ name, state: 'environment' });
    const clone = await Clone.of(machine, CHECKOUT);
    clone.commit('All that a commit can change', {
      'backend/requirements.txt': REQUIREMENTS,
      'backend/new/module.py': 'NEW = True\n',
      'backend/tasks.py': `${clone.read('backend/tasks.py')}# as it is now\n`,
    });
    await prepare(machine);
    const old = await inspect(machine);
    await using agent = await connect(machine, hostProgram);
    const { plan, parcels } = await planOn(agent, clone);
    for (const parcel of parcels) await agent.send(parcel, () => {});
    const { result, failure } = await agent.apply(plan.operations, metaFor(null), () => {});
    if (result !== 'committed') throw new Error(`without a fault: ${JSON.stringify(failure)}`);
    return new KillMatrix({ machine, clone }, plan, old, await inspect(machine));
  }

  async stop(): Promise<void> {
    this.#clone[Symbol.dispose]();
    await this.machine.stop();
  }

  /** @throws Error that tells how the host ended neither old nor new, or not whole */
  async run(each: Case): Promise<Verdict> {
    try {
      if (this.#dirty) await this.machine.reset();
      const owed = await prepare(this.machine);
      if (each.fault === 'state-full') {
        await shell(
          this.machine,
          'mkdir -p /var/lib/celeriac; mount -t tmpfs -o size=64M,mode=700 none /var/lib/celeriac',
        );
      }
      this.#dirty = true;
      const verdict = await this.#provoke(each);
      await requireOwed(this.machine, owed);
      // What ended old is as it was, and good enough for the next one: that is the claim.
      this.#dirty = verdict.ending === 'new' || each.fault === 'state-full';
      return verdict;
    } catch (error) {
      this.#dirty = true;
      throw new Error(`${nameOf(each)}: ${error instanceof Error ? error.message : error}`);
    }
  }

  async #provoke(each: Case): Promise<Verdict> {
    const { machine } = this;
    const lasts = each.fault === 'disk-full' || each.fault === 'state-full';
    const stays = lasts || each.fault === 'work-killed';
    const runner = await connect(machine, withHalt(each));
    const { plan, parcels } = await planOn(runner, this.#clone);
    for (const parcel of parcels) await runner.send(parcel, () => {});
    const halted = Promise.withResolvers<void>();
    const running = runner.apply(
      plan.operations,
      metaFor(stays ? CONFIRMED : UNCONFIRMED),
      (said) => {
        if (said.kind === 'note' && said.message.startsWith('halted at ')) halted.resolve();
      },
    );
    const ended = running.then(
      (outcome) => outcome,
      () => null,
    );
    await Promise.race([halted.promise, ended.then((outcome) => refuseEnd(outcome))]);
    await strike(machine, each.fault, runner);
    const outcome = stays ? await ended : null;
    let told = outcome === null ? 'gone' : outcome.result;
    if (outcome?.result === 'committed') {
      const confirmed = await runner
        .confirm(UNIT, [outcome.transaction], metaFor(null))
        .catch((error: Error) => error.message);
      if (confirmed !== true) told = `committed, not confirmed: ${confirmed}`;
    }
    await runner.close().catch(() => {});
    await waitUntil('the host is at rest', () => isAtRest(machine), 300);
    const found = await inspect(machine);
    const ending = this.#judge(each, found, await readJournal(machine));
    if (lasts) await shell(machine, 'rm -f /ballast /var/lib/celeriac/ballast');
    if (found.unit.ActiveState === 'active') await completeJob(machine);
    await this.#requireTold(ending, stays);
    return { ending, told };
  }

  #judge(each: Case, found: Inspected, journal: string): Ending {
    const pick = ({ text, support, supportFolder, code, installed, orphan, unit }: Inspected) =>
      JSON.stringify([text, support, supportFolder, code, installed, orphan, unit.UnitFileState]);
    const ending = [this.#old, this.#new].find((end) => pick(end) === pick(found));
    const wrong: string[] = [];
    if (ending === undefined) wrong.push('neither old nor new');
    // The worker was not enabled: until the guard noted how it ran, a boot ends it.
    const booted = each.fault === 'reboot' || each.fault === 'power-cut';
    const forgotten = booted && !journal.includes('"name": "was"');
    const serves = found.unit.ActiveState === 'active' && found.children > 0;
    if (!serves && !forgotten) wrong.push('the worker does not serve');
    if (serves && found.unit.MemoryMax !== ending?.unit.MemoryMax) wrong.push('MemoryMax');
    if (found.dirty !== '') wrong.push('a dirty tree');
    if (found.unit.NeedDaemonReload !== 'no') wrong.push('NeedDaemonReload');
    if (found.temporary.length > 0 || found.dropIns.length > 0) wrong.push('left behind');
    if (found.scopes !== '' || found.locked) wrong.push('still at work');
    if (found.armed || found.timer) wrong.push('the guard has not left');
    if (found.failed !== this.#old.failed) wrong.push('failed units');
    if (wrong.length > 0 || ending === undefined) {
      throw new Error(`${wrong.join(', ')}: ${JSON.stringify(found, null, 1)}\n${journal}`);
    }
    return ending === this.#old ? 'old' : 'new';
  }

  /** The next run's report, and the ledger. */
  async #requireTold(ending: Ending, stays: boolean): Promise<void> {
    await using agent = await connect(this.machine, hostProgram);
    const { findings, operations } = (await planOn(agent, this.#clone)).plan;
    const { transactions, releases } = await agent.look({
      transactions: { unit: UNIT },
      releases: { unit: UNIT },
    });
    const [newest, release] = [transactions.at(-1), releases.releases.at(-1)];
    const said = JSON.stringify({ findings, newest, releases }, null, 1);
    if (releases.awaiting !== null) throw new Error(`a verdict is still awaited: ${said}`);
    if (newest?.state !== (ending === 'new' ? 'committed' : 'undone')) {
      throw new Error(`ended ${ending}, and the host says otherwise: ${said}`);
    }
    if (ending === 'new') {
      if (release?.verdict !== 'confirmed') throw new Error(`not confirmed: ${said}`);
      if (operations.length > 0) throw new Error(`new, and not as asked: ${said}`);
      return;
    }
    if (release?.transaction === newest.id && release.verdict !== 'rolled-back') {
      throw new Error(`the ledger tells of a release that is gone: ${said}`);
    }
    const tells = findings.some(({ message }) => message.includes('put back by the host itself'));
    if (!stays && !tells) throw new Error(`the next run does not tell: ${said}`);
  }
}

/** A machine, and what `actions/checkout` has for it. */
interface Rig {
  readonly machine: Machine;
  readonly clone: Clone;
}

/** Returns a job whose message a dead worker had. */
async function prepare(machine: Machine): Promise<Job> {
  await machine.run(PREPARE, { timeoutSeconds: 120 });
  const owed = makeJob(0.1);
  await leaveUnacked(machine, owed);
  // Redis itself forgets the last seconds when the power goes.
  await shell(machine, 'redis-cli save && sync');
  return owed;
}

/** A message that was to be put back is where it was, or its job is done. */
async function requireOwed(machine: Machine, { id }: Job): Promise<void> {
  const kept = async () => (await shell(machine, `redis-cli hexists unacked tag-${id}`)) === '1';
  const done = async () => (await readJob(machine, id))?.status === 'completed';
  await waitUntil(`the message of ${id} is kept, or done`, async () => (await kept()) || done());
}

async function connect(machine: Machine, program: typeof hostProgram): Promise<Agent> {
  const { host, sshPort: port, key, knownHosts } = machine;
  const target = { host, port, user: 'root', key, knownHosts };
  // A runner that lost its host is gone for good here.
  return await openAgent({ target, program, limits: { reconnect: seconds(0) } }, () => {});
}

/** As the action plans: with what its clone brings. */
async function planOn(
  agent: Agent,
  clone: Clone,
): Promise<{ readonly plan: Plan; readonly parcels: readonly Parcel[] }> {
  const facts = await agent.look(deployWorkerQuery(DESIRED));
  const code = openGitCode(clone.folder);
  const head = clone.git('rev-parse', 'HEAD');
  const brought = await offerCode(code, DESIRED.release, facts.release, head);
  const plan = planDeployWorker(facts, DESIRED, brought?.offer ?? null);
  return { plan, parcels: brought?.parcels ?? [] };
}

const metaFor = (confirmWithinSeconds: typeof CONFIRMED | null): TransactionMeta => ({
  action: 'deploy-worker',
  holder: 'https://example.com/runs/1',
  sha: '1'.repeat(40),
  unit: UNIT,
  actor: 'somebody',
  lockTimeoutSeconds: seconds(60),
  release: { confirmWithinSeconds },
});

/** The host program with one module more, which its loader calls before the work begins. */
function withHalt({ index, phase, fault }: Case): typeof hostProgram {
  const halt = { index, phase, seconds: fault === 'link-cut' ? LINK_CUT_SECONDS : 0 };
  const source = readFileSync(join(import.meta.dirname, 'halt.py'), 'utf8');
  const loader = hostProgram['celeriac_host/loader.py'] ?? '';
  const at = '    if words:\n';
  if (!loader.includes(at)) throw new Error('the loader has no place for the halt');
  const call = '    importlib.import_module("celeriac_host.halt").arm(words)\n';
  return {
    ...hostProgram,
    'celeriac_host/halt.py': source.replace('@HALT@', JSON.stringify(halt)),
    'celeriac_host/loader.py': loader.replace(at, call + at),
  };
}

function refuseEnd(outcome: Outcome | null): never {
  throw new Error(`it ended before the fault: ${JSON.stringify(outcome, null, 1)}`);
}

const SCOPES =
  "$(systemctl list-units --plain --no-legend 'celeriac-*.scope' | cut -d' ' -f1 | grep .)";
const GO_ON = `systemctl kill -s CONT ${SCOPES}`;
const KILL_WORK = `systemctl kill -s KILL ${SCOPES}`;

async function strike(machine: Machine, fault: Fault, runner: Agent): Promise<void> {
  switch (fault) {
    case 'work-killed':
      await shell(machine, KILL_WORK);
      return;
    case 'runner-killed':
      await shell(machine, `${killRunner(runner)}; ${GO_ON}`);
      return;
    case 'all-killed':
      await shell(machine, `${killRunner(runner)}; ${KILL_WORK}`);
      return;
    case 'link-cut':
      await machine.cutLink();
      await runner.close().catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 2 * LINK_CUT_SECONDS * 1000));
      await machine.restoreLink();
      return;
    case 'reboot':
      await machine.rebootAtOnce();
      return;
    case 'power-cut':
      await machine.crash();
      return;
    case 'disk-full':
      await shell(machine, `${fill('/ballast')}; ${GO_ON}`);
      return;
    case 'state-full':
      await shell(machine, `${fill('/var/lib/celeriac/ballast')}; ${GO_ON}`);
      return;
  }
}

/** The agent, and the process of sshd that carries its connection. */
const killRunner = ({ hello: { pid } }: Agent): string =>
  `pid=${pid}; until [ "$(cat /proc/$pid/comm)" = sshd ]; do pid=$(awk '/^PPid/ { print $2 }' /proc/$pid/status); done; kill -KILL ${pid} $pid`;

/** To the last block, also those that only root may take. */
const fill = (path: string): string => `python3 -I -S -c '
import os
handle, size, at = os.open("${path}", os.O_WRONLY | os.O_CREAT), 1 << 30, 0
while size >= 4096:
    try:
        os.posix_fallocate(handle, at, size)
        at += size
    except OSError:
        at = os.fstat(handle).st_size
        size //= 2
'; sync -f ${path}`;

async function inspect(machine: Machine): Promise<Inspected> {
  const { stdout } = await machine.run('python3 -I -S -', {
    input: INSPECT,
    timeoutSeconds: 60,
  });
  return JSON.parse(stdout) as Inspected;
}

/** Nobody works, and the guard has found nothing left to look after. */
async function isAtRest(machine: Machine): Promise<boolean> {
  const { code } = await machine.run(
    '! test -L /etc/systemd/system/timers.target.wants/celeriac-guard.timer && flock -n /var/lib/celeriac/lock true && ! systemctl is-active -q celeriac-guard.service celeriac-guard.timer',
    { allowFailure: true, timeoutSeconds: 60 },
  );
  return code === 0;
}

const readJournal = (machine: Machine): Promise<string> =>
  shell(
    machine,
    'cd /var/lib/celeriac/transactions && cat "$(ls -t | head -n 1)/journal.jsonl"; tail -n 3 ../releases.jsonl 2>/dev/null || true',
  );
