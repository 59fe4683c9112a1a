import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Machine } from '../../../sandbox/machine.ts';

/** What `actions/checkout` leaves in a workspace: a clone of the app's repository, on this machine. */
export class Clone implements Disposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Of a checkout on the host, which plays the forge here; Git wants its owner. */
  static async of(machine: Machine, checkout: string, owner = 'root'): Promise<Clone> {
    const made = `git -C ${checkout} bundle create -q /tmp/forge.bundle --all && base64 /tmp/forge.bundle && rm /tmp/forge.bundle`;
    const { stdout } = await machine.run(`runuser -u ${owner} -- sh -c '${made}'`);
    const folder = mkdtempSync(join(tmpdir(), 'celeriac-clone-'));
    const bundle = join(folder, 'forge.bundle');
    writeFileSync(bundle, Buffer.from(stdout, 'base64'));
    const clone = new Clone(join(folder, 'work'));
    execFileSync('git', ['clone', '-q', bundle, clone.folder], { stdio: 'pipe' });
    return clone;
  }

  [Symbol.dispose](): void {
    rmSync(dirname(this.folder), { recursive: true, force: true });
  }

  git(...words: readonly string[]): string {
    const identity = ['-c', 'user.name=t', '-c', 'user.email=t@localhost'];
    return execFileSync('git', [...identity, ...words], {
      cwd: this.folder,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    }).trim();
  }

  /** Merges something: whole texts by path. */
  commit(subject: string, files: Readonly<Record<string, string>>): string {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(this.folder, path)), { recursive: true });
      writeFileSync(join(this.folder, path), text);
    }
    this.git('add', '--all');
    this.git('commit', '-q', '-m', subject);
    return this.git('rev-parse', 'HEAD');
  }

  /** The text of a file at the newest commit. */
  read(path: string): string {
    return `${this.git('show', `HEAD:${path}`)}\n`;
  }
}
