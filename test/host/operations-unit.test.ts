import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { seconds } from '../../src/model/units.ts';
import { Hand, messages, noApp, type PlainOperation, statuses } from './lib/hand.ts';
import { installUnit } from './lib/operations.ts';
import { POOL } from './lib/units.ts';

let hand: Hand;

beforeAll(async () => {
  hand = await Hand.start('operations-unit');
  await hand.machine.writeFile('/srv/pool', POOL, '0755');
});

afterAll(() => hand?.stop());

const unit = 'pool.service';
const path = `/etc/systemd/system/${unit}`;
const text = (program: string, more = '') => `[Unit]
Description=A pool
[Service]
Type=notify
ExecStart=/srv/pool ${program}
TimeoutStopSec=20
${more}
[Install]
WantedBy=multi-user.target
`;

const install = (content: string, before: string | null) =>
  installUnit(unit, path, content, before);
const guard: PlainOperation = { op: 'guard-unit', unit, ...noApp };
const stop = (timeout = 30, name = unit): PlainOperation => ({
  op: 'stop-unit',
  unit: name,
  ...noApp,
  timeoutSeconds: seconds(timeout),
});
const start = (timeout = 30): PlainOperation => ({
  op: 'start-unit',
  unit,
  ...noApp,
  timeoutSeconds: seconds(timeout),
});
const prove = (
  children: number | null,
  properties: Record<string, string> = {},
  minHealthy = 1,
): PlainOperation => ({
  op: 'prove-unit',
  unit,
  properties,
  children,
  minHealthySeconds: seconds(minHealthy),
  timeoutSeconds: seconds(10),
});
/** Until it fails: it has no time that could pass. */
const NEVER = 3600;
const state = () => hand.shell(`systemctl show -P ActiveState -P UnitFileState ${unit}`);
const mainPid = () => hand.shell(`systemctl show -P MainPID ${unit}`);

