import {
  type CodeChange,
  type PlannedAction,
  type PlannedPart,
  type PlannedStep,
  type PlanReport,
  plannedActions,
} from '../model/plan-report.ts';
import { formatCount } from '../model/quantities.ts';
import {
  byteLength,
  capMarkdown,
  codeFence,
  codeSpan,
  silentHtml,
  silentMarkdown,
  toOneLine,
} from './escape.ts';

/** What the comment is about. */
export interface PlanContext {
  /** The name of the workflow: each has a comment of its own. */
  readonly workflow: string;
  /** The newest commit of the pull request. */
  readonly head: string;
  /** The branch that it would be merged into. */
  readonly base: string;
  /** The commit that GitHub made to try the merge: that of the run. */
  readonly trial: string;
  /** The address of the run. */
  readonly run: string;
  /** Hosts that were to be planned; empty: not known. */
  readonly hosts: readonly string[];
  /** How the job that planned ended, as GitHub says it; `''`: not known. */
  readonly result: string;
  /** Where to read about a read-only key. */
  readonly keyPage: string;
}

export interface PlanComment {
  /** The first line of the comment: it is found again by it. */
  readonly marker: string;
  readonly body: string;
  /** The same with nothing left out. */
  readonly summary: string;
}

/** GitHub refuses comments of more than 65,536 characters. */
export const commentLimitBytes = 65_000;

/** Lines shown of each diff or list, until the comment is short enough. */
const detailLines = [Number.POSITIVE_INFINITY, 200, 60, 20, 5, 0] as const;

/** The comment on a pull request that says what merging changes on each host. */
export function renderPlanComment(
  reports: readonly PlanReport[],
  context: PlanContext,
): PlanComment {
  const marker = `<!-- celeriac-plan: ${context.workflow.replace(/[^\w .-]/g, '-').slice(0, 100)} -->`;
  const note = `Cut to fit into a comment: ${runLink(context, 'the summary of the run')} has all of it.`;
  const whole = render(reports, context, detailLines[0]);
  const room = commentLimitBytes - byteLength(marker) - 1;
  const fitting = detailLines
    .map((lines) => {
      const text = render(reports, context, lines);
      return text === whole ? text : `${text}\n\n_${note}_`;
    })
    .find((text) => byteLength(text) <= room);
  const body = fitting ?? capMarkdown(render(reports, context, 0), room, note);
  return { marker, body: `${marker}\n${body.trimEnd()}\n`, summary: capMarkdown(`${whole}\n`) };
}

function render(reports: readonly PlanReport[], context: PlanContext, lines: number): string {
  const hosts = [...new Set([...reports.map(({ host }) => host), ...context.hosts])].sort();
  const wanted = plannedActions.filter((action) => reports.some((each) => each.action === action));
  const about = hosts.map((host) => {
    const own = plannedActions.flatMap((action) =>
      reports.filter((report) => report.host === host && report.action === action),
    );
    return own.length === 0
      ? renderUnplanned(host, context)
      : renderHost(host, own, wanted, context, lines);
  });
  const intro = `Merging ${codeSpan(context.head.slice(0, 7))} into ${codeSpan(context.base)} would do this; ${runLink(context, 'this run')} changed nothing.`;
  return ['## What merging changes', intro, incomplete(reports, context), ...about]
    .filter((text) => text !== '')
    .join('\n\n');
}

/** What is missing is said: nothing found is not the same as nothing looked at. */
function incomplete(reports: readonly PlanReport[], context: PlanContext): string {
  const { result } = context;
  if (reports.length === 0 && context.hosts.length === 0) {
    return `**There is no plan: ${runLink(context, 'the run')} says why.**`;
  }
  const isTold = isWhole(context) || reports.some(({ failure }) => failure !== null);
  return isTold
    ? ''
    : `**The plan is incomplete: its job ended with ${codeSpan(result)}, and ${runLink(context, 'the run')} says why.**`;
}

/** As far as GitHub says. */
const isWhole = ({ result }: PlanContext): boolean => result === '' || result === 'success';

