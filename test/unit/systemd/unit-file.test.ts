import { describe, expect, it } from 'vitest';
import { parseUnitFile, type UnitFile } from '../../../src/systemd/unit-file.ts';
import { pick, seeded } from './random.ts';

const sample = `# The worker of the slideshow app
; kept by hand

[Unit]
Description=Celery Worker
After=network.target redis.service

[Service]
Type=simple
Environment="ONE=1" TWO=2
# not the pool size
ExecStart=/usr/bin/celery -A app worker \\
    --loglevel=info \\
# as many as there are CPUs
  ; or one more
    --concurrency=5
  Restart = on-failure
Environment=THREE=3
#MemoryMax=1G

[Install]
WantedBy=multi-user.target
`;

describe('reading', () => {
  const file = parseUnitFile(sample);

  it('joins continued lines and leaves out the comments inside', () => {
    expect(file.value('Service', 'ExecStart')).toBe(
      '/usr/bin/celery -A app worker      --loglevel=info      --concurrency=5',
    );
  });

  it('ignores white space around = and before the key', () => {
    expect(file.value('Service', 'Restart')).toBe('on-failure');
  });

  it('collects lists in order', () => {
    expect(file.values('Service', 'Environment')).toEqual(['"ONE=1" TWO=2', 'THREE=3']);
  });

  it('knows keys by their section', () => {
    expect(file.value('Unit', 'ExecStart')).toBeNull();
    expect(file.hasSection('Install')).toBe(true);
    expect(file.hasSection('Timer')).toBe(false);
  });

  it('counts physical lines', () => {
    const [entry] = file.assignments('Install', 'WantedBy');
    expect(entry && file.lineOf(entry)).toBe(22);
  });

  it.each<[string, string, readonly string[]]>([
    ['an empty assignment resets', 'A=1\nA=\nA=2\n', ['2']],
    ['a reset at the end leaves nothing', 'A=1\nA=\n', []],
    ['white space alone is empty', 'A=1\nA=  \t\n', []],
    ['repeated sections add up', 'A=1\n[Unit]\nA=9\n[Service]\nA=2\n', ['1', '2']],
    ['no newline at the end', 'A=1', ['1']],
    ['a backslash at the end of the file', 'A=1 \\', ['1']],
    ['a backslash and a newline at the end', 'A=1 \\\n', ['1']],
    ['two backslashes do not continue', 'A=1\\\\\nA=2\n', ['1\\\\', '2']],
    ['three do', 'A=1\\\\\\\nB=2\n', ['1\\\\ B=2']],
    ['an empty line ends a continuation', 'A=1 \\\n\nB=2\n', ['1']],
    ['a continuation into a section header is text', 'A=1 \\\n[Unit]\n', ['1  [Unit]']],
    ['a comment with a backslash does not continue', '# c \\\nA=1\n', ['1']],
    ['a comment inside with a backslash does not either', 'A=1 \\\n# c \\\n 2\n', ['1   2']],
    ['comments to the end', 'A=1 \\\n# c\n; d\n', ['1']],
    ['CRLF', 'A=1 \\\r\n 2\r\nA=3\r\n', ['1   2', '3']],
    ['a value with = in it', 'A=B=C\n', ['B=C']],
    ['# and ; inside a value are text', 'A=1 # 2 ; 3\n', ['1 # 2 ; 3']],
    ['a key alone is ignored', 'A\nA=1\n', ['1']],
    ['a value alone is ignored', '=x\nA=1\n', ['1']],
    ['nothing is read after a broken header', 'A=1\n[Unit\nA=2\n[Service]\nA=3\n', ['1']],
    ['a header with quotes is broken', 'A=1\n["Unit"]\n[Service]\nA=3\n', ['1']],
    ['a mark before a comment', '\uFEFF# a\nA=1\n', ['1']],
    ['a mark before a comment that goes on', '\uFEFF# a \\\nA=1\nA=2\n', ['2']],
    ['only the first mark is skipped', '\uFEFFA=1\n\uFEFFA=2\n', ['1']],
    ['a mark inside a continued line', 'A=1 \\\n\uFEFF2\n', ['1  2']],
    ['a lone CR after a backslash', 'A=1 \\\r 2\nB=3\n', ['1   2']],
    ['a key that goes on on the next line', 'A \\\n = 1\n', ['1']],
  ])('%s', (_about, lines, values) => {
    const text = `[Service]\n${lines}`;
    expect(parseUnitFile(text).values('Service', 'A')).toEqual(values);
    expect(parseUnitFile(text).print()).toBe(text);
  });

  it('adds a line behind a backslash and a lone CR at the end of the file', () => {
    const text = '[Service]\nA=1\\\r';
    const after = parseUnitFile(text).set('Service', 'B', '2').print();
    expect(parseUnitFile(after).value('Service', 'A')).toBe('1');
    expect(parseUnitFile(after).value('Service', 'B')).toBe('2');
    expect(after.startsWith(text)).toBe(true);
  });

  it('adds what systemd reads before a broken header', () => {
    const text = '[Service]\nA=1\n[Install\nWantedBy=multi-user.target\n';
    const file = parseUnitFile(text).set('Service', 'B', '2').set('Unit', 'C', '3');
    const again = parseUnitFile(file.print());
    expect(again.value('Service', 'B')).toBe('2');
    expect(again.value('Unit', 'C')).toBe('3');
    expect(again.brokenHeader?.raw).toBe('[Install\n');
  });

  it('ignores assignments before the first section, and skips a byte order mark', () => {
    const file = parseUnitFile('\uFEFFA=1\n[Service]\nA=2\n');
    expect(file.values('Service', 'A')).toEqual(['2']);
    expect(parseUnitFile('\uFEFF[Service]\nA=2\n').value('Service', 'A')).toBe('2');
  });
});

