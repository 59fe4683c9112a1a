import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ActionName } from '../../src/config/action-inputs.ts';
import type { GithubAction } from '../../src/config/action-manifests.ts';

const root = join(import.meta.dirname, '../..');

export interface BundleRun {
  readonly code: number | null;
  /** stdout and stderr, as a runner's log shows them. */
  readonly log: string;
  readonly outputs: Readonly<Record<string, string>>;
  readonly summary: string;
  /** What it left for its post step. */
  readonly state: Readonly<Record<string, string>>;
}

export interface BundleOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Called with the running process, e.g. to kill it. */
  readonly onStart?: (child: ReturnType<typeof spawn>) => void;
  readonly onLog?: (text: string) => void;
  /** The checkout whose bundle runs; absent: this one. */
  readonly root?: string;
}

/** Executes an action's committed bundle under Node 24 the way a runner does. */
export async function runBundle(
  action: ActionName | GithubAction | 'check-inputs' | 'fleet',
  inputs: Readonly<Record<string, string>>,
  options: BundleOptions = {},
): Promise<BundleRun> {
  const program = join(options.root ?? root, 'actions', action, 'dist/index.js');
  return await runProgram(program, inputs, options);
}

/** Executes the post step of an action after a run of it, as a runner does at the end of the job. */
export async function runPostStep(
  action: ActionName,
  inputs: Readonly<Record<string, string>>,
  { state }: Pick<BundleRun, 'state'>,
): Promise<BundleRun> {
  const saved = Object.entries(state).map(([name, value]) => [`STATE_${name}`, value]);
  const program = join(root, 'actions', action, 'dist/post.js');
  return await runProgram(program, inputs, { env: Object.fromEntries(saved) });
}

async function runProgram(
  program: string,
  inputs: Readonly<Record<string, string>>,
  options: BundleOptions,
): Promise<BundleRun> {
  const folder = await mkdtemp(join(tmpdir(), 'celeriac-run-'));
  try {
    return await runIn(folder, program, inputs, options);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function runIn(
  folder: string,
  program: string,
  inputs: Readonly<Record<string, string>>,
  options: BundleOptions,
): Promise<BundleRun> {
  const files = {
    output: join(folder, 'output'),
    summary: join(folder, 'summary'),
    state: join(folder, 'state'),
  };
  await Promise.all(Object.values(files).map((file) => writeFile(file, '')));
  const child = spawn(process.execPath, [program], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH,
      NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
      HOME: folder,
      RUNNER_TEMP: folder,
      GITHUB_WORKSPACE: folder,
      GITHUB_OUTPUT: files.output,
      GITHUB_STEP_SUMMARY: files.summary,
      GITHUB_STATE: files.state,
      GITHUB_SERVER_URL: 'https://forge.test',
      GITHUB_REPOSITORY: 'someone/slideshow',
      GITHUB_RUN_ID: '4711',
      GITHUB_SHA: '0123456789abcdef0123456789abcdef01234567',
      ...inputEnvironment(inputs),
      ...options.env,
    },
  });
  options.onStart?.(child);
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      log += text;
      options.onLog?.(text);
    });
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject).on('close', resolve);
  });
  return {
    code,
    log,
    outputs: parseCommands(await readFile(files.output, 'utf8'), { once: true }),
    summary: await readFile(files.summary, 'utf8'),
    state: parseCommands(await readFile(files.state, 'utf8')),
  };
}

/** The runner's form: `INPUT_` and the name in capitals, its hyphens kept. */
function inputEnvironment(inputs: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, value]) => [`INPUT_${name.toUpperCase()}`, value]),
  );
}

/** `name<<delimiter`, lines, delimiter: as `@actions/core` writes them; the last one counts. */
function parseCommands(text: string, { once = false } = {}): Record<string, string> {
  const values: Record<string, string> = {};
  const lines = text.split('\n');
  for (let at = 0; at < lines.length; at += 1) {
    const [, name, delimiter] = /^(.+?)<<(.+)$/.exec(lines[at] ?? '') ?? [];
    if (name === undefined || delimiter === undefined) {
      continue;
    }
    if (once && name in values) throw new Error(`the output ${name} was written twice`);
    const end = lines.indexOf(delimiter, at + 1);
    values[name] = lines.slice(at + 1, end).join('\n');
    at = end;
  }
  return values;
}
