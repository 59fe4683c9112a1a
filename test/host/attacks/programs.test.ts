import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hostEdition, type Suite } from '../../../sandbox/edition.ts';
import { seconds } from '../../../src/model/units.ts';
import { Hand, messages, noApp, type PlainOperation } from '../lib/hand.ts';

/** The app's own programs, run by an unprivileged user, look for a way out of their sandbox. */

const UNIT = 'tight.service';
const DEFINITION = `[Service]
User=deploy
WorkingDirectory=/srv/app
UMask=0027
ProtectSystem=strict
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_INET
RestrictNamespaces=yes
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
CapabilityBoundingSet=CAP_CHOWN
ReadWritePaths=/srv/allowed -/srv/none
InaccessiblePaths=-/srv/hidden
BindReadOnlyPaths=/etc:/opt/etc
TemporaryFileSystem=/var/games:ro
DeviceAllow=/dev/null rw
IPAddressAllow=localhost
IPAddressDeny=any
SystemCallArchitectures=native
ProtectHome=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectProc=invisible
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LimitNOFILE=2000:3000
MemoryMax=500M
TasksMax=64
Environment=GREETING="it's \\"$5\\"" SECRET=s3cr3t
ExecStart=/bin/true
`;

const SHOWN = [
  'ProtectSystem',
  'PrivateTmp',
  'PrivateDevices',
  'ProtectKernelTunables',
  'ProtectControlGroups',
  'RestrictAddressFamilies',
  'RestrictNamespaces',
  'SystemCallFilter',
  'SystemCallErrorNumber',
  'SystemCallArchitectures',
  'CapabilityBoundingSet',
  'ReadWritePaths',
  'InaccessiblePaths',
  'BindReadOnlyPaths',
  'TemporaryFileSystem',
  'DevicePolicy',
  'DeviceAllow',
  'IPAddressAllow',
  'IPAddressDeny',
  'ProtectHome',
  'ProtectClock',
  'ProtectHostname',
  'ProtectKernelLogs',
  'ProtectKernelModules',
  'ProtectProc',
  'LockPersonality',
  'MemoryDenyWriteExecute',
  'RestrictRealtime',
  'RestrictSUIDSGID',
  'LimitNOFILE',
  'LimitNOFILESoft',
  'MemoryMax',
  'TasksMax',
  'UMask',
  'User',
];

const command = (unit: string, argv: readonly string[], more: object = {}): PlainOperation =>
  ({
    op: 'run-command',
    ...noApp,
    unit,
    interpreter: ['/usr/bin/python3'],
    argv,
    timeoutSeconds: seconds(60),
    ...more,
  }) as PlainOperation;

/** The sandbox's own Debian in each run; older and newer systemd every night. */
const HOSTS: readonly (readonly [Suite | null, readonly string[]])[] = [
  [null, []],
  ['bullseye', ['nightly']],
  ['trixie', ['nightly']],
];

