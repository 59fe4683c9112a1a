import { describe, expect, it } from 'vitest';
import { epochSeconds, seconds } from '../../../../src/model/units.ts';
import type { GateRequest, GateRun } from '../../../../src/verify/evidence.ts';
import {
  gateFigures,
  latencyOf,
  settleBesides,
  signaturesOf,
} from '../../../../src/verify/soak/besides.ts';
import { release } from '../../use-case/simulated-soak.ts';
import { loggedFact } from '../facts.ts';
import { begin } from './samples.ts';

function run(kind: GateRequest['request']['kind'], ok: boolean, ...times: number[]): GateRun {
  const jobs = times.map((time) => ({
    id: 'a',
    where: 'celery',
    state: 'done' as const,
    detail: '',
    seconds: seconds(time),
  }));
  return {
    request: { id: 'gate-job', title: '', request: { kind } } as unknown as GateRequest,
    result: { kind: 'report', report: { ok, jobs, problem: null } },
  };
}

describe('what the ledger keeps of a gate', () => {
  it('is the median latency of its canaries', () => {
    const runs = [run('canary', true, 0.2), run('canary', true, 0.9, 0.4004, 0.5)];
    expect(gateFigures({ kind: 'sent', runs })).toEqual({ latencySeconds: 0.45 });
  });

  it('is nothing of probes that do work, failed or were not sent', () => {
    expect(gateFigures({ kind: 'none' })).toEqual({});
    for (const each of [run('task', true, 3), run('http', true, 3), run('canary', false, 3)]) {
      expect(gateFigures({ kind: 'sent', runs: [each] })).toEqual({});
    }
  });

  it('is compared, or it is said why not', () => {
    expect(latencyOf(release(1, { gateFigures: { latencySeconds: 0.4 } }))).toEqual({ value: 0.4 });
    for (const gateFigures of [null, {}, { latencySeconds: null }]) {
      expect(latencyOf(release(1, { gateFigures }))).toEqual({
        why: 'no gate of canaries confirmed this release',
      });
    }
  });
});

describe('kinds of error since a release', () => {
  const kind = (last: number) => ({
    signature: `E at ${last}`,
    count: 1,
    first: begin,
    last: epochSeconds(last),
    sample: '',
    before: 0,
  });
  const logged = (changes: Parameters<typeof loggedFact>[0] = {}) =>
    loggedFact({ since: begin, earlier: 10, ...changes });

  it('are counted from the beginning of the soak on', () => {
    const signatures = [kind(begin), kind(begin - 1), kind(begin + 90)];
    expect(signaturesOf(logged({ signatures }), begin)).toEqual({ value: 2 });
    const whole = logged({ signatures, since: epochSeconds(begin - 900) });
    expect(signaturesOf(whole, begin)).toEqual({ value: 2 });
  });

  it('are counted until the verdict', () => {
    const late = { ...kind(begin + 90), first: epochSeconds(begin + 61) };
    const signatures = [kind(begin + 90), late];
    expect(signaturesOf(logged({ signatures }), begin, epochSeconds(begin + 60))).toEqual({
      value: 1,
    });
    expect(signaturesOf(logged({ signatures }), begin, null)).toEqual({ value: 2 });
  });

  it.each([
    [{ since: epochSeconds(begin + 1) }, /not read from the beginning/],
    [{ since: null }, /not read from the beginning/],
    [{ complete: false }, /more lines than are read/],
    [{ earlier: 0 }, /reaches back/],
    [{ earlier: null }, /reaches back/],
    [{ moreSignatures: 3 }, /more kinds of error/],
  ])('are not known with %j', (changes, why) => {
    expect(signaturesOf(logged(changes), begin)).toEqual({ why: expect.stringMatching(why) });
  });
});

it('one line says why numbers are not known', () => {
  const [latencySeconds, errorSignatures] = [{ value: 0.4 }, { value: 0 }];
  expect(
    settleBesides({ latencySeconds, errorSignatures, oldestJobSeconds: { value: 7 } }),
  ).toEqual([{ latencySeconds: 0.4, errorSignatures: 0, oldestJobSeconds: 7 }, '']);
  expect(
    settleBesides({
      latencySeconds: { why: 'a' },
      errorSignatures,
      oldestJobSeconds: { why: 'b' },
    }),
  ).toEqual([
    { latencySeconds: null, errorSignatures: 0, oldestJobSeconds: null },
    'Unknown for this release: the latency of canaries, because a; the oldest stuck job, because b.',
  ]);
});
