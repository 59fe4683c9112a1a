import { expect, test } from 'vitest';
import type { FactQuery, FactsFor } from '../../../src/model/facts.ts';
import type { Operation, Plan } from '../../../src/model/operation.ts';
import type { NotOwnTree } from '../../../src/model/release.ts';
import { seconds } from '../../../src/model/units.ts';
import { refuseEnvironment } from '../../../src/use-case/refuse-environment.ts';

const install: Operation = {
  op: 'install-dependencies',
  title: 'install requirements.txt',
  why: 'it changed with the code',
  unit: 'shop.service',
  user: 'shop',
  interpreter: ['/srv/venv/bin/python'],
  tool: 'pip',
  file: 'requirements.txt',
  commit: '1'.repeat(40),
  lock: '2'.repeat(64),
  timeoutSeconds: seconds(60),
  checkout: '/srv/shop',
};

const planOf = (...operations: readonly Operation[]): Plan => ({
  operations,
  satisfied: [],
  findings: [],
});

/** A host that answers so, and remembers what it was asked. */
function hostWith(environment: NotOwnTree | null) {
  const asked: FactQuery[] = [];
  const look = async <const Query extends FactQuery>(query: Query): Promise<FactsFor<Query>> => {
    asked.push(query);
    return { environment } as FactsFor<Query>;
  };
  return { asked, look };
}

test('an environment of somebody else is refused with what to do', async () => {
  const problem = "/srv/venv belongs to root, and the app's user is shop";
  const fix = '`sudo chown -R shop: /srv/venv`';
  const host = hostWith({ kind: 'not-own', path: '/srv/venv', user: 'shop', problem, fix });
  await expect(refuseEnvironment(host, planOf(install))).rejects.toMatchObject({
    name: 'ConfigError',
    message: problem,
    expected: fix,
  });
  expect(host.asked).toEqual([
    { environment: { unit: 'shop.service', user: 'shop', interpreter: ['/srv/venv/bin/python'] } },
  ]);
});

test('one of the app, or one that is not there yet, is not', async () => {
  await refuseEnvironment(hostWith(null), planOf(install));
});

test('without packages to install, nothing is asked', async () => {
  const host = hostWith(null);
  await refuseEnvironment(host, planOf());
  expect(host.asked).toEqual([]);
});
