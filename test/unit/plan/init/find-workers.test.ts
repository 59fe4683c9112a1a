import { expect, test } from 'vitest';
import type { UnitFact } from '../../../../src/model/facts/unit.ts';
import {
  chooseWorker,
  describeWorker,
  findWorkers,
  unitsToLookAt,
} from '../../../../src/plan/init/find-workers.ts';
import { nextSteps } from '../../../../src/plan/init/next-steps.ts';
import { realFact } from '../../../lib/real-facts.ts';
import { factsOf, reach, stepsFor } from './loose-workers.ts';

test.each([
  ['/system.slice/x;reboot.service'],
  ['/system.slice/$(reboot).service'],
  ['/user.slice/user-7.slice/user@7.service/app.slice/`reboot`.service'],
  ['/user.slice/user-7.slice/user@7.service/app.slice/x reboot.service'],
])('a worker of the service %s is refused: its name would be pasted', (cgroup) => {
  const facts = factsOf([{ pid: 70, cgroup }]);
  expect(unitsToLookAt({ services: [], workers: facts.workers })).toEqual([]);
  const { units, processes, others } = findWorkers(facts);
  expect([units, processes]).toEqual([[], []]);
  expect(others).toEqual([{ name: 'process 70', reason: expect.stringContaining('the name') }]);
});

test('a unit with such a name is refused, and named', () => {
  const units = [{ ...realFact('unit'), name: 'x;reboot.service' }];
  const found = findWorkers({ ...factsOf([]), units });
  expect(found.units).toEqual([]);
  expect(found.others.map(({ name }) => name)).toEqual(['unit "x;reboot.service"']);
});

/** A unit that runs this, as the main process or, with `null`, not at all. */
function unitOf(exec: string, main: { readonly pid: number } | null): UnitFact {
  const unit = realFact('unit');
  const text = `[Service]\nExecStart=${exec}\n`;
  const argv = ['/usr/bin/python3', '/usr/bin/celery', '-A', 'shop', 'worker'];
  const [known] = unit.processes;
  if (known === undefined) throw new Error('the unit of the fixture runs');
  return {
    ...unit,
    name: 'shop.service',
    fragment: { ...unit.fragment, text } as UnitFact['fragment'],
    dropIns: [],
    mainPid: main?.pid ?? null,
    processes: main === null ? [] : [{ ...known, pid: main.pid, argv }],
    activeState: main === null ? 'inactive' : 'active',
    unitFileState: main === null ? 'disabled' : 'enabled',
  };
}

const ownCgroup = '/system.slice/shop.service';

test.each([
  ['/srv/shop/run.sh', ['process 70 (shop']],
  ['/usr/bin/celery multi start w1 -A shop', ['process 70 (shop']],
  ['/usr/bin/celery -A shop worker', ['shop.service (shop']],
])('a unit that runs %s: a deploy changes it, or gets one that is proposed', (exec, names) => {
  const facts = factsOf([{ pid: 70, cgroup: ownCgroup }]);
  const found = findWorkers({ ...facts, units: [unitOf(exec, { pid: 70 })] });
  const named = [...found.units, ...found.processes].map(describeWorker);
  expect(named).toEqual(names.map((name) => expect.stringContaining(name)));
  if (found.processes.length > 0) expect(named[0]).toContain('started by shop.service');
});

test.each([
  ['a unit that runs nothing, beside a process', true, 1, 'open'],
  ['a unit that runs nothing, alone', true, 0, 'chosen'],
  ['a process alone', false, 1, 'chosen'],
])('%s', (_, hasUnit, processes, kind) => {
  const facts = factsOf([{ pid: 70 }].slice(0, processes));
  const units = hasUnit ? [unitOf('/usr/bin/celery -A shop worker', null)] : [];
  expect(chooseWorker(findWorkers({ ...facts, units })).kind).toBe(kind);
});

test('names with signs of the shell are quoted in what is to be pasted', () => {
  const unit = 'app\\x2dworker@1.service';
  expect(stepsFor([{ pid: 70, cgroup: `/system.slice/${unit}` }])).toContain(
    `\`systemctl disable --now '${unit}'\``,
  );
  const given = {
    reach,
    knownHosts: 'x',
    branch: 'main',
    files: [],
    appUser: 'shop',
    movesCheckout: false,
  };
  const lines = nextSteps({ ...given, unit }).flatMap(([, commands]) => commands);
  expect(lines.join('\n')).toContain(`--units '${unit}' `);
});
