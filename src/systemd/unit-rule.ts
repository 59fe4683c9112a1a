import type { Bytes } from '../model/units.ts';
import { redact } from './secrets.ts';
import type { Assignment, UnitEntry } from './unit-entry.ts';
import type { UnitFile } from './unit-file.ts';

/** A known fault of workers. It has a page. */
export interface Rule {
  /** Short and stable; names the rule's page. */
  readonly id: string;
  readonly title: string;
  /** The consequences. */
  readonly why: string;
  /** What to write instead. */
  readonly fix: string;
  /** What deploy-worker does about it. */
  readonly mends: Mending;
  /** Work is lost, or done twice: deploy-worker refuses the unit unless the rule is accepted. */
  readonly severe?: true;
  /** For its page and for tests; lines of `[Service]` unless they name a section. */
  readonly example: { readonly wrong: readonly string[]; readonly right: readonly string[] };
}

/**
 * A fault in the unit of a Celery worker that systemd itself accepts. A rule looks at one unit; a
 * fault is fixed when the rule no longer finds it in the new text.
 */
export interface UnitRule extends Rule {
  find(file: UnitFile, context: RuleContext): readonly Sighting[];
}

export interface Mending {
  readonly kind: 'whole' | 'in-part' | 'not';
  /** A sentence for people. */
  readonly how: string;
}

/** What a rule needs to know besides the unit. */
export interface UnitContext {
  readonly swapActive: boolean;
  readonly longestTaskSeconds: number;
  readonly cpus: number;
  readonly hostMemoryBytes: Bytes;
  /** Memory of the running worker's processes; `null` when it is not running. */
  readonly processes: {
    readonly mainBytes: Bytes;
    /** The largest child. */
    readonly childBytes: Bytes;
    /** What a child uses at least, as far as the processes show it; `null`: unknown. */
    readonly baselineBytes: Bytes | null;
  } | null;
}

/** The context of a rule: the host, and the worker of the unit. */
export interface RuleContext extends UnitContext {
  /** `null`: the unit runs no worker that can be read. */
  readonly worker: WorkerSeen | null;
}

/** What the rules need from a worker's command line. */
export interface WorkerSeen {
  /** Its `ExecStart=`. */
  readonly entry: Assignment;
  /** Whether a shell becomes the worker or waits for it. */
  readonly shell: 'none' | 'becomes' | 'waits';
  /** How many children its pool may come to; `null`: only the host can say. */
  readonly children: number | null;
  /** `prefork` by default. */
  readonly pool: string;
  /** `null`: not set, or not a number. */
  readonly maxMemoryPerChild: Bytes | null;
  readonly maxTasksPerChild: string | null;
  readonly workingDirectory: string | null;
}

export interface Sighting {
  /** The faulty line; `null` when a line is missing. */
  readonly entry: UnitEntry | null;
  /** What was found in the file, without secrets. */
  readonly seen: string;
}

/** An assignment for display, without secrets. */
export const named = ({ key, value }: Assignment): string => redact(`${key}=${value}`);

/** The effective assignment of a key. */
export function setting(file: UnitFile, key: string, section = 'Service'): Assignment | null {
  return file.effective(section, key).at(-1) ?? null;
}

/** The line for display, or that it is missing. */
export const seenOf = (entry: Assignment | null, key: string): string =>
  entry ? named(entry) : `no ${key}=`;

const execKeys = [
  'ExecCondition',
  'ExecStartPre',
  'ExecStart',
  'ExecStartPost',
  'ExecReload',
  'ExecStop',
  'ExecStopPost',
] as const;

/** The effective Exec lines, in the order in which systemd runs them. */
export function execLines(file: UnitFile): readonly Assignment[] {
  return execKeys.flatMap((key) => file.effective('Service', key));
}
