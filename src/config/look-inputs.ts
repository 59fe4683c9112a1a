import { hostInputs } from './host-inputs.ts';
import type { Inputs } from './input.ts';
import { verifyInputs } from './verify-inputs.ts';

/** Of a look there is nothing to lock and nothing to rehearse. */
const { 'dry-run': _dryRun, 'lock-timeout': _lockTimeout, ...looking } = hostInputs;

/** Of commands that only look: `celeriac releases`, `celeriac logs`. */
export const lookInputs = { ...looking, unit: verifyInputs.unit } as const satisfies Inputs;

/** Of `celeriac status`: what verify checks, without what it sends and without the tables of jobs. */
export const statusInputs = {
  ...lookInputs,
  'http-probes': verifyInputs['http-probes'],
  'swap-size': verifyInputs['swap-size'],
  concurrency: verifyInputs.concurrency,
  'memory-max': verifyInputs['memory-max'],
  'memory-high': verifyInputs['memory-high'],
  'max-429': verifyInputs['max-429'],
  'rate-limit-max': verifyInputs['rate-limit-max'],
  'max-errors': verifyInputs['max-errors'],
  'max-restarts': verifyInputs['max-restarts'],
  'soak-hours': verifyInputs['soak-hours'],
  'failure-limit': verifyInputs['failure-limit'],
  consecutive: verifyInputs.consecutive,
} as const satisfies Inputs;

/** What a look takes the other inputs to be. */
export const lookValues: Readonly<Record<string, string>> = { gate: 'none', 'dry-run': 'true' };
