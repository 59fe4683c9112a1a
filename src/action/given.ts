import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import * as core from '@actions/core';
import { type ActionName, actions } from '../config/action-inputs.ts';
import { type FleetValues, parseFleetFile } from '../config/fleet-file.ts';
import { hostInputs } from '../config/host-inputs.ts';
import type { Inputs } from '../config/input.ts';
import { readInputs } from '../config/read-inputs.ts';
import { ConfigError } from '../model/errors.ts';

/** Read before the others: their values may be in this file. */
const fleetInput = { 'fleet-file': hostInputs['fleet-file'] };

/** The text that the workflow gives for an input; `''`: none. */
export const given = (input: string): string => core.getInput(input, { trimWhitespace: false });

/** The secrets that the workflow gives. */
export function givenSecrets(name: ActionName): readonly string[] {
  const set: Inputs = actions[name];
  return Object.entries(set)
    .filter(([input, { secret }]) => secret && given(input) !== '')
    .map(([input]) => given(input));
}

/** Tells the runner to hide the secrets that the workflow gives. */
export function maskSecrets(name: ActionName): void {
  for (const secret of givenSecrets(name)) core.setSecret(secret);
}

/**
 * What the fleet file says; secrets are masked first.
 *
 * @throws ConfigError when it cannot be read, or is invalid
 */
export function readFleetValues(name: ActionName): FleetValues {
  maskSecrets(name);
  const { 'fleet-file': path } = readInputs(fleetInput, given, new Map());
  return readFleet(name, path, { required: given('fleet-file') !== '' });
}

function readFleet(
  name: ActionName,
  path: string,
  { required }: { required: boolean },
): FleetValues {
  let text: string;
  try {
    text = readFileSync(join(process.env.GITHUB_WORKSPACE ?? process.cwd(), path), 'utf8');
  } catch (cause) {
    if (!required) {
      return new Map();
    }
    const problem = `cannot read \`${path}\``;
    throw new ConfigError('input fleet-file', problem, 'a file in the repository', { cause });
  }
  return parseFleetFile(path, text, name, given('host'));
}

/** The address of the run, or user and host. */
export function runAddress(): string {
  const { env } = process;
  return env.GITHUB_RUN_ID === undefined
    ? `${env.USER ?? 'someone'}@${hostname()}`
    : `${env.GITHUB_SERVER_URL}/${env.GITHUB_REPOSITORY}/actions/runs/${env.GITHUB_RUN_ID}`;
}

/** Waits until everything printed so far is with the runner. */
export const delivered = (): Promise<void> =>
  new Promise((resolve) => {
    process.stdout.write('', () => resolve());
  });
