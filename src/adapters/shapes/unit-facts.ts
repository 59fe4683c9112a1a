import { z } from 'zod';
import type {
  BeatsFact,
  CodeFact,
  CommandFact,
  CompanionsFact,
  FactAnswers,
  JournalFact,
  KernelFact,
  LimitsFact,
  LoggedFact,
  ProcessFact,
  UnitFact,
} from '../../model/facts.ts';
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
      shebang: text.nullable(),
      script: text.nullable().exactOptional(),
    }),
  ),
  user: text.nullable().exactOptional(),
  variables: z.object({ HOME: text.exactOptional(), PATH: text.exactOptional() }).exactOptional(),
  workingDirectory: text.nullable(),
  mainPid: z.number().nullable(),
  processes: z.array(processShape),
  memory: z
    .object({
      currentBytes: bytes,
      anonBytes: bytes.nullable().exactOptional(),
      peakBytes: bytes.nullable(),
      events: z.record(text, z.number()),
    })
    .nullable(),
  activeSince: epochSeconds.nullable(),
  exposure: z.number().nullable().exactOptional(),
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
        unit: text.nullable(),
        user: text,
        workingDirectory: text.nullable(),
        argv: texts,
        startTicks: z.number(),
      }),
    ),
  }),
);

export const companionsShape = shapeOf<CompanionsFact>()(
  z.object({
    named: z.array(unitObject),
    startedWithThese: z.array(z.boolean().nullable()),
    beside: z.array(z.object({ unit: text, pid: z.number(), argv: texts })),
  }),
);

export const workersShape = shapeOf<FactAnswers['workers']>()(
  z.array(
    processObject.extend({
      cgroup: text,
      workingDirectory: text.nullable(),
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
        HOME: text.exactOptional(),
        PATH: text.exactOptional(),
        VIRTUAL_ENV: text.exactOptional(),
      }),
      program: text.nullable(),
      group: text.nullable(),
      above: z.array(z.object({ pid: z.number(), name: text })),
    }),
  ),
);

export const codeShape = shapeOf<CodeFact>()(
  z.object({
    newest: z.object({ path: text, modified: epochSeconds }).nullable(),
    truncated: z.boolean(),
    startedWithThese: z.boolean().nullable(),
  }),
);

const lines = z.array(z.object({ at: epochSeconds, message: text }));

export const journalShape = shapeOf<JournalFact>()(
  z.object({
    since: epochSeconds.nullable(),
    entries: z.number(),
    suspects: lines,
    tail: texts,
    ends: texts,
    endedRuns: z.array(
      z.object({
        run: text,
        at: epochSeconds,
        result: text,
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
    since: epochSeconds.nullable(),
    cursor: text,
    entries: z.number(),
    complete: z.boolean(),
    dropped: z.number(),
    earlier: z.number().nullable(),
    errors: z.number(),
    tracebacks: z.number(),
    signatures: z.array(
      z.object({ signature: text, ...occurrences, before: z.number().nullable() }),
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
  z.object({ since: epochSeconds.nullable(), outOfMemory: lines, readable: z.boolean() }),
);

export const limitsShape = shapeOf<LimitsFact>()(
  z.object({
    controller: z.boolean(),
    ownMeminfo: z.boolean(),
    system: z.object({ limitBytes: bytes, usedBytes: bytes }).nullable(),
    unitBytes: bytes.nullable(),
    slices: z.array(z.object({ name: text, memoryMaxBytes: bytes })),
    services: z.array(
      z.object({
        name: text,
        activeState: text,
        slice: text,
        memoryMaxBytes: bytes,
        currentBytes: bytes.nullable(),
      }),
    ),
  }),
);

export const commandShape = shapeOf<CommandFact>()(
  z.object({
    code: z.number().nullable(),
    output: text,
    seconds,
    problem: text.nullable(),
  }),
);

export const httpShape = shapeOf<FactAnswers['http']>()(
  z.array(
    z.object({
      url: text,
      status: z.number().nullable(),
      body: text,
      error: text.nullable(),
      seconds,
    }),
  ),
);
