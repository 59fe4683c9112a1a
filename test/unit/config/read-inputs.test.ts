import { describe, expect, it } from 'vitest';
import { type ActionName, actions } from '../../../src/config/action-inputs.ts';
import { deployWorkerInputs } from '../../../src/config/deploy-worker-inputs.ts';
import { type FleetValues, parseFleetFile } from '../../../src/config/fleet-file.ts';
import type { Inputs } from '../../../src/config/input.ts';
import { provisionInputs } from '../../../src/config/provision-inputs.ts';
import { readInputs } from '../../../src/config/read-inputs.ts';
import { verifyInputs } from '../../../src/config/verify-inputs.ts';
import { ConfigError } from '../../../src/model/errors.ts';
import { renderFailure } from '../../../src/report/failure.ts';

const needed = { host: 'vps.test', 'ssh-key': 'KEY', 'known-hosts': 'vps.test ssh-ed25519 AAAA' };

function read<const Set extends Inputs>(
  inputs: Set,
  given: Record<string, string>,
  fleet: FleetValues = new Map(),
) {
  const all: Record<string, string> = { ...needed, ...given };
  return readInputs(inputs, (name) => all[name] ?? '', fleet);
}

function errorOf(body: () => unknown): ConfigError {
  try {
    body();
  } catch (error) {
    if (error instanceof ConfigError) {
      return error;
    }
    throw error;
  }
  throw new Error('no error came');
}

