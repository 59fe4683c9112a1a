import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Extract } from '../../../src/model/job-store.ts';
import { bytes, MiB } from '../../../src/model/units.ts';
import { Hand } from '../lib/hand.ts';

/** An unprivileged user plays the app: it meddles while root has its database read and copied. */

const UNIT = 'shop-worker.service';
const DATABASE = '/srv/app/shop.db';
const SECRET = '/root/secret.db';
const rounds = 6;

let hand: Hand;

beforeAll(async () => {
  hand = await Hand.start('attack-databases');
  const attack = readFileSync(new URL('lib/meddler.py', import.meta.url), 'utf8');
  await hand.machine.writeFile('/srv/meddler.py', attack);
  const definition = '[Service]\nUser=deploy\nExecStart=/bin/true\n';
  await hand.machine.writeFile(`/etc/systemd/system/${UNIT}`, definition);
  await hand.shell(`systemctl daemon-reload
    install -d -o deploy -g deploy /srv/app
    runuser -u deploy -- sqlite3 /srv/app/own.db "CREATE TABLE jobs (id TEXT, status TEXT); INSERT INTO jobs VALUES ('one', 'processing')"
    sqlite3 ${SECRET} "PRAGMA journal_mode = WAL; CREATE TABLE jobs (id TEXT, status TEXT); INSERT INTO jobs VALUES ('root-secret', 'processing')"
    chmod 600 ${SECRET}
    mkdir -p -m 700 /root/bait && echo root >/root/bait/copy.db`);
  await restore();
});
afterAll(() => hand?.stop());

/** The app's link to its own database again. */
const restore = (): Promise<string> =>
  hand.shell(`rm -f ${DATABASE}* && runuser -u deploy -- ln -s own.db ${DATABASE}`);

/** Everything of root's that an attack is after. */
const rootsOwn = (): Promise<string> =>
  hand.shell(
    `find /root/bait /root/secret.db* /etc/passwd /etc/shadow -printf '%p %u %m %T@ %s\\n'; sha256sum /root/bait/* ${SECRET}`,
  );

const extract: Extract = { unit: UNIT, tables: [], counts: 'counts', mostUnknown: 0 };

const lookAtIt = () =>
  hand.agent.look({ stores: { unit: UNIT, databases: [DATABASE], user: null } });

/** What a scheduled clean-up does with a database; each may fail. Returns what reached the runner. */
async function cleanUp(): Promise<string> {
  const { stores } = await lookAtIt();
  const copied = await hand.agent
    .snapshot(DATABASE, bytes(4 * MiB), extract, 'deploy', () => {})
    .then(({ content }) => Buffer.from(content).toString('latin1'))
    .catch(() => '');
  const whose = { database: DATABASE, unit: UNIT, user: 'deploy' };
  await hand.apply([{ op: 'backup-database', ...whose, keep: 3 }]);
  return JSON.stringify(stores) + copied;
}

describe('the app', () => {
  test.each(['folders', 'links', 'stop'])(
    'gets nothing of root while it meddles with %s',
    async (kind) => {
      const before = await rootsOwn();
      await hand.shell(
        `systemd-run -q --collect --unit=meddler --uid=deploy python3 -I /srv/meddler.py ${kind}`,
      );
      for (let round = 0; round < rounds; round += 1) {
        expect(await cleanUp()).not.toContain('root-secret');
      }
      await hand.shell('systemctl stop meddler');
      expect(await rootsOwn()).toBe(before);
      expect(
        await hand.shell(
          'find /var/lib/celeriac/backups /srv/app /tmp /var/tmp -type f -exec grep -l root-secret {} + || true',
        ),
      ).toBe('');
      // Nothing of root's lies where the app could have led it, and no child goes on.
      expect(await hand.shell('find /srv/app /var/tmp -user root -name "*copy*"')).toBe('');
      expect(await hand.shell("pgrep -u deploy -f 'python3' || true")).toBe('');
      await restore();
      const whose = { database: DATABASE, unit: UNIT, user: 'deploy' };
      await hand.commit([{ op: 'backup-database', ...whose, keep: 3 }]);
    },
  );

  test("is refused with both names when its database is a link to root's", async () => {
    await hand.shell(`runuser -u deploy -- ln -sfn /root/secret.db ${DATABASE}`);
    const [store] = (await lookAtIt()).stores;
    expect(store).toMatchObject({ kind: 'unreadable' });
    expect(JSON.stringify(store)).toContain('cannot be opened by deploy');
    await hand.shell(
      `sqlite3 /srv/open.db 'CREATE TABLE jobs (id TEXT)' && runuser -u deploy -- ln -sfn /srv/open.db ${DATABASE}`,
    );
    const whose = { database: DATABASE, unit: UNIT, user: 'deploy' };
    const failure = await hand.refuse([{ op: 'backup-database', ...whose, keep: 3 }]);
    expect(failure.message).toContain(
      `${DATABASE} (a link to /srv/open.db) belongs to root, but ${UNIT} runs as deploy`,
    );
  });
});
