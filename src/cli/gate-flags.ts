import { deployWorkerInputs, verifyInputs } from '../config/action-inputs.ts';
import type { Inputs } from '../config/input.ts';

/** Of verify, what is no part of a gate: a deploy always confirms, and its soak comes later. */
const notOfGate: ReadonlySet<string> = new Set(['mode', 'confirm', 'soak-failure']);

/**
 * Requirements of verify that deploy has as wishes: a host that cannot fulfil one is warned of, and
 * that is no reason to go back.
 */
export const wishes: ReadonlySet<string> = new Set([
  'swap-size',
  'concurrency',
  'memory-max',
  'memory-high',
]);

/** What `deploy --verify` takes besides the inputs of deploy: those of the gate alone. */
export const gateInputs: Inputs = Object.fromEntries(
  Object.entries(verifyInputs).filter(
    ([name]) => !(name in deployWorkerInputs) && !notOfGate.has(name) && !wishes.has(name),
  ),
);
