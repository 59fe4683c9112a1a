import { hostname } from 'node:os';
import { type ActionName, actions } from '../config/action-inputs.ts';
import type { FleetValues } from '../config/fleet-file.ts';
import type { Inputs, ValuesOf } from '../config/input.ts';
import { type Given, locateError, readInputs } from '../config/read-inputs.ts';
import type { CommandTools } from './command.ts';
import { connectionOf, givenBy } from './connection.ts';
import { documented } from './documented.ts';
import type { ExitCode } from './exit-code.ts';
import { type GivenFlags, inputsFor } from './flags.ts';
import { openHost } from './open-host.ts';
import { RunDocument } from './run-document.ts';
import { TerminalAction } from './terminal-action.ts';

/** An action as a command: what it is called here, and what it does. */
export interface Work<Name extends ActionName> {
  /** `deploy`. */
  readonly command: string;
  /** Whose inputs it takes, and under whose name the host knows it. */
  readonly action: Name;
  /** What the fleet file says. */
  readonly fleet: FleetValues;
  /** The commit that is deployed, for the ledger; empty: none. */
  readonly sha?: string;
  /** Values that the command sets itself: input → text. */
  readonly set?: Readonly<Record<string, string>>;
  /** Flags that are not for this action: of several that a command runs, each has its own. */
  readonly ignore?: ReadonlySet<string>;
  /** Refuses what its inputs alone decide, where it only runs after another; absent: it does so itself. */
  readonly judge?: (inputs: ValuesOf<(typeof actions)[Name]>) => unknown;
  /** Whether the host may forget what this run tells of earlier ones; absent: yes. */
  readonly acknowledges?: boolean;
  readonly body: (run: TerminalAction<Name>) => Promise<ExitCode>;
  /** What `--json` prints instead of the document of a run; `null`: that. */
  readonly document?: (run: TerminalAction<Name>) => string | null;
}

/**
 * A run of an action for this command line.
 *
 * @param document shared by several runs of one command; absent: a new one, if `--json` asks for it
 * @throws ConfigError
 */
export function prepareRun<Name extends ActionName>(
  flags: GivenFlags,
  tools: CommandTools,
  work: Omit<Work<Name>, 'body' | 'document'>,
  document?: RunDocument,
): TerminalAction<Name> {
  const { terminal, interrupted, person } = tools;
  const given = givenFor(work, flags);
  const inputs = locating(given, work.fleet, () => {
    const values = readValues(work, flags, given);
    work.judge?.(values as unknown as ValuesOf<(typeof actions)[Name]>);
    return values;
  });
  const json = flags.get('json') === 'true';
  const dryRun = inputs['dry-run'];
  const host = flags.get('host') ?? hostname();
  const about = { command: work.command, host, dryRun };
  const kept = document ?? (json ? new RunDocument(about) : undefined);
  return new TerminalAction({
    terminal,
    action: work.action,
    inputs: { ...inputs, host } as unknown as ValuesOf<(typeof actions)[Name]>,
    meta: {
      action: work.action,
      holder: `${person.name}@${hostname()}`,
      sha: work.sha ?? '',
      actor: person.name,
      lockTimeoutSeconds: inputs['lock-timeout'],
    },
    dryRun,
    json,
    acknowledges: work.acknowledges ?? true,
    ...(kept !== undefined && { document: kept }),
    interrupted,
    connect: async (first) => {
      const agent = await openHost(connectionOf(flags, inputs, person), tools, first);
      interrupted.addEventListener('abort', () => void agent.close());
      return agent;
    },
  });
}

/**
 * Runs an action on a terminal: reads its inputs, connects, and prints what it did.
 *
 * @throws ConfigError, HostError, GateError; Interrupted once it was interrupted
 */
export async function workOnHost<Name extends ActionName>(
  flags: GivenFlags,
  tools: CommandTools,
  work: Work<Name>,
): Promise<ExitCode> {
  const run = prepareRun(flags, tools, work);
  return documented(run, tools.interrupted, () => work.body(run), {
    own: () => work.document?.(run) ?? null,
    explain: (error) => locateError(error, givenFor(work, flags), work.fleet),
  });
}

function givenFor(
  { set = {}, ignore }: Pick<Work<ActionName>, 'set' | 'ignore'>,
  flags: GivenFlags,
): Given {
  const byFlags = givenBy(flags);
  // What the file says has been read before.
  const own: Readonly<Record<string, string>> = { 'fleet-file': '', ...set };
  return (name) => own[name] ?? (ignore?.has(name) === true ? '' : byFlags(name));
}

function locating<Value>(given: Given, fleet: FleetValues, read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    throw locateError(error, given, fleet);
  }
}

/** Every action has these. */
type Common = ValuesOf<(typeof actions)['provision']>;

function readValues<Name extends ActionName>(
  { action, fleet }: Pick<Work<Name>, 'action' | 'fleet'>,
  flags: GivenFlags,
  given: (name: string) => string,
): Common {
  const set: Inputs = actions[action];
  return readInputs(inputsFor(set, flags.has('host')), given, fleet) as unknown as Common;
}
