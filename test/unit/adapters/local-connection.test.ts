import { userInfo } from 'node:os';
import { describe, expect, test } from 'vitest';
import { programOf } from '../../../src/adapters/agent/agent-start.ts';
import { openAgent } from '../../../src/adapters/agent/open-agent.ts';
import { LocalConnection } from '../../../src/adapters/local-connection.ts';
import { hostProgram } from '../../../src/generated/host-program.ts';
import { HostError } from '../../../src/model/errors.ts';
import { seconds } from '../../../src/model/units.ts';

const quiet = () => {};

describe('the agent on this machine', () => {
  test('is that of a server, without a login', async () => {
    const connection = new LocalConnection('root');
    const connect = async () => connection;
    await using agent = await openAgent({ program: hostProgram, connect }, quiet);
    expect(agent.hello.protocol).toBe(1);
    const user = userInfo().username;
    const query = { unit: '', databases: ['/none.db'], user };
    const { stores } = await agent.look({ stores: query });
    expect(stores).toEqual([{ kind: 'absent', path: '/none.db' }]);
    await agent.close();
    expect(agent.traffic).toMatchObject({ handshakes: 0, execs: 1 });
    expect(isThere(agent.hello.pid)).toBe(false);
  });

  test('that does not start is reported with the reason', async () => {
    const program = programOf({
      'celeriac_host/session/loader.py': 'raise ImportError("no such thing")',
    });
    const connect = async () => new LocalConnection('root');
    const opening = openAgent({ program, connect }, quiet);
    const error = await opening.catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(HostError);
    expect((error as HostError).message).toContain('no such thing');
  });

  test('that never says hello is killed with its children', async () => {
    const script = 'import os,sys,time\nsys.stderr.write(f"pid {os.getpid()}\\n")\ntime.sleep(600)';
    const connect = async () => new LocalConnection('root');
    const limits = { hello: seconds(8) };
    const program = programOf({ 'celeriac_host/session/loader.py': script });
    const opening = openAgent({ program, connect, limits }, quiet);
    const error = (await opening.catch((caught: unknown) => caught)) as HostError;
    expect(error.message).toContain('this machine did not start it within 8 s');
    const pid = Number(/pid (\d+)/.exec((error.failure.evidence ?? []).join('\n'))?.[1]);
    expect(pid).toBeGreaterThan(0);
    await expect.poll(() => isThere(pid), { timeout: 20_000 }).toBe(false);
  });
});

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
