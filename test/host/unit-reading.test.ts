import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { programsToAskFor } from '../../src/celery/app-process.ts';
import type { UnitFact } from '../../src/model/facts/unit.ts';
import { requireAppProcess } from '../../src/plan/deploy/app-process.ts';
import { readLine } from '../../src/plan/unit/unit-source.ts';
import { parseExecLine, splitWords } from '../../src/systemd/exec-line.ts';
import { parseUnitFile, type UnitFile } from '../../src/systemd/unit-file.ts';
import { stackUnit } from '../../src/systemd/unit-stack.ts';
import { lookAtPrograms } from '../../src/use-case/look-at-programs.ts';
import { workerDesired } from '../lib/worker-desired.ts';
import { Hand } from './lib/hand.ts';

let hand: Hand;

beforeAll(async () => {
  hand = await Hand.start('unit-reading');
});

afterAll(() => hand?.stop());

const service = '[Service]\nExecStart=/bin/true\n';

/** Unit files as people and programs leave them; what is right is what systemd itself says. */
const odd: Readonly<Record<string, string>> = {
  plain: `${service}WorkingDirectory=/srv\nEnvironment=A=1 B=2\n`,
  mark: `\uFEFF${service}Environment=A=1\n`,
  'mark-before-comment': `\uFEFF# a comment\n${service}Environment=A=1\n`,
  'mark-before-comment-that-goes-on': `\uFEFF# a comment \\\n[Service]\nA=1\n${service}Environment=A=2\n`,
  'second-mark': `\uFEFF${service}\uFEFFEnvironment=A=1\nEnvironment=B=2\n`,
  'mark-in-a-continued-line': '[Service]\nExecStart=/bin/echo a \\\n\uFEFFb\n',
  'carriage-returns': service.replaceAll('\n', '\r'),
  'windows-line-ends': '[Service]\r\nExecStart=/bin/echo a \\\r\n  b\r\nEnvironment=A=1\r\n',
  'lone-return-after-backslash': '[Service]\nExecStart=/bin/echo a \\\r b\nEnvironment=A=1\n',
  'return-at-the-end': `${service}Environment=A=1\\\r`,
  'nul-between-lines': `${service}Environment=A=1\0Environment=B=2\n`,
  'comment-in-a-continued-line':
    '[Service]\nExecStart=/bin/echo a \\\n# a comment \\\n; one more\n  b\nEnvironment=A=1\n',
  'backslash-at-the-end': `${service}Environment=A=1 \\`,
  'two-backslashes': `${service}Environment=A=1\\\\\nEnvironment=B=2\n`,
  'blank-ends-a-continuation': '[Service]\nExecStart=/bin/echo a \\\n\nEnvironment=A=1\n',
  'repeated-sections':
    '[Service]\nEnvironment=A=1\n[Unit]\nDescription=x\n[Service]\nExecStart=/bin/true\nEnvironment=B=2\n',
  resets: `${service}Environment=A=1\nEnvironment=\nEnvironment=B=2\nWorkingDirectory=/srv\nWorkingDirectory=/tmp\n`,
  indented: '  [Service]  \n\t ExecStart =  /bin/echo  a   b  \n  Environment\t=\tA=1\n',
  'before-any-section': `Environment=A=1\n${service}Environment=B=2\n`,
  'unknown-section': `[Other]\nEnvironment=A=1\n${service}[X-Ours]\nEnvironment=B=2\n`,
  junk: `${service}what is this\n=x\nEnvironment=A=1\n`,
  quotes: `[Service]\nExecStart=/bin/echo "a b" 'c d' e\\x20f\nEnvironment="A=1 2" 'B=3 4' C=5\n`,
  'several-commands':
    '[Service]\nType=oneshot\nExecStart=/bin/echo a ; /bin/echo b\nExecStart=-/bin/echo \\; c\n',
  prefixes: '[Service]\nExecStart=-/bin/echo a\nExecStartPre=+/bin/echo b\n',
  'broken-header': `${service}Environment=A=1\n[Install\nWantedBy=multi-user.target\n`,
  'header-with-quotes': `${service}["Install"]\nWantedBy=multi-user.target\n`,
};
const names = Object.keys(odd);

const pathOf = (name: string): string => `/etc/systemd/system/odd-${name}.service`;

async function install(texts: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(texts)) {
    await hand.machine.writeFile(pathOf(name), text);
  }
  await hand.shell('systemctl daemon-reload');
}

const look = async (name: string): Promise<UnitFact> =>
  (await hand.agent.look({ unit: { name: `odd-${name}.service` } })).unit;

/** What systemd says, in the words of our reader. */
function toldBySystemd({ properties }: UnitFact) {
  const property = properties.ExecStart ?? '';
  const commands = [...property.matchAll(/ argv\[\]=(.*?) ; (?:ignore_errors|flags)=/g)];
  return {
    commands: commands.map(([, argv = '']) => argv),
    environment: variables((splitWords(properties.Environment ?? '') ?? []).map(textOf)),
    directory: (properties.WorkingDirectory ?? '').replace(/^!/, ''),
  };
}

function toldByUs(file: UnitFile) {
  const words = file.values('Service', 'Environment').flatMap((value) => splitWords(value) ?? []);
  return {
    commands: file
      .values('Service', 'ExecStart')
      .flatMap((value) => parseExecLine(value) ?? [])
      .map((command) => command.words.map(textOf).join(' ')),
    environment: variables(words.map(textOf)),
    directory: (file.value('Service', 'WorkingDirectory') ?? '').replace(/^-/, ''),
  };
}

const textOf = ({ text }: { readonly text: string }): string => text;

