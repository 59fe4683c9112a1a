import type { ActionName } from './action-inputs.ts';
import { manifests } from './action-manifests.ts';
import type { Inputs } from './input.ts';
import { wishesOfDeploy } from './wishes-of-deploy.ts';

type StepAction = ActionName | 'check-inputs';

/** A step of the whole pipeline: one of the actions, with inputs of the same names. */
export interface PipelineStep {
  readonly id: string;
  readonly name: string;
  readonly action: StepAction;
  /** When it runs; empty: when nothing before it has failed. */
  readonly condition: string;
  /** Of the action, by name: the expression for each. */
  readonly with: Readonly<Record<string, string>>;
}

/** What the gate is not told as the other actions are. */
const own: Readonly<Record<string, string>> = {
  // A soak would confirm no release, whatever the fleet file says.
  'verify.mode': "'checks'",
};

/** Of a soak, which is no part of a deploy. */
const notOfPipeline: ReadonlySet<string> = new Set(['mode', 'soak-failure', 'soak', 'soak-report']);

const gateFailed =
  "always() && steps.worker.outputs.transaction != '' && steps.gate.outcome != 'success'";

/** As a deploy has them: the repair of jobs fails the run, but only the gate judges the worker. */
export const pipelineSteps: readonly PipelineStep[] = [
  // What is wrong for the gate would otherwise be said once the worker is deployed.
  step('inputs', 'Inputs', 'check-inputs'),
  step('swap', 'Swap', 'provision'),
  step('worker', 'Worker', 'deploy-worker'),
  step('jobs', 'Stuck jobs', 'cleanup'),
  step(
    'gate',
    'Gate',
    'verify',
    "!cancelled() && inputs.dry-run != 'true' && steps.worker.outcome == 'success'",
  ),
  {
    ...step('back', 'Roll the worker back', 'deploy-worker', gateFailed),
    // Another run may have deployed meanwhile: then its gate judges, and nothing is undone beneath it.
    with: {
      ...hostValues(),
      'roll-back': "format('newest:{0}', steps.worker.outputs.transaction)",
    },
  },
];

/** Of each of the actions, once; described as the first that has it describes it. */
export const pipelineInputs: Inputs = withoutSoak(
  Object.assign({}, ...pipelineSteps.map(({ action }) => manifests[action].inputs).reverse()),
);

/** The outputs of the actions: of the same name, those of deploy-worker. */
export const pipelineOutputs: Readonly<Record<string, readonly [what: string, value: string]>> = {
  ...outputsOf('swap', 'provision'),
  ...outputsOf('jobs', 'cleanup'),
  ...withoutSoak(outputsOf('gate', 'verify')),
  ...outputsOf('worker', 'deploy-worker'),
  'rolled-back': [
    'Result of the rollback after a failed gate: `success` or `failure`; `skipped` or empty if there was none.',
    'steps.back.outcome',
  ],
  changed: [
    '`true` if anything on the host was changed.',
    "steps.swap.outputs.changed == 'true' || steps.worker.outputs.changed == 'true' || steps.jobs.outputs.changed == 'true'",
  ],
};

function step(id: string, name: string, action: StepAction, condition = ''): PipelineStep {
  const names = Object.keys(manifests[action].inputs).filter(
    (each) => each !== 'soak-failure' && !(action === 'verify' && wishesOfDeploy.has(each)),
  );
  const values = names.map((each) => [each, own[`${action}.${each}`] ?? `inputs.${each}`] as const);
  return { id, name, action, condition, with: Object.fromEntries(values) };
}

function withoutSoak<Value>(of: Readonly<Record<string, Value>>): Readonly<Record<string, Value>> {
  return Object.fromEntries(Object.entries(of).filter(([name]) => !notOfPipeline.has(name)));
}

/** What a rollback needs to know, and whom to tell if it fails. */
function hostValues(): Readonly<Record<string, string>> {
  const names = Object.keys(manifests.provision.inputs).filter((name) => !name.startsWith('swap'));
  return Object.fromEntries([...names, 'unit'].map((name) => [name, `inputs.${name}`]));
}

function outputsOf(id: string, action: ActionName): Record<string, readonly [string, string]> {
  const { outputs } = manifests[action];
  return Object.fromEntries(
    Object.entries(outputs).map(([name, what]) => [name, [what, `steps.${id}.outputs.${name}`]]),
  );
}
