import { describe, expect, test } from 'vitest';
import { beatCommand, workerCommand } from '../../../src/celery/worker-process.ts';
import { ConfigError, HostError } from '../../../src/model/errors.ts';
import type {
  BrokerFact,
  BrokerQuery,
  ConsumingFact,
  ConsumingQuery,
} from '../../../src/model/facts/broker.ts';
import type { EndedRun, JournalQuery, LoggedQuery } from '../../../src/model/facts/journal.ts';
import type { FactQuery, FactsFor } from '../../../src/model/facts.ts';
import type { JobReport, JobRequest, Progress } from '../../../src/model/outcome.ts';
import { seconds } from '../../../src/model/units.ts';
import type { Verdict } from '../../../src/model/verdict.ts';
import { type VerifyPorts, verifyHost, verifyQuery } from '../../../src/use-case/verify-host.ts';
import { failedChecks } from '../../../src/verify/checks.ts';
import type { StuckSearch, VerifyFacts } from '../../../src/verify/evidence.ts';
import { brokerFact, desired, facts, loggedFact, mib, unitFact } from '../verify/facts.ts';

const ok = (request: JobRequest): JobReport => ({
  ok: true,
  jobs: ('queues' in request ? request.queues : ['app']).map((where) => ({
    id: where,
    where,
    state: 'done',
    detail: '',
    seconds: seconds(1),
  })),
  problem: null,
});

/** A host that answers looks in order, and keeps what it was asked. */
function host(
  looks: readonly VerifyFacts[],
  answer: (request: JobRequest) => JobReport = ok,
  stuck: StuckSearch = { kind: 'read', rows: [] },
  consuming: readonly ConsumingFact[] = [],
  broker: BrokerFact | null = null,
) {
  const asked: string[] = [];
  const requests: JobRequest[] = [];
  const progress: Progress[] = [];
  const judged: VerifyFacts[] = [];
  const questions: ConsumingQuery[] = [];
  const logs: LoggedQuery[] = [];
  const journals: JournalQuery[] = [];
  const brokers: BrokerQuery[] = [];
  const ports: VerifyPorts = {
    agent: {
      clockSkew: null,
      async look<const Query extends FactQuery>(query: Query) {
        if (query.logged !== undefined) {
          logs.push(query.logged);
          return { logged: loggedFact({ cursor: 's=1;i=2' }) } as unknown as FactsFor<Query>;
        }
        if (query.broker !== undefined) {
          brokers.push(query.broker);
          return { broker: broker ?? brokerFact() } as unknown as FactsFor<Query>;
        }
        asked.push(`look ${Object.keys(query).join(' ')}`);
        if (query.journal !== undefined) journals.push(query.journal);
        if (query.consuming !== undefined) {
          questions.push(query.consuming);
          const fact = consuming[questions.length - 1] ?? { kind: 'consumes' };
          return { consuming: fact } as unknown as FactsFor<Query>;
        }
        // A look at the unit alone comes after one at everything.
        const before = asked.filter((line) => [everything, 'look unit'].includes(line)).length;
        const found = looks[before - 1];
        if (found === undefined) throw new Error('one look too many');
        // The facts are those of the one query that verify asks.
        return found as unknown as FactsFor<Query>;
      },
      async submit(request, onProgress) {
        asked.push('submit');
        requests.push(request);
        onProgress({ kind: 'note', message: 'waiting' });
        return answer(request);
      },
    },
    onProgress: (one) => progress.push(one),
    async pause({ why }) {
      asked.push(`pause: ${why}`);
    },
    findStrays(found) {
      judged.push(found);
      return [];
    },
    async findStuckRows() {
      return stuck;
    },
  };
  return { ports, asked, requests, progress, judged, questions, logs, brokers, journals };
}

const everything =
  'look host unit workers swap sysctl settings room pressure journal kernel http releases beats';

const probesOf = ({ checks }: Verdict) =>
  checks.filter(({ id }) => ['gate-job', 'gate-batch'].includes(id));

test('the query asks for all facts at once, with the probes', () => {
  const probes = [{ url: 'http://localhost/', timeoutSeconds: seconds(5) }];
  expect(verifyQuery(desired({ unit: 'x.service', probes }))).toEqual({
    host: {},
    unit: { name: 'x.service' },
    workers: { command: workerCommand },
    swap: { path: '/swapfile' },
    sysctl: { names: ['vm.swappiness'] },
    settings: { unit: 'x.service' },
    room: { unit: 'x.service', paths: [] },
    pressure: { unit: 'x.service' },
    journal: { unit: 'x.service' },
    kernel: { unit: 'x.service' },
    releases: { unit: 'x.service' },
    beats: { command: beatCommand },
    http: { probes },
  });
});

