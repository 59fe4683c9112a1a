import type { Result } from './round.ts';

const numbers = (some: readonly number[] | undefined): string => String(some?.length ?? '');

/** One line for a finished round, and its problems. */
export function tellResult({
  draw,
  moment,
  hit,
  told,
  ending,
  wrong,
  remarks,
  tasks,
  seconds,
}: Result): string {
  const what = `${draw.seed} ${draw.fault} at ${moment} of a deploy on a ${draw.start} host: ${hit}`;
  const after = `the run: ${told}, the host: ${ending}, ${tasks?.sent ?? '?'} tasks, ${seconds} s`;
  const all = [...wrong.map((each) => `WRONG ${each}`), ...remarks.map((each) => `note: ${each}`)];
  return [`${what}; ${after}`, ...all.map((each) => `    ${each}`)].join('\n');
}

/** All rounds, as a Markdown table. */
export function tellTable(results: readonly Result[]): string {
  const head =
    'seed | fault | moment | from | hit | run | host | tasks | lost | cut | waiting | twice early | twice late | s | wrong';
  const rows = results.map(
    ({ draw, moment, hit, told, ending, wrong, remarks, tasks, seconds }) => [
      draw.seed,
      draw.fault,
      moment,
      draw.start,
      hit,
      told,
      ending,
      tasks?.sent ?? '',
      numbers(tasks?.lost),
      numbers(tasks?.cut),
      numbers(tasks?.waiting),
      numbers(tasks?.twiceEarly),
      numbers(tasks?.twiceLate),
      seconds,
      [...wrong, ...remarks.map((each) => `(${each})`)]
        .join('; ')
        .replaceAll('|', '/')
        .split('\n')[0],
    ],
  );
  const failed = results.filter(({ wrong }) => wrong.length > 0).length;
  return [
    '',
    `| ${head} |`,
    `|${head.replace(/[^|]+/g, '---')}|`,
    ...rows.map((cells) => `| ${cells.join(' | ')} |`),
    '',
    `${results.length} rounds, ${failed} failed`,
  ].join('\n');
}
