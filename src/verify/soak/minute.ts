import type { Sample } from '../../model/sample.ts';
import type { SoakFault, SoakLimitId, SoakLimits } from '../../model/soak.ts';
import type { EpochSeconds } from '../../model/units.ts';
import { formatBytes, formatCount, formatDuration } from '../../report/quantities.ts';

/** The samples up to a minute; the last one is the minute's own. */
export interface MinuteScene {
  readonly before: Sample;
  readonly sample: Sample;
  /** The samples of the last minutes without a gap, oldest first; `sample` is the last one. */
  readonly recent: readonly Sample[];
  /** Starts of transactions of the unit: what they restart is expected. */
  readonly transactions: readonly EpochSeconds[];
}

/** Two samples further apart have a gap between them, in seconds; a sampler may be late. */
export const longestMinute = 150;
/** A queue must grow for this many minutes while no task is active. */
export const growingMinutes = 10;
/** Share of a file system that must stay free. */
const leastFree = 0.05;
/** How long a deploy may take until it restarts the worker, in seconds. */
const longestDeploy = 3600;

/** What is wrong in one minute, one sentence each; empty: nothing that is known. */
export function faultsOf(scene: MinuteScene, limits: SoakLimits): readonly SoakFault[] {
  const { at } = scene.sample;
  const faults: SoakFault[] = [];
  const add = (limit: SoakLimitId, sentence: string | null): void => {
    if (sentence !== null) faults.push({ limit, at, sentence });
  };
  add('unit', unitFault(scene));
  add('restarts', restartFault(scene));
  add('oom', oomFault(scene));
  add('memory', memoryFault(scene.sample));
  add('rate-limits', rateLimitFault(scene.sample, limits));
  add('errors', errorFault(scene.sample, limits));
  add('queues', queueFault(scene.recent));
  add('disk', diskFault(scene.sample));
  return faults;
}

/**
 * Seconds from one sample to the next: by the clock that nobody can set, unless the host was started
 * again in between. Never negative.
 */
export function elapsed(before: Sample, sample: Sample): number {
  const isSameBoot = before.boot === sample.boot;
  return Math.max(0, isSameBoot ? sample.uptime - before.uptime : sample.at - before.at);
}

/** How much a counter rose; counters of the unit begin at 0 with each start. */
export const rise = (before: number, after: number, sameRun: boolean): number =>
  sameRun && after >= before ? after - before : after;

/** Whether both samples are of the same start of the unit. */
export const isSameRun = (a: Sample, b: Sample): boolean =>
  a.boot === b.boot && a.unit !== null && a.unit.invocation === b.unit?.invocation;

function unitFault({ before, sample }: MinuteScene): string | null {
  const { unit } = sample;
  if (unit === null || unit.active === 'active' || unit.active === 'reloading') return null;
  // The minute in which the host comes up.
  if (sample.boot !== before.boot && unit.active === 'activating') return null;
  const result = unit.result === '' || unit.result === 'success' ? '' : `, result ${unit.result}`;
  return `The unit was not active: ${unit.active} (${unit.sub}${result}).`;
}

function restartFault({ before, sample }: MinuteScene): string | null {
  const times = countRestarts(before, sample);
  if (times === 0 || sample.unit === null) return null;
  return `systemd restarted the worker${times === 1 ? '' : ` ${formatCount(times, 'time')}`} (NRestarts ${sample.unit.restarts}).`;
}

/** Restarts by systemd itself; its counter begins at 0 with each start by somebody else. */
export function countRestarts(before: Sample, sample: Sample): number {
  if (before.unit === null || sample.unit === null) return 0;
  const { restarts } = sample.unit;
  const isNewCount = sample.boot !== before.boot || restarts < before.unit.restarts;
  return isNewCount ? restarts : restarts - before.unit.restarts;
}

/**
 * Restarted by a person, or by a program such as `needrestart` after an update: the release is not
 * to blame.
 */
export function isForeignRestart({
  before,
  sample,
  transactions,
}: Omit<MinuteScene, 'recent'>): boolean {
  if (before.unit === null || sample.unit === null || sample.boot !== before.boot) return false;
  if (isSameRun(before, sample) || countRestarts(before, sample) > 0) return false;
  return !transactions.some((at) => at <= sample.at && at > sample.at - longestDeploy);
}

function oomFault({ before, sample }: MinuteScene): string | null {
  if (before.events === null || sample.events === null) return null;
  const kills = rise(before.events.oomKill, sample.events.oomKill, isSameRun(before, sample));
  return kills === 0
    ? null
    : `The kernel killed ${formatCount(kills, 'process', 'processes')} of the worker: out of memory.`;
}

function memoryFault({ memory }: Sample): string | null {
  if (memory === null || memory.max === null || memory.current < memory.max) return null;
  return `The worker used ${formatBytes(memory.current)}, all that MemoryMax (${formatBytes(memory.max)}) allows.`;
}

function rateLimitFault({ journal }: Sample, { rateLimitMax }: SoakLimits): string | null {
  if (journal === null || journal.rateLimited <= rateLimitMax) return null;
  return `${formatCount(journal.rateLimited, 'response')} with HTTP 429 in a minute; at most ${rateLimitMax} are allowed.`;
}

function errorFault({ journal }: Sample, { errorRateMax }: SoakLimits): string | null {
  if (journal === null) return null;
  const errors = Math.max(journal.errors, journal.tracebacks);
  if (errorRateMax === null || errors <= errorRateMax) return null;
  return `${formatCount(errors, 'error')} in a minute of the journal; at most ${errorRateMax} are allowed.`;
}

/** It grows from minute to minute, or stays, but never shrinks, and no task is active. */
function queueFault(recent: readonly Sample[]): string | null {
  const window = recent.slice(-growingMinutes - 1);
  if (window.length <= growingMinutes) return null;
  const lengths: number[] = [];
  for (const { worker } of window) {
    if (worker === null || worker.active > 0) return null;
    lengths.push(Object.values(worker.queues).reduce((sum, length) => sum + length, 0));
  }
  const shrank = lengths.some((length, index) => index > 0 && length < (lengths[index - 1] ?? 0));
  const [first = 0] = lengths;
  const last = lengths.at(-1) ?? 0;
  if (shrank || last <= first) return null;
  const span = formatDuration((window.at(-1)?.at ?? 0) - (window[0]?.at ?? 0));
  return `The queues grew from ${first} to ${last} messages in ${span} while the worker ran no task.`;
}

function diskFault({ disk }: Sample): string | null {
  for (const { path, free, size, inodesFree, inodes } of disk) {
    if (size > 0 && free < size * leastFree) {
      return `${path} is ${percent(1 - free / size)} full: ${formatBytes(free)} left.`;
    }
    if (inodes > 0 && inodesFree < inodes * leastFree) {
      return `${path} has ${percent(1 - inodesFree / inodes)} of its inodes in use.`;
    }
  }
  return null;
}

const percent = (share: number): string => `${Math.floor(share * 100)} %`;
