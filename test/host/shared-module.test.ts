import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { supportModuleText } from '../../src/use-case/support-module.ts';
import { type BundleRun, runBundle } from '../lib/bundle.ts';
import { snippetWith } from '../lib/markdown.ts';
import { type Inputs, inputsFor, taskListLimits } from './lib/inputs.ts';
import { BACKEND, SUPPORT, shell, UNIT, UNIT_PATH, waitUntil } from './lib/worker.ts';

const OTHER = 'video-worker.service';
const OTHER_PATH = `/etc/systemd/system/${OTHER}`;
const ROOT = '/usr/local/lib/celeriac';
const MODULE = SUPPORT;

/** A second worker on the same host, on a queue of its own. */
const OTHER_UNIT = `[Unit]
Description=Celery Worker for videos
After=redis-server.service

[Service]
Type=simple
User=root
WorkingDirectory=${BACKEND}
ExecStart=/usr/bin/celery -A celery_app worker --loglevel=info --concurrency=1 -n video@%%h -Q video
Restart=always
RestartSec=1
KillMode=mixed
`;

let machine: Machine;
/** The first unit, as it was before any deploy. */
let before: string;

beforeAll(async () => {
  machine = await startMachine({ name: 'shared-module', state: 'healthy' });
});

afterAll(() => machine?.stop());

async function addOther(text = OTHER_UNIT): Promise<void> {
  await machine.reset();
  before = await machine.readFile(UNIT_PATH);
  await machine.writeFile(OTHER_PATH, text);
  await shell(machine, `systemctl daemon-reload && systemctl start ${OTHER}`);
}

async function deploy(unit: string, inputs: Inputs = {}): Promise<BundleRun> {
  const quick = { ...taskListLimits, unit, 'min-healthy-time': '1s', 'confirm-within': 'off' };
  const run = await runBundle('deploy-worker', inputsFor(machine, { ...quick, ...inputs }));
  expect(run.code, run.log).toBe(0);
  return run;
}

const awaiting = (unit: string): string => `/var/lib/celeriac/awaiting/${unit}.json`;

/** The time of these units' releases is up: the guard puts them back. */
async function expire(...units: readonly string[]): Promise<void> {
  for (const unit of units) {
    const path = awaiting(unit);
    const due = { ...JSON.parse(await machine.readFile(path)), deadline: 0, bootDeadline: 0 };
    // Moved there at once: the guard may look at any time.
    await machine.writeFile(`${path}.new`, JSON.stringify(due), '0600');
  }
  await shell(
    machine,
    units.map((unit) => `mv ${awaiting(unit)}.new ${awaiting(unit)}`).join('; '),
  );
  for (const unit of units) {
    await waitUntil(`${unit} is back`, async () => {
      const left = `[ -e ${awaiting(unit)} ] || [ -e /var/lib/celeriac/rolling.json ]`;
      return (await shell(machine, `if ${left}; then echo waits; fi`)) === '';
    });
  }
}

const textOf = (unit: string): string => (unit === UNIT ? before : OTHER_UNIT);
const pathOf = (unit: string): string => (unit === UNIT ? UNIT_PATH : OTHER_PATH);

/** Each start is over when the worker consumes, if its unit loads the module, which tells so. */
async function expectToRestart(): Promise<void> {
  await shell(machine, `systemctl reset-failed; systemctl restart ${UNIT} ${OTHER}; sleep 2`);
  for (const unit of [UNIT, OTHER]) {
    const state = await shell(
      machine,
      `systemctl is-active ${unit}; systemctl show ${unit} -P NRestarts`,
    );
    expect(state, unit).toBe('active\n0');
  }
}

const exists = async (path: string): Promise<boolean> =>
  (await shell(machine, `[ -e ${path} ] && echo yes || true`)) === 'yes';

test('the host searches all unit folders of this systemd', async () => {
  const source = join(import.meta.dirname, '../../host/celeriac_host/app/module_users.py');
  const [, list = ''] = /^FOLDERS = \(\n(.*?)\n\)/ms.exec(readFileSync(source, 'utf8')) ?? [];
  const folders = [...list.matchAll(/"(.+)"/g)].map(([, folder]) => folder);
  const read = (await shell(machine, 'systemd-analyze unit-paths')).split('\n');
  expect(folders).toEqual(expect.arrayContaining(read));
});

type End = readonly [unit: string, how: 'rolled back' | 'expired'];

