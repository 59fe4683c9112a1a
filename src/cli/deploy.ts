import { deployWorkerInputs } from '../config/deploy-worker-inputs.ts';
import { rolloutInputs } from '../config/rollout-inputs.ts';
import { deployWorker } from '../use-case/deploy-worker.ts';
import type { Command, CommandTools } from './command.ts';
import { commitHere, commitOf } from './commit.ts';
import { deployFleet, fleetFlags, refuseFleetFlags } from './deploy-fleet.ts';
import { type ExitCode, exitCodes } from './exit-code.ts';
import { type Flag, type GivenFlags, jsonFlag, placeFlags, refuseFlag } from './flags.ts';
import { fleetFlag, readFleet } from './fleet.ts';
import { deployAndVerify, prepareGate } from './gate.ts';
import { gateInputs } from './gate-flags.ts';
import { describeNext } from './next-command.ts';
import type { TerminalAction } from './terminal-action.ts';
import { workOnHost } from './work.ts';

const { 'roll-back': _rollBack, ...ownInputs } = deployWorkerInputs;

const verifyFlag: Flag = {
  name: 'verify',
  takes: '',
  fallback: '',
  description:
    'Then verify the release, and roll it back if it is not healthy. The flags of the gate (`--gate` and others) require it.',
  isSwitch: true,
};

/** `celeriac deploy`. */
export const deploy: Command = {
  name: 'deploy',
  summary:
    'Gives a worker a correct unit, its code and a restart that loses no task, or undoes everything: the same as the action deploy-worker.',
  usage: '[--host H | --fleet FILE [--hosts NAMES]] [--unit U] [--verify] [flags]',
  about: [
    'The release then awaits its verdict: unless `celeriac verify` confirms it within `--confirm-within`, the host rolls back by itself. `--verify` does both.',
    'With `--fleet`, the hosts of a file are deployed and verified, canaries first, by the rules of pipeline.yml: `--max-parallel` at the same time, until `--max-failures` have failed. After Ctrl+C, no further hosts start, and none is rolled back.',
    'With `--source`, the code comes from the Git repository in the current folder: `--commit`, or the commit that is checked out.',
  ],
  inputs: { ...ownInputs, ...gateInputs, ...rolloutInputs },
  own: [verifyFlag, ...fleetFlags, fleetFlag, ...placeFlags, jsonFlag],
  exits: {
    [exitCodes.done]: 'deployed, or nothing to do; with --verify: and healthy',
    [exitCodes.host]:
      'the host could not be reached, or the transaction failed and was undone; with --verify: or the release could not be rolled back',
    [exitCodes.usage]: 'invalid usage, or the unit does not allow it; nothing was changed',
    [exitCodes.found]:
      'a dry run found something to change, with --fleet on at least one host; with --verify: not healthy, and there was nothing to deploy',
    [exitCodes.back]: 'with --verify: not healthy, or not confirmed in time, and rolled back',
    [exitCodes.interrupted]: 'interrupted; the message says in which state the host is',
  },
  refuse: (given) => {
    refuseFleetFlags(given);
    if (given.get('verify') === 'true' || given.has('fleet')) return;
    const stray = Object.keys(gateInputs).find((name) => given.has(name));
    if (stray === undefined) return;
    refuseFlag(stray, `\`--${stray}\` requires \`--verify\``, '`--verify`, or neither of them');
  },
  run: deployIt,
};

async function deployIt(flags: GivenFlags, tools: CommandTools): Promise<ExitCode> {
  if (flags.has('fleet')) return deployFleet(flags, tools);
  const fleet = readFleet(flags, 'deploy-worker', tools, { changes: true });
  const sha = await commitOf(flags, fleet, () => commitHere(tools));
  const work = { command: 'deploy', action: 'deploy-worker', fleet, sha } as const;
  if (flags.get('verify') !== 'true') {
    return workOnHost(flags, tools, { ...work, body: (run) => deployAlone(run, flags) });
  }
  const gateFleet = readFleet(flags, 'verify', tools, { changes: true, quiet: true });
  return workOnHost(flags, tools, {
    ...work,
    body: async (run) => {
      // Before anything changes: its inputs may be invalid.
      const gate = prepareGate(flags, tools, gateFleet, run.document);
      return deployAndVerify(run, gate, tools);
    },
  });
}

async function deployAlone(
  run: TerminalAction<'deploy-worker'>,
  flags: GivenFlags,
): Promise<ExitCode> {
  const { plan, outcome } = await deployWorker(run);
  if (run.dryRun) return plan.operations.length > 0 ? exitCodes.found : exitCodes.done;
  if (outcome === null) return exitCodes.done;
  const { unit } = run.inputs;
  if (outcome.confirmBy !== undefined) {
    run.note(`next: ${describeNext('verify', flags, unit)}, which confirms the release`);
  }
  run.note(`to roll it back: ${describeNext('rollback', flags, unit)}`);
  return exitCodes.done;
}
