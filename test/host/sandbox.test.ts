import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { QEMU } from '../../sandbox/accelerator.ts';
import { containerCapacity } from '../../sandbox/capacity.ts';
import {
  endInstance,
  findInstance,
  instancePaths,
  makeInstanceFolder,
  removeInstance,
  removeOrphans,
} from '../../sandbox/instance.ts';
import { type Machine, SandboxError, startMachine } from '../../sandbox/machine.ts';
import { provideSaved } from '../../sandbox/saved.ts';
import { makeTemporaryFolder } from '../lib/temporary.ts';
import { waitUntil } from './lib/worker.ts';

const capacity = await containerCapacity();
const nightly = { tags: ['nightly'] };
// A VM takes minutes for what a container does in seconds.
const kinds = 'why' in capacity ? (['vm'] as const) : (['container', 'vm'] as const);

const started: ChildProcess[] = [];

afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
});

describe.each(kinds.map((kind) => ({ kind })))('$kind', ({ kind }) => {
  const options = kind === 'vm' && kinds.length > 1 ? nightly : {};
  let machine: Machine;

  const output = async (command: string) => (await machine.run(command)).stdout.trim();
  const offset = async () => {
    const before = Date.now() / 1000;
    const there = Number(await output('date +%s.%N'));
    return there < before ? before - there : Math.max(0, there - Date.now() / 1000);
  };

  beforeAll(async () => {
    machine = await startMachine({ name: `sandbox-${kind}`, kind });
  });

  afterAll(async () => {
    await machine?.stop();
  });

  test('clean: running, no worker, no way out, the right time', options, async () => {
    expect(await output('systemctl is-system-running')).toBe('running');
    expect(await output('pgrep -fc "[c]elery -A" || true')).toBe('0');
    // An address for documentation: nobody has it.
    const out = 'timeout 3 bash -c "</dev/tcp/192.0.2.1/443" 2>/dev/null && echo out || true';
    expect(await output(out)).toBe('');
    expect(await output('hostname')).toBe('vps');
    expect(await offset()).toBeLessThan(1);
  });

  test('a reset discards earlier changes', options, async () => {
    for (const text of ["it's round 1\n", 'round 2\n']) {
      await machine.writeFile('/root/mark', text, '0600');
      expect(await machine.readFile('/root/mark')).toBe(text);
      expect(await output('stat -c %a /root/mark')).toBe('600');
      const { host, sshPort } = machine;
      await machine.reset();
      expect([machine.host, machine.sshPort]).toEqual([host, sshPort]);
      expect((await machine.run('test -e /root/mark', { allowFailure: true })).code).toBe(1);
      expect(await offset()).toBeLessThan(1);
    }
  });

  test('deploy has sudo -n, nosudo does not', options, async () => {
    const { stdout } = await machine.run('sudo -n id -un', { user: 'deploy' });
    expect(stdout.trim()).toBe('root');
    const nosudo = { user: 'nosudo', allowFailure: true } as const;
    expect((await machine.run('sudo -n id -un', nosudo)).code).toBe(1);
    await expect(machine.run('echo so >&2; exit 3')).rejects.toThrow(/code 3: so/);
  });

  test('reboot and crash: another boot of the same disk', options, async () => {
    await machine.run('echo kept >/root/kept && sync');
    const bootId = () => output('cat /proc/sys/kernel/random/boot_id');
    const boots = [await bootId()];
    for (const boot of [machine.reboot, machine.rebootAtOnce, machine.crash]) {
      await boot();
      expect(await machine.readFile('/root/kept')).toBe('kept\n');
      boots.push(await bootId());
    }
    expect(new Set(boots).size).toBe(4);
    await waitUntil(
      'redis is back',
      async () => (await output('redis-cli ping || true')) === 'PONG',
    );
  });

  test('off: connections are refused; on again: the same disk', options, async () => {
    await machine.powerOff();
    expect(await answers(machine)).toBe(false);
    await machine.powerOn();
    expect(await machine.readFile('/root/kept')).toBe('kept\n');
    expect(await answers(machine)).toBe(true);
  });

  test('the cable unplugged, the host frozen: commands hang, then continue', options, async () => {
    for (const [halt, goOn] of [
      [machine.cutLink, machine.restoreLink],
      [machine.freeze, machine.thaw],
    ] as const) {
      await halt();
      const hung = await machine.run('true', { allowFailure: true, timeoutSeconds: 3 });
      expect(hung.code).toBe(124);
      await goOn();
      expect(await output('echo back')).toBe('back');
    }
  });

  test(
    'broken into a state: three strays in sessions of their own, stuck rows',
    options,
    async () => {
      await machine.breakInto('before');
      const strays = 'pgrep -f "[c]elery -A celery_app worker --loglevel=info$"';
      const groups = await output(`for p in $(${strays}); do tail -n 1 /proc/$p/cgroup; done`);
      expect(groups.split('\n')).toHaveLength(6);
      for (const line of groups.split('\n')) expect(line).toMatch(/\/session-\w+\.scope$/);
      const stuck = "SELECT count(*) FROM batch_links WHERE status = 'processing'";
      const database = '/root/slideshow/backend/batch_processing.db';
      expect(await output(`sqlite3 ${database} "${stuck}"`)).toBe('12');
    },
  );

  test('impossible requests are errors', options, async () => {
    await expect(machine.breakInto('nowhere')).rejects.toThrow(/expected before, /);
    await expect(startMachine({ name: '../x' })).rejects.toThrow(SandboxError);
  });
});

