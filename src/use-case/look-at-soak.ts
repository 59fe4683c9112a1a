import { HostError } from '../model/errors.ts';
import type { LedgerRelease } from '../model/facts/ledger.ts';
import type { Sample, SamplesFact } from '../model/sample.ts';
import type { SoakWish } from '../model/soak.ts';
import type { EpochSeconds } from '../model/units.ts';
import type { Agent } from '../ports/agent.ts';
import { ranSince } from '../verify/released-at.ts';
import { type Known, type SoakBesides, signaturesOf } from '../verify/soak/besides.ts';
import {
  currentRelease,
  type JudgedRelease,
  judgeRelease,
  type SoakMemory,
} from '../verify/soak/release.ts';

/** For how long a job of the release is stuck; `since` when the release runs. */
export type FindOldestJob = (since: EpochSeconds) => Promise<Known>;

/** What the host knows of the release that runs. */
export interface SoakSeen extends JudgedRelease {
  readonly releases: readonly LedgerRelease[];
  readonly sampling: boolean;
  /** The host's clock. */
  readonly now: EpochSeconds;
  /** What it was judged by. */
  readonly memory: SoakMemory;
}

/** Far more than the host keeps: it would not end otherwise if it answered the same for ever. */
const mostPages = 100;

/**
 * Reads the ledger and the samples, and judges the release if it is unproven. Changes nothing, and reads
 * neither the journal nor the jobs: no verdict depends on them.
 */
export async function lookAtSoak(
  agent: Pick<Agent, 'look'>,
  unit: string,
  wish: SoakWish,
): Promise<SoakSeen> {
  const facts = await agent.look({
    host: {},
    releases: { unit },
    transactions: {},
    samples: { unit, after: null },
  });
  const { releases } = facts.releases;
  const isJudged = currentRelease(releases)?.state === 'unproven';
  const samples = isJudged ? await readAll(agent, unit, facts.samples) : [];
  const { sampling, soakSeconds, soakLimits } = facts.samples;
  const record = { soakSeconds, soakLimits };
  const { transactions, host } = facts;
  const { code = null } = facts.releases;
  const memory = { releases, transactions, samples, record, now: host.now, code, sampling };
  return { ...judgeRelease(memory, wish), releases, sampling, now: memory.now, memory };
}

/** The same release, with what is compared but is in no sample. It can take as long as a copy of a database. */
export async function lookBesides(
  agent: Pick<Agent, 'look'>,
  unit: string,
  wish: SoakWish,
  seen: SoakSeen,
  findOldestJob: FindOldestJob,
): Promise<SoakSeen> {
  const { release, memory, verdict } = seen;
  if (release === null) return seen;
  const oldestJobSeconds = await findOldestJob(ranSince(release, memory.releases));
  const errorSignatures = await countSignatures(
    agent,
    unit,
    release.since,
    verdict?.decidedAt ?? null,
  );
  return { ...seen, ...judgeRelease(memory, wish, { errorSignatures, oldestJobSeconds }) };
}

async function countSignatures(
  agent: Pick<Agent, 'look'>,
  unit: string,
  since: EpochSeconds,
  decidedAt: EpochSeconds | null,
): Promise<SoakBesides['errorSignatures']> {
  try {
    const { logged } = await agent.look({ logged: { unit, since } });
    return signaturesOf(logged, since, decidedAt);
  } catch (error) {
    // What is only compared fails no soak.
    if (!(error instanceof HostError)) throw error;
    return { why: `the journal could not be read (${error.message})` };
  }
}

async function readAll(
  agent: Pick<Agent, 'look'>,
  unit: string,
  first: SamplesFact,
): Promise<readonly Sample[]> {
  let samples = [...first.samples];
  let page = first;
  for (let pages = 1; page.more && pages < mostPages; pages += 1) {
    page = (await agent.look({ samples: { unit, after: page.cursor } })).samples;
    // The host began a new file meanwhile, and no longer has the one that was read.
    samples = page.restarted ? [...page.samples] : samples.concat(page.samples);
  }
  return samples;
}
