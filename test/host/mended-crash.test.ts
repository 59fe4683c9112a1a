import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import type { Check } from '../../src/model/verdict.ts';
import { runBundle } from '../lib/bundle.ts';
import { Hand } from './lib/hand.ts';
import { type Inputs, inputsFor } from './lib/inputs.ts';
import { shell, show, UNIT, UNIT_PATH, waitUntil } from './lib/worker.ts';

/* A worker that is restarted during the gate, before anybody looks: by whom, and why. */

let machine: Machine;

beforeAll(async () => {
  machine = await startMachine({ name: 'mended-crash', state: 'healthy' });
  await deploy({ ...common, 'confirm-within': 'off' });
  await machine.writeFile('/root/app.py', app);
  await machine.run('systemd-run -q --unit=app python3 /root/app.py');
  await waitUntil(
    'the app listens',
    async () => (await shell(machine, 'ss -Hltn sport = :8600')) !== '',
  );
});

afterAll(() => machine?.stop());

const common: Inputs = { 'min-healthy-time': '1s', 'memory-max': '800M' };
/** systemd itself would wait so long. */
const RESTART_DELAY = '30s';

async function deploy(inputs: Inputs): Promise<void> {
  const run = await runBundle('deploy-worker', inputsFor(machine, inputs));
  expect(run.code, run.log).toBe(0);
}

const states = async (): Promise<readonly string[]> => {
  await using hand = await Hand.open(machine);
  const { releases } = (await hand.agent.look({ releases: { unit: UNIT } })).releases;
  return releases.map(({ release, state }) => `${release} ${state}`);
};

/** Nobody has confirmed the release in time: the guard puts it back. */
async function expire(): Promise<void> {
  const path = `/var/lib/celeriac/awaiting/${UNIT}.json`;
  const due = { ...JSON.parse(await machine.readFile(path)), deadline: 0, bootDeadline: 0 };
  // Moved there at once: the guard may look at any time.
  await machine.writeFile(`${path}.new`, JSON.stringify(due), '0600');
  await machine.run(`mv ${path}.new ${path}`);
}

/** An app whose job is done once a file exists: no task of the worker, which may be gone meanwhile. */
const app = `from http.server import BaseHTTPRequestHandler, HTTPServer
import os
class App(BaseHTTPRequestHandler):
    def do_GET(self):
        done = self.path == "/start" or os.path.exists("/run/job-is-done")
        body = b'{"id": 1, "status": "%s"}' % (b"completed" if done else b"running")
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

/** Verifies by the app's gate, which passes once `meanwhile` has led to another run of the worker. */
async function verify(meanwhile: () => Promise<unknown>) {
  await machine.run('rm -f /run/job-is-done');
  const first = await show(machine, 'InvocationID');
  const startAnew = async () => {
    await meanwhile();
    await waitUntil('another run is ready', async () => {
      const { InvocationID, SubState } = await show(machine, 'InvocationID', 'SubState');
      return SubState === 'running' && InvocationID !== first.InvocationID;
    });
    await machine.run('touch /run/job-is-done');
  };
  const gate = {
    gate: 'http',
    'gate-method': 'GET',
    'gate-url': 'http://127.0.0.1:8600/start',
    'gate-poll-url': 'http://127.0.0.1:8600/status/{id}',
    'gate-timeout': '5m',
  };
  const inputs = inputsFor(machine, { 'memory-max': '800M', ...gate, database: 'none' });
  let started: Promise<unknown> | null = null;
  const run = await runBundle('verify', inputs, {
    onLog: (text) => {
      if (text.includes('gate: GET ')) started ??= startAnew();
    },
  });
  expect(started, run.log).not.toBeNull();
  await started;
  // By systemd's own account, nothing has happened to what runs now.
  expect(await show(machine, 'ActiveState', 'Result', 'NRestarts')).toEqual({
    ActiveState: 'active',
    Result: 'success',
    NRestarts: '0',
  });
  const checks = JSON.parse(run.outputs.checks ?? '[]') as readonly Check[];
  const shown = (verdict: Check['verdict']) =>
    checks.filter((check) => check.verdict === verdict).map(({ id }) => id);
  const seen = checks.find(({ id }) => id === 'invocation')?.seen ?? '';
  return { run, failed: shown('fail'), warned: shown('warn'), seen, first: first.InvocationID };
}

test('somebody who restarted it is a warning', { tags: ['nightly'] }, async () => {
  const { run, failed, warned, seen } = await verify(() =>
    machine.run(`systemctl restart ${UNIT}`),
  );
  expect(failed, run.log).toEqual([]);
  // A busy machine may be a warning as well.
  expect(warned).toContain('invocation');
  expect(seen).toMatch(/^restarted during the gate: run [0-9a-f]{8} became [0-9a-f]{8}$/);
  expect(run.code).toBe(0);
});

test('a crash that another program mended fails, and the release is rolled back', {
  tags: ['nightly'],
}, async () => {
  const good = await machine.readFile(UNIT_PATH);
  await deploy({ ...common, 'restart-delay': RESTART_DELAY, 'confirm-within': '1h' });
  expect(await states()).toEqual(['0 before', '1 superseded', '2 awaiting']);
  await machine.writeFile('/root/mender.sh', mender);
  await machine.run('systemd-run -q --unit=mender sh /root/mender.sh');
  const { run, failed, seen, first } = await verify(() =>
    machine.run(`systemctl kill --kill-who=main --signal=KILL ${UNIT}`),
  );
  await machine.run('systemctl stop mender');
  expect(failed, run.log).toEqual(['invocation']);
  expect(seen).toMatch(
    /^restarted during the gate: run [0-9a-f]{8} became [0-9a-f]{8}; run [0-9a-f]{8} failed with result signal \(Main process exited, code=killed, status=9\/KILL\)$/,
  );
  expect(seen).toContain(`run ${first.slice(0, 8)} failed`);
  expect(run.code).toBe(1);
  expect(run.outputs.confirmed).toBe('');
  expect(await states()).toContain('2 awaiting');
  await expire();
  await waitUntil('the host has rolled back', async () => (await states()).includes('2 undone'));
  expect(await states()).toEqual(['0 before', '1 unproven', '2 undone']);
  expect(await machine.readFile(UNIT_PATH)).toBe(good);
  expect(await show(machine, 'ActiveState')).toEqual({ ActiveState: 'active' });
});
