import { readVerifyDesired, type VerifyDesired } from '../config/verify-desired.ts';
import { HostError } from '../model/errors.ts';
import type { ReleasesFact } from '../model/facts/ledger.ts';
import { formatInstant } from '../model/quantities.ts';
import type { EpochSeconds } from '../model/units.ts';
import type { Agent } from '../ports/agent.ts';
import { checklistOfChecks, renderChecklistText } from '../report/checklist.ts';
import { describeVerdict } from '../report/summary.ts';
import { failedChecks, gateError } from '../verify/checks.ts';
import { gateFigures } from '../verify/soak/besides.ts';
import { type Unconfirmed, whyUnconfirmed } from '../verify/unconfirmed.ts';
import { keepReport, reportSubject, type SummaryParts } from './keep-report.ts';
import { lookThrough } from './look-through.ts';
import type { ActionRun, Pause } from './run.ts';
import { soakWorker } from './soak-worker.ts';
import { straysOf } from './strays-of.ts';
import { searchStuckRows } from './stuck-in-app.ts';
import { type Verification, verifyHost, verifyQuery } from './verify-host.ts';
import { gatherReport } from './verify-report.ts';

/**
 * Reads the facts, sends the probes of the gate, judges and reports.
 *
 * @throws GateError when a check failed, or nothing is proven
 */
export async function verifyWorker(run: ActionRun<'verify'>): Promise<void> {
  if (run.inputs.mode === 'soak') return soakWorker(run);
  // Before the login: they may be invalid.
  const desired = readVerifyDesired(run.inputs);
  await using agent = await run.openAgent(verifyQuery(desired));
  await verifyOver(agent, run, { desired });
}

/** What is known before a verification. */
interface Known {
  /** Read from the inputs. */
  readonly desired?: VerifyDesired;
  /** The run of the unit that has just said that it takes its messages. */
  readonly consumes?: string | undefined;
}

/**
 * The same over a connection that is there.
 *
 * @throws GateError when a check failed, or nothing is proven
 */
export async function verifyOver(
  agent: Agent,
  run: ActionRun<'verify'>,
  { desired = readVerifyDesired(run.inputs), consumes }: Known = {},
): Promise<void> {
  const { reporter } = run;
  const ports = {
    agent: lookThrough(run, agent),
    onProgress: run.onProgress(),
    pause: (pause: Pause) => run.pause(pause),
    findStrays: straysOf,
    findStuckRows: (since: EpochSeconds | null) => searchStuckRows(agent, run.inputs, since),
    ...(consumes !== undefined && { consumes }),
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
    if (awaiting !== null) judged = await judgeRelease(run, agent, { verdict, evidence }, awaiting);
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
 * @throws HostError when the host rolled back during the verification, or another run deployed
 */
async function judgeRelease(
  run: ActionRun<'verify'>,
  agent: Agent,
  { verdict, evidence }: Verification,
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
    agent.confirm(inputs.unit, transactions, run.meta(inputs.unit), gateFigures(evidence.gate)),
  );
  const { releases } = confirmed
    ? { releases: null }
    : await run.look(agent, { releases: { unit: inputs.unit } });
  const why = releases === null ? null : whyUnconfirmed(transactions, releases.releases);
  if (why !== null && why.kind !== 'confirmed')
    throw unconfirmed(inputs.unit, transactions, deadline, why);
  const by = why === null ? '' : ` by ${why.by}`;
  const said = `Confirmed${by}: transaction ${transactions.join(', ')}.`;
  reporter.info(said);
  return { said: ` ${said}`, confirmed: transactions };
}

function unconfirmed(
  unit: string,
  transactions: readonly string[],
  deadline: EpochSeconds,
  why: Exclude<Unconfirmed, { readonly kind: 'confirmed' }>,
): HostError {
  const step = `confirm transaction ${transactions.join(', ')}`;
  if (why.kind === 'replaced') {
    const { release, sha, at, holder } = why.by;
    const commit = sha === '' ? '' : ` (${sha.slice(0, 7)})`;
    return new HostError(
      `the release of ${unit} was replaced by another run before it was confirmed`,
      {
        step,
        evidence: [`release ${release}${commit} of ${formatInstant(at)}, by ${holder}`],
        next: 'nothing has to be done here: the gate of that run confirms both releases, or the host rolls both back',
      },
    );
  }
  return new HostError(`the release of ${unit} could no longer be confirmed`, {
    step,
    evidence: [`the deadline was ${formatInstant(deadline)}; the host rolled back at that time`],
    next: 'increase `confirm-within` of deploy-worker or reduce `gate-timeout`, then deploy again',
  });
}
