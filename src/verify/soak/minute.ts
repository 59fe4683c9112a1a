import { formatBytes, formatCount, formatDuration } from '../../model/quantities.ts';
import type { Sample } from '../../model/sample.ts';
import type { SoakFault, SoakLimitId, SoakLimits } from '../../model/soak.ts';
import { type EpochSeconds, MiB } from '../../model/units.ts';

/** The samples up to a minute; the last one is the minute's own. */
export interface MinuteScene {
  readonly before: Sample;
  readonly sample: Sample;
  /** The samples of the last minutes without a gap, oldest first; `sample` is the last one. */
  readonly recent: readonly Sample[];
  /** The first sample of the soak: what was so before is not the release's. */
  readonly first: Sample;
  readonly down: Down;
  /** Starts of transactions of the unit: what they restart is expected. */
  readonly transactions: readonly EpochSeconds[];
}

/** In how many samples in a row the unit did not run, without a failure that systemd names. */
export interface Down {
  readonly stopping: number;
  /** Stopped, or starting. */
  readonly stopped: number;
}

/** Two samples further apart have a gap between them, in seconds; a sampler may be late. */
export const longestMinute = 150;
/** A queue must grow for this many minutes while no task is active. */
export const growingMinutes = 10;
/** Fewer messages are what came in since the worker last took some. */
const fewestMessages = 10;
/** Share of a file system that must stay free, and room that is enough however large it is. */
const leastFree = { share: 0.05, bytes: 10 * 1024 * MiB };
/**
 * So many samples in a row fail. A start or stop is somebody's deed, and systemd calls one that
 * takes too long `failed`; a worker that ends its tasks first may need long.
 */
const patience: Down = { stopping: 60, stopped: 3 };
/** After a boot, what the worker needs may not be up yet, in seconds. */
const bootSeconds = 300;
/** Own memory from this share of MemoryMax on cannot be room that the cache of files takes. */
const ownShare = 0.9;
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
  add('memory', memoryFault(scene));
  add('rate-limits', rateLimitFault(scene, limits));
  add('errors', errorFault(scene, limits));
  add('queues', queueFault(scene.recent));
  add('disk', diskFault(scene));
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

/**
 * Whether a run of Celeriac changed the host between the samples, or at one of them. What it stops,
 * starts or breaks is not this release's; what lasts is found in the next minute.
 */
function isChanged({ before, sample, transactions }: Change): boolean {
  if (sample.changing === true || before.changing === true) return true;
  return transactions.some((at) => at > before.at && at <= sample.at);
}

type Change = Pick<MinuteScene, 'before' | 'sample' | 'transactions'>;

/** Whether the host came up between the samples, or a short time before. */
const isBooting = ({ before, sample }: Change): boolean =>
  sample.boot !== before.boot || sample.uptime < bootSeconds;

const isUnsettled = (change: Change): boolean => isChanged(change) || isBooting(change);

const isRunning = ({ active }: NonNullable<Sample['unit']>): boolean =>
  active === 'active' || active === 'reloading' || active === 'refreshing';

const resultOf = ({ result }: NonNullable<Sample['unit']>): string =>
  result === 'success' ? '' : result;

/** Whether systemd says that the unit failed, and not only that it does not run. */
const hasFailed = (unit: NonNullable<Sample['unit']>): boolean =>
  unit.active === 'failed' || (unit.active === 'inactive' && resultOf(unit) !== '');

/** Counts on: 0 once it runs, and while it is not the release's. */
export function downNow(down: Down, change: Change): Down {
  const { unit } = change.sample;
  if (unit === null) return down;
  if (isRunning(unit) || isUnsettled(change)) return notDown;
  return unit.active === 'deactivating'
    ? { ...down, stopping: down.stopping + 1 }
    : { ...down, stopped: down.stopped + 1 };
}

export const notDown: Down = { stopping: 0, stopped: 0 };

function unitFault(scene: MinuteScene): string | null {
  const { sample, down } = scene;
  const { unit } = sample;
  if (unit === null || isRunning(unit) || isChanged(scene)) return null;
  const isTooLong = down.stopping >= patience.stopping || down.stopped >= patience.stopped;
  if (!hasFailed(unit) && !isTooLong) return null;
  const result = resultOf(unit);
  return `The unit was not active: ${unit.active} (${unit.sub}${result === '' ? '' : `, result ${result}`}).`;
}

