import { type ActionName, actions } from './action-inputs.ts';
import { cleanUpDesired } from './cleanup-desired.ts';
import { deployWorkerDesired } from './deploy-worker-desired.ts';
import type { FleetValues } from './fleet-file.ts';
import type { Inputs, ValuesOf } from './input.ts';
import { provisionDesired } from './provision-desired.ts';
import { type Given, locateError, readInputs } from './read-inputs.ts';
import { readVerifyDesired } from './verify-desired.ts';

type Values<Name extends ActionName> = ValuesOf<(typeof actions)[Name]>;

/**
 * The desired state that each action makes of its inputs, before it connects: whatever the inputs alone
 * decide is refused there.
 */
const judges: { readonly [Name in ActionName]: (inputs: Values<Name>) => unknown } = {
  provision: provisionDesired,
  // A rollback takes what the host remembers: of the other inputs, nothing may stop it.
  'deploy-worker': (inputs) =>
    inputs['roll-back'] === '' ? deployWorkerDesired(inputs, '') : undefined,
  cleanup: (inputs) => cleanUpDesired(inputs, ''),
  verify: readVerifyDesired,
};

/**
 * Judges the inputs of an action as that action will: one by one, together, and the lists in them. Inputs
 * that are required, but that neither side sets, are left to the run, which alone knows its secrets.
 *
 * @throws ConfigError with the place in the fleet file, or the input, and what is expected
 */
export function judgeInputs<Name extends ActionName>(
  action: Name,
  given: Given,
  fleet: FleetValues,
): void {
  const all: Inputs = actions[action];
  const set = Object.entries(all).filter(
    ([name, { fallback }]) => fallback !== null || given(name) !== '' || fleet.has(name),
  );
  try {
    const inputs = readInputs(Object.fromEntries(set), given, fleet);
    // What an action requires is about its login, and decides nothing here.
    judges[action](inputs as unknown as Values<Name>);
  } catch (error) {
    throw locateError(error, given, fleet);
  }
}
