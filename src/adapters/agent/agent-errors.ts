import { HostError } from '../../model/errors.ts';
import type { Seconds } from '../../model/units.ts';
import { lastLines } from '../last-lines.ts';
import type { Fault } from '../shapes/answers.ts';

const REPORT_BUG = 'this is a bug in Celeriac: report it with the lines above';

export function faultError(step: string, fault: Fault): HostError {
  return new HostError(fault.message, {
    step,
    ...(fault.ran ? { ran: fault.ran } : {}),
    ...(fault.exitCode === undefined ? {} : { exitCode: fault.exitCode }),
    evidence: fault.evidence ?? [],
    undone: [],
    next: fault.next || 'see the lines above, and `journalctl` on the server',
  });
}

export function timeoutError(step: string, limit: Seconds): HostError {
  return new HostError(`the host did not answer within ${limit} s. Step: ${step}.`, {
    step,
    exitCode: null,
    evidence: [],
    next: 'check whether the server is overloaded or one of its disks hangs (`uptime`, `dmesg`), then run again',
  });
}

export function closedError(step: string): HostError {
  return new HostError(`the session with the host is closed. Step: ${step}.`, {
    step,
    evidence: [],
    next: 'run again: each run starts from the state that it finds on the host',
  });
}

export function protocolError(
  step: string,
  problem: string,
  evidence: readonly string[],
): HostError {
  return new HostError(`unexpected message from the agent: ${problem}. Step: ${step}.`, {
    step,
    evidence,
    next: REPORT_BUG,
  });
}

/** The host asked for the agent, but its program could not be read or packed here. */
export function unsentError(step: string, cause: string): HostError {
  return new HostError(`the agent was not sent to the host: ${cause}. Step: ${step}.`, {
    step,
    evidence: [],
    next: 'run again; if that does not help, install Celeriac again',
  });
}

/** A request that does not fit in one line of the protocol. */
export function oversizeError(step: string, limitBytes: number): HostError {
  return new HostError(
    `the request is larger than ${limitBytes} bytes, so it was not sent. Step: ${step}.`,
    { step, evidence: [], next: REPORT_BUG },
  );
}

/** A message of an unexpected shape. `what`: `the agent's fact 'swap'`. */
export function shapeError(step: string, what: string, problem: string): HostError {
  return new HostError(`${what} has an unexpected shape: ${problem}`, {
    step,
    evidence: [],
    next: REPORT_BUG,
  });
}

/** The agent's process exited while a request was pending. */
export function endedError(
  step: string,
  exitCode: number | null,
  signal: string | null,
  stderr: string,
): HostError {
  const how = exitCode === null ? (signal ?? 'no exit code') : `exit code ${exitCode}`;
  return new HostError(`the agent exited unexpectedly (${how}). Step: ${step}.`, {
    step,
    ran: ['python3'],
    exitCode,
    evidence: lastLines(stderr, 20),
    next: 'see the lines above; if it was killed, look for the out-of-memory killer in `journalctl -k`; then run again: each run starts from the state that it finds on the host',
  });
}
