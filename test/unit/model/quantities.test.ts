import { describe, expect, test } from 'vitest';
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatInstant,
  formatList,
  formatMebibytes,
} from '../../../src/model/quantities.ts';

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;

test.each([
  [0, '0 B'],
  [512, '512 B'],
  [1023, '1023 B'],
  [1024, '1 KiB'],
  [800 * MiB, '800 MiB'],
  [300.4 * MiB, '300 MiB'],
  [2 * GiB, '2 GiB'],
  [2 * GiB - 4096, '2 GiB'],
  [1.44 * GiB, '1.4 GiB'],
  [1024 * MiB - 1, '1 GiB'],
  [3.8 * GiB, '3.8 GiB'],
])('%d bytes are %s', (size, text) => {
  expect(formatBytes(size)).toBe(text);
});

test.each([
  [0, '0 s'],
  [0.005, '5 ms'],
  [0.0001, '1 ms'],
  [0.4, '0.4 s'],
  [1.7, '1.7 s'],
  [9.96, '10 s'],
  [45, '45 s'],
  [59.7, '1 min'],
  [125, '2 min 5 s'],
  [16 * 60, '16 min'],
  [16 * 60 + 30, '16 min'],
  [3600, '1 h'],
  [3 * 3600 + 5 * 60, '3 h 5 min'],
  [8 * 86_400 + 3 * 3600 + 59, '8 d 3 h'],
  [-3, '0 s'],
])('%d seconds are %s', (duration, text) => {
  expect(formatDuration(duration)).toBe(text);
});

describe('words', () => {
  test('counts', () => {
    expect(formatCount(1, 'job')).toBe('1 job');
    expect(formatCount(0, 'job')).toBe('0 jobs');
    expect(formatCount(2, 'batch', 'batches')).toBe('2 batches');
  });

  test('instants', () => {
    expect(formatInstant(1_768_734_123)).toBe('2026-01-18 11:02:03 UTC');
    expect(formatInstant(Number.NaN)).toBe('an unknown time');
  });

  test('lists', () => {
    expect(formatList([])).toBe('');
    expect(formatList(['a'])).toBe('a');
    expect(formatList(['a', 'b', 'c'])).toBe('a, b and c');
  });
});

test('formatMebibytes: whole, so that a sum adds up', () => {
  const sizes = [512 * 1024, MiB - 1, MiB, 300.4 * MiB, 2 * GiB];
  const shown = ['512 KiB', '1024 KiB', '1 MiB', '300 MiB', '2048 MiB'];
  expect(sizes.map(formatMebibytes)).toEqual(shown);
});
