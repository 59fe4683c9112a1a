import { formatDuration, formatList } from '../model/quantities.ts';
import type { Report } from '../model/report.ts';
import type { Check, CheckVerdict } from '../model/verdict.ts';
import type { ChecklistItem } from './checklist.ts';

/**
 * What a person would do by hand after a change of a worker. The numbers are those of the list of tasks
 * that Celeriac was first written to do (docs/how-to/publish-the-report.md).
 */
const tasks: readonly {
  readonly number: string;
  readonly title: string;
  readonly done: (report: Report) => Omit<ChecklistItem, 'text'> & { readonly seen: string };
}[] = [
  { number: '6.1', title: 'memory use', done: by('memory') },
  { number: '6.2', title: 'worker processes', done: by('processes', 'strays') },
  { number: '6.3', title: 'a single probe sent', done: sent('first') },
  { number: '6.4', title: 'errors in the logs', done: by('errors', 'new-errors', 'gate-errors') },
  { number: '6.5', title: 'no HTTP 429', done: by('rate-limits', 'gate-rate-limits') },
  { number: '6.6', title: 'the probe completed', done: by('gate-job') },
  {
    number: '6.7',
    title: 'no memory peak',
    done: by('gate-peak', 'memory-return', 'memory-events'),
  },
  { number: '6.8', title: 'a batch of probes sent', done: sent('batch') },
  {
    number: '6.9',
    title: 'the batch completed without OOM',
    done: by('gate-batch', 'gate-oom', 'oom'),
  },
  { number: '6.10', title: 'hours without failure', done: proven },
];

/** The report in the form of a task list for verifying a worker: `- [x] 6.3 a single probe sent`. */
export function taskListOf(report: Report): readonly ChecklistItem[] {
  return tasks.map(({ number, title, done }) => {
    const { seen, ...rest } = done(report);
    return { ...rest, text: `${number} ${title}${seen === '' ? '' : `: ${seen}`}` };
  });
}

type Task = (typeof tasks)[number]['done'];

const worstFirst: readonly CheckVerdict[] = ['fail', 'unknown', 'warn', 'pass'];

/** Done when none of these checks failed, and none is unknown. */
function by(...ids: readonly string[]): Task {
  return ({ checks }) => {
    const about = checks.filter(({ id }) => ids.includes(id));
    const worst = worstFirst.flatMap((verdict) =>
      about.filter((check) => check.verdict === verdict),
    )[0];
    if (worst === undefined) return { done: false, note: 'not checked', seen: '' };
    const done = worst.verdict === 'pass' || worst.verdict === 'warn';
    const shown = about.filter(({ seen }) => seen !== '' && seen !== 'none');
    const seen = shown.map((check) => describe(check, shown)).join('; ');
    return { done, note: noteOf(worst), seen: seen === '' ? 'none' : seen };
  };
}

const describe = ({ title, seen }: Check, all: readonly Check[]): string =>
  all.length === 1 ? seen : `${title}: ${seen}`;

function noteOf({ verdict, expected }: Check): string {
  const notes = {
    pass: '',
    warn: 'warning',
    unknown: 'not known',
    fail: expected === '' ? 'failed' : `failed, expected ${expected}`,
  };
  return notes[verdict];
}

function sent(which: 'first' | 'batch'): Task {
  return ({ probes }) => {
    const all = probes ?? [];
    const found = (which === 'first' ? all.slice(0, 1) : all.slice(1)).filter(
      ({ state }) => state !== 'not-sent',
    );
    if (found.length === 0) return { done: false, note: 'not sent', seen: '' };
    const places = [...new Set(found.map(({ where }) => where))];
    return { done: true, note: '', seen: `${found.length} to ${formatList(places)}` };
  };
}

function proven({ soak, releases }: Report): ReturnType<Task> {
  const state = releases?.find((each) => each.state !== 'undone')?.state;
  if (soak === null) {
    const done = state === 'proven';
    return { done, note: done ? '' : (state ?? 'not known'), seen: '' };
  }
  const hours = Math.round(soak.wantedSeconds / 360) / 10;
  const seen = `${formatDuration(soak.coveredSeconds)} of ${hours} h`;
  const done = soak.state === 'proven';
  return { done, note: done ? '' : soak.state, seen };
}