/** The last of a name counts. */
const variables = (words: readonly string[]): Readonly<Record<string, string>> =>
  Object.fromEntries(
    words
      .filter((word) => word.indexOf('=') > 0)
      .map((word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]),
  );

describe('odd unit files', () => {
  beforeAll(() => install(odd));

  test.each(names)('%s: we read what systemd reads', async (name) => {
    const unit = await look(name);
    const file = parseUnitFile(odd[name] ?? '');
    expect(unit.loadState === 'loaded').toBe(file.brokenHeader === null);
    if (file.brokenHeader === null) expect(toldByUs(file)).toEqual(toldBySystemd(unit));
  });

  test('systemd reads our edits of them, and all else as before', async () => {
    const loaded = names.filter((name) => parseUnitFile(odd[name] ?? '').brokenHeader === null);
    const edited = Object.fromEntries(
      loaded.map((name) => {
        const file = parseUnitFile(odd[name] ?? '').set('Service', 'TimeoutStopSec', '77');
        const [entry] = file.effective('Service', 'ExecStart');
        if (entry === undefined) throw new Error(`${name} has no ExecStart=`);
        const end = parseExecLine(entry.value)?.[0]?.words.at(-1)?.end ?? entry.value.length;
        return [name, file.splice(entry, [{ start: end, end, text: ' --more' }]).print()];
      }),
    );
    await install(edited);
    for (const name of loaded) {
      const unit = await look(name);
      const before = toldByUs(parseUnitFile(odd[name] ?? ''));
      const [first, ...others] = before.commands;
      const commands = [`${first} --more`, ...others];
      expect(toldBySystemd(unit), name).toEqual({ ...before, commands });
      expect(unit.properties.TimeoutStopUSec, name).toBe('1min 17s');
    }
  });
});

test("the host's own unit files are read as systemd reads them, and printed as they are", async () => {
  const list = await hand.shell('find /usr/lib/systemd/system -type f -name "*.service"');
  const own = list.split('\n').filter((path) => !path.includes('@'));
  expect(own.length).toBeGreaterThan(20);
  const { files } = await hand.agent.look({ files: { paths: own } });
  for (const path of own) {
    const fact = files[path];
    const text = fact?.kind === 'file' ? (fact.text ?? '') : '';
    const file = parseUnitFile(text);
    expect(file.print(), path).toBe(text);
    const { unit } = await hand.agent.look({
      unit: { name: path.slice(path.lastIndexOf('/') + 1) },
    });
    // Other files of the same name, drop-ins and specifiers change what systemd prints.
    const isPlain = unit.fragmentPath === path && unit.dropIns.length === 0 && !text.includes('%');
    if (isPlain) expect(toldByUs(file).commands, path).toEqual(toldBySystemd(unit).commands);
  }
});

test('the Python of a worker is the one that a shell finds', async () => {
  await hand.shell(
    `useradd -m -d /home/shop -s /bin/sh shop 2>/dev/null || true
     for venv in /home/shop/env /srv/shop/venv; do
       mkdir -p $venv/bin && ln -sf /usr/bin/python3 $venv/bin/python3
       printf '#!%s/bin/python3\\nprint()\\n' $venv >$venv/bin/celery
       printf 'PATH=%s/bin:$PATH; export PATH\\n' $venv >$venv/bin/activate
       chmod 755 $venv/bin/celery
     done
     chmod 755 /home/shop`,
  );
  const user = 'User=shop\nWorkingDirectory=/srv/shop\n';
  const cases: Readonly<Record<string, string>> = {
    home: "/bin/bash -c '. $HOME/env/bin/activate && celery -A app worker'",
    relative: "/bin/bash -c 'source venv/bin/activate && celery -A app worker'",
    dots: "/bin/sh -c 'cd ../../home/shop && exec ./env/bin/celery -A app worker'",
    path: "/bin/sh -c 'PATH=venv/bin:$PATH exec celery -A app worker'",
    env: '/usr/bin/env PATH=/srv/shop/venv/bin:/usr/bin celery -A app worker',
    bare: 'celery -A app worker',
  };
  const desired = workerDesired({
    unit: 'x.service',
    supportModule: { name: 'celeriac_support', text: '' },
  });
  for (const [name, exec] of Object.entries(cases)) {
    const text = `[Service]\n${user}ExecStart=${exec}\n`;
    await install({ [name]: text });
    const first = await hand.agent.look({ unit: { name: `odd-${name}.service` } });
    expect(first.unit.variables?.HOME, name).toBe('/home/shop');
    const { unit } = await lookAtPrograms(hand.agent, first);
    expect(programsToAskFor(unit), name).toEqual([]);
    const line = readLine(stackUnit([{ path: pathOf(name), text }]), pathOf(name));
    const { interpreter } = requireAppProcess(unit, line, pathOf(name), desired).process;
    // What is looked up in the end, by a shell of the same unit.
    const asked = exec.replace(/(\S*)celery -A app worker/, (_, folder: string) =>
      name === 'env' ? 'sh -c "command -v celery"' : `command -v ${folder}celery`,
    );
    const script = exec === asked ? asked : asked.replace('exec command', 'command');
    const run = name === 'bare' ? '/bin/sh -c "command -v celery"' : script;
    const found = await hand.shell(
      `systemd-run --quiet --wait --pipe --uid=shop -p WorkingDirectory=/srv/shop -- ${run}`,
    );
    const shebang = await hand.shell(
      `cd ${name === 'dots' ? '/home/shop' : '/srv/shop'} && head -1 ${found}`,
    );
    const real = shebang.replace(/^#!\s*/, '').split(/\s+/);
    if (name !== 'bare') expect(interpreter.at(-1), name).toBe(real[0]);
    else expect(interpreter.at(-1), name).toMatch(/^\/usr\/bin\/python3|^python3$/);
  }
});
