import { describe, expect, it } from 'vitest';
import type { Finding } from '../../../src/model/operation.ts';
import { lineOf, sortFindings, titleAsBefore } from '../../../src/report/lasting.ts';

const about = 'deploy-worker of worker.service';
const container: Finding = { level: 'warning', message: 'a container', lasting: true };
const tables: Finding = {
  level: 'notice',
  message: 'skipped tables',
  where: '/srv/app.db',
  lasting: true,
};
const dirty: Finding = { level: 'warning', message: 'uncommitted changes' };
const all = [container, dirty, tables];
const told = ['warning: a container', 'notice: skipped tables (/srv/app.db)'];

describe('lasting findings', () => {
  it('are all told by the first run, which records them', () => {
    expect(sortFindings(all, about, {})).toEqual({
      news: all,
      asBefore: [],
      told: { about, messages: told },
    });
  });

  it('are folded away by the next run, which records nothing', () => {
    expect(sortFindings(all, about, { [about]: told })).toEqual({
      news: [dirty],
      asBefore: [container, tables],
      told: null,
    });
    expect(titleAsBefore([container, tables])).toBe('2 findings as before');
  });

  it.each<[string, readonly Finding[], readonly string[]]>([
    ['of another unit', all, []],
    [
      'whose text changed',
      [{ ...container, message: 'a container (lxc)' }, tables],
      [told[1] ?? ''],
    ],
    ['that became worse', [{ ...tables, level: 'warning' }], []],
  ])('%s are told', (_, findings, known) => {
    const { news, told: record } = sortFindings(findings, about, {
      [about]: known,
      'deploy-worker of other.service': told,
    });
    expect(news).toEqual(findings.filter((each) => !known.includes(lineOf(each))));
    expect(record?.messages).toEqual(findings.filter((each) => each.lasting).map(lineOf));
  });

  it('that went away are forgotten, so that they are told again when they are back', () => {
    expect(sortFindings([container], about, { [about]: told }).told).toEqual({
      about,
      messages: told.slice(0, 1),
    });
    expect(sortFindings([], about, { [about]: told }).told).toEqual({ about, messages: [] });
    expect(sortFindings([], about, {}).told).toBeNull();
  });

  it('never hides what may change from run to run', () => {
    const known = { [about]: ['warning: uncommitted changes'] };
    expect(sortFindings([dirty], about, known).news).toEqual([dirty]);
  });
});
