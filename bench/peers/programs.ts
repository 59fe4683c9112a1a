import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The programs that Celeriac is measured beside. */
export interface Peers {
  readonly pyinfra: string;
  readonly pyinfraVersion: string;
  readonly ansiblePlaybook: string;
  readonly ansibleVersion: string;
}

const tools = join(import.meta.dirname, '../../tools');

/** Installs them into the tools cache; `null`: that is not possible here, and the set-up has said so. */
export function providePeers(): Peers | null {
  const script = 'source "$1" && provide peers && printf %s "$CELERIAC_PEERS"';
  const { stdout, status } = spawnSync('bash', ['-c', script, 'bash', join(tools, 'setup.sh')], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status !== 0 || stdout === '') return null;
  const pinned = readFileSync(join(tools, 'requirements/peers.txt'), 'utf8');
  const versionOf = (name: string) => new RegExp(`^${name}==(\\S+)`, 'm').exec(pinned)?.[1] ?? '';
  return {
    pyinfra: join(stdout, 'pyinfra'),
    pyinfraVersion: versionOf('pyinfra'),
    ansiblePlaybook: join(stdout, 'ansible-playbook'),
    ansibleVersion: versionOf('ansible-core'),
  };
}
