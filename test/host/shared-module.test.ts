import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { type BundleRun, runBundle } from '../lib/bundle.ts';
import { type Inputs, inputsFor, taskListLimits } from './lib/inputs.ts';
import { BACKEND, listTransactions, shell, UNIT, UNIT_PATH, waitUntil } from './lib/worker.ts';

const OTHER = 'video-worker.service';
const MODULE = '/usr/local/lib/celeriac/celeriac_support.py';
const AWAITING = `/var/lib/celeriac/awaiting/${UNIT}.json`;
const KEPT = `${MODULE} not restored: ${OTHER} loads it`;

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

/** Both units deployed, the first one first: its release is the one that brought the module. */
async function deployBoth(): Promise<void> {
  await machine.reset();
  before = await machine.readFile(UNIT_PATH);
  await machine.writeFile(`/etc/systemd/system/${OTHER}`, OTHER_UNIT);
  await shell(machine, `systemctl daemon-reload && systemctl start ${OTHER}`);
  await deploy(UNIT, { 'confirm-within': '1h' });
  await deploy(OTHER);
  expect(await machine.readFile(`/etc/systemd/system/${OTHER}`)).toContain('-I celeriac_support');
}

async function deploy(unit: string, inputs: Inputs = {}): Promise<BundleRun> {
  const quick = { ...taskListLimits, unit, 'min-healthy-time': '1s', 'confirm-within': 'off' };
  const run = await runBundle('deploy-worker', inputsFor(machine, { ...quick, ...inputs }));
  expect(run.code, run.log).toBe(0);
  return run;
}

test('the host searches all unit folders of this systemd', async () => {
  const source = join(import.meta.dirname, '../../host/celeriac_host/app/module_users.py');
  const [, list = ''] = /^FOLDERS = \(\n(.*?)\n\)/ms.exec(readFileSync(source, 'utf8')) ?? [];
  const folders = [...list.matchAll(/"(.+)"/g)].map(([, folder]) => folder);
  const read = (await shell(machine, 'systemd-analyze unit-paths')).split('\n');
  expect(folders).toEqual(expect.arrayContaining(read));
});

/** Each start is over when the worker consumes: the module tells systemd so. */
async function expectToRestart(unit: string): Promise<void> {
  await shell(machine, `systemctl restart ${unit}`);
  expect(
    await shell(machine, `systemctl is-active ${unit}; systemctl show ${unit} -P NRestarts`),
  ).toBe('active\n0');
}

test('undone by roll-back, the first release keeps the module for the other unit', async () => {
  await deployBoth();
  const back = await deploy(UNIT, { 'roll-back': '0' });
  expect(await machine.readFile(UNIT_PATH)).toBe(before);
  expect(back.log).toContain(KEPT);
  expect(back.summary).toContain(KEPT);
  await expectToRestart(OTHER);
  await expectToRestart(UNIT);

  // The last one that loads it takes it along.
  const last = await deploy(OTHER, { 'roll-back': '0' });
  expect(last.log).toContain(`${MODULE} removed again: no unit loads it any more`);
  expect(await machine.readFile(`/etc/systemd/system/${OTHER}`)).toBe(OTHER_UNIT);
  expect(await shell(machine, 'ls -d /usr/local/lib/celeriac 2>&1 || true')).toContain('No such');
  await expectToRestart(OTHER);
});

test('undone by the guard, it does the same, and records for which unit', async () => {
  await deployBoth();
  const [first = ''] = await listTransactions(machine);
  const due = { ...JSON.parse(await machine.readFile(AWAITING)), deadline: 0, bootDeadline: 0 };
  await machine.writeFile(AWAITING, JSON.stringify(due), '0600');
  await waitUntil('the guard has put the unit back, and left', async () => {
    const guard = 'systemctl is-active celeriac-guard.service';
    return (await shell(machine, `[ -e ${AWAITING} ] || ${guard} || true`)) === 'inactive';
  });
  expect(await machine.readFile(UNIT_PATH)).toBe(before);
  const journal = await machine.readFile(`/var/lib/celeriac/transactions/${first}/journal.jsonl`);
  expect(journal).toContain(KEPT);
  await expectToRestart(OTHER);
});
