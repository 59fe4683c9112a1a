import { z } from 'zod';
import { type Report, reportVersion } from '../model/report.ts';

/*
 * The shape of the report for programs. Its texts are the descriptions of the published JSON
 * Schema.
 */

const instant = z.number().describe('Seconds since 1970-01-01T00:00:00Z.');
const size = z.number().describe('Bytes.');
const time = z.number().describe('Seconds.');
const range = z.object({ min: z.number(), max: z.number() });

const check = z.object({
  id: z.string(),
  title: z.string(),
  verdict: z.enum(['pass', 'warn', 'fail', 'unknown']),
  seen: z.string().describe('What was seen; for `unknown`, why it is not known.'),
  expected: z.string(),
  evidence: z.array(z.string()),
  next: z.string().describe('What to do about it.'),
});

const worker = z.object({
  activeState: z.string(),
  subState: z.string(),
  since: instant.nullable(),
  processes: z.number(),
  restarts: z.number().nullable(),
  memory: z
    .object({
      current: size,
      peak: size.nullable(),
      high: size.nullable(),
      max: size.nullable(),
    })
    .nullable(),
  queues: z.record(z.string(), z.number()).nullable().describe('Waiting messages, by queue.'),
});

const bucket = z.object({
  at: instant,
  samples: z.number(),
  memory: range.nullable().describe('Lowest and highest memory of the unit, in bytes.'),
  main: size.nullable(),
  children: size.nullable(),
  swap: size.nullable(),
  high: size.nullable(),
  max: size.nullable(),
  queues: z.record(z.string(), range).nullable(),
  active: z.number().nullable(),
  errors: z.number().nullable(),
  rateLimited: z.number().nullable(),
  oomKills: z.number().nullable(),
});

const timeline = z.object({
  from: instant,
  to: instant,
  bucketSeconds: time,
  samples: z.number(),
  buckets: z.array(bucket).describe('A bucket without a sample is missing: a gap.'),
});

const fault = { limit: z.string(), at: instant, sentence: z.string() };

const soak = z.object({
  state: z.enum(['unproven', 'proven', 'failed']),
  sentence: z.string(),
  since: instant,
  decidedAt: instant.nullable(),
  wantedSeconds: time,
  coveredSeconds: time,
  gapSeconds: time,
  earliestEnd: instant.nullable(),
  failure: z.object({ ...fault, evidence: z.array(z.string()) }).nullable(),
  failingMinutes: z.number(),
  faults: z.array(z.object(fault)),
  gaps: z.array(z.object({ from: instant, to: instant, why: z.string() })),
  hours: z.array(
    z.object({
      at: instant,
      coveredSeconds: time,
      gapSeconds: time,
      failingMinutes: z.number(),
    }),
  ),
  aspects: z.array(
    z.object({
      limit: z.string(),
      title: z.string(),
      verdict: z.enum(['pass', 'warn', 'fail', 'unknown']),
      seen: z.string(),
    }),
  ),
  notes: z.array(z.string()),
});

const release = z.object({
  release: z.number(),
  transaction: z.string().nullable(),
  at: instant,
  actor: z.string(),
  run: z.string(),
  sha: z.string(),
  state: z.enum(['before', 'awaiting', 'unproven', 'proven', 'failed', 'superseded', 'undone']),
  since: instant.nullable(),
  confirmBy: instant.exactOptional(),
  why: z.string(),
});

/** Every field of a report, for readers in other languages and for tests. */
export const reportShape = z
  .object({
    version: z.literal(reportVersion),
    celeriac: z.string().describe('The version of Celeriac.'),
    host: z.string(),
    unit: z.string(),
    at: instant,
    by: z.object({ run: z.string(), actor: z.string(), sha: z.string() }),
    verdict: z.object({
      conclusion: z.enum(['healthy', 'unhealthy', 'inconclusive']),
      sentence: z.string(),
    }),
    checks: z.array(check),
    worker,
    timeline: timeline.nullable(),
    marks: z.array(
      z.object({
        at: instant,
        kind: z.enum(['deploy', 'undo', 'repair', 'job', 'restart', 'reboot', 'oom']),
        text: z.string(),
      }),
    ),
    probes: z
      .array(
        z.object({
          where: z.string(),
          state: z.enum(['done', 'failed', 'timed-out', 'not-sent']),
          detail: z.string(),
          seconds: time.nullable(),
        }),
      )
      .nullable(),
    latency: z
      .array(
        z.object({
          where: z.string(),
          sent: z.number(),
          done: z.number(),
          median: time.nullable(),
          slowest: time.nullable(),
        }),
      )
      .nullable(),
    soak: soak.nullable(),
    releases: z.array(release).nullable().describe('Newest first.'),
    unitDiff: z
      .object({ release: z.number(), text: z.string(), cut: z.boolean() })
      .nullable()
      .describe('What the present release changed in the unit; an empty text: nothing.'),
    repairs: z
      .array(
        z.object({
          transaction: z.string(),
          at: instant,
          run: z.string(),
          rows: z.number(),
          what: z.array(z.string()),
        }),
      )
      .nullable(),
    comparison: z
      .object({
        release: z.number(),
        rows: z.array(
          z.object({
            title: z.string(),
            unit: z.enum(['bytes', 'seconds', 'count', 'per-hour']),
            before: z.number().nullable(),
            now: z.number().nullable(),
            trend: z.enum(['better', 'same', 'worse']).nullable(),
          }),
        ),
        notKnown: z.string(),
      })
      .nullable(),
  })
  .describe('What Celeriac knows of a Celery worker. `null`: not known, which is never good.');

type Plain<Type> = Type extends number
  ? number
  : Type extends string
    ? string
    : { -readonly [Key in keyof Type]: Plain<Type[Key]> };

/** `never` when the type and the shape have different fields. */
type SameShape = [Plain<Report>, Plain<z.infer<typeof reportShape>>] extends [
  Plain<z.infer<typeof reportShape>>,
  Plain<Report>,
]
  ? typeof reportShape
  : never;

/** The JSON Schema that is published as docs/reference/report.schema.json. */
export function reportSchema(): Readonly<Record<string, unknown>> {
  const shape: SameShape = reportShape;
  return z.toJSONSchema(shape) as Record<string, unknown>;
}
