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
