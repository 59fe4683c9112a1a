import { deployWorkerInputs } from '../config/deploy-worker-inputs.ts';
import type { Inputs } from '../config/input.ts';
import { verifyInputs } from '../config/verify-inputs.ts';
import { wishesOfDeploy } from '../config/wishes-of-deploy.ts';

/** Of verify, what is no part of a deploy: its gate always confirms, and its soak comes later. */
const notOfDeploy: ReadonlySet<string> = new Set(['mode', 'confirm', 'soak-failure']);

/** What `deploy --verify` takes besides the inputs of deploy: those of the gate alone. */
export const gateInputs: Inputs = Object.fromEntries(
  Object.entries(verifyInputs).filter(
    ([name]) =>
      !(name in deployWorkerInputs) && !notOfDeploy.has(name) && !wishesOfDeploy.has(name),
  ),
);
