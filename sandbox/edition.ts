import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheFolder, SANDBOX_FOLDER } from './folders.ts';

/** Debian's releases that an image can be made of, the oldest first. */
export const SUITES = ['bullseye', 'bookworm', 'trixie'] as const;
export type Suite = (typeof SUITES)[number];

/** An image that can be asked for. */
export type Edition = {
  suite: Suite;
  /** The folder for its versions. */
  folder: string;
  /** Packages beside those of the recipe. */
  packages: readonly string[];
  /** A script that completes its root, after the recipe's own; its arguments follow the root's folder. */
  complete?: { script: string; args: readonly string[] };
  /** Files outside the recipe that it depends on. */
  files: readonly string[];
  /** Whether it has a disk and a kernel for VMs; without these it is for containers. */
  bootable: boolean;
};

/** What every machine is made of unless it asks for something else. */
export function defaultEdition(): Edition {
  return { suite: 'bookworm', folder: cacheFolder(), packages: [], files: [], bootable: true };
}

const EDITIONS_FOLDER = join(SANDBOX_FOLDER, 'editions');
const EXAMPLES_FOLDER = join(SANDBOX_FOLDER, '..', 'examples');

/**
 * A Debian with RabbitMQ beside Redis, and Python environments in `/srv/environments`: see
 * `editions/environments.txt`.
 */
export function hostEdition(suite: Suite): Edition {
  const script = join(EDITIONS_FOLDER, 'complete.sh');
  const list = join(EDITIONS_FOLDER, 'environments.txt');
  const environments = readFileSync(list, 'utf8')
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim().split(/\s+/))
    .flatMap(([each, tool = '', name = '']) => (each === suite ? [{ tool, name }] : []));
  const requirements = (name: string): string =>
    name.startsWith('celery-')
      ? join(EDITIONS_FOLDER, `${name}.txt`)
      : join(EXAMPLES_FOLDER, name, 'requirements.txt');
  return {
    suite,
    // Apart from the default image: whoever builds that one removes what is old beside it.
    folder: join(dirname(cacheFolder()), 'sandbox-editions', suite),
    packages: ['rabbitmq-server'],
    complete: {
      script,
      args: environments.flatMap(({ tool, name }) => [tool, name, requirements(name)]),
    },
    files: [script, ...new Set(environments.map(({ name }) => requirements(name)))],
    bootable: false,
  };
}
