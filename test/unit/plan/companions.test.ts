import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Companion } from '../../../src/config/companion-inputs.ts';
import type { ServiceBeside } from '../../../src/model/facts/beside.ts';
import type { UnitFact } from '../../../src/model/facts/unit.ts';
import { epochSeconds, seconds } from '../../../src/model/units.ts';
import { warnOfBeats } from '../../../src/plan/deploy/beats.ts';
import { runBeforeStart } from '../../../src/plan/deploy/before-start.ts';
import { nameLeftBehind, planCompanions } from '../../../src/plan/deploy/companions.ts';
import type { DeployWorkerFacts } from '../../../src/plan/deploy/look.ts';
import { workerDesired } from '../../lib/worker-desired.ts';

const host = JSON.parse(
  readFileSync(join(import.meta.dirname, 'fixtures/deploy-worker/hosts/healthy.json'), 'utf8'),
) as DeployWorkerFacts;

const webArgv = ['/srv/venv/bin/python3', '/srv/venv/bin/gunicorn', 'web:app'];

const web = (more: Partial<UnitFact> = {}): UnitFact => ({
  ...host.unit,
  name: 'shop-web.service',
  activeState: 'active',
  activeSince: epochSeconds(2000),
  mainPid: 70,
  processes: host.unit.processes.slice(0, 1).map((each) => ({ ...each, argv: webArgv })),
  properties: { CanReload: 'yes', TimeoutStopUSec: '20s', TimeoutStartUSec: '1min 30s' },
  ...more,
});

function plan(
  asked: Partial<Companion>,
  fact: UnitFact,
  {
    changes = true,
    newest = 1000,
    beside = [] as readonly ServiceBeside[],
    startedWithThese = null as boolean | null,
  } = {},
) {
  const companion = { unit: fact.name, how: 'restart', url: null, ...asked } as const;
  const facts = {
    ...host,
    code: {
      newest: { path: '/srv/shop/web.py', modified: epochSeconds(newest) },
      truncated: false,
      startedWithThese: null,
    },
    companions: { named: [{ unit: fact, startedWithThese }], beside },
  };
  const desired = workerDesired({
    unit: 'celery-worker.service',
    supportModule: { name: 'celeriac_support', text: '' },
    companions: [companion],
  });
  return planCompanions(facts, desired, changes);
}

describe('a roll-back', () => {
  const beside = ['shop-web.service', 'shop-beat.service'].map((unit) => ({
    unit,
    pid: 7,
    argv: [],
  }));
  const checkout = { op: 'checkout-code', unit: 'celery-worker.service' };
  const guard = { op: 'guard-companion', unit: 'shop-beat.service' };

  it('names the units that keep the code that it takes back', () => {
    expect(nameLeftBehind(beside, [checkout, guard])).toEqual([
      {
        level: 'notice',
        message:
          'shop-web.service also runs from this code and keeps what it has loaded until it is restarted, which a rollback does only for the units that the release restarted: `systemctl restart shop-web.service` on the host',
      },
    ]);
    expect(nameLeftBehind(beside, [checkout])).toHaveLength(2);
  });

  it('names none if the code stays', () => {
    expect(
      nameLeftBehind(beside, [guard, { op: 'install-unit', unit: 'celery-worker.service' }]),
    ).toEqual([]);
  });
});

