import { hostname } from 'node:os';
import type { ValuesOf } from '../config/input.ts';
import { lookValues } from '../config/look-inputs.ts';
import { verifyInputs } from '../config/verify-inputs.ts';
import type { UnitFact } from '../model/facts/unit.ts';
import type { TransactionMeta } from '../model/outcome.ts';
import type { Agent } from '../ports/agent.ts';
import { escapeJson } from '../report/escape.ts';
import { requireFound } from '../systemd/unit-state.ts';
import type { CommandTools } from './command.ts';
import { connectionOf } from './connection.ts';
import { exitCodes } from './exit-code.ts';
import type { FlagSource, GivenFlags } from './flags.ts';
import { openHost } from './open-host.ts';
import { readOwn } from './own-values.ts';

/*
 * What the commands that only look have in common: `celeriac status`, `releases` and `logs`.
 */

export const lookExits = {
  [exitCodes.done]: 'done',
  [exitCodes.host]: 'the host could not be reached',
  [exitCodes.usage]: 'invalid usage, or the unit does not exist',
  [exitCodes.interrupted]: 'interrupted',
};

/** A host that is looked at. */
export interface Look {
  readonly agent: Agent;
  readonly inputs: ValuesOf<typeof verifyInputs>;
  /** As the user gave it, or the name of this machine. */
  readonly host: string;
  readonly meta: TransactionMeta;
  readonly secrets: readonly string[];
}

/**
 * Connects; whatever a command that looks has no flag for is as by default, whatever the fleet file says,
 * and nothing is sent.
 */
export async function lookWith<Value>(
  command: Pick<FlagSource, 'name' | 'inputs'>,
  flags: GivenFlags,
  tools: CommandTools,
  body: (look: Look) => Promise<Value>,
): Promise<Value> {
  const { interrupted, person } = tools;
  const { inputs, explain } = readOwn(flags, tools, {
    inputs: verifyInputs,
    action: 'verify',
    changes: false,
    flags: command.inputs,
    set: lookValues,
  });
  await using agent = await openHost(connectionOf(flags, inputs, person), tools);
  interrupted.addEventListener('abort', () => void agent.close());
  const host = flags.get('host') ?? hostname();
  const holder = `${person.name}@${hostname()}`;
  const meta = {
    action: command.name,
    holder,
    sha: '',
    actor: person.name,
    unit: inputs.unit,
    lockTimeoutSeconds: inputs['lock-timeout'],
  };
  const { 'ssh-key': key = '', 'ssh-key-passphrase': passphrase = '' } = inputs;
  const secrets = [key, passphrase].filter((secret) => secret !== '');
  try {
    return await body({ agent, inputs, host, meta, secrets });
  } catch (error) {
    throw explain(error);
  }
}

/**
 * Of a unit that Celeriac has no release of: it may have been removed since.
 *
 * @throws ConfigError when there is no such unit
 */
export const requireUnit = (unit: UnitFact): void =>
  requireFound(unit, 'input unit', 'the name of a systemd service that runs a Celery worker');

/** A document for programs: one line in a series of them. */
export const renderJson = (data: object, { isSeries = false } = {}): string =>
  `${escapeJson(JSON.stringify(data, null, isSeries ? 0 : 2))}\n`;
