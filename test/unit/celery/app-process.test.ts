// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are systemd's variables
import { describe, expect, test } from 'vitest';
import { appProcessOf } from '../../../src/celery/app-process.ts';
import { readWorkerLine } from '../../../src/celery/worker-line.ts';
import type { UnitFact } from '../../../src/model/facts/unit.ts';
import { parseUnitFile } from '../../../src/systemd/unit-file.ts';
import { fileFact, process, unitFact } from '../verify/facts.ts';

const service = (execStart: string): string => `[Service]\nExecStart=${execStart}\n`;

const stopped = (execStart: string, changes: Partial<UnitFact> = {}): UnitFact =>
  unitFact({ mainPid: null, processes: [], fragment: fileFact(service(execStart)), ...changes });

const known = (
  interpreter: readonly string[],
  pythonPath: readonly string[] = [],
  app = 'app',
) => ({
  kind: 'known',
  process: { unit: 'celery-worker.service', interpreter, app, pythonPath },
  workingDirectory: pythonPath.find((folder) => folder.startsWith('/srv/')) ?? '/srv/app',
});

describe('how to import the app of a unit', () => {
  test.each<[string, readonly string[], (readonly string[])?]>([
    ['/usr/bin/celery -A app worker', ['/usr/bin/python3']],
    ['celery -A app worker', ['/usr/bin/python3']],
    ['/v/bin/python -u -m celery -A app worker', ['/v/bin/python', '-u']],
    // A program whose shebang is no Python has its Python beside it.
    ['/v/bin/celery -A app worker', ['/v/bin/python3']],
    [
      '/usr/bin/env DJANGO_SETTINGS_MODULE=site.settings /usr/bin/celery -A app worker',
      ['/usr/bin/env', 'DJANGO_SETTINGS_MODULE=site.settings', '/usr/bin/python3'],
    ],
    [
      '/usr/bin/env A=${B} RATE=100%% /usr/bin/celery -A app worker',
      ['/usr/bin/env', 'RATE=100%', '/usr/bin/python3'],
    ],
    [
      "/bin/sh -c 'cd /srv/other && exec /usr/bin/celery -A app worker'",
      ['/usr/bin/python3'],
      ['/srv/other'],
    ],
    [
      "/bin/sh -c 'export MODE=live; . /v/bin/activate; exec celery -A app worker'",
      ['/usr/bin/env', 'MODE=live', '/v/bin/python3'],
    ],
    ['/usr/bin/celery -A app --workdir=/srv/other worker', ['/usr/bin/python3'], ['/srv/other']],
    ['/usr/bin/celery -A app --workdir=${HOME} worker', ['/usr/bin/python3']],
    [
      '/usr/bin/env PYTHONPATH=/opt/lib /usr/bin/celery -A app --workdir=/srv/other worker',
      ['/usr/bin/env', 'PYTHONPATH=/srv/other:/opt/lib', '/usr/bin/python3'],
      ['/srv/other'],
    ],
  ])('%s', (execStart, interpreter, pythonPath) => {
    const asked = { '/v/bin/celery': { exists: true, shebang: null } };
    const unit = stopped(execStart);
    const programs = { ...unit.programs, ...asked };
    expect(appProcessOf({ ...unit, programs })).toEqual(known(interpreter, pythonPath));
  });

  test('uses drop-ins', () => {
    const text = '[Service]\nExecStart=\nExecStart=/v/bin/python -m celery -A new worker\n';
    const dropIns = [
      { path: '/etc/x.d/a.conf', text },
      { path: '/etc/x.d/b.conf', text: '[Service]\nMemoryMax=1G\n' },
    ];
    const unit = stopped('/usr/bin/celery -A old worker', { dropIns });
    expect(appProcessOf(unit)).toEqual(known(['/v/bin/python'], [], 'new'));
  });

  test('uses the new command line, with the support module', () => {
    const text = service('/usr/bin/env PYTHONPATH=/opt/lib /usr/bin/celery -A app worker');
    const line = readWorkerLine(parseUnitFile(text), 'x.service');
    const supportDirectory = '/usr/local/lib/celeriac';
    const own = appProcessOf(stopped('/usr/bin/celery -A old worker'), { line, supportDirectory });
    const path = 'PYTHONPATH=/usr/local/lib/celeriac:/opt/lib';
    expect(own).toEqual(known(['/usr/bin/env', path, '/usr/bin/python3'], [supportDirectory]));
  });
});

describe('an app behind a variable', () => {
  const variable = '/usr/bin/celery -A ${APP} worker';
  const running = { mainPid: 100, processes: [process(100, 1)] };

  test('is that of the running worker', () => {
    const unit = { ...stopped(variable), ...running };
    expect(appProcessOf(unit)).toEqual(known(['/usr/bin/python3'], [], 'celery_app'));
  });

  test('is the given one', () => {
    expect(appProcessOf(stopped(variable), { app: 'given' })).toEqual(
      known(['/usr/bin/python3'], [], 'given'),
    );
  });

  test('is not that of a worker whose app will change', () => {
    const line = readWorkerLine(parseUnitFile(service(variable)), 'x.service');
    const unit = { ...stopped(variable), ...running };
    expect(appProcessOf(unit, { line })).toEqual({ kind: 'unknown', missing: 'app' });
  });
});

describe('without readable unit files', () => {
  test('the running worker and systemd show it', () => {
    const unit = unitFact({ fragment: { kind: 'symlink', target: '/srv/w.service' } });
    expect(appProcessOf(unit)).toEqual(known(['/usr/bin/python3'], [], 'celery_app'));
  });

  test.each<[string, UnitFact, object]>([
    ['nothing runs', stopped('/srv/start-worker'), { missing: 'worker' }],
    ['no app', stopped('/usr/bin/celery worker'), { missing: 'app' }],
    [
      'no Python',
      unitFact({
        fragment: fileFact(service('/srv/start-worker')),
        properties: {},
        processes: [process(100, 1, { argv: ['python3', 'celery', '-A', 'app', 'worker'] })],
      }),
      { missing: 'interpreter' },
    ],
    [
      'no program',
      stopped('/v/celery -A app worker', {
        programs: { '/v/celery': { exists: false, shebang: null } },
      }),
      { missing: 'program', program: '/v/celery' },
    ],
  ])('%s', (_, unit, expected) => {
    expect(appProcessOf(unit)).toEqual({ kind: 'unknown', ...expected });
  });
});
