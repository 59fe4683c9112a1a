import type { ActionName } from '../config/action-inputs.ts';
import type { PastFact } from '../model/facts/ledger.ts';
import type { FactQuery, FactsFor } from '../model/facts.ts';
import type { Finding } from '../model/operation.ts';
import type { TransactionMeta } from '../model/outcome.ts';
import { describePast } from '../plan/past.ts';
import type { Agent, OnProgress } from '../ports/agent.ts';
import { describeDeed } from '../report/failure.ts';

/** What the first look needs of the run. */
export interface FirstLookTools {
  readonly action: ActionName;
  readonly dryRun: boolean;
  /** Whether what it tells counts as told; a run that is to change nothing leaves it to the next one. */
  readonly acknowledges: boolean;
  /** Who runs this, for the host's lock and ledger. */
  meta(): TransactionMeta;
  onProgress(): OnProgress;
  group<T>(title: string, body: () => Promise<T>): Promise<T>;
  tell(findings: readonly Finding[]): void;
  /** What became of an earlier transaction; `error`: not all of it could be undone. */
  tellDeed(level: 'warning' | 'error', message: string): void;
  /** Waits until everything said so far has been delivered. */
  delivered(): Promise<void>;
}

/** What the first look asks besides what it is asked for. */
export const withPast = <const Query extends FactQuery>(query: Query) => ({ past: {}, ...query });

/** Looks at a host; the first look also tells what happened there, and finishes what was left unfinished. */
export class FirstLook {
  readonly #tools: FirstLookTools;
  #past: PastFact | null = null;
  #told: readonly Finding[] = [];

  constructor(tools: FirstLookTools) {
    this.#tools = tools;
  }

  /** `null`: not looked at yet. */
  get past(): PastFact | null {
    return this.#past;
  }

  /** What it told of the past. */
  get told(): readonly Finding[] {
    return this.#told;
  }

  /** @throws HostError */
  async look<const Query extends FactQuery>(agent: Agent, query: Query): Promise<FactsFor<Query>> {
    if (this.#past !== null) return agent.look(query);
    const { action, dryRun, acknowledges, tell, delivered } = this.#tools;
    const facts = await agent.look(withPast(query));
    const { past } = facts as unknown as FactsFor<{ past: Record<string, never> }>;
    this.#past = past;
    // A verification judges the host as it finds it.
    const mayRecover = !dryRun && action !== 'verify';
    // An open transaction may also be another run at work: then this waits and recovers nothing.
    const unfinished = past.open.length > 0 || (past.leftovers.length > 0 && past.working === null);
    const recovered = unfinished && mayRecover ? await this.#recover(agent) : [];
    const otherwise = action === 'verify' ? 'judges' : 'plans';
    this.#told = describePast(past, mayRecover ? 'works' : otherwise);
    tell(this.#told);
    const told = [...past.untold.map(({ id }) => id), ...recovered];
    if (told.length > 0 && acknowledges && !dryRun) {
      // A run that dies before its report is out must not hide it from the next one.
      await delivered();
      await agent.acknowledge(told);
    }
    return unfinished && mayRecover ? agent.look(query) : facts;
  }

  /** Returns the transactions that were undone, and reported. */
  async #recover(agent: Agent): Promise<readonly string[]> {
    const { group, meta, onProgress, tellDeed } = this.#tools;
    const deeds = await group('an earlier run did not finish', () =>
      agent.recover(meta(), onProgress()),
    );
    for (const deed of deeds) {
      const { message, whole } = describeDeed(deed);
      tellDeed(whole ? 'warning' : 'error', message);
    }
    return deeds.map(({ transaction }) => transaction);
  }
}
