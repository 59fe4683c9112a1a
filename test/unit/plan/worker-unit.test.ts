import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findUnitFaults } from '../../../src/celery/unit-faults.ts';
import { readWorkerLine } from '../../../src/celery/worker-line.ts';
import { ConfigError } from '../../../src/model/errors.ts';
import { bytes, MiB, seconds } from '../../../src/model/units.ts';
import { ownDropIns } from '../../../src/plan/unit/drop-in-paths.ts';
import type { UnitSource } from '../../../src/plan/unit/unit-source.ts';
import {
  extendWorkerUnit,
  rewriteWorkerUnit,
  type WorkerUnit,
} from '../../../src/plan/unit/worker-unit.ts';
import { parseUnitFile, type UnitFile } from '../../../src/systemd/unit-file.ts';
import { type UnitContext, unitRules } from '../../../src/systemd/unit-rules.ts';
import { isReadBefore, stackUnit, type UnitPart } from '../../../src/systemd/unit-stack.ts';
import { parseSize, parseTimeSpan } from '../../../src/systemd/values.ts';
import { workerDesired } from '../../lib/worker-desired.ts';

const desired = workerDesired({
  unit: 'x.service',
  queues: ['a'],
  supportModule: { name: 'celeriac_support', text: '' },
});

const context: UnitContext = {
  swapActive: true,
  longestTaskSeconds: 900,
  cpus: 1,
  hostMemoryBytes: bytes(2048 * MiB),
  processes: {
    mainBytes: bytes(60 * MiB),
    childBytes: bytes(300 * MiB),
    baselineBytes: bytes(50 * MiB),
  },
};

const PATH = '/etc/systemd/system/x.service';
const FOLDER = `${PATH}.d`;
const ownPaths = ownDropIns('x.service');

const sourceOf = (text: string, more: Partial<UnitSource> = {}): UnitSource => ({
  path: PATH,
  text,
  dropIns: [],
  own: [],
  ownPaths,
  workingDirectory: '/srv/app',
  ...more,
});

/** What systemd reads once the unit is as planned. */
function readAfter(source: UnitSource, unit: WorkerUnit): UnitFile {
  const dropIns = [...source.dropIns, ...(unit.dropIn ? [unit.dropIn] : [])];
  dropIns.sort((a, b) => (isReadBefore(a.path, b.path) ? -1 : 1));
  return stackUnit([{ path: PATH, text: unit.text }, ...dropIns]).file;
}

/** The same host after the plan. */
const after = (source: UnitSource, unit: WorkerUnit): UnitSource => ({
  ...source,
  text: unit.text,
  own: unit.dropIn ? [unit.dropIn] : [],
});

const modes = { rewrite: rewriteWorkerUnit, 'drop-in': extendWorkerUnit } as const;
const plain =
  '[Service]\nUser=app\nWorkingDirectory=/srv/app\nExecStart=/usr/bin/celery -A x worker\n';

describe.each(unitRules)('the rule $id', (rule) => {
  const { wrong } = rule.example;
  const own = wrong.some((line) => line.startsWith('ExecStart='))
    ? ''
    : 'ExecStart=celery -A x worker';
  const text = ['[Service]', own, ...wrong, ''].join('\n');
  const within = { ...context, swapActive: rule.id !== 'memory-high-without-swap' };

  it.each(Object.entries(modes))('is fixed as its page says: %s', (_mode, change) => {
    const source = sourceOf(text);
    const broken = findUnitFaults(parseUnitFile(text), within);
    expect(broken.map((fault) => fault.rule)).toContain(rule);
    if (rule.severe) {
      expect(() => change(source, desired, within)).toThrow(rule.why);
    }
    const accepting = { ...desired, acceptedRules: rule.severe ? [rule.id] : [] };
    const unit = change(source, accepting, within);
    const still = findUnitFaults(readAfter(source, unit), within).map((fault) => fault.rule);
    const about = unit.findings.filter(({ message }) => message.startsWith(`${rule.title} (`));
    expect(about).not.toEqual([]);
    for (const { message } of about) expect(message).toContain(`unit-rules/${rule.id}.md`);
    if (rule.mends.kind === 'whole') expect(still).not.toContain(rule);
    if (rule.mends.kind === 'not') expect(still).toContain(rule);
    const isNotice = !still.includes(rule) || rule.severe;
    expect(about.every(({ level }) => level === (isNotice ? 'notice' : 'warning'))).toBe(true);
  });

  it('is a notice once it is accepted', () => {
    const wish = { ...desired, acceptedRules: [rule.id] };
    const { findings } = rewriteWorkerUnit(sourceOf(text), wish, within);
    const about = findings.filter(({ message }) => message.startsWith(`${rule.title} (`));
    expect(about.map(({ level }) => level)).toEqual(about.map(() => 'notice'));
    expect(about).not.toEqual([]);
  });
});

