import { openSqliteStore } from '../adapters/sqlite-store.ts';
import type { VerifyValues } from '../config/action-inputs.ts';
import { readAppUser } from '../config/app-user-input.ts';
import { cleanUpDefaults } from '../config/cleanup-desired.ts';
import { readVerifyDesired } from '../config/verify-desired.ts';
import { orNone } from '../jobs/tables/mapping.ts';
import { ConfigError, HostError } from '../model/errors.ts';
import type { ReleasesFact } from '../model/facts.ts';
import { type EpochSeconds, seconds } from '../model/units.ts';
import type { Verdict } from '../model/verdict.ts';
import type { Agent } from '../ports/agent.ts';
import { checklistOfChecks, renderChecklistText } from '../report/checklist.ts';
import { formatInstant } from '../report/quantities.ts';
import { describeVerdict } from '../report/summary.ts';
import { failedChecks, gateError } from '../verify/checks.ts';
import type { StuckRows, StuckSearch } from '../verify/evidence.ts';
import { keepReport, reportSubject, type SummaryParts } from './keep-report.ts';
import { lookForStuckRows, type StuckCount } from './look-for-stuck-rows.ts';
import { lookThrough } from './look-through.ts';
import type { ActionRun, Pause } from './run.ts';
import { soakWorker } from './soak-worker.ts';
import { straysOf } from './strays-of.ts';
import { verifyHost, verifyQuery } from './verify-host.ts';
import { gatherReport } from './verify-report.ts';

/**
 * Reads the facts, sends the probes of the gate, judges and reports.
 *
 * @throws GateError when a check failed, or nothing is proven
 */
export async function verifyWorker(run: ActionRun<'verify'>): Promise<void> {
  const { reporter } = run;
  if (run.inputs.mode === 'soak') return soakWorker(run);
  const desired = readVerifyDesired(run.inputs);
  await using agent = await run.openAgent(verifyQuery(desired));
  const ports = {
    agent: lookThrough(run, agent),
    onProgress: run.onProgress(),
    pause: (pause: Pause) => run.pause(pause),
    findStrays: straysOf,
    findStuckRows: (since: EpochSeconds | null) => searchStuckRows(agent, run.inputs, since),
  };
  const { verdict, evidence } = await reporter.group('verify: working on the host', () =>
    verifyHost(ports, desired),
  );
  const sentence = describeVerdict(verdict);
  const checklist = checklistOfChecks(verdict.checks);
  reporter.info(sentence);
  reporter.info(renderChecklistText(checklist));
  const isHealthy = verdict.conclusion === 'healthy';
  reporter.output('healthy', String(isHealthy));
  reporter.output('verdict', verdict.conclusion);
  reporter.output('failed-checks', failedChecks(verdict).join(','));
  reporter.output('checks', JSON.stringify(verdict.checks));
  for (const check of verdict.checks.filter((each) => each.verdict === 'warn')) {
    reporter.warning(`${check.title}: ${check.seen}`, 'verify');
  }
  const { awaiting } = evidence.before.releases;
  let judged: Judged = { said: '', confirmed: [] };
  let parts: SummaryParts = { checklist, checks: verdict.checks };
  try {
    if (awaiting !== null) judged = await judgeRelease(run, agent, verdict, awaiting);
  } finally {
    reporter.output('confirmed', judged.confirmed.join(','));
    parts =
      (await keepReport(run, () =>
        gatherReport(agent, { ...reportSubject(run), verdict, evidence, sentence }),
      )) ?? parts;
  }
  run.summarize(agent, { subject: desired.unit, sentence: `${sentence}${judged.said}`, ...parts });
  if (!isHealthy) {
    throw gateError(verdict);
  }
}

interface Judged {
  readonly said: string;
  /** Transactions of the release. */
  readonly confirmed: readonly string[];
}

/**
 * Confirms the release that awaits its verdict if the verdict is healthy; otherwise the host rolls back.
 *
 * @throws HostError when the host rolled back during the verification
 */
async function judgeRelease(
  run: ActionRun<'verify'>,
  agent: Agent,
  verdict: Verdict,
  { transactions, deadline }: NonNullable<ReleasesFact['awaiting']>,
): Promise<Judged> {
  const { inputs, reporter } = run;
  const until = `the host rolls back automatically at ${formatInstant(deadline)}`;
  if (verdict.conclusion !== 'healthy') {
    reporter.warning(`release of ${inputs.unit} not confirmed: ${until}`, 'verify');
    return { said: '', confirmed: [] };
  }
  if (inputs['dry-run'] || !inputs.confirm) {
    reporter.info(`release of ${inputs.unit} not confirmed, as requested: ${until}`);
    return { said: '', confirmed: [] };
  }
  const confirmed = await run.group('confirm the release', () =>
    agent.confirm(inputs.unit, transactions, run.meta(inputs.unit)),
  );
  if (!confirmed) {
    throw new HostError(`the release of ${inputs.unit} could no longer be confirmed`, {
      step: `confirm transaction ${transactions.join(', ')}`,
      evidence: [
        `the deadline was ${formatInstant(deadline)}; the host rolled back at that time, or another release replaced this one`,
      ],
      next: 'increase `confirm-within` of deploy-worker or reduce `gate-timeout`, then deploy again.',
    });
  }
  const said = `Confirmed: transaction ${transactions.join(', ')}.`;
  reporter.info(said);
  return { said: ` ${said}`, confirmed: transactions };
}

/** A host without a job database is reported, but does not fail the verdict. */
export async function searchStuckRows(
  agent: Agent,
  inputs: VerifyValues,
  releasedAt: EpochSeconds | null,
): Promise<StuckSearch> {
  const { path, none } = inputs.database;
  if (none) return { kind: 'not-read', why: '`database: none`, this app has no tables of jobs' };
  try {
    const stores = await lookForStuckRows(
      { agent, openStore: openSqliteStore },
      {
        ...cleanUpDefaults,
        database: path,
        unit: inputs.unit,
        appUser: readAppUser(inputs['app-user']),
        thresholdSeconds: inputs.threshold,
        snapshotLimitBytes: inputs['snapshot-limit'],
      },
    );
    return { kind: 'read', rows: stores.flatMap((each) => countByTable(each, releasedAt)) };
  } catch (error) {
    if (path === null && error instanceof ConfigError) {
      return { kind: 'not-read', why: `${error.message}; ${orNone}` };
    }
    throw error;
  }
}

function countByTable(
  { stuck, takenAt }: StuckCount,
  releasedAt: EpochSeconds | null,
): StuckRows[] {
  const tables = Map.groupBy(stuck, ({ row }) => row.mapping.table);
  return [...tables].map(([table, rows]) => ({
    table,
    count: rows.length,
    inherited: rows.filter(
      ({ lastSign }) => lastSign !== null && releasedAt !== null && lastSign < releasedAt,
    ).length,
    oldestAgeSeconds: seconds(
      Math.max(0, ...rows.map(({ lastSign }) => takenAt - (lastSign ?? takenAt))),
    ),
    sampleIds: rows.slice(0, 5).map(({ row }) => String(row.id)),
  }));
}
