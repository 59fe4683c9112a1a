import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { appRules } from '../../../src/celery/app-rules.ts';
import { findUnitFaults } from '../../../src/celery/unit-faults.ts';
import { bytes, MiB } from '../../../src/model/units.ts';
import { redactUnit } from '../../../src/systemd/secrets.ts';
import { parseUnitFile } from '../../../src/systemd/unit-file.ts';
import {
  killsCeleryByName,
  rulePage,
  type UnitContext,
  unitRules,
} from '../../../src/systemd/unit-rules.ts';

const good = {
  User: 'app',
  WorkingDirectory: '/srv/app',
  Type: 'notify',
  ExecStart: '/usr/bin/celery -A app worker -I celeriac_support',
  KillMode: 'mixed',
  TimeoutStopSec: '960',
  Restart: 'always',
  RestartSec: '10',
  MemoryMax: '800M',
  MemoryHigh: '600M',
  WatchdogSec: '300',
};
const limits = { StartLimitIntervalSec: '300', StartLimitBurst: '5' };
const context: UnitContext = {
  swapActive: true,
  longestTaskSeconds: 900,
  cpus: 1,
  hostMemoryBytes: bytes(1024 * MiB),
  processes: {
    mainBytes: bytes(60 * MiB),
    childBytes: bytes(100 * MiB),
    baselineBytes: bytes(50 * MiB),
  },
};

const worker = (options: string): string => `${good.ExecStart} ${options}`;

function faults(
  service: Record<string, string | null>,
  unit: Record<string, string | null> = {},
  within: Partial<UnitContext> = {},
): readonly string[] {
  const lines = (settings: Record<string, string | null>) =>
    Object.entries(settings)
      .filter(([, value]) => value !== null)
      .map(([key, value]) => `${key}=${value}\n`)
      .join('');
  const text = `[Unit]\n${lines({ ...limits, ...unit })}[Service]\n${lines({ ...good, ...service })}`;
  return findUnitFaults(parseUnitFile(text), { ...context, ...within }).map(({ rule }) => rule.id);
}

