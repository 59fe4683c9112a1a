import type { FleetValues } from '../config/fleet-file.ts';
import { readVerifyDesired } from '../config/verify-desired.ts';
import { wishesOfDeploy } from '../config/wishes-of-deploy.ts';
import { ConfigError, HostError } from '../model/errors.ts';
import { AnotherReleaseError } from '../plan/roll-back.ts';
import { renderFailure } from '../report/failure.ts';
import { deployWorker } from '../use-case/deploy-worker.ts';
import { rollBackTo } from '../use-case/roll-back.ts';
import { verifyOver, verifyWorker } from '../use-case/verify-worker.ts';
import type { CommandTools } from './command.ts';
import { type ExitCode, exitCodes } from './exit-code.ts';
import type { GivenFlags } from './flags.ts';
import type { RunDocument } from './run-document.ts';
import type { TerminalAction } from './terminal-action.ts';
import { prepareRun } from './work.ts';

type Deploy = TerminalAction<'deploy-worker'>;
type Gate = TerminalAction<'verify'>;

/**
 * The verification after a deploy, which its inputs would otherwise stop once the worker is deployed.
 *
 * @throws ConfigError when its inputs are invalid, or contradict each other
 */
export const prepareGate = (
  flags: GivenFlags,
  tools: CommandTools,
  fleet: FleetValues,
  document: RunDocument | undefined,
): Gate => {
  const others = new Map([...fleet].filter(([name]) => !wishesOfDeploy.has(name)));
  const set = { mode: 'checks', confirm: 'true' };
  const work = {
    command: 'deploy',
    action: 'verify',
    fleet: others,
    set,
    ignore: wishesOfDeploy,
    judge: readVerifyDesired,
  } as const;
  return prepareRun(flags, tools, work, document);
};

/**
 * Deploys, verifies over a fresh connection, and rolls back if the gate fails: as the pipeline does. Where
 * the worker was not changed (jobs may have been repaired), a fresh connection would prove no more than the
 * one that is there.
 *
 * @throws ConfigError, HostError; GateError when nothing had been deployed
 */
export async function deployAndVerify(
  run: Deploy,
  gate: Gate,
  { interrupted }: CommandTools,
): Promise<ExitCode> {
  const { plan, outcome } = await deployWorker(run, async (agent, deployed) => {
    if (deployed.outcome === null && !run.dryRun) {
      await verifyOver(agent, gate, { consumes: deployed.consumes });
    }
  });
  if (run.dryRun) return plan.operations.length > 0 ? exitCodes.found : exitCodes.done;
  if (outcome === null) return exitCodes.done;
  try {
    await verifyWorker(gate);
    return exitCodes.done;
  } catch (error) {
    // Whoever interrupts leaves the release to its timer, as the message says.
    if (interrupted.aborted) throw error;
    run.document?.fail(error);
    run.note(renderFailure(error, { action: 'verify', host: run.inputs.host }).message);
    await using agent = await run.openAgent();
    const { unit } = run.inputs;
    const folder = run.inputs['deploy-to'].path;
    const { transaction } = outcome;
    try {
      // Another run may have deployed meanwhile: then its gate judges.
      await rollBackTo(run, agent, { unit, target: `newest:${transaction}`, folder });
    } catch (refusal) {
      if (!(refusal instanceof ConfigError)) throw refusal;
      throw notRolledBack(refusal, transaction);
    }
    return exitCodes.back;
  }
}

/** Not an error of usage: those say that nothing was changed. */
function notRolledBack(cause: ConfigError, transaction: string): HostError {
  const isReplaced = cause instanceof AnotherReleaseError;
  return new HostError(
    `the release ${isReplaced ? 'was not' : 'could not be'} rolled back: ${cause.message}`,
    {
      step: `undo transaction ${transaction}`,
      next: isReplaced
        ? 'nothing has to be done here: the gate of the newer release decides about both; `celeriac releases` shows the end'
        : '`celeriac releases` and `celeriac status` show what runs now',
    },
    { cause },
  );
}
