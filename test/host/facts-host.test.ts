import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Machine } from '../../sandbox/machine.ts';
import type { StoreFact } from '../../src/model/facts/store.ts';
import { seconds } from '../../src/model/units.ts';
import type { Agent } from '../../src/ports/agent.ts';
import { Hand } from './lib/hand.ts';
import { DATABASE, shell } from './lib/worker.ts';

let hand: Hand;
let machine: Machine;
let agent: Agent;

beforeAll(async () => {
  // The user that is not root: the agent runs by sudo.
  hand = await Hand.start('facts-host', {}, 'deploy');
  ({ machine, agent } = hand);
});

afterAll(() => hand?.stop());

const output = (command: string) => shell(machine, command);

test('host: the machine as its own tools describe it', async () => {
  const { host } = await agent.look({ host: {} });
  expect(host.os).toEqual({
    id: 'debian',
    versionId: '12',
    name: 'Debian GNU/Linux 12 (bookworm)',
  });
  expect(host.kernel).toBe(await output('uname -r'));
  expect(host.systemd).toBe(252);
  const container = await output('systemd-detect-virt --container || true');
  expect(host.container).toBe(container === 'none' ? null : container);
  const isUnified = (await output('stat -fc %T /sys/fs/cgroup')) === 'cgroup2fs';
  expect(host.cgroupVersion).toBe(isUnified ? 2 : 1);
  expect(host.bootId).toBe(await output('cat /proc/sys/kernel/random/boot_id'));
  expect(host.hostname).toBe(await output('hostname'));
  expect(host.memory.totalBytes).toBe(Number(await output("free -b | awk '/^Mem/ {print $2}'")));
  expect(Math.abs(host.now - Number(await output('date +%s')))).toBeLessThan(60);
});

test('files: text, hash, mode; links are not followed; a missing file is no error', async () => {
  await machine.writeFile('/srv/ä.txt', 'two\nlines\n', '0640');
  await machine.run(
    'head -c 2000 /dev/urandom >/srv/bytes; ln -sf /dev/null /srv/link; mkfifo /srv/fifo',
  );
  const paths = ['/srv/ä.txt', '/srv/bytes', '/srv/link', '/srv/fifo', '/srv', '/srv/no/thing'];
  const { files } = await agent.look({ files: { paths } });
  expect(files['/srv/ä.txt']).toEqual({
    kind: 'file',
    text: 'two\nlines\n',
    sha256: await output("sha256sum /srv/ä.txt | cut -d' ' -f1"),
    sizeBytes: 10,
    mode: '0640',
    owner: 'root',
    group: 'root',
  });
  expect(files['/srv/bytes']).toMatchObject({ kind: 'file', text: null, sizeBytes: 2000 });
  expect(files['/srv/link']).toEqual({ kind: 'symlink', target: '/dev/null' });
  expect(files['/srv/fifo']).toEqual({ kind: 'other', what: 'named pipe' });
  expect(files['/srv']).toEqual({ kind: 'other', what: 'directory' });
  expect(files['/srv/no/thing']).toEqual({ kind: 'absent' });
});

test('swap: absent, with holes, with data, formatted; a link', async () => {
  const path = '/swap file';
  const look = async (at = path) => (await agent.look({ swap: { path: at } })).swap;
  const absent = await look();
  expect(absent.file).toEqual({ kind: 'absent' });
  expect(absent.fstab).toMatchObject({ kind: 'file', mode: '0644' });
  const type = await output('findmnt -no FSTYPE /');
  expect(absent.filesystem).toMatchObject({ type, mountPoint: '/' });
  const elsewhere = await look('/run/no/such/swapfile');
  expect(elsewhere.filesystem).toMatchObject({ type: 'tmpfs', mountPoint: '/run' });

  await machine.run(`truncate -s 8M '${path}'; chmod 644 '${path}'`);
  expect((await look()).file).toEqual({
    kind: 'file',
    sizeBytes: 8 * 1024 * 1024,
    allocatedBytes: 0,
    mode: '0644',
    owner: 'root',
    formatted: false,
    blank: true,
    nocow: expect.toSatisfy((value) => value === null || value === false),
  });
  await machine.run(`printf x | dd of='${path}' bs=1 seek=8000000 conv=notrunc status=none`);
  expect((await look()).file).toMatchObject({ blank: false });

  await machine.run(
    `rm '${path}'; fallocate -l 8M '${path}'; chmod 600 '${path}'; mkswap '${path}'`,
  );
  const { file } = await look();
  expect(file).toMatchObject({ kind: 'file', mode: '0600', formatted: true });
  expect(file.kind === 'file' && file.allocatedBytes).toBeGreaterThanOrEqual(8 * 1024 * 1024);
  await machine.run(`rm '${path}'; ln -s /elsewhere '${path}'`);
  expect((await look()).file).toEqual({ kind: 'symlink', target: '/elsewhere' });
});

