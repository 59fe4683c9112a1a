import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { seconds } from '../../../src/model/units.ts';
import { Hand, noApp, type PlainOperation } from '../lib/hand.ts';
import { waitUntil } from '../lib/worker.ts';

/** Programs and processes of other users say more than any answer may hold. */

const UNIT = 'app.service';
/** As in `wordy.py`. */
const COUNT = 60;

let hand: Hand;

beforeAll(async () => {
  hand = await Hand.start('attack-long-lines');
  const unit = '[Service]\nUser=deploy\nWorkingDirectory=/srv/app\nExecStart=/bin/true\n';
  await hand.machine.writeFile(`/etc/systemd/system/${UNIT}`, unit);
  await hand.shell('mkdir -p /srv/app');
  const loud = 'import os\nos.write(1, b"x" * 3000000 + b"\\n")\nos._exit(1)\n';
  await hand.machine.writeFile('/srv/app/loud.py', loud);
  await hand.shell('systemctl daemon-reload; chown -R deploy: /srv/app');
});

afterAll(() => hand?.stop());

const trying: PlainOperation = {
  op: 'try-app',
  ...noApp,
  unit: UNIT,
  interpreter: ['/usr/bin/python3'],
  app: 'loud',
  modules: [],
  directory: null,
  timeoutSeconds: seconds(60),
};

test('an app that prints megabytes in one line and fails: the failure is told, and is short', async () => {
  const { message, evidence } = await hand.refuse([trying]);
  expect(message).toContain('the app loud does not import as user deploy');
  expect(message.length).toBeLessThan(5_000);
  expect(JSON.stringify(evidence).length).toBeLessThan(50_000);
});

test('processes of another user with very long arguments do not keep a run from its answer', async () => {
  const attack = readFileSync(new URL('lib/wordy.py', import.meta.url), 'utf8');
  await hand.machine.writeFile('/srv/app/wordy.py', attack);
  await hand.shell('systemd-run --quiet --unit=wordy --uid=nosudo python3 /srv/app/wordy.py');
  try {
    await waitUntil('all of them run', async () => {
      return Number(await hand.shell('pgrep -u nosudo -fc "^celery -c" || true')) === COUNT;
    });
    const { workers } = await hand.agent.look({ workers: { command: '^celery\\x00' } });
    expect(workers).toHaveLength(COUNT);
    expect(workers[0]?.argv[0]).toBe('celery');
  } finally {
    await hand.shell('systemctl stop wordy');
  }
});
