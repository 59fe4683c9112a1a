import { describe, expect, it } from 'vitest';
import { type ActionName, actions } from '../../../src/config/action-inputs.ts';
import { cleanUpDesired } from '../../../src/config/cleanup-desired.ts';
import { deployWorkerDesired } from '../../../src/config/deploy-worker-desired.ts';
import { parseFleetFile } from '../../../src/config/fleet-file.ts';
import type { ValuesOf } from '../../../src/config/input.ts';
import { locateError, readInputs } from '../../../src/config/read-inputs.ts';
import { readVerifyDesired } from '../../../src/config/verify-desired.ts';
import { ConfigError } from '../../../src/model/errors.ts';

const needed = { host: 'vps.test', 'ssh-key': 'KEY', 'known-hosts': 'vps.test ssh-ed25519 AAAA' };

type Given = Readonly<Record<string, string>>;

/** What an action does with its inputs before it connects. */
const judges: { readonly [Name in ActionName]: (values: never) => unknown } = {
  provision: (values) => values,
  'deploy-worker': (values: ValuesOf<(typeof actions)['deploy-worker']>) =>
    deployWorkerDesired(values, ''),
  cleanup: (values: ValuesOf<(typeof actions)['cleanup']>) => cleanUpDesired(values, 'a run'),
  verify: (values: ValuesOf<(typeof actions)['verify']>) => readVerifyDesired(values),
};

function judge(action: ActionName, asked: Given, fleetText = ''): unknown {
  const all: Given = { ...needed, ...asked };
  const given = (name: string) => all[name] ?? '';
  const fleet = parseFleetFile('.github/fleet.yml', fleetText, action);
  try {
    const values = readInputs(actions[action], given, fleet);
    return judges[action](values as never);
  } catch (error) {
    throw locateError(error, given, fleet);
  }
}

