import { afterAll, beforeAll, expect, test } from 'vitest';
import { seconds } from '../../src/model/units.ts';
import { Hand, messages, type PlainOperation, sha256 } from './hand.ts';

let hand: Hand;

beforeAll(async () => {
  hand = await Hand.start('memory-limits');
  await hand.machine.writeFile('/srv/worker', WORKER, '0755');
});

afterAll(async () => {
  await hand?.stop();
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
const MiB = 1024 * 1024;

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

const guard: PlainOperation = { op: 'guard-unit', unit };
const install = (content: string, before: string | null): PlainOperation => ({
  op: 'install-unit',
  unit,
  path,
  text: content,
  expects: before === null ? null : sha256(before),
});
const stop: PlainOperation = { op: 'stop-unit', unit, timeoutSeconds: seconds(120) };
const start: PlainOperation = { op: 'start-unit', unit, timeoutSeconds: seconds(120) };
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

test('a task above the new limits is not killed before it ends; undone, nothing is left', async () => {
  await hand.commit([guard, install(generous, null), { op: 'enable-unit', unit }, start]);
  const main = await mainPid();
  expect(await limits()).toEqual(under(400, 380));

  const { transaction } = await hand.commit([guard, install(tight, generous)]);
  expect(await limits()).toEqual(held(400, 380));
  const undone = await hand.undo(transaction);
  expect(messages(undone)).toEqual([
    `${unit} never stopped serving (main ${main}, 1 child)`,
    `${path} restored`,
  ]);
  expect(await limits()).toEqual(under(400, 380));

  await hand.commit([
    guard,
    install(tight, generous),
    stop,
    start,
    prove(String(60 * MiB), String(50 * MiB)),
  ]);
  expect(await hand.shell('cat /run/ended')).toBe('the task ended');
  expect(await hand.shell("journalctl -k -q -o cat --grep 'out of memory' || true")).toBe('');
  expect(await limits()).toEqual(under(60, 50));
});

test('a run that was killed leaves them to its undo; they are no part of the unit meanwhile', {
  tags: ['nightly'],
}, async () => {
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
  expect(await next).toContain('was cut short and is undone now');
  expect(await hand.shell(`cat ${path}`)).toBe(tight.trimEnd());
  expect(await limits()).toEqual(under(60, 50));
});

test('a host that lost its power between install and start has forgotten them', {
  tags: ['nightly'],
}, async () => {
  await hand.commit([install(tighter, tight)]);
  expect(await limits()).toEqual(held(60, 50));
  await hand.machine.crash();
  await hand.shell(`systemctl start ${unit}`);
  expect(await limits()).toEqual(under(55, 45));
});
