import type {
  LedgerRelease,
  ReleasesFact,
  TransactionFact,
  UndoingFact,
} from '../model/facts/ledger.ts';
import type { UnitFact } from '../model/facts/unit.ts';
import type { Operation } from '../model/operation.ts';
import { formatCount } from '../model/quantities.ts';
import {
  type Report,
  type ReportLatency,
  type ReportMark,
  type ReportProbe,
  type ReportRelease,
  type ReportRepair,
  reportVersion,
} from '../model/report.ts';
import type { Sample } from '../model/sample.ts';
import type { SoakVerdict } from '../model/soak.ts';
import { type Bytes, bytes, type EpochSeconds, seconds } from '../model/units.ts';
import type { Check, Verdict } from '../model/verdict.ts';
import { presentRelease } from '../report/release-words.ts';
import { marksOfSamples, timelineOf } from '../report/timeline.ts';
import { type GateResult, latest, type VerifyEvidence } from './evidence.ts';
import { readLimit } from './unit-values.ts';

/** What a report is made of. `null`: not known. */
export interface ReportParts {
  readonly celeriac: string;
  readonly host: string;
  readonly by: Report['by'];
  readonly verdict: Verdict;
  readonly sentence: string;
  readonly evidence: VerifyEvidence;
  /** After the verdict: it may have confirmed one. */
  readonly releases: ReleasesFact;
  readonly samples: readonly Sample[] | null;
  /** Transactions of the unit. */
  readonly transactions: readonly TransactionFact[] | null;
  /** The steps of those that the report shows: the present release, and repairs. */
  readonly steps: readonly UndoingFact[] | null;
  readonly soak: SoakVerdict | null;
  readonly comparison: Report['comparison'];
}

/** Releases, repairs and marks that a report keeps: the newest. */
const kept = { releases: 50, repairs: 20, marks: 300 };

/** What is known of a worker, from what was read of its host. */
export function buildReport(parts: ReportParts): Report {
  const facts = latest(parts.evidence);
  const { unit, host } = facts;
  const { releases } = parts;
  const ledger = releasesOf(releases);
  const repairs = repairsOf(parts.transactions, parts.steps);
  return {
    version: reportVersion,
    celeriac: parts.celeriac,
    host: parts.host,
    unit: unit.name,
    at: host.now,
    by: parts.by,
    verdict: { conclusion: parts.verdict.conclusion, sentence: parts.sentence },
    checks: parts.verdict.checks.map(boundEvidence),
    worker: workerOf(parts.evidence, unit, parts.samples?.at(-1) ?? null, host.now),
    timeline: parts.samples === null ? null : timelineOf(parts.samples),
    marks: marksOf(ledger, repairs, parts, host.now),
    probes: probesOf(parts.evidence.gate),
    latency: latencyOf(parts.evidence.gate),
    soak: parts.soak,
    releases: ledger,
    unitDiff: unitDiffOf(unit.name, presentRelease(releases), parts.steps),
    repairs,
    comparison: parts.comparison,
  };
}

/** Evidence that a report keeps of a check. */
const evidenceLimit = { lines: 200, characters: 2000 };

function boundEvidence(check: Check): Check {
  const { lines, characters } = evidenceLimit;
  const more = check.evidence.length - lines;
  const cut = (line: string): string =>
    line.length > characters ? `${line.slice(0, characters)}… (cut)` : line;
  const shown = check.evidence.slice(0, lines).map(cut);
  return {
    ...check,
    evidence: more > 0 ? [...shown, `… (${formatCount(more, 'more line')} cut)`] : shown,
  };
}

/** A sample that is older says nothing of the queues of now, in seconds. */
const freshSample = 180;

function workerOf(
  { broker }: VerifyEvidence,
  unit: UnitFact,
  sample: Sample | null,
  now: EpochSeconds,
): Report['worker'] {
  const restarts = unit.properties.NRestarts ?? '';
  const isFresh = sample !== null && now - sample.at <= freshSample;
  return {
    activeState: unit.activeState,
    subState: unit.subState,
    since: unit.activeSince,
    processes: unit.processes.length,
    restarts: /^\d+$/.test(restarts) ? Number(restarts) : null,
    memory: memoryNow(unit, isFresh ? sample : null),
    queues: lengthsOf(broker) ?? (isFresh ? (sample.worker?.queues ?? null) : null),
  };
}

/** Without memory accounting, the sampler has added up what the processes use. */
function memoryNow(unit: UnitFact, sample: Sample | null): Report['worker']['memory'] {
  const { currentBytes: current, peakBytes: peak } = unit.memory ?? {
    currentBytes: sample?.memory?.current ?? null,
    peakBytes: null,
  };
  if (current === null) return null;
  const limit = (property: 'MemoryMax' | 'MemoryHigh'): Bytes | null => {
    const value = readLimit(unit, property);
    return value == null ? null : bytes(value);
  };
  return { current, peak, high: limit('MemoryHigh'), max: limit('MemoryMax') };
}

/** As the broker said at the last look. */
const lengthsOf = (search: VerifyEvidence['broker']): Readonly<Record<string, number>> | null =>
  search.kind === 'asked' && search.last.kind === 'told' ? search.last.lengths : null;

