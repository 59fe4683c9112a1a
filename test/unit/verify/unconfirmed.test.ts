import { expect, test } from 'vitest';
import { whyUnconfirmed } from '../../../src/verify/unconfirmed.ts';
import { release } from '../use-case/simulated-soak.ts';

const waiting = (number: number, transaction: string) =>
  release(number, { transaction, verdict: 'none', state: 'awaiting' });
const before = release(0, { transaction: null });
const own = waiting(1, 'own');
const newer = waiting(2, 'newer');
const back = { verdict: 'rolled-back' } as const;

test('another run has deployed', () => {
  expect(whyUnconfirmed(['own'], [before, own, newer])).toEqual({ kind: 'replaced', by: newer });
});

test('another run has confirmed it, with its own release or without one', () => {
  const confirmed = { ...own, verdict: 'confirmed', by: 'run 2' } as const;
  const is = { kind: 'confirmed', by: 'run 2' };
  expect(whyUnconfirmed(['own'], [before, confirmed])).toEqual(is);
  expect(whyUnconfirmed(['own'], [before, confirmed, newer])).toEqual(is);
});

test('the host has rolled back, also together with a newer release', () => {
  const is = { kind: 'rolled-back' };
  expect(whyUnconfirmed(['own'], [before, { ...own, ...back }])).toEqual(is);
  const both = [before, { ...own, ...back }, { ...newer, ...back }];
  expect(whyUnconfirmed(['own'], both)).toEqual(is);
  expect(whyUnconfirmed(['own'], [...both, waiting(3, 'again')])).toEqual(is);
  expect(whyUnconfirmed(['own'], [])).toEqual(is);
});

test('of several releases that waited together, the newest counts', () => {
  const [first, second, third] = [waiting(1, 'first'), waiting(2, 'second'), waiting(3, 'third')];
  const waited = ['second', 'first'];
  expect(whyUnconfirmed(waited, [first, second, third])).toEqual({ kind: 'replaced', by: third });
  expect(whyUnconfirmed(waited, [first, { ...second, ...back }])).toEqual({ kind: 'rolled-back' });
});
