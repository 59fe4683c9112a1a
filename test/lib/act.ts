import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { existsSync, globSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

const root = join(import.meta.dirname, '../..');

/** What a workflow needs to know of a host: the repository's variables and its secret. */
export interface WorkflowHost {
  readonly host: string;
  readonly sshPort: number;
  readonly key: string;
  readonly knownHosts: string;
}

export interface WorkflowStep {
  readonly name: string;
  readonly result: 'success' | 'failure';
  readonly outputs: Readonly<Record<string, string>>;
}

export interface WorkflowRun {
  /** 0 when every job was green. */
  readonly code: number;
  /** The log for people: a heading for each step, its lines indented below it. */
  readonly lines: readonly string[];
  /** The steps that ran, in order; one that was skipped is not among them. */
  readonly steps: readonly WorkflowStep[];
  /** The job summaries, in the order of the steps. */
  readonly summaries: readonly string[];
  /** What was uploaded: artifact → file → text. */
  readonly artifacts: Artifacts;
}

export type Artifacts = Readonly<Record<string, Readonly<Record<string, string>>>>;

export interface WorkflowOptions {
  readonly variables?: Readonly<Record<string, string>>;
  /** The repository with the workflow; this one if not set. */
  readonly repository?: string;
  /** Repositories that it uses, by `owner/name@ref`: the folder of each. */
  readonly uses?: Readonly<Record<string, string>>;
  /** Of a `workflow_dispatch`. */
  readonly inputs?: Readonly<Record<string, string>>;
  /** More of the event, such as its pull request. */
  readonly event?: object;
  /** The runner's own variables, such as the address of GitHub's API. */
  readonly env?: Readonly<Record<string, string>>;
  /** `github.token`. */
  readonly token?: string;
  /** @param cancel cancels the run, as a person does on GitHub */
  readonly onLine?: (line: string, cancel: () => void) => void;
}

export type WorkflowEvent = 'push' | 'workflow_dispatch' | 'schedule' | 'pull_request';

/**
 * Runs a workflow by act in host mode: the YAML as it is and the work tree as it is (what Git
 * ignores left out), without Docker and without network.
 *
 * @throws Error when act can't be started
 */
export async function runWorkflow(
  file: string,
  event: WorkflowEvent,
  host: WorkflowHost,
  options: WorkflowOptions = {},
): Promise<WorkflowRun> {
  const folder = await mkdtemp(join(tmpdir(), 'celeriac-act-'));
  let act: Act | undefined;
  const clear = (): void => {
    act?.kill();
    rmSync(folder, { recursive: true, force: true });
  };
  // Also when this process is told to end in the middle: there is a key in the folder.
  process.once('exit', clear);
  try {
    const args = await prepare(folder, file, event, host, options);
    const cancel = (): void => void act?.kill('SIGINT');
    const log = new ActLog((line) => options.onLine?.(line, cancel));
    act = startAct(folder, args, options.repository ?? root);
    const code = await follow(act, log);
    const artifacts = readArtifacts(join(folder, 'artifacts'));
    return { code, lines: log.lines, steps: log.steps, summaries: log.summaries, artifacts };
  } finally {
    process.off('exit', clear);
    clear();
  }
}

/** Writes what act reads; the secret goes by a file, not by an argument that `ps` shows. */
async function prepare(
  folder: string,
  file: string,
  event: WorkflowEvent,
  host: WorkflowHost,
  options: WorkflowOptions,
): Promise<readonly string[]> {
  const variables = {
    CELERIAC_HOST: host.host,
    CELERIAC_PORT: String(host.sshPort),
    CELERIAC_KNOWN_HOSTS: host.knownHosts,
    ...options.variables,
  };
  const files = {
    variables: join(folder, 'variables'),
    secrets: join(folder, 'secrets'),
    event: join(folder, 'event.json'),
  };
  const inputs = options.inputs ?? {};
  await writeFile(files.variables, dotenv(variables));
  const secrets = {
    CELERIAC_SSH_KEY: host.key,
    ...(options.token !== undefined && { GITHUB_TOKEN: options.token }),
  };
  await writeFile(files.secrets, dotenv(secrets), { mode: 0o600 });
  const payload = { ref: 'refs/heads/main', inputs, ...options.event };
  await writeFile(files.event, JSON.stringify(payload));
  return [
    event,
    ...['--workflows', join('.github/workflows', file)],
    ...['--platform', 'ubuntu-latest=-self-hosted'],
    ...['--var-file', files.variables, '--secret-file', files.secrets],
    ...['--eventpath', files.event],
    ...['--env', `CELERIAC_TEST_ARTIFACTS=${join(folder, 'artifacts')}`],
    ...Object.entries(options.env ?? {}).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
    ...(await standIns(join(options.repository ?? root, '.github/workflows', file))),
    ...Object.entries(options.uses ?? {}).flatMap(([name, where]) => [
      '--local-repository',
      `${name}=${where}`,
    ]),
    ...Object.entries(inputs).flatMap(([name, value]) => ['--input', `${name}=${value}`]),
    '--json',
  ];
}

/** There is no GitHub to fetch these actions from, and none to upload to. */
async function standIns(workflow: string): Promise<readonly string[]> {
  const own = globSync(join(root, '.github/workflows/*.yml'));
  const texts = await Promise.all([workflow, ...own].map((file) => readFile(file, 'utf8')));
  const pins = new Set(texts.join('\n').match(/actions\/(?:up|down)load-artifact@[0-9a-f]{40}/g));
  return [...pins].flatMap((pin) => {
    const [name = ''] = pin.replace('actions/', '').split('@');
    return ['--local-repository', `${pin}=${join(root, 'test/fixtures', name)}`];
  });
}

function readArtifacts(folder: string): Artifacts {
  if (!existsSync(folder)) return {};
  const read = (name: string): Readonly<Record<string, string>> => {
    const files = readdirSync(join(folder, name), { recursive: true, encoding: 'utf8' }).filter(
      (file) => statSync(join(folder, name, file)).isFile(),
    );
    return Object.fromEntries(
      files.map((file) => [file, readFileSync(join(folder, name, file), 'utf8')]),
    );
  };
  return Object.fromEntries(readdirSync(folder).map((name) => [name, read(name)]));
}

type Act = ChildProcessByStdio<null, Readable, Readable>;

function startAct(folder: string, args: readonly string[], cwd: string): Act {
  const path = [dirname(process.execPath), process.env.PATH ?? ''].join(delimiter);
  return spawn('act', args, {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    // A folder of its own: no settings of the person's, and nothing left behind.
    env: { PATH: path, HOME: folder, XDG_CACHE_HOME: folder, TMPDIR: folder, LANG: 'C.UTF-8' },
  });
}

async function follow(act: Act, log: ActLog): Promise<number> {
  for (const input of [act.stdout, act.stderr]) {
    createInterface({ input }).on('line', (line) => log.take(line));
  }
  return await new Promise<number>((resolve, reject) => {
    act.on('error', (cause) => {
      reject(new Error(`act can't be started: ${cause.message}. \`npm run setup\` brings it`));
    });
    act.on('close', (status) => resolve(status ?? 1));
  });
}

/** One entry of act's log (`--json`), as far as it is used. */
interface Entry {
  readonly msg?: string;
  readonly level?: string;
  readonly stage?: string;
  readonly step?: string;
  /** What a step printed, not act. */
  readonly raw_output?: boolean;
  /** A runner command that a step gave, e.g. `group`; `summary`: a job summary. */
  readonly command?: string;
  readonly arg?: string;
  readonly name?: string;
  readonly content?: string;
  readonly kvPairs?: { readonly title?: string } | null;
  readonly stepResult?: string;
  /** Nanoseconds. */
  readonly executionTime?: number;
}

/** Steps that are act's own. */
const machinery = new Set(['Set up job', 'Complete job']);

/** What act says of itself when all is well, or says again. */
const chatter =
  /^(?:⭐|🏁|exit status \d+$|Error: Job '.*' failed$|Couldn't get a valid docker connection|LocalRepositoryCache )/u;

/** Reads act's log as a person reads a runner's. */
class ActLog {
  readonly lines: string[] = [];
  readonly steps: WorkflowStep[] = [];
  readonly summaries: string[] = [];
  readonly #onLine: (line: string) => void;
  #depth = 1;

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  take(line: string): void {
    const entry = readEntry(line);
    if (entry === null) {
      this.#takeWords(line);
    } else if (!machinery.has(entry.step ?? '')) {
      this.#takeEntry(entry);
    }
  }

  #takeEntry(entry: Entry): void {
    const text = (entry.msg ?? '').trimEnd();
    if (entry.raw_output) this.#say(text, this.#depth);
    else if (entry.command !== undefined) this.#takeCommand(entry, entry.command);
    else if (entry.stepResult !== undefined) this.#endStep(entry);
    else if (/^⭐ Run (?:Main|Post) /u.test(text)) this.#beginStep(entry);
    else this.#takeWords(text);
  }

  #beginStep({ step = '', stage }: Entry): void {
    this.#depth = 1;
    this.#say('', 0);
    this.#say(stage === 'Post' ? `${nameOf(step)} (post)` : nameOf(step), 0);
  }

  #endStep({ step = '', stage, stepResult, executionTime = 0 }: Entry): void {
    if (stepResult !== 'success' && stepResult !== 'failure') return;
    const seconds = Math.round(executionTime / 1e9);
    this.#say(`${stepResult}, ${seconds} s`, 1);
    // A skipped step of an action from elsewhere has its `Pre`, too. Its outputs follow.
    if (stage !== 'Pre' && stage !== 'Post')
      this.steps.push({ name: step, result: stepResult, outputs: {} });
  }

  #takeCommand(entry: Entry, command: string): void {
    switch (command) {
      case 'group':
        this.#say(entry.arg ?? '', 1);
        this.#depth = 2;
        return;
      case 'endgroup':
        this.#depth = 1;
        return;
      case 'notice':
      case 'warning':
      case 'error': {
        const title = entry.kvPairs?.title;
        const about = title === undefined ? '' : ` [${title}]`;
        this.#say(`${command}: ${entry.arg ?? ''}${about}`, this.#depth);
        return;
      }
      case 'set-output': {
        const last = this.steps.at(-1);
        if (last === undefined || entry.name === undefined) return;
        const outputs = { ...last.outputs, [entry.name]: entry.arg ?? '' };
        this.steps[this.steps.length - 1] = { ...last, outputs };
        return;
      }
      case 'summary':
        this.summaries.push(entry.content ?? '');
        return;
      default:
        // add-mask carries what is to be hidden; the rest is between a step and its runner.
        return;
    }
  }

  #takeWords(text: string): void {
    if (text.trim() !== '' && !chatter.test(text)) this.#say(`act: ${text.trim()}`, 1);
  }

  #say(text: string, depth: number): void {
    const line = text === '' ? '' : `${'  '.repeat(depth)}${text}`;
    this.lines.push(line);
    this.#onLine(line);
  }
}

/** A step without a name of its own goes by its action, whose pin says nothing to people. */
function nameOf(step: string): string {
  return step.replace(/@[0-9a-f]{40}$/, '');
}

function readEntry(line: string): Entry | null {
  try {
    const entry: unknown = JSON.parse(line);
    return typeof entry === 'object' && entry !== null ? entry : null;
  } catch {
    return null;
  }
}

/** act reads these files by godotenv: double quotes, escapes. */
function dotenv(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, value]) => {
      const escaped = value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
      return `${name}="${escaped.replaceAll('$', '\\$')}"\n`;
    })
    .join('');
}
