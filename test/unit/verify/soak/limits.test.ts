import { describe, expect, it } from 'vitest';
import type { SoakRecord, SoakThresholds, SoakWish } from '../../../../src/model/soak.ts';
import { seconds } from '../../../../src/model/units.ts';
import { settleLimits } from '../../../../src/verify/soak/limits.ts';

const hours = (count: number) => seconds(count * 3600);
const usual: SoakThresholds = {
  failureLimit: 0,
  consecutive: 3,
  rateLimitMax: null,
  errorRateMax: null,
};
const silent: SoakWish = {
  wanted: hours(24),
  failureLimit: null,
  consecutive: null,
  rateLimitMax: null,
  errorRateMax: null,
};
const nothing: SoakRecord = { soakSeconds: null, soakLimits: null };
const recorded = (limits: Partial<SoakThresholds> = {}): SoakRecord => ({
  soakSeconds: hours(24),
  soakLimits: { ...usual, ...limits },
});

describe('of a host that has recorded nothing', () => {
  it('they are those of the run, and the usual ones', () => {
    expect(settleLimits(silent, nothing)).toEqual({
      limits: { wanted: hours(24), ...usual },
      notes: [],
    });
    const asked = { failureLimit: 5, consecutive: 0, rateLimitMax: 4, errorRateMax: 7 };
    expect(settleLimits({ ...silent, ...asked }, nothing)).toEqual({
      limits: { wanted: hours(24), ...asked },
      notes: [],
    });
  });
});

describe('of a host that has recorded those of the deploy', () => {
  it('they are the same for every run that says nothing', () => {
    const limits = { failureLimit: 5, consecutive: 0, rateLimitMax: 4, errorRateMax: 7 };
    expect(settleLimits(silent, recorded(limits))).toEqual({
      limits: { wanted: hours(24), ...limits },
      notes: [],
    });
  });

  it.each([
    ['failureLimit', 'failure-limit', 2, 1, 1],
    ['failureLimit', 'failure-limit', 2, 3, 2],
    ['consecutive', 'consecutive', 3, 2, 2],
    ['consecutive', 'consecutive', 3, 4, 3],
    // 0 is never.
    ['consecutive', 'consecutive', 3, 0, 3],
    ['consecutive', 'consecutive', 0, 9, 9],
    ['consecutive', 'consecutive', 0, 0, 0],
    ['rateLimitMax', 'rate-limit-max', 4, 0, 0],
    ['rateLimitMax', 'rate-limit-max', 4, 5, 4],
    ['rateLimitMax', 'rate-limit-max', null, 5, 5],
    ['errorRateMax', 'max-errors', 0, 5, 0],
    ['errorRateMax', 'max-errors', null, 0, 0],
  ] as const)(
    'the stricter %s of %s counts: %s, asked for %s, is %s',
    (name, input, kept, asked, counts) => {
      const { limits, notes } = settleLimits(
        { ...silent, [name]: asked },
        recorded({ [name]: kept }),
      );
      expect(limits).toEqual({ wanted: hours(24), ...usual, [name]: counts });
      expect(notes).toEqual(
        counts === asked
          ? []
          : [
              `The deploy recorded \`${input}\` ${kept}, this run asks for ${asked}: the stricter one applies.`,
            ],
      );
    },
  );

  it('the longer soak counts', () => {
    const record = { ...recorded(), soakSeconds: hours(48) };
    expect(settleLimits(silent, record)).toMatchObject({
      limits: { wanted: hours(48) },
      notes: ['The deploy wanted a soak of 48 h, this run one of 24 h: the longer one applies.'],
    });
    expect(settleLimits({ ...silent, wanted: hours(72) }, record)).toMatchObject({
      limits: { wanted: hours(72) },
      notes: [],
    });
  });
});

describe('of a host that cannot read all of what it has recorded', () => {
  const damaged = (soakLimits: Partial<SoakThresholds>): SoakRecord => ({
    soakSeconds: hours(24),
    soakLimits,
  });
  const { failureLimit: _, ...readable } = { ...usual, rateLimitMax: 5 };

  it('they are what it can read, and the usual ones', () => {
    const { limits, notes } = settleLimits(silent, damaged(readable));
    expect(limits).toEqual({ wanted: hours(24), ...usual, rateLimitMax: 5 });
    expect(notes).toEqual([
      'The host cannot read what the deploy recorded of `failure-limit`, because the record was damaged or edited; the defaults apply instead, and no run can relax them: deploy again to record them.',
    ]);
  });

  it('they are not made easier by a run', () => {
    const asked = { failureLimit: 100, rateLimitMax: 1000 };
    const { limits, notes } = settleLimits({ ...silent, ...asked }, damaged(readable));
    expect(limits).toMatchObject({ failureLimit: 0, rateLimitMax: 5 });
    expect(notes).toContain(
      'Of `failure-limit`, the default is 0, and this run asks for 100: the stricter one applies.',
    );
  });

  it('they are the usual ones if it can read none', () => {
    const { limits, notes } = settleLimits({ ...silent, errorRateMax: 7 }, damaged({}));
    expect(limits).toEqual({ wanted: hours(24), ...usual, errorRateMax: 7 });
    expect(notes).toEqual([
      expect.stringContaining('`failure-limit`, `consecutive`, `rate-limit-max`, `max-errors`'),
    ]);
  });
});
