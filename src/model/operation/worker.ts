import type { SoakThresholds } from '../soak.ts';
import type { Seconds, Sha256 } from '../units.ts';
import type { AskingTheApp, ByTheApp } from './app.ts';
import type { Described, WithTimedUndo } from './described.ts';

/**
 * Imports the app in a separate process as the worker would, before anything is stopped: with the
 * interpreter and the variables of its command line, its user, its directory, and the environment
 * that systemd gives it; nothing is added.
 */
export interface TryApp extends Described {
  readonly op: 'try-app';
  readonly unit: string;
  /** The interpreter and its leading arguments, e.g. `['/usr/bin/python3']`. */
  readonly interpreter: readonly string[];
  /** The value of `-A`. */
  readonly app: string;
  /** Further modules to import, as the worker does (`-I`). */
  readonly modules: readonly string[];
  /** Where the worker changes to (`--workdir`, `cd`); `null`: it stays in the unit's directory. */
  readonly directory: string | null;
  /** For a code folder that is not current yet: paths in `from` are replaced by paths in `to`. */
  readonly instead?: { readonly from: string; readonly to: string };
  /** Words that variables of the unit's environment must not contain; absent: any may. */
  readonly unwanted?: {
    readonly variables: readonly string[];
    readonly words: readonly string[];
    /** What they lead to, and what to do. */
    readonly why: string;
    readonly fix: string;
  };
  /** What the app's visibility timeout is compared with; absent: with nothing. */
  readonly visibility?: {
    readonly atLeastSeconds: Seconds;
    /** Whether a shorter one fails this step; otherwise it is reported. */
    readonly refuse: boolean;
    /** What a shorter one leads to, and what to do. */
    readonly why: string;
    readonly fix: string;
  };
  /** Whether it also connects to its broker, as the worker must to become ready; absent: it does not. */
  readonly broker?: {
    /** Whether a broker that cannot be reached fails this step; otherwise it is reported. */
    readonly refuse: boolean;
    /** What it leads to, and what to do. */
    readonly why: string;
    readonly fix: string;
  };
  readonly timeoutSeconds: Seconds;
}

/** Runs `systemd-analyze verify` on the text to install; any line on stderr is a finding. */
export interface VerifyUnit extends Described {
  readonly op: 'verify-unit';
  readonly unit: string;
  readonly text: string;
  /** Drop-ins as they will be; they replace those of the same name on the host. */
  readonly dropIns?: readonly { readonly name: string; readonly text: string }[];
}

/**
 * Records the current state of the unit. It is undone last: once everything else is undone, the
 * unit returns to that state, with the definition that is then in place. Before a worker is stopped
 * or restarted, its consumers are cancelled through the app.
 */
export interface GuardUnit extends Described, ByTheApp, WithTimedUndo {
  readonly op: 'guard-unit';
  /** How long its undo watches the worker before it says that it serves again. */
  readonly minHealthySeconds?: Seconds;
}

/** Writes a unit file or drop-in, after a backup, and reloads systemd (daemon-reload). */
export interface InstallUnit extends Described {
  readonly op: 'install-unit';
  readonly unit: string;
  readonly path: string;
  readonly text: string;
  readonly expects: Sha256 | null;
}

export interface EnableUnit extends Described {
  readonly op: 'enable-unit';
  readonly unit: string;
}

/** Has the host take a sample of the unit every minute until its release is proven or undone. */
export interface StartSampler extends Described {
  readonly op: 'start-sampler';
  readonly unit: string;
  /** On each of their file systems the room is watched; at most 20. */
  readonly paths: readonly string[];
  /** How long the release must run without failure: the host remembers it for whoever judges. */
  readonly soakSeconds: Seconds;
  /** The same for what fails it; absent: up to whoever judges. */
  readonly limits?: SoakThresholds;
}

/** Ends it before that: the release that comes is not to be soaked. */
export interface StopSampler extends Described {
  readonly op: 'stop-sampler';
  readonly unit: string;
}

/**
 * Stops this worker, and no other on its broker, from consuming, and waits for its running tasks. A
 * worker that does not answer is not drained; the stop that follows is a warm shutdown, too.
 */
export interface DrainWorker extends Described, ByTheApp, WithTimedUndo {
  readonly op: 'drain-worker';
  readonly timeoutSeconds: Seconds;
  /** After the time-out: stop the worker, fail, or continue to wait as long as tasks finish. */
  readonly policy: 'proceed' | 'abort' | 'wait';
  /** With `wait`: fail once no task has finished for this long. */
  readonly stuckSeconds: Seconds;
}

/**
 * Cancels the consumers of a worker that was not drained, stops the unit, and waits until its
 * cgroup is empty.
 */
export interface StopUnit extends Described, ByTheApp, WithTimedUndo {
  readonly op: 'stop-unit';
  readonly timeoutSeconds: Seconds;
}

/**
 * Returns messages that dead workers never acknowledged to their queues (Redis). Does nothing while
 * another worker uses the broker.
 */
export interface RestoreUnacked extends Described, AskingTheApp {
  readonly op: 'restore-unacked';
}

/** Reports such messages. Celery itself restores them after the visibility timeout. */
export interface FindUnacked extends Described, ByTheApp {
  readonly op: 'find-unacked';
}

/**
 * Cancels the consumers of workers outside the unit, by their app; then sends TERM to all of them, and
 * KILL after the grace period to those that are left. One grace period for all.
 */
export interface EndProcess extends Described, ByTheApp {
  readonly op: 'end-process';
  /** The unit's user; processes of others are refused. */
  readonly user: string;
  readonly processes: readonly EndedProcess[];
  readonly graceSeconds: Seconds;
}

/** A process, identified by pid and start time. */
export interface EndedProcess {
  readonly pid: number;
  readonly startTicks: number;
  /** Its cgroup as planned for; a process in any other cgroup is refused. */
  readonly cgroup: string;
}

/**
 * `reset-failed`, start, and wait until it is active (with Type=notify: ready). The undo stops it
 * as stop-unit does.
 */
export interface StartUnit extends Described, ByTheApp, WithTimedUndo {
  readonly op: 'start-unit';
  readonly timeoutSeconds: Seconds;
}

/** Checks that the unit runs as desired for some time. Changes nothing. */
export interface ProveUnit extends Described {
  readonly op: 'prove-unit';
  readonly unit: string;
  /** Property → expected value, exactly as `systemctl show` prints it. */
  readonly properties: Readonly<Record<string, string>>;
  /** Expected number of direct children of the main process; `null`: any. */
  readonly children: number | null;
  /** How long NRestarts and the main pid must not change. */
  readonly minHealthySeconds: Seconds;
  /** How long to wait for the children to appear. */
  readonly timeoutSeconds: Seconds;
  /** The exposure from `systemd-analyze security` before; if given, the result compares both. */
  readonly exposure?: { readonly before: number | null };
}
