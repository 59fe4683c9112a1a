import { provisionInputs } from '../config/provision-inputs.ts';
import { provisionHost } from '../use-case/provision-host.ts';
import type { Command, CommandTools } from './command.ts';
import { type ExitCode, exitCodes } from './exit-code.ts';
import { type GivenFlags, jsonFlag, placeFlags } from './flags.ts';
import { fleetFlag, readFleet } from './fleet.ts';
import { workOnHost } from './work.ts';

/** `celeriac provision`. */
export const provision: Command = {
  name: 'provision',
  summary:
    'Sets up swap: the file, the kernel, fstab and swappiness, from any state. The same as the action.',
  usage: '[--host H] [flags]',
  about: [],
  inputs: provisionInputs,
  own: [fleetFlag, ...placeFlags, jsonFlag],
  exits: {
    [exitCodes.done]: 'everything is as desired',
    [exitCodes.host]: 'the host could not be reached, or the transaction failed and was undone',
    [exitCodes.usage]: 'invalid usage; nothing was changed',
    [exitCodes.found]: 'a dry run found something to change',
    [exitCodes.left]: 'something is not as desired, and cannot be changed on this host',
    [exitCodes.interrupted]: 'interrupted; the message says in which state the host is',
  },
  refuse: () => {},
  run: setUp,
};

function setUp(flags: GivenFlags, tools: CommandTools): Promise<ExitCode> {
  const fleet = readFleet(flags, 'provision', tools, { changes: true });
  return workOnHost(flags, tools, {
    command: 'provision',
    action: 'provision',
    fleet,
    body: async (run) => {
      const plan = await provisionHost(run);
      if (run.dryRun && plan.operations.length > 0) return exitCodes.found;
      return (plan.unmet ?? []).length > 0 ? exitCodes.left : exitCodes.done;
    },
  });
}
