import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bytes, seconds, sha256Text } from '../../../src/model/units.ts';
import type { Parcel } from '../../../src/ports/code.ts';
import { Hand, type PlainOperation } from '../lib/hand.ts';

/** The app's user flips links while Celeriac works on its code, to have root do it elsewhere. */

const UNIT = 'app.service';
const TRIES = 8;

let hand: Hand;

beforeAll(async () => {
  hand = await Hand.start('attack-code');
  for (const name of ['flip.py', 'told.sh']) {
    const text = readFileSync(new URL(`lib/${name}`, import.meta.url), 'utf8');
    await hand.machine.writeFile(`/srv/${name}`, text);
  }
  const unit =
    '[Service]\nUser=deploy\nEnvironment=PYTHONPATH=/srv/app/site\nExecStart=/bin/true\n';
  await hand.machine.writeFile(`/etc/systemd/system/${UNIT}`, unit);
  await hand.shell(`
    systemctl daemon-reload
    mkdir -p /srv/roots/releases /srv/roots/venv/bin /srv/app/own/venv/bin /srv/app/site
    ln -s /usr/bin/python3 /srv/roots/venv/bin/python
    install -m 755 /srv/told.sh /srv/app/own/venv/bin/python
    touch /srv/roots/venv/pyvenv.cfg /srv/app/own/venv/pyvenv.cfg /srv/app/own/requirements.txt
    echo 'import os; os.system("/srv/app/own/venv/bin/python prefix"); os._exit(0)' >/srv/app/site/sitecustomize.py
    chown -R deploy: /srv/app
    install -m 666 /dev/null /var/tmp/ran-as`);
});

afterAll(() => hand?.stop());

/** While the app's user flips the link between these targets. */
async function whileFlipping(link: string, targets: string, work: () => Promise<void>) {
  await hand.shell(
    `systemd-run --quiet --unit=flip --uid=deploy python3 /srv/flip.py ${link} ${targets}`,
  );
  try {
    await work();
  } finally {
    await hand.shell(
      `systemctl stop flip; systemctl reset-failed flip 2>/dev/null; rm -f ${link}*`,
    );
  }
}

const roots = () => hand.shell(`find /srv/roots -printf '%u %m %P %l\\n' | sort`);
const foreign = () => hand.shell('find /srv/app ! -user deploy');
const ranAs = () => hand.shell('sort -u /var/tmp/ran-as');

function archive(): Parcel {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-attack-'));
  writeFileSync(join(folder, 'run.sh'), '#!/bin/sh\n', { mode: 0o755 });
  const content = execFileSync('tar', ['-C', folder, '-cz', 'run.sh']);
  rmSync(folder, { recursive: true });
  const sha256 = sha256Text(createHash('sha256').update(content).digest('hex'));
  return { title: 'the archive', content, sha256, sizeBytes: bytes(content.length) };
}

test('a `deploy-to` that flips to a folder of root gets nothing of root, and root nothing of it', async () => {
  const before = await roots();
  const parcel = archive();
  await hand.agent.send(parcel, () => {});
  const where = { user: 'deploy', deployTo: '/srv/app/code' } as const;
  await whileFlipping(where.deployTo, '/srv/roots /srv/app/own', async () => {
    for (let number = 1; number <= TRIES; number += 1) {
      const commit = String(number).repeat(40);
      const shared = [{ path: 'uploads', folder: true }];
      await hand.apply([
        { op: 'unpack-release', ...where, commit, sha256: parcel.sha256, shared },
        { op: 'switch-release', ...where, commit, expects: null },
      ]);
    }
  });
  expect(await roots()).toBe(before);
  expect(await foreign()).toBe('');
});

const installing = (interpreter: string): PlainOperation => ({
  op: 'install-dependencies',
  user: 'deploy',
  unit: UNIT,
  interpreter: [interpreter],
  tool: 'pip',
  file: 'requirements.txt',
  commit: '0'.repeat(40),
  lock: interpreter,
  timeoutSeconds: seconds(60),
  release: '/srv/app/own',
});

test('an environment of root, with a PYTHONPATH of the app: nothing of the app runs as root', async () => {
  const before = await roots();
  const { message } = await hand.refuse([installing('/srv/roots/venv/bin/python')]);
  expect(message).toContain("/srv/roots/venv belongs to root, and the app's user is deploy");
  expect(message).toContain('app-user');
  expect(await ranAs()).toBe('');
  expect(await roots()).toBe(before);
});

test('an environment that flips to one of root: its programs run as the app alone', async () => {
  const before = await roots();
  await whileFlipping('/srv/app/venv', '/srv/roots/venv /srv/app/own/venv', async () => {
    for (let number = 1; number <= TRIES; number += 1) {
      await hand.apply([installing('/srv/app/venv/bin/python')]);
    }
  });
  // However it flipped, once without.
  await hand.commit([installing('/srv/app/own/venv/bin/python')]);
  expect(await ranAs()).toBe('deploy');
  expect(await roots()).toBe(before);
  expect(await foreign()).toBe('');
});
