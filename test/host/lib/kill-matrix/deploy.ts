import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Machine } from '../../../../sandbox/machine.ts';
import { type HostProgram, programOf } from '../../../../src/adapters/agent/agent-start.ts';
import { openAgent } from '../../../../src/adapters/agent/open-agent.ts';
import { openGitCode } from '../../../../src/adapters/git-code.ts';
import { supportDirectoryOf } from '../../../../src/config/support-directory.ts';
import { hostProgram } from '../../../../src/generated/host-program.ts';
import type { Plan } from '../../../../src/model/operation.ts';
import type { TransactionMeta } from '../../../../src/model/outcome.ts';
import { type Seconds, seconds } from '../../../../src/model/units.ts';
import { deployWorkerQuery } from '../../../../src/plan/deploy/look.ts';
import { planDeployWorker } from '../../../../src/plan/deploy-worker.ts';
import type { Agent } from '../../../../src/ports/agent.ts';
import type { Parcel } from '../../../../src/ports/code.ts';
import { offerCode } from '../../../../src/use-case/offer-code.ts';
import { supportModuleText } from '../../../../src/use-case/support-module.ts';
import { workerDesired } from '../../../lib/worker-desired.ts';
import { Clone } from '../clone.ts';
import {
  BACKEND,
  type Job,
  leaveUnacked,
  makeJob,
  readJob,
  shell,
  UNIT,
  waitUntil,
} from '../worker.ts';
import { type Case, isFile, type Written } from './cases.ts';

/* The deploy that is cut: each operation that a deploy can have has something to do in it. */

const DESIRED = workerDesired({
  unit: UNIT,
  memoryHighBytes: null,
  longestTaskSeconds: seconds(60),
  minHealthySeconds: seconds(1),
  strays: { graceSeconds: seconds(60) },
  supportModule: { name: 'celeriac_support', text: supportModuleText() },
  supportDirectory: supportDirectoryOf(supportModuleText()),
  restoreUnacked: true,
  soakSeconds: seconds(24 * 3600),
  release: {
    from: { source: 'git', checkout: null, dirtyTree: 'refuse' },
    commit: null,
    dependencies: {
      file: 'backend/requirements.txt',
      tool: 'pip',
      // An emulated machine beside others takes its time.
      timeoutSeconds: seconds(900),
    },
  },
});
const REQUIREMENTS = '--no-index\n--find-links /srv/wheels\nprobe-package==1.0\n';

export const CHECKOUT = '/root/slideshow';
export const SUPPORT = `${DESIRED.supportDirectory}/${DESIRED.supportModule.name}.py`;

/** What `actions/checkout` has for a host: one commit more, which changes all that one can. */
export async function cloneOf(machine: Machine): Promise<Clone> {
  const clone = await Clone.of(machine, CHECKOUT);
  clone.commit('All that a commit can change', {
    'backend/requirements.txt': REQUIREMENTS,
    'backend/new/module.py': 'NEW = True\n',
    'backend/tasks.py': `${clone.read('backend/tasks.py')}# as it is now\n`,
  });
  return clone;
}

// The stray takes no job: who does them is the unit's worker, which is asked by its own name.
const PREPARE = `
systemctl -q disable ${UNIT}
systemctl is-active -q ${UNIT} || systemctl start ${UNIT}
if ! pgrep -xa celery | grep -q -- --pool=solo; then
  cd ${BACKEND}
  nohup setsid celery -A celery_app worker --loglevel=warning --pool=solo -n stray@%h -Q strays >/tmp/celery-stray.log 2>&1 </dev/null &
fi
until [ "$(pgrep -cP "$(systemctl show -P MainPID ${UNIT})")" -ge 1 ]; do sleep 0.1; done
until pgrep -xa celery | grep -q -- --pool=solo; do sleep 0.1; done
`;

// An environment that was put back has no byte code any more: compiling it anew is half of a case.
const KEEP_BYTE_CODE = `
cd /srv/venv
if test -e /var/tmp/byte-code.tar; then tar -xf /var/tmp/byte-code.tar --skip-old-files
else find . -path ./.celeriac -prune -o -name __pycache__ -print0 | tar --null -T - -cf /var/tmp/byte-code.tar
fi
`;

