import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Machine } from '../../../sandbox/machine.ts';

const program = join(import.meta.dirname, '../../../cli/dist/index.js');

/** What `celeriac init` did in an empty repository. */
export interface NewRepository {
  readonly folder: string;
  readonly code: number;
  readonly out: string;
  readonly err: string;
  read(path: string): string;
  /** `celeriac init` once more, with further flags. */
  again(...words: readonly string[]): Promise<NewRepository>;
  remove(): void;
}

/** An empty repository, and `celeriac init --yes` in it, by the program that people start. */
export function initFor(machine: Machine, ...words: readonly string[]): Promise<NewRepository> {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-new-'));
  execFileSync('git', ['init', '--quiet', '-b', 'main', folder]);
  return run(machine, folder, words);
}

function run(machine: Machine, folder: string, words: readonly string[]): Promise<NewRepository> {
  const key = join(folder, '.git', 'key');
  writeFileSync(key, machine.key, { mode: 0o600 });
  const known = join(folder, '.git', 'known_hosts');
  writeFileSync(known, '');
  const host = ['--host', machine.host, '--port', String(machine.sshPort)];
  const files = ['--ssh-key-file', key, '--known-hosts-file', known, '--repository', folder];
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [program, 'init', ...host, ...files, '--yes', ...words],
      (error, out, err) =>
        resolve({
          folder,
          code: error === null ? 0 : Number(error.code),
          out,
          err,
          read: (path) => readFileSync(join(folder, path), 'utf8'),
          again: (...more) => run(machine, folder, more),
          remove: () => rmSync(folder, { recursive: true, force: true }),
        }),
    );
  });
}

/** The fingerprint of the host's own key, as its console prints it. */
export async function printOnConsole(machine: Machine): Promise<string> {
  const command = 'ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub';
  return (await machine.run(command)).stdout.split(' ')[1] ?? '';
}
