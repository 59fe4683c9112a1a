import { type Seconds, seconds } from '../../model/units.ts';
import type { Clock } from '../clock.ts';
import type { HostConnection } from '../host-connection.ts';
import type { SessionOptions } from '../ssh/ssh-session.ts';
import type { HostProgram } from './agent-start.ts';

export interface AgentLimits {
  /** From the exec to the hello. */
  readonly hello: Seconds;
  readonly look: Seconds;
  /** When an app's worker and broker are asked, in a process of the app's own. */
  readonly lookAtTasks: Seconds;
  /** For one piece of what is sent, on a slow disk. */
  readonly receive: Seconds;
  /** Silence between two pieces of a snapshot. */
  readonly snapshotSilence: Seconds;
  /** What `submit` may take beyond the time-outs of its jobs. */
  readonly submitMargin: Seconds;
  /** How long to wait for the agent to leave after its bye. */
  readonly bye: Seconds;
  /** How long to try to get back to a host that works on without us. */
  readonly reconnect: Seconds;
}

export const DEFAULT_LIMITS: AgentLimits = {
  hello: seconds(60),
  look: seconds(60),
  lookAtTasks: seconds(240),
  receive: seconds(120),
  snapshotSilence: seconds(120),
  submitMargin: seconds(60),
  bye: seconds(5),
  reconnect: seconds(300),
};

interface CommonOptions {
  /** The Python program that is sent: path → source. */
  readonly program: HostProgram;
  readonly limits?: Partial<AgentLimits>;
  readonly clock?: Clock;
}

/** Instead of SSH. */
interface OtherConnection {
  readonly connect: () => Promise<HostConnection>;
}

/** What is sent, and over which connection. */
export type AgentOptions = CommonOptions & (SessionOptions | OtherConnection);
