import { setTimeout as wait } from 'node:timers/promises';
import type { FactQuery, FactsFor } from '../model/facts.ts';
import type { Plan } from '../model/operation.ts';
import type { TransactionMeta } from '../model/outcome.ts';
import type { Agent, OnProgress } from '../ports/agent.ts';
import { escapeJson } from '../report/escape.ts';
import { describeIdle, renderPlanText } from '../report/plan-view.ts';
import { renderProgress } from '../report/progress.ts';
import type { Pause, Result, Run } from '../use-case/run.ts';
import type { RunDocument } from './run-document.ts';
import { Standing } from './standing.ts';
import type { Terminal } from './terminal.ts';

export interface TerminalRunOptions {
  readonly terminal: Terminal;
  readonly meta: TransactionMeta;
  readonly dryRun: boolean;
  /** Print the result as one JSON document, and nothing else to stdout. */
  readonly json: boolean;
  /** Collects what is printed at the end (`--json`); absent: results that have data print it. */
  readonly document?: RunDocument;
  /** Ends a pause immediately. */
  readonly interrupted: AbortSignal;
}

/** A run on a terminal. */
export class TerminalRun implements Run {
  /** Whoever runs it here has the pages. */
  readonly docs = '';
  readonly dryRun: boolean;
  /** How far it is on the host. */
  readonly standing = new Standing();
  readonly #terminal: Terminal;
  readonly #meta: TransactionMeta;
  readonly #json: boolean;
  /** What `--json` prints at the end; `undefined`: nothing does. */
  readonly document: RunDocument | undefined;
  readonly #interrupted: AbortSignal;
  /** Why there is nothing to do, if the plan that was shown says so. */
  #idle = '';

  constructor({ terminal, meta, dryRun, json, document, interrupted }: TerminalRunOptions) {
    this.dryRun = dryRun;
    this.#terminal = terminal;
    this.#meta = meta;
    this.#json = json;
    this.document = document;
    this.#interrupted = interrupted;
  }

  meta(unit?: string): TransactionMeta {
    return unit === undefined ? this.#meta : { ...this.#meta, unit };
  }

  look<const Query extends FactQuery>(agent: Agent, query: Query): Promise<FactsFor<Query>> {
    return agent.look(query);
  }

  onProgress(plan?: Plan): OnProgress {
    return (progress) => {
      if (progress.kind === 'opened') this.standing.open(progress.transactions);
      const line = renderProgress(progress, plan);
      if (line !== null) this.#terminal.note(line);
    };
  }

  /** What a use case groups is work on the host. */
  group<T>(_title: string, body: () => Promise<T>): Promise<T> {
    this.standing.ask();
    return body();
  }

  async showDetails(title: string, lines: readonly string[]): Promise<void> {
    for (const line of [title, ...lines.map((line) => `  ${line}`)]) this.#terminal.note(line);
  }

  async showPlan(plan: Plan): Promise<void> {
    this.document?.showPlan(plan);
    if (plan.operations.length === 0) this.#idle = describeIdle(plan);
    const text = renderPlanText(plan);
    if (this.#json) this.#terminal.note(text);
    else this.#terminal.out(`${text}\n`);
  }

  async pause({ seconds, why }: Pause): Promise<void> {
    this.#terminal.note(why);
    await wait(seconds * 1000, undefined, { signal: this.#interrupted });
  }

  warn(message: string): void {
    this.document?.warn(message);
    this.#terminal.note(`warning: ${message}`);
  }

  /** There are no later steps on a terminal, but programs read it. */
  output(name: string, value: string): void {
    this.document?.output(name, value);
  }

  report(_agent: Agent, result: Result): void {
    const { sentence, data, outcome, findings } = result;
    this.standing.end(outcome);
    this.document?.report(result);
    // Those of the plan are shown with it.
    for (const { level, message } of findings) this.#terminal.note(`${level}: ${message}`);
    if (!this.#json) this.#say(sentence);
    else if (data === undefined || this.document !== undefined) this.#terminal.note(sentence);
    else this.printJson(data);
  }

  /** A result: on stdout, unless that is for the document. */
  say(text: string): void {
    if (this.#json) this.#terminal.note(text);
    else this.#terminal.out(`${text}\n`);
  }

  note(line: string): void {
    this.#terminal.note(line);
  }

  /** To stdout, as it is. */
  print(text: string): void {
    this.#terminal.out(text);
  }

  printJson(data: object): void {
    this.print(`${escapeJson(JSON.stringify(data, null, 2))}\n`);
  }

  /** What the plan has said is not said again below it. */
  #say(sentence: string): void {
    const said = this.#idle !== '' && sentence.startsWith(this.#idle);
    const rest = said ? sentence.slice(this.#idle.length).trimStart() : sentence;
    if (rest !== '') this.#terminal.out(`${rest}\n`);
  }
}
