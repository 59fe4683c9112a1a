import { ConfigError } from '../model/errors.ts';
import {
  choiceInput,
  durationInput,
  integerInput,
  listInput,
  maybePathInput,
  patternInput,
  type ValuesOf,
} from './input.ts';
import type { DependenciesDesired, ReleaseDesired } from './release-desired.ts';

const insideRepository = String.raw`(?!/)(?!.*(?:^|/)\.{1,2}(?:/|$))(?!.*//)[A-Za-z0-9._@+/-]{1,200}`;

/** The inputs of deploy-worker that are about the code and what it needs. */
export const releaseInputs = {
  source: choiceInput(
    {
      description:
        "How the app's code gets to the host: `git` moves the checkout that is there to the commit of this run, `upload` unpacks each commit into a folder of its own, `none` leaves the code to you.",
      fallback: 'none',
    },
    ['none', 'git', 'upload'],
  ),
  commit: patternInput(
    {
      description: 'The commit to deploy, by its whole name. That of this run when left out.',
      fallback: '',
    },
    'the 40 hexadecimal digits of a commit',
    /^(?:[0-9a-f]{40}|[0-9a-f]{64})?$/,
  ),
  checkout: maybePathInput({
    description:
      "With `source: git`: the checkout on the host. The one that the unit's WorkingDirectory is in when left out.",
  }),
  'dirty-tree': choiceInput(
    {
      description:
        'With `source: git`: what to do when tracked files were changed on the host: `refuse`, or `stash` them first. Untracked files always stay.',
      fallback: 'refuse',
    },
    ['refuse', 'stash'],
  ),
  'deploy-to': maybePathInput({
    description:
      'With `source: upload`: the folder, owned by the user of the app, for `releases`, `shared` and the link `current`.',
  }),
  shared: listInput(
    {
      description:
        'With `source: upload`: paths that all releases share, such as `backend/app.db backend/uploads/`; a folder ends with `/`.',
      fallback: '',
    },
    'paths inside the repository, separated by white space',
    new RegExp(`^${insideRepository}$`),
  ),
  'keep-releases': integerInput(
    { description: 'With `source: upload`: how many releases stay on the host.', fallback: '5' },
    { min: 2, max: 100 },
  ),
  requirements: patternInput(
    {
      description:
        "File in the repository that names the app's dependencies, such as `requirements.txt` or `uv.lock`. Installed when it changed. Left alone when left out.",
      fallback: '',
    },
    'a path inside the repository',
    new RegExp(`^(?:${insideRepository})?$`),
  ),
  dependencies: choiceInput(
    {
      description:
        'What installs `requirements`: `pip`, `uv` (`uv sync --frozen`), `auto` (uv for a `uv.lock`, else pip), or `none`.',
      fallback: 'auto',
    },
    ['auto', 'pip', 'uv', 'none'],
  ),
  'dependencies-timeout': durationInput({
    description: 'How long the installation may take.',
    fallback: '10m',
  }),
} as const;

export type ReleaseValues = ValuesOf<typeof releaseInputs>;

/**
 * What these inputs ask for; `null`: the code is not touched.
 *
 * @throws ConfigError when they contradict each other
 */
export function releaseDesired(inputs: ReleaseValues): ReleaseDesired | null {
  const dependencies = dependenciesDesired(inputs);
  const commit = inputs.commit === '' ? null : inputs.commit;
  switch (inputs.source) {
    case 'none':
      if (dependencies !== null) {
        throw new ConfigError(
          'input requirements',
          'with `source: none` nobody knows at which commit the file is on the host',
          '`source: git` or `source: upload`, or no requirements',
        );
      }
      return null;
    case 'git': {
      const from = {
        source: 'git',
        checkout: inputs.checkout.path,
        dirtyTree: inputs['dirty-tree'],
      } as const;
      return { from, commit, dependencies };
    }
    case 'upload': {
      const deployTo = inputs['deploy-to'].path;
      if (deployTo === null) {
        throw new ConfigError(
          'input deploy-to',
          '`source: upload` needs a folder for the releases',
          'an absolute path such as /srv/app',
        );
      }
      const shared = inputs.shared.map((each) => ({
        path: each.replace(/\/$/, ''),
        folder: each.endsWith('/'),
      }));
      refuseNested(shared.map(({ path }) => path));
      const keepReleases = inputs['keep-releases'];
      return { from: { source: 'upload', deployTo, shared, keepReleases }, commit, dependencies };
    }
  }
}

function dependenciesDesired(inputs: ReleaseValues): DependenciesDesired | null {
  const { requirements: file, dependencies: how } = inputs;
  if (file === '' || how === 'none') return null;
  const isUvLock = file === 'uv.lock' || file.endsWith('/uv.lock');
  const tool = how === 'auto' ? (isUvLock ? 'uv' : 'pip') : how;
  if ((tool === 'uv') !== isUvLock) {
    throw new ConfigError(
      'input requirements',
      `${tool} does not install ${file}`,
      tool === 'uv' ? 'a `uv.lock`' : 'a file of requirements, or `dependencies: uv`',
    );
  }
  return { file, tool, timeoutSeconds: inputs['dependencies-timeout'] };
}

function refuseNested(paths: readonly string[]): void {
  for (const path of paths) {
    const outer = paths.find((other) => path.startsWith(`${other}/`));
    if (outer !== undefined) {
      throw new ConfigError('input shared', `${path} is inside ${outer}`, `${outer}/ alone`);
    }
  }
}