describe('inputs', () => {
  it('has the documented defaults', () => {
    const provision = read(provisionInputs, {});
    expect(provision).toMatchObject({
      'swap-size': 2 * 1024 ** 3,
      'swap-path': '/swapfile',
      swappiness: 10,
      'dry-run': false,
    });
    expect(read(deployWorkerInputs, {})).toMatchObject({
      concurrency: { value: null },
      queues: [],
      'memory-max': { limit: 'keep' },
      'memory-high': { limit: 'keep' },
      watchdog: 300,
      'restart-delay': 10,
    });
  });

  it.each<[keyof typeof actions, string, string]>([
    ['provision', 'swap-size', '2X'],
    ['provision', 'swap-path', 'swapfile'],
    ['provision', 'swap-path', '/a/../etc/passwd'],
    ['provision', 'swap-path', '/swap file'],
    ['provision', 'swappiness', '201'],
    ['provision', 'swappiness', '-1'],
    ['provision', 'port', '0'],
    ['provision', 'port', '22;id'],
    ['provision', 'user', 'root root'],
    ['provision', 'host', '-oProxyCommand=id'],
    ['provision', 'host', 'a\nb'],
    ['provision', 'dry-run', 'yes'],
    ['deploy-worker', 'concurrency', '0'],
    ['deploy-worker', 'unit', '../x.service'],
    ['deploy-worker', 'unit', 'a b'],
    ['deploy-worker', 'memory-max', '1500 monkeys'],
    ['deploy-worker', 'roll-back', '../../etc'],
    ['deploy-worker', 'restart', 'sometimes'],
    ['cleanup', 'threshold', '30x'],
    ['cleanup', 'threshold', '0m'],
    ['cleanup', 'threshold', '-5m'],
    ['cleanup', 'action', 'destroy'],
    ['cleanup', 'ids', 'ab.cd'],
    ['cleanup', 'evidence', 'none'],
    ['cleanup', 'confirm-after', 'soon'],
    ['cleanup', 'max-resets', '0'],
    ['cleanup', 'timezone', 'Mars/Olympus'],
    ['cleanup', 'restore', '/etc/passwd'],
    ['cleanup', 'restore', '/var/lib/celeriac/backups/../x'],
    ['cleanup', 'database', 'postgresql://app:secret@127.0.0.1/jobs'],
    ['cleanup', 'database', 'jobs.db'],
    ['verify', 'gate-args', '{"a": 1}'],
    ['verify', 'gate-args', '[1,'],
    ['verify', 'http-probes', 'file:///etc/shadow'],
    ['verify', 'max-429', 'none'],
    ['cleanup', 'threshold', '30x'],
    ['deploy-worker', 'concurrency', '0'],
  ])('%s: %s refuses %j, and names itself and what it expects', (action, name, text) => {
    const inputs: Inputs = actions[action];
    const error = errorOf(() => read(inputs, { [name]: text }));
    expect(error.where).toBe(`input ${name}`);
    expect(error.message).toContain(`invalid \`${name}\``);
    expect(error.expected).toBe(inputs[name]?.expected);
  });

  const hostile = [
    '$(reboot)',
    '`reboot`',
    "a'b",
    'a"b',
    'a\nb',
    '%n',
    '; rm -rf /',
    '\u0000',
    '../..',
  ];
  // White space parts the items of a list, so the two-line text is two plain items there.
  const lists = [
    'accept-rules',
    'queues',
    'ids',
    'shared',
    'gate-done',
    'gate-failed',
    'http-probes',
    'statuses',
    'also-restart',
  ];
  // A secret, a pin or a form field is not judged by its looks; gate-args is JSON.
  const free = [
    'ssh-key',
    'ssh-key-passphrase',
    'known-hosts',
    'gate-form',
    'gate-batch-form',
    'gate-args',
    // YAML: see stores-input and own-checks-input.
    'stores',
    'checks',
    // Commands: see companion-inputs.
    'before-start',
  ];
  const every = (Object.keys(actions) as ActionName[]).flatMap((action) =>
    Object.keys(actions[action])
      .filter((name) => !free.includes(name))
      .map((name) => [action, name] as const),
  );
  it.each(every)('%s: %s accepts no hostile text', (action, name) => {
    for (const text of hostile) {
      if (text === 'a\nb' && lists.includes(name)) {
        continue;
      }
      const inputs: Inputs = actions[action];
      expect(errorOf(() => read(inputs, { [name]: text })).where).toBe(`input ${name}`);
    }
  });

  it.each(every)('%s: %s shows hostile text escaped', (action, name) => {
    const text = "a'$(reboot);\n%n \u001b[31m::error::planted ##[error]x";
    const error = errorOf(() => read(actions[action] as Inputs, { [name]: text }));
    const { message, annotation } = renderFailure(error, { action });
    expect(message).toContain(`where: input ${name}`);
    expect(message).toMatch(/^ {2}expected: ./m);
    // What is printed can't speak to the runner, colour the log or end a line.
    expect(message).not.toMatch(/^::|##\[/m);
    expect(`${message}${annotation.title}${annotation.message}`).not.toContain('\u001b');
    expect(`${annotation.title}${annotation.message}`).not.toContain('\n');
  });

  it('requires the required inputs', () => {
    const error = errorOf(() => readInputs(provisionInputs, () => '', new Map()));
    expect(error.message).toBe('missing `host`');
  });

  it('never repeats a secret', () => {
    const error = errorOf(() => read(provisionInputs, { port: 'x', 'ssh-key': 'TOP SECRET' }));
    expect(error.message).not.toContain('SECRET');
  });

  it('shows an invalid value shortened and on one line', () => {
    const error = errorOf(() => read(provisionInputs, { host: `a\n${'b'.repeat(500)}` }));
    expect(error.message.length).toBeLessThan(120);
    expect(error.message).not.toContain('\n');
  });

  it('distinguishes an empty choice from an invalid one', () => {
    expect(read(verifyInputs, {})).toMatchObject({ gate: 'canary', 'max-errors': { value: null } });
    expect(read(verifyInputs, { 'max-errors': '3' })['max-errors']).toEqual({ value: 3 });
  });
});

describe('fleet file', () => {
  const fleet = (text: string, action: ActionName = 'provision') =>
    parseFleetFile('.github/fleet.yml', text, action);

  it('sets inputs that the workflow does not set; the section takes precedence over the top level', () => {
    const text =
      'host: fleet.test\nunit: a.service\nprovision:\n  swap-size: 4G\ncleanup:\n  unit: b\n';
    const values = fleet(text);
    const inputs = readInputs(
      provisionInputs,
      (name) => ({ 'ssh-key': 'K', 'known-hosts': 'x' })[name] ?? '',
      values,
    );
    expect(inputs.host).toBe('fleet.test');
    expect(inputs['swap-size']).toBe(4 * 1024 ** 3);
    expect(fleet(text, 'cleanup').get('unit')?.text).toBe('b');
    expect(fleet(text, 'verify').get('unit')?.text).toBe('a.service');
  });

  it('is overridden by the workflow', () => {
    expect(read(provisionInputs, { swappiness: '5' }, fleet('swappiness: 60')).swappiness).toBe(5);
  });

  it('accepts a list', () => {
    const values = fleet('deploy-worker:\n  queues: [celery, batch]\n', 'deploy-worker');
    expect(read(deployWorkerInputs, {}, values).queues).toEqual(['celery', 'batch']);
  });

  it.each([
    ['hots: x', '.github/fleet.yml:1:1', 'unknown key `hots`'],
    ['host: a\nprovision:\n  swapsize: 2G', '.github/fleet.yml:3:3', 'unknown key `swapsize`'],
    ['cleanup:\n  swap-size: 2G', '.github/fleet.yml:2:3', 'unknown key `swap-size`'],
    ['ssh-key: abc', '.github/fleet.yml:1:1', '`ssh-key` is a secret'],
    ['provision:\n  swap-size: {a: 1}', '.github/fleet.yml:2:14', 'not a string, number'],
    ['- a', '.github/fleet.yml:1:1', 'not a mapping'],
    ['host: a\nhost: b', '.github/fleet.yml:2:1', 'invalid YAML'],
    ['a: [1', '.github/fleet.yml:1', 'invalid YAML'],
    ['__proto__: 1', '.github/fleet.yml:1:1', 'unknown key'],
  ])('%j: names the place', (text, where, problem) => {
    const error = errorOf(() => fleet(text));
    expect(error.where).toContain(where);
    expect(error.message).toContain(problem);
  });

  it('names the line of an invalid value', () => {
    const values = fleet('host: a\nprovision:\n  swap-size: 2X\n');
    const error = errorOf(() => read(provisionInputs, {}, values));
    expect(error.where).toBe('.github/fleet.yml:3:14');
  });
});
