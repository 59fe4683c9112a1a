import { hostname } from 'node:os';
import { soakCommandInputs } from '../config/action-inputs.ts';
import { readInputs } from '../config/read-inputs.ts';
import { readSoakDesired } from '../config/soak-inputs.ts';
import { soakRelease } from '../use-case/soak-release.ts';
import type { Command, CommandTools } from './command.ts';
import { connectionOf, givenBy } from './connection.ts';
import { type ExitCode, exitCodes } from './exit-code.ts';
import { type GivenFlags, inputsFor, jsonFlag, placeFlags } from './flags.ts';
import { openHost } from './open-host.ts';
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
  own: [...placeFlags, jsonFlag],
  exits: {
    [exitCodes.done]: 'proven, or not yet',
    [exitCodes.host]: 'the host could not be reached, or a rollback was incomplete',
    [exitCodes.usage]: 'invalid usage',
    [exitCodes.found]: 'the release failed',
    [exitCodes.interrupted]: 'interrupted',
  },
  refuse: () => {},
  run: judge,
};

async function judge(flags: GivenFlags, tools: CommandTools): Promise<ExitCode> {
  const { terminal, interrupted, person } = tools;
  const set = inputsFor(soakCommandInputs, flags.has('host'));
  const inputs = readInputs(set, givenBy(flags), new Map());
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
  const { state } = await standingBy(run, interrupted, () =>
    soakRelease(run, agent, readSoakDesired(inputs), async () => ({
      why: '`celeriac soak` does not read the tables of the app',
    })),
  );
  return state === 'failed' ? exitCodes.found : exitCodes.done;
}
