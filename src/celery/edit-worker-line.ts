import { ConfigError } from '../model/errors.ts';
import { quoteExecWord, quoteWord } from '../systemd/exec-line.ts';
import type { Splice } from '../systemd/unit-entry.ts';
import { withoutShell } from './celery-call.ts';
import type { WorkerLine } from './worker-line.ts';
import type { WorkerOption } from './worker-options.ts';

/** Makes the shell exec the worker, so that signals and notifications arrive. */
export function becomeWorker(line: WorkerLine): readonly Splice[] {
  const [first] = line.words;
  if (line.shell !== 'waits' || !first) return [];
  const { start, end } = first;
  return [{ start, end, text: `exec ${line.entry.value.slice(start, end)}` }];
}

/** Sets the number of children, in the spelling of the unit; `--autoscale` is removed. */
export function setConcurrency(line: WorkerLine, children: number): readonly Splice[] {
  const { concurrency, autoscale } = line.call.options;
  const value = String(children);
  if (concurrency.length === 0 && autoscale.length > 0) {
    const [first, ...others] = autoscale;
    if (first) {
      return [spliceOption(line, first, `--concurrency=${value}`), ...removeOptions(line, others)];
    }
  }
  return [
    ...setOption(line, concurrency, '--concurrency', value),
    ...removeOptions(line, autoscale),
  ];
}

export function setQueues(line: WorkerLine, queues: readonly string[]): readonly Splice[] {
  return setOption(line, line.call.options.queues, '-Q', queues.join(','));
}

/** Options that are set in the spelling of the unit, if it has them. */
const childOptions = {
  maxMemory: '--max-memory-per-child',
  maxTasks: '--max-tasks-per-child',
  prefetch: '--prefetch-multiplier',
} as const;

/** @param value of `--max-memory-per-child` in KiB */
export function setChildOption(
  line: WorkerLine,
  name: keyof typeof childOptions,
  value: number,
): readonly Splice[] {
  return setOption(line, line.call.options[name], childOptions[name], String(value));
}

/** Makes the worker import another module; only the last `-I` counts, so its list is extended. */
export function addInclude(line: WorkerLine, module: string): readonly Splice[] {
  if (line.call.include.includes(module)) return [];
  const present = line.call.options.include.at(-1);
  const last = present && line.words[present.last];
  if (line.shell !== 'none' && present && present.value !== '' && last) {
    // A shell joins adjacent pieces into one word, whatever quotes the first one has.
    const others = removeOptions(line, line.call.options.include.slice(0, -1));
    return [...others, { start: last.end, end: last.end, text: `,${module}` }];
  }
  // The value is kept as written: it may contain variables.
  const value = present && present.value !== '' ? `${present.value},${module}` : module;
  return setOption(line, line.call.options.include, '-I', value, quoteWord);
}

function setOption(
  line: WorkerLine,
  present: readonly WorkerOption[],
  name: string,
  value: string,
  quote: (text: string) => string = quoteExecWord,
): readonly Splice[] {
  const last = present.at(-1);
  const quoted = quote(value);
  if (line.shell !== 'none' && !/^[\w.,:@/+%=-]+$/.test(quoted)) {
    throw new ConfigError(
      'input unit',
      `cannot write ${value} into the shell script of ExecStart=`,
      withoutShell,
    );
  }
  if (!last) {
    return [insertAtEnd(line, name.startsWith('--') ? `${name}=${quoted}` : `${name} ${quoted}`)];
  }
  const others = removeOptions(line, present.slice(0, -1));
  if (last.value === value) return others;
  const [word, text] =
    last.written === 'separate' ? [last.last, quoted] : [last.first, `${last.prefix}${quoted}`];
  return [...others, spliceWord(line, word, text)];
}

function spliceWord(line: WorkerLine, index: number, text: string): Splice {
  const word = line.words[index];
  if (!word) throw new RangeError('no such word');
  return { start: word.start, end: word.end, text };
}

function spliceOption(line: WorkerLine, option: WorkerOption, text: string): Splice {
  const first = line.words[option.first];
  const last = line.words[option.last];
  if (!first || !last) throw new RangeError('no such word');
  return { start: first.start, end: last.end, text };
}

/** Removes options together with the white space before them; `-Ec5` becomes `-E`. */
function removeOptions(line: WorkerLine, options: readonly WorkerOption[]): readonly Splice[] {
  return options.map((option) => {
    const bundled = /^-[^-].+$/.exec(option.prefix) ? option.prefix.slice(0, -1) : '';
    const whole = spliceOption(line, option, bundled);
    if (bundled !== '') return whole;
    return { ...whole, start: line.words[option.first - 1]?.end ?? whole.start };
  });
}

/** After the worker's last argument, before `--` where there is one. */
function insertAtEnd(line: WorkerLine, text: string): Splice {
  const word = line.words[line.call.endOfOptions - 1];
  if (!word) throw new RangeError('no words');
  return { start: word.end, end: word.end, text: ` ${text}` };
}
