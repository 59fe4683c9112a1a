import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import packageJson from '../../package.json' with { type: 'json' };
import type { KnownActions, Manifest } from './workflow-contract.ts';

const root = join(import.meta.dirname, '../..');
const manifestOf = (path: string): Manifest =>
  parse(readFileSync(join(root, path, 'action.yml'), 'utf8')) as Manifest;

/** This repository, as workflows name it. */
export const repository = packageJson.repository.replace('github:', '');
/** The tag of this version. */
export const version = `v${packageJson.version}`;
/** The actions of this repository, by their folders in `actions`. */
export const actionNames: readonly string[] = readdirSync(join(root, 'actions'));

/**
 * Own actions by their path, and as a workflow names them that others call: there, `./` is not this
 * repository. Those of others by what stands in for them in tests.
 */
export const knownActions = {
  actions: Object.fromEntries([
    ...actionNames.flatMap((name): [string, Manifest][] => [
      [`./actions/${name}`, manifestOf(`actions/${name}`)],
      [`${repository}/actions/${name}@${version}`, manifestOf(`actions/${name}`)],
    ]),
    [`${repository}@${version}`, manifestOf('.')],
  ]),
  others: Object.fromEntries(
    ['upload-artifact', 'download-artifact'].map((name): [string, Manifest] => [
      `actions/${name}`,
      manifestOf(`test/fixtures/${name}`),
    ]),
  ),
} satisfies KnownActions;
