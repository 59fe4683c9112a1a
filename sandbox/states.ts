import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SandboxError } from './failure.ts';
import { SANDBOX_FOLDER } from './folders.ts';
import { runOver, type Target } from './ssh.ts';

const STATES_FOLDER = join(SANDBOX_FOLDER, 'states');

/** The part of a state that is not on the disk: run after each boot. */
const BOOT = '.boot.sh';

/** The names of all states. */
export function listStates(): string[] {
  return readdirSync(STATES_FOLDER)
    .filter((name) => name.endsWith('.sh') && !name.endsWith(BOOT))
    .map((name) => name.slice(0, -'.sh'.length))
    .sort();
}

/** The shell functions that every state may call. */
const readFunctions = (): string =>
  readFileSync(join(SANDBOX_FOLDER, 'state-functions.sh'), 'utf8');

/** The script of a state. @throws SandboxError with the known states. */
export function readState(state: string): string {
  const states = listStates();
  if (!states.includes(state)) {
    throw new SandboxError(`unknown state '${state}'; expected ${states.join(', ')}`);
  }
  return readFunctions() + readFileSync(join(STATES_FOLDER, `${state}.sh`), 'utf8');
}

/** The script to run after each boot; `true` if the disk contains all of the state. */
export function readBootScript(state: string): string {
  const path = join(STATES_FOLDER, `${state}${BOOT}`);
  return existsSync(path) ? readFunctions() + readFileSync(path, 'utf8') : 'true';
}

/** Brings a running host into a state: its disk, and its processes. */
export async function applyState(target: Target, state: string): Promise<void> {
  await runScript(target, readState(state));
  await runScript(target, readBootScript(state));
}

/** Runs a script as root in its own login session, to which the processes that it starts belong. */
export async function runScript(target: Target, script: string): Promise<void> {
  const path = '/run/sandbox-state';
  const command = `cat >${path}; bash ${path} </dev/null; code=$?; rm -f ${path}; exit $code`;
  // It may take minutes in an emulated machine beside others.
  await runOver(target, 'root', 'own', command, { input: script, timeoutSeconds: 1200 });
}
