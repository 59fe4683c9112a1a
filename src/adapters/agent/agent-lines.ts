import { z } from 'zod';
import type {
  Deed,
  Hello,
  JobReport,
  Outcome,
  Progress,
  SnapshotInfo,
} from '../../model/outcome.ts';

/** Bounds of docs/reference/protocol.md. */
export const LINE_LIMIT_BYTES = 1024 * 1024;
export const NOISE_LIMIT_BYTES = 64 * 1024;

/**
 * Cuts a byte stream into lines. Bytes are decoded a whole line at a time, so a character that was
 * split between two chunks comes out whole.
 */
export class LineSplitter {
  #pieces: Buffer[] = [];
  #sizeBytes = 0;

  /** Bytes of the line that has not ended yet. */
  get pendingBytes(): number {
    return this.#sizeBytes;
  }

  /** The text of the line that has not ended yet. */
  get pendingText(): string {
    return Buffer.concat(this.#pieces).toString('utf8');
  }

  push(chunk: Buffer): readonly string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      lines.push(Buffer.concat([...this.#pieces, chunk.subarray(start, end)]).toString('utf8'));
      this.#pieces = [];
      this.#sizeBytes = 0;
      start = end + 1;
    }
    if (start < chunk.length) {
      this.#pieces.push(chunk.subarray(start));
      this.#sizeBytes += chunk.length - start;
    }
    return lines;
  }
}

const helloShape = z.object({
  hello: z.literal('celeriac'),
  protocol: z.literal(1),
  python: z.string(),
  user: z.string(),
  pid: z.number(),
});

const stepShape = z.object({
  index: z.number(),
  op: z.string(),
  status: z.enum(['done', 'already', 'failed', 'undone', 'not-undone', 'skipped']),
  message: z.string(),
  seconds: z.number(),
  result: z.record(z.string(), z.unknown()).optional(),
});

const outcomeShape = z.object({
  transaction: z.string(),
  result: z.enum(['committed', 'undone', 'undo-failed']),
  steps: z.array(stepShape),
  confirmBy: z.number().optional(),
  failure: z
    .object({
      index: z.number(),
      message: z.string(),
      ran: z.array(z.string()).optional(),
      exitCode: z.number().nullable().optional(),
      evidence: z.array(z.string()).optional(),
    })
    .optional(),
});

const deedsShape = z.object({
  deeds: z.array(outcomeShape.extend({ by: z.string(), why: z.string() })),
});

const confirmedShape = z.object({ confirmed: z.boolean() });

const progressShape = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('opened'), transactions: z.array(z.string()), live: z.string() }),
  z.object({ kind: z.literal('step-started'), index: z.number(), title: z.string() }),
  z.object({ kind: z.literal('step-ended'), step: stepShape }),
  z.object({ kind: z.literal('note'), message: z.string() }),
  z.object({ kind: z.literal('chunk'), data: z.base64() }),
]);

const faultShape = z.object({
  message: z.string(),
  ran: z.array(z.string()).nullable().optional(),
  exitCode: z.number().nullable().optional(),
  evidence: z.array(z.string()).nullable().optional(),
  next: z.string().nullable().optional(),
});

const snapshotShape = z.object({
  database: z.string(),
  holds: z.enum(['everything', 'rows']),
  sizeBytes: z.number().int().nonnegative(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  takenAt: z.number(),
});

const receivedShape = z.object({ sizeBytes: z.number().int().nonnegative(), whole: z.boolean() });

const jobReportShape = z.object({
  ok: z.boolean(),
  jobs: z.array(
    z.object({
      id: z.string(),
      where: z.string(),
      state: z.enum(['done', 'failed', 'timed-out']),
      detail: z.string(),
      seconds: z.number(),
    }),
  ),
  problem: z.string().nullable(),
  evidence: z.array(z.string()).optional(),
});

const messageShape = z.union([
  z.object({ id: z.number(), answer: z.unknown() }).refine((value) => value.answer !== undefined),
  z.object({ id: z.number(), progress: progressShape }),
  z.object({ id: z.number().nullable(), fault: faultShape }),
]);

export type Fault = z.infer<typeof faultShape>;

export type AgentMessage =
  | { readonly kind: 'answer'; readonly id: number; readonly answer: unknown }
  | { readonly kind: 'progress'; readonly id: number; readonly progress: Progress }
  | { readonly kind: 'fault'; readonly id: number | null; readonly fault: Fault };

/**
 * The hello, where this line holds it: login scripts may have printed something before it without
 * ending their line.
 */
export function findHello(line: string): Hello | null {
  for (let at = line.indexOf('{"hello"'); at >= 0; at = line.indexOf('{"hello"', at + 1)) {
    const value = parseJson(line.slice(at));
    const hello = helloShape.safeParse(value);
    if (hello.success) return hello.data;
  }
  return null;
}

/** `null`: not a message of the protocol. */
export function readMessage(line: string): AgentMessage | null {
  const parsed = messageShape.safeParse(parseJson(line));
  if (!parsed.success) return null;
  const value = parsed.data;
  if ('fault' in value) return { kind: 'fault', id: value.id, fault: value.fault };
  if ('progress' in value) {
    return { kind: 'progress', id: value.id, progress: value.progress as Progress };
  }
  return { kind: 'answer', id: value.id, answer: value.answer };
}

// The shapes above are checked; the units of the numbers are a promise of the protocol.
export const readOutcome = (value: unknown): Outcome | null =>
  outcomeShape.safeParse(value).success ? (value as Outcome) : null;
export const readDeeds = (value: unknown): readonly Deed[] | null =>
  deedsShape.safeParse(value).success ? (value as { deeds: readonly Deed[] }).deeds : null;
export const readConfirmed = (value: unknown): boolean | null =>
  confirmedShape.safeParse(value).data?.confirmed ?? null;
export const readSnapshotInfo = (value: unknown): SnapshotInfo | null =>
  snapshotShape.safeParse(value).success ? (value as SnapshotInfo) : null;
export const readReceived = (value: unknown): z.infer<typeof receivedShape> | null =>
  receivedShape.safeParse(value).data ?? null;
export const readJobReport = (value: unknown): JobReport | null =>
  jobReportShape.safeParse(value).success ? (value as JobReport) : null;

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