describe('a drop-in', () => {
  const dropIn = (name: string, ...lines: readonly string[]): UnitPart => ({
    path: `${FOLDER}/${name}`,
    text: `[Service]\n${lines.map((line) => `${line}\n`).join('')}`,
  });
  const extend = (...dropIns: readonly UnitPart[]) =>
    extendWorkerUnit(sourceOf(plain, { dropIns }), desired, context);

  it('uses its first name, and does not change the unit file', () => {
    const unit = extend();
    expect(unit.text).toBe(plain);
    expect(unit.dropIn?.path).toBe(`${FOLDER}/celeriac.conf`);
  });

  it('is read last if another one would override it', () => {
    expect(extend(dropIn('override.conf', 'MemoryMax=2G')).dropIn?.path).toBe(
      `${FOLDER}/zz-celeriac.conf`,
    );
    expect(extend(dropIn('override.conf', 'MemoryMax=800M')).dropIn?.path).toBe(
      `${FOLDER}/celeriac.conf`,
    );
    expect(extend(dropIn('10-limits.conf', 'MemoryMax=2G')).dropIn?.path).toBe(
      `${FOLDER}/celeriac.conf`,
    );
  });

  it('is refused if another one is read even later', () => {
    expect(() => extend(dropIn('zzz.conf', 'MemoryMax=2G'))).toThrow(
      /zzz.conf:2 sets MemoryMax=2G, which overrides .*zz-celeriac.conf/,
    );
  });

  it('overrides one that has its own command, and removes a line that kills Celery', () => {
    const { dropIn: own } = extend(
      dropIn('override.conf', 'ExecStart=', 'ExecStart=/v/bin/celery -A y worker -c 9', 'Nice=5'),
      dropIn('10-kill.conf', 'ExecStartPre=-/usr/bin/pkill -9 celery', 'ExecStartPre=/bin/true'),
    );
    expect(own?.text).toContain(
      '\nExecStart=\nExecStart=/v/bin/celery -A y worker -c 1 -Q a -I celeriac_support\n',
    );
    expect(own?.text).toContain('\nExecStartPre=\nExecStartPre=/bin/true\n');
    expect(own?.text).not.toContain('Nice');
  });

  it.each([
    ['MemoryMax=1G\nMemoryHigh=900M', { memoryMaxBytes: null, memoryHighBytes: null }],
    ['MemoryLimit=1G', { memoryMaxBytes: null, memoryHighBytes: null }],
    ['WatchdogSec=20', { watchdogSec: null }],
    ['TimeoutStopSec=960\nTimeoutStartSec=120\nTimeoutSec=30', {}],
    ['StartLimitInterval=10', {}],
  ])('disables or overrides what it cannot remove: %s', (lines, wish) => {
    const source = sourceOf(`${plain}${lines}\n`);
    const unit = extendWorkerUnit(source, { ...desired, ...wish }, context);
    const text = unit.dropIn?.text ?? '';
    const said = (key: string) => parseUnitFile(text).value('Service', key);
    for (const line of lines.split('\n')) {
      const [key = ''] = line.split('=');
      const spelling = { TimeoutSec: 'TimeoutStopSec', StartLimitInterval: 'none' }[key] ?? key;
      if (spelling === 'none') expect(text).toContain('[Unit]\nStartLimitIntervalSec=300\n');
      else expect(said(spelling), key).not.toBeNull();
    }
    if (lines.includes('TimeoutSec')) expect(said('TimeoutStopSec')).toBe('960');
    if (lines.includes('MemoryLimit')) expect(said('MemoryLimit')).toBe('infinity');
    if (lines.includes('Watchdog')) expect(said('WatchdogSec')).toBe('0');
  });
});

