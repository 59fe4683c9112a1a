import { describe, expect, test } from 'vitest';
import type { Plan } from '../../../src/model/operation.ts';
import { seconds } from '../../../src/model/units.ts';
import type { Check } from '../../../src/model/verdict.ts';
import {
  describeCost,
  describeOutcome,
  describeVerdict,
  renderSummary,
  renderTable,
  type SummaryContent,
} from '../../../src/report/summary.ts';

const wire = { handshakes: 1, execs: 1, messagesSent: 3 };

const content: SummaryContent = {
  action: 'deploy-worker',
  subject: 'celery-worker.service',
  host: '203.0.113.10',
  sentence: 'Done: 2 operations.',
  checklist: [{ done: true, text: 'unit installed', note: '' }],
  checks: [
    {
      id: 'unit',
      title: 'unit',
      verdict: 'pass',
      seen: 'active (running)',
      expected: '',
      evidence: [],
      next: '',
    },
    {
      id: 'rate-limit',
      title: '429s',
      verdict: 'fail',
      seen: '2 lines',
      expected: 'none',
      evidence: ['HTTP/1.1" 429 -', 'a|b `x`'],
      next: 'lower the concurrency',
    },
  ],
  details: [{ title: 'celery-worker.service', text: '-a\n+b', language: 'diff' }],
  cost: { wire, seconds: 1.7 },
};

test('a complete summary', () => {
  expect(renderSummary(content)).toBe(
    `### deploy-worker · celery-worker.service on 203.0.113.10

Done: 2 operations.

- [x] unit installed

| check | verdict | seen | expected | next |
| --- | --- | --- | --- | --- |
| unit | pass | active (running) |  |  |
| 429s | fail | 2 lines | none | lower the concurrency |

<details>
<summary>429s: 2 lines of evidence</summary>

\`\`\`
HTTP/1.1" 429 -
a|b \`x\`
\`\`\`

</details>

<details>
<summary>celery-worker.service</summary>

\`\`\`diff
-a
+b
\`\`\`

</details>

<sub>1 handshake, 1 exec, 3 messages, 1.7 s</sub>
`,
  );
});

test('the host as a whole, with Markdown and a table, no checks, no cost', () => {
  expect(
    renderSummary({
      action: 'provision',
      subject: null,
      host: 'vps',
      sentence: 'Nothing to do.',
      checklist: [],
      markdown: '1. **x** — y',
      table: { columns: ['table', 'rows'], rows: [['jobs', '2']] },
    }),
  ).toBe(
    '### provision · vps\n\nNothing to do.\n\n1. **x** — y\n\n| table | rows |\n| --- | --- |\n| jobs | 2 |\n',
  );
});

