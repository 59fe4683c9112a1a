import { parseExecLine } from './exec-line.ts';
import type { Assignment, UnitEntry, UnitFile } from './unit-file.ts';
import { microseconds, parseSize, parseTimeSpan } from './values.ts';

/**
 * What makes the unit of a Celery worker wrong, although systemd takes it. Each rule looks at one
 * unit file; whether a fault is mended is told by looking again at the mended text.
 */
export interface UnitRule {
  /** Short and stable; names the rule's page. */
  readonly id: string;
  readonly title: string;
  /** What happens with such a unit. */
  readonly why: string;
  /** What to write instead. */
  readonly fix: string;
  find(file: UnitFile, context: UnitContext): readonly Sighting[];
}

/** What a rule must know beside the file. */
export interface UnitContext {
  readonly swapActive: boolean;
  readonly longestTaskSeconds: number;
}

interface Sighting {
  /** The line that is at fault, `null` when a line is missing. */
  readonly entry: UnitEntry | null;
  /** What was seen, as it stands in the file. */
  readonly seen: string;
}

/** One place where a unit breaks a rule. */
export interface UnitFault {
  readonly rule: UnitRule;
  readonly seen: string;
  /** 1-based; `null` when a line is missing. */
  readonly line: number | null;
}

/** Every fault of a unit, in the order of the rules. */
export function findUnitFaults(
  file: UnitFile,
  context: UnitContext,
  rules: readonly UnitRule[] = unitRules,
): readonly UnitFault[] {
  return rules.flatMap((rule) =>
    rule.find(file, context).map(({ entry, seen }) => ({
      rule,
      seen,
      line: entry ? file.lineOf(entry) : null,
    })),
  );
}

const execKeys = [
  'ExecCondition',
  'ExecStartPre',
  'ExecStart',
  'ExecStartPost',
  'ExecReload',
  'ExecStop',
  'ExecStopPost',
] as const;

/** The Exec lines that count, in the order in which systemd runs them. */
export function execLines(file: UnitFile): readonly Assignment[] {
  return execKeys.flatMap((key) => file.effective('Service', key));
}

const killers = ['pkill', 'killall', 'skill', 'slay'];