describe('editing', () => {
  const edit = (text: string, change: (file: UnitFile) => UnitFile): string => {
    const printed = change(parseUnitFile(text)).print();
    expect(parseUnitFile(printed).print()).toBe(printed);
    return printed;
  };
  const set = (text: string, value: string | string[], key = 'A', section = 'Service') =>
    edit(text, (file) => file.set(section, key, value));

  it('changes one line and keeps its indentation and spacing', () => {
    expect(set(sample, 'always', 'Restart')).toBe(
      sample.replace('  Restart = on-failure', '  Restart = always'),
    );
  });

  it('keeps the comments inside a continued line that it replaces', () => {
    expect(set(sample, '/bin/true', 'ExecStart')).toBe(
      sample.replace(
        /ExecStart=(?:.|\n)*concurrency=5/,
        '# as many as there are CPUs\n  ; or one more\nExecStart=/bin/true',
      ),
    );
  });

  it('adds a new key after the last setting of its section, before trailing comments', () => {
    expect(set(sample, '800M', 'MemoryMax')).toBe(
      sample.replace('THREE=3\n', 'THREE=3\nMemoryMax=800M\n'),
    );
  });

  it('puts several values at the place of the last one', () => {
    expect(set(sample, ['A=1', 'B=2'], 'Environment')).toBe(
      sample.replace('Environment="ONE=1" TWO=2\n', '').replace('THREE=3', 'A=1\nEnvironment=B=2'),
    );
  });

  it.each<[string, string, string]>([
    ['the same value', '[Service]\nA=2\n', '[Service]\nA=2\n'],
    ['the same value that others lead up to', '[Service]\nA=1\nA=2\n', '[Service]\nA=1\nA=2\n'],
    ['superseded lines', '[Service]\nA=1\n# c\nA=3\nB=1\n', '[Service]\n# c\nA=2\nB=1\n'],
    ['a reset', '[Service]\nA=1\nA=\nB=1\n', '[Service]\nA=2\nB=1\n'],
    [
      'repeated sections',
      '[Service]\nA=1\n[Unit]\n[Service]\nA=3\n',
      '[Service]\n[Unit]\n[Service]\nA=2\n',
    ],
    [
      'a new key in a repeated section',
      '[Service]\n[Unit]\nX=1\n[Service]\n',
      '[Service]\n[Unit]\nX=1\n[Service]\nA=2\n',
    ],
    ['CRLF', '[Service]\r\nB=1\r\n', '[Service]\r\nB=1\r\nA=2\r\n'],
    ['CRLF in place', '[Service]\r\nA=1\r\nB=1\r\n', '[Service]\r\nA=2\r\nB=1\r\n'],
    ['no newline at the end, new', '[Service]\nB=1', '[Service]\nB=1\nA=2\n'],
    ['no newline at the end, in place', '[Service]\nA=1', '[Service]\nA=2'],
    ['a backslash at the end of the file', '[Service]\nB=1 \\', '[Service]\nB=1 \\\n\nA=2\n'],
    ['a backslash and a newline at the end', '[Service]\nB=1 \\\n', '[Service]\nB=1 \\\n\nA=2\n'],
    [
      'a continued line left open by a comment',
      '[Service]\nB=1 \\\n# c\n',
      '[Service]\nB=1 \\\n# c\n\nA=2\n',
    ],
    ['a value on the line after its key', '[Service]\nA= \\\n 1\n', '[Service]\nA=2\n'],
    ['an empty file', '', '[Service]\nA=2\n'],
    ['no such section', '[Unit]\nB=1\n', '[Unit]\nB=1\n\n[Service]\nA=2\n'],
    [
      'a section before [Install]',
      '[Unit]\n\n# why\n[Install]\nB=1\n',
      '[Unit]\n\n[Service]\nA=2\n\n# why\n[Install]\nB=1\n',
    ],
  ])('%s', (_about, before, after) => {
    expect(set(before, '2')).toBe(after);
    expect(set(after, '2')).toBe(after);
  });

  it('adds [Unit] at the top, below leading comments', () => {
    expect(set('# head\n\n[Service]\nB=1\n', '2', 'A', 'Unit')).toBe(
      '# head\n\n[Unit]\nA=2\n\n[Service]\nB=1\n',
    );
  });

  it('does not join a new value to a comment that ends the file', () => {
    const file = parseUnitFile('[Unit]\nA=1\\\n# c');
    expect(file.set('Unit', 'A', 'v').print()).toBe('[Unit]\n# c\nA=v');
    expect(file.set('Unit', 'A', []).print()).toBe('[Unit]\n# c');
  });

  it('removes every line of a key, and no comment', () => {
    const text = '[Service]\nA=1\n# c\nA=2 \\\n# d\n 3\nB=1\n';
    expect(edit(text, (file) => file.remove('Service', 'A'))).toBe('[Service]\n# c\n# d\nB=1\n');
    expect(edit(text, (file) => file.remove('Service', 'Z'))).toBe(text);
  });

  it('splices inside a continued line', () => {
    expect(
      edit(sample, (file) => {
        const [entry] = file.assignments('Service', 'ExecStart');
        if (!entry) throw new Error('no entry');
        const start = entry.value.indexOf('--concurrency');
        return file.splice(entry, [
          { start, end: entry.value.length, text: '--concurrency=1' },
          { start: 15, end: 15, text: ' -q' },
        ]);
      }),
    ).toBe(sample.replace('celery -A', 'celery -q -A').replace('concurrency=5', 'concurrency=1'));
  });

  it.each(['1\n[Unit]', '1\r2', ' 1', '1 ', '1\\', '1\0'])(
    'refuses %j, which would be read as something else',
    (value) => {
      expect(() => parseUnitFile('[Service]\n').set('Service', 'A', value)).toThrow(RangeError);
    },
  );
});