describe('with a gate', () => {
  test('five messages: look, look whether it consumes, one probe, a batch, look', async () => {
    const before = facts();
    const after = facts();
    const seen = host([before, after]);
    const { ports, asked, requests, progress, judged, logs, brokers, journals } = seen;
    const { verdict, evidence } = await verifyHost(ports, desired());
    expect(verdict.conclusion).toBe('healthy');
    expect(asked).toEqual([everything, 'look consuming', 'submit', 'submit', everything]);
    expect(requests).toMatchObject([
      { kind: 'canary', app: 'celery_app', interpreter: ['/usr/bin/python3'], queues: ['celery'] },
      { kind: 'canary', queues: ['batch', 'links', 'variations'] },
    ]);
    expect(progress).toEqual([
      { kind: 'note', message: 'gate: 1 canary to celery' },
      { kind: 'note', message: 'waiting' },
      { kind: 'note', message: 'gate: 3 canaries to batch, links and variations' },
      { kind: 'note', message: 'waiting' },
    ]);
    expect(evidence.before).toBe(before);
    expect(evidence.after).toEqual(after);
    expect(judged).toEqual([after]);
    // How runs ended is read if another one than that of the first look runs.
    const earlierRun = before.unit.properties.InvocationID;
    const ofUnit = { unit: 'celery-worker.service' };
    expect(journals).toEqual([ofUnit, { ...ofUnit, earlierRun }]);
    // Once more after the gate, and of the gate alone.
    const { since } = before.journal;
    const unit = 'celery-worker.service';
    expect(brokers).toMatchObject([
      { app: 'celery_app', queues: ['celery', 'batch', 'links', 'variations'], beat: null },
      { app: 'celery_app' },
    ]);
    expect(logs).toEqual([
      { unit, since },
      { unit, since },
      { unit, since: null, after: 's=1;i=2' },
    ]);
    expect(probesOf(verdict).map(({ id, verdict }) => [id, verdict])).toEqual([
      ['gate-job', 'pass'],
      ['gate-batch', 'pass'],
    ]);
  });

  test('the app is asked one question after the other, with nothing in between', async () => {
    const { ports } = host([facts(), facts()]);
    const order: string[] = [];
    const agent: VerifyPorts['agent'] = {
      ...ports.agent,
      async look(query) {
        order.push(Object.keys(query).length > 1 ? 'facts' : Object.keys(query).join());
        return ports.agent.look(query);
      },
      async submit(request, onProgress) {
        order.push(request.kind);
        return ports.agent.submit(request, onProgress);
      },
    };
    await verifyHost({ ...ports, agent }, desired());
    const gate = ['consuming', 'broker', 'canary', 'canary', 'broker'];
    // The host ends the process of the app before any other question.
    expect(order).toEqual(['facts', 'logged', ...gate, 'facts', 'logged', 'logged']);
  });

  test('calls of a task are announced before the first one, with their number', async () => {
    const gate = { kind: 'task', task: 'tasks.x', queue: null, args: [1] } as const;
    const { ports, progress, requests } = host([facts(), facts()]);
    const before: number[] = [];
    const onProgress: typeof ports.onProgress = (one) => {
      before.push(requests.length);
      ports.onProgress(one);
    };
    await verifyHost({ ...ports, onProgress }, desired({ gate }));
    expect(progress.slice(0, 2)).toEqual([
      { kind: 'note', message: 'gate: runs tasks.x 4 times: once, then 3 at once' },
      { kind: 'note', message: 'gate: 1 call of tasks.x' },
    ]);
    expect(before[0]).toBe(0);
    expect(requests.map((each) => each.kind === 'task' && each.calls.length)).toEqual([1, 3]);
  });

  test('effects of the probes on the host count', async () => {
    const restarted = facts({
      unit: unitFact({ properties: { ...unitFact().properties, NRestarts: '1' } }),
    });
    const { ports } = host([facts(), restarted]);
    const { verdict } = await verifyHost(ports, desired());
    expect(verdict.conclusion).toBe('unhealthy');
    expect(verdict.checks.find(({ id }) => id === 'restarts')?.verdict).toBe('fail');
  });

  test('a worker has some time to give back the memory of the probes', async () => {
    const holding = (used: number) =>
      facts({
        unit: unitFact({ memory: { currentBytes: mib(used), peakBytes: mib(900), events: {} } }),
      });
    const { ports, asked } = host([holding(200), holding(800), holding(700), holding(220)]);
    const { verdict, evidence } = await verifyHost(ports, desired());
    const pause = 'pause: the worker still holds the memory of the probes; checking again in 5 s';
    expect(asked.slice(4)).toEqual([everything, pause, 'look unit', pause, 'look unit']);
    expect(evidence.after?.unit.memory?.currentBytes).toBe(mib(220));
    const kept = verdict.checks.find(({ id }) => id === 'memory-return');
    expect(kept?.verdict).toBe('pass');
    // Not for ever.
    const greedy = host([holding(200), ...Array.from({ length: 5 }, () => holding(800))]);
    const { verdict: doubtful } = await verifyHost(greedy.ports, desired());
    expect(doubtful.checks.find(({ id }) => id === 'memory-return')).toMatchObject({
      verdict: 'warn',
      seen: '200 MiB before, 800 MiB after',
    });
  });

  test('a worker that is killed while it has that time, and mended, has failed', async () => {
    const later = 'b'.repeat(32);
    const holding = (used: number, InvocationID?: string) => {
      const { properties } = unitFact();
      const memory = { currentBytes: mib(used), peakBytes: mib(900), events: {} };
      const run = InvocationID === undefined ? properties : { ...properties, InvocationID };
      return facts({ unit: unitFact({ memory, properties: run }) });
    };
    const before = holding(200);
    const earlierRun = before.unit.properties.InvocationID ?? '';
    const mended = holding(220, later);
    const end: EndedRun = {
      run: earlierRun,
      at: mended.host.now,
      result: 'signal',
      phase: 'started',
      stopped: false,
      restarted: false,
      exit: '',
    };
    const looks = [
      before,
      holding(800),
      mended,
      { ...mended, journal: { ...mended.journal, endedRuns: [end] } },
    ];
    const { ports, asked, journals } = host(looks);
    const { verdict } = await verifyHost(ports, desired());
    expect(asked.slice(4).filter((line) => line.startsWith('look'))).toEqual([
      everything,
      'look unit',
      everything,
    ]);
    expect(journals.at(-1)).toEqual({ unit: 'celery-worker.service', earlierRun });
    expect(failedChecks(verdict)).toEqual(['invocation']);
    expect(verdict.checks.find(({ id }) => id === 'invocation')?.seen).toContain(
      'failed with result signal',
    );
  });

  test('a broker that is gone is told once, and no probe is sent', async () => {
    const gone = { kind: 'unreachable', problem: 'connection refused', beat: null } as const;
    const { ports, requests } = host([facts()], ok, { kind: 'read', rows: [] }, [], gone);
    const { verdict } = await verifyHost(ports, desired());
    expect(requests).toEqual([]);
    expect(failedChecks(verdict)).toEqual(['broker']);
    expect(probesOf(verdict).map(({ verdict, seen }) => [verdict, seen])).toEqual([
      ['unknown', 'not sent, the app does not reach its broker: 1 canary to celery'],
      [
        'unknown',
        'not sent, the app does not reach its broker: 3 canaries to batch, links and variations',
      ],
    ]);
  });

  test('after a failed probe: no batch, but a second look', async () => {
    const { ports, asked } = host([facts(), facts()], () => ({
      ok: false,
      jobs: [],
      problem: 'no',
    }));
    const { verdict } = await verifyHost(ports, desired());
    expect(asked).toEqual([everything, 'look consuming', 'submit', everything]);
    expect(verdict.conclusion).toBe('unhealthy');
    expect(probesOf(verdict).map(({ verdict }) => verdict)).toEqual(['fail', 'unknown']);
  });

  test('an error of the host is a finding, and the other checks are still made', async () => {
    const { ports } = host([facts(), facts()], () => {
      throw new HostError('python can’t import celery', { step: 's', evidence: ['e'], next: 'n' });
    });
    const { verdict } = await verifyHost(ports, desired());
    expect(verdict.checks.find(({ id }) => id === 'gate-job')).toMatchObject({
      verdict: 'fail',
      seen: 'not sent: python can’t import celery',
      evidence: ['e'],
    });
    expect(verdict.checks.find(({ id }) => id === 'unit')?.verdict).toBe('pass');
  });

  test('an internal error is thrown', async () => {
    const { ports } = host([facts(), facts()], () => {
      throw new TypeError('x');
    });
    await expect(verifyHost(ports, desired())).rejects.toThrow(TypeError);
  });
});

