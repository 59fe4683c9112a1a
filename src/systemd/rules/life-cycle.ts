import type { Assignment, UnitFile } from '../unit-file.ts';
import { named, seenOf, setting, type UnitRule } from '../unit-rule.ts';
import { microseconds, parseTimeSpan } from '../values.ts';

/** The module that `deploy-worker` installs beside the app: it tells systemd how the worker is. */
export const supportModule = 'celeriac_support';

/** systemd's DefaultTimeoutStopSec, DefaultStartLimitIntervalSec, DefaultRestartSec. */
const defaultStop = microseconds(90);
const defaultInterval = microseconds(10);
const defaultRestart = microseconds(0.1);

/** Rules on how a worker starts, stops and is started again. */
export const lifeCycleRules: readonly UnitRule[] = [
  {
    id: 'watchdog-without-notifier',
    title: 'a watchdog that nobody feeds',
    why: 'Celery sends no WATCHDOG=1, so systemd kills a healthy worker at every interval',
    fix: 'Type=notify with the support module, or no WatchdogSec=',
    mends: { kind: 'whole', how: 'Type=notify, and the support module that feeds the watchdog.' },
    example: {
      wrong: ['Type=simple', 'WatchdogSec=300'],
      right: [
        'Type=notify',
        'NotifyAccess=main',
        'Environment=PYTHONPATH=/usr/local/lib/celeriac',
        `ExecStart=/usr/bin/celery -A app worker -I ${supportModule}`,
        'WatchdogSec=300',
      ],
    },
    find: (file) => {
      const watchdog = setting(file, 'WatchdogSec');
      const span = spanOf(watchdog, 0);
      if (watchdog === null || span === 0 || span === Number.POSITIVE_INFINITY) return [];
      const fed = file.values('Service', 'ExecStart').some((line) => line.includes(supportModule));
      return fed && isNotify(file) ? [] : [{ entry: watchdog, seen: named(watchdog) }];
    },
  },
  {
    id: 'type-simple',
    title: 'nobody knows when the worker is ready',
    why: 'without Type=notify a start succeeds even when the program is missing or the app fails',
    fix: 'Type=notify with the support module',
    mends: { kind: 'whole', how: 'Type=notify, unless `watchdog` is `off`.' },
    example: { wrong: ['Type=simple'], right: ['Type=notify', 'NotifyAccess=main'] },
    find: (file) => {
      const entry = setting(file, 'Type');
      return isNotify(file) ? [] : [{ entry, seen: seenOf(entry, 'Type') }];
    },
  },
  {
    id: 'kill-mode',
    title: 'a stop kills running tasks',
    why: 'KillMode=control-group sends TERM to the pool children too, in the middle of their tasks; process and none leave them behind',
    fix: 'KillMode=mixed',
    mends: { kind: 'whole', how: 'KillMode=mixed.' },
    example: { wrong: ['KillMode=control-group'], right: ['KillMode=mixed'] },
    find: (file) => {
      const entry = setting(file, 'KillMode');
      return entry?.value === 'mixed' ? [] : [{ entry, seen: seenOf(entry, 'KillMode') }];
    },
  },
  {
    id: 'stop-timeout',
    title: 'a stop does not wait for the longest task',
    why: 'after TimeoutStopSec= (90 s when not set) systemd kills the worker with its tasks',
    fix: 'TimeoutStopSec= of the longest task and a minute',
    mends: { kind: 'whole', how: 'TimeoutStopSec= of `longest-task` and a minute, or longer.' },
    example: { wrong: ['TimeoutStopSec=10'], right: ['TimeoutStopSec=960'] },
    find: (file, { longestTaskSeconds }) => {
      const entry = setting(file, 'TimeoutStopSec') ?? setting(file, 'TimeoutSec');
      // Zero switches the limit off.
      const span = spanOf(entry, defaultStop) || Number.POSITIVE_INFINITY;
      if (span >= microseconds(longestTaskSeconds)) return [];
      return [{ entry, seen: seenOf(entry, 'TimeoutStopSec') }];
    },
  },
  {
    id: 'start-limit',
    title: 'a start limit that never trips',
    why: 'StartLimitIntervalSec= is not longer than burst × RestartSec=, so a worker that crashes at once is started for ever and the unit never fails',
    fix: 'in [Unit], StartLimitIntervalSec= well above StartLimitBurst= × RestartSec=',
    mends: { kind: 'whole', how: 'Both are set in [Unit], from the inputs `start-limit-…`.' },
    example: {
      wrong: ['Restart=always', 'RestartSec=10'],
      right: [
        '[Unit]',
        'StartLimitIntervalSec=300',
        'StartLimitBurst=5',
        '[Service]',
        'Restart=always',
        'RestartSec=10',
      ],
    },
    find: (file) => {
      const restart = file.value('Service', 'Restart') ?? 'no';
      if (restart === 'no') return [];
      const delayEntry = setting(file, 'RestartSec');
      const delay = spanOf(delayEntry, defaultRestart);
      const interval = startLimit(file, 'IntervalSec') ?? startLimit(file, 'Interval');
      const burst = startLimit(file, 'Burst');
      const times = burst === null ? 5 : Number(burst.value);
      const span = spanOf(interval, defaultInterval);
      if (span > times * delay) return [];
      return [
        {
          entry: interval ?? delayEntry,
          seen: `${interval ? named(interval) : 'no StartLimitIntervalSec= (10 s)'}, burst ${times}, ${delayEntry ? named(delayEntry) : 'RestartSec=100ms'}`,
        },
      ];
    },
  },
  {
    id: 'misplaced-start-limit',
    title: 'a start limit in the wrong section',
    why: 'systemd ignores StartLimitIntervalSec= in [Service]',
    fix: 'move it to [Unit]',
    mends: { kind: 'whole', how: 'It is moved; a drop-in says it in [Unit].' },
    example: {
      wrong: ['StartLimitIntervalSec=300'],
      right: ['[Unit]', 'StartLimitIntervalSec=300'],
    },
    find: (file) =>
      // Where [Unit] has it too, nothing is lost.
      setting(file, 'StartLimitIntervalSec', 'Unit') !== null
        ? []
        : file
            .assignments('Service', 'StartLimitIntervalSec')
            .map((entry) => ({ entry, seen: named(entry) })),
  },
];

function spanOf(entry: Assignment | null, byDefault: number): number {
  return entry === null ? byDefault : (parseTimeSpan(entry.value) ?? byDefault);
}

function isNotify(file: UnitFile): boolean {
  return ['notify', 'notify-reload'].includes(file.value('Service', 'Type') ?? '');
}

/** In [Unit], or where systemd still reads it for old units' sake. */
function startLimit(file: UnitFile, name: string): Assignment | null {
  const old = name === 'IntervalSec' ? null : setting(file, `StartLimit${name}`);
  return setting(file, `StartLimit${name}`, 'Unit') ?? old;
}
