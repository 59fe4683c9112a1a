import { z } from 'zod';
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

export const helloShape = shapeOf<Hello>()(
  z.object({
    hello: z.literal('celeriac'),
    protocol: z.number(),
    python: text,
    user: text,
    pid: z.number(),
    hardened: z.literal(true).exactOptional(),
    version: text.exactOptional(),
    access: z.enum(['change', 'read', 'none']).exactOptional(),
  }),
);

const probePlace = z.enum(['queued', 'reserved', 'active', 'done', 'failed', 'lost', 'unknown']);

const stepShape = shapeOf<Step>()(
  z.object({
    index: z.number(),
    op: text,
    status: z.enum(['done', 'already', 'failed', 'undone', 'not-undone', 'skipped']),
    message: text,
    seconds,
    todo: text.exactOptional(),
    result: z.record(text, z.unknown()).exactOptional(),
  }),
);

const outcomeObject = z.object({
  transaction: text,
  result: z.enum(['committed', 'undone', 'undo-failed']),
  steps: z.array(stepShape),
  confirmBy: epochSeconds.exactOptional(),
  release: z.number().exactOptional(),
  failure: z
    .object({
      index: z.number(),
      message: text,
      ran: texts.exactOptional(),
      exitCode: z.number().nullable().exactOptional(),
      evidence: texts.exactOptional(),
    })
    .exactOptional(),
});

export const outcomeShape = shapeOf<Outcome>()(outcomeObject);

export const deedsShape = shapeOf<{ readonly deeds: readonly Deed[] }>()(
  z.object({ deeds: z.array(outcomeObject.extend({ by: text, why: text })) }),
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
  ran: texts.nullable().optional(),
  exitCode: z.number().nullable().optional(),
  evidence: texts.nullable().optional(),
  next: text.nullable().optional(),
});

export type Fault = z.infer<typeof faultShape>;

export const snapshotShape = shapeOf<SnapshotInfo>()(
  z.object({
    database: text,
    holds: z.enum(['everything', 'rows']),
    sizeBytes: bytes,
    sha256,
    takenAt: epochSeconds,
    writtenAt: epochSeconds.nullable(),
  }),
);

/** How much of a parcel is on the host. */
export const receivedShape = z.object({
  sizeBytes: z.number().int().nonnegative(),
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
        place: probePlace.exactOptional(),
        left: text.nullable().exactOptional(),
      }),
    ),
    problem: text.nullable(),
    evidence: texts.exactOptional(),
    delivery: z
      .object({
        transport: text,
        seconds: seconds.nullable(),
        where: text,
        problem: text.nullable(),
      })
      .exactOptional(),
  }),
);
