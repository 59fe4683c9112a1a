import type { SoakDesired } from '../config/soak-inputs.ts';
import { ConfigError, GateError } from '../model/errors.ts';
import type { LedgerRelease } from '../model/facts/ledger.ts';
import { mayChange } from '../model/outcome.ts';
import { formatDuration, formatInstant } from '../model/quantities.ts';
import type { Proof, SoakReport } from '../model/soak.ts';
import type { Agent } from '../ports/agent.ts';
import {
  describeSoakState,
  detailsOfSoak,
  renderSoakText,
  soakChecklist,
  tableOfComparison,
} from '../report/soak-view.ts';
import { lastProven } from '../verify/soak/compare.ts';
import { type FindOldestJob, lookAtSoak, lookBesides, type SoakSeen } from './look-at-soak.ts';
import { lookThrough } from './look-through.ts';
import { rollBackTo } from './roll-back.ts';
import type { Run } from './run.ts';

/** A failure that an earlier run recorded is acted on for so long: that run may have been cut off. */
const recentSeconds = 3 * 3600;

/**
 * Judges the release that runs by what the host wrote down, records when it is proven or failed, and
 * does what the policy says about a failed one.
 *
 * Whoever runs it, and however often: the host's evidence and ledger decide, not this run.
 *
 * @throws HostError when a release could not be rolled back completely
 */
export async function soakRelease(
  run: Run,
  agent: Agent,
  desired: SoakDesired,
  findOldestJob: FindOldestJob,
): Promise<SoakReport> {
  const { unit, limits, onFailure } = desired;
  const looker = lookThrough(run, agent);
  const first = await lookAtSoak(looker, unit, limits);
  const isWanted = limits.wanted > 0;
  const when = whenToLookBesides(first, desired, !run.dryRun && mayChange(agent.hello));
  const besides = (of: SoakSeen) => lookBesides(looker, unit, limits, of, findOldestJob);
  const told = when === 'before' ? await besides(first) : first;
  const judged = await record(run, agent, unit, isWanted ? told : { ...told, verdict: null });
  const seen = when === 'after' ? await besides(told) : told;
  const report: SoakReport = {
    version: 1,
    unit,
    state: judged,
    sentence: `${describeSoakState(judged, seen, isWanted)}${isUnrecorded(run, seen) ? ' (dry run: not recorded)' : ''}`,
    release: aboutRelease(seen.release, seen, judged),
    verdict: isWanted ? seen.verdict : null,
    comparison: seen.comparison,
    rolledBackTo: null,
    by: run.meta(unit).holder,
  };
  await run.showDetails(`the soak of ${unit}`, renderSoakText(report));
  const publish = (end: SoakReport): SoakReport => {
    tell(run, agent, end);
    run.output('soak', end.state);
    run.output('soak-report', JSON.stringify(end));
    return end;
  };
  const { release } = seen;
  if (judged !== 'failed' || onFailure === 'report' || release === null || !isWanted) {
    return publish(report);
  }
  if (!isRecent(release, seen)) {
    run.warn(
      `not rolled back: release ${release.release} failed at ${formatInstant(release.since)}, more than ${formatDuration(recentSeconds)} ago; \`roll-back: previous\` of deploy-worker rolls it back`,
    );
    return publish(report);
  }
  let rolledBackTo: number | null = null;
  try {
    rolledBackTo = await goBack(run, agent, unit, release, seen.releases);
  } finally {
    // Also where the host could not roll back.
    publish({ ...report, rolledBackTo });
  }
  return { ...report, rolledBackTo };
}

/** The error of a release that failed. */
export const soakError = ({ sentence, verdict, rolledBackTo }: SoakReport): GateError =>
  new GateError(
    'soak',
    sentence,
    verdict?.failure?.evidence ?? [],
    rolledBackTo === null
      ? 'deploy a release that fixes it, or roll back with `roll-back: previous` of deploy-worker'
      : `release ${rolledBackTo}, the last proven one, runs again; deploy a release that fixes it`,
    // Without a verdict of this run, an earlier one recorded it. That it went back now is news.
    { isOld: verdict === null && rolledBackTo === null },
  );