describe('any text', () => {
  const pieces = [
    '[Service]',
    '[Unit]',
    '[Install]',
    '[broken',
    'A=1',
    'B = two words',
    'C=',
    ' D=4 ',
    '# comment',
    ' ; other',
    '\\',
    '\\\\',
    ' ',
    '\t',
    '=',
    'junk',
    '"',
    'ü',
    '%n',
    '\uFEFF',
    '#',
    'A=',
    'A=x \\',
  ];
  const ends = ['\n', '\n', '\n', '\n', '\r\n', '\n\n', '', '\r', '\0'];

  function makeText(random: () => number, endings: readonly string[]): string {
    let text = '';
    for (let count = Math.floor(random() * 14); count >= 0; count -= 1) {
      text += pick(random, pieces) + (random() < 0.3 ? pick(random, pieces) : '');
      text += pick(random, endings);
    }
    return text;
  }

  it('prints as it was read', () => {
    for (let seed = 0; seed < 5000; seed += 1) {
      const text = makeText(seeded(seed), ends);
      expect(parseUnitFile(text).print(), `seed ${seed}`).toBe(text);
    }
  });

  /** Everything that systemd would see, but for one key. */
  const others = (file: UnitFile, section: string, key: string) =>
    file.entries.flatMap((entry) =>
      entry.kind === 'assignment' && !(entry.section === section && entry.key === key)
        ? [`${entry.section}|${entry.key}|${entry.value}`]
        : [],
    );
  const comments = (text: string) =>
    text.split(/[\r\n\0]+/).filter((line) => /^[ \t]*[#;]/.test(line));

  it('changes only what is requested', () => {
    for (let seed = 0; seed < 5000; seed += 1) {
      const random = seeded(seed);
      const text = makeText(random, ['\n', '\n', '\r\n', '']);
      const section = pick(random, ['Service', 'Unit', 'Install', 'New']);
      const key = pick(random, ['A', 'B', 'C', 'D', 'Fresh']);
      const before = parseUnitFile(text);
      const values = pick(random, [['v'], ['v', 'w x'], []]);
      const after =
        values.length === 0 ? before.remove(section, key) : before.set(section, key, values);
      const again = parseUnitFile(after.print());
      const about = `seed ${seed}: ${JSON.stringify(text)} → ${JSON.stringify(after.print())}`;
      expect(again.values(section, key), about).toEqual(values);
      expect(others(again, section, key), about).toEqual(others(before, section, key));
      expect(comments(after.print()), about).toEqual(comments(text));
      expect(again.set(section, key, values).print(), about).toBe(after.print());
    }
  });

  it('splices only words', () => {
    for (let seed = 0; seed < 2000; seed += 1) {
      const random = seeded(seed);
      const glue = () =>
        pick(random, [' ', '  ', ' \\\n', ' \\\n  ', ' \\\n# c\n ', '\t', '\\\r\n']);
      const words = Array.from({ length: 6 }, (_, at) => `w${at}`);
      const text = `[Service]\nA=${words.reduce((all, word) => all + glue() + word)}\nB=1\n`;
      const file = parseUnitFile(text);
      const [entry] = file.assignments('Service', 'A');
      if (!entry) throw new Error('no entry');
      const at = 1 + Math.floor(random() * 5);
      const start = entry.value.indexOf(`w${at}`);
      const previousEnd = entry.value.indexOf(`w${at - 1}`) + 2;
      const [splice, wanted] = pick(random, [
        [{ start, end: start + 2, text: 'new' }, words.with(at, 'new')],
        [{ start: start + 2, end: start + 2, text: ' new' }, words.toSpliced(at + 1, 0, 'new')],
        [{ start: previousEnd, end: start + 2, text: '' }, words.toSpliced(at, 1)],
      ] as const);
      const printed = file.splice(entry, [splice]).print();
      const again = parseUnitFile(printed);
      const about = `seed ${seed}: ${JSON.stringify(text)} → ${JSON.stringify(printed)}`;
      expect(again.value('Service', 'A')?.split(/\s+/), about).toEqual(wanted);
      expect(again.value('Service', 'B'), about).toBe('1');
      expect(comments(printed), about).toEqual(comments(text));
    }
  });
});
