import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SoakReport } from '../../../src/model/soak.ts';
import { epochSeconds, MiB } from '../../../src/model/units.ts';
import { judgeSoak } from '../../../src/verify/soak/judge.ts';
import { IssuesApi } from '../../lib/issues-api.ts';
import { begin, events, limits, minutes } from '../verify/soak/samples.ts';

const program = join(import.meta.dirname, '../../../actions/soak-issue/main.ts');
const marker = '<!-- celeriac-soak: 20260111T000000-0007 -->';
const path = '/repos/someone/slideshow/issues';

const verdict = judgeSoak(
  {
    release: 3,
    since: begin,
    samples: minutes(0, 90, (at) => ({ events: { ...events, oomKill: at >= 60 ? 1 : 0 } })),
    transactions: [],
    now: epochSeconds(begin + 5400),
  },
  limits,
);

const report: SoakReport = {
  version: 1,
  unit: 'celery-worker.service',
  state: 'failed',
  sentence: `Release 7: ${verdict.sentence}`,
  release: {
    number: 7,
    transaction: '20260111T000000-0007',
    sha: '7'.repeat(40),
    actor: '@anna',
    since: verdict.decidedAt ?? begin,
  },
  verdict,
  comparison: {
    release: 5,
    rows: [
      {
        title: 'Memory of the worker, median',
        unit: 'bytes',
        before: 1500 * MiB,
        now: 300 * MiB,
        trend: 'better',
      },
    ],
    notKnown: '',
  },
  rolledBackTo: null,
  by: 'https://forge.test/someone/slideshow/actions/runs/4711',
};

let api: IssuesApi;
beforeEach(async () => {
  api = await IssuesApi.open();
});
afterEach(() => api[Symbol.asyncDispose]());

interface Ended {
  readonly code: number | null;
  readonly log: string;
  readonly output: string;
}

/** The action's own program, as a runner starts it. */
async function publish(given: unknown, token = api.token): Promise<Ended> {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-issue-'));
  const output = join(folder, 'output');
  writeFileSync(output, '');
  try {
    const child = spawn(process.execPath, [program], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
        GITHUB_OUTPUT: output,
        GITHUB_API_URL: api.url,
        GITHUB_REPOSITORY: 'someone/slideshow',
        'INPUT_GITHUB-TOKEN': token,
        'INPUT_SOAK-REPORT': typeof given === 'string' ? given : JSON.stringify(given),
      },
    });
    let log = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        log += text;
      });
    }
    const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
    return { code, log, output: readFileSync(output, 'utf8') };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

describe('a release that failed', () => {
  it('is searched for among what changed since, then opened, with these requests', async () => {
    api.add({ updatedAt: begin - 90_000 });
    const { code, log, output } = await publish(report);
    expect([code, log.match(/^::error/m)]).toEqual([0, null]);
    const since = new Date((begin + 3600 - 86_400) * 1000).toISOString();
    expect(api.requests).toEqual([
      {
        method: 'POST',
        path: '/graphql',
        query: {},
        body: {
          query: expect.stringContaining('filterBy: { since: $since }'),
          variables: { owner: 'someone', repo: 'slideshow', since, first: 100, after: null },
        },
      },
      {
        method: 'POST',
        path,
        query: {},
        body: {
          title: 'Release 7 of celery-worker.service failed its soak',
          body: expect.stringMatching(`^${marker}\n`),
        },
      },
    ]);
    const { body } = api.issues[1] as { body: string };
    expect(body).toContain('killed 1 process of the worker');
    expect(body).toContain('| Memory of the worker, median | 1.5 GiB | 300 MiB | better |');
    expect(body).toContain('deployed by `@anna`');
    expect(body).toContain(`It is still running, as seen by [this run](${report.by}).`);
    expect(output).toContain('https://forge.test/someone/slideshow/issues/2');
  });

  it('has one issue: the next run finds nothing to change', async () => {
    await publish(report);
    const { code, log } = await publish(report);
    expect(code).toBe(0);
    expect(log).toContain('issues/1 is up to date');
    expect(api.requests.map(({ path: asked }) => asked)).toEqual(['/graphql', path, '/graphql']);
  });

  it('keeps its evidence when a later run knows less, and says what became of it', async () => {
    await publish(report);
    const by = 'https://forge.test/someone/slideshow/actions/runs/4712';
    const later = { ...report, verdict: null, comparison: null, rolledBackTo: 5, by };
    await publish({ ...later, sentence: 'Release 7 is failed.' });
    const [, , , patch] = api.requests;
    expect(patch).toMatchObject({ method: 'PATCH', path: `${path}/1` });
    const [issue] = api.issues;
    expect(issue?.body).toContain('killed 1 process of the worker');
    expect(issue?.body).toContain(`rolled back by [this run](${by}): release 5`);
    expect(issue?.body).not.toContain('still runs');
    expect(api.issues).toHaveLength(1);
  });

  it('that somebody closed the issue of stays closed', async () => {
    api.add({ state: 'closed', body: `${marker}\nMended.`, title: 'x' });
    await publish(report);
    expect(api.issues).toMatchObject([{ state: 'closed', number: 1 }]);
  });

  it('has an issue of its own beside those of others that begin with its marker', async () => {
    api.add({ body: `${marker}\nMine.`, author: { __typename: 'User', login: 'mallory' } });
    const login = 'github-actions';
    api.add({ body: `${marker}\nMine.`, state: 'closed', author: { __typename: 'User', login } });
    api.add({ body: `${marker}\nMine.`, author: { __typename: 'Bot', login: 'renovate' } });
    api.add({ body: `${marker}\nOf somebody who is gone.`, author: null });
    const before = structuredClone(api.issues);
    await publish(report);
    await publish({ ...report, rolledBackTo: 5 });
    expect(api.issues.slice(0, 4)).toEqual(before);
    expect(api.issues).toHaveLength(5);
    expect(api.issues[4]?.body).toContain('It was rolled back');
  });

  it('is found on a later page, and not in a pull request or a quotation', async () => {
    api.add({ body: `${marker}\nA change.`, isChange: true, createdAt: 1 });
    api.add({ body: `> ${marker}`, createdAt: 2 });
    for (let each = 0; each < 120; each += 1) api.add({ createdAt: 3 + each });
    api.add({ body: `${marker}\nThis one.`, createdAt: 500 });
    await publish(report);
    expect(api.requests.map(({ path: asked }) => asked).slice(0, 2)).toEqual([
      '/graphql',
      '/graphql',
    ]);
    expect(api.requests[2]).toMatchObject({ method: 'PATCH', path: `${path}/123` });
  });

  it('does not break the page, whatever the host said', async () => {
    const evil = '@everyone ``` <img src=x> ![x](https://e.test/x)\n::error::x';
    const failure = { ...verdict.failure, sentence: evil, evidence: [evil] };
    await publish({
      ...report,
      sentence: evil,
      verdict: { ...verdict, failure, notes: [evil] },
      by: 'evil) [x](javascript:1',
    });
    const [issue] = api.issues;
    const [before = '', fenced = '', after = ''] = issue?.body.split('````') ?? [];
    expect(before + after).not.toMatch(/<img|@everyone|!\[x\]/);
    expect(issue?.body).not.toMatch(/^::error/m);
    expect(fenced).toContain('@everyone ``` <img');
    expect(issue?.body).toContain('a run of `evil) [x](javascript:1`');
  });
});

