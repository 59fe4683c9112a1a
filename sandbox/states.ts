import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SandboxError } from './failure.ts';
import { SANDBOX_FOLDER } from './folders.ts';
import { runOver, type Target } from './ssh.ts';

const STATES_FOLDER = join(SANDBOX_FOLDER, 'states');

/** What of a state no disk holds: run after each boot. */
const BOOT = '.boot.sh';

/** The names of the states that a machine can be broken into. */
export function listStates(): string[] {
  return readdirSync(STATES_FOLDER)
    .filter((name) => name.endsWith('.sh') && !name.endsWith(BOOT))
    .map((name) => name.slice(0, -'.sh'.length))
    .sort();
}

/** The shell functions that every state may call. */
const readFunctions = (): string =>
  readFileSync(join(SANDBOX_FOLDER, 'state-functions.sh'), 'utf8');

/** A state's script. @throws SandboxError that lists the states there are. */
export function readState(state: string): string {
  const states = listStates();
  if (!states.includes(state)) {
    throw new SandboxError(`no state '${state}': there are ${states.join(', ')}`);
  }
  return readFunctions() + readFileSync(join(STATES_FOLDER, `${state}.sh`), 'utf8');
}

/** What a state needs done after each boot; `true` when its disk holds all of it. */
export function readBootScript(state: string): string {
  const path = join(STATES_FOLDER, `${state}${BOOT}`);
  return existsSync(path) ? readFunctions() + readFileSync(path, 'utf8') : 'true';
}

/** Breaks a running host into a state: what is on its disk, and what runs. */
export async function applyState(target: Target, state: string): Promise<void> {
  await runScript(target, readState(state));
  await runScript(target, readBootScript(state));
}

/** Runs a script as root, in a login session of its own: what it starts belongs there. */
export async function runScript(target: Target, script: string): Promise<void> {
  const path = '/run/sandbox-state';
  const command = `cat >${path}; bash ${path} </dev/null; code=$?; rm -f ${path}; exit $code`;
  // Minutes in an emulated machine beside others.
  await runOver(target, 'root', 'own', command, { input: script, timeoutSeconds: 1200 });
}
