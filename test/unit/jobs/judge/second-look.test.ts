import { describe, expect, test } from 'vitest';
import { type MovedRow, warnOfOldTimes } from '../../../../src/jobs/judge/second-look.ts';
import type { SqlValue } from '../../../../src/model/operation/jobs.ts';
import { AppDatabase, bySqlite, day, hour, minute, now, planFor } from '../app-database.ts';
import { drive } from '../drive-host.ts';

/** Rows that move between the two looks, with the times of clocks that are ahead of UTC or behind. */

/** How many seconds its row was written before it was seen. */
const ago = 20;
const between = 180;

const moved = (values: Readonly<Record<string, SqlValue>>): MovedRow => ({
  table: 'jobs',
  id: 7,
  moved: values,
  seenAt: now,
});

/** The current time by a clock that is so many hours ahead of UTC. */
const clock = (hours: number, before = ago): string => bySqlite(before - hours * hour);

const warn = (row: MovedRow, timeZone = 'UTC'): string =>
  warnOfOldTimes([row], timeZone, between)
    .map(({ message }) => message)
    .join('\n');

describe('a row that moved between the looks', () => {
  test.each<[hours: number, told: string | null]>([
    [0, null],
    [-5, '5 h'],
    [-3.5, '3.5 h'],
    [-1, '1 h'],
    [-11, '11 h'],
    // Those are in the future, of which the plan warns.
    [9, null],
    [5.5, null],
  ])('written by UTC%d, read as UTC', (hours, told) => {
    const message = warn(moved({ updated_at: clock(hours), status: 'processing' }));
    if (told === null) expect(message).toBe('');
    else expect(message).toContain('read as');
    if (told !== null) expect(message).toContain(`${told.replace('3.5 h', '3 h 30 min')} ago`);
  });

  test.each<[zone: string, hours: number, warned: boolean]>([
    ['Asia/Tokyo', 9, false],
    ['Asia/Tokyo', 0, true],
    ['Asia/Kolkata', 5.5, false],
    ['Asia/Kolkata', 0, true],
    ['America/Bogota', -5, false],
    ['America/Bogota', 0, false],
  ])('written and read in %s, UTC%d', (zone, hours, warned) => {
    expect(warn(moved({ updated_at: clock(hours) }), zone) !== '').toBe(warned);
  });

  test.each<[why: string, values: Readonly<Record<string, SqlValue>>]>([
    ['no time moved', { status: 'completed', progress: 17 }],
    ['its time has a zone', { updated_at: `${clock(-5)}+00:00` }],
    ['its time is in seconds since 1970', { updated_at: now - 5 * hour }],
    ['another of its times is of now', { started_at: clock(-5), updated_at: clock(0) }],
    ['its time is planned', { retry_at: clock(-5) }],
    ['no zones differ by as much', { updated_at: clock(0, 5 * hour - 8 * minute) }],
    ['nor by so little', { updated_at: clock(0, 45 * minute + ago) }],
    ['nor by days', { updated_at: clock(0, 3 * day) }],
    ['its time is cleared', { updated_at: null }],
  ])('no warning: %s', (_, values) => {
    expect(warn(moved(values))).toBe('');
  });

  test('the table, a row and what to do are told', () => {
    expect(warn(moved({ updated_at: clock(-5) }))).toBe(
      `jobs: 1 row changed just now, but with times that read as 5 h ago, such as updated_at = '${clock(-5)}' of 7; times without a zone are read as UTC, so rows look older than they are: set \`timezone\` to the zone in which the app writes them`,
    );
  });

  test('idle jobs never warn, whatever else is skipped', () => {
    const idle: readonly MovedRow[] = [
      { table: 'jobs', id: 1 },
      { table: 'jobs', id: 2, moved: {}, seenAt: now },
    ];
    expect(warnOfOldTimes(idle, 'UTC', between)).toEqual([]);
  });
});

test('the host tells what moved, and when it was seen', async () => {
  using database = new AppDatabase();
  const { links } = database.addBatch('one', {
    ago: day,
    links: [
      ['processing', day],
      ['processing', day],
    ],
  });
  const cleanUp = await planFor(database);
  const [repair] = cleanUp.plan.operations.filter((each) => each.op === 'repair-jobs');
  const local = clock(-5);
  database.sql.prepare('UPDATE batch_links SET started_at = ? WHERE id = ?').run(local, links[0]);
  const args = { ...repair, database: database.file };
  const [, result] = drive(database, 'operations.repair_jobs', 'do', args).value as [
    string,
    { readonly skipped: readonly MovedRow[] },
  ];
  const told = result.skipped.filter((row) => row.moved !== undefined);
  expect(told).toEqual([
    expect.objectContaining({
      id: links[0],
      moved: { started_at: local },
      seenAt: expect.any(Number),
    }),
  ]);
});
