import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openRepository } from '../../../src/action/github-repository.ts';
import { keepComment } from '../../../src/action/pull-comments.ts';
import type { PlanReport } from '../../../src/model/plan-report.ts';
import { CommentsApi, itself } from '../../lib/comments-api.ts';

const program = join(import.meta.dirname, '../../../actions/plan-comment/main.ts');
const marker = '<!-- celeriac-plan: plan -->';
const head = 'c'.repeat(40);

const plan: PlanReport = {
  version: 1,
  celeriac: '1.0.0',
  action: 'provision',
  host: 'vps.example.com',
  access: 'read',
  failure: null,
  parts: [
    {
      subject: '/swapfile',
      sentence: 'Dry run: 1 operation planned, nothing was changed.',
      steps: [{ op: 'make-swap', title: 'create /swapfile', why: 'there is none', detail: null }],
      findings: [],
      code: null,
    },
  ],
};
const pull = { pull_request: { number: 7, head: { sha: head }, base: { ref: 'main' } } };

let api: CommentsApi;
beforeEach(async () => {
  api = await CommentsApi.open();
});
afterEach(() => api[Symbol.asyncDispose]());

interface Given {
  /** By path below the folder. */
  readonly files?: Readonly<Record<string, unknown>>;
  readonly event?: object;
  readonly token?: string;
  readonly result?: string;
}

interface Ended {
  readonly code: number | null;
  readonly log: string;
  readonly output: string;
  readonly summary: string;
}

const planFile = 'provision-x/plan.json';

/** The action's own program, as a runner starts it. */
async function publish(given: Given = {}): Promise<Ended> {
  const { files = { [planFile]: plan }, event = pull, token = api.token } = given;
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-comment-'));
  const path = (name: string): string => join(folder, name);
  for (const name of ['output', 'summary']) writeFileSync(path(name), '');
  writeFileSync(path('event.json'), JSON.stringify(event));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(path('plans'), name, '..'), { recursive: true });
    const text = typeof content === 'string' ? content : JSON.stringify(content);
    writeFileSync(join(path('plans'), name), text);
  }
  try {
    const child = spawn(process.execPath, [program], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
        GITHUB_OUTPUT: path('output'),
        GITHUB_STEP_SUMMARY: path('summary'),
        GITHUB_EVENT_PATH: path('event.json'),
        GITHUB_API_URL: api.url,
        GITHUB_SERVER_URL: 'https://forge.test',
        GITHUB_REPOSITORY: 'someone/slideshow',
        GITHUB_RUN_ID: '4711',
        GITHUB_SHA: 'b'.repeat(40),
        GITHUB_WORKFLOW: 'plan',
        'INPUT_GITHUB-TOKEN': token,
        INPUT_PLANS: 'plans',
        'INPUT_PLAN-RESULT': given.result ?? '',
      },
    });
    let log = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        log += text;
      });
    }
    const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
    const [output, summary] = ['output', 'summary'].map((name) => readFileSync(path(name), 'utf8'));
    return { code, log, output: output ?? '', summary: summary ?? '' };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** In this process. */
const keep = (text: string, first = marker) =>
  keepComment(openRepository(api.token, { url: api.url, repository: 'someone/slideshow' }), 7, {
    marker: first,
    body: `${first}\n${text}\n`,
  });

const changes = (): readonly string[] =>
  api.requests
    .filter(({ path }) => path !== '/graphql')
    .map(({ method, path }) => `${method} ${path}`);