const renderUnplanned = (host: string, context: PlanContext): string =>
  `### ${silentMarkdown(host)}\n\n**There is no plan: ${runLink(context, 'the run')} says why.**`;

/**
 * @param wanted the actions of which any host has a plan: a host that lacks one lost it, such as by the
 * end of its process
 */
function renderHost(
  host: string,
  reports: readonly PlanReport[],
  wanted: readonly PlannedAction[],
  context: PlanContext,
  lines: number,
): string {
  const parts = reports.flatMap((report) => report.parts);
  const sections = sectionsOf(reports);
  const failed = reports.filter(({ failure }) => failure !== null);
  const own = new Set(reports.map(({ action }) => action));
  const lost = wanted.filter((action) => !own.has(action));
  // All hosts may have lost the same one; which the workflow plans is not known here.
  const mayLack = !isWhole(context) && own.size < plannedActions.length;
  const text = [
    `### ${silentMarkdown(host)}`,
    headline(
      sections.map(({ title }) => title),
      failed.length > 0 || lost.length > 0 || mayLack,
    ),
    ...failed.map(renderFailed),
    ...lost.map((action) => `**No plan of ${action}: ${runLink(context, 'the run')} says why.**`),
    reports.some(({ access }) => access === 'change')
      ? `**The key of this plan can also change the host.** Give the plan [a read-only key](${context.keyPage}).`
      : '',
    parts.length === 0 ? '' : renderSentences(reports),
    tellOfNoCode(reports),
    ...sections.map((section) => renderSection(section, context, lines)),
    renderFindings(parts),
  ];
  return text.filter((each) => each !== '').join('\n\n');
}

function headline(titles: readonly string[], isPartial: boolean): string {
  const names = titles.map((title) => title.toLowerCase()).join(', ');
  if (titles.length > 0) return `**Changes: ${names}${isPartial ? ', as far as known' : ''}.**`;
  return isPartial ? '' : '**Nothing to change.**';
}

const renderFailed = ({ action, failure }: PlanReport): string =>
  `**No plan of ${action}:**\n\n${codeFence(failure ?? '', 'text')}`;

const renderSentences = (reports: readonly PlanReport[]): string =>
  reports
    .flatMap(({ action, parts }) =>
      parts.map(({ subject, sentence }) => {
        const about = subject === null ? '' : `, ${codeSpan(subject)}`;
        return `- ${action}${about}: ${silentMarkdown(sentence)}`;
      }),
    )
    .join('\n');

/** A pull request is about code, so that nobody takes its absence for `nothing to change`. */
const tellOfNoCode = (reports: readonly PlanReport[]): string =>
  codeOf(reports) === null &&
  reports.some(({ action, failure }) => action === 'deploy-worker' && failure === null)
    ? 'Celeriac does not deploy the code: `source` is `none`.'
    : '';

// --- sections -----------------------------------------------------------------------------------

interface Section {
  readonly title: string;
  readonly steps: readonly PlannedStep[];
  readonly code: CodeChange | null;
  /** Diffs are shown at once; other details are folded away. */
  readonly isOpen: boolean;
}

const codeOps = [
  'fetch-commit',
  'checkout-code',
  'unpack-release',
  'switch-release',
  'prune-releases',
];
const restartOps = [
  'drain-worker',
  'stop-unit',
  'find-unacked',
  'restore-unacked',
  'end-process',
  'start-unit',
  'prove-unit',
  'restart-companion',
  'guard-companion',
  'run-command',
  'start-sampler',
  'stop-sampler',
];

/** In this order; what no other has is about the unit. */
const titles = ['Unit', 'Swap', 'Code', 'Dependencies', 'Restart', 'Jobs'] as const;
type Title = (typeof titles)[number];

function titleOf({ action }: PlanReport, { op }: PlannedStep): Title {
  if (action === 'provision') return 'Swap';
  if (action === 'cleanup') return 'Jobs';
  if (codeOps.includes(op)) return 'Code';
  if (op === 'install-dependencies') return 'Dependencies';
  return restartOps.includes(op) ? 'Restart' : 'Unit';
}

