import type { Bytes } from '../model/units.ts';
import type { ValuesOf } from './input.ts';
import type { provisionInputs } from './provision-inputs.ts';

/** The desired swap of a host. */
export interface ProvisionDesired {
  readonly path: string;
  readonly sizeBytes: Bytes;
  /** `vm.swappiness`, 0 to 200. */
  readonly swappiness: number;
}

/** The desired state of provision; no two of its inputs can contradict each other. */
export const provisionDesired = (inputs: ValuesOf<typeof provisionInputs>): ProvisionDesired => ({
  path: inputs['swap-path'],
  sizeBytes: inputs['swap-size'],
  swappiness: inputs.swappiness,
});