describe('a unit', () => {
  it('without faults breaks no rule', () => {
    expect(faults({})).toEqual([]);
  });

  it.each<[string, Record<string, string | null>, Record<string, string | null>?]>([
    ['shell-syntax', { ExecStartPre: '/usr/bin/rm /run/x || true' }],
    ['shell-syntax', { ExecStartPre: '/usr/bin/a && /usr/bin/b' }],
    ['shell-syntax', { ExecStartPre: '/usr/bin/a > /tmp/log' }],
    ['shell-syntax', { ExecStartPre: '/usr/bin/a >>/tmp/log' }],
    ['shell-syntax', { ExecStartPre: '/usr/bin/a 2>&1' }],
    ['shell-syntax', { ExecStartPre: '/usr/bin/a $(id -u)' }],
    ['shell-syntax', { ExecStartPre: '/usr/bin/a &' }],
    ['kill-by-name', { ExecStartPre: '-/usr/bin/pkill -9 celery' }],
    ['kill-by-name', { ExecStopPost: "/bin/sh -c 'pkill -f celery'" }],
    ['kill-by-name', { ExecStop: '/usr/bin/killall celery' }],
    ['watchdog-without-notifier', { ExecStart: '/usr/bin/celery -A app worker' }],
    ['type-simple', { Type: null, WatchdogSec: null }],
    ['type-simple', { Type: 'exec', WatchdogSec: '0' }],
    ['kill-mode', { KillMode: null }],
    ['kill-mode', { KillMode: 'control-group' }],
    ['kill-mode', { KillMode: 'process' }],
    ['stop-timeout', { TimeoutStopSec: null }],
    ['stop-timeout', { TimeoutStopSec: '10min' }],
    ['stop-timeout', { TimeoutStopSec: null, TimeoutSec: '5min' }],
    ['memory-high-above-max', { MemoryHigh: '800M' }],
    ['memory-high-above-max', { MemoryHigh: '1G' }],
    ['invalid-size', { MemoryMax: '1500MB', MemoryHigh: null }],
    ['invalid-size', { MemoryLimit: 'lots' }],
    ['invalid-size', { MemoryHigh: '600m' }],
    ['concurrency-memory', { ExecStart: worker('-c 8') }],
    ['concurrency-memory', { ExecStart: worker('--autoscale=10,1') }],
    ['concurrency-memory', { ExecStart: worker('-c 11'), MemoryMax: null }],
    ['concurrency-memory', { ExecStart: worker('-c 5'), MemoryMax: '50%', MemoryHigh: null }],
    ['relative-path', { WorkingDirectory: 'srv/app' }],
    ['relative-path', { WorkingDirectory: '${HOME}/app' }],
    ['relative-path', { EnvironmentFile: '-.env' }],
    ['relative-path', { ExecStartPre: '-venv/bin/python prepare.py' }],
    ['missing-user', { User: null }],
    ['missing-user', { User: '' }],
    ['missing-user', { User: null, DynamicUser: 'no' }],
    ['missing-working-directory', { WorkingDirectory: null }],
    ['secret-in-environment', { Environment: 'DB_PASSWORD=hunter2' }],
    ['secret-in-environment', { Environment: 'A=1 "API_KEY=a b"' }],
    ['secret-in-environment', { Environment: 'BROKER=redis://:hunter2@localhost/0' }],
    ['secret-in-environment', { ExecStart: worker('-b redis://u:hunter2@localhost') }],
    ['start-limit', {}, { StartLimitIntervalSec: '50' }],
    ['start-limit', {}, { StartLimitIntervalSec: null }],
    ['start-limit', { RestartSec: '1min' }],
    ['start-limit', { StartLimitInterval: '20' }, { StartLimitIntervalSec: null }],
    ['purge', { ExecStart: worker('--purge') }],
    ['purge', { ExecStart: worker('--discard -l info') }],
    ['purge', { ExecStart: `/usr/bin/celery --app=a worker "--purge" -I celeriac_support` }],
    ['purge', { ExecStart: "/bin/sh -c 'exec celery -A a worker --purge -I celeriac_support'" }],
    ['purge', { ExecStart: "/bin/sh -c 'exec celery worker -A a -I celeriac_support --purge'" }],
    ['purge', { ExecStart: '/v/bin/celery multi start w1 -A a --purge -I celeriac_support' }],
    ['purge', { ExecStart: worker('$OPTS'), Environment: '"OPTS=-l info --purge" A=1' }],
    ['purge', { ExecStart: worker('${W_OPTS}'), Environment: 'W_OPTS=--discard' }],
    ['purge', { Environment: 'CELERYD_OPTS="--time-limit=300 --purge"' }],
    ['purge', { ExecStartPre: '/usr/bin/celery -A app purge -f' }],
    ['purge', { ExecStartPre: '-/v/bin/python -m celery -A app amqp queue.purge celery' }],
    ['purge', { ExecStopPost: "/bin/sh -c 'sleep 1; redis-cli -n 0 FLUSHDB'" }],
    ['purge', { ExecStartPre: '/usr/sbin/rabbitmqctl purge_queue celery' }],
    ['memory-per-child', { ExecStart: worker('--max-memory-per-child=300') }],
    ['memory-per-child', { ExecStart: worker('--max-memory-per-child 51200') }],
    ['per-child-without-children', { ExecStart: worker('-P gevent --maxtasksperchild=9') }],
    ['per-child-without-children', { ExecStart: worker('-P solo --max-memory-per-child=300') }],
  ])('breaks %s: %j %j', (rule, service, unit = {}) => {
    expect(faults(service, unit)).toEqual([rule]);
  });

  it.each<[string, Record<string, string | null>, Record<string, string | null>?]>([
    ['a shell that is asked for', { ExecStartPre: "/bin/sh -c 'a || true && b > /tmp/x'" }],
    ['words that only look so', { ExecStartPre: '/usr/bin/a "a || b" a>b --x=1&2' }],
    ['a kill of something else', { ExecStartPre: '-/usr/bin/pkill nginx' }],
    ['a stop without limit', { TimeoutStopSec: 'infinity' }],
    ['a stop limit of zero, which is none', { TimeoutStopSec: '0' }],
    ['no watchdog', { WatchdogSec: null }],
    ['shares of memory', { MemoryMax: '40%', MemoryHigh: '30%' }],
    ['as many children as there is room for', { ExecStart: worker('-c 7') }],
    ['a pool without processes', { ExecStart: worker('-c 100 -P gevent') }],
    ['a number that only the host knows', { ExecStart: worker('-c $N') }],
    ['paths by specifier', { WorkingDirectory: '%h/app', EnvironmentFile: '-%h/.env' }],
    ['the home directory', { WorkingDirectory: '~' }],
    ['a program that systemd looks for', { ExecStartPre: 'mkdir -p /run/x' }],
    ['a user of its own making', { User: null, DynamicUser: 'yes' }],
    [
      'the directory among the arguments',
      { WorkingDirectory: null, ExecStart: worker('--workdir /srv/app') },
    ],
    ['secrets by file', { Environment: 'TOKEN_FILE=/run/token DB_PASSWORD=%d/password' }],
    ['a URL without password', { Environment: 'BROKER=redis://user@localhost/0' }],
    ['no restart, so no limit', { Restart: 'no' }, { StartLimitIntervalSec: null }],
    ['a fast restart', { RestartSec: null }, { StartLimitIntervalSec: null }],
    ['a reset', { ExecStartPre: '' }],
    ['a queue with that name', { ExecStart: worker('-Q purge,--purge-later') }],
    ['a purge by a reload', { ExecReload: '/usr/bin/celery -A app purge -f' }],
    ['a purge of something else', { ExecStartPre: '/usr/bin/npm-cache --purge' }],
    ['a variable that nothing uses', { Environment: 'SOME_OPTS=--purge' }],
    ['a variable about it', { Environment: 'NOTE="never --purgeable" A=purge' }],
    ['enough memory for a child', { ExecStart: worker('--max-memory-per-child=300000') }],
    ['a variable amount', { ExecStart: worker('--max-memory-per-child=$M') }],
    ['children for a while', { ExecStart: worker('--max-tasks-per-child=100') }],
  ])('is valid with %s', (_about, service, unit = {}) => {
    expect(faults(service, unit)).toEqual([]);
  });

  it("breaks the rule on the start limit's section only without one in [Unit]", () => {
    const misplaced = { StartLimitIntervalSec: '300' };
    expect(faults(misplaced)).toEqual([]);
    expect(faults(misplaced, { StartLimitIntervalSec: null })).toEqual([
      'start-limit',
      'misplaced-start-limit',
    ]);
  });

  it('needs no soft limit without swap', () => {
    expect(faults({}, {}, { swapActive: false })).toEqual(['memory-high-without-swap']);
    expect(faults({ MemoryHigh: 'infinity' }, {}, { swapActive: false })).toEqual([]);
  });

  it('in its reference form breaks these rules, with their lines', () => {
    const text = `[Unit]
Description=Celery Worker for TikTok Slideshow Generator
After=network.target redis.service

[Service]
Type=simple
User=root
WorkingDirectory=/root/tiktok-slideshow-generator/Desktop/clients/tiktok/backend
ExecStartPre=/usr/bin/pkill -f "celery.*worker" || true
ExecStart=/usr/bin/celery -A celery_app worker --loglevel=info --concurrency=1 -Q celery,batch,links,variations
Restart=always
RestartSec=10
MemoryMax=800M
MemoryHigh=600M
WatchdogSec=300
StandardOutput=journal
StandardError=journal

[Install]
WantedBy=multi-user.target
`;
    const file = parseUnitFile(text);
    const found = findUnitFaults(file, context);
    expect(found.map(({ rule, entry }) => [rule.id, entry && file.lineOf(entry)])).toEqual([
      ['shell-syntax', 9],
      ['kill-by-name', 9],
      ['watchdog-without-notifier', 15],
      ['type-simple', 6],
      ['kill-mode', null],
      ['stop-timeout', null],
      ['start-limit', 12],
    ]);
  });
});

