import { hostname } from 'node:os';
import { cleanUpDesired } from '../config/cleanup-desired.ts';
import { type CleanupValues, cleanupInputs } from '../config/cleanup-inputs.ts';
import type { TransactionMeta } from '../model/outcome.ts';
import { type CleanedUp, cleanUpJobs } from '../use-case/clean-up-jobs.ts';
import { restoreJobs } from '../use-case/restore-jobs.ts';
import type { Command, CommandTools } from './command.ts';
import { connectionOf, type Person } from './connection.ts';
import { documented } from './documented.ts';
import { type ExitCode, exitCodes } from './exit-code.ts';
import { type GivenFlags, jsonFlag, placeFlags } from './flags.ts';
import { fleetFlag } from './fleet.ts';
import { openHost } from './open-host.ts';
import { type OwnValues, readOwn } from './own-values.ts';
import { RunDocument } from './run-document.ts';
import { TerminalRun } from './terminal-run.ts';

/** `celeriac cleanup`. */
export const cleanup: Command = {
  name: 'cleanup',
  summary:
    "Repairs stuck and orphaned jobs in the app's own tables, on this machine or on a host over SSH.",
  usage: '[--host H] [--database F] [flags]',
  about: [],
  inputs: cleanupInputs,
  own: [fleetFlag, ...placeFlags, jsonFlag],
  exits: {
    [exitCodes.done]: 'nothing to repair, or everything repaired',
    [exitCodes.host]: 'failed, and all changes were undone',
    [exitCodes.usage]: 'invalid usage',
    [exitCodes.found]: 'a dry run found something to repair',
    [exitCodes.left]: 'some rows were skipped',
    [exitCodes.interrupted]: 'interrupted',
  },
  refuse: () => {},
  run: cleanUp,
};

/**
 * Finds stuck jobs, shows them and, unless this is a dry run, repairs them.
 *
 * @throws ConfigError, HostError; any error once it was interrupted
 */
async function cleanUp(flags: GivenFlags, tools: CommandTools): Promise<ExitCode> {
  const { inputs, explain } = readOwn(flags, tools, {
    inputs: cleanupInputs,
    action: 'cleanup',
    changes: true,
  });
  try {
    return await repair(inputs, flags, tools, explain);
  } catch (error) {
    throw explain(error);
  }
}

async function repair(
  inputs: OwnValues<typeof cleanupInputs>['inputs'],
  flags: GivenFlags,
  tools: CommandTools,
  explain: OwnValues<typeof cleanupInputs>['explain'],
): Promise<ExitCode> {
  const { terminal, interrupted, person } = tools;
  const holder = `${person.name}@${hostname()}`;
  const desired = cleanUpDesired(inputs, holder);
  await using agent = await openHost(connectionOf(flags, inputs, person), tools);
  interrupted.addEventListener('abort', () => void agent.close());
  const json = flags.has('json');
  const host = flags.get('host') ?? hostname();
  const { dryRun } = desired;
  const isRestore = inputs.restore !== '';
  // A clean-up has a document of its own.
  const document =
    json && isRestore ? new RunDocument({ command: 'cleanup', host, dryRun }) : undefined;
  const run = new TerminalRun({
    terminal,
    meta: metaOf(inputs, holder, person),
    dryRun,
    json,
    ...(document !== undefined && { document }),
    interrupted,
  });
  const work = async (): Promise<ExitCode> => {
    if (!isRestore) return judge(await cleanUpJobs(run, agent, desired));
    await restoreJobs(run, agent, inputs.restore, desired);
    return dryRun ? exitCodes.found : exitCodes.done;
  };
  return await documented(run, interrupted, work, { explain });
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
