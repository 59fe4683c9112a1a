import { describe, expect, test } from 'vitest';
import { programOf } from '../../../../src/adapters/agent/agent-start.ts';
import { openAgent } from '../../../../src/adapters/agent/open-agent.ts';
import { hostProgram } from '../../../../src/generated/host-program.ts';
import { hostRefusal } from '../../../lib/refusals.ts';
import { PROGRAM, runShell, TestServer } from '../ssh-server.ts';
import { quiet } from './with-agent.ts';

describe('a real login shell and Python', () => {
  /** As the server's shell would run it, after what the host's own scripts do. */
  async function startOn(script: string, program = PROGRAM, edit = (command: string) => command) {
    await using server = await TestServer.start({
      onExec: (channel, command) => runShell(channel, `${script}\n${edit(command)}`),
    });
    await using agent = await openAgent({ target: server.target(), program }, quiet);
    return agent.hello;
  }

  test('start the agent of host/ and get its hello', async () => {
    await using server = await TestServer.start({
      onExec: (channel, command) => runShell(channel, `printf 'Welcome, '\n${command}`),
    });
    await using agent = await openAgent({ target: server.target(), program: hostProgram }, quiet);
    expect(agent.hello).toMatchObject({ hello: 'celeriac', protocol: 1 });
    const error = await hostRefusal(agent.look({ nonsense: {} } as never));
    expect(error.message).toContain("'nonsense'");
  });

  test('that is too old is reported by the bootstrap itself', async () => {
    const error = await hostRefusal(
      startOn('', PROGRAM, (command) => command.replace('(3,8)', '(99,0)')),
    );
    expect(error.message).toMatch(/too old: expected 3\.8 or newer, found 3\.\d+/);
  });

  test('that is missing is reported', async () => {
    const error = await hostRefusal(startOn('PATH=/nonexistent'));
    expect(error.message).toContain('127.0.0.1 has no python3');
    expect(error.failure.exitCode).toBe(127);
  });

  test('whose login script exits first is reported', async () => {
    const error = await hostRefusal(startOn('echo Goodbye; exit 0'));
    expect(error.message).toContain('ended with exit code 0 without running `python3`');
    expect(error.failure.evidence).toEqual(['stdout: Goodbye']);
  });

  test('that fails on the program is reported with the exception', async () => {
    const loader = 'import no_such_module_at_all\n';
    const program = programOf({ 'celeriac_host/session/loader.py': loader });
    const error = await hostRefusal(startOn('', program));
    expect(error.message).toContain("No module named 'no_such_module_at_all'");
  });
});
