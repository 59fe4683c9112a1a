import type { Rule } from '../systemd/unit-rules.ts';

/** Faults in the settings of an app, which only a process that imports it can see. */

/** The broker may deliver a message a second time while its task still runs. */
export const visibilityTimeout: Rule = {
  id: 'visibility-timeout',
  title: 'the visibility timeout is shorter than the longest task',
  why: 'Redis and SQS redeliver a message that is not acknowledged within this time: with acks_late, a task that is still running runs a second time; without it, tasks that wait behind it do',
  fix: 'visibility_timeout in broker_transport_options above the longest task, in every app that uses this broker: the shortest one applies',
  severe: true,
  mends: {
    kind: 'not',
    how: 'Before the worker is drained, the trial import also asks the app for the value (3600 s by default with Redis, 1800 s with SQS) and compares it with `longest-task`. A shorter value is refused; with `accept-rules: visibility-timeout` it is only reported. An app that does not show the value is reported, too.',
  },
  example: {
    wrong: [
      "app.conf.broker_transport_options = {'visibility_timeout': 600}  # with tasks of 15 min",
    ],
    right: ["app.conf.broker_transport_options = {'visibility_timeout': 3600}"],
  },
};

/** A worker that waits for its broker would be stopped for one that cannot become ready. */
export const brokerUnreachable: Rule = {
  id: 'broker-unreachable',
  title: 'the app cannot reach its broker',
  why: 'a worker becomes ready only once it is connected to its broker; the running worker would be stopped for nothing, and could not become ready again either',
  fix: 'start the broker, or correct the broker URL of the app',
  severe: true,
  mends: {
    kind: 'not',
    how: 'The import that is tried before a running worker is stopped also connects to the broker, with the code and the settings that the next worker gets: a deploy that corrects a broker URL passes. If the broker cannot be reached, the worker is left running, and connects by itself once the broker is back. With `accept-rules: broker-unreachable` this is reported, and the worker restarted. A worker that does not run is started without this question.',
  },
  example: {
    wrong: ["app.conf.broker_url = 'redis://localhost:6380/0'  # Redis listens on 6379"],
    right: ["app.conf.broker_url = 'redis://localhost:6379/0'"],
  },
};

/** What TimeoutStopSec= adds to the longest task: a warm shutdown takes longer than the task it waits for. */
export const stopMarginSeconds = 60;

export const appRules: readonly Rule[] = [visibilityTimeout, brokerUnreachable];