describe('no probe', () => {
  test('in a dry run, which names the probes', async () => {
    const { ports, asked } = host([facts()]);
    const { verdict } = await verifyHost(ports, desired({ dryRun: true }));
    expect(asked).toEqual([everything, 'look consuming']);
    expect(verdict.conclusion).toBe('healthy');
    expect(probesOf(verdict).map(({ verdict, seen }) => [verdict, seen])).toEqual([
      ['unknown', 'dry run, would send: 1 canary to celery'],
      ['unknown', 'dry run, would send: 3 canaries to batch, links and variations'],
    ]);
  });

  test('without a gate, also for a unit whose command cannot be read', async () => {
    const unit = unitFact({ processes: [], mainPid: null, fragment: { kind: 'absent' } });
    const { ports, asked } = host([facts({ unit })]);
    await verifyHost(ports, desired({ gate: { kind: 'none' } }));
    expect(asked).toEqual([everything]);
  });

  test('when the worker does not run', async () => {
    const unit = unitFact({ activeState: 'failed', subState: 'fail' });
    const { ports, asked } = host([facts({ unit })]);
    const { verdict } = await verifyHost(ports, desired());
    expect(asked).toEqual([everything]);
    expect(verdict.conclusion).toBe('unhealthy');
    expect(verdict.checks.at(-1)?.seen).toContain('not sent, the worker is not running');
  });
});

