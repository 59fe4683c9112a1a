import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { deployWorkerDesired } from '../../src/config/deploy-worker-desired.ts';
import { deployWorkerInputs } from '../../src/config/deploy-worker-inputs.ts';
import { readInputs } from '../../src/config/read-inputs.ts';
import type { Operation, Plan } from '../../src/model/operation.ts';
import type { Outcome } from '../../src/model/outcome.ts';
import { deployWorkerQuery } from '../../src/plan/deploy/look.ts';
import { planDeployWorker } from '../../src/plan/deploy-worker.ts';
import { parseUnitFile } from '../../src/systemd/unit-file.ts';
import { lookAtPrograms } from '../../src/use-case/look-at-programs.ts';
import { supportModuleText } from '../../src/use-case/support-module.ts';
import { Hand, META } from './lib/hand.ts';
import { type Inputs, inputsFor, taskListLimits } from './lib/inputs.ts';
import { BACKEND, completeJob, show, UNIT, UNIT_PATH } from './lib/worker.ts';

const DROP_INS = `${UNIT_PATH}.d`;
const TEMPLATE = '/etc/systemd/system/celery@.service';

/** An instance consumes the queue of its own name. */
const TEMPLATE_TEXT = `[Unit]
Description=Celery worker %i

[Service]
User=root
WorkingDirectory=${BACKEND}
ExecStart=/bin/sh -c 'celery -A celery_app worker -c 2 -Q %i -n %i@%%h'
KillMode=mixed

[Install]
WantedBy=multi-user.target
`;

let machine: Machine;
let hand: Hand;

let isFresh = true;

beforeAll(async () => {
  machine = await startMachine({ name: 'worker-unit', state: 'healthy' });
});

beforeEach(async () => {
  if (!isFresh) await machine.reset();
  isFresh = false;
  hand = await Hand.open(machine);
  await machine.writeFile(TEMPLATE, TEMPLATE_TEXT);
  await hand.shell('systemctl daemon-reload && systemctl start celery@one celery@two');
});

afterEach(() => hand?.agent.close());

afterAll(() => machine?.stop());

async function plan(inputs: Inputs): Promise<Plan> {
  const quick = {
    ...taskListLimits,
    'min-healthy-time': '1s',
    'start-timeout': '3m',
    ...inputs,
  };
  const given: Inputs = inputsFor(machine, quick);
  const values = readInputs(deployWorkerInputs, (name) => given[name] ?? '', new Map());
  const desired = deployWorkerDesired(values, supportModuleText());
  const facts = await hand.agent.look(deployWorkerQuery(desired));
  return planDeployWorker(await lookAtPrograms(hand.agent, facts), desired);
}

/** Plans and applies; a second plan must find nothing left to do. */
async function deploy(
  inputs: Inputs,
): Promise<{ readonly plan: Plan; readonly outcome: Outcome; readonly ops: readonly string[] }> {
  const made = await plan(inputs);
  const outcome = await hand.agent.apply(made.operations as Operation[], META, () => {});
  expect(outcome.result, JSON.stringify(outcome, null, 1)).toBe('committed');
  expect((await plan(inputs)).operations).toEqual([]);
  return { plan: made, outcome, ops: made.operations.map(({ op }) => op) };
}

/** Every file that systemd reads, and the main process of every worker, but those of one unit. */
async function others(unit: string): Promise<string> {
  const files = `cd /etc/systemd/system && find . -type f ! -path './${unit}*' ! -name 'celeriac-guard.*' ! -name 'celeriac-sampler.*' | sort | xargs sha256sum`;
  const services = [UNIT, 'celery@one.service', 'celery@two.service', 'slideshow-web.service'];
  const beside = services.filter((each) => each !== unit).join(' ');
  return hand.shell(`${files}; systemctl show -p Id,MainPID,InvocationID,MemoryMax ${beside}`);
}

test('every unit that Debian ships prints as it was read', async () => {
  const reads = `python3 -c '
import glob, json
paths = glob.glob("/lib/systemd/system/**/*", recursive=True)
files = {}
for path in paths:
    try:
        files[path] = open(path, "rb").read().decode("utf-8")
    except IsADirectoryError:
        pass
print(json.dumps(files))'`;
  const files: Record<string, string> = JSON.parse(await hand.shell(reads));
  const texts = Object.entries(files).filter(([, text]) => text !== '');
  expect(texts.length).toBeGreaterThan(100);
  for (const [path, text] of texts) {
    const file = parseUnitFile(text);
    expect(file.print(), path).toBe(text);
    expect(
      file.entries.filter(({ kind }) => kind === 'junk'),
      path,
    ).toEqual([]);
  }
});

/** What `systemctl edit` makes. */
const OVERRIDE = `${DROP_INS}/override.conf`;
async function edit(): Promise<void> {
  await hand.shell(`mkdir ${DROP_INS}`);
  await machine.writeFile(OVERRIDE, '[Service]\nMemoryMax=2G\nNice=3\n');
  await hand.shell('systemctl daemon-reload');
}