describe('the comment on a pull request', () => {
  it('is written once, and is in the job summary, too', async () => {
    const { code, log, output, summary } = await publish();
    expect([code, log.match(/^::error/m)]).toEqual([0, null]);
    expect(changes()).toEqual(['POST /repos/someone/slideshow/issues/7/comments']);
    const [{ body } = { body: '' }] = api.comments;
    expect(body).toMatch(new RegExp(`^${marker}\n## What merging changes\n`));
    expect(body).toContain('Merging `ccccccc` into `main`');
    expect(body).toContain('[this run](https://forge.test/someone/slideshow/actions/runs/4711)');
    expect(body).toContain('create /swapfile');
    expect(summary.trim()).toBe(body.slice(marker.length).trim());
    expect(output).toContain('https://forge.test/someone/slideshow/pull/7#issuecomment-1000');
  });

  it('is updated by the next run, and left alone if it says the same', async () => {
    expect((await keep('One.')).did).toBe('wrote');
    expect(await keep('Two.')).toEqual({ did: 'updated', url: expect.stringContaining('-1000') });
    expect((await keep('Two.')).did).toBe('nothing');
    expect(changes()).toEqual([
      'POST /repos/someone/slideshow/issues/7/comments',
      'PATCH /repos/someone/slideshow/issues/comments/1000',
    ]);
    expect(api.comments.map(({ body }) => body)).toEqual([`${marker}\nTwo.\n`]);
  });

  it('is never that of somebody else, whatever it begins with', async () => {
    api.add(`${marker}\nMine.`, { __typename: 'User', login: 'anna' });
    api.add(`${marker}\nMine, too.`, { __typename: 'User', login: 'github-actions' });
    api.add(`${marker}\nOf another app.`, { __typename: 'Bot', login: 'renovate' });
    api.add(`${marker}\nOf somebody who is gone.`, null);
    api.add(`> ${marker}\nA quotation.`, itself);
    const before = structuredClone(api.comments);
    await keep('One.');
    await keep('Two.');
    expect(changes()).toEqual([
      'POST /repos/someone/slideshow/issues/7/comments',
      'PATCH /repos/someone/slideshow/issues/comments/1005',
    ]);
    expect(api.comments.slice(0, 5)).toEqual(before);
  });

  it('is recognized by its author, where GitHub does not say whose it is', async () => {
    api.tellsOwn = false;
    api.add(`${marker}\nMine.`, { __typename: 'User', login: 'github-actions' });
    await keep('One.');
    await keep('Two.');
    expect(changes()[1]).toBe('PATCH /repos/someone/slideshow/issues/comments/1001');
  });

  it('is found behind many others', async () => {
    for (let each = 0; each < 150; each += 1) api.add('Fine.', { __typename: 'User', login: 'x' });
    api.add(`${marker}\nOld.`, itself);
    await keep('New.');
    expect(changes()).toEqual(['PATCH /repos/someone/slideshow/issues/comments/1150']);
    expect(api.requests.filter(({ path }) => path === '/graphql')).toHaveLength(2);
  });

  it('is that of its own workflow', async () => {
    await keep('One.');
    await keep('Two.', '<!-- celeriac-plan: plan of the other host -->');
    expect(api.comments).toHaveLength(2);
  });

  it('is on a pull request that exists', async () => {
    const github = openRepository(api.token, { url: api.url, repository: 'someone/slideshow' });
    await expect(keepComment(github, 8, { marker, body: 'x' })).rejects.toThrow(
      /no pull request 8/,
    );
    expect(api.comments).toEqual([]);
  });

  it('shows the plans of several hosts, wherever their files are', async () => {
    const files = {
      'one/provision-x/plan.json': plan,
      'two/plan.json': { ...plan, host: 'other.example.com' },
      'two/notes.txt': 'not a plan',
    };
    await publish({ files });
    expect(api.comments[0]?.body.match(/^### .*$/gm)).toEqual([
      '### other.example.com',
      '### vps.example.com',
    ]);
  });

  it('says so when there is no plan', async () => {
    const { code } = await publish({ files: {}, result: 'failure' });
    expect(code).toBe(0);
    expect(api.comments[0]?.body).toContain('**There is no plan: [the run]');
  });
});

it('only writes the summary in a run that is not about a pull request', async () => {
  const { code, summary, log } = await publish({ event: { ref: 'refs/heads/main' } });
  expect([code, api.requests]).toEqual([0, []]);
  expect(summary).toContain('create /swapfile');
  expect(log).toContain('not about a pull request');
});

describe('nothing is written', () => {
  it.each<readonly [string, unknown]>([
    ['that is no JSON', '{'],
    ['of another version', { ...plan, version: 2 }],
    ['of no action', { ...plan, action: 'verify' }],
    ['with a commit that is none', { ...plan, parts: [{ ...plan.parts[0], code: { to: 'x' } }] }],
  ])('for a plan %s', async (_, content) => {
    const { code, log } = await publish({ files: { [planFile]: content } });
    expect([code, api.requests]).toEqual([1, []]);
    expect(log).toContain('is not a plan of this version');
  });
});

describe('a refusal of GitHub is one annotation, without the token', () => {
  const shownToken = /^(?!::add-mask::).*ghs_/m;

  it.each<readonly [string, CommentsApi['failure'], string | undefined, string]>([
    [
      'of a token that may not',
      { status: 403, message: 'Resource not accessible by integration' },
      undefined,
      'the job needs `pull-requests: write`',
    ],
    ['of a wrong token', null, 'ghs_another', 'status 401: Bad credentials'],
    ['of a server that fails', { status: 500, message: 'x' }, undefined, 'status 500'],
  ])('%s', async (_, failure, token, said) => {
    api.failure = failure;
    const { code, log } = await publish(token === undefined ? {} : { token });
    expect([code, log.match(/^::error/gm)?.length]).toEqual([1, 1]);
    expect(log).toContain(said);
    expect(log).not.toMatch(shownToken);
    expect(log).not.toMatch(/^\s+at .*:\d+:\d+/m);
    expect(api.comments).toEqual([]);
  });
});
