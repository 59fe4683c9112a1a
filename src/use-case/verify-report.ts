import { version } from '../generated/version.ts';
import { HostError } from '../model/errors.ts';
import type { LedgerRelease } from '../model/facts/ledger.ts';
import type { TransactionMeta } from '../model/outcome.ts';
import type { Report } from '../model/report.ts';
import type { Sample, SampleCursor, SamplesFact } from '../model/sample.ts';
import type { SoakRecord, SoakWish } from '../model/soak.ts';
import type { Agent } from '../ports/agent.ts';
import { hideSecrets } from '../report/hide-secrets.ts';
import { latest, type StuckSearch, type VerifyEvidence } from '../verify/evidence.ts';
import { buildReport, shownTransactions } from '../verify/report.ts';
import { type Known, notLookedAt, type SoakBesides, signaturesOf } from '../verify/soak/besides.ts';
import { currentRelease, judgeRelease } from '../verify/soak/release.ts';
import type { Verification } from './verify-host.ts';

/** What a report is about, and what is known of it already. */
export interface ReportSubject extends Verification {
  /** As the user gave it. */
  readonly host: string;
  readonly meta: TransactionMeta;
  readonly sentence: string;
  /** What a release is judged by until it is proven. */
  readonly soakLimits: SoakWish;
  /** Values that must not be in it. */
  readonly secrets: readonly string[];
  /** For how long a job of the release is stuck, if `evidence` does not tell. */
  readonly oldestJob?: Known;
}

/** Eight days of samples are about ten answers. */
const mostAnswers = 20;

/** What was read of the samples: the next look goes on from there. */
export interface SampleMemory {
  samples: Sample[];
  after: SampleCursor | null;
  /** As the host has recorded it at the last look. */
  record: SoakRecord;
  /** Whether the host goes on taking them. */
  sampling: boolean;
}

export const emptyMemory = (): SampleMemory => ({
  samples: [],
  after: null,
  record: { soakSeconds: null, soakLimits: null },
  sampling: false,
});

/**
 * The report of a worker: what verify has seen, and what the host remembers of releases, repairs
 * and samples. What cannot be read is `null` in it.
 */
export async function gatherReport(
  agent: Pick<Agent, 'look'>,
  { host, meta, sentence, verdict, evidence, soakLimits, secrets, oldestJob }: ReportSubject,
  remembered: SampleMemory = emptyMemory(),
): Promise<Report> {
  const unit = evidence.before.unit.name;
  const [ledger, samples] = await Promise.all([
    maybe(() => agent.look({ releases: { unit }, transactions: { unit } })),
    maybe(() => readSamples(agent, unit, remembered)),
  ]);
  const releases = ledger?.releases ?? latest(evidence).releases;
  const shown = ledger === null ? [] : shownTransactions(releases, ledger.transactions);
  const steps =
    shown.length === 0
      ? { undoing: [] }
      : await maybe(() => agent.look({ undoing: { transactions: shown } }));
  const memory = {
    releases: releases.releases,
    transactions: ledger?.transactions ?? [],
    samples: samples ?? [],
    record: remembered.record,
    now: latest(evidence).host.now,
    code: releases.code ?? null,
    sampling: remembered.sampling,
  };
  const isSoaked = samples !== null && soakLimits.wanted > 0;
  const soak = isSoaked
    ? judgeRelease(memory, soakLimits, besidesOf(memory.releases, evidence, oldestJob))
    : null;
  const report = buildReport({
    celeriac: version,
    host,
    by: { run: meta.holder, actor: meta.actor ?? '', sha: meta.sha },
    verdict,
    sentence,
    evidence,
    releases,
    samples,
    transactions: ledger?.transactions ?? null,
    steps: ledger === null ? null : (steps?.undoing ?? null),
    // Nothing is being proven by samples that nobody takes (`soak-hours: 0`).
    soak:
      soak?.verdict?.state === 'unproven' && !remembered.sampling ? null : (soak?.verdict ?? null),
    comparison: soak?.comparison ?? null,
  });
  return hideSecrets(report, secrets);
}

function besidesOf(
  releases: readonly LedgerRelease[],
  { logged, stuck }: VerifyEvidence,
  oldestJob: Known = oldestOf(stuck),
): SoakBesides {
  const release = currentRelease(releases);
  if (release === null) return notLookedAt;
  return { errorSignatures: signaturesOf(logged, release.since), oldestJobSeconds: oldestJob };
}

function oldestOf(stuck: StuckSearch): Known {
  if (stuck.kind === 'not-read') return { why: stuck.why };
  if (stuck.rows.some(({ inherited }) => inherited > 0)) {
    return { why: 'some have been stuck since before this release' };
  }
  return { value: Math.round(Math.max(0, ...stuck.rows.map((row) => row.oldestAgeSeconds))) };
}

/**
 * The samples of a unit, oldest first; `null`: the host has none.
 *
 * @throws HostError
 */
async function readSamples(
  agent: Pick<Agent, 'look'>,
  unit: string,
  memory: SampleMemory,
): Promise<readonly Sample[] | null> {
  for (let answer = 0; answer < mostAnswers; answer += 1) {
    const fact: SamplesFact = await ask(agent, unit, memory.after);
    // Its file was replaced meanwhile: what follows begins with the oldest sample again.
    if (fact.restarted || fact.cursor === null) memory.samples = [];
    memory.samples.push(...fact.samples);
    memory.after = fact.cursor;
    const { soakSeconds, soakLimits } = fact;
    memory.sampling = fact.sampling;
    memory.record = { soakSeconds, soakLimits };
    if (fact.cursor === null || !fact.more) break;
  }
  return memory.samples.length === 0 ? null : [...memory.samples];
}

const ask = async (agent: Pick<Agent, 'look'>, unit: string, after: SampleCursor | null) =>
  (await agent.look({ samples: { unit, after } })).samples;

/** `null`: the host could not tell, or its agent is older than the question. */
async function maybe<Value>(look: () => Promise<Value>): Promise<Value | null> {
  try {
    return await look();
  } catch (error) {
    if (error instanceof HostError) return null;
    throw error;
  }
}