/**
 * What is in no sample is read only where it is compared, or kept for the releases to come: this may take
 * a copy of a database. The verdict on a release that failed does not wait for it, nor does its rollback.
 */
function whenToLookBesides(
  { verdict, comparison }: SoakSeen,
  { limits, onFailure }: SoakDesired,
  records: boolean,
): 'before' | 'after' | 'never' {
  if (limits.wanted === 0 || verdict === null) return 'never';
  if (verdict.state === 'failed') {
    return comparison !== null && onFailure === 'report' ? 'after' : 'never';
  }
  return comparison !== null || (verdict.state === 'proven' && records) ? 'before' : 'never';
}

/** Whether this run found the failure, or one that was perhaps cut off before it could roll back. */
const isRecent = ({ state, since }: LedgerRelease, { now }: SoakSeen): boolean =>
  state !== 'failed' || now - since <= recentSeconds;

/** Whether a dry run found what another run would record. */
const isUnrecorded = (run: Run, { verdict }: SoakSeen): boolean =>
  run.dryRun && verdict !== null && verdict.state !== 'unproven';

/** Records a verdict, once; the state of the release after that. */
async function record(
  run: Run,
  agent: Agent,
  unit: string,
  { release, verdict, figures, sampling }: SoakSeen,
): Promise<SoakReport['state']> {
  if (release === null) return 'none';
  const settled = verdict === null ? release.state : verdict.state;
  if ((settled !== 'proven' && settled !== 'failed') || release.transaction === null)
    return settled;
  // A run that was cut off may have recorded it, and left the samples going on.
  if (verdict === null && !sampling) return settled;
  if (run.dryRun) return settled;
  if (!mayChange(agent.hello)) {
    run.warn(
      `this key may only read, so nobody recorded that release ${release.release} ${settled === 'proven' ? 'is proven' : 'failed'}`,
    );
    return settled;
  }
  const proof: Proof = {
    unit,
    transaction: release.transaction,
    verdict: settled,
    why: verdict?.sentence ?? release.soakWhy,
    figures: figures ?? {},
  };
  if (await agent.prove(proof, run.meta(unit))) return settled;
  run.warn(
    `release ${release.release} of ${unit} was replaced, undone or judged by another run while this one judged it; nothing was recorded`,
  );
  return 'superseded';
}

/** The release that runs again; `null`: none is proven, or the host can no longer roll back. */
async function goBack(
  run: Run,
  agent: Agent,
  unit: string,
  failed: LedgerRelease,
  releases: readonly LedgerRelease[],
): Promise<number | null> {
  if (!mayChange(agent.hello)) {
    run.warn(`release ${failed.release} not rolled back: this key may only read`);
    return null;
  }
  const target = lastProven(releases, failed.release);
  if (target === null) {
    run.warn(`not rolled back: no release before ${failed.release} is proven`);
    return null;
  }
  try {
    await rollBackTo(run, agent, {
      unit,
      target: String(target.release),
      folder: null,
      ...(failed.transaction !== null && { from: failed.transaction }),
    });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    run.warn(`not rolled back to release ${target.release}: ${error.message}`);
    return null;
  }
  return run.dryRun ? null : target.release;
}

function aboutRelease(
  release: LedgerRelease | null,
  { verdict }: SoakSeen,
  state: SoakReport['state'],
): SoakReport['release'] {
  if (release === null || release.transaction === null) return null;
  const { release: number, transaction, sha, actor, since } = release;
  const decided = state === 'proven' || state === 'failed' ? (verdict?.decidedAt ?? null) : null;
  return { number, transaction, sha, actor, since: decided ?? since };
}

function tell(run: Run, agent: Agent, report: SoakReport): void {
  const table = tableOfComparison(report);
  run.report(agent, {
    subject: report.unit,
    sentence: report.sentence,
    checklist: soakChecklist(report),
    plan: null,
    outcome: null,
    findings: [],
    extra: { ...(table !== null && { table }), details: detailsOfSoak(report) },
    data: report,
  });
}
