import { formatCount, formatDuration, formatInstant } from '../../model/quantities.ts';
import type { Report, ReportRelease } from '../../model/report.ts';
import type { SoakComparison, SoakHour, SoakVerdict } from '../../model/soak.ts';
import type { Check } from '../../model/verdict.ts';
import { type Html, html, htmlLines, none } from './html.ts';
import {
  bytesValue,
  countValue,
  hoursValue,
  instantValue,
  linked,
  prose,
  scrolling,
  secondsValue,
  unknown,
} from './values.ts';

const verdictWords = { pass: 'pass', warn: 'warning', fail: 'failed', unknown: 'not known' };
const signs = { pass: '✓', warn: '!', fail: '✗', unknown: '?' };
const worstFirst = ['fail', 'warn', 'unknown', 'pass'] as const;

/** A verdict as a word with a sign: not by its colour alone. */
const badge = (verdict: Check['verdict']): Html =>
  html`<span class="badge ${verdict}"><span aria-hidden="true">${signs[verdict]}</span> ${verdictWords[verdict]}</span>`;

/** Every check with its evidence; what needs attention first, and open. */
export function checksSection({ checks }: Report): Html {
  if (checks.length === 0) return unknown('no checks were made');
  const sorted = worstFirst.flatMap((verdict) => checks.filter((each) => each.verdict === verdict));
  return html`<ul class="checks" id="check-list">${sorted.map(
    (check) => html`<li data-id="${check.id}" data-verdict="${check.verdict}">
<h3>${badge(check.verdict)} ${check.title}</h3>
<p class="seen">${prose(check.seen)}</p>${
      check.expected === ''
        ? none
        : html`<p><b>Expected:</b> <span class="expected">${prose(check.expected)}</span></p>`
    }${check.next === '' ? none : html`<p><b>Next:</b> <span class="next">${prose(check.next)}</span></p>`}${
      check.evidence.length === 0 ? none : evidenceOf(check)
    }</li>
`,
  )}</ul>`;
}

function evidenceOf({ verdict, title, evidence }: Check): Html {
  const inner = html`<summary>Evidence: ${formatCount(evidence.length, 'line')}</summary>${preformatted(`Evidence of ${title}`, evidence.join('\n'))}`;
  return verdict === 'fail'
    ? html`<details open>${inner}</details>`
    : html`<details>${inner}</details>`;
}

const preformatted = (label: string, text: string): Html =>
  html`<pre role="group" aria-label="${label}" tabindex="0">${htmlLines(text)}</pre>`;

/** Latency of the probes, by queue, with a bar for each. */
export function latencySection({ latency, probes }: Report): Html {
  if (latency === null) return unknown('no probes were sent');
  const slowest = Math.max(0.001, ...latency.map((each) => each.slowest ?? 0));
  const width = (value: number | null): number =>
    Math.round(((value ?? 0) / slowest) * 196 * 10) / 10;
  const lost = (probes ?? []).filter(({ state }) => state !== 'done');
  return html`${scrolling(
    'Latency by queue',
    html`<table id="latency-table"><thead><tr><th scope="col">queue</th><th scope="col">done</th><th scope="col">median</th><th scope="col">slowest</th><th scope="col" class="bars"><span class="hidden">as a bar</span></th></tr></thead><tbody>${latency.map(
      (
        each,
      ) => html`<tr><th scope="row">${each.where}</th><td class="whole">${countValue(each.done)} of ${countValue(each.sent)}</td><td>${secondsValue(each.median)}</td><td>${secondsValue(each.slowest)}</td><td class="bars"><svg class="bar" viewBox="0 0 200 16" aria-hidden="true"><rect class="slow" x="0" y="2" width="${width(each.slowest)}" height="12"/><rect class="median" x="0" y="2" width="${width(each.median)}" height="12"/></svg></td></tr>
`,
    )}</tbody></table>`,
  )}${
    lost.length === 0
      ? none
      : html`<ul id="lost">${lost.map(({ where, state, detail }) => html`<li>${where}: ${state}${detail === '' ? '' : `: ${detail}`}</li>`)}</ul>`
  }<p class="note">From sending a probe until its result arrives, imports of the app included.<span class="bars"> The solid part of a bar is the median.</span></p>`;
}

