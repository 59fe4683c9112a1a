import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { readFiles } from '../../../src/adapters/read-files.ts';
import { readPlanReport } from '../../../src/report/plan-report.ts';

const root = join(import.meta.dirname, '../../..');
/** Of a webhook: nobody but its owner may know it. */
const secretPath = '/services/T0/B0/0a1b2c3d';
const key = 'not a key, but nobody may see it';

let receiver: Server;
let address: string;
let status = 200;
let told: string[] = [];
/** Where a run keeps its state and its summary, and what was in them when the webhook was told. */
let kept: readonly string[] = [];
let keptWhenTold: readonly string[] = [];

beforeAll(async () => {
  receiver = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
    });
    request.on('end', () => {
      told.push(text);
      keptWhenTold = kept.map((path) => readFileSync(path, 'utf8'));
      response.writeHead(status, { connection: 'close' });
      response.end();
    });
  });
  await new Promise<void>((resolve) => {
    receiver.listen(0, '127.0.0.1', resolve);
  });
  const at = receiver.address();
  address = `http://127.0.0.1:${typeof at === 'object' && at ? at.port : 0}${secretPath}`;
});
afterAll(() => void receiver.close());
beforeEach(() => {
  told = [];
});

/** The action's own program, as a runner starts it. Its key is refused before it connects. */
async function run(
  action: string,
  inputs: Readonly<Record<string, string>>,
  program: readonly string[] = [join(root, 'actions', action, 'main.ts')],
  saved: Readonly<Record<string, string>> = {},
) {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-run-'));
  const [output, summary, state] = ['output', 'summary', 'state'].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  for (const file of [output, summary, state]) writeFileSync(file, '');
  kept = [state, summary];
  const given = { host: 'vps.example.com', 'known-hosts': 'x', 'ssh-key': key, ...inputs };
  const env = Object.entries(given).map(([name, value]) => [`INPUT_${name.toUpperCase()}`, value]);
  try {
    const child = spawn(process.execPath, [...program], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
        RUNNER_TEMP: folder,
        GITHUB_OUTPUT: output,
        GITHUB_STEP_SUMMARY: summary,
        GITHUB_STATE: state,
        GITHUB_SERVER_URL: 'https://forge.test',
        GITHUB_REPOSITORY: 'someone/slideshow',
        GITHUB_RUN_ID: '4711',
        ...Object.fromEntries(env),
        ...saved,
      },
    });
    let log = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        log += text;
      });
    }
    const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
    const plans = readFiles(join(folder, 'celeriac-plan'), 'plan.json', { files: 9, bytes: 1e6 });
    const shown = log.replaceAll(/^::add-mask::.*$/gm, '') + readFileSync(summary, 'utf8');
    const [outputText, stateText] = [output, state].map((path) => readFileSync(path, 'utf8'));
    return { code, shown, plans, output: outputText, state: stateText };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

it.each([
  ['provision', ''],
  ['deploy-worker', ' of celery-worker.service'],
  ['cleanup', ' of celery-worker.service'],
  ['verify', ' of celery-worker.service'],
])('tells the webhook of a failed step: %s', async (action, about) => {
  status = 200;
  const { code, shown } = await run(action, { webhook: address });
  expect(code).toBe(1);
  expect(told).toHaveLength(1);
  const { text, ...others } = JSON.parse(told[0] ?? '') as { readonly text: string };
  expect(others).toEqual({});
  const before = `Celeriac: ${action}${about} on vps.example.com: `;
  expect(text.slice(0, before.length)).toBe(before);
  expect(text.slice(before.length)).toMatch(/^(?!provision|deploy|cleanup|verify).*ssh-key/);
  expect(text).toMatch(/\nhttps:\/\/forge\.test\/someone\/slideshow\/actions\/runs\/4711$/);
  expect(text).not.toContain(key);
  expect(shown).not.toContain(secretPath);
});

it.each([
  [true, 'problems', 0],
  [false, 'problems', 1],
  [true, 'always', 1],
])('fails, and tells of it if it is news (old: %s, %s)', async (isOld, when, times) => {
  const [action, errors] = ['action/run.ts', 'model/errors.ts'].map((path) =>
    JSON.stringify(join(root, 'src', path)),
  );
  const body = `import { runAction } from ${action};
    import { GateError } from ${errors};
    await runAction('verify', async () => {
      throw new GateError('soak', 'Release 7 failed.', [], 'x', { isOld: ${isOld} });
    });`;
  const node = ['--input-type=module', '--eval', body];
  const { code, shown } = await run('verify', { webhook: address, 'webhook-when': when }, node);
  expect(code).toBe(1);
  expect(shown).toMatch(/^::error.*Release 7 failed/m);
  expect(told).toHaveLength(times);
});