for (const [suite, tags] of HOSTS) {
  describe(`a program of the app on ${suite ?? 'the usual host'}`, { tags: [...tags] }, () => {
    let hand: Hand;

    beforeAll(async () => {
      const edition = suite === null ? {} : { edition: hostEdition(suite) };
      hand = await Hand.start(`attack-programs-${suite ?? 'own'}`, edition);
      await hand.shell('mkdir -p /srv/app /srv/allowed /srv/readonly /srv/hidden');
      await hand.shell('chown deploy /srv/app /srv/allowed /srv/readonly /srv/hidden');
      const attack = readFileSync(new URL('lib/nosy.py', import.meta.url), 'utf8');
      await hand.machine.writeFile('/srv/app/nosy.py', attack);
      await hand.machine.writeFile(`/etc/systemd/system/${UNIT}`, DEFINITION);
      const loose = '[Service]\nUser=deploy\nWorkingDirectory=/srv/app\nExecStart=/bin/true\n';
      await hand.machine.writeFile('/etc/systemd/system/loose.service', loose);
      await hand.shell('systemctl daemon-reload');
    });

    afterAll(() => hand?.stop());

    /** What the program has found, by its words. */
    async function findings(unit: string): Promise<Readonly<Record<string, string>>> {
      hand.progress.length = 0;
      await hand.commit([command(unit, ['python3', 'nosy.py'])]);
      const text = JSON.stringify(hand.progress);
      return Object.fromEntries(
        [...text.matchAll(/attack (\w+)=((?:[^"\\]|\\.)*)/g)].map(([, name, value]) => [
          name,
          value,
        ]),
      );
    }

    const left = () => hand.shell('pgrep -u deploy -f "sleep 4711|nosy" || true');
    const rests = () =>
      hand.shell(
        'ls /run/celeriac/programs; systemctl list-units --all --no-legend "celeriac-program-*"',
      );

    test('gains no privileges, and takes nothing along, whatever its unit allows', async () => {
      const found = await findings('loose.service');
      expect(found).toMatchObject({ nnp: '1', files: 'none', tmp: 'yes' });
      expect(found.sudo).toMatch(/^refused/);
      expect(found.environment).not.toMatch(/SUDO|SSH|CELERIAC/);
      expect(await left()).toBe('');
      expect(await rests()).toBe('');
    });

    test('has the restrictions of its unit', async () => {
      await hand.shell('rm -f /tmp/from-the-app');
      const found = await findings(UNIT);
      expect(found).toMatchObject({ umask: '0027', allowed: 'yes', tmp: 'yes', nnp: '1' });
      expect(found.usr).toMatch(/^refused: Read-only file system/);
      expect(found.sudo).toMatch(/^refused/);
      // The unit's own /tmp, and not the host's.
      expect(await hand.shell('ls /tmp/from-the-app 2>&1 || true')).not.toMatch(/^\/tmp/);
      expect(await left()).toBe('');
    });

    test('runs in a service that systemd shows with the same properties', async () => {
      const shown = SHOWN.join();
      const script = `systemctl show -p ${shown} "$(cut -d/ -f3 /proc/self/cgroup | grep -m1 celeriac-program)"`;
      hand.progress.length = 0;
      await hand.commit([command(UNIT, ['/bin/sh', '-c', script])]);
      const told = hand.progress.flatMap((each) =>
        'message' in each ? [String(each.message)] : [],
      );
      const wanted = (await hand.shell(`systemctl show -p ${shown} ${UNIT}`)).trim().split('\n');
      // systemd 247 shows the addresses of a service in another order than those of a unit file.
      const sorted = (line: string) =>
        /^IPAddress/.test(line) ? line.split(/[ =]/).toSorted().join(' ') : line;
      const seen = told.map(sorted);
      // A line of the output has 500 characters at most.
      for (const line of wanted) expect(seen).toContain(sorted(line.slice(0, 500)));
    });

    test('keeps its variables out of arguments and off the bus', async () => {
      const script = 'echo "seen $GREETING $SECRET"; sleep 3';
      const running = hand.commit([command(UNIT, ['/bin/sh', '-c', script])]);
      let shown = '';
      for (let tries = 0; tries < 50 && !shown.includes('EnvironmentFiles=/run'); tries += 1) {
        shown = await hand.shell(
          'systemctl show "celeriac-program-*"; ps -eo args | grep -v grep | grep celeriac-program || true',
        );
      }
      expect(shown).toContain('EnvironmentFiles=/run/celeriac/programs/');
      expect(shown).not.toContain('s3cr3t');
      await running;
      expect(JSON.stringify(hand.progress)).toContain(`seen it's \\"$5\\" s3cr3t`);
      expect(await rests()).toBe('');
    });

    test('is ended when it floods, and with it what has left its session', async () => {
      const failure = await hand.refuse([
        command('loose.service', ['python3', 'nosy.py', 'flood']),
      ]);
      expect(failure.message).toContain('it printed more than 65536 KiB');
      expect(await left()).toBe('');
      expect(await rests()).toBe('');
    });

    test('tells how it ended: by a signal, late, or never begun', async () => {
      const signal = await hand.refuse([command(UNIT, ['python3', 'nosy.py', 'signal'])]);
      expect(signal.message).toContain('was ended by signal 11');
      const late = await hand.refuse([
        command(UNIT, ['/bin/sleep', '4711'], { timeoutSeconds: seconds(1) }),
      ]);
      expect(late.message).toContain('did not end within 1 s');
      expect(await left()).toBe('');
      const failed = await hand.refuse([command(UNIT, ['/bin/sh', '-c', 'exit 7'])]);
      expect(failed.exitCode).toBe(7);
      const done = await hand.commit([command(UNIT, ['/bin/true'])]);
      expect(messages(done)[0]).toMatch(/^`\/bin\/true` succeeded/);
    });
  });
}
