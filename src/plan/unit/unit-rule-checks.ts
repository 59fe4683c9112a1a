import { findUnitFaults } from '../../celery/unit-faults.ts';
import type { FactAnswers } from '../../model/facts.ts';
import type { Seconds } from '../../model/units.ts';
import type { Check } from '../../model/verdict.ts';
import { rulePage } from '../../systemd/unit-rules.ts';
import { stackUnit } from '../../systemd/unit-stack.ts';
import { unitContext } from './unit-context.ts';

/**
 * The known faults of a unit as it is, as checks: a severe one fails, since it loses work or does it
 * twice; any other is a warning. One check that passes when there are none.
 *
 * @param accepted ids of rules that are not told
 */
export function unitRuleChecks(
  facts: Pick<FactAnswers, 'host' | 'unit' | 'swap'>,
  {
    longestTaskSeconds,
    accepted,
  }: { readonly longestTaskSeconds: Seconds; readonly accepted: readonly string[] },
): readonly Check[] {
  const { fragment, fragmentPath, dropIns } = facts.unit;
  if (fragment.kind !== 'file' || fragment.text === null) {
    const seen = `${fragmentPath || facts.unit.name} is not a text file that can be read`;
    return [{ ...check('unit-rules', title), verdict: 'unknown', seen }];
  }
  const stack = stackUnit([{ path: fragmentPath, text: fragment.text }, ...dropIns]);
  const faults = findUnitFaults(stack.file, unitContext(facts, longestTaskSeconds)).filter(
    ({ rule }) => !accepted.includes(rule.id),
  );
  if (faults.length === 0) return [{ ...check('unit-rules', title), seen: 'no known fault' }];
  return faults.map(({ rule, seen, entry }): Check => {
    const where = entry === null ? fragmentPath : stack.whereOf(entry);
    const how = rule.mends.kind === 'not' ? rule.fix : `${rule.fix}; ${mending[rule.mends.kind]}`;
    return {
      ...check(`rule-${rule.id}`, rule.title),
      verdict: rule.severe === true ? 'fail' : 'warn',
      seen: `${seen} (${where}): ${rule.why}`,
      next: `${how}. See ${rulePage(rule)}`,
    };
  });
}

const title = 'The unit has no known fault';

const mending = {
  whole: 'deploy-worker does it',
  'in-part': 'deploy-worker fixes a part of it',
} as const;

const check = (id: string, name: string): Check => ({
  id,
  title: name,
  verdict: 'pass',
  seen: '',
  expected: '',
  evidence: [],
  next: '',
});
