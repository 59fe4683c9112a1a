import { z } from 'zod';
import type { Sample, SampleCursor, SamplesFact, SamplingFact } from '../../model/sample.ts';
import type { SoakThresholds } from '../../model/soak.ts';
import { bytes, epochSeconds, seconds, shapeOf, text } from './shape.ts';

const count = z.number();
/** `null` in lines that an earlier version wrote. */
const flag = z.boolean().nullable().default(null);
const pressure = z.object({ some: count, full: count });

const sampleObject = z.object({
  v: z.literal(1),
  at: epochSeconds,
  boot: text,
  uptime: seconds,
  changing: flag,
  release: count.nullable().default(null),
  unit: z
    .object({ active: text, sub: text, result: text, invocation: text, restarts: count })
    .nullable(),
  memory: z
    .object({
      current: bytes,
      anon: bytes.nullable().default(null),
      peak: bytes.nullable(),
      main: bytes.nullable(),
      children: bytes.nullable(),
      swap: bytes.nullable(),
      high: bytes.nullable(),
      max: bytes.nullable(),
    })
    .nullable(),
  host: z.object({ available: bytes, swapFree: bytes }),
  events: z.object({ high: count, max: count, oom: count, oomKill: count }).nullable(),
  pressure: z.object({ memory: pressure, io: pressure }).nullable(),
  worker: z
    .object({
      queues: z.record(text, count).nullable(),
      active: count,
      processed: count.nullable(),
    })
    .nullable(),
  journal: z
    .object({
      errors: count,
      tracebacks: count,
      rateLimited: count,
      dropped: count,
      unread: flag,
    })
    .nullable(),
  disk: z.array(
    z.object({ path: text, free: bytes, size: bytes, inodesFree: count, inodes: count }),
  ),
});

/** One line of the host's file of samples. */
export const sampleShape = shapeOf<Sample>()(sampleObject);

const cursorShape = shapeOf<SampleCursor>()(z.object({ file: text, offset: count }));

const thresholdsShape = shapeOf<SoakThresholds>()(
  z.object({
    failureLimit: count,
    consecutive: count,
    rateLimitMax: count.nullable(),
    errorRateMax: count.nullable(),
  }),
);

const sampling = {
  sampling: z.boolean(),
  soakSeconds: seconds.nullable(),
  soakLimits: thresholdsShape.nullable(),
};

export const samplingShape = shapeOf<SamplingFact>()(z.object(sampling));

export const samplesShape = shapeOf<SamplesFact>()(
  z.object({
    // A line that another version wrote, or the disk damaged, is a gap and not an error.
    samples: z
      .array(sampleObject.nullable().catch(null))
      .transform((lines) => lines.filter((line) => line !== null)),
    cursor: cursorShape.nullable(),
    more: z.boolean(),
    restarted: z.boolean(),
    ...sampling,
  }),
);
