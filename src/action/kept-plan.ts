import { join } from 'node:path';
import { writeFolder } from '../adapters/write-folder.ts';
import type { ActionName } from '../config/action-inputs.ts';
import { version } from '../generated/version.ts';
import { mayChange } from '../model/outcome.ts';
import {
  type PlannedAction,
  type PlannedPart,
  type PlanReport,
  plannedActions,
  planReportVersion,
} from '../model/plan-report.ts';
import type { Agent } from '../ports/agent.ts';
import { escapeJson } from '../report/escape.ts';
import { hideSecrets } from '../report/hide-secrets.ts';
import { plannedPart, shortenFailure } from '../report/plan-report.ts';
import type { Result } from '../use-case/run.ts';

/** Below the runner's own folder for temporary files: the plans of one job lie side by side. */
const folder = 'celeriac-plan';

/** Whose plan it is. */
export interface PlanSubject {
  readonly host: string;
  readonly dryRun: boolean;
  /** Values that must not be in it. */
  readonly secrets: readonly string[];
}

/** Keeps what a dry run has found for a later step of the workflow, also why there is no plan. */
export class KeptPlan {
  readonly #action: PlannedAction | null;
  readonly #parts: PlannedPart[] = [];
  #subject: PlanSubject;
  #access: PlanReport['access'] = 'change';

  /** @param subject as far as it is known before the inputs are read */
  constructor(name: ActionName, subject: PlanSubject) {
    this.#action = plannedActions.find((each) => each === name) ?? null;
    this.#subject = subject;
  }

  /** The inputs have been read. */
  of(subject: PlanSubject): void {
    this.#subject = subject;
  }

  lookedBy({ hello }: Agent): void {
    this.#access = mayChange(hello) ? 'change' : 'read';
  }

  add({ subject, sentence, plan, findings, code }: Result): void {
    this.#parts.push(plannedPart({ subject, sentence, plan, findings, code: code ?? null }));
  }

  /**
   * Writes it, if this was a dry run on a runner.
   *
   * @param failure why there is no plan, or not all of it
   * @returns the folder with the plans of this job; `null`: nothing was written
   * @throws Error when it cannot be written
   */
  write(failure: string | null = null): string | null {
    const { host, dryRun, secrets } = this.#subject;
    const temporary = process.env.RUNNER_TEMP ?? '';
    if (this.#action === null || !dryRun || temporary === '') return null;
    const report: PlanReport = {
      version: planReportVersion,
      celeriac: version,
      action: this.#action,
      host,
      access: this.#access,
      parts: this.#parts,
      failure: failure === null ? null : shortenFailure(failure),
    };
    const text = escapeJson(JSON.stringify(hideSecrets(report, secrets), null, 2));
    const parent = join(temporary, folder);
    writeFolder(parent, this.#action, { 'plan.json': `${text}\n` });
    return parent;
  }
}
