import { stopMarginSeconds } from '../../celery/app-rules.ts';
import type { DeployWorkerDesired, MemoryWish } from '../../config/deploy-worker-desired.ts';
import { printSize } from '../../config/quantities.ts';
import type { UnitFile } from '../../systemd/unit-file.ts';
import {
  microseconds,
  parseSize,
  parseTimeSpan,
  printSizeProperty,
  printTimeSpan,
} from '../../systemd/values.ts';
import { hardenedFlags, sharesTmp } from './hardening.ts';

/** One key that deploy-worker sets. */
export interface Setting {
  readonly section: 'Unit' | 'Service';
  readonly key: string;
  /** `null`: it must not be set. */
  readonly value: string | null;
  /** The value that disables it, for a drop-in, which cannot remove a line of another file. */
  readonly off: string;
  /** Whether the written value means the same; `null`: no line, or an empty one. */
  readonly accepts: (written: string | null) => boolean;
  /** The property of `systemctl show`, and the value as it prints it; `null`: not predictable. */
  readonly property:
    | readonly [name: string, print: (written: string | null) => string | null]
    | null;
  /** Other spellings of the same setting; which one counts would depend on their order. */
  readonly others: readonly (readonly [section: 'Unit' | 'Service', key: string])[];
}

/**
 * The keys that deploy-worker sets, with their desired values.
 *
 * @param file the current unit with its drop-ins
 */
export function listSettings(
  file: UnitFile,
  desired: DeployWorkerDesired,
  swapActive: boolean,
): readonly Setting[] {
  const watched = desired.watchdogSec !== null;
  const notifies = watched || /^notify/.test(file.value('Service', 'Type') ?? '');
  const stop = desired.longestTaskSeconds + stopMarginSeconds;
  const signal = file.value('Service', 'KillSignal');
  return [
    span('Unit', 'StartLimitIntervalSec', 'StartLimitIntervalUSec', desired.startLimitIntervalSec, [
      ['Unit', 'StartLimitInterval'],
      ['Service', 'StartLimitInterval'],
      ['Service', 'StartLimitIntervalSec'],
    ]),
    word('Unit', 'StartLimitBurst', String(desired.startLimitBurst), [
      ['Service', 'StartLimitBurst'],
    ]),
    ...(watched
      ? [word('Service', 'Type', 'notify'), word('Service', 'NotifyAccess', 'main')]
      : []),
    word('Service', 'KillMode', 'mixed'),
    ...(signal === null || /^(?:SIG)?TERM$|^15$/.test(signal)
      ? []
      : [word('Service', 'KillSignal', 'SIGTERM')]),
    ...(notifies
      ? [atLeast('TimeoutStartSec', 'TimeoutStartUSec', desired.startTimeoutSeconds)]
      : []),
    atLeast('TimeoutStopSec', 'TimeoutStopUSec', stop),
    word('Service', 'Restart', 'always'),
    span('Service', 'RestartSec', 'RestartUSec', desired.restartSec),
    size('MemoryMax', desired.memoryMaxBytes, [['Service', 'MemoryLimit']]),
    size(
      'MemoryHigh',
      swapActive || desired.memoryHighBytes === 'keep' ? desired.memoryHighBytes : null,
    ),
    word('Service', 'OOMPolicy', 'continue'),
    span('Service', 'WatchdogSec', 'WatchdogUSec', desired.watchdogSec),
    ...(desired.hardening === 'standard'
      ? [
          ...hardenedFlags(sharesTmp(file, desired)).map(flag),
          word('Service', 'ProtectSystem', 'strict'),
        ]
      : []),
  ];
}

function word(
  section: Setting['section'],
  key: string,
  value: string,
  others: Setting['others'] = [],
): Setting {
  const property = key === 'KillSignal' ? '15' : value;
  return {
    section,
    key,
    value,
    off: '',
    accepts: (written) => written === value,
    property: [key, () => property],
    others,
  };
}

/** A switch that must be on. */
function flag(key: string): Setting {
  return {
    ...word('Service', key, 'yes'),
    accepts: (written) => /^(?:1|yes|y|true|t|on)$/i.test(written ?? ''),
  };
}

/** A time span; `null`: none, or zero, or infinity. */
function span(
  section: Setting['section'],
  key: string,
  property: string,
  seconds: number | null,
  others: Setting['others'] = [],
): Setting {
  const wanted = seconds === null ? null : microseconds(seconds);
  return {
    section,
    key,
    value: seconds === null ? null : String(seconds),
    off: '0',
    accepts: (written) => {
      const found = written === null ? null : parseTimeSpan(written);
      if (wanted !== null) return found === wanted;
      return written === null || found === 0 || found === Number.POSITIVE_INFINITY;
    },
    // systemd prints a disabled watchdog as 0 or as infinity, depending on its version.
    property: wanted === null ? null : [property, () => printTimeSpan(wanted)],
    others,
  };
}

/** A time limit; a longer one in the unit is kept, because it was set on purpose. */
function atLeast(key: string, property: string, seconds: number): Setting {
  return {
    section: 'Service',
    key,
    value: String(seconds),
    off: '0',
    accepts: (written) => (spanOrNever(written) ?? -1) >= microseconds(seconds),
    property: [property, (written) => printTimeSpan(spanOrNever(written) ?? microseconds(seconds))],
    others: [],
  };
}

/** Zero disables such a limit; `null`: nothing that systemd understands. */
export function spanOrNever(written: string | null): number | null {
  const found = written === null ? null : parseTimeSpan(written);
  return found === 0 ? Number.POSITIVE_INFINITY : found;
}

function size(key: string, wanted: MemoryWish, others: Setting['others'] = []): Setting {
  if (wanted === 'keep') return keptSize(key);
  return {
    section: 'Service',
    key,
    value: wanted === null ? null : printSize(wanted),
    off: 'infinity',
    accepts: (written) => {
      const found = written === null ? null : parseSize(written);
      if (wanted === null) return written === null || found?.kind === 'infinity';
      return found?.kind === 'bytes' && found.bytes === wanted;
    },
    property: [key, () => printSizeProperty(wanted)],
    others,
  };
}

/** A limit that stays as it is; still, systemd must have loaded it. */
function keptSize(key: string): Setting {
  return {
    section: 'Service',
    key,
    value: null,
    off: 'infinity',
    accepts: () => true,
    property: [
      key,
      (written) => {
        const found = written === null ? null : parseSize(written);
        return found?.kind === 'bytes' ? printSizeProperty(found.bytes) : null;
      },
    ],
    others: [],
  };
}

/** New lines are inserted after related ones. */
export const neighbours: Readonly<Record<string, string>> = {
  StartLimitBurst: 'StartLimitIntervalSec',
  NotifyAccess: 'Type',
  RestartSec: 'Restart',
  TimeoutStopSec: 'TimeoutStartSec',
  MemoryHigh: 'MemoryMax',
  Environment: 'WorkingDirectory',
};
