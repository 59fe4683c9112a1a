import { expect, test } from 'vitest';
import type { Reach } from '../../../../src/plan/init/fleet-text.ts';
import { nextSteps } from '../../../../src/plan/init/next-steps.ts';
import { reach, stepsFor } from './loose-workers.ts';

const linesFor = (given: Partial<Reach>, movesCheckout = false): readonly string[] =>
  nextSteps({
    reach: { ...reach, ...given },
    knownHosts: 'vps.example.com ssh-ed25519 AAAA',
    branch: 'main',
    files: ['.github/fleet.yml'],
    unit: 'celery-worker.service',
    appUser: 'shop',
    movesCheckout,
  }).flatMap(([, commands]) => commands);

const behind = { host: '10.0.0.5', port: 2222, user: 'deploy', jump: 'ops@[2001:db8::1]:2200' };
const toIt = "-p 2222 -o 'ProxyJump=ops@[2001:db8::1]:2200' deploy@10.0.0.5";

test('a host behind another one is reached through it by each command', () => {
  const lines = linesFor(behind);
  expect(lines).toContain(`ssh-copy-id -f -i ~/.ssh/celeriac-key.pub ${toIt}`);
  expect(lines).toContain(`ssh-copy-id -f -i ~/.ssh/celeriac-scheduled-key.pub ${toIt}`);
  expect(lines.at(-1)).toContain(
    "celeriac harden --host 10.0.0.5 --port 2222 --user deploy --proxy-jump 'ops@[2001:db8::1]:2200' --units",
  );
  expect(stepsFor([{ pid: 70 }], { reach: behind })).toContain(`\`ssh ${toIt} 'sudo sh -c `);
});

test('the host in between gets the user of the host, as Celeriac logs in', () => {
  const lines = linesFor({ jump: 'bastion.example.com:22' });
  expect(lines[1]).toMatch(/ -o 'ProxyJump=root@bastion\.example\.com:22' root@vps\.example\.com$/);
  expect(lines.at(-1)).toContain(" --proxy-jump 'bastion.example.com:22' ");
});

test('a host that is reached directly needs no more than its name', () => {
  expect(linesFor({})[1]).toBe('ssh-copy-id -f -i ~/.ssh/celeriac-key.pub root@vps.example.com');
});

test('both keys of the pipeline are bound, not that of deploys alone', () => {
  expect(linesFor({}).slice(-2)).toEqual([
    'cat ~/.ssh/celeriac-key.pub ~/.ssh/celeriac-scheduled-key.pub >~/.ssh/celeriac-keys.pub',
    'celeriac harden --host vps.example.com --units celery-worker.service --public-key-file ~/.ssh/celeriac-keys.pub --dry-run',
  ]);
});

test('the policy lets deploys move the checkout that they move', () => {
  expect(linesFor({}, true).at(-1)).toContain(
    ' --units celery-worker.service --source git --public-key-file ',
  );
});
