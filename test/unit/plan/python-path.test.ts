import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readWorkerLine } from '../../../src/celery/worker-line.ts';
import { bytes, MiB } from '../../../src/model/units.ts';
import {
  extendWorkerUnit,
  rewriteWorkerUnit,
  type WorkerUnit,
} from '../../../src/plan/unit/worker-unit.ts';
import { supportFolder } from '../../../src/systemd/support-module.ts';
import { stackUnit } from '../../../src/systemd/unit-stack.ts';
import { workerDesired } from '../../lib/worker-desired.ts';

const PATH = '/etc/systemd/system/worker.service';
const OWN = `${PATH}.d/celeriac.conf`;
const FOLDER = supportFolder('a'.repeat(64));
const NEXT = supportFolder('b'.repeat(64));
/** The folder of older versions of Celeriac. */
const OLD = '/usr/local/lib/celeriac';

const desiredOf = (supportDirectory: string) =>
  workerDesired({
    unit: 'worker.service',
    supportModule: { name: 'celeriac_support', text: '' },
    supportDirectory,
  });

const context = {
  swapActive: true,
  longestTaskSeconds: desiredOf(FOLDER).longestTaskSeconds,
  cpus: 2,
  hostMemoryBytes: bytes(4096 * MiB),
  processes: null,
};

const serviceOf = (...lines: readonly string[]): string =>
  ['[Service]', 'User=app', 'WorkingDirectory=/srv/app', ...lines, ''].join('\n');

function change(
  text: string,
  { folder = FOLDER, mode = 'rewrite', own = null as string | null } = {},
): WorkerUnit {
  const by = mode === 'rewrite' ? rewriteWorkerUnit : extendWorkerUnit;
  const source = {
    path: PATH,
    text,
    dropIns: [],
    own: own === null ? [] : [{ path: OWN, text: own }],
    ownPaths: [OWN],
    workingDirectory: '/srv/app',
  };
  return by(source, desiredOf(folder), context);
}

/** The command line, and the last PYTHONPATH of Environment=. */
function read(unit: WorkerUnit): readonly [exec: string, path: string | undefined] {
  const { file } = stackUnit([
    { path: PATH, text: unit.text },
    ...(unit.dropIn === null ? [] : [unit.dropIn]),
  ]);
  const paths = file.values('Service', 'Environment').flatMap((value) => value.split(' '));
  return [
    readWorkerLine(file, PATH).entry.value,
    paths.findLast((one) => one.startsWith('PYTHONPATH=')),
  ];
}

const celery = '/v/bin/celery -A x worker';
const after = 'celery -A x worker --concurrency=1 -I celeriac_support';
const env = `/usr/bin/env PYTHONPATH=${FOLDER}:\${PYTHONPATH}`;
const inShell = `/usr/bin/env PYTHONPATH=${FOLDER}:$$PYTHONPATH`;

const file = 'EnvironmentFile=/srv/app/.env';

