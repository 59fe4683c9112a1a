import { expect, test } from 'vitest';
import type { Check } from '../../../src/model/verdict.ts';
import { renderVerdictText } from '../../../src/report/verdict-view.ts';

const check = (changes: Partial<Check>): Check => ({
  id: 'x',
  title: 'unit',
  state: 'passed',
  seen: 'active',
  expected: '',
  evidence: [],
  next: '',
  ...changes,
});

test('evidence and advice stand under what is not fine', () => {
  expect(
    renderVerdictText({
      healthy: false,
      checks: [
        check({ evidence: ['not shown'] }),
        check({
          title: 'strays',
          state: 'failed',
          seen: '1 worker',
          expected: 'none',
          evidence: ['pid 1', '::error::x\ny'],
          next: 'run deploy-worker',
        }),
        check({ title: 'gate', state: 'skipped', seen: 'none' }),
      ],
    }),
  ).toBe(
    [
      '- [x] unit: active',
      '- [ ] strays: 1 worker (failed, expected none)',
      '      pid 1',
      '      : :error::x y',
      '      next: run deploy-worker',
      '- [ ] gate: none (not checked)',
    ].join('\n'),
  );
});