type HourState = 'good' | 'part' | 'bad' | 'gap' | 'open';
const hourWords: Readonly<Record<HourState, string>> = {
  good: 'no failure',
  part: 'no failure, partly without samples',
  bad: 'failing minutes',
  gap: 'no samples',
  open: 'not yet',
};
const hourSigns: Readonly<Record<HourState, string>> = {
  good: '✓',
  part: '–',
  bad: '✗',
  gap: '?',
  open: '',
};

function stateOfHour({ coveredSeconds, gapSeconds, failingMinutes }: SoakHour): HourState {
  if (failingMinutes > 0) return 'bad';
  if (coveredSeconds <= 0) return 'gap';
  return gapSeconds > 0 ? 'part' : 'good';
}

/** The proof of the release as a strip of hours. */
export function soakSection({ soak }: Report): Html {
  if (soak === null)
    return unknown('no release is being proven, or the host has recorded no samples');
  const left = Math.ceil((soak.wantedSeconds - soak.coveredSeconds) / 3600);
  const pending = soak.state === 'unproven' ? Math.max(0, Math.min(left, 168)) : 0;
  const states = soak.hours.map(stateOfHour);
  const used = [...new Set<HourState>([...states, ...(pending > 0 ? (['open'] as const) : [])])];
  const hour = (state: HourState, text: string): Html =>
    html`<li class="hour ${state}" title="${text}"><span aria-hidden="true">${hourSigns[state]}</span><span class="hidden">${text}</span></li>`;
  return html`<p id="soak-sentence">${soak.sentence}</p>
<ol class="strip" id="soak-strip">${soak.hours.map((each, index) => {
    const state = states[index] ?? 'gap';
    const failing = each.failingMinutes > 0 ? ` (${each.failingMinutes})` : '';
    return hour(state, `${formatInstant(each.at)}: ${hourWords[state]}${failing}`);
  })}${Array.from({ length: pending }, (_, index) => hour('open', `${formatCount(index + 1, 'hour')} from now: not yet`))}</ol>
<ul class="legend">${used.map(
    (state) =>
      html`<li><span class="hour ${state}" aria-hidden="true">${hourSigns[state]}</span>${hourWords[state]}</li>`,
  )}</ul>
<p>${secondsValue(soak.coveredSeconds)} of ${hoursValue(soak.wantedSeconds)} covered by samples, ${secondsValue(soak.gapSeconds)} without${
    soak.earliestEnd === null
      ? none
      : html`; proven at ${instantValue(soak.earliestEnd)} UTC at the earliest`
  }.</p>${soakDetails(soak)}`;
}

function soakDetails({ failure, aspects, gaps, faults, notes }: SoakVerdict): Html {
  const lines = [
    ...faults.map(({ at, sentence }) => `${formatInstant(at)}: ${sentence}`),
    ...gaps.map(
      ({ from, to, why }) =>
        `${formatInstant(from)}: ${formatDuration(to - from)} without samples: ${why}`,
    ),
    ...notes,
  ];
  return html`${
    failure === null
      ? none
      : html`<p><b>Failed</b> at ${formatInstant(failure.at)}: ${failure.sentence}</p>${failure.evidence.length === 0 ? none : preformatted('Evidence of the failure', failure.evidence.join('\n'))}`
  }${
    aspects.length === 0
      ? none
      : scrolling(
          'Limits of the soak',
          html`<table><thead><tr><th scope="col">limit</th><th scope="col">verdict</th><th scope="col">seen</th></tr></thead><tbody>${aspects.map(
            ({
              title,
              verdict,
              seen,
            }) => html`<tr><th scope="row">${title}</th><td>${badge(verdict)}</td><td>${seen}</td></tr>
`,
          )}</tbody></table>`,
        )
  }${lines.length === 0 ? none : html`<details><summary>Failing minutes, gaps and remarks: ${lines.length}</summary><ul>${lines.map((text) => html`<li>${text}</li>`)}</ul></details>`}`;
}

