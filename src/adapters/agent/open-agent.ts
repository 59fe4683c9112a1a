import type { Agent } from '../../ports/agent.ts';
import { systemClock } from '../clock.ts';
import { type OnNote, openSession } from '../ssh/ssh-session.ts';
import { type AgentOptions, DEFAULT_LIMITS } from './agent-options.ts';
import { AgentSession } from './agent-session.ts';

/**
 * Connects, sends the agent and waits for its hello: one handshake, one exec.
 *
 * @throws ConfigError for unusable inputs; HostError when the host cannot be reached, refuses the
 * login, or cannot run the agent.
 */
export function openAgent(options: AgentOptions, onNote: OnNote): Promise<Agent> {
  const { program, kind = 'streamed', clock = systemClock, first } = options;
  return AgentSession.start({
    program,
    kind,
    limits: { ...DEFAULT_LIMITS, ...options.limits },
    clock,
    connect: 'connect' in options ? options.connect : () => openSession(options, onNote),
    onNote,
    first,
  });
}
