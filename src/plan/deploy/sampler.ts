import type { DeployWorkerDesired } from '../../config/deploy-worker-desired.ts';
import type { Operation } from '../../model/operation.ts';
import { formatCount } from '../../model/quantities.ts';
import type { SamplingFact } from '../../model/sample.ts';
import { seconds } from '../../model/units.ts';
import { laxerLimits } from '../../verify/soak/limits.ts';

/** The system, and what the host itself writes. */
const usualPaths = ['/', '/var'];
/** As many as the host watches: a test compares. */
export const mostPaths = 20;

/**
 * Has the host sample a new release until that is proven, or no more if no soak is wanted.
 *
 * @param workingDirectory of the worker; empty: none
 * @param before whether the release before is sampled, and by which limits it is judged
 * @returns `null` if there is nothing to do
 */
export function planSampler(
  { unit, soakSeconds = seconds(0), soakLimits, readWritePaths, release }: DeployWorkerDesired,
  workingDirectory: string,
  before?: Pick<SamplingFact, 'sampling' | 'soakLimits'>,
): Operation | null {
  if (soakSeconds === 0) {
    const why = 'soak-hours is 0, so the samples of the previous release end, too';
    return before?.sampling === true
      ? { op: 'stop-sampler', unit, title: `stop sampling ${unit}`, why }
      : null;
  }
  const places = [...usualPaths, workingDirectory, ...placesOf(release), ...readWritePaths];
  const paths = [...new Set(places.filter((path) => path.startsWith('/')))].slice(0, mostPaths);
  const time = formatCount(soakSeconds / 3600, 'hour', 'hours');
  const laxer =
    soakLimits === undefined ? [] : laxerLimits(before?.soakLimits ?? soakLimits, soakLimits);
  const note =
    laxer.length === 0
      ? ''
      : `; its limits are laxer than those of the previous release: ${laxer.join(', ')}`;
  return {
    op: 'start-sampler',
    unit,
    paths,
    soakSeconds,
    ...(soakLimits !== undefined && { limits: soakLimits }),
    title: `sample ${unit} every minute`,
    why: `the release is proven after ${time} without failure, and the host remembers them${note}`,
  };
}

function placesOf(release: DeployWorkerDesired['release']): readonly string[] {
  return release?.from.source === 'upload' ? [release.from.deployTo] : [];
}
