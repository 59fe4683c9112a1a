import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import type { Report } from '../../src/model/report.ts';
import { moveToShop } from './lib/shop.ts';
import { isReady, shell, UNIT, waitUntil } from './lib/worker.ts';

/*
 * Whoever may look sees what root sees: a user with sudo, and a key that may only read. What is not
 * allowed is one message that says what to do.
 */

const program = join(import.meta.dirname, '../../cli/dist/index.js');
const folder = mkdtempSync(join(tmpdir(), 'celeriac-look-rights-'));
const keys = { change: join(folder, 'pipeline'), read: join(folder, 'plan') };

let machine: Machine;

beforeAll(async () => {
  machine = await startMachine({ name: 'look-rights', state: 'environment' });
  for (const file of Object.values(keys)) {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'ci', '-f', file]);
  }
  await moveToShop(machine);
  await shell(machine, `systemctl start ${UNIT}`);
  // Before, it lacks processes for some looks, and has them for others.
  await waitUntil('the worker is ready', () => isReady(machine));
});

afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await machine?.stop();
});

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** The terminal's program, as a person starts it. */
function celeriac(user: string, words: readonly string[], key = machine.keyPath): Promise<Ended> {
  const host = ['--host', machine.host, '--port', String(machine.sshPort), '--user', user];
  const files = ['--ssh-key-file', key, '--known-hosts-file', machine.knownHostsPath];
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...words, ...host, ...files], (error, out, err) =>
      resolve({ code: error === null ? 0 : Number(error.code), out, err }),
    );
  });
}

const reader = (...words: readonly string[]) =>
  celeriac('celeriac-plan', [...words, '--agent', 'installed'], keys.read);

/** What a report says, without what moves from one look to the next. */
function saidBy({ out, err }: Ended) {
  expect(out, err).toMatch(/^\{/);
  const { verdict, checks, worker, releases } = JSON.parse(out) as Report;
  return {
    conclusion: verdict.conclusion,
    checks: checks.map(({ id, verdict: said }) => `${id}: ${said}`),
    state: worker.activeState,
    releases,
  };
}

/** The journal's own lines are as many as there are by then. */
async function expectToSee(look: (...words: readonly string[]) => Promise<Ended>): Promise<void> {
  const asRoot = await celeriac('root', ['status', '--json']);
  const status = await look('status', '--json');
  expect(saidBy(status)).toEqual(saidBy(asRoot));
  expect(status.code).toBe(asRoot.code);
  expect(await look('releases')).toMatchObject({
    code: 0,
    out: 'none: Celeriac has not deployed this worker\n',
  });
  const logs = await look('logs');
  expect(logs.code, logs.err).toBe(0);
  expect(logs.out).toMatch(new RegExp(`^${UNIT}: \\d+ lines since `));
  expect(logs.out).toContain('last lines:');
}

test('a user with sudo sees what root sees, and one without is told what is missing', async () => {
  await expectToSee((...words) => celeriac('deploy', words));
  const { code, out, err } = await celeriac('nosudo', ['status']);
  expect([code, out]).toEqual([1, '']);
  expect(err).toMatch(/nosudo may not use sudo without a password/);
  expect(err).toMatch(/next: .*NOPASSWD/);
});

test('a key that may only read sees the same, and what it may not is refused by name', async () => {
  const words = ['--units', UNIT, '--public-key-file', `${keys.change}.pub`];
  const more = ['--read-user', 'celeriac-plan', '--read-key-file', `${keys.read}.pub`];
  const hardened = await celeriac('root', ['harden', ...words, ...more]);
  expect(hardened.code, hardened.err).toBe(0);
  await expectToSee(reader);
  const before = await shell(machine, `systemctl show -p MainPID,NRestarts,InvocationID ${UNIT}`);
  for (const command of ['status', 'releases', 'logs']) {
    const { code, out, err } = await reader(command, '--unit', 'ssh.service');
    expect([code, out], err).toEqual([1, '']);
    expect(err).toContain('refused by /etc/celeriac/policy.json: units: ssh.service');
  }
  // It cannot send a program of its own either, and is told which setting that is.
  const streamed = await celeriac('celeriac-plan', ['status', '--agent', 'streamed'], keys.read);
  expect([streamed.code, streamed.out]).toEqual([1, '']);
  expect(streamed.err).toMatch(/agent.*installed/);
  expect(await shell(machine, `systemctl show -p MainPID,NRestarts,InvocationID ${UNIT}`)).toBe(
    before,
  );
});
