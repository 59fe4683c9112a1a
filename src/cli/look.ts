import { hostname } from 'node:os';
import { verifyInputs } from '../config/action-inputs.ts';
import type { ValuesOf } from '../config/input.ts';
import { lookValues } from '../config/look-inputs.ts';
import { readInputs } from '../config/read-inputs.ts';
import type { TransactionMeta } from '../model/outcome.ts';
import type { Agent } from '../ports/agent.ts';
import { escapeJson } from '../report/escape.ts';
import type { CommandTools } from './command.ts';
import { connectionOf, givenBy } from './connection.ts';
import { exitCodes } from './exit-code.ts';
import { type GivenFlags, inputsFor } from './flags.ts';
import { openHost } from './open-host.ts';

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

/** Connects; whatever a command that looks has no flag for is as by default, and nothing is sent. */
export async function lookWith<Value>(
  name: string,
  flags: GivenFlags,
  tools: CommandTools,
  body: (look: Look) => Promise<Value>,
): Promise<Value> {
  const { interrupted, person } = tools;
  const given = givenBy(flags);
  const inputs = readInputs(
    inputsFor(verifyInputs, flags.has('host')),
    (input) => lookValues[input] ?? given(input),
    new Map(),
  );
  await using agent = await openHost(connectionOf(flags, inputs, person), tools);
  interrupted.addEventListener('abort', () => void agent.close());
  const host = flags.get('host') ?? hostname();
  const holder = `${person.name}@${hostname()}`;
  const meta = {
    action: name,
    holder,
    sha: '',
    actor: person.name,
    unit: inputs.unit,
    lockTimeoutSeconds: inputs['lock-timeout'],
  };
  const { 'ssh-key': key = '', 'ssh-key-passphrase': passphrase = '' } = inputs;
  const secrets = [key, passphrase].filter((secret) => secret !== '');
  return await body({ agent, inputs, host, meta, secrets });
}

/** A document for programs: one line in a series of them. */
export const renderJson = (data: object, { isSeries = false } = {}): string =>
  `${escapeJson(JSON.stringify(data, null, isSeries ? 0 : 2))}\n`;
