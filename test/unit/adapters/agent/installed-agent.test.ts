import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ServerChannel } from 'ssh2';
import { describe, expect, test } from 'vitest';
import { PROTOCOL } from '../../../../src/adapters/agent/agent-lines.ts';
import { explainInstalledStart } from '../../../../src/adapters/agent/installed-agent.ts';
import { installedText } from '../../../../src/adapters/agent/installed-text.ts';
import { openAgent } from '../../../../src/adapters/agent/open-agent.ts';
import { HostError } from '../../../../src/model/errors.ts';
import { HELLO, PROGRAM, runShell, TestServer } from '../ssh-server.ts';
import { QUERY, quiet } from './with-agent.ts';

const HARDENED = { ...HELLO, hardened: true, version: '3f9c02d41b7e', access: 'change' };
const hardenAgain = 'the owner of the server runs `celeriac harden --host 127.0.0.1` again';

/** A server whose key runs one program, whatever is asked for. */
async function serve(hello: object | null, end = (channel: ServerChannel) => void channel.end()) {
  let input = '';
  const server = await TestServer.start({
    onExec: (channel) => {
      channel.on('data', (chunk: Buffer) => {
        input += chunk.toString('latin1');
        for (const line of chunk.toString('utf8').split('\n').filter(Boolean)) {
          if (line.startsWith('{"id":1')) channel.write('{"id":1,"answer":{}}\n');
          else if (line.includes('"bye"')) end(channel);
        }
      });
      if (hello === null) end(channel);
      else channel.write(`${JSON.stringify(hello)}\n`);
    },
  });
  return { server, sent: () => input };
}

async function failure(hello: object, kind: 'installed' | 'streamed'): Promise<HostError> {
  const { server } = await serve(hello);
  await using _ = server;
  const opening = openAgent({ target: server.target(), program: PROGRAM, kind }, quiet);
  const error = await opening.then(
    () => null,
    (caught: unknown) => caught,
  );
  if (error instanceof HostError) return error;
  throw new Error('expected a HostError');
}

describe('the installed agent', () => {
  test('is sent requests only: no program, and no command that matters', async () => {
    const { server, sent } = await serve(HARDENED);
    await using _ = server;
    const options = { target: server.target({ user: 'celeriac' }), program: PROGRAM };
    const agent = await openAgent({ ...options, kind: 'installed' }, quiet);
    await expect(agent.look(QUERY)).rejects.toThrow("the agent's fact 'host'");
    await agent.close();
    expect(server.execs).toEqual(['celeriac-agent']);
    expect(sent().split('\n')[0]).toBe(
      JSON.stringify({ id: 1, protocol: PROTOCOL, ask: 'look', query: QUERY }),
    );
  });

  test.each([
    ['change', true],
    ['read', false],
    ['none', false],
  ])('with access `%s` records what a run has reported: %s', async (access, records) => {
    const { server, sent } = await serve({ ...HARDENED, access });
    await using _ = server;
    const options = { target: server.target({ user: 'celeriac' }), program: PROGRAM };
    const agent = await openAgent({ ...options, kind: 'installed' }, quiet);
    // This server answers each request with an empty object.
    await agent.acknowledge(['t']).catch(() => {});
    await agent.close();
    expect(sent().includes('"acknowledge"')).toBe(records);
  });

  test.each([
    [0, hardenAgain],
    [PROTOCOL + 1, 'use a newer Celeriac in the workflow;'],
  ])('of protocol %i is refused; the error says who can update what', async (protocol, next) => {
    const error = await failure({ ...HARDENED, protocol }, 'installed');
    expect(error.message).toContain(`speaks version ${protocol} of the protocol`);
    expect(error.message).toContain(`this Celeriac version ${PROTOCOL}`);
    expect(error.failure.next).toContain(next);
    expect(error.failure.next).toContain('this key cannot install an agent');
  });

  test('is not mistaken for one without a policy, or the other way round', async () => {
    const unbound = await failure(HELLO, 'installed');
    expect(unbound.message).toContain('runs an agent that has no policy');
    const bound = await failure(HARDENED, 'streamed');
    expect(bound.failure.next).toContain('set the input `agent` to `installed`');
  });

  test.each([
    ['sh: 1: celeriac-agent: not found', 127, 'its key is not bound to the agent'],
    ['sudo: a password is required', 1, 'sudo does not let celeriac run it'],
    [
      "Sorry, user celeriac is not allowed to execute '/usr/local/lib/celeriac/agent' as root on vps.",
      1,
      'sudo does not let celeriac run it',
    ],
    ['sudo: /usr/local/lib/celeriac/agent: command not found', 1, 'has no installed agent'],
    ['sudo: /etc/sudoers is world writable', 1, 'sudo refused celeriac: /etc/sudoers is world'],
    ['sh: 1: sudo: not found', 127, 'sudo refused celeriac: not found'],
    ['sudo: unable to execute x: bad interpreter', 126, 'sudo refused celeriac: unable'],
  ])('without a hello is explained: %s', async (stderr, code, problem) => {
    await using server = await TestServer.start({
      onExec: (channel) => {
        channel.stderr.write(`${stderr}\n`);
        channel.exit(code);
        channel.end();
      },
    });
    const options = { target: server.target({ user: 'celeriac' }), program: PROGRAM };
    const opening = openAgent({ ...options, kind: 'installed' }, quiet);
    await expect(opening).rejects.toMatchObject({
      message: expect.stringContaining(problem),
      failure: { next: expect.stringContaining(hardenAgain), evidence: [stderr] },
    });
  });

  test.each([
    ['sudo: sorry, you must have a tty to run sudo', '`Defaults:celeriac !requiretty`'],
    ['celeriac: limits: 4 sessions are the most', 'journalctl -t celeriac'],
  ])('never gets more rights because of an error: %s', (stderr, advice) => {
    const error = explainInstalledStart({
      host: 'vps.example.org',
      user: 'celeriac',
      stdout: '',
      stderr,
      ended: { kind: 'exit', code: 1, signal: null },
    });
    expect(error.failure.next).toContain(advice);
    expect(error.failure.next).not.toContain('NOPASSWD');
  });

  test('is not found by a real shell', async () => {
    await using server = await TestServer.start({ onExec: runShell });
    const opening = openAgent(
      { target: server.target(), program: PROGRAM, kind: 'installed' },
      quiet,
    );
    await expect(opening).rejects.toThrow('its key is not bound to the agent');
  });
});

test('both sides speak the same version of the protocol', () => {
  const file = join(import.meta.dirname, '../../../../host/celeriac_host/session/agent.py');
  expect(readFileSync(file, 'utf8')).toContain(`\nPROTOCOL = ${PROTOCOL}\n`);
});

test('the program that is printed is the one that the agent writes', () => {
  const file = join(import.meta.dirname, '../../../../host/celeriac_host/system/installed.py');
  const source = readFileSync(file, 'utf8');
  const [head = '', tail = ''] = installedText(PROGRAM, '/usr/bin/python3').split(/b"[^"]*"/);
  const template = /TEXT = """\\\n([\s\S]*?)"""/.exec(source)?.[1] ?? '';
  const filled = template
    .replace('%s', '/usr/bin/python3')
    .replaceAll('{0}', 'celeriac_host/session/loader.py')
    .replaceAll('{{', '{')
    .replaceAll('}}', '}');
  expect(filled.split('b"%s"')).toEqual([head, tail]);
});