function sectionsOf(reports: readonly PlanReport[]): readonly Section[] {
  return titles
    .map((title) => ({
      title,
      steps: reports.flatMap((report) =>
        report.parts.flatMap(({ steps }) =>
          steps.filter((step) => titleOf(report, step) === title),
        ),
      ),
      code: title === 'Code' ? codeOf(reports) : null,
      isOpen: title === 'Unit',
    }))
    .filter(({ steps }) => steps.length > 0);
}

const codeOf = (reports: readonly PlanReport[]): CodeChange | null =>
  reports.flatMap(({ parts }) => parts).find(({ code }) => code !== null)?.code ?? null;

function renderSection(
  { title, steps, code, isOpen }: Section,
  context: PlanContext,
  lines: number,
): string {
  const list = steps.map(
    (step) => `- **${silentMarkdown(step.title)}** — ${silentMarkdown(step.why)}`,
  );
  const details = steps.flatMap(({ title: about, detail }) =>
    detail === null ? [] : [fold(about, detail.text, detail.language, isOpen, lines)],
  );
  return [
    `#### ${title}`,
    code === null ? '' : renderCode(code, context),
    list.join('\n'),
    ...details,
    code === null ? '' : renderLog(code, lines),
  ]
    .filter((text) => text !== '')
    .join('\n\n');
}

function renderCode({ from, to, log }: CodeChange, { trial }: PlanContext): string {
  const left = from === null ? 'no commit yet' : codeSpan(from.slice(0, 7));
  const count = log === null ? 'the commits between them are unknown' : describeLog(log);
  const step = `${left} → ${codeSpan(to.slice(0, 7))}: ${count}.`;
  return to === trial
    ? `${step} GitHub made ${codeSpan(to.slice(0, 7))} to test the merge; merging creates another commit with the same files.`
    : step;
}

function describeLog({ count, direction }: NonNullable<CodeChange['log']>): string {
  const commits = formatCount(count, 'commit');
  return {
    forward: commits,
    back: `${commits} back`,
    aside: `${commits} on another line of history`,
  }[direction];
}

function renderLog({ log }: CodeChange, lines: number): string {
  if (log === null || log.subjects.length === 0) return '';
  const subjects = log.subjects.map(toOneLine);
  const more = log.count - subjects.length;
  const text = [...subjects, ...(more > 0 ? [`and ${more} more`] : [])].join('\n');
  return fold(formatCount(log.count, 'commit'), text, 'text', false, lines);
}

function fold(
  title: string,
  text: string,
  language: string,
  isOpen: boolean,
  lines: number,
): string {
  if (lines === 0) return '';
  const all = text.split('\n');
  const hidden = Math.max(0, all.length - lines);
  const shown =
    hidden === 0 ? all : [...all.slice(0, lines), `… ${formatCount(hidden, 'more line')}`];
  const open = isOpen ? ' open' : '';
  return `<details${open}>\n<summary>${silentHtml(title)}</summary>\n\n${codeFence(shown.join('\n'), language)}\n\n</details>`;
}

/** Rules that the unit breaks, and what else people should know; what is mended is folded away. */
function renderFindings(parts: readonly PlannedPart[]): string {
  const findings = parts.flatMap((part) => part.findings);
  const list = (level: string): string =>
    findings
      .filter((finding) => finding.level === level)
      .map(({ message, where }) => {
        const place = where === undefined ? '' : ` (${codeSpan(where)})`;
        return `- ${silentMarkdown(message)}${place}`;
      })
      .join('\n');
  const notices = list('notice');
  const warnings = list('warning');
  if (findings.length === 0) return '';
  const count = findings.filter(({ level }) => level === 'notice').length;
  return [
    '#### Found',
    warnings,
    notices === ''
      ? ''
      : `<details>\n<summary>${formatCount(count, 'notice')}</summary>\n\n${notices}\n\n</details>`,
  ]
    .filter((text) => text !== '')
    .join('\n\n');
}

const runLink = ({ run }: PlanContext, text: string): string =>
  /^https?:\/\/[^\s<>()[\]`]+$/.test(run) ? `[${text}](${run})` : text;
