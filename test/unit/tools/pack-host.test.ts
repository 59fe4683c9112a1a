import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { programOf } from '../../../src/adapters/agent/agent-start.ts';
import { packHost } from '../../../tools/pack-host.ts';
import { makeTemporaryFolder } from '../../lib/temporary.ts';

function treeOf(files: Record<string, string>): string {
  const root = makeTemporaryFolder();
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    writeFileSync(path.join(root, name), text);
  }
  return root;
}

test('modules are packed in the order of their paths; tests and other files are left out', () => {
  const root = treeOf({
    'host/support/celeriac_support.py': 'print("ü\\n")\n',
    'host/agent/operations/swap_on.py': '',
    'host/celeriac_host/session/loader.py': '',
    'host/agent/agent.py': 'import os\n',
    'host/agent/test_agent.py': 'assert True\n',
    'host/tests/helper.py': 'assert True\n',
    'host/ruff.toml': 'line-length = 100\n',
    'other/agent.py': 'import os\n',
  });
  const { json, module } = packHost(root);
  expect(json.split('\n')).toEqual([
    '{',
    ' "agent/agent.py": "import os\\n",',
    ' "agent/operations/swap_on.py": "",',
    ' "celeriac_host/session/loader.py": "",',
    ' "support/celeriac_support.py": "print(\\"ü\\\\n\\")\\n"',
    '}',
  ]);
  expect(module).toContain(programOf(JSON.parse(json)).build);
  expect(module).toContain('export const supportModule = "print(\\"ü\\\\n\\")\\n";');
});

test('without the loader or the support module nothing is packed', () => {
  const loader = { 'host/celeriac_host/session/loader.py': '' };
  expect(() => packHost(treeOf(loader))).toThrow('host/ has no support/celeriac_support.py');
  const support = { 'host/support/celeriac_support.py': '' };
  expect(() => packHost(treeOf(support))).toThrow('host/ has no celeriac_host/session/loader.py');
});