describe('a unit', () => {
  const first = text('2');

  /** It runs as if it had always done so. */
  beforeEach(async () => {
    await hand.machine.writeFile(path, first);
    await hand.shell(
      `systemctl daemon-reload; systemctl enable -q ${unit}; systemctl reset-failed; systemctl restart ${unit}`,
    );
  });

  test('is installed, enabled, started and proved; again; undone completely; again', async () => {
    const plan: PlainOperation[] = [
      guard,
      install(first, null),
      { op: 'enable-unit', unit },
      start(),
      prove(2, { Type: 'notify', TimeoutStopUSec: '20s' }),
    ];
    await hand.shell(`systemctl disable -q --now ${unit}; rm ${path}; systemctl daemon-reload`);
    const outcome = await hand.commit(plan);
    expect(await state()).toBe('active\nenabled');
    const main = Number(await mainPid());
    expect(outcome.steps[4]?.result).toMatchObject({ mainPid: main, restarts: 0 });
    expect(outcome.steps[4]?.message).toContain(`main ${main}, 2 children`);

    const again = await hand.commit(plan);
    expect(statuses(again)).toEqual(['done', 'already', 'already', 'already', 'done']);
    expect(await mainPid()).toBe(String(main));

    const undone = await hand.undo(outcome.transaction);
    expect(statuses(undone)).toEqual(['undone', 'undone', 'undone', 'undone', 'done']);
    expect(await hand.shell(`systemctl show -P LoadState -P ActiveState ${unit}`)).toBe(
      'not-found\ninactive',
    );
    expect(await hand.shell('find /etc/systemd /run/systemd -name "pool*"')).toBe('');

    expect(statuses(await hand.commit(plan))).toEqual(['done', 'done', 'done', 'done', 'done']);
  });

  test('serves again with its old file if the new one fails its proof', async () => {
    await hand.shell(`chmod 0600 ${path}; touch -d @1234567890 ${path}`);
    const look = `stat -c '%a %Y' ${path}; sha256sum ${path}`;
    const before = await hand.shell(look);
    const outcome = await hand.apply([
      guard,
      stop(),
      install(text('1', 'MemoryMax=500M'), first),
      start(),
      prove(1, { MemoryMax: '1', Restart: 'no' }),
    ]);
    expect(outcome.result).toBe('undone');
    expect(outcome.failure?.message).toBe(
      `${unit} does not run as requested: MemoryMax is ${500 * 1024 * 1024}, expected 1`,
    );
    expect(messages(outcome)[0]).toBe(`${unit} serves again (main ${await mainPid()}, 2 children)`);
    expect(await hand.shell(look)).toBe(before);
    expect(await hand.shell(`systemctl show -P MemoryMax -P NeedDaemonReload ${unit}`)).toBe(
      'infinity\nno',
    );
  });

  const broken: readonly [string, string, number, RegExp][] = [
    ['does not import', text('1 broken'), 30, /ModuleNotFoundError: No module named 'tasks'/],
    ['is never ready', text('1 silent'), 2, /did not become ready within 2 s/],
    ['does not last', text('2 short', 'Restart=always\nRestartSec=1'), 30, /went away/],
    [
      'has no program',
      text('2').replace('/srv/pool', '/srv/none'),
      30,
      /Failed (?:to locate executable|at step EXEC spawning) \/srv\/none/,
    ],
  ];
  test.each(broken)(
    'serves again when its new version %s',
    async (_, content, within, expected) => {
      const proof = prove(2, {}, NEVER);
      const plan = [guard, stop(), install(content, first), start(within), proof];
      const outcome = await hand.apply(plan);
      expect(outcome.result).toBe('undone');
      expect(outcome.failure?.message).toMatch(expected);
      expect(messages(outcome)[0]).toContain('serves again');
      expect(await state()).toBe('active\nenabled');
      expect(await hand.shell(`cat ${path}`)).toBe(first.trimEnd());
    },
  );

  test("reports systemd's messages about it that journald could not attribute", async () => {
    const entry = `MESSAGE=${unit}: Failed to locate executable /srv/none\\nUNIT=${unit}\\n`;
    await hand.machine.writeFile(
      '/srv/elsewhere',
      `#!/bin/sh\nsystemd-run -q --wait sh -c "printf '${entry}' | logger --journald"\nexit 1\n`,
      '0755',
    );
    const content = first.replace('/srv/pool', '/srv/elsewhere');
    const outcome = await hand.apply([guard, stop(), install(content, first), start()]);
    expect(outcome.failure?.message).toContain('Failed to locate executable /srv/none');
  });

  test('reports why it exited, even before its proof began', async () => {
    // Longer than it lives.
    const meanwhile = { ...prove(null, {}, 4), unit: 'redis-server.service' } as PlainOperation;
    const short = install(text('2 short'), first);
    const outcome = await hand.apply([guard, stop(), short, start(), meanwhile, prove(2)]);
    expect(outcome.failure?.message).toBe(`${unit} is failed (failed): went away`);
    expect(messages(outcome)[0]).toContain('serves again');
  });

  test('that was never stopped is not touched', async () => {
    const before = await mainPid();
    const proof = { ...prove(7), timeoutSeconds: seconds(1) } as PlainOperation;
    const outcome = await hand.apply([guard, proof]);
    expect(outcome.failure?.message).toContain('has 2 pool processes after 1 s, expected 7');
    expect(outcome.failure?.evidence).toHaveLength(2);
    expect(messages(outcome)[0]).toBe(`${unit} never stopped serving (main ${before}, 2 children)`);
    expect(await mainPid()).toBe(before);
  });

  test('is protected: links and stale plans are refused', async () => {
    expect((await hand.refuse([install('x', null)])).message).toContain('changed after the plan');
    await hand.shell('ln -sf /dev/null /etc/systemd/system/masked.service');
    const masked = { ...install('x', null), path: '/etc/systemd/system/masked.service' };
    expect((await hand.refuse([masked as PlainOperation])).message).toContain(
      'is a symbolic link to /dev/null',
    );
    const enable = await hand.refuse([{ op: 'enable-unit', unit: 'masked.service' }]);
    expect(enable.message).toContain('masked');
  });

  test('is stopped with all its processes, even if its KillMode leaves them; again', async () => {
    const lax = text('2', 'KillMode=process');
    const { transaction } = await hand.commit([guard, stop(), install(lax, first), start()]);
    const outcome = await hand.commit([stop()]);
    expect(messages(outcome)[0]).toContain(
      `${unit} stopped, no process left; 2 leftover processes ended`,
    );
    expect(await hand.shell('pgrep -fc "^/usr/bin/python3 -IS /srv/pool" || true')).toBe('0');
    expect(statuses(await hand.commit([stop()]))).toEqual(['already']);
    await hand.undo(transaction);
    expect(await state()).toBe('active\nenabled');
  });

  test('that does not stop in time is reported with its processes, and keeps serving', async () => {
    const stubborn = text('1 stubborn', 'TimeoutStopSec=infinity');
    await hand.commit([guard, stop(), install(stubborn, first), start()]);
    const running = hand.apply([guard, stop(1)]);
    running.catch(() => {});
    const hasFailed = () =>
      hand.progress.some(
        (each) =>
          each.kind === 'step-ended' &&
          each.step.status === 'failed' &&
          each.step.message.includes('could not stop'),
      );
    await expect.poll(hasFailed, { timeout: 90_000 }).toBe(true);
    // The undo waits until it has stopped after all.
    await hand.shell(`systemctl kill -s KILL ${unit}`);
    const outcome = await running;
    expect(outcome.result).toBe('undone');
    expect(outcome.failure?.message).toContain(`could not stop ${unit}`);
    expect(outcome.failure?.evidence?.join('\n')).toContain('/srv/pool 1 stubborn');
    expect(messages(outcome)[0]).toContain('serves again');
    await hand.shell(`systemctl kill -s KILL ${unit}`);
  });
});

test('verify-unit: messages about this unit count; messages about others do not', async () => {
  const verify = (content: string, name = unit): PlainOperation => ({
    op: 'verify-unit',
    unit: name,
    text: content,
  });
  await hand.machine.writeFile(
    '/etc/systemd/system/other.service',
    '[Service]\nExecStart=/bin/true\nMemoryMax=lots\nNonsense=1\n',
  );
  const near = text('1').replace(
    '[Service]',
    'After=other.service\nRequires=other.service\n[Service]',
  );
  await hand.commit([
    verify(near),
    verify('[Service]\nExecStart=/bin/echo %i\n', 'worker@.service'),
  ]);
  // It exits 0 on this one: no limit at all.
  const limit = await hand.refuse([verify(text('1', 'MemoryMax=1500MB'))]);
  expect(limit).toMatchObject({ exitCode: 0, ran: expect.arrayContaining(['systemd-analyze']) });
  expect(limit.evidence).toEqual([
    `${unit}:7: Invalid memory limit '1500MB', ignoring: Invalid argument`,
  ]);
  const template = await hand.refuse([verify('[Service]\nBad=%i\n', 'worker@.service')]);
  expect(template.message).toContain("Unknown key 'Bad'");
  const missing = await hand.refuse([verify(text('1').replace('/srv/pool', '/srv/none'))]);
  expect(missing.message).toContain('/srv/none is not executable');
  expect(await hand.shell('ls -d /run/celeriac-* 2>/dev/null || true')).toBe('');
});
