import type { VerifyDesired } from '../config/verify-desired.ts';
import { GateError } from '../model/errors.ts';
import type { Verdict } from '../model/verdict.ts';
import { checkConsuming } from './checks/consuming.ts';
import { checkDelivery } from './checks/delivery.ts';
import { checkGate } from './checks/gate.ts';
import { checkErrors, checkRateLimits } from './checks/journal.ts';
import { checkKernelOom, checkMemory, checkSwap, checkUnitOom } from './checks/memory.ts';
import { checkProcesses, checkStrays } from './checks/processes.ts';
import { checkProbes, checkStuckRows } from './checks/services.ts';
import { checkLimits, checkRestarts, checkSupervision, checkUnit } from './checks/unit.ts';
import type { VerifyEvidence } from './evidence.ts';

/**
 * The verdict on the evidence. With warnings only, the host is healthy; checks that could not be
 * carried out are listed as skipped.
 */
export function judge(seen: VerifyEvidence, desired: VerifyDesired): Verdict {
  // The effects of the probes count: a kill or a restart during the gate is a finding.
  const facts = seen.after ?? seen.before;
  const checks = [
    checkUnit(facts),
    checkLimits(facts, desired),
    checkSupervision(facts),
    checkProcesses(facts, desired, seen.call),
    checkStrays(facts, seen.strays),
    checkConsuming(facts, seen.consuming),
    checkSwap(facts, desired),
    checkMemory(seen.before, seen.after),
    checkUnitOom(facts),
    checkKernelOom(facts),
    checkRestarts(facts, desired),
    checkRateLimits(facts, desired),
    checkErrors(facts, desired),
    ...checkProbes(facts, desired),
    checkStuckRows(seen.stuck, desired),
    ...checkDelivery(seen.gate, facts.unit),
    ...checkGate(seen.gate),
  ];
  return { healthy: checks.every(({ state }) => state !== 'failed'), checks };
}

/** The error of the first check that failed; `null` when the verdict is healthy. */
export function gateError(verdict: Verdict): GateError | null {
  const [first, ...others] = verdict.checks.filter(({ state }) => state === 'failed');
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