/** True for an Exec line whose whole purpose is to kill Celery processes by name. */
export function killsCeleryByName(entry: Assignment): boolean {
  const commands = parseExecLine(entry.value) ?? [];
  return (
    commands.length > 0 &&
    commands.every(({ words }) => {
      const texts = words.map(({ text }) => text);
      const script = shellScript(texts);
      if (script === null) return isKiller(texts[0]) && texts.some((text) => /celery/i.test(text));
      // A script that does something else too is not ours to remove.
      const doing = script.split(/\|\||&&|[;\n]/).map((part) => part.trim());
      return doing.every(
        (part) =>
          part === '' ||
          /^(?:true|:|sleep\s+[\d.]+\w?|exit 0)$/.test(part) ||
          (isKiller(part.split(/\s+/)[0]) && /celery/i.test(part) && !/[`$]\(|`/.test(part)),
      );
    })
  );
}

const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
const isKiller = (word = ''): boolean => killers.includes(baseName(word));

/** The text of `sh -c '…'`; `null` for other commands. */
function shellScript(words: readonly string[]): string | null {
  const [program = '', ...rest] = words;
  if (!/^(?:ba|da|z|k|a)?sh$/.test(baseName(program))) return null;
  const at = rest.findIndex((word) => /^-[a-z]*c$/.test(word));
  return at === -1 ? null : (rest[at + 1] ?? '');
}

/** Words that only a shell would understand, in a line that no shell reads. */
function shellSyntax(entry: Assignment): readonly string[] {
  const commands = parseExecLine(entry.value) ?? [];
  return commands.flatMap(({ words }) => {
    const texts = words.map(({ text }) => text);
    return shellScript(texts) === null
      ? texts.filter((text) => /^(?:\|\|?|&&?|\d*>>?(?:&\d|.*)|<.*|.*\$\(.*|`.*)$/.test(text))
      : [];
  });
}

const named = ({ key, value }: Assignment): string => `${key}=${value}`;

function setting(file: UnitFile, key: string, section = 'Service'): Assignment | null {
  return file.effective(section, key).at(-1) ?? null;
}

function spanOf(entry: Assignment | null, byDefault: number): number {
  return entry === null ? byDefault : (parseTimeSpan(entry.value) ?? byDefault);
}

function bytesOf(entry: Assignment | null): number | null {
  const size = entry === null ? null : parseSize(entry.value);
  return size?.kind === 'bytes' ? size.bytes : null;
}

/** systemd's DefaultTimeoutStopSec, DefaultStartLimitIntervalSec, DefaultRestartSec. */
const defaultStop = microseconds(90);
const defaultInterval = microseconds(10);
const defaultRestart = microseconds(0.1);

export const unitRules: readonly UnitRule[] = [
  {
    id: 'shell-syntax',
    title: 'shell syntax in an Exec line',
    why: 'systemd has no shell: the words go to the program as arguments, which then often fails',
    fix: 'a `-` before the path ignores a failure; journald keeps what is written to stdout',
    find: (file) =>
      execLines(file)
        .filter((entry) => shellSyntax(entry).length > 0)
        .map((entry) => ({ entry, seen: named(entry) })),
  },
  {
    id: 'kill-by-name',
    title: 'Celery processes are killed by name',
    why: 'it kills every Celery process on the host, those of other units and running tasks too',
    fix: 'remove the line: systemd ends what it started, and strays are ended one by one, by pid',
    find: (file) =>
      execLines(file)
        .filter((entry) => /\b(?:pkill|killall)\b.*celery/i.test(entry.value))
        .map((entry) => ({ entry, seen: named(entry) })),
  },
  {
    id: 'watchdog-without-notifier',
    title: 'a watchdog that nobody feeds',
    why: 'Celery sends no WATCHDOG=1, so systemd kills a healthy worker at every interval',
    fix: 'Type=notify with the support module, or no WatchdogSec=',
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
    find: (file) => {
      const entry = setting(file, 'Type');
      return isNotify(file) ? [] : [{ entry, seen: entry ? named(entry) : 'no Type=' }];
    },
  },
  {
    id: 'kill-mode',
    title: 'a stop kills running tasks',
    why: 'KillMode=control-group sends TERM to the pool children too, in the middle of their tasks; process and none leave them behind',
    fix: 'KillMode=mixed',
    find: (file) => {
      const entry = setting(file, 'KillMode');
      if (entry?.value === 'mixed') return [];
      return [{ entry, seen: entry ? named(entry) : 'no KillMode=' }];
    },
  },
  {
    id: 'stop-timeout',
    title: 'a stop does not wait for the longest task',
    why: 'after TimeoutStopSec= (90 s when not set) systemd kills the worker with its tasks',
    fix: 'TimeoutStopSec= of the longest task and a minute',
    find: (file, { longestTaskSeconds }) => {
      const entry = setting(file, 'TimeoutStopSec') ?? setting(file, 'TimeoutSec');
      // Zero switches the limit off.
      const span = spanOf(entry, defaultStop) || Number.POSITIVE_INFINITY;
      if (span >= microseconds(longestTaskSeconds)) return [];
      return [{ entry, seen: entry ? named(entry) : 'no TimeoutStopSec=' }];
    },
  },
  {
    id: 'memory-high-without-swap',
    title: 'MemoryHigh= on a host without swap',
    why: 'a worker above it is slowed down without end, since nothing can be swapped out: it hangs and is never killed',
    fix: 'swap first, or MemoryMax= alone',
    find: (file, { swapActive }) => {
      const entry = setting(file, 'MemoryHigh');
      return swapActive || entry === null || entry.value === 'infinity'
        ? []
        : [{ entry, seen: named(entry) }];
    },
  },
  {
    id: 'memory-high-above-max',
    title: 'MemoryHigh= not below MemoryMax=',
    why: 'the worker is killed before it is ever slowed down',
    fix: 'MemoryHigh= below MemoryMax=',
    find: (file) => {
      const entry = setting(file, 'MemoryHigh');
      const max = setting(file, 'MemoryMax');
      const [high, limit] = [bytesOf(entry), bytesOf(max)];
      return entry === null || max === null || high === null || limit === null || high < limit
        ? []
        : [{ entry, seen: `${named(entry)} with ${named(max)}` }];
    },
  },
  {
    id: 'invalid-size',
    title: 'a memory limit that systemd ignores',
    why: 'systemd warns and goes on without any limit',
    fix: 'a number with K, M, G or T, such as 1500M; a share such as 40%; or infinity',
    find: (file) =>
      ['MemoryMax', 'MemoryHigh', 'MemoryLow', 'MemoryMin', 'MemorySwapMax', 'MemoryLimit']
        .map((key) => setting(file, key))
        .filter((entry) => entry !== null && parseSize(entry.value) === null)
        .map((entry) => ({ entry, seen: entry ? named(entry) : '' })),
  },
  {
    id: 'start-limit',
    title: 'a start limit that never trips',
    why: 'StartLimitIntervalSec= is not longer than burst × RestartSec=, so a worker that crashes at once is started for ever and the unit never fails',
    fix: 'in [Unit], StartLimitIntervalSec= well above StartLimitBurst= × RestartSec=',
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
    find: (file) =>
      file
        .assignments('Service', 'StartLimitIntervalSec')
        .map((entry) => ({ entry, seen: named(entry) })),
  },
];

/** The module that `deploy-worker` installs beside the app: it tells systemd how the worker is. */
export const supportModule = 'celeriac_support';

function isNotify(file: UnitFile): boolean {
  return ['notify', 'notify-reload'].includes(file.value('Service', 'Type') ?? '');
}

/** In [Unit], or where systemd still reads it for old units' sake. */
function startLimit(file: UnitFile, name: string): Assignment | null {
  const old = name === 'IntervalSec' ? null : setting(file, `StartLimit${name}`);
  return setting(file, `StartLimit${name}`, 'Unit') ?? old;
}