describe('a secret', () => {
  const seen = (line: string): string => {
    const file = parseUnitFile(`[Service]\n${line}\n`);
    return JSON.stringify(findUnitFaults(file, context).map((fault) => fault.seen));
  };

  it.each([
    'Environment=DB_PASSWORD=hunter2 A=1',
    'Environment="SECRET_KEY=hunter2 and more"',
    "Environment='A_TOKEN=x\\'hunter2'",
    'ExecStart=/usr/bin/celery -A x worker -b redis://:hunter2@localhost || true',
    'ExecStartPre=/usr/bin/env AWS_SECRET_ACCESS_KEY="a hunter2" /usr/bin/prepare && true',
    'ExecStop=/usr/bin/pkill -f celery TOKEN=hunter2',
  ])('is never shown: %s', (line) => {
    expect(seen(line)).toContain('***');
    expect(seen(line)).not.toContain('hunter2');
  });

  it.each([
    ['Environment=API_TOKEN=hunter2', 'Environment=API_TOKEN=***'],
    ['Environment="API_TOKEN=a hunter2"', 'Environment="API_TOKEN=***"'],
    ["Environment='API_TOKEN=a hunter2' B=1", "Environment='API_TOKEN=***' B=1"],
    ['Environment = B=1 API_TOKEN="a hunter2"', 'Environment = B=1 API_TOKEN=***'],
    ['Environment=A=TOKEN=hunter2', 'Environment=A=TOKEN=***'],
    ['Environment="A=x" "SECRET=hunter2', 'Environment="A=x" "SECRET=***'],
    ['Environment=URL=redis://:hunter2@localhost', 'Environment=URL=redis://:***@localhost'],
    ['Environment="A=b c" D=e', 'Environment="A=b c" D=e'],
  ])('is not shown in a diff: %s', (line, shown) => {
    expect(redactUnit(`[Service]\n${line}\n`)).toBe(`[Service]\n${shown}\n`);
  });

  it('is hidden in a diff, and nothing else is', () => {
    const text = [
      '# TOKEN=hunter2',
      '[Service]',
      'Environment=A=1 TOKEN=hunter2 B=2',
      'Environment="PASSWORD=hunter2 \\',
      '  hunter2" C=3',
      'ExecStart=/x -b redis://u:hunter2@h/0 \\',
      '# why',
      '  -c 5',
      'WorkingDirectory=/srv/app',
      '',
    ].join('\n');
    expect(redactUnit(text)).toBe(
      [
        '# TOKEN=***',
        '[Service]',
        'Environment=A=1 TOKEN=*** B=2',
        'Environment="PASSWORD=***" C=3',
        'ExecStart=/x -b redis://u:***@h/0    -c 5',
        'WorkingDirectory=/srv/app',
        '',
      ].join('\n'),
    );
    const plain = text.replaceAll('hunter2', '').replace(/TOKEN=|PASSWORD=/g, 'NAME=');
    expect(redactUnit(plain)).toBe(plain);
  });
});

