import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Machine } from '../../../../sandbox/machine.ts';
import { shell, UNIT, UNIT_PATH } from '../worker.ts';
import type { AppName, Row } from './rows.ts';

/** An app on a host, as its owner has installed it. */
export interface App {
  readonly user: string;
  /** The checkout that a deploy moves. */
  readonly checkout: string;
  /** The worker's directory. */
  readonly folder: string;
  readonly python: string;
  /** A file that the worker imports, in the checkout. */
  readonly module: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Python code that sends a job, waits until it is done, and fails if it is not. */
  readonly sendJob: string;
  /** Lines of the requirements that its environment has; null: it has Debian's packages. */
  readonly requirements: string | null;
  /** The jobs; null: the app has none. */
  readonly jobs: {
    readonly database: string;
    readonly table: string;
    readonly task: string;
  } | null;
}

const EXAMPLES = join(import.meta.dirname, '../../../../examples');
const EDITIONS = join(import.meta.dirname, '../../../../sandbox/editions');
const BROKERS = {
  redis: 'redis://127.0.0.1:6379/0',
  rabbitmq: 'amqp://guest:guest@127.0.0.1:5672//',
} as const;

/** Waits for the result where it is stored. */
const send = (imports: string, call: string): string =>
  `${imports}\nresult = ${call}\nresult.get(timeout=60)\n`;

/** Polls the database: RabbitMQ's results go to whoever asked. */
const sendRow = (imports: string, call: string, row: string): string =>
  [
    imports,
    'import time',
    call,
    'for _ in range(300):',
    `    if ${row} == 'completed': break`,
    '    time.sleep(0.2)',
    'else:',
    '    raise SystemExit("the job is not completed within 60 s")',
    '',
  ].join('\n');

/** Installs a row's app, its broker and its unit, and starts the worker. */
export async function installApp(machine: Machine, row: Row): Promise<App> {
  if (row.broker === 'rabbitmq') {
    await shell(
      machine,
      'systemctl disable --quiet --now slideshow-web redis-server; systemctl enable --quiet --now rabbitmq-server',
    );
    // With it, RabbitMQ tells more of its messages; most servers have it off.
    if (row.login === 'deploy') {
      await shell(machine, 'rabbitmq-plugins --quiet enable rabbitmq_management >/dev/null');
    }
  }
  const app =
    row.app === 'slideshow' ? await slideshow(machine, row) : await example(machine, row.app);
  await shell(machine, `systemctl daemon-reload && systemctl enable --quiet --now ${UNIT}`);
  return app;
}

async function slideshow(machine: Machine, row: Row): Promise<App> {
  const user = row.login;
  const checkout = user === 'root' ? '/root/slideshow' : '/srv/slideshow';
  const folder = `${checkout}/backend`;
  const bin =
    row.installed === 'system'
      ? '/usr/bin'
      : `/srv/environments/${row.installed}-celery-${row.celery}/bin`;
  if (user !== 'root') await shell(machine, `cp -a /root/slideshow ${checkout}`);
  if (row.broker === 'rabbitmq') {
    await shell(
      machine,
      `sed -i "s|^result_backend = .*|result_backend = 'rpc://'|" ${folder}/celery_config.py`,
    );
  }
  await shell(
    machine,
    `chown -R ${user}: ${checkout} && cd ${checkout} && runuser -u ${user} -- git -c user.name=t -c user.email=t@localhost commit -q -a --allow-empty -m 'Set up'`,
  );
  const broker = BROKERS[row.broker];
  await machine.writeFile(
    UNIT_PATH,
    `[Unit]
Description=Celery worker of the slideshow
After=network.target ${row.broker === 'redis' ? 'redis-server.service' : 'rabbitmq-server.service'}

[Service]
Type=simple
User=${user}
WorkingDirectory=${folder}
Environment=SLIDESHOW_BROKER=${broker}
ExecStart=${bin}/celery -A celery_app worker --loglevel=INFO --concurrency=2 -Q celery,batch,links,variations
Restart=always

[Install]
WantedBy=multi-user.target
`,
  );
  return {
    ...{ user, checkout, folder },
    python: row.installed === 'system' ? '/usr/bin/python3' : `${bin}/python`,
    requirements:
      row.installed === 'system'
        ? null
        : readFileSync(join(EDITIONS, `celery-${row.celery}.txt`), 'utf8'),
    module: 'backend/celery_app.py',
    environment: { SLIDESHOW_BROKER: broker },
    sendJob: sendRow(
      'import store, tasks',
      'job = tasks.process_job.delay().id',
      "(store.find('jobs', job) or {}).get('status')",
    ),
    jobs: { database: `${folder}/batch_processing.db`, table: 'jobs', task: 'celery_task_id' },
  };
}

