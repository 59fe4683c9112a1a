import { expect, it } from 'vitest';
import type { RepairedRow } from '../../../../src/jobs/repair/changes.ts';
import { renderRepairTable } from '../../../../src/jobs/repair/repair-table.ts';
import { seconds } from '../../../../src/model/units.ts';

const row = (table: string, id: string): RepairedRow => ({
  table,
  id,
  status: 'processing',
  becomes: 'failed',
  ageSeconds: seconds(7200),
  why: 'no sign of life for 2 h',
});

it('shortens an id only if it stays unique', () => {
  const text = renderRepairTable([
    row('jobs', '77cfa3cd-5b0e-4c7e-9d51-2f8a6c1e4b90'),
    row('links', '3d0c51aa-0000-4000-8000-000000000000'),
    row('links', '3d0c51aa-0000-4000-8000-000000000001'),
    row('batches', '3d0c51aa-90f4-4e0b-b1c7-5a2d8e6f7c01'),
  ]);
  const ids = text.split('\n').map((line) => line.split(/ {2,}/)[1]);
  expect(ids).toEqual([
    'id',
    '77cfa3cd',
    '3d0c51aa-0000-4000-8000-000000000000',
    '3d0c51aa-0000-4000-8000-000000000001',
    '3d0c51aa',
  ]);
});
