import { describe, expect, it } from 'vitest';
import { HostError } from '../../../src/model/errors.ts';
import type { UnackedFact } from '../../../src/model/facts/broker.ts';
import type { Operation, Plan } from '../../../src/model/operation.ts';
import type { Outcome, Step } from '../../../src/model/outcome.ts';
import { epochSeconds, seconds } from '../../../src/model/units.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import { tellRestart } from '../../../src/use-case/tell-restart.ts';

const app = {
  unit: 'worker.service',
  interpreter: ['/usr/bin/python3'],
  app: 'shop',
  pythonPath: ['/srv/shop'],
};
const find: Operation = { op: 'find-unacked', ...app, title: 'find', why: 'because' };
const plan: Plan = { operations: [find], satisfied: [], findings: [] };
const step = (op: string, status: Step['status']): Step => ({
  index: 0,
  op,
  status,
  message: '',
  seconds: seconds(1),
});
const undone = {
  transaction: 't',
  result: 'undone',
  steps: [
    step('start-unit', 'undone'),
    step('prove-unit', 'failed'),
    step('find-unacked', 'skipped'),
  ],
} satisfies Outcome;

/** What is told when the host answers so, and what it was asked. */
async function tell(answer: UnackedFact | Error, outcome: Outcome, planned = plan) {
  const asked: object[] = [];
  const look = async (query: object) => {
    asked.push(query);
    if (answer instanceof Error) throw answer;
    return { unacked: answer };
  };
  const agent = { look } as unknown as Pick<Agent, 'look'>;
  const { findings } = await tellRestart(agent, planned, outcome);
  return { asked, told: findings.map(({ level, message }) => `${level}: ${message}`) };
}

const message = '1 unacknowledged message (1 tasks.work)';
const one = [{ id: 'a1', task: 'tasks.work', queue: 'links' }];

it('says until when the release must be confirmed', async () => {
  const agent = {} as unknown as Pick<Agent, 'look'>;
  const done = { transaction: 't', result: 'committed', steps: [] } satisfies Outcome;
  const awaiting = { ...done, confirmBy: epochSeconds(1_800_000_000) };
  const outputs = { result: 'committed', 'confirm-by': '1800000000' };
  expect((await tellRestart(agent, plan, awaiting)).outputs).toMatchObject(outputs);
  expect((await tellRestart(agent, plan, done)).outputs).toMatchObject({ 'confirm-by': '' });
});

describe('a release that ran and was undone', () => {
  it('is followed by a search for messages that it left, by the app that is back', async () => {
    const { asked, told } = await tell(
      { kind: 'looked', message, count: 1, messages: one },
      undone,
    );
    expect(asked).toEqual([{ unacked: app }]);
    expect(told).toEqual([
      `warning: ${message}: a1 (tasks.work, queue links); they return to their queues after the visibility timeout, or with the next deploy that has \`restore-unacked\``,
    ]);
  });

  it('says nothing if there are none', async () => {
    const none = { kind: 'looked', message: 'none', count: 0, messages: [] } as const;
    expect((await tell(none, undone)).told).toEqual([]);
  });

  it.each([
    [{ kind: 'unknown', message: 'could not look: no answer' } as const, 'no answer'],
    [new HostError('The connection was lost.', { step: 's', evidence: [], next: '' }), 'was lost'],
  ])('says why it could not look', async (answer, why) => {
    expect((await tell(answer, undone)).told).toEqual([
      expect.stringMatching(`^notice: the release that failed may have left .*${why}; they return`),
    ]);
  });

  it('says that it did not look if nothing shows how', async () => {
    const { asked, told } = await tell(new Error(), undone, { ...plan, operations: [] });
    expect(asked).toEqual([]);
    expect(told).toEqual([expect.stringContaining('this run did not look for them')]);
  });
});

it.each<[string, Outcome]>([
  ['was committed', { ...undone, result: 'committed' }],
  ['never ran', { ...undone, steps: [step('start-unit', 'skipped')] }],
  ['looked itself', { ...undone, steps: [...undone.steps, step('find-unacked', 'done')] }],
])('a release that %s is not followed by a search', async (_, outcome) => {
  expect((await tell(new Error('asked'), outcome)).asked).toEqual([]);
});
