import type { Sha256 } from '../units.ts';
import type { Described } from './described.ts';

/** Adds a system user that only a key lets in; its home stays root's. */
export interface CreateUser extends Described {
  readonly op: 'create-user';
  readonly user: string;
  readonly home: string;
}

/** Removes a user that create-user added, and its empty home. */
export interface RemoveUser extends Described {
  readonly op: 'remove-user';
  readonly user: string;
}

/** Removes a folder if it is empty. */
export interface RemoveFolder extends Described {
  readonly op: 'remove-folder';
  readonly path: string;
}

/** Writes the agent that carries this out to the host, as a program (0755, root). */
export interface InstallAgent extends Described {
  readonly op: 'install-agent';
  readonly path: string;
  /** That of the agent, as planned for. */
  readonly version: string;
  /** The Python that runs it. */
  readonly python: string;
  readonly expects: Sha256 | null;
}

/** Writes a file of /etc/sudoers.d (0440), which visudo checks before and after. */
export interface InstallSudoers extends Described {
  readonly op: 'install-sudoers';
  readonly path: string;
  readonly text: string;
  readonly expects: Sha256 | null;
}

/** Starts the installed agent as its user will, and checks its hello. Changes nothing. */
export interface ProveAgent extends Described {
  readonly op: 'prove-agent';
  readonly user: string;
  readonly path: string;
  readonly version: string;
  readonly access: 'change' | 'read';
}