/** What the present release changed in the unit. */
export function unitDiffSection({ unitDiff }: Report): Html {
  if (unitDiff === null) return unknown('there is no release whose changes the host still has');
  const cut = unitDiff.cut ? html`<p class="note">Parts are too long to be shown.</p>` : none;
  if (unitDiff.text === '') {
    return html`<p>Release ${unitDiff.release} ${unitDiff.cut ? 'changed the unit' : 'did not change the unit'}.</p>${cut}`;
  }
  const lines = unitDiff.text.split('\n').map((text) => {
    const kind = /^(?:---|\+\+\+|@@)/.test(text)
      ? 'head'
      : text.startsWith('+')
        ? 'added'
        : text.startsWith('-')
          ? 'removed'
          : 'same';
    return html`<span class="${kind}">${htmlLines(`${text}\n`)}</span>`;
  });
  return html`<p>By release ${unitDiff.release}:</p><pre class="diff" role="group" aria-label="Changes of the unit" tabindex="0">${lines}</pre>${cut}`;
}

export function repairsSection({ repairs }: Report): Html {
  if (repairs === null) return unknown('the transactions of the host were not read');
  if (repairs.length === 0) return html`<p>None in the transactions that the host still has.</p>`;
  return scrolling(
    'Jobs repaired',
    html`<table id="repair-table"><thead><tr><th scope="col">when</th><th scope="col">rows</th><th scope="col">what</th><th scope="col">by</th></tr></thead><tbody>${repairs.map(
      ({
        at,
        rows,
        what,
        run,
      }) => html`<tr><th scope="row">${instantValue(at)}</th><td>${countValue(rows)}</td><td>${what.join('; ')}</td><td>${linked(run, 'run')}</td></tr>
`,
    )}</tbody></table>`,
  );
}

const stateWords: Readonly<Record<ReportRelease['state'], string>> = {
  before: 'before Celeriac',
  awaiting: 'awaits its verdict',
  unproven: 'not proven yet',
  proven: 'proven',
  failed: 'failed',
  superseded: 'replaced before it was proven',
  undone: 'rolled back',
};

export function releasesSection({ releases }: Report): Html {
  if (releases === null) return unknown('the ledger of the host was not read');
  if (releases.length === 0) return html`<p>None: Celeriac has not deployed this worker.</p>`;
  return scrolling(
    'Releases',
    html`<table id="release-table"><thead><tr><th scope="col">release</th><th scope="col">when</th><th scope="col">who</th><th scope="col">commit</th><th scope="col">state</th><th scope="col">why</th></tr></thead><tbody>${releases.map(
      (
        each,
      ) => html`<tr data-state="${each.state}"><th scope="row">${countValue(each.release)}</th><td>${instantValue(each.at)}</td><td>${each.actor}${each.run === '' || each.run === each.actor ? none : html` ${linked(each.run, 'run')}`}</td><td><code>${each.sha.slice(0, 12)}</code></td><td><span class="state ${each.state}">${stateWords[each.state]}</span>${each.since === null ? none : html` since ${instantValue(each.since)}`}</td><td>${each.why}</td></tr>
`,
    )}</tbody></table>`,
  );
}

const trendWords = { better: 'better', same: 'same', worse: 'worse' };

export function comparisonSection({ comparison }: Report): Html {
  if (comparison === null)
    return unknown('there is no proven release before this one, or its numbers were not kept');
  return html`<p>Release ${comparison.release} is the last proven one before this.</p>${scrolling(
    'Comparison',
    html`<table id="comparison-table"><thead><tr><th scope="col">measure</th><th scope="col">release ${comparison.release}</th><th scope="col">now</th><th scope="col">trend</th></tr></thead><tbody>${comparison.rows.map(
      (
        row,
      ) => html`<tr><th scope="row">${row.title}</th><td>${figure(row, row.before)}</td><td>${figure(row, row.now)}</td><td>${row.trend === null ? html`<span class="unknown">not known</span>` : html`<span class="trend ${row.trend}">${trendWords[row.trend]}</span>`}</td></tr>
`,
    )}</tbody></table>`,
  )}${comparison.notKnown === '' ? '' : html`<p class="unknown">${comparison.notKnown}</p>`}`;
}

function figure({ unit }: SoakComparison, value: number | null): Html {
  switch (unit) {
    case 'bytes':
      return bytesValue(value);
    case 'seconds':
      return secondsValue(value);
    case 'count':
      return countValue(value);
    case 'per-hour':
      return value === null ? countValue(null) : html`${countValue(value)} an hour`;
  }
}
