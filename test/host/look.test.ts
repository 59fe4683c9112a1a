import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { reportShape } from '../../src/report/report-shape.ts';

const program = join(import.meta.dirname, '../../cli/dist/index.js');

let machine: Machine;
let folder: string;

beforeAll(async () => {
  machine = await startMachine({ name: 'look', state: 'healthy' });
  folder = mkdtempSync(join(tmpdir(), 'celeriac-look-'));
  writeFileSync(join(folder, 'key'), machine.key, { mode: 0o600 });
  writeFileSync(join(folder, 'known_hosts'), machine.knownHosts);
});

afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await machine?.stop();
});

/** The terminal's program, as a person starts it. */
function celeriac(...words: readonly string[]): Promise<{ code: unknown; out: string }> {
  const files = ['--ssh-key-file', join(folder, 'key')];
  const known = ['--known-hosts-file', join(folder, 'known_hosts')];
  const host = ['--host', machine.host, '--port', String(machine.sshPort)];
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [program, ...words, ...host, ...files, ...known],
      (error, out, err) => resolve({ code: error === null ? 0 : error.code, out: out || err }),
    );
  });
}

test('status, releases and logs of a real worker, which goes on undisturbed', async () => {
  const before = await machine.run(
    'systemctl show celery-worker -p MainPID,NRestarts,InvocationID',
  );

  const shown = await celeriac('status');
  expect(shown.out).toMatch(
    /^celery-worker\.service on .*\n\w+: .*\n\nworker {3}active \(running\), for /,
  );
  // A container may have no memory accounting.
  expect(shown.out).toMatch(/^memory {3}(?:[\d.]+ MiB, |not known$)/m);
  expect(shown.out).toMatch(/^queues {3}celery 0/m);

  const { code, out } = await celeriac('status', '--json');
  const report = JSON.parse(out);
  expect(reportShape.strict().safeParse(report).error).toBeUndefined();
  const words = { healthy: 0, unhealthy: 3, inconclusive: 4 };
  expect(words[report.verdict.conclusion as keyof typeof words]).toBe(code);
  expect(report.checks.find(({ id }: { id: string }) => id === 'unit').verdict).toBe('pass');
  expect(report.worker).toMatchObject({ activeState: 'active', subState: 'running' });

  expect(await celeriac('releases')).toEqual({
    code: 0,
    out: 'none: Celeriac has not deployed this worker\n',
  });

  const logs = await celeriac('logs');
  expect(logs.code).toBe(0);
  expect(logs.out).toMatch(
    /^celery-worker\.service: \d+ lines since .*\n0 errors \(0 tracebacks\), HTTP 429: 0\n/,
  );
  expect(logs.out).toContain('last lines:');

  const after = await machine.run('systemctl show celery-worker -p MainPID,NRestarts,InvocationID');
  expect(after.stdout).toBe(before.stdout);
});

test('a unit that is not there has one readable line', async () => {
  const { code, out } = await celeriac('status', '--unit', 'nobody.service');
  expect(code).toBe(2);
  expect(out).toContain('nobody.service: no such unit on the host');
});