describe('limits that nobody asks for', () => {
  const wish = { ...desired, memoryMaxBytes: 'keep', memoryHighBytes: 'keep' } as const;

  it.each([
    ['MemoryMax=2G\nMemoryHigh=1G', { MemoryMax: String(2 * 1024 ** 3), MemoryHigh: '1073741824' }],
    ['MemoryMax=40%', {}],
    ['MemoryMax=infinity', {}],
    ['MemoryLimit=1G', {}],
    ['MemoryMax=lots', {}],
    ['', {}],
  ])('stay: %s', (lines, properties) => {
    const source = sourceOf(`${plain}${lines}\n`);
    const unit = rewriteWorkerUnit(source, wish, context);
    expect(unit.text).toContain(lines);
    expect(unit.text.match(/^Memory/gm)?.length ?? 0).toBe(lines.match(/^Memory/gm)?.length ?? 0);
    const shown = Object.entries(unit.properties).filter(([name]) => name.startsWith('Memory'));
    expect(Object.fromEntries(shown)).toEqual(properties);
    expect(extendWorkerUnit(source, wish, context).dropIn?.text).not.toContain('Memory');
  });

  it('stay in a drop-in by somebody else', () => {
    const dropIns = [{ path: `${FOLDER}/zzz.conf`, text: '[Service]\nMemoryMax=2G\n' }];
    for (const change of Object.values(modes)) {
      const unit = change(sourceOf(plain, { dropIns }), wish, context);
      expect(`${unit.text}${unit.dropIn?.text ?? ''}`).not.toContain('Memory');
      expect(unit.properties.MemoryMax).toBe(String(2 * 1024 ** 3));
    }
  });
});

describe('hardening', () => {
  const hard = { ...desired, hardening: 'standard' } as const;

  it('is off unless requested, and keeps existing settings', () => {
    const text = `${plain}ProtectSystem=full\n`;
    expect(rewriteWorkerUnit(sourceOf(text), desired, context).text).toContain(
      'ProtectSystem=full',
    );
  });

  it('lets the worker write to its directory, to files on its command line, and to requested paths', () => {
    const text = plain.replace('worker', 'worker --statedb=/var/lib/x/state -s /var/lib/y/beat');
    const wish = { ...hard, readWritePaths: ['/srv/uploads', '/srv/app/media'] };
    const unit = rewriteWorkerUnit(sourceOf(text), wish, context);
    expect(unit.properties).toMatchObject({
      NoNewPrivileges: 'yes',
      PrivateTmp: 'yes',
      ProtectSystem: 'strict',
      ProtectKernelTunables: 'yes',
      ProtectKernelModules: 'yes',
      ProtectKernelLogs: 'yes',
      RestrictSUIDSGID: 'yes',
      ReadWritePaths: '/srv/app /var/lib/x /var/lib/y /srv/uploads',
    });
    // An app in a home must still be found.
    expect(unit.text).not.toContain('ProtectHome');
  });

  it.each([
    ['a socket', plain.replace('worker', 'worker -b redis+socket:///tmp/redis.sock'), []],
    ['a variable', `${plain}Environment="BROKER=unix:///var/tmp/r.sock"\n`, []],
    ['a wish', plain, ['/tmp']],
  ])('keeps a shared /tmp: %s', (_about, text, readWritePaths) => {
    const unit = rewriteWorkerUnit(sourceOf(text), { ...hard, readWritePaths }, context);
    expect(unit.properties).not.toHaveProperty('PrivateTmp');
    expect(unit.properties.ReadWritePaths).toMatch(/ ?\/tmp \/var\/tmp$/);
    expect(unit.findings.map(({ message }) => message)).toContainEqual(
      expect.stringContaining('PrivateTmp= is left out'),
    );
  });

  it('refuses a drop-in that removes the paths', () => {
    const dropIns = [{ path: `${FOLDER}/a.conf`, text: '[Service]\nReadWritePaths=\n' }];
    expect(() => rewriteWorkerUnit(sourceOf(plain, { dropIns }), hard, context)).toThrow(
      /a.conf:2 sets ReadWritePaths=/,
    );
  });
});

