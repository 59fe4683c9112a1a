import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { manifests } from '../../../src/config/action-manifests.ts';
import { allMessages } from '../../../tools/messages/all-messages.ts';
import { type Message, messagesOf, Sources } from '../../../tools/messages/source-messages.ts';
import { withErrors } from '../../../tools/messages/troubleshooting-page.ts';

const root = join(import.meta.dirname, '..', '..', '..');

const textsOf = (source: string): string[] =>
  messagesOf('src/a.ts', source).map(({ text }) => text);

describe('errors of a TypeScript module', () => {
  it('are read with names for what only a run knows', () => {
    const source =
      "throw new ConfigError('input a', `cannot read ${file.path}: ${problem}`, 'a file of the host');";
    expect(messagesOf('src/a.ts', source)).toEqual([
      {
        file: 'src/a.ts',
        text: 'cannot read <path>: <problem>',
        next: 'expected: a file of the host',
      },
    ]);
  });

  it('have a text for each branch, with the advice of that branch', () => {
    const source = `
      throw new HostError(old ? \`\${host} is too old\` : \`\${host} is too new\`, {
        step: 'look', next: old ? 'update it now' : 'wait for a release',
      });`;
    expect(messagesOf('src/a.ts', source).map(({ text, next }) => [text, next])).toEqual([
      ['<host> is too old', 'update it now'],
      ['<host> is too new', 'wait for a release'],
    ]);
  });

  it('are followed to constants, to functions, and to the callers of a helper', () => {
    const source = `
      function refuse(problem: string): never {
        throw new ConfigError('input a', \`the key \${problem}\`, expected);
      }
      const why = (n: number) => \`has \${n} lines too many\`;
      refuse('is in the wrong format');
      refuse(why(2));
      function other() {
        const text = 'the disk is full again';
        throw new GateError('disk', text, [], 'free some space');
      }`;
    expect(textsOf(source)).toEqual([
      'the key is in the wrong format',
      'the key has <n> lines too many',
      'the disk is full again',
    ]);
  });

  it('mean by a name what it stands for in their own block', () => {
    const source = `
      function check(names: readonly string[]) {
        if (names.length > 9) {
          const problem = 'too many names at once';
          throw new ConfigError('input a', problem, 'at most nine names');
        }
        const problem = 'no name at all';
        throw new ConfigError('input a', problem, 'one name or more');
      }`;
    expect(messagesOf('src/a.ts', source).map(({ text, next }) => [text, next])).toEqual([
      ['too many names at once', 'expected: at most nine names'],
      ['no name at all', 'expected: one name or more'],
    ]);
  });

  it('include what one part tells another', () => {
    const source = `
      const refusal = { problem: \`runs \${name} in the background\`, fix: 'run it in the foreground' };
      function missing(): readonly [problem: string, expected: string] {
        return ['names no app at all', 'the app of the worker'];
      }`;
    expect(messagesOf('src/a.ts', source).map(({ text, next }) => [text, next])).toEqual([
      ['runs <name> in the background', 'run it in the foreground'],
      ['names no app at all', 'expected: the app of the worker'],
    ]);
  });

  it('are followed to what a module imports', () => {
    const sources = new Sources(
      new Map([
        [
          'src/a/a.ts',
          `import { expected, describe as say } from '../b.ts';
           throw new ConfigError('input a', say(key), expected);
           throw new ConfigError('a', say(key).replace('unknown key', \`unknown \${kind}\`), expected);`,
        ],
        [
          'src/b.ts',
          `export const expected = 'one of the keys';
           const found = { A: 'a bracket is missing', B: 'a quote is missing' };
           export const describe = (name: string) => near ? \`unknown key, \${found[name]}\` : 'is an unknown key';`,
        ],
      ]),
    );
    expect(sources.messages().map(({ file, text, next }) => [file, text, next])).toEqual(
      [
        'unknown key, a bracket is missing',
        'unknown key, a quote is missing',
        'is an unknown key',
        'unknown <kind>, a bracket is missing',
        'unknown <kind>, a quote is missing',
        'is an unknown <kind>',
      ].map((text) => ['src/a/a.ts', text, 'expected: one of the keys']),
    );
  });

  it('include those of the helper for flags, where it is called', () => {
    const source = "refuseFlag('a', `--${name} requires --b`, '--b, or neither of them');";
    expect(messagesOf('src/a.ts', source).map(({ text, next }) => [text, next])).toEqual([
      ['--<name> requires --b', 'expected: --b, or neither of them'],
    ]);
  });

  it('leave out what only repeats the text of another error', () => {
    expect(textsOf("throw new ConfigError('a', error.message, 'b');")).toEqual([]);
  });
});

