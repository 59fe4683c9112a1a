import { ConfigError } from '../model/errors.ts';
import type { UnitFact } from '../model/facts/unit.ts';

/**
 * @param where the input that names it, e.g. `input unit`
 * @param expected what it should name
 * @throws ConfigError when systemd has not loaded the unit
 */
export function requireLoaded(unit: UnitFact, where: string, expected: string): void {
  const problem = whyNotLoaded(unit);
  if (problem !== null) throw new ConfigError(where, `${unit.name}: ${problem}`, expected);
}

/**
 * For a look at what is left of a unit: one that systemd cannot load is there, too.
 *
 * @throws ConfigError when there is no such unit
 */
export function requireFound(unit: UnitFact, where: string, expected: string): void {
  if (unit.loadState === 'not-found') requireLoaded(unit, where, expected);
}

function whyNotLoaded({ loadState }: UnitFact): string | null {
  switch (loadState) {
    case 'loaded':
      return null;
    case 'not-found':
      return 'no such unit on the host';
    case 'masked':
      return 'the unit is masked (a link to /dev/null)';
    case 'bad-setting':
      return 'systemd cannot load the unit: it contains an invalid setting';
    case 'error':
      return 'systemd cannot read the unit';
    default:
      return `the unit is not loaded: systemd calls its state ${loadState}`;
  }
}

/** Nothing to stop: the unit does not run and will not restart by itself. */
export const isAtRest = ({ activeState, processes }: UnitFact): boolean =>
  ['inactive', 'failed'].includes(activeState) && processes.length === 0;
