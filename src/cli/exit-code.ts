import { ConfigError } from '../model/errors.ts';

/** Exit codes of a command; documented in cli/README.md. */
export const exitCodes = {
  /** Nothing to repair, or everything repaired. */
  done: 0,
  /** The host could not be reached, or the transaction failed and was undone. */
  host: 1,
  /** Invalid usage. */
  usage: 2,
  /** A dry run found something to repair. */
  found: 3,
  /** Some rows were skipped: they changed in the meantime, or are still running. */
  left: 4,
  /** Ctrl+C. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

export const exitCodeOf = (error: unknown): ExitCode =>
  error instanceof ConfigError ? exitCodes.usage : exitCodes.host;
