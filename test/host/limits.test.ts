import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { deployWorkerDesired } from '../../src/config/deploy-worker-desired.ts';
import { deployWorkerInputs } from '../../src/config/deploy-worker-inputs.ts';
import { readInputs } from '../../src/config/read-inputs.ts';
import type { Operation, Plan } from '../../src/model/operation.ts';
import type { Outcome } from '../../src/model/outcome.ts';
import { deployWorkerQuery } from '../../src/plan/deploy/look.ts';
import { planDeployWorker } from '../../src/plan/deploy-worker.ts';
import { supportModuleText } from '../../src/use-case/support-module.ts';
import { Hand, META } from './lib/hand.ts';
import { type Inputs, inputsFor } from './lib/inputs.ts';
import { BACKEND, show, UNIT, UNIT_PATH } from './lib/worker.ts';

const unitOf = (options: string): string => `[Service]
User=root
WorkingDirectory=${BACKEND}
ExecStart=/usr/bin/celery -A celery_app worker ${options}
KillMode=mixed

[Install]
WantedBy=multi-user.target
`;

/** A memory of its own, as lxcfs shows it to a container: 4 GiB, of which 3 GiB are available. */
const MEMINFO = `MemTotal:        4194304 kB
MemFree:         2000000 kB
MemAvailable:    3145728 kB
SwapTotal:             0 kB
SwapFree:              0 kB
`;

let machine: Machine;
let hand: Hand;

beforeAll(async () => {
  machine = await startMachine({ name: 'limits', state: 'healthy' });
});

beforeEach(async () => {
  await machine.reset();
  hand = await Hand.open(machine);
});

afterEach(() => hand?.agent.close());
afterAll(() => machine?.stop());

/** Starts a worker without a limit, and waits for its children. */
async function install(options: string, children = 0): Promise<void> {
  await machine.writeFile(UNIT_PATH, unitOf(options));
  await hand.shell(`systemctl daemon-reload && systemctl restart ${UNIT}`);
  const count = `pgrep -cP "$(systemctl show -P MainPID ${UNIT})"`;
  await hand.shell(
    `for _ in $(seq 300); do [ "$(${count})" -ge ${children} ] && exit; sleep 0.2; done; exit 1`,
  );
}

async function plan(inputs: Inputs = {}): Promise<Plan> {
  const quick = { 'min-healthy-time': '1s', 'start-timeout': '3m', ...inputs };
  const given: Inputs = inputsFor(machine, quick);
  const values = readInputs(deployWorkerInputs, (name) => given[name] ?? '', new Map());
  const desired = deployWorkerDesired(values, supportModuleText());
  return planDeployWorker(await hand.agent.look(deployWorkerQuery(desired)), desired);
}

const apply = (operations: readonly Operation[]): Promise<Outcome> =>
  hand.agent.apply(operations as Operation[], META, () => {});

const messages = ({ findings }: Plan): string => findings.map(({ message }) => message).join('\n');

test('a pool of 500 keeps its concurrency, and gets no limit where the memory is not known', {
  tags: ['nightly'],
}, async () => {
  await install('-P threads -c 500');
  const made = await plan();
  const outcome = await apply(made.operations);
  expect(outcome.result, JSON.stringify(outcome, null, 1)).toBe('committed');
  expect(messages(made)).toContain('no memory limit is set: this host is a container');
  expect(await machine.readFile(UNIT_PATH)).toContain(
    'worker -P threads -c 500 -I celeriac_support\n',
  );
  expect(await show(machine, 'MemoryMax', 'MemoryHigh', 'SubState')).toEqual({
    MemoryMax: 'infinity',
    MemoryHigh: 'infinity',
    SubState: 'running',
  });
  expect((await plan()).operations).toEqual([]);
});

test('a unit without a limit gets one that fits the host, once', async () => {
  await machine.writeFile('/root/meminfo', MEMINFO);
  await hand.shell('mount --bind /root/meminfo /proc/meminfo');
  await install('-c 2', 2);
  const made = await plan();
  expect(messages(made)).toMatch(
    /had no memory limit and gets MemoryMax= .*: 4 GiB of memory − 410 MiB for the system − \d+ MiB in use by others.*; at least 1\.5 × \(\d+(?:\.\d)? MiB \+ 2 × \d+(?:\.\d)? MiB\) = \d+ MiB\. There is no swap, so MemoryHigh= is not set/,
  );
  const outcome = await apply(made.operations);
  expect(outcome.result, JSON.stringify(outcome, null, 1)).toBe('committed');
  const text = await machine.readFile(UNIT_PATH);
  const [, mebibytes = ''] = /^MemoryMax=(\d+)M$/m.exec(text) ?? [];
  expect(Number(mebibytes)).toBeGreaterThan(500);
  expect(Number(mebibytes)).toBeLessThan(4096 - 410);
  expect(text).not.toContain('MemoryHigh');
  expect(text).toContain('worker -c 2 -I celeriac_support\n');
  const shown = await show(machine, 'MemoryMax', 'SubState');
  expect(shown).toEqual({ MemoryMax: String(Number(mebibytes) * 1024 ** 2), SubState: 'running' });
  expect((await plan()).operations).toEqual([]);
});

test('an app is asked for its visibility timeout, and a worker that purges is refused', async () => {
  const tried = async (inputs: Inputs): Promise<Outcome> => {
    const { operations } = await plan({ restart: 'always', ...inputs });
    return apply(operations.slice(0, operations.findIndex(({ op }) => op === 'try-app') + 1));
  };
  const said = ({ steps }: Outcome) => steps.at(-1)?.message ?? '';
  expect(await tried({ 'longest-task': '1h' })).toMatchObject({ result: 'committed' });

  const short = await tried({ 'longest-task': '2h' });
  expect(short.result).toBe('undone');
  expect(short.failure?.message).toContain(
    'its visibility timeout is 60 min (the default), but longest-task is 120 min',
  );
  expect(short.failure?.evidence?.join('\n')).toContain("{'visibility_timeout': 7260}");

  const config = `${BACKEND}/celery_config.py`;
  await hand.shell(`echo "broker_transport_options = {'visibility_timeout': 600}" >>${config}`);
  const own = await tried({});
  expect(own.failure?.message).toContain('10 min (broker_transport_options)');
  const accepted = await tried({ 'accept-rules': 'visibility-timeout' });
  expect(accepted.result).toBe('committed');
  expect(said(accepted)).toContain('its visibility timeout is 10 min');

  const file = '/root/worker.env';
  await machine.writeFile(file, 'WORKER_OPTS="-c 1 --purge"\n');
  await install(`$WORKER_OPTS\nEnvironmentFile=${file}`);
  const purging = await tried({ 'accept-rules': 'visibility-timeout' });
  expect(purging.failure?.message).toContain('WORKER_OPTS contains --purge: every restart');
  const both = await tried({ 'accept-rules': 'visibility-timeout, purge' });
  expect(both.result).toBe('committed');

  await install('-c 1 --purge');
  await expect(plan()).rejects.toThrow(/a start of the worker empties its queues/);
});