test('sysctl: the order of systemd-sysctl, whatever the spelling', async () => {
  await machine.run(`
    mkdir -p /run/sysctl.d
    printf '# x\\nvm.swappiness = 11\\n' >/usr/lib/sysctl.d/10-vendor.conf
    printf '; x\\n-vm/swappiness=12\\nvm.overcommit_memory=1\\n' >/run/sysctl.d/50-run.conf
    printf 'vm.swappiness=13\\n' >/usr/lib/sysctl.d/50-run.conf
    printf 'vm.swappiness=14\\n' >/usr/lib/sysctl.d/60-hidden.conf
    ln -sf /dev/null /etc/sysctl.d/60-hidden.conf
    ln -sf ../sysctl.conf /etc/sysctl.d/99-sysctl.conf
    printf '\\nvm.swappiness=15\\n' >/etc/sysctl.conf
  `);
  const names = ['vm.swappiness', 'vm.no_such_thing'];
  const { sysctl } = await agent.look({ sysctl: { names } });
  expect(sysctl.values).toEqual({
    'vm.swappiness': await output('cat /proc/sys/vm/swappiness'),
    'vm.no_such_thing': null,
  });
  const setting = (value: string, path: string, line: number) => ({
    name: 'vm.swappiness',
    value,
    path,
    line,
  });
  expect(sysctl.settings).toEqual([
    setting('11', '/usr/lib/sysctl.d/10-vendor.conf', 2),
    setting('12', '/run/sysctl.d/50-run.conf', 2),
    setting('15', '/etc/sysctl.conf', 2),
  ]);
});

test('http: every status is an answer; timeout and refusal are distinguished', async () => {
  // A port that takes connections and never says a word.
  await machine.run(`
    systemd-run --unit=mute --service-type=exec python3 -c "
import socket, time
server = socket.create_server(('127.0.0.1', 9099)); open('/srv/mute', 'w').close()
time.sleep(100000)"
    timeout 60 sh -c 'until [ -e /srv/mute ]; do sleep 0.1; done'
  `);
  const timeoutSeconds = seconds(15);
  const { http } = await agent.look({
    http: {
      probes: [
        { url: 'http://127.0.0.1/api/jobs?limit=10', timeoutSeconds },
        { url: 'http://127.0.0.1/api/no-such-thing', timeoutSeconds },
        { url: 'http://127.0.0.1:9/', timeoutSeconds },
        { url: 'http://127.0.0.1:9099/', timeoutSeconds: seconds(1) },
        { url: 'file:///etc/passwd', timeoutSeconds },
      ],
    },
  });
  expect(http[0]).toMatchObject({ kind: 'answered', status: 200 });
  expect(() => JSON.parse(http[0]?.kind === 'answered' ? http[0].body : '')).not.toThrow();
  expect(http[1]).toMatchObject({ kind: 'answered', status: 404 });
  expect(http[2]).toMatchObject({ kind: 'failed', error: 'connection refused' });
  expect(http[3]).toMatchObject({ kind: 'failed', error: 'no answer within 1 s' });
  expect(http[4]).toMatchObject({ kind: 'failed', error: expect.stringContaining('http://') });
});

