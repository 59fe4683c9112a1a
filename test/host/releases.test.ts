import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { ReleasesFact } from '../../src/model/facts/ledger.ts';
import type { Outcome } from '../../src/model/outcome.ts';
import { seconds } from '../../src/model/units.ts';
import { Hand, META, type PlainOperation, sha256 } from './lib/hand.ts';
import { waitUntil } from './lib/worker.ts';

let hand: Hand;
const UNIT = 'some-worker.service';
const FILE = '/srv/release';
const LONG = seconds(3600);

beforeAll(async () => {
  hand = await Hand.start('releases');
});

beforeEach(async () => {
  await hand.agent.close();
  await hand.machine.reset();
  await comeBack();
});

afterAll(async () => {
  await hand?.stop();
});

const write = (text: string, before: string | null): PlainOperation => ({
  op: 'write-file',
  path: FILE,
  text,
  mode: '0644',
  expects: before === null ? null : sha256(before),
});

/** A release is a file with its name; it goes back unless it is confirmed within this time. */
async function release(
  text: string,
  before: string | null,
  confirmWithinSeconds: typeof LONG | null,
): Promise<Outcome> {
  const outcome = await hand.apply([write(text, before)], {
    action: 'deploy-worker',
    unit: UNIT,
    sha: text.padEnd(40, '0'),
    actor: 'somebody',
    release: { confirmWithinSeconds },
  });
  expect(outcome.result).toBe('committed');
  return outcome;
}

const ledger = async (): Promise<ReleasesFact> =>
  (await hand.agent.look({ releases: { unit: UNIT } })).releases;
const verdicts = async () =>
  (await ledger()).releases.map(({ release: number, verdict }) => `${number} ${verdict}`);
const present = () => hand.shell(`cat ${FILE} 2>/dev/null || echo none`);
const confirm = (transactions: readonly string[]) => hand.agent.confirm(UNIT, transactions, META);
/** A release that stays: what the next one goes back to. */
async function confirmed(text: string, before: string | null): Promise<Outcome> {
  const outcome = await release(text, before, LONG);
  expect(await confirm([outcome.transaction])).toBe(true);
  return outcome;
}
/** A new connection to the host after it was away. */
async function comeBack(): Promise<void> {
  const { machine, agent } = hand;
  await agent.close().catch(() => {});
  hand = await Hand.open(machine);
}

test('the first release: the state before it is release 0; a verdict is awaited', async () => {
  expect(await ledger()).toEqual({ releases: [], awaiting: null, guarded: false, code: null });
  const one = await release('1', null, LONG);
  const now = Number(await hand.shell('date +%s'));
  expect(Math.abs((one.confirmBy ?? 0) - now - LONG)).toBeLessThan(60);
  const seen = await ledger();
  expect(seen).toMatchObject({
    guarded: true,
    awaiting: { transactions: [one.transaction], deadline: one.confirmBy },
  });
  expect(seen.releases).toMatchObject([
    { release: 0, transaction: null },
    {
      release: 1,
      transaction: one.transaction,
      holder: META.holder,
      actor: 'somebody',
      sha: '1'.padEnd(40, '0'),
      verdict: 'none',
      kept: true,
    },
  ]);
  expect(await confirm(['20200101T000000-abcd'])).toBe(false);
  expect((await ledger()).awaiting).not.toBeNull();
  expect(await confirm([one.transaction])).toBe(true);
  expect(await ledger()).toMatchObject({ guarded: false, awaiting: null });
  expect(await verdicts()).toEqual(['0 none', '1 confirmed']);
  // Confirmed, it stays; a second time there is nothing to confirm.
  expect(await confirm([one.transaction])).toBe(false);
  expect(await present()).toBe('1');
  expect(await hand.shell('stat -c "%a %U" /var/lib/celeriac/releases.jsonl')).toBe('600 root');
});

