import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { type ActionName, actions } from '../../src/config/action-inputs.ts';
import { parseFleetFile } from '../../src/config/fleet-file.ts';
import { type Fingerprint, takeFingerprint } from '../lib/fingerprint.ts';
import { initFor, printOnConsole } from './lib/init.ts';

const unitPath = '/etc/systemd/system/celery-worker.service';

let machine: Machine;
beforeAll(async () => {
  machine = await startMachine({ name: 'init', state: 'healthy' });
});
afterAll(() => machine?.stop());

/** Everything that init could have changed. The look itself opens the database. */
async function look(): Promise<Fingerprint> {
  const found = await takeFingerprint(machine, ['/root']);
  await machine.run('rm -f /root/slideshow/backend/*.db-wal /root/slideshow/backend/*.db-shm');
  return found;
}

test('an empty repository gets its files, and the host stays as it is', async () => {
  // Nobody has compared the key, so nothing is sent.
  const unknown = await initFor(machine);
  expect(unknown.code).toBe(2);
  expect(unknown.err).toContain('--fingerprint SHA256:…');
  unknown.remove();

  const before = await look();
  const done = await initFor(machine, '--fingerprint', await printOnConsole(machine));
  expect(done.code, done.err).toBe(0);
  expect(await look()).toEqual(before);

  const fleet = done.read('.github/fleet.yml');
  for (const name of Object.keys(actions) as ActionName[]) {
    const values = parseFleetFile('.github/fleet.yml', fleet, name);
    expect(values.get('host')?.text).toBe(machine.host);
  }
  const cleanup = parseFleetFile('.github/fleet.yml', fleet, 'cleanup');
  expect(cleanup.get('database')?.text).toBe('/root/slideshow/backend/batch_processing.db');
  expect(fleet).toMatch(/^# +also-restart: slideshow-web.service$/m);
  expect(done.out).toContain('app        celery_app, in /root/slideshow/backend');
  const [, line = 'none'] = /--body '([^']+)'/.exec(done.out) ?? [];
  expect(machine.knownHosts).toContain(line);
  done.remove();
});

/** As people start a worker by hand. */
const byHand = `systemctl disable --now celery-worker && rm ${unitPath} && systemctl daemon-reload
cd /root/slideshow/backend
export SHOP_TOKEN='a "b" $c'
nohup /usr/bin/celery -A celery_app worker --loglevel=info -c 1 -Q celery,batch,links,variations --pidfile=/tmp/w.pid >/tmp/w.log 2>&1 </dev/null &
for i in $(seq 100); do grep -q ' ready' /tmp/w.log && exit 0; sleep 0.2; done; exit 1`;

describe('a worker without a unit', { tags: ['nightly'] }, () => {
  test('gets one by the steps that init prints', async () => {
    await machine.reset();
    expect((await machine.run(byHand)).code).toBe(0);
    const print = await printOnConsole(machine);
    const before = await look();
    const first = await initFor(machine, '--fingerprint', print);
    expect(first.code, first.err).toBe(0);
    expect(await look()).toEqual(before);
    expect(first.out).toContain('started from a login, as with nohup');
    expect(first.out).toContain('variables  SHOP_TOKEN');
    expect(first.out + first.err).not.toContain('a "b"');

    const said = (pattern: RegExp): string => pattern.exec(first.out)?.[1] ?? 'false';
    await machine.writeFile(unitPath, first.read('celery-worker.service'));
    for (const command of [
      said(/`(\(umask .*?\.env\))`/),
      said(/`(systemd-analyze verify \S+)`/),
      said(/`(kill -TERM \d+)`/),
      'for i in $(seq 150); do pgrep -f "[c]elery -A" >/dev/null || exit 0; sleep 0.2; done; exit 1',
      said(/`(systemctl daemon-reload && systemctl enable --now \S+)`/),
    ]) {
      const { code, stderr } = await machine.run(command);
      expect(code, `${command}\n${stderr}`).toBe(0);
    }
    const variables = await machine.run(
      "tr '\\0' '\\n' </proc/$(systemctl show -p MainPID --value celery-worker)/environ",
    );
    expect(variables.stdout).toContain('SHOP_TOKEN=a "b" $c\n');

    const second = await first.again('--fingerprint', print);
    expect(second.code, second.err).toBe(0);
    expect(second.read('.github/fleet.yml')).toContain('unit: celery-worker.service\n');
    first.remove();
  });
});
