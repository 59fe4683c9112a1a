import { expect, test } from 'vitest';
import { stepsFor } from './loose-workers.ts';

test('every copy is stopped, each as it was started', () => {
  const steps = stepsFor(
    [
      { pid: 70 },
      { pid: 81 },
      { pid: 92, above: ['tmux: server'] },
      { pid: 99, workingDirectory: '/srv/other' },
    ].map((each) => ({ parentPid: 1, ...each })),
  );
  expect(steps).toContain('`kill -TERM 70 81` stops each copy');
  expect(steps).toContain('`ps -p 70,81`');
  expect(steps).toMatch(/`kill -TERM 92` stops it .* end the session in tmux/);
  expect(steps).not.toContain('99');
});

test('a host on which every name is taken gets no proposal', () => {
  expect(() => stepsFor([{ pid: 70 }], { name: null })).toThrow('celery-worker.service, celery-w');
});

test.each([
  ['supervisor', { above: ['supervisord'] }, 'by default 10 s', 'supervisorctl stop'],
  ['a service', { cgroup: '/system.slice/app.service' }, 'by default 90 s', 'disable --now'],
  [
    'a service of a user',
    { cgroup: '/user.slice/user-7.slice/user@7.service/app.slice/app.service' },
    'by default 90 s',
    'disable --now',
  ],
] as const)('%s would end tasks: they are waited for before', (_what, more, limit, stop) => {
  const steps = stepsFor([{ pid: 70, ...more }]).split('\n');
  const at = steps.findIndex((step) => step.includes('cancel_consumer'));
  expect(steps[at]).toContain(limit);
  expect(steps[at]).toMatch(/wait until .* active.* reserved.* list no task/);
  expect(steps[at + 1]).toContain(stop);
});

test('Celery is asked as the worker runs, with the variables that were kept', () => {
  const workingDirectory = '/srv/my shop';
  const steps = stepsFor([{ pid: 70, workingDirectory, above: ['supervisord'] }]);
  expect(steps).toContain(
    "`ask() { systemd-run --quiet --pipe --wait --collect -p 'User=shop' -p 'WorkingDirectory=/srv/my shop' -p 'EnvironmentFile=/etc/celery-worker.env' /srv/shop/venv/bin/python3 /srv/shop/venv/bin/celery -A shop.worker \"$@\"; }`",
  );
});

test('a worker that a person stops needs no more than TERM', () => {
  expect(stepsFor([{ pid: 70 }])).not.toContain('cancel_consumer');
});

test('what screen, tmux and the like set is nothing of the app', () => {
  const session = ['TERM', 'TERMCAP', 'STY', 'WINDOW', 'SCREENDIR', 'TMUX', 'TMUX_PANE'];
  const more = ['TERM_PROGRAM', 'COLORTERM', 'BYOBU_TTY', 'ZELLIJ_SESSION_NAME', 'WINDOWID'];
  const own = ['SHOP_TOKEN', 'TERMS_URL', 'WINDOW_SECONDS', 'STYLE'];
  const steps = stepsFor([{ pid: 70, variables: [...session, ...more, ...own] }]);
  expect(steps).toContain(`grep -zE '^(${own.join('|')})=' /proc/70/environ`);
});
