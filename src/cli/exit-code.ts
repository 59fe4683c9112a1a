import { ConfigError, GateError } from '../model/errors.ts';
import type { Report } from '../model/report.ts';

/** Exit codes of a command; documented in cli/README.md. */
export const exitCodes = {
  /** Done, or nothing to do; healthy. */
  done: 0,
  /** The host could not be reached, or the transaction failed and was undone. */
  host: 1,
  /** Invalid usage. */
  usage: 2,
  /** A dry run found something to do; a check failed. */
  found: 3,
  /** Something was left, or is not known: rows that were skipped, a verdict that is inconclusive. */
  left: 4,
  /** The release did not pass its gate, and the host is back at the one before. */
  back: 5,
  /** Ctrl+C. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

export const exitCodeOf = (error: unknown): ExitCode => {
  if (error instanceof ConfigError) return exitCodes.usage;
  return error instanceof GateError ? exitCodes.found : exitCodes.host;
};

/** The exit code of a look at a worker. */
export const codeOfReport = ({ verdict }: Pick<Report, 'verdict'>): ExitCode =>
  codes[verdict.conclusion];

const codes = {
  healthy: exitCodes.done,
  unhealthy: exitCodes.found,
  inconclusive: exitCodes.left,
} as const;
