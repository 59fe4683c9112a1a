import { setTimeout as sleep } from 'node:timers/promises';
import { startMachine } from '../sandbox/machine.ts';
import {
  type BackKind,
  beginFlow,
  deployOnce,
  endFlow,
  haltFlow,
  type Kind,
  prepareFlow,
  readSent,
  rollsBack,
} from '../test/host/lib/task-flow.ts';
import { readOptions } from './options.ts';

/*
 * Numbered tasks, half of them acknowledged early and half late, flow through a worker that is
 * deployed again and again. Of six deploys, two succeed, one fails at import, one at the gate, one is
 * rolled back by the host because nobody confirms it, and one on request. Tasks are sent until all
 * deploys are over, and at least as many as asked for.
 * `npm run bench:no-task-lost -- --tasks 2000 --deploys 20 --pace 8`
 */

const { values } = readOptions({
  options: {
    tasks: { type: 'string', default: '2000' },
    deploys: { type: 'string', default: '20' },
    // A second: so many that one is always on its way to the worker.
    pace: { type: 'string', default: '8' },
  },
});
const [tasks, deploys, pace] = [values.tasks, values.deploys, values.pace].map(Number) as [
  number,
  number,
  number,
];
const TURNS: readonly (Kind | BackKind)[] = [
  ...(['good', 'gate-fails', 'expires'] as const),
  ...(['good', 'rolled-back', 'import-fails'] as const),
];
/** What the tasks need is more than one process could do. */
const COMMON = { concurrency: '4', 'memory-high': '' };
const ENDLESS = 1_000_000;

await using machine = await startMachine({ name: 'bench-no-task-lost', state: 'healthy' });
await prepareFlow(machine);
await deployOnce(machine, 'good', 0, COMMON);
await beginFlow(machine, ENDLESS, pace);
const begun = performance.now();
let rollBacks = 0;
for (let turn = 1; turn <= deploys; turn += 1) {
  const kind = TURNS[(turn - 1) % TURNS.length] as Kind | BackKind;
  const start = performance.now();
  await deployOnce(machine, kind, turn, COMMON);
  rollBacks += rollsBack(kind) ? 1 : 0;
  console.log(`deploy ${turn} of ${deploys}: ${kind}, ${seconds(start)} s`);
}
while ((await readSent(machine)) < tasks) await sleep(1000);
const sent = await haltFlow(machine);
const balance = await endFlow(machine, sent, 600);
console.log(`
tasks sent                      ${balance.sent}
tasks done                      ${balance.done}
lost                            ${balance.lost.length}
early-ack, run more than once   ${balance.repeatedEarly.length}
acks_late, run more than once   ${balance.repeatedLate.length}
rows left "processing"          ${balance.processing}
deploys                         ${deploys}, in ${seconds(begun)} s with all tasks
of them rolled back             ${rollBacks}`);
if (balance.lost.length + balance.repeatedEarly.length + balance.processing > 0) {
  process.exitCode = 1;
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1000).toFixed(1);
}
