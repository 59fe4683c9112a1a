import { describe, expect, it } from 'vitest';
import { bytes } from '../../../src/model/units.ts';
import {
  microseconds,
  parseSize,
  parseTimeSpan,
  printSizeProperty,
  printTimeSpan,
} from '../../../src/systemd/values.ts';

describe('sizes', () => {
  it.each([
    ['800M', 838_860_800],
    ['600M', 629_145_600],
    ['1G', 1_073_741_824],
    ['1.5G', 1_610_612_736],
    ['1G 512M', 1_610_612_736],
    ['1G512M', 1_610_612_736],
    ['1024', 1024],
    ['1024B', 1024],
    ['10 K', 10_240],
    [' 2T ', 2_199_023_255_552],
    ['10.M', 10_485_760],
    ['0', 0],
  ])('reads %s', (text, size) => {
    expect(parseSize(text)).toEqual({ kind: 'bytes', bytes: size });
  });

  it('reads shares of the memory and no limit', () => {
    expect(parseSize('40%')).toEqual({ kind: 'percent', percent: 40 });
    expect(parseSize('infinity')).toEqual({ kind: 'infinity' });
  });

  it.each(['1500MB', '800m', '800MiB', '512M 1G', '-1', '', 'lots', '1,5G', '101%', '17E', 'M'])(
    'refuses %j, as systemd does',
    (text) => {
      expect(parseSize(text)).toBeNull();
    },
  );

  it('prints as systemctl show does', () => {
    expect(printSizeProperty(bytes(838_860_800))).toBe('838860800');
    expect(printSizeProperty(null)).toBe('infinity');
  });
});

describe('time spans', () => {
  // Right-hand sides as `systemd-analyze timespan` of systemd 252 printed them.
  it.each([
    ['300', 300_000_000, '5min'],
    ['960', 960_000_000, '16min'],
    ['5min 20s', 320_000_000, '5min 20s'],
    ['1h', 3_600_000_000, '1h'],
    ['90s', 90_000_000, '1min 30s'],
    ['1.5h', 5_400_000_000, '1h 30min'],
    ['1h30', 3_630_000_000, '1h 30s'],
    ['12.34 .56', 12_900_000, '12.900000s'],
    ['.5', 500_000, '500ms'],
    ['5 min', 300_000_000, '5min'],
    ['+5', 5_000_000, '5s'],
    ['5 s6', 11_000_000, '11s'],
    ['3m', 180_000_000, '3min'],
    ['3M', 7_889_400_000_000, '3month'],
    ['1y2month', 36_817_200_000_000, '1y 2month'],
    ['2.5us', 2, '2us'],
    ['100ms', 100_000, '100ms'],
    ['1500us', 1500, '1.500ms'],
    ['1.5s', 1_500_000, '1.500000s'],
    ['3601.5s', 3_601_500_000, '1h 1.500000s'],
    ['90061s', 90_061_000_000, '1d 1h 1min 1s'],
    ['400d', 34_560_000_000_000, '1y 1month 4d 7h 30min'],
    ['2weeks', 1_209_600_000_000, '2w'],
    ['0', 0, '0'],
    ['  7s ', 7_000_000, '7s'],
  ])('reads %j and prints it as systemctl show does', (text, span, printed) => {
    expect(parseTimeSpan(text)).toBe(span);
    expect(printTimeSpan(span)).toBe(printed);
  });

  it('knows infinity', () => {
    expect(parseTimeSpan('infinity')).toBe(Number.POSITIVE_INFINITY);
    expect(printTimeSpan(Number.POSITIVE_INFINITY)).toBe('infinity');
  });

  it.each(['', '5minfoo', '12.34.56', '1.s', '12.s', '1e3', 'forever', '-1', '30x'])(
    'refuses %j, as systemd does',
    (text) => {
      expect(parseTimeSpan(text)).toBeNull();
    },
  );

  it('counts seconds in microseconds', () => {
    expect(printTimeSpan(microseconds(0.1))).toBe('100ms');
  });
});
