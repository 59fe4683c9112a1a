import { describe, expect, it } from 'vitest';
import { parseDuration, parseSize, printSize } from '../../../src/config/quantities.ts';
import { bytes } from '../../../src/model/units.ts';

describe('parseSize', () => {
  it.each([
    ['2G', 2 * 1024 ** 3],
    ['512M', 512 * 1024 ** 2],
    ['800MiB', 800 * 1024 ** 2],
    ['1 tb', 1024 ** 4],
    ['4096', 4096],
  ])('reads %s', (text, expected) => {
    expect(parseSize(text)).toBe(expected);
  });

  it.each(['', '0', '-1G', '1.5G', '2GG', '2X', 'G', '99999999T', '2G; rm', '0x10', '１G'])(
    'refuses %j',
    (text) => {
      expect(parseSize(text)).toBeNull();
    },
  );

  it('reads back what printSize prints', () => {
    for (const size of [1, 1023, 1024, 1536 * 1024, 2 * 1024 ** 3, 3 * 1024 ** 4 + 1]) {
      expect(parseSize(printSize(bytes(size)))).toBe(size);
    }
  });
});

describe('parseDuration', () => {
  it.each([
    ['90s', 90],
    ['30m', 1800],
    ['1h30m', 5400],
    ['2 h', 7200],
    ['1d', 86_400],
  ])('reads %s', (text, expected) => {
    expect(parseDuration(text)).toBe(expected);
  });

  it.each(['', '30', '30x', '-5m', '0s', 'm', '1.5h', '5 minutes', '30m $(id)'])(
    'refuses %j',
    (text) => {
      expect(parseDuration(text)).toBeNull();
    },
  );
});
