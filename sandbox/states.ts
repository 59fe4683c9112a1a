import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SandboxError } from './failure.ts';
import { SANDBOX_FOLDER } from './folders.ts';
import { runOver, type Target } from './ssh.ts';

const STATES_FOLDER = join(SANDBOX_FOLDER, 'states');

/** The names of the states that a machine can be broken into. */
export function listStates(): string[] {
  return readdirSync(STATES_FOLDER)
    .filter((name) => name.endsWith('.sh'))
    .map((name) => name.slice(0, -'.sh'.length))
    .sort();
}

/** A state's script. @throws SandboxError that lists the states there are. */
export function readState(state: string): string {
  const states = listStates();
  if (!states.includes(state)) {
    throw new SandboxError(`no state '${state}': there are ${states.join(', ')}`);
  }
  return readFileSync(join(STATES_FOLDER, `${state}.sh`), 'utf8');
}

/** Runs a state's script as root, in a login session of its own: what it starts belongs there. */
export async function applyState(target: Target, state: string): Promise<void> {
  const path = '/run/sandbox-state';
  const command = `cat >${path}; bash ${path} </dev/null; code=$?; rm -f ${path}; exit $code`;
  await runOver(target, 'root', 'own', command, {
    input: readState(state),
    timeoutSeconds: 300,
  });
}
