import { existsSync, readFileSync } from 'node:fs';
import type { ActionName } from '../config/action-inputs.ts';
import { type Fleet, type FleetValues, fleetValues, parseFleet } from '../config/fleet-file.ts';
import { hostInputs, loginInputs } from '../config/host-inputs.ts';
import { ConfigError } from '../model/errors.ts';
import type { CommandTools } from './command.ts';
import { loginOf } from './connection.ts';
import { type Flag, type FlagSource, type GivenFlags, loginFlags, refuseFlag } from './flags.ts';
import { knowsHost } from './ssh-login.ts';

/** The file that the workflows read, too. */
export const fleetFlag: Flag = {
  name: 'fleet-file',
  takes: 'a path, or `none`',
  fallback: `${hostInputs['fleet-file'].fallback} if it exists`,
  description:
    'File with values that no flag sets, as in the workflows, and with the hosts that `--host` may name. The login is only taken from it for a host that is named.',
  isSwitch: false,
};

/** Of commands that take no values from it. */
export const hostNamesFlag: Flag = {
  ...fleetFlag,
  description:
    'File with the hosts that `--host` may name: their address, port and jump host. Nothing else is taken from it.',
};

interface ReadFleet {
  /** The command changes the host: then the file must be that of this host. */
  readonly changes: boolean;
  readonly quiet?: boolean;
  /** Read before; absent: the file that the flags name, if it exists. */
  readonly fleet?: Fleet | null;
}

/**
 * What the fleet file says for an action.
 *
 * @throws ConfigError with file, line and column; or when the file is that of another host
 */
export function readFleet(
  flags: GivenFlags,
  action: ActionName,
  { terminal }: Pick<CommandTools, 'terminal'>,
  { changes, quiet = false, fleet = openFleet(flags) }: ReadFleet,
): FleetValues {
  if (fleet === null) return new Map();
  const { path } = fleet;
  const known = hostsOf(fleet);
  requireHost(flags, path, known);
  const named = known.find(({ name }) => name !== '' && name === flags.get(namedHost));
  const meant = named === undefined ? known.filter((each) => isMeant(flags, each)) : [named];
  const [found] = meant;
  if (known.length > 0 && meant.length !== 1) {
    const given = flags.get('host') ?? '';
    // An address may be that of several: two units of one machine.
    const problem =
      found === undefined
        ? `${path} is for ${listOf(known)}, not for ${addressOf(loginOf(flags))}`
        : `in ${path}, ${given} is ${listOf(meant)}`;
    const expected =
      found === undefined ? 'one of these, or `--fleet-file none`' : 'one of these names';
    if (changes) refuseFlag('host', problem, expected);
    if (!quiet) terminal.note(`warning: ${problem}; its settings do not apply`);
    return new Map();
  }
  if (!quiet) terminal.note(`settings: ${path}`);
  const values = fleetValues(fleet, action, found?.name ?? '');
  // How to log in is a matter of the person at the terminal.
  return new Map([...values].filter(([name]) => !Object.hasOwn(loginInputs, name)));
}

/**
 * The flags with the address of a host that the fleet file knows by its name; `~/.ssh/config` may know
 * the name itself.
 *
 * @throws ConfigError for a fleet file that cannot be read
 */
export function withFleetHost(flags: GivenFlags, taken = reach): GivenFlags {
  const host = flags.get('host') ?? '';
  const fleet = host === '' ? null : openFleet(flags);
  const found = fleet?.hosts?.get(host);
  if (fleet === null || found === undefined || knowsHost(flags)) return flags;
  return flagsOfHost(flags, fleet, host, taken);
}

/** The flags, with what the fleet file says of the host, as far as the command takes it from there. */
export function withFleet({ own }: Pick<FlagSource, 'own'>, given: GivenFlags): GivenFlags {
  if (own.includes(fleetFlag)) return withFleetHost(given);
  return own.includes(hostNamesFlag) ? withFleetHost(given, place) : given;
}

