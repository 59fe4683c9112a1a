import { expect, test } from 'vitest';
import { findWorkers, unitsToLookAt } from '../../../../src/plan/init/find-workers.ts';
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

test('names with signs of the shell are quoted in what is to be pasted', () => {
  const unit = 'app\\x2dworker@1.service';
  expect(stepsFor([{ pid: 70, cgroup: `/system.slice/${unit}` }])).toContain(
    `\`systemctl disable --now '${unit}'\``,
  );
  const given = { reach, knownHosts: 'x', branch: 'main', files: [], appUser: 'shop' };
  const lines = nextSteps({ ...given, unit }).flatMap(([, commands]) => commands);
  expect(lines.join('\n')).toContain(`--units '${unit}' `);
});
