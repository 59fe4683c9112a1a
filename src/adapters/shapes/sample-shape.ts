import { z } from 'zod/mini';
import type { Sample, SampleCursor, SamplesFact, SamplingFact } from '../../model/sample.ts';
import type { SoakThresholds } from '../../model/soak.ts';
import { bytes, epochSeconds, seconds, shapeOf, text } from './shape.ts';

const count = z.number();
/** `null` in lines that an earlier version wrote. */
const flag = z._default(z.nullable(z.boolean()), null);
const pressure = z.object({ some: count, full: count });

const sampleObject = z.object({
  v: z.literal(1),
  at: epochSeconds,
  boot: text,
  uptime: seconds,
  changing: flag,
  release: z._default(z.nullable(count), null),
  unit: z.nullable(
    z.object({ active: text, sub: text, result: text, invocation: text, restarts: count }),
  ),
  memory: z.nullable(
    z.object({
      current: bytes,
      anon: z._default(z.nullable(bytes), null),
      peak: z.nullable(bytes),
      main: z.nullable(bytes),
      children: z.nullable(bytes),
      swap: z.nullable(bytes),
      high: z.nullable(bytes),
      max: z.nullable(bytes),
    }),
  ),
  host: z.object({ available: bytes, swapFree: bytes }),
  events: z.nullable(z.object({ high: count, max: count, oom: count, oomKill: count })),
  pressure: z.nullable(z.object({ memory: pressure, io: pressure })),
  worker: z.nullable(
    z.object({
      queues: z.nullable(z.record(text, count)),
      active: count,
      processed: z.nullable(count),
    }),
  ),
  journal: z.nullable(
    z.object({
      errors: count,
      tracebacks: count,
      rateLimited: count,
      dropped: count,
      unread: flag,
    }),
  ),
  disk: z.array(
    z.object({ path: text, free: bytes, size: bytes, inodesFree: count, inodes: count }),
  ),
});

/** One line of the host's file of samples. */
export const sampleShape = shapeOf<Sample>()(sampleObject);

const cursorShape = shapeOf<SampleCursor>()(z.object({ file: text, offset: count }));

/** One that the host cannot read is missing. */
const thresholdsShape = shapeOf<Partial<SoakThresholds>>()(
  z.object({
    failureLimit: z.exactOptional(count),
    consecutive: z.exactOptional(count),
    rateLimitMax: z.exactOptional(z.nullable(count)),
    errorRateMax: z.exactOptional(z.nullable(count)),
  }),
);

const sampling = {
  sampling: z.boolean(),
  soakSeconds: z.nullable(seconds),
  soakLimits: z.nullable(thresholdsShape),
};

export const samplingShape = shapeOf<SamplingFact>()(z.object(sampling));

export const samplesShape = shapeOf<SamplesFact>()(
  z.object({
    // A line that another version wrote, or the disk damaged, is a gap and not an error.
    samples: z.pipe(
      z.array(z.catch(z.nullable(sampleObject), null)),
      z.transform((lines) => lines.filter((line) => line !== null)),
    ),
    cursor: z.nullable(cursorShape),
    more: z.boolean(),
    restarted: z.boolean(),
    ...sampling,
  }),
);
