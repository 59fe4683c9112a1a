import { type FleetValues, parseFleetFile } from '../../config/fleet-file.ts';
import { parseSize } from '../../config/quantities.ts';
import { ConfigError } from '../../model/errors.ts';
import type { Sizing } from './size-worker.ts';

/** The settings of a size in a fleet file, and the comments before them. */
const setting = /^ {2}(?:concurrency|memory-max|memory-high):/;
const comment = /^ {2}#/;

/** Whose settings a fleet file has. */
interface Owner {
  readonly host: string;
  readonly unit: string;
}

/**
 * The lines with which a fleet file that is there sizes the same worker, if its limits still fit: what
 * others use differs a little each time, and no file needs to change for that.
 *
 * @param standing the text of the file; `null`: there is none
 * @returns the lines within `deploy-worker`, without their indentation; `null`: none to keep
 */
export function keptLines(
  standing: string | null,
  { host, unit }: Owner,
  sizing: Sizing,
): readonly string[] | null {
  const values = standing === null ? null : readValues(standing);
  if (standing === null || values === null) return null;
  const text = (name: string): string => values.get(name)?.text ?? '';
  if (text('host') !== host || text('unit') !== unit) return null;
  const { concurrency, memoryMaxBytes, memoryHighBytes, fitting } = sizing;
  if (concurrency !== null && text('concurrency') !== String(concurrency)) return null;
  const isSoft = text('memory-high') !== '';
  if (memoryMaxBytes !== null && isSoft !== (memoryHighBytes !== null)) return null;
  const limit = parseSize(text('memory-max'));
  if (limit === null || fitting === null) return null;
  return limit < fitting.leastBytes || limit > fitting.mostBytes ? null : linesIn(standing);
}

function readValues(text: string): FleetValues | null {
  try {
    return parseFleetFile('.github/fleet.yml', text, 'deploy-worker');
  } catch (error) {
    // It is shown with the difference, and replaced only if a person says so.
    if (error instanceof ConfigError) return null;
    throw error;
  }
}

function linesIn(text: string): readonly string[] | null {
  const lines = text.split('\n');
  const from = lines.indexOf('deploy-worker:') + 1;
  const to = lines.findLastIndex((line) => setting.test(line)) + 1;
  const own = lines.slice(from, to);
  if (from === 0 || !own.every((line) => setting.test(line) || comment.test(line))) return null;
  return own.map((line) => line.slice(2));
}
