import { existsSync, readFileSync } from 'node:fs';
import { type ActionName, hostInputs } from '../config/action-inputs.ts';
import { type FleetValues, parseFleetFile } from '../config/fleet-file.ts';
import { ConfigError } from '../model/errors.ts';
import type { CommandTools } from './command.ts';
import { loginOf } from './connection.ts';
import { type Flag, type GivenFlags, refuseFlag } from './flags.ts';

/** The file that the workflows read, too. */
export const fleetFlag: Flag = {
  name: 'fleet-file',
  takes: 'a path, or `none`',
  fallback: `${hostInputs['fleet-file'].fallback} if it is there`,
  description:
    'File with values for what no flag sets, as the workflows read it; how to log in is not taken from it.',
  isSwitch: false,
};

/** How to log in is a matter of the person at the terminal. */
const login: ReadonlySet<string> = new Set([
  'host',
  'port',
  'user',
  'agent',
  'proxy-jump',
  'known-hosts',
  'connect-timeout',
]);

/**
 * What the fleet file says for an action.
 *
 * @param changes the command changes the host: then the file must be that of this host
 * @throws ConfigError with file, line and column; or when the file is that of another host
 */
export function readFleet(
  flags: GivenFlags,
  action: ActionName,
  { terminal }: CommandTools,
  { changes, quiet = false }: { readonly changes: boolean; readonly quiet?: boolean },
): FleetValues {
  const given = flags.get('fleet-file');
  const path = given ?? hostInputs['fleet-file'].fallback ?? '';
  if (given === 'none' || (given === undefined && !existsSync(path))) return new Map();
  const values = parseFleetFile(path, readText(path), action);
  const of = values.get('host')?.text ?? '';
  requireHost(flags, path, of);
  if (of !== '' && !isSame(flags, of)) {
    const problem = `${path} is for ${of}, not for ${flags.get('host')}`;
    if (changes) refuseFlag('host', problem, `\`--host ${of}\`, or \`--fleet-file none\``);
    if (!quiet) terminal.note(`warning: ${problem}`);
  }
  if (!quiet) terminal.note(`settings: ${path}`);
  return new Map([...values].filter(([name]) => !login.has(name)));
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const expected = 'the path of an existing file, or `none`';
    throw new ConfigError('--fleet-file', `cannot read ${path}`, expected, { cause });
  }
}

/** Without `--host` a command works on this machine, which the file may not mean. */
function requireHost(flags: GivenFlags, path: string, host: string): void {
  if (host === '' || flags.has('host')) return;
  const problem = `no \`--host\`, which would be this machine, but ${path} is for ${host}`;
  refuseFlag('host', problem, `\`--host ${host}\`; or \`--fleet-file none\` for this machine`);
}

const isSame = (flags: GivenFlags, host: string): boolean =>
  [flags.get('host'), loginOf(flags).host].some(
    (each) => each?.toLowerCase() === host.toLowerCase(),
  );
