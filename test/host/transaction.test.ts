import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Outcome } from '../../src/model/outcome.ts';
import { seconds } from '../../src/model/units.ts';
import { hostRefusal } from '../lib/refusals.ts';
import { Hand, META, messages, noApp, type PlainOperation, sha256, statuses } from './lib/hand.ts';
import { waitUntil } from './lib/worker.ts';

let hand: Hand;
const STATE = '/var/lib/celeriac';

/** A unit is not started before this file is gone. */
const HELD = '/run/held';

beforeAll(async () => {
  hand = await Hand.start('transaction');
  await hand.machine.writeFile(
    '/etc/systemd/system/held.service',
    `[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'while [ -e ${HELD} ]; do sleep 0.1; done'
TimeoutStartSec=infinity
SuccessExitStatus=SIGTERM
`,
  );
  await hand.shell('systemctl daemon-reload');
});

beforeEach(async () => {
  await hand.shell(
    'umount -q /var/lib/celeriac /mnt/full; rm -rf /srv/* && echo old >/srv/old && systemctl is-active redis-server',
  );
  await hand.shell(`systemctl stop held; touch ${HELD}`);
});

afterAll(async () => {
  await hand?.stop();
});

const write = (path: string, text: string, before: string | null = null): PlainOperation => ({
  op: 'write-file',
  path,
  text,
  mode: '0644',
  expects: before === null ? null : sha256(before),
});
const remove = (path: string, text: string): PlainOperation => ({
  op: 'remove-file',
  path,
  expects: sha256(text),
});
/** Goes on until it is let go. */
const hold: PlainOperation = {
  op: 'start-unit',
  unit: 'held.service',
  ...noApp,
  timeoutSeconds: seconds(600),
};
const letGo = () => hand.shell(`rm ${HELD}`);
/** Changes nothing, and goes on for so long unless Redis is restarted meanwhile. */
const watch = (forSeconds: number): PlainOperation => ({
  op: 'prove-unit',
  unit: 'redis-server.service',
  properties: {},
  children: null,
  minHealthySeconds: seconds(forSeconds),
  timeoutSeconds: seconds(1),
});
/** Cannot succeed: nothing is there to be replaced. */
const fail: PlainOperation = write('/srv/none', 'x', 'y');

/** Runs until the last operation, a long one, has started. */
async function reach(who: Hand, plan: readonly PlainOperation[]): Promise<Promise<Outcome>[]> {
  const begun = who.progress.length;
  const running = who.apply(plan);
  running.catch(() => {});
  const isThere = () =>
    who.progress
      .slice(begun)
      .some((each) => each.kind === 'step-started' && each.index === plan.length - 1);
  await waitUntil('the last operation has started', async () => isThere());
  return [running];
}

/** Waits until the newest transaction has ended; returns its journal's last line. */
const lastEnd = () =>
  hand.shell(
    `cd ${STATE}/transactions; newest=$(ls -t | head -n 1); for i in $(seq 1000); do tail -n 1 $newest/journal.jsonl | grep -q '"ended"' && break; sleep 0.1; done; tail -n 1 $newest/journal.jsonl`,
  );

test('stops at the first failure and undoes what was done, newest first', async () => {
  const outcome = await hand.apply([
    write('/srv/one', '1\n'),
    remove('/srv/old', 'old\n'),
    write('/srv/old', '2\n'),
    watch(0),
    fail,
    write('/srv/later', 'x'),
  ]);
  expect(outcome.result).toBe('undone');
  expect(statuses(outcome)).toEqual(['undone', 'undone', 'undone', 'done', 'failed', 'skipped']);
  expect(outcome.failure).toMatchObject({ index: 4, message: outcome.steps[4]?.message });
  expect(await hand.shell('ls /srv; cat /srv/old')).toBe('old\nold');
  const undone = hand.progress.flatMap((each) =>
    each.kind === 'step-ended' && each.step.status === 'undone' ? [each.step.index] : [],
  );
  expect(undone).toEqual([2, 1, 0]);
  expect(await hand.shell(`stat -c '%a %U' ${STATE} ${STATE}/transactions`)).toBe(
    '700 root\n700 root',
  );
  const plan = await hand.shell(`cat ${STATE}/transactions/${outcome.transaction}/plan.json`);
  expect(JSON.parse(plan)).toMatchObject({
    meta: { holder: 'https://example.com/runs/1' },
    operations: [{ op: 'write-file', title: 'write-file', why: 'a test asks' }, {}, {}, {}, {}, {}],
  });
});

