import { openAgent } from '../adapters/agent/open-agent.ts';
import type { OnNote } from '../adapters/ssh/ssh-session.ts';
import type { ConnectPolicy } from '../adapters/ssh/ssh-target.ts';
import type { HostValues } from '../config/host-inputs.ts';
import { hostProgram } from '../generated/host-program.ts';
import type { FactQuery } from '../model/facts.ts';
import type { Agent } from '../ports/agent.ts';

/**
 * Connects to the host, and starts the agent there.
 *
 * @param first what the first look will ask
 * @throws ConfigError, HostError
 */
export function openHost(
  host: Omit<HostValues, 'lock-timeout' | 'fleet-file' | 'dry-run'>,
  policy: Partial<ConnectPolicy>,
  onNote: OnNote,
  first?: FactQuery,
): Promise<Agent> {
  return openAgent(
    {
      target: {
        host: host.host,
        port: host.port,
        user: host.user,
        key: host['ssh-key'],
        passphrase: host['ssh-key-passphrase'],
        knownHosts: host['known-hosts'],
        jump: host['proxy-jump'].jump,
      },
      policy,
      program: hostProgram,
      kind: host.agent,
      first,
    },
    onNote,
  );
}
