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

/** The inputs of deploy-worker for the code and its dependencies. */
export const releaseInputs = {
  source: choiceInput(
    {
      description:
        "How to deploy the app's code: `git` moves the checkout on the host to the commit of this run, `upload` unpacks each commit into its own code folder, `none` does not touch the code.",
      fallback: 'none',
    },
    ['none', 'git', 'upload'],
  ),
  commit: patternInput(
    {
      description: 'Full hash of the commit to deploy. If not set: the commit of this run.',
      fallback: '',
    },
    'the 40 hexadecimal digits of a commit',
    /^(?:[0-9a-f]{40}|[0-9a-f]{64})?$/,
  ),
  checkout: maybePathInput({
    description:
      "With `source: git`: path of the checkout on the host. If not set: the checkout that contains the unit's WorkingDirectory.",
  }),
  'dirty-tree': choiceInput(
    {
      description:
        'With `source: git`: what to do if tracked files have been modified on the host: `refuse` to deploy, or `stash` the modifications first. Untracked files always stay.',
      fallback: 'refuse',
    },
    ['refuse', 'stash'],
  ),
  'deploy-to': maybePathInput({
    description:
      "With `source: upload`: folder, owned by the app's user (see `app-user`), for `releases`, `shared` and the link `current`.",
  }),
  shared: listInput(
    {
      description:
        'With `source: upload`: paths that all code folders share, such as `backend/app.db backend/uploads/`; end a folder with `/`.',
      fallback: '',
    },
    'paths inside the repository, separated by white space',
    new RegExp(`^${insideRepository}$`),
  ),
  'keep-releases': integerInput(
    {
      description: 'With `source: upload`: number of code folders to keep on the host.',
      fallback: '5',
    },
    { min: 2, max: 100 },
  ),
  requirements: patternInput(
    {
      description:
        "File in the repository with the app's dependencies, such as `requirements.txt` or `uv.lock`. They are installed when the file has changed. If not set, dependencies are not touched.",
      fallback: '',
    },
    'a path inside the repository',
    new RegExp(`^(?:${insideRepository})?$`),
  ),
  dependencies: choiceInput(
    {
      description:
        'Tool that installs `requirements`: `pip`, `uv` (`uv sync --frozen`), `auto` (uv for a `uv.lock`, otherwise pip), or `none`. Where uv made the environment, without pip, `uv pip` is used.',
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
 * The desired code; `null`: the code is not touched.
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
          '`requirements` needs the code to be deployed, but `source` is `none`',
          '`source: git` or `source: upload`, or no `requirements`',
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
          '`source: upload` needs `deploy-to`',
          'an absolute path such as /srv/app',
          { because: ['source'] },
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
      `${tool} cannot install ${file}`,
      tool === 'uv' ? 'a `uv.lock`' : 'a requirements file, or `dependencies: uv`',
    );
  }
  return { file, tool, timeoutSeconds: inputs['dependencies-timeout'] };
}

function refuseNested(paths: readonly string[]): void {
  for (const path of paths) {
    const outer = paths.find((other) => path.startsWith(`${other}/`));
    if (outer !== undefined) {
      throw new ConfigError('input shared', `${path} is inside ${outer}`, `only ${outer}/`);
    }
  }
}
