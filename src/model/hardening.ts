import type { Sha256 } from './units.ts';

/** What hardened mode is made of, beside the files that `files` describes. */
export interface HardeningQuery {
  /** The users that keys log in as. */
  readonly users: readonly string[];
  /** Where the agent is installed. */
  readonly agent: string;
  /** Paths that, with all folders above them, root alone must be able to change. */
  readonly guarded: readonly string[];
  readonly folders: readonly string[];
  /** Whether to search the disks for what the users own, which takes a while. */
  readonly search: boolean;
}

export interface HardeningFact {
  /** The Python that runs this agent. */
  readonly python: string;
  /** Identifies the sources of this agent. */
  readonly version: string;
  readonly agent: InstalledAgent;
  /** `null`: there is no such user. */
  readonly accounts: Readonly<Record<string, AccountFact | null>>;
  /** `null`: not searched for. */
  readonly owned: Readonly<Record<string, OwnedPaths>> | null;
  /** sshd's settings for each user, in lower case; `null`: unknown. */
  readonly sshd: Readonly<Record<string, Readonly<Record<string, readonly string[]>> | null>>;
  readonly sudoers: {
    /** Whether sudo, and with it visudo, is installed. */
    readonly visudo: boolean;
    /** What `visudo -c` complains about now. */
    readonly problem: string | null;
  };
  /** Parts of the guarded paths that another user than root could change. */
  readonly loose: readonly {
    readonly path: string;
    readonly owner: string;
    readonly mode: string;
  }[];
  /** The names in each folder; `null`: there is no such folder. */
  readonly folders: Readonly<Record<string, readonly string[] | null>>;
}

export type InstalledAgent =
  | { readonly kind: 'absent' }
  | { readonly kind: 'symlink'; readonly target: string }
  | { readonly kind: 'other'; readonly what: string }
  | {
      readonly kind: 'agent';
      readonly sha256: Sha256;
      readonly mode: string;
      readonly owner: string;
      /** `null`: the file is something else. */
      readonly version: string | null;
      /** Whether it is this agent, run by this Python, for root alone to change. */
      readonly same: boolean;
    };

export interface AccountFact {
  readonly uid: number;
  readonly home: string;
  readonly shell: string;
  /** Groups beside its own. */
  readonly groups: readonly string[];
  /** Whether `create-user` made it. */
  readonly ours: boolean;
  readonly processes: number;
}

/** Paths on the disks of the host that a user owns; only the first ones. */
export interface OwnedPaths {
  readonly paths: readonly string[];
  /** False: the search ended early. */
  readonly whole: boolean;
}
