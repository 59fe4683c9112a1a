import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { makeTemporaryFolder } from '../../lib/temporary.ts';

const host = join(import.meta.dirname, '../../../host');

/** As much of Celery as the programs touch before their first message. */
const celery = {
  'celery/__init__.py': '',
  'celery/app/__init__.py': '',
  'celery/app/utils.py': `
import importlib

def find_app(name):
    return importlib.import_module(name).app
`,
  'celery/backends/__init__.py': '',
  'celery/backends/base.py': 'class DisabledBackend:\n    pass\n',
};

/** An app whose result backend and broker are there once its loader has imported everything. */
const app = `
class Result:
    id, state, result = "1", "SUCCESS", None

    def forget(self):
        pass


class Task:
    ignore_result = False

    def apply_async(self, **options):
        return Result()


class Conf(dict):
    task_always_eager = False


class App:
    conf = Conf(broker_url="redis://:sesame@127.0.0.1:6390/0")
    tasks = {"orders.count": Task()}
    loaded = False

    @property
    def loader(self):
        return self

    def import_default_modules(self):
        TROUBLE
        self.loaded = True

    def finalize(self):
        assert self.loaded

    @property
    def backend(self):
        if not self.loaded:
            raise RuntimeError("Apps aren't loaded yet.")
        return object()

    def connection_for_write(self):
        if not self.loaded:
            raise RuntimeError("Apps aren't loaded yet.")
        return self

    def ensure_connection(self, **options):
        pass


app = App()
`;

/** What the agent tells a process of the app: a question, and that it may begin. */
const asking = `import json, sys; sys.path.insert(0, sys.argv[1])
from celeriac_host.app import app_process, questions
names = (*app_process.IMPORTS.get(sys.argv[2], ()), sys.argv[2])
question = {
    "name": "first",
    "program": sys.argv[2],
    "modules": [(name, app_process.source(name)) for name in names],
    "request": json.loads(sys.argv[3]),
}
payload = json.dumps(question) + "\\n" + json.dumps("go") + "\\n"
print(json.dumps([app_process.text(questions.PROGRAM), payload]))`;

/** Runs a program as the app's interpreter would; returns what it reports. */
function report(
  program: string,
  request: object,
  sources: Readonly<Record<string, string>>,
): unknown {
  const folder = makeTemporaryFolder();
  for (const [name, text] of Object.entries({ ...celery, ...sources })) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  const asked = JSON.stringify({ app: 'shop', ...request });
  const told = spawnSync('python3', ['-I', '-c', asking, host, program, asked], {
    encoding: 'utf8',
  });
  expect(told.status, told.stderr).toBe(0);
  const [text, payload] = JSON.parse(told.stdout);
  const ran = spawnSync('python3', ['-c', text], {
    cwd: folder,
    input: payload,
    encoding: 'utf8',
  });
  expect(ran.status, ran.stderr).toBe(0);
  const messages = ran.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  return messages.at(-1).report;
}

const call = {
  kind: 'task',
  task: 'orders.count',
  queue: null,
  calls: [{ args: [] }],
  timeoutSeconds: 30,
};

test('everything is imported before the result backend and the broker are used', () => {
  const sound = { 'shop.py': app.replace('TROUBLE', 'pass') };
  expect(report('probe', call, sound)).toMatchObject({
    ok: true,
    jobs: [{ state: 'done' }],
    problem: null,
  });
});

test('tasks that cannot be imported are reported with the end of their traceback, without passwords', () => {
  const broken = {
    'shop.py': app.replace('TROUBLE', 'import orders'),
    'orders.py': 'raise ValueError("no redis://:sesame@127.0.0.1:6390/0, nor amqp://me:open@mq/")',
  };
  expect(report('probe', call, broken)).toEqual({
    problem:
      "the app's tasks do not import: ValueError: no redis://:**@127.0.0.1:6390/0, nor amqp://me:**@mq/",
    evidence: expect.arrayContaining([
      expect.stringMatching(/^ {2}File ".*orders\.py", line 1, in <module>$/),
      'ValueError: no redis://:**@127.0.0.1:6390/0, nor amqp://me:**@mq/',
    ]),
  });
});

test('what only talks to a worker loads the app likewise, but is not kept from it by its tasks', () => {
  // The fake broker takes no connection before the app is loaded, and knows no remote control.
  const sound = report('broker', call, { 'shop.py': app.replace('TROUBLE', 'pass') });
  expect(sound).toMatchObject({ problem: expect.not.stringContaining('loaded') });
  const broken = report('broker', call, {
    'shop.py': app.replace('TROUBLE', 'self.loaded = True; import no_such_module'),
  });
  expect(broken).toEqual(sound);
});

test('there is one way of loading an app', () => {
  const folder = join(host, 'celeriac_host');
  const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  const loading = sources
    .filter((name) => name.endsWith('.py'))
    .filter((name) =>
      /find_app|import_default_modules/.test(readFileSync(join(folder, name), 'utf8')),
    );
  expect(loading).toEqual(['app/programs/app_side.py']);
});

describe.each(['probe', 'send', 'messages', 'broker'])('%s', (program) => {
  test('an app that cannot be imported is reported with the end of its traceback', () => {
    const broken = { 'shop.py': 'import no_such_module\n' };
    const line = "ModuleNotFoundError: No module named 'no_such_module'";
    expect(report(program, call, broken)).toEqual({
      problem: `the app shop does not import: ${line}`,
      evidence: expect.arrayContaining(['    import no_such_module', line]),
    });
  });
});
