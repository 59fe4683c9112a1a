import { parseArgs } from 'node:util';
import { startMachine } from '../sandbox/machine.ts';
import {
  beginFlow,
  deployOnce,
  endFlow,
  type Kind,
  prepareFlow,
} from '../test/host/lib/task-flow.ts';

/*
 * Numbered tasks, half of them acknowledged early and half late, flow through a worker that is
 * deployed again and again: of four deploys, two succeed, one fails at import, one at the gate.
 * `npm run bench:no-task-lost -- --tasks 2000 --deploys 20`
 */

const { values } = parseArgs({
  options: {
    tasks: { type: 'string', default: '2000' },
    deploys: { type: 'string', default: '20' },
    pace: { type: 'string', default: '2' },
  },
});
const [tasks, deploys, pace] = [values.tasks, values.deploys, values.pace].map(Number) as [
  number,
  number,
  number,
];
const TURNS: readonly Kind[] = ['good', 'import-fails', 'good', 'gate-fails'];

await using machine = await startMachine({ name: 'bench-no-task-lost', state: 'healthy' });
await prepareFlow(machine);
await deployOnce(machine, 'good', 0);
await beginFlow(machine, tasks, pace);
const begun = performance.now();
for (let turn = 1; turn <= deploys; turn += 1) {
  const kind = TURNS[(turn - 1) % TURNS.length] as Kind;
  const start = performance.now();
  await deployOnce(machine, kind, turn);
  console.log(`deploy ${turn} of ${deploys}: ${kind}, ${seconds(start)} s`);
}
const balance = await endFlow(machine, tasks, tasks / pace + 600);
console.log(`
tasks sent                      ${balance.sent}
tasks done                      ${balance.done}
lost                            ${balance.lost.length}
early-ack, run more than once   ${balance.repeatedEarly.length}
acks_late, run more than once   ${balance.repeatedLate.length}
rows left "processing"          ${balance.processing}
deploys                         ${deploys}, in ${seconds(begun)} s with all tasks`);
if (balance.lost.length + balance.repeatedEarly.length + balance.processing > 0) {
  process.exitCode = 1;
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1000).toFixed(1);
}