describe.each([
  ['nothing overrides Environment=', [`ExecStart=${celery}`], `/v/bin/${after}`],
  ['a file may', [file, `ExecStart=${celery}`], `${env} /v/bin/${after}`],
  [
    'a file that may be missing',
    ['EnvironmentFile=-/e/%n', `ExecStart=${celery}`],
    `${env} /v/bin/${after}`,
  ],
  [
    'a file that systemd ignores',
    ['EnvironmentFile=.env', `ExecStart=${celery}`],
    `/v/bin/${after}`,
  ],
  [
    'a list of files that is empty again',
    [file, 'EnvironmentFile=', `ExecStart=${celery}`],
    `/v/bin/${after}`,
  ],
  ['PAM may', ['PAMName=login', `ExecStart=${celery}`], `${env} /v/bin/${after}`],
  [
    'it is removed',
    ['UnsetEnvironment=LANG PYTHONPATH', `ExecStart=${celery}`],
    `/usr/bin/env PYTHONPATH=${FOLDER} /v/bin/${after}`,
  ],
  ['a prefix', [file, `ExecStart=-+${celery}`], `-+${env} /v/bin/${after}`],
  [
    'a wrapper',
    [file, `ExecStart=/usr/bin/nice -n 5 ${celery}`],
    `${env} /usr/bin/nice -n 5 /v/bin/${after}`,
  ],
  [
    'env',
    [file, `ExecStart=/usr/bin/env A=1 ${celery}`],
    `/usr/bin/env A=1 PYTHONPATH=${FOLDER}:\${PYTHONPATH} /v/bin/${after}`,
  ],
  [
    'env that keeps nothing',
    [`ExecStart=/usr/bin/env -i A=1 ${celery}`],
    `/usr/bin/env -i A=1 PYTHONPATH=${FOLDER} /v/bin/${after}`,
  ],
  [
    'env that removes it',
    [`ExecStart=/usr/bin/env -u PYTHONPATH ${celery}`],
    `/usr/bin/env -u PYTHONPATH PYTHONPATH=${FOLDER} /v/bin/${after}`,
  ],
  [
    'env that sets it',
    [file, `ExecStart=/usr/bin/env PYTHONPATH=/lib ${celery}`],
    `/usr/bin/env PYTHONPATH=/lib:${FOLDER} /v/bin/${after}`,
  ],
  [
    'no argv[0] for env',
    [file, 'ExecStart=@/v/bin/celery mine -A x worker'],
    '@/v/bin/celery mine -A x worker --concurrency=1 -I celeriac_support',
  ],
  [
    'a shell',
    [file, `ExecStart=/bin/sh -c 'exec ${celery}'`],
    `/bin/sh -c 'exec ${inShell} /v/bin/${after}'`,
  ],
  [
    'a shell that waits',
    [file, `ExecStart=/bin/sh -c '${celery}'`],
    `/bin/sh -c 'exec ${inShell} /v/bin/${after}'`,
  ],
  [
    'a shell that reads a file',
    [`ExecStart=/bin/sh -c '. /srv/.env; exec ${celery}'`],
    `/bin/sh -c '. /srv/.env; exec ${inShell} /v/bin/${after}'`,
  ],
  [
    'a shell that exports it',
    [file, `ExecStart=/bin/sh -c 'export PYTHONPATH=/lib; exec ${celery}'`],
    `/bin/sh -c 'export PYTHONPATH=/lib:${FOLDER}; exec /v/bin/${after}'`,
  ],
  [
    'a shell whose env sets it',
    [`ExecStart=/bin/sh -c 'exec env PYTHONPATH=/lib ${celery}'`],
    `/bin/sh -c 'exec env PYTHONPATH=/lib:${FOLDER} /v/bin/${after}'`,
  ],
] as const)('%s', (_about, lines, exec) => {
  const text = serviceOf(...lines);

  it.each(['rewrite', 'drop-in'])('the folder is on the path that counts, %s', (mode) => {
    const unit = change(text, { mode });
    expect(read(unit)).toEqual([exec, `PYTHONPATH=${FOLDER}`]);
    const again = change(unit.text, { mode, own: unit.dropIn?.text ?? null });
    expect([again.text, again.dropIn]).toEqual([unit.text, unit.dropIn]);
  });

  it('another version takes the place of the first', () => {
    const first = change(text).text;
    expect(change(first, { folder: NEXT }).text).toBe(first.replaceAll(FOLDER, NEXT));
  });

  it('so it does where an older Celeriac had one folder for all versions', () => {
    const before = change(text, { folder: OLD }).text;
    expect(change(before).text).toBe(before.replaceAll(OLD, FOLDER));
  });
});

it('a unit of an older Celeriac, which Environment= alone served, is converted', () => {
  const before = serviceOf(
    `Environment=PYTHONPATH=${OLD}:/srv/lib`,
    file,
    `ExecStart=${celery} --concurrency=1 -I celeriac_support`,
  );
  expect(read(change(before))).toEqual([`${env} /v/bin/${after}`, `PYTHONPATH=${FOLDER}:/srv/lib`]);
});

it('the real unit with PYTHONPATH in its EnvironmentFile keeps its own path, too', () => {
  const text = readFileSync(
    join(import.meta.dirname, '../../fixtures/units/F11-envfile-pythonpath.service'),
    'utf8',
  );
  const unit = change(text);
  expect(read(unit)[0]).toBe(
    `${env} /srv/app/venv/bin/celery -A prod worker -l info --concurrency=1 -I celeriac_support`,
  );
  expect(unit.line.call.app).toBe('prod');
});
