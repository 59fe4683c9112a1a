import { deployWorkerInputs } from '../config/deploy-worker-inputs.ts';
import { hostInputs } from '../config/host-inputs.ts';
import { patternInput } from '../config/input.ts';
import { ConfigError } from '../model/errors.ts';
import type { Agent } from '../ports/agent.ts';
import { rollBackTo } from '../use-case/roll-back.ts';
import type { Command, CommandTools } from './command.ts';
import { type ExitCode, exitCodes } from './exit-code.ts';
import { type GivenFlags, jsonFlag, placeFlags } from './flags.ts';
import { fleetFlag, readFleet } from './fleet.ts';
import { describeNext } from './next-command.ts';
import { workOnHost } from './work.ts';

const { 'roll-back': rollBackInput, unit, 'deploy-to': deployTo } = deployWorkerInputs;

const rollBackInputs = {
  ...hostInputs,
  unit: {
    ...unit,
    description: `${unit.description} If not set: the only one that Celeriac has deployed on the host, else celery-worker.service.`,
    fallback: '',
  },
  to: patternInput(
    {
      description:
        'The `previous` release, the release with this number (`0`: the state before Celeriac), or a `transaction` to undo.',
      fallback: 'previous',
    },
    rollBackInput.expected,
    /^(?:previous|[0-9]{1,6}|[0-9]{8}T[0-9]{6}-[0-9a-f]{4,16})$/,
  ),
  'deploy-to': deployTo,
} as const;

/** `celeriac rollback`. */
export const rollback: Command = {
  name: 'rollback',
  summary:
    'Rolls back a release, using only what the host remembers: the input roll-back of deploy-worker. `celeriac rollback --host H` is enough.',
  usage: '[--host H] [--to R] [--dry-run]',
  about: [],
  inputs: rollBackInputs,
  own: [fleetFlag, ...placeFlags, jsonFlag],
  exits: {
    [exitCodes.done]: 'rolled back',
    [exitCodes.host]: 'the host could not be reached, or not everything could be undone',
    [exitCodes.usage]: 'invalid usage, or there is nothing to roll back to; nothing was changed',
    [exitCodes.found]: 'a dry run: this would be undone',
    [exitCodes.interrupted]: 'interrupted; the message says in which state the host is',
  },
  refuse: () => {},
  run: goBack,
};

function goBack(flags: GivenFlags, tools: CommandTools): Promise<ExitCode> {
  const fleet = readFleet(flags, 'deploy-worker', tools, { changes: false });
  const to = (flags.get('to') ?? 'previous').trim();
  const { schema, expected } = rollBackInputs.to;
  if (!schema.safeParse(to).success) {
    throw new ConfigError('input to', `invalid \`to\`: "${to}"`, expected);
  }
  const isNamed = flags.has('unit') || fleet.has('unit');
  // What a deploy would do does not matter to the way back, and may contradict it.
  const own = new Set(['unit', 'deploy-to', 'lock-timeout']);
  return workOnHost(flags, tools, {
    command: 'rollback',
    action: 'deploy-worker',
    fleet: new Map([...fleet].filter(([name]) => own.has(name))),
    body: async (run) => {
      await using agent = await run.openAgent();
      const name = isNamed ? run.inputs.unit : await onlyUnit(agent, run.inputs.unit);
      run.note(`unit: ${name}`);
      const folder = run.inputs['deploy-to'].path;
      await rollBackTo(run, agent, { unit: name, target: to, folder });
      if (run.dryRun) return exitCodes.found;
      run.note(`next: ${describeNext('status', flags, name)} shows what runs now`);
      return exitCodes.done;
    },
  });
}

/**
 * The unit that Celeriac has deployed on the host.
 *
 * @param usual if there is none: the error is about this one
 * @throws ConfigError when there are several
 */
async function onlyUnit(agent: Agent, usual: string): Promise<string> {
  const { transactions } = await agent.look({ transactions: {} });
  const deployed = transactions.filter(({ action }) => action === 'deploy-worker');
  const units = [...new Set(deployed.flatMap(({ unit }) => unit ?? []))];
  const [first = usual] = units;
  if (units.length < 2) return first;
  const problem = `Celeriac has deployed several units on this host: ${units.join(', ')}`;
  throw new ConfigError('input unit', problem, 'one of them as `--unit`');
}
