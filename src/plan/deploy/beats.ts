import { runsBeat } from '../../celery/beat.ts';
import type { CompanionsFact } from '../../model/facts/beside.ts';
import type { Finding } from '../../model/operation.ts';

/**
 * A warning if beat runs in several units of the app: then each scheduled task is sent that often.
 *
 * @param worker the worker's unit, and whether it runs beat itself (`-B`)
 */
export function warnOfBeats(
  { named, beside }: Pick<CompanionsFact, 'named' | 'beside'>,
  worker: { readonly unit: string; readonly hasBeat: boolean },
): readonly Finding[] {
  const places = [
    ...(worker.hasBeat ? [`${worker.unit} (-B)`] : []),
    ...named
      .filter(({ unit }) => unit.processes.some(({ argv }) => runsBeat(argv)))
      .map(({ unit }) => unit.name),
    ...beside.filter(({ argv }) => runsBeat(argv)).map(({ unit }) => unit),
  ];
  if (places.length < 2) return [];
  return [
    {
      level: 'warning',
      message: `beat runs in ${places.join(' and in ')}, so each scheduled task is sent ${places.length} times; keep one of them`,
    },
  ];
}
