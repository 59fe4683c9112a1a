import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const root = join(import.meta.dirname, '../..');

/** What a workflow needs to know of a host: the repository's variables and its secret. */
export interface WorkflowHost {
  readonly host: string;
  readonly sshPort: number;
  readonly key: string;
  readonly knownHosts: string;
}

export interface WorkflowRun {
  readonly code: number;
  readonly lines: readonly string[];
  /** The job summaries, in the order of the steps. */
  readonly summaries: readonly string[];
}

export interface WorkflowOptions {
  readonly variables?: Readonly<Record<string, string>>;
  readonly inputs?: Readonly<Record<string, string>>;
  readonly onLine?: (line: string) => void;
  /** The repository to run in; this one when left out. */
  readonly directory?: string;
}

/**
 * Runs a workflow of this repository by act in host mode: the YAML as it is, no Docker. The log's
 * lines come as a runner shows them; the job summaries are taken out of act's JSON log.
 */
export async function runWorkflow(
  file: string,
  event: 'push' | 'workflow_dispatch' | 'schedule',
  host: WorkflowHost,
  options: WorkflowOptions = {},
): Promise<WorkflowRun> {
  const folder = await mkdtemp(join(tmpdir(), 'celeriac-act-'));
  try {
    return await runIn(folder, file, event, host, options);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function runIn(
  folder: string,
  file: string,
  event: string,
  host: WorkflowHost,
  options: WorkflowOptions,
): Promise<WorkflowRun> {
  const variables = {
    CELERIAC_HOST: host.host,
    CELERIAC_PORT: String(host.sshPort),
    CELERIAC_KNOWN_HOSTS: host.knownHosts,
    ...options.variables,
  };
  const varFile = join(folder, 'vars');
  const secretFile = join(folder, 'secrets');
  const eventFile = join(folder, 'event.json');
  await writeFile(varFile, dotenv(variables));
  await writeFile(secretFile, dotenv({ CELERIAC_SSH_KEY: host.key }), { mode: 0o600 });
  await writeFile(eventFile, JSON.stringify({ ref: 'refs/heads/main', inputs: options.inputs }));
  const args = [
    event,
    ...['--workflows', join('.github/workflows', file)],
    ...['--platform', 'ubuntu-latest=-self-hosted'],
    ...['--var-file', varFile, '--secret-file', secretFile, '--eventpath', eventFile],
    ...Object.entries(options.inputs ?? {}).flatMap(([name, value]) => [
      '--input',
      `${name}=${value}`,
    ]),
    '--json',
  ];
  const child = spawn('act', args, {
    cwd: options.directory ?? root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ACT_DISABLE_VERSION_CHECK: '1', HOME: folder, XDG_CACHE_HOME: folder },
  });
  const lines: string[] = [];
  const summaries: string[] = [];
  const take = (raw: string): void => {
    const entry = readEntry(raw);
    if (entry.summary !== null) {
      summaries.push(entry.summary);
    }
    if (entry.line !== null) {
      lines.push(entry.line);
      options.onLine?.(entry.line);
    }
  };
  const readers = [child.stdout, child.stderr].map((input) => createInterface({ input }));
  for (const reader of readers) {
    reader.on('line', take);
  }
  const code = await new Promise<number>((resolve, reject) => {
    child.on('error', reject).on('close', (status) => resolve(status ?? 1));
  });
  return { code, lines, summaries };
}

interface Entry {
  readonly line: string | null;
  readonly summary: string | null;
}

/** One line of act's JSON log. */
function readEntry(raw: string): Entry {
  let entry: Record<string, unknown>;
  try {
    entry = JSON.parse(raw) as Record<string, unknown>;
  } catch {
    return { line: raw, summary: null };
  }
  if (entry.command === 'summary' && typeof entry.content === 'string') {
    return { line: null, summary: entry.content };
  }
  const message = String(entry.msg ?? '').trimEnd();
  return { line: message === '' ? null : message, summary: null };
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