describe('stores', () => {
  test('the tables of the app, found below its directory', async () => {
    const { stores } = await agent.look({
      stores: { unit: 'slideshow-web', databases: null, user: null },
    });
    expect(stores.map((store) => store.path)).toEqual([DATABASE]);
    const [store] = stores as readonly [Extract<StoreFact, { kind: 'sqlite' }>];
    expect(store).toMatchObject({ kind: 'sqlite', owner: 'root', group: 'root' });
    expect(store.tables.map((table) => table.name)).toEqual([
      'batch_links',
      'batch_variations',
      'batches',
      'jobs',
      'video_jobs',
    ]);
    const links = store.tables.find((table) => table.name === 'batch_links');
    expect(links?.columns).toContainEqual(
      expect.objectContaining({ name: 'status', type: 'TEXT' }),
    );
    expect(links?.foreignKeys).toEqual([{ column: 'batch_id', table: 'batches', to: 'id' }]);
  });

  test('a database of another user is left exactly as it was', async () => {
    await machine.run(`
      install -d -o deploy -g deploy /srv/store
      runuser -u deploy -- sqlite3 /srv/store/idle.db 'PRAGMA journal_mode = WAL; CREATE TABLE jobs (id TEXT)'
      cat >/srv/live.py <<'PY'
import sqlite3, time
db = sqlite3.connect('/srv/store/live.db')
db.execute('PRAGMA journal_mode = WAL')
db.execute('CREATE TABLE jobs (id TEXT, status TEXT)')
db.commit()
open('/srv/store/ready', 'w').close()
time.sleep(100000)
PY
      systemd-run --unit=live --service-type=exec -p User=deploy python3 /srv/live.py
      timeout 60 sh -c 'until [ -e /srv/store/ready ]; do sleep 0.1; done'
    `);
    const listing = () => output('cd /srv/store && stat -c "%n %U %s" *.db*');
    const before = await listing();
    expect(before).toContain('live.db-wal deploy');
    const paths = ['/srv/store/idle.db', '/srv/store/live.db'];
    const { stores } = await agent.look({
      stores: { unit: 'slideshow-web', databases: paths, user: 'deploy' },
    });
    expect(stores).toEqual([
      expect.objectContaining({
        kind: 'sqlite',
        owner: 'deploy',
        tables: [{ name: 'jobs', columns: [{ name: 'id', type: 'TEXT' }], foreignKeys: [] }],
      }),
      // Its table is in the -wal alone: read it or miss it.
      expect.objectContaining({
        kind: 'sqlite',
        tables: [expect.objectContaining({ name: 'jobs' })],
      }),
    ]);
    expect(await listing()).toBe(before);
  });

  test('an unreadable database has a reason', async () => {
    await machine.run(`
      cd /srv
      head -c 4096 /dev/urandom >encrypted.db
      cp ${DATABASE} damaged.db
      printf 'garbage-garbage-garbage' | dd of=damaged.db bs=1 seek=100 conv=notrunc status=none
      mkdir -p folder.db
      sqlite3 locked.db 'CREATE TABLE t (x)'
      systemd-run --unit=hold --service-type=exec python3 -c "
import sqlite3, time
db = sqlite3.connect('/srv/locked.db', isolation_level=None)
db.execute('PRAGMA locking_mode = EXCLUSIVE'); db.execute('BEGIN EXCLUSIVE'); open('/srv/held', 'w').close()
time.sleep(100000)"
      timeout 60 sh -c 'until [ -e /srv/held ]; do sleep 0.1; done'
    `);
    const names = ['encrypted', 'damaged', 'folder', 'locked', 'none'];
    const { stores } = await agent.look({
      stores: {
        unit: 'slideshow-web',
        databases: names.map((name) => `/srv/${name}.db`),
        user: null,
      },
    });
    const problems = stores.map((store) =>
      store.kind === 'unreadable' ? store.problem : store.kind,
    );
    expect(problems[0]).toContain('is not a SQLite database');
    expect(problems[1]).toContain('is damaged');
    expect(problems[2]).toContain('is not a regular file');
    expect(problems[3]).toContain('is still locked');
    expect(problems[4]).toBe('absent');
  });
});

test('transactions: none on a fresh host; reading leaves no trace', async () => {
  const { transactions } = await agent.look({ transactions: {} });
  expect(transactions).toEqual([]);
  expect(await output('ls -d /var/lib/celeriac 2>/dev/null || echo none')).toBe('none');
});
