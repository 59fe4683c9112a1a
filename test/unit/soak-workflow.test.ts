import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { data, Evaluator, Lexer, Parser } from '@actions/expressions';
import { expect, it } from 'vitest';
import { parse } from 'yaml';

const path = join(import.meta.dirname, '../../.github/workflows/soak.yml');
const workflow = parse(readFileSync(path, 'utf8')) as { jobs: { soak: { if: string } } };

/** By GitHub's own evaluator, with these variables of the repository. */
function runs(variables: Readonly<Record<string, string>>): boolean {
  const context = new data.Dictionary();
  const vars = new data.Dictionary();
  for (const [name, value] of Object.entries(variables)) vars.add(name, new data.StringData(value));
  context.add('vars', vars);
  const { tokens } = new Lexer(workflow.jobs.soak.if).lex();
  const expression = new Parser(tokens, ['vars'], []).parse();
  return new Evaluator(expression, context).evaluate().coerceString() === 'true';
}

it.each([
  [{}, false],
  [{ CELERIAC_HOST: 'vps' }, true],
  [{ CELERIAC_HOST: 'vps', CELERIAC_SOAK_HOURS: '168' }, true],
  [{ CELERIAC_HOST: 'vps', CELERIAC_SOAK_HOURS: '0' }, false],
] as const)('the soak of a repository with the variables %o runs: %s', (variables, expected) => {
  expect(runs(variables)).toBe(expected);
});
