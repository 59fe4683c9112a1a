import type { ReleaseDesired } from '../../config/release-desired.ts';
import type { CodeOffer, ReleaseFact } from '../../model/release.ts';
import { planGit } from './git-in-place.ts';
import { type ReleaseContext, type ReleasePlan, untouched } from './release-plan.ts';
import { planUpload } from './uploaded-releases.ts';

/**
 * Plans how to bring the code and its dependencies to the offered commit.
 *
 * @throws ConfigError when the code on the host does not fit the source, or must not be changed
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
