import type { HostEnd, LegRecord } from '../../model/fleet.ts';

/** The longest `why` of a record, in UTF-16 code units: whoever reads it refuses a longer one. */
export const longestWhy = 1000;

/** What a leg writes down about its host, with a `why` that can be read back. */
export function legRecord(
  end: HostEnd,
  rest: Pick<LegRecord, 'host' | 'attempt' | 'kind' | 'transaction'>,
): LegRecord {
  const { state, failed, why } = end;
  const short = why.length > longestWhy ? `${why.slice(0, longestWhy - 1)}…` : why;
  return { ...rest, state, failed, why: short };
}

/**
 * The name of a record, of its file and of its artifact: one that failed is found by it. A host may fail
 * twice, when it is deployed and when it is rolled back; no artifact can have the name of another.
 */
export function recordName({ host, attempt, kind, failed }: LegRecord): string {
  const how = failed ? (kind === 'back' ? 'backfailed' : 'failed') : kind;
  return `${attempt}-${how}-${host}`;
}