const OF_EXAMPLES: Readonly<
  Record<
    Exclude<AppName, 'slideshow'>,
    Pick<App, 'module' | 'sendJob' | 'jobs'> & { setUp: string }
  >
> = {
  django: {
    module: 'shop/celery.py',
    setUp: '/srv/venv/bin/python manage.py migrate --verbosity 0',
    sendJob: sendRow(
      'import django, os\nos.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"\ndjango.setup()\nfrom reports.models import Report\nfrom reports.tasks import render_report',
      'job = Report.objects.create(title="Sales").pk\nrender_report.delay(job)',
      'Report.objects.get(pk=job).status',
    ),
    jobs: { database: '/srv/app/db.sqlite3', table: 'reports_report', task: 'task_id' },
  },
  fastapi: {
    module: 'app/worker.py',
    setUp: '/srv/venv/bin/python -c "from app.store import create; create()"',
    // As a request does it.
    sendJob: sendRow(
      'from app.main import Text, show, submit',
      'job = submit(Text(text="one two three"))["id"]',
      'show(job)["status"]',
    ),
    jobs: { database: '/srv/app/jobs.db', table: 'jobs', task: 'task_id' },
  },
  flask: {
    module: 'make_celery.py',
    setUp: 'true',
    sendJob: send('import make_celery\nfrom shop.tasks import greet', 'greet.delay("Ada")'),
    jobs: null,
  },
};

/** As the example's README says. */
async function example(machine: Machine, name: Exclude<AppName, 'slideshow'>): Promise<App> {
  const { setUp, ...app } = OF_EXAMPLES[name];
  const files = execFileSync('tar', [
    '-C',
    join(EXAMPLES, name),
    '--exclude=__pycache__',
    '-c',
    '.',
  ]);
  await shell(machine, 'useradd --system --create-home app && install -d -o app /srv/app');
  await machine.run('tar -C /srv/app --no-same-owner -x && chown -R app: /srv/app', {
    input: files,
  });
  await shell(
    machine,
    `ln -s /srv/environments/venv-${name} /srv/venv && chown -R app: /srv/venv/`,
  );
  await shell(machine, `cd /srv/app && runuser -u app -- sh -c '${setUp}'`);
  await shell(
    machine,
    `cd /srv/app && for words in 'init -q -b main' 'add --all' 'commit -q -m Begin'; do runuser -u app -- git -c user.name=t -c user.email=t@localhost $words || exit; done`,
  );
  await shell(machine, `cp /srv/app/celery-worker.service ${UNIT_PATH}`);
  return {
    ...app,
    user: 'app',
    checkout: '/srv/app',
    folder: '/srv/app',
    python: '/srv/venv/bin/python',
    requirements: readFileSync(join(EXAMPLES, name, 'requirements.txt'), 'utf8'),
    environment: {},
  };
}

/** Sends a job as the app does, and waits until it is done. */
export async function runJob(machine: Machine, app: App): Promise<void> {
  await runPython(machine, app, app.sendJob);
}

/** Runs code in the app's own environment, as its user. */
export async function runPython(machine: Machine, app: App, code: string): Promise<string> {
  const variables = Object.entries(app.environment).map(([name, value]) => `'${name}=${value}'`);
  const { stdout } = await machine.run(
    `cd ${app.folder} && runuser -u ${app.user} -- env ${variables.join(' ')} ${app.python} -B -c "import sys; sys.path.insert(0, '.'); exec(sys.stdin.read())"`,
    { input: code, timeoutSeconds: 180 },
  );
  return stdout.trim();
}
