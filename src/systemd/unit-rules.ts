import { execRules } from './rules/exec-lines.ts';
import { lifeCycleRules } from './rules/life-cycle.ts';
import { memoryRules } from './rules/memory.ts';
import { perChildRules } from './rules/per-child.ts';
import { purgeRules } from './rules/purge.ts';
import { surroundingsRules } from './rules/surroundings.ts';
import type { UnitEntry } from './unit-entry.ts';
import type { UnitFile } from './unit-file.ts';
import type { Rule, RuleContext, UnitRule } from './unit-rule.ts';

/** The known faults of worker units. Each has a page, see `rulePage`. */

export { killsCeleryByName } from './rules/exec-lines.ts';
export type { Rule, UnitContext, WorkerSeen } from './unit-rule.ts';

export const unitRules: readonly UnitRule[] = [
  ...execRules,
  ...lifeCycleRules,
  ...memoryRules,
  ...perChildRules,
  ...purgeRules,
  ...surroundingsRules,
];

/** One place where a unit breaks a rule. */
export interface UnitFault {
  readonly rule: UnitRule;
  /** Without secrets. */
  readonly seen: string;
  /** `null` when a line is missing. */
  readonly entry: UnitEntry | null;
}

/** All faults of a unit, including its drop-ins where they are part of the file. */
export function applyUnitRules(file: UnitFile, context: RuleContext): readonly UnitFault[] {
  return unitRules.flatMap((rule) =>
    rule.find(file, context).map(({ entry, seen }) => ({ rule, seen, entry })),
  );
}

/** The page of a rule in this repository; generated from the rule. */
export const rulePage = ({ id }: Rule): string => `docs/reference/unit-rules/${id}.md`;
