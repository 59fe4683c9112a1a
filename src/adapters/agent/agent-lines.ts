import { z } from 'zod/mini';
import type { Hello, Progress } from '../../model/outcome.ts';
import { type Fault, faultShape, helloShape, progressShape } from '../shapes/answers.ts';
import { type Reading, readShape } from '../shapes/read-shape.ts';

/** The version that this side speaks; each request carries it. */
export const PROTOCOL = 1;

/** Limits, as in docs/reference/protocol.md. */
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

const progressMessage = z.object({ id: z.number(), progress: progressShape });
const faultMessage = z.object({ id: z.nullable(z.number()), fault: faultShape });
const answerMessage = z.object({ id: z.number(), answer: z.unknown() });

export type AgentMessage =
  | { readonly kind: 'answer'; readonly id: number; readonly answer: unknown }
  | { readonly kind: 'progress'; readonly id: number; readonly progress: Progress }
  | { readonly kind: 'fault'; readonly id: number | null; readonly fault: Fault };

/** `noise`: not a JSON object, so not written by the agent. */
export type LineReading = Reading<AgentMessage> | { readonly kind: 'noise' };

/**
 * The hello in this line, if there is one. Login scripts may have printed something before it
 * without ending their line.
 */
export function findHello(line: string): Hello | null {
  for (let at = line.indexOf('{"hello"'); at >= 0; at = line.indexOf('{"hello"', at + 1)) {
    const hello = readShape(helloShape, parseJson(line.slice(at)));
    if (hello.kind === 'read') return hello.value;
  }
  return null;
}

/** Reads one line after the hello. The caller of `ask` reads the answer itself. */
export function readMessage(line: string): LineReading {
  const value = parseJson(line);
  if (!isRecord(value)) return { kind: 'noise' };
  if ('fault' in value) return read('fault', faultMessage, value);
  if ('progress' in value) return read('progress', progressMessage, value);
  if ('answer' in value) return read('answer', answerMessage, value);
  return { kind: 'refused', problem: 'it has no answer, progress or fault' };
}

function read<const Kind extends AgentMessage['kind'], Message extends object>(
  kind: Kind,
  shape: z.ZodMiniType<Message>,
  value: unknown,
): Reading<{ readonly kind: Kind } & Message> {
  const reading = readShape(shape, value);
  return reading.kind === 'refused' ? reading : { ...reading, value: { kind, ...reading.value } };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