function refusal(action: ActionName, asked: Given, fleetText = ''): ConfigError {
  try {
    judge(action, asked, fleetText);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error(`${action} takes ${JSON.stringify(asked)}`);
}

const deep = (levels: number): string => `${'['.repeat(levels)}${']'.repeat(levels)}`;
const twice = '- database: /srv/a.db\n- database: /srv/a.db\n';
const sameUrl =
  '- database: postgres://ann@DB.test/jobs\n- database: postgresql://ben@db.test:5432/jobs\n';
const http = { gate: 'http', 'gate-url': 'http://127.0.0.1/x' };

describe('before connecting', () => {
  it.each<[ActionName, Given, string, string]>([
    // A start limit that no crash would reach.
    [
      'deploy-worker',
      { 'start-limit-interval': '50s' },
      'start-limit-interval',
      '50 s is not longer than 5 starts with 10 s',
    ],
    ['deploy-worker', { 'start-limit-burst': '30' }, 'start-limit-interval', '(300 s)'],
    ['deploy-worker', { 'restart-delay': '1m' }, 'start-limit-interval', '60 s between them'],
    // A soft memory limit that the hard one hides.
    [
      'deploy-worker',
      { 'memory-max': '800M', 'memory-high': '1G' },
      'memory-high',
      '(1G) is not below `memory-max`',
    ],
    [
      'deploy-worker',
      { 'memory-max': '800M', 'memory-high': '800M' },
      'memory-high',
      '(800M) is not below',
    ],
    ['verify', { 'memory-max': '1G', 'memory-high': '1G' }, 'memory-high', 'not below'],
    // Children that are replaced after each task, or killed before they are replaced.
    ['deploy-worker', { 'max-memory-per-child': '300K' }, 'max-memory-per-child', '(300K) is less'],
    [
      'deploy-worker',
      { 'max-memory-per-child': '800M', 'memory-max': '800M' },
      'max-memory-per-child',
      'is not below `memory-max` (800M)',
    ],
    ['deploy-worker', { 'accept-rules': 'purge, purges' }, 'accept-rules', 'no rule purges'],
    // Statuses in which nothing is stuck.
    ['cleanup', { statuses: 'processing,completed' }, 'statuses', 'status completed has ended'],
    ['cleanup', { 'delete-completed': 'true', ids: 'a' }, 'delete-completed', 'needs `action'],
    ['cleanup', { 'delete-completed': 'true', action: 'delete' }, 'delete-completed', 'and `ids`'],
    ['cleanup', { statuses: 'Failed' }, 'statuses', 'status Failed has ended'],
    ['cleanup', { statuses: 'done' }, 'statuses', 'status done has ended'],
    ['cleanup', { statuses: 'partial' }, 'statuses', 'status partial has ended'],
    [
      'cleanup',
      {
        statuses: 'parked',
        stores: '- database: /srv/a.db\n  tables: { jobs: { words: { parked: cancelled } } }',
      },
      'statuses',
      'status parked has ended',
    ],
    // Databases.
    [
      'cleanup',
      { stores: twice },
      'stores, line 2, column 13',
      '/srv/a.db twice: in items 1 and 2',
    ],
    ['cleanup', { stores: sameUrl }, 'stores, line 2, column 13', 'twice'],
    ['cleanup', { stores: '[]' }, 'stores, line 1, column 1', 'empty list'],
    [
      'deploy-worker',
      { stores: twice },
      'stores, line 2, column 13',
      '/srv/a.db twice: in items 1 and 2',
    ],
    [
      'deploy-worker',
      { 'orphaned-jobs': 'fail', stores: '- database: /srv/a.db', database: '/srv/a.db' },
      'stores',
      'cannot be combined',
    ],
    ['deploy-worker', { timezone: 'Mars/Base' }, 'timezone', 'Mars/Base'],
    ['deploy-worker', { 'orphaned-jobs': 'delete' }, 'orphaned-jobs', 'delete'],
    ['deploy-worker', { database: 'postgresql://app:x@db.test/a' }, 'database', 'invalid'],
    ['cleanup', { database: 'postgresql://app@127.0.0.1:65536/jobs' }, 'database', 'invalid'],
    ['verify', { database: 'postgresql://app@127.0.0.1:0/jobs' }, 'database', 'invalid'],
    [
      'cleanup',
      { stores: '- database: postgresql://app@[::1]:99999/jobs' },
      'stores, line 1, column 13',
      'postgresql',
    ],
    // Hosts in between.
    ['provision', { 'proxy-jump': 'ann@' }, 'proxy-jump', 'invalid'],
    ['provision', { 'proxy-jump': '-oProxyCommand=x' }, 'proxy-jump', 'invalid'],
    ['provision', { 'proxy-jump': 'bastion:0' }, 'proxy-jump', 'invalid'],
    ['provision', { 'proxy-jump': 'one,two' }, 'proxy-jump', 'invalid'],
    // Ports.
    ['provision', { port: '65536' }, 'port', '65536'],
    ['verify', { 'gate-url': 'http://127.0.0.1:70000/x' }, 'gate-url', 'invalid'],
    ['verify', { 'gate-poll-url': 'http://127.0.0.1:99999/{id}' }, 'gate-poll-url', 'invalid'],
    ['verify', { 'http-probes': 'http://a.test/ http://[::1]:65536/' }, 'http-probes', 'invalid'],
    // Swap where there is no disk.
    ...['/proc/swap', '/sys/swap', '/dev/shm/swap', '/dev', '/run/swap', '/var/run/swap'].map(
      (path): [ActionName, Given, string, string] => [
        'provision',
        { 'swap-path': path },
        'swap-path',
        path,
      ],
    ),
    ['provision', { 'swap-path': 'swapfile' }, 'swap-path', 'invalid'],
    ['provision', { 'swap-path': '/swap/' }, 'swap-path', 'invalid'],
    ['provision', { 'swap-path': '/' }, 'swap-path', 'invalid'],
    // What would be ignored.
    [
      'deploy-worker',
      { 'roll-back': 'previous', source: 'git' },
      'roll-back',
      'cannot be combined with `source`: "git"',
    ],
    [
      'deploy-worker',
      { 'roll-back': '0', commit: '0123456789abcdef0123456789abcdef01234567' },
      'roll-back',
      '`commit`',
    ],
    ['cleanup', { restore: 'latest', ids: 'ab12cd34' }, 'restore', '`ids`: "ab12cd34"'],
    // Lists that name nothing.
    ['deploy-worker', { queues: ',' }, 'queues', '","'],
    ['cleanup', { ids: ' , ' }, 'ids', 'invalid'],
    ['cleanup', { ids: '\n' }, 'ids', 'invalid'],
    ['cleanup', { statuses: ',' }, 'statuses', 'invalid'],
    ['verify', { 'gate-done': ' ' }, 'gate-done', 'invalid'],
    ['verify', { ...http, 'gate-done': 'ok,failed' }, 'gate-done', 'failed is in `gate-done`'],
    // What JSON cannot send.
    ...['[NaN]', '[Infinity]', '[1e999]', '[-1e999]', '[12345678901234567890]', '["\\ud800"]'].map(
      (text): [ActionName, Given, string, string] => [
        'verify',
        { 'gate-args': text },
        'gate-args',
        'invalid `gate-args`',
      ],
    ),
    ['verify', { 'gate-args': deep(21) }, 'gate-args', 'invalid'],
    ['verify', { 'gate-args': deep(100_000) }, 'gate-args', 'invalid'],
    ['verify', { 'gate-args': '[{"a": 1, "a": 2}]' }, 'gate-args', 'invalid'],
    ['verify', { 'gate-form': 'url=a\nurl=b' }, 'gate-form', 'invalid'],
    // Durations that no timer holds.
    ['cleanup', { 'confirm-after': '25d' }, 'confirm-after', '25d'],
    ['verify', { 'gate-timeout': '2147484s' }, 'gate-timeout', 'invalid'],
    ['provision', { 'connect-timeout': '600h' }, 'connect-timeout', 'invalid'],
    ['deploy-worker', { 'drain-timeout': '400d' }, 'drain-timeout', 'invalid'],
    ['deploy-worker', { 'start-limit-interval': '99999999999d' }, 'start-limit-interval', 'inval'],
    ['deploy-worker', { watchdog: '36500d' }, 'watchdog', 'invalid'],
    ['cleanup', { threshold: '3651d' }, 'threshold', 'invalid'],
  ])('%s refuses %j', (action, asked, input, problem) => {
    const error = refusal(action, asked);
    expect(error.where).toBe(`input ${input}`);
    expect(`${error.message} ${error.expected}`).toContain(problem);
    expect(error.expected).not.toBe('');
  });

  it.each<[ActionName, Given]>([
    ['deploy-worker', { 'start-limit-interval': '51s' }],
    ['deploy-worker', { 'memory-max': '512M', 'memory-high': 'off' }],
    ['deploy-worker', { 'memory-max': 'off', 'memory-high': '2G' }],
    // Without memory-max, the limit of the unit counts; the plan knows it.
    ['deploy-worker', { 'memory-high': '1G' }],
    ['deploy-worker', { concurrency: '1000' }],
    ['deploy-worker', { 'max-memory-per-child': '300M', 'memory-max': 'off' }],
    ['deploy-worker', { 'prefetch-multiplier': '0', 'accept-rules': 'purge' }],
    ['verify', { 'memory-high': '1G' }],
    ['cleanup', { statuses: 'processing,pending,parked' }],
    [
      'cleanup',
      {
        statuses: 'done',
        stores: '- database: /srv/a.db\n  tables: { jobs: { words: { done: processing } } }',
      },
    ],
    ['cleanup', { stores: '- database: /srv/a.db\n- database: /srv/b.db' }],
    // A fleet file may name both, for the action that needs neither.
    ['deploy-worker', { stores: '- database: /srv/a.db', database: '/srv/a.db' }],
    ['deploy-worker', { 'orphaned-jobs': 'reset', database: 'postgresql://db.test/a' }],
    [
      'cleanup',
      { stores: '- database: postgresql://db.test/a\n- database: postgresql://db.test/b' },
    ],
    ['cleanup', { database: 'postgresql://app@127.0.0.1:65535/jobs' }],
    ['verify', { 'http-probes': 'https://user@a.test:443/x?y=b:99999' }],
    ['provision', { 'proxy-jump': 'ann@bastion.example.com:2222' }],
    ['provision', { 'proxy-jump': '[2001:db8::1]:22' }],
    ['provision', { 'swap-path': '/srv/run/swap' }],
    ['provision', { 'swap-path': '/device' }],
    ['deploy-worker', { 'roll-back': 'previous', source: 'none' }],
    ['cleanup', { restore: 'latest', database: '/srv/a.db' }],
    ['verify', { 'gate-args': '["]]][[[", {"a": {"b": [1.5, -0.25, null, true]}, "b": 1}]' }],
    ['verify', { 'gate-args': deep(20) }],
    ['verify', { 'gate-form': 'a=1\nb=1\n__proto__=2' }],
    ['cleanup', { 'confirm-after': '24d' }],
    ['cleanup', { threshold: '90d' }],
    ['deploy-worker', { queues: 'celery, batch' }],
  ])('%s takes %j', (action, asked) => {
    expect(() => judge(action, asked)).not.toThrow();
  });

  it.each<[ActionName, string, string, string]>([
    ['provision', 'host: a\nswap-path: /proc/x', '2:12', '"/proc/x"'],
    ['deploy-worker', 'memory-max: 1G\nmemory-high: 1G\n', '2:14', '`memory-high` (1G)'],
    ['cleanup', 'statuses: [processing, done]', '1:11', '`statuses`: a job in status done'],
    ['cleanup', 'statuses: []', '1:11', '`statuses` is an empty list'],
    ['deploy-worker', 'queues:\n  []', '2:3', '`queues` is an empty list'],
    ['verify', 'verify:\n  gate-done: ""', '2:14', 'invalid `gate-done`'],
    ['cleanup', 'restore: latest\nids: [ab12cd34]', '1:10', 'combined with `ids`'],
  ])('%s says where %j is wrong', (action, fleet, place, problem) => {
    const error = refusal(action, {}, fleet);
    expect(error.where).toBe(`.github/fleet.yml:${place}`);
    expect(error.message).toContain(problem);
  });

  it('lets a run overrule what stands in the fleet file', () => {
    expect(() => judge('deploy-worker', { 'roll-back': 'previous' }, 'source: git')).not.toThrow();
    expect(() => judge('deploy-worker', { 'memory-high': '1M' }, 'memory-high: 9G')).not.toThrow();
  });

  it.each<[ActionName, Given, string]>([
    ['cleanup', { database: 'postgresql://app:hunter2@127.0.0.1/jobs' }, 'hunter2'],
    ['cleanup', { database: 'postgresql://app@127.0.0.1/jobs?password=hunter2' }, 'hunter2'],
    ['verify', { 'gate-url': 'https://ann:hunter2@a.test:99999/' }, 'hunter2'],
    ['verify', { 'http-probes': 'https://a.test:99999/?token=hunter2' }, 'hunter2'],
    ['verify', { 'gate-url': 'https://ann:hunter2@a.test/' }, 'hunter2'],
    ['verify', { 'gate-url': 'https://ann:p/hunter2@a.test/' }, 'hunter2'],
    ['verify', { 'gate-form': 'hunter2' }, 'hunter2'],
    ['verify', { 'gate-args': '["hunter2", NaN]' }, 'hunter2'],
    ['provision', { 'ssh-key': 'hunter2', port: 'x' }, 'hunter2'],
  ])('%s repeats no password of %j', (action, asked, password) => {
    expect(refusal(action, asked).message).not.toContain(password);
  });
});