test('an unknown operation is an error, and nothing is begun', async () => {
  const before = await hand.shell(`ls ${STATE}/transactions`);
  const wrong = { op: 'run-shell' } as unknown as PlainOperation;
  const { message } = await hostRefusal(hand.apply([write('/srv/two', '2'), wrong]));
  expect(message).toContain("unknown operation 'run-shell'");
  expect(await hand.shell(`ls /srv; ls ${STATE}/transactions`)).toBe(`old\n${before}`);
});

test('undo: refuses unknown and undone transactions, and later changes', async () => {
  const { transaction } = await hand.commit([
    write('/srv/a', 'ours\n'),
    write('/srv/old', 'new\n', 'old\n'),
  ]);
  await hand.shell('echo theirs >>/srv/a');
  const foreign = await hostRefusal(hand.undo(transaction));
  expect(foreign.message).toContain('/srv/a changed since');
  expect(await hand.shell('cat /srv/a /srv/old')).toBe('ours\ntheirs\nnew');
  await hand.shell('echo ours >/srv/a');
  const outcome = await hand.undo(transaction);
  expect(outcome.transaction).toBe(transaction);
  expect(messages(outcome)).toEqual(['/srv/a removed again', '/srv/old restored']);
  expect((await hostRefusal(hand.undo(transaction))).message).toContain('is already undone');
  for (const unknown of ['20200101T000000-abcd', '../../../etc']) {
    expect((await hostRefusal(hand.undo(unknown))).message).toContain(
      'unknown transaction on this host',
    );
  }
});

test('a manual edit in the middle is kept; the rest is undone', async () => {
  const [running] = await reach(hand, [write('/srv/b', 'b\n'), write('/srv/c', 'c\n'), watch(600)]);
  await hand.shell('echo theirs >/srv/b; systemctl restart redis-server');
  const outcome = await running;
  expect(outcome?.result).toBe('undo-failed');
  expect(outcome?.failure?.message).toMatch(
    /did not keep running: .*(MainPID|ActiveState) changed from/,
  );
  expect(outcome && statuses(outcome)).toEqual(['not-undone', 'undone', 'failed']);
  expect(outcome?.steps[0]?.message).toContain(
    '/srv/b not restored: somebody else changed it since',
  );
  expect(await hand.shell('cat /srv/b; ls /srv')).toBe('theirs\nb\nold');
  // Once that is out of the way, it can be undone after all.
  await hand.shell('rm /srv/b');
  await hand.undo(outcome?.transaction ?? '');
  expect(await hand.shell('ls /srv')).toBe('old');
});

/** The scopes in which a transaction is being worked on. */
const scopes = () =>
  hand.shell("systemctl list-units --plain --no-legend 'celeriac-*.scope' | cut -d' ' -f1");

test('the runner is gone: the work on the host continues to its end', async () => {
  for (const user of ['root', 'deploy'] as const) {
    const other = await Hand.open(hand.machine, user);
    await reach(other, [write('/srv/old', 'new\n', 'old\n'), write('/srv/d', 'd'), hold]);
    // The agent, and the process of sshd that carries the connection: no way back.
    const { pid } = other.agent.hello;
    await hand.shell(
      `pid=${pid}; until [ "$(cat /proc/$pid/comm)" = sshd ]; do pid=$(awk '/^PPid/ { print $2 }' /proc/$pid/status); done; kill -KILL ${pid} $pid`,
    );
    await letGo();
    expect(await lastEnd()).toContain('"committed"');
    expect(await hand.shell('cat /srv/old; ls /srv')).toBe('new\nd\nold');
    await hand.shell(`rm /srv/*; echo old >/srv/old; systemctl stop held; touch ${HELD}`);
    await other.agent.close();
  }
});

test('after a lost connection the action reconnects, and follows the work to its end', async () => {
  const other = await Hand.open(hand.machine);
  const [running] = await reach(other, [write('/srv/d', 'd'), hold]);
  const { pid } = other.agent.hello;
  await hand.shell(
    `pid=${pid}; until [ "$(cat /proc/$pid/comm)" = sshd ]; do pid=$(awk '/^PPid/ { print $2 }' /proc/$pid/status); done; kill -KILL $pid; systemctl restart ssh`,
  );
  await letGo();
  const outcome = await running;
  expect(outcome?.result).toBe('committed');
  expect(outcome && statuses(outcome)).toEqual(['done', 'done']);
  expect(other.agent.traffic).toMatchObject({ handshakes: 2, execs: 2 });
  const started = other.progress.flatMap((each) =>
    each.kind === 'step-started' ? [each.index] : [],
  );
  expect(started).toEqual([0, 1]);
  await hand.undo(outcome?.transaction ?? '');
  await other.agent.close();
});

