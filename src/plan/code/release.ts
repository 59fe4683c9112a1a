import type { ReleaseDesired } from '../../config/release-desired.ts';
import type { CodeOffer, ReleaseFact } from '../../model/release.ts';
import { planGit } from './git-in-place.ts';
import { type ReleaseContext, type ReleasePlan, untouched } from './release-plan.ts';
import { planUpload } from './uploaded-releases.ts';

/**
 * What brings the code and its dependencies to the commit that is offered.
 *
 * @throws ConfigError when what is on the host does not suit the source, or must not be touched
 */
export function planRelease(
  fact: ReleaseFact | undefined,
  desired: ReleaseDesired | null | undefined,
  offer: CodeOffer | null,
  context: ReleaseContext,
): ReleasePlan {
  if (fact === undefined || desired === null || desired === undefined || offer === null) {
    return untouched;
  }
  return desired.from.source === 'git'
    ? planGit(fact, desired.from, offer, context)
    : planUpload(fact, desired.from, offer, context);
}
