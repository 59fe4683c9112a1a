import type { VerifyDesired } from '../config/verify-desired.ts';
import { GateError } from '../model/errors.ts';
import type { Check, Conclusion, Verdict } from '../model/verdict.ts';
import type { CheckModule } from './check.ts';
import { activeQueues } from './checks/active-queues.ts';
import { beat } from './checks/beat.ts';
import { broker } from './checks/broker.ts';
import { clock } from './checks/clock.ts';
import { code } from './checks/code.ts';
import { consuming } from './checks/consuming.ts';
import { disk } from './checks/disk.ts';
import { enabled } from './checks/enabled.ts';
import { errors } from './checks/errors.ts';
import { gate } from './checks/gate.ts';
import { gateBatch } from './checks/gate-batch.ts';
import { gateErrors } from './checks/gate-errors.ts';
import { gateJob } from './checks/gate-job.ts';
import { gateOom } from './checks/gate-oom.ts';
import { gatePeak } from './checks/gate-peak.ts';
import { gateRateLimits } from './checks/gate-rate-limits.ts';
import { gateRows } from './checks/gate-rows.ts';
import { http } from './checks/http.ts';
import { invocation } from './checks/invocation.ts';
import { journal } from './checks/journal.ts';
import { kernelOom } from './checks/kernel-oom.ts';
import { limits } from './checks/limits.ts';
import { memory } from './checks/memory.ts';
import { memoryEvents } from './checks/memory-events.ts';
import { memoryReturn } from './checks/memory-return.ts';
import { newErrors } from './checks/new-errors.ts';
import { oom } from './checks/oom.ts';
import { own } from './checks/own.ts';
import { pressure } from './checks/pressure.ts';
import { processes } from './checks/processes.ts';
import { progress } from './checks/progress.ts';
import { queueLengths } from './checks/queue-lengths.ts';
import { rateLimits } from './checks/rate-limits.ts';
import { restarts } from './checks/restarts.ts';
import { settings } from './checks/settings.ts';
import { strays } from './checks/strays.ts';
import { stuckJobs } from './checks/stuck-jobs.ts';
import { supervision } from './checks/supervision.ts';
import { swap } from './checks/swap.ts';
import { swapBoot } from './checks/swap-boot.ts';
import { unit } from './checks/unit.ts';
import { visibilityTimeout } from './checks/visibility-timeout.ts';
import { watchdog } from './checks/watchdog.ts';
import type { VerifyEvidence } from './evidence.ts';

/** Every check, in the order in which they are shown. */
export const checkModules: readonly CheckModule[] = [
  unit,
  enabled,
  invocation,
  settings,
  code,
  limits,
  supervision,
  watchdog,
  processes,
  progress,
  strays,
  consuming,
  broker,
  activeQueues,
  queueLengths,
  beat,
  swap,
  swapBoot,
  memory,
  memoryEvents,
  oom,
  kernelOom,
  pressure,
  disk,
  clock,
  restarts,
  journal,
  rateLimits,
  errors,
  newErrors,
  http,
  own,
  stuckJobs,
  visibilityTimeout,
  gate,
  gateJob,
  gateBatch,
  gatePeak,
  memoryReturn,
  gateOom,
  gateRateLimits,
  gateErrors,
  gateRows,
];

/**
 * What must be known of a host, or nothing is proven: of each line at least one. A probe that came
 * back proves what the broker may not tell: that the worker takes its messages.
 */
export const essentials: readonly (readonly CheckModule[])[] = [[unit], [consuming, gateJob]];

/** The verdict on the evidence. With warnings only, the host is healthy. */
export function judge(seen: VerifyEvidence, desired: VerifyDesired): Verdict {
  const checks = checkModules.flatMap((module) => module.judge(seen, desired));
  return { conclusion: conclude(checks, desired), checks };
}

function conclude(checks: readonly Check[], desired: VerifyDesired): Conclusion {
  if (checks.some(({ verdict }) => verdict === 'fail')) return 'unhealthy';
  return missingEssentials(checks, desired).length > 0 ? 'inconclusive' : 'healthy';
}

/** The unknown checks that make a verdict inconclusive. */
function missingEssentials(
  checks: readonly Check[],
  { dryRun }: Pick<VerifyDesired, 'dryRun'>,
): readonly Check[] {
  // A dry run sends no probe, as asked; the real run would.
  const isKnown = ({ id }: CheckModule): boolean =>
    checks.some(
      (check) => check.id === id && (check.verdict !== 'unknown' || (dryRun && id === gateJob.id)),
    );
  const about = [...essentials.filter((line) => !line.some(isKnown)).flat(), gateJob];
  return checks.filter(
    ({ id, verdict }) =>
      about.some((module) => module.id === id && !isKnown(module)) ||
      // Whoever wrote a check wants its answer.
      (id === own.id && verdict === 'unknown' && !dryRun),
  );
}

/** The ids of the checks that failed, each once. */
export function failedChecks({ checks }: Verdict): readonly string[] {
  return [...new Set(checks.flatMap(({ id, verdict }) => (verdict === 'fail' ? [id] : [])))];
}

/** The error of the first check that failed or is missing; `null` when the verdict is healthy. */
export function gateError(verdict: Verdict): GateError | null {
  if (verdict.conclusion === 'inconclusive') return inconclusiveError(verdict);
  const [first, ...others] = verdict.checks.filter(({ verdict }) => verdict === 'fail');
  if (first === undefined) return null;
  const expected = first.expected === '' ? '' : `; expected ${first.expected}`;
  const more =
    others.length === 0 ? '' : ` (also failed: ${others.map(({ id }) => id).join(', ')})`;
  return new GateError(
    first.id,
    `${first.title}: ${first.seen}${expected}${more}`,
    first.evidence,
    first.next,
  );
}

function inconclusiveError({ checks }: Verdict): GateError | null {
  const [first] = missingEssentials(checks, { dryRun: false });
  if (first === undefined) return null;
  return new GateError(
    first.id,
    `inconclusive: no check failed, but nothing is proven while this is unknown: ${first.title}: ${first.seen}`,
    first.evidence,
    first.next === '' ? 'use a gate that sends probes: `canary`, `task` or `http`' : first.next,
  );
}
