import { z } from 'zod/mini';
import type { BeatsFact, CompanionsFact } from '../../model/facts/beside.ts';
import type { JournalFact, KernelFact, LoggedFact } from '../../model/facts/journal.ts';
import type { CommandFact, HttpAnswer } from '../../model/facts/probe.ts';
import type { CodeFact, LimitsFact, ProcessFact, UnitFact } from '../../model/facts/unit.ts';
import type { FactAnswers } from '../../model/facts.ts';
import { fileShape } from './host-facts.ts';
import { bytes, epochSeconds, seconds, shapeOf, text, texts } from './shape.ts';

const processObject = z.object({
  pid: z.number(),
  parentPid: z.number(),
  state: text,
  user: text,
  residentBytes: bytes,
  argv: texts,
  startTicks: z.number(),
});
const processShape = shapeOf<ProcessFact>()(processObject);

const unitObject = z.object({
  name: text,
  loadState: text,
  activeState: text,
  subState: text,
  unitFileState: text,
  needDaemonReload: z.boolean(),
  fragmentPath: text,
  fragment: fileShape,
  dropIns: z.array(z.object({ path: text, text })),
  properties: z.record(text, text),
  programs: z.record(
    text,
    z.object({
      exists: z.boolean(),
      shebang: z.nullable(text),
      script: z.exactOptional(z.nullable(text)),
    }),
  ),
  user: z.exactOptional(z.nullable(text)),
  variables: z.exactOptional(
    z.object({ HOME: z.exactOptional(text), PATH: z.exactOptional(text) }),
  ),
  workingDirectory: z.nullable(text),
  mainPid: z.nullable(z.number()),
  processes: z.array(processShape),
  memory: z.nullable(
    z.object({
      currentBytes: bytes,
      anonBytes: z.exactOptional(z.nullable(bytes)),
      peakBytes: z.nullable(bytes),
      events: z.record(text, z.number()),
    }),
  ),
  activeSince: z.nullable(epochSeconds),
  exposure: z.exactOptional(z.nullable(z.number())),
});

export const unitShape = shapeOf<UnitFact>()(unitObject);

export const beatsShape = shapeOf<BeatsFact>()(
  z.object({
    units: z.array(
      z.object({
        unit: text,
        activeState: text,
        unitFileState: text,
        user: text,
        workingDirectory: text,
        argv: texts,
      }),
    ),
    processes: z.array(
      z.object({
        pid: z.number(),
        unit: z.nullable(text),
        user: text,
        workingDirectory: z.nullable(text),
        argv: texts,
        startTicks: z.number(),
      }),
    ),
  }),
);

export const companionsShape = shapeOf<CompanionsFact>()(
  z.object({
    named: z.array(z.object({ unit: unitObject, startedWithThese: z.nullable(z.boolean()) })),
    beside: z.array(z.object({ unit: text, pid: z.number(), argv: texts })),
  }),
);

export const workersShape = shapeOf<FactAnswers['workers']>()(
  z.array(
    z.extend(processObject, {
      cgroup: text,
      workingDirectory: z.nullable(text),
      startedAt: epochSeconds,
    }),
  ),
);

export const servicesShape = shapeOf<FactAnswers['services']>()(
  z.array(z.object({ unit: text, activeState: text, unitFileState: text, argv: texts })),
);

export const startsShape = shapeOf<FactAnswers['starts']>()(
  z.array(
    z.object({
      pid: z.number(),
      variables: texts,
      open: z.object({
        HOME: z.exactOptional(text),
        PATH: z.exactOptional(text),
        VIRTUAL_ENV: z.exactOptional(text),
      }),
      program: z.nullable(text),
      group: z.nullable(text),
      above: z.array(z.object({ pid: z.number(), name: text })),
    }),
  ),
);

export const codeShape = shapeOf<CodeFact>()(
  z.object({
    newest: z.nullable(z.object({ path: text, modified: epochSeconds })),
    truncated: z.boolean(),
    startedWithThese: z.nullable(z.boolean()),
  }),
);

const lines = z.array(z.object({ at: epochSeconds, message: text }));

export const journalShape = shapeOf<JournalFact>()(
  z.object({
    since: z.nullable(epochSeconds),
    entries: z.number(),
    suspects: lines,
    tail: texts,
    ends: texts,
    endedRuns: z.array(
      z.object({
        run: text,
        at: epochSeconds,
        result: text,
        phase: z.enum(['', 'started', 'not-started', 'reloading']),
        stopped: z.boolean(),
        restarted: z.boolean(),
        exit: text,
      }),
    ),
  }),
);

const occurrences = { count: z.number(), first: epochSeconds, last: epochSeconds, sample: text };

export const loggedShape = shapeOf<LoggedFact>()(
  z.object({
    since: z.nullable(epochSeconds),
    cursor: text,
    entries: z.number(),
    complete: z.boolean(),
    dropped: z.number(),
    earlier: z.nullable(z.number()),
    errors: z.number(),
    tracebacks: z.number(),
    signatures: z.array(
      z.object({ signature: text, ...occurrences, before: z.nullable(z.number()) }),
    ),
    moreSignatures: z.number(),
    numbered: z.array(
      z.object({
        ...occurrences,
        minutes: z.array(z.object({ at: epochSeconds, count: z.number() })),
      }),
    ),
    moreNumbered: z.number(),
  }),
);

export const kernelShape = shapeOf<KernelFact>()(
  z.object({ since: z.nullable(epochSeconds), outOfMemory: lines, readable: z.boolean() }),
);

export const limitsShape = shapeOf<LimitsFact>()(
  z.object({
    controller: z.boolean(),
    ownMeminfo: z.boolean(),
    system: z.nullable(z.object({ limitBytes: bytes, usedBytes: bytes })),
    unitBytes: z.nullable(bytes),
    slices: z.array(z.object({ name: text, memoryMaxBytes: bytes })),
    services: z.array(
      z.object({
        name: text,
        activeState: text,
        slice: text,
        memoryMaxBytes: bytes,
        currentBytes: z.nullable(bytes),
      }),
    ),
  }),
);

export const commandShape = shapeOf<CommandFact>()(
  z.pipe(
    z.object({
      code: z.nullable(z.number()),
      output: text,
      seconds,
      problem: z.nullable(text),
    }),
    z.transform(({ code, problem, ...ran }): CommandFact => {
      if (problem !== null) return { ...ran, kind: 'failed', problem };
      return code === null ? { ...ran, kind: 'timed-out' } : { ...ran, kind: 'ended', code };
    }),
  ),
);

const answerShape = z.pipe(
  z.object({
    url: text,
    status: z.nullable(z.number()),
    body: text,
    error: z.nullable(text),
    seconds,
  }),
  // A body that ends early has a status and an error: it was an answer.
  z.transform(
    ({ url, seconds, status, body, error }): HttpAnswer =>
      status === null
        ? { url, seconds, kind: 'failed', error: error ?? 'no reason was given' }
        : { url, seconds, kind: 'answered', status, body },
  ),
);

export const httpShape = shapeOf<FactAnswers['http']>()(z.array(answerShape));