describe('any unit with any drop-ins', () => {
  const lines = fc.constantFrom(
    '',
    '# a comment',
    'Nice=5',
    'MemoryMax=2G',
    'MemoryMax=800M',
    'MemoryMax=',
    'MemoryMax=1500MB',
    'MemoryLimit=1G',
    'MemoryHigh=infinity',
    'Type=simple',
    'Type=notify',
    'KillMode=process',
    'TimeoutSec=30',
    'TimeoutStopSec=20min',
    'TimeoutStopSec=5',
    'Restart=on-failure',
    'RestartSec=1min',
    'WatchdogSec=30',
    'StartLimitInterval=10',
    'StartLimitBurst=9',
    'Environment=A=1 "TOKEN=x y"',
    'Environment=PYTHONPATH=/srv/lib',
    'Environment=',
    'ReadWritePaths=/srv/uploads',
    'ReadWritePaths=',
    'PrivateTmp=no',
    'ExecStartPre=-/usr/bin/pkill -9 celery',
    'ExecStartPre=/bin/true',
    'ExecStartPre=',
    'ExecStart=\nExecStart=/v/bin/celery -A x worker -c 5 -Q a,b',
    'ExecStart=\nExecStart=/usr/bin/env PYTHONPATH=/y celery worker -A x --autoscale=9,3',
    "ExecStart=\nExecStart=/bin/sh -c 'cd /srv/app && celery -A x worker -c 5 >>/var/log/x'",
    'ExecStart=\nExecStart=/v/bin/python -m celery -A x worker \\\n# how many\n  -c 5',
    '[Unit]\nAfter=redis.service\n[Service]',
    '[Unit]\nStartLimitIntervalSec=20\n[Service]',
    '[Install]\nWantedBy=multi-user.target\n[Service]',
  );
  const body = fc.array(lines, { maxLength: 8 }).map((all) => `[Service]\n${all.join('\n')}\n`);
  const dropIns = fc
    .array(fc.tuple(fc.constantFrom('10-a.conf', 'n.conf', 'zza.conf', 'zzz.conf'), body), {
      maxLength: 3,
    })
    .map((all) =>
      [...new Map(all)]
        .map(([name, text]) => ({ path: `${FOLDER}/${name}`, text }))
        .sort((a, b) => (isReadBefore(a.path, b.path) ? -1 : 1)),
    );
  const wishes = fc.record({
    hardening: fc.constantFrom('off', 'standard'),
    watchdogSec: fc.constantFrom(null, seconds(300)),
    memoryMaxBytes: fc.constantFrom(null, bytes(800 * MiB)),
  });
  const hosts = fc.record({ text: body.map((text) => `${plain}${text}`), dropIns });

  /** By systemd's reading alone: the last line of either spelling counts. */
  function expectInForce(file: UnitFile, wish: typeof desired): void {
    const lastOf = (...keys: readonly string[]): string | null => {
      const found = file.entries.flatMap((entry) =>
        entry.kind === 'assignment' && keys.includes(entry.key) ? [entry.value] : [],
      );
      return found.at(-1) || null;
    };
    const size = parseSize(lastOf('MemoryMax') ?? 'infinity');
    expect(size?.kind === 'bytes' ? size.bytes : null).toBe(wish.memoryMaxBytes);
    const stop = parseTimeSpan(lastOf('TimeoutStopSec', 'TimeoutSec') ?? '90');
    expect(stop).toBeGreaterThanOrEqual(960e6);
    const interval = lastOf('StartLimitIntervalSec', 'StartLimitInterval');
    expect(parseTimeSpan(interval ?? '10')).toBe(300e6);
    expect(lastOf('StartLimitBurst')).toBe('5');
    expect(lastOf('KillMode')).toBe('mixed');
    expect(lastOf('Restart')).toBe('always');
    if (wish.watchdogSec === null) expect(lastOf('WatchdogSec') ?? '0').toBe('0');
    else expect([lastOf('WatchdogSec'), lastOf('Type')]).toEqual(['300', 'notify']);
    const line = readWorkerLine(file, PATH);
    expect(line.call).toMatchObject({ concurrency: '1', queues: ['a'], autoscale: null });
    expect(line.call.include).toContain('celeriac_support');
    expect(line.shell).not.toBe('waits');
    expect(
      file.values('Service', 'Environment').join(' ') + line.call.environment.join(' '),
    ).toMatch(/PYTHONPATH=\S*\/usr\/local\/lib\/celeriac/);
    if (wish.hardening === 'standard') {
      expect(file.values('Service', 'ReadWritePaths').join(' ')).toContain('/srv/app');
      expect(lastOf('PrivateTmp')).toBe('yes');
    }
  }

  function expectEveryUnit(mode: 'rewrite' | 'drop-in', numRuns: number): void {
    let planned = 0;
    fc.assert(
      fc.property(hosts, wishes, (host, wish) => {
        const source = sourceOf(host.text, { dropIns: host.dropIns });
        const asked = { ...desired, ...wish };
        let unit: WorkerUnit;
        try {
          unit = modes[mode](source, asked, context);
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);
          return;
        }
        planned += 1;
        expectInForce(readAfter(source, unit), asked);
        const again = modes[mode](after(source, unit), asked, context);
        expect(again.text).toBe(unit.text);
        expect(again.dropIn).toEqual(unit.dropIn);
        expect(again.changes).toEqual([]);
        expect(again.findings.filter(({ message }) => message.includes('mends it'))).toEqual([]);
        if (mode === 'drop-in') expect(unit.text).toBe(host.text);

        // The other way of changing it ends at the same.
        const other = mode === 'rewrite' ? 'drop-in' : 'rewrite';
        if (mode === 'drop-in' && host.dropIns.length > 0) return;
        const switched = modes[other](after(source, unit), asked, context);
        expectInForce(readAfter(source, switched), asked);
        expect(switched.properties).toEqual(unit.properties);
        const settled = modes[other](after(source, switched), asked, context);
        expect([settled.text, settled.dropIn]).toEqual([switched.text, switched.dropIn]);
        // A drop-in can mend another one, which the unit's file can't.
        if (host.dropIns.length === 0) expect(switched.dropIn).toBeNull();
      }),
      { numRuns },
    );
    // Not all of it may be refused.
    expect(planned).toBeGreaterThan(numRuns / 5);
  }

  const title = 'what is asked for is in force, or refused; again there is nothing to do; %s';
  it.each(['rewrite', 'drop-in'] as const)(title, (mode) => expectEveryUnit(mode, 500));
  it.each(['rewrite', 'drop-in'] as const)(
    `${title}, more of them`,
    { timeout: 600_000, tags: ['nightly'] },
    (mode) => expectEveryUnit(mode, 10_000),
  );
});

describe('a worker in the home of its user', () => {
  const paths = (text: string, workingDirectory: string): readonly string[] => {
    const source = sourceOf(text, { workingDirectory, home: '/home/app' });
    const { text: hardened } = rewriteWorkerUnit(
      source,
      { ...desired, hardening: 'standard' },
      context,
    );
    return parseUnitFile(hardened).values('Service', 'ReadWritePaths');
  };

  it.each([
    ["ExecStart=/bin/sh -c 'cd ~/site && exec celery -A x worker'", '', '/home/app/site'],
    ['WorkingDirectory=~\nExecStart=/usr/bin/celery -A x worker', '~', '/home/app'],
    [
      "ExecStart=/bin/sh -c 'cd $HOME && exec celery -A x worker --pidfile=/run/app/x.pid'",
      '/',
      '/home/app /run/app',
    ],
  ])('may write there: %s', (lines, directory, expected) => {
    expect(paths(`[Service]\nUser=app\n${lines}\n`, directory).join(' ')).toBe(expected);
  });
});
