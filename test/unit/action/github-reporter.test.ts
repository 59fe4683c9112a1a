import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { GithubReporter } from '../../../src/action/github-reporter.ts';

let folder = '';
let log = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'celeriac-report-'));
  log = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    log += String(text);
    return true;
  });
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

function existing(name: string): string {
  const path = join(folder, name);
  writeFileSync(path, '');
  return path;
}

/** Lets a reporter write two outputs and part of a report that fails to render. */
async function report({ output, render }: { output: string; render: () => void }): Promise<void> {
  vi.stubEnv('GITHUB_OUTPUT', output);
  // Not the summary: @actions/core remembers its path for the whole process.
  vi.stubEnv('GITHUB_STEP_SUMMARY', '');
  const reporter = new GithubReporter();
  reporter.output('changed', 'true');
  reporter.output('found', '3');
  reporter.attempt('the report', render);
  await reporter.flush();
  await reporter.flush();
}

describe('a line that stands for the state of something', () => {
  const { isTTY, columns } = process.stdout;
  afterEach(() => Object.assign(process.stdout, { isTTY, columns }));

  it('is replaced on a terminal, and cut to its width', async () => {
    Object.assign(process.stdout, { isTTY: true, columns: 12 });
    const reporter = new GithubReporter();
    await reporter.group('gate', async () => {
      expect(reporter.live('0 of 2 probes done')).toBe(true);
      expect(reporter.live('1 of 2\u001b[2J')).toBe(true);
      reporter.info('back');
      reporter.live('2 of 2');
    });
    const clear = '\r\u001b[2K';
    expect(log.replaceAll('\r\n', '\n')).toBe(
      `::group::gate\n${clear}0 of 2 prob${clear}1 of 2${clear}back\n${clear}2 of 2${clear}::endgroup::\n`,
    );
  });

  it('is none in a log', () => {
    Object.assign(process.stdout, { isTTY: false });
    expect(new GithubReporter().live('0 of 2 probes done')).toBe(false);
    expect(log).toBe('');
  });
});

describe('text from a host', () => {
  const hostile = '\u001b]52;c;eA==\u0007\u001b[2J\u009b31m\u202ex\n::error::no\n##[group]no';

  it('controls neither the runner nor a terminal, wherever it is reported', async () => {
    const output = existing('output');
    vi.stubEnv('GITHUB_OUTPUT', output);
    vi.stubEnv('GITHUB_STEP_SUMMARY', '');
    const reporter = new GithubReporter();
    reporter.info(hostile);
    for (const level of ['notice', 'warning', 'error'] as const) reporter[level](hostile, hostile);
    await reporter.group(hostile, async () => {});
    reporter.output('transaction', hostile);
    const written = readFileSync(output, 'utf8');
    for (const text of [log, written]) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
      expect(text).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202e]/);
    }
    const commands = log.split('\n').filter((line) => line.startsWith('::'));
    expect(commands.map((line) => line.replace(/ .*/, ''))).toEqual([
      '::notice',
      '::warning',
      '::error',
      expect.stringMatching(/^::group::/),
      '::endgroup::',
    ]);
    expect(log).not.toMatch(/^##\[/m);
  });
});

describe('GithubReporter', () => {
  it('writes outputs without a warning', async () => {
    const output = existing('output');
    await report({ output, render: () => {} });
    expect(readFileSync(output, 'utf8')).toMatch(/^changed<<[\s\S]*^found<</m);
    expect(log).toBe('');
  });

  it('lists everything that could not be written in one warning, once', async () => {
    const fail = () => {
      throw new RangeError('no such step');
    };
    await report({ output: join(folder, 'absent'), render: fail });
    expect(log.trimEnd()).toBe(
      `::warning::could not write the output \`changed\`, the output \`found\`: Missing file at path: ${folder}/absent; the report: no such step; this does not affect the result of the run`,
    );
  });
});