/** The first unit's release brought the module. */
async function expectToEnd(...ends: readonly End[]): Promise<void> {
  await addOther();
  await deploy(UNIT, { 'confirm-within': '1h' });
  await deploy(OTHER, { 'confirm-within': '1h' });
  expect(await machine.readFile(OTHER_PATH)).toContain(MODULE.replace(/\/[^/]*$/, ''));
  for (const [index, [unit, how]] of ends.entries()) {
    const isLast = index === ends.length - 1;
    if (how === 'expired') {
      await expire(unit);
    } else {
      const back = await deploy(unit, { 'roll-back': '0' });
      const [left = ''] = ends.slice(index + 1).map(([other]) => other);
      const kept = `${MODULE} not restored: ${left} loads it`;
      if (!isLast && unit === UNIT) {
        expect(back.log).toContain(kept);
        expect(back.summary).toContain(kept);
      }
      if (isLast) expect(back.log).toMatch(/celeriac_support\.py removed/);
    }
    expect(await machine.readFile(pathOf(unit))).toBe(textOf(unit));
    expect(await exists(MODULE)).toBe(!isLast);
    // The other's release still waits for its verdict, and nobody else's does.
    for (const [other] of ends.slice(index + 1)) expect(await exists(awaiting(other))).toBe(true);
    expect(await exists(awaiting(unit))).toBe(false);
    await expectToRestart();
  }
  expect(await exists(ROOT)).toBe(false);
  const said = await shell(machine, `cat /var/lib/celeriac/releases.jsonl`);
  const verdicts = said.split('\n').filter((line) => line.includes('"rolled-back"'));
  expect(verdicts.map((line) => JSON.parse(line).unit)).toEqual(ends.map(([unit]) => unit));
}

describe('two units, each deployed, end one after the other', () => {
  test('the first rolled back, the second expired', async () => {
    await expectToEnd([UNIT, 'rolled back'], [OTHER, 'expired']);

    // Then what README says removes Celeriac.
    const readme = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8');
    const [search = '', ...steps] = snippetWith(readme, 'rm -rf /var/lib/celeriac');
    expect(await shell(machine, search.replace('#', '|| true #'))).toBe('');
    await shell(machine, ['set -e', ...steps].join('\n'));
    const left = "find / -xdev -path /proc -prune -o -iname '*celeriac*' -print";
    expect(await shell(machine, left)).toBe('');
    expect(await shell(machine, "systemctl list-unit-files --no-legend 'celeriac*' || true")).toBe(
      '',
    );
    await expectToRestart();
  });

  test('the first expired, the second rolled back', { tags: ['nightly'] }, async () => {
    await expectToEnd([UNIT, 'expired'], [OTHER, 'rolled back']);
  });

  describe('in all other orders', { tags: ['nightly'] }, () => {
    test.each<readonly End[]>([
      [
        [UNIT, 'rolled back'],
        [OTHER, 'rolled back'],
      ],
      [
        [OTHER, 'rolled back'],
        [UNIT, 'rolled back'],
      ],
      [
        [OTHER, 'rolled back'],
        [UNIT, 'expired'],
      ],
      [
        [OTHER, 'expired'],
        [UNIT, 'rolled back'],
      ],
      [
        [UNIT, 'expired'],
        [OTHER, 'expired'],
      ],
      [
        [OTHER, 'expired'],
        [UNIT, 'expired'],
      ],
    ])('%j, then %j', async (...ends) => {
      await expectToEnd(...ends);
    });
  });
});

test('both expire at once', { tags: ['nightly'] }, async () => {
  await addOther();
  await deploy(UNIT, { 'confirm-within': '1h' });
  await deploy(OTHER, { 'confirm-within': '1h' });
  await expire(OTHER, UNIT);
  expect(await machine.readFile(UNIT_PATH)).toBe(before);
  expect(await machine.readFile(OTHER_PATH)).toBe(OTHER_UNIT);
  await expectToRestart();
  expect(await exists(ROOT)).toBe(false);
});

test('a unit that an older Celeriac manages keeps its module, until it has moved', {
  tags: ['nightly'],
}, async () => {
  const old = OTHER_UNIT.replace('ExecStart=', `Environment=PYTHONPATH=${ROOT}\nExecStart=`)
    .replace('Type=simple', 'Type=notify')
    .replace('-Q video', '-Q video -I celeriac_support');
  await machine.reset();
  await shell(machine, `mkdir -p ${ROOT}`);
  await machine.writeFile(`${ROOT}/celeriac_support.py`, supportModuleText());
  before = await machine.readFile(UNIT_PATH);
  await machine.writeFile(OTHER_PATH, old);
  await shell(machine, `systemctl daemon-reload && systemctl start ${OTHER}`);
  await deploy(UNIT);
  await deploy(UNIT, { 'roll-back': '0' });
  expect(await exists(MODULE)).toBe(false);
  await expectToRestart();

  await deploy(OTHER);
  const moved = await machine.readFile(OTHER_PATH);
  expect(moved).toContain(`PYTHONPATH=${MODULE.replace(/\/[^/]*$/, '')}\n`);
  await expectToRestart();
  await deploy(OTHER, { 'roll-back': '0' });
  expect(await machine.readFile(OTHER_PATH)).toBe(old);
  await expectToRestart();
});
