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
  const files = parts.map(({ path, text }) => ({ path, file: parseUnitFile(text) }));
  return {
    file: new UnitFile(files.flatMap(({ file }) => file.entries)),
    whereOf(entry) {
      const found = files.find(({ file }) => file.entries.includes(entry));
      if (found === undefined) throw new RangeError('the entry is not one of this unit');
      return `${found.path}:${found.file.lineOf(entry)}`;
    },
  };
}

/** Drop-ins are read in the order of their file names, whichever folder they are in. */
export function isReadBefore(one: string, other: string): boolean {
  return fileName(one) < fileName(other);
}

const fileName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
