import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { version } from '../../../src/generated/version.ts';
import { AppDatabase, bySqlite, day } from '../jobs/app-database.ts';

const main = join(import.meta.dirname, '../../../cli/main.ts');
const flags = ['--disable-warning=MODULE_TYPELESS_PACKAGE_JSON', main];

/** The program from its sources, through a shell where it is given one. */
function celeriac(words: readonly string[], options: { readonly pipe?: string } = {}) {
  const argv = [process.execPath, ...flags, ...words];
  const child =
    options.pipe === undefined
      ? spawn(process.execPath, [...flags, ...words], { stdio: ['ignore', 'pipe', 'pipe'] })
      : spawn('bash', ['-c', `"$@" | ${options.pipe}; exit \${PIPESTATUS[0]}`, 'bash', ...argv], {
          stdio: ['ignore', 'pipe', 'pipe'],
        });
  const said = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said.out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said.err += text;
  });
  const ended = new Promise<{ code: number | null; out: string; err: string }>((resolve) => {
    child.on('close', (code) => resolve({ code, ...said }));
  });
  return { child, said, ended };
}

describe('celeriac, from its sources', () => {
  const user = ['--app-user', userInfo().username];
  const look = ['--evidence', 'age', '--dry-run', '--json', ...user];

  test('reads a database through the agent on this machine', async () => {
    using database = new AppDatabase();
    database.add('jobs', { id: 'stuck-one', status: 'processing', created_at: bySqlite(day) });
    const run = celeriac(['cleanup', '--database', database.file, ...look]);
    const { code, out } = await run.ended;
    expect(code).toBe(3);
    expect(JSON.parse(out)).toMatchObject({ databases: [database.file], found: 1, result: null });
  });

  test('prints its version', async () => {
    const { code, out } = await celeriac(['--version']).ended;
    expect([code, out]).toEqual([0, `celeriac ${version}\n`]);
  });

  test('survives a reader that closes the pipe', async () => {
    const { code, err } = await celeriac(['--help'], { pipe: 'true' }).ended;
    expect([code, err]).toEqual([0, '']);
  });

  test('exits with 130 when interrupted while the database is locked, and leaves no agent', async () => {
    using database = new AppDatabase();
    database.add('jobs', { id: 'stuck-one', status: 'processing', created_at: bySqlite(day) });
    database.sql.exec('BEGIN EXCLUSIVE');
    const run = celeriac(['cleanup', '--database', database.file, ...look]);
    await expect.poll(() => childrenOf(run.child.pid), { timeout: 20_000 }).not.toEqual([]);
    const agents = childrenOf(run.child.pid);
    run.child.kill('SIGINT');
    const { code, err } = await run.ended;
    expect(code).toBe(130);
    expect(err).toContain('interrupted');
    await expect.poll(() => agents.filter(isThere), { timeout: 10_000 }).toEqual([]);
  });
});

function childrenOf(pid: number | undefined): number[] {
  const list = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return list.split(' ').filter(Boolean).map(Number);
}

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
