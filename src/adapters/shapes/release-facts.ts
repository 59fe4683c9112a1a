import { z } from 'zod';
import type { FactAnswers, PastFact, ReleasesFact, UndoingFact } from '../../model/facts.ts';
import type { NotOwnTree, ReleaseFact } from '../../model/release.ts';
import { epochSeconds, seconds, shapeOf, text, texts } from './shape.ts';

const transactionShape = z.object({
  id: text,
  action: text,
  holder: text,
  unit: text.nullable().exactOptional(),
  startedAt: epochSeconds,
  state: z.enum(['open', 'committed', 'undone', 'undo-failed']),
  undoneBy: text,
  undoneWhy: text,
});

export const transactionsShape = shapeOf<FactAnswers['transactions']>()(z.array(transactionShape));

const pastTransactions = z.array(transactionShape.extend({ unit: text.nullable() }));

export const pastShape = shapeOf<PastFact>()(
  z.object({
    untold: pastTransactions,
    open: pastTransactions,
    working: text.nullable(),
    awaiting: z.array(
      z.object({ unit: text, transactions: texts, deadline: epochSeconds, withinSeconds: seconds }),
    ),
    leftovers: texts,
    notices: z.record(text, texts),
  }),
);

export const undoingShape = shapeOf<readonly UndoingFact[]>()(
  z.array(
    z.object({
      id: text,
      steps: z.array(
        z.object({ op: text, title: text, diff: text, cut: z.boolean(), rows: texts }),
      ),
    }),
  ),
);

export const releasesShape = shapeOf<ReleasesFact>()(
  z.object({
    releases: z.array(
      z.object({
        release: z.number(),
        transaction: text.nullable(),
        at: epochSeconds,
        holder: text,
        actor: text,
        sha: text,
        verdict: z.enum(['none', 'confirmed', 'rolled-back']),
        why: text,
        state: z.enum([
          'before',
          'awaiting',
          'unproven',
          'proven',
          'failed',
          'superseded',
          'undone',
        ]),
        since: epochSeconds,
        by: text,
        soakWhy: text,
        figures: z.record(text, z.number().nullable()).nullable(),
        gateFigures: z.record(text, z.number().nullable()).nullable(),
        kept: z.boolean(),
      }),
    ),
    awaiting: z.object({ transactions: texts, deadline: epochSeconds }).nullable(),
    guarded: z.boolean(),
  }),
);

const notOwn = z.object({
  kind: z.literal('not-own'),
  path: text,
  user: text,
  problem: text,
  fix: text,
});

export const environmentShape = shapeOf<NotOwnTree | null>()(notOwn.nullable());

export const releaseShape = shapeOf<ReleaseFact>()(
  z.object({
    tree: z.discriminatedUnion('kind', [
      z.object({ kind: z.literal('none') }),
      z.object({ kind: z.literal('absent'), path: text }),
      z.object({ kind: z.literal('unusable'), path: text, problem: text }),
      notOwn,
      z.object({
        kind: z.literal('checkout'),
        path: text,
        user: text,
        head: text,
        branch: text.nullable(),
        known: texts,
        shallow: texts,
        dirty: texts,
        dirtyCount: z.number(),
      }),
      z.object({
        kind: z.literal('releases'),
        path: text,
        user: text,
        current: text.nullable(),
        releases: texts,
      }),
    ]),
    installed: z
      .object({
        lock: text,
        file: text,
        interpreter: texts,
        prefix: text,
        at: epochSeconds,
      })
      .nullable(),
  }),
);
