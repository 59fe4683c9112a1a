import type { SharedPath } from '../model/operation.ts';
import type { CommitId } from '../model/release.ts';
import type { Seconds } from '../model/units.ts';

/** The code that a host is to have. Left out of what is desired: that is nobody's business here. */
export interface ReleaseDesired {
  readonly from: GitInPlace | UploadedReleases;
  /** `null`: the commit of the run. */
  readonly commit: CommitId | null;
  /** `null`: dependencies are left alone. */
  readonly dependencies: DependenciesDesired | null;
}

/** A git checkout on the host that goes from commit to commit. */
export interface GitInPlace {
  readonly source: 'git';
  /** `null`: the one that the unit's WorkingDirectory is in. */
  readonly checkout: string | null;
  readonly dirtyTree: 'refuse' | 'stash';
}

/** A folder for each release, and a link to the current one. */
export interface UploadedReleases {
  readonly source: 'upload';
  readonly deployTo: string;
  readonly shared: readonly SharedPath[];
  readonly keepReleases: number;
}

export interface DependenciesDesired {
  /** Inside the repository. */
  readonly file: string;
  readonly tool: 'pip' | 'uv';
  readonly timeoutSeconds: Seconds;
}
