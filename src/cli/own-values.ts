import type { ActionName } from '../config/action-inputs.ts';
import type { Inputs, ValuesOf } from '../config/input.ts';
import { locateError, readInputs } from '../config/read-inputs.ts';
import type { CommandTools } from './command.ts';
import { givenBy } from './connection.ts';
import { type GivenFlags, inputsFor } from './flags.ts';
import { readFleet } from './fleet.ts';

interface Own<Set extends Inputs> {
  readonly inputs: Set;
  /** Whose section of the fleet file applies. */
  readonly action: ActionName;
  /** The command changes the host: then the file must be that of this host. */
  readonly changes: boolean;
  /** What the fleet file may set; absent: every input. */
  readonly flags?: Inputs;
  /** Values that the command sets itself: input → text. */
  readonly set?: Readonly<Record<string, string>>;
}

/** What the flags and the fleet file say for a command. */
export interface OwnValues<Set extends Inputs> {
  readonly inputs: ValuesOf<Set>;
  /** Makes an error about an input one that names the flag, or the line of the fleet file. */
  readonly explain: (error: unknown) => unknown;
}

/**
 * The values of a command that is not the run of an action: from its flags, then from the fleet file.
 *
 * @throws ConfigError for an invalid value, or when the file is that of another host
 */
export function readOwn<const Set extends Inputs>(
  flags: GivenFlags,
  tools: Pick<CommandTools, 'terminal'>,
  { inputs, action, changes, flags: known = inputs, set = {} }: Own<Set>,
): OwnValues<Set> {
  const read = readFleet(flags, action, tools, { changes });
  const fleet = new Map([...read].filter(([name]) => Object.hasOwn(known, name)));
  const byFlags = givenBy(flags);
  // What the file says has been read before.
  const own: Readonly<Record<string, string>> = { 'fleet-file': '', ...set };
  const given = (name: string): string => own[name] ?? byFlags(name);
  return {
    inputs: readInputs(inputsFor(inputs, flags.has('host')), given, fleet),
    explain: (error) => locateError(error, given, fleet),
  };
}
