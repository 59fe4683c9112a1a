import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import type { Check } from '../../src/model/verdict.ts';
import { runBundle } from '../lib/bundle.ts';
import { Hand } from './lib/hand.ts';
import { type Inputs, inputsFor } from './lib/inputs.ts';
import { shell, show, UNIT, UNIT_PATH, waitUntil } from './lib/worker.ts';

/* A release whose worker crashes during the gate, and another program starts it before anybody looks. */

let machine: Machine;

beforeAll(async () => {
  machine = await startMachine({ name: 'mended-crash', state: 'healthy' });
});

afterAll(() => machine?.stop());

/** systemd itself would wait so long. */
const RESTART_DELAY = '60s';

async function deploy(inputs: Inputs): Promise<void> {
  const run = await runBundle('deploy-worker', inputsFor(machine, inputs));
  expect(run.code, run.log).toBe(0);
}

const states = async (): Promise<readonly string[]> => {
  await using hand = await Hand.open(machine);
  const { releases } = (await hand.agent.look({ releases: { unit: UNIT } })).releases;
  return releases.map(({ release, state }) => `${release} ${state}`);
};

/** An app whose job is done once a file exists: no task of the worker, which may be gone meanwhile. */
const app = `from http.server import BaseHTTPRequestHandler, HTTPServer
import os
class App(BaseHTTPRequestHandler):
    def do_GET(self):
        done = self.path == "/start" or os.path.exists("/run/job-is-done")
        body = b'{"id": 1, "status": "%s"}' % (b"done" if done else b"running")
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
HTTPServer(("127.0.0.1", 8600), App).serve_forever()
`;

/** As monit and the like do it: whatever does not run is started again. */
const mender = `while sleep 0.1; do
  [ "$(systemctl show -P SubState ${UNIT})" = running ] || systemctl restart ${UNIT}
done`;

test('the run that failed is named, and the release is rolled back', {
  tags: ['nightly'],
}, async () => {
  const common = { 'min-healthy-time': '1s', 'memory-max': '800M' };
  await deploy({ ...common, 'confirm-within': 'off' });
  const good = await machine.readFile(UNIT_PATH);
  await deploy({ ...common, 'restart-delay': RESTART_DELAY, 'confirm-within': '90s' });
  expect(await states()).toEqual(['0 before', '1 unproven', '2 awaiting']);
  await machine.writeFile('/root/app.py', app);
  await machine.writeFile('/root/mender.sh', mender);
  await machine.run('systemd-run -q --unit=app python3 /root/app.py');
  await machine.run('systemd-run -q --unit=mender sh /root/mender.sh');
  await waitUntil(
    'the app listens',
    async () => (await shell(machine, 'ss -Hltn sport = :8600')) !== '',
  );
  const before = await show(machine, 'InvocationID');

  let crashed: Promise<unknown> | null = null;
  const crash = async () => {
    await machine.run(`systemctl kill --kill-who=main --signal=KILL ${UNIT}`);
    await waitUntil('another run is ready', async () => {
      const { InvocationID, SubState } = await show(machine, 'InvocationID', 'SubState');
      return SubState === 'running' && InvocationID !== before.InvocationID;
    });
    await machine.run('touch /run/job-is-done');
  };
  const gate = {
    gate: 'http',
    'gate-method': 'GET',
    'gate-url': 'http://127.0.0.1:8600/start',
    'gate-poll-url': '/status/{id}',
  };
  const run = await runBundle(
    'verify',
    inputsFor(machine, { ...common, ...gate, database: 'none' }),
    {
      onLog: (text) => {
        if (text.includes('gate: GET ')) crashed ??= crash();
      },
    },
  );
  expect(crashed, run.log).not.toBeNull();
  await crashed;
  await machine.run('systemctl stop mender');
  // By systemd's own account, nothing has happened to what runs now.
  expect(await show(machine, 'ActiveState', 'Result', 'NRestarts')).toEqual({
    ActiveState: 'active',
    Result: 'success',
    NRestarts: '0',
  });
  const checks = JSON.parse(run.outputs.checks ?? '[]') as readonly Check[];
  const failed = checks.filter(({ verdict }) => verdict === 'fail');
  expect(
    failed.map(({ id }) => id),
    run.log,
  ).toEqual(['invocation']);
  expect(failed[0]?.seen).toMatch(
    /^started anew during the gate: run [0-9a-f]{8} became [0-9a-f]{8}; run [0-9a-f]{8} failed with result signal \(Main process exited, code=killed, status=9\/KILL\)$/,
  );
  expect(failed[0]?.seen).toContain(`run ${before.InvocationID.slice(0, 8)} failed`);
  expect(run.code).toBe(1);
  expect(run.outputs.confirmed).toBe('');

  await waitUntil('the host has rolled back', async () => (await states()).includes('2 undone'));
  expect(await states()).toEqual(['0 before', '1 unproven', '2 undone']);
  expect(await machine.readFile(UNIT_PATH)).toBe(good);
  expect(await show(machine, 'ActiveState')).toEqual({ ActiveState: 'active' });
});
