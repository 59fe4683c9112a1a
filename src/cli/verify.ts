import { verifyInputs } from '../config/verify-inputs.ts';
import { GateError } from '../model/errors.ts';
import { renderFailure } from '../report/failure.ts';
import { verifyWorker } from '../use-case/verify-worker.ts';
import type { Command, CommandTools } from './command.ts';
import { type ExitCode, exitCodes } from './exit-code.ts';
import { type GivenFlags, placeFlags, reportFlag } from './flags.ts';
import { fleetFlag, readFleet } from './fleet.ts';
import { workOnHost } from './work.ts';

/** `celeriac verify`. */
export const verify: Command = {
  name: 'verify',
  summary:
    'Checks a worker, sends probes through its real queues, and confirms the release that awaits its verdict: the same as the action.',
  usage: '[--host H] [--unit U] [flags]',
  about: ['`celeriac doctor` checks as well, but sends and confirms nothing.'],
  inputs: verifyInputs,
  own: [fleetFlag, ...placeFlags, reportFlag],
  exits: {
    [exitCodes.done]: 'healthy; a release that awaited its verdict is confirmed',
    [exitCodes.host]: 'the host could not be reached, or the release could no longer be confirmed',
    [exitCodes.usage]: 'invalid usage, or the unit does not exist',
    [exitCodes.found]: 'not healthy',
    [exitCodes.left]: 'inconclusive: a required check is unknown',
    [exitCodes.interrupted]:
      'interrupted; the message says whether a release may have been confirmed',
  },
  refuse: () => {},
  run: check,
};

function check(flags: GivenFlags, tools: CommandTools): Promise<ExitCode> {
  const fleet = readFleet(flags, 'verify', tools, { changes: flags.get('dry-run') !== 'true' });
  return workOnHost(flags, tools, {
    command: 'verify',
    action: 'verify',
    fleet,
    body: async (run) => {
      try {
        await verifyWorker(run);
        return exitCodes.done;
      } catch (error) {
        const isOpen = run.outputOf('verdict') === 'inconclusive';
        if (!(error instanceof GateError) || !isOpen) throw error;
        run.note(renderFailure(error, { action: 'verify', host: run.inputs.host }).message);
        return exitCodes.left;
      }
    },
    document: (run) => run.keptReport,
  });
}
