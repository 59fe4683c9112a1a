import type { SoakLimits } from '../model/soak.ts';
import { seconds } from '../model/units.ts';
import { choiceInput, hoursInput, integerInput, type ValuesOf } from './input.ts';

/** The longest: the host keeps eight days of samples. */
const longestHours = 168;

/** Also of deploy-worker: no samples without a soak. */
export const soakHours = hoursInput(
  {
    description:
      'How many hours a release must run without failure until it is proven; meanwhile the host writes down every minute how the worker does. The host remembers the hours of the deploy; a later run can ask for more, and not for less. `168`: a week. `0`: no soak, no samples.',
    fallback: '24',
  },
  { min: 0, max: longestHours },
);

/** What a soak is judged by. */
export const soakInputs = {
  'soak-hours': soakHours,
  'failure-limit': integerInput(
    {
      description:
        'With a soak: failing minutes that are allowed in all. In a failing minute the unit failed or does not come back, systemd restarted it, the kernel killed a process of it, it used all of its `MemoryMax` itself, its queues grew while it ran no task, a disk became full, or its journal has more HTTP 429 responses (`rate-limit-max`) or errors (`max-errors`) than allowed in a minute.',
      fallback: '0',
    },
    { min: 0, max: 10_080 },
  ),
  consecutive: integerInput(
    {
      description:
        'With a soak: this many failing minutes in a row fail the release, whatever `failure-limit` allows. `0`: any number.',
      fallback: '3',
    },
    { min: 0, max: 10_080 },
  ),
  'soak-failure': choiceInput(
    {
      description:
        'With a soak: what to do with a release that failed. `report` it only, or `rollback` to the last proven one, if this run found the failure or it was recorded in the last 3 hours.',
      fallback: 'report',
    },
    ['report', 'rollback'],
  ),
} as const;

/** How a release is proven. */
export interface SoakDesired {
  /** With its suffix: `celery-worker.service`. */
  readonly unit: string;
  readonly limits: SoakLimits;
  readonly onFailure: 'report' | 'rollback';
}

/** The inputs of a soak, in the action and on the command line. */
export type SoakValues = ValuesOf<typeof soakInputs> & {
  readonly unit: string;
  readonly 'rate-limit-max': { readonly value: number | null };
  readonly 'max-errors': { readonly value: number | null };
};

/** Of the limits that a verification has for the whole time since the release, those of a minute. */
export const readSoakDesired = (inputs: SoakValues): SoakDesired => ({
  unit: inputs.unit,
  limits: {
    wanted: seconds(inputs['soak-hours'] * 3600),
    failureLimit: inputs['failure-limit'],
    consecutive: inputs.consecutive,
    rateLimitMax: inputs['rate-limit-max'].value,
    errorRateMax: inputs['max-errors'].value,
  },
  onFailure: inputs['soak-failure'],
});
