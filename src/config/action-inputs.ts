import { cleanupInputs } from './cleanup-inputs.ts';
import { deployWorkerInputs } from './deploy-worker-inputs.ts';
import type { HostValues } from './host-inputs.ts';
import type { ValuesOf } from './input.ts';
import { provisionInputs } from './provision-inputs.ts';
import { verifyInputs } from './verify-inputs.ts';
import { webhookInputs } from './webhook-inputs.ts';

/** Every action with its inputs; source of `action.yml`, the tables and the fleet file's keys. */
export const actions = {
  provision: { ...provisionInputs, ...webhookInputs },
  'deploy-worker': { ...deployWorkerInputs, ...webhookInputs },
  cleanup: { ...cleanupInputs, ...webhookInputs },
  verify: { ...verifyInputs, ...webhookInputs },
} as const;

export type ActionName = keyof typeof actions;

/** The values of the inputs that every action has. TypeScript does not follow that through `Name`. */
export const hostValuesOf = <Name extends ActionName>(
  inputs: ValuesOf<(typeof actions)[Name]>,
): HostValues => inputs as unknown as HostValues;
