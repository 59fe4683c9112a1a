import { ConfigError } from '../model/errors.ts';

/** What the exit code of a command says; documented in cli/README.md. */
export const exitCodes = {
  /** Nothing to repair, or all of it repaired. */
  done: 0,
  /** The host could not be reached, or would not; the transaction was undone. */
  host: 1,
  /** What was asked for is wrong. */
  usage: 2,
  /** A dry run found something to repair. */
  found: 3,
  /** Some rows were left alone: they had changed meanwhile, or live. */
  left: 4,
  /** Ctrl+C. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

export const exitCodeOf = (error: unknown): ExitCode =>
  error instanceof ConfigError ? exitCodes.usage : exitCodes.host;
