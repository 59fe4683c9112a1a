import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeSkipped, endStrays, findStrays, identityOf } from '../../../src/celery/strays.ts';
import { workerCommand } from '../../../src/celery/worker-process.ts';
import { seconds } from '../../../src/model/units.ts';
import { Hand, noApp, type PlainOperation } from '../lib/hand.ts';
import { waitUntil } from '../lib/worker.ts';

/** A user who is neither the app nor root starts processes that look like stray workers. */
let hand: Hand;

const COUNT = 30;

beforeAll(async () => {
  hand = await Hand.start('attack-strays');
  await hand.shell('mkdir -p /srv/app /tmp/bin');
  const attack = readFileSync(new URL('lib/lookalike.py', import.meta.url), 'utf8');
  await hand.machine.writeFile('/tmp/bin/celery', attack, '0755');
  for (const [unit, user] of [
    ['rooted', ''],
    ['owned', 'User=deploy\n'],
  ]) {
    const text = `[Service]\n${user}WorkingDirectory=/srv/app\nExecStart=/bin/true\n`;
    await hand.machine.writeFile(`/etc/systemd/system/${unit}.service`, text);
  }
  await hand.shell('systemctl daemon-reload');
  const start = 'setsid python3 /tmp/bin/celery app >/dev/null 2>&1 </dev/null &';
  await hand.shell(
    `su nosudo -s /bin/sh -c 'cd /srv/app; for i in $(seq ${COUNT}); do ${start} done'`,
  );
  await waitUntil('all of them run', async () => {
    return Number(await hand.shell('pgrep -u nosudo -fc "celery -A app" || true')) === COUNT;
  });
});

afterAll(() => hand?.stop());

test.each(['rooted.service', 'owned.service'])(
  'they are named and left, and delay nothing: %s',
  async (unit) => {
    const facts = await hand.agent.look({
      workers: { command: workerCommand },
      unit: { name: unit },
    });
    expect(facts.workers).toHaveLength(COUNT);
    const own = identityOf(facts.unit, 'app', '/srv/app');
    const found = findStrays(facts.workers, own);
    expect(found.strays).toEqual([]);
    expect(describeSkipped(found)).toEqual([
      {
        level: 'notice',
        message: expect.stringMatching(
          new RegExp(`and 20 more: it runs as nosudo, and ${unit} runs as ${own.user}$`),
        ),
      },
    ]);
    // A plan that names them all the same.
    const [end] = endStrays({ ...noApp, unit, app: '', user: own.user }, facts.workers, seconds(1));
    const refused = await hand.refuse([end as PlainOperation]);
    expect(refused.message).toContain(`it runs as nosudo, and the unit runs as ${own.user}`);
    expect(await hand.shell('pgrep -u nosudo -fc "celery -A app"')).toBe(String(COUNT));
  },
);
