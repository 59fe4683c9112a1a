import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { PlannedPart, PlannedStep, PlanReport } from '../../../src/model/plan-report.ts';
import {
  commentLimitBytes,
  type PlanContext,
  renderPlanComment,
} from '../../../src/report/plan-comment.ts';

const folder = join(import.meta.dirname, '../../fixtures/plan-comments');
const trial = 'b'.repeat(40);
const context: PlanContext = {
  workflow: 'plan',
  head: 'c'.repeat(40),
  base: 'main',
  trial,
  run: 'https://forge.test/someone/slideshow/actions/runs/4711',
  hosts: [],
  result: 'success',
  keyPage: 'https://forge.test/owner/celeriac/blob/v1/docs/how-to/harden.md',
};

const report = (own: Partial<PlanReport>, ...parts: readonly PlannedPart[]): PlanReport => ({
  version: 1,
  celeriac: '1.0.0',
  action: 'deploy-worker',
  host: 'vps.example.com',
  access: 'read',
  failure: null,
  parts,
  ...own,
});
const part = (own: Partial<PlannedPart> = {}): PlannedPart => ({
  subject: 'celery-worker.service',
  sentence: 'Nothing to do: the host is in the desired state.',
  steps: [],
  findings: [],
  code: null,
  ...own,
});
const step = (own: Partial<PlannedStep> = {}): PlannedStep => ({
  op: 'install-unit',
  title: 'install celery-worker.service',
  why: 'concurrency 5 → 1',
  detail: null,
  ...own,
});
const dry = 'Dry run: 2 operations planned, nothing was changed.';

const swap = report(
  { action: 'provision' },
  part({
    subject: '/swapfile',
    sentence: dry,
    steps: [
      step({ op: 'make-swap', title: 'create /swapfile (2 GiB)', why: 'it does not exist' }),
      step({
        op: 'write-file',
        title: 'add /swapfile to /etc/fstab',
        why: 'it is not mounted at boot',
        detail: { text: '+/swapfile none swap sw 0 0', language: 'diff' },
      }),
    ],
  }),
);
const diff = [
  '--- /etc/systemd/system/celery-worker.service',
  '+++ /etc/systemd/system/celery-worker.service',
  '@@ -5,3 +5,3 @@',
  '-ExecStart=/usr/bin/celery -A app worker --concurrency=5',
  '+ExecStart=/usr/bin/celery -A app worker --concurrency=1',
].join('\n');
const worker = report(
  {},
  part({
    sentence: `${dry} The worker would be restarted.`,
    steps: [
      step({ detail: { text: diff, language: 'diff' } }),
      step({
        op: 'checkout-code',
        title: 'check out bbbbbbb in /srv/shop',
        why: 'aaaaaaa → bbbbbbb',
      }),
      step({
        op: 'install-dependencies',
        title: 'install requirements.txt with pip',
        why: 'it changed',
      }),
      step({ op: 'drain-worker', title: 'let running tasks end', why: 'it is restarted' }),
    ],
    findings: [
      {
        level: 'warning',
        message: 'The unit has no MemoryMax=. Not fixed here: set one',
        where: '/etc/systemd/system/celery-worker.service:7',
      },
      {
        level: 'notice',
        message: 'a watchdog that nothing feeds (WatchdogSec=300). The new unit fixes it',
      },
    ],
    code: {
      from: 'a'.repeat(40),
      to: trial,
      log: { direction: 'forward', count: 3, subjects: ['bbbbbbb Merge', 'ccccccc Mend the feed'] },
    },
  }),
);
const jobs = report(
  { action: 'cleanup' },
  part({
    subject: 'jobs',
    sentence: dry,
    steps: [
      step({
        op: 'repair-jobs',
        title: 'repair 2 rows of /srv/shop/app.db',
        why: 'no sign of life for 30 min',
        detail: {
          text: "jobs 77: status 'processing' → 'failed'\njobs 78: status 'processing' → 'failed'",
          language: '',
        },
      }),
    ],
  }),
);

const evil =
  '@everyone #12 GH-7 ``` </details> <img src=x> ![x](https://e.test/x) ::error::x https://forge.test/a/b/issues/3 | `x';
const hostile = report(
  { host: `evil ${evil}` },
  part({
    subject: evil,
    sentence: evil,
    steps: [
      step({
        title: evil,
        why: evil,
        detail: { text: `+${evil}\n\`\`\`\n~~~\n# head`, language: 'diff' },
      }),
      step({ op: 'checkout-code', title: evil, why: evil }),
    ],
    findings: [
      { level: 'warning', message: evil, where: evil },
      { level: 'notice', message: evil },
    ],
    code: { from: null, to: trial, log: { direction: 'forward', count: 1, subjects: [evil] } },
  }),
);

const idle = report({}, part({ code: { from: trial, to: trial, log: null } }));

