import { hostname } from 'node:os';
import type { AgentOptions } from '../adapters/agent/agent-options.ts';
import type { OnNote } from '../adapters/ssh/ssh-session.ts';
import type { CleanupValues } from '../config/action-inputs.ts';
import { cleanUpDesired } from '../config/cleanup-inputs.ts';
import { readInputs } from '../config/read-inputs.ts';
import type { TransactionMeta } from '../model/outcome.ts';
import type { Agent } from '../ports/agent.ts';
import { type CleanedUp, cleanUpJobs } from '../use-case/clean-up-jobs.ts';
import { restoreJobs } from '../use-case/restore-jobs.ts';
import { connectionOf, givenBy, type Person } from './connection.ts';
import { type ExitCode, exitCodes } from './exit-code.ts';
import { inputsFor, parseFlags } from './flags.ts';
import type { Terminal } from './terminal.ts';
import { TerminalRun } from './terminal-run.ts';

/** Everything that a command needs from outside. */
export interface CommandTools {
  readonly terminal: Terminal;
  /** Closes the connection; work that has begun on the host continues there. */
  readonly interrupted: AbortSignal;
  readonly person: Person;
  readonly openAgent: (options: AgentOptions, onNote: OnNote) => Promise<Agent>;
}

/**
 * `celeriac cleanup`: finds stuck jobs, shows them and, unless this is a dry run, repairs them.
 *
 * @throws ConfigError, HostError; any error once it was interrupted
 */
export async function cleanUp(words: readonly string[], tools: CommandTools): Promise<ExitCode> {
  const { terminal, interrupted, person } = tools;
  const flags = parseFlags(words);
  const values = readInputs(inputsFor(flags.has('host')), givenBy(flags), new Map());
  const inputs = values as unknown as CleanupValues;
  const holder = `${person.name}@${hostname()}`;
  const desired = cleanUpDesired(inputs, holder);
  await using agent = await open(connectionOf(flags, inputs, person), tools);
  interrupted.addEventListener('abort', () => void agent.close());
  const run = new TerminalRun({
    terminal,
    meta: metaOf(inputs, holder, person),
    dryRun: desired.dryRun,
    json: flags.has('json'),
    interrupted,
  });
  if (inputs.restore !== '') {
    await restoreJobs(run, agent, inputs.restore, desired);
    return desired.dryRun ? exitCodes.found : exitCodes.done;
  }
  return judge(await cleanUpJobs(run, agent, desired));
}

/** Interrupting a slow login takes effect at once. */
async function open(options: AgentOptions, tools: CommandTools): Promise<Agent> {
  const { terminal, interrupted } = tools;
  interrupted.throwIfAborted();
  const opening = tools.openAgent(options, terminal.note);
  const aborted = new Promise<never>((_, reject) => {
    interrupted.addEventListener('abort', () => reject(interrupted.reason), { once: true });
  });
  try {
    return await Promise.race([opening, aborted]);
  } catch (error) {
    opening.then(
      (agent) => agent.close(),
      () => {},
    );
    throw error;
  }
}

function judge({ outcome, found, skipped }: CleanedUp): ExitCode {
  if (outcome === null) return found > 0 ? exitCodes.found : exitCodes.done;
  return skipped.length > 0 ? exitCodes.left : exitCodes.done;
}

const metaOf = (inputs: CleanupValues, holder: string, person: Person): TransactionMeta => ({
  action: 'cleanup',
  holder,
  sha: '',
  actor: person.name,
  lockTimeoutSeconds: inputs['lock-timeout'],
});
