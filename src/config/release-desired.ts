import type { SharedPath } from '../model/operation/code.ts';
import type { CommitId } from '../model/release.ts';
import type { Seconds } from '../model/units.ts';

/** The code that the host should run. */
export interface ReleaseDesired {
  readonly from: GitInPlace | UploadedReleases;
  /** `null`: the commit of the run. */
  readonly commit: CommitId | null;
  /** `null`: dependencies are not touched. */
  readonly dependencies: DependenciesDesired | null;
}

/** A Git checkout on the host that is moved from commit to commit. */
export interface GitInPlace {
  readonly source: 'git';
  /** `null`: the checkout that contains the unit's WorkingDirectory. */
  readonly checkout: string | null;
  readonly dirtyTree: 'refuse' | 'stash';
}

/** A code folder for each commit, and a link to the current one. */
export interface UploadedReleases {
  readonly source: 'upload';
  readonly deployTo: string;
  readonly shared: readonly SharedPath[];
  readonly keepReleases: number;
}

export interface DependenciesDesired {
  /** Path in the repository. */
  readonly file: string;
  readonly tool: 'pip' | 'uv';
  readonly timeoutSeconds: Seconds;
}
