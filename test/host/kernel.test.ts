import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MiB, seconds } from '../../src/model/units.ts';
import { readProcesses } from '../lib/processes.ts';
import { Hand, messages, noApp, type PlainOperation, statuses } from './lib/hand.ts';
import { installUnit, makeSwap } from './lib/operations.ts';
import { waitUntil } from './lib/worker.ts';

// What a host can only show that has a kernel of its own.

let hand: Hand;

beforeAll(async () => {
  hand = await Hand.start('kernel', { needs: ['memory', 'swap', 'sysctl', 'kernel-log', 'power'] });
});

afterAll(() => hand?.stop());

describe('swap and swappiness', () => {
  // A name that the kernel writes with an escape.
  const path = '/swap file';
  const make = (sizeMebibytes?: number) => makeSwap(path, sizeMebibytes);
  const on: PlainOperation = { op: 'swap-on', path };
  const set: PlainOperation = { op: 'set-sysctl', name: 'vm.swappiness', value: '10' };
  const swappiness = () => hand.shell('sysctl -n vm.swappiness');

  test('created and active; again; undone completely', async () => {
    const { swap: none } = await hand.agent.look({ swap: { path } });
    expect(none).toMatchObject({
      file: { kind: 'absent' },
      active: [],
      filesystem: { type: 'ext4', mountPoint: '/' },
    });
    const before = await swappiness();
    expect(before).not.toBe('10');

    const { transaction } = await hand.commit([make(), on, set]);
    expect(
      await hand.shell(
        `stat -c '%s %a %U' '${path}'; blkid -p -s TYPE -o value '${path}'; swapon --show=NAME --raw --noheadings`,
      ),
    ).toBe(`${16 * MiB} 600 root\nswap\n/swap\\x20file`);
    expect(await swappiness()).toBe('10');
    const { swap } = await hand.agent.look({ swap: { path } });
    expect(swap.file).toMatchObject({ kind: 'file', mode: '0600', formatted: true });
    // Without holes, or swapon would have refused.
    expect(swap.file.kind === 'file' && swap.file.allocatedBytes).toBeGreaterThanOrEqual(16 * MiB);
    // One page of it holds the header.
    expect(swap.active).toMatchObject([{ path, type: 'file', sizeBytes: 16 * MiB - 4096 }]);

    expect(statuses(await hand.commit([make(), on, set]))).toEqual(Array(3).fill('already'));
    await hand.undo(transaction);
    expect(await hand.shell("ls -A / | grep 'swap file' || true")).toBe('');
    expect(await swappiness()).toBe(before);
  });

  test('refused: swap in use of another size, a value that the kernel does not take', {
    tags: ['nightly'],
  }, async () => {
    const { transaction } = await hand.commit([make(), on]);
    expect((await hand.refuse([make(64)])).message).toContain('in use as swap');
    const much: PlainOperation = { op: 'set-sysctl', name: 'vm.swappiness', value: 'much' };
    expect((await hand.refuse([much])).message).toContain('Invalid argument');
    await hand.undo(transaction);
  });
});

test('memory and kernel log: what a unit uses, and its kills since it started', async () => {
  const unit =
    '[Service]\nMemoryMax=20M\nMemorySwapMax=0\nOOMPolicy=continue\nExecStart=/bin/sh -c \'python3 -c "bytearray(100000000)"; sleep infinity\'\n';
  await hand.machine.writeFile('/etc/systemd/system/hungry.service', unit);
  await hand.shell('systemctl daemon-reload; systemctl start hungry');
  const look = () => hand.agent.look({ kernel: { unit: 'hungry' }, unit: { name: 'hungry' } });
  await waitUntil('the kernel has written of the kill', async () =>
    (await look()).kernel.outOfMemory.some(({ message }) => message.includes('Killed process')),
  );
  const { kernel, unit: seen } = await look();
  expect(kernel.readable).toBe(true);
  expect(kernel.outOfMemory.map((each) => each.message).join('\n')).toMatch(
    /Memory cgroup out of memory: Killed process \d+ \(python3\)/,
  );
  expect(seen.memory?.events).toMatchObject({ oom_kill: 1, high: 0 });
  expect(seen.memory?.currentBytes).toBeGreaterThan(0);
  expect(seen.memory?.peakBytes).toBeGreaterThan(10 * MiB);
  // A unit that starts after it has nothing to do with it.
  await hand.shell('systemctl restart slideshow-web');
  const later = await hand.agent.look({ kernel: { unit: 'slideshow-web' } });
  expect(later.kernel).toMatchObject({ readable: true, outOfMemory: [] });
  await hand.shell('systemctl stop hungry');
});

