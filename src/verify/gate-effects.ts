import type { Check } from '../model/verdict.ts';
import type { CheckName } from './check.ts';
import { unknownCheck } from './check.ts';
import type { VerifyEvidence, VerifyFacts } from './evidence.ts';

/** The facts around the probes of the gate. */
export interface AroundGate {
  readonly before: VerifyFacts;
  readonly after: VerifyFacts;
}

/** `null`: no probe was sent, so that there are no effects to judge. */
export function aroundGate({ before, after, gate }: VerifyEvidence): AroundGate | null {
  return gate.kind === 'sent' && after !== null ? { before, after } : null;
}

/** Whether the unit was started again meanwhile: its counters began at 0 then. */
export function restartedIn({ before, after }: AroundGate): boolean {
  const id = (facts: VerifyFacts) => facts.unit.properties.InvocationID ?? '';
  return id(before) !== id(after);
}

/** The check if the unit was restarted during the gate. */
export const notComparable = (name: CheckName): Check =>
  unknownCheck(name, 'the unit was restarted during the gate', 'run verify again');
