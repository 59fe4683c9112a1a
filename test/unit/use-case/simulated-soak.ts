import { HostError } from '../../../src/model/errors.ts';
import type { LoggedFact } from '../../../src/model/facts/journal.ts';
import type { LedgerRelease, PlacedCode } from '../../../src/model/facts/ledger.ts';
import type { UnitFact } from '../../../src/model/facts/unit.ts';
import type { FactQuery } from '../../../src/model/facts.ts';
import type { Sample, SamplesQuery } from '../../../src/model/sample.ts';
import type { Proof, SoakThresholds } from '../../../src/model/soak.ts';
import { epochSeconds, type Seconds } from '../../../src/model/units.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import { realFact } from '../../lib/real-facts.ts';
import { loggedFact, unitFact } from '../verify/facts.ts';
import { begin, sampleAt } from '../verify/soak/samples.ts';

export const unit = 'celery-worker.service';

/** A page of the samples; the real host's is of about 700 KiB. */
const pageLines = 400;

export const release = (number: number, changes: Partial<LedgerRelease> = {}): LedgerRelease => ({
  release: number,
  transaction: number === 0 ? null : `2026011${number}T000000-000${number}`,
  at: begin,
  holder: 'run 1',
  actor: 'anna',
  sha: `${number}`.repeat(40),
  verdict: number === 0 ? 'none' : 'confirmed',
  why: '',
  state: number === 0 ? 'before' : 'unproven',
  since: begin,
  by: 'run 1',
  soakWhy: '',
  figures: null,
  gateFigures: null,
  kept: true,
  ...changes,
});

/** A host with a clock of its own: a ledger, a sampler that writes every minute, and its agent. */
export class SimulatedHost {
  minute = 0;
  releases: LedgerRelease[];
  readonly samples: Sample[] = [];
  sampling = true;
  /** As the deploy recorded it. */
  soakSeconds: Seconds | null = null;
  soakLimits: SoakThresholds | null = null;
  access: 'change' | 'read' = 'change';
  /** The code of the release, and what is there. */
  code: PlacedCode | null = null;
  readonly proofs: Proof[] = [];
  readonly undone: (readonly string[])[] = [];
  looks = 0;
  unit: UnitFact = unitFact();
  /** How often the journal was read. */
  readings = 0;
  /** What its worker has logged since the release; `null`: the journal cannot be read. */
  logged: LoggedFact | null = loggedFact({ since: begin, entries: 500, earlier: 100 });
  /** Something that another run does while this one judges. */
  meanwhile: () => void = () => {};
  /** The same, once the verdict is recorded. */
  afterwards: () => void = () => {};

  constructor(...releases: readonly LedgerRelease[]) {
    this.releases = [...releases];
  }

  /** Time passes; `change` says what a minute looks like, `null`: no sample. */
  pass(minutes: number, change: (minute: number) => Partial<Sample> | null = () => ({})): void {
    for (let each = 0; each < minutes; each += 1) {
      this.minute += 1;
      const changes = this.sampling ? change(this.minute) : null;
      if (changes !== null) this.samples.push(sampleAt(this.minute, changes));
    }
  }

  get agent(): Agent {
    const close = async () => {};
    return {
      hello: { kind: 'installed', access: this.access },
      look: async (query: FactQuery) => this.#look(query),
      prove: async (proof: Proof) => this.#prove(proof),
      undo: async (...[transactions, meta, , newest]: Parameters<Agent['undo']>) => {
        if (meta.unit !== unit || newest !== transactions[0]) throw new Error('not as it was seen');
        return this.#undo(transactions);
      },
      close,
      [Symbol.asyncDispose]: close,
    } as unknown as Agent;
  }

  #look(query: FactQuery): unknown {
    this.looks += 1;
    const { samples } = query;
    return {
      host: { ...realFact('host'), now: epochSeconds(begin + this.minute * 60) },
      releases: {
        releases: [...this.releases],
        awaiting: null,
        guarded: false,
        code: this.code,
      },
      transactions: [],
      companions: realFact('companions'),
      undoing: [],
      unit: this.unit,
      ...(samples !== undefined && { samples: this.#page(samples) }),
      ...(query.logged !== undefined && { logged: this.#journal() }),
    };
  }

  #journal(): LoggedFact {
    this.readings += 1;
    if (this.logged === null) throw new HostError('journalctl failed', { step: 'look', next: '' });
    return this.logged;
  }

  #page({ after }: SamplesQuery): unknown {
    const from = after?.offset ?? 0;
    const samples = this.samples.slice(from, from + pageLines);
    const offset = from + samples.length;
    return {
      samples,
      cursor: { file: 'f', offset },
      more: offset < this.samples.length,
      restarted: false,
      sampling: this.sampling,
      soakSeconds: this.soakSeconds,
      soakLimits: this.soakLimits,
    };
  }

  #prove(proof: Proof): boolean {
    this.meanwhile();
    const at = this.releases.findIndex(({ transaction }) => transaction === proof.transaction);
    const found = this.releases[at];
    if (found === undefined || (found.state !== 'unproven' && found.state !== proof.verdict)) {
      return false;
    }
    this.proofs.push(proof);
    const { verdict: state, why: soakWhy, figures } = proof;
    const since = found.state === state ? found.since : epochSeconds(begin + this.minute * 60);
    this.releases[at] = { ...found, state, soakWhy, figures, since, by: 'run 9' };
    this.sampling = false;
    this.afterwards();
    return true;
  }

  #undo(transactions: readonly string[]): unknown {
    this.undone.push(transactions);
    this.releases = this.releases.map((each) =>
      transactions.includes(each.transaction ?? '')
        ? { ...each, state: 'undone', verdict: 'rolled-back' }
        : each,
    );
    return { transaction: transactions[0], result: 'undone', steps: [] };
  }
}