test('end-process: never a kernel thread', { tags: ['nightly'] }, async () => {
  const kernel = (await readProcesses(hand.machine)).get(2);
  const startTicks = Number(kernel?.started);
  const end: PlainOperation = {
    op: 'end-process',
    unit,
    ...noApp,
    user: 'root',
    processes: [{ pid: 2, startTicks, cgroup: '/' }],
    graceSeconds: seconds(1),
  };
  expect((await hand.refuse([end])).message).toContain('is a kernel thread');
});

/** Stands for a worker with a task that holds memory, needs some more, and ends once it is told. */
const WORKER = `#!/usr/bin/python3 -IS
import os, signal, socket, sys, time
mebibyte = 1 << 20
task = os.fork()
if task == 0:
    held = b'x' * (int(sys.argv[1]) * mebibyte)
    open('/run/held', 'w').close()
    while not os.path.exists('/run/end'):
        time.sleep(0.1)
    more = b'y' * mebibyte
    with open('/run/ended', 'w') as file:
        file.write('the task ended')
    os._exit(0)

def end(*_):
    open('/run/end', 'w').close()
    os.waitpid(task, 0)
    for name in ('held', 'end'):
        os.unlink('/run/' + name)
    sys.exit(0)

signal.signal(signal.SIGTERM, end)
while not os.path.exists('/run/held'):
    time.sleep(0.1)
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])
time.sleep(100000)
`;

const unit = 'worker.service';
const path = `/etc/systemd/system/${unit}`;

/** A worker whose task holds so much, below such limits. */
const text = (holdsMebibytes: number, max: string, high: string) => `[Service]
Type=notify
KillMode=mixed
ExecStart=/srv/worker ${holdsMebibytes}
MemoryMax=${max}
MemoryHigh=${high}
[Install]
WantedBy=multi-user.target
`;
const generous = text(250, '400M', '380M');
const tight = text(10, '60M', '50M');
const tighter = text(10, '55M', '45M');

const guard: PlainOperation = { op: 'guard-unit', unit, ...noApp };
const install = (content: string, before: string | null) =>
  installUnit(unit, path, content, before);
const stop: PlainOperation = { op: 'stop-unit', unit, ...noApp, timeoutSeconds: seconds(120) };
const start: PlainOperation = { op: 'start-unit', unit, ...noApp, timeoutSeconds: seconds(120) };
const prove = (max: string, high: string, minHealthy = 1): PlainOperation => ({
  op: 'prove-unit',
  unit,
  properties: { MemoryMax: max, MemoryHigh: high },
  children: 1,
  minHealthySeconds: seconds(minHealthy),
  timeoutSeconds: seconds(30),
});

