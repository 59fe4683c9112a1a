import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { Terminal } from './lib/terminal.ts';
import { shell, UNIT, UNIT_PATH } from './lib/worker.ts';

let machine: Machine;
let terminal: Terminal;
/** The unit before Celeriac. */
let original: string;
let agentPid = 0;

beforeAll(async () => {
  machine = await startMachine({ name: 'terminal', state: 'healthy' });
  original = await machine.readFile(UNIT_PATH);
  terminal = new Terminal({
    config: ['Host prod', `  HostName ${machine.host}`, `  Port ${machine.sshPort}`, '  User root'],
    key: machine.key,
    knownHosts: machine.knownHosts,
  });
  // As HashKnownHosts keeps them.
  expect(spawnSync('ssh-keygen', ['-q', '-H', '-f', join(terminal.ssh, 'pins')]).status).toBe(0);
});

afterAll(async () => {
  if (agentPid > 0) process.kill(agentPid);
  terminal?.[Symbol.dispose]();
  await machine?.stop();
});

const worker = ['--host', 'prod', '--concurrency', '1', '--longest-task', '60s'];
const gate = ['--database', 'none', '--gate-timeout', '2m'];

test('a dry run shows the plan of the action, and changes nothing', async () => {
  const { code, out, err } = await terminal.run(['deploy', ...worker, '--dry-run']);
  expect(code, err).toBe(3);
  expect(out).toContain('operations, in this order');
  expect(await machine.readFile(UNIT_PATH)).toBe(original);
});

test('deploy leaves a release that awaits its verdict, and says what comes next', async () => {
  const { code, out, err } = await terminal.run(['deploy', ...worker]);
  expect(code, err).toBe(0);
  expect(out).toContain('It awaits its verdict');
  expect(err).toContain(
    'next: celeriac verify --host prod --unit celery-worker.service, which confirms the release',
  );
  const next = await terminal.run(['verify', '--host', 'prod', ...gate, '--json']);
  expect(next.code, next.err).toBe(0);
  expect(JSON.parse(next.out)).toMatchObject({ host: 'prod', verdict: { conclusion: 'healthy' } });
});

test('rollback needs the host alone', async () => {
  const { code, out, err } = await terminal.run(['rollback', '--host', 'prod']);
  expect(code, err).toBe(0);
  expect(out).toContain('Undone: release 1');
  expect(await machine.readFile(UNIT_PATH)).toBe(original);
  expect(await shell(machine, `systemctl is-active ${UNIT}`)).toBe('active');
  const again = await terminal.run(['rollback', '--host', 'prod']);
  expect(again.code).toBe(2);
  expect(again.err).toContain('nothing was released on this host');
});

test('deploy --verify goes back when the gate fails', { tags: ['nightly'] }, async () => {
  const failing = ['--gate', 'task', '--gate-task', 'tasks.process_job'];
  const args = ['--gate-args', '[null, 0, 0, "error"]'];
  const words = ['deploy', ...worker, '--verify', ...gate, ...failing, ...args, '--json'];
  const { code, out, err } = await terminal.run(words);
  expect(code, err).toBe(5);
  const document = JSON.parse(out);
  expect(document).toMatchObject({ command: 'deploy', exitCode: 5, outputs: { healthy: 'false' } });
  expect(document.results).toHaveLength(2);
  expect(document.results[1].sentence).toContain('Undone: ');
  expect(await machine.readFile(UNIT_PATH)).toBe(original);
});

test('doctor tells what is wrong, with an ssh-agent, and changes nothing', async () => {
  const socket = join(terminal.home, 'agent');
  const started = spawnSync('ssh-agent', ['-s', '-a', socket], { encoding: 'utf8' });
  agentPid = Number(/SSH_AGENT_PID=(\d+)/.exec(started.stdout)?.[1]);
  const env = { ...process.env, SSH_AUTH_SOCK: socket };
  expect(spawnSync('ssh-add', ['-q', join(terminal.ssh, 'key')], { env }).status).toBe(0);
  // Only the agent has the key now.
  writeFileSync(join(terminal.ssh, 'keys'), '');
  rmSync(join(terminal.ssh, 'key'));
  const before = await shell(machine, 'ls -R /var/lib/celeriac | sha256sum');
  const words = ['doctor', '--host', 'prod', '--database', 'none'];
  const { code, out, err } = await terminal.run(words, { env: { SSH_AUTH_SOCK: socket } });
  expect([0, 3], err).toContain(code);
  expect(out).toContain(`${UNIT} on prod`);
  expect(await shell(machine, 'ls -R /var/lib/celeriac | sha256sum')).toBe(before);
  const broken = original.replace(/^(ExecStart=.* worker)/m, '$1 --purge');
  await machine.writeFile(UNIT_PATH, broken);
  await shell(machine, 'systemctl daemon-reload');
  const found = await terminal.run(words, { env: { SSH_AUTH_SOCK: socket } });
  expect(found.code, found.err).toBe(3);
  expect(found.out).toMatch(/^✗ .*purge/im);
  expect(await machine.readFile(UNIT_PATH)).toBe(broken);
  await machine.writeFile(UNIT_PATH, original);
  await shell(machine, 'systemctl daemon-reload');
});

test('Ctrl+C says what continues on the host, which ends it', async () => {
  const env = { SSH_AUTH_SOCK: join(terminal.home, 'agent') };
  let done = false;
  const { code, err } = await terminal.run(['deploy', ...worker], {
    env,
    onLine: (text, interrupt) => {
      if (done || !/^ {2}done:/m.test(text)) return;
      done = true;
      interrupt();
    },
  });
  expect(code, err).toBe(130);
  expect(err).toMatch(/interrupted; transaction \S+ continues on the host/);
  const id = /transaction (\S+) continues/.exec(err)?.[1] ?? '';
  await expect
    .poll(() => shell(machine, `tail -1 /var/lib/celeriac/transactions/${id}/journal*`), {
      timeout: 120_000,
      interval: 1000,
    })
    .toContain('ended');
  const back = await terminal.run(['rollback', '--host', 'prod'], { env });
  expect(back.code, back.err).toBe(0);
  expect(await machine.readFile(UNIT_PATH)).toBe(original);
});