describe('nothing is asked of GitHub', () => {
  it.each([
    ['when the soak judged nothing', ''],
    ['of a release that is proven', { ...report, state: 'proven' }],
    ['of no release', { ...report, release: null, state: 'none' }],
  ])('%s', async (_, given) => {
    const { code, log } = await publish(given);
    expect(code).toBe(0);
    expect(log).toContain('nothing to report');
    expect(api.requests).toEqual([]);
  });

  it.each([
    ['that is no JSON', '{'],
    ['of another version', { ...report, version: 2 }],
    [
      'whose transaction could end the marker',
      { ...report, release: { ...report.release, transaction: 'x -->' } },
    ],
  ])('for a report %s', async (_, given) => {
    const { code, log } = await publish(given);
    expect(code).toBe(1);
    expect(log).toContain('input soak-report');
    expect(api.requests).toEqual([]);
  });
});

describe('a refusal of GitHub is one annotation, without the token', () => {
  const shownToken = /^(?!::add-mask::).*ghs_/m;

  it('of a token that may not', async () => {
    api.failure = { status: 403, message: 'Resource not accessible by integration' };
    const { code, log } = await publish(report);
    expect(code).toBe(1);
    expect(log.match(/^::error/gm)).toHaveLength(1);
    expect(log).toContain('the job needs `issues: write`');
    expect(log).not.toMatch(shownToken);
    expect(log).not.toMatch(/^\s+at .*:\d+:\d+/m);
  });

  it('of a token that may not even read them, which GraphQL says with status 200', async () => {
    const message = 'Resource not accessible by integration';
    api.refusal = { data: null, errors: [{ type: 'FORBIDDEN', message }] };
    const { code, log } = await publish(report);
    expect(code).toBe(1);
    expect(log.match(/^::error/gm)).toHaveLength(1);
    expect(log).toContain(message);
    expect(log).toContain('the job needs `issues: write`');
    expect(log).not.toMatch(shownToken);
    expect(api.issues).toEqual([]);
  });

  it('of a wrong token', async () => {
    const { code, log } = await publish(report, 'ghs_another');
    expect(code).toBe(1);
    expect(log).toContain('GitHub answered with status 401: Bad credentials');
    expect(log).not.toMatch(shownToken);
    expect(api.issues).toEqual([]);
  });

  it('and of an answer that nobody expects, after which no second issue is opened', async () => {
    api.failure = { status: 500, message: 'x' };
    expect((await publish(report)).code).toBe(1);
    expect(api.requests.map(({ path: asked }) => asked)).toEqual(['/graphql']);
  });
});
