import type { ProbePlace, ProbesProgress } from '../model/outcome.ts';
import { formatCount, formatDuration } from '../model/quantities.ts';
import { seconds } from '../model/units.ts';

/** In the order in which a probe passes them. */
const places: readonly (readonly [place: ProbePlace, title: string])[] = [
  ['failed', 'failed'],
  ['lost', 'lost'],
  ['active', 'running'],
  ['reserved', 'received'],
  ['queued', 'queued'],
  ['unknown', 'waiting'],
];

/** A line of a log that nobody watches, even if nothing changes. */
const quietSeconds = 30;

/** `1 of 4 probes done; running: links; queued: batch, celery (2)`. */
function describeProbes({ probes }: Pick<ProbesProgress, 'probes'>): string {
  const done = probes.filter(({ place }) => place === 'done').length;
  const parts = [`${done} of ${formatCount(probes.length, 'probe')} done`, ...describeOpen(probes)];
  return parts.join('; ');
}

/** `queued: batch, celery (2)`, for each place but `done`. */
export function describeOpen(probes: ProbesProgress['probes']): readonly string[] {
  return places.flatMap(([place, title]) => {
    const names = probes
      .filter((probe) => probe.place === place)
      .map(({ where, detail }) => (detail === '' ? where : `${where} (${detail})`));
    return names.length === 0 ? [] : [`${title}: ${countEach(names)}`];
  });
}

/** The same with the time. */
export const renderProbes = (told: ProbesProgress): string =>
  `${describeProbes(told)} (after ${formatDuration(seconds(Math.round(told.seconds)))})`;

/** Whether a log, of which each line stays, needs this one after `last`, the one it has. */
export function isNews(told: ProbesProgress, last: ProbesProgress | null): boolean {
  if (last === null || told.seconds < last.seconds) return true;
  if (describeProbes(told) !== describeProbes(last)) return true;
  return told.seconds - last.seconds >= quietSeconds;
}

function countEach(names: readonly string[]): string {
  const groups = Map.groupBy(names, (name) => name);
  return [...groups]
    .map(([name, { length }]) => (length === 1 ? name : `${name} (${length})`))
    .join(', ');
}
