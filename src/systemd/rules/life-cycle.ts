import { supportModule } from '../support-module.ts';
import type { Assignment } from '../unit-entry.ts';
import type { UnitFile } from '../unit-file.ts';
import { named, seenOf, setting, type UnitRule } from '../unit-rule.ts';
import { microseconds, parseTimeSpan } from '../values.ts';

/** systemd's DefaultTimeoutStopSec, DefaultStartLimitIntervalSec, DefaultRestartSec. */
const defaultStop = microseconds(90);
const defaultInterval = microseconds(10);
const defaultRestart = microseconds(0.1);

/** Rules for starting, stopping and restarting a worker. */
export const lifeCycleRules: readonly UnitRule[] = [
  {
    id: 'watchdog-without-notifier',
    title: 'a watchdog without watchdog notifications',
    why: 'Celery does not send WATCHDOG=1, so systemd kills a healthy worker after every interval',
    fix: 'Type=notify with the support module, or no WatchdogSec=',
    mends: {
      kind: 'whole',
      how: 'Type=notify is set, and the support module sends the notifications.',
    },
    example: {
      wrong: ['Type=simple', 'WatchdogSec=300'],
      right: [
        'Type=notify',
        'NotifyAccess=main',
        'Environment=PYTHONPATH=/usr/local/lib/celeriac/0123456789ab',
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
    title: 'systemd does not know when the worker is ready',
    why: 'without Type=notify a start succeeds even if the program is missing or the app fails to load',
    fix: 'Type=notify with the support module',
    mends: { kind: 'whole', how: 'Type=notify is set, unless `watchdog` is `off`.' },
    example: { wrong: ['Type=simple'], right: ['Type=notify', 'NotifyAccess=main'] },
    find: (file) => {
      const entry = setting(file, 'Type');
      return isNotify(file) ? [] : [{ entry, seen: seenOf(entry, 'Type') }];
    },
  },
  {
    id: 'kill-mode',
    title: 'a stop kills running tasks',
    why: 'KillMode=control-group also sends SIGTERM to the child processes, in the middle of their tasks; process and none leave child processes behind',
    fix: 'KillMode=mixed',
    mends: { kind: 'whole', how: 'KillMode=mixed is set.' },
    example: { wrong: ['KillMode=control-group'], right: ['KillMode=mixed'] },
    find: (file) => {
      const entry = setting(file, 'KillMode');
      return entry?.value === 'mixed' ? [] : [{ entry, seen: seenOf(entry, 'KillMode') }];
    },
  },
  {
    id: 'stop-timeout',
    title: 'a stop does not wait for the longest task',
    why: 'after TimeoutStopSec= (90 s by default) systemd kills the worker and its tasks',
    fix: 'TimeoutStopSec= of the longest task plus one minute',
    mends: {
      kind: 'whole',
      how: 'TimeoutStopSec= is set to `longest-task` plus one minute; a longer value stays.',
    },
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
    title: 'the start limit is never reached',
    why: 'StartLimitIntervalSec= does not exceed StartLimitBurst= × RestartSec=, so a worker that crashes at startup is restarted forever and the unit never fails',
    fix: 'in [Unit], StartLimitIntervalSec= well above StartLimitBurst= × RestartSec=',
    mends: {
      kind: 'whole',
      how: 'Both are set in [Unit], from `start-limit-burst` and `start-limit-interval`.',
    },
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
    title: 'the start limit is in the wrong section',
    why: 'systemd ignores StartLimitIntervalSec= in [Service]',
    fix: 'move it to [Unit]',
    mends: { kind: 'whole', how: 'It is moved to [Unit]; a drop-in sets it there.' },
    example: {
      wrong: ['StartLimitIntervalSec=300'],
      right: ['[Unit]', 'StartLimitIntervalSec=300'],
    },
    find: (file) =>
      // If [Unit] has it as well, nothing is lost.
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

/** In [Unit], or in [Service], where systemd still reads some of them for compatibility. */
function startLimit(file: UnitFile, name: string): Assignment | null {
  const old = name === 'IntervalSec' ? null : setting(file, `StartLimit${name}`);
  return setting(file, `StartLimit${name}`, 'Unit') ?? old;
}
