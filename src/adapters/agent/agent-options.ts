import type { FactQuery } from '../../model/facts.ts';
import { type Seconds, seconds } from '../../model/units.ts';
import type { Clock } from '../clock.ts';
import type { HostConnection } from '../host-connection.ts';
import type { SessionOptions } from '../ssh/ssh-session.ts';
import type { HostProgram } from './agent-start.ts';

/** Where the agent comes from. */
export type AgentKind = 'streamed' | 'installed';

export interface AgentLimits {
  /** From the exec to the hello. */
  readonly hello: Seconds;
  readonly look: Seconds;
  /** When a process of the app asks its worker and broker. */
  readonly lookAtTasks: Seconds;
  /** To store one piece of a parcel, on a slow disk. */
  readonly receive: Seconds;
  /** Silence between two pieces of a snapshot. */
  readonly snapshotSilence: Seconds;
  /** What `submit` may take beyond the timeouts of its probes. */
  readonly submitMargin: Seconds;
  /** How long to try to reconnect while a transaction continues on the host. */
  readonly reconnect: Seconds;
}

export const DEFAULT_LIMITS: AgentLimits = {
  hello: seconds(60),
  look: seconds(60),
  lookAtTasks: seconds(240),
  receive: seconds(120),
  snapshotSilence: seconds(120),
  submitMargin: seconds(60),
  reconnect: seconds(300),
};

interface CommonOptions {
  /** The Python program that is sent: path → source. */
  readonly program: HostProgram;
  /** `installed`: the program on the host; nothing is sent but requests. Default: streamed. */
  readonly kind?: AgentKind;
  readonly limits?: Partial<AgentLimits>;
  readonly clock?: Clock;
  /** What the first look will ask: it is sent together with the agent, which saves a round trip. */
  readonly first?: FactQuery | undefined;
}

/** Any other connection than SSH. */
interface OtherConnection {
  readonly connect: () => Promise<HostConnection>;
}

/** The agent's program, and how to connect to the host. */
export type AgentOptions = CommonOptions & (SessionOptions | OtherConnection);
