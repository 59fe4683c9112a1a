import type { LedgerRelease } from '../model/facts.ts';
import type { Sample, SamplesFact } from '../model/sample.ts';
import type { SoakFigures, SoakLimits, SoakReport, SoakVerdict } from '../model/soak.ts';
import type { Agent } from '../ports/agent.ts';
import { compareFigures, lastProven } from '../verify/soak/compare.ts';
import { figuresOf } from '../verify/soak/figures.ts';
import { judgeSoak, samplesSince } from '../verify/soak/judge.ts';

/** What the host knows of the release that runs. */
export interface SoakSeen {
  /** `null`: no release of Celeriac runs. */
  readonly release: LedgerRelease | null;
  readonly releases: readonly LedgerRelease[];
  /** Also from before the release: all that the host keeps, of a release that is unproven. */
  readonly samples: readonly Sample[];
  readonly sampling: boolean;
  /** `null` unless the release is unproven. */
  readonly verdict: SoakVerdict | null;
  readonly figures: SoakFigures | null;
  readonly comparison: SoakReport['comparison'];
}

/** Far more than the host keeps: it would not end otherwise if it answered the same for ever. */
const mostPages = 1000;

/** Reads the ledger and the samples, and judges the release if it is unproven. Changes nothing. */
export async function lookAtSoak(
  agent: Pick<Agent, 'look'>,
  unit: string,
  limits: SoakLimits,
): Promise<SoakSeen> {
  const facts = await agent.look({
    host: {},
    releases: { unit },
    transactions: {},
    samples: { unit, after: null },
  });
  const { releases } = facts.releases;
  const release = currentRelease(releases);
  const isJudged = release?.state === 'unproven';
  const samples = isJudged ? await readSamples(agent, unit, facts.samples) : facts.samples.samples;
  const known = { release, releases, samples, sampling: facts.samples.sampling };
  if (!isJudged) {
    const figures = release?.figures ?? null;
    return { ...known, verdict: null, figures, comparison: compare(release, releases, figures) };
  }
  const undone = releases.filter(({ state }) => state === 'undone').map(({ since }) => since);
  const evidence = {
    since: release.since,
    samples,
    // A roll-back restarts the worker, too.
    transactions: [...facts.transactions.map(({ startedAt }) => startedAt), ...undone],
    now: facts.host.now,
  };
  const verdict = judgeSoak(evidence, limits);
  const figures = figuresOf(
    samplesSince(evidence).filter(
      ({ at }) => verdict.decidedAt === null || at <= verdict.decidedAt,
    ),
  );
  return { ...known, verdict, figures, comparison: compare(release, releases, figures) };
}

/** The newest that was not undone. */
export const currentRelease = (releases: readonly LedgerRelease[]): LedgerRelease | null =>
  releases.findLast(({ state }) => state !== 'before' && state !== 'undone') ?? null;

function compare(
  release: LedgerRelease | null,
  releases: readonly LedgerRelease[],
  figures: SoakFigures | null,
): SoakReport['comparison'] {
  const before = release === null ? null : lastProven(releases, release.release);
  if (figures === null || before === null || before.figures === null) return null;
  return { release: before.release, rows: compareFigures(before.figures, figures) };
}

async function readSamples(
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
