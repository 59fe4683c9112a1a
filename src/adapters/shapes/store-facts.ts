import { z } from 'zod/mini';
import type {
  BrokerFact,
  ConsumingFact,
  TasksFact,
  UnackedFact,
} from '../../model/facts/broker.ts';
import type {
  BackupFact,
  RehearsalFact,
  StoreColumn,
  StoreTable,
} from '../../model/facts/store.ts';
import type { FactAnswers } from '../../model/facts.ts';
import { bytes, epochSeconds, seconds, shapeOf, text, texts } from './shape.ts';

const column = shapeOf<StoreColumn>()(
  z.object({
    name: text,
    type: text,
    notNull: z.exactOptional(z.boolean()),
    default: z.exactOptional(text),
    longest: z.exactOptional(z.number()),
    json: z.exactOptional(z.boolean()),
    labels: z.exactOptional(texts),
  }),
);

const tables = z.array(
  shapeOf<StoreTable>()(
    z.object({
      name: text,
      columns: z.array(column),
      foreignKeys: z.array(z.object({ column: text, table: text, to: text })),
      statuses: z.exactOptional(z.array(z.union([text, z.number()]))),
      times: z.exactOptional(z.record(text, z.array(z.union([text, z.number()])))),
    }),
  ),
);

export const storesShape = shapeOf<FactAnswers['stores']>()(
  z.array(
    z.discriminatedUnion('kind', [
      z.object({
        kind: z.literal('sqlite'),
        path: text,
        file: text,
        owner: text,
        group: text,
        user: text,
        sizeBytes: bytes,
        tables,
      }),
      z.object({ kind: z.literal('postgresql'), path: text, user: text, tables }),
      z.object({ kind: z.literal('absent'), path: text }),
      z.object({ kind: z.literal('unreadable'), path: text, problem: text }),
    ]),
  ),
);

export const tasksShape = shapeOf<TasksFact>()(
  z.discriminatedUnion('kind', [
    z.object({
      kind: z.literal('told'),
      worker: z.enum(['stopped', 'answers']),
      owed: texts,
      held: texts,
      begun: z.exactOptional(z.record(z.string(), epochSeconds)),
      holding: z.number(),
      waiting: z.number(),
      hidden: z.nullable(text),
    }),
    z.object({
      kind: z.literal('unknown'),
      problem: text,
      evidence: z.exactOptional(texts),
    }),
  ]),
);

export const consumingShape = shapeOf<ConsumingFact>()(
  z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('consumes') }),
    z.object({
      kind: z.literal('nothing'),
      waiting: z.record(text, z.number()),
      answers: z.boolean(),
      seconds,
    }),
    z.object({ kind: z.literal('told'), status: text }),
    z.object({ kind: z.literal('unknown'), problem: text }),
  ]),
);

const schedule = z.nullable(
  z.object({
    where: text,
    advanced: z.nullable(epochSeconds),
    everySeconds: z.nullable(seconds),
    problem: z.nullable(text),
  }),
);

const toldByTheBroker = z.pipe(
  z.object({
    kind: z.literal('told'),
    transport: text,
    lengths: z.record(text, z.number()),
    unacked: z.nullable(z.number()),
    oldestUnackedSeconds: z.nullable(seconds),
    redeliverySeconds: z.nullable(seconds),
    active: z.nullable(texts),
    silence: z.nullable(text),
    beat: schedule,
  }),
  z.transform(({ active, silence, ...told }): BrokerFact => {
    if (active !== null) return { ...told, worker: { kind: 'told', queues: active } };
    return { ...told, worker: { kind: 'silent', why: silence ?? 'no answer' } };
  }),
);

export const brokerShape = shapeOf<BrokerFact>()(
  z.discriminatedUnion('kind', [
    toldByTheBroker,
    z.object({ kind: z.literal('unreachable'), problem: text, beat: schedule }),
    z.object({ kind: z.literal('unknown'), problem: text }),
  ]),
);

export const unackedShape = shapeOf<UnackedFact>()(
  z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('unknown'), message: text }),
    z.object({
      kind: z.literal('looked'),
      message: text,
      count: z.number(),
      messages: z.array(z.object({ id: text, task: text, queue: text })),
    }),
  ]),
);

const backupTaken = { path: text, takenAt: epochSeconds };

export const backupShape = shapeOf<BackupFact>()(
  z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('absent'), known: texts }),
    z.object({ kind: z.literal('unknown'), ...backupTaken, problem: text }),
    z.object({
      kind: z.literal('compared'),
      ...backupTaken,
      differences: z.array(
        z.object({ table: text, newer: z.number(), changed: z.number(), gone: z.number() }),
      ),
    }),
  ]),
);

export const resetsShape = shapeOf<FactAnswers['resets']>()(z.record(text, z.number()));

export const rehearsalShape = shapeOf<RehearsalFact>()(
  z.object({
    problems: texts,
    skipped: z.array(
      z.object({ table: text, id: z.union([text, z.number()]), group: text, why: text }),
    ),
  }),
);
