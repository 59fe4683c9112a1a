import { ConfigError, GateError, HostError } from '../model/errors.ts';
import type { Finding, Plan } from '../model/operation.ts';
import type { Outcome } from '../model/outcome.ts';
import type { Result } from '../use-case/run.ts';
import { asFlags } from './flags.ts';

/** What a run is, before it has done anything. */
export interface RunAbout {
  /** `deploy`. */
  readonly command: string;
  /** As the user gave it, or the name of this machine. */
  readonly host: string;
  readonly dryRun: boolean;
}

interface Part {
  readonly subject: string | null;
  readonly sentence: string;
  readonly plan: object | null;
  readonly outcome: object | null;
  readonly findings: readonly Finding[];
  /** What is folded away elsewhere, such as what a rollback undoes. */
  readonly details: readonly { readonly title: string; readonly text: string }[];
}

/** What `--json` prints of a command with a plan, and of any that fails: one document. */
export class RunDocument {
  readonly #about: RunAbout;
  readonly #outputs = new Map<string, unknown>();
  readonly #parts: Part[] = [];
  readonly #warnings: string[] = [];
  /** Shown, and not yet reported on. */
  #pending: Plan | null = null;
  /** Why the run failed, although it went on: to roll back. */
  #failure: unknown = null;

  constructor(about: RunAbout) {
    this.#about = about;
  }

  showPlan(plan: Plan): void {
    this.#pending = plan;
  }

  output(name: string, value: string): void {
    this.#outputs.set(name, parsed(value));
  }

  warn(message: string): void {
    this.#warnings.push(message);
  }

  fail(error: unknown): void {
    this.#failure = error;
  }

  report({ subject, sentence, plan, outcome, findings, extra = {} }: Result): void {
    this.#pending = null;
    this.#parts.push({
      subject,
      sentence,
      plan: plan === null ? null : shownPlan(plan),
      outcome: outcome === null ? null : shownOutcome(outcome, plan),
      findings,
      details: (extra.details ?? []).map(({ title, text }) => ({ title, text })),
    });
  }

  /** The document. `error`: why the run ended without its result. */
  finish(error: unknown, exitCode: number): object {
    return { ...this.#about, exitCode, ...this.end(error) };
  }

  /** The same without what the run is, and without its exit code. */
  end(error: unknown): object {
    const shown = error ?? this.#failure;
    const parts: readonly Part[] =
      this.#pending === null
        ? this.#parts
        : [...this.#parts, { ...noResult, plan: shownPlan(this.#pending) }];
    return {
      outputs: Object.fromEntries(this.#outputs),
      warnings: this.#warnings,
      results: parts,
      error: shown === null ? null : shownError(shown),
    };
  }
}

/** Outputs of actions are text; some of them are JSON. */
function parsed(value: string): unknown {
  if (!/^[[{]/.test(value)) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

const noResult: Part = {
  subject: null,
  sentence: '',
  plan: null,
  outcome: null,
  findings: [],
  details: [],
};

/** What the plan as text shows: the operations themselves may hold what is nobody's business. */
const shownPlan = ({ operations, satisfied, findings }: Plan): object => ({
  operations: operations.map(({ op, title, why, diff = '' }) => ({ op, title, why, diff })),
  satisfied,
  findings,
});

const shownOutcome = (outcome: Outcome, plan: Plan | null): object => ({
  transaction: outcome.transaction,
  result: outcome.result,
  release: outcome.release ?? null,
  /** Seconds since 1970: the host rolls back at this time unless `verify` confirms the release. */
  confirmBy: outcome.confirmBy ?? null,
  steps: outcome.steps.map(({ index, op, status, message, seconds, todo }) => ({
    op,
    title: plan?.operations[index]?.title ?? op,
    status,
    message,
    seconds,
    ...(todo !== undefined && { todo }),
  })),
});

function shownError(error: unknown): object {
  if (error instanceof ConfigError) {
    const { message, where, expected } = asFlags(error);
    return { kind: 'usage', message, where, expected };
  }
  if (error instanceof HostError) {
    const { step, evidence = [], undone = [], left = [], next } = error.failure;
    return { kind: 'host', message: error.message, step, evidence, undone, left, next };
  }
  if (error instanceof GateError) {
    const { message, check, evidence, next } = error;
    return { kind: 'gate', message, check, evidence, next };
  }
  return { kind: 'other', message: error instanceof Error ? error.message : String(error) };
}
