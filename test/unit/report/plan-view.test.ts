import { expect, test } from 'vitest';
import type { Plan } from '../../../src/model/operation.ts';
import { bytes, seconds } from '../../../src/model/units.ts';
import { renderPlanMarkdown, renderPlanText } from '../../../src/report/plan-view.ts';

const plan: Plan = {
  operations: [
    {
      op: 'make-swap',
      path: '/swapfile',
      filesystem: 'ext4',
      fill: 'allocate',
      nocow: false,
      sizeBytes: bytes(2 * 1024 ** 3),
      title: 'make the swap file /swapfile, 2 GiB',
      why: 'there is none',
    },
    {
      op: 'write-file',
      path: '/etc/fstab',
      text: '/swapfile none swap sw 0 0\n',
      mode: '0644',
      expects: null,
      title: 'write /etc/fstab',
      why: 'no line for /swapfile',
      diff: '--- /etc/fstab\n+++ /etc/fstab\n@@ -1 +1,2 @@\n root\n+/swapfile none swap sw 0 0',
    },
    {
      op: 'repair-jobs',
      database: '/srv/app.db',
      busyTimeoutSeconds: seconds(5),
      unit: 'celery-worker.service',
      user: 'app',
      lookAgain: null,
      title: 'reset 2 jobs',
      why: 'no worker holds them',
      rows: [
        {
          table: 'jobs',
          key: 'id',
          id: '77cfa3cd',
          group: 'a',
          seen: { status: 'processing', started_at: 'x' },
          change: { kind: 'update', set: { status: 'pending', started_at: null, tries: 1 } },
        },
        { table: 'links', key: 'id', id: 7, group: 'a', seen: {}, change: { kind: 'delete' } },
        { table: 'links', key: 'id', id: 8, group: 'a', seen: {}, change: { kind: 'keep' } },
      ],
    },
  ],
  satisfied: ['swappiness: 10'],
  findings: [
    { level: 'warning', message: 'MemoryHigh without swap', where: '/etc/x.service:12' },
    { level: 'notice', message: 'a second swap is active' },
  ],
};

test('as text', () => {
  expect(renderPlanText(plan)).toBe(
    `3 operations, in this order; if one fails, all are undone in reverse:
  1. make the swap file /swapfile, 2 GiB — there is none
  2. write /etc/fstab — no line for /swapfile
       --- /etc/fstab
       +++ /etc/fstab
       @@ -1 +1,2 @@
        root
       +/swapfile none swap sw 0 0
  3. reset 2 jobs — no worker holds them
       jobs 77cfa3cd: status 'processing' → 'pending', started_at 'x' → null, tries → 1
       links 7: deleted
       links 8: not changed, only compared with the plan
  - [x] swappiness: 10
  warning: MemoryHigh without swap (/etc/x.service:12)
  notice: a second swap is active`,
  );
});

test('as Markdown', () => {
  expect(renderPlanMarkdown(plan)).toBe(
    `3 operations, in this order; if one fails, all are undone in reverse:

1. **make the swap file /swapfile, 2 GiB** — there is none
2. **write /etc/fstab** — no line for /swapfile

   \`\`\`diff
   --- /etc/fstab
   +++ /etc/fstab
   @@ -1 +1,2 @@
    root
   +/swapfile none swap sw 0 0
   \`\`\`

3. **reset 2 jobs** — no worker holds them

   \`\`\`
   jobs 77cfa3cd: status 'processing' → 'pending', started_at 'x' → null, tries → 1
   links 7: deleted
   links 8: not changed, only compared with the plan
   \`\`\`

- [x] swappiness: 10

- **warning**: MemoryHigh without swap (\`/etc/x.service:12\`)
- **notice**: a second swap is active`,
  );
});

test('an empty plan', () => {
  const empty: Plan = { operations: [], satisfied: ['swap: 2 GiB'], findings: [] };
  expect(renderPlanText(empty)).toBe(
    'Nothing to do: the host is in the desired state.\n  - [x] swap: 2 GiB',
  );
  expect(renderPlanMarkdown(empty)).toBe(
    'Nothing to do: the host is in the desired state.\n\n- [x] swap: 2 GiB',
  );
  expect(renderPlanText({ ...empty, skippedRows: 2 })).toContain(
    'Nothing was repaired: 2 rows that look stuck were skipped',
  );
});

test('one operation is singular; many rows are counted', () => {
  const rows = Array.from({ length: 203 }, (_, id) => ({
    table: 'jobs',
    key: 'id',
    id,
    group: String(id),
    seen: {},
    change: { kind: 'delete' } as const,
  }));
  const text = renderPlanText({
    operations: [
      {
        op: 'repair-jobs',
        database: '/x',
        busyTimeoutSeconds: seconds(5),
        unit: 'celery-worker.service',
        user: 'app',
        lookAgain: null,
        title: 't',
        why: 'w',
        rows,
      },
    ],
    satisfied: [],
    findings: [],
  });
  expect(text).toMatch(/^1 operation, /);
  expect(text).toContain('jobs 199: deleted\n       … and 3 more rows');
  expect(text).not.toContain('jobs 200:');
});

test('hostile text cannot start a workflow command or close a fence', () => {
  const hostile: Plan = {
    operations: [
      {
        op: 'write-file',
        path: '/x',
        text: '',
        mode: '0644',
        expects: null,
        title: 'write\n::error::x <script>',
        why: '`why` | ##[error]\u001b[31m',
        diff: '+```\n+::warning::x\n::error::y\n+</details>',
      },
    ],
    satisfied: ['::set-output name=a::b'],
    findings: [{ level: 'warning', message: '**x**\n# y', where: 'a`b' }],
  };
  const text = renderPlanText(hostile);
  for (const line of text.split('\n')) {
    expect(line.trim()).not.toMatch(/^::/);
    expect(line).not.toContain('##[');
    expect(line).not.toContain('\u001b');
  }
  expect(text).toContain('       : :error::y');
  expect(renderPlanMarkdown(hostile)).toContain(
    '1. **write ::error::x &lt;script&gt;** — \\`why\\` \\| ##\\[error\\]\n\n   ````diff\n   +```\n',
  );
  expect(renderPlanMarkdown(hostile)).toContain('- **warning**: \\*\\*x\\*\\* # y (``a`b``)');
});
