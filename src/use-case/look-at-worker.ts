import type { VerifyDesired } from '../config/verify-desired.ts';
import type { TransactionMeta } from '../model/outcome.ts';
import type { Report } from '../model/report.ts';
import type { SoakWish } from '../model/soak.ts';
import type { Agent, OnProgress } from '../ports/agent.ts';
import { describeAtWork } from '../report/at-work.ts';
import { describeVerdict } from '../report/summary.ts';
import type { Known } from '../verify/soak/besides.ts';
import { straysOf } from './strays-of.ts';
import { verifyHost } from './verify-host.ts';
import { gatherReport, type SampleMemory } from './verify-report.ts';

/** Checks of what a look does not do: "not done" is no news. */
const notMade: ReadonlySet<string> = new Set(['gate', 'stuck-jobs']);

/** What a look at a worker is about. */
export interface LookSubject {
  /** As the user gave it. */
  readonly host: string;
  readonly meta: TransactionMeta;
  readonly soakLimits: SoakWish;
  readonly secrets: readonly string[];
  /** For how long a job of the release is stuck, where somebody has looked. */
  readonly oldestJob?: Known;
}

/**
 * The report of a worker as it is now: as verify makes it, but no probe is sent, and the app's tables are
 * not read.
 *
 * @param memory what earlier looks have read of the samples
 * @throws ConfigError when there is no such unit
 * @throws HostError when the host cannot be reached
 */
export async function lookAtWorker(
  agent: Agent,
  onProgress: OnProgress,
  desired: VerifyDesired,
  subject: LookSubject,
  memory: SampleMemory,
): Promise<Report> {
  const ports = {
    agent,
    onProgress,
    // Only a gate waits.
    pause: async () => {},
    findStrays: straysOf,
    findStuckRows: async () =>
      ({ kind: 'not-read', why: '`verify` reads the tables of the app' }) as const,
  };
  // Before the others: what ends meanwhile has still changed what they saw.
  const { past } = await agent.look({ past: {} });
  const looked = { ...desired, gate: { kind: 'none' as const }, dryRun: true };
  const { verdict: judged, evidence } = await verifyHost(ports, looked);
  const checks = judged.checks.filter(({ id }) => !notMade.has(id));
  const verdict = { ...judged, checks };
  const sentence = [describeVerdict(verdict), ...describeAtWork(past)].join(' ');
  return gatherReport(agent, { ...subject, verdict, evidence, sentence }, memory);
}
