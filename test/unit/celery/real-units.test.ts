import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { programsToAskFor } from '../../../src/celery/app-process.ts';
import { ConfigError } from '../../../src/model/errors.ts';
import type { UnitFact } from '../../../src/model/facts/unit.ts';
import { requireAppProcess } from '../../../src/plan/deploy/app-process.ts';
import { readLine } from '../../../src/plan/unit/unit-source.ts';
import { stackUnit } from '../../../src/systemd/unit-stack.ts';
import { workerDesired } from '../../lib/worker-desired.ts';
import { fileFact, unitFact } from '../verify/facts.ts';

/** Units of the shapes that people publish; the first line of each says what is right. */
const folder = new URL('../../fixtures/units/', import.meta.url);
const units = readdirSync(folder)
  .filter((name) => name.endsWith('.service'))
  .map((name) => ({ name, text: readFileSync(new URL(name, folder), 'utf8') }))
  // The folder also has units for other tests.
  .filter(({ text }) => text.startsWith('# right: '));

/** Every Python program on the host of these units. */
const programs: Readonly<Record<string, string>> = {
  '/usr/bin/celery': '/usr/bin/python3',
  '/home/app/.local/bin/celery': '/usr/bin/python3.11',
  ...Object.fromEntries(
    [
      '/srv/app/venv',
      '/srv/app/.venv',
      '/srv/shop/env',
      '/home/app/venv',
      '/home/app/env',
      '/home/app/venvs/project',
      '/home/app/site/venv',
      '/home/app/my venv',
      '/srv/100%/venv',
      '/srv/w/venv',
      '/root/venv',
    ].map((venv) => [`${venv}/bin/celery`, `${venv}/bin/python3`]),
  ),
  '/opt/conda/envs/jobs/bin/celery': '/opt/conda/envs/jobs/bin/python',
};
const pythons = ['/srv/app/venv/bin/python', '/home/app/my venv/bin/python'];

const programOf = (path: string): UnitFact['programs'][string] => {
  const python = programs[path];
  return python === undefined
    ? { exists: pythons.includes(path), shebang: null }
    : { exists: true, shebang: `#!${python}` };
};

const desired = workerDesired({
  unit: 'w.service',
  supportModule: { name: 'celeriac_support', text: '' },
});

/** The facts of a host with this unit, asked a second time for the programs in question. */
function look(text: string): UnitFact {
  const path = /PATH=([^"\n]+)/.exec(/^Environment=.*$/m.exec(text)?.[0] ?? '')?.[1];
  const unit = unitFact({
    name: 'w.service',
    fragmentPath: '/etc/systemd/system/w.service',
    fragment: fileFact(text),
    activeState: 'inactive',
    mainPid: null,
    processes: [],
    programs: {},
    properties: {},
    variables: { HOME: '/home/app', PATH: path ?? '/usr/local/bin:/usr/bin:/bin' },
  });
  const wanted = programsToAskFor(unit);
  return { ...unit, programs: Object.fromEntries(wanted.map((one) => [one, programOf(one)])) };
}

function pythonOf(text: string): string {
  const unit = look(text);
  try {
    const stack = stackUnit([{ path: unit.fragmentPath, text }]);
    const line = readLine(stack, unit.fragmentPath);
    const own = requireAppProcess(unit, line, unit.fragmentPath, desired);
    return `python ${own.process.interpreter.filter((word) => !/env$|=/.test(word)).join(' ')}`;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    expect(error.message).toContain('/etc/systemd/system/w.service');
    expect(error.expected).toMatch(/celery|path|foreground/);
    return `refused ${error.message}`;
  }
}

describe('the Python of a worker', () => {
  it('has units', () => {
    expect(units.length).toBeGreaterThan(40);
  });

  it.each(units)('$name', ({ text }) => {
    const right = /^# right: (.*)$/m.exec(text)?.[1] ?? '';
    expect(right).toMatch(/^(?:python|refused) /);
    const [, kind = '', rest = ''] = /^(\w+) (.*)$/.exec(right) ?? [];
    const found = pythonOf(text);
    if (kind === 'python') expect(found).toBe(right);
    else expect(found).toMatch(/^refused /);
    expect(found).toContain(rest);
  });

  it('is looked up only where the facts do not show it', () => {
    const direct = '[Service]\nExecStart=/usr/bin/celery -A app worker\n';
    const unit = unitFact({ fragment: fileFact(direct) });
    expect(programsToAskFor(unit)).toEqual([]);
  });

  it('is that of the running worker where the unit does not show it', () => {
    const text = "[Service]\nExecStart=/bin/bash -lc 'celery -A celery_app worker'\n";
    const running = unitFact({ fragment: fileFact(text), programs: {} });
    const stack = stackUnit([{ path: running.fragmentPath, text }]);
    const line = readLine(stack, running.fragmentPath);
    const ask = (unit: UnitFact) =>
      requireAppProcess(unit, line, unit.fragmentPath, desired).process.interpreter;
    expect(ask(running)).toEqual(['/usr/bin/python3']);
    // Another definition may start another Python.
    expect(() => ask({ ...running, needDaemonReload: true })).toThrow(/cannot be told from/);
  });

  it.each([
    ['poetry', 'poetry env info --path'],
    ['pipenv-shell', 'pipenv --venv'],
    ['uv', 'uv run python -c'],
    ['conda-run', '/opt/conda/envs/jobs/bin/celery'],
    ['variable-direct', '/srv/app/venv/bin/celery'],
    ['relative-direct', '/srv/app/venv/bin/celery'],
  ])('%s: the refusal says what to write', (name, advice) => {
    const text = units.find((one) => one.name === `${name}.service`)?.text ?? '';
    const stack = stackUnit([{ path: '/x', text }]);
    let expected = '';
    try {
      readLine(stack, '/x');
    } catch (error) {
      expected = error instanceof ConfigError ? (error.expected ?? '') : String(error);
    }
    expect(expected).toContain(advice);
  });
});
