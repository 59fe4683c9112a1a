import type { TransactionMeta } from '../../../src/model/outcome.ts';
import { seconds } from '../../../src/model/units.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import type { Result, Run } from '../../../src/use-case/run.ts';

/** A run that records its calls in order; the agent of the same test may record its calls, too. */
export class RecordedRun implements Run {
  readonly dryRun: boolean;
  readonly docs = 'https://example.com/';
  readonly log: string[] = [];
  readonly results: Result[] = [];

  constructor({ dryRun = false } = {}) {
    this.dryRun = dryRun;
  }

  meta(unit?: string): TransactionMeta {
    const who = { holder: 'someone', sha: '', actor: '' };
    const meta = { action: 'test', ...who, lockTimeoutSeconds: seconds(0) };
    return unit === undefined ? meta : { ...meta, unit };
  }

  readonly look: Run['look'] = (agent, query) => agent.look(query);

  onProgress() {
    return () => {};
  }

  group<T>(title: string, body: () => Promise<T>): Promise<T> {
    this.log.push(title);
    return body();
  }

  async showDetails(title: string): Promise<void> {
    this.log.push(title);
  }

  async showPlan(): Promise<void> {
    this.log.push('plan');
  }

  async pause({ why }: { readonly why: string }): Promise<void> {
    this.log.push(`pause: ${why}`);
  }

  warn(message: string): void {
    this.log.push(`warning: ${message}`);
  }

  output(name: string, value: string): void {
    this.log.push(`${name}=${value}`);
  }

  report(_agent: Agent, result: Result): void {
    this.log.push(result.sentence);
    this.results.push(result);
  }
}
