import { readInstant } from '../tables/instants.ts';
import { type JobRow, mirrorAbove, nameRow, showValue } from '../tables/job-forest.ts';
import { snakeOf } from '../tables/names.ts';
import { isSignOfLife } from '../tables/time-columns.ts';

/** The clocks of the host and the app may differ a little. */
export const clockTolerance = 300;

/** When a row was last worked on. */
export interface Sign {
  /** Seconds since 1970. */
  readonly latest: number | null;
  /** The first unreadable timestamp. */
  readonly unreadable: string | null;
}

/** Signs of life, cached per row. */
export class LifeSigns {
  readonly #known = new Map<JobRow, Sign>();
  readonly #timeZone: string;
  readonly #now: number | null;

  /** @param now `null`: bystanders are ignored */
  constructor(timeZone: string, now: number | null) {
    this.#timeZone = timeZone;
    this.#now = now;
  }

  /** Of the row, its descendants, and the row it mirrors. */
  ofUnit(row: JobRow): Sign {
    return this.ofTree(mirrorAbove(row) ?? row);
  }

  /** Of the row and its descendants. */
  ofTree(row: JobRow): Sign {
    const known = this.#known.get(row);
    if (known) return known;
    const sign = [
      readSign(row, this.#timeZone, this.#now),
      readBystanders(row, this.#now),
      ...row.children.map((child) => this.ofTree(child)),
    ].reduce(join);
    this.#known.set(row, sign);
    return sign;
  }
}

function join(one: Sign, other: Sign): Sign {
  const times = [one.latest, other.latest].filter((time) => time !== null);
  return {
    latest: times.length > 0 ? Math.max(...times) : null,
    unreadable: one.unreadable ?? other.unreadable,
  };
}

function readSign(row: JobRow, timeZone: string, now: number | null): Sign {
  let sign: Sign = { latest: null, unreadable: null };
  const roles = timesOfRoles(row);
  for (const column of row.mapping.times) {
    if (!roles.includes(column) && !isSignOfLife(column)) continue;
    const value = row.values[column] ?? null;
    const reading = readInstant(value, timeZone);
    const day = readDay(value, timeZone);
    if (reading.kind === 'instant') {
      // A time that is planned says nothing; one that has been cannot be in the future.
      const planned = now !== null && reading.at > now + clockTolerance && !roles.includes(column);
      if (!planned) sign = join(sign, { latest: reading.at, unreadable: null });
    } else if (day !== null) {
      sign = join(sign, { latest: Math.min(day, now ?? day), unreadable: null });
    } else if (reading.kind === 'unreadable' && value !== 0 && isAge(row, column)) {
      const unreadable = `${nameRow(row)} has ${column} = ${showValue(value)}`;
      sign = join(sign, { latest: null, unreadable });
    }
  }
  return sign;
}

/** The columns in which the app writes what happened, and when. */
const timesOfRoles = ({ mapping }: JobRow): readonly (string | null)[] => [
  mapping.created,
  mapping.started,
  mapping.completed,
  mapping.updated,
];

/** Whether an unreadable value of this column leaves the age of the row unknown. */
const isAge = (row: JobRow, column: string): boolean =>
  timesOfRoles(row).includes(column) || /_at$/.test(snakeOf(column));

/** The end of a day without a time: the row may have changed at any moment of it. */
export function readDay(value: unknown, timeZone: string): number | null {
  if (typeof value !== 'string' || !/^\d{4}-\d{2}-\d{2}$/.test(value.trim())) return null;
  const end = readInstant(`${value.trim()} 23:59:59`, timeZone);
  return end.kind === 'instant' ? end.at : null;
}

/** Bystanders may change because the row is being worked on. */
function readBystanders({ bystanders }: JobRow, now: number | null): Sign {
  let latest: number | null = null;
  for (const at of bystanders.flatMap(({ times }) => times)) {
    const past = now !== null && at <= now + clockTolerance;
    if (past && (latest === null || at > latest)) latest = at;
  }
  return { latest, unreadable: null };
}
