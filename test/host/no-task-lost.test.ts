import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { beginFlow, deployOnce, endFlow, haltFlow, KINDS, prepareFlow } from './lib/task-flow.ts';

/*
 * That no stop loses a task is shown daily by roll-back-flow, at a higher rate. The same with 2,000 tasks and 20 deploys: `npm run bench:no-task-lost`.
 */

let machine: Machine;

beforeAll(async () => {
  machine = await startMachine({ name: 'no-task-lost', state: 'healthy' });
  await prepareFlow(machine);
  // A worker that knows the tasks, and a first release.
  await deployOnce(machine, 'good', 0);
});

afterAll(() => machine?.stop());

test('tasks of both kinds flow through one successful and two failing deploys: none is lost', {
  tags: ['nightly'],
}, async () => {
  // More than are sent before the flow is halted.
  await beginFlow(machine, 1_000_000, 2);
  for (const [index, kind] of KINDS.entries()) await deployOnce(machine, kind, index + 1);
  const count = await haltFlow(machine);
  const balance = await endFlow(machine, count, 300);
  expect(balance).toEqual({
    sent: count,
    done: count,
    lost: [],
    repeatedEarly: [],
    repeatedLate: [],
    processing: 0,
  });
});
