import { describe, expect, test } from 'vitest';
import {
  capMarkdown,
  codeFence,
  codeSpan,
  escapeHtml,
  escapeMarkdown,
  sanitizeLogLine,
  stripControls,
  summaryLimitBytes,
  toOneLine,
} from '../../../src/report/escape.ts';

const ESC = '\u001b';

describe('control characters', () => {
  test.each([
    ['colours', `${ESC}[1;31mred${ESC}[0m`, 'red'],
    ['cursor', `a${ESC}[2Kb${ESC}[1A`, 'ab'],
    ['window title', `${ESC}]0;owned\u0007after`, 'after'],
    ['hyperlink', `${ESC}]8;;http://x${ESC}\\text${ESC}]8;;${ESC}\\`, 'text'],
    ['8-bit CSI', '\u009b31mred', 'red'],
    ['bell, backspace, null', 'a\u0007b\u0008c\u0000d', 'abcd'],
    ['carriage return', 'progress 1\rprogress 2\r\nend', 'progress 1\nprogress 2\nend'],
    ['reordered text', 'abc\u202edef\u2066', 'abcdef'],
    ['invisible marks', 'a\u200bb\ufeff', 'ab'],
    ['tab and newline stay', 'a\tb\nc', 'a\tb\nc'],
    ['other scripts stay', 'naïve — 日本語 ✓', 'naïve — 日本語 ✓'],
  ])('%s', (_, text, expected) => {
    expect(stripControls(text)).toBe(expected);
  });

  test('one line', () => {
    expect(toOneLine('  a\n\n b\tc\r\n')).toBe('a b c');
  });
});

describe('the log', () => {
  test.each([
    ['::error::owned', ': :error::owned'],
    ['  ::set-output name=x::y', '  : :set-output name=x::y'],
    ['\u00a0::stop-commands::x', '\u00a0: :stop-commands::x'],
    ['first\n::add-mask::x\n\n ::debug::y', 'first\n: :add-mask::x\n\n : :debug::y'],
    ['##[error]owned', '## [error]owned'],
    ['text ##[add-mask]x', 'text ## [add-mask]x'],
    [`${ESC}[0m::error::x`, ': :error::x'],
    ['#\u200b#[error]x', '## [error]x'],
    ['a::b and C::D', 'a::b and C::D'],
  ])('%j', (text, expected) => {
    expect(sanitizeLogLine(text)).toBe(expected);
  });
});

describe('Markdown', () => {
  test.each([
    ['swap: 2 GiB at /swapfile, priority -2', 'swap: 2 GiB at /swapfile, priority -2'],
    ['oom_kill in celery_app', 'oom_kill in celery_app'],
    ['_emphasis_ __init__', '\\_emphasis\\_ \\_\\_init\\_\\_'],
    ['a|b', 'a\\|b'],
    ['<script>alert(1)</script>', '&lt;script&gt;alert(1)&lt;/script&gt;'],
    ['&lt;', '&amp;lt;'],
    ['`$(rm -rf /)`', '\\`\\$(rm -rf /)\\`'],
    ['[x](http://evil)', '\\[x\\](http://evil)'],
    ['**bold** ~~gone~~', '\\*\\*bold\\*\\* \\~\\~gone\\~\\~'],
    ['# heading', '\\# heading'],
    ['- item', '\\- item'],
    ['1. item', '1\\. item'],
    ['two\nlines\r\n\r\n# three', 'two lines # three'],
    ['%n \\', '%n \\\\'],
    ['\'"', '\'"'],
  ])('%j', (text, expected) => {
    expect(escapeMarkdown(text)).toBe(expected);
  });

  test('HTML', () => {
    expect(escapeHtml('</summary><script>"\'&')).toBe(
      '&lt;/summary&gt;&lt;script&gt;&quot;&#39;&amp;',
    );
  });

  test.each([
    ['plain', '`plain`'],
    ['a`b', '``a`b``'],
    ['`a``', '``` `a`` ```'],
    ['', '` `'],
    ['a\nb', '`a b`'],
  ])('code span of %j', (text, expected) => {
    expect(codeSpan(text)).toBe(expected);
  });

  test('a fence is longer than any run inside', () => {
    expect(codeFence('a\nb\n', 'diff')).toBe('```diff\na\nb\n```');
    expect(codeFence('```\n<script>\n`````')).toBe('``````\n```\n<script>\n`````\n``````');
  });
});

describe('the size of a summary', () => {
  test('within the limit nothing changes', () => {
    expect(capMarkdown('a\nb\n', 4)).toBe('a\nb\n');
  });

  test('bytes are counted, not characters', () => {
    const text = `${'é'.repeat(10)}\n`.repeat(100);
    const capped = capMarkdown(text, 1000);
    expect(new TextEncoder().encode(capped).length).toBeLessThanOrEqual(1000);
    expect(capped).toContain('é');
    expect(capped.trimEnd().split('\n').at(-1)).toBe(
      '_This report is longer than GitHub allows and was cut here; the full report is in the log._',
    );
  });

  test('what the cut leaves open is closed before the note', () => {
    const text = ['<details>', '<summary>x</summary>', '', '````diff', 'line'.repeat(5)]
      .concat(Array.from({ length: 500 }, (_, index) => `${index} \`\`\``))
      .concat(['````', '', '</details>'])
      .join('\n');
    const lines = capMarkdown(text, 1000).trimEnd().split('\n');
    expect(lines.slice(-4, -1)).toEqual(['````', '</details>', '']);
    expect(lines.at(-1)).toMatch(/^_This report is longer/);
  });

  test('an indented fence is closed with its indentation', () => {
    const text = `1. op\n\n   \`\`\`diff\n${'   +x\n'.repeat(1000)}   \`\`\`\n`;
    expect(capMarkdown(text, 1000)).toContain('   +x\n   ```\n\n_This report');
  });

  test('a single line that does not fit is left out', () => {
    const capped = capMarkdown(`start\n${'x'.repeat(5000)}\nend\n`, 1000);
    expect(capped).toMatch(/^start\n\n_This report is longer/);
  });

  test('the limit is that of GitHub', () => {
    expect(summaryLimitBytes).toBe(1_048_576);
    const capped = capMarkdown(`${'y'.repeat(99)}\n`.repeat(20_000));
    expect(new TextEncoder().encode(capped).length).toBeLessThanOrEqual(1_048_576);
    expect(capped.length).toBeGreaterThan(1_000_000);
  });
});
