import { z } from 'zod/mini';
import type {
  Deed,
  Hello,
  JobReport,
  Outcome,
  Progress,
  SnapshotInfo,
  Step,
} from '../../model/outcome.ts';
import { bytes, epochSeconds, seconds, sha256, shapeOf, text, texts } from './shape.ts';

const anyHello = z.object({
  hello: z.literal('celeriac'),
  protocol: z.number(),
  python: text,
  user: text,
  pid: z.number(),
});

export const helloShape = shapeOf<Hello>()(
  z.pipe(
    z.discriminatedUnion('hardened', [
      z.extend(anyHello, { hardened: z.optional(z.undefined()) }),
      z.extend(anyHello, {
        hardened: z.literal(true),
        version: text,
        access: z.enum(['change', 'read', 'none']),
      }),
    ]),
    z.transform(
      ({ hardened, ...said }): Hello =>
        'access' in said ? { ...said, kind: 'installed' } : { ...said, kind: 'streamed' },
    ),
  ),
);

const probePlace = z.enum(['queued', 'reserved', 'active', 'done', 'failed', 'lost', 'unknown']);

const stepShape = shapeOf<Step>()(
  z.object({
    index: z.number(),
    op: text,
    status: z.enum(['done', 'already', 'failed', 'undone', 'not-undone', 'skipped']),
    message: text,
    seconds,
    todo: z.exactOptional(text),
    result: z.exactOptional(z.record(text, z.unknown())),
  }),
);

const outcomeObject = z.object({
  transaction: text,
  result: z.enum(['committed', 'undone', 'undo-failed']),
  steps: z.array(stepShape),
  confirmBy: z.exactOptional(epochSeconds),
  release: z.exactOptional(z.number()),
  failure: z.exactOptional(
    z.object({
      index: z.number(),
      message: text,
      ran: z.exactOptional(texts),
      exitCode: z.exactOptional(z.nullable(z.number())),
      evidence: z.exactOptional(texts),
    }),
  ),
});

export const outcomeShape = shapeOf<Outcome>()(z.pipe(outcomeObject, z.transform(outcomeOf)));

/** Of an undone transaction the host also says until when it had awaited its verdict. */
function outcomeOf({
  transaction,
  result,
  steps,
  confirmBy,
  release,
  failure,
}: z.infer<typeof outcomeObject>): Outcome {
  if (result !== 'committed') {
    return { transaction, result, steps, ...(failure !== undefined && { failure }) };
  }
  return {
    transaction,
    result,
    steps,
    ...(confirmBy !== undefined && { confirmBy }),
    ...(release !== undefined && { release }),
  };
}

export const deedsShape = shapeOf<{ readonly deeds: readonly Deed[] }>()(
  z.object({
    deeds: z.array(
      z.pipe(
        z.extend(outcomeObject, { by: text, why: text }),
        z.transform(({ by, why, ...outcome }): Deed => ({ ...outcomeOf(outcome), by, why })),
      ),
    ),
  }),
);

export const confirmedShape = z.object({ confirmed: z.boolean() });

export const recordedShape = z.object({ recorded: z.boolean() });

export const acknowledgedShape = z.object({ acknowledged: z.number() });

export const progressShape = shapeOf<Progress>()(
  z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('opened'), transactions: texts, live: text }),
    z.object({ kind: z.literal('step-started'), index: z.number(), title: text }),
    z.object({ kind: z.literal('step-ended'), step: stepShape }),
    z.object({ kind: z.literal('note'), message: text }),
    z.object({
      kind: z.literal('probes'),
      seconds,
      probes: z.array(z.object({ where: text, place: probePlace, detail: text })),
    }),
    z.object({ kind: z.literal('chunk'), data: z.base64() }),
  ]),
);

/** Why a request failed as a whole. */
export const faultShape = z.object({
  message: text,
  ran: z.optional(z.nullable(texts)),
  exitCode: z.optional(z.nullable(z.number())),
  evidence: z.optional(z.nullable(texts)),
  next: z.optional(z.nullable(text)),
});

export type Fault = z.infer<typeof faultShape>;

export const snapshotShape = shapeOf<SnapshotInfo>()(
  z.object({
    database: text,
    holds: z.enum(['everything', 'rows']),
    sizeBytes: bytes,
    sha256,
    takenAt: epochSeconds,
    writtenAt: z.nullable(epochSeconds),
  }),
);

/** How much of a parcel is on the host. */
export const receivedShape = z.object({
  sizeBytes: z.int().check(z.gte(0)),
  whole: z.boolean(),
});

export const jobReportShape = shapeOf<JobReport>()(
  z.object({
    ok: z.boolean(),
    jobs: z.array(
      z.object({
        id: text,
        where: text,
        state: z.enum(['done', 'failed', 'timed-out']),
        detail: text,
        seconds,
        place: z.exactOptional(probePlace),
        left: z.exactOptional(z.nullable(text)),
      }),
    ),
    problem: z.nullable(text),
    evidence: z.exactOptional(texts),
    delivery: z.exactOptional(
      z.object({
        transport: text,
        seconds: z.nullable(seconds),
        where: text,
        problem: z.nullable(text),
      }),
    ),
  }),
);