test('hostile strings in every field', () => {
  const hostile = '"$(x)`|<script>\n::error::%n\n```\n</details>\u001b[2J';
  const check: Check = {
    id: 'x',
    title: hostile,
    verdict: 'fail',
    seen: hostile,
    expected: hostile,
    evidence: [hostile],
    next: hostile,
  };
  const markdown = renderSummary({
    action: hostile,
    subject: hostile,
    host: hostile,
    sentence: hostile,
    checklist: [{ done: false, text: hostile, note: hostile }],
    checks: [check],
    details: [{ title: hostile, text: hostile }],
  });
  const lines = markdown.split('\n');
  expect(markdown).not.toContain('\u001b');
  expect(lines.filter((line) => line === '<details>')).toHaveLength(2);
  // One pipe per cell border: five cells, six pipes that are not escaped.
  const row = lines.find((line) => line.startsWith('| "'));
  expect(row?.match(/(?<!\\)\|/g)).toHaveLength(6);
  // Raw HTML and line-leading commands stand only inside fences of four backticks.
  const fenced = /^````$[\s\S]*?^````$/gm;
  expect(markdown.match(fenced)).toHaveLength(2);
  const outside = markdown.replace(fenced, '');
  expect(outside).not.toContain('<script>');
  expect(outside).not.toMatch(/^\s*::/m);
  expect(outside).not.toMatch(/^```/m);
});

test('a very long line of evidence is cut', () => {
  const long: Check = {
    id: 'x',
    title: 'x',
    verdict: 'fail',
    seen: '',
    expected: '',
    evidence: ['y'.repeat(100_000)],
    next: '',
  };
  const markdown = renderSummary({ ...content, checks: [long] });
  expect(markdown.length).toBeLessThan(5000);
  expect(markdown).toContain('y… (cut)');
});

test('the limit of GitHub holds', () => {
  const details = Array.from({ length: 30 }, (_, index) => ({
    title: `file ${index}`,
    text: 'é'.repeat(50).concat('\n').repeat(1000),
  }));
  const markdown = renderSummary({ ...content, details });
  expect(new TextEncoder().encode(markdown).length).toBeLessThanOrEqual(1024 * 1024);
  expect(markdown).toContain('This report is longer than GitHub allows');
});

test('tables escape every cell', () => {
  expect(renderTable({ columns: ['a'], rows: [['x|y']] })).toBe('| a |\n| --- |\n| x\\|y |');
});

test('the cost', () => {
  expect(describeCost(wire, 1.7)).toBe('1 handshake, 1 exec, 3 messages, 1.7 s');
  expect(describeCost({ handshakes: 2, execs: 0, messagesSent: 1 }, 75)).toBe(
    '2 handshakes, 0 execs, 1 message, 1 min 15 s',
  );
});

describe('sentences', () => {
  const plan: Plan = {
    operations: [{ op: 'swap-on', path: '/swapfile', title: 't', why: 'w' }],
    satisfied: [],
    findings: [],
  };
  const outcome = { transaction: 'T-1', steps: [] };

  test('of an outcome', () => {
    expect(describeOutcome({ ...plan, operations: [] }, null)).toBe(
      'Nothing to do: the host is in the desired state.',
    );
    expect(describeOutcome({ ...plan, operations: [], skippedRows: 1 }, null)).toBe(
      'Nothing was repaired: 1 row that looks stuck was skipped, for the reasons given.',
    );
    const unmet = ['swap', 'vm.swappiness'];
    expect(describeOutcome({ ...plan, operations: [], unmet }, null)).toBe(
      'Nothing was changed. Not as desired: swap and vm.swappiness, which cannot be changed on this host; the warnings say why.',
    );
    expect(describeOutcome({ ...plan, unmet: ['swap'] }, { ...outcome, result: 'committed' })).toBe(
      'Done: 1 operation, transaction T-1. Not as desired: swap, which cannot be changed on this host; the warnings say why.',
    );
    expect(describeOutcome(plan, null)).toBe('Dry run: 1 operation planned, nothing was changed.');
    expect(describeOutcome(plan, { ...outcome, result: 'committed' })).toBe(
      'Done: 1 operation, transaction T-1.',
    );
    expect(describeOutcome(plan, { ...outcome, result: 'committed', release: 3 })).toBe(
      'Done: 1 operation, release 3 (transaction T-1).',
    );
    const todo = 'run `systemctl restart w.service` when it is idle';
    expect(
      describeOutcome(plan, {
        ...outcome,
        result: 'undone',
        steps: [{ index: 0, op: 'x', status: 'undone', message: '', seconds: seconds(0), todo }],
      }),
    ).toBe(`Failed and undone (transaction T-1), but not everything is as before: ${todo}.`);
    expect(describeOutcome(plan, { ...outcome, result: 'undone' })).toBe(
      'Failed and undone: the host is as it was before transaction T-1.',
    );
    const said = 'process 812 was not started again: celery -A app worker';
    const step = { index: 0, op: 'end-process', status: 'undone', message: said } as const;
    const steps = [{ ...step, seconds: seconds(0) }];
    expect(describeOutcome(plan, { ...outcome, result: 'undone', steps })).toBe(
      `Failed and undone (transaction T-1), but not everything is as before: ${said}.`,
    );
    expect(describeOutcome(plan, { ...outcome, result: 'undo-failed' })).toBe(
      'Failed, and not all of it could be undone: see transaction T-1 on the host.',
    );
  });

  test('of a verdict', () => {
    const check = (verdict: Check['verdict']): Check => ({
      id: 'x',
      title: 'x',
      verdict,
      seen: '',
      expected: '',
      evidence: [],
      next: '',
    });
    expect(describeVerdict({ conclusion: 'healthy', checks: [check('pass')] })).toBe(
      'Healthy: 1 check passed.',
    );
    expect(
      describeVerdict({
        conclusion: 'unhealthy',
        checks: [check('pass'), check('fail'), check('warn'), check('unknown')],
      }),
    ).toBe('Not healthy: 1 check failed, 1 passed, 1 warning, 1 unknown.');
    expect(
      describeVerdict({ conclusion: 'inconclusive', checks: [check('pass'), check('unknown')] }),
    ).toBe('Inconclusive: 1 check passed, 1 unknown.');
  });
});