describe('errors of the host program', () => {
  const messagesOfHost = (source: string): Message[] => {
    const folder = mkdtempSync(join(tmpdir(), 'celeriac-messages-'));
    mkdirSync(join(folder, 'celeriac_host'));
    writeFileSync(join(folder, 'celeriac_host', 'a.py'), source);
    const tool = join(root, 'tools/messages/host_messages.py');
    return JSON.parse(execFileSync('python3', [tool, folder], { encoding: 'utf8' })) as Message[];
  };

  it('are read in each way of writing a text', () => {
    const found = messagesOfHost(`
class Problem(Exception):
    pass

class OperationError(Exception):
    def __init__(self, message, ran=None):
        self.message = message

def failed(unit, how):
    return OperationError(f"{unit} {how}")

def do(args, error):
    if args:
        raise Problem("cannot read the file %s: %s" % (args.path, error))
    how = "has too many " + "open files" if error else "has no memory left"
    raise failed(args["unit"], how)

def look():
    return {"problem": "is not a text file", "fix": "convert it to text"}
`);
    expect(found.map(({ text }) => text).sort()).toEqual([
      '<unit> has no memory left',
      '<unit> has too many open files',
      'cannot read the file <path>: <reason>',
      'is not a text file',
    ]);
    expect(found.find(({ next }) => next !== '')?.next).toBe('convert it to text');
  });
});

describe('the page about errors', () => {
  // Reading all sources takes seconds.
  let messages: readonly Message[];
  beforeAll(() => {
    messages = allMessages();
  });
  const page = '# T\n\n<!-- errors of: src/a/ -->\nold\n<!-- end of errors -->\nrest\n';
  const one: Message = { file: 'src/a/b.ts', text: 'cannot <what> the file', next: '' };

  it('lists the errors of the files that a topic names', () => {
    expect(withErrors(page, [one])).toBe(
      '# T\n\n<!-- errors of: src/a/ -->\n\n- <a id="error-cannot-the-file"></a>`cannot <what> the file`\n\n<!-- end of errors -->\nrest\n',
    );
  });

  it('gives each error an anchor of its own, in an order that does not depend on files', () => {
    const again = { ...one, text: 'cannot <that> the file' };
    const written = withErrors(page, [one, again]);
    expect(written).toBe(withErrors(page, [again, one]));
    const anchors = [...written.matchAll(/id="(error-cannot-the-file-[0-9a-f]{6})"/g)];
    expect(new Set(anchors.map(([, anchor]) => anchor)).size).toBe(2);
  });

  it('is refused while an error has no topic, or a topic no error', () => {
    expect(() => withErrors(page, [one, { ...one, file: 'src/c.ts' }])).toThrow(
      'no topic takes the errors of src/c.ts, such as "cannot <what> the file"',
    );
    expect(() => withErrors(page, [])).toThrow('no errors come from src/a/');
  });

  it('has an anchor for every error of the sources, one line each', () => {
    const committed = readFileSync(join(root, 'docs/troubleshooting.md'), 'utf8');
    expect(messages.length).toBeGreaterThan(500);
    expect(withErrors(committed, messages)).toBe(committed);
    const anchors = [...committed.matchAll(/<a id="([^"]*)">/g)].map(([, id]) => id);
    expect(new Set(anchors).size).toBe(anchors.length);
    expect(committed).toContain(
      '`another run deployed or rolled back <unit> while this one waited',
    );
  });

  it('begins texts and advice in lower case, but for names', () => {
    const names = /^(?:[A-Z]\w*=|Celeriac\b|RabbitMQ\b|No space left on device\b)/;
    const isCapital = (text: string): boolean => /^[A-Z]/.test(text) && !names.test(text);
    const said = messages.flatMap(({ file, text, next }) =>
      [text, next.replace(/^expected: /, '')].map((each) => ({ file, text: each })),
    );
    expect(said.filter(({ text }) => isCapital(text))).toEqual([]);
  });

  it.each([
    ['folder', /\b(?<!working )director(?:y|ies)\b(?!>)/],
    ['already undone', /\bundone already\b/],
    ['roll back', /\b(?:go|goes|going|went|take|takes|taken) back\b|\btakes? \w+ back\b/],
    ['undo, restore', /\bput back\b/],
    ['probe', /\btest jobs?\b/],
    ['skipped', /\bleft alone\b/],
    ['fix', /\bmend(?:s|ed)?\b/],
    ['could not, cannot', /\b(?:not had|can't|couldn't)\b/],
    ['unknown, invalid', /\bnot right\b/],
  ])('says "%s", as the glossary does', (_, other) => {
    const described = Object.values(manifests).flatMap(({ description, inputs, outputs }) => [
      description,
      ...Object.values(inputs).map((input) => input.description),
      ...Object.values(outputs),
    ]);
    const said = [...messages.flatMap(({ text, next }) => [text, next]), ...described];
    expect(said.filter((text) => other.test(text))).toEqual([]);
  });

  it('covers every place that makes one of the three errors, but for those that pass one on', () => {
    // Texts that come whole from elsewhere: another error's, a fact's problem, a sentence of a report.
    const silent = new Set([
      'src/use-case/refuse-environment.ts',
      'src/use-case/soak-release.ts',
      'src/plan/unit/unit-findings.ts',
    ]);
    const files = new Set(messages.map(({ file }) => file));
    const makers = execFileSync(
      'grep',
      ['-rlE', 'new (Config|Host|Gate)Error\\(', 'src', '--include=*.ts'],
      { cwd: root, encoding: 'utf8' },
    );
    const missed = makers
      .trim()
      .split('\n')
      .filter((file) => !files.has(file) && !silent.has(file));
    expect(missed).toEqual([]);
  });
});
