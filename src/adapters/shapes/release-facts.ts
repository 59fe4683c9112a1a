import { z } from 'zod/mini';
import type { PastFact, ReleasesFact, UndoingFact } from '../../model/facts/ledger.ts';
import type { FactAnswers } from '../../model/facts.ts';
import type { NotOwnTree, ReleaseFact } from '../../model/release.ts';
import { epochSeconds, seconds, shapeOf, text, texts } from './shape.ts';

const transactionShape = z.object({
  id: text,
  action: text,
  holder: text,
  unit: z.exactOptional(z.nullable(text)),
  startedAt: epochSeconds,
  state: z.enum(['open', 'committed', 'undone', 'undo-failed']),
  undoneBy: text,
  undoneWhy: text,
});

export const transactionsShape = shapeOf<FactAnswers['transactions']>()(z.array(transactionShape));

const pastTransactions = z.array(z.extend(transactionShape, { unit: z.nullable(text) }));

export const pastShape = shapeOf<PastFact>()(
  z.object({
    untold: pastTransactions,
    open: pastTransactions,
    working: z.nullable(text),
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
        z.object({
          op: text,
          unit: z.nullable(text),
          path: z.nullable(text),
          title: text,
          diff: text,
          cut: z.boolean(),
          rows: texts,
          rowCount: z.number(),
        }),
      ),
    }),
  ),
);

export const releasesShape = shapeOf<ReleasesFact>()(
  z.object({
    releases: z.array(
      z.object({
        release: z.number(),
        transaction: z.nullable(text),
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
        figures: z.nullable(z.record(text, z.nullable(z.number()))),
        gateFigures: z.nullable(z.record(text, z.nullable(z.number()))),
        kept: z.boolean(),
      }),
    ),
    awaiting: z.nullable(z.object({ transactions: texts, deadline: epochSeconds })),
    guarded: z.boolean(),
    code: z.exactOptional(
      z.nullable(z.object({ path: text, wanted: text, actual: z.nullable(text), problem: text })),
    ),
  }),
);

const notOwn = z.object({
  kind: z.literal('not-own'),
  path: text,
  user: text,
  problem: text,
  fix: text,
});

export const environmentShape = shapeOf<NotOwnTree | null>()(z.nullable(notOwn));

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
        branch: z.nullable(text),
        known: texts,
        shallow: texts,
        dirty: texts,
        dirtyCount: z.number(),
      }),
      z.object({
        kind: z.literal('releases'),
        path: text,
        user: text,
        current: z.nullable(text),
        releases: texts,
      }),
    ]),
    installed: z.nullable(
      z.object({
        lock: text,
        file: text,
        interpreter: texts,
        prefix: text,
        at: epochSeconds,
      }),
    ),
  }),
);
