import type { LoggedFact } from '../model/facts/journal.ts';
import { formatCount, formatInstant } from '../model/quantities.ts';
import type { EpochSeconds } from '../model/units.ts';
import { isRateLimitLine } from './journal-lines.ts';

/** HTTP statuses 429 that were logged. */
export interface RateLimited {
  readonly count: number;
  /** `null`: there was none. */
  readonly busiest: { readonly at: EpochSeconds; readonly count: number } | null;
  /** One line of each form. */
  readonly samples: readonly string[];
}

/** The statuses 429 among the lines that contain the number. */
export function rateLimitedIn({ numbered }: Pick<LoggedFact, 'numbered'>): RateLimited {
  const forms = numbered.filter(({ sample }) => isRateLimitLine(sample));
  const minutes = new Map<EpochSeconds, number>();
  for (const { at, count } of forms.flatMap((form) => form.minutes)) {
    minutes.set(at, (minutes.get(at) ?? 0) + count);
  }
  const [busiest] = [...minutes].sort(([, a], [, b]) => b - a);
  return {
    count: forms.reduce((sum, { count }) => sum + count, 0),
    busiest: busiest === undefined ? null : { at: busiest[0], count: busiest[1] },
    samples: forms.map(
      ({ sample, count, first, last }) => `${describeSpan(count, first, last)}: ${sample}`,
    ),
  };
}

/** A signature, and when it occurred. */
export type Signature = LoggedFact['signatures'][number];

/**
 * The signatures that the journal before the release does not show. `null`: unknown, because nothing
 * was logged before, or it cannot be read.
 */
export function newSignatures({
  signatures,
  earlier,
}: Pick<LoggedFact, 'signatures' | 'earlier'>): readonly Signature[] | null {
  if (earlier === null || earlier === 0) return null;
  return signatures.filter(({ before }) => before === 0);
}

/** Errors of the gate, by whether the worker logged such errors before. */
export interface GateErrors {
  /** The journal before the gate was read, and does not show them. */
  readonly fresh: readonly Signature[];
  /** There is nothing to compare them with. */
  readonly unclear: readonly Signature[];
}

/** Compares what was logged during the gate with all since the release, which ends after it. */
export function errorsOfGate(logged: LoggedFact, meanwhile: LoggedFact): GateErrors {
  const whole = new Map(logged.signatures.map((each) => [each.signature, each]));
  const isCompared = logged.earlier !== null && logged.earlier > 0;
  const fresh: Signature[] = [];
  const unclear: Signature[] = [];
  for (const each of meanwhile.signatures) {
    const known = whole.get(each.signature);
    // What occurred more often than the gate shows, occurred before it.
    if (known !== undefined && known.count > each.count) continue;
    // Only so many signatures are listed.
    const before = isCompared ? (known?.before ?? null) : null;
    if (before === null) unclear.push(each);
    else if (before === 0) fresh.push(each);
  }
  return { fresh, unclear };
}

/** `tasks.WorkError at /srv/app/tasks.py in link: 3 times, … (new): sample`. */
export function describeSignature(each: Signature): string {
  const mark = each.before === 0 ? ', new' : '';
  return `${each.signature}: ${describeSpan(each.count, each.first, each.last)}${mark}: ${each.sample}`;
}

/** `2 in 500 lines since 2026-01-18 11:02:03 UTC`. */
export const foundIn = (logged: LoggedFact, found: number): string =>
  `${found === 0 ? 'none' : found} in ${describeLog(logged)}`;

/** `500 lines since 2026-01-18 11:02:03 UTC`. */
export const describeLog = ({ entries, since }: LoggedFact): string =>
  `${formatCount(entries, 'line')}${since === null ? '' : ` since ${formatInstant(since)}`}`;

/** What makes the counts of a journal lower bounds; empty if nothing does. */
export function describeBounds(logged: LoggedFact): string {
  const parts = [
    ...(logged.dropped > 0 ? [`journald dropped ${formatCount(logged.dropped, 'line')}`] : []),
    ...(logged.complete ? [] : ['only the newest lines were read']),
  ];
  return parts.length === 0 ? '' : `; at least: ${parts.join(', ')}`;
}

function describeSpan(count: number, first: EpochSeconds, last: EpochSeconds): string {
  return count === 1
    ? `once, ${formatInstant(first)}`
    : `${count} times, ${formatInstant(first)} to ${formatInstant(last)}`;
}
