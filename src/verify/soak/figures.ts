import type { Sample } from '../../model/sample.ts';
import type { SoakFigures } from '../../model/soak.ts';
import { median } from './leak.ts';
import {
  countRestarts,
  elapsed,
  isSameRun,
  longestMinute,
  rise,
  waitingMessages,
} from './minute.ts';

/** What a soak measures; the ledger keeps them under these names. */
export type FigureName =
  | 'hours'
  | 'memoryMedianBytes'
  | 'memoryPeakBytes'
  | 'mainMedianBytes'
  | 'childrenMedianBytes'
  | 'swapPeakBytes'
  | 'oomKills'
  | 'restarts'
  | 'rateLimitedPerHour'
  | 'errorsPerHour'
  | 'tracebacksPerHour'
  | 'tasksPerHour'
  | 'longestQueue'
  | 'latencySeconds'
  | 'errorSignatures'
  | 'oldestJobSeconds';

/** What only a verification of the gate, the journal and the jobs can tell; absent: not known. */
export type FiguresBesides = Partial<
  Record<'latencySeconds' | 'errorSignatures' | 'oldestJobSeconds', number | null>
>;

/**
 * What the samples of a release say of it in numbers; `null`: not known in any minute.
 *
 * @param samples in the host's order
 */
export function figuresOf(samples: readonly Sample[], besides: FiguresBesides = {}): SoakFigures {
  const steps = samples.slice(1).map((sample, index) => ({
    before: samples[index] as Sample,
    sample,
  }));
  const covered = steps.filter(({ before, sample }) => elapsed(before, sample) <= longestMinute);
  const hours =
    covered.reduce((sum, { before, sample }) => sum + elapsed(before, sample), 0) / 3600;
  const memory = (of: (memory: NonNullable<Sample['memory']>) => number | null) =>
    known(samples.map((sample) => (sample.memory === null ? null : of(sample.memory))));
  const logged = (of: (journal: NonNullable<Sample['journal']>) => number) =>
    perHour(
      known(covered.map(({ sample }) => (sample.journal === null ? null : of(sample.journal)))),
      hours,
    );
  const figures: Record<FigureName, number | null> = {
    hours: rounded(hours),
    memoryMedianBytes: middle(memory(({ current }) => current)),
    memoryPeakBytes: highest(memory(({ current }) => current)),
    mainMedianBytes: middle(memory(({ main }) => main)),
    childrenMedianBytes: middle(memory(({ children }) => children)),
    swapPeakBytes: highest(memory(({ swap }) => swap)),
    oomKills: total(known(steps.map(oomKills))),
    restarts: total(
      known(
        steps.map(({ before, sample }) =>
          before.unit === null || sample.unit === null ? null : countRestarts(before, sample),
        ),
      ),
    ),
    rateLimitedPerHour: logged(({ rateLimited }) => rateLimited),
    errorsPerHour: logged(({ errors }) => errors),
    tracebacksPerHour: logged(({ tracebacks }) => tracebacks),
    tasksPerHour: perHour(known(covered.map(processed)), hours),
    longestQueue: highest(known(samples.map(waitingMessages))),
    latencySeconds: besides.latencySeconds ?? null,
    errorSignatures: besides.errorSignatures ?? null,
    oldestJobSeconds: besides.oldestJobSeconds ?? null,
  };
  return figures;
}

interface Step {
  readonly before: Sample;
  readonly sample: Sample;
}

function oomKills({ before, sample }: Step): number | null {
  if (before.events === null || sample.events === null) return null;
  return rise(before.events.oomKill, sample.events.oomKill, isSameRun(before, sample));
}

function processed({ before, sample }: Step): number | null {
  const [from, to] = [before.worker?.processed ?? null, sample.worker?.processed ?? null];
  return from === null || to === null ? null : rise(from, to, isSameRun(before, sample));
}

const known = (values: readonly (number | null)[]): readonly number[] =>
  values.filter((value) => value !== null);

const total = (values: readonly number[]): number | null =>
  values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0);

const middle = (values: readonly number[]): number | null =>
  values.length === 0 ? null : Math.round(median(values));

// Not by spreading: a week has more samples than a call may have arguments on some engines.
const highest = (values: readonly number[]): number | null =>
  values.length === 0 ? null : values.reduce((most, value) => Math.max(most, value));

function perHour(values: readonly number[], hours: number): number | null {
  const sum = total(values);
  return sum === null || hours === 0 ? null : rounded(sum / hours);
}

const rounded = (value: number): number => Math.round(value * 100) / 100;
