import { hostname } from 'node:os';
import { readSoakDesired } from '../config/soak-inputs.ts';
import { soakCommandInputs } from '../config/verify-inputs.ts';
import { soakRelease } from '../use-case/soak-release.ts';
import type { Command, CommandTools } from './command.ts';
import { connectionOf } from './connection.ts';
import { type ExitCode, exitCodes } from './exit-code.ts';
import { type GivenFlags, jsonFlag, placeFlags } from './flags.ts';
import { fleetFlag } from './fleet.ts';
import { requireUnit } from './look.ts';
import { openHost } from './open-host.ts';
import { readOwn } from './own-values.ts';
import { standingBy } from './standing.ts';
import { TerminalRun } from './terminal-run.ts';

/** `celeriac soak`. */
export const soak: Command = {
  name: 'soak',
  summary:
    'Evaluates the running release by what the host has recorded every minute, and records when it is proven, or failed: the same as the workflow.',
  usage: '[--host H] [--unit U] [flags]',
  about: [],
  inputs: soakCommandInputs,
  own: [fleetFlag, ...placeFlags, jsonFlag],
  exits: {
    [exitCodes.done]: 'proven, or not yet',
    [exitCodes.host]: 'the host could not be reached, or a rollback was incomplete',
    [exitCodes.usage]: 'invalid usage, or there is no such unit',
    [exitCodes.found]: 'the release failed',
    [exitCodes.interrupted]: 'interrupted',
  },
  refuse: () => {},
  run: judge,
};

async function judge(flags: GivenFlags, tools: CommandTools): Promise<ExitCode> {
  const { terminal, interrupted, person } = tools;
  const { inputs, explain } = readOwn(flags, tools, {
    inputs: soakCommandInputs,
    action: 'verify',
    changes: flags.get('dry-run') !== 'true',
  });
  await using agent = await openHost(connectionOf(flags, inputs, person), tools);
  interrupted.addEventListener('abort', () => void agent.close());
  const meta = {
    action: 'soak',
    holder: `${person.name}@${hostname()}`,
    sha: '',
    actor: person.name,
    lockTimeoutSeconds: inputs['lock-timeout'],
    unit: inputs.unit,
  };
  const dryRun = inputs['dry-run'];
  const run = new TerminalRun({ terminal, meta, dryRun, json: flags.has('json'), interrupted });
  const { state } = await standingBy(run, interrupted, async () => {
    const { unit } = inputs;
    const found = await agent.look({ releases: { unit }, unit: { name: unit } });
    if (found.releases.releases.length === 0) requireUnit(found.unit);
    return await soakRelease(run, agent, readSoakDesired(inputs), async () => ({
      why: '`celeriac soak` does not read the tables of the app',
    }));
  }).catch((error: unknown) => {
    throw explain(error);
  });
  return state === 'failed' ? exitCodes.found : exitCodes.done;
}