it.each([
  ['failed', "throw new Error('x');", '### verify failed'],
  ['did not', "run.sentence = 'Well.'; run.reporter.summary('All is well');", 'All is well'],
])('has reported before it tells, so that no post step does (it %s)', async (_, work, report) => {
  const path = JSON.stringify(join(root, 'src/action/run.ts'));
  const body = `import { runAction } from ${path};
    await runAction('verify', async (run) => { ${work} });`;
  const node = ['--input-type=module', '--eval', body];
  status = 200;
  const { state: finalState } = await run(
    'verify',
    { webhook: address, 'webhook-when': 'always' },
    node,
  );
  expect(told).toHaveLength(1);
  const [state, summary] = keptWhenTold;
  expect(state).toMatch(/^ended<</m);
  const { text } = JSON.parse(told[0] ?? '') as { readonly text: string };
  expect(stateOf('untold', state)).toBe(text);
  expect(summary).toContain(report);
  // Not a second time.
  expect(stateOf('untold', finalState)).toBe('');
});

/** The last value that a run saved under a name, in the format of GITHUB_STATE. */
function stateOf(name: string, saved = ''): string | undefined {
  const values = saved.matchAll(/^(\w+)<<(\S+)\n([\s\S]*?)\n\2$/gm);
  return [...values].filter((each) => each[1] === name).at(-1)?.[3];
}

it('only warns when the webhook cannot be told, without its address', async () => {
  status = 500;
  const { code, shown } = await run('deploy-worker', { webhook: address });
  expect([code, told.length]).toEqual([1, 1]);
  const warnings = shown.match(/^::warning.*$/gm) ?? [];
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toContain('the webhook was not told: it answered with status 500');
  expect(shown).not.toContain(secretPath);
});

/** The post step after a run that was cut off; its host has another host key, and is not connected to. */
const cutOff = (inputs: Readonly<Record<string, string>>, more = {}) => {
  const about = {
    user: 'root',
    agent: 'streamed',
    'known-hosts': '',
    'proxy-jump': { jump: null },
  };
  const saved = { host: 'vps.example.com', port: 22, unit: 'shop.service', began: 1, ...about };
  const program = [join(root, 'actions/deploy-worker/main.ts'), '--celeriac-post'];
  const state = { STATE_run: JSON.stringify(saved), STATE_transactions: '["7-f00d"]', ...more };
  return run('deploy-worker', inputs, program, state);
};

it('tells the webhook once of a run that was cut off, with the state of the host', async () => {
  status = 200;
  const { code, shown } = await cutOff({ webhook: address });
  expect([code, shown.match(/^::(?:warning|error)/gm)], shown).toEqual([0, ['::warning']]);
  expect(told).toHaveLength(1);
  const { text } = JSON.parse(told[0] ?? '') as { readonly text: string };
  expect(text).toMatch(
    /^Celeriac: deploy-worker of shop\.service on vps\.example\.com: was interrupted before it could report; the state of vps\.example\.com is unknown\. why: .* transaction 7-f00d had begun: .* next: when the host can be reached: celeriac status /,
  );
  expect(text).toMatch(/\nhttps:\/\/forge\.test\/someone\/slideshow\/actions\/runs\/4711$/);
  expect(shown + text).not.toContain(secretPath);
  expect(shown + text).not.toContain(key);
});

it('tells no webhook after a run that has told how it ended', async () => {
  const { code } = await cutOff({ webhook: address }, { STATE_ended: 'true' });
  expect([code, told]).toEqual([0, []]);
});

it('tells the webhook what a run that was cut off could not tell it any more', async () => {
  status = 200;
  const untold = 'Celeriac: deploy-worker of shop.service on vps.example.com: did it';
  for (const more of [{}, { STATE_run: '' }]) {
    told = [];
    const saved = { STATE_ended: 'true', STATE_untold: untold, ...more };
    const { code, shown } = await cutOff({ webhook: address }, saved);
    expect([code, shown.match(/^::/m)]).toEqual([0, null]);
    expect(told.map((each) => JSON.parse(each))).toEqual([{ text: untold }]);
  }
});

it('never fails a post step: a webhook that is refused, or does not work', async () => {
  status = 500;
  const failed = await cutOff({ webhook: address });
  expect([failed.code, told.length]).toEqual([0, 1]);
  expect(failed.shown).toContain('the webhook was not told: it answered with status 500');
  const refused = await cutOff({ webhook: 'ftp://hooks.example.com' });
  expect([refused.code, told.length]).toEqual([0, 1]);
});

it('keeps why there is no plan, of a dry run alone', async () => {
  const dry = await run('cleanup', { 'dry-run': 'true' });
  expect(dry.code).toBe(1);
  expect(dry.plans.map(readPlanReport)).toMatchObject([
    {
      action: 'cleanup',
      host: 'vps.example.com',
      access: 'change',
      parts: [],
      failure: expect.stringContaining('ssh-key'),
    },
  ]);
  expect(dry.plans.join('')).not.toContain(key);
  expect(dry.output).toMatch(/^plan-path<</m);
  const wet = await run('cleanup', {});
  expect([wet.code, wet.plans, wet.output]).toEqual([1, [], '']);
});