/** Newest first; at most as many as a report keeps. */
export const releasesOf = ({ releases, awaiting }: ReleasesFact): readonly ReportRelease[] =>
  releases
    .toReversed()
    .slice(0, kept.releases)
    .map((each) => ({
      release: each.release,
      transaction: each.transaction,
      at: each.at,
      actor: each.actor,
      run: each.holder,
      sha: each.sha,
      state: each.state,
      since: each.state === 'before' ? null : each.since,
      ...(awaiting?.transactions.includes(each.transaction ?? '') && {
        confirmBy: awaiting.deadline,
      }),
      why: each.state === 'proven' || each.state === 'failed' ? each.soakWhy : each.why,
    }));

/** The transactions whose steps a report shows, newest first. */
export function shownTransactions(
  releases: ReleasesFact,
  transactions: readonly TransactionFact[],
): readonly string[] {
  const present = presentRelease(releases)?.transaction ?? null;
  const repairs = repairing(transactions).map(({ id }) => id);
  return [...new Set([...(present === null ? [] : [present]), ...repairs])];
}

const repairing = (transactions: readonly TransactionFact[]): readonly TransactionFact[] =>
  transactions
    .filter(({ action, state }) => action === 'cleanup' && state === 'committed')
    .toReversed()
    .slice(0, kept.repairs);

function repairsOf(
  transactions: readonly TransactionFact[] | null,
  steps: readonly UndoingFact[] | null,
): readonly ReportRepair[] | null {
  if (transactions === null || steps === null) return null;
  return repairing(transactions).flatMap(({ id, startedAt, holder }) => {
    const done = steps.find((each) => each.id === id)?.steps ?? [];
    const changes = done.filter(({ op }) => op === 'repair-jobs').toReversed();
    if (changes.length === 0) return [];
    return [
      {
        transaction: id,
        at: startedAt,
        run: holder,
        rows: changes.reduce((sum, { rowCount }) => sum + rowCount, 0),
        what: changes.map(({ title }) => title),
      },
    ];
  });
}

const unitSteps: ReadonlySet<string> = new Set<Operation['op']>([
  'install-unit',
  'write-file',
  'remove-file',
]);

function unitDiffOf(
  unit: string,
  present: LedgerRelease | null,
  steps: readonly UndoingFact[] | null,
): Report['unitDiff'] {
  const found = steps?.find(({ id }) => id === present?.transaction);
  if (present === null || found === undefined) return null;
  const name = unit.replace(/@.*(\.\w+)$/, '@');
  const changes = found.steps
    .filter(({ op, path }) => unitSteps.has(op) && path?.includes(`/${name}`) === true)
    .toReversed();
  return {
    release: present.release,
    text: changes.flatMap(({ diff }) => (diff === '' ? [] : [diff])).join('\n'),
    cut: changes.some(({ cut }) => cut),
  };
}

function runsOf(gate: GateResult) {
  return gate.kind === 'sent' ? gate.runs : [];
}

function probesOf(gate: GateResult): Report['probes'] {
  if (gate.kind !== 'sent') return null;
  return gate.runs.flatMap(({ request, result }): readonly ReportProbe[] => {
    if (result.kind === 'report') {
      return result.report.jobs.map(({ where, state, detail, seconds }) => ({
        where,
        state,
        detail,
        seconds: state === 'done' ? seconds : null,
      }));
    }
    const detail = result.kind === 'fault' ? result.problem : 'the previous probe failed';
    return [{ where: request.title, state: 'not-sent', detail, seconds: null }];
  });
}

function latencyOf(gate: GateResult): Report['latency'] {
  if (gate.kind !== 'sent') return null;
  const jobs = runsOf(gate).flatMap(({ result }) =>
    result.kind === 'report' ? result.report.jobs : [],
  );
  return [...Map.groupBy(jobs, ({ where }) => where)].map(([where, all]): ReportLatency => {
    const times = all
      .filter(({ state }) => state === 'done')
      .map((job) => job.seconds)
      .sort((one, other) => one - other);
    return {
      where,
      sent: all.length,
      done: times.length,
      median: times.length === 0 ? null : seconds(median(times)),
      slowest: times.at(-1) ?? null,
    };
  });
}

function median(sorted: readonly number[]): number {
  const middle = Math.floor(sorted.length / 2);
  const high = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? high) + high) / 2;
}

function marksOf(
  releases: readonly ReportRelease[],
  repairs: readonly ReportRepair[] | null,
  { samples, evidence }: ReportParts,
  now: EpochSeconds,
): readonly ReportMark[] {
  const sent = runsOf(evidence.gate).flatMap(({ result }) =>
    result.kind === 'report' ? result.report.jobs : [],
  );
  const marks: readonly ReportMark[] = [
    ...releases
      .filter(({ transaction }) => transaction !== null)
      .map(({ at, release }): ReportMark => ({ at, kind: 'deploy', text: `release ${release}` })),
    ...releases.flatMap(({ state, since, release }): ReportMark[] =>
      state === 'undone' && since !== null
        ? [{ at: since, kind: 'undo', text: `release ${release} rolled back` }]
        : [],
    ),
    ...(repairs ?? []).map(
      ({ at, rows }): ReportMark => ({
        at,
        kind: 'repair',
        text: `${formatCount(rows, 'row')} repaired`,
      }),
    ),
    ...marksOfSamples(samples ?? []),
    ...(sent.length === 0
      ? []
      : [{ at: now, kind: 'job', text: formatCount(sent.length, 'probe') } as const]),
  ];
  return marks.toSorted((one, other) => one.at - other.at).slice(-kept.marks);
}
