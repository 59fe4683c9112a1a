import { describe, expect, test } from 'vitest';
import { findHostViolations } from '../../../tools/host-boundaries.ts';
import { inspectPython } from '../../../tools/inspect-python.ts';

/** The messages for a small program, each with its file and line below host/celeriac_host. */
function judge(tree: Record<string, string>): string[] {
  const sources = Object.entries(tree).map(
    ([file, text]) => [`host/celeriac_host/${file}`, text] as const,
  );
  return findHostViolations(new Map(sources)).map(
    ({ file, line, message }) => `${file.replace('host/celeriac_host/', '')}:${line}: ${message}`,
  );
}

describe('imports of a Python module', () => {
  const importsOf = (text: string): string[] =>
    inspectPython(text).imports.map(
      ({ level, module, name, line }) =>
        `${line} ${'.'.repeat(level)}${module}${name === null ? '' : `:${name}`}`,
    );

  test.each([
    ['import os', ['1 os']],
    ['import os, a.b as c', ['1 os', '1 a.b']],
    ['from a.b import c as d, e', ['1 a.b:c', '1 a.b:e']],
    ['from a import (\n  b,  # first\n  c as d,\n)\nimport e', ['1 a:b', '1 a:c', '5 e']],
    ['from . import b', ['1 .:b']],
    ['from ..store import sqlite', ['1 ..store:sqlite']],
    ['from a import *', ['1 a:*']],
    ['import a; import b', ['1 a', '1 b']],
    ['if True: import a', ['1 a']],
    ['try:\n    import a\nexcept ImportError:\n    from b import c', ['2 a', '4 b:c']],
    ['def f():\n    from a \\\n        import b\n', ['3 a:b']],
    ['import a\r\nimport b', ['1 a', '2 b']],
    ['# import a', []],
    ["PROGRAM = '''\nimport a\nfrom b import c\n'''\nimport d", ['5 d']],
    ['PROGRAM = r"""\n\\"""\nimport a\n"""\nimport d', ['5 d']],
    ['x = "import a"  # it\'s\nimport d', ['2 d']],
    ["x = 'it\\'s'; y = f'{a}'\nimport d", ['2 d']],
    ['def f():\n    yield from a\n    raise X from b\n', []],
    ['importer.imports(a)', []],
  ])('%j', (text, expected) => {
    expect(importsOf(text)).toEqual(expected);
  });
});

describe('imports of the host program point in one direction', () => {
  test('a program that follows the rules has no violations', () => {
    expect(
      judge({
        '__init__.py': '"""The hand."""',
        'system/errors.py': 'import os\nfrom json import loads',
        'system/files.py': 'from celeriac_host.system.errors import Fault',
        'store/sqlite.py': 'from celeriac_host.system import files',
        'state/journal.py': 'from ..system.files import write',
        'app/programs/send.py': 'import celery',
        'app/probe.py': 'from celeriac_host.app.programs import send',
        'operations/send_tasks.py':
          'from celeriac_host.app import probe\nfrom celeriac_host.store.sqlite import rows',
        'transaction/runner.py':
          'import importlib\nwhere = "celeriac_host.operations." + verb\nimportlib.import_module(where)',
        'session/agent.py':
          'from celeriac_host.transaction.runner import run\nfrom importlib import import_module\nimport_module("celeriac_host.facts." + name)',
        'session/loader.py': 'import_module("celeriac_host.session.agent")\nimport_module("kombu")',
      }),
    ).toEqual([]);
  });

  test.each<[string, string, string]>([
    ['system/a.py', 'from celeriac_host.state.b import x', 'system must not import state'],
    ['system/a.py', 'import celeriac_host.store.b', 'system must not import store'],
    ['store/a.py', 'from celeriac_host.operations import b', 'store must not import operations'],
    ['store/a.py', 'from ..operations import b', 'store must not import operations'],
    ['store/a.py', 'from .. import facts', 'store must not import facts'],
    ['app/programs/a.py', 'from ...session import b', 'app must not import session'],
    [
      'facts/a.py',
      'def f():\n    from celeriac_host.transaction import b',
      'must not import trans',
    ],
    ['facts/a.py', "import_module('celeriac_host.session.agent')", 'facts must not import session'],
    ['facts/a.py', 'where = "celeriac_host.transaction." + name', 'must not import transaction'],
    ['transaction/a.py', 'from celeriac_host.session import b', 'must not import session'],
    [
      'state/a.py',
      'from celeriac_host import git',
      'imports host/celeriac_host/git, which is not in a known folder',
    ],
    ['state/a.py', '__import__(name)', 'imports a module with an unknown name'],
    ['state/a.py', 'import_module("a." + name)', 'imports a module with an unknown name'],
    ['__init__.py', 'from celeriac_host.system import a', 'the package itself imports nothing'],
    ['git.py', 'import os', 'is not in a known folder'],
    ['tools/git.py', '', 'is not in a known folder'],
  ])('%s: %s', (file, text, expected) => {
    const found = judge({ [file]: text });
    expect(found).toEqual([expect.stringMatching(new RegExp(`^${file}:[12]: `))]);
    expect(found[0]).toContain(expected);
  });

  test('folders of one layer must not import each other both ways', () => {
    expect(
      judge({
        'app/a.py': 'from celeriac_host.store import a',
        'store/b.py': 'from celeriac_host.app import b',
      }),
    ).toEqual(['app:1: folder import cycle: app → store → app']);
  });

  test('modules that import each other are an import cycle, also with local imports', () => {
    const found = judge({
      'app/a.py': 'from celeriac_host.app import b',
      'app/b.py': 'def f():\n    from .a import g',
    });
    expect(found).toEqual([
      expect.stringMatching(/^app\/a\.py:1: import cycle: .*a\.py → .*b\.py → .*a\.py$/),
    ]);
  });
});
