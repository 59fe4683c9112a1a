import { formatBytes, formatCount, formatDuration, formatInstant } from '../../model/quantities.ts';
import type { Report, ReportRelease } from '../../model/report.ts';
import { memoryChart, queueChart } from './charts.ts';
import { Html, html, none } from './html.ts';
import {
  checksSection,
  comparisonSection,
  latencySection,
  releasesSection,
  repairsSection,
  soakSection,
  unitDiffSection,
} from './sections.ts';
import { style } from './style.ts';
import { formatHours, linked, timeOf } from './values.ts';

/** SHA-256 of the style sheet: the only thing that the page may load, and it is inside. */
export const styleHash = 'sha256-GCgsa34e7wY7B1jg9Oar6kC8TejccP+lB6OYEOWOLi4=';

/** The names of the page and of the JSON beside it. */
export const reportFiles = { page: 'report.html', json: 'report.json' } as const;

const words = { healthy: 'Healthy', unhealthy: 'Not healthy', inconclusive: 'Inconclusive' };

interface Section {
  readonly id: string;
  readonly title: string;
  /** Of the link to it. */
  readonly short: string;
  readonly body: Html;
}

/**
 * The report as one HTML file. It has no script and requests nothing; the charts are drawn here, so
 * that they also print. Every text is data, and escaped.
 */
export function renderPage(report: Report): string {
  const { host, unit, verdict, at, by } = report;
  const title = `${words[verdict.conclusion]}: ${unit} on ${host}`;
  const sections = sectionsOf(report);
  const word = words[verdict.conclusion];
  const who = by.actor === '' ? none : html` by ${by.actor}`;
  const run = by.run === '' ? none : html` (${linked(by.run, 'run')})`;
  const policy = `default-src 'none'; style-src '${styleHash}'; base-uri 'none'; form-action 'none'`;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${new Html(policy)}">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${new Html(style)}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the report</a>
<header>
<h1>${unit} on ${host}</h1>
<div class="verdict ${verdict.conclusion}" id="verdict">
<p class="word">${word}</p>
<p id="sentence">${withoutWord(verdict.sentence, word)}</p>
<p class="about">${timeOf(at, formatInstant(at))}${who}${run}</p>
</div>
<nav aria-label="Parts of the report"><ul>${sections.map(({ id, short }) => html`<li><a href="#${id}">${short}</a></li>`)}</ul></nav>
</header>
<main id="main">
${tiles(report)}
${sections.map(
  ({ id, title, body }) => html`<section aria-labelledby="${id}"><h2 id="${id}">${title}</h2>
${body}
</section>
`,
)}</main>
<footer><p>Celeriac ${report.celeriac}. Times are UTC, by the clock of the host. Also available as <a href="${reportFiles.json}">JSON</a>.</p></footer>
</body>
</html>
`.text;
}

/** What needs attention comes first. */
function sectionsOf(report: Report): readonly Section[] {
  const section = (id: string, title: string, body: Html, short = title): Section => ({
    id,
    title,
    short,
    body,
  });
  const checks = section('checks', 'Checks', checksSection(report));
  const isHealthy = report.verdict.conclusion === 'healthy';
  const comparison = comparisonSection(report);
  return [
    ...(isHealthy ? [] : [checks]),
    section('memory', 'Memory', memoryChart(report)),
    section('queues', 'Queues', queueChart(report)),
    section('latency', 'Probes', latencySection(report)),
    section('soak', 'Proof, hour by hour', soakSection(report), 'Proof'),
    ...(isHealthy ? [checks] : []),
    section('comparison', 'Compared with the last proven release', comparison, 'Comparison'),
    section('unit', 'Changes of the unit', unitDiffSection(report), 'Unit'),
    section('repairs', 'Jobs repaired', repairsSection(report), 'Repairs'),
    section('releases', 'Releases', releasesSection(report)),
  ];
}

/** `Healthy: 12 checks passed.` below the word `Healthy` says the same twice. */
function withoutWord(sentence: string, word: string): string {
  const rest = sentence.startsWith(`${word}: `) ? sentence.slice(word.length + 2) : sentence;
  return rest.slice(0, 1).toUpperCase() + rest.slice(1);
}

/** The most important numbers. */
function tiles({ worker, releases, soak, at }: Report): Html {
  const { memory, queues } = worker;
  const tile = (name: string, value: string | null, more: string): Html =>
    html`<div><dt>${name}</dt><dd>${value ?? html`<span class="unknown">not known</span>`}${more === '' ? none : html` <small>${more}</small>`}</dd></div>`;
  const limits = [
    ...(memory?.peak == null ? [] : [`peak ${formatBytes(memory.peak)}`]),
    ...(memory?.high == null ? [] : [`high ${formatBytes(memory.high)}`]),
    ...(memory?.max == null ? [] : [`max ${formatBytes(memory.max)}`]),
  ];
  const lengths = Object.entries(queues ?? {});
  const waiting = lengths.reduce((sum, [, length]) => sum + length, 0);
  const present = releases?.find(({ state }) => state !== 'undone' && state !== 'before');
  const running = worker.since === null ? '' : `, for ${formatDuration(at - worker.since)}`;
  const restarts = worker.restarts === null ? '' : `, ${formatCount(worker.restarts, 'restart')}`;
  const count = formatCount(worker.processes, 'process', 'processes');
  return html`<dl class="tiles">
${tile('Worker', `${worker.activeState} (${worker.subState})`, `${count}${running}${restarts}`)}
${tile('Memory now', memory === null ? null : formatBytes(memory.current), limits.join(', '))}
${tile('Waiting messages', queues === null ? null : String(waiting), lengths.map(([name, length]) => `${name} ${length}`).join(', '))}
${tile('Release', present === undefined ? null : String(present.release), present === undefined ? '' : describeRelease(present))}
${tile('Proof', soak?.state ?? null, soak === null ? '' : `${formatDuration(soak.coveredSeconds)} of ${formatHours(soak.wantedSeconds)}`)}
</dl>`;
}

const describeRelease = ({ state, sha }: ReportRelease): string =>
  [state, sha.slice(0, 12)].filter((part) => part !== '').join(', ');