test('without a confirmation the host rolls it back, once', { tags: ['nightly'] }, async () => {
  await confirmed('1', null);
  const two = await release('2', '1', seconds(1));
  await waitUntil('the old file is back', async () => (await present()) === '1');
  await waitUntil('the guard has left', async () => !(await ledger()).guarded);
  expect(await verdicts()).toEqual(['0 none', '1 confirmed', '2 rolled-back']);
  expect((await ledger()).releases.at(-1)?.why).toBe('not confirmed within 1 s');
  const { transactions } = await hand.agent.look({ transactions: { unit: UNIT } });
  expect(transactions.at(-1)).toMatchObject({
    id: two.transaction,
    state: 'undone',
    undoneBy: 'the host itself',
  });
  expect(await confirm([two.transaction])).toBe(false);
  const journal = await hand.shell(
    `grep -c undoing /var/lib/celeriac/transactions/${two.transaction}/journal.jsonl`,
  );
  expect(journal).toBe('1');
});

test('unconfirmed releases are rolled back together, also across a power cut', {
  tags: ['nightly'],
}, async () => {
  await confirmed('1', null);
  await release('2', '1', LONG);
  // Not over before the power is gone.
  const three = await release('3', '2', seconds(25));
  expect((await ledger()).awaiting?.transactions).toHaveLength(2);
  expect((await ledger()).awaiting?.transactions[0]).toBe(three.transaction);
  await hand.machine.crash();
  await comeBack();
  await waitUntil('the confirmed file is back', async () => (await present()) === '1');
  await waitUntil('the guard has left', async () => !(await ledger()).guarded);
  expect(await verdicts()).toEqual(['0 none', '1 confirmed', '2 rolled-back', '3 rolled-back']);
});

test('a power cut in the middle: undone after the boot, without a connection', async () => {
  await hand.commit([write('1', null)]);
  const running = hand.apply([
    write('2', '1'),
    {
      op: 'prove-unit',
      unit: 'redis-server.service',
      properties: {},
      children: null,
      minHealthySeconds: seconds(600),
      timeoutSeconds: seconds(1),
    },
  ]);
  running.catch(() => {});
  await waitUntil('the file is written', async () => (await present()) === '2');
  await hand.machine.crash();
  await waitUntil('the old file is back', async () => (await present()) === '1');
  // The run itself finds its way back to the host, and tells what became of its work.
  const outcome = await running;
  expect(outcome.result).toBe('undone');
  await comeBack();
  await waitUntil('the guard has left', async () => !(await ledger()).guarded);
});

test('a rollback over several releases continues after a power cut', {
  tags: ['nightly'],
}, async () => {
  await confirmed('1', null);
  const two = await release('2', '1', null);
  const three = await release('3', '2', null);
  expect(await verdicts()).toContain('3 confirmed');
  // As if the power had gone once it was written down.
  await hand.machine.writeFile(
    '/var/lib/celeriac/rolling.json',
    JSON.stringify({
      transactions: [three.transaction, two.transaction],
      by: 'https://example.com/runs/9',
      why: 'requested',
    }),
    '0600',
  );
  const deeds = await hand.agent.recover(META, () => {});
  expect(deeds.map(({ transaction, by }) => `${transaction} ${by}`)).toEqual([
    `${three.transaction} https://example.com/runs/9`,
    `${two.transaction} https://example.com/runs/9`,
  ]);
  expect(await present()).toBe('1');
  expect((await verdicts()).slice(-2)).toEqual(['2 rolled-back', '3 rolled-back']);

  const four = await release('4', '1', null);
  const five = await release('5', '4', null);
  const undone = await hand.agent.undo([five.transaction, four.transaction], META, () => {});
  expect(undone.result).toBe('undone');
  expect(undone.steps.map(({ status }) => status)).toEqual(['undone', 'undone']);
  expect(await present()).toBe('1');
});

test('transactions in quick succession: systemd never refuses the guard', async () => {
  await confirmed('1', null);
  const timer = 'celeriac-guard.timer';
  await hand.shell(
    `for _ in 1 2 3 4 5 6 7 8 9; do systemctl start ${timer} && systemctl stop ${timer} || exit 1; done`,
  );
});
