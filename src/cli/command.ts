import type { AgentOptions } from '../adapters/agent/agent-options.ts';
import type { OnNote } from '../adapters/ssh/ssh-session.ts';
import type { Agent } from '../ports/agent.ts';
import type { Person } from './connection.ts';
import type { ExitCode } from './exit-code.ts';
import type { FlagSource, GivenFlags } from './flags.ts';
import type { Terminal } from './terminal.ts';

/** Everything that a command needs from outside. */
export interface CommandTools {
  readonly terminal: Terminal;
  /** Closes the connection; work that has begun on the host continues there. */
  readonly interrupted: AbortSignal;
  readonly person: Person;
  readonly openAgent: (options: AgentOptions, onNote: OnNote) => Promise<Agent>;
}

/** One command of the terminal: `celeriac <name> [flags]`. */
export interface Command extends FlagSource {
  /** What it does, in one line. */
  readonly summary: string;
  /** The most important flags: `[--host H] [flags]`. */
  readonly usage: string;
  /** Further lines of its help. */
  readonly about: readonly string[];
  /** Its exit codes: code → meaning. */
  readonly exits: Readonly<Record<number, string>>;
  /** @throws ConfigError, HostError; any error once it was interrupted */
  readonly run: (given: GivenFlags, tools: CommandTools) => Promise<ExitCode>;
}
