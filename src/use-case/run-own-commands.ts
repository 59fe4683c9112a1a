import type { AppProcess } from '../celery/app-process.ts';
import type { VerifyDesired } from '../config/verify-desired.ts';
import { HostError } from '../model/errors.ts';
import type { OwnCommand } from '../model/own-check.ts';
import type { Agent, OnProgress } from '../ports/agent.ts';
import { ownCommands } from '../verify/checks/own.ts';
import type { OwnCommandResult } from '../verify/evidence.ts';

interface Ports {
  readonly agent: Pick<Agent, 'look'>;
  readonly onProgress: OnProgress;
}

/**
 * Runs the commands among the user's checks, one after the other; none in a dry run, as nobody knows
 * what they do.
 *
 * @returns by the name of the check
 */
export async function runOwnCommands(
  ports: Ports,
  { ownChecks, dryRun, unit }: Pick<VerifyDesired, 'ownChecks' | 'dryRun' | 'unit'>,
  app: AppProcess,
): Promise<ReadonlyMap<string, OwnCommandResult>> {
  const results = new Map<string, OwnCommandResult>();
  for (const check of ownCommands(ownChecks)) {
    const result = dryRun
      ? ({ kind: 'not-run', why: 'dry run' } as const)
      : await runCommand(ports, check, unit, app);
    results.set(check.name, result);
  }
  return results;
}

/** A command that the host refuses to run says nothing about the app. */
async function runCommand(
  { agent, onProgress }: Ports,
  { name, argv, timeoutSeconds }: OwnCommand,
  unit: string,
  app: AppProcess,
): Promise<OwnCommandResult> {
  if (app.kind !== 'known') {
    return { kind: 'not-run', why: 'the unit does not show the Python of its worker' };
  }
  onProgress({ kind: 'note', message: `check: ${name}` });
  const { interpreter } = app.process;
  try {
    const query = { command: { unit, interpreter, argv, timeoutSeconds } };
    return { kind: 'ran', fact: (await agent.look(query)).command };
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return { kind: 'not-run', why: error.message };
  }
}
