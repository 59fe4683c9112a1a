import { formatCount } from '../model/quantities.ts';
import type { ReportBucket, ReportMark, ReportRange, ReportTimeline } from '../model/report.ts';
import { SAMPLE_EVERY_SECONDS, type Sample } from '../model/sample.ts';
import { epochSeconds, seconds } from '../model/units.ts';

/** As many as a chart has pixels to show; a day has a bucket for every two minutes. */
const mostBuckets = 720;
/** Queues that are kept, by their length: a chart with more is not readable. */
const mostQueues = 12;
const mostMarks = 200;
/** A limit this many times above the memory would make a flat line of it. */
export const farLimit = 5;
/** The samples of a release begin somewhat after its deploy, in seconds. */
export const afterDeploy = 600;
const minute = SAMPLE_EVERY_SECONDS;
/** What a clock may say and a date can hold, in seconds. */
const endOfCalendars = 8.64e12;

/** Samples in buckets that keep each peak. `null`: there are no samples. */
export function timelineOf(
  samples: readonly Sample[],
  limit: number = mostBuckets,
): ReportTimeline | null {
  // A clock that was set back must not make a chart run backwards.
  const sorted = samples
    .filter(({ at }) => Math.abs(at) <= endOfCalendars)
    .toSorted((one, other) => one.at - other.at);
  const [first] = sorted;
  const last = sorted.at(-1);
  if (first === undefined || last === undefined) return null;
  const minutes = Math.floor((last.at - first.at) / minute) + 1;
  const length = Math.max(1, Math.ceil(minutes / limit)) * minute;
  const from = first.at;
  const queues = longestQueues(sorted);
  const groups = Map.groupBy(sorted, ({ at }) => Math.floor((at - from) / length));
  const deeds = deedsOf(samples);
  return {
    from,
    to: last.at,
    bucketSeconds: seconds(length),
    samples: sorted.length,
    buckets: [...groups].map(([index, group]) =>
      bucketOf(from + index * length, group, queues, deeds),
    ),
  };
}

function bucketOf(
  at: number,
  samples: readonly Sample[],
  queues: readonly string[],
  deeds: ReadonlyMap<Sample, number | null>,
): ReportBucket {
  const memory = samples.flatMap((sample) => (sample.memory === null ? [] : [sample.memory]));
  const workers = samples.flatMap(({ worker }) => (worker === null ? [] : [worker]));
  const last = memory.at(-1);
  return {
    at: epochSeconds(at),
    samples: samples.length,
    memory: rangeOf(memory.map(({ current }) => current)),
    main: highest(memory.map(({ main }) => main)),
    children: highest(memory.map(({ children }) => children)),
    swap: highest(memory.map(({ swap }) => swap)),
    high: last?.high ?? null,
    max: last?.max ?? null,
    queues:
      workers.length === 0
        ? null
        : Object.fromEntries(
            queues.flatMap((name) => {
              const range = rangeOf(workers.flatMap((worker) => worker.queues?.[name] ?? []));
              return range === null ? [] : [[name, range]];
            }),
          ),
    active: workers.length === 0 ? null : Math.max(...workers.map(({ active }) => active)),
    errors: sum(samples.map(({ journal }) => journal?.errors ?? null)),
    rateLimited: sum(samples.map(({ journal }) => journal?.rateLimited ?? null)),
    oomKills: sum(samples.map((sample) => deeds.get(sample) ?? null)),
  };
}

/**
 * Kills for lack of memory since the last sample that knew their number; `null`: not known, as for
 * the first one. The counter begins at 0 with each start.
 */
function deedsOf(samples: readonly Sample[]): ReadonlyMap<Sample, number | null> {
  const kills = new Map<Sample, number | null>();
  let before: Sample | null = null;
  for (const sample of samples) {
    const now = sample.events?.oomKill ?? null;
    const was = before?.events?.oomKill ?? null;
    if (now === null || before === null || was === null) {
      kills.set(sample, null);
    } else {
      kills.set(sample, startedBetween(before, sample) || now < was ? now : now - was);
    }
    if (now !== null) before = sample;
  }
  return kills;
}

/** Whether the worker was started between two samples, as far as they know. */
function startedBetween(one: Sample, other: Sample): boolean {
  if (one.boot !== other.boot) return true;
  const [before, after] = [one.unit?.invocation, other.unit?.invocation];
  return before !== undefined && after !== undefined && before !== after;
}