describe('invalid requests', () => {
  test.each([
    ['not-found', 'no such unit'],
    ['masked', 'masked'],
    ['bad-setting', 'an invalid setting'],
    ['error', 'cannot read the unit'],
  ])('%s', async (loadState, text) => {
    const { ports, asked } = host([facts({ unit: unitFact({ loadState }) })]);
    const run = verifyHost(ports, desired());
    await expect(run).rejects.toThrow(ConfigError);
    await expect(run).rejects.toThrow(text);
    expect(asked).toEqual([everything]);
  });

  test('a unit without celery is refused before any probe is sent', async () => {
    const argv = ['/usr/sbin/nginx'];
    const unit = unitFact({
      processes: [],
      mainPid: null,
      fragment: { kind: 'absent' },
      properties: { ExecStart: `{ path=${argv[0]} ; argv[]=${argv[0]} ; ignore_errors=no ; }` },
    });
    const { ports, asked } = host([facts({ unit })]);
    await expect(verifyHost(ports, desired())).rejects.toThrow(ConfigError);
    expect(asked).toEqual([everything]);
  });
});

describe('a worker that consumes nothing', () => {
  const nothing: ConsumingFact = {
    kind: 'nothing',
    waiting: { celery: 2, links: 1 },
    answers: true,
    seconds: seconds(6),
  };
  const state = async (...answers: readonly ConsumingFact[]) => {
    const { ports, questions } = host([facts(), facts()], ok, undefined, answers);
    const { verdict } = await verifyHost(ports, desired());
    const check = verdict.checks.find(({ id }) => id === 'consuming');
    return {
      conclusion: verdict.conclusion,
      seen: check?.seen,
      verdict: check?.verdict,
      questions,
    };
  };

  test('fails, with this cause', async () => {
    expect(await state(nothing, nothing)).toMatchObject({
      conclusion: 'unhealthy',
      verdict: 'fail',
      seen: 'it runs and consumes nothing: 3 messages wait in celery, links, and it was idle for 6 s',
    });
  });

  test('is asked again after the gate, which it may have passed', async () => {
    const { conclusion, questions } = await state(nothing, { kind: 'consumes' });
    expect(conclusion).toBe('healthy');
    expect(questions).toHaveLength(2);
  });

  test('is asked once if it consumes, or cannot be asked', async () => {
    const away: ConsumingFact = { kind: 'unknown', problem: 'it is at work' };
    expect(await state(away)).toMatchObject({ conclusion: 'healthy', verdict: 'unknown' });
    expect((await state({ kind: 'consumes' })).questions).toHaveLength(1);
  });

  test('is asked with the queues of its own line, and how its pool works', async () => {
    expect((await state()).questions).toMatchObject([
      { app: 'celery_app', queues: ['celery', 'batch', 'links', 'variations'], forks: true },
    ]);
  });

  test('is not asked if it does not run', async () => {
    const stopped = facts({ unit: unitFact({ activeState: 'failed', processes: [] }) });
    const { ports, asked } = host([stopped]);
    const { verdict } = await verifyHost(ports, desired());
    expect(asked).toEqual([everything]);
    expect(verdict.checks.find(({ id }) => id === 'consuming')?.verdict).toBe('unknown');
  });
});