/** How many processes wait for the start of the unit. */
const starts = () => hand.shell('pgrep -fc "^systemctl .* start -- held" || true');

test('the work is told to end: everything is undone, and its child is ended', async () => {
  const [running] = await reach(hand, [write('/srv/d', 'd'), hold]);
  await waitUntil('its child is there', async () => (await starts()) === '1');
  await hand.shell(`systemctl stop ${await scopes()}`);
  const outcome = await running;
  expect(outcome?.result).toBe('undone');
  expect(outcome?.failure?.message).toContain('interrupted by a signal on the host');
  expect(await hand.shell('ls /srv; systemctl show -P ActiveState held')).toBe('old\ninactive');
  expect(await starts()).toBe('0');
});

test('the work is killed: the run that follows it undoes it', {
  tags: ['nightly'],
}, async () => {
  const [running] = await reach(hand, [write('/srv/old', 'new\n', 'old\n'), watch(600)]);
  await hand.shell(`systemctl kill -s KILL ${await scopes()}`);
  const outcome = await running;
  expect(outcome?.result).toBe('undone');
  expect(outcome && statuses(outcome)).toEqual(['undone', 'failed']);
  expect(await hand.shell('cat /srv/old; ls /srv')).toBe('old\nold');
});

test('no process is left: the guard undoes it, and disarms itself', async () => {
  const other = await Hand.open(hand.machine);
  await reach(other, [write('/srv/old', 'new\n', 'old\n'), watch(600)]);
  const timer = 'systemctl is-active celeriac-guard.timer || true';
  expect(await hand.shell(timer)).toBe('active');
  await hand.shell(`kill -KILL ${other.agent.hello.pid}; systemctl kill -s KILL ${await scopes()}`);
  await hand.shell('for i in $(seq 600); do grep -q old /srv/old && break; sleep 0.2; done');
  expect(await lastEnd()).toContain('"undone"');
  await hand.shell(
    'while systemctl is-active -q celeriac-guard.timer; do sleep 0.5; done; ! ls /etc/systemd/system/timers.target.wants/celeriac-guard.timer 2>/dev/null',
  );
  const { transactions } = await hand.agent.look({ transactions: {} });
  expect(transactions.at(-1)).toMatchObject({
    state: 'undone',
    undoneBy: 'the host itself',
    undoneWhy: expect.stringContaining('interrupted'),
  });
  await other.agent.close().catch(() => {});
});

test('a run finds an interrupted transaction before the guard does, undoes it and reports it', async () => {
  const cut = async () => {
    const other = await Hand.open(hand.machine);
    await reach(other, [write('/srv/old', 'new\n', 'old\n'), watch(600)]);
    await hand.shell(
      `systemctl stop celeriac-guard.timer; kill -KILL ${other.agent.hello.pid}; systemctl kill -s KILL ${await scopes()}`,
    );
    await other.agent.close().catch(() => {});
    expect(await hand.shell('cat /srv/old')).toBe('new');
  };
  await cut();
  const deeds = await hand.agent.recover(META, () => {});
  expect(deeds).toHaveLength(1);
  expect(deeds[0]).toMatchObject({ result: 'undone', by: 'the host itself' });
  expect(await hand.shell('cat /srv/old')).toBe('old');
  expect(await hand.agent.recover(META, () => {})).toEqual([]);

  await cut();
  const { message, failure } = await hostRefusal(hand.apply([write('/srv/e', 'e')]));
  expect(message).toContain('was interrupted and has now been undone; this run changed nothing');
  expect(failure.next).toContain('run again');
  expect(await hand.shell('cat /srv/old; ls /srv')).toBe('old\nold');
  const again = await hand.commit([write('/srv/e', 'e')]);
  await hand.undo(again.transaction);
});

