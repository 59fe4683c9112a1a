import { runCommand } from '../../../src/cli/celeriac.ts';
import { HostError } from '../../../src/model/errors.ts';
import type { PastFact, TransactionFact } from '../../../src/model/facts/ledger.ts';
import type { FactQuery } from '../../../src/model/facts.ts';
import type { Operation } from '../../../src/model/operation.ts';
import type { JobRequest, Outcome, TransactionMeta } from '../../../src/model/outcome.ts';
import { epochSeconds, seconds } from '../../../src/model/units.ts';
import type { Agent, OnProgress } from '../../../src/ports/agent.ts';
import { brokerFact, facts, loggedFact, now } from '../verify/facts.ts';

export const transaction = '20260118T110000-4f2a';

export const deployed = (unit: string, id = transaction): TransactionFact => ({
  id,
  action: 'deploy-worker',
  holder: 'https://example.com/run/1',
  unit,
  startedAt: epochSeconds(now - 1000),
  state: 'committed',
  undoneBy: '',
  undoneWhy: '',
});

export const release = (number: number, changes: object = {}) => ({
  release: number,
  transaction: number === 0 ? null : transaction,
  at: epochSeconds(now - 1000),
  holder: 'https://example.com/run/1',
  actor: 'nika',
  sha: 'abc1234def',
  verdict: 'confirmed',
  why: '',
  state: number === 0 ? 'before' : 'unproven',
  since: epochSeconds(now - 900),
  by: 'https://example.com/run/1',
  soakWhy: '',
  figures: null,
  gateFigures: null,
  kept: true,
  ...changes,
});

export const nothingBefore: PastFact = {
  untold: [],
  open: [],
  working: null,
  awaiting: [],
  leftovers: [],
  notices: {},
};

/** A host that answers with facts, and remembers what it was asked to change. */
export class TerminalHost {
  /** Laid over the facts of a healthy host. */
  answers: Record<string, unknown> = {};
  awaiting = false;
  applied: (readonly Operation[])[] = [];
  undone: (readonly string[])[] = [];
  /** The release that had to run for each. */
  undoneOnlyFrom: (string | undefined)[] = [];
  metas: TransactionMeta[] = [];
  confirmed = 0;
  acknowledged: (readonly string[])[] = [];
  probes: JobRequest[] = [];
  /** The facts that were asked for. */
  asked: string[] = [];
  queries: FactQuery[] = [];
  /** What a probe says. */
  probeFails = false;
  apply: (onProgress: OnProgress) => Promise<Outcome> = async () => ({
    transaction,
    result: 'committed',
    steps: [],
  });
  /** Whether the release still awaited its verdict. */
  confirm: () => Promise<boolean> = async () => true;
  readonly interrupt = new AbortController();

  get agent(): Agent {
    const close = async () => {};
    return {
      hello: { kind: 'streamed' },
      clockSkew: null,
      look: async (query: FactQuery) => {
        this.asked.push(...Object.keys(query));
        this.queries.push(query);
        const releases = {
          releases: [release(0), release(1)],
          awaiting: this.awaiting
            ? { transactions: [transaction], deadline: epochSeconds(now + 500) }
            : null,
          guarded: true,
        };
        const known: Record<string, unknown> = {
          ...facts(),
          past: nothingBefore,
          logged: loggedFact(),
          broker: brokerFact(),
          consuming: { kind: 'consumes' },
          releases,
          transactions: [deployed('celery-worker.service')],
          undoing: [
            {
              id: transaction,
              steps: [
                {
                  op: 'install-unit',
                  unit: null,
                  path: null,
                  title: 'unit',
                  diff: '',
                  cut: false,
                  rows: [],
                  rowCount: 0,
                },
              ],
            },
          ],
          companions: { units: [], beside: [] },
          stores: [],
          samples: {
            samples: [],
            cursor: null,
            more: false,
            restarted: false,
            sampling: false,
            soakSeconds: null,
            soakLimits: null,
          },
          ...this.answers,
        };
        return Object.fromEntries(Object.keys(query).map((name) => [name, known[name]]));
      },
      apply: async (
        operations: readonly Operation[],
        meta: TransactionMeta,
        onProgress: OnProgress,
      ) => {
        this.applied.push(operations);
        this.metas.push(meta);
        return this.apply(onProgress);
      },
      undo: async (
        transactions: readonly string[],
        meta: TransactionMeta,
        _onProgress: OnProgress,
        newest?: string,
      ) => {
        this.undone.push(transactions);
        this.undoneOnlyFrom.push(newest);
        this.metas.push(meta);
        const step = { index: 0, op: 'install-unit', status: 'undone', message: 'unit restored' };
        const steps = [{ ...step, seconds: seconds(1) }];
        return { transaction: transactions[0] ?? '', result: 'undone', steps };
      },
      submit: async (request: JobRequest) => {
        this.probes.push(request);
        const queues = 'queues' in request ? request.queues : [];
        const state = this.probeFails ? 'failed' : 'done';
        const jobs = queues.map((where) => ({
          id: where,
          where,
          state,
          detail: '',
          seconds: seconds(1),
        }));
        return { ok: !this.probeFails, jobs, problem: null, evidence: [] };
      },
      confirm: async () => {
        this.confirmed += 1;
        return this.confirm();
      },
      acknowledge: async (told: readonly string[]) => void this.acknowledged.push(told),
      recover: async () => [],
      close,
      [Symbol.asyncDispose]: close,
    } as unknown as Agent;
  }

  async run(...words: readonly string[]) {
    let out = '';
    let err = '';
    const code = await runCommand(words, {
      terminal: {
        out: (text) => {
          out += text;
        },
        note: (line) => {
          err += `${line}\n`;
        },
      },
      interrupted: this.interrupt.signal,
      person: { name: 'root', uid: 0 },
      openAgent: async () => this.agent,
    });
    return { code, out, err };
  }
}

export const closed = (): HostError =>
  new HostError('closed.', { step: 'apply', next: 'run again' });