function restartFault(scene: MinuteScene): string | null {
  const { before, sample } = scene;
  const times = countRestarts(before, sample);
  if (times === 0 || sample.unit === null || isUnsettled(scene)) return null;
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
export function isForeignRestart({ before, sample, transactions }: Change): boolean {
  if (before.unit === null || sample.unit === null || sample.boot !== before.boot) return false;
  if (isSameRun(before, sample) || countRestarts(before, sample) > 0) return false;
  return !transactions.some((at) => at <= sample.at && at > sample.at - longestDeploy);
}

function oomFault(scene: MinuteScene): string | null {
  const { before, sample } = scene;
  if (before.events === null || sample.events === null || isOfAnother(scene)) return null;
  const kills = rise(before.events.oomKill, sample.events.oomKill, isSameRun(before, sample));
  return kills === 0
    ? null
    : `The kernel killed ${formatCount(kills, 'process', 'processes')} of the worker: out of memory.`;
}

/** Whether a run of Celeriac started what runs: it may be another release, which did not last. */
const isOfAnother = (scene: MinuteScene): boolean =>
  isChanged(scene) && !isSameRun(scene.before, scene.sample);

function memoryFault(scene: MinuteScene): string | null {
  const { memory } = scene.sample;
  if (memory === null || memory.max === null || memory.anon === null) return null;
  const { current, anon, max } = memory;
  if (current < max || anon < max * ownShare || isOfAnother(scene)) return null;
  return `The worker used ${formatBytes(current)}, all that MemoryMax (${formatBytes(max)}) allows, ${formatBytes(anon)} without the file cache.`;
}

function rateLimitFault(scene: MinuteScene, { rateLimitMax }: SoakLimits): string | null {
  const { journal } = scene.sample;
  if (journal === null || rateLimitMax === null) return null;
  return logFault(scene, journal.rateLimited, rateLimitMax, [
    'response with HTTP 429',
    'responses with HTTP 429',
  ]);
}

function errorFault(scene: MinuteScene, { errorRateMax }: SoakLimits): string | null {
  const { journal } = scene.sample;
  if (journal === null || errorRateMax === null) return null;
  const errors = Math.max(journal.errors, journal.tracebacks);
  return logFault(scene, errors, errorRateMax, ['error', 'errors']);
}

/** After a gap, only if the minutes of it cannot all have kept to the limit. */
function logFault(
  scene: MinuteScene,
  count: number,
  limit: number,
  names: readonly [string, string],
): string | null {
  const passed = Math.max(1, Math.round(elapsed(scene.before, scene.sample) / 60));
  if (count <= limit * passed || isUnsettled(scene)) return null;
  const span = passed === 1 ? 'a minute' : formatDuration(passed * 60);
  return `${formatCount(count, ...names)} in ${span} of the journal; at most ${limit} a minute are allowed.`;
}

/** Messages that wait in all queues of the worker; `null`: not known. */
export const waitingMessages = ({ worker }: Sample): number | null =>
  worker === null || worker.queues === null
    ? null
    : Object.values(worker.queues).reduce((sum, length) => sum + length, 0);

/** They grow from minute to minute, or stay, but never shrink, and no task is begun. */
function queueFault(recent: readonly Sample[]): string | null {
  const window = recent.slice(-growingMinutes - 1);
  if (window.length <= growingMinutes) return null;
  const processed = window[0]?.worker?.processed ?? null;
  const lengths: number[] = [];
  for (const sample of window) {
    const { worker } = sample;
    const length = waitingMessages(sample);
    if (worker === null || length === null || worker.active > 0) return null;
    // Between two looks it may have worked off what came in.
    if (processed === null || worker.processed !== processed) return null;
    lengths.push(length);
  }
  const shrank = lengths.some((length, index) => index > 0 && length < (lengths[index - 1] ?? 0));
  const [first = 0] = lengths;
  const last = lengths.at(-1) ?? 0;
  if (shrank || last <= first || last < fewestMessages) return null;
  const span = formatDuration((window.at(-1)?.at ?? 0) - (window[0]?.at ?? 0));
  return `The queues grew from ${first} to ${last} messages in ${span} while the worker ran no task.`;
}

function diskFault({ sample, first }: MinuteScene): string | null {
  for (const disk of sample.disk) {
    const before = first.disk.find(({ path }) => path === disk.path);
    const { path, free, size, inodesFree, inodes } = disk;
    if (isFull(disk) && !(before !== undefined && isFull(before))) {
      return `${path} is ${percent(1 - free / size)} full: ${formatBytes(free)} left.`;
    }
    if (lacksInodes(disk) && !(before !== undefined && lacksInodes(before))) {
      return `${path} has ${percent(1 - inodesFree / inodes)} of its inodes in use.`;
    }
  }
  return null;
}

type Disk = Sample['disk'][number];

/** By the rule of the check `disk`. */
const isFull = ({ free, size }: Disk): boolean =>
  size > 0 && free < size * leastFree.share && free < leastFree.bytes;

const lacksInodes = ({ inodesFree, inodes }: Disk): boolean =>
  inodes > 0 && inodesFree < inodes * leastFree.share;

const percent = (share: number): string => `${Math.floor(share * 100)} %`;