/** Each is a file that shows what the comment looks like. */
const cases: Readonly<Record<string, readonly [readonly PlanReport[], Partial<PlanContext>?]>> = {
  everything: [[jobs, worker, swap]],
  nothing: [[idle, report({ action: 'cleanup' }, part({ subject: 'jobs' }))]],
  'no-code-and-a-key-that-may-change': [[report({ access: 'change' }, part())]],
  'three-hosts-one-failed-one-lost': [
    [
      { ...worker, host: 'web2' },
      report({
        host: 'web1',
        failure: 'deploy-worker: cannot read @mention\n  next: ``` fix it',
      }),
      { ...swap, host: 'web1' },
    ],
    { result: 'failure', hosts: ['web1', 'web2', 'web3'] },
  ],
  hostile: [[hostile]],
  'no-plan': [[], { result: 'failure' }],
  'two-hosts-one-lost-its-cleanup': [
    [
      { ...idle, host: 'web1' },
      { ...jobs, host: 'web1' },
      { ...idle, host: 'web2' },
    ],
    { result: 'failure', hosts: ['web1', 'web2'] },
  ],
  'one-host-lost-its-cleanup': [
    [report({ action: 'provision' }, part({ subject: '/swapfile' })), idle],
    { result: 'failure' },
  ],
  'not-whole': [[swap], { result: 'cancelled' }],
};

describe('the comment', () => {
  it.each(Object.keys(cases))('is that of the file: %s', async (name) => {
    const [reports, own] = cases[name] ?? [[]];
    const { body, marker, summary } = renderPlanComment(reports, { ...context, ...own });
    await expect(body).toMatchFileSnapshot(join(folder, `${name}.md`));
    expect(body).toBe(`${marker}\n${summary}`);
  });

  it('says what merging changes, section by section', () => {
    const { body } = renderPlanComment([jobs, worker, swap], context);
    expect(body.match(/^#{3,4} .*$/gm)).toEqual([
      '### vps.example.com',
      '#### Unit',
      '#### Swap',
      '#### Code',
      '#### Dependencies',
      '#### Restart',
      '#### Jobs',
      '#### Found',
    ]);
    expect(body).toContain('**Changes: unit, swap, code, dependencies, restart, jobs.**');
  });

  it('does not say that there is nothing to change on a host that lost a plan', () => {
    for (const name of ['two-hosts-one-lost-its-cleanup', 'one-host-lost-its-cleanup']) {
      const [reports, own] = cases[name] ?? [[]];
      const { body } = renderPlanComment(reports, { ...context, ...own });
      expect(body).not.toContain('Nothing to change.');
    }
    const { body } = renderPlanComment(cases['two-hosts-one-lost-its-cleanup']?.[0] ?? [], context);
    const [, web2 = ''] = body.split('### web2');
    expect(web2).toContain('**No plan of cleanup: [the run]');
  });

  it('calls nobody, refers to no issue and breaks nothing, whatever a host or a commit says', () => {
    const { body } = renderPlanComment([hostile], { ...context, base: evil, workflow: evil });
    // Nobody is called in code; its fences are longer than any run of backticks in them.
    const outside = body
      .replace(/^<!-- celeriac-plan: .*\n/, '')
      .replace(/^(`{4,})\w*\n[\s\S]*?\n\1$/gm, '')
      .replaceAll('\\`', '')
      .replace(/^<summary>.*$/gm, (title) => title.replaceAll('`', ''))
      .replace(/(`+)[^`].*?[^`]\1(?!`)/g, '');
    expect(outside).not.toMatch(/@everyone|(?<!&)#\d|GH-7|<img|issues\/3|`/);
    // Within the tag of a title, Markdown is text.
    expect(outside.replace(/^<summary>.*$/gm, '')).not.toContain('![x]');
    expect(outside.match(/<details/g)?.length).toBe(outside.match(/<\/details>/g)?.length);
    expect(body.split('\n')[0]).toMatch(/^<!-- celeriac-plan: [\w .-]* -->$/);
  });

  it('links to nothing but the run', () => {
    const { body } = renderPlanComment([worker], { ...context, run: 'javascript:1) [x](y' });
    expect(body).not.toContain('javascript');
  });
});

describe('a comment that would be too long', () => {
  const rows = (count: number): string =>
    Array.from({ length: count }, (_, row) => `jobs ${row}: status 'processing' → 'failed'`).join(
      '\n',
    );
  const long = (count: number, of: number): PlanReport =>
    report(
      { action: 'cleanup' },
      part({
        steps: Array.from({ length: of }, (_, each) =>
          step({
            op: 'repair-jobs',
            title: `repair database ${each}`,
            detail: { text: rows(count), language: '' },
          }),
        ),
      }),
    );

  it('shows less of each diff, every section, and where all of it is', () => {
    const { body, summary } = renderPlanComment([worker, long(1200, 4)], context);
    expect(new TextEncoder().encode(body).length).toBeLessThanOrEqual(commentLimitBytes);
    expect(body).toMatch(/… 1,?000 more lines/);
    for (let each = 0; each < 4; each += 1) expect(body).toContain(`repair database ${each}`);
    expect(body).toContain('#### Found');
    expect(body).toContain(`[the summary of the run](${context.run}) has all of it`);
    expect(summary).toContain("jobs 1199: status 'processing' → 'failed'");
  });

  it('is cut at a line at last, with all that is open closed', () => {
    const many = Array.from({ length: 900 }, () => ({
      level: 'notice' as const,
      message: 'x'.repeat(300),
    }));
    const { body } = renderPlanComment([report({}, part({ findings: many }))], context);
    expect(new TextEncoder().encode(body).length).toBeLessThanOrEqual(commentLimitBytes);
    expect(body.match(/<details/g)?.length).toBe(body.match(/<\/details>/g)?.length);
    expect(body).toContain('has all of it');
  });
});