describe('a unit of also-restart', () => {
  it('is guarded first, and restarted when the code changes', () => {
    const { guards, restarts, findings } = plan({ url: 'http://127.0.0.1:8000/up' }, web());
    expect(guards).toMatchObject([{ op: 'guard-companion', unit: 'shop-web.service' }]);
    expect(restarts).toEqual([
      {
        op: 'restart-companion',
        unit: 'shop-web.service',
        how: 'restart',
        onlyOnce: false,
        minHealthySeconds: 10,
        timeoutSeconds: 120,
        url: 'http://127.0.0.1:8000/up',
        urlTimeoutSeconds: 120,
        title: 'restart shop-web.service',
        why: 'its code changes; it is down between its stop and its start, then 10 s without a restart, and an answer at http://127.0.0.1:8000/up',
      },
    ]);
    expect(findings).toEqual([]);
  });

  it.each([
    [['/srv/venv/bin/celery', '-A', 'shop', 'beat', '-l', 'info'], true],
    [['/srv/venv/bin/python', '-m', 'celery', '--app=shop', 'beat'], true],
    [webArgv, false],
    [['/usr/bin/tail', '-F', '/var/log/celery/beat.log'], false],
  ])('that runs %j must run only once: %s', (argv, onlyOnce) => {
    const processes = host.unit.processes.slice(0, 1).map((each) => ({ ...each, argv }));
    const { guards, restarts } = plan({}, web({ processes }));
    expect([...guards, ...restarts].map((each) => each.onlyOnce)).toEqual([onlyOnce, onlyOnce]);
  });

  it('is left alone when it runs the newest code, and caught up with when it does not', () => {
    const idle = plan({}, web(), { changes: false });
    expect(idle).toMatchObject({
      guards: [],
      restarts: [],
      satisfied: ['shop-web.service: runs the newest code'],
    });
    const [late] = plan({ how: 'reload' }, web(), { changes: false, newest: 3000 }).restarts;
    expect(late).toMatchObject({
      how: 'reload',
      why: expect.stringMatching(
        /^\/srv\/shop\/web\.py is newer than it; it reloads without a stop/,
      ),
    });
  });

  it('is judged by content where Celeriac started it: a clock set back restarts nothing', () => {
    const known = { changes: false, newest: 9000, startedWithThese: true };
    expect(plan({}, web(), known).restarts).toEqual([]);
    const changed = plan({}, web(), { changes: false, newest: 1000, startedWithThese: false });
    expect(changed.restarts[0]?.why).toMatch(/^its code has changed since it was started/);
  });

  it.each([
    ['inactive', 'notice'],
    ['failed', 'warning'],
  ] as const)('that is %s is not started', (activeState, level) => {
    const { guards, restarts, findings } = plan({}, web({ activeState }));
    expect([...guards, ...restarts]).toEqual([]);
    expect(findings).toEqual([
      { level, message: `shop-web.service is ${activeState}, so it is not restarted` },
    ]);
  });

  it.each<[string, Partial<Companion>, Partial<UnitFact>, RegExp]>([
    ['does not exist', {}, { loadState: 'not-found' }, /no such unit on the host/],
    ['is masked', {}, { loadState: 'masked' }, /the unit is masked \(a link/],
    ['is broken', {}, { loadState: 'bad-setting' }, /contains an invalid setting/],
    ['runs a Celery worker', {}, { processes: host.unit.processes }, /it runs a Celery worker/],
    [
      'cannot be reloaded',
      { how: 'reload' },
      { properties: { CanReload: 'no' } },
      /it has no ExecReload=/,
    ],
  ])('that %s is refused before anything changes', (_, asked, more, message) => {
    expect(() => plan(asked, web(more))).toThrow(message);
  });
});

it('other services that run this code are named, with what to do', () => {
  const beside = [
    { unit: 'shop-beat.service', pid: 80, argv: ['/srv/venv/bin/celery', '-A', 'shop', 'beat'] },
    { unit: 'shop-slow.service', pid: 81, argv: ['celery', '-A', 'shop', 'worker'] },
  ];
  expect(plan({}, web(), { beside }).findings.map(({ message }) => message)).toEqual([
    'shop-beat.service also runs from this code and keeps the old one until it is restarted; `also-restart: shop-beat.service` restarts it after the worker',
    'shop-slow.service also runs from this code and keeps the old one until it is restarted; deploy it with a run of its own (`unit: shop-slow.service`)',
  ]);
  expect(plan({}, web(), { beside, changes: false }).findings).toEqual([]);

  // Brought by somebody else: the worker restarts for it, and they may have been restarted.
  const newest = (host.unit.activeSince ?? 0) + 10;
  const [beat] = plan({}, web(), { beside, changes: false, newest }).findings;
  expect(beat?.message).toBe(
    'shop-beat.service also runs from this code and keeps the old one if it was started before that changed; `also-restart: shop-beat.service` restarts it after the worker',
  );
});

it('beat in two units is warned of; in one it is not', () => {
  const beat = ['/srv/venv/bin/python3', '/srv/venv/bin/celery', '-A', 'shop', 'beat', '-s', '/x'];
  const named = [
    web({
      name: 'shop-beat.service',
      processes: host.unit.processes.slice(0, 1).map((each) => ({ ...each, argv: beat })),
    }),
    web(),
  ].map((unit) => ({ unit, startedWithThese: null }));
  const worker = { unit: 'celery-worker.service', hasBeat: false };
  expect(warnOfBeats({ named, beside: [] }, worker)).toEqual([]);
  expect(warnOfBeats({ named, beside: [] }, { ...worker, hasBeat: true })).toEqual([
    {
      level: 'warning',
      message:
        'beat runs in celery-worker.service (-B) and in shop-beat.service, so each scheduled task is sent 2 times; keep one of them',
    },
  ]);
  const other = { unit: 'old-beat.service', pid: 9, argv: beat };
  expect(warnOfBeats({ named, beside: [other] }, worker)).toHaveLength(1);
});

it('a command of before-start runs in the folder that becomes current', () => {
  const own = {
    unit: 'celery-worker.service',
    interpreter: ['/srv/venv/bin/python3'],
    app: 'shop',
    pythonPath: [],
  };
  const desired = workerDesired({
    unit: own.unit,
    supportModule: { name: 'celeriac_support', text: '' },
    beforeStart: { commands: [['python', 'manage.py', 'migrate']], timeoutSeconds: seconds(60) },
  });
  const instead = { from: '/srv/shop/current', to: '/srv/shop/releases/1' };
  expect(runBeforeStart(own, { when: 'prepared', instead }, desired)).toMatchObject([
    {
      op: 'run-command',
      argv: ['python', 'manage.py', 'migrate'],
      interpreter: ['/srv/venv/bin/python3'],
      instead,
      timeoutSeconds: 60,
      title: 'run `python manage.py migrate`',
      why: expect.stringContaining('a rollback does not undo what it does'),
    },
  ]);
  const [inPlace] = runBeforeStart(own, { when: 'in-place' }, desired);
  expect(inPlace).not.toHaveProperty('instead');
});
