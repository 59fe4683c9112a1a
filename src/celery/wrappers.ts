/**
 * Programs that start celery in an environment of their own. systemd must supervise celery itself:
 * signals and notifications do not pass all of them, and its Python must be known.
 */

interface Wrapper {
  /** `poetry run` */
  readonly name: string;
  /** Prints where the environment or its celery is. */
  readonly ask: string;
  /** Whether the answer is the environment's folder, or the program itself. */
  readonly answer: 'environment' | 'program';
}

const runners: Readonly<Record<string, Wrapper>> = {
  poetry: { name: 'poetry run', ask: 'poetry env info --path', answer: 'environment' },
  pipenv: { name: 'pipenv run', ask: 'pipenv --venv', answer: 'environment' },
  uv: {
    name: 'uv run',
    ask: "uv run python -c 'import sys; print(sys.prefix)'",
    answer: 'environment',
  },
  pdm: { name: 'pdm run', ask: 'pdm run which celery', answer: 'program' },
  hatch: { name: 'hatch run', ask: 'hatch env find', answer: 'environment' },
  rye: { name: 'rye run', ask: 'rye run which celery', answer: 'program' },
  direnv: { name: 'direnv exec', ask: 'direnv exec . which celery', answer: 'program' },
  pyenv: { name: 'pyenv exec', ask: 'pyenv which celery', answer: 'program' },
};

const condas = ['conda', 'mamba', 'micromamba'];
const switchers = ['sudo', 'su', 'runuser', 'gosu', 'su-exec', 'doas', 'setuidgid', 'chpst'];
const containers = ['docker', 'docker-compose', 'podman', 'nerdctl'];

/** Why celery cannot be run through this program, and what to write; `null`: not a known one. */
export function wrapperOf(
  argv: readonly string[],
): { readonly problem: string; readonly expected: string } | null {
  const [program = '', ...words] = argv;
  const name = program.slice(program.lastIndexOf('/') + 1);
  const runner = runners[name];
  if (runner) return throughRunner(runner, 'the directory of the project');
  if (condas.includes(name)) return throughConda(name, program, words);
  if (switchers.includes(name)) {
    return {
      problem: `starts celery through ${name}`,
      expected:
        'the celery command itself; name the user in User= of the unit, and the environment of its ' +
        'login shell in Environment=',
    };
  }
  return containers.includes(name)
    ? {
        problem: `starts celery in a container (${name}), which systemd cannot supervise`,
        expected: 'a celery that is installed on the host',
      }
    : null;
}

function throughRunner({ name, ask, answer }: Wrapper, where: string) {
  const path = answer === 'program' ? 'that path' : 'that folder, with /bin/celery after it';
  return {
    problem: `starts celery through \`${name}\`, so its Python is unknown`,
    expected: `the path of celery itself: run \`${ask}\` in ${where}, as the user of the unit, and write ${path}, e.g. \`ExecStart=/srv/app/.venv/bin/celery -A app worker\``,
  };
}

function throughConda(name: string, program: string, words: readonly string[]) {
  const at = words.findIndex((word) => ['-n', '--name', '-p', '--prefix'].includes(word));
  const given = at === -1 ? null : (words[at + 1] ?? null);
  const byPath = given?.startsWith('/') ?? false;
  const root = /^(\/.*)\/(?:bin|condabin)\/[^/]+$/.exec(program)?.[1] ?? '/opt/conda';
  const folder = byPath ? given : given === null ? root : `${root}/envs/${given}`;
  const which = given === null ? '' : ` ${byPath ? '-p' : '-n'} ${given}`;
  return {
    problem: `starts celery through \`${name} run\`, which stays between systemd and the worker`,
    expected: `the path of celery itself, e.g. \`ExecStart=${folder}/bin/celery -A app worker\`; \`${name} run${which} which celery\` prints it`,
  };
}