const IN_DROP_IN = { 'unit-mode': 'drop-in', hardening: 'standard' };

test('a hardened drop-in overrides the others, and its worker keeps working', async () => {
  await edit();
  const file = await machine.readFile(UNIT_PATH);
  const before = await others(UNIT);

  const { outcome, ops } = await deploy(IN_DROP_IN);
  expect(ops.slice(0, 5)).toEqual([
    'verify-unit',
    'guard-unit',
    'write-file',
    'install-unit',
    'try-app',
  ]);
  expect(await machine.readFile(UNIT_PATH)).toBe(file);
  expect(await hand.shell(`ls ${DROP_INS}`)).toBe('override.conf\nzz-celeriac.conf');
  expect(
    await show(machine, 'MemoryMax', 'Nice', 'Type', 'PrivateTmp', 'ProtectSystem', 'NRestarts'),
  ).toEqual({
    MemoryMax: String(800 * 1024 ** 2),
    Nice: '3',
    Type: 'notify',
    PrivateTmp: 'yes',
    ProtectSystem: 'strict',
    NRestarts: '0',
  });
  const proof = outcome.steps.find(({ op }) => op === 'prove-unit');
  const exposure = proof?.result?.exposure as { before: number; after: number };
  expect(exposure.after).toBeLessThan(exposure.before);
  expect(proof?.message).toContain(`exposure ${exposure.before} → ${exposure.after}`);
  // The job writes to the database and, as the profile wants it, to nothing outside.
  await completeJob(machine);
  const main = (await show(machine, 'MainPID')).MainPID;
  const inside = `nsenter -t ${main} -m sh -c 'touch ${BACKEND}/x && rm ${BACKEND}/x && ! touch /etc/x'`;
  await hand.shell(`${inside} 2>/dev/null`);
  expect(await others(UNIT)).toBe(before);
});

test('an instance is changed by its own drop-in, and deleting that undoes it', {
  tags: ['nightly'],
}, async () => {
  const unit = 'celery@one.service';
  const before = await others(unit);
  const { plan: made } = await deploy({ unit, 'memory-max': '300M', 'memory-high': 'off' });
  expect(made.findings.map(({ message }) => message)).toEqual(
    expect.arrayContaining([
      expect.stringMatching(/^celery@one.service is an instance of .*celery@.service/),
      expect.stringMatching(/^a shell runs between .*The new unit fixes it/),
    ]),
  );
  const limits = () => hand.shell(`systemctl show -P MemoryMax -P KillMode ${unit}`);
  expect(await limits()).toBe(`${300 * 1024 ** 2}\nmixed`);
  const main = await hand.shell(`systemctl show -P MainPID ${unit}`);
  expect(await hand.shell(`tr '\\0' ' ' </proc/${main}/cmdline`)).toMatch(
    /celery -A celery_app worker -c 1 -Q one -n one@%h -I celeriac_support /,
  );
  expect(await others(unit)).toBe(before);

  await hand.shell(
    `rm /etc/systemd/system/${unit}.d/celeriac.conf && systemctl daemon-reload && systemctl stop ${unit}`,
  );
  expect(await limits()).toBe('infinity\nmixed');
  expect(await others(unit)).toBe(before);
});

test('rewriting the unit file instead, then a drop-in again: the same host', {
  tags: ['nightly'],
}, async () => {
  await edit();
  await deploy(IN_DROP_IN);
  await expect(plan({ hardening: 'standard' })).rejects.toThrow(
    /override.conf:2 sets MemoryMax=2G, which overrides .*celery-worker.service/,
  );
  await hand.shell(`rm ${OVERRIDE} && systemctl daemon-reload`);
  const asked = ['MemoryMax', 'Type', 'PrivateTmp', 'ReadWritePaths', 'TimeoutStopUSec'] as const;
  const seen = await show(machine, ...asked);
  const file = await machine.readFile(UNIT_PATH);
  const { outcome, ops } = await deploy({ hardening: 'standard' });
  expect(ops).toContain('remove-file');
  expect(await hand.shell(`ls ${DROP_INS}`)).toBe('');
  const rewritten = await machine.readFile(UNIT_PATH);
  expect(rewritten).not.toBe(file);
  expect(await show(machine, ...asked)).toEqual(seen);
  await completeJob(machine);

  // All of it is in force, so a drop-in has nothing to say.
  expect((await plan(IN_DROP_IN)).operations).toEqual([]);
  await hand.undo(outcome.transaction);
  expect(await machine.readFile(UNIT_PATH)).toBe(file);
  expect(await hand.shell(`ls ${DROP_INS}`)).toBe('zz-celeriac.conf');
  expect(await show(machine, ...asked)).toEqual(seen);
});
