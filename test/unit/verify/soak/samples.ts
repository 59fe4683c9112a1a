import type { Sample } from '../../../../src/model/sample.ts';
import type { SoakLimits } from '../../../../src/model/soak.ts';
import { bytes, epochSeconds, MiB, seconds } from '../../../../src/model/units.ts';

/** When the release of the tests became unproven. */
export const begin = epochSeconds(1_768_734_000);

export const limits: SoakLimits = {
  wanted: seconds(24 * 3600),
  failureLimit: 0,
  consecutive: 3,
  rateLimitMax: 0,
  errorRateMax: 5,
};

type Unit = NonNullable<Sample['unit']>;

export const unit: Unit = {
  active: 'active',
  sub: 'running',
  invocation: 'a1',
  restarts: 0,
  result: 'success',
};

export const memory: NonNullable<Sample['memory']> = {
  current: bytes(300 * MiB),
  anon: bytes(250 * MiB),
  peak: bytes(320 * MiB),
  main: bytes(60 * MiB),
  children: bytes(240 * MiB),
  swap: bytes(0),
  high: bytes(800 * MiB),
  max: bytes(1024 * MiB),
};

export const journal: NonNullable<Sample['journal']> = {
  errors: 0,
  tracebacks: 0,
  rateLimited: 0,
  dropped: 0,
  unread: false,
};

export const events: NonNullable<Sample['events']> = { high: 0, max: 0, oom: 0, oomKill: 0 };

export const disk: Sample['disk'][number] = {
  path: '/',
  free: bytes(5000 * MiB),
  size: bytes(20_000 * MiB),
  inodesFree: 900_000,
  inodes: 1_000_000,
};

/** What a healthy worker looks like `minute` minutes after the begin. */
export function sampleAt(minute: number, changes: Partial<Sample> = {}): Sample {
  return {
    v: 1,
    at: epochSeconds(begin + minute * 60),
    boot: 'boot-1',
    uptime: seconds(86_400 + minute * 60),
    changing: false,
    release: null,
    unit,
    memory,
    host: { available: bytes(2000 * MiB), swapFree: bytes(2048 * MiB) },
    events,
    pressure: null,
    worker: { queues: { celery: 0, batch: 0 }, active: 1, processed: minute * 10 },
    journal,
    disk: [disk],
    ...changes,
  };
}

/** One sample a minute, for minutes `from` to `to`. */
export function minutes(
  from: number,
  to: number,
  change: (minute: number) => Partial<Sample> = () => ({}),
): Sample[] {
  return Array.from({ length: to - from + 1 }, (_, index) =>
    sampleAt(from + index, change(from + index)),
  );
}
