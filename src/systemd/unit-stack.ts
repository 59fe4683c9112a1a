import type { UnitEntry } from './unit-entry.ts';
import { parseUnitFile, UnitFile } from './unit-file.ts';

/** A unit file, or one of its drop-ins. */
export interface UnitPart {
  readonly path: string;
  readonly text: string;
}

/** A unit combined with its drop-ins, in the order in which systemd reads them. */
export interface UnitStack {
  /** Every line of every part, to be read as one file. */
  readonly file: UnitFile;
  /** `/etc/systemd/system/x.service.d/y.conf:3` */
  whereOf(entry: UnitEntry): string;
}

/** @param parts the unit file, then its drop-ins in the order in which systemd reads them */
export function stackUnit(parts: readonly UnitPart[]): UnitStack {
  const places = new Map<UnitEntry, string>();
  const entries = parts.flatMap(({ path, text }) => {
    const file = parseUnitFile(text);
    for (const entry of file.entries) places.set(entry, `${path}:${file.lineOf(entry)}`);
    return file.entries;
  });
  return {
    file: new UnitFile(entries),
    whereOf(entry) {
      const place = places.get(entry);
      if (place === undefined) throw new RangeError('the entry is not one of this unit');
      return place;
    },
  };
}

/** Drop-ins are read in the order of their file names, whichever folder they are in. */
export function isReadBefore(one: string, other: string): boolean {
  return fileName(one) < fileName(other);
}

const fileName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