describe('rules', () => {
  it.each(unitRules)('$id: the examples of its page are right', (rule) => {
    const within: UnitContext = {
      ...context,
      swapActive: rule.id !== 'memory-high-without-swap',
      processes: {
        mainBytes: bytes(60 * MiB),
        childBytes: bytes(300 * MiB),
        baselineBytes: bytes(50 * MiB),
      },
    };
    const find = (lines: readonly string[]) =>
      findUnitFaults(parseUnitFile(['[Service]', ...lines, ''].join('\n')), within).filter(
        (fault) => fault.rule === rule,
      );
    expect(find(rule.example.wrong)).not.toEqual([]);
    expect(find(rule.example.right)).toEqual([]);
  });

  it('have one page each, and every page has a rule', () => {
    const folder = join(import.meta.dirname, '../../../docs/reference/unit-rules');
    const pages = [...unitRules, ...appRules].map((rule) => basename(rulePage(rule)));
    expect(readdirSync(folder).sort()).toEqual(['README.md', ...pages].sort());
  });

  it('have unique ids, a reason and a fix', () => {
    expect(new Set(unitRules.map(({ id }) => id)).size).toBe(unitRules.length);
    for (const { id, title, why, fix } of unitRules) {
      expect(id).toMatch(/^[a-z]+(?:-[a-z]+)*$/);
      expect(title && why && fix).toBeTruthy();
    }
  });
});

describe('an Exec line only kills Celery', () => {
  const only = (exec: string): boolean => {
    const [entry] = parseUnitFile(`[Service]\nExecStartPre=${exec}\n`).effective(
      'Service',
      'ExecStartPre',
    );
    if (!entry) throw new Error('no entry');
    return killsCeleryByName(entry);
  };

  it.each([
    '/usr/bin/pkill -f "celery.*worker" || true',
    '-/usr/bin/pkill -9 celery',
    'pkill celery',
    '/usr/bin/killall -q celery',
    "/bin/sh -c 'pkill -f celery || true'",
    "/bin/bash -c 'pkill celery; sleep 2; pkill -9 celery; exit 0'",
  ])('yes: %s', (exec) => {
    expect(only(exec)).toBe(true);
  });

  it.each([
    '/usr/bin/pkill nginx',
    '/usr/bin/rm -f /run/celery.pid',
    "/bin/sh -c 'pkill celery; rm -f /run/celery.pid'",
    "/bin/sh -c 'pkill -F $(cat /run/celery.pid)'",
    '/usr/bin/celery -A app control shutdown',
    '/usr/bin/pkill celery ; /usr/bin/mkdir /run/x',
    '/bin/kill -s TERM $MAINPID',
    '"unbalanced',
  ])('no: %s', (exec) => {
    expect(only(exec)).toBe(false);
  });
});