/** Does it take connections on its SSH port? */
function answers({ host, sshPort }: Machine): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port: sshPort, timeout: 2000 });
    const answer = (yes: boolean) => () => {
      resolve(yes);
      socket.destroy();
    };
    socket.once('connect', answer(true));
    socket.once('error', answer(false)).once('timeout', answer(false));
  });
}

async function start(program: string, ...words: readonly string[]): Promise<ChildProcess> {
  const child = spawn(program, words, { stdio: 'ignore' });
  started.push(child);
  await once(child, 'spawn');
  return child;
}

test('a VM whose starter was killed at once leaves nothing to the next of its name', {
  timeout: 90_000,
}, async () => {
  const paths = instancePaths('killed-owner');
  makeInstanceFolder(paths.folder);
  // It has neither a record nor a pid file: it is about to write one.
  const qemu = await start(
    QEMU,
    ...['-machine', 'none', '-nodefaults', '-no-user-config', '-display', 'none', '-S'],
    ...['-qmp', `unix:${paths.monitor},server=on,wait=off`],
  );
  const ended = once(qemu, 'exit');
  // Another program may speak of the same socket.
  const bystander = await start('tail', '-f', '/dev/null', paths.monitor);
  // What one that is almost gone still holds a lock on.
  writeFileSync(paths.pid, '');

  await endInstance('killed-owner');
  expect(await ended).toEqual([null, 'SIGKILL']);
  expect(existsSync(paths.pid)).toBe(false);
  expect(bystander.exitCode ?? bystander.signalCode).toBeNull();
  await removeInstance('killed-owner');
});

test('a snapshot whose builder was killed: its host is ended, its folder removed', async () => {
  const parent = join(makeTemporaryFolder(), 'tried');
  const left = join(parent, 'building-left');
  mkdirSync(left, { recursive: true });
  const qemu = await start(
    QEMU,
    ...['-machine', 'none', '-nodefaults', '-no-user-config', '-display', 'none', '-S'],
    ...['-pidfile', join(left, 'pid')],
  );
  const ended = once(qemu, 'exit');
  const saved = { parent, label: 'tried', key: 'one' };
  const folder = await provideSaved(
    saved,
    () => {},
    async (work) => {
      writeFileSync(join(work, 'made'), '');
    },
  );
  expect(await ended).toEqual([null, 'SIGKILL']);
  expect(readdirSync(parent)).toEqual(['tried-one']);
  expect(existsSync(join(folder, 'made'))).toBe(true);
});

const CHILD = `
  const { startMachine } = await import(process.argv[1]);
  await startMachine({ name: 'orphan', kind: 'container' });
  setInterval(() => {}, 1000);
`;

describe.runIf(kinds.length > 1)('a container whose starter is killed', () => {
  test('ends by itself, network, mounts and all; the next start removes its files', async () => {
    const module = join(import.meta.dirname, '../../sandbox/machine.ts');
    const owner = await start(process.execPath, '--input-type=module', '-e', CHILD, module);
    await waitUntil('it is up', async () => findInstance('orphan') !== undefined);
    const { container } = instancePaths('orphan');
    const { pid = 0 } = findInstance('orphan') ?? {};
    const [, , link = ''] = readFileSync(join(container, 'address'), 'utf8').trim().split(' ');
    expect(existsSync(`/sys/class/net/${link}`)).toBe(true);

    owner.kill('SIGKILL');
    await waitUntil('its supervisor has ended', async () => !existsSync(`/proc/${pid}`));
    await waitUntil('its network is gone', async () => !existsSync(`/sys/class/net/${link}`));
    expect(readFileSync('/proc/mounts', 'utf8')).not.toContain(container);
    await removeOrphans();
    expect(existsSync(instancePaths('orphan').folder)).toBe(false);
  });
});