/** The key of the flags under which the name of the host in the fleet file is. No flag is called so. */
export const namedHost = 'host of the fleet file';

/** What the fleet file says about reaching a host by its name. */
const reach: readonly string[] = ['host', ...loginFlags];
/** Where it is, without who logs in. */
const place: readonly string[] = ['host', 'port', 'proxy-jump'];

/** The flags for a host of a fleet file: its address, and how to reach it unless a flag says so. */
export function flagsOfHost(
  flags: GivenFlags,
  fleet: Fleet,
  name: string,
  taken = reach,
): GivenFlags {
  const values = fleetValues(fleet, 'deploy-worker', name);
  const reached = taken.flatMap((key) => {
    const text = key !== 'host' && flags.has(key) ? undefined : values.get(key)?.text;
    return text === undefined ? [] : [[key, text] as const];
  });
  return new Map([...flags, ...reached, [namedHost, name]]);
}

/**
 * A file with several hosts.
 *
 * @throws ConfigError when there is none, or it is for one host
 */
export function readFleetOfHosts(path: string): Fleet {
  const fleet = parseFleet(path, readText(path, '--fleet'));
  if (fleet.hosts !== null) return fleet;
  throw new ConfigError(`${path}:1:1`, 'no `hosts`', '`hosts` with a name for each host');
}

interface KnownHost {
  readonly name: string;
  readonly address: string;
  readonly port: string;
}

function openFleet(flags: GivenFlags): Fleet | null {
  const given = flags.get('fleet-file');
  const path = given ?? hostInputs['fleet-file'].fallback ?? '';
  if (given === 'none' || (given === undefined && !existsSync(path))) return null;
  return parseFleet(path, readText(path));
}

/** The hosts that a file is for; none, if it does not say. */
function hostsOf(fleet: Fleet): readonly KnownHost[] {
  const known = (name: string, address: string): KnownHost => {
    const port = fleetValues(fleet, 'provision', name).get('port')?.text ?? usualPort;
    return { name, address, port };
  };
  const addressIn = (name: string): string =>
    fleetValues(fleet, 'provision', name).get('host')?.text ?? name;
  if (fleet.hosts !== null)
    return [...fleet.hosts.keys()].map((name) => known(name, addressIn(name)));
  return addressIn('') === '' ? [] : [known('', addressIn(''))];
}

const usualPort = '22';

/** `203.0.113.7`, or `203.0.113.7 port 2222` */
const addressOf = ({ host, port }: { readonly host: string; readonly port: string }): string =>
  port === '' || port === usualPort ? host : `${host} port ${port}`;

const listOf = (known: readonly KnownHost[]): string => {
  const names = known.map(({ name, address, port }) => {
    const where = addressOf({ host: address, port });
    return name === '' || name === where ? where : `${name} (${where})`;
  });
  return names.length > 8 ? `${names.slice(0, 8).join(', ')}, …` : names.join(', ');
};

function readText(path: string, flag = '--fleet-file'): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const expected = 'the path of an existing file, or `none`';
    throw new ConfigError(flag, `cannot read ${path}`, expected, { cause });
  }
}

/** Without `--host` a command works on this machine, which the file may not mean. */
function requireHost(flags: GivenFlags, path: string, known: readonly KnownHost[]): void {
  if (known.length === 0 || flags.has('host')) return;
  const problem = `no \`--host\`, which would be this machine, but ${path} is for ${listOf(known)}`;
  refuseFlag(
    'host',
    problem,
    '`--host` with one of these; or `--fleet-file none` for this machine',
  );
}

/** By its address and port: the same name may be another machine's in `~/.ssh/config`. */
function isMeant(flags: GivenFlags, { address, port }: KnownHost): boolean {
  if (!flags.has('host')) return false;
  const reached = loginOf(flags);
  const isSame = [flags.get('host'), reached.host].some(
    (each) => each?.toLowerCase() === address.toLowerCase(),
  );
  return isSame && (reached.port || usualPort) === port;
}