/** What the kernel holds the worker to, what systemd says, and the drop-ins it says it by. */
async function limits(): Promise<Record<string, string>> {
  const cgroup = `/sys/fs/cgroup/system.slice/${unit}`;
  const seen = await hand.shell(`cat ${cgroup}/memory.max ${cgroup}/memory.high
    systemctl show ${unit} -P MemoryHigh -P MemoryMax -P NeedDaemonReload
    echo "drop-ins: $(systemctl show ${unit} -P DropInPaths)"
    find /run/systemd/system -name '${unit}*'`);
  const [max = '', high = '', ...more] = seen.split('\n');
  return { max, high, said: more.join(' ') };
}
const under = (max: number, high: number) => ({
  max: String(max * MiB),
  high: String(high * MiB),
  said: `${high * MiB} ${max * MiB} no drop-ins: `,
});
const mainPid = () => hand.shell(`systemctl show -P MainPID ${unit}`);
const isHeld = `/run/systemd/system/${unit}.d/zzz-celeriac-until-start.conf`;
const held = (max: number, high: number) => ({
  ...under(max, high),
  said: expect.stringContaining(isHeld),
});

/** The worker runs as if it had always done so. */
async function serve(content: string): Promise<void> {
  await hand.shell(`systemctl stop ${unit} 2>/dev/null || true`);
  await hand.machine.writeFile('/srv/worker', WORKER, '0755');
  await hand.machine.writeFile(path, content);
  await hand.shell(`systemctl daemon-reload; systemctl enable -q ${unit}; systemctl start ${unit}`);
}

describe('memory limits', () => {
  test('a task above the new limits is not killed before it ends', async () => {
    await serve(generous);
    expect(await limits()).toEqual(under(400, 380));
    await hand.commit([
      guard,
      install(tight, generous),
      stop,
      start,
      prove(String(60 * MiB), String(50 * MiB)),
    ]);
    expect(await hand.shell('cat /run/ended')).toBe('the task ended');
    expect(await hand.shell(`journalctl -k -q -o cat --grep 'oom_memcg=.*/${unit}' || true`)).toBe(
      '',
    );
    expect(await limits()).toEqual(under(60, 50));
  });

  test('undone before the worker is stopped, without leftovers', {
    tags: ['nightly'],
  }, async () => {
    await serve(generous);
    const main = await mainPid();
    const { transaction } = await hand.commit([guard, install(tight, generous)]);
    expect(await limits()).toEqual(held(400, 380));
    const undone = await hand.undo(transaction);
    expect(messages(undone)).toEqual([
      `${unit} never stopped serving (main ${main}, 1 child)`,
      `${path} restored`,
    ]);
    expect(await limits()).toEqual(under(400, 380));
  });

  test('a run that was killed leaves them to its undo; they are no part of the unit meanwhile', {
    tags: ['nightly'],
  }, async () => {
    await serve(tight);
    const other = await Hand.open(hand.machine);
    const running = other.apply([
      guard,
      install(tighter, tight),
      prove(String(60 * MiB), String(50 * MiB), 600),
    ]);
    running.catch(() => {});
    await expect
      .poll(() => other.progress.some((each) => each.kind === 'step-started' && each.index === 2), {
        timeout: 360_000,
      })
      .toBe(true);
    // Whoever comes next is to find it: neither the guard, nor the runner that follows the work.
    await other.agent.close();
    await hand.shell(
      `systemctl stop celeriac-guard.timer; systemctl kill -s KILL $(systemctl list-units --plain --no-legend 'celeriac-*.scope' | cut -d' ' -f1)`,
    );
    await running.catch(() => {});

    expect(await limits()).toEqual(held(60, 50));
    const seen = await hand.agent.look({ unit: { name: unit } });
    expect(seen.unit.dropIns).toEqual([]);
    const next = hand.apply([guard]).then(String, String);
    expect(await next).toContain('was interrupted and has now been undone');
    expect(await hand.shell(`cat ${path}`)).toBe(tight.trimEnd());
    expect(await limits()).toEqual(under(60, 50));
  });

  test('lost after a power cut between install and start', {
    tags: ['nightly'],
  }, async () => {
    await serve(tight);
    await hand.commit([install(tighter, tight)]);
    expect(await limits()).toEqual(held(60, 50));
    await hand.machine.crash();
    hand = await Hand.open(hand.machine);
    await hand.shell(`systemctl start ${unit}`);
    expect(await limits()).toEqual(under(55, 45));
  });
});
