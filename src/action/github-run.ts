import { tmpdir } from 'node:os';
import { performance } from 'node:perf_hooks';
import { systemClock } from '../adapters/clock.ts';
import { writeFolder } from '../adapters/write-folder.ts';
import { type ActionName, actions, hostValuesOf } from '../config/action-inputs.ts';
import type { HostValues } from '../config/host-inputs.ts';
import type { Inputs, ValuesOf } from '../config/input.ts';
import type { FactQuery, FactsFor } from '../model/facts.ts';
import type { Finding, Plan } from '../model/operation.ts';
import type { ProbesProgress, TransactionMeta } from '../model/outcome.ts';
import { epochSeconds } from '../model/units.ts';
import type { Agent, OnProgress } from '../ports/agent.ts';
import { renderChecklistText } from '../report/checklist.ts';
import { docsBase } from '../report/doc-links.ts';
import { lineOf, sortFindings, titleAsBefore } from '../report/lasting.ts';
import { renderFindings, renderPlanMarkdown, renderPlanText } from '../report/plan-view.ts';
import { isNews, renderProbes } from '../report/probe-progress.ts';
import { renderProgress } from '../report/progress.ts';
import { describeCost, renderSummary, type SummaryContent } from '../report/summary.ts';
import { FirstLook, withPast } from '../use-case/first-look.ts';
import type { ActionRun, Pause, Result } from '../use-case/run.ts';
import type { GithubReporter } from './github-reporter.ts';
import { delivered, given, runAddress } from './given.ts';
import type { KeptPlan } from './kept-plan.ts';
import { openHost } from './open-host.ts';
import { saveRun, saveTransactions } from './run-state.ts';

/** A run of an action on a runner, as the use cases see it. */
export class GithubRun<Name extends ActionName> implements ActionRun<Name> {
  readonly dryRun: boolean;
  readonly docs = docsBase(process.env);
  readonly inputs: ValuesOf<(typeof actions)[Name]>;
  readonly reporter: GithubReporter;
  /** How it ended, as the last summary says it. */
  sentence = '';
  readonly secrets: readonly string[];
  readonly #name: Name;
  readonly #host: HostValues;
  readonly #begun = performance.now();
  readonly #about: string;
  readonly #first: FirstLook;
  #plans = 0;
  /** What was told of the past stands in the summary once: a run may report more than once. */
  #isSummarized = false;
  #asBefore: readonly Finding[] = [];
  #agent: Agent | null = null;
  #opened: readonly string[] = [];
  readonly #kept: KeptPlan;

