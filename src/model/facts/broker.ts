import type { AskingTheApp, ByTheApp } from '../operation/app.ts';
import type { EpochSeconds, Seconds } from '../units.ts';

/** What Celery and its broker know about tasks, asked by a process that imports the app. */
export interface TasksQuery extends AskingTheApp {
  readonly ids: readonly string[];
}

export type TasksFact =
  | {
      readonly kind: 'told';
      /** `stopped`: the unit is stopped, and its cgroup is empty. */
      readonly worker: 'stopped' | 'answers';
      /** Tasks whose messages are in a queue, or unacked. */
      readonly owed: readonly string[];
      /** Tasks that are active, reserved or scheduled in a worker that answers. */
      readonly held: readonly string[];
      /** When a worker began those that it runs, as far as it says; by their ids. */
      readonly begun?: Readonly<Record<string, EpochSeconds>>;
      /** How many tasks the workers hold in all, whether asked for or not. */
      readonly holding: number;
      /** How many messages are in the queues and unacked, of whatever task. */
      readonly waiting: number;
      /** Why a task that no worker holds may still be queued: a broker shows no ids; null: it does. */
      readonly hidden: string | null;
    }
  /** A worker runs but does not answer, or the broker cannot be asked. */
  | {
      readonly kind: 'unknown';
      readonly problem: string;
      /** The last output lines of the process that asked. */
      readonly evidence?: readonly string[];
    };

/** Asked by a process that imports the app; costs seconds only if messages wait. */
export interface ConsumingQuery extends ByTheApp {
  /** `null`: those of the app. */
  readonly queues: readonly string[] | null;
  /** Its pool forks, so that its main process always answers. */
  readonly forks: boolean;
}

/** Asked by a process that imports the app, and asks its worker; changes nothing. */
export interface BrokerQuery extends ByTheApp {
  /** `null`: those of the app. */
  readonly queues: readonly string[] | null;
  /** Where the schedule of the app's beat is; `null`: it has none here. */
  readonly beat: {
    readonly directory: string;
    /** The option of its command line; `null`: as the app configures it. */
    readonly schedule: string | null;
    readonly scheduler: string | null;
  } | null;
}

/** The broker as the app sees it. */
export type BrokerFact =
  | {
      readonly kind: 'told';
      readonly transport: string;
      /**
       * Messages that wait in each queue, by its real name: `-Q` may name an alias. Neither here nor in
       * `worker` are those of Kombu's Broadcast, which each process names by itself.
       */
      readonly lengths: Readonly<Record<string, number>>;
      /** Delivered and not acknowledged; with Redis, of all queues; `null`: it does not tell. */
      readonly unacked: number | null;
      /** Since when the oldest of them is delivered; only Redis tells. */
      readonly oldestUnackedSeconds: Seconds | null;
      /** After this time it is delivered again; `null`: not before the connection ends. */
      readonly redeliverySeconds: Seconds | null;
      /** What the worker of the unit says it consumes. */
      readonly worker: ConsumedQueues;
      readonly beat: BeatSchedule | null;
    }
  | {
      readonly kind: 'unreachable';
      readonly problem: string;
      readonly beat: BeatSchedule | null;
    }
  | { readonly kind: 'unknown'; readonly problem: string };

export type ConsumedQueues =
  | { readonly kind: 'told'; readonly queues: readonly string[] }
  | { readonly kind: 'silent'; readonly why: string };

export interface BeatSchedule {
  /** A path, or `django_celery_beat`; empty if unknown. */
  readonly where: string;
  /** When beat last wrote to it; `null`: unknown. */
  readonly advanced: EpochSeconds | null;
  /** The shortest interval; `null`: unknown, or tasks are due at times of the clock. */
  readonly everySeconds: Seconds | null;
  readonly problem: string | null;
}

/** Messages in the broker that no living worker of the unit can acknowledge. */
export type UnackedFact = {
  /** One line for people. */
  readonly message: string;
} & (
  | { readonly kind: 'unknown' }
  | {
      readonly kind: 'looked';
      readonly count: number;
      /** The first of them. */
      readonly messages: readonly {
        readonly id: string;
        readonly task: string;
        readonly queue: string;
      }[];
    }
);

/** Whether the worker of a unit takes the messages of its queues. */
export type ConsumingFact =
  /** It takes them, or none waits. */
  | { readonly kind: 'consumes' }
  /** Messages waited at two looks, none was taken, and the worker had nothing else to do. */
  | {
      readonly kind: 'nothing';
      readonly waiting: Readonly<Record<string, number>>;
      /** Whether it answers remote control. */
      readonly answers: boolean;
      readonly seconds: Seconds;
    }
  /** Its support module says so, in the status of the unit. */
  | { readonly kind: 'told'; readonly status: string }
  /** It is at work, may have a reason to wait, or cannot be asked. */
  | { readonly kind: 'unknown'; readonly problem: string };

/** The same, also where the worker need not be asked. */
export type ConsumingNews =
  | ConsumingFact
  /** It has reported itself that none waits, so long ago. */
  | { readonly kind: 'reported'; readonly ago: Seconds };
