import type { CleanUpAction } from '../../config/cleanup-desired.ts';
import type { Finding } from '../../model/operation.ts';
import { formatDuration, formatInstant } from '../../model/quantities.ts';
import type { EpochSeconds } from '../../model/units.ts';
import type { Evidence } from '../judge/liveness.ts';
import { isOpen, type StuckRow } from '../judge/staleness.ts';
import { readInstant } from '../tables/instants.ts';
import {
  descendantsOf,
  type JobForest,
  type JobRow,
  mirrorAbove,
  nameRow,
  showValue,
} from '../tables/job-forest.ts';
import { isDoneWork } from '../tables/mapping.ts';
import type { LeftRow } from '../tables/skipped-rows.ts';

export interface RepairRules {
  readonly action: CleanUpAction;
  /** By the host's clock. */
  readonly now: EpochSeconds;
  readonly statuses: readonly string[];
  /** Part of the error message of failed rows. */
  readonly runUrl: string | null;
  /** What the worker and the broker reported; `null`: they were not asked. */
  readonly evidence: Evidence | null;
  /** How often a row has been reset: `table:id` → times. */
  readonly resets: Readonly<Record<string, number>>;
  readonly maxResets: number;
  /** Rows selected by `ids` are deleted with everything below them, completed or not. */
  readonly deleteCompleted: boolean;
  /** Generates the id of a task to send. */
  readonly newTaskId: () => string;
}

/** A final status. */
export type EndStatus = 'completed' | 'partial' | 'failed' | 'cancelled';

/** What will become of a row. */
export interface Fate {
  readonly becomes: EndStatus | 'pending' | 'deleted';
  readonly why: string;
  /** For the row's error column, when it fails. */
  readonly message: string | null;
  /** When it ended; only for a final status. */
  readonly endedAt: EpochSeconds;
  readonly lastSign: EpochSeconds | null;
  /** With `pending`: its task is still in the broker, so nothing is sent and its id stays. */
  readonly owed?: boolean;
}

export type Fates = Map<JobRow, Fate>;

export interface Deciding {
  readonly rules: RepairRules;
  readonly forest: JobForest;
  readonly fates: Fates;
  readonly wanted: ReadonlyMap<JobRow, StuckRow>;
  /** The skipped rows for the report; `spared` also contains the rows that belong to them. */
  readonly left: LeftRow[];
  readonly spared: Set<JobRow>;
  readonly findings: Finding[];
  /** Rows without a readable sign of life, neither of their own nor below them. */
  readonly ageless: ReadonlySet<JobRow>;
  /** Table → number of orphans that have ended. */
  readonly endedOrphans: Map<string, number>;
  /** Table → number of stuck rows that `finalise` skips. */
  readonly unfinished: Map<string, number>;
}

/** Skips rows, whatever becomes of related ones; the report names the first. */
export function spare(
  rows: readonly [JobRow, ...JobRow[]],
  line: string,
  { left, spared }: Deciding,
): void {
  left.push({ row: rows[0], why: '', says: { line }, level: 'warning' });
  for (const row of rows) spared.add(row);
}

export function openBelow(row: JobRow, rules: RepairRules, fates: Fates): readonly JobRow[] {
  return descendantsOf(row).filter((each) => isOpen(each, rules.statuses) && !fates.has(each));
}

/**
 * The final status of a parent, by those of the rows below it and nothing else.
 *
 * @param partial whether the app has a word for what completed in part
 * @param missing more rows were expected below it than there are
 */
export function endOfAll(ends: readonly string[], partial: boolean, missing = false): EndStatus {
  if (!ends.some(isDoneWork)) return 'failed';
  if (!missing && ends.every((status) => status === 'completed')) return 'completed';
  if (partial) return 'partial';
  return missing ? 'failed' : 'completed';
}

/** How the rows below a parent ended, in one of their tables. */
export const tellEnds = (failed: number, all: number, what: string): string =>
  `${failed} of ${all} ${what} failed`;

export function endOf(row: JobRow, { timeZone }: JobForest): EpochSeconds | null {
  const { completed } = row.mapping;
  const reading = readInstant(completed ? (row.values[completed] ?? null) : null, timeZone);
  return reading.kind === 'instant' ? reading.at : null;
}

export function explain(found: StuckRow, rules: RepairRules): string {
  if (found.reason === 'waiting') return withEvidence('its rows have ended', found);
  if (found.reason === 'named') return withEvidence('selected by ids', found);
  if (found.reason === 'abandoned') return withEvidence(sinceStop(rules), found);
  const { tie, values } = found.row;
  if (found.reason === 'orphan') {
    const missing = showValue(tie ? values[tie.column] : null);
    return withEvidence(`orphan: ${tie?.table} has no row ${missing}`, found);
  }
  const age = formatDuration(rules.now - (found.lastSign ?? rules.now));
  return withEvidence(`no sign of life for ${age}`, found);
}

export function relate(row: JobRow, stuck: JobRow): string {
  return row === mirrorAbove(stuck) ? `mirrors ${nameRow(stuck)}` : `below ${nameRow(stuck)}`;
}

export function stuckFor(row: JobRow, found: StuckRow, rules: RepairRules): string {
  if (found.reason === 'abandoned') {
    const at =
      rules.evidence?.stop === undefined ? '' : ` at ${formatInstant(rules.evidence.stop.at)}`;
    return withEvidence(`abandoned: ${sinceStop(rules)}${at}`, found);
  }
  const age = found.lastSign === null ? '' : ` for ${formatDuration(rules.now - found.lastSign)}`;
  return withEvidence(`stuck in ${row.status}${age}`, found);
}

export const sinceStop = ({ evidence }: Pick<RepairRules, 'evidence'>): string =>
  `in progress since before ${evidence?.stop?.unit ?? 'its worker'} stopped`;

export const withEvidence = (text: string, { evidence }: StuckRow): string =>
  evidence === undefined || evidence === null ? text : `${text}; ${evidence}`;

export const signed = (done: string, rules: Pick<RepairRules, 'runUrl'>): string =>
  `${done} by celeriac${rules.runUrl ? `, ${rules.runUrl}` : ''}`;
