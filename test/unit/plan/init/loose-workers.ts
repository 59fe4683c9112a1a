import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StartFact, WorkerProcess } from '../../../../src/model/facts/beside.ts';
import { copiesOf, findWorkers } from '../../../../src/plan/init/find-workers.ts';
import type { Reach } from '../../../../src/plan/init/fleet-text.ts';
import { proposeUnit, type UnitRequest } from '../../../../src/plan/init/propose-unit.ts';
import { realFact } from '../../../lib/real-facts.ts';

export const reach: Reach = { host: 'vps.example.com', port: 22, user: 'root', jump: '' };

interface Given extends Partial<WorkerProcess> {
  readonly pid: number;
  /** Programs above it. */
  readonly above?: readonly string[];
  /** Names of the variables of its environment. */
  readonly variables?: readonly string[];
}

const file = join(import.meta.dirname, '../fixtures/init/nohup.json');

/** The facts of a host on which these run, all as `nohup` starts one but for what is given. */
export function factsOf(given: readonly Given[]) {
  const { workers, starts } = JSON.parse(readFileSync(file, 'utf8')) as {
    readonly workers: readonly [WorkerProcess];
    readonly starts: readonly [StartFact];
  };
  return {
    host: realFact('host'),
    units: [],
    workers: given.map(({ above: _above, variables: _variables, ...own }) => ({
      ...workers[0],
      ...own,
    })),
    starts: given.map(({ pid, above = [], variables = starts[0].variables }) => ({
      ...starts[0],
      variables,
      pid,
      above: [...above, 'systemd'].map((name, at) => ({ pid: at + 1, name })),
    })),
  };
}

/** The steps that init proposes for the first of them. @throws Error if it proposes no unit */
export function stepsFor(given: readonly Given[], more: Partial<UnitRequest> = {}): string {
  const found = findWorkers(factsOf(given));
  const [worker] = found.processes;
  if (worker === undefined) throw new Error('no worker was found');
  const copies = copiesOf(worker, found);
  const proposal = proposeUnit({ worker, copies, name: 'celery-worker.service', reach, ...more });
  if ('problem' in proposal) throw new Error(proposal.problem);
  return proposal.steps.join('\n');
}
