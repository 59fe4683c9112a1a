import { describe, expect, test } from 'vitest';
import { runCommand } from '../../../src/cli/celeriac.ts';
import { seconds } from '../../../src/model/units.ts';
import { release, SimulatedHost } from '../use-case/simulated-soak.ts';
import { unitFact } from '../verify/facts.ts';
import { events } from '../verify/soak/samples.ts';

async function soak(host: SimulatedHost, ...flags: readonly string[]) {
  const said = { out: '', err: '' };
  const code = await runCommand(['soak', ...flags], {
    terminal: {
      out: (text) => {
        said.out += text;
      },
      note: (line) => {
        said.err += `${line}\n`;
      },
    },
    interrupted: new AbortController().signal,
    person: { name: 'root', uid: 0 },
    openAgent: async () => host.agent,
  });
  return { code, ...said };
}

const failing = () => {
  const host = new SimulatedHost(release(0), release(1, { state: 'proven' }), release(2));
  host.pass(60, (minute) => ({ events: { ...events, oomKill: minute > 50 ? 1 : 0 } }));
  return host;
};

describe('celeriac soak', () => {
  test('tells how far it is, and what was judged', async () => {
    const host = new SimulatedHost(release(1));
    host.pass(90);
    const { code, out, err } = await soak(host);
    expect(code).toBe(0);
    expect(out).toBe('Release 1: Unproven: 1.5 h of 24 h.\n');
    expect(err).toContain('hours  ##');
    expect(err).toContain('- [x] No restart');
  });

  test('records a proof as the workflow does, with its flags', async () => {
    const host = new SimulatedHost(release(1));
    host.pass(90);
    const { code, out } = await soak(host, '--soak-hours', '1.5');
    expect([code, host.proofs.length]).toEqual([0, 1]);
    expect(out).toContain('Proven: 1.5 h of 1.5 h without a failure.');
  });

  test('does not shorten what the deploy wanted', async () => {
    const host = new SimulatedHost(release(1));
    host.soakSeconds = seconds(24 * 3600);
    host.pass(90);
    const { out, err } = await soak(host, '--soak-hours', '1');
    expect(out).toBe('Release 1: Unproven: 1.5 h of 24 h.\n');
    expect(err).toContain('The deploy wanted a soak of 24 h, this run one of 1 h');
    expect(host.proofs).toEqual([]);
  });

  test('has an exit code of its own for a release that failed', async () => {
    const { code, out } = await soak(failing());
    expect(code).toBe(3);
    expect(out).toMatch(/^Release 2: Failed after .* killed 1 process/);
  });

  test('--json prints one document, also with a roll-back', async () => {
    const host = failing();
    const { code, out } = await soak(host, '--json', '--soak-failure', 'rollback');
    expect(code).toBe(3);
    const { state, rolledBackTo, verdict } = JSON.parse(out);
    expect([state, rolledBackTo, verdict.failure.limit]).toEqual(['failed', 1, 'oom']);
    expect(host.undone).toEqual([['20260112T000000-0002']]);
  });

  test('of a unit that is not there is refused, unless it has releases', async () => {
    const gone = unitFact({ name: 'nope.service', loadState: 'not-found' });
    const host = new SimulatedHost();
    host.unit = gone;
    const { code, out, err } = await soak(host, '--unit', 'nope', '--json');
    expect(code).toBe(2);
    expect(JSON.parse(out).error.message).toBe('nope.service: no such unit on the host');
    expect(err).toContain('--unit');
    const removed = new SimulatedHost(release(1));
    removed.unit = gone;
    expect((await soak(removed)).code).toBe(0);
  });

  test('a dry run records nothing', async () => {
    const host = failing();
    expect((await soak(host, '--dry-run')).code).toBe(3);
    expect(host.proofs).toEqual([]);
  });
});
