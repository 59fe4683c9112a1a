import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { supportFolder, supportModule, supportRoot } from '../../../src/systemd/support-module.ts';

const host = join(import.meta.dirname, '../../../host/celeriac_host');
const read = (path: string): string => readFileSync(join(host, path), 'utf8');

it('the host and its programs know the module that workers load by the same name and folder', () => {
  const support = read('system/support.py');
  expect(support).toContain(`\nMODULE = "${supportModule}"\n`);
  expect(support).toContain(`\nROOT = "${supportRoot}"\n`);
  const [version = ''] = supportFolder('0123456789abcdef').split('/').slice(-1);
  expect(support).toContain(`\nDIGITS = ${version.length}\n`);
  expect(read('app/programs/remote_control.py')).toContain(`\nSUPPORT = "${supportModule}"\n`);
});
