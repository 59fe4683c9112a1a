import { tmpdir } from 'node:os';
import { writeFolder } from '../adapters/write-folder.ts';
import type { ActionName, actions } from '../config/action-inputs.ts';
import type { ValuesOf } from '../config/input.ts';
import type { FactQuery, FactsFor } from '../model/facts.ts';
import type { Agent } from '../ports/agent.ts';
import type { Reporter } from '../ports/reporter.ts';
import { reportFiles } from '../report/page/page.ts';
import { FirstLook, withPast } from '../use-case/first-look.ts';
import type { ActionRun } from '../use-case/run.ts';
import { TerminalRun, type TerminalRunOptions } from './terminal-run.ts';

export interface TerminalActionOptions<Name extends ActionName> extends TerminalRunOptions {
  readonly action: Name;
  readonly inputs: ValuesOf<(typeof actions)[Name]>;
  readonly connect: (first?: FactQuery) => Promise<Agent>;
  readonly acknowledges: boolean;
}

/** An action, run by a person on a terminal: the same use case, with the same report. */
export class TerminalAction<Name extends ActionName>
  extends TerminalRun
  implements ActionRun<Name>
{
  readonly inputs: ValuesOf<(typeof actions)[Name]>;
  readonly secrets: readonly string[];
  readonly reporter: Reporter;
  readonly #json: boolean;
  readonly #connect: (first?: FactQuery) => Promise<Agent>;
  readonly #first: FirstLook;
  readonly #outputs = new Map<string, string>();
  #report: string | null = null;

  constructor(options: TerminalActionOptions<Name>) {
    super(options);
    const { action, inputs, connect, json, acknowledges } = options;
    this.inputs = inputs;
    this.#json = json;
    this.#connect = connect;
    const { 'ssh-key': key = '', 'ssh-key-passphrase': passphrase = '' } = inputs as {
      readonly 'ssh-key'?: string;
      readonly 'ssh-key-passphrase'?: string;
    };
    this.secrets = [key, passphrase].filter((secret) => secret !== '');
    this.reporter = {
      info: (line) => this.say(line),
      notice: (message) => this.note(`notice: ${message}`),
      warning: (message) => this.warn(message),
      error: (message) => this.note(`error: ${message}`),
      // What verify groups changes nothing on the host.
      group: (_title, body) => body(),
      summary: () => {},
      output: (name, value) => this.output(name, value),
    };
    this.#first = new FirstLook({
      action,
      dryRun: this.dryRun,
      acknowledges,
      meta: () => this.meta(),
      onProgress: () => this.onProgress(),
      group: async (title, body) => {
        this.note(title);
        const done = await this.group(title, body);
        this.standing.end(null);
        return done;
      },
      tell: (findings) => {
        for (const { level, message } of findings) {
          if (level === 'warning') this.warn(message);
          else this.note(`notice: ${message}`);
        }
      },
      tellDeed: (level, message) => this.reporter[level](message),
      delivered: async () => {},
    });
  }

  openAgent(first?: FactQuery): Promise<Agent> {
    return this.#connect(first && withPast(first));
  }

  override look<const Query extends FactQuery>(
    agent: Agent,
    query: Query,
  ): Promise<FactsFor<Query>> {
    return this.#first.look(agent, query);
  }

  override output(name: string, value: string): void {
    this.#outputs.set(name, value);
    super.output(name, value);
  }

  /** An output of the action; `''`: it has not been set. */
  outputOf(name: string): string {
    return this.#outputs.get(name) ?? '';
  }

  /** The report as verify wrote it, as JSON; `null`: there is none. */
  get keptReport(): string | null {
    return this.#report;
  }

  /** The page is for people; programs get the report itself. */
  keepFiles(name: string, files: Readonly<Record<string, string>>): string {
    this.#report = files[reportFiles.json] ?? null;
    return this.#json ? '' : writeFolder(tmpdir(), name, files);
  }

  /** The page has it all. */
  summarize(): void {}
}