/** Restarts, reboots and kills that the samples show, oldest first; the newest of them. */
export function marksOfSamples(samples: readonly Sample[]): readonly ReportMark[] {
  const marks: ReportMark[] = [];
  const kills = deedsOf(samples);
  let boot: string | null = null;
  let invocation: string | null = null;
  for (const sample of samples) {
    const mark = (kind: ReportMark['kind'], text: string) =>
      marks.push({ at: sample.at, kind, text });
    const killed = kills.get(sample) ?? 0;
    if (killed > 0) {
      mark('oom', `${formatCount(killed, 'process', 'processes')} killed: out of memory`);
    }
    const now = sample.unit?.invocation ?? null;
    if (boot !== null && boot !== sample.boot) {
      mark('reboot', 'the host was rebooted');
    } else if (invocation !== null && now !== null && invocation !== now) {
      mark('restart', 'the worker was restarted');
    }
    // A reboot also starts the worker: one mark is enough.
    invocation = now ?? (boot === sample.boot ? invocation : null);
    boot = sample.boot;
  }
  return marks.slice(-mostMarks);
}

/** The same in fewer and longer buckets, for people who read it as a table. */
export function coarsen(timeline: ReportTimeline, limit: number): ReportTimeline {
  const { from, to, bucketSeconds, buckets } = timeline;
  const all = Math.floor((to - from) / bucketSeconds) + 1;
  const length = Math.ceil(all / limit) * bucketSeconds;
  const groups = Map.groupBy(buckets, ({ at }) => Math.floor((at - from) / length));
  return {
    ...timeline,
    bucketSeconds: seconds(length),
    buckets: [...groups].map(([index, group]) => mergeBuckets(from + index * length, group)),
  };
}

function mergeBuckets(at: number, buckets: readonly ReportBucket[]): ReportBucket {
  const last = buckets.findLast(({ memory }) => memory !== null);
  const queues = buckets.flatMap((bucket) => (bucket.queues === null ? [] : [bucket.queues]));
  const names = [...new Set(queues.flatMap((each) => Object.keys(each)))];
  return {
    at: epochSeconds(at),
    samples: buckets.reduce((total, { samples }) => total + samples, 0),
    memory: mergeRanges(buckets.map(({ memory }) => memory)),
    main: highest(buckets.map(({ main }) => main)),
    children: highest(buckets.map(({ children }) => children)),
    swap: highest(buckets.map(({ swap }) => swap)),
    high: last?.high ?? null,
    max: last?.max ?? null,
    queues:
      queues.length === 0
        ? null
        : Object.fromEntries(
            names.flatMap((name) => {
              const range = mergeRanges(queues.map((each) => each[name] ?? null));
              return range === null ? [] : [[name, range]];
            }),
          ),
    active: highest(buckets.map(({ active }) => active)),
    errors: sum(buckets.map(({ errors }) => errors)),
    rateLimited: sum(buckets.map(({ rateLimited }) => rateLimited)),
    oomKills: sum(buckets.map(({ oomKills }) => oomKills)),
  };
}

const mergeRanges = (ranges: readonly (ReportRange | null)[]): ReportRange | null =>
  rangeOf(ranges.flatMap((range) => (range === null ? [] : [range.min, range.max])));

function longestQueues(samples: readonly Sample[]): readonly string[] {
  const longest = new Map<string, number>();
  for (const { worker } of samples) {
    for (const [name, length] of Object.entries(worker?.queues ?? {})) {
      longest.set(name, Math.max(longest.get(name) ?? 0, length));
    }
  }
  return [...longest]
    .sort(([one, a], [other, b]) => b - a || (one < other ? -1 : 1))
    .slice(0, mostQueues)
    .map(([name]) => name);
}

function rangeOf(values: readonly number[]): ReportRange | null {
  if (values.length === 0) return null;
  return { min: Math.min(...values), max: Math.max(...values) };
}

function highest<Value extends number>(values: readonly (Value | null)[]): Value | null {
  const known = values.filter((value) => value !== null);
  return known.reduce<Value | null>(
    (most, value) => (most === null || value > most ? value : most),
    null,
  );
}

function sum(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((total, value) => total + value, 0);
}
