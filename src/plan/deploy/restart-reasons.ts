import { findCeleryCall } from '../../celery/celery-call.ts';
import type { WorkerLine } from '../../celery/worker-line.ts';
import type { DeployWorkerDesired } from '../../config/deploy-worker-desired.ts';
import type { CodeFact, UnitFact } from '../../model/facts/unit.ts';
import { describeDeafness } from '../../report/deafness.ts';
import { isExpanded } from '../../systemd/exec-line.ts';
import type { ReleasePlan } from '../code/release-plan.ts';
import type { WorkerUnit } from '../unit/worker-unit.ts';
import type { DeployWorkerFacts } from './look.ts';

export function listRestartReasons(
  facts: DeployWorkerFacts,
  desired: DeployWorkerDesired,
  unit: WorkerUnit,
  known: Readonly<Record<string, string>>,
  changes: {
    readonly unit: boolean;
    readonly support: boolean;
    readonly release: ReleasePlan;
  },
): readonly string[] {
  const { unit: fact, code } = facts;
  const reasons: string[] = [];
  if (fact.activeState !== 'active') {
    const { activeState, subState } = fact;
    reasons.push(`it is ${activeState}${activeState === subState ? '' : ` (${subState})`}`);
  }
  if (changes.unit) reasons.push('its unit changes');
  else if (fact.needDaemonReload) reasons.push('systemd has not loaded its current unit file');
  else {
    const differing = Object.entries(known)
      .filter(([name, value]) => fact.properties[name] !== value)
      .map(([name, value]) => `${name} is ${fact.properties[name]}, not ${value}`);
    reasons.push(...differing);
    reasons.push(...whyRunningDiffers(fact, unit.line));
  }
  if (changes.support) reasons.push('its support module changes');
  reasons.push(...changes.release.reasons);
  const newer = whyCodeDiffers(fact, code);
  if (newer !== null) reasons.push(newer);
  const deaf = facts.consuming === undefined ? null : describeDeafness(facts.consuming);
  if (deaf !== null) reasons.push(deaf);
  if (reasons.length === 0 && desired.restartPolicy === 'always')
    reasons.push('a restart was requested');
  return reasons;
}

/**
 * By content, if Celeriac started the worker: a clock that was set back makes files newer than every
 * start, and a restored file older than it is. Otherwise by time.
 */
export function whyCodeDiffers(
  fact: UnitFact,
  { newest, startedWithThese }: Pick<CodeFact, 'newest' | 'startedWithThese'>,
  who = 'the worker',
): string | null {
  if (startedWithThese === true || newest === null || fact.activeSince === null) return null;
  if (newest.modified > fact.activeSince) return `${newest.path} is newer than ${who}`;
  return startedWithThese === false ? 'its code has changed since it was started' : null;
}

/** The worker may be older than its unit; its arguments show that. */
function whyRunningDiffers(fact: UnitFact, line: WorkerLine): readonly string[] {
  const main = fact.processes.find(({ pid }) => pid === fact.mainPid);
  const found = main && findCeleryCall(main.argv);
  if (found?.kind !== 'found') return [];
  const [running, wanted] = [found.call, line.call];
  const differs = (is: string | null, should: string | null): boolean =>
    is !== should && !(should !== null && isExpanded(should));
  const reasons: string[] = [];
  if (differs(running.concurrency, wanted.concurrency)) {
    reasons.push(`it runs with concurrency ${running.concurrency ?? 'unset'}`);
  }
  const { maxMemoryPerChild, maxTasksPerChild, prefetchMultiplier } = running;
  for (const [name, is, should] of [
    ['--max-memory-per-child', maxMemoryPerChild, wanted.maxMemoryPerChild],
    ['--max-tasks-per-child', maxTasksPerChild, wanted.maxTasksPerChild],
    ['--prefetch-multiplier', prefetchMultiplier, wanted.prefetchMultiplier],
  ] as const) {
    if (differs(is, should)) reasons.push(`it runs with ${name} ${is ?? 'unset'}`);
  }
  const queues = (call: typeof running) => call.queues?.join(',').replaceAll('%%', '%') ?? null;
  if (differs(queues(running), queues(wanted))) {
    reasons.push(`it consumes ${queues(running) ?? 'the queues of the app'}`);
  }
  const missing = wanted.include.filter(
    (module) => !isExpanded(module) && !running.include.includes(module),
  );
  if (missing.length > 0) reasons.push(`it runs without ${missing.join(', ')}`);
  return reasons;
}
