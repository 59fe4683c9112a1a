import type { SoakThresholds, SoakWish } from '../model/soak.ts';
import { seconds } from '../model/units.ts';
import { choiceInput, hoursInput, maybeIntegerInput, type ValuesOf } from './input.ts';

/** The longest: the host keeps eight days of samples. */
const longestHours = 168;

/** Also of deploy-worker: no samples without a soak. */
export const soakHours = hoursInput(
  {
    description:
      'How many hours a release must run without failure before it is proven; during this time the host records every minute how the worker is doing. The host remembers the hours of the deploy; a later run can only ask for more. `168`: a week. `0`: no soak, no samples.',
    fallback: '24',
  },
  { min: 0, max: longestHours },
);

/** @param unset what counts if the input is not set; `usual` where nothing is remembered */
const failureInputsFor = (unset: (usual: number) => string) => ({
  'failure-limit': maybeIntegerInput(
    {
      description: `With a soak: total number of failing minutes allowed. In a failing minute, the unit failed or did not come back, systemd restarted it, the kernel killed one of its processes, it used all of its \`MemoryMax\` itself, its queues grew while it ran no task, a disk became full, or its journal had more HTTP 429 responses (\`rate-limit-max\`) or errors (\`max-errors\`) than allowed per minute. ${unset(0)}`,
    },
    { min: 0, max: 10_080 },
  ),
  consecutive: maybeIntegerInput(
    {
      description: `With a soak: this many failing minutes in a row fail the release, whatever \`failure-limit\` allows. \`0\`: any number. ${unset(3)}`,
    },
    { min: 0, max: 10_080 },
  ),
});

/** Of a run that judges. */
const failureInputs = failureInputsFor(
  (usual) =>
    `The host remembers the value of the deploy; a later run can only be stricter. If not set: the value that the host remembers, or \`${usual}\`.`,
);

/** Of deploy-worker, whose values the host remembers, also if they are laxer than those before. */
export const deployFailureInputs = failureInputsFor(
  (usual) =>
    `The host remembers it with the release; a later run of verify can only be stricter. If not set: \`${usual}\`, whatever an earlier deploy said.`,
);

/** The same, of one minute of the journal; of a gate, they are about the time since the release. */
export const journalInputs = {
  'rate-limit-max': maybeIntegerInput(
    {
      description:
        "HTTP 429 responses per minute allowed in the worker's journal: for a gate, in the busiest minute since the release; for a soak, in each minute. For the soak, the host remembers whether the deploy set a number, and which. If not set, only `max-429` counts, and a soak only mentions the responses unless the host remembers a number.",
    },
    { min: 0, max: 1_000_000 },
  ),
  'max-errors': maybeIntegerInput(
    {
      description:
        "Errors allowed in the worker's journal: for a gate, since the release; for a soak, in each minute. For the soak, the host remembers whether the deploy set a number, and which. If not set, errors are a warning, unless the host remembers a number for the soak.",
    },
    { min: 0, max: 1_000_000 },
  ),
} as const;

/** What a soak is judged by. */
export const soakInputs = {
  'soak-hours': soakHours,
  ...failureInputs,
  'soak-failure': choiceInput(
    {
      description:
        'With a soak: what to do if a release failed. `report`: only report it. `rollback`: roll back to the last proven release, if this run found the failure or if it was recorded in the last 3 hours.',
      fallback: 'report',
    },
    ['report', 'rollback'],
  ),
} as const;

/** How a release is proven. */
export interface SoakDesired {
  /** With its suffix: `celery-worker.service`. */
  readonly unit: string;
  readonly limits: SoakWish;
  readonly onFailure: 'report' | 'rollback';
}

type LimitValues = ValuesOf<typeof failureInputs> & ValuesOf<typeof journalInputs>;

/** The inputs of a soak, in the action and on the command line. */
export type SoakValues = ValuesOf<typeof soakInputs> &
  LimitValues & {
    readonly unit: string;
  };

/** Of the limits that a verification has for the whole time since the release, those of a minute. */
export const readSoakDesired = (inputs: SoakValues): SoakDesired => ({
  unit: inputs.unit,
  limits: {
    wanted: seconds(inputs['soak-hours'] * 3600),
    ...readLimits(inputs),
  },
  onFailure: inputs['soak-failure'],
});

const readLimits = (inputs: LimitValues): Omit<SoakWish, 'wanted'> => ({
  failureLimit: inputs['failure-limit'].value,
  consecutive: inputs.consecutive.value,
  rateLimitMax: inputs['rate-limit-max'].value,
  errorRateMax: inputs['max-errors'].value,
});

/** Where neither the deploy nor the run says it. */
export const usualLimits: SoakThresholds = {
  failureLimit: 0,
  consecutive: 3,
  rateLimitMax: null,
  errorRateMax: null,
};

/** What a deploy has the host remember. */
export function recordedLimits(inputs: LimitValues): SoakThresholds {
  const asked = readLimits(inputs);
  return {
    ...asked,
    failureLimit: asked.failureLimit ?? usualLimits.failureLimit,
    consecutive: asked.consecutive ?? usualLimits.consecutive,
  };
}