test('two at once: one waits and names the holder, or gives up and names it', async () => {
  const other = await Hand.open(hand.machine);
  const [running] = await reach(hand, [write('/srv/f', '1'), hold]);
  const meta = { holder: 'https://example.com/runs/2' };
  const hasty = await hostRefusal(
    other.apply([write('/srv/f', '2')], { ...meta, lockTimeoutSeconds: seconds(1) }),
  );
  expect(hasty.message).toContain(
    'could not get the lock of this host within 1 s: https://example.com/runs/1 (test',
  );
  const waiting = other.apply([write('/srv/g', '2')], meta);
  await waitUntil('it waits', async () => other.notes.length > 0);
  await letGo();
  const waited = await waiting;
  expect(waited.result).toBe('committed');
  expect(other.notes[0]).toContain('waiting for the lock of this host, held by https://');
  expect((await running)?.result).toBe('committed');
  expect(await hand.shell(`cat /srv/f /srv/g ${STATE}/lock`)).toBe('12');
  await other.agent.close();
});

test('a full disk: no journal, no change; full in the middle: undone anyway', async () => {
  await hand.shell(`mkdir -p -m 700 /mnt/full ${STATE} && mount -t tmpfs -o size=4M none /mnt/full
    mount --bind /mnt/full ${STATE} && head -c 8M /dev/zero >/mnt/full/ballast || true`);
  const full = await hostRefusal(hand.apply([write('/srv/h', 'h')]));
  expect(full.message).toContain('No space left on device; nothing was changed');
  expect(full.failure.next).toContain('free some space');
  expect(await hand.shell(`ls /srv; ls -A ${STATE}/transactions`)).toBe('old');

  await hand.shell(`rm ${STATE}/ballast`);
  const [running] = await reach(hand, [
    write('/srv/old', 'new\n', 'old\n'),
    write('/srv/h', 'h'),
    watch(600),
  ]);
  await hand.shell(
    `head -c 8M /dev/zero >${STATE}/ballast 2>/dev/null; systemctl restart redis-server`,
  );
  const outcome = await running;
  expect(outcome?.result).toBe('undone');
  expect(await hand.shell('cat /srv/old; ls /srv')).toBe('old\nold');
  expect(await lastEnd()).toContain('"undone"');

  // Room for the plan with its contents and for the reserve, and not for what it writes.
  await hand.shell(
    `rm ${STATE}/ballast; free=$(df --output=avail -B1 ${STATE} | tail -1); head -c $((free - 2400 * 1024)) /dev/zero >${STATE}/ballast`,
  );
  const small = await hand.apply([
    write('/srv/h', 'h'),
    write('/mnt/full/big', 'x'.repeat(700 * 1024)),
    write('/mnt/full/bigger', 'x'.repeat(200 * 1024)),
  ]);
  expect(small.failure?.message).toContain('No space left on device: /mnt/full/big');
  expect(small.result).toBe('undone');
  expect(await hand.shell('ls /srv; ls -A /mnt/full')).toBe(
    'old\nbackups\nballast\nlock\nprogram.py\ntransactions\nversion',
  );
});

test('the last 20 are kept, and those that no run has reported', {
  tags: ['nightly'],
}, async () => {
  const folder = `${STATE}/transactions`;
  const list = async () => (await hand.shell(`ls ${folder}`)).split('\n');
  const { transactions } = await hand.agent.look({ transactions: {} });
  const undoneAlone = transactions.filter(({ undoneBy }) => undoneBy === 'the host itself');
  await hand.agent.acknowledge(undoneAlone.map(({ id }) => id));
  const { transaction } = await hand.commit([write('/srv/i', 'i')]);
  await hand.shell(
    `cd ${folder}; for i in $(seq 1000 1029); do cp -a ${transaction} 20200101T000000-$i; sed -i 's/"startedAt": [0-9]*/"startedAt": 10/' 20200101T000000-$i/plan.json; done; sed -i '/"ended"/d' 20200101T000000-1000/journal.jsonl; mkdir 20200101T000000-ffff`,
  );
  const open = '20200101T000000-1000';
  // The open one is undone first; its file is gone by then, as it should be.
  expect((await hostRefusal(hand.apply([]))).message).toContain(open);
  await hand.commit([]);
  const unreported = await list();
  expect(unreported).toHaveLength(21);
  expect(unreported).toContain(open);
  await hand.agent.acknowledge([open]);
  await hand.commit([]);
  const left = await list();
  expect(left).toHaveLength(20);
  expect(left).toContain(transaction);
  expect(left).not.toContain(open);
  expect(left).not.toContain('20200101T000000-ffff');
});