/** Every operation of a deploy has something to do. Returns a job whose message a dead worker had. */
export async function prepare(machine: Machine): Promise<Job> {
  await machine.run(PREPARE + KEEP_BYTE_CODE, { timeoutSeconds: 600 });
  const owed = makeJob(0.1);
  await leaveUnacked(machine, owed);
  // Redis itself forgets the last seconds when the power goes.
  await shell(machine, 'redis-cli save && sync');
  return owed;
}

/** A message that was to be put back is where it was, or its job is done. */
export async function requireOwed(machine: Machine, { id }: Job): Promise<void> {
  const kept = async () => (await shell(machine, `redis-cli hexists unacked tag-${id}`)) === '1';
  const done = async () => (await readJob(machine, id))?.status === 'completed';
  await waitUntil(`the message of ${id} is kept, or done`, async () => (await kept()) || done());
}

// An emulated machine beside others takes its time.
const POLICY = { connectTimeout: seconds(180) };
// A runner that lost its host is gone for good here.
const LIMITS = { reconnect: seconds(0), hello: seconds(300), look: seconds(300) };

/** As an action does, with the program that is given. */
export async function connect(machine: Machine, program: HostProgram): Promise<Agent> {
  const { host, sshPort: port, key, knownHosts } = machine;
  const target = { host, port, user: 'root', key, knownHosts };
  return await openAgent({ target, program, limits: LIMITS, policy: POLICY }, () => {});
}

/** As the action plans: with what its clone brings. */
export async function planOn(
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

export const metaFor = (confirmWithinSeconds: Seconds | null): TransactionMeta => ({
  action: 'deploy-worker',
  holder: 'https://example.com/runs/1',
  sha: '1'.repeat(40),
  unit: UNIT,
  actor: 'somebody',
  lockTimeoutSeconds: seconds(60),
  release: { confirmWithinSeconds },
});

/** How often the guard looks here; a real one's 20 s would be waited for in most of the cases. */
const TICK_SECONDS = 6;

/**
 * The host program with one module more, which its loader calls before the work begins.
 *
 * @param goOnAfter seconds after which the work goes on by itself; 0: when it is told
 */
export function withHalt(each: Case, goOnAfter: number): HostProgram {
  const { index, op, phase } = each;
  const at = isFile(each) ? { index: -1, file: op } : { index, file: '' };
  return withModule({ ...at, phase, seconds: goOnAfter });
}

/** The host program that only tells which files are written, as notes; see {@link readWritten}. */
export const withList = (): HostProgram =>
  withModule({ index: -1, file: null, phase: '', seconds: 0 });

/** A file that {@link withList} tells of; `null`: the note is about something else. */
export function readWritten(note: string): Written | null {
  const found = /^writes (agent|work) (\/.+)$/.exec(note);
  return found === null ? null : { by: found[1] as Written['by'], path: found[2] as string };
}

function withModule(ask: object): HostProgram {
  const halt = readFileSync(join(import.meta.dirname, 'halt.py'), 'utf8');
  const asked = JSON.stringify(ask);
  const call = '    import_module("celeriac_host.transaction.halt").arm(words)\n';
  const [loader, guard] = ['celeriac_host/session/loader.py', 'celeriac_host/transaction/guard.py'];
  return programOf({
    ...modules,
    'celeriac_host/transaction/halt.py': halt.replace('@HALT@', asked),
    [loader]: changed(loader, '    if given.get("HARDENED") is True:\n', (found) => call + found),
    [guard]: changed(guard, 'TICK_SECONDS = 20\n', () => `TICK_SECONDS = ${TICK_SECONDS}\n`),
  });
}

const modules = JSON.parse(hostProgram.json()) as Readonly<Record<string, string>>;

function changed(path: string, found: string, change: (found: string) => string): string {
  const source = modules[path] ?? '';
  if (!source.includes(found)) throw new Error(`${path} has no ${JSON.stringify(found)}`);
  return source.replace(found, change(found));
}
