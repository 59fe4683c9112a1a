import { type CheckModule, unknownCheck } from '../check.ts';

/** Shown when no probe is wanted. */
export const gate: CheckModule = {
  id: 'gate',
  title: 'gate',
  proves: 'Nothing: the gate is `none`.',
  doesNotProve: 'That the worker runs a task.',
  judge: (seen) =>
    seen.gate.kind === 'none' ? unknownCheck(gate, 'the gate is `none`: no probe was sent') : [],
};
