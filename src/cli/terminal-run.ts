import { setTimeout as wait } from 'node:timers/promises';
import type { FactQuery, FactsFor } from '../model/facts.ts';
import type { Plan } from '../model/operation.ts';
import type { TransactionMeta } from '../model/outcome.ts';
import type { Agent, OnProgress } from '../ports/agent.ts';
import { escapeJson } from '../report/escape.ts';
import { describeIdle, renderPlanText } from '../report/plan-view.ts';
import { renderProgress } from '../report/progress.ts';
import type { Pause, Result, Run } from '../use-case/run.ts';
import type { Terminal } from './terminal.ts';

export interface TerminalRunOptions {
  readonly terminal: Terminal;
  readonly meta: TransactionMeta;
  readonly dryRun: boolean;
  /** Print the result as one JSON document, and nothing else to stdout. */
  readonly json: boolean;
  /** Ends a pause immediately. */
  readonly interrupted: AbortSignal;
}

/** A run on a terminal. */
export class TerminalRun implements Run {
  /** Whoever runs it here has the pages. */
  readonly docs = '';
  readonly dryRun: boolean;
  readonly #terminal: Terminal;
  readonly #meta: TransactionMeta;
  readonly #json: boolean;
  readonly #interrupted: AbortSignal;
  /** Why there is nothing to do, if the plan that was shown says so. */
  #idle = '';

  constructor({ terminal, meta, dryRun, json, interrupted }: TerminalRunOptions) {
    this.dryRun = dryRun;
    this.#terminal = terminal;
    this.#meta = meta;
    this.#json = json;
    this.#interrupted = interrupted;
  }

  meta(): TransactionMeta {
    return this.#meta;
  }

  look<const Query extends FactQuery>(agent: Agent, query: Query): Promise<FactsFor<Query>> {
    return agent.look(query);
  }

  onProgress(plan?: Plan): OnProgress {
    return (progress) => {
      const line = renderProgress(progress, plan);
      if (line !== null) this.#terminal.note(line);
    };
  }

  group<T>(_title: string, body: () => Promise<T>): Promise<T> {
    return body();
  }

  async showDetails(title: string, lines: readonly string[]): Promise<void> {
    if (this.#json) return;
    for (const line of [title, ...lines.map((line) => `  ${line}`)]) this.#terminal.note(line);
  }

  async showPlan(plan: Plan): Promise<void> {
    if (this.#json) return;
    if (plan.operations.length === 0) this.#idle = describeIdle(plan);
    this.#terminal.out(`${renderPlanText(plan)}\n`);
  }

  async pause({ seconds, why }: Pause): Promise<void> {
    this.#terminal.note(why);
    await wait(seconds * 1000, undefined, { signal: this.#interrupted });
  }

  warn(message: string): void {
    this.#terminal.note(`warning: ${message}`);
  }

  /** There are no later steps on a terminal. */
  output(): void {}

  report(_agent: Agent, { sentence, data }: Result): void {
    if (!this.#json) this.#say(sentence);
    else if (data === undefined) this.#terminal.note(sentence);
    else this.#terminal.out(`${escapeJson(JSON.stringify(data, null, 2))}\n`);
  }

  /** What the plan has said is not said again below it. */
  #say(sentence: string): void {
    const said = this.#idle !== '' && sentence.startsWith(this.#idle);
    const rest = said ? sentence.slice(this.#idle.length).trimStart() : sentence;
    if (rest !== '') this.#terminal.out(`${rest}\n`);
  }
}
