import type { Bytes, Sha256 } from '../units.ts';
import type { Described } from './described.ts';

/** Replaces a file atomically, after a backup. Creates missing parent folders (0755). */
export interface WriteFile extends Described {
  readonly op: 'write-file';
  readonly path: string;
  readonly text: string;
  readonly mode: string;
  /** The file as planned for; `null`: absent. If it has changed since, the operation fails. */
  readonly expects: Sha256 | null;
}

export interface RemoveFile extends Described {
  readonly op: 'remove-file';
  readonly path: string;
  readonly expects: Sha256;
}

/** Sets the mode and owner of a regular file. */
export interface SetMode extends Described {
  readonly op: 'set-mode';
  readonly path: string;
  readonly mode: string;
  readonly owner: string;
}

/** Creates a swap file without holes, mode 600, formatted by mkswap; never changes active swap. */
export interface MakeSwap extends Described, SwapFileMaking {
  readonly op: 'make-swap';
  readonly path: string;
  readonly sizeBytes: Bytes;
  /** The type of the file system as planned for; on any other the operation fails. */
  readonly filesystem: string;
}

/** How to create a file without holes on a type of file system. */
export interface SwapFileMaking {
  /** `allocate`: fallocate, or writing zeros if that fails; `write`: writing zeros. */
  readonly fill: 'allocate' | 'write';
  /** Disables copy-on-write for the file while it is empty. */
  readonly nocow: boolean;
}

export interface SwapOn extends Described {
  readonly op: 'swap-on';
  readonly path: string;
}

export interface SwapOff extends Described {
  readonly op: 'swap-off';
  readonly path: string;
}

export interface SetSysctl extends Described {
  readonly op: 'set-sysctl';
  readonly name: string;
  readonly value: string;
}
