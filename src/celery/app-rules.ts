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

/** What TimeoutStopSec= adds to the longest task: a warm shutdown takes longer than the task it waits for. */
export const stopMarginSeconds = 60;

export const appRules: readonly Rule[] = [visibilityTimeout];
