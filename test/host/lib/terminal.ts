import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const main = join(import.meta.dirname, '../../../cli/main.ts');

/** What a command printed, and its exit code. */
export interface Said {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** A person at a terminal, with a home of their own; the command from the sources, as people type it. */
export class Terminal implements Disposable {
  readonly home: string;
  readonly ssh: string;

  /** @param config of ssh, without the keys and the pins */
  constructor({
    config,
    key,
    knownHosts,
  }: {
    readonly config: readonly string[];
    readonly key: string;
    readonly knownHosts: string;
  }) {
    this.home = mkdtempSync(join(tmpdir(), 'celeriac-terminal-'));
    this.ssh = join(this.home, '.ssh');
    mkdirSync(this.ssh, { mode: 0o700 });
    writeFileSync(join(this.ssh, 'key'), key);
    chmodSync(join(this.ssh, 'key'), 0o600);
    writeFileSync(join(this.ssh, 'pins'), knownHosts);
    const everywhere = ['Host *', '  UserKnownHostsFile ~/.ssh/pins', '  Include keys', ''];
    writeFileSync(join(this.ssh, 'config'), [...config, ...everywhere].join('\n'));
    writeFileSync(join(this.ssh, 'keys'), 'IdentityFile ~/.ssh/key\n');
  }

  /** Runs `celeriac`; `onLine` may interrupt it. */
  run(
    words: readonly string[],
    {
      env = {},
      onLine = () => {},
    }: {
      readonly env?: Readonly<Record<string, string>>;
      readonly onLine?: (text: string, interrupt: () => void) => void;
    } = {},
  ): Promise<Said> {
    const child = spawn(
      process.execPath,
      ['--disable-warning=MODULE_TYPELESS_PACKAGE_JSON', main, ...words],
      { cwd: this.home, env: { ...process.env, HOME: this.home, SSH_AUTH_SOCK: '', ...env } },
    );
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
      onLine(text, () => child.kill('SIGINT'));
    });
    return new Promise((resolve) => {
      child.on('close', (code) => resolve({ code, out, err }));
    });
  }

  [Symbol.dispose](): void {
    rmSync(this.home, { recursive: true, force: true });
  }
}
