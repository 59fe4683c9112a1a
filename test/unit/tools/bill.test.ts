import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type Bill, billOf } from '../../../tools/bill.ts';
import { readBill } from '../../../tools/release-files.ts';

const root = join(import.meta.dirname, '../../..');
const folder = mkdtempSync(join(tmpdir(), 'celeriac-bill-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const component = (name: string, version = '1.0.0') => ({
  'bom-ref': `${name}@${version}`,
  type: 'library',
  name,
  version,
});

describe('the bill of materials', () => {
  const all: Bill = {
    metadata: { component: component('a-clone') },
    components: ['used', '@of/used', 'tool', '@vercel/ncc'].map((name) => component(name)),
    dependencies: [
      { ref: 'a-clone@1.0.0', dependsOn: ['used@1.0.0', 'tool@1.0.0'] },
      { ref: 'used@1.0.0', dependsOn: ['@of/used@1.0.0'] },
      { ref: 'tool@1.0.0', dependsOn: ['used@1.0.0'] },
    ],
  };
  const lock = {
    packages: {
      '': { version: '1.0.0' },
      'node_modules/used': { version: '1.0.0' },
      'node_modules/used/node_modules/@of/used': { version: '1.0.0' },
      'node_modules/tool': { version: '1.0.0', dev: true },
      'node_modules/@vercel/ncc': { version: '1.0.0', dev: true },
    },
  };

  it('names what the program uses, and no tools', () => {
    const bill = billOf(all, lock, 'celeriac', []);
    expect(bill.metadata.component.name).toBe('celeriac');
    expect(bill.components.map(({ name }) => name)).toEqual(['used', '@of/used', '@vercel/ncc']);
    expect(bill.dependencies).toEqual([
      { ref: 'a-clone@1.0.0', dependsOn: ['used@1.0.0'] },
      { ref: 'used@1.0.0', dependsOn: ['@of/used@1.0.0'] },
    ]);
  });

  it('names each Node.js of the archives, and where it is', () => {
    const archives = [
      { file: 'a-linux-arm64.tar.gz', node: '24.2.0' },
      { file: 'a-linux-x64.tar.gz', node: '24.21.0' },
      { file: 'b-linux-x64.tar.gz', node: '24.21.0' },
    ];
    const bill = billOf(all, lock, 'celeriac', archives);
    expect(bill.components.slice(-2)).toMatchObject([
      {
        'bom-ref': 'node@24.2.0',
        type: 'platform',
        name: 'node',
        version: '24.2.0',
        cpe: 'cpe:2.3:a:nodejs:node.js:24.2.0:*:*:*:*:*:*:*',
        properties: [{ value: 'a-linux-arm64.tar.gz' }],
      },
      {
        version: '24.21.0',
        properties: [{ value: 'a-linux-x64.tar.gz' }, { value: 'b-linux-x64.tar.gz' }],
      },
    ]);
    expect(bill.dependencies[0]?.dependsOn).toEqual(['used@1.0.0', 'node@24.2.0', 'node@24.21.0']);
    expect(bill.dependencies.map(({ ref }) => ref).slice(-2)).toEqual([
      'node@24.2.0',
      'node@24.21.0',
    ]);
  });
});

describe('the bill of this work tree', () => {
  const name = 'celeriac-1.2.3-linux-x64';
  const lib = join(folder, 'stage', name, 'lib');
  mkdirSync(lib, { recursive: true });
  writeFileSync(join(lib, 'node.version'), '24.99.0\n');
  mkdirSync(join(folder, 'release'));
  const archive = join(folder, 'release', `${name}.tar.gz`);
  execFileSync('tar', ['-C', join(folder, 'stage'), '-czf', archive, name]);
  const bill = readBill(join(folder, 'release'));
  const names = bill.components.map((each) => each.name);

  it('has every package whose license is in a bundle', () => {
    const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, object>;
    };
    const bundles = ['cli', ...readdirSync(join(root, 'actions')).map((each) => `actions/${each}`)];
    const lines = new Set(
      bundles
        .filter((bundle) => bundle !== 'actions/fleet-host')
        .flatMap((bundle) =>
          readFileSync(join(root, bundle, 'dist/licenses.txt'), 'utf8').split('\n'),
        ),
    );
    const bundled = Object.keys(lock.packages)
      .map((path) => path.split('node_modules/').at(-1) ?? '')
      .filter((each) => each !== '' && lines.has(each));
    expect(bundled).toEqual(expect.arrayContaining(['yaml', 'zod', 'ssh2', '@vercel/ncc']));
    expect(bundled.filter((each) => !names.includes(each))).toEqual([]);
    expect(names).not.toContain('vitest');
  });

  it('has the Node.js of an archive', () => {
    const node = bill.components.find((each) => each.name === 'node');
    expect(node).toMatchObject({
      version: '24.99.0',
      properties: [{ name: 'celeriac:archive', value: `${name}.tar.gz` }],
    });
  });

  it('refers only to parts that it has', () => {
    const refs = [bill.metadata.component, ...bill.components].map((each) => each['bom-ref']);
    const named = bill.dependencies.flatMap(({ ref, dependsOn }) => [ref, ...dependsOn]);
    expect(named.filter((ref) => !refs.includes(ref))).toEqual([]);
    expect(bill.dependencies.map(({ ref }) => ref).sort()).toEqual(refs.sort());
  });
});