  constructor(
    name: Name,
    inputs: ValuesOf<(typeof actions)[Name]>,
    reporter: GithubReporter,
    kept: KeptPlan,
  ) {
    this.inputs = inputs;
    this.reporter = reporter;
    this.secrets = secretsOf(actions[name], inputs);
    this.#name = name;
    this.#host = hostValuesOf<Name>(inputs);
    this.dryRun = this.#host['dry-run'];
    this.#first = new FirstLook({
      action: name,
      dryRun: this.dryRun,
      acknowledges: true,
      meta: () => this.meta(),
      onProgress: () => this.onProgress(),
      group: (title, work) => this.group(title, work),
      tell: (findings) => this.#annotate(findings),
      tellDeed: (level, message) => reporter[level](message, name),
      delivered,
    });
    const { unit = '' } = inputs as { readonly unit?: string };
    this.#about = unit === '' ? name : `${name} of ${unit}`;
    this.#kept = kept;
    // Of a fleet, its name.
    const host = given('host') || this.#host.host;
    kept.of({ host, dryRun: this.dryRun, secrets: this.secrets });
    // A dry run leaves the host as it is, however it ends.
    if (this.dryRun) return;
    const began = epochSeconds(systemClock.epoch());
    this.#leaveState(() => saveRun(this.#host, unit === '' ? null : unit, began));
  }

  /** For the post step, which nothing else depends on. */
  #leaveState(save: () => void): void {
    this.reporter.attempt('the state for the post step', save);
  }

  async openAgent(first?: FactQuery): Promise<Agent> {
    const host = this.#host;
    const policy = { connectTimeout: host['connect-timeout'] };
    const onNote = (note: string) => this.reporter.info(note);
    this.#agent = await openHost(host, policy, onNote, first && withPast(first));
    this.#kept.lookedBy(this.#agent);
    return this.#agent;
  }

  meta(unit?: string): TransactionMeta {
    const env = process.env;
    return {
      action: this.#name,
      holder: runAddress(),
      sha: env.GITHUB_SHA ?? '',
      actor: env.GITHUB_ACTOR ?? env.USER ?? '',
      lockTimeoutSeconds: this.#host['lock-timeout'],
      ...(unit !== undefined && { unit }),
    };
  }

  look<const Query extends FactQuery>(agent: Agent, query: Query): Promise<FactsFor<Query>> {
    return this.#first.look(agent, query);
  }

  onProgress(plan?: Plan): OnProgress {
    let last: ProbesProgress | null = null;
    return (progress) => {
      if (progress.kind === 'opened') this.#open(progress.transactions);
      if (progress.kind === 'probes') {
        if (this.reporter.live(renderProbes(progress)) || !isNews(progress, last)) return;
        last = progress;
      }
      const line = renderProgress(progress, plan);
      if (line !== null) {
        this.reporter.info(line);
      }
    };
  }

  #open(transactions: readonly string[]): void {
    this.#opened = [...new Set([...this.#opened, ...transactions])];
    this.#leaveState(() => saveTransactions(this.#opened));
  }

  group<T>(title: string, body: () => Promise<T>): Promise<T> {
    return this.reporter.group(`${this.#name}: ${title}`, body);
  }

  showDetails(title: string, lines: readonly string[]): Promise<void> {
    return this.group(title, async () => this.reporter.info(lines.join('\n')));
  }

  async showPlan(plan: Plan): Promise<void> {
    if (plan.operations.length > 0) {
      // The findings follow as annotations.
      const text = renderPlanText({ ...plan, findings: [] });
      await this.showDetails(`the plan${this.dryRun ? ' (dry run)' : ''}`, [text]);
    }
    await this.#showFindings(plan.findings);
  }

  /** A dry run shows them all; any other folds away the lasting ones that the last one told. */
  async #showFindings(findings: readonly Finding[]): Promise<void> {
    this.#plans += 1;
    const about = this.#plans === 1 ? this.#about : `${this.#about}, plan ${this.#plans}`;
    const notices = this.dryRun ? {} : (this.#first.past?.notices ?? {});
    const { news, asBefore, told } = sortFindings(findings, about, notices);
    this.#annotate(news);
    this.#asBefore = asBefore;
    if (asBefore.length > 0) await this.showDetails(titleAsBefore(asBefore), asBefore.map(lineOf));
    if (told === null || this.dryRun || this.#first.past === null || this.#agent === null) return;
    await delivered();
    await this.#agent.acknowledge([], told);
  }

  #annotate(findings: readonly Finding[]): void {
    for (const { level, message, where } of findings) {
      this.reporter[level](message, where ?? this.#name);
    }
  }

  async pause({ seconds, why }: Pause): Promise<void> {
    this.reporter.info(`${this.#name}: ${why}`);
    await systemClock.sleep(seconds);
  }

  warn(message: string): void {
    this.reporter.warning(message, this.#name);
  }

  output(name: string, value: string): void {
    this.reporter.output(name, value);
  }

  report(agent: Agent, result: Result): void {
    this.#annotate(result.findings);
    this.reporter.info(result.sentence);
    this.#kept.add(result);
    this.reporter.attempt('the report', () => this.#reportDetails(agent, result));
  }

  #reportDetails(agent: Agent, result: Result): void {
    const { subject, sentence, checklist, plan, outcome, findings, extra } = result;
    if (plan !== null && (outcome !== null || plan.operations.length === 0)) {
      this.reporter.info(renderChecklistText(checklist));
    }
    const markdown = plan === null ? '' : renderPlanSummary(plan, findings, this.#asBefore);
    this.summarize(agent, { subject, sentence, checklist, markdown, ...extra });
  }

  keepFiles(name: string, files: Readonly<Record<string, string>>): string {
    return writeFolder(process.env.RUNNER_TEMP ?? tmpdir(), name, files);
  }

  summarize(agent: Agent, content: Omit<SummaryContent, 'action' | 'host' | 'cost'>): void {
    const seconds = (performance.now() - this.#begun) / 1000;
    const wire = agent.traffic;
    const { told } = this.#first;
    const past = told.length === 0 || this.#isSummarized ? '' : renderFindings(told);
    const markdown = [past, content.markdown ?? ''].filter((part) => part !== '').join('\n\n');
    this.#isSummarized = true;
    this.sentence = content.sentence;
    this.reporter.info(`cost: ${describeCost(wire, seconds)}`);
    this.reporter.summary(
      renderSummary({
        action: this.#name,
        host: this.#host.host,
        cost: { wire, seconds },
        ...content,
        markdown,
      }),
    );
  }
}

function secretsOf(set: Inputs, values: object): readonly string[] {
  const given = new Map<string, unknown>(Object.entries(values));
  return Object.entries(set).flatMap(([name, { secret }]) => {
    const value = given.get(name);
    return secret && typeof value === 'string' && value !== '' ? [value] : [];
  });
}

/** The findings, and the plan folded away. */
function renderPlanSummary(
  plan: Plan,
  findings: readonly Finding[],
  asBefore: readonly Finding[],
): string {
  const all = [...plan.findings.filter((each) => !asBefore.includes(each)), ...findings];
  const operations = { ...plan, findings: [], satisfied: [] };
  return [
    all.length === 0 ? '' : renderFindings(all),
    asBefore.length === 0
      ? ''
      : `<details>\n<summary>${titleAsBefore(asBefore)}</summary>\n\n${renderFindings(asBefore)}\n\n</details>`,
    plan.operations.length === 0
      ? ''
      : `<details>\n<summary>The plan</summary>\n\n${renderPlanMarkdown(operations)}\n\n</details>`,
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}
